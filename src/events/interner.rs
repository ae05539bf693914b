//! From raw cell bytes to a number, the inner loop of reading: most cells repeat a text that was seen before.
//!
//! Texts of up to 16 bytes are their own key (two overlapping words and the length), so that a hit costs one hash
//! and two comparisons and never touches the text again. Only a miss looks at characters.

/// A cell: bytes of the block, or of the arena beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cell {
    start: u32,
    length: u32,
}

const IN_ARENA: u32 = 1 << 31;

impl Cell {
    /// Bytes `start..end` of the block.
    #[inline]
    pub(super) fn in_block(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end < IN_ARENA as usize, "blocks stay under 2 GiB");
        Self { start: start as u32, length: (end - start) as u32 }
    }

    /// Number of bytes.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.length as usize
    }
}

/// Where cells point: the block that was read, and an arena for text that stands nowhere in it as such (unescaped
/// quotes and JSON strings, rendered numbers).
#[derive(Debug, Clone)]
pub(super) struct Store<'a> {
    pub(super) block: &'a [u8],
    pub(super) arena: Vec<u8>,
}

impl Store<'_> {
    #[inline]
    pub(super) fn get(&self, cell: Cell) -> &[u8] {
        let start = (cell.start & !IN_ARENA) as usize;
        let source = if cell.start & IN_ARENA == 0 { self.block } else { &self.arena };
        &source[start..start + cell.len()]
    }

    /// The cell of everything added to the arena since it had `from` bytes. A cell past 2 GiB (a batch never comes
    /// near) is dropped to empty rather than misread.
    pub(super) fn added(&self, from: usize) -> Cell {
        if self.arena.len() >= IN_ARENA as usize {
            return Cell::default();
        }
        Cell { start: from as u32 | IN_ARENA, length: (self.arena.len() - from) as u32 }
    }

    /// Adds text to the arena.
    pub(super) fn add(&mut self, text: &[u8]) -> Cell {
        let from = self.arena.len();
        self.arena.extend_from_slice(text);
        self.added(from)
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    low: u64,
    high: u64,
    cell: Cell,
    value: u32,
    used: bool,
}

/// A map from raw text to a number chosen when the text is first seen.
#[derive(Debug)]
pub(super) struct Interner {
    entries: Vec<Entry>,
    used: usize,
    last: usize,
}

const EMPTY: Entry = Entry { low: 0, high: 0, cell: Cell { start: 0, length: 0 }, value: 0, used: false };

impl Default for Interner {
    fn default() -> Self {
        Self { entries: vec![EMPTY; 64], used: 0, last: 0 }
    }
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[inline]
fn half_word(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
}

#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Two words that together with the length identify a text of up to 16 bytes, and hash a longer one.
#[inline]
fn key(text: &[u8]) -> (u64, u64) {
    let n = text.len();
    match n {
        0 => (0, 0),
        1..=3 => (u64::from(text[0]) | u64::from(text[n / 2]) << 8 | u64::from(text[n - 1]) << 16, 0),
        4..=7 => (half_word(text, 0) | half_word(text, n - 4) << 32, 0),
        8..=16 => (word(text, 0), word(text, n - 8)),
        _ => {
            let mut low = 0;
            let mut at = 0;
            while at + 8 < n {
                low = mix(low ^ word(text, at), at as u64);
                at += 8;
            }
            (low, word(text, n - 8))
        }
    }
}

impl Interner {
    /// The number of the cell's text; `new` is asked for it when the text was not seen before.
    #[inline]
    pub(super) fn value(&mut self, store: &Store<'_>, cell: Cell, new: impl FnOnce(&[u8]) -> u32) -> u32 {
        let text = store.get(cell);
        let (low, high) = key(text);
        let same = |e: &Entry| {
            e.low == low
                && e.high == high
                && e.cell.length == cell.length
                && e.used
                && (text.len() <= 16 || store.get(e.cell) == text)
        };
        let last = &self.entries[self.last];
        if same(last) {
            return last.value;
        }
        let mask = self.entries.len() - 1;
        let mut at = (mix(low, high ^ (u64::from(cell.length) << 56)) as usize) & mask;
        loop {
            let entry = &self.entries[at];
            if !entry.used {
                break;
            }
            if same(entry) {
                self.last = at;
                return entry.value;
            }
            at = (at + 1) & mask;
        }
        let value = new(text);
        self.entries[at] = Entry { low, high, cell, value, used: true };
        self.last = at;
        self.used += 1;
        if self.used * 2 > self.entries.len() {
            self.grow();
        }
        value
    }

    #[cold]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.entries);
        self.entries = vec![EMPTY; old.len() * 2];
        self.last = 0;
        let mask = self.entries.len() - 1;
        for entry in old.into_iter().filter(|e| e.used) {
            let mut at = (mix(entry.low, entry.high ^ (u64::from(entry.cell.length) << 56)) as usize) & mask;
            while self.entries[at].used {
                at = (at + 1) & mask;
            }
            self.entries[at] = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_number_and_different_ones_never_do() {
        // Lengths around every branch of `key`, differing in one byte at each position.
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for length in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 25, 40] {
            let base = vec![b'a'; length];
            for position in 0..length {
                let mut other = base.clone();
                other[position] = b'b';
                texts.push(other);
            }
            texts.push(base);
        }
        let mut store = Store { block: &[], arena: Vec::new() };
        let mut interner = Interner::default();
        for round in 0..2 {
            for (i, text) in texts.iter().enumerate() {
                let cell = store.add(text);
                let mut asked = false;
                let value = interner.value(&store, cell, |raw| {
                    assert_eq!(raw, text);
                    asked = true;
                    i as u32
                });
                assert_eq!((value, asked), (i as u32, round == 0));
            }
        }
    }
}
