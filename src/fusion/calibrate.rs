//! From a raw score to a p-value: the share of held-out normal nights that scored at least as high.
//!
//! Below a high quantile this is the conformal p-value (1 + #{calibration ≥ s}) / (n + 1) (Vovk; Bates et al. 2023),
//! interpolated between calibration points so that distinct scores stay distinct. Above it a generalised Pareto
//! distribution continues the tail (peaks over threshold, as in SPOT, Siffer et al. 2017), fitted by probability-weighted
//! moments (Hosking & Wallis 1987) with its shape kept in 0..=0.4: a finite end point would tie all attacks together.

/// Smallest p-value that is ever given.
pub const FLOOR: f64 = 1e-12;

/// Most points kept; more are thinned to evenly spaced ranks.
const MAX_KNOTS: usize = 256;

/// What the tail of a kind of score looks like before any is seen: how many excesses that knowledge is worth, and its
/// generalised Pareto shape and scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TailPrior {
    weight: f64,
    shape: f64,
    scale: f64,
    shapes: (f64, f64),
    scales: (f64, f64),
    /// Imaginary points of a kind of night that calibration has not met.
    unseen: f64,
    /// Standard errors by which the shape is taken heavier than estimated.
    margin: f64,
    /// Below this many points an exponential with prior weight stands in for the empirical distribution.
    fewest: usize,
    /// Scales are in units of the mean excess: of scores that are on no scale of their own.
    relative: bool,
}

/// How fast nights that calibration has not met get rarer with the score: the power of a Pareto tail.
const UNSEEN_POWER: i32 = 2;

/// Raw scores are −ln p under models that are never quite right: heavier than exponential, by how much the data say. The shape
/// may reach 0.8: where models are far off, ten times the score is only some ten times rarer.
pub const RAW: TailPrior = TailPrior {
    weight: 20.0,
    shape: 0.25,
    scale: 1.0,
    shapes: (0.0, 0.8),
    scales: (0.7, f64::MAX),
    unseen: 1.0,
    margin: 0.0,
    fewest: 100,
    relative: false,
};

impl TailPrior {
    /// The same where a part of so many points is left out: whether there are enough is decided for all of them, or those left
    /// out would be compared with a distribution of another kind than later nights are.
    #[must_use]
    pub fn without_some_of(self, points: usize) -> Self {
        if points < self.fewest { self } else { Self { fewest: 1, ..self } }
    }
}

/// Combined scores are −ln of a harmonic mean of calibrated p-values, whose tail is that of a p-value whatever the dependence
/// (Wilson 2019): exponential with scale 1, and only the body has to be learned. A scale below 1 would promise more than
/// the parts did.
pub const COMBINED: TailPrior = TailPrior {
    weight: 20.0,
    shape: 0.0,
    scale: 1.0,
    shapes: (0.0, 0.4),
    scales: (0.5, f64::MAX),
    unseen: 0.0,
    margin: 0.0,
    fewest: 100,
    relative: false,
};

/// The last step is what alerts are made of, and odd nights of one user come in runs, so that its excesses say less than
/// their number: the tail is taken one standard error heavier.
pub const FINAL: TailPrior = TailPrior { margin: 1.0, ..COMBINED };

/// Scores on a scale of their own, such as distances: any number of them, and a tail in units of its own mean.
pub const ANY_SCALE: TailPrior = TailPrior {
    weight: 20.0,
    shape: 0.1,
    scale: 0.9,
    shapes: (0.0, 0.4),
    scales: (0.0, f64::MAX),
    unseen: 0.0,
    margin: 0.0,
    fewest: 2,
    relative: true,
};

/// [`COMBINED`] of few rows: an empirical distribution of any number.
pub const COMBINED_FEW: TailPrior = TailPrior { fewest: 20, ..COMBINED };

/// A fitted calibration.
#[derive(Debug, Clone, PartialEq)]
pub enum Calibrator {
    /// Enough points: empirical body and Pareto tail.
    Empirical {
        /// Ascending scores.
        scores: Vec<f64>,
        /// P(S ≥ score) for each, descending.
        p: Vec<f64>,
        /// Threshold of the tail.
        threshold: f64,
        /// P(S ≥ threshold).
        share: f64,
        /// Shape of the tail, at least 0.
        shape: f64,
        /// Scale of the tail, > 0.
        scale: f64,
        /// Weight of a kind of night that calibration has not met, 0..=1.
        unseen: f64,
    },
    /// Few points: the scores are −ln p already, rescaled so that their mean excess is right.
    Exponential {
        /// Mean of −ln p on normal nights, at least 1.
        mean: f64,
        /// Weight of a kind of night that calibration has not met, 0..=1.
        unseen: f64,
    },
}

