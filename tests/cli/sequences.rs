//! `train --sequences` and `score --sequences`: any token sequences through the sequence detectors.

use std::fs;
#[cfg(all(feature = "neural", target_os = "linux"))]
use std::process::{Command, Stdio};

use polars::prelude::{DataFrame, DataType, IntoColumn, ListChunked, NamedFrom, PlSmallStr, SerReader, Series};
use polars_io::parquet::read::ParquetReader;
use polars_io::parquet::write::ParquetWriter;
use serde_json::Value;

use crate::CliTest;
use crate::world::tree;

const MODEL: [&str; 4] = ["--models", "models", "--name", "calls"];

/// A job that logs in, polls a few times, fetches and logs out.
fn job(i: usize) -> Vec<String> {
    let mut tokens = vec!["login".to_owned(), "list".to_owned()];
    tokens.extend((0..i * 7 % 5).map(|_| "poll".to_owned()));
    tokens.extend(["result", "logout"].map(str::to_owned));
    tokens
}

/// A person who reads records and now and then writes one.
fn person(i: usize) -> Vec<String> {
    let mut tokens = vec!["login".to_owned()];
    tokens.extend((0..3 + i * 5 % 7).map(|k| if (i + k).is_multiple_of(4) { "write" } else { "read" }.to_owned()));
    tokens.push("logout".to_owned());
    tokens
}

fn rows() -> Vec<(String, Vec<String>, &'static str)> {
    let of = |i: usize| if i.is_multiple_of(2) { (job(i), "nightly") } else { (person(i), "ann") };
    (0..400).map(|i| (format!("s{i:03}"), of(i).0, of(i).1)).collect()
}

fn csv(rows: &[(String, Vec<String>, &str)]) -> String {
    let line = |(id, tokens, entity): &(String, Vec<String>, &str)| format!("{id},{},{entity}\n", tokens.join(" "));
    rows.iter().fold("sequence_id,tokens,entity\n".to_owned(), |text, row| text + &line(row))
}

fn train_args<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--sequences", file][..], &MODEL, more].concat()
}

fn score_args<'a>(file: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["score", "--sequences", file, "--out", out][..], &MODEL, more].concat()
}

fn trained() -> CliTest {
    let test = CliTest::new();
    test.write("s.csv", &csv(&rows()));
    let said = test.stdout(&train_args("s.csv", &[]));
    assert_eq!(said, "version 1: 400 sequences of 2,798 tokens by 2 entities, 7 distinct\n");
    test
}

fn scores(test: &CliTest, run: &str) -> DataFrame {
    let file = fs::File::open(test.path().join(run).join("scores.parquet")).unwrap();
    ParquetReader::new(file).finish().unwrap()
}

fn numbers(frame: &DataFrame, name: &str) -> Vec<f64> {
    frame.column(name).unwrap().f64().unwrap().iter().map(|v| v.expect("never null")).collect()
}

