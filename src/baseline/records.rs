//! A baseline as rows of text keys and numbers, for the model file, and back. Rows are sorted by their keys, so that
//! equal states give equal bytes; reading checks lengths and refuses what no baseline could have written.

use std::collections::VecDeque;

use super::cells::{CountCell, NormalCell, RateCell};
use super::org::{AGGREGATES, AggregateState, OrgState, Owners};
use super::user::{
    CONTINUOUS, COUNTS, HABITS, HALF_HOURS, KindCell, PAST_DAYS, PAST_NIGHTS, PastDay, RATES, SESSION, UserState,
    ValueCell, WEEK,
};
use crate::anomaly::SubjectType;
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::models::Record;
use crate::tables::ValueKind;

/// Writes and reads fixed sequences of numbers.
struct Cursor<'a> {
    numbers: &'a [f64],
    at: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Result<f64> {
        let value = self.numbers.get(self.at).copied().ok_or_else(broken)?;
        self.at += 1;
        if value.abs() <= LARGEST { Ok(value) } else { Err(broken()) }
    }

    /// What is a sum of what is never below zero.
    fn positive(&mut self) -> Result<f64> {
        self.next().and_then(|value| if value >= 0.0 { Ok(value) } else { Err(broken()) })
    }

    fn whole(&mut self, most: u32) -> Result<u32> {
        let value = self.next()?;
        if (0.0..=f64::from(most)).contains(&value) && value.fract() == 0.0 { Ok(value as u32) } else { Err(broken()) }
    }

    /// Sums of what is never below zero.
    fn fill(&mut self, out: &mut [f64]) -> Result<()> {
        for x in out {
            *x = self.positive()?;
        }
        Ok(())
    }

    fn date(&mut self) -> Result<Date> {
        Ok(Date(self.whole(LAST_DATE)? as i32))
    }

    fn count(&mut self) -> Result<u32> {
        self.whole(MOST)
    }

    fn score(&mut self) -> Result<f32> {
        let score = self.next()? as f32;
        if score.is_finite() { Ok(score) } else { Err(broken()) }
    }

    fn end(&self) -> Result<()> {
        if self.at == self.numbers.len() { Ok(()) } else { Err(broken()) }
    }
}

/// Larger than any sum of squares that a baseline comes to, and small enough that its own square is a number.
const LARGEST: f64 = 1e60;

/// More days, users or values than there are, and far enough below 2^32 that counting on does not reach it.
const MOST: u32 = 1 << 30;

/// 9999-12-31.
const LAST_DATE: u32 = 2_932_896;

fn broken() -> Error {
    Error::new(Kind::Model, "the baseline's rows do not have the layout that this engine writes; train a new version")
}

fn put_count(out: &mut Vec<f64>, c: &CountCell) {
    out.extend([c.total[0], c.total[1], c.exposure[0], c.exposure[1], c.excess, c.square]);
    out.extend([c.active, c.active_total, c.active_square]);
}

fn get_count(c: &mut Cursor<'_>) -> Result<CountCell> {
    Ok(CountCell {
        total: [c.positive()?, c.positive()?],
        exposure: [c.positive()?, c.positive()?],
        excess: c.next()?,
        square: c.positive()?,
        active: c.positive()?,
        active_total: c.positive()?,
        active_square: c.positive()?,
    })
}

fn put_rate(out: &mut Vec<f64>, c: &RateCell) {
    out.extend([c.hits[0], c.hits[1], c.trials[0], c.trials[1], c.excess, c.square, c.days]);
}

fn get_rate(c: &mut Cursor<'_>) -> Result<RateCell> {
    Ok(RateCell {
        hits: [c.positive()?, c.positive()?],
        trials: [c.positive()?, c.positive()?],
        excess: c.next()?,
        square: c.next()?,
        days: c.positive()?,
    })
}

fn put_normal(out: &mut Vec<f64>, c: &NormalCell) {
    out.extend([c.n, c.mean, c.m2]);
}

fn get_normal(c: &mut Cursor<'_>) -> Result<NormalCell> {
    Ok(NormalCell { n: c.positive()?, mean: c.next()?, m2: c.positive()? })
}

