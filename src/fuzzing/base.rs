//! Real artefacts to begin with: a small archive, its store, and a version trained on each kind of input, made by the commands
//! once per process and kept in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use clap::Parser;
use tempfile::TempDir;

use crate::cli::{Args, carry_out};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::models::{LoadedModel, Registry, Selector};
use crate::pipeline::Days;
use crate::store::Store;
use crate::tables::{DayTables, Steps};

/// What a version was trained on.
pub(super) const KINDS: [&str; 3] = ["nights", "table", "sequences"];

/// A version as its files, and as it is when loaded.
pub(super) struct Version {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) loaded: LoadedModel,
}

/// All that is begun with.
pub(super) struct Base {
    pub(super) versions: [Version; 3],
    pub(super) days: Memory,
    /// The archive, the table and the sequences, as CSV.
    pub(super) files: [String; 3],
    pub(super) log: Vec<u8>,
}

pub(super) static BASE: LazyLock<Base> = LazyLock::new(|| Base::new().expect("the commands make a base"));

impl Base {
    fn new() -> Result<Self> {
        let dir = temporary()?;
        let at = |name: &str| dir.path().join(name).to_str().expect("a temporary folder has a plain name").to_owned();
        let files = [archive(), table(), sequences()];
        for (name, text) in ["events.csv", "table.csv", "sequences.csv"].iter().zip(&files) {
            fs::write(at(name), text).map_err(|e| Error::io(Kind::Bug, "write", dir.path(), e))?;
        }
        let run = |line: &[&str]| -> Result<()> {
            let args = Args::parse_from([&["quietwatch"], line].concat());
            carry_out(args.command, &mut std::io::sink()).map(drop)
        };
        let (store, models) = (at("store"), at("models"));
        run(&["features", "--events", &at("events.csv"), "--profile", "generic", "--store", &store])?;
        let train = |name: &str, input: &[&str], sets: &[&str]| {
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
            run(&[&["train", "--models", &models, "--name", name], input, &sets].concat())
        };
        let small = ["geometry.night-trees=2", "sequence.night-ngrams=1000", "fusion.geometry=1"];
        let short = ["baseline.min-history-days=3", "calibration.nights=3", "calibration.min-stratum=20"];
        train("nights", &["--store", &store, "--until", "2026-01-11"], &[&small[..], &short[..]].concat())?;
        train(
            "table",
            &["--table", &at("table.csv"), "--key", "id"],
            &["geometry.trees=2", "geometry.sample=16", "geometry.references=20"],
        )?;
        train("sequences", &["--sequences", &at("sequences.csv")], &["sequence.ngrams=1000", "sequence.order=3"])?;
        let version = |name: &str| -> Result<Version> {
            let loaded = Registry::open(Path::new(&models), name)?.load(&Selector::Version(1))?;
            Ok(Version { files: contents(&dir.path().join("models").join(name).join("versions/000001"))?, loaded })
        };
        let [nights, table, sequences] = KINDS.map(version);
        let log = contents(&dir.path().join("models/nights"))?.remove("log.jsonl").unwrap_or_default();
        let days = Memory::of(&Store::open(Path::new(&store))?)?;
        Ok(Self { versions: [nights?, table?, sequences?], days, files, log })
    }
}

/// The plain files of a folder.
pub(super) fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let failed = |e| Error::io(Kind::Bug, "read", folder, e);
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() {
            found.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).map_err(failed)?);
        }
    }
    Ok(found)
}

pub(super) fn temporary() -> Result<TempDir> {
    tempfile::tempdir().map_err(|e| Error::io(Kind::Resource, "create", &std::env::temp_dir(), e))
}

/// Runs `work` in a folder of this thread, which is used again and again.
pub(super) fn in_folder<T>(work: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let dir = folder.get_or_insert_with(|| temporary().expect("there is room for a folder"));
        work(dir.path())
    })
}

/// Writes a file, and the folders above it.
pub(super) fn write(path: &Path, bytes: &[u8]) {
    if fs::write(path, bytes).is_err() {
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("there is room");
        fs::write(path, bytes).expect("there is room");
    }
}