#[test]
fn odd_sequences_come_first_and_the_rows_keep_their_order() {
    let test = trained();
    let mut rows: Vec<_> = rows().into_iter().take(40).collect();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    rows[7] = ("order".into(), words("logout result poll list login"), "nightly");
    rows[20] = ("token".into(), words("login list delete_all logout"), "nightly");
    rows[31] = ("maker".into(), job(1), "ann");
    test.write("new.csv", &csv(&rows));
    let outcome = test.run(&score_args("new.csv", "run", &[]));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "note: 1 of 281 tokens were not met in training\nrun written to run\n");
    let files: Vec<_> = tree(&test.path().join("run")).into_keys().collect();
    assert_eq!(files, ["run.json", "scores.parquet"].map(std::path::PathBuf::from));
    let frame = scores(&test, "run");
    let names: Vec<&str> = frame.get_column_names().into_iter().map(PlSmallStr::as_str).collect();
    assert_eq!(names, ["sequence_id", "entity", "ngram", "bag", "habit", "p_value", "score"]);
    let ids = frame.column("sequence_id").unwrap().str().unwrap();
    assert!((0..40).all(|i| ids.get(i) == Some(rows[i].0.as_str())));
    let p = numbers(&frame, "p_value");
    let mut order: Vec<usize> = (0..40).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order.truncate(3);
    order.sort_unstable();
    assert_eq!(order, [7, 20, 31], "{p:?}");
    let run: Value = serde_json::from_slice(&fs::read(test.path().join("run/run.json")).unwrap()).unwrap();
    assert_eq!(
        (&run["kind"], &run["rows"], &run["tokens"], &run["unknown_tokens"]),
        (&"sequences".into(), &40.into(), &281.into(), &1.into())
    );
    let before = tree(&test.path().join("run"));
    let again = test.run(&score_args("new.csv", "run", &["--threads", "1"]));
    assert_eq!((again.code, again.stderr.contains("unchanged in run")), (0, true), "{}", again.stderr);
    assert_eq!(tree(&test.path().join("run")), before);
    assert_eq!(test.run(&score_args("new.csv", "run", &["--fail-on", "low"])).code, 10);
}

#[test]
fn lists_numbers_and_texts_are_the_same_sequences() {
    let test = CliTest::new();
    let number = |token: &String| token.bytes().map(i64::from).sum::<i64>();
    let rows: Vec<(String, Vec<String>, &str)> = rows()
        .into_iter()
        .map(|(id, tokens, e)| (id, tokens.iter().map(|t| number(t).to_string()).collect(), e))
        .collect();
    test.write("s.csv", &csv(&rows));
    let column = |lists: Vec<Series>| {
        lists.into_iter().map(Some).collect::<ListChunked>().with_name("tokens".into()).into_column()
    };
    let texts = rows.iter().map(|(_, t, _)| Series::new("".into(), t.clone())).collect();
    let whole =
        rows.iter().map(|(_, t, _)| Series::new("".into(), t.clone()).cast(&DataType::Int64).unwrap()).collect();
    for (name, tokens) in [("texts.parquet", column(texts)), ("numbers.parquet", column(whole))] {
        let ids: Vec<&str> = rows.iter().map(|r| r.0.as_str()).collect();
        let entities: Vec<&str> = rows.iter().map(|r| r.2).collect();
        let columns = vec![
            Series::new("entity".into(), entities).into_column(),
            tokens,
            Series::new("sequence_id".into(), ids).into_column(),
        ];
        let mut frame = DataFrame::new_infer_height(columns).unwrap();
        ParquetWriter::new(fs::File::create(test.path().join(name)).unwrap()).finish(&mut frame).unwrap();
    }
    for file in ["s.csv", "texts.parquet", "numbers.parquet"] {
        test.stdout(&train_args(file, &[]));
    }
    let version = |n: u32| tree(&test.path().join(format!("models/calls/versions/00000{n}")));
    assert!(version(1) == version(2) && version(2) == version(3));
}

#[test]
fn what_cannot_be_learned_or_scored_is_said() {
    let test = trained();
    test.write("none.csv", "id,tokens\na,b c\n");
    let said = test.failure(4, &train_args("none.csv", &[]));
    assert!(said.contains("found no \"sequence_id\" among \"id\", \"tokens\""), "{said}");
    test.write("few.csv", "sequence_id,tokens\na,b c\n");
    assert!(test.failure(8, &train_args("few.csv", &[])).contains("at least 10 sequences"));
    test.write("empty.csv", &format!("sequence_id,tokens\n{}", "a,\n".repeat(20)));
    assert!(test.failure(8, &train_args("empty.csv", &[])).contains("only empty ones"));
    test.write("broken.parquet", "PAR1 and nothing else");
    assert!(test.failure(4, &train_args("broken.parquet", &[])).contains("damaged Parquet file"));
    for (flag, value) in [("--until", "2026-01-01"), ("--key", "x")] {
        test.failure(2, &train_args("s.csv", &[flag, value]));
    }
    test.failure(2, &score_args("s.csv", "run", &["--date", "2026-01-01"]));
    test.failure(2, &[&train_args("s.csv", &[])[..], &["--table", "s.csv"]].concat());
    assert!(!test.path().join("run").exists());
    assert_eq!(tree(&test.path().join("models/calls/versions")).len(), 5, "no half version stands there");
}

