//! `train --table` and `score --table`: any numeric feature table through the geometry detectors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, SerReader, Series};
use polars_io::parquet::read::ParquetReader;
use polars_io::parquet::write::ParquetWriter;
use quietwatch::models::{CHAMPION, Draft, Registry, Selector};
use serde_json::Value;

use crate::world::{WORLD, assert_same_trees, tree};
use crate::{CliTest, Outcome};

/// Columns that are always there, behind the keys.
const OUTPUT: [&str; 8] = [
    "extended_isolation_forest",
    "dbscan",
    "one_class_svm",
    "knn",
    "mahalanobis",
    "gaussian_mixture",
    "p_value",
    "score",
];

const ROWS: usize = 400;
const FEATURES: [&str; 5] = ["calls", "errors", "share", "hours", "constant"];

/// Rows far from all others.
const ODD: [usize; 3] = [17, 180, 333];

/// Numbers that look random and are the same everywhere (an LCG; constants of Knuth's MMIX).
fn noise(n: usize) -> Vec<f64> {
    let mut state = 42_u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..n).map(|_| (0..6).map(|_| next()).sum::<f64>() - 3.0).collect()
}

/// The features of one row.
fn row(noise: &[f64], row: usize) -> [f64; 5] {
    let far = if ODD.contains(&row) { 25.0 } else { 0.0 };
    let x = &noise[row * 4..row * 4 + 4];
    [(100.0 + 10.0 * x[0]).round() + far * 40.0, x[1] + 0.5 * x[0] + far, x[2] - far, x[3] + far, 7.0]
}

fn rows() -> Vec<[f64; 5]> {
    let noise = noise(ROWS * 4);
    (0..ROWS).map(|r| row(&noise, r)).collect()
}

/// The table as CSV: `user`, `day`, the features.
fn csv_of(order: impl Iterator<Item = usize>) -> String {
    let rows = rows();
    let mut out = format!("user,day,{}\n", FEATURES.join(","));
    for r in order {
        let cells: Vec<String> = rows[r].iter().map(f64::to_string).collect();
        out.push_str(&format!("u{r:03},2026-01-{:02},{}\n", r % 28 + 1, cells.join(",")));
    }
    out
}

fn csv() -> String {
    csv_of(0..ROWS)
}

/// The same table as Parquet, with whole numbers where they are whole.
fn parquet(path: &Path) {
    let rows = rows();
    let users: Vec<String> = (0..ROWS).map(|r| format!("u{r:03}")).collect();
    let days: Vec<String> = (0..ROWS).map(|r| format!("2026-01-{:02}", r % 28 + 1)).collect();
    let column = |i: usize| rows.iter().map(|row| row[i]).collect::<Vec<f64>>();
    let calls: Vec<i64> = column(0).iter().map(|v| *v as i64).collect();
    let mut columns = vec![
        Series::new("user".into(), users).into_column(),
        Series::new("day".into(), days).into_column(),
        Series::new("calls".into(), calls).into_column(),
    ];
    columns.extend((1..5).map(|i| Series::new(FEATURES[i].into(), column(i)).into_column()));
    write(path, columns);
}

fn write(path: &Path, columns: Vec<Column>) {
    let mut frame = DataFrame::new_infer_height(columns).unwrap();
    ParquetWriter::new(fs::File::create(path).unwrap()).finish(&mut frame).unwrap();
}

/// `scores.parquet` of a run.
fn scores(test: &CliTest, run: &str) -> DataFrame {
    let file = fs::File::open(test.path().join(run).join("scores.parquet")).unwrap();
    ParquetReader::new(file).finish().unwrap()
}

fn numbers(frame: &DataFrame, name: &str) -> Vec<f64> {
    frame.column(name).unwrap().f64().unwrap().iter().map(|v| v.expect("never null")).collect()
}

fn texts(frame: &DataFrame, name: &str) -> Vec<String> {
    frame.column(name).unwrap().str().unwrap().iter().map(|v| v.unwrap().to_owned()).collect()
}

const MODEL: [&str; 4] = ["--models", "models", "--name", "features"];

fn train_args<'a>(table: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--table", table, "--key", "user", "day"][..], &MODEL, more].concat()
}

fn score_args<'a>(table: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["score", "--table", table, "--out", out][..], &MODEL, more].concat()
}

