//! JSON: from a record to the cells of the paths that a profile names.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::columns::Builder;
use super::csv::TooLong;
use super::interner::{Cell, Store};
use super::profile::Profile;
use super::quarantine::Reason;
use super::tile::{Parsed, Plan, Tile};

/// Paths of a profile as a tree: which child to go into by key, and which cells a scalar here fills.
#[derive(Debug, Default)]
pub(super) struct Paths {
    children: Vec<(String, Paths)>,
    cells: Vec<usize>,
}

impl Paths {
    /// The tree of all sources of a profile, and for each role its cells. Cells are numbered in the order of bindings
    /// and sources.
    pub(super) fn new(profile: &Profile) -> (Self, Plan<'_>) {
        let mut root = Self::default();
        let mut roles = Vec::new();
        let mut width = 0;
        for binding in &profile.bindings {
            let cells: Vec<usize> = (width..width + binding.sources.len()).collect();
            width += cells.len();
            for (source, cell) in binding.sources.iter().zip(&cells) {
                root.at(&mut source.split('.')).cells.push(*cell);
                if source.contains('.') {
                    // Flattened exports have the whole path as one key.
                    root.at(&mut std::iter::once(source.as_str())).cells.push(*cell);
                }
            }
            roles.push((binding.role, cells));
        }
        (root, Plan::new(profile, width, roles))
    }

    fn at(&mut self, keys: &mut dyn Iterator<Item = &str>) -> &mut Self {
        let Some(key) = keys.next() else { return self };
        let known = self.children.iter().position(|(k, _)| k.eq_ignore_ascii_case(key));
        let index = known.unwrap_or_else(|| {
            self.children.push((key.to_owned(), Self::default()));
            self.children.len() - 1
        });
        self.children[index].1.at(keys)
    }

    fn child(&self, key: &str) -> Option<&Self> {
        self.children.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, child)| child)
    }
}

/// The row that a record is read into.
struct Row<'a, 'b> {
    store: &'a mut Store<'b>,
    cells: &'a mut [Cell],
    unknown: &'a mut BTreeSet<String>,
    profile: &'a Profile,
}

/// Most unknown keys that are kept, and their greatest length in bytes.
const UNKNOWN_KEYS: usize = 64;
const UNKNOWN_KEY_BYTES: usize = 100;

impl Row<'_, '_> {
    fn fill(&mut self, paths: &Paths, text: &[u8]) {
        if paths.cells.is_empty() || text.is_empty() {
            return;
        }
        let cell = self.store.add(text);
        for &slot in &paths.cells {
            self.cells[slot] = cell;
        }
    }
}

impl Row<'_, '_> {
    fn note_unknown(&mut self, key: &str) {
        if self.unknown.len() < UNKNOWN_KEYS
            && key.len() <= UNKNOWN_KEY_BYTES
            && !self.profile.is_known_unused(key)
            && !self.unknown.contains(key)
        {
            self.unknown.insert(key.to_owned());
        }
    }
}

/// Reads one value at a place of the tree.
struct Place<'p, 'r, 'a, 'b> {
    paths: &'p Paths,
    row: &'r mut Row<'a, 'b>,
    is_root: bool,
}

/// Reads a key: the place below it, if any path goes there.
struct Key<'p, 'r, 'a, 'b> {
    paths: &'p Paths,
    row: &'r mut Row<'a, 'b>,
    note_unknown: bool,
}

