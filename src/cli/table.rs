//! `train --table` and `score --table`: any numeric feature table, without days, events or a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::{ScoreArgs, TableArgs, TrainArgs};
use super::messages::Message;
use super::{cannot_print, layers, now, print_json, terminal};
use crate::anomaly::Severity;
use crate::config::{Config, Geometry};
use crate::error::{Error, Kind, Result};
use crate::features::table::{self, Key, Table, Wanted, listed};
use crate::fusion::combine;
use crate::fusion::table::Scores;
use crate::models::{Array, Draft, LoadedModel, MISSING_RULE, Manifest, TableInfo, TrainedOn};
use crate::pipeline;
use crate::report::escape::clip;
use crate::report::scores::{self, ScoresRun};
use crate::report::words;

/// Rows that are printed.
const SHOWN: usize = 10;

/// Longest key that is printed, in characters.
pub(super) const KEY_WIDTH: usize = 60;

impl TableArgs {
    /// The table, if one is meant; its other flags mean nothing without it.
    pub(super) fn path(&self) -> Result<Option<&Path>> {
        if self.table.is_none() && !(self.key.is_empty() && self.exclude.is_empty()) {
            return Err(usage(
                "--key and --exclude name columns of a table; expected --table FILE with them, found none",
            ));
        }
        Ok(self.table.as_deref())
    }

    /// What the parser cannot tell by itself.
    pub(super) fn check(&self) -> Result<()> {
        for (flag, names) in [("--key", &self.key), ("--exclude", &self.exclude)] {
            let mut seen = BTreeSet::new();
            if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
                return Err(usage(format!("expected each column of {flag} once, found {twice:?} twice")));
            }
        }
        match self.key.iter().find(|key| self.exclude.contains(key)) {
            Some(both) => Err(usage(format!("expected {both:?} with --key or with --exclude, found it with both"))),
            None => Ok(()),
        }
    }
}

pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}

/// Learns a table and adds the version.
pub(super) fn train(path: &Path, args: &TrainArgs, out: &mut dyn Write) -> Result<()> {
    args.table.check()?;
    if args.until.is_some() {
        return Err(usage("--until says up to which day to learn, and a table has no days; leave it out with --table"));
    }
    let keys = &args.table.key;
    if keys.is_empty() {
        return Err(usage("expected --key COL... with --table: the columns that say what a row is about, found none"));
    }
    scores::check_keys(keys, Geometry::MEMBERS)?;
    let config = args.layers()?.resolve()?;
    let registry = layers::registry(&config)?;
    let wanted = Wanted { keys, excluded: &args.table.exclude, learned: None };
    let bar = terminal::progress("reading", 2);
    let table = table::read(path, wanted, &config.settings().limits)?;
    bar.set_message("training");
    bar.set_position(1);
    let trained = pipeline::train_table(&table.numbers, config.settings(), config.run().seed)?;
    bar.finish_and_clear();
    let (dropped, learned): (Vec<_>, Vec<_>) =
        table.columns.iter().cloned().enumerate().partition(|(i, _)| trained.dropped.contains(i));
    let names = |of: Vec<(usize, String)>| of.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    let mut manifest = manifest(&table, args, &config, names(learned), names(dropped));
    manifest.golden = trained.golden;
    let card = card(&manifest);
    let info = manifest.table.clone();
    let arrays = trained.arrays.into_iter().map(|(name, shape, values)| Array { name, shape, values }).collect();
    let version = registry.create_version(Draft { manifest, arrays, records: Vec::new(), card }, &now())?;
    if args.json {
        return print_json(out, &json!({ "version": version, "table": info }));
    }
    let info = info.expect("it was trained on a table");
    writeln!(out, "version {version}: {} × {}", rows(info.rows), columns(info.columns.len())).map_err(cannot_print)?;
    if info.dropped.is_empty() {
        return Ok(());
    }
    let dropped = terminal::escape(&listed(&info.dropped)).into_owned();
    writeln!(out, "note: without {dropped}, which did not vary").map_err(cannot_print)
}

fn rows(n: u64) -> String {
    words::count(n, "row")
}

fn columns(n: usize) -> String {
    words::count(n as u64, "column")
}

