//! What people said about anomalies: one line of JSON per verdict in `STORE/feedback.jsonl`, only ever added to.
//!
//! A verdict is about one subject on one night. `true` keeps that day out of the baseline for ever. `expected` stops the same
//! thing from alerting, and from being learned, until its date. `benign` lets the day be learned at once. Families of detectors
//! whose findings were confirmed get more weight in the next training, those that cried wolf less.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::anomaly::{SubjectType, anomaly_key};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::features::catalog::Family;

/// Name of the file in the store.
pub const FILE: &str = "feedback.jsonl";

/// Days that an `expected` verdict holds when nobody says until when.
pub const DEFAULT_DAYS: i32 = 30;

/// Longest reason, in bytes.
pub const MAX_REASON: usize = 4_096;

/// What an anomaly turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// An incident.
    True,
    /// A known change that lasts for a while.
    Expected,
    /// Harmless: a false alarm.
    Benign,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::True, Self::Expected, Self::Benign];

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Expected => "expected",
            Self::Benign => "benign",
        }
    }
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// See [`anomaly_key`].
    pub anomaly_key: String,
    /// What it was.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Last date on which an `expected` verdict holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// When it was said (RFC 3339). Decides nothing.
    pub at: String,
    /// The night.
    pub date: Date,
    /// Organisation.
    pub org_id: String,
    /// What was scored.
    pub subject_type: SubjectType,
    /// Its id.
    pub subject_id: String,
    /// Strongest family.
    pub family: Family,
    /// p-value of each family on that night.
    pub families: BTreeMap<Family, f64>,
}

/// The verdicts in force.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feedback {
    /// The last verdict on each anomaly, by date and key.
    entries: BTreeMap<(Date, String), Entry>,
}

/// Reads the verdicts of a file, in their order. A last line without its end was never acknowledged and is passed over;
/// anything else that is no verdict is [`Kind::Input`].
pub fn parse(bytes: &[u8], name: &str) -> Result<Vec<Entry>> {
    let whole = &bytes[..acknowledged(bytes)];
    let mut out = Vec::new();
    for (i, line) in whole.split(|b| *b == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let bad = |what: &str| Error::new(Kind::Input, format!("{name} line {}: {what}; restore the file", i + 1));
        let entry: Entry =
            serde_json::from_slice(line).map_err(|e| bad("expected a verdict, found something else").with_source(e))?;
        if entry.anomaly_key != anomaly_key(&entry.org_id, entry.subject_type, &entry.subject_id, entry.date) {
            return Err(bad("the key is not that of its subject and night"));
        }
        out.push(entry);
    }
    Ok(out)
}

