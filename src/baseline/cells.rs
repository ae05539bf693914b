//! The small sufficient statistics that behaviour is folded into. Every cell forgets exponentially: `decay` multiplies
//! what it holds, so that a day `h` days ago weighs half for half-life `h`. Two memories run side by side, a slow one
//! and a fast one; an alarm needs both to agree, so that a lasting level shift stops alarming within days.

use super::stats::{ln_betabinomial_at_least, ln_nb_at_least, ln_nb_at_most, ln_t_at_least};

/// Slow and fast decay factors of a step in time.
#[derive(Debug, Clone, Copy)]
pub struct Decay {
    /// Factor of the slow memory, 0..=1.
    pub slow: f64,
    /// Factor of the fast memory, 0..=1.
    pub fast: f64,
}

/// Counts: total and exposure in both memories, and what the dispersion is estimated from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CountCell {
    /// Σ w·y, slow and fast.
    pub total: [f64; 2],
    /// Σ w·season, slow and fast.
    pub exposure: [f64; 2],
    /// Σ w·((y − μ)² − μ).
    pub excess: f64,
    /// Σ w·μ².
    pub square: f64,
    /// Σ w over days with y > 0.
    pub active: f64,
    /// Σ w·y over days with y > 0, winsorised for such days.
    pub active_total: f64,
    /// Σ w·y² of the same.
    pub active_square: f64,
}

/// Prior of a count in a peer group: Gamma(a, b) over rates, the pooled dispersion, and the same for the days on which
/// there is anything to count at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountPrior {
    /// Shape.
    pub a: f64,
    /// Rate: how many days the prior weighs.
    pub b: f64,
    /// Negative-binomial dispersion.
    pub r: f64,
    /// Share of days above zero.
    pub active: f64,
    /// Mean of the days above zero.
    pub active_mean: f64,
    /// Dispersion of the days above zero.
    pub active_r: f64,
}

impl Default for CountPrior {
    fn default() -> Self {
        Self { a: 0.5, b: 0.5, r: 2.0, active: 0.1, active_mean: 3.0, active_r: 0.7 }
    }
}

/// Predictive of a count: negative binomial with mean `mean` and dispersion `r`, and for a count that is usually zero
/// also a hurdle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountPredictive {
    /// Expected value.
    pub mean: f64,
    /// Dispersion, parameter uncertainty included.
    pub r: f64,
    /// For a count that is zero on many days.
    pub hurdle: Option<Hurdle>,
}

/// A count that is usually zero: it is above zero with some probability, and then of a size of its own (hurdle model,
/// Mullahy 1986). One negative binomial for both would call any size impossible for somebody who had none yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hurdle {
    /// Probability of a day above zero.
    pub active: f64,
    /// Mean of such a day.
    pub mean: f64,
    /// Dispersion of such a day, as a negative binomial above one.
    pub r: f64,
}

impl CountPredictive {
    /// Standard deviation.
    pub fn sd(&self) -> f64 {
        (self.mean + self.mean * self.mean / self.r).sqrt()
    }

    /// ln P(Y ≥ y). Where there is a hurdle both models must find the count odd.
    pub fn ln_at_least(&self, y: f64) -> f64 {
        let plain = ln_nb_at_least(y, self.mean, self.r);
        match self.hurdle {
            Some(h) if y > 0.0 => plain.max(h.active.ln() + ln_nb_at_least(y - 1.0, (h.mean - 1.0).max(0.05), h.r)),
            _ => plain,
        }
    }

    /// ln P(Y ≤ y).
    pub fn ln_at_most(&self, y: f64) -> f64 {
        ln_nb_at_most(y, self.mean, self.r)
    }
}

impl CountCell {
    /// Forgets.
    pub fn decay(&mut self, d: Decay) {
        for (i, factor) in [d.slow, d.fast].into_iter().enumerate() {
            self.total[i] *= factor;
            self.exposure[i] *= factor;
        }
        for x in [&mut self.excess, &mut self.square, &mut self.active, &mut self.active_total, &mut self.active_square]
        {
            *x *= d.slow;
        }
    }

    /// Days of own history, as the slow memory weighs them.
    pub fn days(&self) -> f64 {
        self.exposure[0]
    }

    /// Deseasonalised mean per day, with the prior.
    pub fn mean(&self, prior: CountPrior) -> f64 {
        (prior.a + self.total[0]) / (prior.b + self.exposure[0])
    }