impl Calibrator {
    /// Fits to scores (each ≥ 0, higher = odder, on the scale of −ln p) of held-out normal subjects.
    pub fn fit(mut scores: Vec<f64>, tail_quantile: f64, prior: TailPrior) -> Self {
        scores.retain(|s| s.is_finite());
        scores.sort_unstable_by(f64::total_cmp);
        let n = scores.len();
        if n < prior.fewest {
            // Twenty imaginary points at the nominal mean 1; a mean below 1 would claim more than the model does.
            let mean = (scores.iter().map(|s| s.min(50.0)).sum::<f64>() + 20.0) / (n as f64 + 20.0);
            return Self::Exponential { mean: mean.max(1.0), unseen: prior.unseen / (n as f64 + 20.0) };
        }
        // The tail begins at a high quantile; of scores that are hardly ever above 0, where they begin.
        let quantile = scores[((n - 1) as f64 * tail_quantile) as usize];
        let threshold = if quantile > scores[0] {
            quantile
        } else {
            scores.iter().copied().find(|s| *s > scores[0]).unwrap_or(scores[0].next_up())
        };
        let beyond = &scores[scores.partition_point(|s| *s < threshold)..];
        let share = (beyond.len() + 1) as f64 / (n + 1) as f64;
        let excesses: Vec<f64> = beyond.iter().map(|s| s - threshold).collect();
        let unit = if prior.relative {
            // Of a tail that is a single value, the spread of the body.
            let mean = excesses.iter().sum::<f64>() / excesses.len().max(1) as f64;
            if mean > 0.0 { mean } else { (scores[n - 1] - scores[0]).max(1e-12) }
        } else {
            1.0
        };
        let (shape, scale) = pareto(&excesses.iter().map(|x| x / unit).collect::<Vec<_>>(), prior);
        let scale = (scale * unit).max(f64::MIN_POSITIVE);
        // The body: one knot per distinct score, thinned.
        let mut knots: Vec<(f64, f64)> = Vec::new();
        for (i, &s) in scores.iter().enumerate() {
            if i == 0 || s > scores[i - 1] {
                knots.push((s, (1 + n - i) as f64 / (n + 1) as f64));
            }
        }
        if knots.len() > MAX_KNOTS {
            let last = knots.len() - 1;
            knots = (0..MAX_KNOTS).map(|i| knots[i * last / (MAX_KNOTS - 1)]).collect();
        }
        let (scores, p) = knots.into_iter().unzip();
        Self::Empirical { scores, p, threshold, share, shape, scale, unseen: prior.unseen / (n + 1) as f64 }
    }

    /// The p-value of a score, in [`FLOOR`]..=1; never rises with the score.
    pub fn p(&self, score: f64) -> f64 {
        match self {
            Self::Exponential { mean, unseen } => {
                // Three means out is where an empirical tail would begin.
                let far = (4.0 / (score / mean + 1.0)).powi(UNSEEN_POWER);
                ((-score / mean).exp() + unseen * far.min(1.0)).clamp(FLOOR, 1.0)
            }
            Self::Empirical { scores, p, threshold, share, shape, scale, unseen } => {
                if score >= *threshold {
                    let x = (score - threshold) / scale;
                    let survival = if *shape < 1e-9 { (-x).exp() } else { (1.0 + shape * x).powf(-1.0 / shape) };
                    let unseen = unseen * ((threshold + 1.0) / (score + 1.0)).powi(UNSEEN_POWER);
                    return (share * survival + unseen).clamp(FLOOR, *share);
                }
                let i = scores.partition_point(|s| *s < score);
                let value = if i == 0 {
                    1.0
                } else if i == scores.len() {
                    p[i - 1]
                } else {
                    // Between the two neighbouring points, on the scale of the score.
                    let t = (score - scores[i - 1]) / (scores[i] - scores[i - 1]);
                    p[i - 1] + t * (p[i] - p[i - 1])
                };
                value.clamp(FLOOR.max(*share), 1.0)
            }
        }
    }

