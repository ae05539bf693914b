//! What the code runs on: every setting resolved and checked, none optional for "unset".
//!
//! `options` says what a TOML file may contain; this is what comes out after defaults, files and flags are merged.
//! Settings are stored whole in a model version, so every field serialises. A field that an older model does not have
//! takes its default. [`Run`] holds what belongs to one installation instead, and never reaches a model.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::anomaly::Severity;
use crate::date::Date;
use crate::features::catalog::Family;

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Limits on untrusted input.
    pub limits: Limits,
    /// What is known about networks, apps and users.
    pub enrich: Enrich,
    /// How behaviour is learned.
    pub baseline: Baseline,
    /// The rules people know, as detectors.
    pub rules: Rules,
    /// How families are weighed.
    pub fusion: Fusion,
    /// Detectors over whole feature vectors.
    pub geometry: Geometry,
    /// The sequence family.
    pub sequence: Sequence,
    /// How scores become p-values.
    pub calibration: Calibration,
    /// What is reported.
    pub alerts: Alerts,
    /// What is kept in the ranked file.
    pub ranking: Ranking,
    /// What is expected and not to be alerted on.
    pub expected: Expected,
    /// From when on a night is not to be trusted as it is.
    pub gates: Gates,
    /// What is written beside the fixed files.
    pub outputs: Outputs,
}

impl Settings {
    /// The settings as a model keeps them: of `enrich.networks` only the file names and of the paths in `outputs` nothing, so that the
    /// same training in another folder gives the same bytes. What those files said is held by the digests of the partitions.
    #[must_use]
    pub fn portable(&self) -> Self {
        let name = |path: &String| {
            let name = Path::new(path).file_name();
            name.map_or_else(|| path.clone(), |name| name.to_string_lossy().into_owned())
        };
        let networks = self.enrich.networks.iter().map(name).collect();
        let outputs = Outputs { metrics: String::new(), ocsf: String::new(), ..self.outputs.clone() };
        Self { enrich: Enrich { networks, ..self.enrich.clone() }, outputs, ..self.clone() }
    }
}

/// Limits on untrusted input. Exceeding one ends the command with exit code 4 and nothing half-written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Largest tolerated share of quarantined rows in one file, 0..=1.
    pub bad_row_share: f64,
    /// Longest line (CSV record, JSON line) in bytes.
    pub line_bytes: u64,
    /// Largest decompressed size over compressed size of one file.
    pub decompression_ratio: f64,
    /// Largest decompressed size of one file in bytes.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bad_row_share: 0.05, line_bytes: 1 << 20, decompression_ratio: 1_000.0, file_bytes: 64 << 30 }
    }
}

/// What is known about networks, apps and users (the four lists of published hardening guides, and change windows).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Enrich {
    /// CSV (`network,country,asn,as_name,class`, optional `city`) or MMDB files; overrides the built-in country table.
    pub networks: Vec<String>,
    /// Corporate egress ranges (CIDR).
    pub corporate_ranges: Vec<String>,
    /// Connected apps that are allowed; empty means no list is kept.
    pub allowed_apps: Vec<String>,
    /// User ids or names of known integrations.
    pub integration_users: Vec<String>,
    /// Autonomous system numbers of VPN providers.
    pub vpn_asns: Vec<u32>,
    /// Autonomous system numbers of Tor exits.
    pub tor_asns: Vec<u32>,
}

/// How behaviour is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Baseline {
    /// Half-life of the slow memory, days.
    pub half_life_days: f64,
    /// Half-life of the fast memory, days.
    pub fast_half_life_days: f64,
    /// Days of the organisation's history before anything is scored.
    pub min_history_days: u32,
    /// A night with a final p below this is not learned from until 7 days have passed.
    pub no_learning_below: f64,
}

impl Default for Baseline {
    fn default() -> Self {
        Self { half_life_days: 28.0, fast_half_life_days: 7.0, min_history_days: 14, no_learning_below: 1e-3 }
    }
}

/// The rules people know. They are facts in the evidence and detectors beside the learned ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Rules {
    /// Days over which medians and percentiles are taken, 14..=30.
    pub window_days: u32,
    /// Volume above this multiple of the median.
    pub median_ratio: f64,
    /// Volume above mean + this many standard deviations.
    pub sigmas: f64,
    /// Error rate above usual by this many percentage points.
    pub error_points: f64,
    /// A new value matters from this many calls on.
    pub new_value_min_calls: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { window_days: 30, median_ratio: 2.0, sigmas: 3.0, error_points: 10.0, new_value_min_calls: 50 }
    }
}