    /// Predictive of memory 0 (slow) or 1 (fast) on a day whose season is `season`.
    pub fn predict(&self, prior: CountPrior, season: f64, memory: usize) -> CountPredictive {
        let (a, b) = (prior.a + self.total[memory], prior.b + self.exposure[memory]);
        let mean = (a / b * season).max(0.02);
        // A few days say little about how much days differ, least of all for something that has just begun and grows.
        let r = 1.0 / (1.0 / self.dispersion(prior) + 3.0 / (1.0 + self.exposure[0]).powf(1.5));
        let variance = mean + mean * mean / r + a / (b * b) * season * season;
        // For a count that was above zero on nearly every day the hurdle says nothing new.
        const ALWAYS: f64 = 0.8;
        let hurdle = self.hurdle(prior);
        let hurdle = (hurdle.active < ALWAYS).then_some(Hurdle { mean: hurdle.mean * season.max(0.05), ..hurdle });
        CountPredictive { mean, r: (mean * mean / (variance - mean)).clamp(0.05, 1e3), hurdle }
    }

    /// Days above zero: how often, and how much then.
    fn hurdle(&self, prior: CountPrior) -> Hurdle {
        // A user either does a thing or does not, so peers say little about how often (two days) and more about how much.
        const PRIOR_DAYS: f64 = 2.0;
        let active = (self.active + PRIOR_DAYS * prior.active) / (self.exposure[0] + PRIOR_DAYS);
        let mean = (self.active_total + PRIOR_DAYS * prior.active_mean) / (self.active + PRIOR_DAYS);
        let own = self.active_dispersion().unwrap_or(prior.active_r);
        // On the scale of 1/r, where variances add.
        let inverse = (self.active / own + 2.0 * PRIOR_DAYS / prior.active_r) / (self.active + 2.0 * PRIOR_DAYS);
        Hurdle { active: active.clamp(1e-6, 1.0), mean, r: 1.0 / inverse }
    }

    /// Dispersion of the days above zero by moments; `None` for fewer than three.
    pub fn active_dispersion(&self) -> Option<f64> {
        let n = self.active;
        if n < 3.0 {
            return None;
        }
        let mean = self.active_total / n;
        let variance = (self.active_square / n - mean * mean) * n / (n - 1.0);
        Some((mean * mean / (variance - mean).max(1e-3 * mean * mean)).clamp(0.2, 1e3))
    }

    fn dispersion(&self, prior: CountPrior) -> f64 {
        const PRIOR_DAYS: f64 = 10.0;
        let days = self.exposure[0].max(1e-9);
        let unit = self.square / days;
        if unit <= 0.0 {
            return prior.r;
        }
        let inverse = (self.excess + PRIOR_DAYS / prior.r * unit) / (self.square + PRIOR_DAYS * unit);
        (1.0 / inverse.max(1e-3)).clamp(0.3, 1e3)
    }

    /// Learns a day. The update is winsorised at the predictive's far tail, so that one extreme day cannot become the
    /// new normal (contamination guard).
    pub fn learn(&mut self, y: f64, season: f64, prior: CountPrior) {
        let predictive = self.predict(prior, season, 0);
        if y > 0.0 {
            let usual = self.hurdle(prior);
            let most = usual.mean + 6.0 * (usual.mean + usual.mean * usual.mean / usual.r).sqrt();
            self.active += 1.0;
            self.active_total += y.min(most);
            self.active_square += y.min(most).powi(2);
        }
        let y = if self.days() >= 3.0 { y.min(predictive.mean + 3.5 * predictive.sd() + 2.0) } else { y };
        let residual = y - predictive.mean;
        if self.days() >= 3.0 {
            self.excess += residual * residual - predictive.mean;
            self.square += predictive.mean * predictive.mean;
        }
        for i in 0..2 {
            self.total[i] += y;
            self.exposure[i] += season;
        }
    }
}

/// Shares: k of n in both memories, and what the day-to-day overdispersion is estimated from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RateCell {
    /// Σ w·k, slow and fast.
    pub hits: [f64; 2],
    /// Σ w·n, slow and fast.
    pub trials: [f64; 2],
    /// Σ w·((k − nθ)² − nθ(1−θ)).
    pub excess: f64,
    /// Σ w·n(n−1)θ(1−θ).
    pub square: f64,
    /// Σ w.
    pub days: f64,
}

/// Prior of a share in a peer group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePrior {
    /// Pooled share.
    pub mean: f64,
    /// Pooled intra-day correlation (0 = binomial).
    pub rho: f64,
}

impl Default for RatePrior {
    fn default() -> Self {
        Self { mean: 0.02, rho: 0.01 }
    }
}

/// Predictive of a share: beta-binomial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePredictive {
    /// Expected share.
    pub mean: f64,
    /// Strength of the beta: a = mean·strength.
    pub strength: f64,
}

