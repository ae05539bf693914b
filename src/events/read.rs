//! Reading one event file: bytes in, batches of canonical events out, bad rows aside.
//!
//! One thread reads, digests and cuts the stream into blocks of whole records; others parse blocks; the caller gets
//! the batches in file order. Where a block ends depends on the file alone, so that the result is the same for any
//! number of threads. Memory is bounded by the number of block buffers in circulation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::batch::{Events, Field};
use super::columns::{Parsed, Plan};
use super::csv::{self, Walk, walk};
use super::decompress::Input;
use super::json::{self, Document, Paths, Prelude};
use super::profile::{Profile, Role};
use super::quarantine::QuarantineRow;
use super::source::SourceFile;
use super::split::{Block, Shape, Splitter, too_long};
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

/// Rows after which the bad-row share is checked along the way and not at the end alone.
const SHARE_CHECK_ROWS: u64 = 10_000;

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
        Format::Parquet => parquet(path, input, &head, profile, limits, map, collector),
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
            let (paths, plan) = Paths::new(profile);
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

// ---- What kind of file is this? -------------------------------------------------------------------------------

/// How much of a file is looked at to tell its format.
const HEAD_BYTES: usize = 64 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
    JsonDocument,
    Parquet,
}

fn sniff(path: &Path, head: &[u8], compressed: bool) -> Result<Format> {
    let refuse = |what: &str| Err(Error::new(Kind::Input, format!("{}: {what}", path.display())));
    if head.starts_with(b"PAR1") {
        return if compressed { refuse("compressed Parquet; decompress it first") } else { Ok(Format::Parquet) };
    }
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return refuse("expected UTF-8, found UTF-16; convert it first");
    }
    let text = head.strip_prefix(BOM).unwrap_or(head);
    let start = text.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(text.len());
    let first_line = &text[start..];
    let line_end = memchr::memchr(b'\n', first_line);
    let first_line = &first_line[..line_end.unwrap_or(first_line.len())];
    if memchr::memchr(0, first_line).is_some() || first_line.first().is_some_and(|b| *b < b' ') {
        return refuse("expected CSV, JSON or Parquet, found a binary file");
    }
    Ok(match text.get(start) {
        Some(b'[') => Format::JsonDocument,
        Some(b'{') => match json::find_records(text, start) {
            Prelude::List(_) => Format::JsonDocument,
            Prelude::None(what) if what.contains("Records to be") => Format::JsonDocument,
            _ => Format::JsonLines,
        },
        _ if is_json_name(path) && !first_line.is_empty() => Format::JsonLines,
        _ => Format::Csv,
    })
}

fn is_json_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("").to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zstd").trim_end_matches(".zst");
    [".json", ".jsonl", ".ndjson"].iter().any(|suffix| name.ends_with(suffix))
}

// ---- CSV and Parquet columns ------------------------------------------------------------------------------------

/// Takes the header record off the front of `carry`, reading on if it is longer. `None` if the file has no text.
fn header(input: &mut Input, carry: &mut Vec<u8>, line_bytes: usize) -> Result<Option<Vec<String>>> {
    let mut ended = carry.len() < HEAD_BYTES - BOM.len();
    let blank = carry.iter().take_while(|b| b.is_ascii_whitespace()).count();
    carry.drain(..blank);
    loop {
        if carry.is_empty() {
            return Ok(None);
        }
        let mut names = Vec::new();
        let walked = walk(carry, 0, ended, line_bytes, |field| {
            let mut text = Vec::new();
            let raw = &carry[field.start..field.end];
            if field.doubled { csv::unescape(raw, &mut text) } else { text.extend_from_slice(raw) }
            names.push(String::from_utf8_lossy(&text).trim().to_owned());
        });
        match walked {
            Walk::Record { next, .. } => {
                carry.drain(..next);
                return Ok(Some(names));
            }
            Walk::More if carry.len() > line_bytes => {
                return Err(too_long(input.path(), 0, carry.len(), line_bytes));
            }
            Walk::More => {
                let from = carry.len();
                carry.resize(from + HEAD_BYTES, 0);
                let read = input.fill(&mut carry[from..])?;
                ended = read < HEAD_BYTES;
                carry.truncate(from + read);
            }
        }
    }
}

