//! `models diff`: what would change if another version were champion.

use serde_json::Value;

use crate::CliTest;
use crate::models::{NIGHTLY, with_real_versions};
use crate::world::{ATTACK, LAST, NIGHT, UNTIL, WORLD, tree};

/// Version 2 is version 1 that may not alert.
fn with_a_silent_version() -> CliTest {
    with_real_versions(2, |_, model| model.manifest.settings.alerts.per_night = 0)
}

fn args<'a>(versions: [&'a str; 2], store: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["models", "diff", "--from", versions[0], "--to", versions[1], "--store", store];
    [&fixed[..], &NIGHTLY, more].concat()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_version_that_reports_less_loses_alerts_and_recall() {
    let test = with_a_silent_version();
    let (store, labels) = (WORLD.path("store"), WORLD.path("sim/labels.csv"));
    let before = tree(&test.path().join("models"));
    let diff = json(&test.stdout(&args(["1", "2"], &store, &["--labels", &labels, "--json"])));
    let nights = diff["nights"].as_array().unwrap();
    assert_eq!((&nights[0], nights.last().unwrap()), (&NIGHT.into(), &LAST.into()), "all that neither learned from");
    let lost = diff["lost"].as_array().unwrap();
    assert!(!lost.is_empty() && diff["gained"].as_array().unwrap().is_empty());
    assert_eq!((&diff["alerts"]["from"], &diff["alerts"]["to"]), (&lost.len().into(), &0.into()));
    assert_eq!(diff["alerts_in_both"], 0);
    assert!(lost.iter().all(|c| c["place"]["to"]["rank"].is_u64()), "the other version ranks them too");
    // Nearly, not wholly: what is reported waits to be learned, so that later nights are judged a little differently.
    for alike in ["rank_correlation", "same_top10"] {
        assert!(diff["agreement"][alike].as_f64().unwrap() > 0.9, "{alike}: {}", diff["agreement"]);
    }
    let labelled = &diff["labels"];
    assert!(labelled["recall"]["from"]["recall_reported"].as_f64().unwrap() > 0.0, "{labelled}");
    assert_eq!(labelled["recall"]["to"]["recall_reported"], 0.0);
    assert!(!labelled["lost"].as_array().unwrap().is_empty() && labelled["gained"].as_array().unwrap().is_empty());

    // The run of the version says the same.
    let models = test.path().join("models");
    let models = models.to_str().unwrap();
    let run = ["score", "--store", &store, "--models", models, "--name", "nightly", "--version", "1", "--out", "run"];
    assert_eq!(test.run(&[&run[..], &["--from", NIGHT, "--to", LAST]].concat()).code, 0);
    let reported: Vec<Value> = test.anomalies("run").into_iter().filter(|a| a["reported"] == true).collect();
    assert_eq!(reported.len(), lost.len());
    assert!(reported.iter().all(|a| lost.iter().any(|c| c["anomaly_key"] == a["anomaly_key"])));

    let back = json(&test.stdout(&args(["2", "1"], &store, &["--json"])));
    let keys = |list: &Value| list.as_array().unwrap().iter().map(|c| c["anomaly_key"].clone()).collect::<Vec<_>>();
    assert_eq!((keys(&back["gained"]), back["lost"].as_array().unwrap().len()), (keys(&diff["lost"]), 0));
    let text = test.stdout(&args(["1", "2"], &store, &["--labels", &labels]));
    assert!(text.starts_with(&format!("nightly: version 1 -> version 2 on 13 nights, {NIGHT} to {LAST}\n")), "{text}");
    for part in ["attacks reported", "gained: none", "that version 1 alone reports", "attacks gained: none; lost: S"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(tree(&test.path().join("models")) == before, "a comparison changes nothing");

    test.write("page.html", "of yesterday");
    let told = test.run(&args(["1", "2"], &store, &["--labels", &labels, "--page", "page.html"]));
    assert_eq!((told.code, told.stdout.as_str()), (0, text.as_str()));
    assert!(told.stderr.contains("comparison written to page.html\n"), "{}", told.stderr);
    let page = std::fs::read_to_string(test.path().join("page.html")).unwrap();
    let headline = format!("Version 2 adds no alert and drops {}", lost.len());
    assert!(page.contains(&headline) && page.contains("On the labels"), "{page}");
    assert!(lost.iter().all(|c| page.contains(&c["anomaly_key"].as_str().unwrap()[..12])));
    test.failure(2, &args(["1", "2"], &store, &["--page", "no/folder/page.html"]));
}

#[test]
fn nights_can_be_chosen_and_must_be_there() {
    let test = with_a_silent_version();
    let store = WORLD.path("store");
    let nights = |more: &[&str]| {
        let outcome = test.run(&[&args(["1", "2"], &store, &["--json"])[..], more].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        json(&outcome.stdout)["nights"].clone()
    };
    assert_eq!(nights(&["--since", ATTACK, "--until", ATTACK]), serde_json::json!([ATTACK]));
    assert_eq!(nights(&["--until", UNTIL]), serde_json::json!([UNTIL]));
    assert_eq!(nights(&["--since", ATTACK]).as_array().unwrap().len(), 5);
    test.failure(8, &args(["1", "2"], &store, &["--since", "2027-01-01", "--until", "2027-01-02"]));
    test.failure(2, &args(["1", "2"], &store, &["--since", LAST, "--until", NIGHT]));
    test.failure(2, &args(["1", "2"], &store, &["--table", "t.csv"]));
    test.failure(6, &args(["1", "9"], &store, &[]));
    test.failure(3, &args(["1", "2"], &store, &["--set", "rules.sigmas=9"]));
    let labels = test.failure(4, &args(["1", "2"], &store, &["--labels", "nowhere.csv"]));
    assert!(labels.contains("nowhere.csv"), "{labels}");
}

#[test]
fn two_versions_of_a_table_are_compared_row_by_row() {
    let test = CliTest::new();
    let row = |r: usize, x: f64| format!("\u{1b}[2Jrow {r},{x},{}\n", (r * 7 % 13) as f64 + x / 3.0);
    let calm: String = (0..300).map(|r| row(r, (r % 17) as f64 + (r % 5) as f64 * 0.1)).collect();
    test.write("calm.csv", &format!("id,a,b\n{calm}"));
    let far: String = (300..330).map(|r| row(r, 400.0 + r as f64)).collect();
    test.write("with-far.csv", &format!("id,a,b\n{calm}{far}"));
    let model = ["--models", "models", "--name", "t"];
    for table in ["calm.csv", "with-far.csv"] {
        test.stdout(&[&["train", "--table", table, "--key", "id"][..], &model].concat());
    }
    let diff = ["models", "diff", "--from", "1", "--to", "2", "--table", "with-far.csv"];
    let found = json(&test.stdout(&[&diff[..], &model, &["--json"]].concat()));
    let (from, to) = (found["odd_rows"]["from"].as_u64().unwrap(), found["odd_rows"]["to"].as_u64().unwrap());
    let len = |what: &str| found[what].as_array().unwrap().len() as u64;
    assert!(from > to, "who learned the far rows finds them less odd: {from}, {to}");
    assert_eq!(from + len("gained") - len("lost"), to);
    assert!(found["lost"][0]["row"].as_u64().unwrap() >= 300);
    assert!(found["agreement"]["rank_correlation"].as_f64().unwrap() > 0.5);
    let text = test.stdout(&[&diff[..], &model].concat());
    assert!(text.contains("\nlost: ") && !text.contains('\u{1b}'), "{text}");
    let promoted = test.stdout(&[&["models", "promote", "--version", "2", "--reason", "r"][..], &model].concat());
    assert!(promoted.contains("5 golden rows computed alike"), "{promoted}");
    assert!(test.failure(6, &[&diff[..6], &["--store", "s"], &model].concat()).contains("trained on a table"));
    test.failure(2, &[&diff[..], &model, &["--since", "2026-01-01"]].concat());
}

#[test]
fn two_versions_of_sequences_are_compared_one_by_one() {
    let test = CliTest::new();
    let calm = (0..300)
        .map(|i| format!("s{i},login read{} logout,u{}\n", " read".repeat(i % 5), i % 7))
        .collect::<Vec<_>>()
        .concat();
    test.write("calm.csv", &format!("sequence_id,tokens,entity\n{calm}"));
    let odd = (0..60)
        .map(|i| format!("o{i},login export{} logout,u9\n", " export".repeat(i % 5)))
        .collect::<Vec<_>>()
        .concat();
    test.write("with-odd.csv", &format!("sequence_id,tokens,entity\n{calm}{odd}"));
    let model = ["--models", "models", "--name", "s"];
    for file in ["calm.csv", "with-odd.csv"] {
        test.stdout(&[&["train", "--sequences", file][..], &model].concat());
    }
    let diff = ["models", "diff", "--from", "1", "--to", "2", "--sequences", "with-odd.csv", "--json"];
    let found = test.run(&[&diff[..], &model].concat());
    assert_eq!(found.code, 0, "{}", found.stderr);
    let found = json(&found.stdout);
    let lost = found["lost"].as_array().unwrap();
    assert!(lost.iter().all(|row| row["key"][0].as_str().unwrap().starts_with('o')), "{found}");
    assert!(lost.len() > 30, "who learned exports finds them ordinary: {found}");
    let promoted = test.stdout(&[&["models", "promote", "--version", "2", "--reason", "r"][..], &model].concat());
    assert!(promoted.contains("5 golden rows computed alike"), "{promoted}");
}
