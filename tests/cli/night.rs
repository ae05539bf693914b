//! A night that is not whole: late files, gates, and what is told of them. And verdicts, which later nights know.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::world::{ATTACK, LAST, NIGHT, WORLD, date_of, link_tree, tree};
use crate::{CliTest, Outcome};

/// A store of its own, with the shared model beside it.
struct Night {
    test: CliTest,
    models: String,
}

impl Night {
    /// The shared store, without the partitions of these dates.
    fn without(dates: &[&str]) -> Self {
        let test = CliTest::new();
        let store = test.path().join("store");
        link_tree(&WORLD.dir.join("store"), &store);
        fs::remove_dir_all(store.join("nights")).ok();
        for org in fs::read_dir(&store).unwrap().map(|e| e.unwrap().path()) {
            for date in dates {
                fs::remove_dir_all(org.join(date)).ok();
            }
        }
        Self { test, models: WORLD.path("models") }
    }

    /// The lines of a night's files for which `keep` says so, changed, as one file; read into the store.
    fn ingest(&self, name: &str, date: &str, keep: impl Fn(usize, &str) -> Option<String>) {
        let mut text = String::new();
        for file in files_of(date) {
            for (i, line) in fs::read_to_string(file).unwrap().lines().enumerate() {
                if i == 0 && !text.is_empty() {
                    continue;
                }
                if i == 0 {
                    text.push_str(&keep(0, line).unwrap());
                } else if let Some(line) = keep(i, line) {
                    text.push_str(&line);
                } else {
                    continue;
                }
                text.push('\n');
            }
        }
        self.test.write(name, &text);
        let config = WORLD.path("sim/quietwatch.toml");
        let outcome = self.test.run(&["features", "--events", name, "--store", "store", "--config", &config]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    }

    fn score(&self, out: &str, more: &[&str]) -> Outcome {
        let fixed = ["score", "--store", "store", "--models", &self.models, "--name", "nightly", "--out", out];
        self.test.run(&[&fixed[..], more].concat())
    }

    /// Gates of the only night of a run, by name.
    fn gates(&self, out: &str) -> Vec<String> {
        let info = self.test.info(out);
        let gates = info["nights"][0]["gates"].as_array().unwrap().clone();
        gates.iter().map(|g| g["gate"].as_str().unwrap().to_owned()).collect()
    }
}

/// The simulated files of a date, in order of their names.
fn files_of(date: &str) -> Vec<PathBuf> {
    WORLD.events(LAST).into_iter().filter(|f| date_of(f) == date).collect()
}

fn keys(rows: &[Value]) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let mut keys: Vec<_> = rows.iter().map(|r| (text(&r["subject_id"]), text(&r["anomaly_key"]))).collect();
    keys.sort();
    keys
}

/// The hour of a simulated line.
fn hour(line: &str) -> u32 {
    line.split(',').nth(1).unwrap()[9..11].parse().unwrap_or(0)
}

