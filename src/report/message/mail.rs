//! A message as an e-mail: a subject, and the same content as plain text and as HTML.

use std::fmt::Write;

use maud::{DOCTYPE, html};

use super::{Message, Why, about, explain};
use crate::anomaly::Anomaly;
use crate::report::escape::{clip, shorten, visible};
use crate::report::words;

/// Pieces of evidence shown of each anomaly, and the smallest share that is worth a line.
const EVIDENCE: usize = 3;
const LEAST_SHARE: f64 = 0.05;

/// One line; nothing in it ends a header.
pub fn subject(message: &Message) -> String {
    let line = match message.why {
        Why::Critical => format!("[quietwatch] critical, {}: {}", message.night, message.headline),
        Why::Test => format!("[quietwatch] {}", message.headline),
        _ => format!("[quietwatch] {} {}: {}", message.model_name, message.night, message.headline),
    };
    shorten(&line, 150)
}

/// What the first line says of the whole.
fn opening(message: &Message) -> String {
    match message.why {
        Why::Test => message.headline.clone(),
        _ => format!("{} · {} · {}", message.night, message.model_name, visible(&message.headline)),
    }
}

fn heading(a: &Anomaly) -> String {
    format!("{}. {} {} · {}", a.rank, a.severity.name(), words::score(a.score), clip(&a.title, 200))
}

fn sentences(a: &Anomaly) -> impl Iterator<Item = String> + '_ {
    a.evidence
        .iter()
        .filter(|e| e.contribution >= LEAST_SHARE)
        .take(EVIDENCE)
        .map(|e| clip(&e.sentence, 400).into_owned())
}

fn addresses(a: &Anomaly) -> Option<String> {
    const SHOWN: usize = 5;
    let shown: Vec<String> = a.source_ips.iter().take(SHOWN).map(|ip| shorten(ip, 45)).collect();
    let more = if a.source_ips.len() > SHOWN { " and more" } else { "" };
    (!shown.is_empty()).then(|| format!("from {}{more}", shown.join(", ")))
}

/// The plain text.
pub fn plain(message: &Message) -> String {
    let mut out = opening(message);
    out.push('\n');
    for a in &message.anomalies {
        let _ = write!(out, "\n{}\n   {}\n   {}\n", heading(a), about(a), clip(&a.story, 1_000));
        for line in sentences(a) {
            let _ = writeln!(out, "   - {line}");
        }
        if let Some(addresses) = addresses(a) {
            let _ = writeln!(out, "   {addresses}");
        }
        let _ = writeln!(out, "   {}", explain(a));
    }
    if message.left_out > 0 {
        let _ = writeln!(out, "\n{} more in the report", message.left_out);
    }
    out.push('\n');
    for note in &message.notes {
        let _ = writeln!(out, "{}", visible(note));
    }
    if !message.report_url.is_empty() {
        let _ = writeln!(out, "\nReport: {}", message.report_url);
    }
    out
}

/// The HTML: no picture, no script, nothing from elsewhere.
pub fn page(message: &Message) -> String {
    let muted = "color:#666;font-size:13px;margin:2px 0";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (subject(message)) } }
            body style="font-family:sans-serif;max-width:46em;margin:1em auto;line-height:1.45" {
                p style="font-size:17px" { strong { (opening(message)) } }
                @for a in &message.anomalies {
                    div style="border-left:3px solid #b42318;padding:2px 12px;margin:14px 0" {
                        p style="margin:2px 0" { strong { (heading(a)) } }
                        p style=(muted) { (about(a)) }
                        p style="margin:6px 0" { (clip(&a.story, 1_000)) }
                        ul style="margin:4px 0" { @for line in sentences(a) { li { (line) } } }
                        @if let Some(addresses) = addresses(a) { p style=(muted) { (addresses) } }
                        p style=(muted) { code { (explain(a)) } }
                    }
                }
                @if message.left_out > 0 { p { (message.left_out) " more in the report" } }
                @for note in &message.notes { p style=(muted) { (visible(note)) } }
                @if !message.report_url.is_empty() { p { a href=(message.report_url) { "Open the report" } } }
            }
        }
    };
    page.into_string()
}
