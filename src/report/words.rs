//! The words and numbers that the page and the terminal share.

use crate::anomaly::{Anomaly, NightSummary, Status};

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `n` and its noun: `1 subject`, `1,200 subjects`.
pub fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// A probability as `1 in 3,300`: two significant digits, words from a million on. 1 and above (and not-a-number, which
/// no checked row holds) say `expected`.
pub fn one_in(p: f64) -> String {
    if !(0.0..1.0).contains(&p) {
        return "expected".to_owned();
    }
    if p < 1e-12 {
        return "less than 1 in a trillion".to_owned();
    }
    let n = 1.0 / p;
    for (size, word) in [(1e12, "trillion"), (1e9, "billion"), (1e6, "million")] {
        // Rounding must not print "1,000 million".
        if n >= 0.9995 * size {
            let n = n / size;
            return if n < 9.95 {
                format!("1 in {n:.1} {word}").replace(".0 ", " ")
            } else {
                format!("1 in {n:.0} {word}")
            };
        }
    }
    if n < 9.95 {
        return format!("1 in {n:.1}").replace(".0", "");
    }
    let step = 10f64.powf((n.log10().floor() - 1.0).max(0.0));
    format!("1 in {}", thousands(((n / step).round() * step) as u64))
}

/// A share 0..=1 as a whole percentage; the space does not break.
pub fn percent(share: f64) -> String {
    format!("{:.0}\u{a0}%", share * 100.0)
}

/// The score without needless digits.
pub fn score(score: f64) -> String {
    // Rounding up must not lift a score over a severity step that it did not reach.
    format!("{:.0}", score.floor())
}

/// What happened in one line: `3 of 214 subjects stand out`, or that the night was calm.
pub fn headline(reported: u64, subjects: u64, ongoing: u64) -> String {
    match (reported, subjects) {
        (0, 0) => "Nothing scored".to_owned(),
        (0, _) if ongoing > 0 => format!("Nothing new, {} ongoing", count(ongoing, "case")),
        (0, _) => "Calm: nothing to report".to_owned(),
        (1, _) => format!("1 of {} stands out", count(subjects, "subject")),
        _ => format!("{} of {} stand out", thousands(reported), count(subjects, "subject")),
    }
}

/// The rows of one night and organisation, in rank order.
pub fn rows_of<'a>(summary: &NightSummary, anomalies: &'a [Anomaly]) -> Vec<&'a Anomaly> {
    let mut rows: Vec<_> = anomalies.iter().filter(|a| a.date == summary.date && a.org_id == summary.org_id).collect();
    rows.sort_by_key(|a| a.rank);
    rows
}

/// Who an anomaly is about: the name where there is one, else the id.
pub fn subject(a: &Anomaly) -> &str {
    let named = a.user_name.as_deref().or(a.user_id.as_deref()).or(a.app_name.as_deref());
    named.filter(|name| !name.is_empty()).unwrap_or(&a.subject_id)
}

/// The rows of a night that repeat an open case without being an alert again.
pub fn ongoing<'a>(summary: &NightSummary, anomalies: &'a [Anomaly]) -> Vec<&'a Anomaly> {
    rows_of(summary, anomalies).into_iter().filter(|a| a.status == Status::Ongoing && !a.reported).collect()
}

/// A number with at most four significant digits.
pub fn short(x: f64) -> String {
    if x == x.trunc() && x.abs() < 1e9 {
        return format!("{x}");
    }
    let digits = (3 - x.abs().max(1e-9).log10().floor() as i32).clamp(0, 6) as usize;
    format!("{x:.digits$}")
}

/// What would have been reported and was not, and why: silence that was asked for must not look like calm.
pub(crate) fn muted(summary: &NightSummary) -> Vec<String> {
    let mut out = Vec::new();
    if summary.announced > 0 {
        out.push(format!(
            "not reported, because announced or found to be expected: {}",
            count(summary.announced, "finding")
        ));
    }
    if summary.over_budget > 0 {
        let found = count(summary.over_budget, "finding");
        out.push(format!("not reported, because the night's budget is spent (alerts.per-night): {found}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1, "night"), "1 night");
        assert_eq!(percent(0.625), "62\u{a0}%");
        assert_eq!(score(84.9), "84", "84.9 is not critical");
    }

    #[test]
    fn probabilities_read_as_odds() {
        let cases = [
            (0.5, "1 in 2"),
            (0.3, "1 in 3.3"),
            (0.1, "1 in 10"),
            (0.003, "1 in 330"),
            (0.0003, "1 in 3,300"),
            (1e-6, "1 in 1 million"),
            (4e-8, "1 in 25 million"),
            (1e-12, "1 in 1 trillion"),
            (0.0, "less than 1 in a trillion"),
            (1.0, "expected"),
            (f64::NAN, "expected"),
        ];
        for (p, words) in cases {
            assert_eq!(one_in(p), words);
        }
    }

    #[test]
    fn a_night_has_one_headline() {
        assert_eq!(headline(3, 214, 0), "3 of 214 subjects stand out");
        assert_eq!(headline(1, 214, 2), "1 of 214 subjects stands out");
        assert_eq!(headline(0, 214, 0), "Calm: nothing to report");
        assert_eq!(headline(0, 214, 1), "Nothing new, 1 case ongoing");
        assert_eq!(headline(0, 0, 0), "Nothing scored");
    }
}
