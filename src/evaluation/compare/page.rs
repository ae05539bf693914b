//! Two models side by side as one page in the dress of the nightly report.

use maud::{Markup, html};

use super::{Both, Changed, Difference, NightOfBoth, OnLabels, Place};
use crate::report::escape::clip;
use crate::report::html::document::{NUMBER, TEXT, document, head};
use crate::report::words::{self, count, percent, thousands};

/// Longest name, and longest title, on the page, in characters.
const NAME: usize = 80;
const TITLE: usize = 160;

/// Changed anomalies of each kind that the page lists.
const LISTED: usize = 100;

/// Which models these are.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Name of the model.
    pub name: &'a str,
    /// Version and digest of each.
    pub versions: Both<(u32, &'a str)>,
    /// Whether one of them has learned from one of the nights.
    pub in_sample: bool,
}

/// The page.
pub fn page(about: &About<'_>, d: &Difference) -> String {
    let (from, to) = (about.versions.from.0, about.versions.to.0);
    let title = format!("Version {to} beside version {from}");
    let meta = html! { "Model " (clip(about.name, NAME)) };
    let body = html! {
        @if about.in_sample {
            p.warning role="note" {
                strong { "In sample. " }
                "One of the versions has learned from one of these nights and looks calmer there than it would have been."
            }
        }
        main id="findings" {
            section.night aria-labelledby="headline" {
                h2 id="headline" { (headline(d, to)) }
                p.meta { (span(d)) }
                (figures(d, from, to))
                (chart(&d.by_night, from, to))
            }
            @if let Some(labels) = &d.labels { (on_labels(labels, d.alerts, from, to)) }
            (changed("gained", &format!("Only version {to} reports"), &d.gained, from, to))
            (changed("lost", &format!("Only version {from} reports"), &d.lost, from, to))
        }
        (health(about, d))
    };
    document(&title, "findings", &meta, &body)
}

/// What a change of versions would mean, in one line.
fn headline(d: &Difference, to: u32) -> String {
    match (d.gained.len() as u64, d.lost.len() as u64) {
        (0, 0) => format!("Version {to} reports the same"),
        (gained, 0) => format!("Version {to} adds {} and drops none", count(gained, "alert")),
        (0, lost) => format!("Version {to} adds no alert and drops {}", thousands(lost)),
        (gained, lost) => format!("Version {to} adds {} and drops {}", count(gained, "alert"), thousands(lost)),
    }
}

fn span(d: &Difference) -> String {
    match d.nights.as_slice() {
        [] => "No night was scored by both.".to_owned(),
        [night] => format!("The night of {night}."),
        [first, .., last] => format!("{}, {first} to {last}.", count(d.nights.len() as u64, "night")),
    }
}

fn share(x: Option<f64>) -> String {
    x.map_or_else(|| "–".to_owned(), percent)
}

fn columns<'a>(first: (&'a str, &'a str), from: &'a str, to: &'a str) -> [(&'a str, &'a str); 3] {
    [first, (NUMBER, from), (NUMBER, to)]
}

fn figures(d: &Difference, from: u32, to: u32) -> Markup {
    let (old, new) = (format!("Version {from}"), format!("Version {to}"));
    let correlation = d.agreement.rank_correlation.map_or_else(|| "–".to_owned(), |r| format!("{r:.2}"));
    html! {
        table.compact.steps {
            (head(&columns((TEXT, ""), &old, &new)))
            tbody {
                tr { td { "Reported" } td.number { (thousands(d.alerts.from)) } td.number { (thousands(d.alerts.to)) } }
                tr {
                    td { "Reported by it alone" }
                    td.number { (thousands(d.lost.len() as u64)) } td.number { (thousands(d.gained.len() as u64)) }
                }
                tr {
                    td { "Calm nights" }
                    td.number { (thousands(d.calm_nights.from)) } td.number { (thousands(d.calm_nights.to)) }
                }
            }
        }
        p.quiet {
            (thousands(d.alerts_in_both)) " reported by both. Of the first ten ranks of a night " (share(d.agreement.same_top10))
            " are the same; rank correlation " (correlation) " over " (count(d.agreement.in_both, "subject")) " that both kept."
        }
    }
}

