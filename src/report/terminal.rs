//! A night and a single anomaly in plain text, for people at a terminal.

use std::io::{self, Write};

use super::escape::clip;
use super::words;
use crate::anomaly::{Anomaly, NightSummary, Severity, Status};
use crate::date::format_ms;

/// How the terminal wants its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns; lines are wrapped at the last space before. Below 40 counts as 40.
    pub width: usize,
    /// Colour the severity (ANSI). Never set it for a pipe or under `NO_COLOR`.
    pub color: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { width: 100, color: false }
    }
}

/// Pieces of evidence shown below a story.
const EVIDENCE_LINES: usize = 3;

/// Smallest share of the evidence that is worth a line.
const LEAST_SHARE: f64 = 0.05;

/// One night of one organisation: the one-line summary, remarks, and each reported anomaly of it among `anomalies`.
/// A calm night without remarks is one line.
pub fn print_night(
    out: &mut dyn Write,
    summary: &NightSummary,
    anomalies: &[Anomaly],
    layout: Layout,
) -> io::Result<()> {
    let ongoing = words::ongoing(summary, anomalies);
    let muted = words::muted(summary);
    let headline = match words::headline(summary.reported, summary.subjects, ongoing.len() as u64) {
        _ if summary.reported == 0 && !muted.is_empty() => "Nothing reported".to_owned(),
        headline => headline,
    };
    let org = clip(&summary.org_id, 40);
    let calls = words::count(summary.events, "call");
    if summary.reported == 0 {
        let subjects = words::count(summary.subjects, "subject");
        writeln!(out, "{}  {org}  {headline} ({subjects}, {calls})", summary.date)?;
    } else {
        writeln!(out, "{}  {org}  {headline} ({calls})", summary.date)?;
    }
    for muted in muted {
        wrapped(out, &muted, 2, layout)?;
    }
    for gate in &summary.gates {
        wrapped(out, &format!("gate {}: {}", gate.gate.name(), clip(&gate.message, 400)), 2, layout)?;
    }
    if summary.cold_users > 0 {
        let users = words::count(summary.cold_users, "user");
        wrapped(out, &format!("{users} with too little history, judged by their peers"), 2, layout)?;
    }
    for note in &summary.notes {
        wrapped(out, &format!("note: {}", clip(note, 400)), 2, layout)?;
    }
    for a in ongoing {
        let line = format!("ongoing, score {}: {} (key {})", words::score(a.score), clip(&a.title, 200), key(a));
        wrapped(out, &line, 2, layout)?;
    }
    for a in words::rows_of(summary, anomalies).into_iter().filter(|a| a.reported) {
        writeln!(out)?;
        let status = if a.status == Status::Ongoing { " · ongoing" } else { "" };
        write!(out, "{:>3}  {:>3}  {}  ", a.rank, words::score(a.score), severity(a.severity, layout))?;
        wrapped_at(out, 20, &format!("{}{status}", clip(&a.title, 200)), layout)?;
        let mut about =
            format!("{} · {} · {}", clip(words::subject(a), 60), a.category.name(), words::one_in(a.p_value));
        about.push_str(" · key ");
        about.push_str(key(a));
        wrapped(out, &about, 10, layout)?;
        wrapped(out, &clip(&a.story, 1_000), 10, layout)?;
        // What the story says already is not said again; `explain` shows all of it.
        let rest = a.evidence.iter().filter(|e| e.contribution >= LEAST_SHARE && !a.story.contains(&e.sentence));
        for e in rest.take(EVIDENCE_LINES) {
            let share = words::percent(e.contribution);
            let line = format!("{} ({}, {share} of the evidence)", clip(&e.sentence, 400), e.family.name());
            wrapped_after(out, "          - ", &line, layout)?;
        }
    }
    Ok(())
}

/// Enough of the key for `explain`.
fn key(a: &Anomaly) -> &str {
    a.anomaly_key.get(..12).unwrap_or(&a.anomaly_key)
}