/// Binds the profile's columns to a header by name, whatever the case.
fn bind<'p>(path: &Path, profile: &'p Profile, header: &[String], stats: &mut ReadStats) -> Result<Plan<'p>> {
    let mut used = vec![false; header.len()];
    let mut roles = Vec::new();
    for binding in &profile.bindings {
        let mut cells = Vec::new();
        for source in &binding.sources {
            let mut columns = (0..header.len()).filter(|&i| header[i].eq_ignore_ascii_case(source));
            let Some(column) = columns.next() else { continue };
            if columns.next().is_some() {
                return Err(Error::new(
                    Kind::Input,
                    format!("{}: expected one column {source}, found several", path.display()),
                ));
            }
            used[column] = true;
            cells.push(column);
        }
        if cells.is_empty() {
            let required = matches!(binding.role, Role::Timestamp | Role::Text(Field::User));
            if required {
                return Err(Error::new(
                    Kind::Input,
                    format!(
                        "{}: expected a column {} (profile {}, {}), found {}",
                        path.display(),
                        binding.sources.join(" or "),
                        profile.name(),
                        binding.name,
                        listing(header)
                    ),
                ));
            }
            stats.missing_columns.push(binding.name.clone());
        } else {
            roles.push((binding.role, cells));
        }
    }
    stats.missing_columns.sort_unstable();
    let unknown: BTreeSet<&String> =
        header.iter().zip(&used).filter(|(name, used)| !**used && !profile.is_known_unused(name)).map(|(n, _)| n).collect();
    stats.unknown_columns = unknown.into_iter().take(64).map(|n| n.chars().take(100).collect()).collect();
    Ok(Plan::new(profile, header.len(), roles))
}

/// Column names for a message: the first twenty, none longer than 40 characters. A file without a header has a row of
/// data there, so that only what looks like a name is shown.
fn listing(header: &[String]) -> String {
    let is_name = |n: &&String| {
        n.starts_with(|c: char| c.is_ascii_alphabetic())
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b' '))
    };
    let names: Vec<String> = header.iter().filter(is_name).take(20).map(|n| n.chars().take(40).collect()).collect();
    match header.len() - names.len() {
        0 => names.join(", "),
        others if names.is_empty() => format!("{others} others"),
        others => format!("{} and {others} others", names.join(", ")),
    }
}

#[cfg(feature = "frame")]
fn parquet<T: Send>(
    path: &Path,
    mut input: Input,
    head: &[u8],
    profile: &Profile,
    limits: &Limits,
    map: &(dyn Fn(Events) -> Result<T> + Sync),
    collector: &mut Collector<'_, T>,
) -> Result<()> {
    static ISO: super::time::TimeFormat = super::time::TimeFormat::Iso(None);
    debug_assert!(!head.is_empty());
    let mut rest = vec![0; 1 << 20];
    while input.fill(&mut rest)? == rest.len() {}
    drop(rest);
    (collector.stats.digest, collector.stats.bytes) = input.digest();

    let table = super::parquet::Table::open(path)?;
    if table.rows as f64 > limits.decompression_ratio * (1 << 20) as f64 + limits.decompression_ratio * input.stored_bytes() as f64 {
        return Err(Error::new(
            Kind::Input,
            format!(
                "{}: the file says that it has {} rows in {} bytes; raise limits.decompression-ratio if it is right",
                path.display(),
                table.rows,
                input.stored_bytes()
            ),
        ));
    }
    let bound = bind(path, profile, &table.columns, &mut collector.stats)?;
    let (wanted, mut plan) = bound.compact(&table.columns);
    if plan.timestamp_cells().iter().any(|&c| table.times.contains(&wanted[c])) {
        plan.time = &ISO;
    }
    for first in table.slices() {
        let mut parsed = table.slice(first, &wanted, &plan)?;
        let events = std::mem::take(&mut parsed.events);
        let rows = events.len() as u64;
        collector.take(parsed, rows, map(events))?;
    }
    Ok(())
}

