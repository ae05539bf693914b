//! A table in CSV: a header line, then one row per record. Keys are text; a cell is a number, or one of the usual ways
//! to write that there is none.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use csv::{ByteRecord, Reader, ReaderBuilder};
use polars_arrow::array::{Array, Utf8Array};
use polars_arrow::datatypes::ArrowDataType;
use polars_arrow::offset::Offsets;

use super::{Key, Layout, Table, Wanted, not_numeric};
use crate::config::settings::Limits;
use crate::detectors::geometry::matrix::Matrix;
use crate::error::{Error, Kind, Result};
use crate::events::decompress::Input;

/// Bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// The names in the header.
pub(super) fn columns(path: &Path, limits: &Limits) -> Result<Vec<String>> {
    let mut record = ByteRecord::new();
    header(&mut Records::open(path, limits)?, &mut record)
}

fn header(records: &mut Records<'_>, record: &mut ByteRecord) -> Result<Vec<String>> {
    let path = records.path;
    if !records.next(record)? {
        return Err(Error::new(Kind::Input, format!("{}: expected a header line, found nothing", path.display())));
    }
    record.iter().map(|cell| text(path, 1, cell).map(str::to_owned)).collect()
}

pub(super) fn read(path: &Path, wanted: Wanted<'_>, limits: &Limits) -> Result<Table> {
    let mut records = Records::open(path, limits)?;
    let mut record = ByteRecord::new();
    let names = header(&mut records, &mut record)?;
    let layout = Layout::find(path, &names, wanted)?;
    let mut keys: Vec<Texts> = layout.keys.iter().map(|_| Texts::default()).collect();
    let mut values = Vec::new();
    let mut rows = 0;
    // First line of each column that turned out not to be numeric.
    let mut refused = BTreeMap::new();
    while records.next(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != names.len() {
            let message = format!(
                "{} line {line}: expected {} cells as in the header, found {}",
                path.display(),
                names.len(),
                record.len()
            );
            return Err(Error::new(Kind::Input, message));
        }
        for (key, &column) in keys.iter_mut().zip(&layout.keys) {
            key.push(text(path, line, &record[column])?);
        }
        for &column in &layout.numbers {
            match number(&record[column]) {
                Some(value) if refused.is_empty() => values.push(value),
                Some(_) => {}
                None if wanted.learned.is_some() => {
                    let message = format!(
                        "{} line {line}, column {:?}: expected a number, as when the model learned, found something else",
                        path.display(),
                        names[column]
                    );
                    return Err(Error::new(Kind::Input, message));
                }
                None => {
                    refused.entry(column).or_insert(line);
                    // What was read is of no use any more, and the rest is read only to name every such column.
                    values = Vec::new();
                }
            }
        }
        rows += 1;
    }
    if !refused.is_empty() {
        let columns: Vec<String> =
            refused.iter().map(|(&column, line)| format!("{:?} (line {line})", names[column])).collect();
        return Err(not_numeric(path, &columns));
    }
    let columns: Vec<String> = layout.numbers.iter().map(|&i| names[i].clone()).collect();
    let keys = keys.into_iter().zip(wanted.keys);
    Ok(Table {
        keys: keys.map(|(key, name)| Ok(Key { name: name.clone(), values: key.finish()? })).collect::<Result<_>>()?,
        numbers: Matrix::new(rows, columns.len(), values),
        columns,
        unused: layout.unused,
    })
}

/// The number in a cell; NaN if the cell says that there is none; nothing if it says something else.
fn number(cell: &[u8]) -> Option<f64> {
    /// As pandas, R, SQL and spreadsheets write a missing value. `nan` and `inf` are numbers to the parser.
    const MISSING: [&[u8]; 5] = [b"", b"na", b"n/a", b"null", b"none"];
    let cell = cell.trim_ascii();
    if let Some(value) = std::str::from_utf8(cell).ok().and_then(|text| text.parse().ok()) {
        return Some(value);
    }
    let is = |word: &[u8]| cell.eq_ignore_ascii_case(word);
    // As in Parquet, where they have a type of their own.
    let truth = if is(b"true") { Some(1.0) } else { is(b"false").then_some(0.0) };
    truth.or_else(|| MISSING.into_iter().any(is).then_some(f64::NAN))
}

