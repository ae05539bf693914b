//! JSON: the elements of a document, and from a record to the cells of the paths that a profile names.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::columns::{Builder, Parsed, Plan, Tile};
use super::csv::TooLong;
use super::interner::{Cell, Store};
use super::profile::Profile;
use super::quarantine::Reason;

/// Where in a document of records the scan stands: `[…]`, or `{…, "Records": […], …}`, any number of them in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Document {
    /// Before a document.
    #[default]
    Start,
    /// In the list of records; whether an object is around it.
    List { in_object: bool },
    /// After the list, before the end of the object.
    AfterList,
}

impl Document {
    /// Adds the elements that lie whole within `bytes` and returns how many bytes are done with, and whether the
    /// file ends before the document does. `ended` says that nothing follows.
    pub(super) fn elements(
        &mut self,
        bytes: &[u8],
        ended: bool,
        found: &mut Vec<(u32, u32)>,
    ) -> Result<(usize, bool), &'static str> {
        let mut at = 0;
        loop {
            at = skip_space(bytes, at);
            let Some(&byte) = bytes.get(at) else {
                return Ok((at, ended && *self != Self::Start));
            };
            match (*self, byte) {
                (Self::Start, b'[') => {
                    *self = Self::List { in_object: false };
                    at += 1;
                }
                (Self::Start, b'{') => match find_records(bytes, at) {
                    Prelude::List(inside) => {
                        *self = Self::List { in_object: true };
                        at = inside;
                    }
                    Prelude::More if !ended => return Ok((at, false)),
                    Prelude::More => return Err("the file ends before its list of Records begins"),
                    Prelude::None(what) => return Err(what),
                },
                (Self::Start, _) => return Err("expected a JSON array or an object with a list Records"),
                (Self::List { in_object }, b']') => {
                    *self = if in_object { Self::AfterList } else { Self::Start };
                    at += 1;
                }
                (Self::List { .. }, b',') | (Self::AfterList, b',' | b':') => at += 1,
                (Self::List { .. }, b'}' | b':') => return Err("the JSON document is damaged"),
                (Self::AfterList, b'}') => {
                    *self = Self::Start;
                    at += 1;
                }
                (Self::List { .. } | Self::AfterList, _) => match skip_value(bytes, at) {
                    Some(end) => {
                        if *self != Self::AfterList {
                            found.push((at as u32, end as u32));
                        }
                        at = end;
                    }
                    None if !ended => return Ok((at, false)),
                    None => {
                        if *self != Self::AfterList {
                            found.push((at as u32, bytes.len() as u32));
                        }
                        return Ok((bytes.len(), true));
                    }
                },
            }
        }
    }
}

/// What the beginning of a JSON object says about a list of records in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prelude {
    /// The list begins at this position.
    List(usize),
    /// There is none, for this reason.
    None(&'static str),
    /// The bytes end too early to tell.
    More,
}

