//! Options (what TOML may say) become settings (what code runs on).
//!
//! Defaults, or at score time the model's settings, are overlaid by `--config FILE`, then by `--set KEY=VALUE`, then by
//! dedicated flags. Every value remembers where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::{Error, Kind, Result};
use options::{OPTIONS, Opt, Values};

pub mod deliver;
mod options;
mod print;
pub mod settings;
#[cfg(test)]
mod tests;

pub use deliver::Deliver;
pub(crate) use options::is_name;
pub use print::{init, reference};
pub use settings::{Geometry, LogFormat, Run, Sequence, Settings};

/// Largest configuration file; real ones are a few kilobytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The one key that stands outside of the sections.
const REQUIRED_VERSION: &str = "required-version";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The model that scores.
    Model,
    /// This configuration file.
    File(PathBuf),
    /// `--set`.
    Set,
    /// A dedicated flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Model => f.write_str("model"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Set => f.write_str("--set"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The resolved configuration.
#[derive(Debug, Clone)]
pub struct Config {
    values: Values,
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// What the pipeline is; stored in models.
    pub fn settings(&self) -> &Settings {
        &self.values.settings
    }

    /// Where and how this installation runs.
    pub fn run(&self) -> &Run {
        &self.values.run
    }

    /// Where messages go.
    pub fn deliver(&self) -> &Deliver {
        &self.values.deliver
    }

    /// Every key with its value (none if unset) and where it came from, in the order of the documentation.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, Option<Value>, &Origin)> {
        OPTIONS.iter().map(|opt| (opt.key, (opt.get)(&self.values), &self.origins[opt.key]))
    }

    /// Fails if the model was trained with network files that this run has not been told about. A model keeps only
    /// their names, so a command that enriches raw events under a model's settings calls this first.
    pub fn require_networks(&self) -> Result<()> {
        let networks = &self.settings().enrich.networks;
        if networks.is_empty() || self.origins["enrich.networks"] != Origin::Model {
            return Ok(());
        }
        let message = format!(
            "the model was trained with the network files {}; say where they are with --config or --set enrich.networks=…, \
             or set it to [] to go without",
            networks.join(", ")
        );
        Err(Error::new(Kind::Config, message))
    }
}

/// What a configuration file, `--set` and flags say, before it is known on top of what.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The weakest first.
    said: Vec<(&'static str, Value, Origin)>,
}

impl Layers {
    /// Reads a configuration file, if there is one, and `KEY=VALUE` pairs. Unknown keys are [`Kind::Config`].
    pub fn read(file: Option<&Path>, sets: &[String]) -> Result<Self> {
        let mut layers = Self::default();
        if let Some(path) = file {
            layers.said = read_file(path)?;
        }
        for pair in sets {
            layers.said.push(read_pair(pair)?);
        }
        Ok(layers)
    }

    /// Adds the value of a dedicated flag, if it was given. `key` is one of the documented keys.
    #[must_use]
    pub fn flag(mut self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.said.extend(value.map(|value| (key, value.into(), Origin::Flag)));
        self
    }

    /// The configuration on top of the defaults.
    pub fn resolve(&self) -> Result<Config> {
        self.overlay(Values::default(), &Origin::Default)
    }

    /// The configuration on top of a model's settings. Keys that decide what was learned must not differ from them.
    pub fn resolve_at_score_time(&self, model: &Settings) -> Result<Config> {
        let base = Values { settings: model.clone(), ..Values::default() };
        let config = self.overlay(base.clone(), &Origin::Model)?;
        for opt in OPTIONS.iter().filter(|opt| !opt.free_at_score_time()) {
            let (trained, said) = ((opt.get)(&base), (opt.get)(&config.values));
            if trained != said {
                let message = format!(
                    "{} ({}): expected {}, with which the model was trained, found {}; at score time only alerts, ranking, \
                     enrich, outputs, expected, gates, deliver and signing may change; train again to change it",
                    opt.key,
                    config.origins[opt.key],
                    shown(trained.as_ref()),
                    shown(said.as_ref())
                );
                return Err(Error::new(Kind::Config, message));
            }
        }
        Ok(config)
    }

