//! Parquet: the columns that a profile names, a slice of rows at a time, as cells.
//!
//! The decoder below was not written for hostile files, so a panic in it is caught and becomes an input error. What cannot be
//! caught is an impossible amount of memory that a forged page header has it ask for, so page headers are read first.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::{ArrowDataType, Column, DataType, SerReader, TimeUnit};
use polars_io::parquet::read::{ParallelStrategy, ParquetReader};
use polars_parquet::parquet::page::CompressedPage;
use polars_parquet::read::{BasicDecompressor, ColumnChunkMetadata, PageReader, read_metadata};

use super::columns::Builder;
use super::interner::{Cell, Store};
use super::tile::{Parsed, Plan, Tile};
use crate::error::{Error, Kind, Result};

/// Rows decoded at a time.
const SLICE_ROWS: usize = 64 << 10;

/// An open file: its columns and how many rows it says it has.
pub(super) struct Table<'f> {
    path: &'f Path,
    pub(super) columns: Vec<String>,
    /// Columns that hold times as such, whatever the profile says of their text.
    pub(super) times: Vec<String>,
    pub(super) rows: usize,
    /// Columns of lists and structures, with their types.
    nested: Vec<(String, DataType)>,
}

/// Runs the decoder; a panic in it is damage of the file too.
pub(crate) fn guarded<T>(path: &Path, work: impl FnOnce() -> polars::prelude::PolarsResult<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| damaged(path))?.map_err(|e| damaged(path).with_source(e))
}

/// What is said of a file whose parts contradict each other.
pub(crate) fn damaged(path: &Path) -> Error {
    Error::new(Kind::Input, format!("{}: damaged Parquet file; fetch it again", path.display()))
}

/// The pages of a column of one row group, if their headers agree with the `values` that it should have: the decoder
/// makes room for what a page says that it holds, and failing to do so ends the process. `bytes` is the size of the file.
pub(crate) fn sound_pages(
    path: &Path,
    file: &mut File,
    bytes: u64,
    chunk: &ColumnChunkMetadata,
    values: usize,
) -> Result<PageReader> {
    let range = guarded(path, || Ok(chunk.byte_range()))?;
    let length = range.end.checked_sub(range.start).filter(|_| range.end <= bytes);
    let length = length.ok_or_else(|| damaged(path))?;
    let mut read = vec![0; length as usize];
    let filled = file.seek(SeekFrom::Start(range.start)).and_then(|_| file.read_exact(&mut read));
    filled.map_err(|e| Error::io(Kind::Input, "read", path, e))?;
    let (read, _) = PageReader::new(Cursor::new(read.into()), chunk, Vec::new(), usize::MAX).into_inner();
    let pages = || PageReader::new(read.clone(), chunk, Vec::new(), usize::MAX);
    if guarded(path, || Ok(is_sound(pages(), values) && has_sound_dictionary(pages())))? {
        Ok(pages())
    } else {
        Err(damaged(path))
    }
}

fn is_sound(pages: PageReader, expected: usize) -> bool {
    let mut values = 0_usize;
    for page in pages {
        match page {
            Ok(CompressedPage::Data(page)) => values = values.saturating_add(page.num_values()),
            Ok(CompressedPage::Dict(_)) => {}
            Err(_) => return false,
        }
    }
    values == expected
}

/// Each of its values takes a byte at least.
fn has_sound_dictionary(pages: PageReader) -> bool {
    let dictionary = BasicDecompressor::new(pages, Vec::new()).read_dict_page();
    dictionary.is_ok_and(|page| page.is_none_or(|page| page.num_values <= page.buffer.len()))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(Kind::Input, "open", path, e))
}

impl<'f> Table<'f> {
    pub(super) fn open(path: &'f Path) -> Result<Self> {
        let file = open(path)?;
        let (schema, rows) = guarded(path, || {
            let mut reader = ParquetReader::new(file);
            Ok((reader.schema()?, reader.num_rows()?))
        })?;
        let times = schema
            .iter()
            .filter(|(_, field)| matches!(field.dtype(), ArrowDataType::Timestamp(..)))
            .map(|(name, _)| name.to_string())
            .collect();
        let nested = schema
            .iter()
            .filter(|(_, field)| field.dtype().is_nested())
            .map(|(name, field)| (name.to_string(), DataType::from_arrow_field(field)))
            .collect();
        Ok(Self { path, nested, columns: schema.iter_names().map(ToString::to_string).collect(), times, rows })
    }

