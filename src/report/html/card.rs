//! One reported anomaly: who, what, a story, pictures of the day, the evidence, and where to look.

use maud::{Markup, html};

use super::super::escape::clip;
use super::super::words;
use super::document::{BAR, NUMBER, TEXT, head};
use super::{day, longest, range_bar};
use crate::anomaly::{Anomaly, Evidence, Status};
use crate::date::{MS_PER_DAY, format_ms};

/// Addresses and countries that a card shows.
const LIST_ITEMS: usize = 8;
/// Pieces of evidence that a card shows at first.
const EVIDENCE: usize = 5;

/// The name of its place on the page.
pub(super) fn anchor(a: &Anomaly) -> String {
    format!("a-{}", a.anomaly_key.get(..12).unwrap_or(&a.anomaly_key))
}

pub(super) fn badge(a: &Anomaly) -> Markup {
    html! { span class={ "badge " (a.severity.name()) } { (a.severity.name()) } }
}

/// `14:32–15:32 UTC`, or the whole day.
pub(super) fn window(a: &Anomaly) -> String {
    let clock = |ms: i64| format_ms(ms).get(11..16).unwrap_or("?").to_owned();
    let day = a.date.start_ms();
    match (a.window_start, a.window_end) {
        (start, end) if start <= day && end >= day + MS_PER_DAY - 1_000 => "all day".to_owned(),
        (start, end) if clock(start) == clock(end) => format!("{} UTC", clock(start)),
        (start, end) => format!("{}–{} UTC", clock(start), clock(end)),
    }
}

/// The card.
pub(super) fn card(a: &Anomaly) -> Markup {
    html! {
        article class={ "card " (a.severity.name()) } id=(anchor(a)) {
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
            (day::render(a))
            (evidence_tables(&a.evidence))
            (requests(&a.request_ids))
            details {
                summary { "Where to look" }
                dl {
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

/// Request ids, one a line; a click selects them all.
fn requests(ids: &[String]) -> Markup {
    if ids.is_empty() {
        return html! {};
    }
    html! {
        details {
            summary { (words::count(ids.len() as u64, "request id")) }
            pre.ids tabindex="0" aria-label="Request ids, one a line" {
                @for id in ids { (clip(id, longest::NAME)) "\n" }
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

/// The strongest evidence, the rest behind a fold.
fn evidence_tables(evidence: &[Evidence]) -> Markup {
    let (first, rest) = evidence.split_at(evidence.len().min(EVIDENCE));
    html! {
        @if !first.is_empty() { (evidence_table(first)) }
        @if !rest.is_empty() {
            details {
                summary { (words::thousands(rest.len() as u64)) " more of the evidence" }
                (evidence_table(rest))
            }
        }
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
