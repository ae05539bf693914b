//! The run folder: the files of a run, which appear together or not at all. A run of nights has five, one of a table or of sequences two.
//!
//! Everything is written to `.NAME.next` beside the folder and synced; then one rename, or one exchange with the old
//! folder, shows it. Killed at any moment, a reader sees the old run or the new one, and the next run sweeps up what is
//! left. Where the file system cannot exchange two folders, two renames do it: between them the old run stands at
//! `.NAME.old`, and the next run puts it back before it does anything else.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{archive, csv, html, jsonl, parquet};
use crate::anomaly::{Anomaly, RunInfo};
use crate::error::{Error, Kind, Result};
use crate::fsutil::is_temporary;

/// Layout version of the run folder, in `run.json`.
pub const FORMAT_VERSION: u32 = 1;

/// The files of a run of nights, in archive order.
pub const FILES: [&str; 5] = ["anomalies.csv", "anomalies.jsonl", "anomalies.parquet", "report.html", "run.json"];

/// The files of a backtest, in archive order.
pub const BACKTEST_FILES: [&str; 6] =
    ["anomalies.csv", "anomalies.jsonl", "anomalies.parquet", "backtest.html", "backtest.json", "run.json"];

/// The files of a run of a table or of sequences, in archive order.
pub const SCORES_FILES: [&str; 2] = ["run.json", "scores.parquet"];

/// Every name that a run may have.
fn all_files() -> impl Iterator<Item = &'static str> {
    let of_backtest = BACKTEST_FILES.into_iter().filter(|name| !FILES.contains(name));
    FILES.into_iter().chain(of_backtest).chain(["scores.parquet"])
}

/// Whether a folder holds a run: everything that each run of its kind has.
fn is_run(folder: &Path) -> bool {
    let has = |name: &&str| folder.join(name).exists();
    FILES.iter().filter(|name| **name != "report.html").all(has) || SCORES_FILES.iter().all(has)
}

/// What `kind` says in the `run.json` of a table and of sequences.
pub(super) const SCORES_KINDS: [&str; 2] = ["table", "sequences"];

const REVISIONS: &str = ".revisions";

/// What [`publish`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// There was no run before.
    Created,
    /// The run stood there already, byte for byte.
    Unchanged,
    /// The run before is kept as `.revisions/REVISION.tar.gz` (six digits).
    Replaced {
        /// Its number, 1 for the first.
        revision: u32,
    },
}

/// Makes `out` the folder of this run (`write_html`: with `report.html`).
///
/// Files of other names at the root of an existing run are carried over. Errors: [`Kind::Usage`] if `out` exists and is
/// neither empty nor a run, [`Kind::Locked`] if another process is publishing to it, [`Kind::Resource`] if the disk is
/// full, [`Kind::Bug`] for a row with a number that is not finite. After an error the old run stands as it was.
pub fn publish(out: &Path, run: &RunInfo, anomalies: &[Anomaly], write_html: bool) -> Result<Published> {
    check(run, anomalies)?;
    publish_files(out, &contents(run, anomalies, write_html)?)
}

/// Makes `out` the folder of this backtest: the rows of all its nights, and what they add up to. As [`publish`].
pub fn publish_backtest(
    out: &Path,
    run: &RunInfo,
    anomalies: &[Anomaly],
    (page, json): (String, Vec<u8>),
) -> Result<Published> {
    check(run, anomalies)?;
    let mut files = contents(run, anomalies, false)?;
    files.extend([(BACKTEST_FILES[3], page.into_bytes()), (BACKTEST_FILES[4], json)]);
    files.sort_by_key(|(name, _)| *name);
    publish_files(out, &files)
}

