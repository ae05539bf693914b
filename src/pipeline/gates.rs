//! What a night did not show: gates that trip where its log, its features or its model cannot be trusted to be whole, and the
//! coverage that a calm night rests on. A gate never silences a night.

use rustc_hash::FxHashMap;

use super::drift::Reference;
use super::files::{Health, Parts, Seen, clock};
use crate::anomaly::picture::OrgPicture;
use crate::anomaly::{Coverage, Gate, GateKind};
use crate::baseline::org::{NightView, OrgState};
use crate::baseline::user::{HALF_HOURS, UserState};
use crate::config::Settings;
use crate::date::Date;
use crate::explain::picture::of_organisation;
use crate::features::catalog::user_day;
use crate::report::words::{count, thousands};
use crate::tables::{DayTables, ValueKind};

/// Fewest users behind what is usual for a gate to compare with.
const FEWEST_USERS: usize = 10;

/// Users that are usually active in a stretch of silent half-hours, summed over these, from which on it is no chance.
const SILENT: f64 = 20.0;

/// Fewer users than this in a half-hour are nobody.
const NOBODY: f64 = 0.5;

/// Shortest such stretch, half-hours.
const SHORTEST: usize = 4;

/// Features of the drift gate that are named.
const NAMED: usize = 3;

/// What a night is held against.
pub(super) struct Held<'a> {
    pub(super) day: &'a DayTables,
    /// Before the day.
    pub(super) state: &'a OrgState,
    pub(super) view: &'a NightView,
    pub(super) reference: &'a Reference,
    pub(super) parts: &'a Parts,
    pub(super) settings: &'a Settings,
    /// First and last training day.
    pub(super) window: (Date, Date),
}

/// Every gate that trips, in a fixed order, how much of the day was seen, and its picture.
pub(super) fn hold(h: &Held<'_>) -> (Vec<Gate>, Coverage, OrgPicture) {
    let hours = Hours::of(h);
    let files = h.parts.health(h.day.date, &Seen { calls: &hours.seen, usual: &hours.usual });
    let coverage = Coverage {
        half_hours: hours.seen.iter().filter(|c| **c > 0.0).count() as u64,
        usual_half_hours: hours.usual.iter().filter(|u| **u >= 1.0).count() as u64,
        silent: hours.silent().into_iter().map(|s| s.words()).collect(),
        daily_files: h.parts.dailies(),
        hourly_files: h.parts.hourly.len() as u64,
        other_files: h.parts.other,
        superseded_files: h.parts.superseded(),
        files: files.all(),
    };
    let mut gates = Vec::new();
    let mut trip =
        |gate: GateKind, message: Option<String>| gates.extend(message.map(|message| Gate { gate, message }));
    trip(GateKind::SchemaDrift, schema(h));
    trip(GateKind::FeatureDrift, drift(h));
    trip(GateKind::Volume, volume(h));
    trip(GateKind::PartialDay, partial(h, &hours, &files));
    trip(GateKind::ModelAge, age(h));
    (gates, coverage, of_organisation(h.day, h.state, hours.usual))
}

/// Users of whom something is expected.
fn known<'a>(h: &Held<'a>) -> impl Iterator<Item = &'a UserState> {
    h.state.known(h.day.date)
}

/// How likely a user comes on such a day.
fn activity(h: &Held<'_>, user: &UserState) -> f64 {
    user.activity(h.day.date, &h.view.groups[h.state.group_of(h.view, Some(user), None)])
}

/// Kinds of values that the log used to have and tonight has not, or the other way round.
fn schema(h: &Held<'_>) -> Option<String> {
    let tonight = |kind| h.day.values.iter().any(|v| v.kind == kind && !h.day.text(v.value).is_empty());
    // What the engine derives needs no column of its own, and an address may be described by no table.
    let columns = [
        (ValueKind::Ip, "client addresses"),
        (ValueKind::AppId, "app ids"),
        (ValueKind::App, "app names"),
        (ValueKind::Client, "client names"),
        (ValueKind::ApiFamily, "API families"),
        (ValueKind::ApiVersion, "API versions"),
        (ValueKind::Resource, "resources"),
        (ValueKind::Entity, "objects"),
        (ValueKind::HttpMethod, "HTTP methods"),
    ];
    let users = known(h).count();
    if users < FEWEST_USERS || h.day.user_day.len() < FEWEST_USERS {
        return None;
    }
    let usual = |kind| 2 * known(h).filter(|u| u.kinds[kind as usize].known > 0).count() >= users;
    let never = |kind| h.state.numbers.get(&kind).is_none_or(FxHashMap::is_empty);
    let lost: Vec<&str> = columns.iter().filter(|(k, _)| usual(*k) && !tonight(*k)).map(|c| c.1).collect();
    let gained: Vec<&str> = columns.iter().filter(|(k, _)| never(*k) && tonight(*k)).map(|c| c.1).collect();
    let mut said = Vec::new();
    if !lost.is_empty() {
        said.push(format!("no {} in the whole day, which most users have on other days", lost.join(", ")));
    }
    if !gained.is_empty() {
        said.push(format!("{} for the first time ever", gained.join(", ")));
    }
    let advice = "a column may have been renamed: look at the source's header and the profile";
    (!said.is_empty()).then(|| format!("{}; {advice}", said.join("; ")))
}