impl RatePredictive {
    /// ln P(K ≥ k) of `n`.
    pub fn ln_at_least(&self, k: f64, n: f64) -> f64 {
        if k <= n * self.mean {
            return 0.0;
        }
        ln_betabinomial_at_least(k as u64, n as u64, self.mean * self.strength, (1.0 - self.mean) * self.strength)
    }

    /// Standard deviation of the share among `n`.
    pub fn sd(&self, n: f64) -> f64 {
        let v = self.mean * (1.0 - self.mean);
        (v * (1.0 / n.max(1.0) + 1.0 / (self.strength + 1.0))).sqrt()
    }
}

impl RateCell {
    /// Prior strength in trials.
    const PRIOR_TRIALS: f64 = 50.0;

    /// Forgets.
    pub fn decay(&mut self, d: Decay) {
        for (i, factor) in [d.slow, d.fast].into_iter().enumerate() {
            self.hits[i] *= factor;
            self.trials[i] *= factor;
        }
        self.excess *= d.slow;
        self.square *= d.slow;
        self.days *= d.slow;
    }

    /// Predictive of memory 0 (slow) or 1 (fast).
    pub fn predict(&self, prior: RatePrior, memory: usize) -> RatePredictive {
        let trials = self.trials[memory] + Self::PRIOR_TRIALS;
        let mean = ((self.hits[memory] + Self::PRIOR_TRIALS * prior.mean) / trials).clamp(1e-5, 1.0 - 1e-5);
        let unit = if self.days > 0.0 { self.square / self.days } else { 0.0 };
        let rho = if unit > 0.0 {
            ((self.excess + 10.0 * unit * prior.rho) / (self.square + 10.0 * unit)).clamp(1e-5, 0.5)
        } else {
            prior.rho
        };
        RatePredictive { mean, strength: 1.0 / (rho + 1.0 / trials) }
    }

    /// Learns a day of `k` in `n`, winsorised.
    pub fn learn(&mut self, k: f64, n: f64, prior: RatePrior) {
        if n <= 0.0 {
            return;
        }
        let p = self.predict(prior, 0);
        let k = if self.days >= 3.0 { k.min(n * (p.mean + 3.0 * p.sd(n)) + 1.0) } else { k };
        let (variance, residual) = (p.mean * (1.0 - p.mean), k - n * p.mean);
        if self.days >= 3.0 {
            self.excess += residual * residual - n * variance;
            self.square += n * (n - 1.0) * variance;
        }
        self.days += 1.0;
        for i in 0..2 {
            self.hits[i] += k;
            self.trials[i] += n;
        }
    }
}

/// A continuous value under a normal model with unknown mean and variance (normal-inverse-gamma).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NormalCell {
    /// Σ w.
    pub n: f64,
    /// Weighted mean.
    pub mean: f64,
    /// Σ w·(x − mean)².
    pub m2: f64,
}

/// Prior of a continuous value in a peer group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalPrior {
    /// Mean over the group.
    pub mean: f64,
    /// Variance between members.
    pub between: f64,
    /// Typical variance within a member.
    pub within: f64,
}

impl Default for NormalPrior {
    fn default() -> Self {
        Self { mean: 0.0, between: 1.0, within: 1.0 }
    }
}

/// Predictive of a continuous value: Student's t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalPredictive {
    /// Centre.
    pub mean: f64,
    /// Scale.
    pub scale: f64,
    /// Degrees of freedom.
    pub df: f64,
}

impl NormalPredictive {
    /// The same with independent noise of this standard deviation on top.
    #[must_use]
    pub fn with_noise(self, sd: f64) -> Self {
        Self { scale: self.scale.hypot(sd), ..self }
    }

    /// Standardised distance.
    pub fn t(&self, x: f64) -> f64 {
        (x - self.mean) / self.scale
    }

    /// ln P(X ≥ x).
    pub fn ln_at_least(&self, x: f64) -> f64 {
        ln_t_at_least(self.t(x), self.df)
    }

    /// ln of the two-sided p-value.
    pub fn ln_two_sided(&self, x: f64) -> f64 {
        (ln_t_at_least(self.t(x).abs(), self.df) + std::f64::consts::LN_2).min(0.0)
    }
}

impl NormalCell {
    /// Degrees of freedom that the prior is worth, halved.
    const PRIOR_SHAPE: f64 = 2.0;

    /// Forgets (slow memory).
    pub fn decay(&mut self, d: Decay) {
        self.n *= d.slow;
        self.m2 *= d.slow;
    }

