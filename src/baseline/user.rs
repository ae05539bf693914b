//! The learned behaviour of one user: counts, shares, continuous values, hours, weekdays, and every value ever used.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::cells::{CountCell, CountPrior, Decay, NormalCell, RateCell};
use super::priors::Priors;
use crate::date::Date;
use crate::features::catalog::{session, user_day as f};
use crate::tables::{DayTables, ValueKind};

/// A count feature: its column, whether it scales with the weekday's volume, and what is taken off first (distinct
/// counts are at least 1 on an active day, and only what is above 1 varies).
pub type CountFeature = (usize, bool, f64);

/// Count features with a negative-binomial model.
pub const COUNTS: [CountFeature; 27] = [
    (f::CALLS, true, 0.0),
    (f::READS, true, 0.0),
    (f::WRITES, true, 0.0),
    (f::DELETES, true, 0.0),
    (f::DESCRIBES, true, 0.0),
    (f::QUERIES, true, 0.0),
    (f::QUERY_MORES, true, 0.0),
    (f::BULK_CALLS, true, 0.0),
    (f::COMPOSITE_CALLS, true, 0.0),
    (f::METADATA_CALLS, true, 0.0),
    (f::AUTH_CALLS, true, 0.0),
    (f::OTHER_CALLS, true, 0.0),
    (f::SESSIONS, true, 1.0),
    (f::PEAK_5MIN_CALLS, false, 1.0),
    (f::PEAK_HOUR_CALLS, false, 1.0),
    (f::NIGHT_CALLS, true, 0.0),
    (f::IPS, false, 1.0),
    (f::NETWORKS, false, 1.0),
    (f::COUNTRIES, false, 1.0),
    (f::ASNS, false, 1.0),
    (f::APPS, false, 0.0),
    (f::CHANNELS, false, 1.0),
    (f::API_VERSIONS, false, 1.0),
    (f::ENTITIES, false, 0.0),
    (f::RESOURCES, false, 1.0),
    (f::ACTIONS, false, 1.0),
    (f::LONGEST_STREAK_MIN, false, 1.0),
];

/// Shares of calls with a beta-binomial model.
pub const RATES: [usize; 8] = [
    f::ERRORS,
    f::ERRORS_401,
    f::ERRORS_403_LIMIT,
    f::ERRORS_403_OTHER,
    f::ERRORS_404,
    f::ERRORS_429,
    f::ERRORS_4XX_OTHER,
    f::ERRORS_5XX,
];

/// Continuous features: column, on a log1p scale or not, smallest believed standard deviation on that scale.
pub const CONTINUOUS: [(usize, bool, f64); 21] = [
    (f::CALLS, true, 0.05),
    (f::ENTITIES, true, 0.05),
    (f::RESOURCES, true, 0.05),
    (f::QUERY_MORES, true, 0.05),
    (f::ENTITY_ENTROPY, false, 0.15),
    (f::RESOURCE_ENTROPY, false, 0.15),
    (f::ACTION_ENTROPY, false, 0.15),
    (f::IP_ENTROPY, false, 0.25),
    (f::HOUR_ENTROPY, false, 0.2),
    (f::TOP_ENTITY_SHARE, false, 0.02),
    (f::TOP_RESOURCE_SHARE, false, 0.02),
    (f::FIRST_MINUTE, false, 30.0),
    (f::LAST_MINUTE, false, 30.0),
    (f::SPAN_MINUTES, false, 30.0),
    (f::MEDIAN_GAP_MS, true, 0.1),
    (f::MAX_GAP_MS, true, 0.1),
    (f::BURSTINESS, false, 0.03),
    (f::REQUEST_BYTES, true, 0.1),
    (f::RESPONSE_BYTES, true, 0.1),
    (f::ROW_COUNT, true, 0.1),
    (f::DURATION_MS, true, 0.1),
];

/// Counts of one session, and what is taken off first. Its duration is not among them: a program that polls about as often
/// as sessions are cut has sessions of no length or of hours, by chance.
pub const SESSION: [(usize, f64); 7] = [
    (session::CALLS, 1.0),
    (session::READS, 0.0),
    (session::DELETES, 0.0),
    (session::DESCRIBES, 0.0),
    (session::ENTITIES, 0.0),
    (session::RESOURCES, 1.0),
    (session::ACTIONS, 1.0),
];

