//! Ground truth: `labels.csv` for `evaluate`, `truth.json` for people and tests, and the settings that go with them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::catalog::ScenarioSpec;
use super::networks::block_of;
use super::rows::{Address, Cast, request_text};
use super::schedule::Instance;
use super::script::{Tallies, Touch, whole_days};
use super::text::id18;
use crate::date::{Date, MS_PER_DAY, format_ms};

/// The mark by which a folder is known as a simulation.
pub(super) const MADE_BY: &str = "quietwatch simulate";

/// What one scenario did.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Deed {
    pub id: &'static str,
    pub slug: &'static str,
    pub title: &'static str,
    pub category: &'static str,
    pub level: &'static str,
    pub difficulty: &'static str,
    pub benign: bool,
    /// Families of detectors that should see it.
    pub families: &'static [&'static str],
    pub org_ids: BTreeSet<String>,
    /// Users touched, the one it is about first.
    pub user_ids: Vec<String>,
    pub user_names: Vec<String>,
    /// At most [`ADDRESSES`].
    pub ips: Vec<String>,
    pub countries: BTreeSet<String>,
    pub start: String,
    pub end: String,
    pub days: Vec<Date>,
    /// Rows made, changed or marked by it.
    pub events: u64,
    pub request_ids: Vec<String>,
    pub notes: Vec<String>,
}

const ADDRESSES: usize = 300;

/// A row of `labels.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub instance: usize,
    pub actor: u32,
    pub start_ms: i64,
    /// First ms after the window.
    pub end_ms: i64,
}

/// Collects what the days report.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    touches: BTreeMap<(u16, Date, u32), Touch>,
    addresses: BTreeMap<u16, BTreeSet<Address>>,
    requests: BTreeMap<u16, Vec<u128>>,
}

impl Ledger {
    /// Adds a day; days must come in order, so that the request ids listed are the first ones.
    pub(super) fn add(&mut self, date: Date, tallies: Tallies) {
        self.touches.extend(tallies.touches.into_iter().map(|((n, actor), touch)| ((n, date, actor), touch)));
        for (n, addresses) in tallies.addresses {
            self.addresses.entry(n).or_default().extend(addresses);
        }
        for (n, requests) in tallies.requests {
            let known = self.requests.entry(n).or_default();
            known.extend(requests);
            known.dedup();
            known.truncate(8);
        }
    }

    /// One label per instance, user and active day. Those who were refused calls because somebody else's loop used up the
    /// limit are not labelled, or whatever else is odd about them would count as its discovery; `truth.json` lists them.
    pub(super) fn labels(&self, instances: &[Instance], target: impl Fn(&Instance) -> u32) -> Vec<Label> {
        let mut labels = Vec::new();
        for ((number, date, actor), touch) in &self.touches {
            let instance = &instances[usize::from(*number) - 1];
            let id = instance.spec.scenario.info().id;
            if id == "S12" && *actor != target(instance) {
                continue;
            }
            let (start_ms, end_ms) = if whole_days(instance) {
                (date.start_ms(), date.start_ms() + MS_PER_DAY)
            } else {
                (touch.first_ms, touch.last_ms + 1)
            };
            labels.push(Label { instance: usize::from(*number) - 1, actor: *actor, start_ms, end_ms });
        }
        labels
    }

    /// What each instance did.
    pub(super) fn deeds(&self, instances: &[Instance], cast: &Cast, target: impl Fn(&Instance) -> u32) -> Vec<Deed> {
        let deed = |(i, instance): (usize, &Instance)| {
            let number = i as u16 + 1;
            let info = instance.spec.scenario.info();
            let mine = || self.touches.iter().filter(move |((n, ..), _)| *n == number);
            let mut actors: Vec<u32> = mine().map(|((_, _, actor), _)| *actor).collect();
            let first = target(instance);
            actors.sort_by_key(|a| (*a != first, *a));
            actors.dedup();
            let all: Vec<Address> = self.addresses.get(&number).into_iter().flatten().copied().collect();
            let days: BTreeSet<Date> = mine().map(|((_, date, _), _)| *date).collect();
            let mut notes = instance.notes.clone();
            if actors.is_empty() {
                notes.push("nobody was active: no row".to_owned());
            }
            let at = |ms: Option<i64>| ms.map(format_ms).unwrap_or_default();
            Deed {
                id: info.id,
                slug: info.slug,
                title: info.title,
                category: info.category,
                level: instance.spec.level.name(),
                difficulty: instance.spec.level.difficulty(),
                benign: info.benign,
                families: info.families,
                org_ids: actors.iter().map(|a| id18(&cast.actors[*a as usize].org_id)).collect(),
                user_ids: actors.iter().map(|a| id18(&cast.actors[*a as usize].user_id)).collect(),
                user_names: actors.iter().map(|a| cast.actors[*a as usize].user_name.clone()).collect(),
                ips: all.iter().take(ADDRESSES).map(ToString::to_string).collect(),
                countries: all.iter().filter_map(|a| block_of(*a)).map(|b| b.country.to_owned()).collect(),
                start: at(mine().map(|(_, t)| t.first_ms).min()),
                end: at(mine().map(|(_, t)| t.last_ms + 1).max()),
                days: days.into_iter().collect(),
                events: mine().map(|(_, t)| t.rows).sum(),
                request_ids: self.requests.get(&number).into_iter().flatten().map(|r| request_text(*r)).collect(),
                notes,
            }
        };
        instances.iter().enumerate().map(deed).collect()
    }
}

/// `labels.csv`.
pub(super) fn labels_csv(labels: &[Label], instances: &[Instance], cast: &Cast) -> String {
    let mut text = String::from("org_id,user_id,start,end,scenario,category,difficulty\n");
    for label in labels {
        let actor = &cast.actors[label.actor as usize];
        let spec = instances[label.instance].spec;
        let info = spec.scenario.info();
        let fields = [
            csv_field(&id18(&actor.org_id)),
            csv_field(&id18(&actor.user_id)),
            format_ms(label.start_ms),
            format_ms(label.end_ms),
            info.id.to_owned(),
            info.category.to_owned(),
            spec.level.difficulty().to_owned(),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// Quoted where it must be: ids of a real archive may hold anything.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// `truth.json`.
#[derive(Debug, Serialize)]
pub(super) struct Truth<'a> {
    pub made_by: &'static str,
    pub seed: u64,
    pub options: serde_json::Value,
    pub from: Date,
    pub until: Date,
    /// Last day before the first scenario (without scenarios: the last day of the clean past).
    pub train_until: Option<Date>,
    pub first_attack: Option<Date>,
    pub events: u64,
    pub scenarios: Vec<Deed>,
    /// Asked for, but nobody suits or the archive cannot show it.
    pub skipped: Vec<Skipped<'a>>,
    pub missing_days: Vec<Date>,
    pub revised_days: Vec<Date>,
    pub late_days: Vec<Date>,
}

/// A scenario that was left out.
#[derive(Debug, Serialize)]
pub(super) struct Skipped<'a> {
    #[serde(flatten)]
    pub spec: ScenarioSpec,
    pub reason: &'a str,
}
