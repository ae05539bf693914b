//! The top of a page of several nights: what they held in one line, a picture of the alerts night by night, and a table.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::escape::clip;
use super::super::words::{self, count, thousands};
use super::card::{anchor, badge};
use super::document::{NUMBER, TEXT, head};
use super::{longest, reported, subjects, weekday};
use crate::anomaly::{Anomaly, GateKind, NightSummary, RunInfo, Severity};
use crate::date::Date;

/// Up to so many nights have room for a number above each bar.
const NUMBERED: usize = 45;
/// Width that the bars of more nights share.
const PAGE: usize = 900;

/// Nights by date, the latest first; `anomalies` are those of the run.
pub(super) fn overview(run: &RunInfo, nights: &[(Date, Vec<&NightSummary>)], anomalies: &[Anomaly]) -> Markup {
    let alerts: Vec<&Anomaly> = anomalies.iter().filter(|a| a.reported).collect();
    let oddest = alerts.iter().min_by(|a, b| a.p_value.total_cmp(&b.p_value).then(a.date.cmp(&b.date)));
    html! {
        section.range aria-labelledby="range" {
            h2 id="range" { (headline(nights)) }
            @if let Some(a) = oddest {
                p.lead {
                    "The oddest: " a href={ "#" (anchor(a)) } { bdi { (clip(&a.title, longest::TITLE)) } }
                    " on " (a.date) " (score " (words::score(a.score)) ", " (words::one_in(a.p_value)) ")"
                }
            }
            (strip(run, nights, &alerts))
            (table(nights, anomalies))
        }
    }
}

/// `6 alerts on 5 of 14 nights, nothing reported on the other 9`
fn headline(nights: &[(Date, Vec<&NightSummary>)]) -> String {
    let all = nights.len() as u64;
    let alerts: u64 = nights.iter().map(|n| reported(&n.1)).sum();
    let loud = nights.iter().filter(|n| reported(&n.1) > 0).count() as u64;
    match (loud, all - loud) {
        (0, _) => format!("Nothing reported on {}", count(all, "night")),
        (_, 0) => format!("{}, on each of {}", count(alerts, "alert"), count(all, "night")),
        (_, silent) => {
            format!(
                "{} on {loud} of {}, nothing reported on the other {silent}",
                count(alerts, "alert"),
                count(all, "night")
            )
        }
    }
}

