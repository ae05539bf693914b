//! Slow ramps: a one-sided CUSUM (Page 1954) over the last days against the days before them. Each day may pass; the
//! climb does not. The reference ends before the climb can begin, so that a ramp cannot teach its own baseline.

use crate::anomaly::Category;
use crate::baseline::user::own_errors;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};

/// Error share and call volume.
#[derive(Debug)]
pub struct Trends;

/// Days over which a ramp may build up.
const WINDOW: i32 = 10;

/// Fewest reference days.
const MIN_REFERENCE: usize = 6;

/// CUSUM allowance: drifts below half a standard deviation are noise.
const ALLOWANCE: f64 = 0.5;

impl Detector for Trends {
    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot { name: "trend/errors".into(), family: Family::Rate, category: Category::Error },
            Slot { name: "trend/calls".into(), family: Family::Count, category: Category::Volume },
        ]
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let cut = s.day.date.plus(-WINDOW);
        let reference: Vec<_> = s.user.past.iter().filter(|p| p.date < cut && p.calls > 0.0).collect();
        if reference.len() < MIN_REFERENCE {
            return;
        }
        let x = s.x();
        let today = (x[f::CALLS], own_errors(x));
        let recent: Vec<(f64, f64)> = s
            .user
            .past
            .iter()
            .filter(|p| p.date >= cut && p.calls > 0.0)
            .map(|p| (p.calls, p.errors))
            .chain([today])
            .collect();
        let n = reference.len() as f64;
        if s.surge.rates[0] <= 0.0 {
            // Error share: standardised by the binomial and by how the share varied among the reference days.
            let calls: f64 = reference.iter().map(|p| p.calls).sum();
            let errors: f64 = reference.iter().map(|p| p.errors).sum();
            let share = (errors + 1.0) / (calls + 50.0);
            let spread = reference.iter().map(|p| (p.errors / p.calls - share).powi(2)).sum::<f64>() / n;
            let z = |(calls, errors): (f64, f64)| {
                let sd = (share * (1.0 - share) / calls + spread).sqrt().max(0.002);
                ((errors / calls - share) / sd).clamp(-3.0, 6.0)
            };
            let (sum, days) = cusum(recent.iter().map(|r| z(*r)));
            if z(today) > 1.0 && today.1 >= 3.0 {
                out.put_score(base, sum, || Fact::Trend {
                    what: "error rate (server errors and used-up limits left out)",
                    from: errors / calls,
                    to: today.1 / today.0,
                    days,
                    is_share: true,
                });
            }
        }
        // Call volume on a log scale, with tonight's surge taken off today's value.
        let logs: Vec<f64> = reference.iter().map(|p| p.calls.ln_1p()).collect();
        let mean = logs.iter().sum::<f64>() / n;
        let sd = (logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt().max(0.08);
        let z = |calls: f64| ((calls.ln_1p() - mean) / sd).clamp(-3.0, 4.0);
        let surge = s.surge.counts[0];
        let last = recent.len() - 1;
        let (sum, days) = cusum(recent.iter().enumerate().map(|(i, r)| z(if i == last { r.0 / surge } else { r.0 })));
        if z(today.0 / surge) > 1.0 {
            out.put_score(base + 1, sum, || Fact::Trend {
                what: "number of calls",
                from: mean.exp_m1(),
                to: today.0,
                days,
                is_share: false,
            });
        }
    }
}

/// The final CUSUM and how many days it has been above zero.
fn cusum(z: impl Iterator<Item = f64>) -> (f64, usize) {
    z.fold((0.0, 0), |(sum, days), z| {
        let next: f64 = sum + z - ALLOWANCE;
        if next > 0.0 { (next, days + 1) } else { (0.0, 0) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_climb_accumulates_and_noise_does_not() {
        let climb = [0.2, 0.8, 1.5, 2.0, 2.8, 3.5, 4.0];
        let noise = [0.5, -0.8, 1.2, -0.3, 0.1, -1.0, 0.9];
        assert!(cusum(climb.into_iter()).0 > 10.0);
        assert!(cusum(noise.into_iter()).0 < 1.5);
        assert_eq!(cusum(climb.into_iter()).1, 6);
    }
}
