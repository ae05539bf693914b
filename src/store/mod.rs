//! The store: one partition per organisation and UTC date, with the events of that date and all that is computed
//! from them.
//!
//! ```text
//! STORE/store.json                                 says that this is a store, and of which version
//! STORE/<organisation>/<YYYY-MM-DD>/manifest.json  parts, and digest and size of every file
//!                                   events/<digest of a source file>.parquet
//!                                   features/{user_day,session,app_day,ip_day,org_day,values,hours,tokens}.parquet
//! STORE/nights/<digest of a model>/<YYYY-MM-DD>     what scoring keeps of a night for the nights after it
//! STORE/feedback.jsonl                             what people said about anomalies
//! STORE/quarantine/<digest of a source file>.jsonl rows that could not be read
//! STORE/.tmp, STORE/.lock                          what is being made, and by one process at a time
//! ```
//!
//! A partition is a pure function of the contents of the source files that have rows for it: their names, order and
//! repetition, the time of day and the number of threads reach no byte. A file is known by the digest of its content
//! and counts once. The last daily file of a date supersedes earlier ones and all hourly ones; all other parts are
//! united as multisets of whole rows. Readers need no lock: a partition is swapped in one step, and everything read is
//! checked against its digest before it is parsed.

mod archive;
mod atomic;
mod buffer;
mod build;
mod days;
mod feedback;
mod ingest;
mod manifest;
mod merge;
mod names;
mod parquet;
mod rows;
mod tables;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;

use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::tables::DayTables;

pub use ingest::{IngestReport, Progress};
pub use manifest::{File, Manifest, Part, PartKind, feature_schema};
pub use rows::rows;
pub use tables::DayTokens;

/// An organisation's UTC date. Sorted by organisation, then date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// Organisation.
    pub org: String,
    /// Date.
    pub date: Date,
}

/// A store on disk.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    /// Overrides how much is buffered in memory, for tests.
    buffer_bytes: Option<usize>,
}

const MARKER: &str = "store.json";
const MARKER_TEXT: &str = "{\"quietwatch_store\":1}\n";
const TEMP: &str = ".tmp";
const LOCK: &str = ".lock";

