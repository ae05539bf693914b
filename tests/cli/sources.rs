//! Event logs of other origins: canonical columns, a profile of one's own, the bundled capture, and hostile text.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use quietwatch::report::csv;
use quietwatch::store::Store;
use serde_json::Value;

use crate::CliTest;
use crate::world::tree;

/// Organisation, date and user ids of every partition.
fn users(store: &Path) -> Vec<(String, String, Vec<String>)> {
    let store = Store::open(store).unwrap();
    let of = |id: quietwatch::store::PartitionId| {
        let day = store.load(&id).unwrap();
        let mut users: Vec<String> = day.user_day.ids.iter().map(|id| day.text(*id).to_owned()).collect();
        users.sort();
        (id.org, id.date.to_string(), users)
    };
    store.partitions().unwrap().into_iter().map(of).collect()
}

fn ingest(test: &CliTest, events: &str, profile: &str) -> Value {
    let args = ["features", "--events", events, "--profile", profile, "--store", "store", "--json"];
    let outcome = test.run(&args);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn partition(org: &str, date: &str, users: &[&str]) -> (String, String, Vec<String>) {
    (org.to_owned(), date.to_owned(), users.iter().map(|&u| u.to_owned()).collect())
}

#[test]
fn generic_reads_canonical_columns_in_any_order() {
    let test = CliTest::new();
    test.write(
        "events.csv",
        "user_id,colour,timestamp,org_id,status_code\n\
         u1,red,2026-01-05T23:59:59.999Z,acme,200\n\
         u2,red,2026-01-06T01:00:00+02:00,acme,500\n\
         u1,red,2026-01-06T00:00:00Z,acme,200\n\
         u3,red,2026-01-06T00:00:00Z,,200\n\
         ,red,2026-01-06T00:00:00Z,acme,200\n",
    );
    let outcome = test.run(&["features", "--events", "events.csv", "--profile", "generic", "--store", "store"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("warning: 1 row set aside"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("4 events, 1 row set aside; 3 partitions written"), "{}", outcome.stdout);
    let expected = [
        partition("acme", "2026-01-05", &["u1", "u2"]),
        partition("acme", "2026-01-06", &["u1"]),
        partition("default", "2026-01-06", &["u3"]),
    ];
    assert_eq!(users(&test.path().join("store")), expected);
}

#[test]
fn a_file_with_too_many_bad_rows_exits_4_unless_the_share_is_raised() {
    let test = CliTest::new();
    let good = "2026-01-05T10:00:00Z,u1\n".repeat(8);
    test.write("events.csv", &format!("timestamp,user_id\n{good}yesterday,u1\n2026-01-05T10:00:00Z,\n"));
    let features = ["features", "--events", "events.csv", "--profile", "generic", "--store", "store"];
    let error = test.failure(4, &features);
    assert!(error.contains("found 2 of 10") && error.contains("limits.bad-row-share"), "{error}");
    assert_eq!(users(&test.path().join("store")), []);
    let outcome = test.run(&[&features[..], &["--set", "limits.bad-row-share=0.2"]].concat());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(users(&test.path().join("store")), [partition("default", "2026-01-05", &["u1"])]);
}

#[test]
fn csv_gzip_and_parquet_give_equal_features() {
    let test = CliTest::new();
    for format in ["csv", "csv.gz", "parquet"] {
        test.stdout(&["simulate", "--out", format, "--users", "20", "--days", "14", "--format", format]);
        let (events, store) = (format!("{format}/events"), format!("{format}/store"));
        test.stdout(&["features", "--events", &events, "--store", &store]);
    }
    // `events/` and the manifests name the files' digests, the features do not.
    let features = |format: &str| {
        let mut files = tree(&test.path().join(format).join("store"));
        files.retain(|name, _| name.components().any(|part| part.as_os_str() == "features"));
        files
    };
    let csv = features("csv");
    assert_eq!(csv.len(), 13 * 8, "eight tables a day, one day without files");
    for format in ["csv.gz", "parquet"] {
        assert!(features(format) == csv, "{format}");
    }
}

#[test]
fn a_profile_of_ones_own_reads_json_lines() {
    let test = CliTest::new();
    test.write(
        "okta.toml",
        r#"
name = "okta"
[columns]
timestamp = "published"
user_id   = ["actor.id", "actor.alternateId"]
[timestamp]
format = "iso8601"
"#,
    );
    let mut lines = String::new();
    for minute in 10..50 {
        writeln!(lines, r#"{{"published":"2026-01-05T10:{minute}:00.000Z","actor":{{"id":"u1"}},"eventType":"x"}}"#)
            .unwrap();
    }
    lines.push_str("{\"published\":\"2026-01-05T12:00:00.000+02:00\",\"actor\":{\"alternateId\":\"b@example.com\"}}\n");
    lines.push_str(
        "{\"published\":\"2026-01-06T10:00:00Z\",\"actor\":{\"id\":null,\"alternateId\":\"b@example.com\"}}\n",
    );
    lines.push_str("{\"published\":\"nonsense\",\"actor\":{\"id\":\"u1\"}}\n");
    test.write("system.jsonl", &lines);
    let report = ingest(&test, "system.jsonl", "okta.toml");
    assert_eq!((&report["events"], &report["quarantined"]), (&42.into(), &1.into()));
    assert_eq!(report["unknown_columns"], serde_json::json!(["eventType"]));
    let expected = [
        partition("default", "2026-01-05", &["b@example.com", "u1"]),
        partition("default", "2026-01-06", &["b@example.com"]),
    ];
    assert_eq!(users(&test.path().join("store")), expected);
    let quarantine = test.path().join("store/quarantine");
    let file = fs::read_dir(quarantine).unwrap().next().unwrap().unwrap().path();
    let row: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(row["row"], 43, "the row in its file");
    assert!(row["reason"].as_str().unwrap().starts_with("time missing, unreadable"), "{row}");
}

#[test]
fn every_record_of_the_bundled_capture_is_read() {
    let test = CliTest::new();
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/cloudtrail_invictus");
    let report = ingest(&test, capture, "aws-cloudtrail");
    // `zcat *.json.gz | jq '.Records | length'` sums to 2,900 (`demo` says so too).
    for (what, expected) in [("files", 55), ("events", 2_900), ("quarantined", 0), ("unreadable_values", 0)] {
        assert_eq!(report[what], expected, "{what}");
    }
    assert_eq!(report["unknown_columns"], serde_json::json!([]));
    // One day is no history: training says so and adds nothing.
    let error = test.failure(8, &["train", "--store", "store", "--models", "models", "--name", "trail"]);
    assert!(error.contains("at least 4 days"), "{error}");
    assert!(!test.path().join("models/trail/versions").exists());
}

/// Names that would run, break out, move the cursor, reorder, split a row or flood, where text is taken at its word.
fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>\" ' & --",
        "=cmd|' /C calc'!A0",
        "+1+1",
        "@SUM(A1)",
        "-2+3",
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m",
        "\u{202e}gpj.exe\u{2066}\u{200b}",
        "line\r\nbreak,\"quoted\"",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("N".repeat(64 << 10));
    names
}

/// 24 days of twelve users; on the last day those with hostile names do much that is new, under names as hostile.
fn hostile_archive() -> String {
    let names = hostile();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut out =
        String::from("timestamp,org_id,user_id,user_name,client_ip,app_name,entity_name,resource,request_id\n");
    for day in 5..=28 {
        for user in 0..12 {
            let name = names.get(user).cloned().unwrap_or_else(|| format!("user {user}"));
            let (last, long) = (day == 28, name.len() > 1_000);
            let short = if long { "long" } else { &name };
            let calls = if long { 3 } else { 10 + user } + if last && user < 10 { 60 } else { 0 };
            for call in 0..calls {
                let (app, entity) = if last { (short, short) } else { ("app", "Account") };
                let app = if last && call == 0 { &name } else { app };
                writeln!(
                    out,
                    "2026-01-{day:02}T10:{:02}:{user:02}Z,<acme>,{},{},{}.113.7.{user},{},{},{},{day}-{user}-{call}",
                    call % 60,
                    // Some users are known by a hostile id, the others by a hostile name alone.
                    if user % 2 == 0 && !long { quoted(&name) } else { format!("u{user}") },
                    quoted(if long && call > 0 { "" } else { &name }),
                    if last { "203" } else { "198" },
                    quoted(app),
                    quoted(entity),
                    quoted(&format!("/data/{entity}")),
                )
                .unwrap();
            }
        }
    }
    out
}

/// Nothing in the text can steer a terminal or hide from its reader.
fn assert_harmless(text: &str) {
    let hidden = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(|c| hidden(*c)), None);
}

#[test]
fn hostile_text_reaches_every_output_and_breaks_none() {
    let test = CliTest::new();
    test.write("events.csv", &hostile_archive());
    let features = ["features", "--events", "events.csv", "--profile", "generic", "--store", "store"];
    assert!(test.stdout(&features).contains(", 0 rows set aside; 24 partitions"));
    let model = ["--store", "store", "--models", "models", "--name", "n"];
    assert_harmless(&test.stdout(&[&["train", "--until", "2026-01-27"][..], &model].concat()));
    // All are to be printed, whatever the budget says.
    let loud = ["score", "--out", "run", "--set", "alerts.per-night=100"];
    let outcome = test.run(&[&loud[..], &model].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, "run written to run\n"));
    assert_harmless(&outcome.stdout);
    assert!(outcome.stdout.contains("<script>alert(1)</script>") && outcome.stdout.contains("\\u{1b}[2J"));
    assert!(outcome.stdout.len() < 64 << 10, "the long name is cut: {} bytes", outcome.stdout.len());

    let rows = test.anomalies("run");
    let names = hostile();
    for name in &names {
        let found = rows.iter().find(|row| row["user_name"] == name.as_str());
        let found = found.unwrap_or_else(|| panic!("{:?}… has no row", name.chars().take(20).collect::<String>()));
        let key = found["anomaly_key"].as_str().unwrap();
        assert_harmless(&test.stdout(&["explain", key, "--run", "run"]));
        test.stdout(&["explain", key, "--run", "run", "--json"]);
    }

    let html = fs::read_to_string(test.path().join("run/report.html")).unwrap();
    assert_harmless(&html);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !html.contains("<script>alert"));
    assert!(!html.contains("<img src=x") && !html.contains("onerror=alert(1)>"));

    let bytes = fs::read(test.path().join("run/anomalies.csv")).unwrap();
    let records = csv::records(&bytes, "anomalies.csv").unwrap();
    assert_eq!(records.len(), rows.len() + 1);
    let formula =
        |cell: &String| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && cell.parse::<f64>().is_err();
    assert_eq!(records.iter().flat_map(|r| &r.cells).find(|cell| formula(cell)), None);
    for name in names.iter().filter(|name| formula(name)) {
        assert!(records.iter().any(|r| r.cells.contains(&format!("'{name}"))), "{name} is guarded");
    }
    // Guards and quotes come off again: the CSV says what the JSON Lines say.
    let read = csv::read(&bytes, "anomalies.csv").unwrap();
    assert!(read.iter().map(|a| serde_json::to_value(a).unwrap()).eq(rows), "the CSV reads back otherwise");
}