/// Everything that is known about one anomaly.
pub fn print_explanation(out: &mut dyn Write, a: &Anomaly, layout: Layout) -> io::Result<()> {
    wrapped(out, &clip(&a.title, 400), 0, layout)?;
    writeln!(
        out,
        "{}  score {:.1} ({})  rank {} of {}{}",
        severity(a.severity, layout).trim_end(),
        a.score,
        words::one_in(a.p_value),
        a.rank,
        a.date,
        if a.reported { "" } else { "  watch list, not reported" }
    )?;
    writeln!(out)?;
    wrapped(out, &clip(&a.story, 10_000), 0, layout)?;
    writeln!(out)?;
    let mut fact = |name: &str, text: &str| -> io::Result<()> {
        if text.is_empty() { Ok(()) } else { wrapped_after(out, &format!("{name:<14}"), text, layout) }
    };
    let list = |values: &[String]| values.iter().map(|v| clip(v, 200)).collect::<Vec<_>>().join("  ");
    let optional = |value: &Option<String>| clip(value.as_deref().unwrap_or_default(), 400).into_owned();
    fact("subject", &format!("{} {}", a.subject_type.name(), clip(&a.subject_id, 400)))?;
    fact("organisation", &clip(&a.org_id, 400))?;
    fact("user", format!("{}  {}", optional(&a.user_id), optional(&a.user_name)).trim())?;
    if a.user_ids.len() > 1 {
        fact("users", &list(&a.user_ids))?;
    }
    fact("app", format!("{}  {}", optional(&a.app_name), optional(&a.app_id)).trim())?;
    fact("addresses", &list(&a.source_ips))?;
    fact("countries", &list(&a.countries))?;
    fact("window", &format!("{} to {}", format_ms(a.window_start), format_ms(a.window_end)))?;
    fact("calls", &format!("{}, {}", words::count(a.event_count, "call"), words::count(a.error_count, "error")))?;
    fact("category", &format!("{}, {}", a.category.name(), a.status.name()))?;
    fact("p, q", &format!("{:.1e}, {:.1e}", a.p_value, a.q_value))?;
    fact("request ids", &list(&a.request_ids))?;
    fact("model", &format!("{} version {}  {}", clip(&a.model_name, 80), a.model_version, clip(&a.model_digest, 80)))?;
    fact("engine", &clip(&a.engine_version, 80))?;
    fact("key", &clip(&a.anomaly_key, 80))?;
    for (i, e) in a.evidence.iter().enumerate() {
        writeln!(out)?;
        wrapped(out, &format!("{}. {}", i + 1, clip(&e.sentence, 2_000)), 0, layout)?;
        let mut line = |name: &str, text: &str| wrapped_after(out, &format!("   {name:<11}"), text, layout);
        line("observed", &clip(&e.observed, 400))?;
        line("usual", &clip(&e.expected, 400))?;
        if e.low < e.high {
            line("range", &format!("{} to {}", words::short(e.low), words::short(e.high)))?;
        }
        line("odds", &format!("{} (p = {:.1e})", words::one_in(e.p_value), e.p_value))?;
        line("share", &words::percent(e.contribution))?;
        line("source", &format!("{} · {} · {}", e.family.name(), clip(&e.detector, 80), clip(&e.feature, 80)))?;
    }
    Ok(())
}

/// The severity, padded, coloured if wanted.
fn severity(severity: Severity, layout: Layout) -> String {
    let name = format!("{:<8}", severity.name());
    if !layout.color {
        return name;
    }
    let code = match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low => "34",
        Severity::Info => "2",
    };
    format!("\x1b[{code}m{name}\x1b[0m")
}

fn wrapped(out: &mut dyn Write, text: &str, indent: usize, layout: Layout) -> io::Result<()> {
    wrapped_after(out, &" ".repeat(indent), text, layout)
}

fn wrapped_after(out: &mut dyn Write, prefix: &str, text: &str, layout: Layout) -> io::Result<()> {
    write!(out, "{prefix}")?;
    wrapped_at(out, prefix.chars().count(), text, layout)
}

