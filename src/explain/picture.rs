//! The numbers behind the pictures of a user's day and of an organisation's.

use std::collections::{BTreeMap, BTreeSet};

use super::story::Told;
use crate::anomaly::SubjectType;
use crate::anomaly::picture::{HALF_HOURS, OrgDay, OrgPicture, Picture, Usual};
use crate::baseline::org::OrgState;
use crate::baseline::user::{PAST_DAYS, UserState, own_errors};
use crate::date::Date;
use crate::features::catalog::user_day;
use crate::tables::DayTables;

/// Days of a kind (workdays, weekends) below which a clock is not yet a habit.
const FEW_DAYS: f64 = 3.0;
/// Remembered days below which they have no usual range.
const FEW_PAST: usize = 5;

/// 5th and 95th percentile of the calls of the remembered days.
pub(super) fn usual_calls(user: &UserState) -> Option<(f64, f64)> {
    let past = ascending(user);
    let at = |q: f64| past[((past.len() - 1) as f64 * q).round() as usize];
    (past.len() >= FEW_PAST).then(|| (at(0.05), at(0.95)))
}

fn ascending(user: &UserState) -> Vec<f64> {
    let mut past: Vec<f64> = user.past.iter().map(|p| p.calls).collect();
    past.sort_unstable_by(f64::total_cmp);
    past
}

/// The picture of a user's day, silent ones too; other subjects have none.
pub(super) fn picture(told: &Told<'_>) -> Option<Picture> {
    if told.subject.subject != SubjectType::UserDay {
        return None;
    }
    let (mut calls, mut errors) = ([0; HALF_HOURS], [0; HALF_HOURS]);
    for h in told.subject.row.map_or(&[][..], |row| told.day.hours_of(row as u32)) {
        let at = usize::from(h.half_hour).min(HALF_HOURS - 1);
        calls[at] += u64::from(h.calls);
        errors[at] += u64::from(h.errors);
    }
    let user = told.state.users.get(&told.subject.id);
    Some(Picture {
        calls,
        errors,
        usual: user.and_then(|u| usual(u, usize::from(told.day.date.is_weekend()))),
        clock: [0, 1].map(|kind| user.and_then(|u| clock(u, kind))),
        past: user.map_or_else(Vec::new, |u| u.past.iter().map(|p| (p.date, p.calls as u64)).collect()),
        range: user.and_then(usual_calls).map(|(low, high)| (low as u64, high as u64)),
    })
}

/// Share of workdays (0) or weekend days (1) on which each half-hour was active.
fn clock(user: &UserState, kind: usize) -> Option<[f64; HALF_HOURS]> {
    let of_kind = user.hour_days[kind];
    (of_kind >= FEW_DAYS).then(|| user.hours[kind].map(|days| (days / of_kind).clamp(0.0, 1.0)))
}

/// The clock of workdays (0) or weekends (1), with calls.
fn usual(user: &UserState, kind: usize) -> Option<Usual> {
    let past = ascending(user);
    let median = *past.get(past.len() / 2)?;
    clock(user, kind).map(|active| Usual {
        active,
        calls: user.profile.map(|share| (share / user.days.max(1.0)).clamp(0.0, 1.0) * median),
    })
}

/// The picture of an organisation's day; `usual` users of each half-hour.
pub fn of_organisation(day: &DayTables, state: &OrgState, usual: [f64; HALF_HOURS]) -> OrgPicture {
    let mut seen: [BTreeSet<u32>; HALF_HOURS] = std::array::from_fn(|_| BTreeSet::new());
    for row in &day.hours {
        seen[usize::from(row.half_hour).min(HALF_HOURS - 1)].insert(row.user);
    }
    let none = |date| OrgDay { date, calls: 0, users: 0, errors: 0 };
    let add = |of: &mut OrgDay, calls: f64, errors: f64| {
        of.calls += calls as u64;
        of.errors += errors as u64;
        of.users += 1;
    };
    let mut today = none(day.date);
    for row in 0..day.user_day.len() {
        add(&mut today, day.user_day.get(row, user_day::CALLS), own_errors(day.user_day.row(row)));
    }
    // Of the days before these, some users' were forgotten.
    let since = day.date.plus(1 - PAST_DAYS as i32);
    let mut past: BTreeMap<Date, OrgDay> = BTreeMap::new();
    for then in state.users.values().flat_map(|user| &user.past).filter(|then| then.date >= since) {
        add(past.entry(then.date).or_insert_with(|| none(then.date)), then.calls, then.errors);
    }
    OrgPicture { users: seen.map(|users| users.len() as u64), usual, today, past: past.into_values().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::user::PastDay;
    use crate::date::Date;

    fn user(calls: &[f64]) -> UserState {
        let mut user = UserState::new(Date(100));
        for (n, calls) in (0..).zip(calls) {
            user.past.push_back(PastDay { date: Date(100 + n), calls: *calls, errors: 0.0 });
        }
        user.days = calls.len() as f64;
        user
    }

    #[test]
    fn a_few_days_make_no_usual_range() {
        assert_eq!(usual_calls(&user(&[5.0, 7.0, 1.0, 2.0])), None);
        assert_eq!(usual_calls(&user(&[5.0, 7.0, 1.0, 2.0, 900.0])), Some((1.0, 900.0)));
    }

    #[test]
    fn the_clock_is_that_of_such_days() {
        let mut user = user(&[40.0, 10.0, 20.0]);
        user.hour_days = [4.0, 2.0];
        user.hours[0][18] = 3.0;
        user.profile[18] = 1.5;
        let workday = usual(&user, 0).expect("four workdays are enough");
        assert_eq!((workday.active[18], workday.active[19]), (0.75, 0.0));
        assert_eq!(workday.calls[18], 10.0, "half of the median day");
        assert_eq!(usual(&user, 1), None, "two weekend days are no habit");
        assert_eq!(usual(&UserState::new(Date(1)), 0), None);
    }

    #[test]
    fn a_neighbour_of_a_usual_half_hour_is_not_unusual() {
        let mut active = [0.0; HALF_HOURS];
        active[0] = 0.9;
        let usual = Usual { active, calls: [0.0; HALF_HOURS] };
        let hardly: Vec<usize> = (0..HALF_HOURS).filter(|h| !usual.hardly(*h)).collect();
        assert_eq!(hardly, [0, 1, 47], "a day is a circle");
        assert_eq!(usual.mostly().collect::<Vec<_>>(), [0]);
    }
}