/// Makes `out` a folder of these files, whose names are from [`FILES`], [`BACKTEST_FILES`] or [`SCORES_FILES`] and sorted. As [`publish`], of which
/// it is the second half.
pub(super) fn publish_files(out: &Path, files: &[(&'static str, Vec<u8>)]) -> Result<Published> {
    let place = Place::of(out)?;
    let _lock = Lock::take(&place)?;
    place.recover()?;
    let existing = inspect(&place.dir)?;
    let Some(existing) = existing else {
        place.build(files, None)?;
        place.rename(&place.next, &place.dir)?;
        place.sync_parent()?;
        return Ok(Published::Created);
    };
    if existing.files == files {
        return Ok(Published::Unchanged);
    }
    let revision = place.build(files, Some(&existing))?;
    match exchange(&place.next, &place.dir) {
        Ok(()) => {}
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            place.rename_twice()?;
        }
        Err(e) => {
            place.sweep();
            return Err(Error::io(Kind::Usage, "swap the new run into", &place.dir, e));
        }
    }
    place.sync_parent()?;
    // The run is published: what cannot be swept now is swept by the next run.
    place.sweep();
    Ok(Published::Replaced { revision })
}

/// The run in a folder: what it says of itself, and its rows.
pub fn load(dir: &Path) -> Result<(RunInfo, Vec<Anomaly>)> {
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read(&path).map_err(|e| {
            let error = Error::io(Kind::Input, "read", &path, e);
            if dir.is_dir() {
                error
            } else {
                Error::new(Kind::Input, format!("{} is not a run folder", dir.display())).with_source(error)
            }
        })
    };
    let undescribed = |e: serde_json::Error| {
        Error::new(Kind::Input, format!("{} does not describe a run", dir.join("run.json").display())).with_source(e)
    };
    let json: serde_json::Value = serde_json::from_slice(&read("run.json")?).map_err(undescribed)?;
    if let Some(kind) = SCORES_KINDS.into_iter().find(|kind| json["kind"] == *kind) {
        let message = format!(
            "{} is a run of {}, which has scores and no anomalies; expected a run of nights. Read its scores.parquet",
            dir.display(),
            if kind == SCORES_KINDS[0] { "a table" } else { kind }
        );
        return Err(Error::new(Kind::Input, message));
    }
    let run: RunInfo = serde_json::from_value(json).map_err(undescribed)?;
    if run.format_version != FORMAT_VERSION {
        let message = format!(
            "{}: the run has layout {}, this engine reads layout {FORMAT_VERSION}",
            dir.display(),
            run.format_version
        );
        return Err(Error::new(Kind::Input, message));
    }
    let rows = jsonl::read(&read("anomalies.jsonl")?, &dir.join("anomalies.jsonl").display().to_string())?;
    Ok((run, rows))
}

/// The row with this key, or with the only key that begins so (at least 6 characters).
pub fn find<'a>(anomalies: &'a [Anomaly], key: &str) -> Result<&'a Anomaly> {
    const SHORTEST: usize = 6;
    if key.len() < SHORTEST {
        let message = format!("expected at least {SHORTEST} characters of a key, found {}", key.len());
        return Err(Error::new(Kind::Usage, message));
    }
    let mut found = anomalies.iter().filter(|a| a.anomaly_key.starts_with(key));
    match (found.next(), found.next()) {
        (Some(anomaly), None) => Ok(anomaly),
        (None, _) => Err(Error::new(Kind::Usage, "no anomaly of this run has that key; keys are in anomalies.csv")),
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Usage, "more than one anomaly begins with that key; give more of it"))
        }
    }
}

fn check(run: &RunInfo, anomalies: &[Anomaly]) -> Result<()> {
    if run.format_version != FORMAT_VERSION {
        return Err(Error::new(
            Kind::Bug,
            format!("expected run layout {FORMAT_VERSION}, found {}", run.format_version),
        ));
    }
    let sound = |a: &Anomaly| {
        let unit = |p: f64| (0.0..=1.0).contains(&p);
        (0.0..=100.0).contains(&a.score)
            && unit(a.p_value)
            && unit(a.q_value)
            && a.evidence
                .iter()
                .all(|e| e.low.is_finite() && e.high.is_finite() && unit(e.p_value) && unit(e.contribution))
    };
    match anomalies.iter().find(|a| !sound(a)) {
        None => Ok(()),
        Some(a) => Err(Error::new(Kind::Bug, format!("rank {} of {} has a number out of its range", a.rank, a.date))),
    }
}

