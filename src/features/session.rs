//! Sessions of one user: where they begin and end, their rows, and their steps as tokens.

use super::catalog::session as f;
use super::day::{ACTIONS, Day, OUTCOMES, Outcome, Row, calls_of};
use super::steps::Objects;
use super::tally::{Counts, NO_ROW, Seen};
use super::user::Chunk;
use super::{Options, Scope, gap_bucket, math, status_class};
use crate::events::action::Action;

/// Keys of a session. The user is numbered within the chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionRow {
    pub(super) user: u32,
    pub(super) channel: u32,
    pub(super) ip: u32,
    /// First and last call, ms of the day.
    pub(super) start: u32,
    pub(super) end: u32,
    /// 1-based among the user's sessions with this start.
    pub(super) ordinal: u32,
}

/// A token; the session is numbered within the chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenRow {
    pub(super) session: u32,
    pub(super) action: Option<Action>,
    pub(super) entity: u32,
    pub(super) status_class: u8,
    pub(super) gap: u8,
    pub(super) run: u32,
    /// The first row with a request id, or [`NO_ROW`].
    pub(super) row: u32,
}

impl TokenRow {
    fn key(&self) -> (u32, Option<Action>, u32, u8, u8) {
        (self.session, self.action, self.entity, self.status_class, self.gap)
    }
}

/// Tables to count in, one set per thread.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Session, channel, address and row, 32 bits each: calls of one session stand together, in order.
    calls: Vec<u128>,
    found: Vec<Found>,
    entities: Counts,
    resources: Counts,
    versions: Seen,
    gaps: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(day: &Day<'_>) -> Self {
        Self {
            calls: Vec::new(),
            found: Vec::new(),
            entities: Counts::new(day.entities.len()),
            resources: Counts::new(day.resources.len()),
            versions: Seen::new(day.versions.len()),
            gaps: Vec::new(),
        }
    }
}

/// A session as a range of `calls`, with what sessions are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    start: u32,
    channel: u32,
    ip: u32,
    from: u32,
    to: u32,
}

/// Finds a user's sessions and appends their rows and tokens to the chunk; how many there are.
pub(super) fn compute(
    day: &Day<'_>,
    rows: &[u32],
    user: u32,
    options: Options<'_>,
    objects: Option<&Objects>,
    s: &mut Scratch,
    chunk: &mut Chunk,
) -> u32 {
    s.calls.clear();
    s.calls.extend(rows.iter().map(|&at| {
        let row = &day.rows[at as usize];
        // The source's own session is one wherever it comes from; else app or client and address make it.
        let group = if row.session == 0 {
            u128::from(u64::from(row.channel) << 32 | u64::from(row.ip))
        } else {
            u128::from(row.session) << 64
        };
        group << 32 | u128::from(at)
    }));
    s.calls.sort_unstable();
    s.found.clear();
    let mut from = 0;
    for at in 1..=s.calls.len() {
        if at == s.calls.len() || begins(day, s.calls[at - 1], s.calls[at], options.session_gap_ms) {
            let first = row_of(day, s.calls[from]);
            let (channel, ip) = (first.channel, first.ip);
            s.found.push(Found { start: first.ms, channel, ip, from: from as u32, to: at as u32 });
            from = at;
        }
    }
    s.found.sort_unstable();
    let mut ordinal = 0;
    for i in 0..s.found.len() {
        let found = s.found[i];
        ordinal = if i > 0 && s.found[i - 1].start == found.start { ordinal + 1 } else { 1 };
        let calls = found.from as usize..found.to as usize;
        let end = row_of(day, s.calls[calls.end - 1]).ms;
        if options.scope == Scope::Full {
            tokens(day, &s.calls[calls.clone()], chunk.sessions.len() as u32, objects, chunk);
        }
        let (start, channel, ip) = (found.start, found.channel, found.ip);
        let values = features(day, calls, s);
        chunk.session_values.extend_from_slice(&values);
        chunk.sessions.push(SessionRow { user, channel, ip, start, end, ordinal });
    }
    s.found.len() as u32
}

/// Whether a session ends between two calls that stand together.
fn begins(day: &Day<'_>, before: u128, after: u128, gap_ms: u32) -> bool {
    let of_source = after >> 96 != 0;
    before >> 32 != after >> 32 || (!of_source && row_of(day, after).ms - row_of(day, before).ms >= gap_ms)
}

/// The row at the end of a key.
fn row_of<'d>(day: &'d Day<'_>, call: u128) -> &'d Row {
    &day.rows[call as u32 as usize]
}

