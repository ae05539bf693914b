//! Reading one event file: bytes in, batches of canonical events out, bad rows aside.
//!
//! One thread reads, digests and cuts the stream into blocks of whole records; others parse blocks; the caller gets
//! the batches in file order. Where a block ends depends on the file alone, so that the result is the same for any
//! number of threads. Memory is bounded by the number of block buffers in circulation.

use std::path::Path;

use super::batch::Events;
use super::decompress::Input;
use super::document::Document;
use super::format::{BOM, Format, HEAD_BYTES, bind, header, sniff};
use super::parallel::{Collector, run};
use super::profile::Profile;
use super::quarantine::QuarantineRow;
use super::source::SourceFile;
use super::split::{Block, Shape, Splitter, too_long};
use super::{csv, json};
use crate::config::settings::Limits;
use crate::error::{Error, Kind, Result};

/// What was read from one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// Events kept.
    pub rows: u64,
    /// Rows set aside.
    pub quarantined: u64,
    /// Blank lines.
    pub blank: u64,
    /// BLAKE3 of the decompressed bytes (Parquet: of the file), lower-case hex.
    pub digest: String,
    /// Decompressed bytes.
    pub bytes: u64,
    /// Source columns that nothing is bound to and that are not known to be unused, sorted; at most 64.
    pub unknown_columns: Vec<String>,
    /// Canonical columns that the profile maps and the file does not have, sorted.
    pub missing_columns: Vec<String>,
    /// Rows whose two times differ (Salesforce: `TIMESTAMP_DERIVED` is trusted).
    pub timestamp_disagreements: u64,
    /// Status codes and numbers that could not be read and count as missing.
    pub unreadable_values: u64,
    /// The file ends within its last row, or before its JSON document does.
    pub truncated_tail: bool,
}

/// Block size and number of parsing threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) block_bytes: usize,
    pub(super) threads: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        // 16 MiB keeps dictionaries worthwhile and a handful of blocks within 250 MB.
        Self { block_bytes: 16 << 20, threads: rayon::current_num_threads() }
    }
}

/// Reads one file. `sink` gets batches of about 16 MiB of input in file order, with dictionaries of their own (a
/// dictionary may hold texts that no row of the batch uses); `quarantine` gets the bad rows in file order.
///
/// [`Kind::Input`] if the file cannot be read, is no event file of the profile, or exceeds one of `limits`; the
/// message names the limit's key. Batches handed out before the error must then be thrown away. Errors of `sink` are
/// passed on.
pub fn read(
    source: &SourceFile,
    profile: &Profile,
    limits: &Limits,
    quarantine: &mut dyn FnMut(QuarantineRow),
    sink: &mut dyn FnMut(Events) -> Result<()>,
) -> Result<ReadStats> {
    read_map(source, profile, limits, quarantine, &Ok, sink)
}

/// As [`read`], with `map` applied to each batch in parallel before `sink` gets the results in file order.
pub fn read_map<T: Send>(
    source: &SourceFile,
    profile: &Profile,
    limits: &Limits,
    quarantine: &mut dyn FnMut(QuarantineRow),
    map: &(dyn Fn(Events) -> Result<T> + Sync),
    sink: &mut dyn FnMut(T) -> Result<()>,
) -> Result<ReadStats> {
    let mut collector = Collector::new(&source.path, limits, quarantine, sink);
    read_tuned(&source.path, profile, limits, Tuning::default(), map, &mut collector)?;
    collector.finish()
}

pub(super) fn read_tuned<T: Send>(
    path: &Path,
    profile: &Profile,
    limits: &Limits,
    tuning: Tuning,
    map: &(dyn Fn(Events) -> Result<T> + Sync),
    collector: &mut Collector<'_, T>,
) -> Result<()> {
    let mut input = Input::open(path, limits)?;
    let mut head = vec![0; HEAD_BYTES];
    let filled = input.fill(&mut head)?;
    head.truncate(filled);
    let line_bytes = usize::try_from(limits.line_bytes).unwrap_or(usize::MAX).min(1 << 30);
    let format = sniff(path, &head, input.is_compressed())?;
    if head.starts_with(BOM) {
        head.drain(..BOM.len());
    }
    let splitter = |input, shape, carry| Splitter::new(input, shape, carry, tuning.block_bytes, line_bytes);
    match format {
        Format::Parquet => parquet(path, input, profile, limits, tuning, map, collector),
        Format::Csv => {
            let Some(header) = header(&mut input, &mut head, line_bytes)? else {
                (collector.stats.digest, collector.stats.bytes) = input.digest();
                return Ok(());
            };
            let plan = bind(path, profile, &header, &mut collector.stats)?;
            let mut splitter = splitter(input, Shape::Csv, head);
            let parse = |block: &Block| {
                let records = csv::Records {
                    padded: &block.bytes,
                    len: block.len,
                    first: block.first,
                    quoted: block.quoted,
                    limit: line_bytes,
                };
                csv::parse(records, &plan).map_err(|e| too_long(path, e.record, e.bytes, line_bytes))
            };
            run(&mut splitter, tuning, &parse, map, collector)
        }
        Format::JsonLines | Format::JsonDocument => {
            let (paths, plan) = json::Paths::new(profile);
            let document = format == Format::JsonDocument;
            let shape = if document { Shape::Document(Document::default()) } else { Shape::Lines };
            let mut splitter = splitter(input, shape, head);
            let parse = |block: &Block| {
                let records = json::Records {
                    text: &block.bytes[..block.len],
                    first: block.first,
                    elements: document.then_some(block.elements.as_slice()),
                    torn: block.torn,
                    limit: line_bytes,
                };
                json::parse(records, &paths, &plan).map_err(|e| too_long(path, e.record, e.bytes, line_bytes))
            };
            run(&mut splitter, tuning, &parse, map, collector)?;
            collector.json_columns(profile);
            Ok(())
        }
    }
}

