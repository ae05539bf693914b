//! A table in Parquet. Columns are decoded one by one, so that beside the numbers of all there is one column in memory.
//!
//! Arrow arrays come straight from the decoder: through a frame, small integers and decimals would need features of Polars
//! that enlarge all of it. The decoder was not written for hostile files, so a panic in it is caught and becomes
//! an input error.

use std::fs::File;
use std::path::Path;

use polars::prelude::pf16;
use polars_arrow::array::{Array, BooleanArray, PrimitiveArray, new_empty_array};
use polars_arrow::compute::concatenate::concatenate;
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_arrow::types::NativeType;
use polars_parquet::read::{
    BasicDecompressor, FileMetadata, RowGroupMetadata, column_iter_to_arrays, infer_schema, read_metadata,
};

use super::key::can_be_key;
use super::{Key, Layout, Table, Wanted, not_numeric, room};
use crate::config::settings::Limits;
use crate::detectors::geometry::matrix::Matrix;
use crate::error::{Error, Kind, Result};
use crate::events::parquet::{damaged, guarded, sound_pages};

/// A small file may hold as many bytes of numbers as this whatever its ratio: 16 MiB, as for compressed text.
const RATIO_FLOOR: u64 = 16 << 20;

/// The names of the columns.
pub(super) fn columns(path: &Path) -> Result<Vec<String>> {
    Ok(Source::open(path)?.columns())
}

/// A column of lists, in parts; `None` if it is no such column.
pub(super) fn lists(path: &Path, column: &str, limits: &Limits) -> Result<Option<Vec<Box<dyn Array>>>> {
    let mut file = Source::open(path)?;
    let schema = guarded(path, || infer_schema(&file.metadata))?;
    let Some(field) = schema.get(column).cloned() else { return Ok(None) };
    if !matches!(field.dtype, ArrowDataType::List(_) | ArrowDataType::LargeList(_)) {
        return Ok(None);
    }
    file.rows(1, limits)?;
    let groups = std::mem::take(&mut file.metadata.row_groups);
    let mut parts = Vec::new();
    for group in &groups {
        let values = file.values(group, &field)?;
        file.check_size(values, limits)?;
        parts.extend(file.column_of(group, &field, values)?);
    }
    Ok(Some(parts))
}

pub(super) fn read(path: &Path, wanted: Wanted<'_>, limits: &Limits) -> Result<Table> {
    let mut file = Source::open(path)?;
    let names = file.columns();
    let layout = Layout::find(path, &names, wanted)?;
    let schema = guarded(path, || infer_schema(&file.metadata))?;
    let field = |column: usize| -> Result<Field> {
        let mut field = schema.get(&names[column]).cloned().ok_or_else(|| damaged(path))?;
        // Categories are text that is written once.
        if let ArrowDataType::Dictionary(_, values, _) = field.dtype {
            field.dtype = *values;
        }
        Ok(field)
    };
    let numbers = layout.numbers.iter().map(|&column| field(column)).collect::<Result<Vec<_>>>()?;
    let keys = layout.keys.iter().map(|&column| field(column)).collect::<Result<Vec<_>>>()?;
    check_types(path, &numbers, &keys, wanted)?;
    let rows = file.rows(numbers.len() + keys.len(), limits)?;

    let width = numbers.len();
    let mut values = room(path, rows * width)?;
    let groups = std::mem::take(&mut file.metadata.row_groups);
    let mut first = 0;
    for group in &groups {
        for (slot, field) in numbers.iter().enumerate() {
            let mut row = first;
            for array in file.column(group, field)? {
                let cells = values.iter_mut().skip(row * width + slot).step_by(width);
                fill(array.as_ref(), cells).ok_or_else(|| damaged(path))?;
                row += array.len();
            }
        }
        first += group.num_rows();
    }
    let mut read = Vec::with_capacity(keys.len());
    for (field, name) in keys.iter().zip(wanted.keys) {
        let mut parts = Vec::new();
        for group in &groups {
            parts.extend(file.column(group, field)?);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let values = if parts.is_empty() {
            new_empty_array(field.dtype.clone())
        } else {
            guarded(path, || concatenate(&parts))?
        };
        read.push(Key { name: name.clone(), values });
    }
    let columns = layout.numbers.iter().map(|&i| names[i].clone()).collect();
    Ok(Table { keys: read, columns, numbers: Matrix::new(rows, width, values), unused: layout.unused })
}

/// Refuses keys that cannot be shown and numbers that are none.
fn check_types(path: &Path, numbers: &[Field], keys: &[Field], wanted: Wanted<'_>) -> Result<()> {
    if let Some(field) = keys.iter().find(|field| !can_be_key(&field.dtype)) {
        let message = format!(
            "{}, key column {:?}: expected text, a number, a truth value, a date or a time, found {:?}; choose another --key",
            path.display(),
            field.name.as_str(),
            field.dtype
        );
        return Err(Error::new(Kind::Input, message));
    }
    let others = numbers.iter().filter(|field| !is_numeric(&field.dtype));
    let others: Vec<String> = others.map(|f| format!("{:?} ({:?})", f.name.as_str(), f.dtype)).collect();
    match (others.first(), wanted.learned) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(not_numeric(path, &others)),
        (Some(first), Some(_)) => {
            let message =
                format!("{}: expected a number, as when the model learned, found the column {first}", path.display());
            Err(Error::new(Kind::Input, message))
        }
    }
}

/// An open file.
struct Source<'f> {
    path: &'f Path,
    file: File,
    bytes: u64,
    metadata: FileMetadata,
}