    /// Predictive; `floor` is the smallest standard deviation that is believed.
    pub fn predict(&self, prior: NormalPrior, floor: f64) -> NormalPredictive {
        // The member's own mean takes over from the group's within a few days.
        let k0 = prior.within.max(floor * floor) / prior.between.max(floor * floor);
        let k0 = k0.clamp(0.05, 2.0);
        let mean = (k0 * prior.mean + self.n * self.mean) / (k0 + self.n);
        let shape = Self::PRIOR_SHAPE + self.n / 2.0;
        let variance = (Self::PRIOR_SHAPE * prior.within + self.m2 / 2.0) / shape;
        let spread = 1.0 + 1.0 / (k0 + self.n);
        NormalPredictive { mean, scale: (variance * spread).sqrt().max(floor), df: 2.0 * shape }
    }

    /// Learns a value, clipped at three scales of the predictive (Huber).
    pub fn learn(&mut self, x: f64, prior: NormalPrior, floor: f64) {
        let x = if self.n >= 3.0 {
            let p = self.predict(prior, floor);
            x.clamp(p.mean - 3.0 * p.scale, p.mean + 3.0 * p.scale)
        } else {
            x
        };
        let delta = x - self.mean;
        self.n += 1.0;
        self.mean += delta / self.n;
        self.m2 += delta * (x - self.mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Decay = Decay { slow: 0.9756, fast: 0.9057 };

    #[test]
    fn a_doubled_count_is_odd_and_the_usual_one_is_not() {
        let mut cell = CountCell::default();
        let prior = CountPrior { r: 10.0, ..CountPrior::default() };
        for day in 0..40 {
            cell.decay(DAY);
            cell.learn(100.0 + f64::from(day % 7), 1.0, prior);
        }
        let p = cell.predict(prior, 1.0, 0);
        assert!(p.ln_at_least(105.0) > -2.0);
        assert!(p.ln_at_least(220.0) < -7.0, "{}", p.ln_at_least(220.0));
    }

    #[test]
    fn a_first_burst_of_something_never_done_is_rare_but_no_impossibility() {
        let prior = CountPrior { active: 0.05, active_mean: 20.0, ..CountPrior::default() };
        let mut cell = CountCell::default();
        for _ in 0..25 {
            cell.decay(DAY);
            cell.learn(0.0, 1.0, prior);
        }
        let p = cell.predict(prior, 1.0, 0);
        let ln_p = p.ln_at_least(34.0);
        assert!((-9.0..-5.0).contains(&ln_p), "peers do as much when they do it at all: {ln_p}");
        assert!(p.ln_at_least(3_000.0) < -50.0, "but not a hundred times as much");
        assert!(p.ln_at_least(34.0) > CountPredictive { hurdle: None, ..p }.ln_at_least(34.0) + 10.0);
    }

    #[test]
    fn a_count_of_every_day_has_no_hurdle() {
        let mut cell = CountCell::default();
        for _ in 0..25 {
            cell.decay(DAY);
            cell.learn(40.0, 1.0, CountPrior::default());
        }
        assert_eq!(cell.predict(CountPrior::default(), 1.0, 0).hurdle, None);
    }

    #[test]
    fn one_extreme_day_does_not_become_the_new_normal() {
        let mut cell = CountCell::default();
        for _ in 0..30 {
            cell.decay(DAY);
            cell.learn(50.0, 1.0, CountPrior::default());
        }
        let before = cell.mean(CountPrior::default());
        cell.learn(100_000.0, 1.0, CountPrior::default());
        assert!(cell.mean(CountPrior::default()) < before * 1.5);
    }

    #[test]
    fn the_fast_memory_absorbs_a_level_shift_within_days() {
        let mut cell = CountCell::default();
        for day in 0..50 {
            cell.decay(DAY);
            cell.learn(if day < 44 { 100.0 } else { 160.0 }, 1.0, CountPrior::default());
        }
        let mean = |memory| cell.predict(CountPrior::default(), 1.0, memory).mean;
        assert!(mean(1) > 1.08 * mean(0), "fast {} slow {}", mean(1), mean(0));
    }

    #[test]
    fn an_error_climb_is_odd_against_a_steady_rate() {
        let mut cell = RateCell::default();
        for day in 0..30 {
            cell.decay(DAY);
            cell.learn(20.0 + f64::from(day % 5), 1_000.0, RatePrior::default());
        }
        let p = cell.predict(RatePrior::default(), 0);
        assert!(p.ln_at_least(22.0, 1_000.0) > -2.5);
        assert!(p.ln_at_least(180.0, 1_000.0) < -12.0);
    }

    #[test]
    fn a_cold_start_leans_on_the_group() {
        let prior = NormalPrior { mean: 5.0, between: 1.0, within: 0.25 };
        let p = NormalCell::default().predict(prior, 0.01);
        assert!((p.mean - 5.0).abs() < 1e-9);
        assert!(p.ln_two_sided(5.5) > -1.5);
    }
}
