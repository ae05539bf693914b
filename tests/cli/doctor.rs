//! `doctor`: healthy, worth a look, or broken, and what to do about it.

use std::fs;

use serde_json::Value;

use crate::CliTest;
use crate::models::with_real_versions;
use crate::world::{OUTAGE, WORLD, flip_bit, link_tree, tree};

/// A copy of the shared world, which a test may damage.
fn with_world() -> CliTest {
    let test = with_real_versions(2, |_, _| ());
    link_tree(&WORLD.dir.join("store"), &test.path().join("store"));
    test
}

const HERE: [&str; 4] = ["--store", "store", "--models", "models"];

/// The exit code and the checks by name: status, detail, what to do.
fn doctor(test: &CliTest, more: &[&str]) -> (i32, Vec<(String, String, String)>) {
    let outcome = test.run(&[&["doctor", "--json"][..], more].concat());
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {}", outcome.stderr));
    assert_eq!(json["healthy"], outcome.code == 0);
    assert_eq!(json["exit_code"], outcome.code);
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let checks = json["checks"].as_array().unwrap().iter();
    let checks =
        checks.map(|c| (text(&c["what"]), text(&c["status"]), format!("{}; {}", text(&c["detail"]), text(&c["todo"]))));
    (outcome.code, checks.collect())
}

fn those(checks: &[(String, String, String)], status: &str) -> Vec<String> {
    checks.iter().filter(|c| c.1 == status).map(|c| c.0.clone()).collect()
}

fn find<'a>(checks: &'a [(String, String, String)], name: &str) -> &'a str {
    &checks.iter().find(|c| c.0 == name).unwrap_or_else(|| panic!("{name} in {checks:?}")).2
}

#[test]
fn a_whole_installation_is_healthy_and_left_as_it_is() {
    let test = with_world();
    let before = tree(test.path());
    let (code, checks) = doctor(&test, &HERE);
    assert_eq!((code, those(&checks, "fail")), (0, vec![]), "{checks:?}");
    // The shared world is of the past, and one of its days has no files.
    let mut warned = those(&checks, "warn");
    warned.retain(|name| name != "kept nights");
    assert_eq!(warned, ["store days", "latest day"], "{checks:?}");
    assert!(find(&checks, "store days").contains(OUTAGE));
    assert!(find(&checks, "model nightly champion").contains("golden rows computed alike"));
    assert!(find(&checks, "model nightly age").contains("13 days before the latest"));
    assert!(find(&checks, "model nightly versions").contains("2 versions, every digest matches"));
    let text = test.stdout(&[&["doctor"][..], &HERE].concat());
    assert!(text.lines().take(checks.len()).all(|l| l.starts_with("ok    ") || l.starts_with("warn  ")), "{text}");
    assert!(text.ends_with("warnings\n") && text.contains(": 0 failed, "), "{text}");
    assert!(tree(test.path()) == before);
    let on_time =
        test.command(&[&["doctor"][..], &HERE].concat()).env("SOURCE_DATE_EPOCH", "1770508800").output().unwrap();
    assert!(String::from_utf8(on_time.stdout).unwrap().contains("ok    latest day: 2026-02-07"));
}

#[test]
fn a_wrong_digest_anywhere_exits_7_and_is_named() {
    let test = with_world();
    let partitions = fs::read_dir(test.path().join("store")).unwrap().map(|e| e.unwrap().path());
    let org = partitions
        .filter(|p| p.is_dir())
        .find(|p| p.join(OUTAGE).parent().is_some_and(|p| p.join("2026-01-05").is_dir()))
        .unwrap();
    for (damaged, check) in [
        (org.join("2026-01-06/features/user_day.parquet"), "2026-01-06"),
        (org.join("2026-01-06/manifest.json"), "2026-01-06"),
        (test.path().join("models/nightly/versions/000002/card.md"), "model nightly version 000002"),
        (test.path().join("models/nightly/versions/000001/model.safetensors"), "model nightly version 000001"),
        (test.path().join("models/nightly/log.jsonl"), "model nightly log"),
        (test.path().join("models/nightly/aliases/champion"), "model nightly"),
    ] {
        let bytes = fs::read(&damaged).unwrap();
        flip_bit(&damaged);
        let (code, checks) = doctor(&test, &HERE);
        assert_eq!(code, 7, "{check}: {checks:?}");
        assert!(those(&checks, "fail").iter().any(|name| name.contains(check)), "{check}: {checks:?}");
        fs::write(&damaged, bytes).unwrap();
    }
    assert_eq!(doctor(&test, &HERE).0, 0);
}

#[test]
fn what_is_missing_or_left_over_is_told_with_what_to_do() {
    let test = with_world();
    fs::write(test.path().join("models/nightly/versions/.tmp-abc"), "").unwrap();
    fs::write(test.path().join("store/.tmp/half.new"), "").unwrap();
    fs::remove_file(test.path().join("models/nightly/aliases/champion")).unwrap();
    let (code, checks) = doctor(&test, &[&HERE[..], &["--quick"]].concat());
    assert_eq!(code, 0, "{checks:?}");
    assert!(find(&checks, "model nightly writer").contains("versions/.tmp-abc; `models gc`"));
    assert!(find(&checks, "store writer").contains("half.new; the next `features`"));
    assert!(find(&checks, "model nightly aliases").contains("`models promote` sets one"));

    let (code, checks) = doctor(&test, &["--store", "nowhere", "--models", "nowhere"]);
    assert_eq!((code, those(&checks, "fail")), (4, vec!["store".into(), "models".into()]));
    assert_eq!(doctor(&test, &["--models", "models", "--name", "other"]).0, 6);
    assert_eq!(doctor(&test, &["--store", "store", "--set", "alerts.q=7"]).0, 3);
    assert_eq!(doctor(&test, &["--store", "store", "--set", "enrich.networks=[\"gone.csv\"]"]).0, 3);
    test.failure(2, &["doctor"]);
    test.write("quietwatch.toml", "[run]\nstore = \"store\"\nmodels = \"models\"\nname = \"nightly\"\n");
    let (code, checks) = doctor(&test, &["--config", "quietwatch.toml"]);
    assert_eq!(code, 7, "the log knows of a champion that is gone: {checks:?}");
}

#[test]
fn a_champion_that_this_engine_cannot_score_with_fails() {
    let test = with_real_versions(2, |_, model| model.manifest.feature_schema = "0".repeat(64));
    let digest = quietwatch::models::Registry::open(&test.path().join("models"), "nightly")
        .unwrap()
        .resolve(&quietwatch::models::Selector::Version(2))
        .unwrap()
        .1;
    fs::remove_file(test.path().join("models/nightly/aliases/champion")).unwrap();
    fs::write(test.path().join("models/nightly/aliases/champion"), format!("000002 {digest}\n")).unwrap();
    fs::remove_file(test.path().join("models/nightly/log.jsonl")).unwrap();
    let (code, checks) = doctor(&test, &["--models", "models"]);
    assert_eq!((code, those(&checks, "fail")), (5, vec!["model nightly champion".into()]), "{checks:?}");
}
