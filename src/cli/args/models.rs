//! The command line of `models …`.

use std::path::PathBuf;

use clap::{Args as Flags, Subcommand};

use super::{ConfigArgs, InputArgs, ModelArgs, SequenceArgs, TableArgs, VersionArgs, version};
use crate::date::Date;
use crate::models::CHAMPION;

/// `models …`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the versions of a model, or all models
    #[command(after_long_help = "Examples:\n  quietwatch models list --models models --name nightly")]
    List(ListArgs),
    /// Show one version: what it was trained on, with which settings, what it measured of itself, and its history
    #[command(after_long_help = "Examples:\n  quietwatch models show --models models --name nightly --version 2")]
    Show(ShowArgs),
    /// Check every digest of one version, or of all versions, the aliases and the log
    #[command(after_long_help = "Examples:\n  quietwatch models verify --models models --name nightly")]
    Verify(VerifyArgs),
    /// Let an alias name a version, after checking its digests and golden rows
    #[command(after_long_help = "\
Examples:
  quietwatch models promote --models models --name nightly --version 2 --reason \"finds the May incidents\"
  quietwatch models promote --models models --name nightly --version 3 --alias challenger --reason \"shadow it\"")]
    Promote(PromoteArgs),
    /// Set an alias back to the version it named before its latest promotion that is not yet undone
    #[command(
        after_long_help = "Examples:\n  quietwatch models rollback --models models --name nightly --reason \"too loud on Mondays\""
    )]
    Rollback(RollbackArgs),
    /// Remove versions that nobody needs, and what killed commands left
    #[command(after_long_help = "\
A version stays if an alias names it, a rollback would go to it, it is among the last --keep, or a command is
scoring with it.

Examples:
  quietwatch models gc --models models --name nightly --dry-run
  quietwatch models gc --models models --name nightly --keep 10")]
    Gc(GcArgs),
    /// Score the same nights, table or sequences with two versions and say what would change
    #[command(after_long_help = "\
Without --since and --until, all nights after both trainings are scored; if there is none, the latest night. Nothing is
published, and no alias changes.

Examples:
  quietwatch models diff --models models --name nightly --from 1 --to 2 --store store
  quietwatch models diff --models models --name nightly --from 1 --to 2 --store store --labels sim/labels.csv --json
  quietwatch models diff --models models --name hosts --from 1 --to 2 --table hosts.csv")]
    Diff(Box<DiffArgs>),
}

/// `models list`.
#[derive(Debug, Flags)]
pub struct ListArgs {
    /// Which model; without a name, all are listed.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `models show`.
#[derive(Debug, Flags)]
pub struct ShowArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which version.
    #[command(flatten)]
    pub version: VersionArgs,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `models verify`.
#[derive(Debug, Flags)]
pub struct VerifyArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Version of the model [default: all versions, the aliases and the log]
    #[arg(long, value_name = "N", value_parser = version())]
    pub version: Option<u32>,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `models promote`.
#[derive(Debug, Flags)]
pub struct PromoteArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The version that the alias shall name
    #[arg(long, value_name = "N", value_parser = version())]
    pub version: u32,
    /// The alias
    #[arg(long, value_name = "ALIAS", default_value = CHAMPION)]
    pub alias: String,
    /// Why; it stays in the log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `models rollback`.
#[derive(Debug, Flags)]
pub struct RollbackArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The alias
    #[arg(long, value_name = "ALIAS", default_value = CHAMPION)]
    pub alias: String,
    /// Why; it stays in the log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `models gc`.
#[derive(Debug, Flags)]
pub struct GcArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Remove this version alone
    #[arg(long, value_name = "N", value_parser = version())]
    pub version: Option<u32>,
    /// How many of the last versions stay in any case [default: 5] [config: run.keep-versions]
    #[arg(long, value_name = "N")]
    pub keep: Option<u32>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `models diff`.
#[derive(Debug, Flags)]
pub struct DiffArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The version that stands
    #[arg(long, value_name = "N", value_parser = version())]
    pub from: u32,
    /// The version that may take its place
    #[arg(long, value_name = "N", value_parser = version())]
    pub to: u32,
    /// Where events come from.
    #[command(flatten)]
    pub input: InputArgs,
    /// A table instead.
    #[command(flatten)]
    pub table: TableArgs,
    /// Sequences instead.
    #[command(flatten)]
    pub sequences: SequenceArgs,
    /// First night [default: the first after both trainings]
    #[arg(long, value_name = "DATE", conflicts_with_all = ["table", "sequences"])]
    pub since: Option<Date>,
    /// Last night, inclusive [default: the latest date in the input]
    #[arg(long, value_name = "DATE", conflicts_with_all = ["table", "sequences"])]
    pub until: Option<Date>,
    /// Labels, to compare recall: `org_id`, `user_id`, `start`, `end`, `scenario`, `category`, `difficulty`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table", "sequences"])]
    pub labels: Option<PathBuf>,
    /// Also write the comparison as a page for people (HTML)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["table", "sequences"])]
    pub page: Option<PathBuf>,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