/// A folder with `t.csv` and a model of it.
fn trained() -> CliTest {
    let test = CliTest::new();
    test.write("t.csv", &csv());
    test.stdout(&train_args("t.csv", &[]));
    test
}

impl CliTest {
    fn score_table(&self, table: &str, out: &str, more: &[&str]) -> Outcome {
        let outcome = self.run(&score_args(table, out, more));
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        outcome
    }
}

#[test]
fn odd_rows_score_above_the_bulk_and_every_member_is_finite() {
    let test = CliTest::new();
    test.write("t.csv", &csv());
    let said = test.stdout(&train_args("t.csv", &[]));
    assert_eq!(said, "version 1: 400 rows × 4 columns\nnote: without \"constant\", which did not vary\n");
    let outcome = test.score_table("t.csv", "run", &[]);
    assert_eq!(outcome.stderr, "run written to run\n");
    let mut files: Vec<_> = tree(&test.path().join("run")).into_keys().collect();
    files.sort();
    assert_eq!(files, [Path::new("run.json"), Path::new("scores.parquet")]);

    let frame = scores(&test, "run");
    let names: Vec<String> = frame.get_column_names().iter().map(ToString::to_string).collect();
    assert_eq!(names, [&["user", "day"][..], &OUTPUT].concat());
    assert_eq!(frame.height(), ROWS);
    for name in OUTPUT {
        assert!(numbers(&frame, name).iter().all(|v| v.is_finite()), "{name}");
    }
    let (p, score) = (numbers(&frame, "p_value"), numbers(&frame, "score"));
    assert!(p.iter().all(|p| 0.0 < *p && *p <= 1.0));
    assert!(p.iter().zip(&score).all(|(p, s)| *s == quietwatch::fusion::combine::score(*p)));
    let mut order: Vec<usize> = (0..ROWS).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut first = order[..3].to_vec();
    first.sort_unstable();
    assert_eq!(first, ODD);

    let mut lines = outcome.stdout.lines();
    let summary = lines.next().unwrap();
    let odd = p.iter().filter(|p| **p < 1e-3).count();
    let high = score.iter().filter(|s| **s >= 60.0).count();
    assert_eq!(summary, format!("400 rows: {odd} with p below 0.001, {high} with score 60 or more"));
    let table: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table.len(), 11);
    assert_eq!(table[0], ["user", "day", "score", "p"]);
    assert_eq!(table[1][0], format!("u{:03}", order[0]));

    let run: Value = serde_json::from_slice(&fs::read(test.path().join("run/run.json")).unwrap()).unwrap();
    let keys: Vec<&String> = run.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "format_version",
            "engine_version",
            "kind",
            "model_name",
            "model_version",
            "model_digest",
            "input_digest",
            "rows",
            "columns"
        ]
    );
    assert_eq!((&run["kind"], &run["rows"], &run["columns"]), (&"table".into(), &400.into(), &4.into()));
    let printed = test.run(&score_args("t.csv", "run", &["--json"]));
    assert_eq!(serde_json::from_str::<Value>(&printed.stdout).unwrap(), run);
}

#[test]
fn parquet_and_csv_of_the_same_numbers_learn_and_score_alike() {
    use std::io::Write as _;
    let test = trained();
    parquet(&test.path().join("t.parquet"));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(csv().as_bytes()).unwrap();
    fs::write(test.path().join("t.csv.gz"), gz.finish().unwrap()).unwrap();
    fs::write(test.path().join("t.csv.zst"), zstd::encode_all(csv().as_bytes(), 1).unwrap()).unwrap();
    test.score_table("t.csv", "one", &[]);
    for table in ["t.parquet", "t.csv.gz", "t.csv.zst"] {
        test.stdout(&train_args(table, &[]));
        test.score_table(table, "other", &[]);
        let (one, other) = (scores(&test, "one"), scores(&test, "other"));
        assert_eq!(texts(&one, "user"), texts(&other, "user"));
        for name in OUTPUT {
            assert_eq!(numbers(&one, name), numbers(&other, name), "{table} {name}");
        }
        let digest = |run: &str| test.info(run)["input_digest"].clone();
        assert_eq!(digest("one"), digest("other"), "{table}");
    }
    let versions = test.path().join("models/features/versions");
    for version in ["000002", "000003", "000004"] {
        assert_same_trees(&versions.join("000001"), &versions.join(version), "the format of the table");
    }
}

