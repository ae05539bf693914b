//! `doctor`: is the installation whole, and what to do if it is not. It reads and changes nothing.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::args::DoctorArgs;
use super::models::change::gate;
use super::{cannot_print, layers, now, print_json, terminal};
use crate::config::Config;
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::events::Profile;
use crate::models::{self, CHAMPION, Registry, Selector, TrainedOn, VersionInfo};
use crate::report::words::count;
use crate::store::{PartitionId, Store, feature_schema};

/// Days that a champion may lie behind the latest day of the store. By then its slow memory holds a tenth of what it was
/// trained on, and the calibration is of a season past.
const OLD_MODEL_DAYS: i32 = 90;

/// Days without data after which somebody should look why.
const SILENT_DAYS: i32 = 2;

/// Things of one kind that are named.
const NAMED: usize = 5;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    status: Status,
    detail: String,
    /// What to do; empty if nothing is to be done.
    todo: String,
    #[serde(skip)]
    kind: Option<Kind>,
}

#[derive(Debug, Default)]
struct Report(Vec<Check>);

impl Report {
    fn add(&mut self, status: Status, what: &str, detail: impl Into<String>, todo: &str) {
        self.0.push(Check { what: what.into(), status, detail: detail.into(), todo: todo.into(), kind: None });
    }

    fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(Status::Ok, check, detail, "");
    }

    fn warn(&mut self, check: &str, detail: impl Into<String>, todo: &str) {
        self.add(Status::Warn, check, detail, todo);
    }

    fn fail(&mut self, check: &str, error: &Error, todo: &str) {
        let cause = std::error::Error::source(error).map(|e| format!(" ({e})")).unwrap_or_default();
        self.add(Status::Fail, check, format!("{error}{cause}"), todo);
        self.0.last_mut().expect("just added").kind = Some(error.kind());
    }

    fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|c| c.status == status).count()
    }

    /// 7 if a digest is wrong, else what the first failed check says.
    fn exit_code(&self) -> u8 {
        let kinds: Vec<Kind> = self.0.iter().filter_map(|c| c.kind).collect();
        let worst = kinds.iter().find(|kind| **kind == Kind::Digest).or(kinds.first());
        worst.map_or(0, |kind| kind.exit_code())
    }
}

pub(super) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let mut report = Report::default();
    match args.layers().and_then(|layers| layers.resolve()) {
        Ok(config) => installation(args, &config, &mut report)?,
        Err(e) if e.kind() == Kind::Config => {
            report.fail("configuration", &e, "correct it; `quietwatch config show` lists all keys");
        }
        Err(e) => return Err(e),
    }
    let code = report.exit_code();
    if args.json {
        print_json(out, &json!({ "healthy": code == 0, "exit_code": code, "checks": report.0 }))?;
        return Ok(ExitCode::from(code));
    }
    for check in &report.0 {
        let status = match check.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        let todo = if check.todo.is_empty() { String::new() } else { format!("; {}", check.todo) };
        let line = format!("{status}  {}: {}{todo}", check.what, check.detail);
        writeln!(out, "{}", terminal::escape(&line)).map_err(cannot_print)?;
    }
    let (fails, warns) = (report.count(Status::Fail) as u64, report.count(Status::Warn) as u64);
    let checks = count(report.0.len() as u64, "check");
    writeln!(out, "\n{checks}: {fails} failed, {}", count(warns, "warning")).map_err(cannot_print)?;
    Ok(ExitCode::from(code))
}

/// What messages need: secrets and certificates that can be read. No receiver is asked.
#[cfg(feature = "deliver")]
fn delivery(config: &Config, report: &mut Report) {
    const ADVICE: &str = "`quietwatch deliver --test` sends one message to each channel";
    let mut warnings = Vec::new();
    for (channel, wrong) in crate::deliver::check(config.deliver(), &mut warnings) {
        match wrong {
            None => report.ok(&format!("delivery to {channel}"), "what it needs can be read"),
            Some(why) => report.warn(&format!("delivery to {channel}"), why, ADVICE),
        }
    }
    for warning in warnings {
        report.warn("delivery", warning, "");
    }
}

