//! What was delivered and what is still to be, in a hidden folder beside the run folders: one file, replaced whole after each
//! step, so that whoever is killed leaves a state from which the next run goes on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::report::message::{Message, Why};

use super::Said;

/// Its folder. Run folders of one parent share it: a night that is scored into another folder beside the first is not
/// delivered twice.
pub const FOLDER: &str = ".quietwatch-delivered";
const FILE: &str = "delivered.json";
const LOCK: &str = ".lock";

const VERSION: u32 = 1;
/// Nights for which it is remembered what was delivered; and for which delivery is still tried.
const REMEMBERED: i32 = 400;
const TRIED: i32 = 30;

/// The ledger of a folder, held against other processes.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    /// The lock dies with its process.
    _lock: File,
}

/// What it says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    format_version: u32,
    delivered: Vec<Delivered>,
    pending: Vec<Pending>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivered {
    night: Date,
    channel: String,
    key: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    channel: String,
    message: Message,
}

impl Ledger {
    /// Waits for another process that is delivering; its time is bounded.
    pub(super) fn open(parent: &Path) -> Result<Self> {
        let folder = parent.join(FOLDER);
        fsutil::create_dirs(&folder)?;
        let path = folder.join(LOCK);
        let failed = |e| Error::io(Kind::Usage, "lock", &path, e);
        let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        fsutil::remove_leftovers(&folder)?;
        Ok(Self { path: folder.join(FILE), _lock: lock })
    }

    pub(super) fn load(&self) -> Result<State> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(e) => return Err(Error::io(Kind::Input, "read", &self.path, e)),
        };
        let state = serde_json::from_slice::<State>(&bytes).ok().filter(|state| state.format_version == VERSION);
        state.ok_or_else(|| {
            let message = format!(
                "{} does not say what was delivered (expected layout {VERSION}), so nothing is sent; move it away to begin \
                 anew, and what its nights say may be sent again",
                self.path.display()
            );
            Error::new(Kind::Input, message)
        })
    }

    pub(super) fn save(&self, state: &State) -> Result<()> {
        let mut bytes = serde_json::to_vec(state)
            .map_err(|e| Error::new(Kind::Bug, "what was delivered cannot be written").with_source(e))?;
        bytes.push(b'\n');
        fsutil::write_atomic(&self.path, &bytes)
    }
}

impl Default for State {
    fn default() -> Self {
        Self { format_version: VERSION, delivered: Vec::new(), pending: Vec::new() }
    }
}

impl State {
    fn is_delivered(&self, channel: &str, key: &str) -> bool {
        self.delivered.iter().any(|d| d.channel == channel && d.key == key)
    }

