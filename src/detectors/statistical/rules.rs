//! The volume rules people know: above twice the median, above mean + 3σ, above the 95th percentile of the last days.
//! They run beside the learned counts, are calibrated like them, and their facts stand in the evidence.

use crate::anomaly::Category;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};

/// Median, sigma and percentile rules on the day's calls.
#[derive(Debug)]
pub struct VolumeRules;

/// Fewest remembered days for a rule.
const MIN_DAYS: usize = 7;

impl Detector for VolumeRules {
    fn slots(&self) -> Vec<Slot> {
        ["rule/median", "rule/sigma", "rule/percentile"]
            .into_iter()
            .map(|name| Slot { name: name.into(), family: Family::Count, category: Category::Volume })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let rules = &s.settings.rules;
        let from = s.day.date.plus(-(rules.window_days as i32));
        let mut calls: Vec<f64> = s.user.past.iter().filter(|p| p.date >= from).map(|p| p.calls).collect();
        if calls.len() < MIN_DAYS {
            return;
        }
        calls.sort_unstable_by(f64::total_cmp);
        let n = calls.len();
        let quantile = |q: f64| calls[((n - 1) as f64 * q).round() as usize];
        let y = s.x()[f::CALLS] / s.surge.counts[0];
        let fact = |rule: String, threshold: f64| {
            let observed = s.x()[f::CALLS];
            move || Fact::Rule { rule, observed, threshold }
        };
        let median = quantile(0.5);
        if y > rules.median_ratio * median {
            let rule = format!("more than {} times the median of the last {n} active days", rules.median_ratio);
            out.put_score(base, (y / median.max(1.0)).ln() * y.ln_1p(), fact(rule, rules.median_ratio * median));
        }
        let mean = calls.iter().sum::<f64>() / n as f64;
        let sd = (calls.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt().max(1.0);
        if y > mean + rules.sigmas * sd {
            let rule = format!("more than {} standard deviations above the mean of {n} days", rules.sigmas);
            out.put_score(base + 1, ((y - mean) / sd).ln() * 3.0, fact(rule, mean + rules.sigmas * sd));
        }
        for (q, name) in [(0.95, "95th"), (0.90, "90th"), (0.75, "75th")] {
            let threshold = quantile(q);
            if y > threshold {
                // Where the day lies beyond the percentile, in units of the upper half of the distribution.
                let unit = (threshold - median).max(0.05 * median).max(1.0);
                let rule = format!("above the {name} percentile of the last {n} active days");
                out.put_score(base + 2, (1.0 + (y - threshold) / unit).ln() + q, fact(rule, threshold));
                break;
            }
        }
    }
}
