//! How odd a score is among those of training sequences of about its length: ln p, empirical up to a high quantile and
//! exponential above it. Only for choosing the oddest of a day's sessions on one scale; `fusion` calibrates what comes of it.

/// Strata end at these lengths, where there are enough sequences.
const LENGTHS: [usize; 6] = [1, 2, 4, 8, 16, 64];

/// Fewest sequences of a stratum; shorter ones go with longer ones.
const FEWEST: usize = 200;

/// Quantiles kept of each stratum.
const KNOTS: usize = 64;

/// Share of scores above which the tail is exponential.
const SHARE: f64 = 0.02;

/// Scores of one stratum.
#[derive(Debug, Clone, PartialEq)]
struct Stratum {
    /// Longest sequence in it.
    longest: f64,
    /// Ascending quantiles, evenly spaced up to 1 − [`SHARE`].
    knots: Vec<f64>,
    /// Mean excess above the last of them.
    scale: f64,
}

/// Scores of training sequences by length.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    strata: Vec<Stratum>,
}

impl Tail {
    /// Fits to finite scores with the lengths of their sequences.
    pub fn fit(scores: &[f64], lengths: &[usize]) -> Self {
        let mut strata = Vec::new();
        let mut from = 0;
        for (i, &to) in LENGTHS.iter().chain([&usize::MAX]).enumerate() {
            let rest = lengths.iter().filter(|l| **l > to).count();
            let of: Vec<f64> =
                scores.iter().zip(lengths).filter(|(_, l)| (from..=to).contains(*l)).map(|(s, _)| *s).collect();
            let last = i == LENGTHS.len();
            if last || (of.len() >= FEWEST && rest >= FEWEST) {
                strata.push(Stratum::fit(of, if last { f64::MAX } else { to as f64 }));
                from = to.saturating_add(1);
            }
        }
        Self { strata }
    }

    /// ln of the share of training sequences of about this length that score as high.
    pub fn ln_p(&self, score: f64, length: usize) -> f64 {
        let at = self.strata.partition_point(|s| s.longest < length as f64);
        self.strata[at.min(self.strata.len() - 1)].ln_p(score)
    }

    /// Flat numbers, for a model file.
    pub fn to_numbers(&self) -> Vec<f64> {
        self.strata
            .iter()
            .flat_map(|s| [s.longest, s.scale, s.knots.len() as f64].into_iter().chain(s.knots.iter().copied()))
            .collect()
    }

    /// The inverse of [`Self::to_numbers`]; `None` if the numbers make no sense.
    pub fn from_numbers(numbers: &[f64]) -> Option<Self> {
        let (mut rest, mut strata) = (numbers, Vec::<Stratum>::new());
        while let [longest, scale, n, after @ ..] = rest {
            if !(1.0..=KNOTS as f64).contains(n) || n.fract() != 0.0 || after.len() < *n as usize {
                return None;
            }
            let (knots, after) = after.split_at(*n as usize);
            let ascending =
                strata.last().is_none_or(|s| s.longest < *longest) && knots.windows(2).all(|w| w[0] <= w[1]);
            let holds = 0.0 < *scale && scale.is_finite() && knots.iter().all(|k| k.is_finite());
            if !ascending || !holds {
                return None;
            }
            strata.push(Stratum { longest: *longest, knots: knots.to_vec(), scale: *scale });
            rest = after;
        }
        (rest.is_empty() && strata.last().is_some_and(|s| s.longest == f64::MAX)).then_some(Self { strata })
    }
}

impl Stratum {
    fn fit(mut scores: Vec<f64>, longest: f64) -> Self {
        scores.sort_unstable_by(f64::total_cmp);
        if scores.is_empty() {
            return Self { longest, knots: vec![0.0], scale: 1.0 };
        }
        let last = ((scores.len() - 1) as f64 * (1.0 - SHARE)) as usize;
        let count = KNOTS.min(last + 1);
        let knots: Vec<f64> =
            (0..count).map(|i| scores[if count > 1 { i * last / (count - 1) } else { last }]).collect();
        let above = &scores[last..];
        let mean = above.iter().map(|s| s - scores[last]).sum::<f64>() / above.len() as f64;
        let spread = scores[scores.len() - 1] - scores[0];
        // A tail of equal scores says nothing of how fast it falls.
        Self { longest, knots, scale: mean.max(0.02 * spread).max(0.05) }
    }

    fn ln_p(&self, score: f64) -> f64 {
        let last = self.knots[self.knots.len() - 1];
        if score >= last {
            return SHARE.ln() - (score - last) / self.scale;
        }
        let at = self.knots.partition_point(|k| *k < score);
        if at == 0 {
            return 0.0;
        }
        let (below, above) = (self.knots[at - 1], self.knots[at]);
        let part = if above > below { (score - below) / (above - below) } else { 1.0 };
        let share = (at as f64 - 1.0 + part) / (self.knots.len() - 1) as f64;
        (1.0 - share * (1.0 - SHARE)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_as_rare_as_they_were_among_sequences_of_their_length() {
        // Short sequences score 0..1, long ones 10..11.
        let scores: Vec<f64> =
            (0..2_000).map(|i| f64::from(i % 1_000) / 1_000.0 + f64::from(i / 1_000) * 10.0).collect();
        let lengths: Vec<usize> = (0..2_000).map(|i| if i < 1_000 { 3 } else { 100 }).collect();
        let tail = Tail::fit(&scores, &lengths);
        assert!((tail.ln_p(0.5, 3).exp() - 0.5).abs() < 0.03);
        assert!((tail.ln_p(10.9, 80).exp() - 0.1).abs() < 0.03);
        assert_eq!(tail.ln_p(0.5, 80), 0.0);
        assert!(tail.ln_p(5.0, 3) < 1e-6_f64.ln() && tail.ln_p(f64::NEG_INFINITY, 3) == 0.0);
        let falling = [0.0, 0.2, 0.97, 0.99, 1.0, 2.0].map(|s| tail.ln_p(s, 4));
        assert!(falling.windows(2).all(|w| w[1] < w[0]), "{falling:?}");
    }

    #[test]
    fn numbers_round_trip_and_nonsense_is_refused() {
        let scores: Vec<f64> = (0..3_000).map(|i| f64::from(i * 7 % 311)).collect();
        let lengths: Vec<usize> = (0..3_000).map(|i| i % 90).collect();
        for tail in [Tail::fit(&scores, &lengths), Tail::fit(&[], &[]), Tail::fit(&[1.0; 50], &[3; 50])] {
            let numbers = tail.to_numbers();
            assert_eq!(Tail::from_numbers(&numbers), Some(tail));
            assert_eq!(Tail::from_numbers(&numbers[..numbers.len() - 1]), None);
            let mut bad = numbers.clone();
            bad[1] = 0.0;
            assert_eq!(Tail::from_numbers(&bad), None);
        }
        assert_eq!(Tail::from_numbers(&[]), None);
    }
}
