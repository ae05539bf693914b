//! `log.jsonl`: who made, promoted, rolled back and removed which version, when and why.
//!
//! Lines are only ever added. Each carries the BLAKE3 of the line before (`previous`) and, last, of itself (`hash`), so
//! that no line can be changed, taken out or put in without the next one telling. Logs that older engines began have lines
//! without; they may stand at the beginning alone.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

/// Its name in the folder of a model.
pub(super) const LOG: &str = "log.jsonl";

/// Longest log that is read: a million lines.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// What the first line says of the line before.
const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A version was made.
    Create,
    /// An alias was set to a version.
    #[serde(alias = "alias")]
    Promote,
    /// An alias was set back to the version before.
    Rollback,
    /// A version was removed.
    Remove,
}

impl Event {
    /// As the log spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Remove => "remove",
        }
    }
}

/// What a line of the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When, RFC 3339, UTC.
    pub time: String,
    /// What.
    pub event: Event,
    /// The version that was made, is named from here on, or was removed.
    pub version: u32,
    /// Digest of its manifest.
    pub digest: String,
    /// Of a new version: the champion when it was made. Of an alias: the version it named before.
    pub parent: Option<u32>,
    /// The alias that was set.
    pub alias: Option<String>,
    /// Why.
    pub reason: String,
    /// Who, as the environment of the command said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// An entry as it stands in the file, without `hash`.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    entry: LogEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// A log that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What its lines say, the oldest first. Lines that say nothing are left out.
    pub entries: Vec<LogEntry>,
    /// Number of whole lines.
    pub lines: usize,
    /// The first thing that is wrong with the chain.
    pub broken: Option<String>,
    /// Digest of the last whole line.
    last: String,
    /// Bytes of whole lines; what follows was cut by a crash and never counted.
    whole: u64,
}

impl Log {
    /// Reads the log of a model; without one, it is empty.
    pub(super) fn read(root: &Folder) -> Result<Self> {
        Ok(Self::parse(&root.read(LOG, MAX_LOG_BYTES)?.unwrap_or_default()))
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut log = Self { entries: Vec::new(), lines: 0, broken: None, last: NO_LINE.to_owned(), whole: 0 };
        let mut chained = false;
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            log.lines += 1;
            log.whole += line.len() as u64 + 1;
            let parsed = serde_json::from_slice::<Line>(line).ok();
            let previous = parsed.as_ref().and_then(|l| l.previous.as_deref());
            let own = own_hash(line);
            let wrong = match (previous, own) {
                (Some(previous), _) if previous != log.last => {
                    Some("is not the one that followed the line before: a line was changed, taken out or put in")
                }
                (Some(_), Some(true)) => None,
                (Some(_), _) => Some("was changed: it has not the hash that it says"),
                // What an older engine wrote.
                (None, None) if !chained => None,
                (None, _) => Some("is no line of this log: it carries no hash of the line before"),
            };
            chained |= previous.is_some();
            if let (Some(wrong), None) = (wrong, &log.broken) {
                log.broken = Some(format!("line {} {wrong}", log.lines));
            }
            log.entries.extend(parsed.map(|l| l.entry));
            log.last = blake3::hash(line).to_hex().to_string();
        }
        log
    }

    /// The line that an entry would add, with its line end.
    pub(super) fn line(&self, entry: &LogEntry) -> Result<Vec<u8>> {
        let bug = |e: serde_json::Error| Error::new(Kind::Bug, "cannot log").with_source(e);
        let line = Line { entry: entry.clone(), previous: Some(self.last.clone()) };
        let text = serde_json::to_string(&line).map_err(bug)?;
        Ok(sealed(&text).into_bytes())
    }

    /// Whether this is its last line.
    pub(super) fn ends_with(&self, line: &[u8]) -> bool {
        line.strip_suffix(b"\n").is_some_and(|line| blake3::hash(line).to_hex().as_str() == self.last)
    }

    /// Adds a line and flushes it; what a crash left of another one is cut off first. Only for the holder of the lock.
    pub(super) fn append(&self, folder: &Path, line: &[u8]) -> Result<()> {
        let path = folder.join(LOG);
        let failed = |e| Error::io(Kind::Usage, "append to", &path, e);
        let mut file = File::options().append(true).create(true).open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > self.whole {
            file.set_len(self.whole).map_err(failed)?;
        }
        file.write_all(line).and_then(|()| file.sync_all()).map_err(failed)?;
        fsutil::sync_dir(folder)
    }

    /// The last line about an alias.
    pub(super) fn last_of(&self, alias: &str) -> Option<&LogEntry> {
        self.entries.iter().rev().find(|e| e.alias.as_deref() == Some(alias))
    }

    /// What the next rollback of an alias undoes: its latest promotion that took effect and was not undone.
    pub(super) fn to_undo(&self, alias: &str) -> Option<&LogEntry> {
        let mut open: Vec<&LogEntry> = Vec::new();
        for entry in self.entries.iter().filter(|e| e.alias.as_deref() == Some(alias)) {
            match entry.event {
                Event::Promote => {
                    // Where somebody set the alias by hand, what the log says of before no longer holds.
                    while open.last().is_some_and(|top| Some(top.version) != entry.parent) {
                        open.pop();
                    }
                    open.push(entry);
                }
                Event::Rollback => drop(open.pop()),
                Event::Create | Event::Remove => {}
            }
        }
        open.pop()
    }
}

