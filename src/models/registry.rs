//! `MODELS/NAME/`: versions, aliases and the log, as readers see them.
//!
//! Readers take no lock: a version is published by one rename and never changes, an alias is replaced by one rename.
//! Writers hold `MODELS/NAME/.lock`, which the kernel releases when the process ends, however it ends ([`super::change`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Folder, InUse};
use super::log::{Event, Log, LogEntry};
use super::sign::Signing;
use super::verify::Moment;
use super::version::{self, is_digest};
use super::{LoadedModel, Manifest};
use crate::config::is_name;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

pub(super) const VERSIONS: &str = "versions";
pub(super) const ALIASES: &str = "aliases";
pub(super) const LOCK: &str = ".lock";

/// Longest alias file: a version, a digest, a line end.
const MAX_ALIAS_BYTES: u64 = 128;

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
    signing: Arc<Signing>,
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
    /// What the log says of it, the oldest first.
    pub history: Vec<LogEntry>,
    /// Digest of its manifest and the manifest, or why it cannot be used.
    pub manifest: Result<(String, Manifest)>,
    /// The key that signed it, if one did, or what is wrong with its signature.
    pub signed_by: Result<Option<String>>,
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
        Ok(Self { models: models.to_path_buf(), name: name.to_owned(), signing: Arc::default() })
    }

    /// New versions are signed, and versions used only if they are, as `signing` says.
    #[must_use]
    pub fn signing_with(self, signing: Signing) -> Self {
        Self { signing: Arc::new(signing), ..self }
    }

    pub(super) fn signing(&self) -> &Signing {
        &self.signing
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
        self.load_in_use(selector).map(|(model, _)| model)
    }

    /// As [`Self::load`]; while the guard lives, the version is not removed.
    pub fn load_in_use(&self, selector: &Selector) -> Result<(LoadedModel, InUse)> {
        let (version, digest) = self.resolve_as_logged(selector)?;
        let root = self.root()?;
        let folder = self.folder(&root, version)?;
        let in_use = folder.in_use();
        let model = self.vouched(&root, version, &digest).and_then(|()| version::read(&folder, version, &digest));
        // What is missing may be missing because the whole version went away between two reads.
        let model = model.map_err(|e| self.folder(&root, version).err().unwrap_or(e))?;
        Ok((model, in_use))
    }

    /// As [`Self::resolve`]. Where signatures are demanded, an alias must be what the log says: an older version is signed as
    /// well, and only the log knows that it is not the one that is meant.
    fn resolve_as_logged(&self, selector: &Selector) -> Result<(u32, String)> {
        if let Selector::Alias(name) = selector
            && self.signing.demands()
        {
            let root = self.root()?;
            let moment = Moment::read(&root)?;
            if let Some(named) = moment.aliases.get(name.as_str()) {
                self.check_log(&moment)?;
                self.check_alias(&root, name, named, &moment)?;
                if let Ok(Some(named)) = named {
                    return Ok(named.clone());
                }
            }
        }
        self.resolve(selector)
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
        let log = Log::read(&root)?;
        let manifest = |version| {
            let folder = self.folder(&root, version)?;
            let digest = version::claimed_digest(&folder)?;
            version::read_manifest(&folder, &digest).map(|manifest| (digest, manifest))
        };
        let info = |version| {
            let history: Vec<LogEntry> = log.entries.iter().filter(|e| e.version == version).cloned().collect();
            let made = history.iter().find(|e| e.event == Event::Create);
            let (created, parent) = made.map_or((None, None), |e| (Some(e.time.clone()), e.parent));
            let aliases = aliases.remove(&version).unwrap_or_default();
            let manifest = manifest(version);
            let signed_by = match &manifest {
                Ok((digest, _)) => self.signed_by(&root, version, digest),
                Err(_) => Ok(None),
            };
            VersionInfo { version, created, parent, aliases, history, manifest, signed_by }
        };
        Ok((versions(&root)?.into_iter().map(info).collect(), broken))
    }

    /// The log.
    pub fn log(&self) -> Result<Log> {
        Log::read(&self.root()?)
    }

    /// What each alias names, by name; a damaged one is listed with what is wrong.
    pub fn aliases(&self) -> Result<BTreeMap<String, Result<u32>>> {
        let root = self.root()?;
        let named = |name: &str| match alias(&root, name) {
            Ok(Some((version, _))) => Ok(version),
            Ok(None) => Err(Error::new(Kind::Digest, format!("alias {name} is gone"))),
            Err(e) => Err(e),
        };
        Ok(alias_names(&root)?.into_iter().map(|name| (name.clone(), named(&name))).collect())
    }

    /// The process that changes the model at the moment, if any.
    pub fn writer(&self) -> Option<u32> {
        fsutil::lock_holder(&self.path().join(LOCK))
    }

    /// The name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn models(&self) -> &Path {
        &self.models
    }

    pub(super) fn path(&self) -> PathBuf {
        self.models.join(&self.name)
    }

    /// The folder of this model, which must exist.
    pub(super) fn root(&self) -> Result<Folder> {
        let models = Folder::open(&self.models)?;
        let found = models.map(|models| models.folder(&self.name)).transpose()?.flatten();
        found.ok_or_else(|| {
            let others = names(&self.models);
            let missing = format!("no model {:?} in {}", self.name, self.models.display());
            Error::new(Kind::Model, format!("{missing}; {}", listed(&others)))
        })
    }

    pub(super) fn folder(&self, root: &Folder, version: u32) -> Result<Folder> {
        let found = root.folder(VERSIONS)?.map(|versions| versions.folder(&number(version))).transpose()?.flatten();
        found.ok_or_else(|| {
            let all = versions(root).map(|all| all.iter().map(u32::to_string).collect());
            self.missing(&format!("no version {version}"), &all)
        })
    }

    pub(super) fn missing(&self, what: &str, existing: &Result<Vec<String>>) -> Error {
        Error::new(Kind::Model, format!("{what} of model {:?}; {}", self.name, listed(existing)))
    }
}

/// The numbers of all versions, ascending. What has no number, such as a version under construction, is none.
pub(super) fn versions(root: &Folder) -> Result<Vec<u32>> {
    let Some(folder) = root.folder(VERSIONS)? else { return Ok(Vec::new()) };
    let mut versions: Vec<u32> = folder.names()?.iter().filter_map(|name| parse_number(name)).collect();
    versions.sort_unstable();
    Ok(versions)
}

pub(super) fn alias_names(root: &Folder) -> Result<Vec<String>> {
    let Some(folder) = root.folder(ALIASES)? else { return Ok(Vec::new()) };
    Ok(folder.names()?.into_iter().filter(|name| !fsutil::is_temporary(name)).collect())
}

/// The version and digest that an alias names; none if there is no such alias.
pub(super) fn alias(root: &Folder, alias: &str) -> Result<Option<(u32, String)>> {
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

/// `there are: a, b`.
fn listed(existing: &Result<Vec<String>>) -> String {
    match existing {
        Ok(all) if !all.is_empty() => format!("there are: {}", all.join(", ")),
        _ => "there is none yet; `quietwatch train` makes one".to_owned(),
    }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    let message = format!("{what} name {name:?}: expected 1 to 64 of the characters a-z, 0-9, _ and -");
    Err(Error::new(Kind::Usage, message))
}

/// The folder name of a version.
pub(super) fn number(version: u32) -> String {
    format!("{version:06}")
}

/// The version that a folder name or alias line means; only the spelling of [`number`] counts.
fn parse_number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|&version| version >= 1 && number(version) == name)
}
