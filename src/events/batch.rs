//! Canonical events in memory: one column per field, text stored once per distinct value.
//!
//! This is what the readers produce and what the archive and the feature pipeline consume. A text column is a code
//! per row into a [`Dictionary`]; code 0 means "missing". Request ids are nearly unique, so they are kept as plain
//! bytes. A missing number is [`MISSING`].

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

use super::action::Action;

/// A missing value in a numeric column.
pub const MISSING: i64 = i64::MIN;

/// Distinct strings, numbered in order of first appearance; number 0 is the missing (empty) value.
#[derive(Debug, Clone)]
pub struct Dictionary {
    bytes: String,
    ends: Vec<u32>,
    index: HashTable<u32>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { bytes: String::new(), ends: vec![0], index: HashTable::new() }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl Dictionary {
    /// The number of `text`, new or known. The empty string is always 0.
    pub fn intern(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let h = hash(text);
        let (bytes, ends) = (&self.bytes, &self.ends);
        let read = |code: u32| &bytes[ends[code as usize - 1] as usize..ends[code as usize] as usize];
        if let Some(&code) = self.index.find(h, |&code| read(code) == text) {
            return code;
        }
        let code = u32::try_from(self.ends.len()).expect("fewer than 2^32 distinct strings in a batch");
        self.index.insert_unique(h, code, |&code| hash(read(code)));
        self.bytes.push_str(text);
        self.ends.push(u32::try_from(self.bytes.len()).expect("distinct strings of a batch stay under 4 GiB"));
        code
    }

    /// The text with this number.
    pub fn get(&self, code: u32) -> &str {
        if code == 0 {
            return "";
        }
        &self.bytes[self.ends[code as usize - 1] as usize..self.ends[code as usize] as usize]
    }

    /// How many numbers there are, including 0.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Nothing but the missing value.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// All texts in order of their number, the empty one first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|code| self.get(u32::try_from(code).expect("codes fit u32")))
    }
}

/// A text column.
#[derive(Debug, Clone, Default)]
pub struct TextColumn {
    /// A number per row.
    pub codes: Vec<u32>,
    /// What the numbers mean.
    pub dictionary: Dictionary,
}

impl TextColumn {
    /// The text of one row ("" if missing).
    pub fn get(&self, row: usize) -> &str {
        self.dictionary.get(self.codes[row])
    }

    /// Appends a row.
    pub fn push(&mut self, text: &str) {
        let code = self.dictionary.intern(text);
        self.codes.push(code);
    }
}

/// Text that hardly repeats: bytes end to end.
#[derive(Debug, Clone)]
pub struct PlainText {
    /// All rows' bytes, UTF-8.
    pub bytes: Vec<u8>,
    /// `ends[row]..ends[row + 1]` is the row.
    pub ends: Vec<u64>,
}

impl Default for PlainText {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: vec![0] }
    }
}

impl PlainText {
    /// The text of one row.
    pub fn get(&self, row: usize) -> &str {
        let range = usize::try_from(self.ends[row]).unwrap_or(0)..usize::try_from(self.ends[row + 1]).unwrap_or(0);
        std::str::from_utf8(&self.bytes[range]).unwrap_or("")
    }

    /// Appends a row.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len() as u64);
    }
}

/// The text fields of an event, in storage order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// `org_id`
    Org,
    /// `user_id`
    User,
    /// `user_name`
    UserName,
    /// `client_ip`
    ClientIp,
    /// `app_id`
    AppId,
    /// `app_name`
    AppName,
    /// `client_name`
    ClientName,
    /// `api_family`
    ApiFamily,
    /// `api_version`
    ApiVersion,
    /// `resource`
    Resource,
    /// `http_method`
    HttpMethod,
    /// `entity_name`
    Entity,
    /// `session_id`
    SessionId,
}

impl Field {
    /// All text fields, by number.
    pub const ALL: [Self; 13] = [
        Self::Org,
        Self::User,
        Self::UserName,
        Self::ClientIp,
        Self::AppId,
        Self::AppName,
        Self::ClientName,
        Self::ApiFamily,
        Self::ApiVersion,
        Self::Resource,
        Self::HttpMethod,
        Self::Entity,
        Self::SessionId,
    ];

    /// The canonical column name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Org => "org_id",
            Self::User => "user_id",
            Self::UserName => "user_name",
            Self::ClientIp => "client_ip",
            Self::AppId => "app_id",
            Self::AppName => "app_name",
            Self::ClientName => "client_name",
            Self::ApiFamily => "api_family",
            Self::ApiVersion => "api_version",
            Self::Resource => "resource",
            Self::HttpMethod => "http_method",
            Self::Entity => "entity_name",
            Self::SessionId => "session_id",
        }
    }
}

/// The optional numeric fields of an event, in storage order.
pub const NUMBERS: [&str; 4] = ["request_bytes", "response_bytes", "row_count", "duration_ms"];

/// Canonical events, all of one source file (`source` is therefore not a column but the digest beside the batch).
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// UTC, ms since the epoch.
    pub timestamp_ms: Vec<i64>,
    /// Text columns, indexed by [`Field`].
    pub text: [TextColumn; 13],
    /// Verb class per row.
    pub action: Vec<Action>,
    /// HTTP status; 0 is missing.
    pub status: Vec<u16>,
    /// Request ids.
    pub request_id: PlainText,
    /// 1-based record number in the source file (the header is not a record).
    pub source_row: Vec<u64>,
    /// Optional numbers, indexed as [`NUMBERS`]; an empty vector if the source has no such column.
    pub numbers: [Vec<i64>; 4],
}

impl Events {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.timestamp_ms.len()
    }

    /// No events.
    pub fn is_empty(&self) -> bool {
        self.timestamp_ms.is_empty()
    }

    /// A text column.
    pub fn column(&self, field: Field) -> &TextColumn {
        &self.text[field as usize]
    }

    /// A text column, to fill.
    pub fn column_mut(&mut self, field: Field) -> &mut TextColumn {
        &mut self.text[field as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_numbers_by_first_appearance_and_keeps_zero_for_missing() {
        let mut d = Dictionary::default();
        assert_eq!([d.intern("b"), d.intern(""), d.intern("a"), d.intern("b")], [1, 0, 2, 1]);
        assert_eq!(d.iter().collect::<Vec<_>>(), ["", "b", "a"]);
    }
}
