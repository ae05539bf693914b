//! What a partition is made of: its parts, how they were read, and the digest of every file.
//!
//! A manifest holds no time of writing, path or host, so that equal input makes equal bytes; its own digest stands for
//! the whole partition.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::events::step::StepColumn;
use crate::features::catalog;
use crate::tables::ValueKind;

/// Version of the store's layout.
pub(super) const FORMAT: u32 = 1;

/// Raised when features of the same name come to mean something else.
const MEANING: u32 = 1;

/// What one source file is to a partition. The order is that of certainty: when the same content comes under two names,
/// the first kind holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// The whole date.
    Daily,
    /// An hour of it, or part of one.
    Hourly,
    /// Not said, or rows dated outside the date that the file is for.
    Unknown,
}

#[expect(clippy::ptr_arg, reason = "serde hands over the field as it is")]
fn are_usual(step: &Vec<StepColumn>) -> bool {
    StepColumn::are_usual(step)
}

/// One source file's share of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// BLAKE3 of the file's (decompressed) content: what it is known by.
    pub digest: String,
    /// What it covers.
    pub kind: PartKind,
    /// When its source made it, if that is known.
    pub created: Option<String>,
    /// Of an hourly part: the hour (0–23, UTC), if its source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<u8>,
    /// Of an hourly part: its number, from 1, among those of the hour, if its source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
    /// The profile that it was read with.
    pub profile: String,
    /// The profile's session gap.
    pub session_gap_minutes: u32,
    /// What the profile makes steps of.
    #[serde(default = "StepColumn::usual", skip_serializing_if = "are_usual")]
    pub step: Vec<StepColumn>,
    /// Its events of this organisation and date.
    pub rows: u64,
    /// Of these, how many the features are computed from: none if superseded, fewer if another part has them too.
    pub contributing_rows: u64,
}

/// A file of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path in the partition.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: String,
}

/// A partition's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// Organisation.
    pub org_id: String,
    /// UTC date.
    pub date: Date,
    /// Digest of the feature catalog (see [`feature_schema`]).
    pub feature_schema: String,
    /// Digest of what addresses were looked up in.
    pub enrichment: String,
    /// Whether events are kept.
    pub archive: bool,
    /// Gap that ends a session: the shortest that a part's profile asks for.
    pub session_gap_minutes: u32,
    /// What steps are made of: what all parts' profiles ask for, the usual where they differ.
    #[serde(default = "StepColumn::usual", skip_serializing_if = "are_usual")]
    pub step: Vec<StepColumn>,
    /// Events that the features are computed from.
    pub events: u64,
    /// By digest.
    pub parts: Vec<Part>,
    /// By path.
    pub files: Vec<File>,
    /// BLAKE3 of the manifest's bytes with nothing here.
    pub check: String,
}

impl Part {
    /// The same content under another name: what is known for certain holds, in whichever order the two came.
    pub(super) fn and_known(&mut self, known: &Self) {
        self.kind = self.kind.min(known.kind);
        self.created = self.created.take().max(known.created.clone());
        (self.hour, self.sequence) = (self.hour, self.sequence).max((known.hour, known.sequence));
    }
}

impl Manifest {
    fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|e| Error::new(Kind::Bug, "cannot write a manifest").with_source(e))
    }

    /// BLAKE3 of the bytes with no check in them.
    fn check(&self) -> Result<String> {
        let unchecked = Self { check: String::new(), ..self.clone() }.encode()?;
        Ok(blake3::hash(&unchecked).to_hex().to_string())
    }

    /// The bytes on disk, with their check.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Self { check: self.check()?, ..self.clone() }.encode()?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads and checks a manifest's bytes.
    pub(super) fn from_bytes(bytes: &[u8], place: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = || {
            Error::new(
                Kind::Digest,
                format!("{place}: the manifest is damaged; remove the partition and ingest the date's files again"),
            )
        };
        let found = serde_json::from_slice::<Version>(bytes).map_err(|e| damaged().with_source(e))?.format;
        if found != FORMAT {
            // A bit of the number itself may have flipped: then all the rest is as this engine wrote it.
            let ours = serde_json::from_slice::<Self>(bytes).is_ok_and(|manifest| {
                let check = Self { format: FORMAT, ..manifest.clone() }.check().ok();
                check == Some(manifest.check)
            });
            if ours {
                return Err(damaged());
            }
            return Err(Error::new(
                Kind::Input,
                format!("{place}: expected store format {FORMAT}, found {found}; use the engine version that wrote it"),
            ));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| damaged().with_source(e))?;
        // There is one way to write a manifest, so that every bit of it is checked.
        if manifest.to_bytes()? == bytes { Ok(manifest) } else { Err(damaged()) }
    }

    /// The listed file.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }
}

