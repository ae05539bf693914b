//! Parquet bytes of the store's tables.
//!
//! Text is dictionary-coded in memory already, so its codes go to disk as they are: handing Polars strings and letting
//! its writer find the dictionaries again would cost more than computing the features (`docs/adr/0003`). The bytes
//! are a function of the rows alone. Readers of any kind see plain text columns.

use std::io::Cursor;

use polars::error::{PolarsError, PolarsResult};
use polars::prelude::{DataFrame, PlSmallStr};
use polars_arrow::array::{Array, DictionaryArray, ListArray, PrimitiveArray, Utf8Array};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};
use polars_arrow::offset::Offsets;
use polars_io::prelude::{ParquetReader, SerReader};
use polars_parquet::parquet::error::ParquetError;
use polars_parquet::write::FallibleStreamingIterator;
use polars_parquet::write::{
    CompressionOptions, Compressor, DynIter, DynStreamingIterator, Encoding, FileWriter, StatisticsOptions, Version,
    WriteOptions, array_to_columns, schema_to_metadata_key,
};

use crate::error::{Error, Kind, Result};
use crate::events::batch::Dictionary;

/// Rows of a row group. Fixed, so that the bytes do not depend on how rows arrived.
const ROW_GROUP: usize = 1 << 18;

/// What codes mean. Code 0 is missing and becomes null.
#[derive(Debug, Clone, Copy)]
pub(super) enum Texts<'a> {
    /// Place in a list.
    List(&'a [String]),
    /// Number in a dictionary.
    Dictionary(&'a Dictionary),
    /// Place in a list of words, from 1.
    Words(&'a [&'a str]),
}

impl<'a> Texts<'a> {
    fn get(self, code: u32) -> &'a str {
        match self {
            Self::List(list) => &list[code as usize],
            Self::Dictionary(dictionary) => dictionary.get(code),
            Self::Words(words) => words[code as usize - 1],
        }
    }
}

