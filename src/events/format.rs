//! What kind of file this is, and which of its columns feed which canonical column.

use std::collections::BTreeSet;
use std::path::Path;

use super::batch::Field;
use super::csv::{self, Walk, walk};
use super::decompress::Input;
use super::document::{Prelude, find_records};
use super::profile::{Profile, Role};
use super::read::ReadStats;
use super::split::too_long;
use super::tile::Plan;
use crate::error::{Error, Kind, Result};

/// How much of a file is looked at to tell its format.
pub(super) const HEAD_BYTES: usize = 64 << 10;
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    JsonLines,
    JsonDocument,
    Parquet,
}

pub(super) fn sniff(path: &Path, head: &[u8], compressed: bool) -> Result<Format> {
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
        Some(b'{') => match find_records(text, start) {
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

/// Takes the header record off the front of `carry`, reading on if it is longer. `None` if the file has no text.
pub(super) fn header(input: &mut Input, carry: &mut Vec<u8>, line_bytes: usize) -> Result<Option<Vec<String>>> {
    let mut ended = carry.len() < HEAD_BYTES - BOM.len();
    loop {
        let blank = carry.iter().take_while(|b| b.is_ascii_whitespace()).count();
        carry.drain(..blank);
        if carry.is_empty() && ended {
            return Ok(None);
        }
        let mut names = Vec::new();
        let walked = walk(carry, 0, ended, line_bytes, |field| {
            let mut text = Vec::new();
            let raw = &carry[field.start..field.end];
            if field.doubled {
                csv::unescape(raw, &mut text);
            } else {
                text.extend_from_slice(raw);
            }
            names.push(String::from_utf8_lossy(&text).trim().to_owned());
        });
        if let Walk::Record { next, .. } = walked {
            carry.drain(..next);
            return Ok(Some(names));
        }
        if carry.len() > line_bytes {
            return Err(too_long(input.path(), 0, carry.len(), line_bytes));
        }
        let from = carry.len();
        carry.resize(from + HEAD_BYTES, 0);
        let read = input.fill(&mut carry[from..])?;
        ended = read < HEAD_BYTES;
        carry.truncate(from + read);
    }
}

/// Binds the profile's columns to a header by name, whatever the case.
pub(super) fn bind<'p>(
    path: &Path,
    profile: &'p Profile,
    header: &[String],
    stats: &mut ReadStats,
) -> Result<Plan<'p>> {
    if header.iter().any(|name| name.contains('\r')) {
        return Err(Error::new(
            Kind::Input,
            format!("{}: expected lines that end with LF or CRLF, found CR alone", path.display()),
        ));
    }
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
    let unknown: BTreeSet<&String> = header
        .iter()
        .zip(&used)
        .filter(|(name, used)| !**used && !profile.is_known_unused(name))
        .map(|(n, _)| n)
        .collect();
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
