//! A backtest as tables for people.

use std::io::{self, Write};

use super::{Ablation, Backtest, NightRow};
use crate::evaluation::print::{print as print_evaluation, table};
use crate::report::escape::shorten;
use crate::report::words::{count, percent, thousands};

/// Prints the nights, what was found, calibration and what each family is worth.
pub fn print(out: &mut dyn Write, b: &Backtest, width: usize) -> io::Result<()> {
    let trained = count(b.trainings.len() as u64, "training");
    writeln!(out, "Backtest {} to {}: {}, {trained}\n", b.from, b.to, count(b.per_night.nights, "night"))?;
    nights(out, b)?;
    if !b.missing_dates.is_empty() {
        let dates: Vec<String> = b.missing_dates.iter().map(ToString::to_string).collect();
        writeln!(out, "No data on {}\n", dates.join(", "))?;
    }
    let n = &b.per_night;
    writeln!(
        out,
        "Alerts a night: {:.2} on average, median {}, at most {}; {} of {} silent\n",
        n.mean,
        n.median,
        n.most,
        thousands(n.silent),
        count(n.nights, "night")
    )?;
    let calm = if b.evaluation.is_some() { " that no label touches" } else { "" };
    writeln!(out, "p-values of all subjects{calm}")?;
    for point in &b.calibration {
        let ratio = point.ratio.map_or("–".to_owned(), |r| format!("{r:.2}×"));
        let (observed, expected) = (thousands(point.observed), point.expected);
        writeln!(out, "  p ≤ {:<5}  {observed} observed, {expected:.1} expected: {ratio}", point.alpha)?;
    }
    writeln!(out)?;
    if let Some(delay) = b.delay.as_ref().filter(|_| b.has_attacks()) {
        at_length(out, b)?;
        let days: Vec<String> =
            delay.days.iter().map(|(days, n)| format!("{} after {days} d", thousands(*n))).collect();
        let never = format!("{} never", thousands(delay.never));
        writeln!(out, "First alert on attacks: {}\n", days.into_iter().chain([never]).collect::<Vec<_>>().join(", "))?;
    }
    ablation(out, &b.ablation, b.has_attacks())?;
    if let Some(evaluation) = &b.evaluation {
        print_evaluation(out, evaluation, width)?;
    }
    Ok(())
}

fn nights(out: &mut dyn Write, b: &Backtest) -> io::Result<()> {
    let mut header = vec!["night", "organisation", "calls", "subjects", "reported"];
    if b.evaluation.is_some() {
        header.extend(["attacks", "look-alikes", "false alarms"]);
    }
    let numbers: Vec<usize> = (2..header.len()).collect();
    let mut table = table(&header, &numbers);
    for NightRow { date, org_id, events, subjects, reported, truth, .. } in &b.nights {
        let mut row = vec![date.to_string(), shorten(org_id, 24)];
        row.extend([*events, *subjects, *reported].map(thousands));
        if let Some(t) = truth {
            row.extend([t.attacks, t.look_alikes, t.false_alarms].map(thousands));
        }
        table.add_row(row);
    }
    writeln!(out, "{}\n", table.trim_fmt())
}

fn at_length(out: &mut dyn Write, b: &Backtest) -> io::Result<()> {
    let mut table = table(&["first ranks", "precision", "recall"], &[0, 1, 2]);
    let or_dash = |x: Option<f64>| x.map_or("–".to_owned(), percent);
    for at in &b.at_length {
        table.add_row([at.k.to_string(), or_dash(at.precision), or_dash(at.recall)]);
    }
    writeln!(out, "{}\n", table.trim_fmt())
}

fn ablation(out: &mut dyn Write, rows: &[Ablation], labelled: bool) -> io::Result<()> {
    let mut header = vec!["families", "reported", "a night"];
    if labelled {
        header.extend(["recall", "top 10", "precision", "lost", "gained"]);
    }
    let numbers: Vec<usize> = (1..header.len()).collect();
    let mut table = table(&header, &numbers);
    for r in rows {
        let name = r.without.map_or("all".to_owned(), |family| format!("without {family}"));
        let mut row = vec![name, thousands(r.per_night.reported), format!("{:.2}", r.per_night.mean)];
        if let (true, Some(recall), Some(alerts)) = (labelled, &r.recall, &r.alerts) {
            row.extend([percent(recall.recall_reported), percent(recall.recall_top10), percent(alerts.precision)]);
            row.extend([r.lost.len() as u64, r.gained.len() as u64].map(thousands));
        }
        table.add_row(row);
    }
    writeln!(out, "{}\n", table.trim_fmt())
}
