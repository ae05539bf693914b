//! What lies in the repository beside the engine is what it says it is: data sets, the example model, the reader in Python, and
//! the examples of a nightly job.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quietwatch::models::{Registry, Selector};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::world::{NIGHT, link_tree, tree};
use crate::{CliTest, Outcome};

/// The day after the example model's training.
const EXAMPLE_NIGHT: &str = "datasets/example_night/2026-02-05.csv.gz";

const ANEW: &str = "models/example is not what this engine makes; look at why, then `just example-model` makes it anew";

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(root(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Says on the standard error of the test process that a program is not there: what `eprintln!` says is kept back.
pub(crate) fn skipped(what: &str, program: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {program} is not on this machine");
}

#[test]
fn every_file_of_the_data_sets_has_the_digest_that_is_listed() {
    let listed: BTreeMap<PathBuf, String> = text("datasets/SHA256SUMS")
        .lines()
        .map(|line| line.split_once("  ").map(|(digest, name)| (name.into(), digest.to_owned())).unwrap())
        .collect();
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    let found: BTreeMap<PathBuf, String> = tree(&root("datasets"))
        .into_iter()
        .filter(|(name, _)| !["README.md", "SHA256SUMS", "list.sh"].iter().any(|own| name == Path::new(own)))
        .map(|(name, bytes)| (name, hex(&bytes)))
        .collect();
    assert_eq!(found, listed, "`just datasets` writes the list");
    let readme = text("datasets/README.md");
    for (name, digest) in &found {
        let name = name.to_str().unwrap();
        assert!(readme.contains(&format!("| `{name}` |")) && readme.contains(digest.as_str()), "{name} in README.md");
    }
}

/// The example model in a folder where it may be changed.
fn with_the_example() -> CliTest {
    let test = CliTest::new();
    link_tree(&root("models/example"), &test.path().join("models/example"));
    test
}

const EXAMPLE: [&str; 4] = ["--models", "models", "--name", "example"];

fn score_example(test: &CliTest, models: &str, out: &str) -> Outcome {
    let night = root(EXAMPLE_NIGHT);
    test.run(&["score", "--events", night.to_str().unwrap(), "--models", models, "--name", "example", "--out", out])
}

#[test]
fn the_example_model_is_sound_and_finds_what_was_planted() {
    let test = with_the_example();
    let verified = test.stdout(&[&["models", "verify"][..], &EXAMPLE].concat());
    assert!(!verified.contains("WRONG") && verified.contains("champion"), "{verified}");
    let promote = ["models", "promote", "--version", "1", "--reason", "look at its golden rows"];
    let promoted = test.run(&[&promote[..], &EXAMPLE].concat());
    assert_eq!(promoted.code, 0, "{ANEW}: {}", promoted.stderr);
    assert!(promoted.stdout.contains("golden rows computed alike"), "{}", promoted.stdout);
    let scored = score_example(&test, "models", "run");
    assert_eq!((scored.code, scored.stderr.as_str()), (0, "run written to run\n"), "{ANEW}");
    let first = &test.anomalies("run")[0];
    assert_eq!((&first["reported"], &first["severity"]), (&true.into(), &"high".into()), "{ANEW}: {first}");
    assert_eq!(first["user_name"], "lionel.galloway@haldenridgepartners.example");
    let card = text("models/example/versions/000001/card.md");
    assert!(card.contains("from 2026-01-05 to 2026-02-04") && card.contains("Not meant for"), "{card}");
    assert!(!root("models/example/.lock").exists() || text(".gitignore").contains("/models/example/.lock"));
}

#[test]
fn the_example_model_is_what_its_recipe_makes() {
    let test = CliTest::new();
    let script = root("models/make-example.sh");
    let mut command = Command::new("bash");
    let made = command.arg(script).arg(env!("CARGO_BIN_EXE_quietwatch")).arg("made").current_dir(test.path()).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let load = |models: &Path| Registry::open(models, "example").unwrap().load(&Selector::Version(1)).unwrap();
    let (new, kept) = (load(&test.path().join("made/models")), load(&root("models")));
    if new.digest == kept.digest {
        return;
    }
    // Another type of CPU, or a setting that did not exist: what was learned from is the same, and the night comes out alike.
    let learned = |m: &quietwatch::models::Manifest| (m.input_digest.clone(), m.events, m.user_days, m.train_until);
    assert_eq!(learned(&new.manifest), learned(&kept.manifest), "{ANEW}");
    assert_eq!(new.manifest.feature_schema, kept.manifest.feature_schema, "{ANEW}");
    assert_eq!(score_example(&test, "made/models", "new").code, 0);
    assert_eq!(score_example(&test, root("models").to_str().unwrap(), "kept").code, 0);
    let rows = |run: &str| -> Vec<(Value, f64)> {
        let row = |a: Value| (a["anomaly_key"].clone(), a["p_value"].as_f64().unwrap().ln());
        test.anomalies(run).into_iter().map(row).collect()
    };
    let (new, kept) = (rows("new"), rows("kept"));
    assert_eq!(new.len(), kept.len(), "{ANEW}");
    for (new, kept) in new.iter().zip(&kept) {
        assert!(new.0 == kept.0 && (new.1 - kept.1).abs() < 1e-6, "{ANEW}: {new:?} {kept:?}");
    }
}

/// The reader in `docs/model-format.md`, run on a version.
fn read_in_python(script: &Path, version: &Path) -> Option<Output> {
    match Command::new("python3").arg(script).arg(version).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        run => Some(run.unwrap()),
    }
}

#[test]
fn the_reader_in_the_format_description_reads_the_example_and_refuses_a_damaged_one() {
    let page = text("docs/model-format.md");
    let code = page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    assert!(code.lines().count() <= 20, "{} lines", code.lines().count());
    let test = with_the_example();
    let script = test.write("reader.py", code);
    let folder = test.path().join("models/example/versions/000001");
    let Some(read) = read_in_python(&script, &folder) else {
        return skipped("the reader in docs/model-format.md", "python3");
    };
    let printed = String::from_utf8(read.stdout).unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let model = Registry::open(&root("models"), "example").unwrap().load(&Selector::Version(1)).unwrap();
    let numbers: usize = model.arrays.iter().map(|a| a.values.len()).sum();
    let found = format!("2026-01-05 2026-02-04: {} arrays, {numbers} numbers", model.arrays.len());
    assert!(printed.starts_with(&found), "{printed} instead of {found}");
    let sum: f64 = model.arrays.iter().map(|a| a.values.iter().sum::<f64>()).sum();
    let read: f64 = printed.split_whitespace().last().unwrap().parse().unwrap();
    assert!((read - sum).abs() <= 1e-9 * sum.abs(), "{read} {sum}");

    let arrays = folder.join("model.safetensors");
    let bytes = fs::read(&arrays).unwrap();
    fs::remove_file(&arrays).unwrap();
    fs::write(&arrays, &bytes[..bytes.len() - 8]).unwrap();
    let cut = read_in_python(&script, &folder).unwrap();
    assert!(!cut.status.success() && String::from_utf8_lossy(&cut.stderr).contains("model.safetensors"));
}

#[test]
fn the_examples_of_a_nightly_job_retry_what_may_pass_and_nothing_else() {
    // A held lock (9) and a full disk or memory (11) may pass.
    let expected: BTreeSet<u8> = (1..=12).filter(|code| ![9, 11].contains(code)).collect();
    let numbers = |list: &str, between: &[char]| -> BTreeSet<u8> {
        list.split(between).filter_map(|n| n.trim().parse().ok()).collect()
    };
    let service = text("docs/deploy/quietwatch.service");
    let never = service.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
    assert_eq!(numbers(never, &[' ']), expected);
    let job = text("docs/deploy/cronjob.yaml");
    let (_, fail) = job.split_once("action: FailJob").unwrap();
    let (fail, count) = fail.split_once("action: Count").unwrap();
    let values = |text: &str| numbers(text.split_once("values: [").unwrap().1.split_once(']').unwrap().0, &[',']);
    assert_eq!(values(fail), expected);
    assert_eq!(values(count), BTreeSet::from([9, 11]));
}

#[test]
fn the_alerts_ask_for_metrics_that_score_writes() {
    let test = CliTest::new();
    assert_eq!(test.score("run", &["--date", NIGHT, "--set", "outputs.metrics=q.prom"]).code, 0);
    let written = fs::read_to_string(test.path().join("q.prom")).unwrap();
    let metrics: BTreeSet<&str> = written.lines().filter_map(|line| line.split('{').next()).collect();
    for page in ["docs/deploy/alerts.yml", "docs/deploy/alerts_test.yml", "docs/operations.md"] {
        let page = text(page);
        let words = page.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        for word in words.filter(|word| word.starts_with("quietwatch_")) {
            assert!(metrics.contains(word), "{word}");
        }
        for gates in page.split("gate=~\"").skip(1).chain(page.split("gate=\"").skip(1)) {
            for gate in gates.split('"').next().unwrap().split('|').filter(|gate| *gate != "…") {
                assert!(written.contains(&format!("gate=\"{gate}\"")), "{gate}");
            }
        }
    }
}
