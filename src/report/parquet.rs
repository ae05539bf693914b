//! `anomalies.parquet`: one row group, declared column types, equal bytes for equal rows.
//!
//! Arrow arrays go straight to Polars' Parquet writer: a data frame would need `dtype-struct` for the evidence column.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use polars_arrow::array::{Array, BooleanArray, ListArray, PrimitiveArray, StructArray, Utf8Array, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};
use polars_arrow::offset::Offsets;
use polars_arrow::record_batch::RecordBatchT;
use polars_arrow::types::NativeType;
use polars_parquet::read::{BasicDecompressor, PageReader, column_iter_to_arrays, infer_schema, read_metadata};
use polars_parquet::write::{
    CompressionOptions, FileWriter, StatisticsOptions, Version, WriteOptions, get_dtype_encoding, row_group_iter,
};
use serde_json::{Map, Number, Value};

use super::COLUMNS;
use crate::anomaly::{Anomaly, Evidence};
use crate::date::{Date, format_ms};
use crate::error::{Error, Kind, Result};

type Column = Box<dyn Array>;

/// How every Parquet file of a run is written.
pub(super) fn options() -> WriteOptions {
    WriteOptions {
        statistics: StatisticsOptions::default(),
        version: Version::V1,
        compression: CompressionOptions::Zstd(None),
        data_page_size: None,
    }
}

/// The rows as a Parquet file (zstd, column statistics). Zero rows give a file with the same schema and no row group.
pub fn write(anomalies: &[Anomaly]) -> Result<Vec<u8>> {
    let columns = columns(anomalies);
    let fields = columns.iter().map(|(name, array)| Field::new((*name).into(), array.dtype().clone(), true));
    let schema: ArrowSchema = fields.collect();
    let options = options();
    let encodings: Vec<_> = schema.iter_values().map(|field| get_dtype_encoding(&field.dtype)).collect();
    let write = || -> polars::error::PolarsResult<Vec<u8>> {
        let mut writer = FileWriter::try_new(Vec::new(), schema.clone(), options)?;
        if !anomalies.is_empty() {
            let arrays: Vec<Column> = columns.into_iter().map(|(_, array)| array).collect();
            let batch = RecordBatchT::try_new(anomalies.len(), Arc::new(schema.clone()), arrays)?;
            let parquet_fields = writer.parquet_schema().fields().to_vec();
            writer.write(anomalies.len() as u64, row_group_iter(batch, encodings.into(), parquet_fields, options))?;
        }
        writer.end(None)?;
        Ok(writer.into_inner())
    };
    write().map_err(|e| Error::new(Kind::Bug, "the anomalies cannot be written as Parquet").with_source(e))
}

/// Every column with its name, in contract order.
fn columns(rows: &[Anomaly]) -> Vec<(&'static str, Column)> {
    let arrays = vec![
        numbers(rows, |a| a.date.0).to(ArrowDataType::Date32).boxed(),
        numbers(rows, |a| a.rank).boxed(),
        BooleanArray::from_slice(rows.iter().map(|a| a.reported).collect::<Vec<_>>()).boxed(),
        text(rows, |a| &a.subject_id),
        texts(rows, |a| &a.user_ids),
        text(rows, |a| &a.anomaly_key),
        numbers(rows, |a| a.score).boxed(),
        text(rows, |a| a.severity.name()),
        numbers(rows, |a| a.p_value).boxed(),
        numbers(rows, |a| a.q_value).boxed(),
        text(rows, |a| a.status.name()),
        text(rows, |a| a.category.name()),
        text(rows, |a| a.subject_type.name()),
        text(rows, |a| &a.org_id),
        optional_text(rows, |a| a.user_id.as_deref()),
        optional_text(rows, |a| a.user_name.as_deref()),
        optional_text(rows, |a| a.app_id.as_deref()),
        optional_text(rows, |a| a.app_name.as_deref()),
        texts(rows, |a| &a.source_ips),
        texts(rows, |a| &a.countries),
        numbers(rows, |a| a.window_start).to(utc_ms()).boxed(),
        numbers(rows, |a| a.window_end).to(utc_ms()).boxed(),
        text(rows, |a| &a.title),
        text(rows, |a| &a.story),
        numbers(rows, |a| a.event_count).boxed(),
        numbers(rows, |a| a.error_count).boxed(),
        evidence(rows),
        texts(rows, |a| &a.request_ids),
        text(rows, |a| &a.model_name),
        numbers(rows, |a| a.model_version).boxed(),
        text(rows, |a| &a.model_digest),
        text(rows, |a| &a.engine_version),
    ];
    COLUMNS.into_iter().zip(arrays).collect()
}