fn user_numbers(u: &UserState) -> Vec<f64> {
    let mut out = vec![f64::from(u.first.0), f64::from(u.last.0), f64::from(u.active_days), u.days];
    out.extend(u.seen.iter().chain(&u.active));
    u.counts.iter().for_each(|c| put_count(&mut out, c));
    u.rates.iter().for_each(|c| put_rate(&mut out, c));
    u.continuous.iter().for_each(|c| put_normal(&mut out, c));
    u.session.iter().for_each(|c| put_count(&mut out, c));
    u.habits.iter().for_each(|c| put_normal(&mut out, c));
    out.extend(u.season_sum.iter().chain(&u.season_days).chain(&u.hours[0]).chain(&u.hours[1]));
    out.extend(u.hour_days.iter().chain(&u.profile));
    for k in &u.kinds {
        out.extend([k.draws, f64::from(k.known), f64::from(k.once)]);
        put_count(&mut out, &k.new_calls);
    }
    out
}

fn user_from(numbers: &[f64]) -> Result<UserState> {
    let mut c = Cursor { numbers, at: 0 };
    let mut u = UserState::new(c.date()?);
    u.last = c.date()?;
    u.active_days = c.count()?;
    u.days = c.positive()?;
    c.fill(&mut u.seen)?;
    c.fill(&mut u.active)?;
    u.counts = (0..COUNTS.len()).map(|_| get_count(&mut c)).collect::<Result<_>>()?;
    u.rates = (0..RATES.len()).map(|_| get_rate(&mut c)).collect::<Result<_>>()?;
    u.continuous = (0..CONTINUOUS.len()).map(|_| get_normal(&mut c)).collect::<Result<_>>()?;
    u.session = (0..SESSION.len()).map(|_| get_count(&mut c)).collect::<Result<_>>()?;
    for i in 0..HABITS {
        u.habits[i] = get_normal(&mut c)?;
    }
    c.fill(&mut u.season_sum)?;
    c.fill(&mut u.season_days)?;
    for k in 0..2 {
        c.fill(&mut u.hours[k])?;
    }
    c.fill(&mut u.hour_days)?;
    let mut profile = [0.0; HALF_HOURS];
    c.fill(&mut profile)?;
    u.profile = profile;
    for k in &mut u.kinds {
        *k = KindCell { draws: c.positive()?, known: c.count()?, once: c.count()?, new_calls: get_count(&mut c)? };
    }
    c.end()?;
    Ok(u)
}

/// The rows of one organisation, appended to `out`.
pub fn write(org_id: &str, state: &OrgState, out: &mut Vec<Record>) {
    let mut put = |section: String, a: &str, b: &str, numbers: Vec<f64>| {
        out.push(Record { section, key: [org_id.to_owned(), a.to_owned(), b.to_owned()], numbers });
    };
    let date = |d: Option<Date>| f64::from(d.unwrap_or_default().0);
    put("org".into(), "", "", vec![date(state.first), date(state.last), f64::from(state.days)]);
    // Numbers of values are an accident of arrival: rows go by text, and reading numbers them again.
    let mut order: Vec<usize> = (0..state.texts.len()).collect();
    order.sort_by(|&a, &b| state.texts[a].cmp(&state.texts[b]));
    let rank: Vec<usize> = {
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(r, &n)| rank[n] = r);
        rank
    };
    for &n in &order {
        let (kind, text) = &state.texts[n];
        let o = state.owners[n];
        put(
            format!("owners/{}", kind.name()),
            text,
            "",
            vec![f64::from(o.users), f64::from(o.first.0), f64::from(o.last.0)],
        );
    }
    for (id, u) in &state.users {
        put("user".into(), id, "", user_numbers(u));
        let past = u.past.iter().flat_map(|p| [f64::from(p.date.0), p.calls, p.errors]).collect();
        put("past".into(), id, "", past);
        put("nights".into(), id, "", u.nights.iter().flat_map(|n| [f64::from(n.0.0), n.1]).collect());
        if let Some((_, scores)) = u.recent.first() {
            // How many scores a day has leads.
            let days = u.recent.iter().flat_map(|(date, scores)| {
                std::iter::once(f64::from(date.0)).chain(scores.iter().map(|s| f64::from(*s)))
            });
            put("recent".into(), id, "", std::iter::once(scores.len() as f64).chain(days).collect());
        }
        let mut values: Vec<(usize, &ValueCell)> = u.values.iter().map(|((_, n), v)| (rank[*n as usize], v)).collect();
        values.sort_unstable_by_key(|v| v.0);
        for (r, v) in values {
            let (kind, text) = &state.texts[order[r]];
            let numbers =
                vec![f64::from(v.days), v.weight, v.calls, v.share, f64::from(v.first.0), f64::from(v.last.0)];
            put(format!("value/{}", kind.name()), id, text, numbers);
        }
    }
    for ((subject, id), a) in &state.aggregates {
        let mut numbers = vec![f64::from(a.first.0), f64::from(a.last.0)];
        a.counts.iter().for_each(|c| put_count(&mut numbers, c));
        a.rates.iter().for_each(|c| put_rate(&mut numbers, c));
        put(format!("aggregate/{}", subject.name()), id, "", numbers);
    }
}

