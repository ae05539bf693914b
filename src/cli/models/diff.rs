//! `models diff`: two versions on the same nights, or on the same table.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::cli::args::DiffArgs;
use crate::cli::messages::Message;
use crate::cli::score::{Nights, check_schema, score, tell_in_sample, window};
use crate::cli::{self, cannot_print, evaluate, layers, print_json, table, terminal};
use crate::config::Config;
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::evaluation::compare::page::{self, About};
use crate::evaluation::compare::{
    Agreement, Both, Changed, Difference, OnLabels, Place, agreement_of_rows, compare, oddest,
};
use crate::features::table::Key;
use crate::fsutil;
use crate::models::{InUse, LoadedModel, Selector};
use crate::pipeline::Days;
use crate::report::escape::shorten;
use crate::report::words::{count, percent, score as points, thousands};

/// Anomalies or rows of each kind that are printed.
const SHOWN: usize = 10;

/// Longest title or key that is printed, in characters.
const WIDTH: usize = 60;

/// A row of a table is odd from this p-value down.
const ODD: f64 = 1e-3;

pub(super) fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<()> {
    // Looked at first: a bad path fails before the work, not after it.
    args.page.as_deref().map_or(Ok(()), check_page)?;
    let said = args.layers()?;
    let base = said.resolve()?;
    let registry = layers::registry(&base)?;
    let name = registry.name();
    let load = |version| -> Result<(LoadedModel, InUse, Config)> {
        let (model, in_use) = registry.load_in_use(&Selector::Version(version))?;
        let config = said.resolve_at_score_time(&model.manifest.settings)?;
        Ok((model, in_use, config))
    };
    let ((old, _old_in_use, old_config), (new, _new_in_use, new_config)) = (load(args.from)?, load(args.to)?);
    let sides = Both { from: (&old, &old_config), to: (&new, &new_config) };
    if let Some(path) = &args.sequences.sequences {
        return sequences(path, args, name, sides, out);
    }
    if let Some(path) = args.table.path()? {
        return tables(path, args, name, sides, out);
    }
    for model in [&old, &new] {
        window(model)?;
        check_schema(model)?;
    }
    let labels = args.labels.as_deref().map(evaluate::read_labels).transpose()?;
    let input = args.input.open(&new_config)?;
    let nights = nights(args, &input.store, window(&old)?.1.max(window(&new)?.1))?;
    let (old_info, old_rows) = score(&input.store, &old, name, &old_config, nights)?;
    tell_in_sample(&old_info, &old)?;
    let (new_info, new_rows) = score(&input.store, &new, name, &new_config, nights)?;
    tell_in_sample(&new_info, &new)?;
    let difference = compare((&old_info, &old_rows), (&new_info, &new_rows), labels.as_deref());
    if let Some(path) = &args.page {
        let about = About {
            name,
            versions: Both { from: (old.version, &old.digest), to: (new.version, &new.digest) },
            in_sample: old_info.in_sample || new_info.in_sample,
        };
        fsutil::write_among_others(path, page::page(&about, &difference).as_bytes())?;
        Message::done(format!("comparison written to {}", path.display())).with_path("path", path).tell();
    }
    if args.json {
        return print_json(out, &Titled { name, from: args.from, to: args.to, body: &difference });
    }
    print(out, name, args, &difference)
}

fn check_page(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() && !path.is_dir() {
        return Ok(());
    }
    let found = if path.is_dir() { "a folder" } else { "no such folder" };
    let message = format!("expected --page to be a file in a folder that exists, found {found}: {}", path.display());
    Err(Error::new(Kind::Usage, message))
}

/// What was compared, and how it differs.
#[derive(Serialize)]
struct Titled<'a, T: Serialize> {
    name: &'a str,
    from: u32,
    to: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// The nights asked for; without a word, those that neither version learned from.