fn installation(args: &DoctorArgs, config: &Config, report: &mut Report) -> Result<()> {
    let run = config.run();
    if run.store.is_none() && run.models.is_none() {
        let message =
            "expected --store DIR or --models DIR (or run.store or run.models in the configuration), found neither";
        return Err(Error::new(Kind::Usage, message));
    }
    configuration(config, report);
    #[cfg(feature = "deliver")]
    delivery(config, report);
    let mut latest = None;
    let store = match &run.store {
        None => {
            report.warn("store", "not told where it is, so not looked at", "give --store DIR");
            None
        }
        Some(path) => match Store::open(path) {
            Ok(store) => {
                latest = partitions(&store, args.quick, report)?;
                Some(store)
            }
            Err(e) => {
                report.fail("store", &e, "");
                None
            }
        },
    };
    match &run.models {
        None => report.warn("models", "not told where they are, so not looked at", "give --models DIR"),
        Some(path) => {
            let known = all_models(path, config, args.quick, latest, report);
            if let (Some(store), None) = (&store, &run.name) {
                kept_nights(store, &known, report)?;
            }
        }
    }
    Ok(())
}

fn configuration(config: &Config, report: &mut Report) {
    let mut sound = true;
    if let Err(e) = Profile::load(&config.run().profile) {
        report.fail("configuration", &e, "correct run.profile");
        sound = false;
    }
    for path in config.settings().enrich.networks.iter().filter(|path| !Path::new(path).is_file()) {
        let error = Error::new(Kind::Config, format!("enrich.networks names {path}, which is no file"));
        report.fail("configuration", &error, "put it there, or change enrich.networks");
        sound = false;
    }
    if sound {
        report.ok("configuration", format!("resolved; profile {}", config.run().profile));
    }
}

/// Looks at all partitions; returns the latest date.
fn partitions(store: &Store, quick: bool, report: &mut Report) -> Result<Option<Date>> {
    let ids = match store.partitions() {
        Ok(ids) => ids,
        Err(e) => {
            report.fail("store", &e, "");
            return Ok(None);
        }
    };
    let dates: BTreeSet<Date> = ids.iter().map(|id| id.date).collect();
    let orgs: BTreeSet<&str> = ids.iter().map(|id| id.org.as_str()).collect();
    let (Some(first), Some(last)) = (dates.first().copied(), dates.last().copied()) else {
        report.warn("store", "it has no partition", "`quietwatch features` reads event files into it");
        return Ok(None);
    };
    let (partitions, orgs) = (count(ids.len() as u64, "partition"), count(orgs.len() as u64, "organisation"));
    report.ok("store", format!("{partitions} of {orgs}, {first} to {last}"));
    content(store, &ids, quick, report);
    let missing: Vec<String> =
        (first.0..last.0).map(Date).filter(|d| !dates.contains(d)).map(|d| d.to_string()).collect();
    if missing.is_empty() {
        report.ok("store days", "no day is missing");
    } else {
        report.warn(
            "store days",
            format!("no data on {}", named(&missing)),
            "read the files of these days, if there are any",
        );
    }
    let today: Option<Date> = now().get(..10).and_then(|day| day.parse().ok());
    if let Some(days) = today.map(|today| today.0 - last.0).filter(|days| *days > SILENT_DAYS) {
        report.warn("latest day", format!("{last}, {days} days ago"), "look why no newer events arrive");
    } else {
        report.ok("latest day", last.to_string());
    }
    let (left, writer) = store.unfinished()?;
    match (left.is_empty(), writer) {
        (_, Some(pid)) => report.ok("store writer", format!("process {pid} is writing at the moment")),
        (true, None) => report.ok("store writer", "none, and none left anything behind"),
        (false, None) => report.warn(
            "store writer",
            format!("a command was killed and left {}", named(&left)),
            "the next `features` clears it up",
        ),
    }
    Ok(Some(last))
}

