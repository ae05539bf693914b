//! The command line: clap types only. What a flag does is said here and done elsewhere.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as Flags, Parser, Subcommand, ValueEnum};

use super::MAX_THREADS;
use crate::anomaly::Severity;
use crate::config::LogFormat;
use crate::date::Date;
use crate::feedback::Verdict;

mod models;

pub use models::{DiffArgs, GcArgs, ListArgs, ModelsCommand, PromoteArgs, RollbackArgs, ShowArgs, VerifyArgs};

const ABOUT: &str = "Learns how every user, integration and app normally uses an organisation's APIs, and each night lists what \
                     changed and why it matters";

const EXIT_CODES: &str = "\
Exit codes:
  0  done                               6  model missing or incompatible
  1  a bug in quietwatch                7  digest does not match
  2  usage                              8  none of the requested dates has data
  3  configuration                      9  lock held by another process
  4  input unreadable, or too many     10  --fail-on severity reached
     bad rows                          11  out of disk or memory
  5  features cannot be computed, or a gate tripped under --strict
 12  a message could not be delivered, of deliver or under --strict

Threads: --threads, else RAYON_NUM_THREADS, else POLARS_MAX_THREADS, else all
cores. Polars has a pool of its own and reads POLARS_MAX_THREADS alone. No result
depends on the number of threads.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "quietwatch", version, about = ABOUT, after_long_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Args {
    /// Threads to work with; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = threads, display_order = 1000)]
    pub threads: Option<usize>,
    /// How messages are written to standard error: lines for people, or one JSON object a line [config: run.log-format]
    #[arg(long, global = true, value_name = "text|json", value_parser = log_format(), hide_possible_values = true, display_order = 1000)]
    pub log_format: Option<LogFormat>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a small organisation with attacks, train, score, and show what was found and missed
    Demo(DemoArgs),
    /// Write simulated event logs with attacks, benign look-alikes and the truth about them
    Simulate(SimulateArgs),
    /// Read event logs and add their features to a store
    Features(FeaturesArgs),
    /// Learn what is normal and add a model version
    Train(TrainArgs),
    /// Rank the subjects of one night, or of each night in a range
    Score(ScoreArgs),
    /// Compare a run with labels
    Evaluate(EvaluateArgs),
    /// Replay history: score each night by what was known then, and measure what was found
    Backtest(BacktestArgs),
    /// Show everything that is known about one anomaly
    Explain(ExplainArgs),
    /// Deliver what a published run has to say and has not said yet, or a test message
    #[cfg(feature = "deliver")]
    Deliver(DeliverArgs),
    /// Say what an anomaly turned out to be, so that later nights and trainings know
    Feedback {
        /// What to do with verdicts.
        #[command(subcommand)]
        command: FeedbackCommand,
    },
    /// List, show, verify, compare, promote, roll back and remove model versions
    Models {
        /// What to do with them.
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// Check store, models and configuration, and say what to do about what is wrong
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = "\
Examples:
  quietwatch completions bash > ~/.local/share/bash-completion/completions/quietwatch
  quietwatch completions zsh > ~/.zfunc/_quietwatch
  quietwatch completions fish > ~/.config/fish/completions/quietwatch.fish")]
    Completions {
        /// Whose language it is in
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write a man page for every command into a folder
    #[command(after_long_help = "Examples:\n  quietwatch man --out ~/.local/share/man/man1 && man quietwatch-score")]
    Man {
        /// Folder of the pages
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Show the resolved configuration, or print a default one
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// `demo`.
#[derive(Debug, Flags)]
#[command(after_long_help = "Examples:\n  quietwatch demo\n  quietwatch demo --out /tmp/demo")]
pub struct DemoArgs {
    /// Folder to keep everything in [default: a new folder under the current one]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Size of a simulated organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A few users and weeks: seconds.
    Small,
    /// At least 100 users and 60 days.
    Medium,
    /// Millions of events.
    Large,
}

/// How simulated events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    /// Plain CSV with the header of the source.
    Csv,
    /// CSV, compressed with gzip.
    #[value(name = "csv.gz")]
    CsvGz,
    /// Parquet.
    Parquet,
}

/// `simulate`.
#[derive(Debug, Flags)]
#[command(after_long_help = "\
Examples:
  quietwatch simulate --out sim --preset medium --seed 7
  quietwatch simulate --out sim --scenario S3@medium --scenario S7
  quietwatch simulate --into archive/ --out archive-with-attacks/ --scenario S3@low")]
pub struct SimulateArgs {
    /// Folder to write: events/, labels.csv, truth.json, networks.csv, quietwatch.toml
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Inject the attacks into a copy of these event files instead of simulating everything
    #[arg(long, value_name = "EVENTS")]
    pub into: Option<PathBuf>,
    /// Size of the organisation
    #[arg(long, value_enum, default_value = "small")]
    pub preset: Preset,
    /// Number of users [default: the preset's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub users: Option<u32>,
    /// Number of days [default: the preset's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,
    /// First day [default: the preset's]
    #[arg(long, value_name = "DATE")]
    pub start: Option<Date>,
    /// Seed; the same seed gives the same files
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed())]
    pub seed: u64,
    /// A scenario to plant, NAME or NAME@low|medium|high; may be repeated [default: the preset's]
    #[arg(long = "scenario", value_name = "NAME[@INTENSITY]")]
    pub scenarios: Vec<String>,
    /// How events are written
    #[arg(long, value_enum, default_value = "csv")]
    pub format: EventFormat,
}

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

/// `features`.
#[derive(Debug, Flags)]
#[command(after_long_help = "\
Examples:
  quietwatch features --events logs/2026-04-*.csv.gz --store store
  quietwatch features --events trail.json --profile aws-cloudtrail --store store")]
pub struct FeaturesArgs {
    /// Where events come from.
    #[command(flatten)]
    pub input: InputArgs,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Keep no canonical events; later parts for the same dates are then refused [config: run.archive]
    #[arg(long)]
    pub no_archive: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
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

/// `train`.
#[derive(Debug, Flags)]
#[command(after_long_help = "\
Examples:
  quietwatch train --store store --models models --name nightly
  quietwatch train --events archive/ --until 2026-03-31 --models models --name nightly --set rules.sigmas=4
  quietwatch train --table features.parquet --key user date --models models --name features
  quietwatch train --sequences traces.parquet --models models --name traces")]
pub struct TrainArgs {
    /// Where events come from.
    #[command(flatten)]
    pub input: InputArgs,
    /// A table instead.
    #[command(flatten)]
    pub table: TableArgs,
    /// Sequences instead.
    #[command(flatten)]
    pub sequences: SequenceArgs,
    /// Last training day, inclusive [default: the latest date in the input]
    #[arg(long, value_name = "DATE")]
    pub until: Option<Date>,
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Seed of everything random [config: run.seed]
    #[arg(long, value_name = "N", value_parser = seed())]
    pub seed: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `score`.
#[derive(Debug, Flags)]
#[command(after_long_help = "\
Examples:
  quietwatch score --store store --models models --name nightly --out runs/2026-04-21 --date 2026-04-21
  quietwatch score --events today.csv.gz --store store --models models --name nightly --out runs/today --fail-on high
  quietwatch score --table today.parquet --models models --name features --out runs/today")]
pub struct ScoreArgs {
    /// Where events come from.
    #[command(flatten)]
    pub input: InputArgs,
    /// A table instead.
    #[command(flatten)]
    pub table: TableArgs,
    /// Sequences instead.
    #[command(flatten)]
    pub sequences: SequenceArgs,
    /// The night to score [default: the latest date in the input]
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    pub date: Option<Date>,
    /// First night of a range
    #[arg(long, value_name = "DATE", requires = "to")]
    pub from: Option<Date>,
    /// Last night of a range, inclusive
    #[arg(long, value_name = "DATE", requires = "from")]
    pub to: Option<Date>,
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which version of it.
    #[command(flatten)]
    pub version: VersionArgs,
    /// Run folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// After the champion's run is published, score the nights with the version that this alias names, if there is one, and write
    /// what it would change to shadow.json and shadow.html in the run folder [config: run.shadow]
    #[arg(long, value_name = "ALIAS", conflicts_with_all = ["version", "alias", "table", "sequences"])]
    pub shadow: Option<String>,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// End with exit code 10 if an anomaly of this severity or a higher one is reported; of a table or of
    /// sequences, where nothing is reported, if any row is that severe [config: run.fail-on]
    #[arg(long, value_name = "SEVERITY", value_parser = severity())]
    pub fail_on: Option<Severity>,
    /// End with exit code 5 if a gate tripped, and with 12 if a message could not be delivered; the night is published
    /// all the same. Tables and sequences have no gates and no messages [config: run.strict]
    #[arg(long)]
    pub strict: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
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

/// `backtest`.
#[derive(Debug, Flags)]
#[command(after_long_help = "\
Examples:
  quietwatch backtest --store store --from 2026-03-01 --to 2026-03-31 --out backtest
  quietwatch backtest --store store --from 2026-03-01 --to 2026-03-31 --retrain-every 7 --labels labels.csv --out backtest

The first model is trained on the days before --from. Nothing is read from or written to a registry.")]
pub struct BacktestArgs {
    /// Where events come from.
    #[command(flatten)]
    pub input: InputArgs,
    /// First night
    #[arg(long, value_name = "DATE")]
    pub from: Date,
    /// Last night, inclusive
    #[arg(long, value_name = "DATE")]
    pub to: Date,
    /// Train anew every N days, each time on the days before [default: train once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub retrain_every: Option<u32>,
    /// Labels: `org_id`, `user_id`, `start`, `end`, `scenario`, `category`, `difficulty`
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Folder to write: backtest.json, backtest.html, run.json and the anomalies of all nights
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Seed of everything random [config: run.seed]
    #[arg(long, value_name = "N", value_parser = seed())]
    pub seed: Option<u64>,
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

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_THREADS).contains(&n) => Ok(n),
        _ => Err(format!("expected a whole number from 1 to {MAX_THREADS}")),
    }
}

/// Seeds also fit into TOML's signed integers.
fn seed() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}

/// Versions are counted from 1.
fn version() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

fn verdict() -> impl TypedValueParser<Value = Verdict> {
    PossibleValuesParser::new(Verdict::ALL.map(Verdict::name))
        .map(|name| Verdict::ALL.into_iter().find(|v| v.name() == name).expect("clap let only these names through"))
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"])
        .map(|name| if name == "json" { LogFormat::Json } else { LogFormat::Text })
}

fn severity() -> impl TypedValueParser<Value = Severity> {
    const ALL: [Severity; 5] = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    PossibleValuesParser::new(ALL.map(Severity::name))
        .map(|name| ALL.into_iter().find(|s| s.name() == name).expect("clap let only these names through"))
}