#[test]
fn an_hourly_file_that_did_not_come_is_named_until_it_comes() {
    let night = Night::without(&[ATTACK]);
    let file = |h: u32| format!("ApiTotalUsage_{}{h:02}_0AT0000000000{h:02}.csv", ATTACK.replace('-', ""));
    for h in (0..24).filter(|h| *h != 14) {
        night.ingest(&file(h), ATTACK, |i, line| (i == 0 || hour(line) == h).then(|| line.to_owned()));
    }
    let without = night.score("run", &["--date", ATTACK, "--strict"]);
    assert_eq!(without.code, 5, "{}", without.stderr);
    let missing = "no hourly file with calls from 14:00 to 15:00 UTC (usually ";
    assert!(without.stdout.contains(&format!("gate partial-day: {missing}")), "{}", without.stdout);
    let info = night.test.info("run");
    let files = info["nights"][0]["coverage"]["files"].as_array().unwrap();
    assert!(files.len() == 1 && files[0].as_str().unwrap().starts_with(missing), "{files:?}");
    let report = fs::read_to_string(night.test.path().join("run/report.html")).unwrap();
    assert_eq!(report.matches(missing).count(), 2, "at the night and in the table of what was seen");

    night.ingest(&file(14), ATTACK, |i, line| (i == 0 || hour(line) == 14).then(|| line.to_owned()));
    assert_eq!(night.score("run", &["--date", ATTACK]).code, 0);
    assert_eq!(night.gates("run"), [""; 0]);
    let whole = Night::without(&[]);
    assert_eq!(whole.score("run", &["--date", ATTACK]).code, 0);
    assert_eq!(keys(&night.test.anomalies("run")), keys(&whole.test.anomalies("run")));

    // A daily file replaces them all, and has less than they had.
    let daily = format!("ApiTotalUsage_{}_0AT000000000099.csv", ATTACK.replace('-', ""));
    night.ingest(&daily, ATTACK, |i, line| (i == 0 || i % 10 > 0).then(|| line.to_owned()));
    let short = night.score("run", &["--date", ATTACK]);
    assert!(short.stdout.contains("gate partial-day: the daily file has "), "{}", short.stdout);
}

#[test]
fn a_late_file_makes_a_revision_that_updates_by_key() {
    let night = Night::without(&[ATTACK]);
    night.ingest("early.csv", ATTACK, |i, line| (i == 0 || hour(line) < 12).then(|| line.to_owned()));
    let early = night.score("run", &["--date", ATTACK, "--strict"]);
    assert_eq!(early.code, 5, "{}", early.stderr);
    assert!(night.gates("run").contains(&"partial-day".to_owned()), "{:?}", night.gates("run"));
    assert!(early.stdout.contains("gate partial-day: no calls of anybody from 12:00 to "), "{}", early.stdout);
    let (first, before) = (night.test.anomalies("run"), night.test.info("run"));
    let coverage = &before["nights"][0]["coverage"];
    assert_eq!((&coverage["half_hours"], &coverage["other_files"]), (&24.into(), &1.into()));

    night.ingest("late.csv", ATTACK, |i, line| (i == 0 || hour(line) >= 12).then(|| line.to_owned()));
    let late = night.score("run", &["--date", ATTACK]);
    assert_eq!(late.code, 0, "{}", late.stderr);
    assert!(late.stderr.contains("the run before is kept in its .revisions"), "{}", late.stderr);
    assert!(night.test.path().join("run/.revisions/000001.tar.gz").exists());
    assert_ne!(night.test.info("run")["input_digest"], before["input_digest"]);
    assert!(!night.gates("run").contains(&"partial-day".to_owned()));
    // Who was in the first list has the same key in the second, and nobody is in it twice.
    let (first, second) = (keys(&first), keys(&night.test.anomalies("run")));
    let same = first.iter().filter(|k| second.contains(k)).count();
    assert!(same >= 10, "{same} of {} keys stayed", first.len());
    let mut unique: Vec<&String> = second.iter().map(|k| &k.1).collect();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), second.len());
    // As if the files had come together.
    let whole = Night::without(&[]);
    assert_eq!(whole.score("run", &["--date", ATTACK]).code, 0);
    assert_eq!(keys(&whole.test.anomalies("run")), second);
}

#[test]
fn a_gate_never_silences_a_night_and_strict_makes_it_an_exit_code() {
    // Twice the calls of the day, each a minute of nobody's fault later.
    let night = Night::without(&[NIGHT]);
    for (name, add) in [("a.csv", ""), ("b.csv", "x"), ("c.csv", "y")] {
        night.ingest(name, NIGHT, |i, line| {
            let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            if i > 0 {
                cells[2] = format!("\"{add}{}", &cells[2][1..]);
            }
            Some(cells.join(","))
        });
    }
    let calm = night.score("run", &["--date", NIGHT]);
    assert_eq!(calm.code, 0, "{}", calm.stderr);
    assert!(night.gates("run").contains(&"volume".to_owned()), "{}", calm.stdout);
    let before = tree(&night.test.path().join("run"));
    let strict = night.score("run", &["--date", NIGHT, "--strict"]);
    assert_eq!(strict.code, 5);
    assert!(strict.stderr.starts_with("run unchanged in run\n"), "{}", strict.stderr);
    assert!(tree(&night.test.path().join("run")) == before);
    let report = fs::read_to_string(night.test.path().join("run/report.html")).unwrap();
    assert!(report.contains("Gate volume") && report.contains("How much of each day was seen"));
}