/// Digests, and whether this engine would compute the same.
fn content(store: &Store, ids: &[PartitionId], quick: bool, report: &mut Report) {
    let bar = terminal::progress("checking", ids.len() as u64);
    let looked: Vec<Result<(bool, bool)>> = ids
        .par_iter()
        .map(|id| {
            let manifest = store.manifest(id)?;
            if !quick {
                store.verify(id)?;
            }
            bar.inc(1);
            Ok((manifest.feature_schema == feature_schema(), manifest.archive))
        })
        .collect();
    bar.finish_and_clear();
    let mut broken = 0;
    for (id, found) in ids.iter().zip(&looked) {
        if let Err(e) = found {
            broken += 1;
            if broken <= NAMED {
                report.fail(&format!("partition {} {}", id.org, id.date), e, "");
            }
        }
    }
    let what = if quick { "manifests are whole" } else { "every byte is what the manifests say" };
    match broken {
        0 => report.ok("store content", what),
        n if n > NAMED => {
            let error = Error::new(Kind::Digest, format!("{} more partitions are damaged", n - NAMED));
            report.fail("store content", &error, "restore them, or remove them and read their files again");
        }
        _ => {}
    }
    let other: Vec<bool> = looked.iter().flatten().filter(|(same, _)| !same).map(|(_, archive)| *archive).collect();
    if other.is_empty() {
        report.ok("store features", "as this engine computes them");
        return;
    }
    let detail = format!("{} computed by another engine", count(other.len() as u64, "partition"));
    if other.iter().all(|archive| *archive) {
        report.warn("store features", detail, "the next `features` computes them anew");
    } else {
        report.warn(
            "store features",
            detail,
            "those without an archive need their event files read again, into a new store",
        );
    }
}

/// Looks at the models; returns the digests of all their versions.
fn all_models(
    path: &Path,
    config: &Config,
    quick: bool,
    latest: Option<Date>,
    report: &mut Report,
) -> BTreeSet<String> {
    let names = match &config.run().name {
        Some(name) => Ok(vec![name.clone()]),
        None => models::names(path),
    };
    let mut known = BTreeSet::new();
    match names {
        Err(e) => report.fail("models", &e, ""),
        Ok(names) if names.is_empty() => {
            let error = Error::new(Kind::Model, format!("there is no model in {}", path.display()));
            report.fail("models", &error, "`quietwatch train` makes one");
        }
        Ok(names) => {
            for name in names {
                let looked = layers::registry_of(config, path, &name).and_then(|registry| {
                    let digests = model(&registry, quick, latest, report)?;
                    known.extend(digests);
                    Ok(())
                });
                if let Err(e) = looked {
                    report.fail(&format!("model {name}"), &e, "");
                }
            }
        }
    }
    known
}

/// Looks at one model; returns the digests of its versions.
fn model(registry: &Registry, quick: bool, latest: Option<Date>, report: &mut Report) -> Result<Vec<String>> {
    let about = |what: &str| format!("model {} {what}", registry.name());
    let (versions, _) = registry.list()?;
    let digests = versions.iter().filter_map(|v| v.manifest.as_ref().ok().map(|(digest, _)| digest.clone())).collect();
    if quick {
        report.ok(&about("versions"), format!("{}, not read", count(versions.len() as u64, "version")));
    } else {
        let checks = registry.verify(None)?.checks;
        let whole = checks.iter().filter(|c| c.outcome.is_ok() && c.what.starts_with("version")).count();
        for check in &checks {
            if let Err(e) = &check.outcome {
                report.fail(&about(&check.what), e, "docs/operations.md says what can be done");
            }
        }
        if whole == versions.len() {
            report.ok(&about("versions"), format!("{}, every digest matches", count(whole as u64, "version")));
        }
        if let Some(log) = checks.iter().find(|c| c.what == "log").and_then(|c| c.outcome.as_ref().ok()) {
            report.ok(&about("log"), format!("{log}, the chain holds"));
        }
    }
    let signed = |v: &VersionInfo| Some(format!("version {} by {}", v.version, v.signed_by.as_ref().ok()?.as_ref()?));
    let signed: Vec<String> = versions.iter().filter_map(signed).collect();
    if !signed.is_empty() {
        report.ok(&about("signatures"), signed.join(", "));
    }
    if let (true, Some(e)) = (quick, versions.iter().find_map(|v| v.signed_by.as_ref().err())) {
        report.fail(&about("signatures"), e, "docs/operations.md says what can be done");
    }
    champion(registry, latest, report)?;
    let left = registry.leftover_files()?;
    match (left.is_empty(), registry.writer()) {
        (_, Some(pid)) => report.ok(&about("writer"), format!("process {pid} is writing at the moment")),
        (true, None) => report.ok(&about("writer"), "none, and none left anything behind"),
        (false, None) => report.warn(
            &about("writer"),
            format!("a command was killed and left {}", named(&left)),
            "`models gc` clears it up, as does the next command that writes",
        ),
    }
    Ok(digests)
}

