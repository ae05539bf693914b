//! Facts: what a detector saw, in numbers and names that can be checked in the log. `explain` turns them into words.

use crate::date::Date;
use crate::features::catalog::{Feature, session};
use crate::tables::{DayTables, ValueKind};

/// The session that a fact is about.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOf {
    /// App or client.
    pub channel: String,
    /// Address.
    pub ip: String,
    /// First call, ms.
    pub start_ms: i64,
    /// Last call, ms.
    pub end_ms: i64,
    /// Calls.
    pub calls: f64,
}

impl SessionOf {
    /// The session in this row of the day's sessions.
    pub(super) fn new(day: &DayTables, row: usize) -> Self {
        let key = &day.session_keys[row];
        Self {
            channel: day.text(key.channel).to_owned(),
            ip: day.text(key.ip).to_owned(),
            start_ms: key.start_ms,
            end_ms: key.end_ms,
            calls: day.session.get(row, session::CALLS),
        }
    }
}

/// One observation beside what is usual.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A feature against its usual range (counts, continuous values).
    Level {
        /// The feature.
        feature: &'static Feature,
        /// Seen.
        observed: f64,
        /// Centre of the usual.
        expected: f64,
        /// Lower end of the usual range (about 5 %).
        low: f64,
        /// Upper end of the usual range (about 95 %).
        high: f64,
        /// Days of own history behind it.
        days: f64,
    },
    /// A share of calls against its usual range.
    Share {
        /// The feature.
        feature: &'static Feature,
        /// Calls of this kind.
        hits: f64,
        /// All calls.
        calls: f64,
        /// Usual share.
        expected: f64,
        /// Upper end of the usual share.
        high: f64,
    },
    /// More calls than usual with one known value.
    ValueLevel {
        /// Kind of the value.
        kind: ValueKind,
        /// The value.
        value: String,
        /// Calls.
        observed: f64,
        /// Usual calls a day.
        expected: f64,
        /// Upper end of the usual.
        high: f64,
    },
    /// Values that the user never used before, the oddest first.
    New {
        /// Kind of the values.
        kind: ValueKind,
        /// The values.
        values: Vec<NewValue>,
        /// New values expected on such a day.
        expected: f64,
    },
    /// Calls on values that were new today.
    NewShare {
        /// Kind of the values.
        kind: ValueKind,
        /// The new values with the most calls.
        values: Vec<String>,
        /// Calls on new values.
        hits: f64,
        /// All calls with a value of this kind.
        calls: f64,
        /// Usual share.
        expected: f64,
    },
    /// Several parts of the identity or behaviour changed at once.
    Changed {
        /// The kinds with something new.
        kinds: Vec<ValueKind>,
    },
    /// Activity in half-hours that are unusual for the user.
    Hours {
        /// Half-hours, ascending, with calls.
        active: Vec<(u8, f64)>,
        /// Half-hours in which the user is usually active.
        usual: Vec<u8>,
        /// Days of history.
        days: f64,
    },
    /// No activity in half-hours that are usual.
    MissingHours {
        /// Half-hours, ascending.
        missing: Vec<u8>,
    },
    /// Calls fall on other hours than usual.
    Profile {
        /// Share of the day's calls outside the usual profile, 0..=1.
        distance: f64,
        /// Usual distance.
        expected: f64,
    },
    /// Activity on a kind of day on which the user is rarely active.
    Weekday {
        /// Saturday or Sunday.
        weekend: bool,
        /// Share of such days with activity, 0..=1.
        usual: f64,
        /// Such days seen.
        seen: f64,
    },
    /// Activity after a long silence.
    Dormant {
        /// Last active day.
        last: Date,
        /// Days since.
        days: i32,
    },
    /// The mix of values moved.
    Mix {
        /// Kind of the values.
        kind: ValueKind,
        /// Share of the day's calls outside the usual mix, 0..=1.
        distance: f64,
        /// Usual distance.
        expected: f64,
        /// What grew: value, share today, usual share.
        grew: Vec<(String, f64, f64)>,
    },
    /// A slow climb over days.
    Trend {
        /// What climbs.
        what: &'static str,
        /// Level before.
        from: f64,
        /// Level today.
        to: f64,
        /// Days of the climb.
        days: usize,
        /// Levels are shares of calls.
        is_share: bool,
    },
    /// A rule that people know tripped.
    Rule {
        /// The rule in words.
        rule: String,
        /// Seen.
        observed: f64,
        /// Threshold.
        threshold: f64,
    },
    /// An unusual session.
    Session {
        /// Which.
        session: SessionOf,
        /// The feature that is odd, what was seen and what is usual.
        feature: &'static Feature,
        /// Seen.
        observed: f64,
        /// Usual.
        expected: f64,
    },
    /// A session whose parts are unusual together.
    WholeSession {
        /// Which.
        session: SessionOf,
        /// Features, seen and usual, the oddest first.
        parts: Vec<(&'static Feature, f64, f64)>,
    },
    /// A session whose steps do not follow each other as they usually do.
    Order {
        /// Which.
        session: SessionOf,
        /// The step before the strangest one; empty if the session began with it.
        before: String,
        /// The strangest step; empty if the session ended where it usually goes on.
        step: String,
        /// Time between them, on the scale of `features::gap_bucket`.
        gap: u8,
        /// Probability of the step where it stands.
        p: f64,
        /// What usually follows instead (empty: the end), and its probability.
        usual: Option<(String, f64)>,
        /// The steps of the usual session that is most like it, and how many such sessions there were.
        nearest: Option<(Vec<String>, f64)>,
        /// Requests of the strangest steps, in order.
        request_ids: Vec<String>,
    },
    /// A session that others rather than this user would have had.
    Stranger {
        /// Which.
        session: SessionOf,
        /// How many times likelier a step of it is for others than for this user.
        likelier: f64,
    },
    /// A new address that touches several organisations tonight.
    SharedIp {
        /// The address.
        ip: String,
        /// The organisations.
        orgs: Vec<String>,
        /// Minutes from its first call in one to its first call in the last.
        minutes: i64,
    },
    /// A user or job that always runs did not.
    Silent {
        /// Share of such days with activity.
        usual: f64,
        /// Last active day.
        last: Date,
    },
    /// A few addresses tried many users and mostly failed.
    Campaign {
        /// Users that were tried.
        users: usize,
        /// The first addresses.
        addresses: Vec<String>,
        /// How many more there are.
        more_addresses: usize,
        /// Calls from them.
        calls: u64,
        /// Of these, calls that failed.
        errors: u64,
    },
    /// Features that stand out given the others, each of which may be ordinary.
    Combination {
        /// The parts that stand out most.
        parts: Vec<CombinationPart>,
        /// Detectors of the family that find the whole odd (p < 0.05).
        agree: Vec<&'static str>,
        /// How many detectors looked.
        members: usize,
        /// p-value of the family.
        p: f64,
    },
    /// Many users moved together.
    Surge {
        /// The feature.
        feature: &'static Feature,
        /// Share of users.
        users: f64,
        /// Factor on what is usual (counts) or the new share (rates).
        factor: f64,
        /// `factor` is a share of calls.
        is_share: bool,
    },
}

/// One part of a combination, on the scale of standard deviations of a calm day.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinationPart {
    /// What it is, in words.
    pub what: String,
    /// How far out it is.
    pub observed: f64,
    /// How far out the other parts suggest.
    pub expected: f64,
    /// How far out it was on the most similar ordinary day.
    pub nearest: f64,
}

/// A value never used before by the user.
#[derive(Debug, Clone, PartialEq)]
pub struct NewValue {
    /// The value.
    pub value: String,
    /// Calls with it.
    pub calls: u32,
    /// First call with it, ms.
    pub first_ms: i64,
    /// Others who ever used it.
    pub others: u32,
    /// Request ids.
    pub request_ids: Vec<String>,
}
