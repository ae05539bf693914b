//! `report.html`: one self-contained page that a person reads in the morning.
//!
//! No script, no network, no image file: the content policy allows nothing but the one style sheet, named by its
//! digest, so that even a hole in the escaping could load or run nothing. Text goes through [`clip`] (hidden
//! characters spelled out, floods cut) and then through maud, which escapes HTML.

pub(crate) mod document;
mod range_bar;

use maud::{Markup, html};

use document::{BAR, NUMBER, TEXT, document, head};

use super::escape::clip;
use super::words;
use crate::anomaly::{Anomaly, Evidence, NightSummary, RunInfo, Status};
use crate::date::{Date, MS_PER_DAY, format_ms};

/// Rows of the watch list that the page shows; all are in the data files.
const WATCH_ROWS: usize = 20;
/// Addresses and countries that a card shows.
const LIST_ITEMS: usize = 8;

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
            @if nights.len() > 1 { (index(&nights, anomalies)) }
            @for (date, summaries) in &nights { (night(*date, summaries, anomalies)) }
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

/// The nights of a range at a glance.
fn index(nights: &[(Date, Vec<&NightSummary>)], anomalies: &[Anomaly]) -> Markup {
    html! {
        nav aria-label="Nights" {
            table.compact {
                (head(&[(TEXT, "Night"), (NUMBER, "Calls"), (NUMBER, "Subjects"), (NUMBER, "Reported"), (TEXT, "Oddest")]))
                tbody {
                    @for (date, summaries) in nights {
                        tr {
                            td { a href={ "#night-" (date) } { (date) } " " span.quiet { (&weekday(*date)[..3]) } }
                            td.number { (words::thousands(summaries.iter().map(|s| s.events).sum())) }
                            td.number { (words::thousands(subjects(summaries))) }
                            td.number { (words::thousands(reported(summaries))) }
                            td {
                                @match anomalies.iter().find(|a| a.date == *date && a.reported) {
                                    Some(a) => { (badge(a)) " " bdi { (clip(&a.title, longest::TITLE)) } },
                                    None => span.quiet { "calm" },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn night(date: Date, summaries: &[&NightSummary], anomalies: &[Anomaly]) -> Markup {
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
                p.note { strong { "Gate " (gate.gate.name()) ". " } (clip(&gate.message, longest::SENTENCE)) }
            }
            @for note in summaries.iter().flat_map(|s| &s.notes) {
                p.note { (clip(note, longest::SENTENCE)) }
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

fn badge(a: &Anomaly) -> Markup {
    html! { span class={ "badge " (a.severity.name()) } { (a.severity.name()) } }
}

/// `14:32–15:32 UTC`, or the whole day.
fn window(a: &Anomaly) -> String {
    let clock = |ms: i64| format_ms(ms).get(11..16).unwrap_or("?").to_owned();
    let day = a.date.start_ms();
    match (a.window_start, a.window_end) {
        (start, end) if start <= day && end >= day + MS_PER_DAY - 1_000 => "all day".to_owned(),
        (start, end) if clock(start) == clock(end) => format!("{} UTC", clock(start)),
        (start, end) => format!("{}–{} UTC", clock(start), clock(end)),
    }
}

/// One reported anomaly.
fn card(a: &Anomaly) -> Markup {
    html! {
        article class={ "card " (a.severity.name()) } id={ "a-" (a.anomaly_key.get(..12).unwrap_or(&a.anomaly_key)) } {
            div.top {
                div.score title={ (words::one_in(a.p_value)) " subject-nights" } {
                    span.value { (words::score(a.score)) }
                    span.unit { "of 100" }
                }
                div.what {
                    p.tags {
                        span.rank { "#" (a.rank) }
                        (badge(a))
                        span.tag { (a.category.name()) }
                        span.tag { (a.subject_type.name()) }
                        @if a.status == Status::Ongoing { span.tag.ongoing { "ongoing" } }
                    }
                    h3 { bdi { (clip(&a.title, longest::TITLE)) } }
                    p.who {
                        bdi { (clip(words::subject(a), longest::NAME)) }
                        @if let Some(id) = a.user_id.as_deref().filter(|id| *id != words::subject(a)) {
                            " " code { (clip(id, longest::NAME)) }
                        }
                        " · " (window(a))
                        " · " (words::count(a.event_count, "call"))
                        @if a.error_count > 0 { ", " (words::count(a.error_count, "error")) }
                        " · odds " (words::one_in(a.p_value))
                    }
                }
            }
            p.story { (clip(&a.story, longest::STORY)) }
            @if !a.evidence.is_empty() { (evidence_table(&a.evidence)) }
            details {
                summary { "Where to look" }
                dl {
                    @if !a.request_ids.is_empty() { dt { "Request ids" } dd { (codes(&a.request_ids, usize::MAX)) } }
                    @if !a.source_ips.is_empty() { dt { "Addresses" } dd { (codes(&a.source_ips, LIST_ITEMS)) } }
                    @if !a.countries.is_empty() { dt { "Countries" } dd { (codes(&a.countries, LIST_ITEMS)) } }
                    @if let Some(app) = a.app_name.as_deref().or(a.app_id.as_deref()) {
                        dt { "App" } dd { bdi { (clip(app, longest::NAME)) } }
                    }
                    dt { "Organisation" } dd { code { (clip(&a.org_id, longest::NAME)) } }
                    @if a.user_ids.len() > 1 {
                        dt { "Users" } dd { (codes(&a.user_ids, LIST_ITEMS)) }
                    }
                    dt { "Window" } dd { (format_ms(a.window_start)) " to " (format_ms(a.window_end)) }
                    dt { "Key" } dd { code.key { (clip(&a.anomaly_key, longest::NAME)) } }
                }
            }
        }
    }
}

/// Values as code, the first `max` of them.
fn codes(values: &[String], max: usize) -> Markup {
    html! {
        @for value in values.iter().take(max) { code { (clip(value, longest::NAME)) } " " }
        @if values.len() > max { span.quiet { "and " (words::thousands((values.len() - max) as u64)) " more" } }
    }
}

fn evidence_table(evidence: &[Evidence]) -> Markup {
    html! {
        table.evidence {
            (head(&[(TEXT, "Evidence"), (TEXT, "Observed"), (TEXT, "Usual"), (BAR, "Range"), (NUMBER, "Share")]))
            tbody {
                @for e in evidence {
                    tr {
                        td {
                            span.sentence { (clip(&e.sentence, longest::SENTENCE)) }
                            span.source { (e.family.name()) " · " (clip(&e.feature, longest::NAME)) " · "
                                (words::one_in(e.p_value)) }
                        }
                        td { bdi { (clip(&e.observed, longest::TITLE)) } }
                        td { bdi { (clip(&e.expected, longest::TITLE)) } }
                        td.bar { (range_bar::render(e)) }
                        td.number { (words::percent(e.contribution)) }
                    }
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
                (head(&[(NUMBER, "Rank"), (NUMBER, "Score"), (TEXT, "Subject"), (TEXT, "What is oddest"), (NUMBER, "Odds")]))
                tbody {
                    @for a in rows.iter().take(WATCH_ROWS) {
                        tr {
                            td.number { (a.rank) }
                            td.number { (words::score(a.score)) }
                            td { bdi { (clip(words::subject(a), 40)) } }
                            td { bdi { (clip(&a.title, 120)) } }
                            td.number { (words::one_in(a.p_value)) }
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
            table.compact {
                (head(&[(TEXT, "Night"), (TEXT, "Organisation"), (NUMBER, "Calls"), (NUMBER, "Half-hours"), (NUMBER, "Usual"),
                    (NUMBER, "Daily files"), (NUMBER, "Hourly"), (NUMBER, "Other"), (NUMBER, "Superseded"), (TEXT, "Silent")]))
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
                            td { @for silent in &c.silent { (clip(silent, longest::TITLE)) " " } }
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
                 watch list. \u{201c}Share\u{201d} is the part that a piece of evidence has in the verdict."
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
