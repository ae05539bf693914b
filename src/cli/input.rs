//! INPUT of `train` and `score`: a store, or event files that go into one first (a temporary one unless `--store` says).

use serde_json::json;
use tempfile::TempDir;

use super::args::InputArgs;
use super::messages::Message;
use super::terminal;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::events::{Profile, discover};
use crate::report::words::count;
use crate::store::{IngestReport, Progress, Store};

/// An open store, and the folder that goes away with it if it was made for this command alone.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) store: Store,
    _temporary: Option<TempDir>,
}

impl InputArgs {
    /// The store of INPUT, after reading event files into it if there are any.
    pub(super) fn open(&self, config: &Config) -> Result<Input> {
        match (self.events.is_empty(), config.run().store.clone()) {
            (true, Some(path)) => Ok(Input { store: Store::open(&path)?, _temporary: None }),
            (true, None) => {
                Err(Error::new(Kind::Usage, "expected --events PATH... or --store DIR (or both), found neither"))
            }
            (false, Some(path)) => {
                let (store, _) = self.ingest(config, Store::create(&path)?, true)?;
                Ok(Input { store, _temporary: None })
            }
            (false, None) => {
                let dir = TempDir::with_prefix("quietwatch-")
                    .map_err(|e| Error::io(Kind::Resource, "make a temporary folder in", &std::env::temp_dir(), e))?;
                // Nothing is read from the archive again before the folder goes away.
                let (store, _) = self.ingest(config, Store::create(dir.path())?, true)?;
                Ok(Input { store, _temporary: Some(dir) })
            }
        }
    }

    /// Reads the event files into a store.
    pub(super) fn ingest(&self, config: &Config, store: Store, archive: bool) -> Result<(Store, IngestReport)> {
        config.require_networks()?;
        let profile = Profile::load(&config.run().profile)?;
        let sources = discover(&self.events)?;
        let bar = terminal::progress("reading", sources.len() as u64);
        let report = store.ingest(&sources, &profile, config.settings(), archive, &|progress| {
            let (what, done, of) = match progress {
                Progress::Reading { number, of } => ("reading", number, of),
                Progress::Building { done, of } => ("computing", done, of),
            };
            bar.set_message(what);
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        if report.quarantined > 0 {
            const SHOWN: usize = 10;
            let quarantine = store.path().join("quarantine");
            let rows = report.quarantined;
            let mut warning =
                Message::warning(format!("{} set aside; reasons are in {}", count(rows, "row"), quarantine.display()));
            for (path, name) in report.set_aside.iter().take(SHOWN) {
                warning = warning.below(format!("{}: {name}", terminal::escape(path)));
            }
            if report.set_aside.len() > SHOWN {
                warning = warning.below(format!("and {} more files; --json lists all", report.set_aside.len() - SHOWN));
            }
            let files = report.set_aside.iter().map(|(path, name)| json!({ "path": path, "quarantine": name }));
            warning.with("rows", rows).with_path("path", &quarantine).with("files", files.collect::<Vec<_>>()).tell();
        }
        if report.partitions_renewed > 0 {
            Message::warning(format!(
                "{} days that these files do not touch were computed anew, because this engine or what is known of networks \
                 (enrich.*) differs from when they were made; if that was not meant, repeat with the --config of before",
                report.partitions_renewed
            ))
            .with("days", report.partitions_renewed)
            .tell();
        }
        Ok((store, report))
    }
}
