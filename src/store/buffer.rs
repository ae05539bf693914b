//! Events waiting for their partition: in memory up to a budget, beyond that in a temporary file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PartitionId;
use super::merge::{append, append_all};
use crate::date::{Date, MS_PER_DAY};
use crate::error::{Error, Kind, Result};
use crate::events::action::Action;
use crate::events::batch::{Dictionary, Events, Field, PlainText, TextColumn};

/// Rows of a batch by the partition they belong to.
pub(super) type Split = BTreeMap<PartitionId, Vec<Range<usize>>>;

/// Finds the partition of each row.
pub(super) fn split(events: &Events) -> Split {
    let orgs = events.column(Field::Org);
    let mut by_code: BTreeMap<(u32, Date), Vec<Range<usize>>> = BTreeMap::new();
    let mut from = 0;
    while from < events.len() {
        let (org, date) = (orgs.codes[from], Date::from_ms(events.timestamp_ms[from]));
        let day = date.start_ms()..date.start_ms() + MS_PER_DAY;
        let same = |row: usize| orgs.codes[row] == org && day.contains(&events.timestamp_ms[row]);
        let to = (from + 1..events.len()).find(|row| !same(*row)).unwrap_or(events.len());
        by_code.entry((org, date)).or_default().push(from..to);
        from = to;
    }
    by_code
        .into_iter()
        .map(|((org, date), rows)| (PartitionId { org: orgs.dictionary.get(org).to_owned(), date }, rows))
        .collect()
}

/// Some rows of one partition.
#[derive(Debug)]
pub(super) enum Slice {
    Memory { events: Arc<Events>, rows: Vec<Range<usize>> },
    Spilled { at: u64, bytes: usize },
}

/// Number of a slice in [`Buffers`].
pub(super) type SliceId = usize;

/// All slices of a run.
#[derive(Debug)]
pub(super) struct Buffers {
    folder: PathBuf,
    budget: usize,
    slices: Vec<Option<Slice>>,
    /// Batches in memory, the oldest first: their sizes and slices.
    batches: std::collections::VecDeque<(usize, Range<SliceId>)>,
    in_memory: usize,
    spill: Option<Spill>,
}

#[derive(Debug)]
struct Spill {
    file: File,
    end: u64,
    path: PathBuf,
}

impl Buffers {
    /// Keeps about `budget` bytes in memory and the rest in a file in `folder`.
    pub(super) fn new(folder: &Path, budget: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            budget,
            slices: Vec::new(),
            batches: std::collections::VecDeque::new(),
            in_memory: 0,
            spill: None,
        }
    }

    /// Keeps everything in memory.
    pub(super) fn in_memory() -> Self {
        Self::new(Path::new(""), usize::MAX)
    }

    /// Takes a batch; the slice of each of its partitions.
    pub(super) fn add(&mut self, events: Events, split: Split) -> Result<Vec<(PartitionId, SliceId, u64)>> {
        let bytes = size(&events);
        let events = Arc::new(events);
        let first = self.slices.len();
        let added = split
            .into_iter()
            .map(|(id, rows)| {
                let count = rows.iter().map(ExactSizeIterator::len).sum::<usize>() as u64;
                self.slices.push(Some(Slice::Memory { events: Arc::clone(&events), rows }));
                (id, self.slices.len() - 1, count)
            })
            .collect();
        self.batches.push_back((bytes, first..self.slices.len()));
        self.in_memory += bytes;
        // The caller's handle would keep the last batch alive.
        drop(events);
        while self.in_memory > self.budget {
            self.spill_oldest()?;
        }
        Ok(added)
    }

    fn spill_oldest(&mut self) -> Result<()> {
        let Some((bytes, slices)) = self.batches.pop_front() else { return Ok(()) };
        self.in_memory -= bytes;
        for slice in &mut self.slices[slices] {
            let Some(Slice::Memory { events, rows }) = slice else { continue };
            let mut own = Events::default();
            append(&mut own, events, rows);
            let encoded = encode(&own);
            let spill = match &mut self.spill {
                Some(spill) => spill,
                none => none.insert(Spill::create(&self.folder)?),
            };
            *slice = Some(Slice::Spilled { at: spill.end, bytes: encoded.len() });
            spill.file.write_all(&encoded).map_err(|e| Error::io(Kind::Resource, "write", &spill.path, e))?;
            spill.end += encoded.len() as u64;
        }
        Ok(())
    }

    /// Forgets a slice (of a file that was read before).
    pub(super) fn drop_slice(&mut self, slice: SliceId) {
        self.slices[slice] = None;
    }

    /// Takes slices out, so that memory is given back as partitions are built.
    pub(super) fn take(&mut self, slices: &[SliceId]) -> Vec<Slice> {
        slices.iter().filter_map(|id| self.slices[*id].take()).collect()
    }

    /// Where spilled slices are.
    pub(super) fn into_spilled(self) -> Spilled {
        Spilled(self.spill)
    }
}