/// Weights of the evidence families; they are normalised to sum 1 over the families that spoke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fusion {
    /// Weight of counts.
    pub count: f64,
    /// Weight of rates.
    pub rate: f64,
    /// Weight of time.
    pub time: f64,
    /// Weight of novelty.
    pub novelty: f64,
    /// Weight of sequences.
    pub sequence: f64,
    /// Weight of geometry; with 0, the default, nights are scored without it (docs/detectors.md says why).
    pub geometry: f64,
}

impl Default for Fusion {
    fn default() -> Self {
        Self { count: 1.0, rate: 1.0, time: 1.0, novelty: 1.0, sequence: 1.0, geometry: 0.0 }
    }
}

impl Fusion {
    /// The weight of a family.
    pub fn weight(&self, family: Family) -> f64 {
        match family {
            Family::Count => self.count,
            Family::Rate => self.rate,
            Family::Time => self.time,
            Family::Novelty => self.novelty,
            Family::Sequence => self.sequence,
            Family::Geometry => self.geometry,
        }
    }
}

/// What grows the extended isolation forest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForestBackend {
    /// Our own: seeded, of any width, on all threads.
    #[default]
    Quietwatch,
    /// The crate of that name: unseeded, so no two trainings are equal; at most
    /// 32 columns; one thread.
    ExtendedIsolationForest,
}

/// Detectors over whole feature vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Geometry {
    /// What grows the extended isolation forest.
    pub backend: ForestBackend,
    /// Trees of the extended isolation forest.
    pub trees: u32,
    /// Rows that a tree is grown from.
    pub sample: u32,
    /// Extension level: a cut involves this many columns and one more.
    pub level: u32,
    /// Most rows that distances are measured to.
    pub references: u32,
    /// Members that count on tables; the others are computed, with weight 0.
    pub members: Vec<String>,
    /// Share of the oddest training rows of a table that the density and distance members do not learn from.
    pub trim: f64,
    /// Members that count on nights; the others are not computed.
    pub night_members: Vec<String>,
    /// As `trees`, on nights: each stratum of users has a forest of its own in the model.
    pub night_trees: u32,
    /// As `trim`, on nights.
    pub night_trim: f64,
    /// Train an autoencoder on tables too.
    pub autoencoder: bool,
}

impl Geometry {
    /// Names of all members, which are the columns of what they say.
    pub const MEMBERS: [&str; 7] = [
        "extended_isolation_forest",
        "dbscan",
        "one_class_svm",
        "knn",
        "mahalanobis",
        "gaussian_mixture",
        "autoencoder",
    ];
}

impl Default for Geometry {
    fn default() -> Self {
        let named = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Self {
            backend: ForestBackend::Quietwatch,
            trees: 300,
            sample: 256,
            level: 1,
            references: 10_000,
            members: named(&["extended_isolation_forest", "dbscan", "knn", "mahalanobis", "gaussian_mixture"]),
            trim: 0.2,
            night_members: named(&["extended_isolation_forest"]),
            night_trees: 100,
            night_trim: 0.05,
            autoencoder: false,
        }
    }
}

/// The sequence family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Sequence {
    /// Tokens of the longest n-grams.
    pub order: u32,
    /// Most n-grams of a model; of more, the longest are left out.
    pub ngrams: u32,
    /// Most tokens with a name of their own, those in most sequences first; the others are unknown.
    pub vocabulary: u32,
    /// Most distinct sets of tokens that distances are measured to.
    pub references: u32,
    /// As `order`, on nights.
    pub night_order: u32,
    /// As `ngrams`, of each organisation on nights.
    pub night_ngrams: u32,
    /// Share of the oddest training sequences that hardly count as examples of what is normal.
    pub odd_share: f64,
    /// Train an LSTM autoencoder too.
    pub lstm_autoencoder: bool,
    /// Train a Transformer too.
    pub transformer: bool,
}

impl Default for Sequence {
    fn default() -> Self {
        Self {
            order: 12,
            ngrams: 4_000_000,
            vocabulary: 16_384,
            references: 10_000,
            night_order: 6,
            night_ngrams: 500_000,
            odd_share: 0.02,
            lstm_autoencoder: false,
            transformer: false,
        }
    }
}

