//! Equal input gives equal bytes: whatever the files are called, in whichever order and however often they come, for
//! any number of threads; and a night's answer does not depend on what is ingested or scored around it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::world::{ATTACK, NIGHT, UNTIL, WORLD, assert_same_trees, date_of, link, link_tree, tree};
use crate::{CliTest, run_in};

/// The shorter archive that these tests read: fifteen training days, then three nights.
const SHORT_UNTIL: &str = "2026-01-19";
const SHORT_FROM: &str = "2026-01-20";
const SHORT_LAST: &str = "2026-01-22";

/// `store/`, `models/` and `run/` in a folder, made of these files.
fn make(dir: &Path, files: &[PathBuf], threads: &[&str]) {
    read(dir, files, threads);
    learn_and_score(dir, threads);
}

fn read(dir: &Path, files: &[PathBuf], threads: &[&str]) {
    let paths = files.iter().map(|f| f.to_str().unwrap());
    let args: Vec<&str> = ["features", "--store", "store", "--events"].into_iter().chain(paths).collect();
    succeed(dir, &[threads, &args].concat());
}

fn learn_and_score(dir: &Path, threads: &[&str]) {
    let model = ["--store", "store", "--models", "models", "--name", "nightly"];
    succeed(dir, &[threads, &["train", "--until", SHORT_UNTIL], &model].concat());
    succeed(dir, &[threads, &["score", "--from", SHORT_FROM, "--to", SHORT_LAST, "--out", "run"], &model].concat());
}

fn succeed(dir: &Path, args: &[&str]) {
    let outcome = run_in(dir, args);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
}

/// What every other way must come to: the files in order, two threads.
static REFERENCE: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = WORLD.dir.join("reference");
    fs::create_dir(&dir).unwrap();
    make(&dir, &WORLD.events(SHORT_LAST), &["--threads", "2"]);
    dir
});

/// The whole store (with the nights that scoring keeps), the model version and the run are the reference's.
fn assert_is_reference(test: &CliTest, what: &str) {
    for part in ["store", "models/nightly/versions/000001", "models/nightly/aliases", "run"] {
        assert_same_trees(&REFERENCE.join(part), &test.path().join(part), what);
    }
}

#[test]
fn names_and_order_of_files_do_not_matter() {
    let test = CliTest::new();
    let logs = test.path().join("logs");
    fs::create_dir(&logs).unwrap();
    // Digits of a multiplicative sequence: names that sort otherwise than the files they stand for.
    let files: Vec<PathBuf> = WORLD.events(SHORT_LAST);
    for (i, file) in files.iter().enumerate() {
        let name = format!("{:04x}.csv", (i + 1) * 40_503 % 65_536);
        link(file, &logs.join(name));
    }
    make(test.path(), &[logs], &[]);
    assert_is_reference(&test, "shuffled names");
}

#[test]
fn a_file_counts_once_however_often_it_comes() {
    let test = CliTest::new();
    let mut files = WORLD.events(SHORT_LAST);
    let twin = test.path().join("a copy of the first.csv");
    link(&files[0], &twin);
    files.push(twin);
    read(test.path(), &files, &[]);
    // And all of them once more, into the store that has them.
    let before = tree(&test.path().join("store"));
    read(test.path(), &files, &[]);
    assert!(tree(&test.path().join("store")) == before, "the second time changed the store");
    learn_and_score(test.path(), &[]);
    assert_is_reference(&test, "a file twice");
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    let test = CliTest::new();
    make(test.path(), &WORLD.events(SHORT_LAST), &["--threads", "1"]);
    assert_is_reference(&test, "one thread");
}

#[test]
fn files_that_arrive_one_by_one_give_the_same_store() {
    let test = CliTest::new();
    let mut files = WORLD.events(SHORT_LAST);
    let late = files.split_off(files.len() - 4);
    // Last come the first days, so that their partitions are made twice.
    let first: Vec<PathBuf> = files.drain(..3).collect();
    for part in [&files, &late, &first] {
        read(test.path(), part, &[]);
    }
    learn_and_score(test.path(), &[]);
    assert_is_reference(&test, "in parts");
}

