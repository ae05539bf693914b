//! Findings in the Open Cybersecurity Schema Framework, as `score` writes them.

use std::fs;

use serde_json::Value;

use crate::CliTest;
use crate::world::{ATTACK, LAST, NIGHT};

#[path = "../fixtures/ocsf/schema.rs"]
pub(crate) mod schema;

fn findings(test: &CliTest, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(test.path().join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn reported_anomalies_are_findings_that_the_published_schema_allows() {
    let test = CliTest::new();
    let score = |more: &[&str]| {
        let outcome = test.score("run", &[&["--date", ATTACK], more].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    };
    score(&["--set", "outputs.ocsf=findings.jsonl"]);
    let first = findings(&test, "findings.jsonl");
    let rows = test.anomalies("run");
    let reported: Vec<&Value> = rows.iter().filter(|r| r["reported"] == true).collect();
    assert!(!reported.is_empty() && reported.len() < rows.len());
    assert_eq!(first.len(), reported.len());
    for (finding, row) in first.iter().zip(&reported) {
        assert_eq!(schema::errors(finding), [""; 0], "{finding:#}");
        assert_eq!(finding["finding_info"]["uid"], row["anomaly_key"]);
        assert_eq!(finding["finding_info"]["desc"], row["story"]);
    }
    // A run that changes nothing writes it again, with the same bytes.
    let before = fs::read(test.path().join("findings.jsonl")).unwrap();
    fs::remove_file(test.path().join("findings.jsonl")).unwrap();
    score(&["--set", "outputs.ocsf=findings.jsonl"]);
    assert!(fs::read(test.path().join("findings.jsonl")).unwrap() == before);
    score(&["--set", "outputs.ocsf=all.jsonl", "--set", "outputs.ocsf-watch-list=true"]);
    let all = findings(&test, "all.jsonl");
    assert_eq!(all.len(), rows.len());
    for (finding, row) in all.iter().zip(&rows) {
        assert_eq!(schema::errors(finding), [""; 0], "{finding:#}");
        assert_eq!(finding["is_alert"], row["reported"]);
    }
}

#[test]
fn each_night_of_a_range_has_its_file_and_a_calm_one_is_empty() {
    let test = CliTest::new();
    test.write("etc/q.toml", "[outputs]\nocsf = \"ocsf/{date}/findings.jsonl\"\n");
    assert_eq!(test.score("run", &["--from", NIGHT, "--to", LAST, "--config", "etc/q.toml"]).code, 0);
    let rows = test.anomalies("run");
    let mut calm = 0;
    let nights = test.info("run")["nights"].as_array().unwrap().clone();
    assert_eq!(nights.len(), 13);
    for night in &nights {
        let date = night["date"].as_str().unwrap();
        let found = findings(&test, &format!("etc/ocsf/{date}/findings.jsonl"));
        let expected = rows.iter().filter(|r| r["date"] == date && r["reported"] == true).count();
        assert_eq!(found.len(), expected, "{date}");
        calm += usize::from(found.is_empty());
    }
    assert!(calm > 0 && calm < nights.len());
}

#[test]
fn a_place_in_the_run_folder_is_refused_before_anything_is_scored() {
    let test = CliTest::new();
    for key in ["outputs.ocsf=run/findings.jsonl", "outputs.metrics=./run/../run/x.prom"] {
        let outcome = test.score("run", &["--date", NIGHT, "--set", key]);
        assert_eq!(outcome.code, 2, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("lies within the run folder run"), "{}", outcome.stderr);
        assert!(!test.path().join("run").exists());
    }
}
