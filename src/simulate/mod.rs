//! Realistic organisations, attacks on them, benign look-alikes, and the ground truth of both.
//!
//! A simulation is a folder: `events/` with one log file per day in Salesforce's own `ApiTotalUsage` form, `labels.csv`
//! and `truth.json` (what happened), `networks.csv` (who owns which address) and a `quietwatch.toml` that names it.
//! The data flow is: build a [`world`], place scenarios in it ([`schedule`]), play them ([`attacks`], [`benign`]), make
//! each day ([`script`], [`days`]), write it ([`output`], [`truth`]). [`mod@inject`] plays the same attacks in an archive
//! that already exists. Everything is a pure function of the options; days are made on all threads.
//!
//! Names, ids and addresses are made up: `198.18.0.0/15` and `2001:db8::/32` belong to nobody.

mod archive;
mod attacks;
mod benign;
mod build;
mod calendar;
mod calls;
mod catalog;
mod days;
mod dice;
mod inject;
mod integrations;
mod networks;
mod output;
mod rows;
mod schedule;
mod script;
mod stage;
mod text;
mod truth;
mod world;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use rayon::prelude::*;
use serde::Serialize;

pub use catalog::{Level, Scenario, ScenarioInfo, ScenarioSpec, catalog};
pub use inject::inject;
pub use output::Format;

use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::seed::Seed;
use dice::Dice;
use output::{Staging, write_events, write_file};
use script::Script;
use truth::{Ledger, MADE_BY, Skipped, Truth};
use world::World;

/// How large the organisation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 25 users, 45 days, about 10 k calls a day.
    Small,
    /// 130 users, 75 days, about 50 k calls a day.
    #[default]
    Medium,
    /// 600 users, 120 days, about 150 k calls a day.
    Large,
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "small" => Ok(Self::Small),
            "medium" => Ok(Self::Medium),
            "large" => Ok(Self::Large),
            _ => Err(Error::new(Kind::Usage, format!("expected the preset small, medium or large, found {text:?}"))),
        }
    }
}

impl Preset {
    /// Users, days, volume of the largest integrations (medium = 1), offices.
    fn size(self) -> (u32, u32, f64, usize) {
        match self {
            Self::Small => (25, 45, 0.2, 2),
            Self::Medium => (130, 75, 1.0, 2),
            Self::Large => (600, 120, 3.0, 3),
        }
    }
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size, unless `users` or `days` say otherwise.
    pub preset: Preset,
    /// Users of the main organisation, programs included (at least 20).
    pub users: Option<u32>,
    /// Days (at least 14).
    pub days: Option<u32>,
    /// First day.
    pub start: Date,
    /// Equal seeds and options give equal bytes.
    pub seed: Seed,
    /// What happens after the clean past (the first 60 % of the days).
    pub scenarios: Vec<ScenarioSpec>,
    /// How event files are written.
    pub format: Format,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            users: None,
            days: None,
            // A Monday.
            start: Date(20_458),
            seed: Seed(42),
            scenarios: Vec::new(),
            format: Format::default(),
        }
    }
}

/// How far a simulation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Days (or files, when injecting) done.
    pub done: u64,
    /// Days (or files) in all.
    pub total: u64,
    /// Events written so far.
    pub events: u64,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows in all event files.
    pub events: u64,
    /// Event files.
    pub files: u64,
    /// Days from the first to the last.
    pub days: u32,
    /// Users with their own identity, over all organisations.
    pub users: u32,
    /// Scenario instances played.
    pub scenarios: u32,
    /// Scenarios asked for and left out.
    pub skipped: Vec<ScenarioSpec>,
    /// First day with a row of an attack.
    pub first_attack: Option<Date>,
    /// Last day before the first scenario; without scenarios, the last day of the clean past.
    pub train_until: Option<Date>,
}

