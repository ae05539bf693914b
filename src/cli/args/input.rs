//! What commands share: where the input is, which model, which configuration.

use std::path::PathBuf;

use clap::Args as Flags;

use super::version;

/// Where events come from.
#[derive(Debug, Clone, Default, Flags)]
pub struct InputArgs {
    /// Event files, folders or globs (csv, jsonl, json, parquet; also .gz and .zst)
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub events: Vec<String>,
    /// Profile of the event files: a built-in name or a TOML file [config: run.profile]
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<String>,
    /// Folder of the partitions [config: run.store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// A table in place of events.
#[derive(Debug, Clone, Default, Flags)]
pub struct TableArgs {
    /// Any numeric feature table instead of events (parquet, csv; also .csv.gz and .csv.zst)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "store", "profile"])]
    pub table: Option<PathBuf>,
    /// Columns of the table that say what a row is about; scoring takes those of the model unless told otherwise
    #[arg(long, value_name = "COL", num_args = 1..)]
    pub key: Vec<String>,
    /// Columns of the table to pass over
    #[arg(long, value_name = "COL", num_args = 1..)]
    pub exclude: Vec<String>,
}

/// Sequences in place of events.
#[derive(Debug, Clone, Default, Flags)]
pub struct SequenceArgs {
    /// Any token sequences instead of events (parquet, csv; also .csv.gz and .csv.zst): columns `sequence_id`, `tokens` (a list, or
    /// one text with spaces between them) and, if it is known who made a sequence, `entity`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["events", "store", "profile", "table"])]
    pub sequences: Option<PathBuf>,
}

/// Configuration flags.
#[derive(Debug, Clone, Default, Flags)]
pub struct ConfigArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, stronger than the file; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

/// Which model; what is missing here may stand in the configuration.
#[derive(Debug, Clone, Default, Flags)]
pub struct ModelArgs {
    /// Folder of the models [config: run.models]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Name of the model [config: run.name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Which version of a model.
#[derive(Debug, Clone, Default, Flags)]
pub struct VersionArgs {
    /// Version of the model
    #[arg(long, value_name = "N", value_parser = version())]
    pub version: Option<u32>,
    /// Alias of the version [default: champion]
    #[arg(long, value_name = "ALIAS", conflicts_with = "version")]
    pub alias: Option<String>,
}

/// A store, from a flag or from the configuration.
#[derive(Debug, Flags)]
pub struct StoreArgs {
    /// Folder of the partitions [config: run.store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}
