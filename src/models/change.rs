//! How a registry changes: one change at a time, under the lock, each in three durable steps.
//!
//! 1. `.pending` receives the line that the log will have,
//! 2. one rename does it: a version appears or goes, an alias names another version,
//! 3. the line is added to the log, and `.pending` removed.
//!
//! Killed in between, readers see the state from before or after the rename, and the next writer looks which of them it is:
//! it adds the line if the change took effect, and forgets it if not. So the log never speaks of what did not happen, and
//! nothing happens without a line.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::log::{self, Event, Log, LogEntry};
use super::registry::{ALIASES, LOCK, Registry, VERSIONS, alias, check_name, number, versions};
use super::sign::{self, SIGNATURES};
use super::verify::Moment;
use super::version;
use super::{CHAMPION, Draft, LoadedModel, Selector};
use crate::error::{Error, Kind, Result};
use crate::fsutil::{self, NewDir};

/// The change that is under way.
const PENDING: &str = ".pending";

/// Longest line of the log that a change may have.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Why the first version is champion.
const FIRST_VERSION: &str = "first version";

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_millis(400);

/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 4 << 10;

/// Who changes something, when and why; it goes into the log alone.
#[derive(Debug, Clone, Copy)]
pub struct Because<'a> {
    /// Why; not empty.
    pub reason: &'a str,
    /// The time, RFC 3339.
    pub now: &'a str,
    /// Who, if that is known.
    pub by: Option<&'a str>,
}

impl Because<'_> {
    fn check(self) -> Result<()> {
        let length = self.reason.len();
        if !self.reason.trim().is_empty() && length <= MAX_REASON_BYTES {
            return Ok(());
        }
        let found = if length > MAX_REASON_BYTES { format!("{length} bytes") } else { "none".to_owned() };
        let message =
            format!("expected a reason of 1 to {MAX_REASON_BYTES} bytes, which stays in the log, found {found}");
        Err(Error::new(Kind::Usage, message))
    }
}

/// What became of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// The version that it named before.
    pub from: Option<u32>,
    /// The version that it names now.
    pub to: u32,
    /// Digest of that version's manifest.
    pub digest: String,
    /// False if it named that version already; nothing was written then.
    pub changed: bool,
}

/// Looks at a model before an alias names it; an error stops the change.
pub type Gate<'a> = &'a mut dyn FnMut(&LoadedModel) -> Result<()>;

impl Registry {
    /// Publishes a new version and returns its number. Without a champion, it becomes champion. `now` goes into the log
    /// alone. Fails with [`Kind::Locked`] while another process writes.
    pub fn create_version(&self, draft: Draft, now: &str) -> Result<u32> {
        let (version_dir, alias_dir) = (self.path().join(VERSIONS), self.path().join(ALIASES));
        fsutil::create_dirs(&version_dir)?;
        fsutil::create_dirs(&alias_dir)?;
        let (_lock, root) = self.write()?;
        // A number is never used again, even if its folder is gone: the log and aliases may still speak of it.
        let made = Log::read(&root)?.entries.into_iter().filter(|e| e.event == Event::Create);
        let logged = made.map(|e| e.version).max().unwrap_or(0);
        let last = versions(&root)?.last().copied().unwrap_or(0).max(logged);
        let version =
            last.checked_add(1).ok_or_else(|| Error::new(Kind::Model, "there are no version numbers left"))?;
        // No training is lost to a champion that makes no sense, nor does the new version take its place.
        let champion = alias(&root, CHAMPION);
        let is_first = matches!(champion, Ok(None));
        let parent = champion.ok().flatten().map(|(version, _)| version);

        let dir = NewDir::new(&version_dir.join(number(version)))?;
        let digest = version::write(draft, &dir)?;
        self.sign(version, &digest)?;
        let entry = |event, alias: Option<&str>, reason: &str| LogEntry {
            time: now.to_owned(),
            event,
            version,
            digest: digest.clone(),
            parent,
            alias: alias.map(str::to_owned),
            reason: reason.to_owned(),
            by: None,
        };
        self.change(&root, &entry(Event::Create, None, "trained"), || dir.publish())?;
        if is_first {
            let first = entry(Event::Promote, Some(CHAMPION), FIRST_VERSION);
            self.change(&root, &first, || self.name_version(CHAMPION, version, &digest))?;
        }
        Ok(version)
    }

    /// Lets an alias name a version, once every digest of it matched and `gate` let it pass. [`Kind::Locked`] if another
    /// process writes, or set the alias meanwhile.
    pub fn promote(&self, version: u32, name: &str, because: Because<'_>, gate: Gate<'_>) -> Result<Swapped> {
        check_name("alias", name)?;
        because.check()?;
        let root = self.settle()?;
        let seen = alias_bytes(&root, name)?;
        let model = if self.would_sign(&root, version)? {
            let unsigned = Self::open(self.models(), self.name())?;
            unsigned.load(&Selector::Version(version))?
        } else {
            self.load(&Selector::Version(version))?
        };
        gate(&model)?;
        self.swap(Event::Promote, name, &model, seen.as_deref(), because)
    }