/// Adds one row to the states read so far.
pub fn read(record: &Record, orgs: &mut std::collections::BTreeMap<String, OrgState>) -> Result<()> {
    let [org_id, a, b] = &record.key;
    let org = orgs.entry(org_id.clone()).or_default();
    let mut c = Cursor { numbers: &record.numbers, at: 0 };
    match record.section.split_once('/') {
        None => match record.section.as_str() {
            "org" => {
                org.first = Some(c.date()?);
                org.last = Some(c.date()?);
                org.days = c.count()?;
                c.end()?;
            }
            "user" => {
                org.users.insert(a.clone(), user_from(&record.numbers)?);
            }
            "past" => {
                let mut past = VecDeque::new();
                while c.at < record.numbers.len() && past.len() < PAST_DAYS {
                    past.push_back(PastDay { date: c.date()?, calls: c.positive()?, errors: c.positive()? });
                }
                c.end()?;
                org.users.get_mut(a).ok_or_else(broken)?.past = past;
            }
            "nights" => {
                let mut nights = VecDeque::new();
                while c.at < record.numbers.len() && nights.len() < PAST_NIGHTS {
                    nights.push_back((c.date()?, c.next()?));
                }
                c.end()?;
                org.users.get_mut(a).ok_or_else(broken)?.nights = nights;
            }
            "recent" => {
                let width = c.count()? as usize;
                let mut recent: Vec<(Date, Vec<f32>)> = Vec::new();
                while c.at < record.numbers.len() && recent.len() + 1 < WEEK as usize {
                    let date = c.date()?;
                    let scores = (0..width).map(|_| c.score()).collect::<Result<Vec<f32>>>()?;
                    if recent.last().is_some_and(|(before, _)| *before >= date) {
                        return Err(broken());
                    }
                    recent.push((date, scores));
                }
                c.end()?;
                org.users.get_mut(a).ok_or_else(broken)?.recent = recent;
            }
            _ => return Err(broken()),
        },
        Some(("owners", kind)) => {
            let kind = ValueKind::from_name(kind).ok_or_else(broken)?;
            let number = org.texts.len() as u32;
            let owners = Owners { users: c.count()?, first: c.date()?, last: c.date()? };
            c.end()?;
            if org.numbers.entry(kind).or_default().insert(a.clone(), number).is_some() {
                return Err(broken());
            }
            org.texts.push((kind, a.clone()));
            org.owners.push(owners);
        }
        Some(("value", kind)) => {
            let kind = ValueKind::from_name(kind).ok_or_else(broken)?;
            let number = org.number(kind, b).ok_or_else(broken)?;
            let cell = ValueCell {
                days: c.count()?,
                weight: c.positive()?,
                calls: c.positive()?,
                share: c.positive()?,
                first: c.date()?,
                last: c.date()?,
            };
            c.end()?;
            org.users.get_mut(a).ok_or_else(broken)?.values.insert((kind, number), cell);
        }
        Some(("aggregate", subject)) => {
            let model = AGGREGATES.iter().find(|m| m.subject.name() == subject).ok_or_else(broken)?;
            let (first, last) = (c.date()?, c.date()?);
            let counts = (0..model.counts.len()).map(|_| get_count(&mut c)).collect::<Result<_>>()?;
            let rates = (0..model.rates.len()).map(|_| get_rate(&mut c)).collect::<Result<_>>()?;
            c.end()?;
            let subject: SubjectType = model.subject;
            org.aggregates.insert((subject, a.clone()), AggregateState { first, last, counts, rates });
        }
        Some(_) => return Err(broken()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_week_of_raw_scores_comes_back_and_a_forged_one_is_refused() {
        let mut state = OrgState::default();
        let mut user = UserState::new(Date(100));
        state.users.insert("calm".into(), user.clone());
        user.remember_scores(Date(100), vec![0.1, 2.5]);
        user.remember_scores(Date(103), vec![0.0, 7.25]);
        state.users.insert("user".into(), user);
        let mut rows = Vec::new();
        write("org", &state, &mut rows);
        let mut orgs = BTreeMap::new();
        rows.iter().for_each(|r| read(r, &mut orgs).unwrap());
        assert_eq!(orgs["org"].users["user"].recent, state.users["user"].recent);
        let of_weeks: Vec<&Record> = rows.iter().filter(|r| r.section == "recent").collect();
        assert_eq!(of_weeks.len(), 1, "who has none has no row");
        let d = |days: &[f64]| days.to_vec();
        for numbers in [
            d(&[2.0, 100.0, 0.1]),
            d(&[2.0, 100.0, 0.1, 2.5, 103.0]),
            d(&[1.0, 103.0, 0.1, 100.0, 0.1]),
            d(&[1.0, 100.0, 0.1, 100.0, 0.1]),
            d(&[1.0, 100.0, f64::NAN]),
            d(&[1.0, 100.0, 1e300]),
            d(&[1e300, 100.0]),
            (0..8).map(|i| if i == 0 { 0.0 } else { f64::from(i) }).collect(),
        ] {
            let forged = Record { numbers, ..of_weeks[0].clone() };
            assert_eq!(read(&forged, &mut orgs).unwrap_err().kind(), Kind::Model, "{forged:?}");
        }
    }

    #[test]
    fn sums_counts_and_dates_that_no_baseline_comes_to_are_refused() {
        let mut state = OrgState { days: 7, first: Some(Date(100)), last: Some(Date(106)), ..OrgState::default() };
        state.users.insert("user".into(), UserState::new(Date(100)));
        let mut rows = Vec::new();
        write("org", &state, &mut rows);
        let read_all = |rows: &[Record]| {
            let mut orgs = BTreeMap::new();
            rows.iter().try_for_each(|row| read(row, &mut orgs))
        };
        read_all(&rows).unwrap();
        let with = |section: &str, at: usize, value: f64| {
            let mut rows = rows.clone();
            rows.iter_mut().find(|r| r.section == section).unwrap().numbers[at] = value;
            read_all(&rows)
        };
        // First and last day, days, and of a user also a mean, which may be below zero, and a sum, which may not.
        let mean = user_numbers(&UserState::new(Date(100))).len();
        for (section, at) in [("org", 0), ("org", 2), ("user", 1), ("user", 2)] {
            for forged in [-1.0, 0.5, 4_294_967_295.0, 1e300, f64::NAN, f64::INFINITY] {
                assert_eq!(with(section, at, forged).unwrap_err().kind(), Kind::Model, "{section}, {at}: {forged}");
            }
            with(section, at, 1_000.0).unwrap();
        }
        for at in 3..mean {
            assert_eq!(with("user", at, 1e61).unwrap_err().kind(), Kind::Model, "number {at}");
        }
        assert!((3..mean).filter(|at| with("user", *at, -1.0).is_ok()).count() < mean / 3);
    }
}