    /// As [`Self::p`], but where many calibration points share the least score, in the middle of their share: nothing odd is
    /// then about 1/2, not 1.
    pub fn mid_p(&self, score: f64) -> f64 {
        match self {
            Self::Empirical { scores, p, share, .. } if score <= scores[0] => {
                f64::midpoint(1.0, p.get(1).copied().unwrap_or(*share))
            }
            Self::Exponential { .. } if score <= 0.0 => 0.5,
            _ => self.p(score),
        }
    }

    /// Flat numbers, for a model file.
    pub fn to_numbers(&self) -> Vec<f64> {
        match self {
            Self::Exponential { mean, unseen } => vec![0.0, *mean, *unseen],
            Self::Empirical { scores, p, threshold, share, shape, scale, unseen } => {
                let mut out = vec![1.0, *threshold, *share, *shape, *scale, *unseen];
                out.extend_from_slice(scores);
                out.extend_from_slice(p);
                out
            }
        }
    }

    /// The inverse of [`Self::to_numbers`]; `None` if the numbers make no calibration.
    pub fn from_numbers(numbers: &[f64]) -> Option<Self> {
        let ok = match numbers {
            [0.0, mean, unseen] if *mean >= 1.0 && (0.0..=1.0).contains(unseen) => {
                return Some(Self::Exponential { mean: *mean, unseen: *unseen });
            }
            [1.0, threshold, share, shape, scale, unseen, rest @ ..]
                if (0.0..=1.0).contains(unseen)
                    && rest.len() % 2 == 0
                    && !rest.is_empty()
                    && *scale > 0.0
                    && *shape >= 0.0
                    && (FLOOR..=1.0).contains(share) =>
            {
                let (scores, p) = rest.split_at(rest.len() / 2);
                Self::Empirical {
                    scores: scores.to_vec(),
                    p: p.to_vec(),
                    threshold: *threshold,
                    share: *share,
                    shape: *shape,
                    scale: *scale,
                    unseen: *unseen,
                }
            }
            _ => return None,
        };
        match &ok {
            Self::Empirical { scores, p, .. }
                if scores.windows(2).all(|w| w[0] < w[1])
                    && p.windows(2).all(|w| w[0] >= w[1])
                    && p.iter().all(|p| (0.0..=1.0).contains(p)) =>
            {
                Some(ok)
            }
            _ => None,
        }
    }
}

/// Where the tail begins: above it lie so many rows, but no more than a share. Below, p-values are counted: a twentieth of rows
/// with a rare flag is no tail.
const TAIL_ROWS: f64 = 40.0;
const TAIL_SHARE: f64 = 0.05;

/// Quantile at which the tail of so many rows or sequences begins.
pub(super) fn tail(n: usize) -> f64 {
    1.0 - (TAIL_ROWS / n as f64).min(TAIL_SHARE)
}

/// The p-value of a fused statistic. Below `least`, the least of the `n` that calibrated, it goes on rising towards 1, so that
/// distinct statistics stay distinct.
pub(super) fn distinct_p(fused: &Calibrator, (least, n): (f64, f64), statistic: f64) -> f64 {
    let room = 0.5 / (n + 1.0);
    if statistic < least {
        return 1.0 - room * (statistic - least).exp();
    }
    fused.p(statistic) * (1.0 - room)
}

