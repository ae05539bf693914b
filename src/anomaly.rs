//! The product: one ranked anomaly, and what one run says of itself. Everything that prints, writes or evaluates
//! works on these types; the columns are a contract (`docs/contracts.md`).

pub mod picture;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::date::Date;
use crate::features::catalog::Family;

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectType {
    /// A user on a date.
    UserDay,
    /// A session.
    Session,
    /// An app or client on a date.
    AppDay,
    /// A client address on a date.
    IpDay,
    /// The organisation on a date.
    OrgDay,
}

impl SubjectType {
    /// The kebab-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserDay => "user-day",
            Self::Session => "session",
            Self::AppDay => "app-day",
            Self::IpDay => "ip-day",
            Self::OrgDay => "org-day",
        }
    }
}

/// The five categories of anomalies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// How much.
    Volume,
    /// When.
    Temporal,
    /// From where, with which app or client.
    Identity,
    /// Refusals and failures.
    Error,
    /// What is accessed, and in which order.
    Behavioral,
}

impl Category {
    /// The lower-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Temporal => "temporal",
            Self::Identity => "identity",
            Self::Error => "error",
            Self::Behavioral => "behavioral",
        }
    }
}

/// How bad, a fixed function of the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Score below 40.
    Info,
    /// Score 40 and above.
    Low,
    /// Score 60 and above.
    Medium,
    /// Score 75 and above.
    High,
    /// Score 85 and above.
    Critical,
}

impl Severity {
    /// The severity of a score.
    pub fn of(score: f64) -> Self {
        match score {
            s if s >= 85.0 => Self::Critical,
            s if s >= 75.0 => Self::High,
            s if s >= 60.0 => Self::Medium,
            s if s >= 40.0 => Self::Low,
            _ => Self::Info,
        }
    }

    /// The lower-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Whether the subject was already reported lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// First night.
    New,
    /// Same subject and top family within the last 7 nights, and not ten times less likely than then.
    Ongoing,
}

impl Status {
    /// The lower-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ongoing => "ongoing",
        }
    }
}

/// One piece of evidence. Numbers are finite; a bound that has no meaning equals `expected`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Family it belongs to.
    pub family: Family,
    /// The detector that found it.
    pub detector: String,
    /// The feature or value kind looked at.
    pub feature: String,
    /// What was seen, for people (`4,812 calls`, `203.0.113.9`).
    pub observed: String,
    /// What is usual, for people.
    pub expected: String,
    /// Lower end of the usual range.
    pub low: f64,
    /// Upper end of the usual range.
    pub high: f64,
    /// Probability of something at least this odd on a normal day, before fusion.
    pub p_value: f64,
    /// Share of the fused evidence, 0..=1.
    pub contribution: f64,
    /// One sentence made of checkable facts.
    pub sentence: String,
}

/// One ranked subject of one night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The scored night.
    pub date: Date,
    /// 1 is the oddest of the night.
    pub rank: u32,
    /// Within the alert budget and the false discovery rate; the rest is the watch list.
    pub reported: bool,
    /// Id of the subject within its type.
    pub subject_id: String,
    /// All users touched, at most 100.
    pub user_ids: Vec<String>,
    /// See [`anomaly_key`].
    pub anomaly_key: String,
    /// 0–100, a fixed map of `p_value`.
    pub score: f64,
    /// From the score.
    pub severity: Severity,
    /// Probability of a subject at least this odd on a normal night.
    pub p_value: f64,
    /// Benjamini–Hochberg q-value within the night and organisation.
    pub q_value: f64,
    /// New or ongoing.
    pub status: Status,
    /// Category of the strongest evidence.
    pub category: Category,
    /// What was scored.
    pub subject_type: SubjectType,
    /// Organisation.
    pub org_id: String,
    /// The user, if exactly one is touched.
    pub user_id: Option<String>,
    /// Name of that user.
    pub user_name: Option<String>,
    /// App id, if one stands out.
    pub app_id: Option<String>,
    /// App, client or channel name, if one stands out.
    pub app_name: Option<String>,
    /// Client addresses involved, the oddest first.
    pub source_ips: Vec<String>,
    /// Countries involved, the oddest first.
    pub countries: Vec<String>,
    /// Start of the window, ms since the epoch, within `date`.
    #[serde(with = "crate::date::rfc3339")]
    pub window_start: i64,
    /// End of the window, ms since the epoch, within `date`.
    #[serde(with = "crate::date::rfc3339")]
    pub window_end: i64,
    /// A short headline.
    pub title: String,
    /// The story in a few sentences.
    pub story: String,
    /// Calls of the subject.
    pub event_count: u64,
    /// Of these, calls with status 400 or above.
    pub error_count: u64,
    /// The evidence, the strongest first.
    pub evidence: Vec<Evidence>,
    /// Up to 20 request ids to look up in the source.
    pub request_ids: Vec<String>,
    /// Model name.
    pub model_name: String,
    /// Model version.
    pub model_version: u32,
    /// BLAKE3 of the model's manifest.
    pub model_digest: String,
    /// Version of the engine.
    pub engine_version: String,
    /// What the page draws of a user's day; in no data file, so that an anomaly read from one has none.
    #[serde(skip)]
    pub picture: Option<Box<picture::Picture>>,
}

