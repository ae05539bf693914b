//! `simulate`: made-up organisations with attacks and look-alikes, or attacks injected into an own archive.

use std::io::Write;
use std::path::Path;

use super::args::{EventFormat, Preset, SimulateArgs};
use super::messages::Message;
use super::{cannot_print, terminal};
use crate::date::Date;
use crate::error::Result;
use crate::report::words::count;
use crate::seed::Seed;
use crate::simulate::{self, Format, Options, ScenarioSpec};

pub(super) fn run(args: &SimulateArgs, out: &mut dyn Write) -> Result<()> {
    let mut scenarios: Vec<ScenarioSpec> = Vec::new();
    for text in &args.scenarios {
        scenarios.extend(ScenarioSpec::parse_list(text)?);
    }
    let options = Options {
        preset: match args.preset {
            Preset::Small => simulate::Preset::Small,
            Preset::Medium => simulate::Preset::Medium,
            Preset::Large => simulate::Preset::Large,
        },
        users: args.users,
        days: args.days,
        start: args.start.unwrap_or_else(default_start),
        seed: Seed(args.seed),
        scenarios,
        format: match args.format {
            EventFormat::Csv => Format::Csv,
            EventFormat::CsvGz => Format::CsvGz,
            EventFormat::Parquet => Format::Parquet,
        },
    };
    let bar = terminal::progress("simulating", 1);
    let mut progress = |p: simulate::Progress| {
        bar.set_length(p.total);
        bar.set_position(p.done);
    };
    let summary = match &args.into {
        Some(events) => simulate::inject(std::slice::from_ref(events), &options, &args.out, &mut progress)?,
        None => simulate::run(&options, &args.out, &mut progress)?,
    };
    bar.finish_and_clear();
    print(out, &summary, &args.out)
}

/// A Monday.
pub(super) fn default_start() -> Date {
    Date(20_458)
}

fn print(out: &mut dyn Write, s: &simulate::Summary, dir: &Path) -> Result<()> {
    writeln!(out, "{} events of {} users over {} days in {}", s.events, s.users, s.days, dir.display())
        .map_err(cannot_print)?;
    match s.train_until.filter(|_| s.scenarios > 0) {
        Some(until) => {
            writeln!(out, "{}; the days up to {until} are clean: train on these", count(s.scenarios.into(), "scenario"))
        }
        None => writeln!(out, "no scenarios: a calm organisation"),
    }
    .map_err(cannot_print)?;
    for spec in &s.skipped {
        let text = format!("{} is left out; truth.json says why", spec.scenario);
        Message::warning(text).with("scenario", spec.scenario.to_string()).tell();
    }
    Ok(())
}
