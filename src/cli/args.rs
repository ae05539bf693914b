//! The command line: clap types only. What a flag does is said here and done elsewhere.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use super::MAX_THREADS;
use crate::anomaly::Severity;
use crate::config::LogFormat;
use crate::feedback::Verdict;

mod after;
mod compute;
mod input;
mod models;

#[cfg(feature = "deliver")]
pub use after::DeliverArgs;
pub use after::{ConfigCommand, DoctorArgs, EvaluateArgs, ExplainArgs, FeedbackAddArgs, FeedbackCommand};
pub use compute::{BacktestArgs, DemoArgs, EventFormat, FeaturesArgs, Preset, ScoreArgs, SimulateArgs, TrainArgs};
pub use input::{ConfigArgs, InputArgs, ModelArgs, SequenceArgs, StoreArgs, TableArgs, VersionArgs};
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
