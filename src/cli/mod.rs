//! The commands: each is a function on plain structs and a writer, so that it can be tested without a process. Printing
//! and the clock live here and nowhere below.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::error::{Error, Kind, Result};
pub use args::Args;
use args::Command;

pub mod args;
mod backtest;
mod config;
#[cfg(feature = "deliver")]
mod deliver;
mod demo;
mod doctor;
mod evaluate;
mod explain;
mod features;
mod feedback;
mod input;
mod layers;
mod manual;
pub mod messages;
mod models;
mod outputs;
mod score;
mod sequences;
mod shadow;
mod simulate;
mod table;
pub mod terminal;
mod train;

/// Runs one command; the result goes to `out`, messages go to standard error.
pub fn run(args: Args, out: &mut dyn Write) -> Result<ExitCode> {
    messages::speak(args.log_format());
    start_threads(args.threads)?;
    carry_out(args.command, out)
}

pub(crate) fn carry_out(command: Command, out: &mut dyn Write) -> Result<ExitCode> {
    match command {
        Command::Models { command } => models::run(&command, out)?,
        Command::Config { command } => config::run(&command, out)?,
        Command::Doctor(args) => return doctor::run(&args, out),
        Command::Completions { shell } => manual::completions(shell, out)?,
        Command::Man { out } => manual::pages(&out)?,
        #[cfg(feature = "deliver")]
        Command::Deliver(args) => return deliver::run(&args, out),
        Command::Demo(args) => demo::run(&args, out)?,
        Command::Simulate(args) => simulate::run(&args, out)?,
        Command::Features(args) => features::run(&args, out)?,
        Command::Train(args) => train::run(&args, out)?,
        Command::Score(args) => return score::run(&args, out),
        Command::Evaluate(args) => evaluate::run(&args, out)?,
        Command::Backtest(args) => backtest::run(&args, out)?,
        Command::Explain(args) => explain::run(&args, out)?,
        Command::Feedback { command } => feedback::run(&command, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The time of day for `log.jsonl`, the only place where it is read. `SOURCE_DATE_EPOCH` (seconds) stands in for the
/// clock where a build or a test must repeat.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub fn now() -> String {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|s| s.parse().ok());
    let time = fixed.and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_else(jiff::Timestamp::now);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Most threads, wherever the number comes from: rayon would start a hundred thousand of them if told to.
pub(crate) const MAX_THREADS: usize = 1024;

/// Sizes the global pool of rayon: `--threads`, else `RAYON_NUM_THREADS`, else `POLARS_MAX_THREADS`, else all cores.
/// Polars keeps a pool of its own, sized by that variable alone: it can only be changed through the environment, and
/// changing the environment of a running process is unsafe.
fn start_threads(requested: Option<usize>) -> Result<()> {
    let limit = |name| std::env::var(name).ok().and_then(|n| n.parse::<usize>().ok()).filter(|&n| n > 0);
    // 0 leaves the choice to rayon.
    let threads = requested.or_else(|| limit("RAYON_NUM_THREADS")).or_else(|| limit("POLARS_MAX_THREADS")).unwrap_or(0);
    let threads = threads.min(MAX_THREADS);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    // One thread is the one that is there: no other does any of the work.
    let pool = if threads == 1 { pool.use_current_thread() } else { pool };
    pool.build_global().map_err(|e| Error::new(Kind::Resource, "cannot start threads").with_source(e))
}

/// A failed write of the result.
pub fn cannot_print(source: io::Error) -> Error {
    Error::io(Kind::Resource, "write to", Path::new("standard output"), source)
}

/// One JSON document on lines of its own.
fn print_json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::new(Kind::Bug, "cannot print").with_source(e))?;
    writeln!(out, "{text}").map_err(cannot_print)
}
