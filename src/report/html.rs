//! `report.html`: one self-contained page that a person reads in the morning.
//!
//! No script, no network, no image file: the content policy allows nothing but the one style sheet, named by its
//! digest, so that even a hole in the escaping could load or run nothing. Text goes through [`clip`] (hidden
//! characters spelled out, floods cut) and then through maud, which escapes HTML.

mod card;
mod day;
pub(crate) mod document;
mod organisation;
mod overview;
mod range_bar;

use maud::{Markup, html};

use card::{anchor, badge, card};
use document::{NUMBER, TEXT, document, head};

use super::escape::clip;
use super::words;
use crate::anomaly::{Anomaly, NightSummary, RunInfo, Status};
use crate::date::Date;

/// Rows of the watch list that the page shows; all are in the data files.
const WATCH_ROWS: usize = 20;
/// Up to this rank, a row of the watch list has a picture of the day.
const PICTURED: u32 = 10;

/// Organisations of a night whose day is drawn, and nights, the latest ones.
const PICTURED_ORGS: usize = 10;
const PICTURED_NIGHTS: usize = 31;

/// Longest text of each kind on the page, in characters.
mod longest {
    pub(super) const NAME: usize = 80;
    pub(super) const TITLE: usize = 200;
    pub(super) const STORY: usize = 1_000;
    pub(super) const SENTENCE: usize = 400;
}

/// The page of one run.
pub fn page(run: &RunInfo, anomalies: &[Anomaly]) -> String {
    let nights = nights(run);
    let title = match nights.as_slice() {
        [(date, _)] => format!("Anomalies of {date}"),
        [(last, _), .., (first, _)] => format!("Anomalies of {first} to {last}"),
        [] => "Anomalies".to_owned(),
    };
    let meta = html! { "Model " (clip(&run.model_name, longest::NAME)) " version " (run.model_version) };
    let body = html! {
        @if run.in_sample {
            p.warning role="note" {
                strong { "In sample. " }
                "At least one of these nights lies within the training window of the model, so the page shows \
                 how the past looks to it, not how well it would have warned."
            }
        }
        main id="nights" {
            @if nights.len() > 1 { (overview::overview(run, &nights, anomalies)) }
            @for (i, (date, summaries)) in nights.iter().enumerate() {
                (night(*date, summaries, anomalies, (i < PICTURED_NIGHTS, nights.len() == 1)))
            }
            @if nights.is_empty() { p.calm { "Nothing was scored." } }
        }
        (health(run))
        (guide())
    };
    document(&title, "nights", &meta, &body)
}

/// The summaries by night, the latest first.
fn nights(run: &RunInfo) -> Vec<(Date, Vec<&NightSummary>)> {
    let mut sorted: Vec<&NightSummary> = run.nights.iter().collect();
    sorted.sort_by(|a, b| b.date.cmp(&a.date).then_with(|| a.org_id.cmp(&b.org_id)));
    let mut nights: Vec<(Date, Vec<&NightSummary>)> = Vec::new();
    for summary in sorted {
        match nights.last_mut() {
            Some((date, summaries)) if *date == summary.date => summaries.push(summary),
            _ => nights.push((summary.date, vec![summary])),
        }
    }
    nights
}

fn reported(summaries: &[&NightSummary]) -> u64 {
    summaries.iter().map(|s| s.reported).sum()
}

fn subjects(summaries: &[&NightSummary]) -> u64 {
    summaries.iter().map(|s| s.subjects).sum()
}

fn weekday(date: Date) -> &'static str {
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"][date.weekday()]
}

