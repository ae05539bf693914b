//! `anomalies.jsonl`: one JSON object per line, columns in contract order.

use crate::anomaly::Anomaly;
use crate::error::{Error, Kind, Result};

/// The rows as JSON Lines.
pub fn write(anomalies: &[Anomaly]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(anomalies.len() * 2048);
    for anomaly in anomalies {
        serde_json::to_writer(&mut out, anomaly)
            .map_err(|e| Error::new(Kind::Bug, "an anomaly cannot be written as JSON").with_source(e))?;
        out.push(b'\n');
    }
    Ok(out)
}

/// The rows of a JSON Lines file; `name` stands in errors. Unknown keys are ignored, blank lines skipped.
pub fn read(bytes: &[u8], name: &str) -> Result<Vec<Anomaly>> {
    let lines = bytes.split(|&b| b == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(i, line)| {
            // serde's message can quote the value, which may be personal data: only its place is told.
            serde_json::from_slice(line).map_err(|e| {
                let message = format!(
                    "{name} line {}: expected an anomaly row as JSON, found an error at column {}",
                    i + 1,
                    e.column()
                );
                Error::new(Kind::Input, message)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{COLUMNS, sample};
    use super::*;

    #[test]
    fn rows_survive_and_columns_stand_in_contract_order() {
        let rows = [sample::anomaly(1), sample::hostile(2)];
        let bytes = write(&rows).unwrap();
        assert_eq!(read(&bytes, "x").unwrap(), rows);
        for line in bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
            let row: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).unwrap();
            assert_eq!(row.keys().collect::<Vec<_>>(), COLUMNS);
            assert_eq!(row["date"], "2026-04-21");
            assert_eq!(row["window_start"], "2026-04-21T14:32:00.000Z");
            assert_eq!(row["severity"], "critical");
            assert_eq!(row["subject_type"], "user-day");
        }
    }

    #[test]
    fn a_picture_is_in_no_file() {
        let plain = sample::anomaly(1);
        let pictured = Anomaly { picture: Some(Box::new(sample::picture())), ..plain.clone() };
        assert_eq!(write(&[pictured]).unwrap(), write(&[plain]).unwrap());
    }

    #[test]
    fn errors_tell_the_line_and_never_the_contents() {
        let mut bytes = write(&[sample::anomaly(1)]).unwrap();
        bytes.extend_from_slice(b"\n{\"date\": \"secret\"}\n");
        let error = read(&bytes, "anomalies.jsonl").unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().starts_with("anomalies.jsonl line 3"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }
}