fn drift(h: &Held<'_>) -> Option<String> {
    let moved = h.reference.moved(h.day, h.settings.gates.psi)?;
    if moved.is_empty() {
        return None;
    }
    let named: Vec<String> =
        moved.iter().take(NAMED).map(|m| format!("{} (PSI {:.2}, KS {:.2})", m.feature, m.psi, m.ks)).collect();
    let more = moved.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!(
        "features of user-days lie elsewhere than in training: {}{more}; if this lasts, train a new version",
        named.join(", ")
    ))
}

/// Calls that the users' own histories make likely.
fn usual_calls(h: &Held<'_>) -> f64 {
    let of_user = |u: &UserState| {
        let priors = &h.view.groups[h.state.group_of(h.view, Some(u), None)];
        u.activity(h.day.date, priors) * u.counts[0].mean(priors.counts[0]) * u.season(h.day.date, priors)
    };
    known(h).map(of_user).sum()
}

fn volume(h: &Held<'_>) -> Option<String> {
    let users = known(h).count();
    let calls: f64 = (0..h.day.user_day.len()).map(|row| h.day.user_day.get(row, user_day::CALLS)).sum();
    let usual = usual_calls(h);
    let limit = h.settings.gates.volume_ratio;
    if users < FEWEST_USERS || (usual / limit..=usual * limit).contains(&calls) {
        return None;
    }
    let what =
        if calls < usual { "a holiday, or a part of the log is missing" } else { "a rush, or events counted twice" };
    let (calls, usual) = (count(calls as u64, "call"), thousands(usual.round() as u64));
    Some(format!("{calls} where about {usual} are usual on such a day: {what}"))
}

fn partial(h: &Held<'_>, hours: &Hours, files: &Health) -> Option<String> {
    let mut said = Vec::new();
    let (seen, usual) = (h.day.user_day.len(), known(h).map(|u| activity(h, u)).sum::<f64>());
    if usual >= FEWEST_USERS as f64 && (seen as f64) < usual / 2.0 {
        said.push(format!(
            "only {seen} of about {usual:.0} users have events: a holiday, or a part of the log is missing"
        ));
    }
    said.extend(files.missing.iter().cloned());
    // What a missing file explains is not said twice.
    let silent = hours.silent();
    let unexplained = silent.iter().filter(|s| !files.covers(s.from..s.to));
    let silent: Vec<String> = unexplained.map(Silent::words).collect();
    if !silent.is_empty() {
        said.push(format!("no calls of anybody {}: a part of the log is missing or late", silent.join(", ")));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

fn age(h: &Held<'_>) -> Option<String> {
    let (until, most) = (h.window.1, h.settings.gates.model_age_days);
    let days = h.day.date.0 - until.0;
    (i64::from(days) > i64::from(most)).then(|| {
        format!("the model was trained {days} days ago (until {until}, at most {most} are wanted); train a new version")
    })
}

/// Calls by half-hour, and how many users are usually active in each.
struct Hours {
    seen: [f64; HALF_HOURS],
    usual: [f64; HALF_HOURS],
}

/// A stretch of half-hours without calls.
struct Silent {
    from: usize,
    to: usize,
    users: f64,
}

impl Silent {
    fn words(&self) -> String {
        let users = self.users / (self.to - self.from) as f64;
        format!("from {} to {} UTC (usually {users:.0} users at a time)", clock(self.from), clock(self.to))
    }
}

impl Hours {
    fn of(h: &Held<'_>) -> Self {
        let mut seen = [0.0; HALF_HOURS];
        for row in &h.day.hours {
            seen[usize::from(row.half_hour)] += f64::from(row.calls);
        }
        Self { seen, usual: h.state.usual_users(h.view, h.day.date) }
    }

    /// Stretches without a call in which there nearly always are some.
    fn silent(&self) -> Vec<Silent> {
        let mut out: Vec<Silent> = Vec::new();
        for half_hour in (0..HALF_HOURS).filter(|h| self.seen[*h] == 0.0) {
            let users = self.usual[half_hour];
            match out.last_mut() {
                Some(last) if last.to == half_hour => {
                    last.to += 1;
                    last.users += users;
                }
                _ => out.push(Silent { from: half_hour, to: half_hour + 1, users }),
            }
        }
        // Half-hours in which nobody is expected belong to no gap.
        for s in &mut out {
            while s.from < s.to && self.usual[s.from] < NOBODY {
                s.from += 1;
            }
            while s.from < s.to && self.usual[s.to - 1] < NOBODY {
                s.to -= 1;
            }
        }
        out.retain(|s| s.to - s.from >= SHORTEST && s.users >= SILENT);
        out
    }
}

/// Dates before the night, within a week and the training window's end, that have no data: what happened then was not learned.
pub fn missing_before(date: Date, (from, until): (Date, Date), with_data: &[Date]) -> Option<Gate> {
    let week = until.plus(1).max(date.plus(-7));
    let missing: Vec<String> = (week.0..date.0)
        .map(Date)
        .filter(|d| *d >= from && with_data.binary_search(d).is_err())
        .map(|d| d.to_string())
        .collect();
    (!missing.is_empty()).then(|| Gate {
        gate: GateKind::MissingDay,
        message: format!("no data in the week before on {}: what happened then was not learned", missing.join(", ")),
    })
}