fn night(date: Date, summaries: &[&NightSummary], anomalies: &[Anomaly], (pictured, alone): (bool, bool)) -> Markup {
    let mut rows: Vec<&Anomaly> = anomalies.iter().filter(|a| a.date == date).collect();
    rows.sort_by_key(|a| a.rank);
    let (alerts, watch): (Vec<&Anomaly>, Vec<&Anomaly>) = rows.into_iter().partition(|a| a.reported);
    let events: u64 = summaries.iter().map(|s| s.events).sum();
    let ongoing = watch.iter().filter(|a| a.status == Status::Ongoing).count() as u64;
    let muted: Vec<String> = summaries.iter().flat_map(|s| words::muted(s)).collect();
    let headline = match words::headline(reported(summaries), subjects(summaries), ongoing) {
        _ if reported(summaries) == 0 && !muted.is_empty() => "Nothing reported".to_owned(),
        headline => headline,
    };
    html! {
        section.night id={ "night-" (date) } aria-labelledby={ "headline-" (date) } {
            p.date { (weekday(date)) " " time datetime=(date) { (date) } " UTC" }
            h2 id={ "headline-" (date) } { (headline) }
            p.meta {
                (words::count(events, "call"))
                @if summaries.len() > 1 { " in " (words::count(summaries.len() as u64, "organisation")) }
                @else { @for s in summaries { " in organisation " bdi { (clip(&s.org_id, longest::NAME)) } } }
            }
            @if summaries.len() > 1 { (organisations(summaries)) }
            @for muted in &muted {
                p.quiet { (muted) }
            }
            @for gate in summaries.iter().flat_map(|s| &s.gates) {
                p.note { strong { "Gate " (gate.gate.name()) ": " } (clip(&gate.message, longest::SENTENCE)) }
            }
            @for note in summaries.iter().flat_map(|s| &s.notes) {
                p.note { (clip(note, longest::SENTENCE)) }
            }
            @if alerts.len() > 1 { (ranking(&alerts)) }
            @for s in summaries.iter().take(PICTURED_ORGS).filter(|_| pictured) {
                (organisation::render(s, alone && alerts.is_empty()))
            }
            @for anomaly in &alerts { (card(anomaly)) }
            (watch_list(&watch))
        }
    }
}

fn organisations(summaries: &[&NightSummary]) -> Markup {
    html! {
        table.compact {
            (head(&[(TEXT, "Organisation"), (NUMBER, "Calls"), (NUMBER, "Subjects"), (NUMBER, "Reported")]))
            tbody {
                @for s in summaries {
                    tr {
                        td { bdi { (clip(&s.org_id, longest::NAME)) } }
                        td.number { (words::thousands(s.events)) }
                        td.number { (words::thousands(s.subjects)) }
                        td.number { (words::thousands(s.reported)) }
                    }
                }
            }
        }
    }
}

/// The alerts of a night in one look.
fn ranking(alerts: &[&Anomaly]) -> Markup {
    html! {
        ol.ranking {
            @for a in alerts {
                li value=(a.rank) {
                    (badge(a)) " " span.points { (words::score(a.score)) } " "
                    a href={ "#" (anchor(a)) } { bdi { (clip(&a.title, longest::TITLE)) } }
                }
            }
        }
    }
}

fn watch_list(rows: &[&Anomaly]) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    html! {
        details.watch {
            summary { "Watch list: " (words::count(rows.len() as u64, "subject")) " ranked but not reported" }
            table.compact {
                (head(&[(NUMBER, "Rank"), (NUMBER, "Score"), (TEXT, "Subject and what is oddest"), (NUMBER, "Odds"), (TEXT, "Calls, 0 to 24 UTC")]))
                tbody {
                    @for a in rows.iter().take(WATCH_ROWS) {
                        tr {
                            td.number { (a.rank) }
                            td.number { (words::score(a.score)) }
                            td { bdi { (clip(&a.title, 160)) } }
                            td.number { (words::one_in(a.p_value)) }
                            td { @if a.rank <= PICTURED { (day::strip(a)) } }
                        }
                    }
                }
            }
            @if rows.len() > WATCH_ROWS {
                p.quiet { (words::thousands((rows.len() - WATCH_ROWS) as u64)) " more in anomalies.csv" }
            }
        }
    }
}

