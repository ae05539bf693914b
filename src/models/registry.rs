//! `MODELS/NAME/`: versions, aliases and the log, and the protocol by which they change.
//!
//! Readers take no lock: a version is published by one rename and never changes, an alias is replaced by one rename.
//! Writers hold `MODELS/NAME/.lock`, which the kernel releases when the process ends, however it ends.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::version::{self, is_digest};
use super::{CHAMPION, Draft, LoadedModel, Manifest};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, NewDir};

const VERSIONS: &str = "versions";
const ALIASES: &str = "aliases";
const LOG: &str = "log.jsonl";
const LOCK: &str = ".lock";

/// Longest alias file: a version, a digest, a line end.
const MAX_ALIAS_BYTES: u64 = 128;

/// Longest log that is read for its times.
const MAX_LOG_BYTES: u64 = 64 << 20;

/// Which version is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// This one.
    Version(u32),
    /// The one that an alias names.
    Alias(String),
}

/// One model's versions under a models folder.
#[derive(Debug, Clone)]
pub struct Registry {
    models: PathBuf,
    name: String,
}

/// A version as a list shows it.
#[derive(Debug)]
pub struct VersionInfo {
    /// Its number.
    pub version: u32,
    /// When it was made, from the log; none if the log does not say.
    pub created: Option<String>,
    /// The version that was champion when it was made.
    pub parent: Option<u32>,
    /// Aliases that name it.
    pub aliases: Vec<String>,
    /// Digest of its manifest and the manifest, or why it cannot be used.
    pub manifest: Result<(String, Manifest)>,
}

/// The outcome of checking one version or alias.
#[derive(Debug)]
pub struct Check {
    /// `version 000001` or `alias champion`.
    pub what: String,
    /// Digest of the manifest, or what is wrong.
    pub outcome: Result<String>,
}

/// What [`Registry::verify`] found.
#[derive(Debug)]
pub struct VerifyReport {
    /// Versions in their order, then aliases by name.
    pub checks: Vec<Check>,
}

impl VerifyReport {
    /// The first thing that is wrong.
    pub fn into_result(self) -> Result<()> {
        self.checks.into_iter().try_for_each(|check| check.outcome.map(drop))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Create,
    Alias,
}

/// A line of `log.jsonl`.
#[derive(Serialize, Deserialize)]
struct LogEntry {
    time: String,
    event: Event,
    version: u32,
    digest: String,
    /// Of a new version: the champion when it was made. Of an alias: the version it named before.
    parent: Option<u32>,
    alias: Option<String>,
    reason: String,
}

/// The names of all models under a folder, sorted.
pub fn names(models: &Path) -> Result<Vec<String>> {
    let Some(folder) = Folder::open(models)? else { return Ok(Vec::new()) };
    let is_model = |name: &str| check_name("model", name).is_ok() && models.join(name).join(VERSIONS).is_dir();
    Ok(folder.names()?.into_iter().filter(|name| is_model(name)).collect())
}

impl Registry {
    /// The registry of one model. Nothing is created or read yet; a bad name is [`Kind::Usage`].
    pub fn open(models: &Path, name: &str) -> Result<Self> {
        check_name("model", name)?;
        Ok(Self { models: models.to_path_buf(), name: name.to_owned() })
    }

    /// Publishes a new version and returns its number. Without a champion, it becomes champion. `now` goes into the log
    /// alone. Fails with [`Kind::Locked`] while another process writes.
    pub fn create_version(&self, draft: Draft, now: &str) -> Result<u32> {
        let (version_dir, alias_dir) = (self.path().join(VERSIONS), self.path().join(ALIASES));
        fsutil::create_dirs(&version_dir)?;
        fsutil::create_dirs(&alias_dir)?;
        let _lock = self.lock()?;
        let root = self.root()?;
        // Reading first: it refuses folders that are links, before anything is changed behind them.
        // A number is never used again, even if its folder is gone: the log and aliases may still speak of it.
        let logged = created(&root)?.keys().next_back().copied().unwrap_or(0);
        let last = versions(&root)?.last().copied().unwrap_or(0).max(logged);
        let version =
            last.checked_add(1).ok_or_else(|| Error::new(Kind::Model, "there are no version numbers left"))?;
        let parent = alias(&root, CHAMPION)?.map(|(version, _)| version);
        for folder in [&version_dir, &alias_dir] {
            fsutil::remove_leftovers(folder)?;
        }

        let dir = NewDir::new(&version_dir.join(number(version)))?;
        let digest = version::write(draft, &dir)?;
        dir.publish()?;
        let entry = |event, alias: Option<&str>, reason: &str| LogEntry {
            time: now.to_owned(),
            event,
            version,
            digest: digest.clone(),
            parent,
            alias: alias.map(str::to_owned),
            reason: reason.to_owned(),
        };
        self.log(&entry(Event::Create, None, "trained"))?;
        if parent.is_none() {
            fsutil::write_atomic(&alias_dir.join(CHAMPION), format!("{} {digest}\n", number(version)).as_bytes())?;
            self.log(&entry(Event::Alias, Some(CHAMPION), "first version"))?;
        }
        Ok(version)
    }