#[test]
fn rows_keep_their_order_and_their_score_wherever_they_stand() {
    let test = trained();
    test.score_table("t.csv", "one", &[]);
    test.write("shuffled.csv", &csv_of((0..ROWS).map(|i| i * 149 % ROWS)));
    test.score_table("shuffled.csv", "other", &[]);
    let by_user = |run: &str| -> BTreeMap<String, u64> {
        let frame = scores(&test, run);
        let p = numbers(&frame, "p_value").into_iter().map(f64::to_bits);
        texts(&frame, "user").into_iter().zip(p).collect()
    };
    assert_eq!(by_user("one"), by_user("other"));
    let users = texts(&scores(&test, "other"), "user");
    assert_eq!(users[..4], ["u000", "u149", "u298", "u047"]);
}

#[test]
fn columns_are_found_by_name_and_others_are_told_and_ignored() {
    let test = trained();
    test.score_table("t.csv", "one", &[]);
    let turned: Vec<String> = csv()
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let cells: Vec<&str> = line.split(',').rev().collect();
            format!("{},{}\n", cells.join(","), if i == 0 { "new\u{1b}[2J" } else { "text" })
        })
        .collect();
    test.write("turned.csv", &turned.concat());
    let outcome = test.score_table("turned.csv", "other", &[]);
    let note = outcome.stderr.lines().next().unwrap();
    assert!(note.contains("1 column") && note.contains("new\\u{1b}[2J"), "{note}");
    assert_eq!(numbers(&scores(&test, "one"), "p_value"), numbers(&scores(&test, "other"), "p_value"));
    let outcome = test.score_table("turned.csv", "other", &["--exclude", "new\u{1b}[2J"]);
    assert_eq!(outcome.stderr, "run unchanged in other\n");
    let other_keys = test.score_table("turned.csv", "other", &["--key", "day"]);
    assert!(other_keys.stderr.contains("replaced"), "{}", other_keys.stderr);
    assert_eq!(scores(&test, "other").get_column_names()[1].as_str(), OUTPUT[0]);
}

#[test]
fn keys_keep_their_type() {
    let test = CliTest::new();
    let column = |i: usize| rows().iter().map(|row| row[i]).collect::<Vec<f64>>();
    let ids: Vec<Option<i64>> = (0..ROWS as i64).map(|i| (i != 3).then_some(i)).collect();
    let dates = Series::new("date".into(), (0..ROWS as i32).collect::<Vec<_>>()).cast(&DataType::Date).unwrap();
    let time = DataType::Datetime(polars::prelude::TimeUnit::Microseconds, None);
    let times = Series::new("time".into(), (0..ROWS as i64).collect::<Vec<_>>()).cast(&time).unwrap();
    let mut columns = vec![
        Series::new("id".into(), ids).into_column(),
        dates.into_column(),
        times.into_column(),
        Series::new("ok".into(), (0..ROWS).map(|i| i % 2 == 0).collect::<Vec<_>>()).into_column(),
    ];
    columns.extend((0..4).map(|i| Series::new(FEATURES[i].into(), column(i)).into_column()));
    write(&test.path().join("t.parquet"), columns.clone());
    let keys = ["--key", "id", "date", "time", "ok"];
    test.stdout(&[&["train", "--table", "t.parquet"][..], &keys, &MODEL].concat());
    let outcome = test.score_table("t.parquet", "run", &[]);
    assert!(outcome.stdout.contains("1970-01-18"), "{}", outcome.stdout);
    let frame = scores(&test, "run");
    for key in &columns[..4] {
        let found = frame.column(key.name()).unwrap();
        assert_eq!(found.dtype(), key.dtype());
        assert!(found.equals_missing(key), "{}", key.name());
    }
}

#[test]
fn missing_and_infinite_cells_are_scored_and_stay_finite() {
    let test = trained();
    let head = format!("user,day,{}\n", FEATURES.join(","));
    test.write(
        "holes.csv",
        &format!("{head}a,1,,,,,\nb,1,NA,NaN,inf,-inf,null\nc,1,1e999,0,0,0,0\nd,1, 100 ,0,0,0,true\n"),
    );
    test.score_table("holes.csv", "run", &[]);
    let frame = scores(&test, "run");
    for name in OUTPUT {
        assert!(numbers(&frame, name).iter().all(|v| v.is_finite()), "{name}");
    }
    let p = numbers(&frame, "p_value");
    assert_eq!(p[0], p[1], "infinite is missing");

    let mut text = csv();
    text = text.replacen("u000,2026-01-01,", "u000,2026-01-01,NA", 1).replace("NA", "");
    text.push_str("hole,x,,,,,\n");
    test.write("training.csv", &text);
    test.stdout(&train_args("training.csv", &[]));
}

