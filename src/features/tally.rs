//! Counting by number: which of a few thousand codes were met, how often, when, and in which requests.
//!
//! One table of slots per kind of code serves all subjects in turn. Clearing it moves a base instead of touching
//! memory, so that a subject with five values costs five steps and not one per code.

use super::day::{Day, Row};

/// No row.
pub(super) const NO_ROW: u32 = u32::MAX;

/// The uses of one code by one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) code: u32,
    pub(super) calls: u32,
    pub(super) errors: u32,
    /// First and last, ms of the day.
    pub(super) first: u32,
    pub(super) last: u32,
    /// Rows of the earliest calls with request ids that differ; [`NO_ROW`] where there are fewer.
    pub(super) requests: [u32; 3],
}

impl Uses {
    fn of(code: u32, row: &Row) -> Self {
        Self { code, calls: 0, errors: 0, first: row.ms, last: row.ms, requests: [NO_ROW; 3] }
    }

    fn add_request(&mut self, day: &Day<'_>, row: u32) {
        for slot in &mut self.requests {
            if *slot == NO_ROW {
                *slot = row;
                return;
            }
            if day.same_request(*slot, row) {
                return;
            }
        }
    }
}

/// Uses by code of one subject at a time.
#[derive(Debug)]
pub(super) struct Tally {
    /// `slots[code] - base` is the place in `uses`, if not negative.
    slots: Vec<u32>,
    base: u32,
    /// In order of first use.
    pub(super) uses: Vec<Uses>,
}

impl Tally {
    /// For codes below `codes`.
    pub(super) fn new(codes: usize) -> Self {
        Self { slots: vec![0; codes], base: 1, uses: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.base += self.uses.len() as u32;
        self.uses.clear();
        // A subject has fewer than 2^31 rows, so the next one cannot run past the end.
        if self.base > 1 << 31 {
            self.slots.fill(0);
            self.base = 1;
        }
    }

    fn entry(&mut self, code: u32, new: impl FnOnce() -> Uses) -> &mut Uses {
        let slot = &mut self.slots[code as usize];
        if *slot < self.base {
            *slot = self.base + self.uses.len() as u32;
            self.uses.push(new());
        }
        let at = (*slot - self.base) as usize;
        &mut self.uses[at]
    }

    /// Counts row number `at`. Rows come in order of time.
    #[inline]
    pub(super) fn add<const REQUESTS: bool>(&mut self, code: u32, day: &Day<'_>, at: u32, row: &Row) {
        let uses = self.entry(code, || Uses::of(code, row));
        uses.calls += 1;
        uses.errors += u32::from(row.failed());
        uses.last = row.ms;
        if REQUESTS && uses.requests[2] == NO_ROW && row.request != 0 {
            uses.add_request(day, at);
        }
    }

    /// Adds what was counted under a finer code.
    pub(super) fn merge(&mut self, code: u32, day: &Day<'_>, finer: &Uses) {
        let uses = self.entry(code, || Uses { code, calls: 0, errors: 0, requests: [NO_ROW; 3], ..*finer });
        uses.calls += finer.calls;
        uses.errors += finer.errors;
        uses.first = uses.first.min(finer.first);
        uses.last = uses.last.max(finer.last);
        if uses.requests[0] == NO_ROW {
            uses.requests = finer.requests;
        } else if finer.requests[0] != NO_ROW {
            // The earliest three of a union are among the earliest three of each.
            let (ours, theirs) = (uses.requests, finer.requests);
            uses.requests = [NO_ROW; 3];
            let (mut i, mut j) = (0, 0);
            while uses.requests[2] == NO_ROW {
                let (a, b) = (ours.get(i).copied().unwrap_or(NO_ROW), theirs.get(j).copied().unwrap_or(NO_ROW));
                if a == NO_ROW && b == NO_ROW {
                    break;
                }
                if a <= b {
                    i += 1;
                } else {
                    j += 1;
                }
                uses.add_request(day, a.min(b));
            }
        }
    }

    /// How many codes other than 0 (missing).
    pub(super) fn distinct(&self) -> u32 {
        let missing = self.slots.first().is_some_and(|&slot| slot >= self.base);
        self.uses.len() as u32 - u32::from(missing)
    }

    /// Calls by code, 0 (missing) left out.
    pub(super) fn counts(&self) -> impl Iterator<Item = u32> {
        self.uses.iter().filter(|u| u.code != 0).map(|u| u.calls)
    }

    /// Calls of the most used code other than 0.
    pub(super) fn top(&self) -> u32 {
        self.counts().max().unwrap_or(0)
    }
}

/// How often each code was met, by one subject at a time.
#[derive(Debug)]
pub(super) struct Counts {
    slots: Vec<u32>,
    base: u32,
    /// Code and count, in order of first use.
    pub(super) used: Vec<(u32, u32)>,
}

impl Counts {
    pub(super) fn new(codes: usize) -> Self {
        Self { slots: vec![0; codes], base: 1, used: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.base += self.used.len() as u32;
        self.used.clear();
        if self.base > 1 << 31 {
            self.slots.fill(0);
            self.base = 1;
        }
    }

    /// Counts one more; the missing code 0 is not counted.
    #[inline]
    pub(super) fn add(&mut self, code: u32) {
        if code != 0 {
            let place = self.place(code);
            self.used[place].1 += 1;
        }
    }

    /// The place of a code in order of first use.
    #[inline]
    pub(super) fn place(&mut self, code: u32) -> usize {
        let slot = &mut self.slots[code as usize];
        if *slot < self.base {
            *slot = self.base + self.used.len() as u32;
            self.used.push((code, 0));
        }
        (*slot - self.base) as usize
    }

    pub(super) fn distinct(&self) -> u32 {
        self.used.len() as u32
    }

    pub(super) fn values(&self) -> impl Iterator<Item = u32> {
        self.used.iter().map(|c| c.1)
    }

    pub(super) fn top(&self) -> u32 {
        self.values().max().unwrap_or(0)
    }
}

/// Which codes were met, by one subject at a time.
#[derive(Debug)]
pub(super) struct Seen {
    marks: Vec<u32>,
    round: u32,
    distinct: u32,
}

impl Seen {
    pub(super) fn new(codes: usize) -> Self {
        Self { marks: vec![0; codes], round: 1, distinct: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.distinct = 0;
        if self.round == u32::MAX {
            self.marks.fill(0);
            self.round = 0;
        }
        self.round += 1;
    }

    /// Marks a code; the missing code 0 is not counted.
    #[inline]
    pub(super) fn add(&mut self, code: u32) {
        let mark = &mut self.marks[code as usize];
        if *mark != self.round && code != 0 {
            *mark = self.round;
            self.distinct += 1;
        }
    }

    pub(super) fn distinct(&self) -> u32 {
        self.distinct
    }
}
