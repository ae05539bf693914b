//! Flags over configuration: what the pipeline commands share before they start working.

use std::path::Path;

use super::args::{
    Args, BacktestArgs, Command, ConfigArgs, ConfigCommand, DiffArgs, DoctorArgs, FeaturesArgs, FeedbackAddArgs,
    FeedbackCommand, GcArgs, InputArgs, ModelArgs, ModelsCommand, ScoreArgs, StoreArgs, TrainArgs,
};
use super::messages::Message;
use super::terminal;
use crate::config::{Config, Layers, LogFormat};
use crate::error::{Error, Kind, Result};
use crate::models::{Registry, Signing};
use crate::store::Store;

impl Args {
    /// The flag, else what the configuration of the command says. A configuration that cannot be read says nothing here:
    /// the command will meet it and end.
    pub(super) fn log_format(&self) -> LogFormat {
        let configured = || Some(self.command.config()?.layers().ok()?.resolve().ok()?.run().log_format);
        self.log_format.or_else(configured).unwrap_or_default()
    }
}

impl Command {
    /// The configuration flags of a command that has them.
    fn config(&self) -> Option<&ConfigArgs> {
        match self {
            Self::Features(args) => Some(&args.config),
            Self::Train(args) => Some(&args.config),
            Self::Score(args) => Some(&args.config),
            Self::Backtest(args) => Some(&args.config),
            Self::Doctor(args) => Some(&args.config),
            #[cfg(feature = "deliver")]
            Self::Deliver(args) => Some(&args.config),
            Self::Models { command } => Some(command.config()),
            Self::Feedback {
                command: FeedbackCommand::Add(FeedbackAddArgs { store, .. }) | FeedbackCommand::List { store, .. },
            } => Some(&store.config),
            Self::Config { command: ConfigCommand::Show { config, .. } | ConfigCommand::Init { config } } => {
                Some(config)
            }
            Self::Demo(_)
            | Self::Simulate(_)
            | Self::Evaluate(_)
            | Self::Explain(_)
            | Self::Completions { .. }
            | Self::Man { .. } => None,
        }
    }
}

impl ModelsCommand {
    fn config(&self) -> &ConfigArgs {
        match self {
            Self::List(args) => &args.config,
            Self::Show(args) => &args.config,
            Self::Verify(args) => &args.config,
            Self::Promote(args) => &args.config,
            Self::Rollback(args) => &args.config,
            Self::Gc(args) => &args.config,
            Self::Diff(args) => &args.config,
        }
    }
}

impl FeaturesArgs {
    /// Configuration file, `--set` and flags.
    pub fn layers(&self) -> Result<Layers> {
        Ok(self.input.over(self.config.layers()?)?.flag("run.archive", self.no_archive.then_some(false)))
    }
}

impl TrainArgs {
    /// Configuration file, `--set` and flags.
    pub fn layers(&self) -> Result<Layers> {
        let layers = self.model.over(self.input.over(self.config.layers()?)?)?;
        // The parser lets no seed through that does not fit.
        Ok(layers.flag("run.seed", self.seed.and_then(|seed| i64::try_from(seed).ok())))
    }
}

impl BacktestArgs {
    /// Configuration file, `--set` and flags.
    pub fn layers(&self) -> Result<Layers> {
        let layers = self.input.over(self.config.layers()?)?;
        Ok(layers.flag("run.seed", self.seed.and_then(|seed| i64::try_from(seed).ok())))
    }
}

impl ScoreArgs {
    /// Configuration file, `--set` and flags. Resolved once to find the model, and again on top of its settings.
    pub fn layers(&self) -> Result<Layers> {
        let layers = self.model.over(self.input.over(self.config.layers()?)?)?;
        let layers = layers.flag("run.shadow", self.shadow.as_deref());
        let layers = layers.flag("run.fail-on", self.fail_on.map(crate::anomaly::Severity::name));
        Ok(layers.flag("run.strict", self.strict.then_some(true)))
    }
}

impl ModelArgs {
    /// The folder of the models and the name of the model, from flags or configuration.
    pub(super) fn resolve(&self, config: &ConfigArgs) -> Result<Config> {
        self.over(config.layers()?)?.resolve()
    }

    /// The registry of the model.
    pub(super) fn registry(&self, config: &ConfigArgs) -> Result<Registry> {
        let config = self.resolve(config)?;
        registry(&config)
    }
}

impl DiffArgs {
    /// Configuration file, `--set` and flags. Resolved once to find the models, and again on top of the settings of each.
    pub(super) fn layers(&self) -> Result<Layers> {
        self.model.over(self.input.over(self.config.layers()?)?)
    }
}

impl StoreArgs {
    /// Opens the store.
    pub(super) fn open(&self) -> Result<Store> {
        let layers = self.config.layers()?.flag("run.store", text(self.store.as_deref())?);
        Store::open(store(&layers.resolve()?)?)
    }
}

