//! Sentences about the order of calls.

use super::sentence::Said;
use super::words::{clock, name, number, percent};
use crate::detectors::Fact;

/// What a fact of the family sequence says.
pub(super) fn say(fact: &Fact) -> Said {
    match fact {
        Fact::Order { channel, ip, start_ms, end_ms, before, step, gap, p, usual, request_ids: _ } => {
            let session = session(*start_ms, *end_ms, channel, ip, None);
            let after = if before.is_empty() { String::new() } else { format!(" after {}", name(before)) };
            let strange = match (step.is_empty(), before.is_empty()) {
                (true, _) => format!("ended{after}"),
                (false, true) => format!("began with {}", name(step)),
                (false, false) => format!("went on with {}{}{after}", name(step), within(*gap)),
            };
            let usually = usual.as_ref().map(|(next, p)| {
                let next = if next.is_empty() { "its end".to_owned() } else { name(next) };
                (format!("{next} ({})", percent(*p)), next)
            });
            let instead = usually.as_ref().map_or(String::new(), |(said, _)| format!("; {said} usually follows there"));
            Said {
                feature: "order of calls".into(),
                observed: if step.is_empty() { "end".to_owned() } else { name(step) },
                expected: usually.map_or_else(String::new, |(_, next)| next),
                low: 0.0,
                high: 0.0,
                sentence: format!("{session} {strange}, which is the case {} times{instead}.", one_in(*p)),
            }
        }
        Fact::Stranger { channel, ip, start_ms, end_ms, calls, likelier } => Said {
            feature: "steps of another".into(),
            observed: format!("{}× likelier for others", number(*likelier)),
            expected: "likelier for this user".into(),
            low: 0.0,
            high: 1.0,
            sentence: format!(
                "{} is made of steps that others take in this order and this user does not: on average {} times likelier for them.",
                session(*start_ms, *end_ms, channel, ip, Some(*calls)),
                number(*likelier)
            ),
        },
        _ => unreachable!("asked about the order of calls alone"),
    }
}

/// A session as the subject of a sentence.
fn session(start_ms: i64, end_ms: i64, channel: &str, ip: &str, calls: Option<f64>) -> String {
    let calls = calls.map_or(String::new(), |n| format!(", {} {}", number(n), if n == 1.0 { "call" } else { "calls" }));
    format!("The session {}–{} UTC ({} from {}{calls})", clock(start_ms), clock(end_ms), name(channel), name(ip))
}

/// The time behind a step, by `features::gap_bucket`.
fn within(gap: u8) -> &'static str {
    match gap {
        1..=3 => " within a second",
        4 => " within ten seconds",
        5 => " within two minutes",
        6 => " within a quarter of an hour",
        _ => "",
    }
}

/// A probability as a rate.
fn one_in(p: f64) -> String {
    if p >= 0.5 { percent(p) } else { format!("one in {}", number((1.0 / p.max(1e-12)).round())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(before: &str, step: &str, usual: Option<(String, f64)>) -> String {
        let [channel, ip, before, step] = ["Bulk Tool", "198.51.100.7", before, step].map(str::to_owned);
        let start_ms = 1_767_276_120_000;
        let end_ms = start_ms + 600_000;
        let request_ids = Vec::new();
        say(&Fact::Order { channel, ip, start_ms, end_ms, before, step, gap: 5, p: 1e-4, usual, request_ids }).sentence
    }

    #[test]
    fn the_strangest_step_is_told_with_what_usually_follows() {
        assert_eq!(
            order("bulk_result", "bulk_delete", Some(("bulk_poll".into(), 0.83))),
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7) went on with bulk_delete within two minutes after bulk_result, \
             which is the case one in 10,000 times; bulk_poll (83 %) usually follows there."
        );
        assert_eq!(
            order("", "bulk_delete", None),
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7) began with bulk_delete, which is the case one in 10,000 times."
        );
        assert_eq!(
            order("bulk_create", "", Some(("bulk_poll".into(), 0.9))),
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7) ended after bulk_create, which is the case one in 10,000 times; \
             bulk_poll (90 %) usually follows there."
        );
    }

    #[test]
    fn names_in_steps_cannot_direct_a_terminal() {
        let said = order("query \u{1b}[31m\u{202e}x", "query a\nb", Some(("\u{7}".into(), 0.5)));
        assert!(!said.contains(['\u{1b}', '\u{202e}', '\n', '\u{7}']), "{said:?}");
    }

    #[test]
    fn a_session_of_others_is_told_with_its_calls() {
        let fact = Fact::Stranger {
            channel: "Bulk Tool".into(),
            ip: "198.51.100.7".into(),
            start_ms: 0,
            end_ms: 60_000,
            calls: 1.0,
            likelier: 34.2,
        };
        assert_eq!(
            say(&fact).sentence,
            "The session 00:00–00:01 UTC (Bulk Tool from 198.51.100.7, 1 call) is made of steps that others take in this order and this \
             user does not: on average 34 times likelier for them."
        );
    }
}