/// The text on a line that already has `indent` columns, wrapped at spaces with further lines indented as far. A word
/// longer than a line is broken.
fn wrapped_at(out: &mut dyn Write, indent: usize, text: &str, layout: Layout) -> io::Result<()> {
    let room = layout.width.max(40).saturating_sub(indent).max(20);
    let mut lines: Vec<String> = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > room {
            lines.push(String::new());
            used = 0;
        }
        while word.len() > room {
            let rest = word.split_off(room);
            lines.last_mut().expect("never empty").extend(word);
            lines.push(String::new());
            word = rest;
        }
        let line = lines.last_mut().expect("never empty");
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        used += word.len();
        line.extend(word);
    }
    for (i, line) in lines.iter().enumerate() {
        if i == 0 {
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn printed(print: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_calm_night_is_one_line() {
        let mut night = sample::summary();
        night.reported = 0;
        night.notes.clear();
        night.gates.clear();
        night.cold_users = 0;
        let watch = sample::anomaly(9);
        assert_eq!(
            printed(|out| print_night(out, &night, std::slice::from_ref(&watch), Layout::default())),
            "2026-04-21  00D5g000001AAAA  Calm: nothing to report (214 subjects, 89,253 calls)\n"
        );
    }

    #[test]
    fn a_loud_night_tells_each_reported_story() {
        let rows = [sample::anomaly(2), sample::anomaly(1), sample::anomaly(9)];
        let text = printed(|out| print_night(out, &sample::summary(), &rows, Layout { width: 72, color: false }));
        assert!(
            text.starts_with("2026-04-21  00D5g000001AAAA  3 of 214 subjects stand out (89,253 calls)\n"),
            "{text}"
        );
        assert!(text.contains("\n  gate volume: 89,253 calls"), "{text}");
        assert!(text.contains("\n  1   96  critical  First calls ever from Germany\n"), "{text}");
        assert!(text.find("\n  1   96").unwrap() < text.find("\n  2   96").unwrap());
        assert!(!text.contains("\n  9"), "the watch list is not printed");
        assert!(text.contains("- 4,812 calls, usual 900 to 1,500. (novelty, 25\u{a0}% of the"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 72), "{text}");
    }

    #[test]
    fn other_nights_and_organisations_are_left_out() {
        let mut other = sample::anomaly(1);
        other.org_id = "00D_other".into();
        let mut later = sample::anomaly(1);
        later.date = later.date.plus(1);
        let text =
            printed(|out| print_night(out, &sample::summary(), &[other.clone(), later.clone()], Layout::default()));
        assert!(!text.contains("Germany"), "{text}");
    }

    #[test]
    fn an_explanation_holds_every_fact() {
        let a = sample::anomaly(1);
        let text = printed(|out| print_explanation(out, &a, Layout::default()));
        for fact in [
            "4,812 calls",
            "1,200 calls",
            "TID:4712",
            "198.18.7.9",
            "2001:db8::7",
            "acme version 3",
            "p = 3.0e-4",
            "novelty · negative_binomial · calls",
            "2026-04-21T14:32:00.000Z",
            &a.anomaly_key,
            &a.model_digest,
        ] {
            assert!(text.contains(fact), "{fact} in {text}");
        }
    }

    #[test]
    fn nothing_from_the_log_reaches_the_terminal_raw() {
        let a = sample::hostile(1);
        let night = printed(|out| print_night(out, &sample::summary(), std::slice::from_ref(&a), Layout::default()));
        let story = printed(|out| print_explanation(out, &a, Layout::default()));
        for text in [night, story] {
            for hidden in ['\u{202e}', '\u{1b}', '\0', '\u{feff}', '\r'] {
                assert!(!text.contains(hidden), "{hidden:?}");
            }
            assert!(text.contains("\\u{1b}[2J"));
            assert!(text.len() < 20_000);
        }
    }

    #[test]
    fn long_words_are_broken_and_lines_indented() {
        let text = printed(|out| {
            wrapped_after(out, "key  ", &format!("a {} b", "x".repeat(80)), Layout { width: 40, color: false })
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "key  a");
        assert_eq!(lines[1], format!("     {}", "x".repeat(35)));
        assert_eq!(lines[3], format!("     {} b", "x".repeat(10)));
    }
}
