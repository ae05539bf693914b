//! Parquet: the columns that a profile names, a slice of rows at a time, as cells.
//!
//! The decoder below was not written for hostile files, so a panic in it is caught and becomes an input error. What cannot be
//! caught is an impossible amount of memory that a forged page header has it ask for: that ends the process, with nothing written.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::{ArrowDataType, Column, DataType, SerReader, TimeUnit};
use polars_io::parquet::read::{ParallelStrategy, ParquetReader};

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
}

fn guarded<T>(path: &Path, work: impl FnOnce() -> polars::prelude::PolarsResult<T>) -> Result<T> {
    let fail = || Error::new(Kind::Input, format!("{}: damaged Parquet file; fetch it again", path.display()));
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| fail())?.map_err(|e| fail().with_source(e))
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
        Ok(Self { path, columns: schema.iter_names().map(ToString::to_string).collect(), times, rows })
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
        let refused = || {
            Error::new(
                Kind::Input,
                format!(
                    "{}: column {:?}: expected text, numbers, booleans or times, found {}",
                    self.path.display(),
                    column.name(),
                    column.dtype()
                ),
            )
        };
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
            _ => return Err(refused()),
        };
        let text = guarded(self.path, || text.str().cloned())?;
        Ok(text.iter().map(|v| v.map_or(Cell::default(), |v| store.add(v.as_bytes()))).collect())
    }

    /// First rows of all slices.
    pub(super) fn slices(&self) -> impl Iterator<Item = usize> {
        (0..self.rows).step_by(SLICE_ROWS)
    }
}