fn manifest(table: &Table, args: &TrainArgs, config: &Config, learned: Vec<String>, dropped: Vec<String>) -> Manifest {
    Manifest {
        enrichment: String::new(),
        format_version: 0,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_schema: table::schema(&learned),
        settings: config.settings().clone(),
        seed: config.run().seed,
        train_from: None,
        train_until: None,
        sequences: None,
        table: Some(TableInfo {
            keys: args.table.key.clone(),
            columns: learned,
            excluded: args.table.exclude.clone(),
            dropped,
            rows: table.numbers.rows as u64,
            missing: MISSING_RULE.to_owned(),
        }),
        orgs: Vec::new(),
        events: 0,
        user_days: 0,
        input_digest: table.digest(),
        metrics: BTreeMap::new(),
        files: BTreeMap::new(),
        notes: Vec::new(),
        golden: Vec::new(),
    }
}

/// The model card. Names of columns are text from a file and stand in code spans, which no Markdown gets out of.
fn card(m: &Manifest) -> String {
    let info = m.table.as_ref().expect("it was trained on a table");
    let code = |names: &[String]| {
        let spans = names.iter().map(|name| format!("`{}`", clip(name, KEY_WIDTH).replace(['`', '|'], "?")));
        if names.is_empty() { "none".to_owned() } else { spans.collect::<Vec<_>>().join(", ") }
    };
    let mut out = String::from("# Model card\n\n");
    let mut line = |text: String| writeln!(out, "{text}").expect("text grows");
    line(format!("Learned what is normal from a table of {} and {}.\n", rows(info.rows), columns(info.columns.len())));
    line("| | |\n|---|---|".into());
    line(format!("| engine | quietwatch {} |", m.engine_version));
    line(format!("| rows | {} |", info.rows));
    line(format!("| columns | {} |", info.columns.len()));
    line(format!("| keys | {} |", code(&info.keys)));
    line(format!("| excluded | {} |", code(&info.excluded)));
    line(format!("| dropped, as they did not vary | {} |", code(&info.dropped)));
    line(format!("| members that count | {} |", m.settings.geometry.members.join(", ")));
    line(format!("| missing values | {} |", info.missing));
    line(format!("| seed | {} |", m.seed));
    line(format!("| input digest | `{}` |", m.input_digest));
    line(
        "\nMeant for: ranking rows of tables with these columns by how much they differ from the rows learned, taken"
            .into(),
    );
    line("together. Not meant for: judging people. A score says \"unusual\", never \"guilty\".".into());
    out
}

/// Scores a table into a run folder.
pub(super) fn score(path: &Path, args: &ScoreArgs, out: &mut dyn Write) -> Result<ExitCode> {
    args.table.check()?;
    if args.date.is_some() || args.from.is_some() || args.to.is_some() {
        return Err(usage(
            "--date, --from and --to say which nights to score, and a table has none; leave them out with --table",
        ));
    }
    let said = args.layers()?;
    let base = said.resolve()?;
    let registry = layers::registry(&base)?;
    let (model, _in_use) = registry.load_in_use(&args.version.selector())?;
    let columns = learned(&model)?.columns.len() as u64;
    let config = said.resolve_at_score_time(&model.manifest.settings)?;
    let (table, scores) = compute(path, &args.table, &model, &config)?;
    let mut run = ScoresRun::of_table(registry.name(), model.version, &model.digest);
    run.input_digest = table.digest();
    run.rows = table.numbers.rows as u64;
    run.columns = Some(columns);
    let published = scores::publish(&args.out, &run, &table.keys, &scores)?;
    if args.json {
        print_json(out, &run)?;
    } else {
        print(out, "row", &table.keys, &scores).map_err(cannot_print)?;
        super::score::tell_published(published, &args.out);
    }
    Ok(exit_code("row", &scores, config.run().fail_on))
}

/// Reads a table as a model learned it, and scores its rows.
pub(super) fn compute(path: &Path, args: &TableArgs, model: &LoadedModel, config: &Config) -> Result<(Table, Scores)> {
    let info = learned(model)?;
    let keys = if args.key.is_empty() { &info.keys } else { &args.key };
    if let Some(needed) = args.exclude.iter().find(|name| info.columns.contains(name)) {
        return Err(usage(format!("expected --exclude without columns that the model learned, found {needed:?}")));
    }
    if let Some(both) = args.exclude.iter().find(|name| keys.contains(name)) {
        return Err(usage(format!("{both:?} is a key of the model; name other keys with --key to exclude it")));
    }
    let wanted = Wanted { keys, excluded: &args.exclude, learned: Some(&info.columns) };
    let bar = terminal::progress("reading", 2);
    let table = table::read(path, wanted, &config.settings().limits)?;
    tell_unused(&table, info);
    let cells = table.numbers.values.len() as u64;
    let missing = table.numbers.values.iter().filter(|x| !x.is_finite()).count() as u64;
    if missing > 0 {
        let (some, all) = (words::thousands(missing), words::thousands(cells));
        Message::note(format!("{some} of {all} cells are missing or infinite and count as their column's median"))
            .with("missing", missing)
            .with("cells", cells)
            .tell();
    }
    bar.set_message("scoring");
    bar.set_position(1);
    let arrays: BTreeMap<&str, (&[usize], &[f64])> =
        model.arrays.iter().map(|a| (a.name.as_str(), (a.shape.as_slice(), a.values.as_slice()))).collect();
    let scores = pipeline::score_table(&arrays, &table.numbers)?;
    scores::check_keys(keys, scores.members.iter().map(|(name, _)| *name))?;
    bar.finish_and_clear();
    Ok((table, scores))
}

