//! The commands about what was computed: to look at it, to pass it on, to judge it; and about the installation.

use std::path::PathBuf;

use clap::{Args as Flags, Subcommand};

use super::{ConfigArgs, ModelArgs, StoreArgs, verdict};
use crate::date::Date;
use crate::feedback::Verdict;

/// `evaluate`.
#[derive(Debug, Flags)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["run", "anomalies"]),
    after_long_help = "Examples:\n  quietwatch evaluate --run runs/april --labels sim/labels.csv --json"
)]
pub struct EvaluateArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// A file of anomalies (parquet, jsonl or csv)
    #[arg(long, value_name = "FILE")]
    pub anomalies: Option<PathBuf>,
    /// Labels: `org_id`, `user_id`, `start`, `end`, `scenario`, `category`, `difficulty`
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `explain`.
#[derive(Debug, Flags)]
#[command(after_long_help = "Examples:\n  quietwatch explain 3f5a9c --run runs/2026-04-21")]
pub struct ExplainArgs {
    /// The `anomaly_key`, or at least six characters of its beginning if these are unique
    pub anomaly_key: String,
    /// Run folder
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `deliver`.
#[cfg(feature = "deliver")]
#[derive(Debug, Flags)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["run", "test"]),
    after_long_help = "\
score does the same after it has published. Nothing is delivered twice: what was is remembered in .quietwatch-delivered
beside the run folder.

Examples:
  quietwatch deliver --test --config quietwatch.toml
  quietwatch deliver --run runs/2026-04-21 --config quietwatch.toml
  quietwatch deliver --run runs/2026-04-21 --config quietwatch.toml --dry-run requests"
)]
pub struct DeliverArgs {
    /// Run folder
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Send one message that says only that messages arrive
    #[arg(long)]
    pub test: bool,
    /// Write every request to this folder in place of sending it, delivered before or not [config: deliver.dry-run]
    #[arg(long, value_name = "DIR")]
    pub dry_run: Option<PathBuf>,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `doctor`.
#[derive(Debug, Flags)]
#[command(after_long_help = "\
Each line is a check: ok, warn (it works, and somebody should look) or fail. The exit code is 0 without a fail, 7 if a
digest is wrong, else that of the first fail.

Examples:
  quietwatch doctor --store store --models models
  quietwatch doctor --config quietwatch.toml --json")]
pub struct DoctorArgs {
    /// Folder of the partitions [config: run.store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Which model; without a name, all are looked at.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Leave out what takes long: the content of partitions and versions
    #[arg(long)]
    pub quick: bool,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `feedback …`.
#[derive(Debug, Subcommand)]
pub enum FeedbackCommand {
    /// Add a verdict on one anomaly; a later verdict on it replaces an earlier one
    #[command(after_long_help = "\
Verdicts:
  true      an incident: its day is never learned, and its family of detectors gains weight in the next training
  expected  a known change: the same thing neither alerts nor is learned until --until (30 days from its night unless given)
  benign    harmless: its day is learned at once, and its family of detectors loses weight in the next training

Examples:
  quietwatch feedback add 3f5a9c0d11ab --store store --verdict expected --reason \"office moves to Berlin\" --until 2026-06-30
  quietwatch feedback add 77b01d2e804c --store store --verdict true --reason \"INC-1042\"")]
    Add(FeedbackAddArgs),
    /// List the verdicts in a store, the first given first
    #[command(after_long_help = "Examples:\n  quietwatch feedback list --store store --json")]
    List {
        /// Where the store is.
        #[command(flatten)]
        store: StoreArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `feedback add`.
#[derive(Debug, Flags)]
pub struct FeedbackAddArgs {
    /// The `anomaly_key`, or at least six characters of its beginning if these are unique
    pub anomaly_key: String,
    /// Where the store is with which the anomaly's night was scored.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What the anomaly turned out to be
    #[arg(long, value_name = "true|expected|benign", value_parser = verdict())]
    pub verdict: Verdict,
    /// Why, for whoever reads it next year
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Last date on which an `expected` verdict holds
    #[arg(long, value_name = "DATE")]
    pub until: Option<Date>,
    /// Print the verdict as JSON
    #[arg(long)]
    pub json: bool,
}

/// `config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key, its value and where it came from
    #[command(after_long_help = "Examples:\n  quietwatch config show --config quietwatch.toml --set alerts.q=0.05")]
    Show {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a commented configuration file; with --config or --set, with their values in place of the defaults
    #[command(after_long_help = "Examples:\n  quietwatch config init > quietwatch.toml")]
    Init {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArgs,
    },
}