#[test]
fn training_again_gives_an_equal_version() {
    let test = CliTest::new();
    link_tree(&WORLD.dir.join("models"), &test.path().join("models"));
    let store = WORLD.path("store");
    let args = ["train", "--store", &store, "--until", UNTIL, "--models", "models", "--name", "nightly"];
    assert!(test.stdout(&args).starts_with("version 2: "));
    let versions = test.path().join("models/nightly/versions");
    assert_same_trees(&versions.join("000001"), &versions.join("000002"), "trained twice");
    let champion = fs::read_to_string(test.path().join("models/nightly/aliases/champion")).unwrap();
    assert!(champion.starts_with("000001 "), "only the first version becomes champion by itself: {champion}");
}

#[test]
fn tomorrow_does_not_change_today() {
    let test = CliTest::new();
    let (today, tomorrow): (Vec<PathBuf>, Vec<PathBuf>) =
        WORLD.events(SHORT_LAST).into_iter().partition(|f| date_of(f).as_str() < SHORT_LAST);
    let date = date_of(today.last().unwrap());
    read(test.path(), &today, &[]);
    let model = ["--store", "store", "--models", "models", "--name", "nightly"];
    succeed(test.path(), &[&["train", "--until", SHORT_UNTIL][..], &model].concat());
    let score = |out: &str| {
        succeed(test.path(), &[&["score", "--date", &date, "--out", out][..], &model].concat());
    };
    score("before");
    read(test.path(), &tomorrow, &[]);
    succeed(test.path(), &[&["score", "--out", "tomorrow"][..], &model].concat());
    assert_eq!(test.info("tomorrow")["nights"][0]["date"], SHORT_LAST);
    score("after");
    assert_same_trees(&test.path().join("before"), &test.path().join("after"), "after tomorrow came");
    assert!(!test.anomalies("after").is_empty());
}

#[test]
fn a_range_scores_as_its_nights_one_by_one() {
    let test = CliTest::new();
    // Two stores without kept nights, so that neither answer can lean on the other's.
    let fresh = |name: &str| {
        let store = test.path().join(name);
        link_tree(&WORLD.dir.join("store"), &store);
        let _ = fs::remove_dir_all(store.join("nights"));
        store.to_str().unwrap().to_owned()
    };
    let (of_range, of_nights, models) = (fresh("range-store"), fresh("night-store"), WORLD.path("models"));
    let score = |store: &str, out: &str, nights: &[&str]| {
        let fixed = ["score", "--store", store, "--models", &models, "--name", "nightly", "--out", out];
        let outcome = test.run(&[&fixed, nights].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        outcome.stdout
    };
    let printed = score(&of_range, "range", &["--from", NIGHT, "--to", ATTACK]);
    let range = test.info("range");
    let dates: Vec<&str> = range["nights"].as_array().unwrap().iter().map(|n| n["date"].as_str().unwrap()).collect();
    assert_eq!((dates.len(), dates[0], dates[8]), (9, NIGHT, ATTACK));
    // The latest first: it makes the nights before it, and they are told again from what it kept.
    let mut nights: Vec<(String, Vec<serde_json::Value>, serde_json::Value)> = dates
        .iter()
        .rev()
        .map(|date| {
            let text = score(&of_nights, date, &["--date", date]);
            (text, test.anomalies(date), test.info(date)["nights"][0].clone())
        })
        .collect();
    nights.reverse();
    assert_eq!(nights.iter().map(|n| n.0.as_str()).collect::<String>(), printed);
    assert!(nights.iter().flat_map(|n| n.1.clone()).eq(test.anomalies("range")), "the rows differ");
    assert!(nights.iter().map(|n| &n.2).eq(range["nights"].as_array().unwrap()));
    assert_same_trees(Path::new(&of_range), Path::new(&of_nights), "kept nights");
}