    /// Sets an alias back to the version that it named before its latest promotion not yet undone, under the same
    /// conditions as [`Self::promote`]. [`Kind::Model`] if nothing is left to undo or that version is gone,
    /// [`Kind::Digest`] if alias and log contradict each other.
    pub fn rollback(&self, name: &str, because: Because<'_>, gate: Gate<'_>) -> Result<Swapped> {
        check_name("alias", name)?;
        because.check()?;
        let root = self.settle()?;
        let seen = alias_bytes(&root, name)?;
        let (version, digest) = self.before(&root, name)?;
        let model = self.load(&Selector::Version(version)).map_err(|e| {
            let message = format!(
                "cannot set alias {name} back to version {version}, which it named before; promote another version"
            );
            Error::new(e.kind(), message).with_source(e)
        })?;
        if digest.is_some_and(|digest| digest != model.digest) {
            let message = format!("version {version} is not the one that alias {name} named: its digest is another");
            return Err(Error::new(Kind::Digest, message));
        }
        gate(&model)?;
        self.swap(Event::Rollback, name, &model, seen.as_deref(), because)
    }

    /// The version that a rollback of an alias would go to, and its digest as far as the log has it.
    pub(super) fn before(&self, root: &Folder, name: &str) -> Result<(u32, Option<String>)> {
        let moment = Moment::read(root)?;
        let waits = moment.not_logged(name).cloned();
        let Moment { mut log, mut aliases, .. } = moment;
        log.entries.extend(waits);
        if let Some(broken) = &log.broken {
            let message = format!(
                "{}: {broken}; what to go back to cannot be known. Promote a version instead",
                self.path().join(log::LOG).display()
            );
            return Err(Error::new(Kind::Digest, message));
        }
        let (current, _) = aliases.remove(name).transpose()?.flatten().ok_or_else(|| {
            let message = format!("there is no alias {name:?} of model {:?}, and so nothing to undo", self.name());
            Error::new(Kind::Model, message)
        })?;
        if let Some(said) = log.last_of(name).filter(|said| said.version != current) {
            let message = format!(
                "alias {name} names version {current}, but the log's last word is version {}: it was changed by hand. Promote \
                 the version that is meant, and the log is true again",
                said.version
            );
            return Err(Error::new(Kind::Digest, message));
        }
        let Some(version) = log.to_undo(name).and_then(|e| e.parent) else {
            let message = format!(
                "nothing is left to undo: alias {name} names version {current} and the log knows of none that it named \
                 before. Promote a version instead"
            );
            return Err(Error::new(Kind::Model, message));
        };
        let digest = log.entries.iter().rev().find(|e| e.version == version).map(|e| e.digest.clone());
        Ok((version, digest))
    }

    fn swap(
        &self,
        event: Event,
        name: &str,
        model: &LoadedModel,
        seen: Option<&[u8]>,
        because: Because<'_>,
    ) -> Result<Swapped> {
        let (_lock, root) = self.write()?;
        // Compare, then swap: between the look and the lock another process may have come first.
        if alias_bytes(&root, name)?.as_deref() != seen {
            let message =
                format!("alias {name} was set by another process meanwhile; look what it names and try again");
            return Err(Error::new(Kind::Locked, message));
        }
        if version::claimed_digest(&self.folder(&root, model.version)?)? != model.digest {
            let message = format!("version {} changed while it was looked at", model.version);
            return Err(Error::new(Kind::Digest, message));
        }
        if self.would_sign(&root, model.version)? {
            self.sign(model.version, &model.digest)?;
        }
        self.vouched(&root, model.version, &model.digest)?;
        // An alias that makes no sense names nothing, and can be set right.
        let before = alias(&root, name).ok().flatten();
        let from = before.as_ref().map(|(version, _)| *version);
        let (to, digest) = (model.version, model.digest.clone());
        if before.is_some_and(|before| before == (to, digest.clone())) {
            return Ok(Swapped { from, to, digest, changed: false });
        }
        fsutil::create_dirs(&self.path().join(ALIASES))?;
        let entry = LogEntry {
            time: because.now.to_owned(),
            event,
            version: to,
            digest: digest.clone(),
            parent: from,
            alias: Some(name.to_owned()),
            reason: because.reason.trim().to_owned(),
            by: because.by.map(str::to_owned),
        };
        self.change(&root, &entry, || self.name_version(name, to, &digest))?;
        Ok(Swapped { from, to, digest, changed: true })
    }

    fn name_version(&self, name: &str, version: u32, digest: &str) -> Result<()> {
        let path = self.path().join(ALIASES).join(name);
        fsutil::write_atomic(&path, format!("{} {digest}\n", number(version)).as_bytes())
    }

