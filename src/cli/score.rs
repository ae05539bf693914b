//! `score`: one night, or each night of a range, into a run folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::ScoreArgs;
use super::messages::Message;
use super::shadow::{self, Champion};
use super::{cannot_print, layers, outputs, print_json, sequences, table, terminal};
use crate::anomaly::{Anomaly, NightSummary, RunInfo};
use crate::config::Config;
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::models::{LoadedModel, TrainedOn};
use crate::pipeline::gates::missing_before;
use crate::pipeline::{Days, Scorer};
use crate::report::run_folder::{self, Published};
use crate::report::terminal::{Layout, print_night};

/// Which nights are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nights {
    /// The latest date in the input.
    Latest,
    /// From, to, inclusive.
    Range(Date, Date),
}

pub(super) fn run(args: &ScoreArgs, out: &mut dyn Write) -> Result<ExitCode> {
    if let Some(path) = args.table.path()? {
        return table::score(path, args, out);
    }
    if let Some(path) = &args.sequences.sequences {
        return sequences::score(path, args, out);
    }
    let said = args.layers()?;
    let base = said.resolve()?;
    let nights = match (args.date, args.from, args.to) {
        (Some(date), ..) => Nights::Range(date, date),
        (None, Some(from), Some(to)) if from <= to => Nights::Range(from, to),
        (None, Some(from), Some(to)) => {
            return Err(Error::new(Kind::Usage, format!("expected --from no later than --to, found {from} and {to}")));
        }
        _ => Nights::Latest,
    };
    let registry = layers::registry(&base)?;
    let (model, _in_use) = registry.load_in_use(&args.version.selector())?;
    window(&model)?;
    check_schema(&model)?;
    let config = said.resolve_at_score_time(&model.manifest.settings)?;
    let run = config.run();
    outputs::check(&args.out, &config)?;
    let input = args.input.open(&config)?;
    let (info, anomalies) = score(&input.store, &model, registry.name(), &config, nights)?;
    tell_in_sample(&info, &model)?;
    let published = publish(&args.out, &info, &anomalies, &config)?;
    outputs::write(&info, &anomalies, &config)?;
    // Whoever waits for the night has it before messages are delivered, which can take minutes, and before a challenger begins; and
    // messages are delivered also where nobody reads what is printed.
    let printed = if args.json { print_json(out, &info) } else { print(out, &info, &anomalies) };
    let printed = printed.and_then(|()| out.flush().map_err(cannot_print));
    if !args.json {
        tell_published(published, &args.out);
    }
    let delivered = deliver(&info, &anomalies, &args.out, &config);
    printed?;
    if let (Some(alias), true) = (&run.shadow, args.version.is_champion()) {
        let champion = Champion { info: &info, anomalies: &anomalies, days: &input.store, nights };
        shadow::follow(alias, &registry, &said, champion, (&args.out, args.shadow.is_some()));
    }
    let reported = anomalies.iter().filter(|a| a.reported).map(|a| a.severity).max();
    if let (Some(worst), Some(threshold)) = (reported, run.fail_on)
        && worst >= threshold
    {
        let text = format!("an anomaly of severity {} was reported (--fail-on {})", worst.name(), threshold.name());
        Message::ended(Kind::FailOn, text).with("severity", worst.name()).tell();
        return Ok(ExitCode::from(Kind::FailOn.exit_code()));
    }
    if info.tripped() && run.strict {
        let text = "a gate tripped and --strict was given; the run is published all the same";
        Message::ended(Kind::Features, text).with("gates", tripped(&info)).tell();
        return Ok(ExitCode::from(Kind::Features.exit_code()));
    }
    if !delivered && run.strict {
        let text = "a message is not delivered and --strict was given; the run is published all the same";
        Message::ended(Kind::Undelivered, text).tell();
        return Ok(ExitCode::from(Kind::Undelivered.exit_code()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The gates that tripped, for a program.
fn tripped(info: &RunInfo) -> Vec<Value> {
    let of_night =
        |n: &NightSummary| n.gates.iter().map(|g| json!({ "date": n.date, "gate": g.gate })).collect::<Vec<_>>();
    info.nights.iter().flat_map(of_night).collect()
}

#[cfg(feature = "deliver")]
use super::deliver::after as deliver;

/// Whether there is nothing to deliver.
#[cfg(not(feature = "deliver"))]
fn deliver(_: &RunInfo, _: &[Anomaly], _: &Path, config: &Config) -> bool {
    if config.deliver().is_on() {
        Message::warning("this build of quietwatch delivers nothing; build it with the feature deliver").tell();
    }
    !config.deliver().is_on()
}

/// Says what became of the run folder.
pub(super) fn tell_published(published: Published, out: &Path) {
    let what = match published {
        Published::Created => "written to",
        Published::Unchanged => "unchanged in",
        Published::Replaced { .. } => "replaced (the run before is kept in its .revisions) in",
    };
    Message::done(format!("run {what} {}", out.display())).with_path("path", out).tell();
}

/// First and last training day; [`Kind::Model`] for a model of anything but events.
pub(super) fn window(model: &LoadedModel) -> Result<(Date, Date)> {
    if let Some(TrainedOn::Days(from, until)) = model.manifest.trained_on() {
        return Ok((from, until));
    }
    let message = format!(
        "version {} was trained on {} and cannot score nights; expected the kind of input that it was trained on, or a model \
         that was trained on events",
        model.version,
        model.manifest.trained_on().map_or("something else", |on| on.kind())
    );
    Err(Error::new(Kind::Model, message))
}

pub(super) fn check_schema(model: &LoadedModel) -> Result<()> {
    let own = crate::store::feature_schema();
    if model.manifest.feature_schema == own {
        return Ok(());
    }
    let message = format!(
        "version {} was trained with the features {} of quietwatch {}, this engine computes {}; train a new version",
        model.version,
        model.manifest.feature_schema.get(..12).unwrap_or_default(),
        model.manifest.engine_version,
        &own[..12]
    );
    Err(Error::new(Kind::Features, message))
}

/// Says so if the model has seen a night that it scored.
pub(super) fn tell_in_sample(info: &RunInfo, model: &LoadedModel) -> Result<()> {
    if let (true, Some(first)) = (info.in_sample, info.nights.first()) {
        let (from, until) = window(model)?;
        Message::warning(format!(
            "{} lies within the training window of version {} ({from} to {until}); the baseline is folded anew from the days \
             before each night, but the calibration has seen it (in_sample)",
            first.date, model.version
        ))
        .with("date", first.date.to_string())
        .tell();
    }
    Ok(())
}

/// Scores the nights; publishes nothing.
pub(super) fn score(
    days: &dyn Days,
    model: &LoadedModel,
    name: &str,
    config: &Config,
    nights: Nights,
) -> Result<(RunInfo, Vec<Anomaly>)> {
    let with_data: Vec<Date> = {
        let mut dates: Vec<Date> = days.list()?.into_iter().map(|d| d.0).collect();
        dates.dedup();
        dates
    };
    let (from, to) = match (nights, with_data.last()) {
        (Nights::Range(from, to), _) => (from, to),
        (Nights::Latest, Some(last)) => (*last, *last),
        (Nights::Latest, None) => return Err(Error::new(Kind::NoData, "the input has no day to score")),
    };
    let wanted: Vec<Date> = with_data.iter().copied().filter(|d| (from..=to).contains(d)).collect();
    let Some(&first) = wanted.first() else {
        let found = match (with_data.first(), with_data.last()) {
            (Some(a), Some(b)) => format!("data from {a} to {b}"),
            _ => "no data at all".into(),
        };
        return Err(Error::new(Kind::NoData, format!("expected data for {from} to {to}, found {found}")));
    };
    let window = window(model)?;
    let in_sample = (window.0..=window.1).contains(&first);
    let arrays: BTreeMap<&str, &[f64]> = model.arrays.iter().map(|a| (a.name.as_str(), a.values.as_slice())).collect();
    let mut scorer =
        Scorer::new(days, &arrays, &model.records, window, &model.digest, config.settings().clone(), first)?;
    let bar = terminal::progress("scoring", wanted.len() as u64);
    let (mut anomalies, mut summaries) = (Vec::new(), Vec::new());
    for (i, &date) in wanted.iter().enumerate() {
        bar.set_position(i as u64);
        if let Some(night) = scorer.night(date, &mut |_, _, _| {})? {
            anomalies.extend(night.anomalies);
            summaries.extend(night.summaries);
        }
    }
    bar.finish_and_clear();
    for summary in &mut summaries {
        remark(summary, days, model, window, &with_data)?;
    }
    for a in &mut anomalies {
        name.clone_into(&mut a.model_name);
        a.model_version = model.version;
        a.model_digest.clone_from(&model.digest);
    }
    // A range that ends in the far future is a way to say "all there is"; only gaps between data are missing.
    let last = *wanted.last().expect("not empty");
    let until = if matches!(nights, Nights::Range(_, to) if to.0 - last.0 <= 366) { to } else { last };
    let missing_dates = (from.0.max(first.0 - 366)..=until.0).map(Date).filter(|d| !wanted.contains(d)).collect();
    let info = RunInfo {
        format_version: run_folder::FORMAT_VERSION,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        model_name: name.to_owned(),
        model_version: model.version,
        model_digest: model.digest.clone(),
        input_digest: scorer.input_digest().to_owned(),
        in_sample,
        nights: summaries,
        missing_dates,
        not_run: scorer.not_run(),
    };
    Ok((info, anomalies))
}

/// Notes what the night's scores rest on and the night itself does not show.
fn remark(
    summary: &mut NightSummary,
    days: &dyn Days,
    model: &LoadedModel,
    (from, until): (Date, Date),
    with_data: &[Date],
) -> Result<()> {
    let manifest = &model.manifest;
    if !manifest.orgs.contains(&summary.org_id) {
        summary.notes.push(format!(
            "version {} was trained without this organisation, so its history begins after {}; train again to include it",
            model.version, until
        ));
    }
    if days.enrichment(&summary.org_id, summary.date)? != manifest.enrichment {
        summary.notes.push(
            "addresses are described by other network tables (enrich.*) than in training, so networks, countries and operators \
             may look new; read the events with the same --config, or train again"
                .into(),
        );
    }
    summary.gates.extend(missing_before(summary.date, (from, until), with_data));
    Ok(())
}

/// Writes the run folder.
pub(super) fn publish(out: &Path, info: &RunInfo, anomalies: &[Anomaly], config: &Config) -> Result<Published> {
    run_folder::publish(out, info, anomalies, config.settings().outputs.report)
}

/// The nights for people.
pub(super) fn print(out: &mut dyn Write, info: &RunInfo, anomalies: &[Anomaly]) -> Result<()> {
    let layout = Layout { width: terminal::width(), color: terminal::colours() };
    for night in &info.nights {
        print_night(out, night, anomalies, layout).map_err(cannot_print)?;
    }
    for date in &info.missing_dates {
        writeln!(out, "{date}  no data").map_err(cannot_print)?;
    }
    Ok(())
}