/// The files of the run, in the order of [`FILES`].
fn contents(run: &RunInfo, anomalies: &[Anomaly], write_html: bool) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut json = serde_json::to_vec_pretty(run)
        .map_err(|e| Error::new(Kind::Bug, "the run cannot be described as JSON").with_source(e))?;
    json.push(b'\n');
    let mut files = vec![
        (FILES[0], csv::write(anomalies)?),
        (FILES[1], jsonl::write(anomalies)?),
        (FILES[2], parquet::write(anomalies)?),
    ];
    if write_html {
        files.push((FILES[3], html::page(run, anomalies).into_bytes()));
    }
    files.push((FILES[4], json));
    Ok(files)
}

/// An existing run.
struct Existing {
    /// The files that we write and that are there, sorted by name.
    files: Vec<(&'static str, Vec<u8>)>,
    /// Other files at its root.
    carried: Vec<PathBuf>,
    /// Archives of earlier runs.
    revisions: Vec<PathBuf>,
}

/// The run at `dir`; `None` if there is nothing or an empty folder.
fn inspect(dir: &Path) -> Result<Option<Existing>> {
    let failed = |e| Error::io(Kind::Usage, "read", dir, e);
    let no_run = |what: &str| {
        Error::new(Kind::Usage, format!("{} {what}; give --out a new, an empty or a run folder", dir.display()))
    };
    match fs::metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
        Ok(meta) if !meta.is_dir() => return Err(no_run("is not a folder")),
        Ok(_) => {}
    }
    let mut existing = Existing { files: Vec::new(), carried: Vec::new(), revisions: Vec::new() };
    let mut folders = 0;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if entry.file_name() == REVISIONS && kind.is_dir() {
            for revision in fs::read_dir(entry.path()).map_err(failed)? {
                existing.revisions.push(revision.map_err(failed)?.path());
            }
        } else if !kind.is_file() {
            folders += 1;
        } else if let Some(name) = all_files().find(|name| entry.file_name() == *name) {
            existing.files.push((name, fs::read(entry.path()).map_err(failed)?));
        } else if !is_temporary(&entry.file_name().to_string_lossy()) {
            existing.carried.push(entry.path());
        }
    }
    if existing.files.is_empty() && existing.carried.is_empty() && existing.revisions.is_empty() && folders == 0 {
        return Ok(None);
    }
    let described = existing.files.iter().any(|(name, bytes)| {
        let json: Option<serde_json::Value> =
            (*name == "run.json").then(|| serde_json::from_slice(bytes).ok()).flatten();
        json.is_some_and(|run| run["format_version"].is_u64() && run["model_digest"].is_string())
    });
    if !described {
        return Err(no_run("is not empty and holds no run"));
    }
    if folders > 0 {
        return Err(no_run("holds a run, but also folders or links that are not part of it"));
    }
    existing.files.sort_by_key(|(name, _)| *name);
    existing.revisions.sort();
    existing.carried.sort();
    Ok(Some(existing))
}