/// Column values.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// Codes.
    Text(Vec<u32>, Texts<'a>),
    /// Lists of up to three codes, ended by the first 0.
    TextList(Vec<[u32; 3]>, Texts<'a>),
    /// Text that hardly repeats: bytes and where rows end.
    PlainText(&'a [u8], &'a [u64]),
    /// Whole numbers.
    Int(Vec<i64>),
    /// Whole numbers, the smallest of which is null.
    IntOrNull(&'a [i64]),
    /// UTC, ms since the epoch.
    Time(Vec<i64>),
    /// Fractions.
    Float(Vec<f64>),
}

/// A named column.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    pub(super) values: Values<'a>,
}

impl<'a> Column<'a> {
    pub(super) fn new(name: &'a str, values: Values<'a>) -> Self {
        Self { name, values }
    }

    /// The type readers see.
    fn field(&self) -> Field {
        let dtype = match &self.values {
            Values::Text(..) | Values::PlainText(..) => ArrowDataType::LargeUtf8,
            Values::TextList(..) => ListArray::<i64>::default_datatype(ArrowDataType::LargeUtf8),
            Values::Int(_) | Values::IntOrNull(_) => ArrowDataType::Int64,
            Values::Time(_) => time_type(),
            Values::Float(_) => ArrowDataType::Float64,
        };
        Field::new(PlSmallStr::from_str(self.name), dtype, true)
    }

    fn encode(&self, from: usize, to: usize) -> PolarsResult<(Box<dyn Array>, Encoding, CompressionOptions)> {
        Ok(match &self.values {
            Values::Text(codes, texts) => {
                let array = coded(codes[from..to].iter().copied(), *texts)?;
                (array.boxed(), Encoding::RleDictionary, SMALL)
            }
            Values::TextList(rows, texts) => {
                let filled = |row: &[u32; 3]| row.iter().take_while(|c| **c != 0).count();
                let lengths = rows[from..to].iter().map(filled);
                let offsets = Offsets::<i64>::try_from_lengths(lengths)?;
                let codes = rows[from..to].iter().flat_map(|row| row.iter().copied().take_while(|c| *c != 0));
                let array = coded(codes, *texts)?;
                let dtype = ListArray::<i64>::default_datatype(array.dtype().clone());
                let list = ListArray::<i64>::try_new(dtype, offsets.into(), array.boxed(), None)?;
                (list.boxed(), Encoding::RleDictionary, SMALL)
            }
            Values::PlainText(bytes, ends) => {
                let base = ends[from];
                let offsets: Vec<i64> = ends[from..=to].iter().map(|e| (e - base) as i64).collect();
                let bytes = bytes[base as usize..ends[to] as usize].to_vec();
                let missing = ends[from..=to].windows(2).any(|w| w[0] == w[1]);
                let validity: Option<Bitmap> =
                    missing.then(|| ends[from..=to].windows(2).map(|w| w[0] != w[1]).collect());
                let array = Utf8Array::<i64>::try_new(
                    ArrowDataType::LargeUtf8,
                    Offsets::try_from(offsets)?.into(),
                    bytes.into(),
                    validity,
                )?;
                (array.boxed(), Encoding::DeltaLengthByteArray, CompressionOptions::Uncompressed)
            }
            Values::Int(values) => {
                let values = values[from..to].to_vec();
                let encoding = int_encoding(&values);
                (PrimitiveArray::from_vec(values).boxed(), encoding, SMALL)
            }
            Values::IntOrNull(values) => {
                let values = &values[from..to];
                let validity: Bitmap = values.iter().map(|v| *v != i64::MIN).collect();
                let values: Vec<i64> = values.iter().map(|v| if *v == i64::MIN { 0 } else { *v }).collect();
                let encoding = int_encoding(&values);
                (PrimitiveArray::from_vec(values).with_validity(Some(validity)).boxed(), encoding, SMALL)
            }
            Values::Time(values) => {
                let values = PrimitiveArray::new(time_type(), values[from..to].to_vec().into(), None);
                (values.boxed(), Encoding::DeltaBinaryPacked, SMALL)
            }
            Values::Float(values) => {
                (PrimitiveArray::from_vec(values[from..to].to_vec()).boxed(), Encoding::Plain, SMALL)
            }
        })
    }
}

const SMALL: CompressionOptions = CompressionOptions::Lz4Raw;

fn time_type() -> ArrowDataType {
    ArrowDataType::Timestamp(TimeUnit::Millisecond, Some(PlSmallStr::from_static("UTC")))
}

/// A narrow range is dictionary-coded (the writer does so without hashing), a wide one packed as differences.
fn int_encoding(values: &[i64]) -> Encoding {
    let (min, max) = values.iter().fold((i64::MAX, i64::MIN), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
    match max.checked_sub(min) {
        Some(range) if range <= i64::from(u16::MAX) => Encoding::RleDictionary,
        _ => Encoding::DeltaBinaryPacked,
    }
}

/// Codes with a dictionary of the used texts alone, in order of first use; code 0 is null.
fn coded(codes: impl Iterator<Item = u32>, texts: Texts<'_>) -> PolarsResult<DictionaryArray<u32>> {
    let mut place: Vec<u32> = Vec::new();
    let mut used: Vec<u32> = Vec::new();
    let mut any_missing = false;
    let keys: Vec<u32> = codes
        .map(|code| {
            if code == 0 {
                any_missing = true;
                return u32::MAX;
            }
            if code as usize >= place.len() {
                place.resize((code as usize + 1).next_power_of_two(), 0);
            }
            let place = &mut place[code as usize];
            if *place == 0 {
                used.push(code);
                *place = used.len() as u32;
            }
            *place - 1
        })
        .collect();
    let validity: Option<Bitmap> = any_missing.then(|| keys.iter().map(|k| *k != u32::MAX).collect());
    let keys = if any_missing { keys.into_iter().map(|k| if k == u32::MAX { 0 } else { k }).collect() } else { keys };
    // Null rows keep key 0, which must exist.
    let words = if used.is_empty() { vec![""] } else { used.iter().map(|code| texts.get(*code)).collect() };
    let values = Utf8Array::<i64>::from_iter_values(words.into_iter());
    DictionaryArray::try_from_keys(PrimitiveArray::from_vec(keys).with_validity(validity), values.boxed(), false)
}

fn failed(e: PolarsError) -> Error {
    Error::new(Kind::Bug, "cannot encode a table of the store").with_source(e)
}

/// A Parquet file with these columns of equal length.
pub(super) fn encode(columns: &[Column<'_>], rows: usize) -> Result<Vec<u8>> {
    encode_columns(columns, rows).map_err(failed)
}

fn encode_columns(columns: &[Column<'_>], rows: usize) -> PolarsResult<Vec<u8>> {
    let schema: ArrowSchema = columns.iter().map(|c| (PlSmallStr::from_str(c.name), c.field())).collect();
    let options = WriteOptions {
        statistics: StatisticsOptions::empty(),
        version: Version::V1,
        compression: CompressionOptions::Uncompressed,
        data_page_size: None,
    };
    let metadata = vec![schema_to_metadata_key(&schema)];
    let mut writer = FileWriter::try_new(Vec::new(), schema, options)?;
    let types = writer.parquet_schema().fields().to_vec();
    for from in (0..rows).step_by(ROW_GROUP) {
        let to = (from + ROW_GROUP).min(rows);
        let mut chunks = Vec::with_capacity(columns.len());
        for (column, type_) in columns.iter().zip(&types) {
            let (array, encoding, compression) = column.encode(from, to)?;
            for pages in array_to_columns(array, type_.clone(), options, &[encoding])? {
                let pages = pages.map(|page| page.map_err(|e| ParquetError::FeatureNotSupported(e.to_string())));
                let compressor = Compressor::new_from_vec(pages, compression, Vec::new()).map_err(PolarsError::from);
                chunks.push(Ok(DynStreamingIterator::new(compressor)));
            }
        }
        writer.write((to - from) as u64, DynIter::new(chunks.into_iter()))?;
    }
    writer.end(Some(metadata))?;
    Ok(writer.into_inner())
}

/// The frame in a Parquet file whose digest was checked.
pub(super) fn decode(bytes: Vec<u8>) -> Result<DataFrame> {
    ParquetReader::new(Cursor::new(bytes))
        .finish()
        .map_err(|e| Error::new(Kind::Digest, "cannot decode a table of the store").with_source(e))
}