#[test]
fn no_row_and_one_row_are_no_trouble_to_score() {
    let test = trained();
    test.write("none.csv", &csv_of(0..0));
    test.write("one.csv", &csv_of(17..18));
    let outcome = test.score_table("none.csv", "none", &[]);
    assert_eq!(outcome.stdout, "0 rows: 0 with p below 0.001, 0 with score 60 or more\n");
    let (none, all) = (scores(&test, "none"), {
        test.score_table("t.csv", "all", &[]);
        scores(&test, "all")
    });
    assert_eq!((none.height(), none.schema()), (0, all.schema()));
    test.score_table("one.csv", "one", &[]);
    let one = scores(&test, "one");
    for name in OUTPUT {
        assert_eq!(numbers(&one, name), numbers(&all, name)[17..18], "{name}");
    }
    assert_eq!(test.failure(8, &train_args("none.csv", &[])).lines().count(), 1);
    test.write("keys.csv", "user,day\na,b\n");
    let error = test.failure(8, &train_args("keys.csv", &[]));
    assert!(error.contains("numeric columns"), "{error}");
}

#[test]
fn training_refuses_what_it_cannot_learn_from() {
    let test = CliTest::new();
    test.write("t.csv", &csv());
    let texts: Vec<String> = csv().lines().map(|line| format!("{line},x,y\n")).collect();
    test.write("texts.csv", &texts.concat().replacen(",x,y", ",kind,note", 1));
    let error = test.failure(4, &train_args("texts.csv", &[]));
    assert!(error.contains("\"kind\" (line 2), \"note\" (line 2)") && error.contains("--exclude"), "{error}");
    let excluded = train_args("texts.csv", &["--exclude", "kind", "note"]);
    test.stdout(&excluded);
    let columns = vec![
        Series::new("user".into(), ["a"]).into_column(),
        Series::new("day".into(), [1_i64]).into_column(),
        Series::new("kind".into(), ["x"]).into_column(),
    ];
    write(&test.path().join("texts.parquet"), columns);
    let error = test.failure(4, &train_args("texts.parquet", &[]));
    assert!(error.contains("\"kind\"") && error.contains("--exclude"), "{error}");

    let error = test.failure(4, &[&["train", "--table", "t.csv", "--key", "usr"][..], &MODEL].concat());
    assert!(error.contains("\"usr\" of --key, found \"user\", \"day\""), "{error}");
    let error = test.failure(4, &train_args("t.csv", &["--exclude", "nothing"]));
    assert!(error.contains("\"nothing\" of --exclude"), "{error}");
    test.write("taken.csv", &csv().replacen("user,", "p_value,", 1));
    let error = test
        .failure(4, &[&["train", "--table", "taken.csv", "--key", "p_value", "--exclude", "day"][..], &MODEL].concat());
    assert!(error.contains("rename"), "{error}");
}