#[test]
fn a_lost_column_and_an_old_model_are_named() {
    let night = Night::without(&[NIGHT]);
    night.ingest("renamed.csv", NIGHT, |i, line| {
        Some(if i == 0 { line.replace("HTTP_METHOD", "VERB") } else { line.to_owned() })
    });
    let outcome = night.score("run", &["--date", NIGHT, "--set", "gates.model-age-days=1"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(night.gates("run").contains(&"schema-drift".to_owned()), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("no HTTP methods in the whole day"), "{}", outcome.stdout);
    let old = night.score("old", &["--date", LAST, "--set", "gates.model-age-days=1"]);
    assert!(old.stdout.contains("gate model-age: the model was trained 13 days ago"), "{}", old.stdout);
}

#[test]
fn ordinary_nights_trip_no_gate_and_say_what_did_not_run() {
    let night = Night::without(&[]);
    assert_eq!(night.score("run", &["--from", NIGHT, "--to", LAST]).code, 0);
    let info = night.test.info("run");
    let tripped: Vec<&Value> =
        info["nights"].as_array().unwrap().iter().filter(|n| !n["gates"].as_array().unwrap().is_empty()).collect();
    assert!(tripped.is_empty(), "{tripped:#?}");
    assert!(info["not_run"].as_array().unwrap().iter().any(|n| n == "geometry: its weight is 0 (fusion.geometry)"));
}

#[test]
fn a_missing_day_before_the_night_is_a_gate() {
    let night = Night::without(&["2026-02-05"]);
    assert_eq!(night.score("run", &["--date", LAST]).code, 0);
    assert_eq!(night.gates("run"), ["missing-day"]);
    assert_eq!(night.score("run", &["--date", LAST, "--strict"]).code, 5);
}

#[test]
fn a_verdict_is_known_to_the_next_scoring() {
    let night = Night::without(&[]);
    let add = |args: &[&str]| night.test.run(&[&["feedback", "add"], args].concat());
    assert_eq!(night.test.stdout(&["feedback", "list", "--store", "store"]), "no verdicts\n");
    assert_eq!(night.score("run", &["--date", ATTACK]).code, 0);
    let row = night.test.anomalies("run").into_iter().find(|r| r["reported"] == true).expect("the attack is reported");
    let key = row["anomaly_key"].as_str().unwrap();
    let of_store = ["--store", "store"];
    let said = [&[key][..], &of_store, &["--verdict", "expected", "--reason", "=cmd\u{1b}[2J moving\u{202e}"]].concat();
    let outcome = add(&[&said[..], &["--until", LAST]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains(&format!("is expected: the same thing neither alerts nor is learned until {LAST}"))
    );

    assert_eq!(night.score("run", &["--date", ATTACK]).code, 0);
    let again = night.test.anomalies("run").into_iter().find(|r| r["anomaly_key"] == key).unwrap();
    assert_eq!((&again["reported"], &again["p_value"]), (&false.into(), &row["p_value"]), "ranked, not reported");
    assert!(night.test.info("run")["nights"][0]["announced"].as_u64().unwrap() >= 1);

    // The last verdict holds, all stay in the file, and what was typed cannot steer a terminal.
    assert_eq!(add(&[key, "--store", "store", "--verdict", "true", "--reason", "INC-7"]).code, 0);
    assert_eq!(night.score("run", &["--date", ATTACK]).code, 0);
    let last = night.test.anomalies("run").into_iter().find(|r| r["anomaly_key"] == key).unwrap();
    assert_eq!(last["reported"], true);
    let list = night.test.stdout(&["feedback", "list", "--store", "store"]);
    assert!(list.contains("\\u{1b}[2J moving\\u{202e}") && list.contains("INC-7"), "{list}");
    assert!(!list.contains('\u{1b}') && !list.contains('\u{202e}'));
    let json: Value =
        serde_json::from_str(&night.test.stdout(&["feedback", "list", "--store", "store", "--json"])).unwrap();
    assert_eq!((&json[0]["verdict"], &json[1]["verdict"]), (&"expected".into(), &"true".into()));
    assert_eq!(json[0]["until"], LAST);
    assert_eq!(json[0]["subject_id"], row["subject_id"]);
}

#[test]
fn verdicts_that_cannot_be_meant_are_refused() {
    let night = Night::without(&[]);
    assert_eq!(night.score("run", &["--date", NIGHT]).code, 0);
    let key = night.test.anomalies("run")[0]["anomaly_key"].as_str().unwrap().to_owned();
    let refused = |code: i32, reason: &str, args: &[&str]| {
        let said = night.test.failure(code, &[&["feedback", "add"], args].concat());
        assert!(said.contains(reason), "{said}");
    };
    let with = |more: &[&'static str]| -> Vec<String> {
        [key.as_str(), "--store", "store"].iter().chain(more).map(|&s| s.to_owned()).collect()
    };
    for (code, reason, more) in [
        (2, "--until is for", &["--verdict", "true", "--reason", "r", "--until", LAST][..]),
        (2, "no earlier than", &["--verdict", "expected", "--reason", "r", "--until", "2026-01-25"]),
        (2, "--reason of 1 to", &["--verdict", "true", "--reason", "  "]),
        (2, "possible values", &["--verdict", "maybe", "--reason", "r"]),
    ] {
        let args = with(more);
        refused(code, reason, &args.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let rest = ["--store", "store", "--verdict", "true", "--reason", "r"];
    refused(2, "no night that this store keeps", &[&["0".repeat(64).as_str()], &rest[..]].concat());
    refused(2, "at least 6 characters", &[&["ab"], &rest[..]].concat());
    refused(4, "expected a store", &[&key, "--store", "nowhere", "--verdict", "true", "--reason", "r"]);
    assert!(!night.test.path().join("store/feedback.jsonl").exists());
    // A file of something else is told and left alone.
    night.test.write("store/feedback.jsonl", "{}\n");
    refused(4, "line 1", &[&[key.as_str()], &rest[..]].concat());
    assert_eq!(night.score("again", &["--date", NIGHT]).code, 4);
}

#[test]
fn the_heartbeat_says_when_a_night_was_published_and_reaches_no_other_output() {
    let night = Night::without(&[]);
    assert_eq!(night.score("without", &["--date", NIGHT]).code, 0);
    night.test.write("etc/quietwatch.toml", "[outputs]\nmetrics = \"night.prom\"\n");
    let args = CliTest::score_args("with", &["--date", NIGHT, "--config", "etc/quietwatch.toml"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = night.test.command(&args).env("SOURCE_DATE_EPOCH", "1776800000").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = fs::read_to_string(night.test.path().join("etc/night.prom")).unwrap();
    for line in [
        "quietwatch_last_success_timestamp_seconds{model=\"nightly\"} 1776800000\n",
        "gate=\"partial-day\"} 0\n",
        "quietwatch_missing_dates{model=\"nightly\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(tree(&night.test.path().join("with")) == tree(&night.test.path().join("without")));
    // A night that failed leaves the last heartbeat to grow old.
    let before = text;
    let failed = night.score("with", &["--date", "2019-01-01", "--config", "etc/quietwatch.toml"]);
    assert_eq!(failed.code, 8);
    assert_eq!(fs::read_to_string(night.test.path().join("etc/night.prom")).unwrap(), before);
}
