//! CSV: where records end, and from records to cells.
//!
//! A quote opens a quoted field only where a field begins; there it must close before the next comma or end of line.
//! A record whose quotes do not match ends at the first end of line after its start, so that one stray quote costs
//! one row and not the rest of the file. [`walk`] is that rule; the splitter and the parser share it.

use memchr::{memchr, memchr2};

use super::columns::Builder;
use super::interner::{Cell, Store};
use super::quarantine::Reason;
use super::tile::{Parsed, Plan, Tile};

/// Zero bytes that follow a block, so that the scan may always look at 64 bytes.
pub(super) const PADDING: usize = 64;

/// One field of a record: the bytes between its commas or quotes, and whether quotes are doubled inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawField {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) doubled: bool,
}

/// How a walk over one record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    /// The record ends before `next`. If not well formed, its fields mean nothing.
    Record { next: usize, well_formed: bool },
    /// The bytes end within the record and more are to come.
    More,
}

/// Walks the record that begins at `start`. `complete` says that nothing follows `bytes`; a quoted field longer than
/// `limit` counts as one that never closes.
pub(crate) fn walk(bytes: &[u8], start: usize, complete: bool, limit: usize, mut field: impl FnMut(RawField)) -> Walk {
    let mut at = start;
    loop {
        if bytes.get(at) == Some(&b'"') {
            let open = at + 1;
            let mut doubled = false;
            let reach = bytes.len().min(open.saturating_add(limit));
            let mut from = open;
            let close = loop {
                match find_quote(&bytes[from.min(reach)..reach]) {
                    Some(i) if bytes.get(from + i + 1) == Some(&b'"') => {
                        doubled = true;
                        from += i + 2;
                    }
                    Some(i) => break Some(from + i),
                    None => break None,
                }
            };
            let Some(close) = close else {
                if reach == bytes.len() && !complete {
                    return Walk::More;
                }
                return malformed(bytes, start, complete);
            };
            field(RawField { start: open, end: close, doubled });
            match (bytes.get(close + 1), bytes.get(close + 2)) {
                (Some(b','), _) => at = close + 2,
                (Some(b'\n'), _) => return Walk::Record { next: close + 2, well_formed: true },
                (Some(b'\r'), Some(b'\n')) => return Walk::Record { next: close + 3, well_formed: true },
                (None, _) | (Some(b'\r'), None) if complete => {
                    return Walk::Record { next: bytes.len(), well_formed: true };
                }
                (None, _) | (Some(b'\r'), None) => return Walk::More,
                _ => return malformed(bytes, start, complete),
            }
        } else {
            match memchr2(b',', b'\n', &bytes[at..]) {
                Some(i) if bytes[at + i] == b',' => {
                    field(RawField { start: at, end: at + i, doubled: false });
                    at += i + 1;
                }
                Some(i) => {
                    let end = at + i;
                    let text_end = if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
                    field(RawField { start: at, end: text_end, doubled: false });
                    return Walk::Record { next: end + 1, well_formed: true };
                }
                None if complete => {
                    let end = bytes.len();
                    let text_end = if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
                    field(RawField { start: at, end: text_end, doubled: false });
                    return Walk::Record { next: end, well_formed: true };
                }
                None => return Walk::More,
            }
        }
    }
}

fn malformed(bytes: &[u8], start: usize, complete: bool) -> Walk {
    match memchr(b'\n', &bytes[start..]) {
        Some(i) => Walk::Record { next: start + i + 1, well_formed: false },
        None if complete => Walk::Record { next: bytes.len(), well_formed: false },
        None => Walk::More,
    }
}

