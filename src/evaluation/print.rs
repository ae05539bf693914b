//! An evaluation as tables for people.

use std::io::{self, Write};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use super::report::{Evaluation, Incident, Recall, TOP};
use crate::report::escape::shorten;
use crate::report::words::{count, percent, score, thousands};

/// Prints what was found, what was missed, and how much noise came with it. Tables fit `width` columns from about 118
/// on.
pub fn print(out: &mut dyn Write, e: &Evaluation, width: usize) -> io::Result<()> {
    writeln!(out, "{} scored, {} labelled", count(e.nights_scored, "night"), count(e.overall.incidents, "attack"))?;
    if e.incidents_not_scored > 0 {
        let not_scored = count(e.incidents_not_scored, "labelled incident");
        writeln!(out, "{not_scored} on nights that were not scored, left out")?;
    }
    writeln!(out)?;
    if !e.attacks.is_empty() {
        incidents(out, "Attacks", &e.attacks, width)?;
        recall(out, e)?;
    }
    if !e.look_alikes.is_empty() {
        incidents(out, "Benign look-alikes (better not found)", &e.look_alikes, width)?;
    }
    let a = &e.alerts;
    writeln!(
        out,
        "Reported {}: {} on attacks, {} on look-alikes ({}), {}",
        thousands(a.reported),
        thousands(a.attacks),
        thousands(a.look_alikes),
        percent(a.look_alike_share),
        count(a.false_alarms, "false alarm"),
    )?;
    if a.reported > 0 {
        let (low, high) = a.precision_interval;
        writeln!(out, "Precision {} (95 % interval {} to {})", percent(a.precision), percent(low), percent(high))?;
    }
    let q = &e.quiet_nights;
    if q.nights > 0 {
        writeln!(
            out,
            "Nights without a label: {}, {} silent; {:.2} reported a night on average, median {}",
            thousands(q.nights),
            thousands(q.silent),
            q.mean,
            q.median
        )?;
        for point in &e.calibration {
            let Some(ratio) = point.ratio else { continue };
            let least = if point.lower_bound { "at least " } else { "" };
            let (observed, expected) = (thousands(point.observed), point.expected);
            writeln!(out, "  p ≤ {:<5}  {observed} observed, {expected:.1} expected: {least}{ratio:.2}×", point.alpha)?;
        }
    }
    if e.q_values_too_high > 0 {
        let rows = count(e.q_values_too_high, "row");
        writeln!(out, "warning: {rows} with a q-value above Benjamini–Hochberg's; the run is faulty")?;
    }
    Ok(())
}

/// Lines above, below the header and below; nothing between rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

pub(super) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec());
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn incidents(out: &mut dyn Write, title: &str, list: &[Incident], width: usize) -> io::Result<()> {
    /// Columns that all but the first and the last one need, with the spacing of all.
    const FIXED: usize = 66;
    const SCENARIO: usize = 28;
    let scenario = list.iter().map(|i| i.scenario.chars().count()).max().unwrap_or(0).clamp(8, SCENARIO);
    let said = width.saturating_sub(FIXED + scenario).max(24);
    let header = ["scenario", "difficulty", "from", "found", "rank", "score", "days", "what was said"];
    let mut table = table(&header, &[4, 5, 6]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for i in list {
        let found = match (i.found_reported, i.found_top10) {
            (true, _) => "reported".to_owned(),
            (false, true) => format!("top {TOP}"),
            (false, false) => "missed".to_owned(),
        };
        table.add_row([
            shorten(&i.scenario, SCENARIO),
            i.difficulty.name().to_owned(),
            i.from.to_string(),
            found,
            or_dash(i.best_rank.map(|rank| rank.to_string())),
            or_dash(i.best_score.map(score)),
            or_dash(i.days_to_first_alert.map(|days| days.to_string())),
            or_dash(i.title.as_deref().map(|title| shorten(title, said))),
        ]);
    }
    writeln!(out, "{title}\n{}\n", table.trim_fmt())
}

fn recall(out: &mut dyn Write, e: &Evaluation) -> io::Result<()> {
    let mut table = table(&["recall", "attacks", &format!("top {TOP}"), "reported"], &[1, 2, 3]);
    let mut row = |name: &str, r: &Recall| {
        table.add_row([shorten(name, 40), thousands(r.incidents), percent(r.recall_top10), percent(r.recall_reported)]);
    };
    row("all", &e.overall);
    for name in ["easy", "medium", "hard"] {
        if let Some(r) = e.by_difficulty.get(name) {
            row(name, r);
        }
    }
    for (name, r) in &e.by_category {
        row(name, r);
    }
    // With one incident each, scenarios only repeat the table above.
    if e.by_scenario.values().any(|r| r.incidents > 1) {
        for (name, r) in &e.by_scenario {
            row(name, r);
        }
    }
    writeln!(out, "{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::super::{evaluate, labels};
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_tables_name_what_was_found_and_hide_nothing_hostile() {
        let mut a = sample::anomaly(1);
        a.title = "\u{1b}[2J\u{202e}".into();
        let labels = labels::read(
            b"org_id,user_id,start,end,scenario,category,difficulty\n\
              00D5g000001AAAA,0055g00000AAAAA,2026-04-21,2026-04-21,S1,identity,easy\n\
              00D5g000001AAAA,0055g00000CCCCC,2026-04-21,2026-04-21,S9,temporal,hard\n\
              00D5g000001AAAA,0055g00000BBBBB,2026-04-21,2026-04-21,B1,benign,easy\n\
              00D5g000001AAAA,0055g00000AAAAA,2025-01-01,2025-01-01,S1,identity,easy\n",
            "l",
        );
        let mut out = Vec::new();
        print(&mut out, &evaluate(&sample::run(), &[a], &labels.unwrap()), 120).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in [
            "1 night scored, 2 attacks labelled",
            "1 labelled incident on nights",
            "S9",
            "look-alikes (better not found)",
            "Reported 1: 1 on attacks, 0 on look-alikes",
            "\\u{1b}[2J",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }
}