impl<'f> Source<'f> {
    fn open(path: &'f Path) -> Result<Self> {
        let failed = |e| Error::io(Kind::Input, "open", path, e);
        let about = path.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(Error::new(Kind::Input, format!("{}: expected a file, found something else", path.display())));
        }
        let mut file = File::open(path).map_err(failed)?;
        let metadata = guarded(path, || read_metadata(&mut file))?;
        Ok(Self { path, file, bytes: about.len(), metadata })
    }

    fn columns(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|f| f.name().to_owned()).collect()
    }

    /// The number of rows, if a table of so many columns is within the limits. Repeated values take next to no room in a
    /// file, so it is the size in memory that is limited.
    fn rows(&self, columns: usize, limits: &Limits) -> Result<usize> {
        let rows = self.metadata.row_groups.iter().try_fold(0_usize, |n, group| n.checked_add(group.num_rows()));
        let cells = rows.and_then(|rows| rows.checked_mul(columns.max(1)));
        self.check_size(cells.unwrap_or(usize::MAX), limits)?;
        rows.ok_or_else(|| damaged(self.path))
    }

    fn check_size(&self, cells: usize, limits: &Limits) -> Result<()> {
        let bytes = cells.checked_mul(size_of::<f64>()).map_or(u64::MAX, |b| b as u64);
        let path = self.path.display();
        if bytes > limits.file_bytes {
            let message = format!(
                "{path}: expected at most {} bytes of numbers, found {bytes}; raise limits.file-bytes if the file is right",
                limits.file_bytes
            );
            return Err(Error::new(Kind::Input, message));
        }
        if bytes > RATIO_FLOOR && bytes as f64 > limits.decompression_ratio * self.bytes as f64 {
            let message = format!(
                "{path}: expected at most {} times its {} stored bytes, found {bytes}; raise limits.decompression-ratio if the \
                 file is right",
                limits.decompression_ratio, self.bytes
            );
            return Err(Error::new(Kind::Input, message));
        }
        Ok(())
    }

    /// Values that the file says a column of one row group has.
    fn values(&self, group: &RowGroupMetadata, field: &Field) -> Result<usize> {
        let of = |chunk: &polars_parquet::read::ColumnChunkMetadata| usize::try_from(chunk.num_values()).ok();
        let chunk = group.columns_under_root_iter(&field.name).into_iter().flatten().next();
        chunk.and_then(of).ok_or_else(|| damaged(self.path))
    }

    /// One column of one row group, a value per row.
    fn column(&mut self, group: &RowGroupMetadata, field: &Field) -> Result<Vec<Box<dyn Array>>> {
        self.column_of(group, field, group.num_rows())
    }

    /// One column of one row group, with so many values on its pages.
    fn column_of(&mut self, group: &RowGroupMetadata, field: &Field, values: usize) -> Result<Vec<Box<dyn Array>>> {
        let (mut pages, mut types) = (Vec::new(), Vec::new());
        for chunk in group.columns_under_root_iter(&field.name).into_iter().flatten() {
            let sound = sound_pages(self.path, &mut self.file, self.bytes, chunk, values)?;
            pages.push(BasicDecompressor::new(sound, Vec::new()));
            types.push(&chunk.descriptor().descriptor.primitive_type);
        }
        if pages.len() != 1 {
            return Err(damaged(self.path));
        }
        let (arrays, _) = guarded(self.path, || column_iter_to_arrays(pages, types, field.clone(), None))?;
        if arrays.iter().map(|array| array.len()).sum::<usize>() == group.num_rows() {
            Ok(arrays)
        } else {
            Err(damaged(self.path))
        }
    }
}

fn is_numeric(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(
        dtype,
        T::Null
            | T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float16
            | T::Float32
            | T::Float64
            | T::Decimal(..)
    )
}

/// Writes the values of a numeric array into cells; missing ones are left as they are. Nothing if the decoder made
/// another type than it was asked for.
fn fill<'c>(array: &dyn Array, cells: impl Iterator<Item = &'c mut f64>) -> Option<()> {
    use ArrowDataType as T;
    match array.dtype() {
        T::Null => Some(()),
        T::Boolean => {
            let array = array.as_any().downcast_ref::<BooleanArray>()?;
            for (cell, value) in cells.zip(array.iter()) {
                *cell = value.map_or(*cell, f64::from);
            }
            Some(())
        }
        T::Int8 => put(array, cells, |v: i8| v.into()),
        T::Int16 => put(array, cells, |v: i16| v.into()),
        T::Int32 => put(array, cells, |v: i32| v.into()),
        T::Int64 => put(array, cells, |v: i64| v as f64),
        T::UInt8 => put(array, cells, |v: u8| v.into()),
        T::UInt16 => put(array, cells, |v: u16| v.into()),
        T::UInt32 => put(array, cells, |v: u32| v.into()),
        T::UInt64 => put(array, cells, |v: u64| v as f64),
        T::Float16 => put(array, cells, |v: pf16| v.into()),
        T::Float32 => put(array, cells, |v: f32| v.into()),
        T::Float64 => put(array, cells, |v: f64| v),
        T::Decimal(_, scale) => {
            let unit = 10_f64.powi(i32::try_from(*scale).ok()?);
            put(array, cells, |v: i128| v as f64 / unit)
        }
        _ => None,
    }
}

fn put<'c, T: NativeType>(
    array: &dyn Array,
    cells: impl Iterator<Item = &'c mut f64>,
    number: impl Fn(T) -> f64,
) -> Option<()> {
    let array = array.as_any().downcast_ref::<PrimitiveArray<T>>()?;
    for (cell, value) in cells.zip(array.iter()) {
        *cell = value.map_or(*cell, |v| number(*v));
    }
    Some(())
}
