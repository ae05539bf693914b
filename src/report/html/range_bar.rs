//! A small picture of one observed number against its usual range, for evidence that has both.

use maud::{Markup, html};

use super::super::escape::clip;
use crate::anomaly::Evidence;

const WIDTH: f64 = 120.0;
/// Longest phrase that is read out.
const LONGEST: usize = 80;
/// Room at both ends, so that a mark at the edge is drawn whole.
const MARGIN: f64 = 5.0;

/// The bar; nothing where the evidence has no range, or its numbers cannot be told from its words.
pub(super) fn render(e: &Evidence) -> Markup {
    let Some((observed, low, high)) = numbers(e) else { return html! {} };
    let (from, to) = (low.min(observed), high.max(observed));
    let x = |value: f64| MARGIN + (value - from) / (to - from) * (WIDTH - 2.0 * MARGIN);
    // A range that is tiny beside the observed value still has to be seen.
    let (left, width) = (x(low), (x(high) - x(low)).max(3.0));
    let label = format!("observed {}, usual about {}", clip(&e.observed, LONGEST), clip(&e.expected, LONGEST));
    let coordinate = |value: f64| format!("{value:.1}");
    html! {
        svg role="img" aria-label=(label) width="120" height="16" viewBox="0 0 120 16" {
            line.axis x1="0" y1="8" x2="120" y2="8" {}
            rect.usual x=(coordinate(left)) y="4" width=(coordinate(width)) height="8" rx="2" {}
            circle.seen cx=(coordinate(x(observed))) cy="8" r="4" {}
        }
    }
}

/// Observed value and usual range in one unit. The observed number is known only in words (`4,812 calls`, `18 %`), so
/// its unit is taken as right if the expected number, written the same way, lies within the range.
fn numbers(e: &Evidence) -> Option<(f64, f64, f64)> {
    let (observed, expected) = (leading_number(&e.observed)?, leading_number(&e.expected)?);
    // What is printed is rounded.
    let slack = 0.06 * expected + if e.expected.contains('%') { 0.005 } else { 0.0 };
    let comparable = e.low < e.high && (e.low - slack..=e.high + slack).contains(&expected);
    comparable.then_some((observed, e.low, e.high))
}

/// The number that a phrase begins with, as evidence counts: durations in milliseconds, percentages as shares. An address, a version or a clock time is none.
fn leading_number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == ',' || c == '.')).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if !matches!(rest.chars().next(), None | Some(' ' | '%' | '–' | '\u{a0}' | '\u{202f}')) {
        return None;
    }
    let unit = match rest.split_whitespace().next() {
        Some("s") => 1_000.0,
        Some("min") => 60_000.0,
        Some("h") => 3_600_000.0,
        Some("%") => 0.01,
        _ => 1.0,
    };
    number.replace(',', "").parse::<f64>().ok().map(|number| number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::catalog::Family;
    use crate::report::sample;

    fn evidence(observed: &str, expected: &str, low: f64, high: f64) -> Evidence {
        Evidence { observed: observed.into(), expected: expected.into(), low, high, ..sample::evidence(Family::Count) }
    }

    #[test]
    fn only_comparable_numbers_are_drawn() {
        assert_eq!(numbers(&evidence("4,812 calls", "1,200", 900.0, 1500.0)), Some((4812.0, 900.0, 1500.0)));
        let gap = evidence("2.0 h", "8 min", 33_326.8, 4_835_084.9);
        assert_eq!(numbers(&gap), Some((7_200_000.0, 33_326.8, 4_835_084.9)));
        assert_eq!(numbers(&evidence("18 %", "2 %", 0.01, 0.04)), Some((0.18, 0.01, 0.04)));
        assert_eq!(numbers(&evidence("12 calls", "10–14 calls", 10.0, 14.0)), Some((12.0, 10.0, 14.0)));
        for (observed, expected, low, high) in [
            ("203.0.113.9", "none", 0.0, 1.0),
            ("19:00", "03:00", 0.0, 4.0),
            ("v59.0", "v64.0", 0.0, 1.0),
            ("4,812 calls", "1,200", 1200.0, 1200.0),
            ("4,812 calls", "1,200", 90_000.0, 95_000.0),
            ("4,812 calls", "1,200", f64::NAN, 1500.0),
        ] {
            assert_eq!(numbers(&evidence(observed, expected, low, high)), None, "{observed}");
        }
    }

    #[test]
    fn the_mark_stays_inside_the_picture() {
        let svg = render(&evidence("1,000,000", "3", 2.0, 5.0)).into_string();
        assert!(svg.contains("cx=\"115.0\""), "{svg}");
        assert!(svg.contains("width=\"3.0\""), "{svg}");
        assert!(render(&evidence("0 calls", "3", 2.0, 5.0)).into_string().contains("cx=\"5.0\""));
    }
}
