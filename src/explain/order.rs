//! Sentences about the order of calls.

use super::sentence::Said;
use super::words::{clock, name, number, percent};
use crate::detectors::{Fact, SessionOf};

/// What a fact of the family sequence says.
pub(super) fn say(fact: &Fact) -> Said {
    match fact {
        Fact::Order { session, before, step, gap, p, usual, nearest, request_ids: _ } => {
            let session = subject(session);
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
            let nearest = nearest.as_ref().map_or("No usual session is like it.".to_owned(), |(steps, times)| {
                let times = if *times == 1.0 { "once".to_owned() } else { format!("{} times", number(*times)) };
                format!("The usual session most like it (seen {times}): {}.", path(steps))
            });
            Said {
                feature: "order of calls".into(),
                observed: if step.is_empty() { "end".to_owned() } else { name(step) },
                expected: usually.map_or_else(String::new, |(_, next)| next),
                low: 0.0,
                high: 0.0,
                sentence: format!("{session} {strange}, which is the case {} times{instead}. {nearest}", one_in(*p)),
            }
        }
        Fact::Stranger { session, likelier } => Said {
            feature: "steps of another".into(),
            observed: format!("{}× likelier for others", number(*likelier)),
            expected: "likelier for this user".into(),
            low: 0.0,
            high: 1.0,
            sentence: format!(
                "{} is made of steps that others take in this order and this user does not: on average {} times likelier for them.",
                subject(session),
                number(*likelier)
            ),
        },
        _ => unreachable!("asked about the order of calls alone"),
    }
}

/// A session as the subject of a sentence.
pub(super) fn subject(of: &SessionOf) -> String {
    format!(
        "The session {}–{} UTC ({} from {}, {} {})",
        clock(of.start_ms),
        clock(of.end_ms),
        name(&of.channel),
        name(&of.ip),
        number(of.calls),
        if of.calls == 1.0 { "call" } else { "calls" }
    )
}

/// Steps in their order, equal ones counted; of many the first and how many more there are.
fn path(steps: &[String]) -> String {
    const NAMED: usize = 8;
    let runs: Vec<&[String]> = steps.chunk_by(|a, b| a == b).collect();
    let shown = runs.iter().take(NAMED).map(|run| match run.len() {
        1 => name(&run[0]),
        times => format!("{} ×{times}", name(&run[0])),
    });
    let named = shown.collect::<Vec<_>>().join(" → ");
    let more: usize = runs.iter().skip(NAMED).map(|run| run.len()).sum();
    if more > 0 { format!("{named} → {more} more") } else { named }
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

    fn session(calls: f64) -> SessionOf {
        let start_ms = 1_767_276_120_000;
        SessionOf {
            channel: "Bulk Tool".into(),
            ip: "198.51.100.7".into(),
            start_ms,
            end_ms: start_ms + 600_000,
            calls,
        }
    }

    fn order(before: &str, step: &str, usual: Option<(String, f64)>, nearest: Option<(&[&str], f64)>) -> String {
        let [before, step] = [before, step].map(str::to_owned);
        let nearest = nearest.map(|(steps, times)| (steps.iter().map(|s| (*s).to_owned()).collect(), times));
        let fact = Fact::Order {
            session: session(9.0),
            before,
            step,
            gap: 5,
            p: 1e-4,
            usual,
            nearest,
            request_ids: Vec::new(),
        };
        say(&fact).sentence
    }

    #[test]
    fn the_strangest_step_is_told_with_what_usually_follows() {
        assert_eq!(
            order(
                "bulk_result",
                "bulk_delete",
                Some(("bulk_poll".into(), 0.83)),
                Some((&["bulk_result", "bulk_poll", "bulk_poll"], 31.0))
            ),
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7, 9 calls) went on with bulk_delete within two minutes after bulk_result, \
             which is the case one in 10,000 times; bulk_poll (83 %) usually follows there. The usual session most like it (seen 31 times): bulk_result → bulk_poll ×2."
        );
        assert_eq!(
            order("", "bulk_delete", None, None),
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7, 9 calls) began with bulk_delete, which is the case one in 10,000 times. No usual \
             session is like it."
        );
        assert_eq!(
            order("bulk_create", "", Some(("bulk_poll".into(), 0.9)), None),
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7, 9 calls) ended after bulk_create, which is the case one in 10,000 times; \
             bulk_poll (90 %) usually follows there. No usual session is like it."
        );
    }

    #[test]
    fn names_in_steps_cannot_direct_a_terminal() {
        let nearest: &[&str] = &["a\u{1b}]0;x\u{7}", "\u{200f}b"];
        let said = order("query \u{1b}[31m\u{202e}x", "query a\nb", Some(("\u{7}".into(), 0.5)), Some((nearest, 1.0)));
        assert!(!said.contains(['\u{1b}', '\u{202e}', '\u{200f}', '\n', '\u{7}']), "{said:?}");
    }

    #[test]
    fn a_session_of_others_is_told_with_its_calls() {
        let fact = Fact::Stranger { session: session(1.0), likelier: 34.2 };
        assert_eq!(
            say(&fact).sentence,
            "The session 14:02–14:12 UTC (Bulk Tool from 198.51.100.7, 1 call) is made of steps that others take in this order and this \
             user does not: on average 34 times likelier for them."
        );
    }
}