/// The next quote. Most quoted fields are a few bytes long, where a call to a general search costs more than it finds.
#[inline]
fn find_quote(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while at < 32 {
        let Some(word) = bytes.get(at..at + 8) else { break };
        // A byte that is a quote becomes zero; the lowest zero byte is found exactly.
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes")) ^ (ONES * u64::from(b'"'));
        let zero = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zero != 0 {
            return Some(at + zero.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr(b'"', &bytes[at..]).map(|i| at + i)
}

/// A field's text, quotes undone.
pub(crate) fn unescape(text: &[u8], into: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(i) = memchr(b'"', rest) {
        into.extend_from_slice(&rest[..=i]);
        rest = &rest[(i + 2).min(rest.len())..];
    }
    into.extend_from_slice(rest);
}

/// A record longer than the limit: its number and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) record: u64,
    pub(super) bytes: usize,
}

/// A block of whole records to parse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records<'a> {
    /// The records, followed by at least [`PADDING`] zero bytes.
    pub(super) padded: &'a [u8],
    /// Length without the padding.
    pub(super) len: usize,
    /// Number of the first record.
    pub(super) first: u64,
    /// There are quotes.
    pub(super) quoted: bool,
    /// Longest record allowed, bytes.
    pub(super) limit: usize,
}

/// Parses a block.
pub(super) fn parse(records: Records<'_>, plan: &Plan<'_>) -> Result<Parsed, TooLong> {
    let text = &records.padded[..records.len];
    let clean = !contains(text, 0) && std::str::from_utf8(text).is_ok();
    let mut parser = Parser {
        store: Store { block: records.padded, arena: Vec::new() },
        tile: Tile::default(),
        builder: Builder::new(plan),
        width: plan.width,
        row_cells: 0,
        record: records.first,
        clean,
        limit: records.limit,
    };
    let tail_start = if records.quoted { parser.quoted(text)? } else { parser.plain(text)? };
    parser.builder.consume(&parser.store, &parser.tile);
    let tail = tail_start.map(|_| parser.record - 1);
    Ok(parser.builder.finish(tail))
}

struct Parser<'a, 'p> {
    store: Store<'a>,
    tile: Tile,
    builder: Builder<'p>,
    width: usize,
    /// Where the current row's cells begin in the tile.
    row_cells: usize,
    record: u64,
    /// The block is UTF-8 without zero bytes.
    clean: bool,
    limit: usize,
}

impl Parser<'_, '_> {
    /// Without quotes a record is a line. Returns where a last record without an end of line begins.
    fn plain(&mut self, text: &[u8]) -> Result<Option<usize>, TooLong> {
        let (mut row, mut cell) = (0, 0);
        let padded = self.store.block;
        for base in (0..text.len()).step_by(64) {
            let chunk: &[u8; 64] = padded[base..base + 64].try_into().expect("64 bytes, by the padding");
            let mut found = separators(chunk);
            while found != 0 {
                let at = base + found.trailing_zeros() as usize;
                found &= found - 1;
                if padded[at] == b',' {
                    self.tile.cells.push(Cell::in_block(cell, at));
                } else {
                    let end = if at > cell && padded[at - 1] == b'\r' { at - 1 } else { at };
                    self.tile.cells.push(Cell::in_block(cell, end));
                    self.end_row(&text[row..at], true)?;
                    row = at + 1;
                }
                cell = at + 1;
            }
        }
        if row == text.len() {
            return Ok(None);
        }
        let end = if text.ends_with(b"\r") && text.len() > cell { text.len() - 1 } else { text.len() };
        self.tile.cells.push(Cell::in_block(cell, end));
        self.end_row(&text[row..], true)?;
        Ok(Some(row))
    }

    fn quoted(&mut self, text: &[u8]) -> Result<Option<usize>, TooLong> {
        let mut at = 0;
        while at < text.len() {
            let Self { store, tile, .. } = self;
            let walked = walk(text, at, true, self.limit, |field| {
                let raw = &text[field.start..field.end];
                tile.cells.push(if field.doubled {
                    let from = store.arena.len();
                    unescape(raw, &mut store.arena);
                    store.added(from)
                } else {
                    Cell::in_block(field.start, field.end)
                });
            });
            let Walk::Record { next, well_formed } = walked else {
                unreachable!("a complete block has whole records only")
            };
            self.end_row(&text[at..next], well_formed)?;
            let row = at;
            at = next;
            if at == text.len() && !text.ends_with(b"\n") {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Ends the row whose cells were just added, and hands a full tile on.
    #[inline]
    fn end_row(&mut self, row: &[u8], well_formed: bool) -> Result<(), TooLong> {
        let record = self.record;
        self.record += 1;
        if row.len() > self.limit {
            return Err(TooLong { record, bytes: row.len() });
        }
        let fields = self.tile.cells.len() - self.row_cells;
        if well_formed && fields == self.width && (self.clean || damage(row).is_none()) {
            self.tile.records.push(record);
            self.row_cells = self.tile.cells.len();
            if self.tile.is_full() {
                self.builder.consume(&self.store, &self.tile);
                self.tile.clear();
                self.row_cells = 0;
            }
            return Ok(());
        }
        let blank = well_formed && fields == 1 && self.tile.cells.last().is_some_and(|c| c.len() == 0);
        self.tile.cells.truncate(self.row_cells);
        if blank {
            self.builder.parsed.blank += 1;
        } else {
            let reason = damage(row).unwrap_or(if well_formed { Reason::FieldCount } else { Reason::Quotes });
            self.builder.reject(record, reason);
        }
        Ok(())
    }
}

fn damage(row: &[u8]) -> Option<Reason> {
    if memchr(0, row).is_some() {
        Some(Reason::Nul)
    } else if std::str::from_utf8(row).is_err() {
        Some(Reason::Encoding)
    } else {
        None
    }
}

/// Whether a byte occurs in a whole block. Where it hardly ever does, this beats a search for its place.
pub(super) fn contains(bytes: &[u8], needle: u8) -> bool {
    bytes.chunks(128).any(|chunk| chunk.iter().fold(0, |any, b| any | u8::from(*b == needle)) != 0)
}

/// One bit per byte of the chunk: comma or end of line.
#[inline]
fn separators(chunk: &[u8; 64]) -> u64 {
    let mut hits = [0_u8; 64];
    for i in 0..64 {
        hits[i] = u8::from(chunk[i] == b',') | u8::from(chunk[i] == b'\n');
    }
    // Each multiplication gathers eight 0/1 bytes into eight bits.
    let mut bits = 0;
    for (i, word) in hits.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        bits |= (word.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> (Vec<String>, Walk) {
        let mut found = Vec::new();
        let walked = walk(text.as_bytes(), 0, true, 1 << 20, |f| {
            let mut out = Vec::new();
            unescape(&text.as_bytes()[f.start..f.end], &mut out);
            found.push(
                String::from_utf8(if f.doubled { out } else { text.as_bytes()[f.start..f.end].to_vec() }).unwrap(),
            );
        });
        (found, walked)
    }

    #[test]
    fn separators_are_found_at_every_position() {
        for at in 0..64 {
            for byte in *b",\n" {
                let mut chunk = [b'x'; 64];
                chunk[at] = byte;
                assert_eq!(separators(&chunk), 1 << at);
            }
        }
        assert_eq!(separators(&[b','; 64]), u64::MAX);
        assert_eq!(separators(&[b'+'; 64]), 0);
    }

    #[test]
    fn a_quote_is_found_at_every_distance() {
        for length in 0..70 {
            let mut text = vec![b'!'; length];
            assert_eq!(find_quote(&text), None);
            for at in (0..length).rev() {
                text[at] = b'"';
                assert_eq!(find_quote(&text), Some(at), "the first of several");
            }
        }
    }

    #[test]
    fn records_are_read_as_written() {
        let whole = |next| Walk::Record { next, well_formed: true };
        for (text, expected, walked) in [
            ("a,b,c\n", vec!["a", "b", "c"], whole(6)),
            ("\"a\",\"b\"\r\n", vec!["a", "b"], whole(9)),
            ("\"a\nb\",\"x,\"\"y\"\"\"\nnext", vec!["a\nb", "x,\"y\""], whole(16)),
            ("a,,\"\"", vec!["a", "", ""], whole(5)),
            ("say \"hi\",b\n", vec!["say \"hi\"", "b"], whole(11)),
            ("\n", vec![""], whole(1)),
        ] {
            let (found, end) = fields(text);
            assert_eq!((found.iter().map(String::as_str).collect::<Vec<_>>(), end), (expected, walked), "{text:?}");
        }
    }

    #[test]
    fn unmatched_quotes_end_with_their_line() {
        for text in ["\"a\"b,c\nnext,row\n", "\"abc,d\nnext,row\n"] {
            let newline = text.find('\n').unwrap() + 1;
            assert_eq!(fields(text).1, Walk::Record { next: newline, well_formed: false }, "{text:?}");
        }
        assert_eq!(walk(b"\"abc,d\nnext", 0, false, 1 << 20, |_| ()), Walk::More, "it may still close");
        let cut = Walk::Record { next: 7, well_formed: false };
        assert_eq!(walk(b"\"abc,d\nnext\"", 0, false, 4, |_| ()), cut, "but not further than the limit");
    }
}