/// Scalar statistics that are compared with the user's own history of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Habit {
    /// Surprise of the half-hours in which the user was active.
    UnusualHours,
    /// Surprise of the half-hours in which the user was not active.
    MissingHours,
    /// Distance of the day's calls over half-hours from the usual profile.
    HourProfile,
    /// Distance of the day's mix of verbs and objects from the usual mix.
    ActionMix,
    /// Distance of the day's mix of resources from the usual mix.
    ResourceMix,
}

/// How many [`Habit`]s there are.
pub const HABITS: usize = 5;

/// Smallest believed standard deviation per [`Habit`].
pub const HABIT_FLOOR: [f64; HABITS] = [0.6, 0.6, 0.03, 0.03, 0.03];

/// Half-hours in a day.
pub const HALF_HOURS: usize = 48;

/// What is known of one value of one user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueCell {
    /// Days on which it was used, ever.
    pub days: u32,
    /// The same, decayed up to `touched`.
    pub weight: f64,
    /// Calls, decayed up to `touched`.
    pub calls: f64,
    /// Σ of the value's share of the day's calls, decayed up to `touched`.
    pub share: f64,
    /// First use.
    pub first: Date,
    /// Last use.
    pub last: Date,
}

/// What is known of one kind of value of one user.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KindCell {
    /// Distinct values per day, summed and decayed: the draws of the Pitman–Yor process.
    pub draws: f64,
    /// Known values.
    pub known: u32,
    /// Of these, seen on one day only.
    pub once: u32,
    /// Calls with values that were new that day.
    pub new_calls: CountCell,
}

/// How much weight calls on new values have. What is called is counted as it is. Where from, by whom and with which version
/// concerns all calls of a program alike: a busy one that changes its network or version is no greater news than a slow one,
/// so there it is counted in twentieths of the user's usual day.
pub fn weight_of_new(kind: ValueKind, new_calls: f64, usual_calls: f64) -> f64 {
    let of_all_calls = !matches!(
        kind,
        ValueKind::Resource | ValueKind::Entity | ValueKind::Action | ValueKind::ActionEntity | ValueKind::HttpMethod
    );
    if of_all_calls && new_calls > 0.0 {
        new_calls.min((20.0 * new_calls / usual_calls.max(1.0)).round().max(1.0))
    } else {
        new_calls
    }
}

/// Calls on new values before any are seen: on one day in ten, of any size.
pub const NEW_CALLS: CountPrior = CountPrior { a: 0.5, b: 0.5, r: 0.4, active: 0.1, active_mean: 10.0, active_r: 0.4 };

/// One remembered day, for medians, percentiles and trends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastDay {
    /// The date.
    pub date: Date,
    /// Calls.
    pub calls: f64,
    /// Calls that failed for a reason of the caller's own ([`own_errors`]).
    pub errors: f64,
}

/// Calls of a user-day with status 400 or above, without server errors and used-up limits: those say more about the
/// platform's day than about the caller's.
pub fn own_errors(x: &[f64]) -> f64 {
    (x[f::ERRORS] - x[f::ERRORS_5XX] - x[f::ERRORS_403_LIMIT] - x[f::ERRORS_429]).max(0.0)
}

/// Days kept in [`UserState::past`].
pub const PAST_DAYS: usize = 45;

/// Nights kept in [`UserState::nights`].
pub const PAST_NIGHTS: usize = 60;

/// Days of a week that is looked at as one, today included.
pub const WEEK: i32 = 7;