    /// Adds what a run has to say to each channel and was not delivered; what a run says of its nights takes the place of what an
    /// earlier run could not deliver about them. Whether anything changed.
    pub(super) fn plan(&mut self, run: &Said<'_>, channels: &[&'static str], warnings: &mut Vec<String>) -> bool {
        let Said { model, nights, messages } = *run;
        let newest = nights.iter().max().copied();
        let before = self.pending.len();
        let planned: BTreeSet<&str> = messages.iter().map(|m| m.key.as_str()).collect();
        let mut given_up = 0;
        self.pending.retain(|p| {
            let m = &p.message;
            let ours = m.model_name == model;
            // What was said of a night that is scored again, but no longer holds, is not said; yesterday's heartbeat neither.
            let withdrawn = ours && nights.contains(&m.night) && !planned.contains(m.key.as_str());
            let stale = ours && m.why == Why::Heartbeat && newest.is_some_and(|newest| m.night < newest);
            let late = ours && newest.is_some_and(|newest| m.night < newest.plus(-TRIED));
            given_up += usize::from(late && !withdrawn);
            channels.contains(&p.channel.as_str()) && !withdrawn && !stale && !late
        });
        if given_up > 0 {
            warnings.push(format!(
                "{given_up} messages of nights more than {TRIED} days ago could not be delivered and are dropped"
            ));
        }
        let mut changed = self.pending.len() != before;
        for channel in channels {
            for message in messages {
                if self.is_delivered(channel, &message.key) {
                    continue;
                }
                match self.pending.iter_mut().find(|p| p.channel == *channel && p.message.key == message.key) {
                    Some(p) if p.message == *message => continue,
                    Some(p) => p.message = message.clone(),
                    None => self.pending.push(Pending { channel: (*channel).to_owned(), message: message.clone() }),
                }
                changed = true;
            }
        }
        changed
    }

    /// What is pending for a channel, night by night in the order in which it was found.
    pub(super) fn pending_for(&self, channel: &str) -> Vec<Message> {
        let mut out: Vec<Message> =
            self.pending.iter().filter(|p| p.channel == channel).map(|p| p.message.clone()).collect();
        out.sort_by_key(|m| m.night);
        out
    }

    /// Notes that a message has arrived.
    pub(super) fn delivered(&mut self, channel: &str, message: &Message) {
        self.pending.retain(|p| p.channel != channel || p.message.key != message.key);
        if !self.is_delivered(channel, &message.key) {
            let (channel, key) = (channel.to_owned(), message.key.clone());
            self.delivered.push(Delivered { night: message.night, channel, key });
        }
        let newest = self.delivered.iter().map(|d| d.night).max().unwrap_or_default();
        self.delivered.retain(|d| d.night >= newest.plus(-REMEMBERED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::message::{Wanted, of_run};
    use crate::report::sample;

    fn messages(heartbeat: bool, rows: u32) -> Vec<Message> {
        let rows: Vec<_> = (1..=rows).map(sample::anomaly).collect();
        of_run(&sample::run(), &rows, Wanted { heartbeat, nights: 7, report_url: "" })
    }

    fn plan(state: &mut State, messages: &[Message], night: Date) -> bool {
        state.plan(&Said { model: "acme", nights: &[night], messages }, &["slack", "mail"], &mut Vec::new())
    }

    #[test]
    fn what_is_delivered_is_not_planned_again_and_what_is_not_stays() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let mut state = ledger.load().unwrap();
        let messages = messages(false, 1);
        assert!(plan(&mut state, &messages, sample::date()));
        assert_eq!((state.pending_for("slack").len(), state.pending_for("mail").len()), (2, 2));
        state.delivered("slack", &messages[0]);
        ledger.save(&state).unwrap();
        let mut state = ledger.load().unwrap();
        assert!(!plan(&mut state, &messages, sample::date()), "nothing is new");
        assert_eq!(state.pending_for("slack"), [messages[1].clone()]);
        assert_eq!(state.pending_for("mail").len(), 2);
    }

    #[test]
    fn a_night_that_is_scored_again_says_only_what_still_holds() {
        let mut state = State::default();
        plan(&mut state, &messages(false, 1), sample::date());
        // Nothing is reported any more.
        assert!(plan(&mut state, &[], sample::date()));
        assert!(state.pending.is_empty());
    }

    #[test]
    fn yesterdays_heartbeat_is_dropped_and_yesterdays_digest_is_not() {
        let mut state = State::default();
        plan(&mut state, &messages(true, 0), sample::date());
        assert_eq!(state.pending_for("mail")[0].why, Why::Heartbeat);
        let tomorrow = sample::date().plus(1);
        plan(&mut state, &[], tomorrow);
        assert!(state.pending.is_empty());
        plan(&mut state, &messages(false, 1), sample::date());
        plan(&mut state, &[], tomorrow);
        assert_eq!(state.pending_for("mail").len(), 2);
        let mut warnings = Vec::new();
        let late = Said { model: "acme", nights: &[sample::date().plus(31)], messages: &[] };
        state.plan(&Said { model: "other", ..late }, &["slack", "mail"], &mut warnings);
        assert_eq!((state.pending.len(), warnings.len()), (4, 0), "that is another model");
        state.plan(&late, &["slack", "mail"], &mut warnings);
        assert!(state.pending.is_empty() && warnings[0].starts_with("4 messages"), "{warnings:?}");
    }

    #[test]
    fn a_damaged_ledger_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        for content in ["", "{}", "{\"format_version\":2,\"delivered\":[],\"pending\":[]}"] {
            fs::write(dir.path().join(FOLDER).join(FILE), content).unwrap();
            assert_eq!(ledger.load().unwrap_err().kind(), Kind::Input);
            assert_eq!(fs::read_to_string(dir.path().join(FOLDER).join(FILE)).unwrap(), content);
        }
    }
}