/// A registry `models/m` in `dir` with one version of these files; champion if a digest says so.
pub(super) fn lay_out<'a>(dir: &Path, files: impl Iterator<Item = (&'a str, &'a [u8])>, digest: &str) -> PathBuf {
    let models = dir.join("models");
    let version = models.join("m/versions/000001");
    files.for_each(|(name, bytes)| write(&version.join(name), bytes));
    write(&models.join("m/aliases/champion"), format!("000001 {digest}\n").as_bytes());
    models
}

fn archive() -> String {
    let mut text = String::from(
        "timestamp,user_id,user_name,client_ip,app_name,api_version,resource,http_method,entity_name,status_code,request_id\n",
    );
    let objects = ["Account", "Contact", "Case"];
    for day in 0..9 {
        for user in 0..5 {
            for call in 0..6 {
                let (hour, minute) = (8 + (user + call) % 10, (call * 7 + user) % 60);
                let object = objects[(call + user) % 3];
                let status = if call == 5 { 401 } else { 200 };
                let id = (day * 5 + user) * 6 + call;
                writeln!(
                    text,
                    "2026-01-{:02}T{hour:02}:{minute:02}:00Z,u{user},User {user},198.18.{user}.{},App {},60.0,/x/{object},GET,\
                     {object},{status},r{id}",
                    5 + day,
                    1 + call % 2,
                    user % 2
                )
                .expect("text grows");
            }
        }
    }
    text
}

fn table() -> String {
    let mut text = String::from("id,a,b,c\n");
    for row in 0..40_i64 {
        let (a, b) = (row * 37 % 41, row * row % 29);
        writeln!(text, "k{row},{a},{b}.5,{}", if row % 9 == 0 { String::new() } else { (a - b).to_string() })
            .expect("text grows");
    }
    text
}

fn sequences() -> String {
    let mut text = String::from("sequence_id,tokens,entity\n");
    for row in 0..30 {
        let tokens: Vec<&str> = (0..6).map(|i| ["login", "read", "write", "list"][(row + i * i) % 4]).collect();
        writeln!(text, "s{row},{},e{}", tokens.join(" "), row % 3).expect("text grows");
    }
    text
}

/// The days of a store in memory.
pub(super) struct Memory {
    days: BTreeMap<(Date, String), (DayTables, Steps, String)>,
    /// What is kept of the first night after the training.
    pub(super) kept: Mutex<Option<String>>,
}

impl Memory {
    fn of(store: &Store) -> Result<Self> {
        let mut days = BTreeMap::new();
        for (date, org) in store.list()? {
            let day = (Days::load(store, &org, date)?, store.steps(&org, date)?, Days::digest(store, &org, date)?);
            days.insert((date, org), day);
        }
        Ok(Self { days, kept: Mutex::new(None) })
    }

    pub(super) fn last(&self) -> Date {
        self.days.keys().next_back().expect("there are days").0
    }

    fn day(&self, org: &str, date: Date) -> Result<&(DayTables, Steps, String)> {
        self.days.get(&(date, org.to_owned())).ok_or_else(|| Error::new(Kind::NoData, "no such day"))
    }
}

impl Days for Memory {
    fn list(&self) -> Result<Vec<(Date, String)>> {
        Ok(self.days.keys().cloned().collect())
    }

    fn load(&self, org: &str, date: Date) -> Result<DayTables> {
        Ok(self.day(org, date)?.0.clone())
    }

    fn steps(&self, org: &str, date: Date) -> Result<Steps> {
        Ok(self.day(org, date)?.1.clone())
    }

    fn digest(&self, org: &str, date: Date) -> Result<String> {
        Ok(self.day(org, date)?.2.clone())
    }

    fn enrichment(&self, _: &str, _: Date) -> Result<String> {
        Ok(String::new())
    }

    fn kept_night(&self, _: &str, _: Date) -> Result<Option<String>> {
        Ok(self.kept.lock().expect("nobody panics with it").clone())
    }

    fn keep_night(&self, _: &str, _: Date, _: &str) -> Result<()> {
        Ok(())
    }
}