/// The learned behaviour of one user.
#[derive(Debug, Clone, PartialEq)]
pub struct UserState {
    /// First active day.
    pub first: Date,
    /// Last active day.
    pub last: Date,
    /// Active days ever.
    pub active_days: u32,
    /// Active days, decayed.
    pub days: f64,
    /// Days of the organisation since `first`, by workday (0) and weekend (1), decayed.
    pub seen: [f64; 2],
    /// Of these, days on which the user was active.
    pub active: [f64; 2],
    /// By [`COUNTS`].
    pub counts: Vec<CountCell>,
    /// By [`RATES`].
    pub rates: Vec<RateCell>,
    /// By [`CONTINUOUS`].
    pub continuous: Vec<NormalCell>,
    /// By [`SESSION`].
    pub session: Vec<CountCell>,
    /// By [`Habit`].
    pub habits: [NormalCell; HABITS],
    /// Σ of calls over usual calls, by weekday, decayed.
    pub season_sum: [f64; 7],
    /// Days behind `season_sum`.
    pub season_days: [f64; 7],
    /// Active days per half-hour, by workday and weekend, decayed.
    pub hours: [[f64; HALF_HOURS]; 2],
    /// Days behind `hours`.
    pub hour_days: [f64; 2],
    /// Σ of the share of the day's calls per half-hour, decayed.
    pub profile: [f64; HALF_HOURS],
    /// Values ever used, by kind and the organisation's number of the value.
    pub values: FxHashMap<(ValueKind, u32), ValueCell>,
    /// By kind.
    pub kinds: [KindCell; ValueKind::ALL.len()],
    /// The last days, oldest first.
    pub past: VecDeque<PastDay>,
    /// −ln p of the last nights, winsorised, oldest first: the second stage.
    pub nights: VecDeque<(Date, f64)>,
    /// Raw scores of the active days of the last [`WEEK`], oldest first; only where the model looks at weeks.
    pub recent: Vec<(Date, Vec<f32>)>,
}

impl UserState {
    /// A user first seen on `date`.
    pub fn new(date: Date) -> Self {
        Self {
            first: date,
            last: date,
            active_days: 0,
            days: 0.0,
            seen: [0.0; 2],
            active: [0.0; 2],
            counts: vec![CountCell::default(); COUNTS.len()],
            rates: vec![RateCell::default(); RATES.len()],
            continuous: vec![NormalCell::default(); CONTINUOUS.len()],
            session: vec![CountCell::default(); SESSION.len()],
            habits: [NormalCell::default(); HABITS],
            season_sum: [0.0; 7],
            season_days: [0.0; 7],
            hours: [[0.0; HALF_HOURS]; 2],
            hour_days: [0.0; 2],
            profile: [0.0; HALF_HOURS],
            values: FxHashMap::default(),
            kinds: [KindCell::default(); ValueKind::ALL.len()],
            past: VecDeque::new(),
            nights: VecDeque::new(),
            recent: Vec::new(),
        }
    }

    /// The weekday's factor on volume, shrunk to the group's.
    pub fn season(&self, date: Date, priors: &Priors) -> f64 {
        const PRIOR_DAYS: f64 = 4.0;
        let k = date.weekday();
        ((self.season_sum[k] + PRIOR_DAYS * priors.season[k]) / (self.season_days[k] + PRIOR_DAYS)).max(0.02)
    }

    /// How likely the user is active on such a day, 0..1.
    pub fn activity(&self, date: Date, priors: &Priors) -> f64 {
        const PRIOR_DAYS: f64 = 2.0;
        let k = usize::from(date.is_weekend());
        (self.active[k] + PRIOR_DAYS * priors.activity[k]) / (self.seen[k] + PRIOR_DAYS)
    }

    /// Sum and number of the remembered nights' −ln p.
    pub fn second_stage(&self) -> (f64, f64) {
        (self.nights.iter().map(|n| n.1).sum(), self.nights.len() as f64)
    }

    /// Remembers a night's −ln p, winsorised so that one extreme night does not excuse the next.
    pub fn remember_night(&mut self, date: Date, minus_ln_p: f64) {
        while self.nights.len() >= PAST_NIGHTS {
            self.nights.pop_front();
        }
        self.nights.push_back((date, minus_ln_p.min(6.0)));
    }

    /// Remembers the raw scores of an active day, for as long as a later day's week can reach back to it.
    pub fn remember_scores(&mut self, date: Date, scores: Vec<f32>) {
        self.forget_scores(date);
        self.recent.push((date, scores));
    }

