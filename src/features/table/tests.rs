use std::fs;

use polars::prelude::pf16;
use polars_arrow::array::{BooleanArray, NullArray, PrimitiveArray, Utf8Array};
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field};
use polars_arrow::record_batch::RecordBatchT;
use polars_arrow::types::NativeType;
use polars_parquet::write::{
    CompressionOptions, FileWriter, StatisticsOptions, Version, WriteOptions, get_dtype_encoding, row_group_iter,
};

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&n| n.to_owned()).collect()
}

/// A Parquet file with these columns, once per row group.
fn parquet_file(path: &Path, columns: &[(&str, Box<dyn Array>)], groups: usize) {
    let fields = columns.iter().map(|(name, array)| Field::new((*name).into(), array.dtype().clone(), true));
    let schema: ArrowSchema = fields.collect();
    let options = WriteOptions {
        statistics: StatisticsOptions::empty(),
        version: Version::V1,
        compression: CompressionOptions::Snappy,
        data_page_size: None,
    };
    let encodings: Vec<_> = schema.iter_values().map(|field| get_dtype_encoding(&field.dtype)).collect();
    let mut writer = FileWriter::try_new(Vec::new(), schema.clone(), options).unwrap();
    for _ in 0..groups {
        let arrays: Vec<Box<dyn Array>> = columns.iter().map(|(_, array)| array.clone()).collect();
        let rows = arrays[0].len();
        let batch = RecordBatchT::try_new(rows, schema.clone().into(), arrays).unwrap();
        let fields = writer.parquet_schema().fields().to_vec();
        writer.write(rows as u64, row_group_iter(batch, encodings.clone().into(), fields, options)).unwrap();
    }
    writer.end(None).unwrap();
    fs::write(path, writer.into_inner()).unwrap();
}

fn some<T: NativeType>(value: T) -> Box<dyn Array> {
    PrimitiveArray::from(vec![Some(value), None]).boxed()
}

#[test]
fn every_numeric_type_of_parquet_is_read_and_nulls_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.PARQUET");
    let columns: Vec<(&str, Box<dyn Array>)> = vec![
        ("key", Utf8Array::<i64>::from([Some("a"), None]).boxed()),
        ("i8", some(-1_i8)),
        ("i16", some(-2_i16)),
        ("i32", some(-3_i32)),
        ("i64", some(-4_i64)),
        ("u8", some(1_u8)),
        ("u16", some(2_u16)),
        ("u32", some(u32::MAX)),
        ("u64", some(4_u64)),
        ("f16", some(pf16::from(0.5))),
        ("f32", some(0.25_f32)),
        ("f64", some(f64::INFINITY)),
        ("bool", BooleanArray::from([Some(true), None]).boxed()),
        ("decimal", PrimitiveArray::from(vec![Some(-125_i128), None]).to(ArrowDataType::Decimal(10, 2)).boxed()),
    ];
    parquet_file(&path, &columns, 3);
    let keys = names(&["key"]);
    let table = read(&path, Wanted { keys: &keys, excluded: &[], learned: None }, &Limits::default()).unwrap();
    assert_eq!((table.numbers.rows, table.numbers.cols), (6, 13));
    let expected = [-1.0, -2.0, -3.0, -4.0, 1.0, 2.0, f64::from(u32::MAX), 4.0, 0.5, 0.25, f64::INFINITY, 1.0, -1.25];
    for row in 0..6 {
        if row % 2 == 0 {
            assert_eq!(table.numbers.row(row), expected);
        } else {
            assert!(table.numbers.row(row).iter().all(|v| v.is_nan()));
        }
    }
    let texts: Vec<String> = (0..6).map(|row| table.keys[0].text(row)).collect();
    assert_eq!(texts, ["a", "", "a", "", "a", ""]);
    let learned = names(&["f32", "i8"]);
    let excluded = names(&["u8"]);
    let wanted = Wanted { keys: &keys, excluded: &excluded, learned: Some(&learned) };
    let table = read(&path, wanted, &Limits::default()).unwrap();
    assert_eq!(table.numbers.row(4), [0.25, -1.0], "in the order of the model");
    assert_eq!(table.unused.len(), 10);
}

#[test]
fn a_damaged_parquet_file_is_an_input_error_wherever_it_is_cut_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    parquet_file(&path, &[("k", some(1_i64)), ("x", some(1.5))], 2);
    let bytes = fs::read(&path).unwrap();
    let keys = names(&["k"]);
    let wanted = Wanted { keys: &keys, excluded: &[], learned: None };
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert_eq!(read(&path, wanted, &Limits::default()).unwrap_err().kind(), Kind::Input, "cut at {cut}");
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, bytes).unwrap();
        // Some changes give another number; none may end the process.
        let _ = read(&path, wanted, &Limits::default());
    }
}

#[test]
fn a_small_file_of_very_many_rows_is_refused_before_it_fills_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let column = PrimitiveArray::from_vec(vec![1.0; 3 << 20]).boxed();
    parquet_file(&path, &[("k", column.clone()), ("x", column)], 1);
    let keys = names(&["k"]);
    let wanted = Wanted { keys: &keys, excluded: &[], learned: None };
    let strict = Limits { decompression_ratio: 10.0, ..Limits::default() };
    let error = read(&path, wanted, &strict).unwrap_err();
    assert!(error.to_string().contains("limits.decompression-ratio"), "{error}");
}

#[test]
fn the_digest_is_of_names_and_numbers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let digest = |name: &str, text: &str, keys: &[&str]| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let keys = names(keys);
        read(&path, Wanted { keys: &keys, excluded: &[], learned: None }, &Limits::default()).unwrap().digest()
    };
    let one = digest("a.csv", "k,x,y\na,1,NA\n", &["k"]);
    assert_eq!(one, digest("b.csv", "\u{feff}x,k,y\r\n1.0,b,\r\n", &["k"]));
    assert_ne!(one, digest("c.csv", "k,x,z\na,1,NA\n", &["k"]));
    assert_ne!(one, digest("d.csv", "k,x,y\na,1,2\n", &["k"]));
    assert_ne!(one, digest("e.csv", "k,xy\na,1\n", &["k"]));
}

#[test]
fn a_column_of_nothing_is_a_column_of_missing_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    parquet_file(&path, &[("k", some(1_i64)), ("x", NullArray::new(ArrowDataType::Null, 2).boxed())], 1);
    let keys = names(&["k"]);
    let table = read(&path, Wanted { keys: &keys, excluded: &[], learned: None }, &Limits::default()).unwrap();
    assert!(table.numbers.values.iter().all(|v| v.is_nan()));
}

#[test]
fn long_lists_of_names_are_cut() {
    let many: Vec<String> = (0..25).map(|i| format!("c{i}")).collect();
    assert!(listed(&many).ends_with("\"c19\" and 5 more"));
    assert_eq!(listed(&many[..2]), "\"c0\", \"c1\"");
    assert_eq!(listed::<&str>(&[]), "no column");
}
