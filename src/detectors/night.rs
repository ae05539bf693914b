//! One organisation's night: every subject with its raw scores, before calibration.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::sequence::night::Order;
use super::{Campaign, Fact, Findings, Surge, UserDay, aggregates, counts_predictive};
use crate::anomaly::SubjectType;
use crate::baseline::org::{AGGREGATES, NO_CHANCE, NightView, OrgState, aggregate_table};
use crate::baseline::user::{COUNTS, HABITS, HALF_HOURS, RATES, UserState};
use crate::config::Settings;
use crate::features::catalog::user_day as f;
use crate::tables::{DayTables, ValueKind};

/// One scored subject.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSubject {
    /// What it is.
    pub subject: SubjectType,
    /// Its id within its type.
    pub id: String,
    /// Its row in the table of its type; `None` for a user who did not come.
    pub row: Option<usize>,
    /// Raw score per slot of its type (see [`slots_of`]).
    pub scores: Vec<f32>,
    /// Usual calls a day, for strata.
    pub activity: f64,
}

/// All subjects of one organisation's night.
#[derive(Debug)]
pub struct RawNight {
    /// Subjects, in canonical order: users, silent users, apps, addresses, the organisation.
    pub subjects: Vec<RawSubject>,
    /// The day's statistics per user row, for learning.
    pub habits: Vec<[f64; HABITS]>,
    /// Peer groups and value popularity that were used.
    pub view: NightView,
    /// What moved for everyone.
    pub surge: Surge,
    /// A flood of failed log-ins.
    pub campaign: Campaign,
    /// Users with fewer days of history than the configured minimum.
    pub cold_users: u64,
    /// The day's words as the organisation's order numbers them; empty if that is not known.
    pub words: Vec<u32>,
}

/// The slots of a subject type. Silent users are user-days without a row.
pub fn slots_of(subject: SubjectType, silent: bool) -> &'static [super::Slot] {
    if silent {
        return aggregates::silent_slot();
    }
    match AGGREGATES.iter().find(|m| m.subject == subject) {
        Some(model) => aggregates::slots(model),
        None => super::slots(),
    }
}

/// An address that is new tonight to users of two or more organisations.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedIp {
    /// The organisations, ascending.
    pub orgs: Vec<String>,
    /// From its first call in one organisation to its first call in the last, ms.
    pub spread_ms: i64,
}

/// Addresses that are new tonight to users of two or more organisations, and never seen in these before.
pub fn shared_new_ips(days: &[(&DayTables, &OrgState)]) -> BTreeMap<String, SharedIp> {
    // Per address and organisation the first call.
    let mut firsts: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
    if days.len() < 2 {
        return BTreeMap::new();
    }
    for (day, state) in days {
        for v in day.values.iter().filter(|v| v.kind == ValueKind::Ip) {
            let ip = day.text(v.value);
            // Only parsable addresses: `Salesforce.com IP` is everyone's.
            if ip.parse::<std::net::IpAddr>().is_ok() && state.number(ValueKind::Ip, ip).is_none() {
                let first = firsts.entry(ip).or_default().entry(&day.org_id).or_insert(v.first_ms);
                *first = v.first_ms.min(*first);
            }
        }
    }
    firsts
        .into_iter()
        .filter(|(_, orgs)| orgs.len() >= 2)
        .map(|(ip, orgs)| {
            let times = || orgs.values().copied();
            let spread_ms = times().max().unwrap_or(0) - times().min().unwrap_or(0);
            (ip.to_owned(), SharedIp { orgs: orgs.into_keys().map(str::to_owned).collect(), spread_ms })
        })
        .collect()
}