    /// Drops the raw scores that no day after `date` looks at.
    pub fn forget_scores(&mut self, date: Date) {
        self.recent.retain(|(then, _)| date.plus(1) < then.plus(WEEK));
    }

    /// Raw scores of the active days among the six before `date`, oldest first.
    pub fn week_before(&self, date: Date) -> &[(Date, Vec<f32>)] {
        let (from, to) = (date.plus(1 - WEEK), date);
        let at = |d: Date| self.recent.partition_point(|(then, _)| *then < d);
        &self.recent[at(from)..at(to)]
    }

    /// Forgets one step in time; values are decayed when they are touched.
    pub fn decay(&mut self, d: Decay) {
        self.days *= d.slow;
        for k in 0..2 {
            self.seen[k] *= d.slow;
            self.active[k] *= d.slow;
            self.hour_days[k] *= d.slow;
            for h in &mut self.hours[k] {
                *h *= d.slow;
            }
        }
        for k in 0..7 {
            self.season_sum[k] *= d.slow;
            self.season_days[k] *= d.slow;
        }
        for p in &mut self.profile {
            *p *= d.slow;
        }
        self.counts.iter_mut().for_each(|c| c.decay(d));
        self.rates.iter_mut().for_each(|c| c.decay(d));
        self.continuous.iter_mut().for_each(|c| c.decay(d));
        self.session.iter_mut().for_each(|c| c.decay(d));
        self.habits.iter_mut().for_each(|c| c.decay(d));
        for kind in &mut self.kinds {
            kind.draws *= d.slow;
            kind.new_calls.decay(d);
        }
    }

    /// Learns row `row` of a day. `number` gives the organisation's number of a value; `habits` are the day's
    /// statistics as the detectors computed them before learning.
    pub fn learn(
        &mut self,
        day: &DayTables,
        row: usize,
        priors: &Priors,
        half_life: f64,
        habits: &[f64; HABITS],
        number: &mut dyn FnMut(ValueKind, &str) -> u32,
    ) {
        let date = day.date;
        let weekend = usize::from(date.is_weekend());
        let x = day.user_day.row(row);
        let calls = x[f::CALLS];
        let season = self.season(date, priors);
        let usual = self.counts[0].mean(priors.counts[0]);
        if usual > 0.0 && self.days >= 2.0 {
            self.season_sum[date.weekday()] += (calls / usual).min(4.0);
            self.season_days[date.weekday()] += 1.0;
        }
        for (i, &(column, seasonal, base)) in COUNTS.iter().enumerate() {
            let s = if seasonal { season } else { 1.0 };
            self.counts[i].learn((x[column] - base).max(0.0), s, priors.counts[i]);
        }
        for (i, &column) in RATES.iter().enumerate() {
            self.rates[i].learn(x[column], calls, priors.rates[i]);
        }
        for (i, &(column, log, floor)) in CONTINUOUS.iter().enumerate() {
            self.continuous[i].learn(scale(x[column], log), priors.continuous[i], floor);
        }
        for (i, &habit) in habits.iter().enumerate() {
            if self.days >= 5.0 {
                self.habits[i].learn(habit, priors.habits[i], HABIT_FLOOR[i]);
            }
        }
        for s in day.sessions_of(row as u32) {
            for (i, &(column, base)) in SESSION.iter().enumerate() {
                let y = (day.session.get(s, column) - base).max(0.0);
                self.session[i].learn(y, 1.0, priors.session[i]);
            }
        }
        self.learn_hours(day, row, calls, weekend);
        self.learn_values(day, row, (half_life, usual), number);
        self.active_days += 1;
        self.days += 1.0;
        self.last = self.last.max(date);
        while self.past.len() >= PAST_DAYS {
            self.past.pop_front();
        }
        self.past.push_back(PastDay { date, calls, errors: own_errors(x) });
    }

    fn learn_hours(&mut self, day: &DayTables, row: usize, calls: f64, weekend: usize) {
        let bins = half_hours(day, row);
        for (h, &c) in bins.iter().enumerate() {
            if c > 0.0 {
                self.hours[weekend][h] += 1.0;
                self.profile[h] += c / calls.max(1.0);
            }
        }
        self.hour_days[weekend] += 1.0;
    }

