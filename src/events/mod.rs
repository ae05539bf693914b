//! Raw logs in, canonical events out.
//!
//! `source` finds files, `profile` says what their columns mean, `read` turns each into batches of canonical events.
//! Inside, in the order of the data: `decompress` → `format` → `split` (blocks of whole records) → `parallel` → `csv` /
//! `json` / `parquet` (cells) → `columns` (typed, normalised, dictionary-coded).

pub mod action;
pub mod batch;
mod cloudtrail;
mod columns;
pub(crate) mod csv;
pub(crate) mod decompress;
mod document;
mod format;
mod interner;
mod json;
pub mod normalise;
mod parallel;
#[cfg(feature = "frame")]
pub(crate) mod parquet;
pub mod profile;
pub mod quarantine;
mod read;
pub mod source;
mod split;
pub mod step;
mod tile;
mod time;
pub mod verbs;

pub use batch::Events;
pub use columns::UNKNOWN_USER;
pub use profile::Profile;
pub use quarantine::{QuarantineRow, Reason};
#[cfg(all(feature = "frame", any(test, feature = "fuzzing")))]
pub(crate) use read::rows_in_blocks;
pub use read::{ReadStats, read, read_map};
pub use source::{SourceFile, SourceKind, discover};
#[cfg(feature = "frame")]
pub(crate) use time::parse_iso;

#[cfg(test)]
mod corpus_tests;
