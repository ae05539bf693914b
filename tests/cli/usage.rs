//! The command line itself: help, usage errors, pipes, threads.

use std::process::Stdio;

use crate::{CliTest, Outcome};

#[test]
fn help_lists_every_command() {
    let test = CliTest::new();
    let text = test.stdout(&["--help"]);
    for command in [
        "demo", "simulate", "features", "train", "score", "evaluate", "backtest", "explain", "feedback", "models",
        "config",
    ] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {text}");
        let help = test.stdout(&[command, "--help"]);
        assert!(help.contains("Usage: quietwatch"), "{help}");
    }
    assert!(text.contains("Exit codes:"));
}

#[test]
fn the_flags_of_the_contract_exist() {
    let test = CliTest::new();
    let expected: [(&[&str], &[&str]); 21] = [
        (&["demo"], &["--out"]),
        (
            &["simulate"],
            &["--out", "--into", "--preset", "--users", "--days", "--start", "--seed", "--scenario", "--format"],
        ),
        (&["features"], &["--events", "--profile", "--store", "--config", "--no-archive"]),
        (
            &["train"],
            &[
                "--events",
                "--profile",
                "--store",
                "--table",
                "--key",
                "--exclude",
                "--sequences",
                "--until",
                "--models",
                "--name",
                "--config",
                "--set",
                "--seed",
            ],
        ),
        (
            &["score"],
            &[
                "--events",
                "--profile",
                "--store",
                "--table",
                "--key",
                "--exclude",
                "--sequences",
                "--date",
                "--from",
                "--to",
                "--models",
                "--name",
                "--version",
                "--alias",
                "--out",
                "--config",
                "--set",
                "--fail-on",
                "--strict",
                "--threads",
                "--json",
            ],
        ),
        (&["evaluate"], &["--run", "--anomalies", "--labels", "--json"]),
        (
            &["backtest"],
            &[
                "--events",
                "--store",
                "--from",
                "--to",
                "--retrain-every",
                "--labels",
                "--out",
                "--config",
                "--set",
                "--seed",
            ],
        ),
        (&["explain"], &["<ANOMALY_KEY>", "--run"]),
        (&["feedback", "add"], &["<ANOMALY_KEY>", "--store", "--verdict", "--reason", "--until"]),
        (&["feedback", "list"], &["--store", "--json"]),
        (&["models", "list"], &["--models", "--name"]),
        (&["models", "show"], &["--models", "--name", "--version"]),
        (&["models", "verify"], &["--models", "--name", "--version"]),
        (&["models", "promote"], &["--models", "--name", "--version", "--alias", "--reason", "--json"]),
        (&["models", "rollback"], &["--models", "--name", "--alias", "--reason", "--json"]),
        (&["models", "gc"], &["--models", "--name", "--version", "--keep", "--dry-run", "--json"]),
        (
            &["models", "diff"],
            &[
                "--models", "--name", "--from", "--to", "--store", "--events", "--table", "--labels", "--since",
                "--until", "--json",
            ],
        ),
        (&["doctor"], &["--store", "--models", "--name", "--quick", "--config", "--json"]),
        (&["config", "show"], &["--config", "--set", "--log-format", "--threads"]),
        (&["completions"], &["<SHELL>"]),
        (&["man"], &["--out"]),
    ];
    for (command, flags) in expected {
        let help = test.stdout(&[command, &["--help"]].concat());
        for flag in flags {
            assert!(help.contains(flag), "{command:?} {flag}: {help}");
        }
    }
}

#[test]
fn usage_errors_exit_2_and_say_how() {
    let test = CliTest::new();
    let cases: [&[&str]; 9] = [
        &[],
        &["scroe"],
        &["models", "shwo"],
        &["config", "show", "--unknown"],
        &["--threads", "0", "config", "show"],
        &["evaluate", "--labels", "l.csv"],
        &["score", "--out", "o", "--date", "2026-13-01"],
        &["score", "--out", "o", "--from", "2026-01-01"],
        &["score", "--out", "o", "--fail-on", "severe"],
    ];
    for args in cases {
        assert!(test.failure(2, args).contains("Usage:") || args.len() > 3, "{args:?}");
    }
    assert!(test.failure(2, &["scroe"]).contains("score"), "a typo is guessed at");
    let missing = test.failure(2, &["models", "show", "--name", "n"]);
    assert!(missing.contains("expected --models, or run.models in the configuration"), "{missing}");
}

#[test]
fn the_version_is_printed() {
    assert_eq!(CliTest::new().stdout(&["--version"]), concat!("quietwatch ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let test = CliTest::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = test.command(&["config", "init"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let outcome = Outcome::new(child.wait_with_output().unwrap());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_full_disk_under_the_output_exits_11() {
    let test = CliTest::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = test.command(&["config", "init"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(Outcome::new(child.wait_with_output().unwrap()).code, 11);
}

#[test]
fn thread_variables_are_accepted() {
    let test = CliTest::new();
    let expected = test.stdout(&["config", "show"]);
    for variable in ["RAYON_NUM_THREADS", "POLARS_MAX_THREADS"] {
        let output = test.command(&["config", "show"]).env(variable, "1").output().unwrap();
        assert_eq!(Outcome::new(output).stdout, expected);
    }
    assert_eq!(test.stdout(&["config", "show", "--threads", "1"]), expected);
}
