//! From a raw score to a p-value: the share of held-out normal nights that scored at least as high.
//!
//! Below a high quantile this is the conformal p-value (1 + #{calibration ≥ s}) / (n + 1) (Vovk; Bates et al. 2023),
//! interpolated between calibration points so that distinct scores stay distinct. Above it a generalised Pareto
//! distribution continues the tail (peaks over threshold, as in SPOT, Siffer et al. 2017), fitted by probability-weighted
//! moments (Hosking & Wallis 1987) with its shape kept in 0..=0.4: a finite end point would tie all attacks together.

/// Smallest p-value that is ever given.
pub const FLOOR: f64 = 1e-12;

/// Fewest exceedances for a tail of its own.
const MIN_EXCEEDANCES: usize = 20;

/// Below this many points an exponential with prior weight stands in for the empirical distribution.
const MIN_POINTS: usize = 200;

/// Smallest believed scale of the tail. Scores are about −ln p, whose tail has scale 1; a handful of calibration points that
/// happen to lie close together would otherwise promise that nothing ever lies beyond them.
const MIN_SCALE: f64 = 0.7;

/// Most points kept; more are thinned to evenly spaced ranks.
const MAX_KNOTS: usize = 256;

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
        /// Shape of the tail, 0..=0.4.
        shape: f64,
        /// Scale of the tail, > 0.
        scale: f64,
    },
    /// Few points: the scores are −ln p already, rescaled so that their mean excess is right.
    Exponential {
        /// Mean of −ln p on normal nights, at least 1.
        mean: f64,
    },
}

impl Calibrator {
    /// Fits to scores (each ≥ 0, higher = odder, on the scale of −ln p) of held-out normal subjects.
    pub fn fit(mut scores: Vec<f64>, tail_quantile: f64) -> Self {
        scores.retain(|s| s.is_finite());
        scores.sort_unstable_by(f64::total_cmp);
        let n = scores.len();
        if n < MIN_POINTS {
            // Twenty imaginary points at the nominal mean 1; a mean below 1 would claim more than the model does.
            let mean = (scores.iter().map(|s| s.min(50.0)).sum::<f64>() + 20.0) / (n as f64 + 20.0);
            return Self::Exponential { mean: mean.max(1.0) };
        }
        let at = |q: f64| scores[((n - 1) as f64 * q) as usize];
        let threshold = at(tail_quantile);
        let excesses: Vec<f64> = scores.iter().filter(|&&s| s > threshold).map(|s| s - threshold).collect();
        let (share, shape, scale) = if excesses.len() >= MIN_EXCEEDANCES {
            let (shape, scale) = pareto(&excesses);
            (excesses.len() as f64 / n as f64, shape, scale)
        } else {
            // Hardly ever seen on normal nights: one more sighting is the best guess of how often, and the tail is kept
            // wide (five imaginary excesses of 4), because the few that were seen say little about how far it reaches.
            let mean = (excesses.iter().sum::<f64>() + 20.0) / (excesses.len() as f64 + 5.0);
            ((excesses.len() + 1) as f64 / (n + 1) as f64, 0.4, mean * 0.6)
        };
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
        Self::Empirical { scores, p, threshold, share, shape, scale }
    }

