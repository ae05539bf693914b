//! What `score` writes beside the run folder, after the run is published.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::now;
use crate::anomaly::{Anomaly, RunInfo};
use crate::config::Config;
use crate::date::{Date, parse_ms};
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::report::{metrics, ocsf};

/// Stands for the night in `outputs.ocsf`.
const DATE: &str = "{date}";

/// Refuses places that would be part of the run folder, before anything is scored.
pub(super) fn check(out: &Path, config: &Config) -> Result<()> {
    let outputs = &config.settings().outputs;
    let folder = resolved(out);
    for (key, path) in [("outputs.metrics", &outputs.metrics), ("outputs.ocsf", &outputs.ocsf)] {
        if !path.is_empty() && resolved(Path::new(path)).starts_with(&folder) {
            let message = format!(
                "{key} ({path}) lies within the run folder {}, which holds its own files alone; choose another place",
                out.display()
            );
            return Err(Error::new(Kind::Usage, message));
        }
    }
    Ok(())
}

/// The path without links in its folders, as far as these exist.
fn resolved(path: &Path) -> PathBuf {
    let absolute: PathBuf = std::path::absolute(path).map_or_else(|_| path.to_owned(), |p| p.components().collect());
    let there = absolute.ancestors().find_map(|a| Some((a.canonicalize().ok()?, absolute.strip_prefix(a).ok()?)));
    // Nothing is appended to a path that is there whole: that would make a folder of it.
    there.map_or_else(|| absolute.clone(), |(a, rest)| if rest.as_os_str().is_empty() { a } else { a.join(rest) })
}

/// Writes what is wanted; the metrics last, so that their time says that all was written.
pub(super) fn write(info: &RunInfo, anomalies: &[Anomaly], config: &Config) -> Result<()> {
    let outputs = &config.settings().outputs;
    if !outputs.ocsf.is_empty() {
        let wanted = |a: &&Anomaly| a.reported || outputs.ocsf_watch_list;
        if outputs.ocsf.contains(DATE) {
            let nights: BTreeSet<Date> = info.nights.iter().map(|n| n.date).collect();
            for night in nights {
                let path = outputs.ocsf.replace(DATE, &night.to_string());
                put(&path, &ocsf::write(anomalies.iter().filter(|a| a.date == night).filter(wanted))?)?;
            }
        } else {
            put(&outputs.ocsf, &ocsf::write(anomalies.iter().filter(wanted))?)?;
        }
    }
    if !outputs.metrics.is_empty() {
        let seconds = parse_ms(&now()).unwrap_or_default() / 1_000;
        fsutil::write_among_others(Path::new(&outputs.metrics), metrics::write(info, anomalies, seconds).as_bytes())?;
    }
    Ok(())
}

fn put(path: &str, bytes: &[u8]) -> Result<()> {
    let path = Path::new(path);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fsutil::create_dirs(folder)?;
    }
    fsutil::write_among_others(path, bytes)
}