/// Night by night: what both report stands on the line, what the new one adds above it, what it no longer reports below it.
fn chart(nights: &[NightOfBoth], from: u32, to: u32) -> Markup {
    const HEIGHT: f64 = 64.0;
    // Few nights stand far enough apart for the first date and the last to have room.
    let step = (800.0 / nights.len().max(1) as f64).floor().clamp(6.0, 40.0);
    let above = |n: &NightOfBoth| n.alerts.to;
    let below = |n: &NightOfBoth| n.alerts.from - n.in_both;
    if nights.iter().all(|n| above(n) + below(n) == 0) {
        return html! {};
    }
    let most = |of: &dyn Fn(&NightOfBoth) -> u64| nights.iter().map(of).max().unwrap_or(0) as f64;
    let (up, down) = (most(&above), most(&below));
    let one = HEIGHT / up.max(down).max(3.0);
    let (line, foot) = (4.0 + one * up, 8.0 + one * (up + down));
    let (width, height) = ((step * nights.len() as f64).max(170.0), foot + 16.0);
    let bar = |class: &str, at: f64, top: f64, n: u64| {
        html! {
            @if n > 0 {
                rect class={ "seen " (class) } x=(format!("{:.1}", at + 0.1 * step)) width=(format!("{:.1}", 0.8 * step)) y=(format!("{top:.1}"))
                    height=(format!("{:.1}", one * n as f64)) {}
            }
        }
    };
    html! {
        svg.chart role="img" aria-label="Reported night by night" width=(format!("{width:.0}")) height=(format!("{height:.0}"))
            viewBox=(format!("0 0 {width:.0} {height:.0}")) {
            @for (i, n) in nights.iter().enumerate() {
                @let at = step * i as f64;
                @let both = one * n.in_both as f64;
                @let gained = n.alerts.to - n.in_both;
                g {
                    title {
                        (n.date) ": " (thousands(n.in_both)) " by both, " (thousands(gained)) " by version " (to) " alone, "
                        (thousands(below(n))) " by version " (from) " alone"
                    }
                    rect.clear x=(format!("{at:.0}")) y="0" width=(step) height=(format!("{height:.0}")) {}
                    (bar("info", at, line - both, n.in_both))
                    (bar("high", at, line - both - one * gained as f64, gained))
                    (bar("low", at, line, below(n)))
                }
            }
            line.axis x1="0" y1=(format!("{line:.1}")) x2=(format!("{width:.0}")) y2=(format!("{line:.1}")) {}
            @if let (Some(first), Some(last)) = (nights.first(), nights.last()) {
                text x="0" y=(format!("{:.0}", height - 3.0)) { (first.date) }
                @if last.date > first.date {
                    text x=(format!("{width:.0}")) y=(format!("{:.0}", height - 3.0)) text-anchor="end" { (last.date) }
                }
            }
        }
        p.key {
            span.nowrap { span.mark.block.info {} "reported by both" } " "
            span.nowrap { span.mark.block.high {} "version " (to) " alone" } " "
            span.nowrap { span.mark.block.low {} "version " (from) " alone" }
        }
    }
}