/// What is wrong with a `store.json` that does not say `expected`. A store of another version says so with a digest of what it
/// says, `{"quietwatch_store":2,"check":"<BLAKE3 of {"quietwatch_store":2>"}`; without that, it is a damaged one of ours.
pub(super) fn other_marker(text: &[u8], path: &Path, expected: &str) -> Error {
    let version = || {
        let (said, check) =
            std::str::from_utf8(text).ok()?.trim_end().strip_suffix("\"}")?.split_once(",\"check\":\"")?;
        let version = said.strip_prefix("{\"quietwatch_store\":")?.parse::<u32>().ok()?;
        (blake3::hash(said.as_bytes()).to_hex().as_str() == check).then_some(version)
    };
    let place = path.display();
    match version() {
        Some(found) => Error::new(
            Kind::Input,
            format!(
                "{place}: expected a store of version {FORMAT}, found {found}; use the engine version that wrote it"
            ),
        ),
        None => Error::new(
            Kind::Digest,
            format!(
                "{place}: expected {}, found something else: the file is damaged; if this is a store, restore it or write \
                 that line anew",
                expected.trim_end()
            ),
        ),
    }
}

/// Digest of names, units and meanings of everything in the features: what a model must have been trained on.
pub fn feature_schema() -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(&MEANING.to_string());
    for (table, features) in [
        ("user_day", catalog::user_day::FEATURES),
        ("session", catalog::session::FEATURES),
        ("app_day", catalog::app_day::FEATURES),
        ("ip_day", catalog::ip_day::FEATURES),
        ("org_day", catalog::org_day::FEATURES),
    ] {
        add(table);
        for feature in features {
            add(feature.name);
            add(feature.unit);
        }
    }
    for kind in ValueKind::ALL {
        add(kind.name());
    }
    hasher.finalize().to_hex().to_string()
}

/// Which parts the features are computed from, in the order of `parts`: the last daily part by (created, rows, digest)
/// supersedes other daily and all hourly ones; parts of unknown kind always count.
pub(super) fn effective(parts: &[Part]) -> Vec<bool> {
    let daily = parts
        .iter()
        .filter(|p| p.kind == PartKind::Daily)
        .max_by(|a, b| (&a.created, a.rows, &a.digest).cmp(&(&b.created, b.rows, &b.digest)));
    parts
        .iter()
        .map(|part| match (part.kind, daily) {
            (PartKind::Unknown, _) | (PartKind::Hourly, None) => true,
            (_, Some(daily)) => daily.digest == part.digest,
            (PartKind::Daily, None) => false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(digest: &str, kind: PartKind, created: Option<&str>, rows: u64) -> Part {
        Part {
            digest: digest.into(),
            kind,
            created: created.map(String::from),
            hour: None,
            sequence: None,
            profile: "generic".into(),
            session_gap_minutes: 30,
            step: StepColumn::usual(),
            rows,
            contributing_rows: 0,
        }
    }

    #[test]
    fn the_last_daily_part_supersedes_hourly_and_earlier_daily_ones_however_many_rows_they_have() {
        use PartKind::{Daily, Hourly, Unknown};
        let parts = [
            part("a", Daily, Some("2026-01-02T03:00:00.000Z"), 900),
            part("b", Daily, Some("2026-01-03T03:00:00.000Z"), 100),
            part("c", Hourly, None, 50),
            part("d", Unknown, None, 5),
            part("e", Daily, None, 10_000),
        ];
        assert_eq!(effective(&parts), [false, true, false, true, false]);
        assert_eq!(effective(&parts[2..4]), [true, true]);
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let error = Manifest::from_bytes(br#"{"format": 2, "shape": "of things to come"}"#, "x").unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains("expected store format 1, found 2"), "{error}");
    }
}
