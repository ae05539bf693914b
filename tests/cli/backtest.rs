//! `backtest` as a user sees it.

use std::fs;

use serde_json::Value;

use crate::CliTest;
use crate::world::{ATTACK, LAST, NIGHT, UNTIL, WORLD, tree};

const FILES: [&str; 6] =
    ["anomalies.csv", "anomalies.jsonl", "anomalies.parquet", "backtest.html", "backtest.json", "run.json"];

fn backtest(test: &CliTest, out: &str, more: &[&str]) -> crate::Outcome {
    let store = WORLD.path("store");
    let fixed = ["backtest", "--store", &store, "--out", out];
    test.run(&[&fixed[..], more].concat())
}

fn read(test: &CliTest, out: &str) -> Value {
    serde_json::from_slice(&fs::read(test.path().join(out).join("backtest.json")).unwrap()).unwrap()
}

#[test]
fn a_backtest_says_what_a_trained_model_would_have_found() {
    let test = CliTest::new();
    let labels = WORLD.path("sim/labels.csv");
    let nights = tree(&WORLD.dir.join("store")).len();
    let range = ["--from", NIGHT, "--to", "2026-02-09", "--labels", &labels];
    let outcome = backtest(&test, "bt", &range);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, "run written to bt\n"));
    assert!(outcome.stdout.contains("No data on 2026-02-08, 2026-02-09"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("without novelty"), "{}", outcome.stdout);
    assert_eq!(tree(&WORLD.dir.join("store")).len(), nights, "the store is only read");
    let mut names: Vec<String> = tree(&test.path().join("bt")).into_keys().map(|p| p.display().to_string()).collect();
    names.sort();
    assert_eq!(names, FILES);

    let b = read(&test, "bt");
    assert_eq!((&b["trainings"][0]["until"], &b["trainings"][0]["nights"]), (&UNTIL.into(), &13.into()));
    assert_eq!(b["missing_dates"], serde_json::json!(["2026-02-08", "2026-02-09"]));
    assert!(b["evaluation"]["by_scenario"]["S3"]["found_top10"] == 1, "{b}");
    assert_eq!(b["calibration"].as_array().unwrap().len(), 3);
    // The shared model was trained on the same days: its nights are the same.
    assert_eq!(test.score("run", &["--from", NIGHT, "--to", LAST]).code, 0);
    let place = |rows: Vec<Value>| -> Vec<(Value, Value, Value)> {
        rows.into_iter().map(|r| (r["anomaly_key"].clone(), r["rank"].clone(), r["p_value"].clone())).collect()
    };
    assert_eq!(place(test.anomalies("bt")), place(test.anomalies("run")));
    let rows = test.anomalies("bt");
    let odd = rows.iter().find(|r| r["date"] == ATTACK && r["rank"] == 1).unwrap();
    test.stdout(&["explain", odd["anomaly_key"].as_str().unwrap(), "--run", "bt"]);

    let again = backtest(&test, "bt", &[&range[..], &["--threads", "1"]].concat());
    assert_eq!((again.code, again.stderr.as_str()), (0, "run unchanged in bt\n"));
    assert_eq!(again.stdout, outcome.stdout);
}

#[test]
fn retraining_makes_a_model_for_each_stretch() {
    let test = CliTest::new();
    let json = test.stdout(&[
        "backtest",
        "--store",
        &WORLD.path("store"),
        "--from",
        "2026-02-02",
        "--to",
        LAST,
        "--retrain-every",
        "3",
        "--out",
        "bt",
        "--json",
    ]);
    let b: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(b, read(&test, "bt"));
    let until: Vec<&Value> = b["trainings"].as_array().unwrap().iter().map(|t| &t["until"]).collect();
    assert_eq!(until, ["2026-02-01", "2026-02-04"]);
    assert!(b["evaluation"].is_null() && b["nights"][0]["truth"].is_null());
}

#[test]
fn what_cannot_be_replayed_is_refused_and_nothing_is_written() {
    let test = CliTest::new();
    for (code, reason, range) in [
        (8, "expected data for", ["--from", "2026-03-01", "--to", "2026-03-05"]),
        (8, "cannot train for the nights from 2026-01-06", ["--from", "2026-01-06", "--to", LAST]),
        (2, "no later than", ["--from", LAST, "--to", NIGHT]),
    ] {
        let outcome = backtest(&test, "bt", &range);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (code, ""), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    }
    let labels = ["--from", NIGHT, "--to", LAST, "--labels", "nowhere.csv"];
    assert_eq!(backtest(&test, "bt", &labels).code, 4);
    test.write("thesis/thesis.tex", "years of work");
    assert_eq!(backtest(&test, "thesis", &["--from", NIGHT, "--to", NIGHT]).code, 2);
    assert_eq!(fs::read_dir(test.path()).unwrap().count(), 1);
}
