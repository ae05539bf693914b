//! What the page draws of a user's day and of an organisation's. It lives in memory alone: no data file of a run holds it.

use crate::date::Date;

/// Half-hours of a day.
pub const HALF_HOURS: usize = 48;

/// A user's day beside the days before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Calls per half-hour of the UTC day.
    pub calls: [u64; HALF_HOURS],
    /// Of these, calls with status 400 or above.
    pub errors: [u64; HALF_HOURS],
    /// What is usual on such days; `None` if the user was seen on too few of them.
    pub usual: Option<Usual>,
    /// Share of workdays, and of weekend days, on which each half-hour was active, 0..=1; `None` where the user was seen on too few.
    pub clock: [Option<[f64; HALF_HOURS]>; 2],
    /// Calls of the last active days before this one, oldest first.
    pub past: Vec<(Date, u64)>,
    /// 5th and 95th percentile of the calls of those days; `None` if they are too few.
    pub range: Option<(u64, u64)>,
}

/// An organisation's day beside the days before it.
#[derive(Debug, Clone, PartialEq)]
pub struct OrgPicture {
    /// Users with a call in each half-hour of the UTC day.
    pub users: [u64; HALF_HOURS],
    /// How many there are usually on such a day; all 0 if that is not known yet.
    pub usual: [f64; HALF_HOURS],
    /// The day.
    pub today: OrgDay,
    /// The days before it, oldest first, without gaps filled: of each the user-days that were learned.
    pub past: Vec<OrgDay>,
}

/// What an organisation's users did on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrgDay {
    /// The date.
    pub date: Date,
    /// Calls.
    pub calls: u64,
    /// Users with a call.
    pub users: u64,
    /// Calls that failed for a reason of the caller's own.
    pub errors: u64,
}

/// The user's clock, on workdays or at weekends.
#[derive(Debug, Clone, PartialEq)]
pub struct Usual {
    /// Share of such days on which the half-hour was active, 0..=1.
    pub active: [f64; HALF_HOURS],
    /// Calls in the half-hour on a usual day.
    pub calls: [f64; HALF_HOURS],
}

/// A half-hour active on at least this share of days is a usual one.
const MOSTLY: f64 = 0.5;

/// A half-hour active on less than this share of days is an unusual one.
const HARDLY: f64 = 0.1;

impl Usual {
    /// The half-hours in which the user mostly is active.
    pub fn mostly(&self) -> impl Iterator<Item = usize> + '_ {
        (0..HALF_HOURS).filter(|&h| self.active[h] >= MOSTLY)
    }

    /// The half-hours in which it is no surprise that the user is active.
    pub fn at_times(&self) -> impl Iterator<Item = usize> + '_ {
        (0..HALF_HOURS).filter(|&h| !self.hardly(h))
    }

    /// Is the user hardly ever active then? The half-hours beside are looked at, too: clocks of offices move with the seasons.
    pub fn hardly(&self, half_hour: usize) -> bool {
        let near = [HALF_HOURS - 1, 0, 1].map(|step| self.active[(half_hour + step) % HALF_HOURS]);
        near.iter().all(|share| *share < HARDLY)
    }
}