/// Looks for the key `Records` in the object at `at`.
pub(super) fn find_records(bytes: &[u8], at: usize) -> Prelude {
    const DAMAGED: Prelude = Prelude::None("the JSON document is damaged");
    let mut at = at + 1;
    loop {
        at = skip_space(bytes, at);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'"') => {
                let Some(end) = skip_value(bytes, at) else { return Prelude::More };
                let is_records = &bytes[at..end] == b"\"Records\"";
                at = skip_space(bytes, end);
                match bytes.get(at) {
                    Some(b':') => at = skip_space(bytes, at + 1),
                    Some(_) => return DAMAGED,
                    None => return Prelude::More,
                }
                match bytes.get(at) {
                    None => return Prelude::More,
                    Some(b'[') if is_records => return Prelude::List(at + 1),
                    Some(_) if is_records => return Prelude::None("expected Records to be a list"),
                    Some(b',' | b':' | b'}' | b']') => return DAMAGED,
                    Some(_) => match skip_value(bytes, at) {
                        Some(end) => at = end,
                        None => return Prelude::More,
                    },
                }
            }
            Some(b'}') => return Prelude::None("expected a list named Records"),
            Some(_) => return DAMAGED,
            None => return Prelude::More,
        }
    }
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// The end of the JSON value at `at`, by strings and nesting alone; `None` if the bytes end within it.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut i = at;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => {
                i += 1;
                loop {
                    i += memchr::memchr2(b'"', b'\\', bytes.get(i..)?)?;
                    if bytes[i] == b'"' {
                        break;
                    }
                    i += 2;
                }
                if depth == 0 {
                    return Some(i + 1);
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                if depth <= 1 {
                    // A bare value ends before the bracket that is not its own.
                    return Some(if depth == 0 { i } else { i + 1 });
                }
                depth -= 1;
            }
            b',' if depth == 0 => return Some(i),
            b if depth == 0 && b.is_ascii_whitespace() => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}

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

    fn at<'k>(&mut self, keys: &mut dyn Iterator<Item = &'k str>) -> &mut Self {
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

/// Reads one value at a place of the tree.
struct Place<'p, 'r, 'a, 'b> {
    paths: &'p Paths,
    row: &'r mut Row<'a, 'b>,
    is_root: bool,
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
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match self.paths.child(&key) {
                Some(paths) => map.next_value_seed(Place { paths, row: self.row, is_root: false })?,
                None => {
                    if self.is_root
                        && self.row.unknown.len() < UNKNOWN_KEYS
                        && key.len() <= UNKNOWN_KEY_BYTES
                        && !self.row.profile.is_known_unused(&key)
                        && !self.row.unknown.contains(key.as_ref())
                    {
                        self.row.unknown.insert(key.into_owned());
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
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
        let read = Place { paths: self.paths, row: &mut row, is_root: true }
            .deserialize(&mut json)
            .and_then(|()| json.end());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Result<(Vec<&str>, bool), &'static str> {
        let mut found = Vec::new();
        let (_, torn) = Document::default().elements(text.as_bytes(), true, &mut found)?;
        Ok((found.iter().map(|&(a, b)| &text[a as usize..b as usize]).collect(), torn))
    }

    #[test]
    fn the_elements_of_a_document_are_its_records() {
        for (text, expected, torn) in [
            ("[]", vec![], false),
            (r#" [ {"a":1} , {"b":"]}"} ] "#, vec![r#"{"a":1}"#, r#"{"b":"]}"}"#], false),
            (r#"{"Records":[{"a":[1,{}]},2]}"#, vec![r#"{"a":[1,{}]}"#, "2"], false),
            (r#"{"x":{"Records":[1]},"Records":[{"c":"\""}],"y":[3]}"#, vec![r#"{"c":"\""}"#], false),
            (r#"{"Records":[1]}{"Records":[2]}"#, vec!["1", "2"], false),
            (r#"{"Records":[{"a":1},{"b"#, vec![r#"{"a":1}"#, r#"{"b"#], true),
            (r#"[{"a":1},"#, vec![r#"{"a":1}"#], true),
        ] {
            assert_eq!(elements(text), Ok((expected, torn)), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_records_is_refused() {
        for text in [r#"{"Records":5}"#, r#"{"Records":{"a":1}}"#, r#"{"a":1}"#, "7", r"{]", r#"{"a" 1}"#, "[}"] {
            assert!(elements(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_document_cut_anywhere_continues_where_it_stopped() {
        let text = br#"{"v":"[","Records":[{"a":"x,]}"},{"b":[1,2,{"c":null}]},{"d":"\\\""}],"w":{"z":[]}}"#;
        for cut in 0..text.len() {
            let mut document = Document::default();
            let mut first = Vec::new();
            let (done, _) = document.elements(&text[..cut], false, &mut first).unwrap();
            let mut second = Vec::new();
            let (_, torn) = document.elements(&text[done..], true, &mut second).unwrap();
            assert_eq!((first.len() + second.len(), torn), (3, false), "cut at {cut}");
        }
    }
}
