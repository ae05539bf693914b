//! What the fuzz targets call and what the tests replay: for each target one function that takes bytes from anywhere and
//! must come back. An error is a fine answer; a panic, an endless loop, a mountain of memory or [`Kind::Bug`] is not.
//!
//! Where a digest stands before a parser, the input is given the digest that fits, so that the parser is reached: who may
//! write a whole version can make its digests fit, too.

mod base;
mod edit;
mod files;
mod registry;
mod score;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use crate::error::{Error, Kind};

/// A function that must come back whatever it is given.
pub type Target = fn(&[u8]);

/// All targets by name; the corpus of each is `tests/corpus/fuzz/NAME/`.
pub const TARGETS: [(&str, Target); 9] = [
    ("model", score::model),
    ("manifest", score::manifest),
    ("registry", registry::registry),
    ("events", files::events),
    ("packed", files::packed),
    ("config", files::config),
    ("profile", files::profile),
    ("table", files::table),
    ("kept", score::kept),
];

/// Runs one target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(n, _)| *n == name).expect("a target is named");
    target.1(data);
}

/// Called once by a fuzz target. libFuzzer ends at every panic, also at one that is caught: the decoder of Parquet panics at
/// damaged files, and its callers make errors of that. What nobody catches still ends the process.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let of_a_library = panic.location().is_some_and(|at| at.file().contains("/registry/src/"));
        if !of_a_library {
            let _ = writeln!(std::io::stderr(), "{panic}\n{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}

/// Inputs to begin with, from artefacts as the commands make them: target, name, bytes.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = score::seeds();
    seeds.extend(registry::seeds());
    seeds.extend(files::seeds());
    seeds
}

/// An error is an answer, unless it says that this program is wrong.
fn no_bug<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(e) if e.kind() == Kind::Bug => panic!("{e}"),
        Err(_) => None,
    }
}
