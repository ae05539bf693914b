//! The model registry: immutable versions, aliases that name one of them, and a log of who replaced whom.
//!
//! A version is a folder of plain data (`docs/model-format.md`); nothing in it is executed. Its manifest lists the size
//! and BLAKE3 digest of every other file, and every digest is checked on the raw bytes before anything is parsed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::date::Date;

mod arrays;
mod change;
#[cfg(test)]
mod change_tests;
mod folder;
mod gc;
mod golden;
mod log;
mod records;
mod registry;
mod sign;
#[cfg(test)]
mod sign_tests;
#[cfg(test)]
mod tests;
mod verify;
mod version;

#[cfg(all(feature = "frame", any(test, feature = "fuzzing")))]
pub(crate) use arrays::encode as encode_arrays;
pub use change::{Because, Gate, Swapped};
pub use folder::InUse;
pub use gc::{GcReport, Kept};
pub use golden::{Golden, agree};
pub use log::{Event, Log, LogEntry};
#[cfg(all(feature = "frame", any(test, feature = "fuzzing")))]
pub(crate) use records::encode as encode_records;
pub use registry::{Registry, Selector, VersionInfo, names};
pub use sign::Signing;
pub use verify::{Check, VerifyReport};

/// Layout of a version folder that this engine writes, and the newest one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The alias that scoring uses when nothing else is asked for.
pub const CHAMPION: &str = "champion";

/// A named array of finite numbers, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Unique within a model.
    pub name: String,
    /// Length of each dimension; a scalar has none. Their product is the number of values.
    pub shape: Vec<usize>,
    /// The values, all finite.
    pub values: Vec<f64>,
}

/// One learned fact that is not part of an array: who or what it is about, and its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which part of the model it belongs to.
    pub section: String,
    /// What it is about, from the general to the special; unused parts are empty.
    pub key: [String; 3],
    /// Its numbers, all finite.
    pub numbers: Vec<f64>,
}

/// Digest and size of one file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Lower-case hex BLAKE3 of the bytes.
    pub blake3: String,
    /// Number of bytes.
    pub bytes: u64,
}

/// How a model of a table reads a cell without a number.
pub const MISSING_RULE: &str = "a missing value takes the median of its column in training";

/// What a model of a table was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableInfo {
    /// Columns that say what a row is about.
    pub keys: Vec<String>,
    /// The columns learned, in the order of the file.
    pub columns: Vec<String>,
    /// Columns that were passed over when it was told so.
    pub excluded: Vec<String>,
    /// Those of `columns` that did not vary and are not looked at.
    pub dropped: Vec<String>,
    /// Rows learned from.
    pub rows: u64,
    /// What becomes of missing values: [`MISSING_RULE`].
    pub missing: String,
}

/// What a model of sequences was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceInfo {
    /// The tokens that have a number of their own, in its order (`detectors::sequence::vocabulary`).
    pub vocabulary: Vec<String>,
    /// Sequences learned from.
    pub sequences: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Distinct entities that made them; none if that was not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entities: Option<u64>,
}

/// What a version was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainedOn<'a> {
    /// The events of these days, both inclusive.
    Days(Date, Date),
    /// A table.
    Table(&'a TableInfo),
    /// Token sequences.
    Sequences(&'a SequenceInfo),
}

impl TrainedOn<'_> {
    /// In a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Days(..) => "events",
            Self::Table(_) => "a table",
            Self::Sequences(_) => "sequences",
        }
    }
}

/// What a version is and was made from. No time, version number, parent or path, so that equal training gives equal
/// bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Digest of the network tables that described addresses when this was learned.
    #[serde(default)]
    pub enrichment: String,
    /// Always [`FORMAT_VERSION`] when written.
    pub format_version: u32,
    /// Version of the engine that trained.
    pub engine_version: String,
    /// Hash of the feature catalog that the model was trained on.
    pub feature_schema: String,
    /// All settings of the training. Of `enrich.networks` only the file names are kept (see [`Settings::portable`]).
    pub settings: Settings,
    /// Seed of the training.
    pub seed: u64,
    /// First training day; none if it was not trained on events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_from: Option<Date>,
    /// Last training day, inclusive; none if it was not trained on events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_until: Option<Date>,
    /// The table it was trained on, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableInfo>,
    /// The sequences it was trained on, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<SequenceInfo>,
    /// Organisations learned, sorted.
    pub orgs: Vec<String>,
    /// Events learned from.
    pub events: u64,
    /// User-days learned from.
    pub user_days: u64,
    /// BLAKE3 over the digests of every partition that was read, or over the numbers of the table or the sequences.
    pub input_digest: String,
    /// What training measured of itself, all finite.
    pub metrics: BTreeMap<String, f64>,
    /// Every other file of the version, except `manifest.blake3`. Filled in when the version is written.
    pub files: BTreeMap<String, FileDigest>,
    /// Remarks for people.
    pub notes: Vec<String>,
    /// Rows whose p-values every reader must compute alike; none in versions that were made before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golden: Vec<Golden>,
}

impl Manifest {
    /// What it was trained on; none if the manifest contradicts itself, which no loaded one does.
    pub fn trained_on(&self) -> Option<TrainedOn<'_>> {
        match (self.train_from, self.train_until, &self.table, &self.sequences) {
            (Some(from), Some(until), None, None) => Some(TrainedOn::Days(from, until)),
            (None, None, Some(table), None) => Some(TrainedOn::Table(table)),
            (None, None, None, Some(sequences)) => Some(TrainedOn::Sequences(sequences)),
            _ => None,
        }
    }
}

/// A model about to become a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The manifest; `format_version` and `files` are filled in by the registry.
    pub manifest: Manifest,
    /// Arrays, in any order.
    pub arrays: Vec<Array>,
    /// Records; their order is kept.
    pub records: Vec<Record>,
    /// A page for people, Markdown.
    pub card: String,
}

/// A version whose digests matched.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedModel {
    /// Its number.
    pub version: u32,
    /// BLAKE3 of its `manifest.json`.
    pub digest: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its arrays, sorted by name.
    pub arrays: Vec<Array>,
    /// Its records, in the order written.
    pub records: Vec<Record>,
}
