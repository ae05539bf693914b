//! Subjects that are not one user: apps, addresses, the whole organisation, and users who should have come but did not.
//!
//! Fan-in shows here (one address trying many users, many addresses failing), and what moved for everyone becomes one
//! finding of the organisation instead of one per user.

use std::sync::LazyLock;

use super::{Campaign, Fact, Findings, Slot, Surge};
use crate::anomaly::{Category, SubjectType};
use crate::baseline::cells::{CountCell, CountPrior, RateCell, RatePrior};
use crate::baseline::org::{AGGREGATES, AggregateModel, AggregateState, NightView, OrgState, aggregate_table};
use crate::baseline::user::{COUNTS, HALF_HOURS, RATES, UserState};
use crate::features::catalog::{Family, Feature, app_day, ip_day, org_day, user_day};
use crate::tables::DayTables;

fn features(subject: SubjectType) -> &'static [Feature] {
    match subject {
        SubjectType::AppDay => app_day::FEATURES,
        SubjectType::IpDay => ip_day::FEATURES,
        _ => org_day::FEATURES,
    }
}

/// Fewest users behind an app or address for it to be a subject of its own: below that the user-days say the same.
const MIN_USERS: f64 = 3.0;

/// Days of the organisation before its totals mean anything.
const MIN_ORG_DAYS: u32 = 7;

/// The slots of an aggregate: its counts, its rates and, for the organisation, surges.
pub fn slots(model: &AggregateModel) -> &'static [Slot] {
    static SLOTS: LazyLock<Vec<Vec<Slot>>> = LazyLock::new(|| AGGREGATES.iter().map(build).collect());
    let i = AGGREGATES.iter().position(|m| m.subject == model.subject).expect("a model of AGGREGATES");
    &SLOTS[i]
}

fn build(model: &AggregateModel) -> Vec<Slot> {
    let names = features(model.subject);
    let counts = model.counts.iter().map(|c| {
        let name = names[*c].name;
        let category = match name {
            "failed_users" | "failed_ips" | "errors_401" => Category::Error,
            "users" | "ips" | "countries" => Category::Identity,
            "calls" => Category::Volume,
            _ => Category::Behavioral,
        };
        Slot { name: format!("count/{name}"), family: Family::Count, category }
    });
    let rates = model.rates.iter().map(|c| Slot {
        name: format!("rate/{}", names[*c].name),
        family: Family::Rate,
        category: Category::Error,
    });
    let surges = (model.subject == SubjectType::OrgDay).then(|| {
        [
            Slot { name: "surge/counts".into(), family: Family::Count, category: Category::Volume },
            Slot { name: "surge/rates".into(), family: Family::Rate, category: Category::Error },
            Slot { name: "campaign/failed_logins".into(), family: Family::Rate, category: Category::Error },
        ]
    });
    counts.chain(rates).chain(surges.into_iter().flatten()).collect()
}

/// Rows of an aggregate that are subjects. Addresses and channels of a campaign are part of the organisation's finding.
pub fn subjects(day: &DayTables, model: &AggregateModel, state: &OrgState, campaign: &Campaign) -> Vec<usize> {
    let table = aggregate_table(day, model.subject);
    (0..table.len())
        .filter(|&row| match model.subject {
            SubjectType::AppDay => {
                table.get(row, app_day::USERS) >= MIN_USERS && !campaign.channels.contains(&table.ids[row])
            }
            SubjectType::IpDay => {
                (table.get(row, ip_day::USERS) >= MIN_USERS || table.get(row, ip_day::FAILED_USERS) >= MIN_USERS)
                    && !campaign.addresses.contains(&table.ids[row])
            }
            _ => state.days >= MIN_ORG_DAYS,
        })
        .collect()
}

/// Scores one row of an aggregate.
pub fn inspect(
    day: &DayTables,
    model: &AggregateModel,
    row: usize,
    state: Option<&AggregateState>,
    priors: &[CountPrior],
    (surge, campaign): (&Surge, &Campaign),
    with_facts: bool,
) -> Findings {
    let mut out = Findings::new(slots(model).len(), with_facts);
    let table = aggregate_table(day, model.subject);
    let (x, names) = (table.row(row), features(model.subject));
    let (no_count, no_rate) = (CountCell::default(), RateCell::default());
    for (i, &column) in model.counts.iter().enumerate() {
        let cell = state.map_or(&no_count, |s| &s.counts[i]);
        let (slow, fast) = (cell.predict(priors[i], 1.0, 0), cell.predict(priors[i], 1.0, 1));
        if x[column] > slow.mean {
            out.put(i, slow.ln_at_least(x[column]).max(fast.ln_at_least(x[column])), || Fact::Level {
                feature: &names[column],
                observed: x[column],
                expected: slow.mean,
                low: (slow.mean - 1.64 * slow.sd()).max(0.0),
                high: slow.mean + 1.64 * slow.sd(),
                days: cell.days(),
            });
        }
    }
    let calls = x[0];
    // Failures with one cause are the organisation's finding, not that of every app and address they passed through.
    let common = model.subject != SubjectType::OrgDay && surge.rates.iter().any(|share| *share > 0.0);
    for (i, &column) in model.rates.iter().enumerate().filter(|_| !common) {
        let cell = state.map_or(&no_rate, |s| &s.rates[i]);
        let prior = RatePrior::default();
        let (slow, fast) = (cell.predict(prior, 0), cell.predict(prior, 1));
        if x[column] >= 1.0 {
            let ln_p = slow.ln_at_least(x[column], calls).max(fast.ln_at_least(x[column], calls));
            out.put(model.counts.len() + i, ln_p, || Fact::Share {
                feature: &names[column],
                hits: x[column],
                calls,
                expected: slow.mean,
                high: (slow.mean + 1.64 * slow.sd(calls)).min(1.0),
            });
        }
    }
    if model.subject == SubjectType::OrgDay {
        let base = model.counts.len() + model.rates.len();
        for (i, (&factor, &users)) in surge.counts.iter().zip(&surge.count_users).enumerate() {
            if users > 0.0 {
                out.put_score(base, 5.0 * users * factor.ln().abs(), || Fact::Surge {
                    feature: &user_day::FEATURES[COUNTS[i].0],
                    users,
                    factor,
                    is_share: false,
                });
            }
        }
        for (i, (&share, &users)) in surge.rates.iter().zip(&surge.rate_users).enumerate() {
            if share > 0.0 {
                out.put_score(base + 1, 10.0 * users * share.sqrt(), || Fact::Surge {
                    feature: &user_day::FEATURES[RATES[i]],
                    users,
                    factor: share,
                    is_share: true,
                });
            }
        }
        if !campaign.is_empty() {
            // Users times tries, each on a log scale: five users and fifteen tries are about e^-5.
            let score = (campaign.victims.len() as f64).ln() * (campaign.errors as f64).ln_1p();
            out.put_score(base + 2, score, || Fact::Campaign {
                users: campaign.victims.len(),
                addresses: campaign.addresses.iter().take(5).map(|a| day.text(*a).to_owned()).collect(),
                more_addresses: campaign.addresses.len().saturating_sub(5),
                calls: campaign.calls,
                errors: campaign.errors,
            });
        }
    }
    out
}