const SEAL: &str = ",\"hash\":\"";

/// A JSON object with its own BLAKE3 as last field.
fn sealed(object: &str) -> String {
    let body = object.strip_suffix('}').expect("an entry is an object");
    format!("{body}{SEAL}{}\"}}\n", blake3::hash(body.as_bytes()).to_hex())
}

/// Whether the line has the hash that it says; none if it says none.
fn own_hash(line: &[u8]) -> Option<bool> {
    let (rest, end) = line.split_at_checked(line.len().checked_sub(SEAL.len() + 64 + 2)?)?;
    let said = end.strip_prefix(SEAL.as_bytes())?.strip_suffix(b"\"}")?;
    Some(blake3::hash(rest).to_hex().as_bytes() == said)
}

/// The entry of a line that [`Log::line`] made.
pub(super) fn entry_of(line: &[u8]) -> Option<LogEntry> {
    let line = line.strip_suffix(b"\n")?;
    own_hash(line).filter(|holds| *holds)?;
    serde_json::from_slice::<Line>(line).ok().map(|l| l.entry)
}

/// Removes a file, if it is there, and makes that durable.
pub(super) fn remove_file(folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Ok(()) => fsutil::sync_dir(folder),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(Kind::Usage, "remove", &path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: Event, version: u32, parent: Option<u32>, alias: Option<&str>) -> LogEntry {
        LogEntry {
            time: "2026-05-01T02:00:00Z".into(),
            event,
            version,
            digest: "0".repeat(64),
            parent,
            alias: alias.map(str::to_owned),
            reason: "he said \"so\",\n\"hash\":\"x\"}".into(),
            by: None,
        }
    }

    fn log(entries: &[LogEntry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for e in entries {
            bytes.extend(Log::parse(&bytes).line(e).unwrap());
        }
        bytes
    }

    fn some() -> Vec<u8> {
        log(&[
            entry(Event::Create, 1, None, None),
            entry(Event::Promote, 1, None, Some("champion")),
            entry(Event::Create, 2, Some(1), None),
        ])
    }

    #[test]
    fn a_line_carries_the_hash_of_the_line_before() {
        let bytes = some();
        let lines: Vec<&str> = std::str::from_utf8(&bytes).unwrap().lines().collect();
        let third: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(third["previous"], blake3::hash(lines[1].as_bytes()).to_hex().as_str());
        assert_eq!(third["reason"], "he said \"so\",\n\"hash\":\"x\"}");
        let log = Log::parse(&bytes);
        assert_eq!((log.lines, log.entries.len(), log.broken), (3, 3, None));
    }

    #[test]
    fn every_flipped_bit_of_the_log_is_found() {
        let bytes = some();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let found = Log::parse(&damaged);
                // A line end at the very end that is gone looks like a line cut by a crash, which counts for nothing.
                let cut = at == bytes.len() - 1;
                assert!(found.broken.is_some() || (cut && found.lines == 2), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn lines_taken_out_put_in_or_exchanged_are_found() {
        let bytes = some();
        let lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
        let strange = log(&[entry(Event::Promote, 9, Some(1), Some("champion"))]);
        let old = b"{\"time\":\"t\",\"event\":\"create\",\"version\":7,\"digest\":\"\",\"parent\":null,\"alias\":null,\"reason\":\"\"}\n";
        for order in [
            vec![lines[1], lines[2]],
            vec![lines[0], lines[2]],
            vec![lines[1], lines[0], lines[2]],
            vec![lines[0], lines[1], lines[2], &strange],
            vec![lines[0], &strange, lines[1], lines[2]],
            vec![lines[0], lines[1], lines[2], lines[2]],
            vec![lines[0], lines[1], lines[2], old],
            vec![lines[0], lines[1], lines[2], b"\n"],
        ] {
            assert!(Log::parse(&order.concat()).broken.is_some());
        }
    }

    #[test]
    fn what_an_older_engine_wrote_may_stand_at_the_beginning() {
        let old = b"{\"time\":\"t\",\"event\":\"alias\",\"version\":1,\"digest\":\"\",\"parent\":null,\"alias\":\"champion\",\"reason\":\"\"}\n";
        let mut bytes = old.to_vec();
        bytes.extend(Log::parse(&bytes).line(&entry(Event::Promote, 2, Some(1), Some("champion"))).unwrap());
        let log = Log::parse(&bytes);
        assert_eq!((log.broken.as_deref(), log.entries[0].event), (None, Event::Promote));
        bytes[10] ^= 1;
        assert!(Log::parse(&bytes).broken.is_some(), "the first chained line covers the one before it");
    }

    #[test]
    fn a_line_cut_anywhere_counts_for_nothing_and_gives_way_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = some();
        let whole = bytes.iter().position(|&b| b == b'\n').unwrap() + 1;
        for cut in whole..bytes.len() {
            fs::write(dir.path().join(LOG), &bytes[..cut]).unwrap();
            let log = Log::parse(&bytes[..cut]);
            assert!(log.broken.is_none() && (1..=2).contains(&log.lines), "cut at {cut}");
            log.append(dir.path(), &log.line(&entry(Event::Create, 9, None, None)).unwrap()).unwrap();
            let after = Log::parse(&fs::read(dir.path().join(LOG)).unwrap());
            assert_eq!((after.lines, after.broken), (log.lines + 1, None), "cut at {cut}");
            assert_eq!(after.entries.last().unwrap().version, 9);
        }
    }

    #[test]
    fn a_rollback_undoes_the_latest_promotion_that_was_not_undone() {
        use Event::{Promote, Rollback};
        let of = |steps: &[(Event, u32, u32)]| {
            let set =
                |&(event, from, to): &(Event, u32, u32)| entry(event, to, (from > 0).then_some(from), Some("champion"));
            let other = entry(Promote, 8, Some(7), Some("challenger"));
            let entries: Vec<LogEntry> = steps.iter().map(set).chain([other]).collect();
            Log::parse(&log(&entries)).to_undo("champion").map(|e| (e.parent.unwrap_or(0), e.version))
        };
        let first = (Promote, 0, 1);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[first]), Some((0, 1)));
        let three = [first, (Promote, 1, 2), (Promote, 2, 3)];
        assert_eq!(of(&three), Some((2, 3)));
        let back = [&three[..], &[(Rollback, 3, 2)]].concat();
        assert_eq!(of(&back), Some((1, 2)), "twice goes two back");
        assert_eq!(of(&[&back[..], &[(Promote, 2, 4)]].concat()), Some((2, 4)));
        assert_eq!(of(&[&back[..], &[(Promote, 2, 4), (Rollback, 4, 2)]].concat()), Some((1, 2)));
        assert_eq!(of(&[&back[..], &[(Rollback, 2, 1)]].concat()), Some((0, 1)));
        // Set to 5 by hand, then promoted to 6: what to go back to is 5, and after that nothing is known.
        let by_hand = [&three[..], &[(Promote, 5, 6)]].concat();
        assert_eq!(of(&by_hand), Some((5, 6)));
        assert_eq!(of(&[&by_hand[..], &[(Rollback, 6, 5)]].concat()), None);
    }
}
