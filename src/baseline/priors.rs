//! Peer groups: what is usual among users like this one, for those whose own history is short.
//!
//! A peer group is the users who share a main channel (app, client or API family) when there are at least eight of
//! them; everyone else's peers are the whole organisation. Group parameters come from the moments of their members
//! (empirical Bayes) and are shrunk toward the organisation's with weight n / (n + 5).

use super::cells::{CountCell, CountPrior, NormalCell, NormalPrior, RateCell, RatePrior};
use super::user::{CONTINUOUS, COUNTS, HABITS, HALF_HOURS, RATES, SESSION, UserState};

/// Fewest members of a peer group.
pub const MIN_MEMBERS: usize = 8;

/// The priors of one peer group.
#[derive(Debug, Clone, PartialEq)]
pub struct Priors {
    /// By [`COUNTS`].
    pub counts: Vec<CountPrior>,
    /// By [`RATES`].
    pub rates: Vec<RatePrior>,
    /// By [`CONTINUOUS`].
    pub continuous: Vec<NormalPrior>,
    /// By [`SESSION`].
    pub session: Vec<CountPrior>,
    /// By habit.
    pub habits: [NormalPrior; HABITS],
    /// Weekday factors on volume.
    pub season: [f64; 7],
    /// Share of workdays and weekend days with activity.
    pub activity: [f64; 2],
    /// Share of active days on which each half-hour is active, by workday and weekend.
    pub hours: [[f64; HALF_HOURS]; 2],
}

impl Default for Priors {
    fn default() -> Self {
        Self {
            counts: vec![CountPrior::default(); COUNTS.len()],
            rates: vec![RatePrior::default(); RATES.len()],
            continuous: vec![NormalPrior::default(); CONTINUOUS.len()],
            session: vec![CountPrior::default(); SESSION.len()],
            habits: [NormalPrior::default(); HABITS],
            season: [1.0; 7],
            activity: [0.5; 2],
            hours: [[0.2; HALF_HOURS]; 2],
        }
    }
}

impl Priors {
    /// Priors of a set of users, shrunk toward `wider`.
    pub fn of(users: &[&UserState], wider: &Self) -> Self {
        let weight = users.len() as f64 / (users.len() as f64 + 5.0);
        let blend = |own: f64, wide: f64| weight * own + (1.0 - weight) * wide;
        let mut out = wider.clone();
        for i in 0..COUNTS.len() {
            out.counts[i] = count_prior(users.iter().map(|u| &u.counts[i]), wider.counts[i], weight);
        }
        for i in 0..RATES.len() {
            out.rates[i] = rate_prior(users.iter().map(|u| &u.rates[i]), wider.rates[i]);
        }
        for i in 0..CONTINUOUS.len() {
            out.continuous[i] = normal_prior(users.iter().map(|u| &u.continuous[i]), wider.continuous[i], weight);
        }
        for i in 0..SESSION.len() {
            out.session[i] = count_prior(users.iter().map(|u| &u.session[i]), wider.session[i], weight);
        }
        for i in 0..HABITS {
            out.habits[i] = normal_prior(users.iter().map(|u| &u.habits[i]), wider.habits[i], weight);
        }
        for k in 0..7 {
            let (sum, days) = sums(users.iter().map(|u| (u.season_sum[k], u.season_days[k])));
            out.season[k] = (sum + 10.0 * wider.season[k]) / (days + 10.0);
        }
        for k in 0..2 {
            let (active, seen) = sums(users.iter().map(|u| (u.active[k], u.seen[k])));
            out.activity[k] = (active + 10.0 * wider.activity[k]) / (seen + 10.0);
            let days: f64 = users.iter().map(|u| u.hour_days[k]).sum();
            for h in 0..HALF_HOURS {
                let on: f64 = users.iter().map(|u| u.hours[k][h]).sum();
                out.hours[k][h] = blend((on + 0.05) / (days + 1.0), wider.hours[k][h]);
            }
        }
        out
    }
}

fn sums(pairs: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    pairs.fold((0.0, 0.0), |acc, x| (acc.0 + x.0, acc.1 + x.1))
}