    fn learn_values(
        &mut self,
        day: &DayTables,
        row: usize,
        (half_life, usual): (f64, f64),
        number: &mut dyn FnMut(ValueKind, &str) -> u32,
    ) {
        let rows = day.values_of(row as u32);
        for group in rows.chunk_by(|a, b| a.kind == b.kind) {
            let kind = group[0].kind;
            let total: f64 = group.iter().map(|v| f64::from(v.calls)).sum();
            let cell = &mut self.kinds[kind as usize];
            let mut new_calls = 0.0;
            for v in group {
                let key = (kind, number(kind, day.text(v.value)));
                let calls = f64::from(v.calls);
                cell.draws += 1.0;
                let value = self.values.entry(key).or_insert_with(|| {
                    new_calls += calls;
                    cell.known += 1;
                    ValueCell { days: 0, weight: 0.0, calls: 0.0, share: 0.0, first: day.date, last: day.date }
                });
                let factor = (-f64::from(day.date.0 - value.last.0) / half_life).exp2();
                value.weight = value.weight * factor + 1.0;
                value.calls = value.calls * factor + calls;
                value.share = value.share * factor + calls / total.max(1.0);
                value.days += 1;
                value.last = day.date;
                match value.days {
                    1 => cell.once += 1,
                    2 => cell.once = cell.once.saturating_sub(1),
                    _ => {}
                }
            }
            if self.active_days >= 5 {
                cell.new_calls.learn(weight_of_new(kind, new_calls, usual), 1.0, NEW_CALLS);
            }
        }
    }
}

/// A continuous feature on its scale.
pub fn scale(x: f64, log: bool) -> f64 {
    if log { x.max(0.0).ln_1p() } else { x }
}

/// Calls per half-hour of one user over all channels.
pub fn half_hours(day: &DayTables, row: usize) -> [f64; HALF_HOURS] {
    let mut bins = [0.0; HALF_HOURS];
    for h in day.hours_of(row as u32) {
        bins[usize::from(h.half_hour).min(HALF_HOURS - 1)] += f64::from(h.calls);
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_programs_move_is_no_greater_news_than_a_slow_ones() {
        let moved = |usual: f64| weight_of_new(ValueKind::Network, usual, usual);
        assert_eq!((moved(20_000.0), moved(200.0)), (20.0, 20.0));
        assert_eq!(weight_of_new(ValueKind::Country, 8.0, 3.0), 8.0, "never more than the calls themselves");
        assert_eq!(weight_of_new(ValueKind::Asn, 1.0, 20_000.0), 1.0, "and never nothing");
        assert_eq!(weight_of_new(ValueKind::Asn, 0.0, 20_000.0), 0.0);
        assert_eq!(weight_of_new(ValueKind::Entity, 3_000.0, 5_000.0), 3_000.0, "what is read counts in full");
    }

    #[test]
    fn a_week_reaches_back_six_days_over_gaps() {
        let mut user = UserState::new(Date(100));
        for date in [100, 101, 104, 106] {
            user.remember_scores(Date(date), vec![date as f32]);
        }
        let week = |user: &UserState, date| user.week_before(Date(date)).iter().map(|d| d.0.0).collect::<Vec<_>>();
        assert_eq!(week(&user, 107), [101, 104, 106]);
        assert_eq!(week(&user, 106), [101, 104], "neither the day itself nor a later one");
        assert_eq!(week(&user, 110), [104, 106], "time passes without the user, too");
        assert_eq!(user.recent.len(), 3, "what no later day can reach is dropped");
        user.forget_scores(Date(120));
        assert!(user.recent.is_empty());
    }

    #[test]
    fn the_platforms_failures_are_not_the_callers() {
        let mut x = vec![0.0; f::FEATURES.len()];
        for (column, value) in
            [(f::ERRORS, 30.0), (f::ERRORS_5XX, 12.0), (f::ERRORS_403_LIMIT, 8.0), (f::ERRORS_429, 1.0)]
        {
            x[column] = value;
        }
        assert_eq!(own_errors(&x), 9.0);
    }
}
