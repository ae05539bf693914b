//! A challenger scores in the shadow of the champion, and never in its way.

use std::fs;
use std::path::Path;

use quietwatch::models::{Because, Registry};
use serde_json::Value;

use crate::models::{NIGHTLY, with_real_versions};
use crate::world::{ATTACK, NIGHT, RUN_FILES, WORLD, flip_bit, tree};
use crate::{CliTest, Outcome};

/// Version 2 is the champion that may not alert, and the alias `challenger` names it.
fn with_a_silent_challenger() -> CliTest {
    let test = with_real_versions(2, |_, model| model.manifest.settings.alerts.per_night = 0);
    let registry = Registry::open(&test.path().join("models"), "nightly").unwrap();
    let because = Because { reason: "shadow it", now: "2026-05-01T02:00:00Z", by: None };
    registry.promote(2, "challenger", because, &mut |_| Ok(())).unwrap();
    test
}

fn score(test: &CliTest, out: &str, more: &[&str]) -> Outcome {
    let store = WORLD.path("store");
    let fixed = ["score", "--store", &store, "--date", ATTACK, "--out", out];
    test.run(&[&fixed[..], &NIGHTLY, more].concat())
}

fn shadow(test: &CliTest, out: &str) -> Value {
    serde_json::from_slice(&fs::read(test.path().join(out).join("shadow.json")).unwrap()).unwrap()
}

#[test]
fn a_challenger_leaves_what_it_would_change_and_nothing_else() {
    let test = with_a_silent_challenger();
    let alone = score(&test, "alone", &[]);
    let followed = score(&test, "followed", &["--shadow", "challenger"]);
    assert_eq!((alone.code, followed.code, &alone.stdout), (0, 0, &followed.stdout));
    let (mut one, mut other) = (tree(&test.path().join("alone")), tree(&test.path().join("followed")));
    assert!(one.keys().map(|p| p.to_str().unwrap()).eq(RUN_FILES), "no challenger was asked for");
    let record: Value = serde_json::from_slice(&other.remove(Path::new("shadow.json")).unwrap()).unwrap();
    let page = String::from_utf8(other.remove(Path::new("shadow.html")).unwrap()).unwrap();
    assert!(page.contains("Version 2 adds no alert and drops "), "{page}");
    assert!(one == other, "the champion's run is the same");
    let reported = test.anomalies("alone").iter().filter(|a| a["reported"] == true).count();
    assert!(reported > 0);
    assert_eq!((&record["alerts"]["from"], &record["alerts"]["to"]), (&reported.into(), &0.into()));
    assert_eq!((record["lost"].as_array().unwrap().len(), &record["gained"]), (reported, &Value::Array(vec![])));
    assert_eq!((&record["champion"]["version"], &record["challenger"]["version"]), (&1.into(), &2.into()));
    assert_eq!(record["champion"]["digest"], test.info("alone")["model_digest"]);
    assert_eq!((&record["nights"][0], &record["in_sample"]), (&ATTACK.into(), &false.into()));
    assert!(record["agreement"]["rank_correlation"].as_f64().unwrap() > 0.9, "{record}");
    let said = format!("note: challenger (version 2) has 0 alerts, the champion {reported} (0 gained, {reported} lost");
    assert!(followed.stderr.contains(&said), "{}", followed.stderr);

    test.write("shadow.toml", "[run]\nshadow = \"challenger\"\n");
    let again = score(&test, "alone", &["--config", "shadow.toml"]);
    assert!(again.stderr.contains("run unchanged in alone\n"), "{}", again.stderr);
    for file in ["shadow.json", "shadow.html"] {
        one.insert(file.into(), fs::read(test.path().join("followed").join(file)).unwrap());
    }
    assert!(one == tree(&test.path().join("alone")), "the setting does what the flag does");
}

#[test]
fn a_broken_challenger_is_a_warning_and_its_last_record_goes() {
    let test = with_a_silent_challenger();
    assert_eq!(score(&test, "run", &["--shadow", "challenger"]).code, 0);
    let mut before = tree(&test.path().join("run"));
    flip_bit(&test.path().join("models/nightly/versions/000002/model.safetensors"));
    let outcome = score(&test, "run", &["--shadow", "challenger"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning: the shadow of challenger is left out"), "{}", outcome.stderr);
    before.remove(Path::new("shadow.json"));
    before.remove(Path::new("shadow.html"));
    assert!(before == tree(&test.path().join("run")));
    let json = score(&test, "run", &["--shadow", "challenger", "--log-format", "json", "--fail-on", "info"]);
    let kinds: Vec<Value> =
        json.stderr.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["kind"].clone()).collect();
    assert!(json.code == 10 && kinds.contains(&"digest".into()), "{}", json.stderr);
}

#[test]
fn without_a_challenger_there_is_nothing_to_follow() {
    let test = with_a_silent_challenger();
    let nobody = score(&test, "run", &["--shadow", "nobody"]);
    assert_eq!(
        (nobody.code, nobody.stderr.as_str()),
        (0, "run written to run\nnote: there is no alias \"nobody\", so nothing scores in the shadow\n")
    );
    test.write("typo.toml", "[run]\nshadow = \"chalenger\"\n");
    let setting = score(&test, "run", &["--config", "typo.toml"]);
    assert_eq!(setting.stderr, "run unchanged in run\n", "a setting may stand before there is a challenger");
    let itself = score(&test, "run", &["--shadow", "champion"]);
    assert!(itself.stderr.ends_with("note: champion names the champion, version 1\n"), "{}", itself.stderr);
    assert!(tree(&test.path().join("run")).keys().map(|p| p.to_str().unwrap()).eq(RUN_FILES));
    test.write("shadow.toml", "[run]\nshadow = \"challenger\"\n");
    let other = score(&test, "run", &["--config", "shadow.toml", "--alias", "challenger"]);
    assert_eq!(other.code, 0);
    assert!(!test.path().join("run/shadow.json").exists(), "the challenger follows the champion alone");
    for refused in [&["--version", "1"][..], &["--table", "t.csv"], &["--sequences", "t.csv"]] {
        assert_eq!(score(&test, "run", &[&["--shadow", "challenger"], refused].concat()).code, 2, "{refused:?}");
    }
    let store = WORLD.path("store");
    let range =
        ["score", "--store", &store, "--from", NIGHT, "--to", ATTACK, "--out", "range", "--shadow", "challenger"];
    assert_eq!(test.run(&[&range[..], &NIGHTLY].concat()).code, 0);
    assert_eq!(shadow(&test, "range")["nights"].as_array().unwrap().len(), 9);
}
