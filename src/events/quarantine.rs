//! Rows that cannot be read: which, and why. A reason never repeats what the row says.

use std::fmt;

/// Why a row was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The time is missing, unreadable, or outside 1990..2100.
    Timestamp,
    /// No user (and the call did not fail to authenticate).
    User,
    /// A Salesforce row of another event type.
    EventType,
    /// More or fewer fields than the header.
    FieldCount,
    /// A quote that does not close, or text after a closing quote.
    Quotes,
    /// Not UTF-8.
    Encoding,
    /// A zero byte.
    Nul,
    /// Not JSON, or nested too deeply.
    Json,
    /// JSON, but no object.
    NotObject,
    /// The file ends within the row.
    Truncated,
}

impl Reason {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timestamp => "time missing, unreadable or outside 1990 to 2100",
            Self::User => "no user",
            Self::EventType => "another event type",
            Self::FieldCount => "more or fewer fields than the header",
            Self::Quotes => "quotes do not match",
            Self::Encoding => "not UTF-8",
            Self::Nul => "zero byte",
            Self::Json => "not readable as JSON",
            Self::NotObject => "not a JSON object",
            Self::Truncated => "file ends within the row",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// The source file.
    pub file: String,
    /// 1-based record number in it (the header is not a record).
    pub row: u64,
    /// Why.
    pub reason: Reason,
}
