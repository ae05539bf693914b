//! `models …`: what a list shows, what a check finds, and how the champion changes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use quietwatch::config::Settings;
use quietwatch::models::{Array, Draft, Golden, LoadedModel, Manifest, Record, Registry, Selector};
use serde_json::Value;

use crate::CliTest;
use crate::world::{NIGHT, WORLD, flip_bit, link_tree, tree};

/// A folder `models` with the model `nightly` in so many versions.
fn with_versions(versions: u32) -> CliTest {
    let test = CliTest::new();
    let registry = Registry::open(&test.path().join("models"), "nightly").unwrap();
    for version in 1..=versions {
        let draft = Draft {
            manifest: Manifest {
                enrichment: String::new(),
                format_version: 1,
                engine_version: "0.1.0".into(),
                feature_schema: "0".repeat(64),
                settings: Settings::default(),
                seed: u64::from(version),
                train_from: Some("2026-01-01".parse().unwrap()),
                train_until: Some("2026-04-30".parse().unwrap()),
                table: None,
                sequences: None,
                orgs: vec!["00D000000000001AAA".into()],
                events: 1_000,
                user_days: 100,
                input_digest: "1".repeat(64),
                metrics: BTreeMap::from([("mean_p".into(), 0.5)]),
                files: BTreeMap::new(),
                notes: vec!["hello\u{1b}[2J".into()],
                golden: vec![],
            },
            arrays: vec![Array { name: "a".into(), shape: vec![1], values: vec![1.0] }],
            records: vec![Record { section: "s".into(), key: Default::default(), numbers: vec![] }],
            card: "# card\n".into(),
        };
        registry.create_version(draft, "2026-05-01T02:00:00Z").unwrap();
    }
    test
}

pub(crate) const NIGHTLY: [&str; 4] = ["--models", "models", "--name", "nightly"];

fn models<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["models", command][..], &NIGHTLY, more].concat()
}

#[test]
fn list_shows_versions_and_aliases() {
    let test = with_versions(2);
    let text = test.stdout(&models("list", &[]));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1][..5], ["1", "champion", "2026-01-01", "to", "2026-04-30"]);
    assert_eq!(lines[2][0], "2");
    let json: serde_json::Value = serde_json::from_str(&test.stdout(&models("list", &["--json"]))).unwrap();
    assert_eq!(json[1]["parent"], 1);
    assert_eq!(json[0]["aliases"][0], "champion");
    assert_eq!(test.stdout(&["models", "list", "--models", "models"]), "nightly\n");
}

