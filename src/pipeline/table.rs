//! A table instead of nights: the geometry family alone learns its rows, and says how odd each row of another one is.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::config::settings::ForestBackend;
use crate::detectors::geometry::backend::MAX_WIDTH;
use crate::detectors::geometry::matrix::{Matrix, Scaler};
use crate::detectors::geometry::members::NamedArray;
use crate::error::{Error, Kind, Result};
use crate::fusion::table::{Family, Scores};
use crate::models::Golden;
use crate::pipeline::golden;
use crate::seed::Seed;

/// What is learned from a table.
#[derive(Debug)]
pub struct TrainedTable {
    /// The arrays of the model.
    pub arrays: Vec<NamedArray>,
    /// Columns, by their place, that do not vary and are not looked at.
    pub dropped: Vec<usize>,
    /// Rows with their p-values, for readers to reproduce.
    pub golden: Vec<Golden>,
}

/// Learns the rows of a table. [`Kind::NoData`] if there is not enough to learn from.
pub fn train_table(numbers: &Matrix, settings: &Settings, seed: u64) -> Result<TrainedTable> {
    if numbers.rows == 0 || numbers.cols == 0 {
        let what = if numbers.rows == 0 { "rows" } else { "numeric columns that are neither key nor excluded" };
        return Err(Error::new(Kind::NoData, format!("expected {what} to learn from, found none in the table")));
    }
    let crate_forest = settings.geometry.backend == ForestBackend::ExtendedIsolationForest;
    if crate_forest && numbers.cols > MAX_WIDTH {
        let message = format!(
            "geometry.backend = \"extended-isolation-forest\" takes at most {MAX_WIDTH} columns, found {}; use \"quietwatch\"",
            numbers.cols
        );
        return Err(Error::new(Kind::Config, message));
    }
    // What does not vary is no part of the model, so that a later table need not have it.
    let kept = Scaler::fit(numbers).kept;
    let dropped: Vec<usize> = (0..numbers.cols).filter(|c| !kept.contains(c)).collect();
    let narrowed = (!kept.is_empty() && !dropped.is_empty()).then(|| numbers.columns(&kept));
    let family = Family::fit(narrowed.as_ref().unwrap_or(numbers), &settings.geometry, Seed(seed)).map_err(|why| {
        let (rows, cols) = (numbers.rows, numbers.cols);
        Error::new(Kind::NoData, format!("cannot learn from a table of {rows} rows and {cols} columns: {why}"))
    })?;
    let arrays = family.to_arrays();
    let named = arrays.iter().map(|(name, shape, values)| (name.as_str(), (shape.as_slice(), values.as_slice())));
    let golden = golden::of_table(&named.collect(), narrowed.as_ref().unwrap_or(numbers))?;
    Ok(TrainedTable { arrays, dropped, golden })
}

/// Scores the rows of a table with the arrays of a model: name, shape, values. [`Kind::Model`] if these make no sense.
pub fn score_table(arrays: &BTreeMap<&str, (&[usize], &[f64])>, numbers: &Matrix) -> Result<Scores> {
    let family = Family::from_arrays(arrays)
        .map_err(|why| Error::new(Kind::Model, format!("the model cannot be used: {why}; train a new version")))?;
    if family.cols() != numbers.cols {
        let message = format!(
            "the model cannot be used: it learned {} columns and names {}; train a new version",
            family.cols(),
            numbers.cols
        );
        return Err(Error::new(Kind::Model, message));
    }
    let scores = family.score(numbers);
    let sound = scores.p.len() == numbers.rows
        && scores.p.iter().all(|p| (0.0..=1.0).contains(p))
        && scores.members.iter().all(|(_, raw)| raw.len() == numbers.rows && raw.iter().all(|x| x.is_finite()));
    if sound {
        Ok(scores)
    } else {
        Err(Error::new(Kind::Bug, "a row of the table has no score or one out of its range"))
    }
}