fn utc_ms() -> ArrowDataType {
    ArrowDataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn numbers<R, T: NativeType>(rows: &[R], value: impl Fn(&R) -> T) -> PrimitiveArray<T> {
    PrimitiveArray::from_vec(rows.iter().map(value).collect())
}

fn text<R>(rows: &[R], value: impl Fn(&R) -> &str) -> Column {
    Utf8Array::<i64>::from_iter_values(rows.iter().map(value)).boxed()
}

fn optional_text<R>(rows: &[R], value: impl Fn(&R) -> Option<&str>) -> Column {
    rows.iter().map(value).collect::<Utf8Array<i64>>().boxed()
}

fn texts(rows: &[Anomaly], value: impl Fn(&Anomaly) -> &Vec<String>) -> Column {
    let all: Vec<&String> = rows.iter().flat_map(&value).collect();
    list(text(&all, |s| s.as_str()), rows.iter().map(|row| value(row).len()))
}

fn evidence(rows: &[Anomaly]) -> Column {
    let all: Vec<&Evidence> = rows.iter().flat_map(|a| &a.evidence).collect();
    let arrays = [
        ("family", text(&all, |e| e.family.name())),
        ("detector", text(&all, |e| &e.detector)),
        ("feature", text(&all, |e| &e.feature)),
        ("observed", text(&all, |e| &e.observed)),
        ("expected", text(&all, |e| &e.expected)),
        ("low", numbers(&all, |e| e.low).boxed()),
        ("high", numbers(&all, |e| e.high).boxed()),
        ("p_value", numbers(&all, |e| e.p_value).boxed()),
        ("contribution", numbers(&all, |e| e.contribution).boxed()),
        ("sentence", text(&all, |e| &e.sentence)),
    ];
    let (fields, arrays) =
        arrays.into_iter().map(|(name, array)| (Field::new(name.into(), array.dtype().clone(), true), array)).unzip();
    let structs = StructArray::new(ArrowDataType::Struct(fields), all.len(), arrays, None);
    list(structs.boxed(), rows.iter().map(|a| a.evidence.len()))
}

/// A list column of consecutive runs of `values`.
fn list(values: Column, lengths: impl Iterator<Item = usize>) -> Column {
    let offsets = Offsets::<i64>::try_from_lengths(lengths).expect("lengths of vectors in memory fit 64 bits");
    let dtype = ListArray::<i64>::default_datatype(values.dtype().clone());
    ListArray::new(dtype, offsets.into(), values, None).boxed()
}

/// The rows of a Parquet file with these columns; `name` stands in errors. Unknown columns are ignored.
pub fn read(bytes: &[u8], name: &str) -> Result<Vec<Anomaly>> {
    let unreadable =
        || Error::new(Kind::Input, format!("{name}: expected a Parquet file, found a damaged or other file"));
    // The decoder is written for files that Polars' planner has seen; a damaged page can panic in it.
    let rows = catch_unwind(AssertUnwindSafe(|| read_rows(bytes)))
        .map_err(|_| unreadable())?
        .map_err(|e| unreadable().with_source(e))?;
    rows.into_iter()
        .enumerate()
        .map(|(i, row)| {
            if let Some(missing) = COLUMNS.iter().find(|c| !row.contains_key(**c)) {
                let message = format!(
                    "{name}: column `{missing}` is missing or of an unexpected type; is this an anomalies file?"
                );
                return Err(Error::new(Kind::Input, message));
            }
            serde_json::from_value(Value::Object(row)).map_err(|_| {
                Error::new(Kind::Input, format!("{name} row {}: a column does not hold what it should", i + 1))
            })
        })
        .collect()
}

/// Each row as the JSON object that the JSON Lines file would hold, so that one deserialiser serves all three formats.
fn read_rows(bytes: &[u8]) -> polars::error::PolarsResult<Vec<Map<String, Value>>> {
    let metadata = read_metadata(&mut Cursor::new(bytes))?;
    let schema = infer_schema(&metadata)?;
    let mut rows = Vec::with_capacity(metadata.num_rows);
    for group in &metadata.row_groups {
        let first = rows.len();
        rows.resize_with(first + group.num_rows(), Map::new);
        for field in schema.iter_values().filter(|f| COLUMNS.contains(&f.name.as_str())) {
            let (mut pages, mut types) = (Vec::new(), Vec::new());
            for chunk in group.columns_under_root_iter(&field.name).into_iter().flatten() {
                let range = chunk.byte_range();
                let bytes = bytes.get(range.start as usize..range.end as usize).unwrap_or_default().to_vec();
                let reader = PageReader::new(Cursor::new(bytes.into()), chunk, Vec::new(), usize::MAX);
                pages.push(BasicDecompressor::new(reader, Vec::new()));
                types.push(&chunk.descriptor().descriptor.primitive_type);
            }
            let (arrays, _) = column_iter_to_arrays(pages, types, field.clone(), None)?;
            let values = arrays.iter().flat_map(|array| (0..array.len()).map(|i| json(array.as_ref(), i)));
            for (row, value) in rows[first..].iter_mut().zip(values) {
                if let Some(value) = value {
                    row.insert(field.name.to_string(), value);
                }
            }
        }
    }
    Ok(rows)
}

fn at<T: NativeType>(array: &dyn Array, i: usize) -> Option<T> {
    Some(array.as_any().downcast_ref::<PrimitiveArray<T>>()?.value(i))
}

/// One value as JSON; `None` for a type that no column has.
fn json(array: &dyn Array, i: usize) -> Option<Value> {
    if array.is_null(i) {
        return Some(Value::Null);
    }
    let any = array.as_any();
    Some(match array.dtype() {
        ArrowDataType::Boolean => any.downcast_ref::<BooleanArray>()?.value(i).into(),
        ArrowDataType::LargeUtf8 => any.downcast_ref::<Utf8Array<i64>>()?.value(i).into(),
        ArrowDataType::Utf8View => any.downcast_ref::<Utf8ViewArray>()?.value(i).into(),
        ArrowDataType::UInt32 => at::<u32>(array, i)?.into(),
        ArrowDataType::UInt64 => at::<u64>(array, i)?.into(),
        ArrowDataType::Int32 => at::<i32>(array, i)?.into(),
        ArrowDataType::Int64 => at::<i64>(array, i)?.into(),
        ArrowDataType::Float64 => Number::from_f64(at::<f64>(array, i)?)?.into(),
        ArrowDataType::Date32 => Date(at::<i32>(array, i)?).to_string().into(),
        // Other tools like to rewrite times in their own unit.
        ArrowDataType::Timestamp(unit, _) => {
            let time = at::<i64>(array, i)?;
            let ms = match unit {
                TimeUnit::Second => time.checked_mul(1000)?,
                TimeUnit::Millisecond => time,
                TimeUnit::Microsecond => time.div_euclid(1000),
                TimeUnit::Nanosecond => time.div_euclid(1_000_000),
            };
            format_ms(ms).into()
        }
        ArrowDataType::LargeList(_) => {
            let items = any.downcast_ref::<ListArray<i64>>()?.value(i);
            (0..items.len()).map(|j| json(items.as_ref(), j)).collect::<Option<Vec<_>>>()?.into()
        }
        ArrowDataType::Struct(fields) => {
            let arrays = any.downcast_ref::<StructArray>()?.values();
            let members = fields.iter().zip(arrays);
            members
                .map(|(field, array)| Some((field.name.to_string(), json(array.as_ref(), i)?)))
                .collect::<Option<Map<_, _>>>()?
                .into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn rows_survive_with_their_types() {
        let rows = [sample::anomaly(1), sample::hostile(2), sample::anomaly(3)];
        let bytes = write(&rows).unwrap();
        assert_eq!(read(&bytes, "x").unwrap(), rows);
    }

    #[test]
    fn equal_rows_give_equal_bytes() {
        let rows: Vec<_> = (1..200).map(sample::anomaly).collect();
        assert_eq!(write(&rows).unwrap(), write(&rows).unwrap());
    }

    #[test]
    fn zero_rows_keep_the_schema() {
        let schema = |rows: &[Anomaly]| {
            let bytes = write(rows).unwrap();
            infer_schema(&read_metadata(&mut Cursor::new(bytes)).unwrap()).unwrap()
        };
        assert_eq!(read(&write(&[]).unwrap(), "x").unwrap(), []);
        assert_eq!(schema(&[]), schema(&[sample::anomaly(1)]));
        assert_eq!(schema(&[]).iter_names().map(ToString::to_string).collect::<Vec<_>>(), COLUMNS);
    }

    #[test]
    fn a_damaged_file_is_an_input_error_at_every_cut() {
        let bytes = write(&[sample::anomaly(1)]).unwrap();
        for cut in (0..bytes.len()).step_by(97) {
            assert_eq!(read(&bytes[..cut], "x").unwrap_err().kind(), Kind::Input, "cut at {cut}");
        }
        assert_eq!(read(b"not parquet at all", "x").unwrap_err().kind(), Kind::Input);
    }
}