#[test]
fn show_means_the_champion_unless_told_otherwise() {
    let test = with_versions(2);
    let text = test.stdout(&models("show", &[]));
    assert!(text.contains("nightly version 1") && text.contains("hello\\u{1b}[2J"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&test.stdout(&models("show", &["--version", "2", "--json"]))).unwrap();
    assert_eq!((&json["version"], &json["seed"]), (&2.into(), &2.into()));
    assert_eq!(json["settings"]["alerts"]["per-night"], 10);
    assert!(test.stdout(&models("show", &["--alias", "champion"])).contains("version 1"));
}

#[test]
fn what_is_missing_exits_6_and_says_what_there_is() {
    let test = with_versions(2);
    assert_eq!(
        test.failure(6, &models("show", &["--version", "9"])),
        "error: no version 9 of model \"nightly\"; there are: 1, 2\n"
    );
    assert!(test.failure(6, &models("show", &["--alias", "challenger"])).contains("there are: champion"));
    let error = test.failure(6, &["models", "list", "--models", "models", "--name", "weekly"]);
    assert!(error.contains("there are: nightly"), "{error}");
    test.failure(6, &["models", "list", "--models", "nowhere"]);
    test.failure(2, &["models", "list", "--models", "models", "--name", "../nightly"]);
}

#[test]
fn verify_finds_damage_and_exits_7() {
    let test = with_versions(2);
    let text = test.stdout(&models("verify", &[]));
    assert_eq!(text.lines().count(), 4, "two versions, the alias, the log: {text}");
    assert!(text.lines().all(|line| line.contains(" ok ")), "{text}");

    let path = test.path().join("models/nightly/versions/000002/baseline.arrow");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let outcome = test.run(&models("verify", &[]));
    assert_eq!(outcome.code, 7);
    assert!(outcome.stdout.contains("version 000002") && outcome.stdout.contains("WRONG"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("baseline.arrow: expected BLAKE3"), "{}", outcome.stderr);
    test.stdout(&models("verify", &["--version", "1"]));
    let outcome = test.run(&models("verify", &["--version", "2", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((outcome.code, &json[0]["ok"]), (7, &false.into()));
    test.failure(7, &models("show", &["--version", "2"]));
}

/// The shared world's model in so many versions, which differ in their seed alone; what `change` does to each is written
/// with fitting digests.
pub(crate) fn with_real_versions(versions: u32, change: impl Fn(u32, &mut LoadedModel)) -> CliTest {
    let test = CliTest::new();
    let models = test.path().join("models");
    link_tree(&WORLD.dir.join("models"), &models);
    let registry = Registry::open(&models, "nightly").unwrap();
    let first = registry.load(&Selector::Version(1)).unwrap();
    for version in 2..=versions {
        let mut model = first.clone();
        model.manifest.seed = u64::from(version);
        change(version, &mut model);
        let LoadedModel { manifest, arrays, records, .. } = model;
        let draft = Draft { manifest, arrays, records, card: "# card\n".into() };
        assert_eq!(registry.create_version(draft, "2026-05-01T02:00:00Z").unwrap(), version);
    }
    test
}

fn promote<'a>(version: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&models("promote", &["--version", version, "--reason", "finds more"])[..], more].concat()
}

fn log(test: &CliTest) -> Vec<Value> {
    let text = fs::read_to_string(test.path().join("models/nightly/log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_promoted_version_scores_the_next_night_and_a_rollback_brings_the_old_one_back() {
    let test = with_real_versions(2, |_, _| ());
    let store = WORLD.path("store");
    let score = |out: &str| {
        let args = ["score", "--store", &store, "--out", out, "--date", NIGHT];
        assert_eq!(test.run(&[&args[..], &NIGHTLY].concat()).code, 0);
        test.info(out)["model_version"].clone()
    };
    assert_eq!(score("before"), 1);
    let text = test.stdout(&promote("2", &[]));
    assert!(text.starts_with("champion of nightly: version 1 -> version 2 (digests match, "), "{text}");
    assert!(text.ends_with(" golden rows computed alike)\n"), "{text}");
    assert_eq!(score("promoted"), 2);
    let again = test.stdout(&promote("2", &[]));
    assert!(again.contains("version 2 already; nothing was changed"), "{again}");
    let back = test.stdout(&models("rollback", &["--reason", "too\u{1b}[2J loud", "--json"]));
    let back: Value = serde_json::from_str(&back).unwrap();
    assert_eq!((&back["from"], &back["to"], &back["changed"]), (&2.into(), &1.into(), &true.into()));
    assert_eq!(score("back"), 1);
    assert!(tree(&test.path().join("before")) == tree(&test.path().join("back")), "the old champion scores as before");

    let lines = log(&test);
    assert_eq!(lines.len(), 5);
    assert_eq!((&lines[3]["event"], &lines[3]["reason"]), (&"promote".into(), &"finds more".into()));
    for pair in lines.windows(2) {
        let line = serde_json::to_string(&pair[0]).unwrap();
        assert_eq!(pair[1]["previous"], blake3::hash(line.as_bytes()).to_hex().as_str());
    }
    test.stdout(&models("verify", &[]));
    let shown = test.stdout(&models("show", &["--version", "1"]));
    assert!(shown.contains("champion again after version 2: too\\u{1b}[2J loud"), "{shown}");
    assert!(test.stdout(&models("list", &[])).contains("too\\u{1b}[2J loud"));
    let nothing = test.failure(6, &models("rollback", &["--reason", "more"]));
    assert!(nothing.contains("nothing is left to undo"), "{nothing}");
}

#[test]
fn golden_rows_come_from_every_kind_of_subject_and_an_absent_user() {
    let test = with_real_versions(1, |_, _| ());
    let model = Registry::open(&test.path().join("models"), "nightly").unwrap().load(&Selector::Version(1)).unwrap();
    let mut subjects: Vec<&str> = Vec::new();
    let mut absent = 0;
    for row in &model.manifest.golden {
        match row {
            Golden::Subject { subject, .. } => subjects.push(subject.name()),
            Golden::Absent { usual, .. } => {
                assert!(*usual > 0.5, "the steadiest user is expected: {usual}");
                absent += 1;
            }
            other => panic!("nights have no {other:?}"),
        }
    }
    subjects.dedup();
    assert_eq!((subjects, absent), (vec!["user-day", "org-day"], 1));
}

#[test]
fn a_model_that_computes_otherwise_than_its_training_did_is_not_promoted() {
    type Change = fn(&mut LoadedModel);
    let changes: [Change; 4] = [
        |m| match m.manifest.golden.last_mut().unwrap() {
            Golden::Absent { p_value, .. } => *p_value *= 1.01,
            other => panic!("{other:?}"),
        },
        // A calibration that is another, though the model is whole: so small an organisation has one number for each class.
        |m| m.arrays.iter_mut().filter(|a| a.name.ends_with("/final")).for_each(|a| a.values[1] += 0.5),
        |m| match &mut m.manifest.golden[0] {
            Golden::Subject { scores, .. } => drop(scores.pop()),
            other => panic!("{other:?}"),
        },
        |m| m.arrays.retain(|a| !a.name.starts_with("calibration/strata")),
    ];
    let test = with_real_versions(1 + changes.len() as u32, |version, model| changes[version as usize - 2](model));
    let before = tree(&test.path().join("models"));
    for version in ["2", "3", "4", "5"] {
        let error = test.failure(6, &promote(version, &[]));
        assert!(error.contains("cannot be promoted on this machine\n  because: "), "{error}");
    }
    assert!(tree(&test.path().join("models")) == before);
    let older = with_real_versions(2, |_, model| model.manifest.golden.clear());
    assert!(older.stdout(&promote("2", &[])).contains("it has no golden rows"));
}

#[test]
fn what_cannot_be_promoted_is_refused_with_its_exit_code() {
    let test = with_real_versions(3, |version, model| {
        if version == 3 {
            model.manifest.feature_schema = "0".repeat(64);
        }
    });
    assert!(test.failure(2, &models("promote", &["--version", "2"])).contains("--reason"));
    assert!(test.failure(2, &models("promote", &["--version", "2", "--reason", "  "])).contains("expected a reason"));
    test.failure(2, &promote("2", &["--alias", "../champion"]));
    test.failure(2, &promote("0", &[]));
    test.failure(6, &promote("9", &[]));
    test.failure(5, &promote("3", &[]));
    test.failure(6, &models("rollback", &["--alias", "challenger", "--reason", "x"]));
    let lock = fs::File::create(test.path().join("models/nightly/.lock")).unwrap();
    lock.lock().unwrap();
    assert!(test.failure(9, &promote("2", &[])).contains("being changed by another process"));
    test.failure(9, &models("rollback", &["--reason", "x"]));
    drop(lock);
    for file in ["model.safetensors", "baseline.arrow", "card.md", "manifest.json", "manifest.blake3"] {
        let path = test.path().join("models/nightly/versions/000002").join(file);
        let bytes = fs::read(&path).unwrap();
        flip_bit(&path);
        test.failure(7, &promote("2", &[]));
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(log(&test).len(), 4, "two lines of the first version and one of each other");
    test.stdout(&promote("2", &[]));
}

#[test]
fn every_row_of_a_night_that_is_scored_beside_promotions_is_of_one_version() {
    let rounds = if std::env::var_os("QUIETWATCH_SLOW").is_some() { 1000 } else { 4 };
    let test = with_real_versions(2, |_, _| ());
    let store = test.path().join("store");
    link_tree(&WORLD.dir.join("store"), &store);
    let registry = Registry::open(&test.path().join("models"), "nightly").unwrap();
    let digests = [1, 2].map(|v| registry.resolve(&Selector::Version(v)).unwrap().1);
    let args = ["score", "--store", "store", "--out", "run", "--date", NIGHT];
    let mut seen = [0; 2];
    for round in 0..rounds {
        let mut scoring =
            test.command(&[&args[..], &NIGHTLY].concat()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let version = if round % 2 == 0 { "2" } else { "1" };
        test.stdout(&promote(version, &[]));
        assert!(scoring.wait().unwrap().success(), "round {round}");
        let (info, rows) = (test.info("run"), test.anomalies("run"));
        let version = info["model_version"].as_u64().unwrap() as usize;
        assert_eq!(info["model_digest"], digests[version - 1]);
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!((&row["model_version"], &row["model_digest"]), (&info["model_version"], &info["model_digest"]));
        }
        seen[version - 1] += 1;
    }
    assert_eq!(seen[0] + seen[1], rounds, "{seen:?}");
    test.stdout(&models("verify", &[]));
    assert_eq!(log(&test).len(), 3 + rounds);
}

#[test]
fn gc_says_what_it_keeps_and_why() {
    let test = with_versions(7);
    let run = |more: &[&str]| test.stdout(&models("gc", more));
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let dry = lines(&run(&["--dry-run"]));
    assert_eq!(dry[0], "would remove version 2");
    assert_eq!(dry[1], "kept version 1 alias champion names it");
    assert_eq!(dry[2], "kept version 3 it is among the last 5");
    assert!(test.path().join("models/nightly/versions/000002").is_dir());
    test.write("quietwatch.toml", "[run]\nkeep-versions = 2\nmodels = \"models\"\nname = \"nightly\"\n");
    let json: Value =
        serde_json::from_str(&test.stdout(&["models", "gc", "--config", "quietwatch.toml", "--json"])).unwrap();
    assert_eq!(json["removed"], serde_json::json!([2, 3, 4, 5]));
    assert_eq!(run(&["--keep", "2"]).lines().next(), Some("nothing to remove"));
    assert!(test.failure(2, &models("gc", &["--version", "1"])).contains("alias champion names it"));
    assert_eq!(log(&test).last().unwrap()["reason"], "gc, keeping the last 2");
    let left = test.stdout(&models("list", &[]));
    assert_eq!(left.lines().count(), 4, "{left}");
}