#[cfg(feature = "frame")]
fn parquet<T: Send>(
    path: &Path,
    mut input: Input,
    profile: &Profile,
    limits: &Limits,
    tuning: Tuning,
    map: &(dyn Fn(Events) -> Result<T> + Sync),
    collector: &mut Collector<'_, T>,
) -> Result<()> {
    use rayon::prelude::*;
    static ISO: super::time::TimeFormat = super::time::TimeFormat::Iso(None);
    let mut rest = vec![0; 1 << 20];
    while input.fill(&mut rest)? == rest.len() {}
    drop(rest);
    (collector.stats.digest, collector.stats.bytes) = input.digest();

    let table = super::parquet::Table::open(path)?;
    // A constant column takes next to nothing per row, so that a small file may honestly have a million rows.
    let most_rows = (limits.decompression_ratio * input.stored_bytes() as f64).max(f64::from(1 << 20));
    if table.rows as f64 > most_rows {
        return Err(Error::new(
            Kind::Input,
            format!(
                "{}: expected at most {most_rows} rows in {} bytes, found {}; raise limits.decompression-ratio if the \
                 file is right",
                path.display(),
                input.stored_bytes(),
                table.rows
            ),
        ));
    }
    let bound = bind(path, profile, &table.columns, &mut collector.stats)?;
    let (wanted, mut plan) = bound.compact(&table.columns);
    if plan.timestamp_cells().iter().any(|&c| table.times.contains(&wanted[c])) {
        plan.time = &ISO;
    }
    table.check(&wanted)?;
    let slices: Vec<usize> = table.slices().collect();
    for together in slices.chunks(tuning.threads.max(1)) {
        let done: Vec<Result<_>> = together
            .par_iter()
            .map(|&first| {
                let mut parsed = table.slice(first, &wanted, &plan)?;
                let events = std::mem::take(&mut parsed.events);
                Ok((parsed, events.len() as u64, map(events)))
            })
            .collect();
        for slice in done {
            let (parsed, rows, mapped) = slice?;
            collector.take(parsed, rows, mapped)?;
        }
    }
    Ok(())
}

#[cfg(not(feature = "frame"))]
fn parquet<T: Send>(
    path: &Path,
    _input: Input,
    _profile: &Profile,
    _limits: &Limits,
    _tuning: Tuning,
    _map: &(dyn Fn(Events) -> Result<T> + Sync),
    _collector: &mut Collector<'_, T>,
) -> Result<()> {
    Err(Error::new(Kind::Input, format!("{}: this build reads no Parquet (feature `frame`)", path.display())))
}

/// Everything that a file yields: events as text, bad rows, statistics.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) type Yield = (Vec<String>, Vec<(u64, &'static str)>, ReadStats);

/// As [`read`], in blocks of a size of one's own: which size decides nothing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn rows_in_blocks(
    path: &Path,
    profile: &Profile,
    limits: &Limits,
    (block_bytes, threads): (usize, usize),
) -> Result<Yield> {
    use std::fmt::Write;

    use super::batch::{Field, MISSING};

    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    let mut quarantine = |q: QuarantineRow| bad.push((q.row, q.reason.as_str()));
    let mut sink = |events: Events| {
        for row in 0..events.len() {
            let mut line = format!("{} {}", events.source_row[row], crate::date::format_ms(events.timestamp_ms[row]));
            for field in Field::ALL {
                line.push('|');
                line.push_str(events.column(field).get(row));
            }
            let (action, status, request) = (events.action[row].name(), events.status[row], events.request_id.get(row));
            write!(line, "|{action}|{status}|{request}").expect("text grows");
            for numbers in &events.numbers {
                write!(line, "|{}", numbers.get(row).copied().unwrap_or(MISSING)).expect("text grows");
            }
            lines.push(line);
        }
        Ok(())
    };
    let mut collector = Collector::new(path, limits, &mut quarantine, &mut sink);
    read_tuned(path, profile, limits, Tuning { block_bytes, threads }, &Ok, &mut collector)?;
    let stats = collector.finish()?;
    Ok((lines, bad, stats))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