#[test]
fn files_that_are_no_table_are_input_errors() {
    let test = CliTest::new();
    for (name, text, said) in [
        ("t.txt", "user,day,x\na,b,1\n", "ending"),
        ("empty.csv", "", "header"),
        ("twice.csv", "user,day,x,x\na,b,1,2\n", "\"x\" twice"),
        ("short.csv", "user,day,x\na,b,1\na,b\n", "line 3: expected 3 cells as in the header, found 2"),
        ("long.csv", "user,day,x\na,b,1,2\n", "line 2"),
        ("bytes.parquet", "PAR1 and nothing else", "damaged"),
        ("cut.csv.gz", "\u{1f}\u{8b}", "number"),
    ] {
        test.write(name, text);
        if name == "cut.csv.gz" {
            fs::write(test.path().join(name), [0x1f, 0x8b, 8, 0]).unwrap();
        }
        let error = test.failure(4, &train_args(name, &[]));
        assert!(error.contains(said) || name == "cut.csv.gz", "{name}: {error}");
    }
    fs::write(test.path().join("latin1.csv"), b"user,day,x\n\xe9,b,1\n").unwrap();
    assert!(test.failure(4, &train_args("latin1.csv", &[])).contains("line 2: expected text in UTF-8"));
    test.failure(4, &train_args("missing.csv", &[]));
    test.failure(4, &train_args("missing.parquet", &[]));
    let open_quote = format!("user,day,x\n\"{}\n", "a,b,1\n".repeat(1_000));
    test.write("open.csv", &open_quote);
    let error = test.failure(4, &train_args("open.csv", &["--set", "limits.line-bytes=1024"]));
    assert!(error.contains("limits.line-bytes"), "{error}");
    test.write("large.csv", &csv());
    let error = test.failure(4, &train_args("large.csv", &["--set", "limits.file-bytes=1000"]));
    assert!(error.contains("limits.file-bytes"), "{error}");
    parquet(&test.path().join("large.parquet"));
    let error = test.failure(4, &train_args("large.parquet", &["--set", "limits.file-bytes=1000"]));
    assert!(error.contains("limits.file-bytes"), "{error}");
}

#[test]
fn scoring_needs_the_columns_that_were_learned_as_numbers() {
    let test = trained();
    test.write("missing.csv", &csv().replacen("errors,share", "other,names", 1));
    let error = test.failure(5, &score_args("missing.csv", "run", &[]));
    assert!(error.contains("2 of them are missing: \"errors\", \"share\""), "{error}");
    let lines: Vec<String> = csv().lines().map(str::to_owned).collect();
    let text = format!("{}\n{}\nu,d,1,2,secret,4,5\n", lines[0], lines[1]);
    test.write("text.csv", &text);
    let error = test.failure(4, &score_args("text.csv", "run", &[]));
    assert!(error.contains("line 3, column \"share\"") && !error.contains("secret"), "{error}");
    test.write("keyless.csv", &csv().replacen("user,day", "id,day", 1));
    let error = test.failure(4, &score_args("keyless.csv", "run", &[]));
    assert!(error.contains("\"user\"") && error.contains("found \"id\", \"day\""), "{error}");
    test.write("taken.csv", &csv().replacen("user,day", "knn,day", 1));
    let error = test.failure(4, &score_args("taken.csv", "run", &["--key", "knn"]));
    assert!(error.contains("\"knn\"") && error.contains("rename"), "{error}");
    assert!(!test.path().join("run").exists());
    test.score_table("keyless.csv", "run", &["--key", "id"]);
}

#[test]
fn flags_that_make_no_sense_with_a_table_are_usage_errors() {
    let test = trained();
    let table = ["--table", "t.csv"];
    let train = |more: &[&str]| test.failure(2, &[&["train"][..], &MODEL, more].concat());
    let score = |more: &[&str]| test.failure(2, &[&["score", "--out", "run"][..], &MODEL, more].concat());
    for other in [["--events", "e"], ["--store", "s"], ["--profile", "generic"]] {
        train(&[&table[..], &["--key", "user"], &other].concat());
        score(&[&table[..], &other].concat());
    }
    assert!(train(&table).contains("--key COL"));
    train(&["--store", "s", "--key", "user"]);
    score(&["--store", "s", "--exclude", "user"]);
    assert!(train(&["--table", "t.csv", "--key", "user", "--until", "2026-01-01"]).contains("--until"));
    assert!(score(&["--table", "t.csv", "--date", "2026-01-01"]).contains("--date"));
    assert!(score(&["--table", "t.csv", "--from", "2026-01-01", "--to", "2026-01-02"]).contains("--from"));
    assert!(train(&["--table", "t.csv", "--key", "user", "--exclude", "day", "user"]).contains("\"user\""));
    assert!(train(&["--table", "t.csv", "--key", "user", "user"]).contains("twice"));
    assert!(score(&["--table", "t.csv", "--exclude", "calls"]).contains("\"calls\""));
    assert!(score(&["--table", "t.csv", "--exclude", "user"]).contains("\"user\""));
    test.failure(3, &score_args("t.csv", "run", &["--set", "geometry.trees=10"]));
}