impl DoctorArgs {
    /// Configuration file, `--set` and flags.
    pub(super) fn layers(&self) -> Result<Layers> {
        let layers = self.model.over(self.config.layers()?)?;
        Ok(layers.flag("run.store", text(self.store.as_deref())?))
    }
}

#[cfg(feature = "deliver")]
impl super::args::DeliverArgs {
    /// Configuration file, `--set` and flags.
    pub(super) fn layers(&self) -> Result<Layers> {
        Ok(self.config.layers()?.flag("deliver.dry-run", text(self.dry_run.as_deref())?))
    }
}

impl GcArgs {
    /// Configuration file, `--set` and flags.
    pub(super) fn layers(&self) -> Result<Layers> {
        Ok(self.model.over(self.config.layers()?)?.flag("run.keep-versions", self.keep.map(i64::from)))
    }
}

impl ConfigArgs {
    /// Configuration file and `--set`.
    pub fn layers(&self) -> Result<Layers> {
        Layers::read(self.config.as_deref(), &self.sets)
    }
}

impl InputArgs {
    fn over(&self, layers: Layers) -> Result<Layers> {
        Ok(layers.flag("run.profile", self.profile.as_deref()).flag("run.store", text(self.store.as_deref())?))
    }
}

impl ModelArgs {
    fn over(&self, layers: Layers) -> Result<Layers> {
        Ok(layers.flag("run.models", text(self.models.as_deref())?).flag("run.name", self.name.as_deref()))
    }
}

/// The folder of the partitions, where a command cannot do without.
pub(super) fn store(config: &Config) -> Result<&Path> {
    config.run().store.as_deref().ok_or_else(|| missing("--store", "run.store"))
}

/// The folder of the models.
pub(super) fn models(config: &Config) -> Result<&Path> {
    config.run().models.as_deref().ok_or_else(|| missing("--models", "run.models"))
}

/// The folder of the models and the name of the model.
pub(super) fn model(config: &Config) -> Result<(&Path, &str)> {
    let models = models(config)?;
    let name = config.run().name.as_deref().ok_or_else(|| missing("--name", "run.name"))?;
    Ok((models, name))
}

/// The registry of the model, with the keys of its signatures.
pub(super) fn registry(config: &Config) -> Result<Registry> {
    let (models, name) = model(config)?;
    registry_of(config, models, name)
}

/// As [`registry`], of a model by name.
pub(super) fn registry_of(config: &Config, models: &Path, name: &str) -> Result<Registry> {
    let registry = Registry::open(models, name)?;
    let keys = &config.run().signing;
    let (signing, exposed) = Signing::read(keys.key_file.as_deref(), &keys.trusted_keys)?;
    if let Some(path) = keys.key_file.as_deref().filter(|_| exposed) {
        let shown = path.display().to_string();
        let text =
            format!("{}: others than its owner may read this private key; chmod 600 it", terminal::escape(&shown));
        Message::warning(text).with_path("path", path).tell();
    }
    Ok(registry.signing_with(signing))
}

fn missing(flag: &str, key: &str) -> Error {
    Error::new(Kind::Usage, format!("expected {flag}, or {key} in the configuration, found neither"))
}

/// Paths pass through configuration values, which are text.
fn text(path: Option<&Path>) -> Result<Option<&str>> {
    let Some(path) = path else { return Ok(None) };
    let text = path.to_str();
    text.map(Some).ok_or_else(|| Error::new(Kind::Usage, format!("expected a path in UTF-8, found {}", path.display())))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::anomaly::Severity;

    fn score(flags: &[&str]) -> ScoreArgs {
        let line = ["quietwatch", "score", "--out", "run"].iter().chain(flags);
        match Args::parse_from(line).command {
            Command::Score(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_reach_their_keys_and_beat_set() {
        let args = score(&[
            "--store",
            "s",
            "--models",
            "m",
            "--name",
            "n",
            "--strict",
            "--fail-on",
            "high",
            "--profile",
            "generic",
            "--set",
            "run.store=other",
            "--set",
            "run.fail-on=low",
        ]);
        let config = args.layers().unwrap().resolve().unwrap();
        assert_eq!(store(&config).unwrap(), Path::new("s"));
        assert_eq!(model(&config).unwrap(), (Path::new("m"), "n"));
        let run = config.run();
        assert_eq!((run.fail_on, run.strict, run.profile.as_str()), (Some(Severity::High), true, "generic"));
    }

    #[test]
    fn what_neither_flag_nor_configuration_says_is_a_usage_error() {
        let config = score(&[]).layers().unwrap().resolve().unwrap();
        assert_eq!(store(&config).unwrap_err().kind(), Kind::Usage);
        assert!(model(&config).unwrap_err().to_string().contains("--models"));
    }

    #[test]
    fn several_event_paths_may_follow_one_flag() {
        assert_eq!(score(&["--events", "a", "b", "--events", "c"]).input.events, ["a", "b", "c"]);
    }
}
