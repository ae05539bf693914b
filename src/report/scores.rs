//! `scores.parquet` and `run.json` of a table or of sequences: every row of the input in its order, with its keys as they came.
//!
//! As with anomalies, Arrow arrays go straight to Polars' Parquet writer, so that keys of any type come out as they went in.

use std::path::Path;
use std::sync::Arc;

use polars_arrow::array::{Array, PrimitiveArray};
use polars_arrow::datatypes::{ArrowSchema, Field};
use polars_arrow::record_batch::RecordBatchT;
use polars_parquet::write::{FileWriter, get_dtype_encoding, row_group_iter};
use serde::Serialize;

use super::run_folder::{FORMAT_VERSION, Published, SCORES_FILES, SCORES_KINDS, publish_files};
use crate::error::{Error, Kind, Result};
use crate::features::table::Key;
use crate::fusion::combine;
use crate::fusion::table::Scores;

/// Rows of a row group. Fixed, so that the bytes do not depend on how the input was cut.
const ROW_GROUP: usize = 1 << 20;

/// The columns behind those of the members.
const LAST: [&str; 2] = ["p_value", "score"];

/// What a run of a table or of sequences says of itself (`run.json`). No time, path, host or thread count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScoresRun {
    format_version: u32,
    engine_version: &'static str,
    kind: &'static str,
    /// Model name.
    pub model_name: String,
    /// Model version.
    pub model_version: u32,
    /// BLAKE3 of the model's manifest.
    pub model_digest: String,
    /// BLAKE3 over the numbers or tokens that were scored.
    pub input_digest: String,
    /// Rows scored.
    pub rows: u64,
    /// Of a table, the columns that the model learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<u64>,
    /// Of sequences, their tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Of sequences, those of their tokens that the model has not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_tokens: Option<u64>,
}

impl ScoresRun {
    /// A run of a table by this model.
    pub fn of_table(name: &str, version: u32, digest: &str) -> Self {
        Self::new(SCORES_KINDS[0], name, version, digest)
    }

    /// A run of sequences by this model.
    pub fn of_sequences(name: &str, version: u32, digest: &str) -> Self {
        Self::new(SCORES_KINDS[1], name, version, digest)
    }

    fn new(kind: &'static str, name: &str, version: u32, digest: &str) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            engine_version: env!("CARGO_PKG_VERSION"),
            kind,
            model_name: name.to_owned(),
            model_version: version,
            model_digest: digest.to_owned(),
            input_digest: String::new(),
            rows: 0,
            columns: None,
            tokens: None,
            unknown_tokens: None,
        }
    }
}

/// Refuses keys that have the name of a column of the result; `members` are the names of the members.
pub fn check_keys<'a>(keys: &[String], members: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let taken: Vec<&str> = members.into_iter().chain(LAST).collect();
    match keys.iter().find(|key| taken.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let message = format!(
                "expected keys with names of their own, found {key:?}, which is a column of the result; rename it in the \
                 table, or choose another --key"
            );
            Err(Error::new(Kind::Input, message))
        }
    }
}

/// Makes `out` the run folder of a table or of sequences, as [`super::run_folder::publish`] does for nights.
pub fn publish(out: &Path, run: &ScoresRun, keys: &[Key], scores: &Scores) -> Result<Published> {
    let mut json = serde_json::to_vec_pretty(run)
        .map_err(|e| Error::new(Kind::Bug, "the run cannot be described as JSON").with_source(e))?;
    json.push(b'\n');
    publish_files(out, &[(SCORES_FILES[0], json), (SCORES_FILES[1], write(keys, scores)?)])
}

/// `scores.parquet`: keys, members, `p_value`, `score`.
fn write(keys: &[Key], scores: &Scores) -> Result<Vec<u8>> {
    let rows = scores.p.len();
    let mut columns: Vec<(&str, Box<dyn Array>)> =
        keys.iter().map(|key| (key.name.as_str(), key.values.clone())).collect();
    let floats = |values: Vec<f64>| PrimitiveArray::from_vec(values).boxed();
    columns.extend(scores.members.iter().map(|(name, raw)| (*name, floats(raw.clone()))));
    columns.push((LAST[0], floats(scores.p.clone())));
    columns.push((LAST[1], floats(scores.p.iter().map(|p| combine::score(*p)).collect())));
    let fields = columns.iter().map(|(name, array)| Field::new((*name).into(), array.dtype().clone(), true));
    let schema: ArrowSchema = fields.collect();
    let options = super::parquet::options();
    let encodings: Vec<_> = schema.iter_values().map(|field| get_dtype_encoding(&field.dtype)).collect();
    let write = || -> polars::error::PolarsResult<Vec<u8>> {
        let mut writer = FileWriter::try_new(Vec::new(), schema.clone(), options)?;
        for first in (0..rows).step_by(ROW_GROUP) {
            let count = ROW_GROUP.min(rows - first);
            let arrays: Vec<_> = columns.iter().map(|(_, array)| array.sliced(first, count)).collect();
            let batch = RecordBatchT::try_new(count, Arc::new(schema.clone()), arrays)?;
            let parquet_fields = writer.parquet_schema().fields().to_vec();
            writer.write(count as u64, row_group_iter(batch, encodings.clone().into(), parquet_fields, options))?;
        }
        writer.end(None)?;
        Ok(writer.into_inner())
    };
    write().map_err(|e| Error::new(Kind::Bug, "the scores cannot be written as Parquet").with_source(e))
}
