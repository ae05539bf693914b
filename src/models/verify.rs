//! Whether a registry is what it says: every byte of every version, the chain of the log, and that aliases, versions and
//! log do not contradict each other.

use std::collections::BTreeMap;

use super::change::pending;
use super::folder::Folder;
use super::log::{Event, LOG, Log, LogEntry};
use super::registry::{Registry, alias, alias_names, number, versions};
use super::version;
use crate::error::{Error, Kind, Result};

/// The outcome of checking one version, one alias, or the log.
#[derive(Debug)]
pub struct Check {
    /// `version 000001`, `alias champion` or `log`.
    pub what: String,
    /// What was found right (of a version or an alias the digest of the manifest), or what is wrong.
    pub outcome: Result<String>,
}

/// What [`Registry::verify`] found.
#[derive(Debug)]
pub struct VerifyReport {
    /// Versions in their order, then aliases by name, then the log.
    pub checks: Vec<Check>,
}

impl VerifyReport {
    /// The first thing that is wrong.
    pub fn into_result(self) -> Result<()> {
        self.checks.into_iter().try_for_each(|check| check.outcome.map(drop))
    }
}

/// The log and the aliases of one moment.
pub(super) struct Moment {
    pub(super) log: Log,
    /// What each alias names.
    pub(super) aliases: BTreeMap<String, Result<Option<(u32, String)>>>,
    /// A change that is under way, or was when its writer was killed. It may have taken effect.
    pub(super) pending: Option<LogEntry>,
}

impl Moment {
    /// Reads them without a lock. A writer announces, swaps, and logs after that; so what is read between two equal logs
    /// fits together.
    pub(super) fn read(root: &Folder) -> Result<Self> {
        const TRIES: usize = 100;
        let mut log = Log::read(root)?;
        for _ in 0..TRIES {
            let names = alias_names(root)?;
            let aliases = names.into_iter().map(|name| (name.clone(), alias(root, &name))).collect();
            let pending = pending(root)?;
            let after = Log::read(root)?;
            if after == log {
                return Ok(Self { log, aliases, pending });
            }
            log = after;
        }
        Err(Error::new(Kind::Locked, "the registry changes all the time; try again when it is quiet"))
    }

    /// The change of an alias that took effect and is not in the log yet.
    pub(super) fn not_logged(&self, name: &str) -> Option<&LogEntry> {
        let named = self.aliases.get(name)?.as_ref().ok()?.as_ref()?;
        let waits = self.pending.as_ref().filter(|e| e.alias.as_deref() == Some(name))?;
        ((waits.version, &waits.digest) == (named.0, &named.1) && self.log.entries.last() != Some(waits))
            .then_some(waits)
    }
}

impl Registry {
    /// Checks and reads one version whole, or all versions, all aliases and the log.
    pub fn verify(&self, version: Option<u32>) -> Result<VerifyReport> {
        let root = self.root()?;
        if let Some(version) = version {
            // A version that is not there is an error of the request, not a finding.
            self.folder(&root, version)?;
            let log = Log::read(&root)?;
            return Ok(VerifyReport { checks: vec![self.check_version(&root, version, &log)] });
        }
        let moment = Moment::read(&root)?;
        let all = versions(&root)?;
        if all.is_empty() {
            return Err(self.missing("no version", &Ok(Vec::new())));
        }
        let mut checks: Vec<Check> = all.iter().map(|v| self.check_version(&root, *v, &moment.log)).collect();
        // A version that was removed meanwhile is no finding.
        checks.retain(|check| !matches!(&check.outcome, Err(e) if e.kind() == Kind::Model && is_gone(e)));
        for (name, named) in &moment.aliases {
            let outcome = self.check_alias(&root, name, named, &moment);
            checks.push(Check { what: format!("alias {name}"), outcome });
        }
        for entry in moment.log.entries.iter().filter(|e| matches!(e.event, Event::Promote | Event::Rollback)) {
            let name = entry.alias.as_deref().unwrap_or_default();
            let what = format!("alias {name}");
            if !moment.aliases.contains_key(name) && !checks.iter().any(|c| c.what == what) {
                let message = format!("{what} is gone, though the log says that it names version {}", entry.version);
                checks.push(Check { what, outcome: Err(Error::new(Kind::Digest, message)) });
            }
        }
        checks.push(Check { what: "log".to_owned(), outcome: self.check_log(&moment) });
        Ok(VerifyReport { checks })
    }

    fn check_version(&self, root: &Folder, version: u32, log: &Log) -> Check {
        let check = || -> Result<String> {
            let folder = self.folder(root, version)?;
            let _in_use = folder.in_use();
            let digest = version::claimed_digest(&folder)?;
            let made = log.entries.iter().find(|e| e.event == Event::Create && e.version == version);
            if let Some(made) = made.filter(|made| made.digest != digest) {
                let message = format!(
                    "{}: the log says that it was made with the manifest {}, found {digest}",
                    folder.path().display(),
                    made.digest
                );
                return Err(Error::new(Kind::Digest, message));
            }
            version::read(&folder, version, &digest)?;
            self.signed_by(root, version, &digest).map(|_| digest)
        };
        Check { what: format!("version {}", number(version)), outcome: check() }
    }

    pub(super) fn check_alias(
        &self,
        root: &Folder,
        name: &str,
        named: &Result<Option<(u32, String)>>,
        moment: &Moment,
    ) -> Result<String> {
        let wrong = |message: String| Err(Error::new(Kind::Digest, message));
        let (version, expected) = match named {
            Ok(Some(named)) => named,
            Ok(None) => return wrong(format!("alias {name} is gone")),
            Err(e) => return Err(Error::new(e.kind(), e.to_string())),
        };
        let found = version::claimed_digest(&self.folder(root, *version)?)?;
        if found != *expected {
            return wrong(format!("alias {name}: expected version {version} with {expected}, found {found}"));
        }
        let said = moment.not_logged(name).or_else(|| moment.log.last_of(name));
        match said.filter(|said| (said.version, &said.digest) != (*version, expected)) {
            Some(said) => wrong(format!(
                "alias {name} names version {version}, but the log's last word is version {}; `models promote` the one that is \
                 meant",
                said.version
            )),
            None => Ok(found),
        }
    }

    pub(super) fn check_log(&self, moment: &Moment) -> Result<String> {
        if let Some(broken) = &moment.log.broken {
            let message = format!("{}: {broken}", self.path().join(LOG).display());
            return Err(Error::new(Kind::Digest, message));
        }
        let lines = match moment.log.lines {
            1 => "1 line".to_owned(),
            n => format!("{n} lines"),
        };
        Ok(if moment.pending.is_some() {
            format!("{lines}; a change is under way, or the next one finishes it")
        } else {
            lines
        })
    }
}

/// Whether an error says that the version is not there.
fn is_gone(error: &Error) -> bool {
    error.to_string().starts_with("no version ")
}
