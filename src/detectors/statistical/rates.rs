//! Shares of failing calls against their beta-binomial predictive, and the rule "error rate + 10 points".

use crate::anomaly::Category;
use crate::baseline::stats::ln_betabinomial_at_least;
use crate::baseline::user::RATES;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};

/// Errors by class.
#[derive(Debug)]
pub struct Rates;

/// Fewest failing calls that are worth a word: two of three failing is a slip, whatever its odds.
const MIN_HITS: f64 = 3.0;

/// Share of user-days on which the platform has an incident of its own, before any is seen.
const INCIDENTS: f64 = 1.0 / 300.0;

/// ln of the probability that an incident of the platform (server errors, used-up limits) explains this many failures: such days
/// come seldom and hit each user differently, which no history without one can tell. −∞ for failures of the caller's own.
fn ln_incident(x: &[f64], column: usize, hits: f64, calls: f64) -> f64 {
    let platform = x[f::ERRORS_5XX] + x[f::ERRORS_403_LIMIT] + x[f::ERRORS_429];
    let of_platform = match column {
        f::ERRORS_5XX | f::ERRORS_403_LIMIT | f::ERRORS_429 => true,
        f::ERRORS => platform * 2.0 > hits,
        _ => false,
    };
    if !of_platform {
        return f64::NEG_INFINITY;
    }
    INCIDENTS.ln() + ln_betabinomial_at_least(hits as u64, calls as u64, 0.5, 2.0)
}

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
            if hits < MIN_HITS {
                continue;
            }
            if s.surge.rates[i] > 0.0 {
                // Failures with one cause are the organisation's finding.
                continue;
            }
            let prior = s.priors().rates[i];
            let slow = s.user.rates[i].predict(prior, 0);
            let fast = s.user.rates[i].predict(prior, 1);
            let ln_p = slow.ln_at_least(hits, calls).max(fast.ln_at_least(hits, calls));
            let ln_p = ln_p.max(ln_incident(s.x(), column, hits, calls));
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
            if i == 0 && points >= rule.error_points && hits >= 5.0 {
                out.put_score(base + RATES.len(), points / 10.0 + hits.ln(), || Fact::Rule {
                    rule: format!("error rate at least {} percentage points above usual", rule.error_points),
                    observed: 100.0 * hits / calls.max(1.0),
                    threshold: 100.0 * slow.mean + rule.error_points,
                });
            }
        }
    }
}
