//! Removing versions that nobody needs, and what killed writers left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::change::Because;
use super::folder::Folder;
use super::log::{Event, LogEntry};
use super::registry::{ALIASES, Registry, VERSIONS, alias, alias_names, number, versions};
use super::sign::{self, SIGNATURES};
use super::version;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

/// A version that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub version: u32,
    /// For people.
    pub because: String,
}

/// What `gc` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Versions removed, ascending.
    pub removed: Vec<u32>,
    /// Versions left, ascending.
    pub kept: Vec<Kept>,
    /// Temporary files and folders of killed writers, removed.
    pub leftovers: Vec<String>,
}

impl Registry {
    /// Removes versions, all or only the one named, that no alias names, that no rollback would go to, that are not among
    /// the last `keep` and that nobody uses at the moment; and what killed writers left. With `dry_run` says what it would
    /// do. [`Kind::Digest`] if an alias or the log cannot be trusted: then nobody knows what is needed.
    pub fn gc(&self, keep: usize, only: Option<u32>, because: Because<'_>, dry_run: bool) -> Result<GcReport> {
        let root = self.root()?;
        let mut report = GcReport { leftovers: leftovers(&root)?, ..GcReport::default() };
        let (_lock, root) = if dry_run { (None, root) } else { self.write().map(|(lock, root)| (Some(lock), root))? };
        let all = versions(&root)?;
        let needed = self.needed(&root, &all, keep)?;
        if let Some(version) = only {
            self.folder(&root, version)?;
            if let Some(why) = needed.get(&version) {
                return Err(Error::new(Kind::Usage, format!("version {version} is not removed: {why}")));
            }
        }
        for version in all {
            let kept = |because: &str| Kept { version, because: because.to_owned() };
            if let Some(why) = needed.get(&version) {
                report.kept.push(kept(why));
                continue;
            }
            if only.is_some_and(|only| only != version) {
                report.kept.push(kept("another one was asked for"));
                continue;
            }
            let folder = self.folder(&root, version)?;
            let Some(_unused) = folder.unused() else {
                report.kept.push(kept("it is being used at the moment"));
                continue;
            };
            if !dry_run {
                self.remove(&root, &folder, version, because)?;
            }
            report.removed.push(version);
        }
        if let (Some(version), []) = (only, report.removed.as_slice()) {
            let message = format!("version {version} is being used at the moment; try again later");
            return Err(Error::new(Kind::Locked, message));
        }
        Ok(report)
    }

    /// Versions that must stay, and why.
    fn needed(&self, root: &Folder, all: &[u32], keep: usize) -> Result<BTreeMap<u32, String>> {
        let mut needed = BTreeMap::new();
        for version in all.iter().rev().take(keep) {
            needed.insert(*version, format!("it is among the last {keep}"));
        }
        for name in alias_names(root)? {
            match self.before(root, &name) {
                Ok((version, _)) => drop(needed.insert(version, format!("a rollback of alias {name} goes to it"))),
                // Nothing to go back to.
                Err(e) if e.kind() == Kind::Model => {}
                Err(e) => return Err(e),
            }
        }
        for name in alias_names(root)? {
            if let Some((version, _)) = alias(root, &name)? {
                needed.insert(version, format!("alias {name} names it"));
            }
        }
        Ok(needed)
    }

    fn remove(&self, root: &Folder, folder: &Folder, version: u32, because: Because<'_>) -> Result<()> {
        // Of a damaged version the digest may not be known; it goes all the same.
        let digest = version::claimed_digest(folder).unwrap_or_default();
        let entry = LogEntry {
            time: because.now.to_owned(),
            event: Event::Remove,
            version,
            digest,
            parent: None,
            alias: None,
            reason: because.reason.to_owned(),
            by: because.by.map(str::to_owned),
        };
        let parent = self.path().join(VERSIONS);
        let (from, to) = (parent.join(number(version)), parent.join(format!(".tmp-removed-{}", number(version))));
        self.change(root, &entry, || {
            fs::rename(&from, &to).map_err(|e| Error::io(Kind::Usage, "remove", &from, e))?;
            fsutil::sync_dir(&parent)
        })?;
        // From here on it is a leftover like any other.
        fs::remove_dir_all(&to).map_err(|e| Error::io(Kind::Usage, "remove", &to, e))?;
        sign::remove_orphans(root)
    }

    /// Names of what killed writers left. A living writer's are among them.
    pub fn leftover_files(&self) -> Result<Vec<String>> {
        leftovers(&self.root()?)
    }
}

fn leftovers(root: &Folder) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut look = |prefix: &str, folder: &Folder| -> Result<()> {
        let names = folder.names()?.into_iter().filter(|name| fsutil::is_temporary(name));
        found.extend(names.map(|name| format!("{prefix}{name}")));
        Ok(())
    };
    look("", root)?;
    for name in [VERSIONS, ALIASES, SIGNATURES] {
        if let Some(folder) = root.folder(name)? {
            look(&format!("{name}/"), &folder)?;
        }
    }
    Ok(found.into_iter().collect())
}