    /// Which version is meant, and the digest that its manifest must have. Missing ones are [`Kind::Model`].
    pub fn resolve(&self, selector: &Selector) -> Result<(u32, String)> {
        let root = self.root()?;
        match selector {
            Selector::Version(version) => Ok((*version, version::claimed_digest(&self.folder(&root, *version)?)?)),
            Selector::Alias(name) => {
                check_name("alias", name)?;
                let found = alias(&root, name)?;
                found.ok_or_else(|| {
                    let all = versions(&root).unwrap_or_default();
                    match (alias_names(&root), all.last()) {
                        (Ok(aliases), Some(last)) if aliases.is_empty() => Error::new(
                            Kind::Model,
                            format!(
                                "no alias {name:?} of model {:?}; name a version, such as --version {last}",
                                self.name
                            ),
                        ),
                        (aliases, _) => self.missing(&format!("no alias {name:?}"), &aliases),
                    }
                })
            }
        }
    }

    /// Loads the version that is meant. The selector is resolved once; the version is refused unless every digest
    /// matches ([`Kind::Digest`]) and its format is known ([`Kind::Model`]).
    pub fn load(&self, selector: &Selector) -> Result<LoadedModel> {
        let (version, digest) = self.resolve(selector)?;
        version::read(&self.folder(&self.root()?, version)?, version, &digest)
    }

    /// All versions in their order, and what is wrong with aliases. A damaged version is listed with what is wrong.
    pub fn list(&self) -> Result<(Vec<VersionInfo>, Vec<String>)> {
        let root = self.root()?;
        let mut aliases: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let mut broken = Vec::new();
        for name in alias_names(&root)? {
            let claimed = |version| version::claimed_digest(&self.folder(&root, version)?);
            match alias(&root, &name) {
                Ok(Some((version, digest))) => match claimed(version) {
                    Ok(found) if found == digest => aliases.entry(version).or_default().push(name),
                    Ok(_) => broken.push(format!("alias {name} names version {version} with another digest")),
                    Err(e) => broken.push(format!("alias {name}: {e}")),
                },
                Ok(None) => {}
                Err(e) => broken.push(e.to_string()),
            }
        }
        let mut log = created(&root)?;
        let manifest = |version| {
            let folder = self.folder(&root, version)?;
            let digest = version::claimed_digest(&folder)?;
            version::read_manifest(&folder, &digest).map(|manifest| (digest, manifest))
        };
        let info = |version| {
            let (created, parent) = log.remove(&version).map_or((None, None), |(at, parent)| (Some(at), parent));
            let aliases = aliases.remove(&version).unwrap_or_default();
            VersionInfo { version, created, parent, aliases, manifest: manifest(version) }
        };
        Ok((versions(&root)?.into_iter().map(info).collect(), broken))
    }

    /// Checks and reads one version whole, or all versions and all aliases.
    pub fn verify(&self, version: Option<u32>) -> Result<VerifyReport> {
        let root = self.root()?;
        let check_version = |version: u32| -> Result<String> {
            let folder = self.folder(&root, version)?;
            let digest = version::claimed_digest(&folder)?;
            version::read(&folder, version, &digest).map(|_| digest)
        };
        if let Some(version) = version {
            // A version that is not there is an error of the request, not a finding.
            self.folder(&root, version)?;
            let what = format!("version {}", number(version));
            return Ok(VerifyReport { checks: vec![Check { what, outcome: check_version(version) }] });
        }
        let all = versions(&root)?;
        if all.is_empty() {
            return Err(self.missing("no version", &Ok(Vec::new())));
        }
        let mut checks = Vec::new();
        for version in all {
            checks.push(Check { what: format!("version {}", number(version)), outcome: check_version(version) });
        }
        let check_alias = |name: &str| -> Result<String> {
            let (version, expected) =
                alias(&root, name)?.ok_or_else(|| Error::new(Kind::Digest, format!("alias {name} is gone")))?;
            let found = version::claimed_digest(&self.folder(&root, version)?)?;
            if found == expected {
                return Ok(found);
            }
            let message = format!("alias {name}: expected version {version} with {expected}, found {found}");
            Err(Error::new(Kind::Digest, message))
        };
        for name in alias_names(&root)? {
            checks.push(Check { what: format!("alias {name}"), outcome: check_alias(&name) });
        }
        Ok(VerifyReport { checks })
    }

    fn path(&self) -> PathBuf {
        self.models.join(&self.name)
    }