/// Scores every subject of a day. The state must hold the days before it and nothing else.
pub fn evaluate(
    day: &DayTables,
    state: &OrgState,
    shared_new_ips: &BTreeMap<String, SharedIp>,
    order: Option<&Order>,
    settings: &Settings,
) -> RawNight {
    let view = state.night_view();
    let stranger = UserState::new(day.date);
    let users: Vec<(&UserState, usize)> = (0..day.user_day.len())
        .map(|row| {
            let known = state.users.get(day.text(day.user_day.ids[row]));
            let group = state.group_of(&view, known, todays_channel(day, row));
            (known.unwrap_or(&stranger), group)
        })
        .collect();
    let none = Surge::none();
    let campaign = Campaign::find(day);
    let words = order.zip(day.steps.as_ref()).map_or_else(Vec::new, |(order, steps)| order.encode(steps));
    let order = order.map(|order| (order, words.as_slice()));
    let subject_at = |row: usize, surge| UserDay {
        day,
        row,
        user: users[row].0,
        state,
        view: &view,
        group: users[row].1,
        surge,
        moved: false,
        victim: campaign.victims.contains(&row),
        shared_new_ips,
        order,
        settings,
    };
    let surge = Surge { nobody: nobody(day, state, &view), ..find_surge(users.len(), |row| subject_at(row, &none)) };
    let scored: Vec<Findings> =
        (0..users.len()).into_par_iter().map(|row| super::inspect(subject_at(row, &surge), false)).collect();
    let mut subjects = Vec::with_capacity(scored.len() + 8);
    let mut habits = Vec::with_capacity(scored.len());
    for (row, found) in scored.into_iter().enumerate() {
        let prior = view.groups[users[row].1].counts[0];
        subjects.push(RawSubject {
            subject: SubjectType::UserDay,
            id: day.text(day.user_day.ids[row]).to_owned(),
            row: Some(row),
            scores: narrow(&found.scores),
            activity: users[row].0.counts[0].mean(prior),
        });
        habits.push(found.habits);
    }
    for (id, user, score) in aggregates::silent(day, state, &view, &surge.nobody) {
        subjects.push(RawSubject {
            subject: SubjectType::UserDay,
            id: id.to_owned(),
            row: None,
            scores: vec![score as f32],
            activity: user.counts[0].mean(view.groups[0].counts[0]),
        });
    }
    for (m, model) in AGGREGATES.iter().enumerate() {
        let table = aggregate_table(day, model.subject);
        for row in aggregates::subjects(day, model, state, &campaign) {
            let id = day.text(table.ids[row]);
            let known = state.aggregates.get(&(model.subject, id.to_owned()));
            let found = aggregates::inspect(day, model, row, known, &view.aggregates[m], (&surge, &campaign), false);
            subjects.push(RawSubject {
                subject: model.subject,
                id: id.to_owned(),
                row: Some(row),
                scores: narrow(&found.scores),
                activity: 0.0,
            });
        }
    }
    let minimum = f64::from(settings.baseline.min_history_days);
    let cold_users = users.iter().filter(|(u, _)| f64::from(u.active_days) < minimum.min(5.0)).count() as u64;
    RawNight { subjects, habits, view, surge, campaign, cold_users, words }
}

/// The facts behind one subject of [`evaluate`], with their slots and the raw scores at full width.
pub fn facts(
    day: &DayTables,
    state: &OrgState,
    night: &RawNight,
    subject: &RawSubject,
    shared_new_ips: &BTreeMap<String, SharedIp>,
    order: Option<&Order>,
    settings: &Settings,
) -> Vec<(usize, Fact)> {
    let Some(row) = subject.row else {
        let Some(user) = state.users.get(&subject.id) else { return Vec::new() };
        let group = state.group_of(&night.view, Some(user), None);
        let usual = user.activity(day.date, &night.view.groups[group]);
        return vec![(0, Fact::Silent { usual, last: user.last })];
    };
    let found = if let Some(m) = AGGREGATES.iter().position(|m| m.subject == subject.subject) {
        let known = state.aggregates.get(&(subject.subject, subject.id.clone()));
        aggregates::inspect(
            day,
            &AGGREGATES[m],
            row,
            known,
            &night.view.aggregates[m],
            (&night.surge, &night.campaign),
            true,
        )
    } else {
        let stranger = UserState::new(day.date);
        let known = state.users.get(&subject.id);
        super::inspect(
            UserDay {
                day,
                row,
                user: known.unwrap_or(&stranger),
                state,
                view: &night.view,
                group: state.group_of(&night.view, known, todays_channel(day, row)),
                surge: &night.surge,
                moved: false,
                victim: night.campaign.victims.contains(&row),
                shared_new_ips,
                order: order.map(|order| (order, night.words.as_slice())),
                settings,
            },
            true,
        )
    };
    found.facts.unwrap_or_default()
}

fn narrow(scores: &[f64]) -> Vec<f32> {
    scores.iter().map(|s| *s as f32).collect()
}

fn todays_channel(day: &DayTables, row: usize) -> Option<&str> {
    day.values_of(row as u32)
        .iter()
        .filter(|v| v.kind == ValueKind::Channel)
        .max_by_key(|v| (v.calls, std::cmp::Reverse(v.value)))
        .map(|v| day.text(v.value))
}

impl Surge {
    /// Nothing moved.
    pub fn none() -> Self {
        Self {
            counts: vec![1.0; COUNTS.len()],
            rates: vec![0.0; RATES.len()],
            count_users: vec![0.0; COUNTS.len()],
            rate_users: vec![0.0; RATES.len()],
            nobody: [false; HALF_HOURS],
        }
    }
}

