//! `backtest.html`: the replay as one page in the dress of the nightly report.

use maud::{Markup, html};

use super::{Ablation, Backtest, NightRow};
use crate::evaluation::report::{Incident, Recall};
use crate::report::escape::clip;
use crate::report::html::document::{NUMBER, TEXT, document, head};
use crate::report::words;

/// Longest name on the page, in characters.
const NAME: usize = 80;

/// The page.
pub fn page(b: &Backtest) -> String {
    let title = format!("Backtest of {} to {}", b.from, b.to);
    let meta = html! { (words::count(b.trainings.len() as u64, "training")) };
    let body = html! {
        main id="findings" {
            section.night aria-labelledby="headline" {
                h2 id="headline" { (headline(b)) }
                p.meta {
                    "Each night was scored by a model trained on the days before it. Alerts a night: "
                    (format!("{:.2}", b.per_night.mean)) " on average, median " (b.per_night.median) ", at most "
                    (b.per_night.most) "."
                }
                @if !b.missing_dates.is_empty() {
                    p.note {
                        "No data on "
                        @for (i, date) in b.missing_dates.iter().enumerate() { @if i > 0 { ", " } (date) }
                        "."
                    }
                }
                (chart(b))
            }
            @if let Some(e) = &b.evaluation {
                @if b.has_attacks() { (found(b, &e.attacks)) }
                (recalls(&e.by_category, "Category"))
                (recalls(&e.by_scenario.iter().map(|(k, v)| (k.as_str(), *v)).collect(), "Scenario"))
                @if !e.look_alikes.is_empty() { (incidents("Benign look-alikes, better not reported", &e.look_alikes)) }
            }
            (calibration(b))
            (ablation(&b.ablation, b.has_attacks()))
            (nights(&b.nights))
        }
        (health(b))
    };
    document(&title, "findings", &meta, &body)
}

/// The replay in one line.
fn headline(b: &Backtest) -> String {
    let n = &b.per_night;
    let nights = words::count(n.nights, "night");
    match &b.evaluation {
        Some(e) if e.overall.incidents > 0 => format!(
            "{} of {} reported in {nights}; {} on nothing that was labelled",
            words::thousands(e.overall.found_reported),
            words::count(e.overall.incidents, "attack"),
            words::count(e.alerts.false_alarms, "alert"),
        ),
        _ => {
            format!("{} in {nights}, {} of them silent", words::count(n.reported, "alert"), words::thousands(n.silent))
        }
    }
}

/// Alerts per night as bars, one colour for what they were.
fn chart(b: &Backtest) -> Markup {
    const HEIGHT: f64 = 80.0;
    const STEP: f64 = 12.0;
    let mut dates: Vec<(crate::date::Date, [u64; 3])> = Vec::new();
    for n in &b.nights {
        let parts = n.truth.map_or([n.reported, 0, 0], |t| [t.attacks, t.look_alikes, t.false_alarms]);
        match dates.last_mut() {
            Some((date, sum)) if *date == n.date => sum.iter_mut().zip(parts).for_each(|(a, b)| *a += b),
            _ => dates.push((n.date, parts)),
        }
    }
    let most = dates.iter().map(|d| d.1.iter().sum::<u64>()).max().unwrap_or(0).max(1);
    let width = STEP * dates.len() as f64;
    let classes = if b.evaluation.is_some() { ["high", "medium", "info"] } else { ["info"; 3] };
    let scale = |n: u64| HEIGHT * n as f64 / most as f64;
    html! {
        svg.chart role="img" aria-label=(format!("Alerts per night, at most {most}")) height="96"
            width=(format!("{width:.0}")) viewBox=(format!("0 0 {width:.0} 96")) {
            line.axis x1="0" y1="88" x2=(format!("{width:.0}")) y2="88" {}
            @for (i, (date, parts)) in dates.iter().enumerate() {
                g {
                    title { (date) ": " (words::count(parts.iter().sum(), "alert")) }
                    rect.day x=(format!("{:.0}", STEP * i as f64)) y="4" width="10" height="84" {}
                    @for (k, class) in classes.iter().enumerate() {
                        @if parts[k] > 0 {
                            rect class={ "seen " (class) } x=(format!("{:.0}", STEP * i as f64)) width="10"
                                y=(format!("{:.1}", 88.0 - scale(parts[..=k].iter().sum())))
                                height=(format!("{:.1}", scale(parts[k]))) {}
                        }
                    }
                }
            }
        }
        @if b.evaluation.is_some() {
            p.quiet {
                span.badge.high { "attacks" } " " span.badge.medium { "look-alikes" } " "
                span.badge.info { "nothing that was labelled" }
            }
        }
    }
}