fn nights(args: &DiffArgs, days: &dyn Days, trained: Date) -> Result<Nights> {
    let latest = days.list()?.last().map(|day| day.0);
    let latest = latest.ok_or_else(|| Error::new(Kind::NoData, "the input has no day to score"))?;
    if let (None, None, true) = (args.since, args.until, latest <= trained) {
        Message::note(format!(
            "the input has no night after both trainings, which end on {trained}; the latest night is compared instead"
        ))
        .with("date", latest.to_string())
        .tell();
        return Ok(Nights::Latest);
    }
    let until = args.until.unwrap_or(latest);
    let since = args.since.unwrap_or(if until > trained { trained.plus(1) } else { until });
    if since > until {
        let message = format!("expected --since no later than --until, found {since} and {until}");
        return Err(Error::new(Kind::Usage, message));
    }
    Ok(Nights::Range(since, until))
}

fn print(out: &mut dyn Write, name: &str, args: &DiffArgs, d: &Difference) -> Result<()> {
    let span = match d.nights.as_slice() {
        [night] => format!("the night of {night}"),
        [first, .., last] => format!("{}, {first} to {last}", count(d.nights.len() as u64, "night")),
        [] => "no night".to_owned(),
    };
    let mut text = format!("{name}: version {} -> version {} on {span}\n\n", args.from, args.to);
    let mut table = terminal::table(&["", &format!("version {}", args.from), &format!("version {}", args.to)]);
    let mut row = |what: &str, from: String, to: String| terminal::add_row(&mut table, [what.to_owned(), from, to]);
    row("alerts", thousands(d.alerts.from), thousands(d.alerts.to));
    row("  reported by both", thousands(d.alerts_in_both), thousands(d.alerts_in_both));
    row("calm nights", thousands(d.calm_nights.from), thousands(d.calm_nights.to));
    if let Some(l) = &d.labels {
        let of = |found: u64, all: u64, share: f64| format!("{} ({found} of {all})", percent(share));
        let (a, b) = (l.recall.from, l.recall.to);
        row(
            "attacks reported",
            of(a.found_reported, a.incidents, a.recall_reported),
            of(b.found_reported, b.incidents, b.recall_reported),
        );
        row(
            "attacks in the top 10",
            of(a.found_top10, a.incidents, a.recall_top10),
            of(b.found_top10, b.incidents, b.recall_top10),
        );
        let precision = |alerts: u64, share: f64| if alerts > 0 { percent(share) } else { "–".to_owned() };
        row(
            "alerts that are attacks",
            precision(d.alerts.from, l.precision.from),
            precision(d.alerts.to, l.precision.to),
        );
        row("alerts on look-alikes", thousands(l.look_alikes.from), thousands(l.look_alikes.to));
    }
    text.push_str(&terminal::render(&table));
    text.push_str("\n\n");
    text.push_str(&order(&d.agreement, "subject", "of a night"));
    for (what, changed, version) in [("gained", &d.gained, args.to), ("lost", &d.lost, args.from)] {
        text.push_str(&anomalies(what, changed, version, args));
    }
    if let Some(labels) = &d.labels {
        text.push_str(&attacks(labels));
    }
    write!(out, "{text}").map_err(cannot_print)
}

fn order(a: &Agreement, noun: &str, of_what: &str) -> String {
    let Some(same) = a.same_top10 else { return format!("order: no {noun} to compare\n") };
    let correlation = a.rank_correlation.map_or("unknown".to_owned(), |r| format!("{r:.2}"));
    format!(
        "order: rank correlation {correlation} over {} that both kept; {} of the first ten {of_what} are the same\n",
        count(a.in_both, noun),
        percent(same)
    )
}

fn anomalies(what: &str, changed: &[Changed], version: u32, args: &DiffArgs) -> String {
    if changed.is_empty() {
        return format!("\n{what}: none\n");
    }
    let (from, to) = (format!("v{}", args.from), format!("v{}", args.to));
    let mut table = terminal::table(&["date", &from, &to, "title", "anomaly_key"]);
    for c in changed.iter().take(SHOWN) {
        let place = |place: Option<Place>| match place {
            Some(place) => format!("{} (rank {})", points(place.score), place.rank),
            None => "not kept".to_owned(),
        };
        let title = shorten(&c.title, WIDTH);
        let key = c.anomaly_key.get(..12).unwrap_or_default().to_owned();
        terminal::add_row(&mut table, [c.date.to_string(), place(c.place.from), place(c.place.to), title, key]);
    }
    let more = match changed.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!("and {n} more; --json lists all\n"),
    };
    let reported = match changed.len() as u64 {
        1 => "1 anomaly".to_owned(),
        n => format!("{} anomalies", thousands(n)),
    };
    format!("\n{what}: {reported} that version {version} alone reports\n{}\n{more}", terminal::render(&table))
}

