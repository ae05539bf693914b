//! End-to-end tests of the command line: exit code, standard output and standard error of the real binary, in one test
//! binary (each further one would link Polars again).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod backtest;
mod config;
#[cfg(feature = "deliver")]
mod deliver;
mod determinism;
mod diff;
mod doctor;
mod flow;
mod hostile;
mod messages;
mod models;
mod night;
mod ocsf;
mod sequences;
mod shadow;
mod shipped;
mod signatures;
mod sources;
mod table;
mod usage;
mod world;

/// A temporary folder in which the binary runs with an empty environment.
struct CliTest {
    dir: tempfile::TempDir,
}

/// What a run of the binary left behind.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

/// The binary with an empty environment in a folder.
fn command_in(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quietwatch"));
    command.args(args).current_dir(dir).env_clear();
    command
}

fn run_in(dir: &Path, args: &[&str]) -> Outcome {
    Outcome::new(command_in(dir, args).output().unwrap())
}

impl CliTest {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        command_in(self.path(), args)
    }

    fn run(&self, args: &[&str]) -> Outcome {
        run_in(self.path(), args)
    }

    /// Runs what must succeed without a message and returns its output.
    fn stdout(&self, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{args:?}");
        outcome.stdout
    }

    /// Runs what must fail with `code`, print nothing, and explain itself; returns the explanation.
    fn failure(&self, code: i32, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{args:?}");
        outcome.stderr
    }
}

impl Outcome {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