    /// The folder of this model, which must exist.
    fn root(&self) -> Result<Folder> {
        let models = Folder::open(&self.models)?;
        let found = models.map(|models| models.folder(&self.name)).transpose()?.flatten();
        found.ok_or_else(|| {
            let others = names(&self.models);
            let missing = format!("no model {:?} in {}", self.name, self.models.display());
            Error::new(Kind::Model, format!("{missing}; {}", listed(&others)))
        })
    }

    fn folder(&self, root: &Folder, version: u32) -> Result<Folder> {
        let found = root.folder(VERSIONS)?.map(|versions| versions.folder(&number(version))).transpose()?.flatten();
        found.ok_or_else(|| {
            let all = versions(root).map(|all| all.iter().map(u32::to_string).collect());
            self.missing(&format!("no version {version}"), &all)
        })
    }

    /// Appends one line and flushes it. The file is opened for reading too: a line cut by a crash must not run into
    /// the next one.
    fn log(&self, entry: &LogEntry) -> Result<()> {
        let path = self.path().join(LOG);
        let failed = |e| Error::io(Kind::Usage, "append to", &path, e);
        let mut line = serde_json::to_vec(entry).map_err(|e| Error::new(Kind::Bug, "cannot log").with_source(e))?;
        line.push(b'\n');
        let mut file = File::options().read(true).append(true).create(true).open(&path).map_err(failed)?;
        let end = file.metadata().map_err(failed)?.len();
        if let Some(last) = end.checked_sub(1) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, last).map_err(failed)?;
            if byte != *b"\n" {
                line.insert(0, b'\n');
            }
        }
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(failed)?;
        fsutil::sync_dir(&self.path())
    }

    /// Holds the model against other writers for as long as the guard lives.
    fn lock(&self) -> Result<Lock> {
        let path = self.path().join(LOCK);
        let failed = |e| Error::io(Kind::Usage, "lock", &path, e);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("model {:?} is being changed by another process; try again later", self.name);
                Err(Error::new(Kind::Locked, message))
            }
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    fn missing(&self, what: &str, existing: &Result<Vec<String>>) -> Error {
        Error::new(Kind::Model, format!("{what} of model {:?}; {}", self.name, listed(existing)))
    }
}

/// The numbers of all versions, ascending. What has no number, such as a version under construction, is none.
fn versions(root: &Folder) -> Result<Vec<u32>> {
    let Some(folder) = root.folder(VERSIONS)? else { return Ok(Vec::new()) };
    let mut versions: Vec<u32> = folder.names()?.iter().filter_map(|name| parse_number(name)).collect();
    versions.sort_unstable();
    Ok(versions)
}

fn alias_names(root: &Folder) -> Result<Vec<String>> {
    let Some(folder) = root.folder(ALIASES)? else { return Ok(Vec::new()) };
    Ok(folder.names()?.into_iter().filter(|name| !fsutil::is_temporary(name)).collect())
}

/// The version and digest that an alias names; none if there is no such alias.
fn alias(root: &Folder, alias: &str) -> Result<Option<(u32, String)>> {
    let Some(folder) = root.folder(ALIASES)? else { return Ok(None) };
    let Some(bytes) = folder.read(alias, MAX_ALIAS_BYTES)? else { return Ok(None) };
    let parse = || {
        let line = std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?;
        let (version, digest) = line.split_once(' ')?;
        Some((parse_number(version)?, is_digest(digest).then(|| digest.to_owned())?))
    };
    parse().map(Some).ok_or_else(|| {
        let path = folder.path().join(alias);
        let message = format!("{}: expected a version and a BLAKE3 digest on one line", path.display());
        Error::new(Kind::Digest, message)
    })
}

/// Time and parent of each version, as far as the log can be read: it informs, nothing depends on it.
fn created(root: &Folder) -> Result<BTreeMap<u32, (String, Option<u32>)>> {
    let log = root.read(LOG, MAX_LOG_BYTES)?.unwrap_or_default();
    let entries = log.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice::<LogEntry>(line).ok());
    let created = entries.filter(|e| matches!(e.event, Event::Create));
    Ok(created.map(|e| (e.version, (e.time, e.parent))).collect())
}

/// A held lock. Closing the file would release it too, but not while a process that is being started at that moment
/// still has a copy of the descriptor.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails, the end of the process releases it.
        let _ = self.0.unlock();
    }
}

/// `there are: a, b`.
fn listed(existing: &Result<Vec<String>>) -> String {
    match existing {
        Ok(all) if !all.is_empty() => format!("there are: {}", all.join(", ")),
        _ => "there is none yet; `quietwatch train` makes one".to_owned(),
    }
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = format!("{what} name {name:?}: expected 1 to 64 of the characters a-z, 0-9, _ and -");
    Err(Error::new(Kind::Usage, message))
}

/// The folder name of a version.
fn number(version: u32) -> String {
    format!("{version:06}")
}

/// The version that a folder name or alias line means; only the spelling of [`number`] counts.
fn parse_number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|&version| version >= 1 && number(version) == name)
}