/// Bytes up to the last whole line.
pub fn acknowledged(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

impl Feedback {
    /// The verdicts in force: of several on one anomaly the last.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().map(|e| ((e.date, e.anomaly_key.clone()), e)).collect() }
    }

    /// Nobody has said anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Verdicts on nights before `date`, in order.
    pub fn before(&self, date: Date) -> impl Iterator<Item = &Entry> {
        self.entries.range(..(date, String::new())).map(|(_, e)| e)
    }

    /// Verdicts on the night, in order.
    pub fn on(&self, date: Date) -> impl Iterator<Item = &Entry> {
        self.entries.range((date, String::new())..(date.plus(1), String::new())).map(|(_, e)| e)
    }

    /// Verdicts `expected` on this subject that hold on `date`.
    pub fn expected<'a>(
        &'a self,
        (org, subject, id): (&'a str, SubjectType, &'a str),
        date: Date,
    ) -> impl Iterator<Item = &'a Entry> {
        self.entries.range(..(date.plus(1), String::new())).map(|(_, e)| e).filter(move |e| {
            e.verdict == Verdict::Expected
                && e.until.is_some_and(|until| date <= until)
                && (e.org_id.as_str(), e.subject_type, e.subject_id.as_str()) == (org, subject, id)
        })
    }

    /// How many findings of each family up to `until` were confirmed, and how many were harmless.
    pub fn counts(&self, until: Date) -> [(f64, f64); 6] {
        let mut counts = [(0.0, 0.0); 6];
        for e in self.before(until.plus(1)) {
            let of_family = &mut counts[e.family as usize];
            match e.verdict {
                Verdict::True => of_family.0 += 1.0,
                Verdict::Benign => of_family.1 += 1.0,
                // A real change that somebody had planned: neither right nor wrong.
                Verdict::Expected => {}
            }
        }
        counts
    }

    /// Factors on the weights of the families: the posterior mean of each one's precision over that before any verdict.
    /// Without verdicts all are 1.
    pub fn factors(&self, until: Date) -> [f64; 6] {
        /// Beta prior of a family's precision: a coin, worth eight verdicts.
        const PRIOR: f64 = 4.0;
        /// No family is silenced, and none drowns the rest.
        const BOUNDS: (f64, f64) = (0.5, 2.0);
        self.counts(until).map(|(confirmed, harmless)| {
            let mean = (PRIOR + confirmed) / (2.0 * PRIOR + confirmed + harmless);
            (mean / 0.5).clamp(BOUNDS.0, BOUNDS.1)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(verdict: Verdict, id: &str, date: Date, family: Family) -> Entry {
        Entry {
            anomaly_key: anomaly_key("org", SubjectType::UserDay, id, date),
            verdict,
            reason: "because".into(),
            until: (verdict == Verdict::Expected).then(|| date.plus(DEFAULT_DAYS)),
            at: "2026-04-22T08:00:00Z".into(),
            date,
            org_id: "org".into(),
            subject_type: SubjectType::UserDay,
            subject_id: id.into(),
            family,
            families: Family::ALL.into_iter().map(|f| (f, if f == family { 1e-6 } else { 0.5 })).collect(),
        }
    }

    fn line(e: &Entry) -> String {
        serde_json::to_string(e).unwrap() + "\n"
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_damage_before_it_is_not() {
        let (a, b) =
            (entry(Verdict::True, "a", Date(5), Family::Count), entry(Verdict::Benign, "b", Date(6), Family::Time));
        let text = line(&a) + &line(&b);
        for cut in line(&a).len()..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut], "f").unwrap(), std::slice::from_ref(&a), "cut at {cut}");
        }
        assert_eq!(parse(text.as_bytes(), "f").unwrap(), [a.clone(), b.clone()]);
        assert_eq!(parse(b"", "f").unwrap(), []);
        let torn_in_the_middle = format!("{}\n{}", &line(&a)[..40], line(&b));
        let error = parse(torn_in_the_middle.as_bytes(), "f").unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().starts_with("f line 1: "), "{error}");
        let other = Entry { subject_id: "c".into(), ..a };
        assert!(parse(line(&other).as_bytes(), "f").unwrap_err().to_string().contains("not that of its subject"));
    }

    #[test]
    fn the_last_verdict_on_an_anomaly_holds() {
        let first = entry(Verdict::Expected, "a", Date(5), Family::Count);
        let second = Entry { verdict: Verdict::True, until: None, ..first.clone() };
        let feedback = Feedback::new([first, second]);
        let subject = ("org", SubjectType::UserDay, "a");
        assert_eq!(feedback.expected(subject, Date(6)).count(), 0);
        assert_eq!(feedback.on(Date(5)).map(|e| e.verdict).collect::<Vec<_>>(), [Verdict::True]);
        assert_eq!((feedback.on(Date(4)).count(), feedback.on(Date(6)).count()), (0, 0));
    }

    #[test]
    fn an_expected_verdict_holds_from_its_night_to_its_date() {
        let feedback = Feedback::new([entry(Verdict::Expected, "a", Date(5), Family::Count)]);
        let holds = |id, date| feedback.expected(("org", SubjectType::UserDay, id), Date(date)).count() == 1;
        assert!(holds("a", 5) && holds("a", 35));
        assert!(!holds("a", 4) && !holds("a", 36) && !holds("b", 5));
        assert_eq!(feedback.expected(("other", SubjectType::UserDay, "a"), Date(5)).count(), 0);
        assert_eq!(feedback.expected(("org", SubjectType::AppDay, "a"), Date(5)).count(), 0);
    }

    #[test]
    fn weights_follow_precision_within_bounds_and_are_equal_without_verdicts() {
        assert_eq!(Feedback::default().factors(Date(99)), [1.0; 6]);
        let mut said: Vec<Entry> =
            (0..4).map(|i| entry(Verdict::True, &format!("t{i}"), Date(5), Family::Novelty)).collect();
        said.extend((0..4).map(|i| entry(Verdict::Benign, &format!("b{i}"), Date(5), Family::Time)));
        said.push(entry(Verdict::Expected, "e", Date(5), Family::Rate));
        let feedback = Feedback::new(said.clone());
        let factors = feedback.factors(Date(5));
        // (4 + 4) / 12 and 4 / 12, over 1/2.
        assert!((factors[Family::Novelty as usize] - 4.0 / 3.0).abs() < 1e-12);
        assert!((factors[Family::Time as usize] - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((factors[Family::Rate as usize], factors[Family::Count as usize]), (1.0, 1.0));
        assert_eq!(feedback.factors(Date(4)), [1.0; 6], "a later verdict is not known yet");
        said.extend((0..500).map(|i| entry(Verdict::Benign, &format!("x{i}"), Date(5), Family::Time)));
        assert_eq!(Feedback::new(said).factors(Date(5))[Family::Time as usize], 0.5);
    }
}
