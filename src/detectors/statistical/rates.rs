//! Shares of failing calls against their beta-binomial predictive, and the rule "error rate + 10 points".

use crate::anomaly::Category;
use crate::baseline::user::RATES;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};

/// Errors by class.
#[derive(Debug)]
pub struct Rates;

impl Detector for Rates {
    fn slots(&self) -> Vec<Slot> {
        let slot = |name: String| Slot { name, family: Family::Rate, category: Category::Error };
        RATES
            .iter()
            .map(|column| slot(format!("rate/{}", f::FEATURES[*column].name)))
            .chain([slot("rule/error_points".into())])
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let calls = s.x()[f::CALLS];
        for (i, &column) in RATES.iter().enumerate() {
            let hits = s.x()[column];
            if hits < 1.0 {
                continue;
            }
            let prior = s.priors().rates[i];
            let mut slow = s.user.rates[i].predict(prior, 0);
            let mut fast = s.user.rates[i].predict(prior, 1);
            if s.surge.rates[i] > 0.0 {
                slow.mean = slow.mean.max(s.surge.rates[i]);
                fast.mean = fast.mean.max(s.surge.rates[i]);
                // How hard a common cause hits each user varies a lot.
                slow.strength = slow.strength.min(2.0);
                fast.strength = fast.strength.min(2.0);
            }
            let ln_p = slow.ln_at_least(hits, calls).max(fast.ln_at_least(hits, calls));
            let high = (slow.mean + 1.64 * slow.sd(calls)).min(1.0);
            out.put(base + i, ln_p, || Fact::Share {
                feature: &f::FEATURES[column],
                hits,
                calls,
                expected: slow.mean,
                high,
            });
            let points = 100.0 * (hits / calls.max(1.0) - slow.mean);
            let rule = &s.settings.rules;
            if i == 0 && points >= rule.error_points && hits >= 5.0 && s.surge.rates[0] <= 0.0 {
                out.put_score(base + RATES.len(), points / 10.0 + hits.ln(), || Fact::Rule {
                    rule: format!("error rate at least {} percentage points above usual", rule.error_points),
                    observed: 100.0 * hits / calls.max(1.0),
                    threshold: 100.0 * slow.mean + rule.error_points,
                });
            }
        }
    }
}