/// Gamma prior over members' rates by moments (detection literature's empirical Bayes), and pooled dispersion.
pub fn count_prior<'a>(
    cells: impl Iterator<Item = &'a CountCell> + Clone,
    wider: CountPrior,
    weight: f64,
) -> CountPrior {
    let members: Vec<(f64, f64)> =
        cells.clone().filter(|c| c.exposure[0] >= 2.0).map(|c| (c.total[0] / c.exposure[0], c.exposure[0])).collect();
    let n = members.len() as f64;
    if n < 2.0 {
        return wider;
    }
    let mean = (members.iter().map(|m| m.0).sum::<f64>() / n).max(0.01);
    let exposure = members.iter().map(|m| m.1).sum::<f64>() / n;
    let spread = members.iter().map(|m| (m.0 - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let variance = (spread - mean / exposure).max((0.3 * mean).powi(2));
    let (excess, square) = sums(cells.clone().map(|c| (c.excess, c.square)));
    let r = if square > 0.0 { (square / excess.max(1e-3 * square)).clamp(0.3, 1e3) } else { wider.r };
    let blend = |own: f64, wide: f64| (weight * own.ln() + (1.0 - weight) * wide.ln()).exp();
    let (active, days) = sums(cells.clone().map(|c| (c.active, c.exposure[0])));
    // Sizes are averaged over members, on a log scale: the busiest integration must not be everyone's usual.
    let sized: Vec<&CountCell> = cells.filter(|c| c.active >= 0.5).collect();
    let (size, inverse_r) = sums(
        sized.iter().map(|c| ((c.active_total / c.active).ln(), 1.0 / c.active_dispersion().unwrap_or(wider.active_r))),
    );
    let (active_mean, active_r) = if sized.is_empty() {
        (wider.active_mean, wider.active_r)
    } else {
        let n = sized.len() as f64;
        (blend((size / n).exp().max(1.0), wider.active_mean), blend(n / inverse_r, wider.active_r))
    };
    CountPrior {
        a: blend(mean * mean / variance, wider.a),
        b: blend(mean / variance, wider.b),
        r: blend(r, wider.r),
        active: ((active + 2.0 * wider.active) / (days + 2.0)).clamp(1e-4, 1.0),
        active_mean,
        active_r,
    }
}

fn rate_prior<'a>(cells: impl Iterator<Item = &'a RateCell> + Clone, wider: RatePrior) -> RatePrior {
    const PRIOR_TRIALS: f64 = 2_000.0;
    // Each member counts for at most as many trials as a busy human makes, or the two busiest integrations would be
    // everyone's peers.
    let (hits, trials) = sums(cells.clone().map(|c| {
        let cap = 5_000.0_f64.min(c.trials[0]);
        (if c.trials[0] > 0.0 { c.hits[0] * cap / c.trials[0] } else { 0.0 }, cap)
    }));
    let mean = (hits + PRIOR_TRIALS * wider.mean) / (trials + PRIOR_TRIALS);
    let (excess, square) = sums(cells.map(|c| {
        let cap = if c.square > 1e6 { 1e6 / c.square } else { 1.0 };
        (c.excess * cap, c.square * cap)
    }));
    let rho = if square > 0.0 { (excess / square).clamp(1e-4, 0.3) } else { wider.rho };
    RatePrior { mean: mean.clamp(1e-5, 0.9), rho }
}

/// Mean, spread between members and typical spread within a member.
pub fn normal_prior<'a>(cells: impl Iterator<Item = &'a NormalCell>, wider: NormalPrior, weight: f64) -> NormalPrior {
    let members: Vec<&NormalCell> = cells.filter(|c| c.n >= 3.0).collect();
    let n = members.len() as f64;
    if n < 2.0 {
        return wider;
    }
    let mean = members.iter().map(|c| c.mean).sum::<f64>() / n;
    let between = members.iter().map(|c| (c.mean - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let mut within: Vec<f64> = members.iter().map(|c| c.m2 / c.n).collect();
    within.sort_unstable_by(f64::total_cmp);
    let within = within[within.len() / 2];
    let blend = |own: f64, wide: f64| weight * own + (1.0 - weight) * wide;
    NormalPrior {
        mean: blend(mean, wider.mean),
        between: blend(between, wider.between),
        within: blend(within, wider.within),
    }
}
