//! Files: a day's rows as CSV, gzip or Parquet, and the output folder, which appears whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::rows::{Cast, Event, RowWriter, write_header};
use super::truth::MADE_BY;
use crate::error::{Error, Kind, Result};

/// How event files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum Format {
    /// `.csv`
    #[default]
    #[serde(rename = "csv")]
    Csv,
    /// `.csv.gz`
    #[serde(rename = "csv.gz")]
    CsvGz,
    /// `.parquet`, all columns text
    #[serde(rename = "parquet")]
    Parquet,
}

impl Format {
    /// The end of the file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::CsvGz => "csv.gz",
            Self::Parquet => "parquet",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Csv, Self::CsvGz, Self::Parquet].into_iter().find(|f| f.extension() == text).ok_or_else(|| {
            Error::new(Kind::Usage, format!("expected the format csv, csv.gz or parquet, found {text:?}"))
        })
    }
}

/// Writes events to `folder/stem.extension`.
pub(super) fn write_events(folder: &Path, stem: &str, format: Format, cast: &Cast, events: &[Event]) -> Result<()> {
    let path = folder.join(format!("{stem}.{}", format.extension()));
    match format {
        Format::Csv => write_file(&path, &csv(cast, events)),
        Format::CsvGz => write_file(&path, &gzip(&csv(cast, events))),
        Format::Parquet => parquet(&path, cast, events),
    }
}

fn csv(cast: &Cast, events: &[Event]) -> Vec<u8> {
    let mut out = Vec::with_capacity(400 + events.len() * 340);
    write_header(&mut out);
    let mut writer = RowWriter::new(cast);
    for event in events {
        writer.row(&mut out, event);
    }
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // The fastest level: logs compress twentyfold anyway.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

#[cfg(feature = "frame")]
fn parquet(path: &Path, cast: &Cast, events: &[Event]) -> Result<()> {
    use polars::prelude::{Column, DataFrame, IntoSeries as _, PlSmallStr, StringChunkedBuilder};

    let mut writer = RowWriter::new(cast);
    let mut scratch = Vec::new();
    let mut columns = Vec::with_capacity(super::rows::HEADER.len());
    for (name, column) in super::rows::HEADER {
        let mut builder = StringChunkedBuilder::new(PlSmallStr::from_static(name), events.len());
        for event in events {
            scratch.clear();
            writer.field(&mut scratch, event, column);
            builder.append_value(String::from_utf8_lossy(&scratch));
        }
        columns.push(Column::from(builder.finish().into_series()));
    }
    let failed = |e: polars::prelude::PolarsError| {
        Error::new(Kind::Resource, format!("cannot write {}", path.display())).with_source(e)
    };
    let mut frame = DataFrame::new(events.len(), columns).map_err(failed)?;
    let file = File::create(path).map_err(|e| Error::io(Kind::Usage, "create", path, e))?;
    polars_io::parquet::write::ParquetWriter::new(file).finish(&mut frame).map_err(failed)?;
    Ok(())
}

#[cfg(not(feature = "frame"))]
fn parquet(path: &Path, _: &Cast, _: &[Event]) -> Result<()> {
    Err(Error::new(Kind::Usage, format!("cannot write {}: this build has no Parquet support, use csv", path.display())))
}

/// Writes a whole file.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(|e| Error::io(Kind::Usage, "create", path, e))?;
    file.write_all(bytes).map_err(|e| Error::io(Kind::Usage, "write", path, e))
}

/// The output folder while it is being made: a hidden sibling that takes the final name when it is complete.
#[derive(Debug)]
pub(super) struct Staging {
    temp: TempDir,
    out: PathBuf,
}

impl Staging {
    /// Refuses an `out` that holds anything but an earlier simulation.
    pub(super) fn new(out: &Path) -> Result<Self> {
        let busy = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
        if out.exists() && !out.is_dir() || busy && !is_simulation(out) {
            let message = format!(
                "{} is not empty and no earlier simulation; choose another folder for --out, or empty it",
                out.display()
            );
            return Err(Error::new(Kind::Usage, message));
        }
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(|e| Error::io(Kind::Usage, "create", parent, e))?;
        let temp = tempfile::Builder::new()
            .prefix(".simulate-")
            .tempdir_in(parent)
            .map_err(|e| Error::io(Kind::Usage, "create a folder in", parent, e))?;
        let staging = Self { temp, out: out.to_owned() };
        let events = staging.events();
        fs::create_dir(&events).map_err(|e| Error::io(Kind::Usage, "create", &events, e))?;
        Ok(staging)
    }

    pub(super) fn path(&self) -> &Path {
        self.temp.path()
    }

    pub(super) fn events(&self) -> PathBuf {
        self.temp.path().join("events")
    }

    /// Gives the folder its name; an earlier simulation is swapped out in one step and then removed.
    pub(super) fn publish(self) -> Result<()> {
        let Self { temp, out } = self;
        // Temporary folders are private; a simulation is an ordinary folder.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(temp.path(), open).map_err(|e| Error::io(Kind::Usage, "open up", temp.path(), e))?;
        }
        if out.exists() && !exchange(temp.path(), &out) {
            fs::remove_dir_all(&out).map_err(|e| Error::io(Kind::Usage, "replace", &out, e))?;
        }
        if out.exists() {
            return temp.close().map_err(|e| Error::io(Kind::Usage, "remove the former", &out, e));
        }
        let from = temp.keep();
        fs::rename(&from, &out).map_err(|e| Error::io(Kind::Usage, "rename the result to", &out, e))
    }
}

#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

fn is_simulation(out: &Path) -> bool {
    let Ok(text) = fs::read(out.join("truth.json")) else { return false };
    serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|truth| truth["made_by"] == MADE_BY)
}