#[cfg(not(feature = "frame"))]
fn parquet<T: Send>(
    path: &Path,
    _input: Input,
    _head: &[u8],
    _profile: &Profile,
    _limits: &Limits,
    _map: &(dyn Fn(Events) -> Result<T> + Sync),
    _collector: &mut Collector<'_, T>,
) -> Result<()> {
    Err(Error::new(Kind::Input, format!("{}: this build reads no Parquet (feature `frame`)", path.display())))
}

// ---- Blocks in, batches out, in order ---------------------------------------------------------------------------

/// A parsed and mapped block, and its buffer to use again.
struct Done<T> {
    parsed: Parsed,
    rows: u64,
    mapped: Result<T>,
    buffer: Vec<u8>,
}

fn work<T>(
    block: Block,
    parse: &(dyn Fn(&Block) -> Result<Parsed> + Sync),
    map: &(dyn Fn(Events) -> Result<T> + Sync),
) -> Result<Done<T>> {
    let mut parsed = parse(&block)?;
    let events = std::mem::take(&mut parsed.events);
    let rows = events.len() as u64;
    Ok(Done { parsed, rows, mapped: map(events), buffer: block.bytes })
}

fn run<T: Send>(
    splitter: &mut Splitter,
    tuning: Tuning,
    parse: &(dyn Fn(&Block) -> Result<Parsed> + Sync),
    map: &(dyn Fn(Events) -> Result<T> + Sync),
    collector: &mut Collector<'_, T>,
) -> Result<()> {
    // A file that surely fits one block, or one thread: no threads at all.
    let small = !splitter.input().is_compressed() && splitter.input().stored_bytes() <= tuning.block_bytes as u64;
    if small || tuning.threads <= 1 {
        let mut buffer = Vec::new();
        while let Some(block) = splitter.next_block(buffer)? {
            let done = work(block, parse, map)?;
            collector.take(done.parsed, done.rows, done.mapped)?;
            buffer = done.buffer;
        }
    } else {
        in_parallel(splitter, tuning.threads, parse, map, collector)?;
    }
    (collector.stats.digest, collector.stats.bytes) = splitter.input().digest();
    Ok(())
}

