//! Blocks in, batches out, in file order and with bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::batch::Events;
use super::profile::Profile;
use super::quarantine::QuarantineRow;
use super::read::{ReadStats, Tuning};
use super::split::{Block, Splitter};
use super::tile::Parsed;
use crate::config::settings::Limits;
use crate::error::{Error, Kind, Result};

/// Rows after which the bad-row share is checked along the way and not at the end alone.
const SHARE_CHECK_ROWS: u64 = 10_000;

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

pub(super) fn run<T: Send>(
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

    pub(super) fn take(&mut self, parsed: Parsed, rows: u64, mapped: Result<T>) -> Result<()> {
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
                "{}: expected at most {} of the rows to be bad, found {bad} of {total}; \
                 raise limits.bad-row-share if the rest is to be used",
                self.path.display(),
                self.limits.bad_row_share
            ),
        ))
    }

    pub(super) fn json_columns(&mut self, profile: &Profile) {
        self.stats.unknown_columns = std::mem::take(&mut self.unknown).into_iter().take(64).collect();
        let mut slots = self.filled.iter();
        for binding in &profile.bindings {
            if slots.by_ref().take(binding.sources.len()).filter(|filled| **filled).count() == 0 && self.stats.rows > 0
            {
                self.stats.missing_columns.push(binding.name.clone());
            }
        }
        self.stats.missing_columns.sort_unstable();
    }
}