    fn overlay(&self, base: Values, origin: &Origin) -> Result<Config> {
        let from_model = *origin == Origin::Model;
        let start = |opt: &Opt| {
            // What belongs to an installation is never part of a model.
            let origin = if from_model && opt.is_of_installation() { Origin::Default } else { origin.clone() };
            (opt.key, origin)
        };
        let mut config = Config { values: base, origins: OPTIONS.iter().map(start).collect() };
        for (key, value, origin) in &self.said {
            let opt = OPTIONS.iter().find(|opt| opt.key == *key).expect("keys were looked up when they were read");
            (opt.set)(&mut config.values, value.clone())
                .map_err(|e| out_of_range(opt, Some(value), origin, Some(e.message())))?;
            config.origins.insert(opt.key, origin.clone());
        }
        // Ranges may depend on other keys, so they are looked at when all have their values. At score time a key that may not
        // change is told before any range that depends on it.
        for opt in OPTIONS.iter().filter(|opt| !from_model || opt.free_at_score_time()) {
            if !(opt.holds)(&config.values) {
                let value = (opt.get)(&config.values);
                return Err(out_of_range(opt, value.as_ref(), &config.origins[opt.key], None));
            }
        }
        Ok(config)
    }
}

fn out_of_range(opt: &Opt, found: Option<&Value>, origin: &Origin, detail: Option<&str>) -> Error {
    let detail = detail.map(|d| format!(" ({})", d.trim_end())).unwrap_or_default();
    let message = format!("{} ({origin}) must be {}, found {}{detail}", opt.key, opt.must, shown(found));
    Error::new(Kind::Config, message)
}

/// A value as an error shows it: on one line and not endless.
fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 80;
    let Some(value) = value else { return "nothing".to_owned() };
    // NaN and infinity have no plain spelling in an error either.
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

fn read_file(path: &Path) -> Result<Vec<(&'static str, Value, Origin)>> {
    let failed = |e| Error::io(Kind::Config, "read", path, e);
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_FILE_BYTES {
        let message = format!("{}: expected at most {MAX_FILE_BYTES} bytes, found {bytes}", path.display());
        return Err(Error::new(Kind::Config, message));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Error::new(Kind::Config, format!("{}, line {line}: {}", path.display(), e.message().trim_end()))
    })?;
    let within = |e: Error| Error::new(e.kind(), format!("{}: {e}", path.display()));
    // Looked at before the rest, so that an old engine says that it is old and not that a key is unknown.
    if let Some(required) = table.remove(REQUIRED_VERSION) {
        check_required_version(&required, env!("CARGO_PKG_VERSION")).map_err(within)?;
    }
    let mut said = Vec::new();
    flatten("", table, &mut said).map_err(within)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let origin = Origin::File(path.to_path_buf());
    let resolve = |(opt, value): (&'static Opt, Value)| {
        let value = if opt.is_path() { beside(folder, value) } else { value };
        // A profile is a name or a file; a built-in name never ends like a file.
        let value = if opt.key == "run.profile" && is_toml_file(&value) { beside(folder, value) } else { value };
        (opt.key, value, origin.clone())
    };
    Ok(said.into_iter().map(resolve).collect())
}

