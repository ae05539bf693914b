//! Any numeric feature table, from Parquet or CSV: its key columns as they are, its numbers as one matrix.
//!
//! Which columns are numbers is decided when a model learns; when it scores, its columns are taken by name and in its
//! order. A missing value is NaN. Nothing here depends on where a file lies or how it is compressed.

use std::collections::HashMap;
use std::path::Path;

use polars_arrow::array::Array;

use crate::config::settings::Limits;
use crate::detectors::geometry::matrix::Matrix;
use crate::error::{Error, Kind, Result};

mod csv;
mod key;
pub(crate) use key::can_be_key;
mod parquet;
#[cfg(test)]
mod tests;

/// What is wanted of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Columns that say what a row is about.
    pub keys: &'a [String],
    /// Columns to pass over.
    pub excluded: &'a [String],
    /// The columns that a model learned, in its order; none while it learns: then all that are left are numbers.
    pub learned: Option<&'a [String]>,
}

/// A column that says what a row is about, in its own type.
#[derive(Debug, Clone)]
pub struct Key {
    /// Name of the column.
    pub name: String,
    /// A value per row.
    pub values: Box<dyn Array>,
}

/// A table that was read.
#[derive(Debug)]
pub struct Table {
    /// The key columns, in the order asked for.
    pub keys: Vec<Key>,
    /// Names of the numeric columns.
    pub columns: Vec<String>,
    /// Their values, in the order of the rows of the file.
    pub numbers: Matrix,
    /// Columns of the file that nobody asked for.
    pub unused: Vec<String>,
}

/// How a file is read, by its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parquet,
    Csv,
}

fn format(path: &Path) -> Result<Format> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    if ends(&[".parquet"]) {
        Ok(Format::Parquet)
    } else if ends(&[".csv", ".csv.gz", ".csv.zst"]) {
        Ok(Format::Csv)
    } else {
        let message =
            format!("{}: expected a .parquet, .csv, .csv.gz or .csv.zst file, found another ending", path.display());
        Err(Error::new(Kind::Input, message))
    }
}

/// The names of the columns of a file, in their order.
pub fn columns(path: &Path, limits: &Limits) -> Result<Vec<String>> {
    match format(path)? {
        Format::Parquet => parquet::columns(path),
        Format::Csv => csv::columns(path, limits),
    }
}

/// A column of lists, in parts; `None` if the column is none, as in CSV.
pub fn lists(path: &Path, column: &str, limits: &Limits) -> Result<Option<Vec<Box<dyn Array>>>> {
    match format(path)? {
        Format::Parquet => parquet::lists(path, column, limits),
        Format::Csv => Ok(None),
    }
}

/// Reads a table. Errors: [`Kind::Features`] if columns that a model learned are missing, else [`Kind::Input`].
pub fn read(path: &Path, wanted: Wanted<'_>, limits: &Limits) -> Result<Table> {
    match format(path)? {
        Format::Parquet => parquet::read(path, wanted, limits),
        Format::Csv => csv::read(path, wanted, limits),
    }
}

/// Digest of what a model learns from: the names of the columns, in order.
pub fn schema(columns: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    add_names(&mut hasher, columns);
    hasher.finalize().to_hex().to_string()
}