/// Where a run is published, and what stands beside it meanwhile.
struct Place {
    parent: PathBuf,
    /// The run folder.
    dir: PathBuf,
    /// The new run until it is shown, then the old one until it is gone.
    next: PathBuf,
    /// The old run between two renames.
    old: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn of(out: &Path) -> Result<Self> {
        // Resolved where it exists: a link keeps pointing at its run, and `.` has a name.
        let dir = match fs::canonicalize(out) {
            Ok(dir) => dir,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                std::path::absolute(out).map_err(|e| Error::io(Kind::Usage, "resolve", out, e))?.components().collect()
            }
            Err(e) => return Err(Error::io(Kind::Usage, "resolve", out, e)),
        };
        let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
            return Err(Error::new(Kind::Usage, format!("{} cannot be a run folder: it has no name", dir.display())));
        };
        if let Some(run) = parent.ancestors().find(|folder| is_run(folder)) {
            let message =
                format!("{} lies within the run folder {}; choose another --out", dir.display(), run.display());
            return Err(Error::new(Kind::Usage, message));
        }
        fs::create_dir_all(parent).map_err(|e| Error::io(Kind::Usage, "create", parent, e))?;
        let beside = |suffix: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(suffix);
            parent.join(hidden)
        };
        let (next, old, lock) = (beside(".next"), beside(".old"), beside(".lock"));
        Ok(Self { parent: parent.to_owned(), next, old, lock, dir })
    }

    /// Finishes or undoes what a killed run left behind.
    fn recover(&self) -> Result<()> {
        if self.old.exists() {
            if self.dir.exists() {
                fs::remove_dir_all(&self.old).map_err(|e| Error::io(Kind::Usage, "remove", &self.old, e))?;
            } else {
                self.rename(&self.old, &self.dir)?;
            }
        }
        if self.next.exists() {
            fs::remove_dir_all(&self.next).map_err(|e| Error::io(Kind::Usage, "remove", &self.next, e))?;
        }
        Ok(())
    }

    /// Writes the new run beside the old one and syncs it; returns the number of the revision that keeps the old one.
    fn build(&self, files: &[(&str, Vec<u8>)], existing: Option<&Existing>) -> Result<u32> {
        let build = || -> io::Result<u32> {
            fs::create_dir(&self.next)?;
            for (name, bytes) in files {
                write_synced(&self.next.join(name), bytes)?;
            }
            let mut number = 0;
            if let Some(existing) = existing {
                for path in &existing.carried {
                    link(path, &self.next)?;
                }
                let revisions = self.next.join(REVISIONS);
                fs::create_dir(&revisions)?;
                for path in &existing.revisions {
                    link(path, &revisions)?;
                    number = number.max(revision_number(path));
                }
                number += 1;
                let old: Vec<_> = existing.files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
                write_synced(&revisions.join(format!("{number:06}.tar.gz")), &archive::tar_gz(&old)?)?;
                File::open(&revisions)?.sync_all()?;
            }
            File::open(&self.next)?.sync_all()?;
            Ok(number)
        };
        build().map_err(|e| {
            self.sweep();
            Error::io(Kind::Usage, "write the run beside", &self.dir, e)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|e| {
            self.sweep();
            Error::io(Kind::Usage, "move the run to", to, e)
        })
    }

    /// The exchange, for file systems that have none.
    fn rename_twice(&self) -> Result<()> {
        self.rename(&self.dir, &self.old)?;
        if let Err(e) = fs::rename(&self.next, &self.dir) {
            // Put the old run back; if that fails too, the next run does it.
            let _ = fs::rename(&self.old, &self.dir);
            self.sweep();
            return Err(Error::io(Kind::Usage, "move the new run to", &self.dir, e));
        }
        self.sync_parent()?;
        let _ = fs::remove_dir_all(&self.old);
        Ok(())
    }

    fn sync_parent(&self) -> Result<()> {
        File::open(&self.parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|e| Error::io(Kind::Usage, "sync", &self.parent, e))
    }

    fn sweep(&self) {
        let _ = fs::remove_dir_all(&self.next);
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The file under the same name in `folder`, without copying where the file system can.
fn link(path: &Path, folder: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let to = folder.join(name);
    fs::hard_link(path, &to).or_else(|_| {
        fs::copy(path, &to)?;
        File::open(&to)?.sync_all()
    })
}

fn revision_number(path: &Path) -> u32 {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.strip_suffix(".tar.gz").and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Exchanges two folders in one step.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One publisher per folder. The lock dies with its process; the file goes with the lock.
struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    fn take(place: &Place) -> Result<Self> {
        let failed = |e| Error::io(Kind::Usage, "create a lock beside the run folder:", &place.lock, e);
        loop {
            let file = File::options().create(true).append(true).open(&place.lock).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Error::new(
                        Kind::Locked,
                        format!("another process is publishing to {}", place.dir.display()),
                    ));
                }
                Err(fs::TryLockError::Error(e)) => return Err(failed(e)),
            }
            // The holder before may have removed the file between our open and our lock.
            let held = file.metadata().map_err(failed)?.ino();
            if fs::metadata(&place.lock).is_ok_and(|named| named.ino() == held) {
                return Ok(Self { file, path: place.lock.clone() });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
#[path = "run_folder_tests.rs"]
mod tests;