fn is_toml_file(value: &Value) -> bool {
    value.as_str().is_some_and(|text| Path::new(text).extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")))
}

/// Paths in a value, taken as relative to `folder`.
fn beside(folder: &Path, value: Value) -> Value {
    match value {
        Value::String(path) if !path.is_empty() => Value::String(folder.join(path).to_string_lossy().into_owned()),
        Value::Array(paths) => Value::Array(paths.into_iter().map(|path| beside(folder, path)).collect()),
        other => other,
    }
}

/// `KEY=VALUE`, where VALUE is TOML, or else text as it stands.
fn read_pair(pair: &str) -> Result<(&'static str, Value, Origin)> {
    let Some((key, text)) = pair.split_once('=') else {
        let message = format!("--set expects KEY=VALUE, found {pair:?}");
        return Err(Error::new(Kind::Config, message));
    };
    let text = text.trim();
    let parsed =
        format!("v = {text}").parse::<Table>().ok().and_then(|mut t| if t.len() == 1 { t.remove("v") } else { None });
    let value = parsed.unwrap_or_else(|| Value::String(text.to_owned()));
    let opt = lookup(key.trim())?;
    Ok((opt.key, plain(value), Origin::Set))
}

/// Tables become keys with dots, down to the keys that exist.
fn flatten(prefix: &str, table: Table, said: &mut Vec<(&'static Opt, Value)>) -> Result<()> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner)
                if prefix.is_empty() && options::SECTIONS.iter().any(|(section, _)| *section == key) =>
            {
                flatten(&key, inner, said)?;
            }
            // A group of keys within a section.
            Value::Table(inner) if !prefix.is_empty() && OPTIONS.iter().any(|opt| is_within(opt.key, &key)) => {
                flatten(&key, inner, said)?;
            }
            // An unknown section is named by its first key: that is what can be guessed at.
            Value::Table(inner) if prefix.is_empty() && !inner.is_empty() => {
                let (first, _) = inner.iter().next().expect("it is not empty");
                return Err(unknown(&format!("{key}.{first}")));
            }
            value => said.push((lookup(&key)?, plain(value))),
        }
    }
    Ok(())
}

/// Whether the key belongs to a group such as `deliver.mail`.
fn is_within(key: &str, group: &str) -> bool {
    key.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

fn lookup(key: &str) -> Result<&'static Opt> {
    OPTIONS.iter().find(|opt| opt.key == key).ok_or_else(|| unknown(key))
}

fn unknown(key: &str) -> Error {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |opt: &&Opt| {
        // A right name in a wrong section is as near as a slip of one letter.
        let whole = strsim::damerau_levenshtein(key, opt.key);
        if name(key) == name(opt.key) { whole.min(1) } else { whole }
    };
    let nearest = OPTIONS.iter().min_by_key(distance).expect("there are keys");
    let hint = if distance(&nearest) <= 2 + key.len() / 5 {
        format!("did you mean {}?", nearest.key)
    } else {
        "`quietwatch config show` lists all keys".to_owned()
    };
    Error::new(Kind::Config, format!("unknown key {key:?}; {hint}"))
}

/// TOML's own dates as text: the settings read dates from text.
fn plain(value: Value) -> Value {
    match value {
        Value::Datetime(date) => Value::String(date.to_string()),
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        Value::Table(table) => Value::Table(table.into_iter().map(|(key, value)| (key, plain(value))).collect()),
        other => other,
    }
}

/// `>=1.2`, `>=1.2.3` or an exact `1.2.3`.
fn check_required_version(required: &Value, engine: &str) -> Result<()> {
    let malformed = || {
        let message =
            format!("{REQUIRED_VERSION} must be text like \">=0.1\" or \"0.1.0\", found {}", shown(Some(required)));
        Error::new(Kind::Config, message)
    };
    let text = required.as_str().ok_or_else(malformed)?.trim();
    let (least, number) = text.strip_prefix(">=").map_or((false, text), |number| (true, number.trim()));
    let wanted = parse_version(number).ok_or_else(malformed)?;
    let own = parse_version(engine).expect("the package version is a version");
    if if least { own >= wanted } else { own == wanted } {
        return Ok(());
    }
    let message =
        format!("this configuration needs quietwatch {text}, found {engine}; use that version or change the file");
    Err(Error::new(Kind::Config, message))
}

/// Two or three numbers with dots; what is missing is 0.
fn parse_version(text: &str) -> Option<[u32; 3]> {
    let mut version = [0; 3];
    let parts: Vec<&str> = text.split('.').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    for (slot, part) in version.iter_mut().zip(parts) {
        *slot = part.parse().ok()?;
    }
    Some(version)
}