/// The one slot of a user who did not come.
pub fn silent_slot() -> &'static [Slot] {
    static SLOT: LazyLock<Vec<Slot>> =
        LazyLock::new(|| vec![Slot { name: "time/silent".into(), family: Family::Time, category: Category::Temporal }]);
    &SLOT
}

/// Users who are all but always active on such a day and have no row today, with their score. A day on which a fifth of
/// them is missing is a holiday or a gap in the log, not a finding; nor is it one if `nobody` called when they usually do.
pub fn silent<'a>(
    day: &DayTables,
    state: &'a OrgState,
    view: &NightView,
    nobody: &[bool; HALF_HOURS],
) -> Vec<(&'a str, &'a UserState, f64)> {
    let present: std::collections::BTreeSet<&str> = day.user_day.ids.iter().map(|id| day.text(*id)).collect();
    let k = usize::from(day.date.is_weekend());
    let steady = |u: &UserState| {
        let group = state.group_of(view, Some(u), None);
        let usual = u.activity(day.date, &view.groups[group]);
        (u.seen[k] >= 5.0 && usual >= 0.93).then_some(usual)
    };
    let (mut expected, mut absent) = (0_usize, Vec::new());
    for (id, user) in &state.users {
        if let Some(usual) = steady(user) {
            // Only the first day of a silence: a user who left would alarm for weeks.
            let gap = day.date.0 - user.last.0;
            let active_elsewhere = || {
                let hours = user.hours[k].iter().zip(nobody).filter(|(_, nobody)| !**nobody);
                hours.map(|(days, _)| *days).fold(0.0, f64::max) >= 0.5 * user.hour_days[k]
            };
            let present = present.contains(id.as_str());
            if !present && nobody.contains(&true) && !active_elsewhere() {
                continue;
            }
            expected += 1;
            if !present && gap <= 3 {
                absent.push((id.as_str(), user, -(1.0 - usual).max(1e-4).ln()));
            }
        }
    }
    if absent.len() * 5 > expected { Vec::new() } else { absent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date::Date;

    /// Twenty users who are there each workday morning and twenty each afternoon, for a hundred days; `present` came today.
    fn day(present: &[&str]) -> (DayTables, OrgState) {
        let (first, date) = (Date(20_000), Date(20_101));
        let mut state = OrgState::default();
        for n in 0..40 {
            let (id, from) = if n < 20 { (format!("am{n:02}"), 16) } else { (format!("pm{n:02}"), 26) };
            let mut user = UserState::new(first);
            (user.last, user.days) = (date.plus(-1), 100.0);
            (user.seen, user.active, user.hour_days) = ([100.0; 2], [100.0; 2], [100.0; 2]);
            user.hours.iter_mut().for_each(|hours| hours[from..from + 8].fill(100.0));
            state.users.insert(id, user);
        }
        let text: Vec<String> = [""].iter().chain(present).map(|t| (*t).to_owned()).collect();
        let ids = (1..text.len() as u32).collect();
        let user_day = crate::tables::FeatureTable { ids, ..Default::default() };
        (DayTables { date, text, user_day, ..DayTables::default() }, state)
    }

    fn absent(present: &[&str], nobody: &[bool; HALF_HOURS]) -> usize {
        let (day, state) = day(present);
        silent(&day, &state, &state.night_view(), nobody).len()
    }

    #[test]
    fn who_could_not_be_seen_is_neither_missed_nor_counted_among_those_who_came() {
        let everybody: Vec<String> =
            (0..20).map(|n| format!("am{n:02}")).chain((20..40).map(|n| format!("pm{n:02}"))).collect();
        let all: Vec<&str> = everybody.iter().map(String::as_str).collect();
        let (whole, mut afternoon) = ([false; HALF_HOURS], [false; HALF_HOURS]);
        afternoon[24..36].fill(true);
        assert_eq!(absent(&all[1..], &whole), 1, "one who stays away is missed");
        assert_eq!(absent(&all[..20], &whole), 0, "half of all: a holiday");
        assert_eq!(absent(&all[1..20], &afternoon), 1, "the afternoon is a hole in the log, the morning is not");
        assert_eq!(absent(&all[5..20], &afternoon), 0, "a quarter of those who could be seen: a holiday");
    }
}