    /// Makes one change, and logs it. Only for the holder of the lock.
    pub(super) fn change(&self, root: &Folder, entry: &LogEntry, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let log = Log::read(root)?;
        let line = log.line(entry)?;
        fsutil::write_atomic(&self.path().join(PENDING), &line)?;
        // Whether a failed step took effect is for the next writer to see.
        act()?;
        let finish = || {
            log.append(&self.path(), &line)?;
            log::remove_file(&self.path(), PENDING)
        };
        finish().map_err(|e| {
            let what = format!("{} of version {} took effect, but", entry.event.name(), entry.version);
            let message =
                format!("{what} its line of the log could not be written; the next command that writes adds it");
            Error::new(e.kind(), message).with_source(e)
        })
    }

    /// Finishes or forgets what a killed writer began.
    pub(super) fn settle(&self) -> Result<Folder> {
        self.write().map(|(_, root)| root)
    }

    /// Takes the lock and clears up after a writer that was killed.
    pub(super) fn write(&self) -> Result<(Lock, Folder)> {
        // Reading first: it refuses folders that are links, before anything is changed behind them.
        let root = self.root()?;
        for name in [VERSIONS, ALIASES, SIGNATURES] {
            root.folder(name)?;
        }
        let lock = self.lock()?;
        if let Some(line) = root.read(PENDING, MAX_LINE_BYTES)? {
            if let Some(entry) = log::entry_of(&line).filter(|entry| took_effect(&root, entry)) {
                let log = Log::read(&root)?;
                if !log.ends_with(&line) {
                    // Made anew: if somebody wrote without the lock, it still follows the line before.
                    log.append(&self.path(), &log.line(&entry)?)?;
                }
            }
            log::remove_file(&self.path(), PENDING)?;
        }
        let path = self.path();
        for folder in [path.clone(), path.join(VERSIONS), path.join(ALIASES), path.join(SIGNATURES)] {
            if folder.is_dir() {
                fsutil::remove_leftovers(&folder)?;
            }
        }
        sign::remove_orphans(&root)?;
        self.name_first_version(&root)?;
        Ok((lock, root))
    }

    /// The first version becomes champion in a change of its own; where a killed training did not come to it, here.
    fn name_first_version(&self, root: &Folder) -> Result<()> {
        if alias_bytes(root, CHAMPION)?.is_some() {
            return Ok(());
        }
        let log = Log::read(root)?;
        let made = log.entries.iter().find(|e| e.event == Event::Create);
        let Some(made) = made.filter(|_| log.broken.is_none() && log.last_of(CHAMPION).is_none()) else {
            return Ok(());
        };
        if !took_effect(root, made) {
            return Ok(());
        }
        fsutil::create_dirs(&self.path().join(ALIASES))?;
        let entry = LogEntry {
            event: Event::Promote,
            alias: Some(CHAMPION.to_owned()),
            reason: FIRST_VERSION.to_owned(),
            ..made.clone()
        };
        self.change(root, &entry, || self.name_version(CHAMPION, entry.version, &entry.digest))
    }

    /// Holds the model against other writers for as long as the guard lives.
    fn lock(&self) -> Result<Lock> {
        let path = self.path().join(LOCK);
        let failed = |e| Error::io(Kind::Usage, "lock", &path, e);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        // Writers hold it for milliseconds: hours of training shall not be lost to a promotion.
        let patience = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(PATIENCE / 20),
                Err(TryLockError::WouldBlock) => {
                    let message =
                        format!("model {:?} is being changed by another process; try again later", self.name());
                    return Err(Error::new(Kind::Locked, message));
                }
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
        }
    }
}

/// The change that is under way, whether it took effect already or not.
pub(super) fn pending(root: &Folder) -> Result<Option<LogEntry>> {
    Ok(root.read(PENDING, MAX_LINE_BYTES)?.and_then(|line| log::entry_of(&line)))
}

fn took_effect(root: &Folder, entry: &LogEntry) -> bool {
    let folder = || root.folder(VERSIONS).ok().flatten()?.folder(&number(entry.version)).ok().flatten();
    match (entry.event, &entry.alias) {
        (Event::Create, _) => {
            folder().is_some_and(|folder| version::claimed_digest(&folder).is_ok_and(|found| found == entry.digest))
        }
        (Event::Promote | Event::Rollback, Some(name)) => {
            check_name("alias", name).is_ok()
                && alias(root, name).is_ok_and(|named| named == Some((entry.version, entry.digest.clone())))
        }
        (Event::Promote | Event::Rollback, None) => false,
        (Event::Remove, _) => folder().is_none(),
    }
}

/// What stands in an alias, whatever it is.
fn alias_bytes(root: &Folder, name: &str) -> Result<Option<Vec<u8>>> {
    root.folder(ALIASES)?.map_or(Ok(None), |folder| folder.read(name, MAX_LINE_BYTES))
}

/// A held lock. Closing the file would release it too, but not while a process that is being started at that moment
/// still has a copy of the descriptor.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails, the end of the process releases it.
        let _ = self.0.unlock();
    }
}