/// Simulates an organisation into the folder `out`, which appears whole or not at all.
///
/// # Errors
/// [`Kind::Usage`] if the options cannot be carried out or `out` holds anything but an earlier simulation;
/// [`Kind::Resource`] if the disk is full.
pub fn run(options: &Options, out: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Summary> {
    let (preset_users, preset_days, scale, offices) = options.preset.size();
    let users = options.users.unwrap_or(preset_users);
    let days = options.days.unwrap_or(preset_days);
    if !(20..=100_000).contains(&users) {
        return Err(Error::new(Kind::Usage, format!("expected 20 to 100000 users, found {users}")));
    }
    if !(14..=3_660).contains(&days) {
        return Err(Error::new(Kind::Usage, format!("expected 14 to 3660 days, found {days}")));
    }
    let staging = Staging::new(out)?;
    let (world, script, clean) =
        stage(options, users, days, scale * f64::from(users) / f64::from(preset_users), offices);
    let calendar = Irregular::of(&world, &script);

    let mut ledger = Ledger::default();
    let (mut events, mut files, mut late_days) = (0, 0, Vec::new());
    let numbers: Vec<i32> = (0..world.days).collect();
    // A few days at a time, so that memory stays bounded and progress is seen.
    for chunk in numbers.chunks(rayon::current_num_threads() * 3) {
        let made: Vec<_> =
            chunk.par_iter().map(|day| write_day(&world, &script, &calendar, *day, options, &staging)).collect();
        for (day, made) in chunk.iter().zip(made) {
            let made = made?;
            if made.late {
                late_days.push(world.date(*day));
            }
            ledger.add(world.date(*day), made.tallies);
            events += made.rows;
            files += made.files;
        }
        progress(Progress {
            done: u64::from(chunk[chunk.len() - 1].unsigned_abs()) + 1,
            total: u64::from(days),
            events,
        });
    }

    let target = |instance: &schedule::Instance| script.candidates[instance.target].actor;
    let deeds = ledger.deeds(&script.instances, &world.cast, target);
    let labels = ledger.labels(&script.instances, target);
    let first_attack = deeds.iter().filter(|d| !d.benign).filter_map(|d| d.days.first().copied()).min();
    let first = script.instances.iter().map(|i| i.first).min().unwrap_or(clean);
    let train_until = Some(world.date(first - 1));
    let truth = Truth {
        made_by: MADE_BY,
        seed: options.seed.0,
        options: serde_json::json!({
            "preset": options.preset, "users": users, "days": days, "start": options.start,
            "format": options.format, "scenarios": options.scenarios,
        }),
        from: world.start,
        until: world.date(world.days - 1),
        train_until,
        first_attack,
        events,
        scenarios: deeds,
        skipped: script.refused.iter().map(|spec| Skipped { spec: *spec, reason: "no user suits it" }).collect(),
        missing_days: calendar.missing.iter().map(|d| world.date(*d)).collect(),
        revised_days: calendar.revised.iter().map(|d| world.date(*d)).collect(),
        late_days,
    };
    write_truth(&staging, &truth, &truth::labels_csv(&labels, &script.instances, &world.cast))?;
    write_file(&staging.path().join("networks.csv"), networks::csv().as_bytes())?;
    write_file(&staging.path().join("quietwatch.toml"), settings(&world, &script).as_bytes())?;
    staging.publish()?;
    Ok(Summary {
        events,
        files,
        days,
        users: world.cast.actors.len() as u32,
        scenarios: script.instances.len() as u32,
        skipped: script.refused,
        first_attack,
        train_until,
    })
}

/// The world and what will happen in it; and the length of its clean past.
fn stage(options: &Options, users: u32, days: u32, scale: f64, offices: usize) -> (World, Script, i32) {
    // Stories about programs each need a program of their own: beside the eight large integrations there are six
    // small ones, or as many as there are stories (bounded by the size of the organisation).
    let stories = options
        .scenarios
        .iter()
        .filter(|s| !matches!(s.scenario.info().id, "S4" | "S5" | "S9" | "S10" | "S13" | "S14" | "S16"));
    let tail = if users < 60 { 3 } else { 6 };
    let tail = (stories.count() as u32 * 3 / 5).clamp(tail, (users / 5).max(tail)).min(40);
    let side_orgs = if options.scenarios.iter().any(|s| s.scenario.info().id == "S17") { 2 } else { 0 };
    let plan = build::Plan {
        seed: options.seed,
        start: options.start,
        days: days as i32,
        users,
        scale,
        offices,
        tail,
        side_orgs,
    };
    let mut world = build::world(&plan);
    let clean = (days * 3).div_ceil(5) as i32;
    let script = Script::write(&mut world, &options.scenarios, clean);
    (world, script, clean)
}

/// Days on which the log itself is irregular. Days of a story are left alone, so that what happened can be seen.
struct Irregular {
    /// No file at all: one day in sixty.
    missing: Vec<i32>,
    /// Delivered twice, the second time complete: one day in fifty.
    revised: Vec<i32>,
}

impl Irregular {
    fn of(world: &World, script: &Script) -> Self {
        let mut dice = Dice::new(world.seed, "irregular", 0);
        let (mut missing, mut revised) = (Vec::new(), Vec::new());
        for day in 1..world.days - 1 {
            let (gone, twice) = (dice.chance(1.0 / 60.0), dice.chance(0.02));
            let in_story = script.instances.iter().any(|i| (i.first - 1..=i.first + i.span).contains(&day));
            match (in_story, gone, twice) {
                (true, ..) => {}
                (_, true, _) => missing.push(day),
                (_, _, true) => revised.push(day),
                _ => {}
            }
        }
        Self { missing, revised }
    }
}

/// What one day came to.
struct Made {
    rows: u64,
    files: u64,
    late: bool,
    tallies: script::Tallies,
}

fn write_day(
    world: &World,
    script: &Script,
    irregular: &Irregular,
    day: i32,
    options: &Options,
    staging: &Staging,
) -> Result<Made> {
    if irregular.missing.contains(&day) {
        return Ok(Made { rows: 0, files: 0, late: false, tallies: script::Tallies::default() });
    }
    let folder = staging.events();
    let stem = world.date(day).to_string();
    let mut made = script.day(world, day);
    if irregular.revised.contains(&day) {
        // A plain name says nothing of the file's kind, so both are parts of the date: rows that both hold count once.
        made.events.append(&mut made.late);
        made.events.sort_by_key(|e| (e.ms, e.actor));
        let mut dice = Dice::new(world.seed, "revised", day as u64);
        let early: Vec<_> = made.events.iter().filter(|_| dice.chance(0.96)).copied().collect();
        write_events(&folder, &stem, options.format, &world.cast, &early)?;
        write_events(&folder, &format!("{stem}-revised"), options.format, &world.cast, &made.events)?;
        let rows = (early.len() + made.events.len()) as u64;
        return Ok(Made { rows, files: 2, late: false, tallies: made.tallies });
    }
    write_events(&folder, &stem, options.format, &world.cast, &made.events)?;
    let late = !made.late.is_empty();
    if late {
        write_events(&folder, &format!("{stem}-late"), options.format, &world.cast, &made.late)?;
    }
    let rows = (made.events.len() + made.late.len()) as u64;
    Ok(Made { rows, files: 1 + u64::from(late), late, tallies: made.tallies })
}

fn write_truth(staging: &Staging, truth: &Truth, labels: &str) -> Result<()> {
    write_file(&staging.path().join("labels.csv"), labels.as_bytes())?;
    let mut json = serde_json::to_vec_pretty(truth)
        .map_err(|e| Error::new(Kind::Bug, "cannot write the truth as JSON").with_source(e))?;
    json.push(b'\n');
    write_file(&staging.path().join("truth.json"), &json)
}

/// `quietwatch.toml`: what the organisation's security team would have written down.
fn settings(world: &World, script: &Script) -> String {
    let mut text = String::from(
        "# Written by `quietwatch simulate`. Relative paths start at this file's folder.\n\n[enrich]\nnetworks = [\"networks.csv\"]\n",
    );
    let quoted = |items: Vec<String>| items.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", ");
    let offices = networks::BLOCKS.iter().filter(|b| b.class == "corporate").map(networks::Block::cidr).collect();
    let programs = world.users.iter().filter(|u| u.role == world::Role::Integration);
    let programs = programs.map(|u| text::id18(&world.cast.actors[u.actor as usize].user_id)).collect();
    let mut line = |key: &str, items: Vec<String>| {
        writeln!(text, "{key} = [{}]", quoted(items)).expect("writing to memory does not fail");
    };
    line("corporate-ranges", offices);
    line("integration-users", programs);
    // B3 is announced: that is what makes it benign.
    for instance in script.instances.iter().filter(|i| i.spec.scenario.info().id == "B3") {
        let who = text::id18(&world.cast.actors[script.candidates[instance.target].actor as usize].user_id);
        let (from, until) = (world.date(instance.first), world.date(instance.first + instance.span - 1));
        write!(
            text,
            "\n[[expected.changes]]\nwho = [\"{who}\"]\nfrom = \"{from}\"\nuntil = \"{until}\"\nreason = \"data migration\"\n"
        )
        .expect("writing to memory does not fail");
    }
    text
}