/// Half-hours without a call of anybody that do not pass so by chance.
fn nobody(day: &DayTables, state: &OrgState, view: &NightView) -> [bool; HALF_HOURS] {
    let mut nobody = state.usual_users(view, day.date).map(|usual| usual >= NO_CHANCE);
    for row in day.hours.iter().filter(|row| row.calls > 0) {
        nobody[usize::from(row.half_hour).min(HALF_HOURS - 1)] = false;
    }
    nobody
}

/// Share of users that makes a movement everyone's.
const SURGE_SHARE: f64 = 0.3;

/// Share of users with failures of p < 0.005 that makes them have one cause. A maintenance window or a used-up limit hits
/// whoever is active just then; by chance this share would be a twelfth of it.
const FAILURE_SHARE: f64 = 0.06;

/// Fewest users with history for a surge to mean anything.
const SURGE_USERS: usize = 5;

/// Smallest expected count that takes part in the common factor: of less, a ratio is mostly noise.
const COMMON_MEAN: f64 = 1.0;

/// Largest ratio that one user brings to the common factor.
const COMMON_MOST: f64 = 4.0;

/// How much busier everyone is than usual, at least 1: the mean of the users' ratios if it is clearly above 1. A month's
/// end makes nobody stand out and everybody busy.
fn common_factor(ratios: &[f64]) -> f64 {
    let n = ratios.len() as f64;
    if ratios.len() < 2 * SURGE_USERS {
        return 1.0;
    }
    let mean = ratios.iter().sum::<f64>() / n;
    let variance = ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
    if mean - 1.0 > 2.0 * (variance / n).sqrt() { mean } else { 1.0 }
}

fn find_surge<'a>(users: usize, subject: impl Fn(usize) -> UserDay<'a>) -> Surge {
    let mut surge = Surge::none();
    let experienced: Vec<UserDay<'a>> = (0..users).map(subject).filter(|s| s.user.days >= 5.0 && !s.victim).collect();
    if experienced.len() < SURGE_USERS {
        return surge;
    }
    let n = experienced.len() as f64;
    let (ln_05, ln_005) = (0.05_f64.ln(), 0.005_f64.ln());
    for i in 0..COUNTS.len() {
        let mut high = Vec::new();
        let mut ratios = Vec::new();
        for s in &experienced {
            let (p, y) = counts_predictive(s, i, 0);
            if y > p.mean && p.ln_at_least(y) < ln_05 {
                high.push(y / p.mean);
            }
            if p.mean >= COMMON_MEAN {
                ratios.push((y / p.mean).min(COMMON_MOST));
            }
        }
        surge.counts[i] = common_factor(&ratios);
        if high.len() as f64 >= SURGE_SHARE * n && high.len() >= SURGE_USERS {
            high.sort_unstable_by(f64::total_cmp);
            surge.counts[i] = surge.counts[i].max(high[high.len() / 2]);
            surge.count_users[i] = high.len() as f64 / n;
        }
    }
    for i in 0..RATES.len() {
        let mut high = Vec::new();
        for s in &experienced {
            let (hits, calls) = (s.x()[RATES[i]], s.x()[f::CALLS]);
            let p = s.user.rates[i].predict(s.priors().rates[i], 0);
            if hits >= 1.0 && p.ln_at_least(hits, calls) < ln_005 {
                high.push(hits / calls);
            }
        }
        if high.len() as f64 >= FAILURE_SHARE * n && high.len() >= SURGE_USERS {
            high.sort_unstable_by(f64::total_cmp);
            surge.rates[i] = high[high.len() * 3 / 4];
            surge.rate_users[i] = high.len() as f64 / n;
        }
    }
    surge
}

#[cfg(test)]
mod tests {
    use super::common_factor;

    #[test]
    fn a_busy_day_of_everyone_is_taken_out_and_noise_is_not() {
        let busy: Vec<f64> = (0..60).map(|i| 1.2 + 0.8 * f64::from(i) / 60.0).collect();
        assert!((common_factor(&busy) - 1.6).abs() < 0.02);
        let noise: Vec<f64> = (0..60).map(|i| f64::from(i % 5) / 2.0).collect();
        assert_eq!(common_factor(&noise), 1.0);
        let one_attack: Vec<f64> = (0..60).map(|i| if i == 0 { 4.0 } else { f64::from(i % 5) / 2.0 }).collect();
        assert_eq!(common_factor(&one_attack), 1.0);
        assert_eq!(common_factor(&[3.0; 5]), 1.0, "too few users to speak for everyone");
    }
}
