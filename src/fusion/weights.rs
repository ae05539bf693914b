//! How much each family counts: the configured weights, and what verdicts on past findings made of them.

use super::combine::harmonic_mean;
use crate::config::Settings;
use crate::detectors::Slot;
use crate::features::catalog::Family;

/// Factors on the weights of the families; 1 is as configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors(pub [f64; 6]);

impl Default for Factors {
    fn default() -> Self {
        Self([1.0; 6])
    }
}

impl Factors {
    /// Weights of the families.
    pub(super) fn weights(self, settings: &Settings) -> [f64; 6] {
        std::array::from_fn(|i| settings.fusion.weight(Family::ALL[i]) * self.0[i])
    }
}

/// Weighted harmonic mean of the families' p-values, over those that have something to say.
pub(super) fn fuse(slots: &[Slot], families: &[f64; 6], whole: bool, weights: &[f64; 6]) -> f64 {
    let speaks = |family| (whole && family == Family::Geometry) || slots.iter().any(|s| s.family == family);
    harmonic_mean(
        Family::ALL
            .into_iter()
            .zip(families)
            .filter(|(family, _)| speaks(*family))
            .map(|(family, p)| (weights[family as usize], *p)),
    )
}
