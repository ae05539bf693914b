//! How much calmer, or busier, nights have become since calibration, and what that means for a p-value.
//!
//! Calibration nights lie before the nights that are scored, and baselines go on learning: a month later fewer things are new.
//! Of the subjects of past scored nights a tenth should have had p ≤ 0.1. The share that did, shrunk toward that tenth, is the
//! factor on the odds of the next nights' p-values (a running form of calibration under drift, as in Gibbs & Candès 2021). One
//! number from the body of the distribution, where a handful of attacks changes little and a single night is bounded, so that
//! attackers cannot buy much tolerance with it. Measured: the factor fits the tail as well (docs/adr/0008).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::date::Date;

/// The level that is watched.
const LEVEL: f64 = 0.1;

/// Imaginary hits of nights as calibrated, and as many as would be expected.
const PRIOR: f64 = 10.0;

/// A night has no more hits than this multiple of what is expected: a single mad night is for its own list.
const MOST: f64 = 2.0;

/// Bounds of the factor.
const BOUNDS: (f64, f64) = (0.5, 2.0);

/// What p-values of a night say about how well calibrated it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Subjects that could have been reported.
    pub subjects: u64,
    /// Those of them with p ≤ 0.1 as calibrated.
    pub hits: u64,
}

impl Counted {
    /// Adds a subject's p-value as calibrated.
    pub fn add(&mut self, p: f64) {
        self.subjects += 1;
        self.hits += u64::from(p <= LEVEL);
    }
}

/// Past scored nights.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Drift {
    /// Oldest first.
    nights: VecDeque<(Date, Counted)>,
}

impl Drift {
    /// Remembers a night for as long as any of the next nights looks back to it.
    pub fn remember(&mut self, date: Date, counted: Counted, nights: u32) {
        self.nights.push_back((date, counted));
        self.nights.retain(|(then, _)| date.0 - then.0 < nights as i32);
    }

    /// The factor on the odds of p-values of `date`, by the `nights` before it.
    pub fn factor(&self, date: Date, nights: u32) -> f64 {
        let (mut hits, mut expected) = (PRIOR, PRIOR);
        for (_, night) in self.nights.iter().filter(|(then, _)| date.0 - then.0 <= nights as i32) {
            let usual = LEVEL * night.subjects as f64;
            hits += (night.hits as f64).min(MOST * usual);
            expected += usual;
        }
        (hits / expected).clamp(BOUNDS.0, BOUNDS.1)
    }
}

/// A p-value whose odds are taken times a factor: order, 0 and 1 stay, and small ones change by the factor.
pub fn moved(p: f64, factor: f64) -> f64 {
    (p * factor / (1.0 - (1.0 - factor) * p)).clamp(super::calibrate::FLOOR, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(subjects: u64, hits: u64) -> Counted {
        Counted { subjects, hits }
    }

    fn after(nights: i32, hits: u64) -> f64 {
        let mut drift = Drift::default();
        (0..nights).for_each(|d| drift.remember(Date(d), counted(100, hits), 14));
        assert!(drift.nights.len() <= 14);
        drift.factor(Date(nights), 14)
    }

    #[test]
    fn calmer_nights_sharpen_p_values_and_busier_ones_blunt_them() {
        assert_eq!(after(0, 0), 1.0);
        assert_eq!(after(30, 10), 1.0);
        assert!((after(30, 8) - (10.0 + 112.0) / 150.0).abs() < 1e-12);
        assert!(after(30, 15) > 1.3);
        assert_eq!(after(30, 0), 0.5, "and no more than that");
    }

    #[test]
    fn a_night_is_forgotten_after_the_window_over_gaps_in_the_data_too() {
        let mut drift = Drift::default();
        drift.remember(Date(0), counted(1_000, 10), 14);
        assert!(drift.factor(Date(14), 14) < 1.0);
        assert_eq!(drift.factor(Date(15), 14), 1.0);
        drift.remember(Date(40), counted(100, 10), 14);
        assert_eq!(drift.nights.len(), 1);
    }

    #[test]
    fn a_single_mad_night_buys_little_tolerance() {
        let mut drift = Drift::default();
        (0..13).for_each(|d| drift.remember(Date(d), counted(100, 10), 14));
        drift.remember(Date(13), counted(100, 100), 14);
        assert!(drift.factor(Date(14), 14) < 1.08);
    }

    #[test]
    fn a_tenth_of_uniform_p_values_is_counted() {
        let mut night = Counted::default();
        (1..=200).for_each(|i| night.add(f64::from(i) / 200.0));
        assert_eq!(night, counted(200, 20));
    }

    #[test]
    fn moved_p_values_keep_their_order_and_stay_p_values() {
        for factor in [0.5, 0.8, 1.0, 2.0] {
            let p: Vec<f64> = [1e-12, 1e-6, 0.01, 0.1, 0.5, 0.99, 1.0].map(|p| moved(p, factor)).to_vec();
            assert!(p.windows(2).all(|w| w[0] < w[1]) && p[0] >= 1e-12 && p[6] == 1.0, "{p:?}");
            assert!((moved(1e-4, factor) / (1e-4 * factor) - 1.0).abs() < 1e-3);
        }
        assert_eq!(moved(0.3, 1.0), 0.3);
    }
}