/// Every date of the range, the earliest first: a bar of alerts, the most severe at its foot; a ring where nothing was
/// reported, a dash where something was held back, a cross where there was no data.
fn strip(run: &RunInfo, nights: &[(Date, Vec<&NightSummary>)], alerts: &[&Anomaly]) -> Markup {
    const HEIGHT: f64 = 64.0;
    const FOOT: f64 = 84.0;
    let mut dates: Vec<Date> = nights.iter().map(|n| n.0).chain(run.missing_dates.iter().copied()).collect();
    dates.sort_unstable();
    dates.dedup();
    // Few nights stand far enough apart for the first date and the last to have room.
    let step = if dates.len() <= NUMBERED {
        (100 / dates.len().max(1)).clamp(20, 50)
    } else {
        (PAGE / dates.len()).clamp(2, 20)
    };
    let ring = if step < 6 { "0.6" } else { "2" };
    let width = step * dates.len();
    let most = nights.iter().map(|n| reported(&n.1)).max().unwrap_or(0).max(3) as f64;
    let one = |n: usize| format!("{:.1}", HEIGHT * n as f64 / most);
    html! {
        svg.chart role="img" aria-label={ "Alerts per night: " (headline(nights)) } width=(width) height="108"
            viewBox={ "0 0 " (width) " 108" } {
            line.axis x1="0" y1=(FOOT) x2=(width) y2=(FOOT) {}
            @for (i, date) in dates.iter().enumerate() {
                @let (left, middle) = (step * i, step * i + step / 2);
                @let night = nights.iter().find(|n| n.0 == *date);
                @let of_night: Vec<&&Anomaly> = alerts.iter().filter(|a| a.date == *date).collect();
                @let held = night.is_some_and(|n| held_back(&n.1));
                g {
                    title {
                        (weekday(*date)) " " (date) ": "
                        @match night {
                            None => "no data",
                            Some(_) if of_night.is_empty() && held => "nothing reported, something held back",
                            Some(_) if of_night.is_empty() => "nothing reported",
                            Some(_) => { (count(of_night.len() as u64, "alert")) }
                        }
                    }
                    // What a pointer meets.
                    rect.clear x=(left) y="0" width=(step) height="108" {}
                    @if night.is_none() {
                        path.cross d={ "M" (middle - 2) " 76l5 5m0-5l-5 5" } {}
                    } @else if of_night.is_empty() && held {
                        path.cross d={ "M" (middle - 3) " 79h6" } {}
                    } @else if of_night.is_empty() {
                        circle.ring cx=(middle) cy="79" r=(ring) {}
                    } @else {
                        @let severities = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];
                        @let upto = |k: usize| of_night.iter().filter(|a| severities[..k].contains(&a.severity)).count();
                        @for (k, severity) in severities.iter().enumerate() {
                            @if upto(k + 1) > upto(k) {
                                rect class={ "seen " (severity.name()) } x=(left + step / 8) width=(step - step / 4)
                                    y=(format!("{:.1}", FOOT - HEIGHT * upto(k + 1) as f64 / most))
                                    height=(one(upto(k + 1) - upto(k))) {}
                            }
                        }
                        @if dates.len() <= NUMBERED {
                            text.count x=(middle) text-anchor="middle"
                                y=(format!("{:.1}", FOOT - 5.0 - HEIGHT * of_night.len() as f64 / most)) { (of_night.len()) }
                        }
                    }
                }
            }
            @if let (Some(first), Some(last)) = (dates.first(), dates.last()) {
                text x="0" y="102" { @if width < 200 { (day_of(*first)) } @else { (first) } }
                text x=(width) y="102" text-anchor="end" { @if width < 200 { (day_of(*last)) } @else { (last) } }
            }
        }
        p.key {
            @for severity in [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info] {
                @if alerts.iter().any(|a| a.severity == severity) {
                    span class={ "mark block " (severity.name()) } {} (severity.name()) " "
                }
            }
            span.mark.ring {} "calm night "
            @if !run.missing_dates.is_empty() { "× no data " }
            @if nights.iter().any(|n| reported(&n.1) == 0 && held_back(&n.1)) {
                "– something held back"
            }
        }
    }
}

/// The gates that tripped, each once.
fn gates(summaries: &[&NightSummary]) -> BTreeSet<GateKind> {
    summaries.iter().flat_map(|s| &s.gates).map(|g| g.gate).collect()
}

/// Was something not reported that would have been?
fn held_back(summaries: &[&NightSummary]) -> bool {
    summaries.iter().any(|s| s.announced + s.over_budget > 0)
}

/// `04-21`
fn day_of(date: Date) -> String {
    date.to_string().split_off(5)
}

/// The nights as a table.
fn table(nights: &[(Date, Vec<&NightSummary>)], anomalies: &[Anomaly]) -> Markup {
    html! {
        nav aria-label="Nights" {
            table.compact {
                (head(&[(TEXT, "Night"), (NUMBER, "Calls"), (NUMBER, "Subjects"), (NUMBER, "Reported"), (TEXT, "Oddest")]))
                tbody {
                    @for (date, summaries) in nights {
                        tr {
                            td { a href={ "#night-" (date) } { (date) } " " span.quiet { (&weekday(*date)[..3]) } }
                            td.number { (thousands(summaries.iter().map(|s| s.events).sum())) }
                            td.number { (thousands(subjects(summaries))) }
                            td.number { (thousands(reported(summaries))) }
                            td {
                                @match anomalies.iter().find(|a| a.date == *date && a.reported) {
                                    Some(a) => { (badge(a)) " " bdi { (clip(&a.title, longest::TITLE)) } },
                                    None if held_back(summaries) => span.quiet { "held back" },
                                    None => span.quiet { "calm" },
                                }
                                @for gate in gates(summaries) { " " span.tag { "gate " (gate.name()) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_range_reads_as_one_line() {
        let (loud, mut calm) = (sample::summary(), sample::summary());
        calm.reported = 0;
        let line = |nights: &[&NightSummary]| {
            let by_date: Vec<_> = (0..).zip(nights).map(|(n, s)| (Date(n), vec![*s])).collect();
            headline(&by_date)
        };
        assert_eq!(line(&[&loud, &calm, &calm]), "3 alerts on 1 of 3 nights, nothing reported on the other 2");
        assert_eq!(line(&[&calm, &calm]), "Nothing reported on 2 nights");
        assert_eq!(line(&[&loud, &loud]), "6 alerts, on each of 2 nights");
    }
}
