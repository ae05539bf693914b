//! `models promote`, `models rollback` and `models gc`.

use std::io::Write;

use serde_json::json;

use crate::cli::args::{GcArgs, PromoteArgs, RollbackArgs};
use crate::cli::messages::Message;
use crate::cli::{cannot_print, layers, now, print_json, score, terminal};
use crate::error::{Error, Result};
use crate::models::{Because, GcReport, LoadedModel, Registry, Swapped, TrainedOn};
use crate::pipeline;
use crate::report::words::count;

/// Longest name of a person that goes into the log, in characters.
const LONGEST_NAME: usize = 64;

/// Who runs the command, as far as the environment says.
fn user() -> Option<String> {
    let said = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    said("USER").or_else(|| said("LOGNAME")).map(|user| user.chars().take(LONGEST_NAME).collect())
}

/// What a model must show before an alias names it: this engine can score with it and computes what its training did.
/// Returns the number of golden rows.
pub(in crate::cli) fn gate(model: &LoadedModel) -> Result<usize> {
    if matches!(model.manifest.trained_on(), Some(TrainedOn::Days(..))) {
        score::check_schema(model)?;
    }
    pipeline::replay(model).map_err(|e| {
        Error::new(e.kind(), format!("version {} cannot be promoted on this machine", model.version)).with_source(e)
    })
}

pub(super) fn promote(args: &PromoteArgs, out: &mut dyn Write) -> Result<()> {
    let registry = args.model.registry(&args.config)?;
    let mut rows = 0;
    let (now, by) = (now(), user());
    let because = Because { reason: &args.reason, now: &now, by: by.as_deref() };
    let swapped = registry.promote(args.version, &args.alias, because, &mut |model| {
        rows = gate(model)?;
        Ok(())
    })?;
    tell(&registry, &args.alias, &swapped, rows, args.json, out)
}

pub(super) fn rollback(args: &RollbackArgs, out: &mut dyn Write) -> Result<()> {
    let registry = args.model.registry(&args.config)?;
    let mut rows = 0;
    let (now, by) = (now(), user());
    let because = Because { reason: &args.reason, now: &now, by: by.as_deref() };
    let swapped = registry.rollback(&args.alias, because, &mut |model| {
        rows = gate(model)?;
        Ok(())
    })?;
    tell(&registry, &args.alias, &swapped, rows, args.json, out)
}

fn tell(
    registry: &Registry,
    alias: &str,
    swapped: &Swapped,
    rows: usize,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(broken) = registry.log()?.broken {
        let text = format!("log.jsonl: {}; `quietwatch models verify` says more", terminal::escape(&broken));
        Message::warning(text).with("model", registry.name()).tell();
    }
    if json {
        return print_json(
            out,
            &json!({
                "name": registry.name(), "alias": alias, "from": swapped.from, "to": swapped.to,
                "digest": swapped.digest, "changed": swapped.changed, "golden_rows": rows,
            }),
        );
    }
    let (name, to) = (registry.name(), swapped.to);
    let golden = match rows {
        0 => "it has no golden rows".to_owned(),
        n => format!("{} computed alike", count(n as u64, "golden row")),
    };
    if !swapped.changed {
        let text = format!("{alias} of {name} is version {to} already; nothing was changed (digests match, {golden})");
        return writeln!(out, "{text}").map_err(cannot_print);
    }
    let before = swapped.from.map_or("no version".to_owned(), |from| format!("version {from}"));
    writeln!(out, "{alias} of {name}: {before} -> version {to} (digests match, {golden})").map_err(cannot_print)
}

pub(super) fn gc(args: &GcArgs, out: &mut dyn Write) -> Result<()> {
    let config = args.layers()?.resolve()?;
    let registry = layers::registry(&config)?;
    let keep = config.run().keep_versions as usize;
    let (now, by) = (now(), user());
    let reason = match args.version {
        Some(_) => "gc of this version".to_owned(),
        None => format!("gc, keeping the last {keep}"),
    };
    let because = Because { reason: &reason, now: &now, by: by.as_deref() };
    let report = registry.gc(keep, args.version, because, args.dry_run)?;
    if args.json {
        let kept: Vec<_> = report.kept.iter().map(|k| json!({ "version": k.version, "because": k.because })).collect();
        return print_json(
            out,
            &json!({ "dry_run": args.dry_run, "removed": report.removed, "kept": kept, "leftovers": report.leftovers }),
        );
    }
    print_gc(&report, args.dry_run, out)
}

fn print_gc(report: &GcReport, dry_run: bool, out: &mut dyn Write) -> Result<()> {
    let verb = if dry_run { "would remove" } else { "removed" };
    let mut table = terminal::table(&[]);
    for version in &report.removed {
        terminal::add_row(&mut table, [verb.to_owned(), format!("version {version}"), String::new()]);
    }
    for name in &report.leftovers {
        terminal::add_row(&mut table, [verb.to_owned(), name.clone(), "left by a command that was killed".to_owned()]);
    }
    for kept in &report.kept {
        let version = format!("version {}", kept.version);
        terminal::add_row(&mut table, ["kept".to_owned(), version, kept.because.clone()]);
    }
    if report.removed.is_empty() && report.leftovers.is_empty() {
        writeln!(out, "nothing to remove").map_err(cannot_print)?;
    }
    writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)
}