#[test]
fn models_score_the_kind_of_input_that_they_learned() {
    let test = trained();
    test.write("t.csv", "key,x\na,1\n");
    let said = test.failure(6, &[&["score", "--table", "t.csv", "--out", "run"][..], &MODEL].concat());
    assert!(said.contains("was trained on sequences and cannot score a table"), "{said}");
    let numbers = (0..50).fold(String::new(), |text, i| text + &format!("{i},{}\n", i * i % 17));
    test.write("t.csv", &format!("key,x\n{numbers}"));
    test.stdout(&["train", "--table", "t.csv", "--key", "key", "--models", "models", "--name", "table"]);
    let other = ["score", "--sequences", "s.csv", "--out", "run", "--models", "models", "--name", "table"];
    assert!(test.failure(6, &other).contains("was trained on a table and cannot score sequences"));
    let listed = test.stdout(&["models", "list", "--models", "models", "--name", "calls"]);
    assert!(listed.contains("400 sequences of 2,798 tokens"), "{listed}");
    let shown = test.stdout(&["models", "show", "--models", "models", "--name", "calls"]);
    assert!(shown.contains("\"poll\"") && shown.contains("entities"), "{shown}");
}

#[test]
fn hostile_tokens_and_ids_do_no_harm() {
    let test = CliTest::new();
    let mut rows = rows();
    let evil = "\u{1b}[31m<script>=cmd|'/c'!A1\u{202e}".to_owned();
    for row in rows.iter_mut().step_by(3) {
        row.1.insert(1, evil.clone());
    }
    rows[5].0 = format!("\"=1+1\u{1b}]0;x\u{7}{}\"", "é".repeat(30_000));
    rows[5].1 = vec!["x".repeat(60_000)];
    test.write("s.csv", &csv(&rows));
    test.stdout(&train_args("s.csv", &[]));
    let outcome = test.run(&score_args("s.csv", "run", &[]));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for text in
        [&outcome.stdout, &outcome.stderr, &test.stdout(&["models", "show", "--models", "models", "--name", "calls"])]
    {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']) && text.len() < 20_000, "{text}");
    }
    let card = fs::read_to_string(test.path().join("models/calls/versions/000001/card.md")).unwrap();
    assert!(!card.contains("script"));
}

#[test]
fn why_the_oddest_are_odd_is_said_token_by_token() {
    let test = trained();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut rows: Vec<_> = rows().into_iter().take(40).collect();
    rows[7] = ("token".into(), words("login list delete_all logout"), "nightly");
    rows[20] = ("maker".into(), job(1), "ann");
    test.write("new.csv", &csv(&rows));
    let said = test.run(&score_args("new.csv", "run", &[])).stdout;
    let of = |id: &str| {
        let mut lines =
            said.lines().skip_while(|line| !line.starts_with(&format!("{id}, ")) || !line.contains("ngram p"));
        let first = lines.next().unwrap_or_else(|| panic!("{id} is not told of: {said}"));
        (first, lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>())
    };
    let (members, why) = of("token");
    assert!(["ngram p ", "bag p ", "habit p "].iter().all(|m| members.contains(m)), "{members}");
    let met = |line: &&&str| line.starts_with("  token 3 of 4, \"delete_all\", after \"list\": p ");
    let line = why.iter().find(met).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(", usually \"poll\" (p 0."), "{line}");
    assert!(
        why.len() <= 4
            && why.contains(&"  the nearest known set of tokens is without tokens never met and with \"result\""),
        "{said}"
    );
    assert_eq!(said.matches("ngram p ").count(), 2, "an ordinary sequence has no reasons: {said}");
    // Nothing in it is strange but whose it is.
    let (members, why) = of("maker");
    let p: Vec<f64> = members.split(" p ").skip(1).map(|t| t.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(p[0] > 0.05 && p[1] > 0.05 && p[2] < 0.01, "{members}");
    assert!(why.contains(&"  its set of tokens is known"), "{said}");
}

