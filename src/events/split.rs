//! Cuts a stream of bytes into blocks of whole records, so that blocks can be parsed in parallel.

use memchr::memrchr;

use super::csv::{PADDING, Walk, contains, walk};
use super::decompress::Input;
use super::document::Document;
use crate::error::{Error, Kind, Result};

/// Some whole records of a file.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// `len` bytes of records, then at least [`PADDING`] zero bytes.
    pub(super) bytes: Vec<u8>,
    pub(super) len: usize,
    /// Number of the first record.
    pub(super) first: u64,
    /// CSV: there are quotes.
    pub(super) quoted: bool,
    /// JSON documents: where the elements are.
    pub(super) elements: Vec<(u32, u32)>,
    /// JSON documents: the file ends within the last element, or before the list was closed.
    pub(super) torn: bool,
}

/// How records are separated.
#[derive(Debug)]
pub(super) enum Shape {
    /// CSV records, one per line but for quoted ends of line.
    Csv,
    /// One record per line.
    Lines,
    /// Elements of a JSON array, at the top or under `Records`.
    Document(Document),
}

/// The blocks of a file, in order.
pub(super) struct Splitter {
    input: Input,
    shape: Shape,
    /// Bytes read and not yet handed out.
    carry: Vec<u8>,
    block_bytes: usize,
    line_bytes: usize,
    next_record: u64,
    ended: bool,
}

impl Splitter {
    /// `carry` is what was read from `input` already; the first record in it gets number 1.
    pub(super) fn new(input: Input, shape: Shape, carry: Vec<u8>, block_bytes: usize, line_bytes: usize) -> Self {
        // A small file needs no large buffer; a compressed one is expected to grow at most sixteenfold.
        let stored = usize::try_from(input.stored_bytes()).unwrap_or(usize::MAX);
        let likely =
            if input.is_compressed() { stored.saturating_mul(16).max(1 << 20) } else { stored.saturating_add(1) };
        let block_bytes = block_bytes.min(likely);
        Self { input, shape, carry, block_bytes, line_bytes, next_record: 1, ended: false }
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// The next block, in `buffer`'s memory. `None` at the end.
    pub(super) fn next_block(&mut self, mut buffer: Vec<u8>) -> Result<Option<Block>> {
        let wanted = self.block_bytes.max(self.carry.len() * 2) + PADDING;
        if buffer.is_empty() {
            // Zeroed by the system page by page as it is used, where a resize would write it all at once.
            buffer = vec![0; wanted];
        } else if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let mut filled = self.carry.len();
        buffer[..filled].copy_from_slice(&self.carry);
        self.carry.clear();
        loop {
            if !self.ended {
                let room = buffer.len() - PADDING;
                filled += self.input.fill(&mut buffer[filled..room])?;
                self.ended = filled < room;
            }
            if filled == 0 {
                return Ok(None);
            }
            let mut block = Block { first: self.next_record, ..Block::default() };
            let (cut, records) = self.cut(&buffer[..filled], &mut block)?;
            if cut > 0 && (records > 0 || block.torn || self.ended) {
                self.next_record += records;
                self.carry.extend_from_slice(&buffer[cut..filled]);
                buffer[cut..cut + PADDING].fill(0);
                block.bytes = buffer;
                block.len = cut;
                return Ok(Some(block));
            }
            if self.ended {
                return Ok(None);
            }
            if filled - cut > self.line_bytes {
                return Err(too_long(self.input.path(), self.next_record, filled - cut, self.line_bytes));
            }
            if cut > 0 {
                buffer.copy_within(cut..filled, 0);
                filled -= cut;
            }
            let longer = buffer.len() * 2;
            buffer.resize(longer, 0);
        }
    }

    /// Where the last whole record of `bytes` ends, and how many records there are before it.
    fn cut(&mut self, bytes: &[u8], block: &mut Block) -> Result<(usize, u64)> {
        match &mut self.shape {
            Shape::Csv if contains(bytes, b'"') => {
                block.quoted = true;
                let (mut at, mut records) = (0, 0);
                while at < bytes.len() {
                    let Walk::Record { next, .. } = walk(bytes, at, self.ended, self.line_bytes, |_| ()) else { break };
                    at = next;
                    records += 1;
                }
                Ok((at, records))
            }
            Shape::Csv | Shape::Lines => {
                let cut = if self.ended { bytes.len() } else { memrchr(b'\n', bytes).map_or(0, |i| i + 1) };
                let tail = u64::from(cut > 0 && bytes[cut - 1] != b'\n');
                Ok((cut, count_lines(&bytes[..cut]) + tail))
            }
            Shape::Document(document) => {
                let (cut, torn) = document
                    .elements(bytes, self.ended, &mut block.elements)
                    .map_err(|what| damaged(self.input.path(), self.next_record, what))?;
                block.torn = torn;
                Ok((cut, block.elements.len() as u64))
            }
        }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    // Byte-wide sums of short chunks compile to vector additions and cannot overflow.
    bytes.chunks(128).map(|c| u64::from(c.iter().fold(0_u8, |n, b| n + u8::from(*b == b'\n')))).sum()
}

fn damaged(path: &std::path::Path, next_record: u64, what: &str) -> Error {
    let records = next_record - 1;
    Error::new(Kind::Input, format!("{}: {what} (after {records} records)", path.display()))
}

/// The error for a record over the line limit.
pub(super) fn too_long(path: &std::path::Path, record: u64, found: usize, limit: usize) -> Error {
    Error::new(
        Kind::Input,
        format!(
            "{}: expected records of at most {limit} bytes, found {found} and more in record {record}; raise \
             limits.line-bytes if the file is right",
            path.display()
        ),
    )
}