    /// The p-value of a score, in [`FLOOR`]..=1; never rises with the score.
    pub fn p(&self, score: f64) -> f64 {
        match self {
            Self::Exponential { mean } => (-score / mean).exp().clamp(FLOOR, 1.0),
            Self::Empirical { scores, p, threshold, share, shape, scale } => {
                if *share > 0.0 && score > *threshold {
                    let x = (score - threshold) / scale;
                    let survival = if *shape < 1e-9 { (-x).exp() } else { (1.0 + shape * x).powf(-1.0 / shape) };
                    return (share * survival).clamp(FLOOR, 1.0);
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

    /// Flat numbers, for a model file.
    pub fn to_numbers(&self) -> Vec<f64> {
        match self {
            Self::Exponential { mean } => vec![0.0, *mean],
            Self::Empirical { scores, p, threshold, share, shape, scale } => {
                let mut out = vec![1.0, *threshold, *share, *shape, *scale];
                out.extend_from_slice(scores);
                out.extend_from_slice(p);
                out
            }
        }
    }

    /// The inverse of [`Self::to_numbers`]; `None` if the numbers make no calibration.
    pub fn from_numbers(numbers: &[f64]) -> Option<Self> {
        let ok = match numbers {
            [0.0, mean] if *mean >= 1.0 => return Some(Self::Exponential { mean: *mean }),
            [1.0, threshold, share, shape, scale, rest @ ..]
                if rest.len() % 2 == 0 && !rest.is_empty() && *scale > 0.0 && (0.0..=1.0).contains(share) =>
            {
                let (scores, p) = rest.split_at(rest.len() / 2);
                Self::Empirical {
                    scores: scores.to_vec(),
                    p: p.to_vec(),
                    threshold: *threshold,
                    share: *share,
                    shape: *shape,
                    scale: *scale,
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

/// Shape and scale of a generalised Pareto distribution by probability-weighted moments; `excesses` ascending.
fn pareto(excesses: &[f64]) -> (f64, f64) {
    let n = excesses.len() as f64;
    let b0 = excesses.iter().sum::<f64>() / n;
    // Weighted by the share of points above.
    let a1 = excesses.iter().enumerate().map(|(i, x)| x * (n - 1.0 - i as f64) / (n - 1.0)).sum::<f64>() / n;
    let denominator = b0 - 2.0 * a1;
    if !(b0 > 0.0 && denominator > 1e-12) {
        return (0.0, b0.max(MIN_SCALE));
    }
    let shape = (2.0 - b0 / denominator).clamp(0.0, 0.4);
    // With the shape clamped, the scale that keeps the mean excess: mean = scale / (1 − shape).
    (shape, (b0 * (1.0 - shape)).max(MIN_SCALE))
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
        let c = Calibrator::fit(exponential(20_000, 1), 0.96);
        let fresh = exponential(200_000, 2);
        for level in [0.1, 0.01, 0.001] {
            let hit = fresh.iter().filter(|s| c.p(**s) <= level).count() as f64 / fresh.len() as f64;
            // The shape is kept at 0 or above, which errs on the quiet side far out.
            assert!((0.6..1.3).contains(&(hit / level)), "{level}: {hit}");
        }
    }

    #[test]
    fn p_never_rises_with_the_score_and_stays_distinct() {
        let c = Calibrator::fit(exponential(3_000, 3), 0.96);
        let p: Vec<f64> = (1..400).map(|i| c.p(f64::from(i) * 0.05)).collect();
        assert!(p.windows(2).all(|w| w[1] <= w[0]));
        assert!(c.p(5.0) > c.p(5.5) && c.p(9.0) > c.p(10.0));
    }

    #[test]
    fn few_points_never_claim_more_than_the_model() {
        let c = Calibrator::fit(vec![0.1; 30], 0.96);
        assert!((c.p(5.0) - (-5.0_f64).exp()).abs() < 1e-12);
        let odd = Calibrator::fit(vec![4.0; 100], 0.96);
        assert!(odd.p(5.0) > 0.1);
    }

    #[test]
    fn numbers_round_trip_and_nonsense_is_refused() {
        for c in [Calibrator::fit(exponential(3_000, 4), 0.96), Calibrator::fit(vec![1.0; 3], 0.96)] {
            assert_eq!(Calibrator::from_numbers(&c.to_numbers()), Some(c));
        }
        for bad in [&[][..], &[1.0], &[0.0, f64::NAN], &[1.0, 0.0, 0.1, 0.0, 1.0, 2.0, 1.0, 0.5, 0.6]] {
            assert_eq!(Calibrator::from_numbers(bad), None);
        }
    }
}
