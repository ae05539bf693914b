//! Anomalies without their run folder: a file of rows, and as much of the run as the rows tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::anomaly::{Anomaly, Coverage, NightSummary, RunInfo};
use crate::error::{Error, Kind, Result};
use crate::report::{csv, jsonl, parquet, run_folder};

/// Reads anomalies from a `.jsonl`, `.csv` or `.parquet` file with the columns of a run.
///
/// The run is told by its rows alone: a calm night that kept no row is not known of, and how many subjects were scored
/// is not either (0). Calibration and counts of quiet nights therefore need the run folder.
pub fn read(path: &Path) -> Result<(RunInfo, Vec<Anomaly>)> {
    let bytes = fs::read(path).map_err(|e| Error::io(Kind::Input, "read", path, e))?;
    let name = path.display().to_string();
    let anomalies = match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("jsonl" | "ndjson") => jsonl::read(&bytes, &name)?,
        Some("csv") => csv::read(&bytes, &name)?,
        Some("parquet") => parquet::read(&bytes, &name)?,
        _ => return Err(Error::new(Kind::Usage, format!("{name}: expected a .jsonl, .csv or .parquet file"))),
    };
    Ok((run_of(&anomalies), anomalies))
}

fn run_of(anomalies: &[Anomaly]) -> RunInfo {
    let mut nights = BTreeMap::new();
    for a in anomalies {
        let night = nights.entry((a.date, a.org_id.as_str())).or_insert_with(|| NightSummary {
            date: a.date,
            org_id: a.org_id.clone(),
            events: 0,
            subjects: 0,
            reported: 0,
            announced: 0,
            over_budget: 0,
            cold_users: 0,
            gates: Vec::new(),
            coverage: Coverage::default(),
            notes: Vec::new(),
            picture: None,
        });
        night.reported += u64::from(a.reported);
    }
    let first = anomalies.first();
    let text = |field: fn(&Anomaly) -> &String| first.map(|a| field(a).clone()).unwrap_or_default();
    RunInfo {
        format_version: run_folder::FORMAT_VERSION,
        engine_version: text(|a| &a.engine_version),
        model_name: text(|a| &a.model_name),
        model_version: first.map_or(0, |a| a.model_version),
        model_digest: text(|a| &a.model_digest),
        input_digest: String::new(),
        in_sample: false,
        nights: nights.into_values().collect(),
        missing_dates: Vec::new(),
        not_run: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_three_formats_tell_the_same() {
        let dir = tempfile::TempDir::new().unwrap();
        let rows = [sample::anomaly(1), sample::hostile(2), sample::anomaly(30)];
        run_folder::publish(&dir.path().join("run"), &sample::run(), &rows, false).unwrap();
        for name in ["anomalies.jsonl", "anomalies.csv", "anomalies.parquet"] {
            let (run, read) = super::read(&dir.path().join("run").join(name)).unwrap();
            assert_eq!(read, rows, "{name}");
            assert_eq!((run.nights.len(), run.nights[0].subjects, run.nights[0].reported), (1, 0, 2), "{name}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("rows.xlsx");
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), Kind::Usage);
        assert_eq!(read(&dir.path().join("none.csv")).unwrap_err().kind(), Kind::Input);
        let csv = dir.path().join("a.csv");
        fs::write(&csv, "date,rank\n").unwrap();
        assert_eq!(read(&csv).unwrap_err().kind(), Kind::Input);
    }
}