impl Table {
    /// Digest of the numbers and the names of their columns. Keys are no part of it: nothing is learned from them.
    pub fn digest(&self) -> String {
        const CHUNK: usize = 8 << 10;
        let mut hasher = blake3::Hasher::new();
        add_names(&mut hasher, &self.columns);
        hasher.update(&(self.numbers.rows as u64).to_le_bytes());
        let mut bytes = Vec::with_capacity(CHUNK * size_of::<f64>());
        for chunk in self.numbers.values.chunks(CHUNK) {
            bytes.clear();
            // There are many NaN and they all mean missing.
            let bits = |v: &f64| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() };
            bytes.extend(chunk.iter().flat_map(|v| bits(v).to_le_bytes()));
            hasher.update(&bytes);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Lengths first, so that no two lists of names read the same.
fn add_names(hasher: &mut blake3::Hasher, names: &[String]) {
    hasher.update(&(names.len() as u64).to_le_bytes());
    for name in names {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
    }
}

/// Where in the file the wanted columns are.
#[derive(Debug)]
struct Layout {
    keys: Vec<usize>,
    numbers: Vec<usize>,
    unused: Vec<String>,
}

impl Layout {
    /// Finds the wanted columns among those of the file.
    fn find(path: &Path, names: &[String], wanted: Wanted<'_>) -> Result<Self> {
        let mut places = HashMap::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            if places.insert(name.as_str(), place).is_some() {
                let message = format!(
                    "{}: expected each column name once, found {name:?} twice (line 1 of a CSV); rename one",
                    path.display()
                );
                return Err(Error::new(Kind::Input, message));
            }
        }
        for (flag, asked) in [("--key", wanted.keys), ("--exclude", wanted.excluded)] {
            let missing: Vec<&str> =
                asked.iter().map(String::as_str).filter(|name| !places.contains_key(name)).collect();
            if !missing.is_empty() {
                let message = format!(
                    "{}: expected the column {} of {flag}, found {}",
                    path.display(),
                    listed(&missing),
                    listed(names)
                );
                return Err(Error::new(Kind::Input, message));
            }
        }
        let keys = wanted.keys.iter().map(|name| places[name.as_str()]).collect();
        let spoken_for = |name: &String| wanted.keys.contains(name) || wanted.excluded.contains(name);
        let Some(learned) = wanted.learned else {
            let numbers = (0..names.len()).filter(|&i| !spoken_for(&names[i])).collect();
            return Ok(Self { keys, numbers, unused: Vec::new() });
        };
        let missing: Vec<&str> = learned.iter().map(String::as_str).filter(|name| !places.contains_key(name)).collect();
        if !missing.is_empty() {
            let message = format!(
                "{}: expected the {} columns that the model learned, but {} of them are missing: {}; add them, or train \
                 a new version",
                path.display(),
                learned.len(),
                missing.len(),
                listed(&missing)
            );
            return Err(Error::new(Kind::Features, message));
        }
        let numbers: Vec<usize> = learned.iter().map(|name| places[name.as_str()]).collect();
        let known: std::collections::HashSet<&str> = learned.iter().map(String::as_str).collect();
        let unused = names.iter().filter(|n| !spoken_for(n) && !known.contains(n.as_str())).cloned().collect();
        Ok(Self { keys, numbers, unused })
    }
}

/// Columns that stand in the way of learning, each with what was found in it.
fn not_numeric(path: &Path, columns: &[String]) -> Error {
    let message = format!(
        "{}: expected numbers in every column that is no key, found something else in {}; name such columns with --key or \
         --exclude",
        path.display(),
        joined(columns)
    );
    Error::new(Kind::Input, message)
}

/// Room for the numbers of a table, all missing yet.
fn room(path: &Path, cells: usize) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    values.try_reserve_exact(cells).map_err(|e| {
        let message = format!("{}: not enough memory for its {cells} numbers; take fewer rows", path.display());
        Error::new(Kind::Resource, message).with_source(e)
    })?;
    values.resize(cells, f64::NAN);
    Ok(values)
}

/// Most names that a message lists.
const SHOWN: usize = 20;

/// Names in quotes, the first ones of many.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().take(SHOWN + 1).map(|name| format!("{:?}", name.as_ref())).collect();
    if names.is_empty() { "no column".to_owned() } else { joined_of(&quoted, names.len()) }
}

fn joined(parts: &[String]) -> String {
    joined_of(parts, parts.len())
}

fn joined_of(parts: &[String], of: usize) -> String {
    let shown = parts[..parts.len().min(SHOWN)].join(", ");
    if of > SHOWN { format!("{shown} and {} more", of - SHOWN) } else { shown }
}