#[cfg(feature = "neural")]
#[test]
fn networks_that_were_asked_for_are_columns_and_the_card_says_what_they_are_worth() {
    let test = CliTest::new();
    test.write("s.csv", &csv(&rows()));
    test.stdout(&train_args("s.csv", &NETWORKS));
    let card = fs::read_to_string(test.path().join("models/calls/versions/000001/card.md")).unwrap();
    for network in ["LSTM autoencoder", "Transformer"] {
        let line = card.lines().find(|line| line.starts_with(&format!("| weight of the {network} | "))).unwrap();
        assert!(line.contains("80 held-out sequences"), "{line}");
    }
    test.write("new.csv", "sequence_id,tokens\na,login list result logout\nb,\nc,never met\n");
    let outcome = test.run(&score_args("new.csv", "run", &[]));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let frame = scores(&test, "run");
    let names: Vec<&str> = frame.get_column_names().into_iter().map(PlSmallStr::as_str).collect();
    assert_eq!(names[names.len() - 4..], ["lstm_autoencoder", "transformer", "p_value", "score"]);
    let found = numbers(&frame, "lstm_autoencoder");
    assert!(found[0] > 0.0 && found[1] == 0.0 && found[2] > found[0], "{found:?}");
    let found = numbers(&frame, "transformer");
    assert!(found[0] > 0.0 && found[1] > found[0] && found[2] > found[0], "{found:?}");
}

#[cfg(feature = "neural")]
const NETWORKS: [&str; 4] = ["--set", "sequence.lstm-autoencoder=true", "--set", "sequence.transformer=true"];

/// Runs a command until it has used so many hundredths of a second of processor, then sends it a signal. Returns what it used.
#[cfg(all(feature = "neural", target_os = "linux"))]
fn until(test: &CliTest, args: &[&str], signal: &str, most: u64) -> u64 {
    let mut child = test.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (id, mut used) = (child.id(), 0);
    while child.try_wait().unwrap().is_none() {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let numbers = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        used = numbers.map(|x| x.parse::<u64>().unwrap()).sum::<u64>().max(used);
        if used >= most {
            Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status().unwrap();
            child.wait().unwrap();
            break;
        }
        std::thread::yield_now();
    }
    used
}

#[cfg(all(feature = "neural", target_os = "linux"))]
#[test]
fn a_training_of_networks_that_is_interrupted_leaves_no_version_or_a_whole_one() {
    let test = CliTest::new();
    test.write("s.csv", &csv(&rows()));
    let args = train_args("s.csv", &NETWORKS);
    let versions = test.path().join("models/calls/versions");
    let of = |version: u32| tree(&versions.join(format!("{version:06}")));
    let all = until(&test, &args, "KILL", u64::MAX);
    let whole = of(1);
    assert!(whole.len() == 5 && all > 0);
    let mut next = 2;
    for (signal, share) in [("KILL", 0.1), ("TERM", 0.35), ("KILL", 0.6), ("TERM", 0.85), ("KILL", 0.97)] {
        until(&test, &args, signal, (all as f64 * share) as u64);
        // Whether it was quicker this time is not known.
        if versions.join(format!("{next:06}")).exists() {
            assert!(of(next) == whole, "a half version after {share} of the time");
            next += 1;
        }
    }
    let said = test.stdout(&args);
    assert!(said.starts_with(&format!("version {next}: ")), "{said}");
    assert!(of(next) == whole, "trained again");
    assert!(next < 7, "no training was interrupted");
}