/// Lower-case hex SHA-256 over the length-prefixed (u64, little-endian) UTF-8 of organisation, subject type, subject
/// id and date: one anomaly per subject and night, whatever its score, so that a re-score updates it.
pub fn anomaly_key(org_id: &str, subject_type: SubjectType, subject_id: &str, date: Date) -> String {
    let mut hasher = Sha256::new();
    for part in [org_id, subject_type.name(), subject_id, &date.to_string()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex::encode(hasher.finalize())
}

/// What one night looked like: counts for the one-line summary and the health section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightSummary {
    /// The night.
    pub date: Date,
    /// Organisation.
    pub org_id: String,
    /// Events of the day.
    pub events: u64,
    /// Subjects scored (sessions folded into their user-day).
    pub subjects: u64,
    /// Subjects reported.
    pub reported: u64,
    /// Subjects that would have been reported if they did not belong to an announced change, or had not been found expected.
    #[serde(default)]
    pub announced: u64,
    /// Subjects that would have been reported if the night's budget were larger.
    #[serde(default)]
    pub over_budget: u64,
    /// Users with less history than the minimum; their evidence leans on their peers.
    pub cold_users: u64,
    /// Gates that tripped.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// How much of the day was seen.
    #[serde(default)]
    pub coverage: Coverage,
    /// Other remarks, for people.
    pub notes: Vec<String>,
    /// What the page draws of the day; in no data file.
    #[serde(skip)]
    pub picture: Option<Box<picture::OrgPicture>>,
}

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateKind {
    /// The log lost or gained a column.
    SchemaDrift,
    /// Features lie elsewhere than in training.
    FeatureDrift,
    /// Far more or fewer calls than usual.
    Volume,
    /// Users or hours are missing.
    PartialDay,
    /// Days before the night have no data.
    MissingDay,
    /// The training was long ago.
    ModelAge,
}

impl GateKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::SchemaDrift, Self::FeatureDrift, Self::Volume, Self::PartialDay, Self::MissingDay, Self::ModelAge];

    /// The kebab-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SchemaDrift => "schema-drift",
            Self::FeatureDrift => "feature-drift",
            Self::Volume => "volume",
            Self::PartialDay => "partial-day",
            Self::MissingDay => "missing-day",
            Self::ModelAge => "model-age",
        }
    }
}

/// A gate that tripped: something keeps the night from being trusted as it is. It is published all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Which.
    pub gate: GateKind,
    /// What was found and what to do, for people.
    pub message: String,
}

/// How much of an organisation's day was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Half-hours with a call, of 48.
    pub half_hours: u64,
    /// Half-hours in which somebody is usually active on such a day.
    pub usual_half_hours: u64,
    /// Stretches without a call in which there nearly always are some.
    pub silent: Vec<String>,
    /// Files of the whole day.
    pub daily_files: u64,
    /// Files of an hour.
    pub hourly_files: u64,
    /// Files that do not say what they cover, or came with rows of other dates: late ones.
    pub other_files: u64,
    /// Of all these, files that a later daily one replaced.
    pub superseded_files: u64,
    /// Files that are missing, shorter than what they replaced, or late, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// What a run says of itself (`run.json`). No wall-clock time, duration, path, host or thread count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Layout version of the run folder.
    pub format_version: u32,
    /// Version of the engine.
    pub engine_version: String,
    /// Model name.
    pub model_name: String,
    /// Model version.
    pub model_version: u32,
    /// BLAKE3 of the model's manifest.
    pub model_digest: String,
    /// BLAKE3 over the digests of every partition that was read.
    pub input_digest: String,
    /// True if a scored date lies within the model's training window.
    pub in_sample: bool,
    /// One entry per (night, organisation).
    pub nights: Vec<NightSummary>,
    /// Requested dates without data.
    pub missing_dates: Vec<Date>,
    /// Families of detectors that did not run, with the reason.
    #[serde(default)]
    pub not_run: Vec<String>,
}

impl RunInfo {
    /// Did a gate trip, or is there a remark or a date without data?
    pub fn tripped(&self) -> bool {
        let of_night = |n: &NightSummary| !n.gates.is_empty() || !n.notes.is_empty();
        self.nights.iter().any(of_night) || !self.missing_dates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_subject_and_night_alone() {
        // Python 3.11: hashlib.sha256 over struct.pack("<Q", len(part)) + part for each of the four parts.
        let key = anomaly_key("o", SubjectType::UserDay, "u", Date(0));
        assert_eq!(key, "53915e0a7792e936b9acff6e01b5af4375675d50a13034ef6240a10c5ee6bcb9");
        assert_ne!(key, anomaly_key("ou", SubjectType::UserDay, "", Date(0)));
    }

    #[test]
    fn severity_steps_at_the_documented_scores() {
        let steps = [
            (39.9, Severity::Info),
            (40.0, Severity::Low),
            (60.0, Severity::Medium),
            (75.0, Severity::High),
            (85.0, Severity::Critical),
        ];
        for (score, severity) in steps {
            assert_eq!(Severity::of(score), severity);
        }
    }
}