/// How a run ends: whether a `row` is as severe as was asked to be told of.
pub(super) fn exit_code(row: &str, scores: &Scores, fail_on: Option<Severity>) -> ExitCode {
    let worst = scores.p.iter().copied().reduce(f64::min).map(|p| Severity::of(combine::score(p)));
    if let (Some(worst), Some(threshold)) = (worst, fail_on)
        && worst >= threshold
    {
        let text = format!("a {row} of severity {} was found (--fail-on {})", worst.name(), threshold.name());
        Message::ended(Kind::FailOn, text).with("severity", worst.name()).tell();
        return ExitCode::from(Kind::FailOn.exit_code());
    }
    ExitCode::SUCCESS
}

/// What a model of a table learned; [`Kind::Model`] for a model of events.
fn learned(model: &LoadedModel) -> Result<&TableInfo> {
    let Some(TrainedOn::Table(info)) = model.manifest.trained_on() else {
        let message = format!(
            "version {} was trained on {} and cannot score a table; expected the kind of input that it was trained on, or a \
             model that was trained with --table",
            model.version,
            model.manifest.trained_on().map_or("something else", |on| on.kind())
        );
        return Err(Error::new(Kind::Model, message));
    };
    if table::schema(&info.columns) == model.manifest.feature_schema {
        return Ok(info);
    }
    let message =
        format!("the columns of version {} are not those it was trained on; train a new version", model.version);
    Err(Error::new(Kind::Model, message))
}

/// Says which columns of the file play no part, if anybody might think that they do.
fn tell_unused(table: &Table, info: &TableInfo) {
    let known =
        |name: &&String| info.keys.contains(name) || info.excluded.contains(name) || info.dropped.contains(name);
    let unused: Vec<&String> = table.unused.iter().filter(|name| !known(name)).collect();
    if !unused.is_empty() {
        let names = listed(&unused);
        let text =
            format!("ignored {} that the model did not learn: {}", columns(unused.len()), terminal::escape(&names));
        Message::note(text).with("columns", unused.into_iter().cloned().collect::<Vec<_>>()).tell();
    }
}

/// At most so many rows, the oddest first.
pub(super) fn oddest(p: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    let rank = |a: &usize, b: &usize| p[*a].total_cmp(&p[*b]).then(a.cmp(b));
    if order.len() > most {
        order.select_nth_unstable_by(most, rank);
        order.truncate(most);
    }
    order.sort_unstable_by(rank);
    order
}

/// How many rows (each a `row`) stand out, and the oddest of them.
pub(super) fn print(out: &mut dyn Write, row: &str, keys: &[Key], scores: &Scores) -> std::io::Result<()> {
    let p = &scores.p;
    let odd = p.iter().filter(|p| **p < 1e-3).count() as u64;
    let high = p.iter().filter(|p| combine::score(**p) >= 60.0).count() as u64;
    let thousands = words::thousands;
    writeln!(
        out,
        "{}: {} with p below 0.001, {} with score 60 or more",
        words::count(p.len() as u64, row),
        thousands(odd),
        thousands(high)
    )?;
    if p.is_empty() {
        return Ok(());
    }
    let mut header: Vec<String> = keys.iter().map(|key| clip(&key.name, KEY_WIDTH).into_owned()).collect();
    header.extend(["score".to_owned(), "p".to_owned()]);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = terminal::table(&header);
    for row in oddest(p, SHOWN) {
        let mut cells: Vec<String> = keys.iter().map(|key| clip(&key.text(row), KEY_WIDTH).into_owned()).collect();
        cells.extend([words::score(combine::score(p[row])), format!("{:.2e}", p[row])]);
        terminal::add_row(&mut table, cells);
    }
    writeln!(out, "{}", terminal::render(&table))
}
