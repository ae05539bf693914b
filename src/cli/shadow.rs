//! The challenger in the shadow of the champion: scores the same nights after the champion's run was published, and leaves beside
//! it what it would have reported. Whatever goes wrong here is a warning.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use super::messages::Message;
use super::score::{Nights, check_schema, score, window};
use super::terminal;
use crate::anomaly::{Anomaly, RunInfo};
use crate::config::Layers;
use crate::error::{Error, Kind, Result};
use crate::evaluation::compare::page::{About, page};
use crate::evaluation::compare::{Both, Difference, compare};
use crate::fsutil;
use crate::models::{Registry, Selector};
use crate::pipeline::Days;
use crate::report::words::count;

/// The files beside those of the run: the comparison for a program, and as a page.
const FILE: &str = "shadow.json";
const PAGE: &str = "shadow.html";

/// Layout of [`FILE`].
const FORMAT_VERSION: u32 = 1;

/// What the champion did, and with what.
#[derive(Clone, Copy)]
pub(super) struct Champion<'a> {
    pub(super) info: &'a RunInfo,
    pub(super) anomalies: &'a [Anomaly],
    pub(super) days: &'a dyn Days,
    pub(super) nights: Nights,
}

/// A version that scored.
#[derive(Serialize)]
struct Version<'a> {
    version: u32,
    digest: &'a str,
}

#[derive(Serialize)]
struct Record<'a> {
    format_version: u32,
    alias: &'a str,
    input_digest: &'a str,
    champion: Version<'a>,
    challenger: Version<'a>,
    /// Whether the challenger's training has seen one of the nights.
    in_sample: bool,
    #[serde(flatten)]
    difference: &'a Difference,
}

/// Scores with the challenger and records the difference in the run folder `out`. An alias that does not exist is no
/// challenger, and nothing to tell unless it was `asked` for by name.
pub(super) fn follow(
    alias: &str,
    registry: &Registry,
    said: &Layers,
    champion: Champion<'_>,
    (out, asked): (&Path, bool),
) {
    let told = record(alias, registry, said, champion, (out, asked));
    // What an earlier run left here is about other nights or other versions.
    let swept = if matches!(told, Ok(Some(_))) { Ok(()) } else { remove(&out.join(FILE)).and(remove(&out.join(PAGE))) };
    match told.and_then(|told| swept.map(|()| told)) {
        Ok(Some(message)) => message.tell(),
        Ok(None) => {}
        Err(e) => {
            let why = e.in_one_line();
            let text = format!("the shadow of {alias} is left out, the run is not touched by that: {why}");
            Message::warning(terminal::escape(&text)).with("alias", alias).with("kind", e.kind().name()).tell();
        }
    }
}

fn record(
    alias: &str,
    registry: &Registry,
    said: &Layers,
    champion: Champion<'_>,
    (out, asked): (&Path, bool),
) -> Result<Option<Message>> {
    if !registry.aliases()?.contains_key(alias) {
        let text = format!("there is no alias {alias:?}, so nothing scores in the shadow");
        return Ok(asked.then(|| Message::note(terminal::escape(&text))));
    }
    let (model, _in_use) = registry.load_in_use(&Selector::Alias(alias.to_owned()))?;
    let info = champion.info;
    if model.digest == info.model_digest {
        return Ok(Some(Message::note(format!("{alias} names the champion, version {}", model.version))));
    }
    window(&model)?;
    check_schema(&model)?;
    let config = said.resolve_at_score_time(&model.manifest.settings)?;
    let (shadow, anomalies) = score(champion.days, &model, registry.name(), &config, champion.nights)?;
    let difference = compare((info, champion.anomalies), (&shadow, &anomalies), None);
    let record = Record {
        format_version: FORMAT_VERSION,
        alias,
        input_digest: &info.input_digest,
        champion: Version { version: info.model_version, digest: &info.model_digest },
        challenger: Version { version: model.version, digest: &model.digest },
        in_sample: shadow.in_sample,
        difference: &difference,
    };
    let mut json = serde_json::to_vec_pretty(&record)
        .map_err(|e| Error::new(Kind::Bug, "the comparison cannot be described as JSON").with_source(e))?;
    json.push(b'\n');
    let versions = Both { from: (info.model_version, &*info.model_digest), to: (model.version, &*model.digest) };
    let about = About { name: registry.name(), versions, in_sample: info.in_sample || shadow.in_sample };
    fsutil::write_atomic(&out.join(PAGE), page(&about, &difference).as_bytes())?;
    fsutil::write_atomic(&out.join(FILE), &json)?;
    let d = &difference;
    let order = d.agreement.rank_correlation.map(|r| format!(", rank correlation {r:.2}")).unwrap_or_default();
    let text = format!(
        "{alias} (version {}) has {}, the champion {} ({} gained, {} lost{order}); see {PAGE}",
        model.version,
        count(d.alerts.to, "alert"),
        d.alerts.from,
        d.gained.len(),
        d.lost.len(),
    );
    let message = Message::note(text).with("alias", alias).with("version", model.version);
    let message = message.with("reported", d.alerts.to).with("gained", d.gained.len()).with("lost", d.lost.len());
    Ok(Some(message.with_path("path", &out.join(FILE))))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(Kind::Resource, "remove", path, e)),
        _ => Ok(()),
    }
}