impl Store {
    /// An existing store. [`Kind::Input`] if there is none at `path`, or one of another version; [`Kind::Digest`] if what
    /// says so is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        match fs::read(path.join(MARKER)) {
            Ok(text) if text == MARKER_TEXT.as_bytes() => Ok(Self { path: path.to_owned(), buffer_bytes: None }),
            Ok(text) => Err(manifest::other_marker(&text, &path.join(MARKER), MARKER_TEXT)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(Error::new(
                Kind::Input,
                format!("{}: expected a store, found none; `features --store` makes one", path.display()),
            )),
            Err(e) => Err(Error::io(Kind::Input, "read", path, e)),
        }
    }

    /// Opens the store at `path`, or makes one there. [`Kind::Usage`] if `path` is a folder with something else in it.
    pub fn create(path: &Path) -> Result<Self> {
        if path.join(MARKER).exists() {
            return Self::open(path);
        }
        fs::create_dir_all(path).map_err(|e| Error::io(Kind::Usage, "create", path, e))?;
        let lock = lock_at(path)?;
        let mut others = fs::read_dir(path).map_err(|e| Error::io(Kind::Input, "read", path, e))?;
        let foreign = others.any(|entry| {
            entry.is_ok_and(|e| ![MARKER, TEMP, LOCK].iter().any(|ours| e.file_name().to_str() == Some(ours)))
        });
        if foreign {
            return Err(Error::new(
                Kind::Usage,
                format!("{}: expected a store or an empty folder, found other files", path.display()),
            ));
        }
        atomic::create_dir(&path.join(TEMP))?;
        atomic::replace_file(&path.join(TEMP).join(MARKER), &path.join(MARKER), MARKER_TEXT.as_bytes())?;
        drop(lock);
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All partitions, sorted.
    pub fn partitions(&self) -> Result<Vec<PartitionId>> {
        let mut found = Vec::new();
        for folder in folders(&self.path)? {
            if folder.starts_with('.') || names::RESERVED.contains(&folder.as_str()) {
                continue;
            }
            let named = names::organisation(&folder);
            if named == names::Named::Other {
                continue;
            }
            for name in folders(&self.path.join(&folder))? {
                let Ok(date) = name.parse::<Date>() else { continue };
                let path = self.path.join(&folder).join(&name);
                if !path.join(build::MANIFEST).exists() {
                    continue;
                }
                let org = match &named {
                    names::Named::Org(org) => org.clone(),
                    _ => read_manifest(&path)?.1.org_id,
                };
                found.push(PartitionId { org, date });
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// What a partition is made of. [`Kind::NoData`] if there is no such partition.
    pub fn manifest(&self, id: &PartitionId) -> Result<Manifest> {
        let (_, manifest) = read_manifest(&self.folder(id))?;
        if manifest.org_id != id.org || manifest.date != id.date {
            return Err(Error::new(
                Kind::Digest,
                format!("{}: the manifest is that of another partition", self.folder(id).display()),
            ));
        }
        Ok(manifest)
    }

    /// BLAKE3 of the manifest's bytes, hex: stands for the whole content of the partition.
    pub fn digest(&self, id: &PartitionId) -> Result<String> {
        let (bytes, _) = read_manifest(&self.folder(id))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    /// The rows of a partition. [`Kind::Digest`] if a file is not what the manifest says, [`Kind::NoData`] if there is
    /// no such partition.
    pub fn load(&self, id: &PartitionId) -> Result<DayTables> {
        self.consistently(id, |manifest, folder| {
            tables::decode_tables(&id.org, id.date, &mut |table| read_table(folder, manifest, table))
        })
    }

    /// The session steps of a partition. Errors as [`Self::load`].
    pub fn load_tokens(&self, id: &PartitionId) -> Result<DayTokens> {
        tables::decode_tokens(&self.frame(id, "tokens")?)
    }

    /// A feature table as it is stored: `user_day`, `session`, `app_day`, `ip_day`, `org_day`, `values`, `hours` or
    /// `tokens`. Errors as [`Self::load`].
    pub fn frame(&self, id: &PartitionId, table: &str) -> Result<DataFrame> {
        self.consistently(id, |manifest, folder| read_table(folder, manifest, table))
    }

    /// Checks every file of a partition, also those that scoring never reads. Errors as [`Self::load`].
    pub fn verify(&self, id: &PartitionId) -> Result<()> {
        self.consistently(id, |manifest, folder| {
            manifest.files.iter().try_for_each(|file| read_checked(folder, file).map(drop))
        })
    }

    /// Names of what a writer is making, or left when it was killed; and the process that writes at the moment, if any.
    pub fn unfinished(&self) -> Result<(Vec<String>, Option<u32>)> {
        let mut left = Vec::new();
        match fs::read_dir(self.temp()) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(|e| Error::io(Kind::Input, "read", &self.temp(), e))?;
                    left.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(Kind::Input, "read", &self.temp(), e)),
        }
        left.sort();
        Ok((left, fsutil::lock_holder(&self.path.join(LOCK))))
    }

    /// Digests of the models of which nights are kept, sorted.
    pub fn kept_models(&self) -> Result<Vec<String>> {
        let nights = self.path.join("nights");
        let mut models = if nights.is_dir() { folders(&nights)? } else { Vec::new() };
        models.sort();
        Ok(models)
    }

    /// Reads several files of a partition. If it is replaced meanwhile, begins again.
    fn consistently<T>(&self, id: &PartitionId, read: impl Fn(&Manifest, &Path) -> Result<T>) -> Result<T> {
        const TRIES: usize = 5;
        let folder = self.folder(id);
        let mut manifest = self.manifest(id)?;
        for _ in 1..TRIES {
            let result = read(&manifest, &folder);
            if result.is_ok() {
                return result;
            }
            let now = self.manifest(id)?;
            if now == manifest {
                return result;
            }
            manifest = now;
        }
        read(&manifest, &folder)
    }

    fn folder(&self, id: &PartitionId) -> PathBuf {
        self.path.join(names::folder(&id.org)).join(id.date.to_string())
    }

    fn temp(&self) -> PathBuf {
        self.path.join(TEMP)
    }

    /// Becomes the one writer, and clears up after one that was killed. [`Kind::Locked`] if there is another.
    fn lock(&self) -> Result<fs::File> {
        let lock = lock_at(&self.path)?;
        atomic::create_dir(&self.temp())?;
        atomic::recover(&self.temp(), &|name| {
            let (org, date) = name.split_once('@')?;
            Some(self.path.join(org).join(date))
        })?;
        Ok(lock)
    }
}

/// Takes the lock of the store at `path`; it ends with the handle, or with the process.
fn lock_at(path: &Path) -> Result<fs::File> {
    let lock = path.join(LOCK);
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(|e| Error::io(Kind::Usage, "open", &lock, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::new(
            Kind::Locked,
            format!("{}: another process is writing to this store; try again when it is done", path.display()),
        )),
        Err(fs::TryLockError::Error(e)) => Err(Error::io(Kind::Usage, "lock", &lock, e)),
    }
}

/// Names of the folders in a folder; other names than text are none of ours.
fn folders(path: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io(Kind::Input, "read", path, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn read_manifest(folder: &Path) -> Result<(Vec<u8>, Manifest)> {
    let path = folder.join(build::MANIFEST);
    let bytes = fs::read(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::new(Kind::NoData, format!("{}: no such partition", folder.display())),
        _ => Error::io(Kind::Input, "read", &path, e),
    })?;
    let manifest = Manifest::from_bytes(&bytes, &folder.display().to_string())?;
    Ok((bytes, manifest))
}

/// A file's bytes, if they are those that the manifest lists.
fn read_checked(folder: &Path, file: &File) -> Result<Vec<u8>> {
    let path = folder.join(&file.path);
    let bytes = fs::read(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::new(
            Kind::Digest,
            format!("{}: the manifest lists it, but it is not there; ingest the date's files again", path.display()),
        ),
        _ => Error::io(Kind::Input, "read", &path, e),
    })?;
    if bytes.len() as u64 != file.bytes || blake3::hash(&bytes).to_hex().as_str() != file.blake3 {
        return Err(Error::new(
            Kind::Digest,
            format!(
                "{}: the content is not what the manifest says; restore it, or remove the partition and ingest the \
                 date's files again",
                path.display()
            ),
        ));
    }
    Ok(bytes)
}

fn read_table(folder: &Path, manifest: &Manifest, table: &str) -> Result<DataFrame> {
    let path = build::table_path(table);
    let file = manifest
        .file(&path)
        .ok_or_else(|| Error::new(Kind::Digest, format!("{}: the manifest lists no {path}", folder.display())))?;
    parquet::decode(read_checked(folder, file)?)
}