fn features(day: &Day<'_>, calls: std::ops::Range<usize>, s: &mut Scratch) -> [f64; f::COUNT] {
    s.entities.clear();
    s.resources.clear();
    s.versions.clear();
    s.gaps.clear();
    let mut actions = [0_u32; ACTIONS];
    let mut outcomes = [0_u32; OUTCOMES];
    let mut pairs = [0_u32; ACTIONS];
    let (mut with_minute, mut peak_minute) = (0, 0);
    let (mut response_bytes, mut row_count) = (0_i64, 0_i64);
    let mut before: Option<&Row> = None;
    for &call in &s.calls[calls] {
        let row = row_of(day, call);
        actions[row.action as usize] += 1;
        outcomes[row.outcome as usize] += 1;
        for &entity in day.set(row.set()) {
            s.entities.add(entity);
        }
        s.resources.add(row.resource);
        s.versions.add(day.identities[row.identity as usize].version);
        with_minute = match before {
            Some(b) if b.ms / 60_000 == row.ms / 60_000 => with_minute + 1,
            _ => 1,
        };
        peak_minute = peak_minute.max(with_minute);
        if let Some(b) = before {
            s.gaps.push(row.ms - b.ms);
            pairs[b.action as usize] |= 1 << row.action as u32;
        }
        let number =
            |column: usize| -> i64 { day.events.numbers[column].get(row.event as usize).copied().unwrap_or(0).max(0) };
        response_bytes = response_bytes.saturating_add(number(1));
        row_count = row_count.saturating_add(number(2));
        before = Some(row);
    }
    let total: u32 = actions.iter().sum();
    let span: u32 = s.gaps.iter().sum();
    let end = before.map_or(0, |row| row.ms);
    let gaps = math::gaps(&mut s.gaps);

    let mut out = [0.0; f::COUNT];
    let mut set = |column: usize, value: u32| out[column] = f64::from(value);
    let count = |a: Action| actions[a as usize];
    let outcome = |o: Outcome| outcomes[o as usize];
    set(f::CALLS, total);
    set(f::DURATION_S, span / 1000);
    set(f::READS, calls_of(&actions, Action::is_read));
    set(f::WRITES, calls_of(&actions, Action::is_write));
    set(f::DELETES, calls_of(&actions, Action::is_delete));
    set(f::DESCRIBES, calls_of(&actions, Action::is_describe));
    set(f::QUERIES, count(Action::Query) + count(Action::QueryAll));
    set(f::QUERY_MORES, count(Action::QueryMore));
    set(f::BULK_CALLS, calls_of(&actions, Action::is_bulk));
    set(f::COMPOSITE_CALLS, count(Action::Composite));
    set(f::AUTH_CALLS, count(Action::Auth));
    set(f::ERRORS, outcomes[Outcome::Unauthorised as usize..].iter().sum());
    set(f::ERRORS_401, outcome(Outcome::Unauthorised));
    set(f::ERRORS_403, outcome(Outcome::LimitExceeded) + outcome(Outcome::Forbidden));
    set(f::ERRORS_404, outcome(Outcome::NotFound));
    set(f::ERRORS_5XX, outcome(Outcome::ServerError));
    set(f::ENTITIES, s.entities.distinct());
    set(f::RESOURCES, s.resources.distinct());
    set(f::ACTIONS, actions.iter().filter(|n| **n > 0).count() as u32);
    set(f::API_VERSIONS, s.versions.distinct());
    set(f::TRANSITIONS, pairs.iter().map(|p| p.count_ones()).sum());
    set(f::START_MINUTE, (end - span) / 60_000);
    set(f::MEAN_GAP_MS, gaps.mean);
    set(f::MEDIAN_GAP_MS, gaps.median);
    set(f::MAX_GAP_MS, gaps.max);
    set(f::PEAK_MINUTE_CALLS, peak_minute);
    out[f::ENTITY_ENTROPY] = math::entropy(s.entities.values());
    out[f::ACTION_ENTROPY] = math::entropy(actions.into_iter().filter(|n| *n > 0));
    out[f::TOP_RESOURCE_SHARE] = math::share(s.resources.top(), s.resources.values().sum());
    out[f::BURSTINESS] = gaps.burstiness;
    out[f::RESPONSE_BYTES] = response_bytes as f64;
    out[f::ROW_COUNT] = row_count as f64;
    out
}

fn tokens(day: &Day<'_>, calls: &[u128], session: u32, objects: Option<&Objects>, chunk: &mut Chunk) {
    let mut before = None;
    for &call in calls {
        let row = row_of(day, call);
        let id = if row.request == 0 { NO_ROW } else { call as u32 };
        let gap = gap_bucket(before.map(|ms| row.ms - ms));
        let (action, entity) = match objects {
            None => (Some(row.action), day.set(row.set()).first().copied().unwrap_or(0)),
            Some(objects) => (objects.with_action().then_some(row.action), objects.code(row.event, gap)),
        };
        let token = TokenRow { session, action, entity, status_class: status_class(row.status), gap, run: 1, row: id };
        before = Some(row.ms);
        match chunk.tokens.last_mut() {
            Some(last) if last.key() == token.key() => {
                last.run += 1;
                if last.row == NO_ROW {
                    last.row = id;
                }
            }
            _ => chunk.tokens.push(token),
        }
    }
}
