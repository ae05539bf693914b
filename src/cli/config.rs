//! `config show` and `config init`.

use std::io::Write;

use serde::Serialize;

use super::args::{ConfigArgs, ConfigCommand};
use super::{cannot_print, print_json, terminal};
use crate::config::{self, Config};
use crate::error::Result;

/// One key as `config show --json` prints it.
#[derive(Serialize)]
struct Entry {
    key: &'static str,
    value: Option<toml::Value>,
    origin: String,
}

pub(super) fn run(command: &ConfigCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        ConfigCommand::Show { config, json } => show(&resolve(config)?, *json, out),
        ConfigCommand::Init { config } => write!(out, "{}", config::init(&resolve(config)?)).map_err(cannot_print),
    }
}

fn resolve(args: &ConfigArgs) -> Result<Config> {
    args.layers()?.resolve()
}

/// Each key on a line that is itself valid TOML, with its origin as a comment.
fn show(config: &Config, json: bool, out: &mut dyn Write) -> Result<()> {
    let entries = config.entries().map(|(key, value, origin)| Entry { key, value, origin: origin.to_string() });
    let entries: Vec<Entry> = entries.collect();
    if json {
        return print_json(out, &entries);
    }
    let line = |entry: &Entry| match &entry.value {
        Some(value) => terminal::escape(&format!("{} = {value}", entry.key)).into_owned(),
        None => format!("# {} is not set", entry.key),
    };
    let lines: Vec<(String, &Entry)> = entries.iter().map(|entry| (line(entry), entry)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|&n| n <= 60).max().unwrap_or(0);
    for (line, entry) in &lines {
        writeln!(out, "{line:width$}  # {}", terminal::escape(&entry.origin)).map_err(cannot_print)?;
    }
    Ok(())
}