fn text<'a>(path: &Path, line: u64, cell: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(cell).map_err(|e| {
        let message = format!("{} line {line}: expected text in UTF-8, found other bytes", path.display());
        Error::new(Kind::Input, message).with_source(e)
    })
}

/// A growing column of text.
struct Texts {
    bytes: String,
    offsets: Vec<i64>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { bytes: String::new(), offsets: vec![0] }
    }
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.offsets.push(self.bytes.len() as i64);
    }

    fn finish(self) -> Result<Box<dyn Array>> {
        let array = Offsets::try_from(self.offsets).and_then(|offsets| {
            Utf8Array::<i64>::try_new(ArrowDataType::LargeUtf8, offsets.into(), self.bytes.into_bytes().into(), None)
        });
        Ok(array.map_err(|e| Error::new(Kind::Bug, "cannot keep a column of keys").with_source(e))?.boxed())
    }
}

/// The records of a file, none longer than the limit.
struct Records<'f> {
    path: &'f Path,
    reader: Reader<Source>,
    since: Rc<Cell<u64>>,
    limit: u64,
}

impl<'f> Records<'f> {
    fn open(path: &'f Path, limits: &Limits) -> Result<Self> {
        let since = Rc::new(Cell::new(0));
        let input = Input::open(path, limits)?;
        let source = Source { input, since: since.clone(), limit: limits.line_bytes.saturating_add(2 * BUFFER as u64) };
        // Ragged rows are found here, where the message can say what to do.
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(BUFFER).from_reader(source);
        Ok(Self { path, reader, since, limit: limits.line_bytes })
    }

    /// The next record; false at the end.
    fn next(&mut self, record: &mut ByteRecord) -> Result<bool> {
        let start = self.reader.position().byte();
        let line = self.reader.position().line();
        let found = self.reader.read_byte_record(record).map_err(|e| self.failed(e, line))?;
        if self.reader.position().byte() - start > self.limit {
            return Err(self.too_long(line));
        }
        self.since.set(0);
        Ok(found)
    }

    fn failed(&self, error: csv::Error, line: u64) -> Error {
        match error.into_kind() {
            csv::ErrorKind::Io(_) if self.reader.get_ref().is_past_limit() => self.too_long(line),
            csv::ErrorKind::Io(e) => match e.downcast::<Error>() {
                Ok(error) => error,
                Err(e) => Error::io(Kind::Input, "read", self.path, e),
            },
            _ => Error::new(Kind::Input, format!("{} line {line}: expected CSV", self.path.display())),
        }
    }

    fn too_long(&self, line: u64) -> Error {
        let message = format!(
            "{} line {line}: expected a record of at most {} bytes, found a longer one (is a quote left open?); raise \
             limits.line-bytes if the file is right",
            self.path.display(),
            self.limit
        );
        Error::new(Kind::Input, message)
    }
}

/// The bytes of a file. The CSV reader would take in a record of any length, so what it asks for is counted here and
/// set back after every record.
struct Source {
    input: Input,
    since: Rc<Cell<u64>>,
    limit: u64,
}

impl Source {
    fn is_past_limit(&self) -> bool {
        self.since.get() > self.limit
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_past_limit() {
            return Err(io::Error::other("the record is too long"));
        }
        let read = self.input.fill(buffer).map_err(io::Error::other)?;
        self.since.set(self.since.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_or_missing_or_neither() {
        for (cell, value) in [("1", 1.0), (" -2.5e3 ", -2500.0), ("+.5", 0.5), ("TRUE", 1.0), ("False", 0.0)] {
            assert_eq!(number(cell.as_bytes()), Some(value), "{cell}");
        }
        for cell in ["", " ", "NA", "n/a", "NaN", "nan", "-nan", "null", "None"] {
            assert!(number(cell.as_bytes()).is_some_and(f64::is_nan), "{cell}");
        }
        for (cell, value) in [("inf", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY), ("1e999", f64::INFINITY)] {
            assert_eq!(number(cell.as_bytes()), Some(value), "{cell}");
        }
        for cell in ["x", "1,5", "0x10", "1 2", "2026-01-01", "=1", "\u{ff11}", "--1"] {
            assert_eq!(number(cell.as_bytes()), None, "{cell}");
        }
        assert_eq!(number(b"\xff"), None);
    }
}