/// Shape and scale of a generalised Pareto distribution by probability-weighted moments, shrunk to the prior's;
/// `excesses` ascending.
fn pareto(excesses: &[f64], prior: TailPrior) -> (f64, f64) {
    let n = excesses.len() as f64;
    let of_prior = (prior.scale / (1.0 - prior.shape), prior.scale / (2.0 * (2.0 - prior.shape)));
    let mut moments = (prior.weight * of_prior.0, prior.weight * of_prior.1);
    for (i, x) in excesses.iter().enumerate() {
        moments.0 += x;
        // Weighted by the share of points above.
        moments.1 += x * (n - 1.0 - i as f64) / (n - 1.0).max(1.0);
    }
    let (b0, a1) = (moments.0 / (n + prior.weight), moments.1 / (n + prior.weight));
    // The standard error of a shape near 0 is about one over the root of the number of excesses.
    let margin = prior.margin / (n + prior.weight).sqrt();
    let shape = (2.0 - b0 / (b0 - 2.0 * a1).max(1e-12)).clamp(prior.shapes.0, prior.shapes.1) + margin;
    // With the shape clamped, the scale that keeps the mean excess: mean = scale / (1 − shape).
    (shape, (b0 * (1.0 - shape)).clamp(prior.scales.0, prior.scales.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use rand::RngExt;

    fn exponential(n: usize, seed: u64) -> Vec<f64> {
        let mut rng = Seed(seed).derive("calibrate", 0);
        (0..n).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect()
    }

    #[test]
    fn p_values_of_normal_scores_are_uniform_far_into_the_tail() {
        let c = Calibrator::fit(exponential(20_000, 1), 0.96, RAW);
        let fresh = exponential(200_000, 2);
        for level in [0.1, 0.01, 0.001] {
            let hit = fresh.iter().filter(|s| c.p(**s) <= level).count() as f64 / fresh.len() as f64;
            // The shape is kept at 0 or above, which errs on the quiet side far out.
            assert!((0.6..1.3).contains(&(hit / level)), "{level}: {hit}");
        }
    }

    #[test]
    fn p_never_rises_with_the_score_and_stays_distinct() {
        let c = Calibrator::fit(exponential(3_000, 3), 0.96, RAW);
        let p: Vec<f64> = (1..400).map(|i| c.p(f64::from(i) * 0.05)).collect();
        assert!(p.windows(2).all(|w| w[1] <= w[0]));
        assert!(c.p(5.0) > c.p(5.5) && c.p(9.0) > c.p(10.0));
    }

    #[test]
    fn few_points_never_claim_more_than_the_model() {
        let c = Calibrator::fit(vec![0.1; 30], 0.96, RAW);
        let claimed = (-5.0_f64).exp();
        assert!((claimed..claimed + 1.0 / 50.0).contains(&c.p(5.0)), "{}", c.p(5.0));
        let odd = Calibrator::fit(vec![4.0; 99], 0.96, RAW);
        assert!(odd.p(5.0) > 0.1);
    }

    #[test]
    fn leaving_a_block_out_does_not_change_the_kind_of_calibration() {
        let of = |n, prior| matches!(Calibrator::fit(exponential(n, 6), 0.96, prior), Calibrator::Empirical { .. });
        for n in [60, 99, 100, 105, 3_000] {
            assert_eq!(of(n, RAW), of(n * 9 / 10, RAW.without_some_of(n)), "{n}");
        }
        assert!(!of(0, RAW.without_some_of(3_000)), "where nothing is left there is nothing to compare with");
    }

    #[test]
    fn no_score_is_rarer_than_what_calibration_can_have_missed() {
        let c = Calibrator::fit(exponential(3_000, 5), 0.96, RAW);
        // An exponential would say e^-60; three thousand points cannot rule out a kind of day they have not met.
        assert!((1e-8..1e-4).contains(&c.p(60.0)), "{}", c.p(60.0));
        assert!(c.p(600.0) < c.p(60.0) / 50.0, "and what is farther out stays rarer");
    }

    #[test]
    fn scores_that_are_hardly_ever_above_zero_are_as_rare_as_they_were() {
        let mut scores = vec![0.0; 3_000];
        let none = Calibrator::fit(scores.clone(), 0.96, RAW);
        assert_eq!(none.p(0.0), 1.0);
        assert!(none.p(0.1) < 1e-3);
        scores[..10].copy_from_slice(&[3.0, 3.2, 3.5, 4.0, 4.1, 4.4, 5.0, 5.5, 6.0, 8.0]);
        let some = Calibrator::fit(scores, 0.96, RAW);
        assert_eq!(some.p(0.0), 1.0);
        assert!((0.002..0.006).contains(&some.p(3.0)), "{}", some.p(3.0));
        assert!(some.p(8.0) > 1e-4 && some.p(8.0) < some.p(4.0));
    }

    #[test]
    fn numbers_round_trip_and_nonsense_is_refused() {
        for c in [Calibrator::fit(exponential(3_000, 4), 0.96, RAW), Calibrator::fit(vec![1.0; 3], 0.96, RAW)] {
            assert_eq!(Calibrator::from_numbers(&c.to_numbers()), Some(c));
        }
        for bad in [&[][..], &[1.0], &[0.0, f64::NAN], &[1.0, 0.0, 0.1, 0.0, 1.0, 2.0, 1.0, 0.5, 0.6]] {
            assert_eq!(Calibrator::from_numbers(bad), None);
        }
    }
}