/// How scores become p-values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Calibration {
    /// How many of the last training nights calibrate.
    pub nights: u32,
    /// Past scored nights whose p-values correct those of the next; 0: none.
    pub drift_nights: u32,
    /// Quantile above which the tail is a generalised Pareto distribution.
    pub tail_quantile: f64,
    /// Fewest points for a stratum of its own.
    pub min_stratum: u32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { nights: 28, drift_nights: 14, tail_quantile: 0.96, min_stratum: 2_000 }
    }
}

/// What is reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Alerts {
    /// Most alerts a night, over all organisations.
    pub per_night: u32,
    /// False discovery rate of a night.
    pub q: f64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { per_night: 10, q: 0.1 }
    }
}

/// What is kept in the ranked file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ranking {
    /// Subjects kept per night.
    pub keep: u32,
}

impl Default for Ranking {
    fn default() -> Self {
        Self { keep: 100 }
    }
}

/// What is expected and not to be alerted on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Expected {
    /// Announced change windows.
    pub changes: Vec<ExpectedChange>,
}

/// One announced change: the subjects it names are ranked but not reported, and not learned from, while it lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedChange {
    /// User ids or names, app names, or ids of other subjects; `*` is everyone, and so is an empty list with `what`.
    #[serde(default)]
    pub who: Vec<String>,
    /// Values, such as addresses, countries, apps or objects: the change covers only days on which these are all that is new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<String>,
    /// First date.
    pub from: Date,
    /// Last date, inclusive.
    pub until: Date,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Why.
    pub reason: String,
    /// What it does.
    #[serde(default = "Effect::all", skip_serializing_if = "Effect::are_all")]
    pub effects: Vec<Effect>,
}

/// What an announced change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The subject is ranked and not reported.
    DoNotAlert,
    /// The day is not learned from.
    DoNotLearn,
}

impl Effect {
    fn all() -> Vec<Self> {
        vec![Self::DoNotAlert, Self::DoNotLearn]
    }

    fn are_all(effects: &[Self]) -> bool {
        *effects == Self::all()
    }
}

/// From when on a night is not to be trusted as it is. Nothing of this silences a night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Gates {
    /// Population stability index of a feature from which on it has moved, if no night of the training came near it.
    pub psi: f64,
    /// Calls above this multiple of the usual, or below its inverse.
    pub volume_ratio: f64,
    /// Days after the last training day on which a model is too old.
    pub model_age_days: u32,
}

impl Default for Gates {
    fn default() -> Self {
        Self { psi: 0.25, volume_ratio: 2.0, model_age_days: 45 }
    }
}

/// What is written beside the fixed files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Outputs {
    /// Write `report.html`.
    pub report: bool,
    /// File for metrics of the last night; empty for none.
    pub metrics: String,
    /// File for OCSF findings, perhaps with `{date}` in it; empty for none.
    pub ocsf: String,
    /// Write the whole ranked list to that file.
    pub ocsf_watch_list: bool,
}

impl Default for Outputs {
    fn default() -> Self {
        Self { report: true, metrics: String::new(), ocsf: String::new(), ocsf_watch_list: false }
    }
}

/// How messages are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where and how this installation runs: the values of flags that a nightly job would otherwise repeat. Not stored in
/// models.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Profile of the event files: the name of a built-in one or a TOML file.
    pub profile: String,
    /// Folder of the partitions.
    pub store: Option<PathBuf>,
    /// Whether `features` keeps the canonical events.
    pub archive: bool,
    /// Folder of the models.
    pub models: Option<PathBuf>,
    /// Name of the model.
    pub name: Option<String>,
    /// How many of the last versions `models gc` leaves in any case.
    pub keep_versions: u32,
    /// Seed of the training.
    pub seed: u64,
    /// The severity from which on a reported anomaly ends `score` with exit code 10.
    pub fail_on: Option<Severity>,
    /// Whether a tripped gate ends `score` with exit code 5.
    pub strict: bool,
    /// Alias of the version that `score` lets follow the champion.
    pub shadow: Option<String>,
    /// How messages are written to standard error.
    pub log_format: LogFormat,
    /// Signatures of model versions.
    pub signing: KeyFiles,
}

/// Where the keys of signatures are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyFiles {
    /// The private key that signs new versions.
    pub key_file: Option<PathBuf>,
    /// The public keys of which a version must bear a signature to be used; none: none is needed.
    pub trusted_keys: Vec<PathBuf>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            profile: "salesforce-api-total-usage".to_owned(),
            store: None,
            archive: true,
            models: None,
            name: None,
            keep_versions: 5,
            seed: 0,
            fail_on: None,
            strict: false,
            shadow: None,
            log_format: LogFormat::Text,
            signing: KeyFiles::default(),
        }
    }
}