fn found(b: &Backtest, attacks: &[Incident]) -> Markup {
    html! {
        (incidents("Attacks", attacks))
        @if let Some(delay) = &b.delay {
            p.quiet {
                "First alert: "
                @for (i, (days, n)) in delay.days.iter().enumerate() {
                    @if i > 0 { ", " }
                    (words::thousands(*n)) @if *days == 0 { " on the first night" } @else { " after " (days) " days" }
                }
                @if !delay.days.is_empty() { ", " } (words::thousands(delay.never)) " never."
            }
        }
        section.part aria-labelledby="length" {
            h3 id="length" { "The first ranks" }
            table.compact.steps {
                (head(&[(NUMBER, "Ranks looked at"), (NUMBER, "Precision"), (NUMBER, "Recall")]))
                tbody {
                    @for at in &b.at_length {
                        tr {
                            td.number { (at.k) }
                            td.number { (share(at.precision)) }
                            td.number { (share(at.recall)) }
                        }
                    }
                }
            }
        }
    }
}

fn share(x: Option<f64>) -> String {
    x.map_or_else(|| "–".to_owned(), words::percent)
}

fn incidents(title: &str, list: &[Incident]) -> Markup {
    html! {
        section.part {
            h3 { (title) }
            table.compact {
                (head(&[(TEXT, "Scenario"), (TEXT, "Difficulty"), (TEXT, "From"), (TEXT, "Found"), (NUMBER, "Rank"),
                    (NUMBER, "Score"), (NUMBER, "Days"), (TEXT, "What was said")]))
                tbody {
                    @for i in list {
                        tr {
                            td { bdi { (clip(&i.scenario, NAME)) } }
                            td { (i.difficulty.name()) }
                            td.nowrap { (i.from) }
                            td.nowrap { @if i.found_reported { "reported" } @else if i.found_top10 { "top 10" } @else { "missed" } }
                            td.number { (i.best_rank.map_or("–".into(), |r| r.to_string())) }
                            td.number { (i.best_score.map_or("–".into(), words::score)) }
                            td.number { (i.days_to_first_alert.map_or("–".into(), |d| d.to_string())) }
                            td { @if let Some(title) = &i.title { bdi { (clip(title, 160)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn recalls(by: &std::collections::BTreeMap<&str, Recall>, what: &str) -> Markup {
    if by.is_empty() {
        return html! {};
    }
    html! {
        section.part {
            h3 { "Recall by " (what.to_lowercase()) }
            table.compact {
                (head(&[(TEXT, what), (NUMBER, "Attacks"), (NUMBER, "Reported"), (NUMBER, "Top 10"), (TEXT, "")]))
                tbody {
                    @for (name, r) in by {
                        tr {
                            td { bdi { (clip(name, NAME)) } }
                            td.number { (r.incidents) }
                            td.number { (words::percent(r.recall_reported)) }
                            td.number { (words::percent(r.recall_top10)) }
                            td { (bar(r)) }
                        }
                    }
                }
            }
        }
    }
}

/// Reported and top 10 as one bar.
fn bar(r: &Recall) -> Markup {
    const WIDTH: f64 = 120.0;
    let width = |share: f64| format!("{:.1}", WIDTH * share);
    html! {
        svg role="img" aria-label=(format!("{} reported", words::percent(r.recall_reported))) width="120" height="12"
            viewBox="0 0 120 12" {
            rect.day x="0" y="2" width="120" height="8" rx="2" {}
            rect.usual x="0" y="2" width=(width(r.recall_top10)) height="8" rx="2" {}
            rect.seen.low x="0" y="2" width=(width(r.recall_reported)) height="8" rx="2" {}
        }
    }
}

fn calibration(b: &Backtest) -> Markup {
    html! {
        section.part {
            h3 { "Did the p-values hold?" }
            p.quiet {
                "All subjects" @if b.evaluation.is_some() { " that no label touches" }
                ". A ratio of 1 is exact; below 1 is cautious."
            }
            table.compact.steps {
                (head(&[(NUMBER, "p at most"), (NUMBER, "Observed"), (NUMBER, "Expected"), (NUMBER, "Ratio")]))
                tbody {
                    @for point in &b.calibration {
                        tr {
                            td.number { (point.alpha) }
                            td.number { (words::thousands(point.observed)) }
                            td.number { (format!("{:.1}", point.expected)) }
                            td.number { (point.ratio.map_or("–".into(), |r| format!("{r:.2}"))) }
                        }
                    }
                }
            }
        }
    }
}

fn ablation(rows: &[Ablation], labelled: bool) -> Markup {
    html! {
        section.part {
            h3 { "What each family is worth" }
            p.quiet { "The same nights, fused and calibrated again without one family of detectors." }
            table.compact {
                @if labelled {
                    (head(&[(TEXT, "Families"), (NUMBER, "Reported"), (NUMBER, "A night"), (NUMBER, "Recall"),
                        (NUMBER, "Top 10"), (NUMBER, "Precision"), (TEXT, "Lost and gained")]))
                } @else {
                    (head(&[(TEXT, "Families"), (NUMBER, "Reported"), (NUMBER, "A night")]))
                }
                tbody {
                    @for r in rows {
                        tr {
                            td { @match r.without { None => "all", Some(f) => { "without " (f.name()) } } }
                            td.number { (words::thousands(r.per_night.reported)) }
                            td.number { (format!("{:.2}", r.per_night.mean)) }
                            @if let (true, Some(recall), Some(alerts)) = (labelled, &r.recall, &r.alerts) {
                                td.number { (words::percent(recall.recall_reported)) }
                                td.number { (words::percent(recall.recall_top10)) }
                                td.number { (words::percent(alerts.precision)) }
                                td {
                                    @for name in &r.lost { "−\u{a0}" bdi { (clip(name, NAME)) } " " }
                                    @for name in &r.gained { "+\u{a0}" bdi { (clip(name, NAME)) } " " }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn nights(rows: &[NightRow]) -> Markup {
    html! {
        details.watch {
            summary { "All " (words::count(rows.len() as u64, "night")) }
            table.compact {
                (head(&[(TEXT, "Night"), (TEXT, "Organisation"), (NUMBER, "Calls"), (NUMBER, "Subjects"), (NUMBER, "Reported"),
                    (TEXT, "Remarks")]))
                tbody {
                    @for n in rows {
                        tr {
                            td.nowrap { (n.date) }
                            td { bdi { (clip(&n.org_id, NAME)) } }
                            td.number { (words::thousands(n.events)) }
                            td.number { (words::thousands(n.subjects)) }
                            td.number { (words::thousands(n.reported)) }
                            td { @for note in &n.notes { p { (clip(note, 400)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn health(b: &Backtest) -> Markup {
    html! {
        section.health aria-labelledby="health" {
            h2 id="health" { "How it was made" }
            table.compact {
                (head(&[(TEXT, "Trained on"), (TEXT, "Scored until"), (NUMBER, "User-days"), (NUMBER, "Nights"), (TEXT, "Digest"),
                    (TEXT, "Remarks")]))
                tbody {
                    @for t in &b.trainings {
                        tr {
                            td.nowrap { (t.from) " to " (t.until) }
                            td.nowrap { (t.scores_until) }
                            td.number { (words::thousands(t.user_days)) }
                            td.number { (words::thousands(t.nights)) }
                            td { code { (t.digest.get(..12).unwrap_or_default()) } }
                            td { @for note in &t.notes { p { (clip(note, 400)) } } }
                        }
                    }
                }
            }
            dl {
                dt { "Input" } dd { code { (clip(&b.input_digest, NAME)) } }
                dt { "Engine" } dd { "quietwatch " (clip(&b.engine_version, NAME)) }
                dt { "Seed" } dd { (b.seed) }
            }
        }
    }
}
