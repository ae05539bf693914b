//! The sessions of one organisation, gathered day by day, for its order of calls to be learned from.

use std::collections::BTreeMap;

use crate::tables::DayTables;

/// Steps of a session that are looked at.
pub(super) const LONGEST: usize = 2_000;

/// Steps of all sessions that are learned from; of more, every other session.
const MOST: usize = 4_000_000;

/// Sessions seen so far, to learn from.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// Steps with and without object, by number.
    pub(super) words: Vec<(String, String)>,
    numbers: BTreeMap<String, u32>,
    pub(super) users: Vec<String>,
    user_numbers: BTreeMap<String, u32>,
    pub(super) steps: Vec<u32>,
    /// User and end of each session.
    pub(super) sessions: Vec<(u32, usize)>,
    /// Only every so many-th session is kept, as a power of two.
    thinned: u32,
    met: usize,
}

impl Corpus {
    /// Adds the sessions of a day, but those of users whose day (by their row) was an `incident`.
    pub fn add(&mut self, day: &DayTables, incident: impl Fn(usize) -> bool) {
        let Some(steps) = &day.steps else { return };
        let words: Vec<u32> = steps.words.iter().map(|(full, coarse)| self.word(full, coarse)).collect();
        for (row, key) in day.session_keys.iter().enumerate().filter(|(_, key)| !incident(key.user as usize)) {
            self.met += 1;
            if !self.met.is_multiple_of(1 << self.thinned) {
                continue;
            }
            let user = self.user(day.text(day.user_day.ids[key.user as usize]));
            self.steps.extend(steps.of(row as u32).iter().take(LONGEST).map(|s| words[s.word as usize]));
            self.sessions.push((user, self.steps.len()));
            if self.steps.len() > MOST {
                self.thin();
            }
        }
    }

    fn word(&mut self, full: &str, coarse: &str) -> u32 {
        if let Some(number) = self.numbers.get(full) {
            return *number;
        }
        let number = self.words.len() as u32;
        self.words.push((full.to_owned(), coarse.to_owned()));
        self.numbers.insert(full.to_owned(), number);
        number
    }

    fn user(&mut self, id: &str) -> u32 {
        if let Some(number) = self.user_numbers.get(id) {
            return *number;
        }
        let number = self.users.len() as u32;
        self.users.push(id.to_owned());
        self.user_numbers.insert(id.to_owned(), number);
        number
    }

    /// Keeps every other session.
    pub(super) fn thin(&mut self) {
        let (steps, sessions) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.sessions));
        let mut from = 0;
        for (i, (user, to)) in sessions.into_iter().enumerate() {
            if i % 2 == 1 {
                self.steps.extend_from_slice(&steps[from..to]);
                self.sessions.push((user, self.steps.len()));
            }
            from = to;
        }
        self.thinned += 1;
    }
}
