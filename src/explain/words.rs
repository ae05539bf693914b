//! Numbers, times and names in words. Names come from logs that attackers can write to: control and direction characters
//! are made visible and long names are cut, so that a story cannot be forged by a client's name.

use crate::features::catalog::{session, user_day};
use crate::tables::ValueKind;

/// Longest name that is shown whole, in characters.
const MAX_NAME: usize = 80;

/// A name from the log, safe to put in a sentence (outputs still escape it for their format).
pub fn name(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(2 * MAX_NAME));
    for (count, c) in text.chars().enumerate() {
        if count == MAX_NAME {
            out.push_str(&format!("… ({} characters)", text.chars().count()));
            break;
        }
        let direction =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || direction {
            out.push_str(&format!("\\u{{{:x}}}", c as u32));
        } else {
            out.push(c);
        }
    }
    if out.is_empty() { "(blank)".into() } else { out }
}

/// A count with thousands separators, or a small number with one decimal.
pub fn number(x: f64) -> String {
    if x.abs() < 10.0 && (x - x.round()).abs() > 0.05 {
        return format!("{x:.1}");
    }
    let digits = format!("{:.0}", x.abs());
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    if x < -0.5 { format!("-{out}") } else { out }
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    let p = 100.0 * share;
    if p > 0.0 && p < 0.1 {
        "under 0.1 %".into()
    } else if p < 10.0 {
        format!("{p:.1} %")
    } else {
        format!("{p:.0} %")
    }
}

/// What a detector's slot looks at, as a noun.
pub fn slot(slot: &str) -> String {
    let (detector, feature) = slot.split_once('/').unwrap_or(("", slot));
    let known =
        user_day::FEATURES.iter().chain(session::FEATURES).find(|f| f.name == feature).map(|f| brief(f.meaning));
    let of_kind =
        |plural| ValueKind::from_name(feature).map_or_else(|| feature.replace('_', " "), |k| kind(k, plural).into());
    match (detector, feature) {
        ("new", "fingerprint") => "parts of the identity that are new together".into(),
        ("new", "shared_ip") => "an address new to several organisations".into(),
        ("new", _) => format!("rarity of new {}", of_kind(true)),
        ("new-count", _) => format!("number of new {}", of_kind(true)),
        ("new-calls", _) => format!("calls on new {}", of_kind(true)),
        ("value-count", _) => format!("calls with a known {}", of_kind(false)),
        ("mix", _) => format!("mix of {}", of_kind(true)),
        ("rule", "median" | "sigma" | "percentile") => "API calls against simple limits".into(),
        ("rule", "error_points") => "share of failing calls against a simple limit".into(),
        ("rule", "new_value") => "many calls on a new value".into(),
        ("rule", "never_seen_hour") => "an hour never used before".into(),
        ("time", "unusual_hours") => "activity at unusual hours".into(),
        ("time", "missing_hours") => "usual hours without activity".into(),
        ("time", "hour_profile") => "shift to other hours".into(),
        ("time", "weekday") => "activity on an unusual day of the week".into(),
        ("time", "dormant") => "silence before the day".into(),
        ("trend", what) => format!("trend of {what}"),
        ("session", "combination") => "a session as a whole".into(),
        ("session", _) => format!("a session's {}", known.unwrap_or(feature)),
        _ => known.map_or_else(|| feature.replace(['_', '-'], " "), str::to_owned),
    }
}

/// What a slot is about, whatever it measures of it: two slots of one subject are no combination.
pub fn slot_subject(slot: &str) -> &str {
    match slot.split_once('/') {
        Some(("rule", "median" | "sigma" | "percentile")) => "calls",
        Some((_, feature)) => feature,
        None => slot,
    }
}

/// A feature's meaning without its small print.
pub fn brief(meaning: &str) -> &str {
    // A colon within a time of day ends nothing.
    let end = meaning.find(['(', ',']).into_iter().chain(meaning.find(": ")).min().unwrap_or(meaning.len());
    meaning[..end].trim()
}

/// `HH:MM` UTC of a time in ms.
pub fn clock(ms: i64) -> String {
    let minute = ms.rem_euclid(crate::date::MS_PER_DAY) / 60_000;
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Half-hours as ranges: `02:00–05:00, 19:30–20:00`.
pub fn half_hours(bins: &[u8]) -> String {
    let mut out: Vec<String> = Vec::new();
    for run in bins.chunk_by(|a, b| a + 1 == *b) {
        let (from, to) = (u32::from(run[0]), u32::from(run[run.len() - 1]) + 1);
        out.push(format!("{:02}:{:02}–{:02}:{:02}", from / 2, from % 2 * 30, to / 2, to % 2 * 30));
    }
    const SHOWN: usize = 4;
    if out.len() > SHOWN {
        let more = out.len() - SHOWN;
        out.truncate(SHOWN);
        out.push(format!("{more} more"));
    }
    out.join(", ")
}

/// What a kind of value is called.
pub fn kind(kind: ValueKind, plural: bool) -> &'static str {
    let (one, many) = match kind {
        ValueKind::Ip => ("address", "addresses"),
        ValueKind::Network => ("network", "networks"),
        ValueKind::Country => ("country", "countries"),
        ValueKind::Asn => ("network operator", "network operators"),
        ValueKind::NetworkClass => ("class of network", "classes of network"),
        ValueKind::App => ("connected app", "connected apps"),
        ValueKind::AppId => ("id of a connected app", "ids of connected apps"),
        ValueKind::Client => ("client", "clients"),
        ValueKind::Channel => ("channel", "channels"),
        ValueKind::ApiFamily => ("API family", "API families"),
        ValueKind::ApiVersion => ("API version", "API versions"),
        ValueKind::Resource => ("resource", "resources"),
        ValueKind::Entity => ("object", "objects"),
        ValueKind::Action => ("kind of call", "kinds of call"),
        ValueKind::ActionEntity => ("kind of call on an object", "kinds of call on objects"),
        ValueKind::HttpMethod => ("HTTP method", "HTTP methods"),
    };
    if plural { many } else { one }
}

/// A list in words: `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_cannot_forge_a_sentence() {
        assert_eq!(name("a\u{202e}b\nc\u{1b}[31m"), "a\\u{202e}b\\u{a}c\\u{1b}[31m");
        assert!(name(&"x".repeat(65_536)).len() < 150);
        assert_eq!(name(""), "(blank)");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([number(4812.0), number(0.0), number(2.5), number(1_234_567.0)], ["4,812", "0", "2.5", "1,234,567"]);
        assert_eq!([percent(0.18), percent(0.021), percent(0.0)], ["18 %", "2.1 %", "0.0 %"]);
        assert_eq!(half_hours(&[4, 5, 6, 39]), "02:00–03:30, 19:30–20:00");
        assert_eq!(clock(1_760_034_877_652), "18:34");
    }
}
