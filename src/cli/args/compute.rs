//! The commands that read events and compute: from made-up ones to a replay of history.

use std::path::PathBuf;

use clap::{Args as Flags, ValueEnum};

use super::{ConfigArgs, InputArgs, ModelArgs, SequenceArgs, TableArgs, VersionArgs, seed, severity};
use crate::anomaly::Severity;
use crate::date::Date;

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