fn on_labels(l: &OnLabels, alerts: Both<u64>, from: u32, to: u32) -> Markup {
    let (old, new) = (format!("Version {from}"), format!("Version {to}"));
    let of = |found: u64, all: u64, share: f64| format!("{} ({found} of {all})", percent(share));
    let (a, b) = (l.recall.from, l.recall.to);
    html! {
        section.part aria-labelledby="labels" {
            h3 id="labels" { "On the labels" }
            table.compact.steps {
                (head(&columns((TEXT, ""), &old, &new)))
                tbody {
                    tr {
                        td { "Attacks reported" }
                        td.number { (of(a.found_reported, a.incidents, a.recall_reported)) }
                        td.number { (of(b.found_reported, b.incidents, b.recall_reported)) }
                    }
                    tr {
                        td { "Attacks in the top 10" }
                        td.number { (of(a.found_top10, a.incidents, a.recall_top10)) }
                        td.number { (of(b.found_top10, b.incidents, b.recall_top10)) }
                    }
                    tr {
                        td { "Alerts that are attacks" }
                        td.number { (share((alerts.from > 0).then_some(l.precision.from))) }
                        td.number { (share((alerts.to > 0).then_some(l.precision.to))) }
                    }
                    tr {
                        td { "Alerts on look-alikes" }
                        td.number { (thousands(l.look_alikes.from)) } td.number { (thousands(l.look_alikes.to)) }
                    }
                }
            }
            @for (what, names) in [("Attacks gained", &l.gained), ("Attacks lost", &l.lost)] {
                @if !names.is_empty() {
                    p.quiet {
                        (what) ": "
                        @for (i, name) in names.iter().take(LISTED).enumerate() {
                            @if i > 0 { ", " } bdi { (clip(name, NAME)) }
                        }
                        @if names.len() > LISTED { " and " (thousands((names.len() - LISTED) as u64)) " more" }
                    }
                }
            }
        }
    }
}

fn changed(id: &str, title: &str, list: &[Changed], from: u32, to: u32) -> Markup {
    let (old, new) = (format!("v{from}"), format!("v{to}"));
    html! {
        section.part aria-labelledby=(id) {
            h3 id=(id) { (title) }
            @if list.is_empty() {
                p.quiet { "Nothing." }
            } @else {
                table.compact.moves {
                    (head(&[(TEXT, "Night"), (NUMBER, &old), (NUMBER, &new), (TEXT, "Score"), (TEXT, "What is said, and the key")]))
                    tbody {
                        @for c in list.iter().take(LISTED) {
                            tr {
                                td.nowrap { (c.date) }
                                td.number { (at(c.place.from)) }
                                td.number { (at(c.place.to)) }
                                td { (move_of(c.place)) }
                                td {
                                    bdi { (clip(&c.title, TITLE)) } " "
                                    code { (clip(c.anomaly_key.get(..12).unwrap_or(&c.anomaly_key), NAME)) }
                                }
                            }
                        }
                    }
                }
                p.key {
                    span.nowrap { span.mark.ring {} "score of version " (from) } " "
                    span.nowrap { span.mark.bars {} "of version " (to) ", from 0 to 100" }
                }
                @if list.len() > LISTED { p.quiet { (thousands((list.len() - LISTED) as u64)) " more" } }
            }
        }
    }
}

fn at(place: Option<Place>) -> String {
    place.map_or_else(|| "not kept".to_owned(), |p| format!("{}, rank {}", words::score(p.score), p.rank))
}

/// From where to where a subject's score moves: a ring where it stood, a dot where it would stand.
fn move_of(place: Both<Option<Place>>) -> Markup {
    let x = |p: Place| 6.0 + 1.08 * p.score.clamp(0.0, 100.0);
    let said = format!("{} becomes {}", at(place.from), at(place.to));
    html! {
        svg.strip role="img" aria-label=(said) width="120" height="14" viewBox="0 0 120 14" {
            line.axis x1="6" y1="7" x2="114" y2="7" {}
            @if let (Some(a), Some(b)) = (place.from, place.to) {
                line.trace x1=(format!("{:.1}", x(a))) y1="7" x2=(format!("{:.1}", x(b))) y2="7" {}
            }
            @if let Some(a) = place.from { circle.ring cx=(format!("{:.1}", x(a))) cy="7" r="4" {} }
            @if let Some(b) = place.to { circle.bars cx=(format!("{:.1}", x(b))) cy="7" r="4" {} }
        }
    }
}

fn health(about: &About<'_>, d: &Difference) -> Markup {
    html! {
        section.health aria-labelledby="health" {
            h2 id="health" { "What was compared" }
            dl {
                @for (version, digest) in [about.versions.from, about.versions.to] {
                    dt { "Version " (version) } dd { code { (clip(digest, NAME)) } }
                }
                dt { "Kept by one alone" }
                dd {
                    (count(d.agreement.in_one.from, "subject")) " by version " (about.versions.from.0) ", "
                    (count(d.agreement.in_one.to, "subject")) " by version " (about.versions.to.0)
                }
            }
        }
    }
}