fn attacks(labels: &OnLabels) -> String {
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let text = format!("attacks gained: {}; lost: {}", list(&labels.gained), list(&labels.lost));
    format!("\n{}\n", terminal::escape(&text))
}

/// Two versions on one table.
fn tables(
    path: &Path,
    args: &DiffArgs,
    name: &str,
    sides: Both<(&LoadedModel, &Config)>,
    out: &mut dyn Write,
) -> Result<()> {
    args.table.check()?;
    let (rows, old) = table::compute(path, &args.table, sides.from.0, sides.from.1)?;
    let (_, new) = table::compute(path, &args.table, sides.to.0, sides.to.1)?;
    rows_of(path, "row", &rows.keys, &Both { from: old.p, to: new.p }, (name, args), out)
}

/// Two versions on the same sequences.
fn sequences(
    path: &Path,
    args: &DiffArgs,
    name: &str,
    sides: Both<(&LoadedModel, &Config)>,
    out: &mut dyn Write,
) -> Result<()> {
    let old = cli::sequences::compute(path, sides.from.0, sides.from.1)?;
    let new = cli::sequences::compute(path, sides.to.0, sides.to.1)?;
    rows_of(path, "sequence", &old.read.keys, &Both { from: old.scores.p, to: new.scores.p }, (name, args), out)
}

/// The rows that one version calls odd and the other does not.
fn rows_of(
    path: &Path,
    noun: &str,
    keys: &[Key],
    p: &Both<Vec<f64>>,
    (name, args): (&str, &DiffArgs),
    out: &mut dyn Write,
) -> Result<()> {
    let (old, new) = (&p.from, &p.to);
    if old.len() != new.len() {
        return Err(Error::new(Kind::Input, format!("{} changed while it was read", path.display())));
    }
    let key = |row: usize| -> Vec<String> { keys.iter().map(|key| key.text(row)).collect() };
    let agreement = agreement_of_rows(old, new);
    let only = |a: &[f64], b: &[f64]| -> Vec<usize> {
        oddest(a).into_iter().take_while(|&r| a[r] < ODD).filter(|&r| b[r] >= ODD).collect()
    };
    let (gained, lost) = (only(new, old), only(old, new));
    let odd = |p: &[f64]| p.iter().filter(|p| **p < ODD).count() as u64;
    let odd = Both { from: odd(old), to: odd(new) };
    if args.json {
        let listed = |rows: &[usize]| -> Vec<serde_json::Value> {
            let row = |&r: &usize| json!({ "row": r, "key": key(r), "p_value": { "from": old[r], "to": new[r] } });
            rows.iter().map(row).collect()
        };
        let body = json!({
            "rows": old.len(), "odd_below": ODD, "odd_rows": odd, "gained": listed(&gained), "lost": listed(&lost),
            "agreement": agreement,
        });
        return print_json(out, &Titled { name, from: args.from, to: args.to, body: &body });
    }
    let all = count(old.len() as u64, noun);
    let mut text = format!("{name}: version {} -> version {} on {all}\n\n", args.from, args.to);
    text.push_str(&format!("with p below {ODD}: {} -> {}\n", thousands(odd.from), thousands(odd.to)));
    text.push_str(&order(&agreement, noun, "in all"));
    for (what, changed) in [("gained", &gained), ("lost", &lost)] {
        if changed.is_empty() {
            text.push_str(&format!("\n{what}: none\n"));
            continue;
        }
        let mut table = terminal::table(&[noun, "p before", "p after", "key"]);
        for &r in changed.iter().take(SHOWN) {
            let p = |p: &[f64]| format!("{:.2e}", p[r]);
            terminal::add_row(&mut table, [r.to_string(), p(old), p(new), shorten(&key(r).join(", "), WIDTH)]);
        }
        let more = match changed.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!("and {n} more; --json lists all\n"),
        };
        let rows = count(changed.len() as u64, noun);
        text.push_str(&format!("\n{what}: {rows}\n{}\n{more}", terminal::render(&table)));
    }
    write!(out, "{text}").map_err(cannot_print)
}