/// What the aliases name, and whether the champion can score here.
fn champion(registry: &Registry, latest: Option<Date>, report: &mut Report) -> Result<()> {
    let about = |what: &str| format!("model {} {what}", registry.name());
    let aliases = registry.aliases()?;
    let said: Vec<String> =
        aliases.iter().filter_map(|(name, v)| v.as_ref().ok().map(|v| format!("{name} is version {v}"))).collect();
    if !aliases.contains_key(CHAMPION) {
        let detail = if said.is_empty() { "there is none".to_owned() } else { said.join(", ") };
        let todo = "without a champion, `score` needs --version or --alias; `models promote` sets one";
        report.warn(&about("aliases"), detail, todo);
        return Ok(());
    }
    report.ok(&about("aliases"), said.join(", "));
    let model = match registry.load(&Selector::Alias(CHAMPION.to_owned())) {
        Ok(model) => model,
        Err(e) => {
            report.fail(&about("champion"), &e, "`models rollback`, or `models promote` another version");
            return Ok(());
        }
    };
    match gate(&model) {
        Ok(0) => {
            report.warn(&about("champion"), "it has no golden rows to compute", "train a version with this engine");
        }
        Ok(rows) => {
            report.ok(&about("champion"), format!("{} computed alike", count(rows as u64, "golden row")));
        }
        Err(e) => {
            report.fail(&about("champion"), &e, "train a version with this engine, or use the engine that made it");
        }
    }
    if let (Some(TrainedOn::Days(_, until)), Some(latest)) = (model.manifest.trained_on(), latest) {
        let days = latest.0 - until.0;
        let detail = match days {
            ..=0 => format!("trained up to {until}, the latest day of the store or later"),
            days => format!("trained up to {until}, {} before the latest of the store", count(days as u64, "day")),
        };
        if days > OLD_MODEL_DAYS {
            report.warn(
                &about("age"),
                detail,
                "train a version on newer days, compare it (`models diff`) and promote it",
            );
        } else {
            report.ok(&about("age"), detail);
        }
    }
    Ok(())
}

/// Nights that the store keeps for models which are no longer there.
fn kept_nights(store: &Store, known: &BTreeSet<String>, report: &mut Report) -> Result<()> {
    let orphans: Vec<String> = store.kept_models()?.into_iter().filter(|digest| !known.contains(digest)).collect();
    if orphans.is_empty() {
        report.ok("kept nights", "all of models that are there");
    } else {
        let folder = store.path().join("nights");
        let names: Vec<String> = orphans.iter().map(|digest| digest.chars().take(12).collect()).collect();
        report.warn(
            "kept nights",
            format!("{} has those of models that are not in --models: {}", folder.display(), named(&names)),
            "if no other folder of models has them, these folders can be removed",
        );
    }
    Ok(())
}

/// The first few of a list, and how many more there are.
fn named(all: &[String]) -> String {
    let first = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
