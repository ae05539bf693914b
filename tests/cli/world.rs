//! One simulated organisation, its store and its model, made once per test process and shared by all tests that only
//! read it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use crate::{CliTest, Outcome, run_in};

/// The five files of a run folder.
pub(crate) const RUN_FILES: [&str; 5] =
    ["anomalies.csv", "anomalies.jsonl", "anomalies.parquet", "report.html", "run.json"];

/// First day of the archive.
pub(crate) const FIRST: &str = "2026-01-05";
/// Last day of the archive.
pub(crate) const LAST: &str = "2026-02-07";
/// A day without files, in the training window.
pub(crate) const OUTAGE: &str = "2026-01-16";
/// Last training day: the attacks come later.
pub(crate) const UNTIL: &str = "2026-01-25";
/// The first night after the training window.
pub(crate) const NIGHT: &str = "2026-01-26";
/// The day of the attack S3.
pub(crate) const ATTACK: &str = "2026-02-03";

/// `sim/`, `store/` and `models/` in one folder, and what the commands said that made them.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) simulate: Outcome,
    pub(crate) features: Outcome,
    pub(crate) train: Outcome,
}

/// The shared world.
pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Statics are never dropped, so the worlds of test processes that have ended are removed here. A lock tells
        // whether one has: it dies with its process.
        for entry in fs::read_dir(root).unwrap().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "world")
                && fs::File::open(&path).is_ok_and(|f| f.try_lock().is_ok())
            {
                let _ = fs::remove_dir_all(path.with_extension("dir"));
                let _ = fs::remove_file(path);
            }
        }
        let dir = root.join(format!("{}.dir", std::process::id()));
        let lock = fs::File::create(dir.with_extension("world")).unwrap();
        lock.lock().unwrap();
        std::mem::forget(lock);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let run = |args: &str| run_in(&dir, &args.split(' ').collect::<Vec<_>>());
        let simulate = run("simulate --out sim --users 20 --days 34 --scenario S3@high --scenario S1@high");
        let features = run("features --events sim/events --store store --config sim/quietwatch.toml");
        let train = run(&format!("train --store store --until {UNTIL} --models models --name nightly"));
        Self { dir, simulate, features, train }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// The event files of the first days, up to and including `until`, sorted by name.
    pub(crate) fn events(&self, until: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.dir.join("sim/events")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.retain(|f| date_of(f).as_str() <= until);
        files
    }
}

/// The date in the name of a simulated file: `2026-01-05-late.csv` or `ApiTotalUsage_20260105_0AT….csv`.
pub(crate) fn date_of(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    match name.strip_prefix("ApiTotalUsage_") {
        Some(rest) => format!("{}-{}-{}", &rest[..4], &rest[4..6], &rest[6..8]),
        None => name[..10].to_owned(),
    }
}

impl CliTest {
    /// The arguments of a `score` with the shared store and model into `out`.
    pub(crate) fn score_args(out: &str, more: &[&str]) -> Vec<String> {
        let (store, models) = (WORLD.path("store"), WORLD.path("models"));
        let fixed = ["score", "--store", &store, "--models", &models, "--name", "nightly", "--out", out];
        fixed.iter().chain(more).map(|&s| s.to_owned()).collect()
    }

    /// Scores with the shared store and model.
    pub(crate) fn score(&self, out: &str, more: &[&str]) -> Outcome {
        let args = Self::score_args(out, more);
        self.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The rows of a run.
    pub(crate) fn anomalies(&self, run: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join(run).join("anomalies.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// `run.json`.
    pub(crate) fn info(&self, run: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path().join(run).join("run.json")).unwrap()).unwrap()
    }
}

/// Every file below a folder by its path in it, without what is only there for a while (`.lock`, `.tmp`).
pub(crate) fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".lock" || entry.file_name() == ".tmp" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(dir).unwrap().to_owned();
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Fails with the names of the files that differ; printing two stores would help nobody.
pub(crate) fn assert_same_trees(a: &Path, b: &Path, what: &str) {
    let (one, other) = (tree(a), tree(b));
    assert!(!one.is_empty(), "{what}: {} is empty", a.display());
    let names: std::collections::BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    let differing: Vec<_> = names.into_iter().filter(|name| one.get(*name) != other.get(*name)).collect();
    assert!(differing.is_empty(), "{what}: {differing:?} differ between {} and {}", a.display(), b.display());
}

/// A copy of a folder; files are linked, so a test that damages one must replace it, not write into it. Logs, which grow in
/// place, are copied.
pub(crate) fn link_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        // Another test may be scoring just now, and what it has not finished is gone in a moment.
        if entry.file_name().to_string_lossy().starts_with(".tmp-") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &target);
        } else if entry.file_name() == "log.jsonl" {
            fs::copy(entry.path(), &target).unwrap();
        } else if entry.file_name() != ".lock" {
            link(&entry.path(), &target);
        }
    }
}

/// The same file under another name, a copy where the file system cannot link.
pub(crate) fn link(from: &Path, to: &Path) {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).unwrap();
}

/// Replaces a file by one with a flipped bit in its middle.
pub(crate) fn flip_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}