    /// Refuses columns that hold no single values, and pages whose headers do not fit the rest of the file.
    pub(super) fn check(&self, wanted: &[String]) -> Result<()> {
        if let Some((name, dtype)) = self.nested.iter().find(|(name, _)| wanted.contains(name)) {
            return Err(self.refused(name, dtype));
        }
        let mut file = open(self.path)?;
        let bytes = file.metadata().map_err(|e| Error::io(Kind::Input, "read", self.path, e))?.len();
        let metadata = guarded(self.path, || read_metadata(&mut file))?;
        for group in &metadata.row_groups {
            for name in wanted {
                for chunk in group.columns_under_root_iter(name).into_iter().flatten() {
                    sound_pages(self.path, &mut file, bytes, chunk, group.num_rows())?;
                }
            }
        }
        Ok(())
    }

    /// Reads the rows from `first` on, at most a slice, into events. `wanted` are the names of the plan's cells.
    pub(super) fn slice(&self, first: usize, wanted: &[String], plan: &Plan<'_>) -> Result<Parsed> {
        let file = open(self.path)?;
        let frame = guarded(self.path, || {
            ParquetReader::new(file)
                .with_columns(Some(wanted.to_vec()))
                .with_slice(Some((first, SLICE_ROWS)))
                .read_parallel(ParallelStrategy::None)
                .finish()
        })?;
        let expected = SLICE_ROWS.min(self.rows - first);
        if frame.height() != expected {
            return Err(Error::new(
                Kind::Input,
                format!(
                    "{}: expected {expected} rows from row {first}, found {}; fetch it again",
                    self.path.display(),
                    frame.height()
                ),
            ));
        }
        let mut store = Store { block: &[], arena: Vec::new() };
        let mut columns = Vec::with_capacity(wanted.len());
        for name in wanted {
            let column = guarded(self.path, || frame.column(name).cloned())?;
            columns.push(self.cells(&column, &mut store)?);
        }
        let mut builder = Builder::new(plan);
        let mut tile = Tile::default();
        for row in 0..expected {
            tile.cells.extend(columns.iter().map(|cells| cells[row]));
            tile.records.push((first + row + 1) as u64);
            if tile.is_full() {
                builder.consume(&store, &tile);
                tile.clear();
            }
        }
        builder.consume(&store, &tile);
        Ok(builder.finish(None))
    }

    /// Text, numbers, booleans and times as the text they would have in CSV; other types are refused.
    fn cells(&self, column: &Column, store: &mut Store<'_>) -> Result<Vec<Cell>> {
        let as_text = |c: &Column| guarded(self.path, || c.cast(&DataType::String));
        let text = match column.dtype() {
            DataType::Datetime(_, _) => {
                let ms = guarded(self.path, || {
                    column.cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?.cast(&DataType::Int64)
                })?;
                let ms = guarded(self.path, || ms.i64().cloned())?;
                return Ok(ms
                    .iter()
                    .map(|v| v.map_or(Cell::default(), |v| store.add(crate::date::format_ms(v).as_bytes())))
                    .collect());
            }
            DataType::String => column.clone(),
            DataType::Null | DataType::Boolean | DataType::Categorical(..) => as_text(column)?,
            dtype if dtype.is_primitive_numeric() => as_text(column)?,
            _ => return Err(self.refused(column.name(), column.dtype())),
        };
        let text = guarded(self.path, || text.str().cloned())?;
        Ok(text.iter().map(|v| v.map_or(Cell::default(), |v| store.add(v.as_bytes()))).collect())
    }

    fn refused(&self, name: &str, dtype: &DataType) -> Error {
        let message = format!(
            "{}: column {name:?}: expected text, numbers, booleans or times, found {dtype}",
            self.path.display()
        );
        Error::new(Kind::Input, message)
    }

    /// First rows of all slices.
    pub(super) fn slices(&self) -> impl Iterator<Item = usize> {
        (0..self.rows).step_by(SLICE_ROWS)
    }
}
