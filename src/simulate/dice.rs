//! Random draws of the simulator: one `ChaCha` stream per unit of work, and the few distributions that logs need.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};

use crate::seed::Seed;

/// A stream of random draws.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one unit of work.
    pub(super) fn new(seed: Seed, label: &str, index: u64) -> Self {
        Self(seed.derive(label, index))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..n (0 for n = 0); the bias of the multiplication is below n / 2^64.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in low..=high.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).max(0) as u64 + 1) as i64
    }

    /// Uniform in [low, high).
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One of `items`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// `items` in random order (Fisher–Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Standard normal.
    pub(super) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Lognormal with this mean and coefficient of variation.
    pub(super) fn lognormal(&mut self, mean: f64, cv: f64) -> f64 {
        let variance = (1.0 + cv * cv).ln();
        mean * (variance.sqrt() * self.normal() - variance / 2.0).exp()
    }

    /// A count with this mean and variance `ratio × mean`: negative binomial (a gamma–Poisson mixture) above 1,
    /// Poisson otherwise. API calls are never Poisson, so callers pass 3..=8.
    pub(super) fn count(&mut self, mean: f64, ratio: f64) -> u64 {
        // Also true of NaN, which no mean may be.
        if mean.is_nan() || mean <= 1e-9 {
            return 0;
        }
        let rate = if ratio > 1.0 {
            Gamma::new(mean / (ratio - 1.0), ratio - 1.0).map_or(mean, |gamma| gamma.sample(&mut self.0))
        } else {
            mean
        };
        Poisson::new(rate.max(1e-9)).map_or(0.0, |poisson| poisson.sample(&mut self.0)) as u64
    }

    /// `mean` rounded up or down at random, so that the expectation is exact.
    pub(super) fn round(&mut self, mean: f64) -> u64 {
        (mean + self.unit()) as u64
    }
}

/// A fixed scramble of two numbers (splitmix64's finaliser), for draws that many days must agree on.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
