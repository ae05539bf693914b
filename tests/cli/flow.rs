//! The whole way, from simulated logs to an explained anomaly, and everything that must stop on it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::world::{ATTACK, FIRST, LAST, NIGHT, OUTAGE, RUN_FILES, UNTIL, WORLD, flip_bit, link, link_tree, tree};
use crate::{CliTest, Outcome};

/// The names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A run must have been refused with `code`, with an explanation and without a result.
fn assert_refused(outcome: &Outcome, code: i32, reason: &str) {
    assert_eq!(outcome.code, code, "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.starts_with("error: ") && outcome.stderr.contains(reason), "{}", outcome.stderr);
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn each_step_prints_its_result_and_nothing_else() {
    let world = &*WORLD;
    for step in [&world.simulate, &world.features, &world.train] {
        assert_eq!((step.code, step.stderr.as_str()), (0, ""), "{}", step.stdout);
    }
    let simulated = &world.simulate.stdout;
    assert!(simulated.contains("of 20 users over 34 days in sim\n"), "{simulated}");
    assert!(simulated.contains(&format!("the days up to {UNTIL} are clean")), "{simulated}");
    let events = simulated.split(' ').next().unwrap();
    let read = format!(" files, {events} events, 0 rows set aside; 33 partitions written, 0 unchanged\n");
    assert!(world.features.stdout.ends_with(&read), "{}", world.features.stdout);
    let trained = world.train.stdout.lines().next().unwrap();
    assert!(trained.starts_with("version 1: ") && trained.ends_with(&format!(", {FIRST} to {UNTIL}")), "{trained}");
    assert_eq!(
        names(&world.dir.join("sim")),
        ["events", "labels.csv", "networks.csv", "quietwatch.toml", "truth.json"]
    );
    assert_eq!(
        names(&world.dir.join("models/nightly/versions/000001")),
        ["baseline.arrow", "card.md", "manifest.blake3", "manifest.json", "model.safetensors"]
    );
}

#[test]
fn a_night_becomes_a_run_folder_of_five_files() {
    let test = CliTest::new();
    let outcome = test.score("run", &["--date", NIGHT]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, "run written to run\n"));
    assert!(outcome.stdout.starts_with(&format!("{NIGHT}  ")), "{}", outcome.stdout);
    assert_eq!(names(&test.path().join("run")), RUN_FILES);
    assert_eq!(names(test.path()), ["run"], "nothing is left beside the run");
    let info = test.info("run");
    assert_eq!((&info["model_name"], &info["model_version"]), (&"nightly".into(), &1.into()));
    assert_eq!((&info["in_sample"], info["nights"].as_array().unwrap().len()), (&false.into(), 1));
    let rows = test.anomalies("run");
    assert_eq!(rows.len() as u64, info["nights"][0]["subjects"].as_u64().unwrap());
    for (i, row) in rows.iter().enumerate() {
        assert_eq!((&row["date"], row["rank"].as_u64().unwrap()), (&NIGHT.into(), i as u64 + 1));
        assert_eq!(row["model_digest"], info["model_digest"]);
    }
}

#[test]
fn json_prints_run_json() {
    let test = CliTest::new();
    let outcome = test.score("run", &["--date", NIGHT, "--json"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(json(&outcome.stdout), test.info("run"));
}

#[test]
fn without_a_date_the_latest_is_scored() {
    let test = CliTest::new();
    let outcome = test.score("run", &[]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(test.info("run")["nights"][0]["date"], LAST);
}

#[test]
fn event_files_score_as_the_store_made_of_them() {
    let test = CliTest::new();
    let (events, models) = (WORLD.path("sim/events"), WORLD.path("models"));
    let config = WORLD.path("sim/quietwatch.toml");
    let args = ["score", "--events", &events, "--config", &config, "--models", &models, "--name", "nightly"];
    let outcome = test.run(&[&args[..], &["--date", ATTACK, "--out", "files"]].concat());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(test.score("store", &["--date", ATTACK, "--config", &config]).code, 0);
    crate::world::assert_same_trees(&test.path().join("files"), &test.path().join("store"), "files, store");
}

#[test]
fn equal_input_leaves_the_run_untouched_and_other_input_keeps_it() {
    let test = CliTest::new();
    let run = test.path().join("run");
    assert_eq!(test.score("run", &["--date", NIGHT]).code, 0);
    let (before, time) = (tree(&run), fs::metadata(run.join("run.json")).unwrap().modified().unwrap());
    let again = test.score("run", &["--date", NIGHT]);
    assert_eq!((again.code, again.stderr.as_str()), (0, "run unchanged in run\n"));
    assert!(tree(&run) == before, "the run was rewritten");
    assert_eq!(fs::metadata(run.join("run.json")).unwrap().modified().unwrap(), time);

    let other = test.score("run", &["--date", ATTACK]);
    assert_eq!(other.code, 0);
    assert!(other.stderr.contains(".revisions"), "{}", other.stderr);
    assert_eq!(test.info("run")["nights"][0]["date"], ATTACK);
    let mut expected = vec![".revisions"];
    expected.extend(RUN_FILES);
    assert_eq!(names(&run), expected);
    assert_eq!(names(&run.join(".revisions")), ["000001.tar.gz"]);
    assert_eq!(names(test.path()), ["run"]);
}

#[test]
fn a_folder_that_is_no_run_is_not_touched() {
    let test = CliTest::new();
    test.write("out/thesis.tex", "years of work");
    assert_refused(&test.score("out", &["--date", NIGHT]), 2, "holds no run");
    assert_eq!(names(&test.path().join("out")), ["thesis.tex"]);
    test.write("file", "text");
    assert_refused(&test.score("file", &["--date", NIGHT]), 2, "not a folder");
}

#[test]
fn dates_without_data_stop_one_night_and_are_listed_in_a_range() {
    let test = CliTest::new();
    for nights in [
        &["--date", "2026-03-01"][..],
        &["--date", OUTAGE],
        &["--date", "2019-01-01"],
        &["--from", "2026-02-08", "--to", "2026-02-20"],
    ] {
        assert_refused(&test.score("none", nights), 8, "expected data for");
    }
    assert!(names(test.path()).is_empty(), "nothing is published");

    let outcome = test.score("run", &["--from", LAST, "--to", "2026-02-09"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("2026-02-08  no data\n2026-02-09  no data\n"), "{}", outcome.stdout);
    let info = test.info("run");
    assert_eq!(info["missing_dates"], serde_json::json!(["2026-02-08", "2026-02-09"]));
    assert_eq!(info["nights"].as_array().unwrap().len(), 1);
    assert_eq!(test.score("run", &["--from", LAST, "--to", "2026-02-09", "--strict"]).code, 5);
}

#[test]
fn a_training_night_is_marked_in_sample() {
    let test = CliTest::new();
    let outcome = test.score("run", &["--date", UNTIL]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stderr.starts_with(&format!("warning: {UNTIL} lies within the training window of version ")));
    assert_eq!(test.info("run")["in_sample"], true);
}

#[test]
fn fail_on_counts_reported_anomalies_alone() {
    let test = CliTest::new();
    let nights = ["--from", NIGHT, "--to", LAST];
    assert_eq!(test.score("run", &nights).code, 0);
    let rank = |severity: &str| ["info", "low", "medium", "high", "critical"].iter().position(|s| *s == severity);
    let worst = test
        .anomalies("run")
        .iter()
        .filter(|row| row["reported"] == true)
        .map(|row| rank(row["severity"].as_str().unwrap()).unwrap())
        .max()
        .expect("the attacks are reported");
    assert!(worst >= 1, "something of severity low or higher is reported");
    for severity in ["low", "medium", "high", "critical"] {
        let outcome = test.score("run", &[&nights[..], &["--fail-on", severity]].concat());
        let expected = if worst >= rank(severity).unwrap() { 10 } else { 0 };
        assert_eq!(outcome.code, expected, "{severity}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("was reported (--fail-on"), expected == 10, "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with("run unchanged"), "the run is published all the same");
    }
}

#[test]
fn what_the_model_was_trained_with_cannot_change_at_score_time() {
    let test = CliTest::new();
    let refused = test.score("run", &["--date", NIGHT, "--set", "baseline.half-life-days=9"]);
    assert_refused(&refused, 3, "baseline.half-life-days (--set)");
    assert!(names(test.path()).is_empty());
    assert_eq!(test.score("run", &["--date", NIGHT, "--set", "ranking.keep=3"]).code, 0);
    assert_eq!(test.anomalies("run").len(), 3);
}

#[test]
fn what_is_missing_is_named() {
    let test = CliTest::new();
    let (events, store, models) = (WORLD.path("sim/events"), WORLD.path("store"), WORLD.path("models"));
    let cases: [(i32, &str, &[&str]); 9] = [
        (3, "no profile", &["features", "--events", &events, "--store", "new", "--profile", "nope"]),
        (4, "found no", &["features", "--events", "nowhere", "--store", "new"]),
        (2, "--events", &["features", "--store", "new"]),
        (2, "--store", &["features", "--events", &events]),
        (2, "found other files", &["features", "--events", &events, "--store", &models]),
        (4, "found none", &["train", "--store", "nowhere", "--models", "m", "--name", "n"]),
        (8, "no day", &["train", "--store", &store, "--models", "m", "--name", "n", "--until", "2020-01-01"]),
        (6, "there are: nightly", &["score", "--store", &store, "--models", &models, "--name", "n", "--out", "run"]),
        (2, "--name", &["score", "--store", &store, "--models", &models, "--out", "run"]),
    ];
    for (code, reason, args) in cases {
        assert_refused(&test.run(args), code, reason);
    }
    assert_refused(&test.score("run", &["--version", "9"]), 6, "no version 9");
    assert!(!test.path().join("run").exists() && !test.path().join("m").exists());
}

#[test]
fn a_flipped_bit_exits_7_and_nothing_is_published() {
    let test = CliTest::new();
    let (store, models) = (test.path().join("store"), test.path().join("models"));
    link_tree(&WORLD.dir.join("store"), &store);
    let score = ["score", "--store", "store", "--models", "models", "--name", "nightly", "--out", "run"];
    for file in ["baseline.arrow", "model.safetensors", "manifest.json", "manifest.blake3"] {
        link_tree(&WORLD.dir.join("models"), &models);
        flip_bit(&models.join("nightly/versions/000001").join(file));
        assert_refused(&test.run(&score), 7, file.split('.').next().unwrap());
        fs::remove_dir_all(&models).unwrap();
    }
    link_tree(&WORLD.dir.join("models"), &models);
    let partition = partition(&store, LAST);
    for file in ["features/user_day.parquet", "features/values.parquet", "manifest.json"] {
        let path = partition.join(file);
        let sound = fs::read(&path).unwrap();
        flip_bit(&path);
        assert_refused(&test.run(&score), 7, LAST);
        fs::write(&path, sound).unwrap();
    }
    assert!(!test.path().join("run").exists());
    assert_eq!(test.run(&score).code, 0, "the repaired store scores");
}

/// The only organisation's folder for a date.
fn partition(store: &Path, date: &str) -> std::path::PathBuf {
    let org = names(store).into_iter().find(|name| name.starts_with("00D")).unwrap();
    store.join(org).join(date)
}

#[test]
fn without_an_archive_a_later_part_of_the_day_is_refused() {
    let test = CliTest::new();
    let files = WORLD.events(FIRST);
    assert!(files.len() >= 2, "the first day comes in several files");
    fs::create_dir(test.path().join("logs")).unwrap();
    let [one, other] = ["logs/one.csv", "logs/other.csv"].map(|name| test.path().join(name));
    link(&files[0], &one);
    link(&files[1], &other);
    test.stdout(&["features", "--events", "logs/one.csv", "--store", "store", "--no-archive"]);
    let before = tree(&test.path().join("store"));
    assert!(before.keys().all(|name| !name.components().any(|c| c.as_os_str() == "events")), "no event is kept");
    test.stdout(&["features", "--events", "logs/one.csv", "--store", "store", "--no-archive"]);
    assert_refused(&test.run(&["features", "--events", "logs/other.csv", "--store", "store"]), 4, FIRST);
    assert!(tree(&test.path().join("store")) == before, "a refused part changes nothing");
}

#[test]
fn a_store_in_use_exits_9() {
    let test = CliTest::new();
    let files = WORLD.events(FIRST);
    let first = files[0].to_str().unwrap();
    test.stdout(&["features", "--events", first, "--store", "store"]);
    let lock = fs::File::options().write(true).open(test.path().join("store/.lock")).unwrap();
    lock.lock().unwrap();
    assert_refused(&test.run(&["features", "--events", first, "--store", "store"]), 9, "");
    drop(lock);
    test.stdout(&["features", "--events", first, "--store", "store"]);
}

#[test]
fn evaluate_finds_the_attack_in_every_form_of_the_run() {
    let test = CliTest::new();
    let labels = WORLD.path("sim/labels.csv");
    assert_eq!(test.score("run", &["--from", NIGHT, "--to", LAST]).code, 0);
    let evaluation = json(&test.stdout(&["evaluate", "--run", "run", "--labels", &labels, "--json"]));
    assert_eq!(evaluation["nights_scored"], 13);
    assert_eq!(evaluation["by_scenario"]["S3"]["incidents"], 1);
    assert_eq!(evaluation["by_scenario"]["S3"]["found_top10"], 1, "{evaluation}");
    assert!(evaluation["alerts"]["reported"].as_u64().unwrap() > 0);
    for file in ["jsonl", "csv", "parquet"] {
        let path = format!("run/anomalies.{file}");
        let same = json(&test.stdout(&["evaluate", "--anomalies", &path, "--labels", &labels, "--json"]));
        for part in ["overall", "by_scenario", "by_category", "alerts"] {
            assert_eq!(same[part], evaluation[part], "{file}: {part}");
        }
    }
    assert!(test.stdout(&["evaluate", "--run", "run", "--labels", &labels]).contains("S3"));
    test.failure(4, &["evaluate", "--run", "run", "--labels", "nowhere.csv"]);
    test.failure(4, &["evaluate", "--run", "nowhere", "--labels", &labels]);
}

#[test]
fn explain_takes_the_beginning_of_a_key() {
    let test = CliTest::new();
    assert_eq!(test.score("run", &["--date", ATTACK]).code, 0);
    let row = test.anomalies("run").remove(0);
    let key = row["anomaly_key"].as_str().unwrap();
    let text = test.stdout(&["explain", &key[..12], "--run", "run"]);
    assert!(text.contains(key) && text.contains(ATTACK), "{text}");
    assert_eq!(json(&test.stdout(&["explain", &key[..12], "--run", "run", "--json"])), row);
    assert_eq!(test.stdout(&["explain", key, "--run", "run"]), text);
    test.failure(2, &["explain", &"0".repeat(64), "--run", "run"]);
    test.failure(2, &["explain", &key[..3], "--run", "run"]);
    test.failure(4, &["explain", key, "--run", "nowhere"]);
}

#[test]
fn models_tell_what_was_trained() {
    let test = CliTest::new();
    let models = WORLD.path("models");
    let of = |command| ["models", command, "--models", &models, "--name", "nightly", "--json"].map(str::to_owned);
    let run = |command| json(&test.stdout(&of(command).each_ref().map(String::as_str)));
    let list = run("list");
    assert_eq!((&list[0]["version"], &list[0]["aliases"][0]), (&1.into(), &"champion".into()));
    let shown = run("show");
    assert_eq!((&shown["train_from"], &shown["train_until"]), (&FIRST.into(), &UNTIL.into()));
    let verified = run("verify");
    assert!(verified.as_array().unwrap().iter().all(|v| v["ok"] == true), "{verified}");
}
