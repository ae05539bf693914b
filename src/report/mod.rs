//! Everything that leaves a run: the files of a run folder, and what is printed for people.
//!
//! Text in an anomaly can come straight from a log and is hostile until shown otherwise. Each form has its one guard:
//! [`escape`] for people's eyes (HTML adds maud's escaping), [`csv`] for spreadsheets, JSON and Parquet by their own
//! rules. Nothing written here depends on the clock, the host, a path or the number of threads.

pub mod archive;
pub mod bounded;
pub mod csv;
pub mod escape;
pub mod html;
pub mod jsonl;
pub mod message;
pub mod metrics;
pub mod ocsf;
#[cfg(feature = "frame")]
pub mod parquet;
#[cfg(feature = "frame")]
pub mod run_folder;
#[cfg(feature = "frame")]
pub mod scores;
pub mod terminal;
pub mod words;

#[cfg(test)]
pub(crate) mod sample;

/// The columns of an anomaly in every file, in order. A contract; tests hold each writer to it.
pub const COLUMNS: [&str; 32] = [
    "date",
    "rank",
    "reported",
    "subject_id",
    "user_ids",
    "anomaly_key",
    "score",
    "severity",
    "p_value",
    "q_value",
    "status",
    "category",
    "subject_type",
    "org_id",
    "user_id",
    "user_name",
    "app_id",
    "app_name",
    "source_ips",
    "countries",
    "window_start",
    "window_end",
    "title",
    "story",
    "event_count",
    "error_count",
    "evidence",
    "request_ids",
    "model_name",
    "model_version",
    "model_digest",
    "engine_version",
];