impl<'de, 'p> DeserializeSeed<'de> for Key<'p, '_, '_, '_> {
    type Value = Option<&'p Paths>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p, '_, '_, '_> {
    type Value = Option<&'p Paths>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let child = self.paths.child(key);
        if child.is_none() && self.note_unknown {
            self.row.note_unknown(key);
        }
        Ok(child)
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.row.fill(self.paths, if v { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        self.row.fill(self.paths, v.to_string().as_bytes());
        Ok(())
    }

    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        self.row.fill(self.paths, v.to_string().as_bytes());
        Ok(())
    }

    fn visit_f64<E>(self, v: f64) -> Result<(), E> {
        self.row.fill(self.paths, v.to_string().as_bytes());
        Ok(())
    }

    fn visit_str<E>(self, v: &str) -> Result<(), E> {
        self.row.fill(self.paths, v.as_bytes());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { paths, row, is_root } = self;
        loop {
            let found = map.next_key_seed(Key { paths, row, note_unknown: is_root })?;
            match found {
                None => return Ok(()),
                Some(Some(paths)) => map.next_value_seed(Place { paths, row, is_root: false })?,
                Some(None) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        // A list of scalars becomes one text joined by `;`; a path may also name a position.
        let mut joined = String::new();
        let mut index = 0_usize;
        loop {
            let positional = if self.paths.children.is_empty() { None } else { self.paths.child(&index.to_string()) };
            if let Some(paths) = positional {
                if list.next_element_seed(Place { paths, row: self.row, is_root: false })?.is_none() {
                    break;
                }
            } else if self.paths.cells.is_empty() {
                if list.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
            } else {
                match list.next_element::<serde_json::Value>()? {
                    None => break,
                    Some(serde_json::Value::String(s)) => join(&mut joined, &s),
                    Some(v @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                        join(&mut joined, &v.to_string());
                    }
                    Some(_) => {}
                }
            }
            index += 1;
        }
        self.row.fill(self.paths, joined.as_bytes());
        Ok(())
    }
}

fn join(joined: &mut String, next: &str) {
    if !joined.is_empty() {
        joined.push(';');
    }
    joined.push_str(next);
}

/// A block of JSON records to parse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) text: &'a [u8],
    /// Number of the first record.
    pub(super) first: u64,
    /// Where the records are; `None` if each line is one.
    pub(super) elements: Option<&'a [(u32, u32)]>,
    /// The file ends within the last record.
    pub(super) torn: bool,
    /// Longest record allowed, bytes.
    pub(super) limit: usize,
}

/// Parses a block.
pub(super) fn parse(records: Records<'_>, paths: &Paths, plan: &Plan<'_>) -> Result<Parsed, TooLong> {
    let mut parser = Parser {
        store: Store { block: &[], arena: Vec::new() },
        tile: Tile::default(),
        builder: Builder::new(plan),
        unknown: BTreeSet::new(),
        filled: vec![false; plan.width],
        paths,
        width: plan.width,
        record: records.first,
        limit: records.limit,
        profile: plan.profile,
    };
    let mut tail = None;
    if let Some(elements) = records.elements {
        for &(start, end) in elements {
            parser.record(&records.text[start as usize..end as usize])?;
        }
        tail = (records.torn && !elements.is_empty()).then(|| parser.record - 1);
    } else {
        let mut rest = records.text;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            parser.record(&rest[..end.unwrap_or(rest.len())])?;
            if end.is_none() {
                tail = Some(parser.record - 1);
            }
            rest = end.map_or(&[][..], |i| &rest[i + 1..]);
        }
    }
    parser.flush();
    let mut parsed = parser.builder.finish(tail);
    parsed.truncated |= records.torn;
    parsed.unknown_keys = parser.unknown;
    parsed.filled_slots = parser.filled;
    Ok(parsed)
}

struct Parser<'b, 'p> {
    store: Store<'b>,
    tile: Tile,
    builder: Builder<'p>,
    unknown: BTreeSet<String>,
    filled: Vec<bool>,
    paths: &'p Paths,
    width: usize,
    record: u64,
    limit: usize,
    profile: &'p Profile,
}

impl Parser<'_, '_> {
    fn record(&mut self, text: &[u8]) -> Result<(), TooLong> {
        let record = self.record;
        self.record += 1;
        if text.len() > self.limit {
            return Err(TooLong { record, bytes: text.len() });
        }
        let text = text.trim_ascii();
        if text.is_empty() {
            self.builder.parsed.blank += 1;
            return Ok(());
        }
        if memchr::memchr(0, text).is_some() {
            self.builder.reject(record, Reason::Nul);
            return Ok(());
        }
        if std::str::from_utf8(text).is_err() {
            self.builder.reject(record, Reason::Encoding);
            return Ok(());
        }
        let from = self.tile.cells.len();
        self.tile.cells.resize(from + self.width, Cell::default());
        let mut row = Row {
            store: &mut self.store,
            cells: &mut self.tile.cells[from..],
            unknown: &mut self.unknown,
            profile: self.profile,
        };
        let mut json = serde_json::Deserializer::from_slice(text);
        let read =
            Place { paths: self.paths, row: &mut row, is_root: true }.deserialize(&mut json).and_then(|()| json.end());
        if read.is_err() || text[0] != b'{' {
            self.tile.cells.truncate(from);
            self.builder.reject(record, if read.is_err() { Reason::Json } else { Reason::NotObject });
            return Ok(());
        }
        for (filled, cell) in self.filled.iter_mut().zip(&self.tile.cells[from..]) {
            *filled |= cell.len() > 0;
        }
        self.tile.records.push(record);
        if self.tile.is_full() {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.builder.consume(&self.store, &self.tile);
        self.tile.clear();
    }
}