fn in_parallel<T: Send>(
    splitter: &mut Splitter,
    threads: usize,
    parse: &(dyn Fn(&Block) -> Result<Parsed> + Sync),
    map: &(dyn Fn(Events) -> Result<T> + Sync),
    collector: &mut Collector<'_, T>,
) -> Result<()> {
    // Plain threads and not the rayon pool: the caller may be one of its workers, and waiting there could wait for
    // itself. Buffers are the backpressure: a block is read only when one has come back from the caller.
    let (buffers_in, buffers) = channel::<Vec<u8>>();
    for _ in 0..threads + 2 {
        buffers_in.send(Vec::new()).expect("the receiver lives here");
    }
    let (blocks_in, blocks) = channel::<(u64, Result<Block>)>();
    let (done_in, done) = channel::<(u64, Result<Done<T>>)>();
    let blocks = Mutex::new(blocks);
    std::thread::scope(|scope| {
        scope.spawn(move || read_blocks(splitter, &buffers, &blocks_in));
        for _ in 0..threads {
            let done_in = done_in.clone();
            let blocks = &blocks;
            scope.spawn(move || {
                loop {
                    let next = blocks.lock().map(|queue| queue.recv());
                    let Ok(Ok((number, block))) = next else { return };
                    if done_in.send((number, block.and_then(|b| work(b, parse, map)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done_in);
        // Owned by this closure, so that an early return hangs up and every thread ends.
        let (buffers_in, done) = (buffers_in, done);
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (number, result) in &done {
            waiting.insert(number, result);
            while let Some(result) = waiting.remove(&next) {
                next += 1;
                let Done { parsed, rows, mapped, buffer } = result?;
                collector.take(parsed, rows, mapped)?;
                // The reader may have ended already.
                let _ = buffers_in.send(buffer);
            }
        }
        Ok(())
    })
}

fn read_blocks(splitter: &mut Splitter, buffers: &Receiver<Vec<u8>>, blocks: &Sender<(u64, Result<Block>)>) {
    for number in 0.. {
        let Ok(buffer) = buffers.recv() else { return };
        let block = match splitter.next_block(buffer) {
            Ok(Some(block)) => Ok(block),
            Ok(None) => return,
            Err(e) => Err(e),
        };
        let failed = block.is_err();
        if blocks.send((number, block)).is_err() || failed {
            return;
        }
    }
}

/// Gathers what blocks became, in file order.
pub(super) struct Collector<'c, T> {
    path: &'c Path,
    limits: &'c Limits,
    quarantine: &'c mut dyn FnMut(QuarantineRow),
    sink: &'c mut dyn FnMut(T) -> Result<()>,
    pub(super) stats: ReadStats,
    unknown: BTreeSet<String>,
    filled: Vec<bool>,
}

impl<'c, T> Collector<'c, T> {
    pub(super) fn new(
        path: &'c Path,
        limits: &'c Limits,
        quarantine: &'c mut dyn FnMut(QuarantineRow),
        sink: &'c mut dyn FnMut(T) -> Result<()>,
    ) -> Self {
        Self {
            path,
            limits,
            quarantine,
            sink,
            stats: ReadStats::default(),
            unknown: BTreeSet::new(),
            filled: Vec::new(),
        }
    }

    fn take(&mut self, parsed: Parsed, rows: u64, mapped: Result<T>) -> Result<()> {
        let stats = &mut self.stats;
        stats.rows += rows;
        stats.quarantined += parsed.bad.len() as u64;
        stats.blank += parsed.blank;
        stats.timestamp_disagreements += parsed.disagreements;
        stats.unreadable_values += parsed.unreadable;
        stats.truncated_tail |= parsed.truncated;
        self.unknown.extend(parsed.unknown_keys);
        self.filled.resize(parsed.filled_slots.len(), false);
        self.filled.iter_mut().zip(&parsed.filled_slots).for_each(|(all, one)| *all |= one);
        for (row, reason) in parsed.bad {
            (self.quarantine)(QuarantineRow { file: self.path.display().to_string(), row, reason });
        }
        if self.stats.rows + self.stats.quarantined >= SHARE_CHECK_ROWS {
            self.check_share()?;
        }
        (self.sink)(mapped?)
    }

    pub(super) fn finish(self) -> Result<ReadStats> {
        self.check_share()?;
        Ok(self.stats)
    }

    /// One bad row, and a tail that was cut off, never stop the night, however short the file.
    fn check_share(&self) -> Result<()> {
        let ReadStats { rows, quarantined, truncated_tail, .. } = self.stats;
        let bad = quarantined.saturating_sub(u64::from(truncated_tail));
        let total = rows + quarantined;
        if bad <= 1 || bad as f64 <= self.limits.bad_row_share * total as f64 {
            return Ok(());
        }
        Err(Error::new(
            Kind::Input,
            format!(
                "{}: expected at most {} of the rows to be bad, found {bad} of {total}; see the quarantine file, and \
                 raise limits.bad-row-share if the rest is to be used",
                self.path.display(),
                self.limits.bad_row_share
            ),
        ))
    }

    fn json_columns(&mut self, profile: &Profile) {
        self.stats.unknown_columns = std::mem::take(&mut self.unknown).into_iter().take(64).collect();
        let mut slots = self.filled.iter();
        for binding in &profile.bindings {
            if slots.by_ref().take(binding.sources.len()).filter(|filled| **filled).count() == 0 && self.stats.rows > 0 {
                self.stats.missing_columns.push(binding.name.clone());
            }
        }
        self.stats.missing_columns.sort_unstable();
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
