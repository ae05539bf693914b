//! Continuous features, both ends, against the user's own mean and variance (Student's t predictive).

use crate::anomaly::Category;
use crate::baseline::user::{CONTINUOUS, scale};
use crate::detectors::novelty::values::MOVED;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};

/// Fewest calls for features of the times between them.
const MIN_CALLS_FOR_GAPS: f64 = 5.0;

/// Entropies, spans, gaps, sizes and the logarithm of volumes.
#[derive(Debug)]
pub struct Continuous;

impl Detector for Continuous {
    fn slots(&self) -> Vec<Slot> {
        CONTINUOUS
            .iter()
            .map(|(column, ..)| {
                let feature = &f::FEATURES[*column];
                let category = match feature.family {
                    Family::Time => Category::Temporal,
                    _ if matches!(
                        *column,
                        f::CALLS | f::REQUEST_BYTES | f::RESPONSE_BYTES | f::ROW_COUNT | f::DURATION_MS
                    ) =>
                    {
                        Category::Volume
                    }
                    _ if *column == f::IP_ENTROPY => Category::Identity,
                    _ => Category::Behavioral,
                };
                let family = if feature.family == Family::Time { Family::Time } else { Family::Count };
                Slot { name: format!("level/{}", feature.name), family, category }
            })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        if s.user.days < 3.0 {
            return;
        }
        let (season, surge) = (s.user.season(s.day.date, s.priors()), &s.surge.counts);
        for (i, &(column, log, floor)) in CONTINUOUS.iter().enumerate() {
            let raw = s.x()[column];
            // Times between calls mean something from a handful of calls on.
            if matches!(column, f::MEDIAN_GAP_MS | f::MAX_GAP_MS | f::BURSTINESS)
                && s.x()[f::CALLS] < MIN_CALLS_FOR_GAPS
            {
                continue;
            }
            let x = scale(raw, log);
            // Volume relative to the weekday and, if that explains it, to what moved for everyone.
            let (season, surge) = if column == f::CALLS { (season.max(0.05).ln(), surge[0].ln()) } else { (0.0, 0.0) };
            let cell = &s.user.continuous[i];
            if cell.n < 3.0 {
                continue;
            }
            let mut p = cell.predict(s.priors().continuous[i], floor);
            if f::FEATURES[column].unit == "bits" {
                // The entropy of a few calls says little about where they come from.
                p = p.with_noise(1.2 / (1.0 + s.x()[f::CALLS]).sqrt());
            }
            if matches!(column, f::CALLS | f::ENTITIES | f::RESOURCES | f::QUERY_MORES) {
                // Counts: the logarithm of a few varies by as much as one over their root, whatever was seen so far.
                p = p.with_noise(1.0 / (1.0 + p.mean.exp_m1().max(0.0)).sqrt());
            }
            let ln_p = p.ln_two_sided(x - season).max(p.ln_two_sided(x - season - surge));
            let ln_p = if s.moved && column == f::IP_ENTROPY { ln_p * MOVED } else { ln_p };
            // Back to the feature's own scale and into its range.
            let unit = f::FEATURES[column].unit;
            let (least, most) = match unit {
                "-1..1" => (-1.0, 1.0),
                "share" => (0.0, 1.0),
                "minute of day" => (0.0, 1439.0),
                _ => (0.0, f64::MAX),
            };
            let back = |v: f64| (if log { v.exp_m1() } else { v }).clamp(least, most);
            out.put(base + i, ln_p, || Fact::Level {
                feature: &f::FEATURES[column],
                observed: raw,
                expected: back(p.mean),
                low: back(p.mean - 1.8 * p.scale),
                high: back(p.mean + 1.8 * p.scale),
                days: s.user.days,
            });
        }
    }
}
