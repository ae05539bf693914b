//! `models list`, `models show` and `models verify`.

use std::collections::BTreeMap;
use std::fs;

use quietwatch::config::Settings;
use quietwatch::models::{Array, Draft, Manifest, Record, Registry};

use crate::CliTest;

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
            },
            arrays: vec![Array { name: "a".into(), shape: vec![1], values: vec![1.0] }],
            records: vec![Record { section: "s".into(), key: Default::default(), numbers: vec![] }],
            card: "# card\n".into(),
        };
        registry.create_version(draft, "2026-05-01T02:00:00Z").unwrap();
    }
    test
}

const NIGHTLY: [&str; 4] = ["--models", "models", "--name", "nightly"];

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
    assert_eq!(text.lines().count(), 3);
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