fn health(run: &RunInfo) -> Markup {
    let cold: u64 = run.nights.iter().map(|s| s.cold_users).sum();
    let remarks: u64 = run.nights.iter().map(|s| s.notes.len() as u64).sum();
    let gates: u64 = run.nights.iter().map(|s| s.gates.len() as u64).sum();
    html! {
        section.health aria-labelledby="health" {
            h2 id="health" { "Health of this run" }
            dl {
                dt { "Model" }
                dd { (clip(&run.model_name, longest::NAME)) " version " (run.model_version) " "
                    code { (clip(&run.model_digest, longest::NAME)) } }
                dt { "Input" } dd { code { (clip(&run.input_digest, longest::NAME)) } }
                dt { "Engine" } dd { "quietwatch " (clip(&run.engine_version, longest::NAME)) }
                dt { "Scored" }
                dd {
                    (words::count(run.nights.iter().map(|s| s.subjects).sum(), "subject")) " and "
                    (words::count(run.nights.iter().map(|s| s.events).sum(), "call"))
                }
                dt { "Missing dates" }
                dd {
                    @if run.missing_dates.is_empty() { "none" }
                    @for (i, date) in run.missing_dates.iter().enumerate() { @if i > 0 { ", " } (date) }
                }
                dt { "New users" }
                dd {
                    @if cold == 0 { "none" }
                    @else { (words::count(cold, "user-night")) " with little history of their own, judged by their peers" }
                }
                dt { "Gates" }
                dd { @if gates == 0 { "none tripped" } @else { (gates) " tripped, shown at their nights" } }
                dt { "Did not run" }
                dd {
                    @if run.not_run.is_empty() { "nothing" }
                    @for (i, family) in run.not_run.iter().enumerate() {
                        @if i > 0 { "; " }
                        (clip(family, longest::SENTENCE))
                    }
                }
                dt { "Remarks" }
                dd {
                    @if remarks == 0 { "none" } @else { (words::count(remarks, "remark")) ", shown at their nights" }
                }
                dt { "In sample" } dd { @if run.in_sample { "yes, see the warning above" } @else { "no" } }
            }
            (coverage(run))
        }
    }
}

/// How much of each day was seen.
fn coverage(run: &RunInfo) -> Markup {
    if run.nights.is_empty() {
        return html! {};
    }
    html! {
        details {
            summary { "How much of each day was seen" }
            @for s in &run.nights {
                @for about in &s.coverage.files { p.quiet { (s.date) ": " (clip(about, longest::SENTENCE)) } }
                @for silent in &s.coverage.silent { p.quiet { (s.date) ": no calls of anybody " (clip(silent, longest::TITLE)) } }
            }
            table.compact.coverage {
                (head(&[(TEXT, "Night"), (TEXT, "Organisation"), (NUMBER, "Calls"), (NUMBER, "Half-hours"), (NUMBER, "Usual"),
                    (NUMBER, "Daily files"), (NUMBER, "Hourly"), (NUMBER, "Other"), (NUMBER, "Superseded")]))
                tbody {
                    @for s in &run.nights {
                        @let c = &s.coverage;
                        tr {
                            td { (s.date) }
                            td { bdi { (clip(&s.org_id, longest::NAME)) } }
                            td.number { (words::thousands(s.events)) }
                            td.number { (c.half_hours) }
                            td.number { (c.usual_half_hours) }
                            td.number { (c.daily_files) }
                            td.number { (c.hourly_files) }
                            td.number { (c.other_files) }
                            td.number { (c.superseded_files) }
                        }
                    }
                }
            }
        }
    }
}

fn guide() -> Markup {
    let steps: [(&str, &str, &str); 6] = [
        ("95", "critical", "1 in 1 million"),
        ("85", "critical", "1 in 100,000"),
        ("75", "high", "1 in 10,000"),
        ("60", "medium", "1 in 1,000"),
        ("40", "low", "1 in 100"),
        ("20", "info", "1 in 10"),
    ];
    html! {
        section.guide aria-labelledby="guide" {
            h2 id="guide" { "How to read the score" }
            p {
                "The score says how rare a subject this odd is on a normal night, measured on held-out nights. It is the \
                 same scale in every organisation and on every night, never stretched to the night's worst. A night is \
                 reported only as far as the false discovery rate and the nightly budget allow; the rest stays on the \
                 watch list. \u{201c}Share\u{201d} is the part that a piece of evidence has in the verdict. A user is usually active in half-hours with \
                 calls on at least half of such days (workdays or weekends with calls), at times in those with one day in ten; \
                 all times are UTC."
            }
            table.compact.steps {
                (head(&[(NUMBER, "Score"), (TEXT, "Severity"), (TEXT, "Seen on a normal night")]))
                tbody {
                    @for (score, severity, odds) in steps {
                        tr { td.number { (score) } td { span class={ "badge " (severity) } { (severity) } } td { (odds) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "html_tests.rs"]
mod tests;