#[test]
fn models_of_events_and_of_tables_are_not_mixed_up() {
    let test = trained();
    let models = WORLD.path("models");
    let events_model = ["score", "--table", "t.csv", "--models", &models, "--name", "nightly", "--out", "run"];
    assert!(test.failure(6, &events_model).contains("trained on events"));
    let store = WORLD.path("store");
    let table_model = [&["score", "--store", &store, "--out", "run"][..], &MODEL].concat();
    assert!(test.failure(6, &table_model).contains("trained on a table"));
    let manifest = fs::read_to_string(WORLD.dir.join("models/nightly/versions/000001/manifest.json")).unwrap();
    assert!(manifest.contains("\"train_until\": \"2026-01-25\"") && !manifest.contains("\"table\""), "{manifest}");
}

#[test]
fn a_model_of_a_table_says_what_it_is() {
    let test = CliTest::new();
    test.write("t.csv", &csv());
    let said = test.stdout(&train_args("t.csv", &["--exclude", "hours", "--seed", "7", "--json"]));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["version"], 1);
    assert_eq!(said["table"]["columns"], serde_json::json!(["calls", "errors", "share"]));
    let list = test.stdout(&[&["models", "list"][..], &MODEL].concat());
    assert!(list.contains("table of 400 rows × 3 columns"), "{list}");
    let show = test.stdout(&[&["models", "show"][..], &MODEL].concat());
    for said in ["400 rows × 3 columns", "\"user\", \"day\"", "\"hours\"", "\"constant\"", "takes the median", " 7"] {
        assert!(show.contains(said), "{said}: {show}");
    }
    let show: Value =
        serde_json::from_str(&test.stdout(&[&["models", "show", "--json"][..], &MODEL].concat())).unwrap();
    assert_eq!(show["table"]["rows"], 400);
    assert!(show.get("train_from").is_none());
    let list: Value =
        serde_json::from_str(&test.stdout(&[&["models", "list", "--json"][..], &MODEL].concat())).unwrap();
    assert_eq!(list[0]["table"]["columns"], 3);
    test.stdout(&[&["models", "verify"][..], &MODEL].concat());
    let card = fs::read_to_string(test.path().join("models/features/versions/000001/card.md")).unwrap();
    for said in ["| rows | 400 |", "| columns | 3 |", "`constant`", "| seed | 7 |", "knn", "median"] {
        assert!(card.contains(said), "{said}: {card}");
    }
}

#[test]
fn arrays_that_make_no_sense_are_an_unusable_model() {
    let test = trained();
    let registry = Registry::open(&test.path().join("models"), "features").unwrap();
    let mut model = registry.load(&Selector::Alias(CHAMPION.into())).unwrap();
    model.arrays.pop();
    let draft = Draft { manifest: model.manifest, arrays: model.arrays, records: vec![], card: String::new() };
    registry.create_version(draft, "2026-05-01T02:00:00Z").unwrap();
    let error = test.failure(6, &score_args("t.csv", "run", &["--version", "2"]));
    assert!(error.contains("train a new version"), "{error}");
    assert!(!test.path().join("run").exists());
}

#[test]
fn equal_training_gives_equal_bytes_on_any_number_of_threads() {
    let test = CliTest::new();
    test.write("t.csv", &csv());
    for threads in ["1", "2"] {
        test.stdout(&train_args("t.csv", &["--threads", threads]));
        test.score_table("t.csv", threads, &["--version", "1", "--threads", threads]);
    }
    let versions = test.path().join("models/features/versions");
    assert_same_trees(&versions.join("000001"), &versions.join("000002"), "threads in training");
    assert_same_trees(&test.path().join("1"), &test.path().join("2"), "threads in scoring");
}

#[test]
fn a_run_of_a_table_is_replaced_whole_or_left_alone() {
    let test = trained();
    test.score_table("t.csv", "run", &[]);
    let before = tree(&test.path().join("run"));
    assert_eq!(test.score_table("t.csv", "run", &[]).stderr, "run unchanged in run\n");
    assert_eq!(tree(&test.path().join("run")), before);
    test.write("one.csv", &csv_of(0..1));
    assert!(test.score_table("one.csv", "run", &[]).stderr.contains("replaced"));
    let after: Vec<_> = tree(&test.path().join("run")).into_keys().collect();
    assert_eq!(after, [".revisions/000001.tar.gz", "run.json", "scores.parquet"].map(Path::new));

    test.write("thesis/text.tex", "x");
    test.failure(2, &score_args("t.csv", "thesis", &[]));
    test.failure(2, &score_args("t.csv", "run/within", &[]));
}

