//! `anomalies.csv`, and the small strict CSV reader that it shares with label files.
//!
//! Quoting follows RFC 4180, lines end in LF. A text cell that a spreadsheet would run as a formula (it starts with
//! `= + - @`, TAB, CR or LF) gets a leading `'` (CWE-1236, OWASP ASVS 1.2.10); so does one that already starts with `'`
//! before such a character, which makes the guard reversible. Numbers stay numbers; lists and structs are JSON text.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::COLUMNS;
use crate::anomaly::Anomaly;
use crate::error::{Error, Kind, Result};

/// The rows as CSV with a header.
pub fn write(anomalies: &[Anomaly]) -> Result<Vec<u8>> {
    let mut out = COLUMNS.join(",");
    out.push('\n');
    for anomaly in anomalies {
        let row = serde_json::to_value(anomaly)
            .map_err(|e| Error::new(Kind::Bug, "an anomaly cannot be written as JSON").with_source(e))?;
        let cells = COLUMNS.iter().map(|column| match &row[column] {
            Value::Null => Cow::Borrowed(""),
            Value::String(text) => guard(text),
            // A list's JSON starts with `[`, a number is no formula.
            other => Cow::Owned(other.to_string()),
        });
        for (i, cell) in cells.enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_quoted(&mut out, &cell);
        }
        out.push('\n');
    }
    Ok(out.into_bytes())
}

fn starts_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

/// The cell text that no spreadsheet runs.
pub fn guard(text: &str) -> Cow<'_, str> {
    if starts_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text behind a guarded cell.
pub fn unguard(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| starts_formula(rest)).unwrap_or(cell)
}

fn push_quoted(out: &mut String, cell: &str) {
    if cell.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        out.push_str(&cell.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(cell);
    }
}

/// One record and the line it starts on (1 is the first).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Line of its first character.
    pub line: usize,
    /// Its cells, quotes removed.
    pub cells: Vec<String>,
}

/// All records of a CSV file with LF or CRLF ends, a byte order mark or none; blank lines are skipped.
///
/// Strict where leniency would shift cells: a quote inside an unquoted cell, text after a closing quote and an unclosed
/// quote are errors that name the line.
pub fn records(bytes: &[u8], name: &str) -> Result<Vec<Record>> {
    let bad = |line: usize, what: &str| Error::new(Kind::Input, format!("{name} line {line}: {what}"));
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + memchr::memchr_iter(b'\n', &bytes[..e.valid_up_to()]).count();
        bad(line, "expected UTF-8 text")
    })?;
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let mut records = Vec::new();
    let mut line = 1;
    while chars.peek().is_some() {
        let mut record = Record { line, cells: Vec::new() };
        loop {
            let mut cell = String::new();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next() {
                        None => return Err(bad(record.line, "a quoted cell is not closed")),
                        Some('"') if chars.next_if_eq(&'"').is_none() => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            cell.push(c);
                        }
                    }
                }
            } else {
                while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n' | '\r')) {
                    if c == '"' {
                        return Err(bad(line, "a quote stands inside an unquoted cell"));
                    }
                    cell.push(c);
                }
            }
            record.cells.push(cell);
            match chars.next() {
                Some(',') => {}
                Some('\r') if chars.next_if_eq(&'\n').is_none() => {
                    return Err(bad(line, "a carriage return stands alone"));
                }
                Some('\n' | '\r') | None => break,
                Some(_) => return Err(bad(line, "text follows a closing quote")),
            }
        }
        line += 1;
        if record.cells != [""] {
            records.push(record);
        }
    }
    Ok(records)
}

/// The rows of `anomalies.csv`; `name` stands in errors. Columns may be in any order, unknown ones are ignored.
pub fn read(bytes: &[u8], name: &str) -> Result<Vec<Anomaly>> {
    let records = records(bytes, name)?;
    let Some((header, rows)) = records.split_first() else {
        return Err(Error::new(Kind::Input, format!("{name}: expected a header line, found an empty file")));
    };
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = header.cells.iter().position(|c| c == column).ok_or_else(|| {
            Error::new(Kind::Input, format!("{name}: column `{column}` is missing; is this an anomalies file?"))
        })?;
    }
    rows.iter()
        .map(|record| {
            let bad = |what: &str| Error::new(Kind::Input, format!("{name} line {}: {what}", record.line));
            if record.cells.len() != header.cells.len() {
                return Err(bad("the number of cells differs from the header's"));
            }
            let mut row = Map::new();
            for (column, &place) in COLUMNS.iter().zip(&places) {
                let value = typed(column, &record.cells[place])
                    .ok_or_else(|| bad(&format!("column `{column}` does not hold what it should")))?;
                row.insert((*column).to_owned(), value);
            }
            serde_json::from_value(Value::Object(row)).map_err(|_| bad("a column does not hold what it should"))
        })
        .collect()
}

/// The JSON value of one cell, by the column's type.
fn typed(column: &str, cell: &str) -> Option<Value> {
    match column {
        "rank" | "reported" | "score" | "p_value" | "q_value" | "event_count" | "error_count" | "model_version"
        | "user_ids" | "source_ips" | "countries" | "evidence" | "request_ids" => serde_json::from_str(cell).ok(),
        "user_id" | "user_name" | "app_id" | "app_name" if cell.is_empty() => Some(Value::Null),
        _ => Some(Value::String(unguard(cell).to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn line_with(title: &str) -> String {
        let mut out = String::new();
        push_quoted(&mut out, &guard(title));
        out
    }

    #[test]
    fn hostile_cells_have_these_exact_bytes() {
        let cases = [
            ("plain", "plain"),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1", "'+1"),
            ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("a,b", "\"a,b\""),
            ("two\nlines", "\"two\nlines\""),
            ("'quoted'", "'quoted'"),
            ("'=1", "''=1"),
        ];
        for (text, cell) in cases {
            assert_eq!(line_with(text), cell);
        }
    }

    #[test]
    fn the_formula_guard_is_reversible() {
        for text in ["", "'", "''", "=1", "'=1", "''=1", "'a", "-", "\n", "a=1"] {
            assert_eq!(unguard(&guard(text)), text);
        }
    }

    #[test]
    fn rows_survive() {
        let rows = [sample::anomaly(1), sample::hostile(2)];
        let bytes = write(&rows).unwrap();
        assert_eq!(read(&bytes, "x").unwrap(), rows);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("date,rank,reported,"), "{text}");
        assert!(text.contains("\n2026-04-21,1,true,0055g00000AAAAA,\"[\"\"0055g00000AAAAA\"\"]\","), "{text}");
        assert_eq!(read(&write(&[]).unwrap(), "x").unwrap(), []);
    }

    #[test]
    fn records_follow_rfc_4180() {
        let parsed = records(b"\xef\xbb\xbfa,b\r\n\r\n\"x\"\"y\",\"1\n2\"\n,\n\"\"", "f").unwrap();
        let cells: Vec<_> = parsed.iter().map(|r| (r.line, r.cells.join("|"))).collect();
        assert_eq!(cells, [(1, "a|b".to_owned()), (3, "x\"y|1\n2".to_owned()), (5, "|".to_owned())]);
    }

    #[test]
    fn shifted_cells_are_refused_with_their_line() {
        for (bytes, line) in [
            (&b"a\nb\"c\n"[..], 2),
            (b"\"a\"b\n", 1),
            (b"x\n\"never closed\n\n", 2),
            (b"a\rb\n", 1),
            (b"ok\n\xff\n", 2),
        ] {
            let error = records(bytes, "f").unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().starts_with(&format!("f line {line}:")), "{error}");
        }
    }
}