impl Spill {
    fn create(folder: &Path) -> Result<Self> {
        let path = folder.join("spill");
        let failed = |e| Error::io(Kind::Resource, "write", &path, e);
        let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        // Without a name it goes away with the process, however that ends.
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(Self { file, end: 0, path })
    }
}

/// Reads slices back, by several threads at once.
#[derive(Debug)]
pub(super) struct Spilled(Option<Spill>);

impl Spilled {
    /// The events of slices, in their order.
    pub(super) fn collect(&self, slices: Vec<Slice>) -> Result<Events> {
        let mut all = Events::default();
        for slice in slices {
            match slice {
                Slice::Memory { events, rows } => append(&mut all, &events, &rows),
                Slice::Spilled { at, bytes } => {
                    let own = self.read(at, bytes)?;
                    append_all(&mut all, &own);
                }
            }
        }
        Ok(all)
    }

    fn read(&self, at: u64, bytes: usize) -> Result<Events> {
        let spill = self.0.as_ref().ok_or_else(|| Error::new(Kind::Bug, "no events were spilled"))?;
        let mut buffer = vec![0; bytes];
        spill.file.read_exact_at(&mut buffer, at).map_err(|e| Error::io(Kind::Resource, "read", &spill.path, e))?;
        Ok(decode(&buffer))
    }
}

/// Bytes that a batch holds.
fn size(events: &Events) -> usize {
    let text = |c: &TextColumn| c.codes.capacity() * 4 + c.dictionary.iter().map(|t| t.len() + 24).sum::<usize>();
    events.text.iter().map(text).sum::<usize>()
        + events.numbers.iter().map(|n| n.capacity() * 8).sum::<usize>()
        + events.timestamp_ms.capacity() * 8
        + events.action.capacity()
        + events.status.capacity() * 2
        + events.request_id.bytes.capacity()
        + events.request_id.ends.capacity() * 8
        + events.source_row.capacity() * 8
}

/// Plain bytes of events, for this process alone.
fn encode(events: &Events) -> Vec<u8> {
    let mut out = Vec::new();
    let length = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u64).to_le_bytes());
    length(&mut out, events.len());
    put(&mut out, events.timestamp_ms.iter().map(|v| v.to_le_bytes()));
    put(&mut out, events.source_row.iter().map(|v| v.to_le_bytes()));
    put(&mut out, events.status.iter().map(|v| v.to_le_bytes()));
    out.extend(events.action.iter().map(|a| *a as u8));
    for column in &events.text {
        length(&mut out, column.dictionary.len());
        for text in column.dictionary.iter().skip(1) {
            length(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        if !column.dictionary.is_empty() {
            put(&mut out, column.codes.iter().map(|v| v.to_le_bytes()));
        }
    }
    length(&mut out, events.request_id.bytes.len());
    out.extend_from_slice(&events.request_id.bytes);
    put(&mut out, events.request_id.ends.iter().map(|v| v.to_le_bytes()));
    for numbers in &events.numbers {
        length(&mut out, numbers.len());
        put(&mut out, numbers.iter().map(|v| v.to_le_bytes()));
    }
    out
}

fn put<const N: usize>(out: &mut Vec<u8>, words: impl Iterator<Item = [u8; N]>) {
    for word in words {
        out.extend_from_slice(&word);
    }
}

/// Takes apart what [`encode`] put together.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(bytes);
        self.0 = rest;
        head
    }

    fn length(&mut self) -> usize {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes")) as usize
    }

    fn words<const N: usize, T>(&mut self, count: usize, from: impl Fn([u8; N]) -> T) -> Vec<T> {
        self.take(count * N).chunks_exact(N).map(|w| from(w.try_into().expect("a whole word"))).collect()
    }
}

fn decode(bytes: &[u8]) -> Events {
    let mut r = Reader(bytes);
    let rows = r.length();
    let timestamp_ms = r.words(rows, i64::from_le_bytes);
    let source_row = r.words(rows, u64::from_le_bytes);
    let status = r.words(rows, u16::from_le_bytes);
    let action = r.take(rows).iter().map(|a| Action::ALL[*a as usize]).collect();
    let text = std::array::from_fn(|_| {
        let mut dictionary = Dictionary::default();
        for _ in 1..r.length() {
            let bytes = r.length();
            dictionary.intern(std::str::from_utf8(r.take(bytes)).expect("written from text"));
        }
        let codes = if dictionary.is_empty() { vec![0; rows] } else { r.words(rows, u32::from_le_bytes) };
        TextColumn { codes, dictionary }
    });
    let length = r.length();
    let bytes = r.take(length).to_vec();
    let ends = r.words(rows + 1, u64::from_le_bytes);
    let numbers = std::array::from_fn(|_| {
        let count = r.length();
        r.words(count, i64::from_le_bytes)
    });
    Events { timestamp_ms, text, action, status, request_id: PlainText { bytes, ends }, source_row, numbers }
}