#[test]
fn a_run_of_a_table_may_follow_a_run_of_nights_in_one_folder() {
    let test = trained();
    assert_eq!(test.score("run", &[]).code, 0);
    assert!(test.score_table("t.csv", "run", &[]).stderr.contains("replaced"));
    let after: Vec<_> = tree(&test.path().join("run")).into_keys().collect();
    assert_eq!(after, [".revisions/000001.tar.gz", "run.json", "scores.parquet"].map(Path::new));
    assert_eq!(test.score("run", &[]).code, 0);
    assert!(!test.path().join("run/scores.parquet").exists());
}

#[test]
fn commands_that_need_anomalies_say_that_a_table_has_none() {
    let test = trained();
    test.score_table("t.csv", "run", &[]);
    test.write("labels.csv", "org_id,user_id,start,end,scenario,category,difficulty\n");
    let error = test.failure(4, &["evaluate", "--run", "run", "--labels", "labels.csv"]);
    assert!(error.contains("run of a table"), "{error}");
    assert!(test.failure(4, &["explain", "abcdef", "--run", "run"]).contains("run of a table"));
}

#[test]
fn fail_on_looks_at_every_row() {
    let test = trained();
    let outcome = test.run(&score_args("t.csv", "run", &["--fail-on", "info", "--strict"]));
    assert_eq!(outcome.code, 10);
    assert!(outcome.stderr.contains("--fail-on info"), "{}", outcome.stderr);
    assert!(test.path().join("run/scores.parquet").exists(), "it is published all the same");
    test.write("calm.csv", &csv_of(0..2));
    test.score_table("calm.csv", "calm", &["--fail-on", "critical", "--strict"]);
    test.write("none.csv", &csv_of(0..0));
    test.score_table("none.csv", "none", &["--fail-on", "info"]);
}

#[test]
fn hostile_keys_are_shown_and_steer_nothing() {
    let test = trained();
    let row = csv().lines().nth(1).unwrap().split(',').skip(2).collect::<Vec<_>>().join(",");
    let hostile =
        ["=cmd|' /C calc'!A0", "\u{1b}]0;owned\u{7}", "<script>alert(1)</script>", "a\u{202e}b", "line\nbreak"];
    let mut text = format!("user,\"day\u{1b}[2J\",{}\n", FEATURES.join(","));
    for key in hostile {
        text.push_str(&format!("\"{key}\",d,{row}\n"));
    }
    test.write("hostile.csv", &text);
    let outcome = test.score_table("hostile.csv", "run", &["--key", "user", "day\u{1b}[2J"]);
    let printed = &outcome.stdout;
    assert!(printed.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{printed:?}");
    assert_eq!(printed.lines().count(), 2 + hostile.len());
    for shown in
        ["=cmd|' /C calc'!A0", "\\u{1b}]0;owned\\u{7}", "<script>", "a\\u{202e}b", "line\\nbreak", "day\\u{1b}[2J"]
    {
        assert!(printed.contains(shown), "{shown}: {printed}");
    }
    assert_eq!(texts(&scores(&test, "run"), "user"), hostile, "the file keeps them as they are");
}

/// The fixture was made by quietwatch 0.1.0: `train --table table.csv --key row --models models --name table
/// --set geometry.trees=20 --seed 7`, and the numbers of its `scores.parquet` written down as JSON.
#[test]
fn a_model_of_an_earlier_engine_is_read_and_scores_as_it_did() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/table-model");
    let test = CliTest::new();
    for (path, file) in tree(&fixture) {
        let to = test.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, file).unwrap();
    }
    test.stdout(&["models", "verify", "--models", "models", "--name", "table"]);
    let arguments = ["score", "--table", "table.csv", "--models", "models", "--name", "table", "--out", "run"];
    assert_eq!(test.run(&arguments).code, 0);
    let found = scores(&test, "run");
    let expected: Value = serde_json::from_str(&fs::read_to_string(fixture.join("scores.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    let names: Vec<&str> = found.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
    assert_eq!(names[1..], expected.keys().map(String::as_str).collect::<Vec<_>>());
    for (name, expected) in expected {
        let expected: Vec<f64> = expected.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let found = numbers(&found, name);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (row, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{name} {row}: {found}, {expected}");
        }
    }
}
