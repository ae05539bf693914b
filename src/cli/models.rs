//! `models list`, `models show` and `models verify`; what changes something is in `change`.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{ModelsCommand, VersionArgs};
use super::messages::Message;
use super::{cannot_print, layers, print_json, terminal};
use crate::error::{Error, Kind, Result};
use crate::features::table::listed;
use crate::models::{
    self, CHAMPION, Event, LoadedModel, LogEntry, Manifest, Registry, Selector, TrainedOn, VersionInfo,
};
use crate::report::escape::shorten;
use crate::report::words;

pub(super) mod change;
mod diff;

pub(super) fn run(command: &ModelsCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        ModelsCommand::List(args) => {
            let config = args.model.resolve(&args.config)?;
            match &config.run().name {
                Some(name) => {
                    let registry = layers::registry_of(&config, layers::models(&config)?, name)?;
                    list_versions(&registry, args.json, out)
                }
                None => list_models(layers::models(&config)?, args.json, out),
            }
        }
        ModelsCommand::Show(args) => {
            let registry = args.model.registry(&args.config)?;
            let model = registry.load(&args.version.selector())?;
            show(&registry, &model, args.json, out)
        }
        ModelsCommand::Verify(args) => verify(&args.model.registry(&args.config)?, args.version, args.json, out),
        ModelsCommand::Promote(args) => change::promote(args, out),
        ModelsCommand::Rollback(args) => change::rollback(args, out),
        ModelsCommand::Gc(args) => change::gc(args, out),
        ModelsCommand::Diff(args) => diff::run(args, out),
    }
}

impl VersionArgs {
    /// Whether the champion is meant.
    pub(super) fn is_champion(&self) -> bool {
        self.version.is_none() && self.alias.as_deref().is_none_or(|alias| alias == CHAMPION)
    }

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
        let text = format!("{}; `quietwatch models verify` says more", terminal::escape(what));
        Message::warning(text).with("model", registry.name()).tell();
    }
    if json {
        return print_json(out, &versions.iter().map(version_json).collect::<Vec<_>>());
    }
    let mut columns = vec!["version", "aliases", "trained on", "user-days", "made", "digest", "last named"];
    let signatures = versions.iter().any(|info| !matches!(info.signed_by, Ok(None)));
    if signatures {
        columns.push("signed by");
    }
    let mut table = terminal::table(&columns);
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
        let version = info.version.to_string();
        let mut row = vec![version, info.aliases.join(", "), trained, user_days, made, digest, last_named(info)];
        if signatures {
            row.push(match &info.signed_by {
                Ok(key) => key.clone().unwrap_or_default(),
                Err(e) => format!("WRONG: {e}"),
            });
        }
        terminal::add_row(&mut table, row);
    }
    writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)
}

/// The last time that an alias was set to a version.
fn last_named(info: &VersionInfo) -> String {
    let set = info.history.iter().rev().find(|e| e.alias.is_some());
    set.map_or_else(String::new, |e| shorten(&told(e), 80))
}

/// A line of the log for people.
fn told(entry: &LogEntry) -> String {
    let alias = entry.alias.as_deref().unwrap_or_default();
    let before = entry.parent.map(|version| format!(" after version {version}")).unwrap_or_default();
    let what = match entry.event {
        Event::Create => "made".to_owned(),
        Event::Promote => format!("{alias}{before}"),
        Event::Rollback => format!("{alias} again{before}"),
        Event::Remove => "removed".to_owned(),
    };
    let by = entry.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("{}{by}: {what}: {}", entry.time, entry.reason)
}

fn version_json(info: &VersionInfo) -> Value {
    let mut value = json!({
        "version": info.version, "aliases": info.aliases, "created": info.created, "parent": info.parent,
        "history": info.history,
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
    match &info.signed_by {
        Ok(Some(key)) => merge(&mut value, json!({ "signed_by": key })),
        Ok(None) => {}
        Err(e) => merge(&mut value, json!({ "signature_error": e.to_string() })),
    }
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

fn show(registry: &Registry, model: &LoadedModel, json: bool, out: &mut dyn Write) -> Result<()> {
    let manifest = &model.manifest;
    let name = registry.name();
    let (versions, _) = registry.list()?;
    let info = versions.into_iter().find(|info| info.version == model.version);
    let (aliases, history, signed_by) =
        info.map(|info| (info.aliases, info.history, info.signed_by.ok().flatten())).unwrap_or_default();
    if json {
        let mut value = json!({
            "name": name, "version": model.version, "digest": model.digest, "aliases": aliases, "history": history,
        });
        if let Some(key) = &signed_by {
            merge(&mut value, json!({ "signed_by": key }));
        }
        merge(
            &mut value,
            serde_json::to_value(manifest).map_err(|e| Error::new(Kind::Bug, "cannot print").with_source(e))?,
        );
        return print_json(out, &value);
    }
    let mut lines = vec![
        ("model", format!("{name} version {}", model.version)),
        ("aliases", aliases.join(", ")),
        ("digest", model.digest.clone()),
        ("engine", format!("{} (format {})", manifest.engine_version, manifest.format_version)),
        ("trained on", trained_on(manifest)),
    ];
    lines.extend(signed_by.map(|key| ("signed by", key)));
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
    lines.push(("golden rows", manifest.golden.len().to_string()));
    lines.extend(manifest.notes.iter().map(|note| ("note", note.clone())));
    lines.extend(history.iter().map(|entry| ("history", told(entry))));
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
