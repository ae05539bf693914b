//! `models list`, `models show` and `models verify`.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{ModelsCommand, VersionArgs};
use super::{cannot_print, print_json, terminal};
use crate::error::{Error, Kind, Result};
use crate::features::table::listed;
use crate::models::{self, CHAMPION, LoadedModel, Manifest, Registry, Selector, TrainedOn, VersionInfo};
use crate::report::words;

pub(super) fn run(command: &ModelsCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        ModelsCommand::List { models, name: Some(name), json } => {
            list_versions(&Registry::open(models, name)?, *json, out)
        }
        ModelsCommand::List { models, name: None, json } => list_models(models, *json, out),
        ModelsCommand::Show { models, name, version, json } => {
            show(name, &Registry::open(models, name)?.load(&version.selector())?, *json, out)
        }
        ModelsCommand::Verify { models, name, version, json } => {
            verify(&Registry::open(models, name)?, *version, *json, out)
        }
    }
}

impl VersionArgs {
    /// The version that is meant; the champion if nothing was said.
    pub fn selector(&self) -> Selector {
        match (self.version, &self.alias) {
            (Some(version), _) => Selector::Version(version),
            (None, alias) => Selector::Alias(alias.clone().unwrap_or_else(|| CHAMPION.to_owned())),
        }
    }
}

fn list_models(models: &Path, json: bool, out: &mut dyn Write) -> Result<()> {
    let names = models::names(models)?;
    if names.is_empty() {
        let message = format!("there is no model in {}; `quietwatch train` makes one", models.display());
        return Err(Error::new(Kind::Model, message));
    }
    if json {
        return print_json(out, &names);
    }
    names.iter().try_for_each(|name| writeln!(out, "{name}").map_err(cannot_print))
}

fn list_versions(registry: &Registry, json: bool, out: &mut dyn Write) -> Result<()> {
    let (versions, broken) = registry.list()?;
    for what in &broken {
        eprintln!("warning: {}; `quietwatch models verify` says more", terminal::escape(what));
    }
    if json {
        return print_json(out, &versions.iter().map(version_json).collect::<Vec<_>>());
    }
    let mut table = terminal::table(&["version", "aliases", "trained on", "user-days", "made", "digest"]);
    for info in &versions {
        let (trained, user_days, digest) = match &info.manifest {
            Ok((digest, m)) => {
                let of_days = matches!(m.trained_on(), Some(TrainedOn::Days(..)));
                let user_days = if of_days { m.user_days.to_string() } else { String::new() };
                (trained_on(m), user_days, digest[..12].to_owned())
            }
            Err(e) => ("cannot be used".to_owned(), String::new(), e.to_string()),
        };
        let made = info.created.clone().unwrap_or_default();
        terminal::add_row(
            &mut table,
            [info.version.to_string(), info.aliases.join(", "), trained, user_days, made, digest],
        );
    }
    writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)
}

fn version_json(info: &VersionInfo) -> Value {
    let mut value = json!({
        "version": info.version, "aliases": info.aliases, "created": info.created, "parent": info.parent,
    });
    let details = match &info.manifest {
        Ok((digest, m)) => match m.trained_on() {
            Some(TrainedOn::Table(table)) => json!({
                "digest": digest, "engine_version": m.engine_version,
                "table": { "keys": table.keys, "rows": table.rows, "columns": table.columns.len() },
            }),
            Some(TrainedOn::Sequences(of)) => json!({
                "digest": digest, "engine_version": m.engine_version,
                "sequences": { "sequences": of.sequences, "tokens": of.tokens, "vocabulary": of.vocabulary.len(),
                    "entities": of.entities },
            }),
            _ => json!({
                "digest": digest, "engine_version": m.engine_version, "train_from": m.train_from,
                "train_until": m.train_until, "orgs": m.orgs, "events": m.events, "user_days": m.user_days,
            }),
        },
        Err(e) => json!({ "error": e.to_string() }),
    };
    merge(&mut value, details);
    value
}

/// What a version was trained on, in a few words.
fn trained_on(m: &Manifest) -> String {
    match m.trained_on() {
        Some(TrainedOn::Days(from, until)) => format!("{from} to {until}"),
        Some(TrainedOn::Table(table)) => format!("table of {} rows × {} columns", table.rows, table.columns.len()),
        Some(TrainedOn::Sequences(of)) => {
            format!("{} of {}", words::count(of.sequences, "sequence"), words::count(of.tokens, "token"))
        }
        None => String::new(),
    }
}

fn show(name: &str, model: &LoadedModel, json: bool, out: &mut dyn Write) -> Result<()> {
    let manifest = &model.manifest;
    if json {
        let mut value = json!({ "name": name, "version": model.version, "digest": model.digest });
        merge(
            &mut value,
            serde_json::to_value(manifest).map_err(|e| Error::new(Kind::Bug, "cannot print").with_source(e))?,
        );
        return print_json(out, &value);
    }
    let mut lines = vec![
        ("model", format!("{name} version {}", model.version)),
        ("digest", model.digest.clone()),
        ("engine", format!("{} (format {})", manifest.engine_version, manifest.format_version)),
        ("trained on", trained_on(manifest)),
    ];
    match manifest.trained_on() {
        Some(TrainedOn::Table(table)) => lines.extend([
            ("keys", listed(&table.keys)),
            ("columns", listed(&table.columns)),
            ("excluded", listed(&table.excluded)),
            ("dropped", listed(&table.dropped)),
            ("missing", table.missing.clone()),
        ]),
        Some(TrainedOn::Sequences(of)) => {
            lines.push(("vocabulary", listed(&of.vocabulary)));
            lines.extend(of.entities.map(|n| ("entities", n.to_string())));
        }
        _ => lines.extend([
            ("organisations", manifest.orgs.join(", ")),
            ("learned from", format!("{} events, {} user-days", manifest.events, manifest.user_days)),
        ]),
    }
    lines.extend([
        ("seed", manifest.seed.to_string()),
        ("input", manifest.input_digest.clone()),
        ("features", manifest.feature_schema.clone()),
        ("content", format!("{} arrays, {} records", model.arrays.len(), model.records.len())),
    ]);
    lines.extend(manifest.notes.iter().map(|note| ("note", note.clone())));
    let mut table = terminal::table(&[]);
    for (label, text) in lines {
        terminal::add_row(&mut table, [label.to_owned(), text]);
    }
    for (metric, value) in &manifest.metrics {
        terminal::add_row(&mut table, [metric.clone(), value.to_string()]);
    }
    writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)
}

/// Prints every check, then fails with the first thing that is wrong.
fn verify(registry: &Registry, version: Option<u32>, json: bool, out: &mut dyn Write) -> Result<()> {
    let report = registry.verify(version)?;
    if json {
        let checks = report.checks.iter().map(|check| match &check.outcome {
            Ok(digest) => json!({ "what": check.what, "ok": true, "digest": digest }),
            Err(e) => json!({ "what": check.what, "ok": false, "error": e.to_string() }),
        });
        print_json(out, &checks.collect::<Vec<_>>())?;
    } else {
        let mut table = terminal::table(&[]);
        for check in &report.checks {
            let (verdict, detail) = match &check.outcome {
                Ok(digest) => ("ok", digest.clone()),
                Err(e) => ("WRONG", e.to_string()),
            };
            terminal::add_row(&mut table, [check.what.clone(), verdict.to_owned(), detail]);
        }
        writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)?;
    }
    out.flush().map_err(cannot_print)?;
    report.into_result()
}

/// Adds the fields of one JSON object to another.
fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
