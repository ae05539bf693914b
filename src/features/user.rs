//! User-day rows, values and half-hours: one pass over each user's calls in order of time.

use std::ops::Range;

use super::catalog::user_day as f;
use super::day::{ACTIONS, ACTIONS_BY_NAME, Day, OUTCOMES, Outcome, calls_of};
use super::session::{self, SessionRow, TokenRow};
use super::steps::Objects;
use super::tally::{Counts, Tally, Uses};
use super::{Options, Scope, math};
use crate::events::action::Action;
use crate::tables::ValueKind;

/// A user and the name most often seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserRow {
    pub(super) id: u32,
    pub(super) name: u32,
}

/// Uses of one value by one user (a row of the chunk).
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) user: u32,
    pub(super) kind: ValueKind,
    pub(super) code: u32,
    pub(super) uses: Uses,
}

/// Calls of one (user, channel) in a half-hour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activity {
    pub(super) user: u32,
    pub(super) channel: u32,
    pub(super) half_hour: u8,
    pub(super) calls: u32,
    pub(super) errors: u32,
}

/// Rows of a run of users. Users and sessions are numbered within the chunk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) users: Vec<UserRow>,
    pub(super) user_values: Vec<f64>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) session_values: Vec<f64>,
    pub(super) values: Vec<Value>,
    pub(super) hours: Vec<Activity>,
    pub(super) tokens: Vec<TokenRow>,
}

/// Tables to count in, one set per thread.
#[derive(Debug)]
pub(super) struct Scratch {
    ip: Tally,
    network: Tally,
    country: Tally,
    asn: Tally,
    class: Tally,
    identity: Tally,
    app: Tally,
    app_id: Tally,
    client: Tally,
    channel: Tally,
    family: Tally,
    version: Tally,
    channel_version: Tally,
    resource: Tally,
    work: Tally,
    entity: Tally,
    action: Tally,
    action_entity: Tally,
    method: Tally,
    names: Counts,
    /// Place of a channel in `half_hours`.
    channel_place: Counts,
    half_hours: Vec<(u32, [[u32; 2]; 48])>,
    gaps: Vec<u32>,
    session: session::Scratch,
}

impl Scratch {
    pub(super) fn new(day: &Day<'_>) -> Self {
        Self {
            ip: Tally::new(day.ips.len()),
            network: Tally::new(day.networks.len()),
            country: Tally::new(day.countries.len()),
            asn: Tally::new(day.asns.len()),
            class: Tally::new(day.classes.len()),
            identity: Tally::new(day.identities.len()),
            app: Tally::new(day.apps.len()),
            app_id: Tally::new(day.app_ids.len()),
            client: Tally::new(day.clients.len()),
            channel: Tally::new(day.channels.len()),
            family: Tally::new(day.families.len()),
            version: Tally::new(day.versions.len()),
            channel_version: Tally::new(day.channel_versions.len()),
            resource: Tally::new(day.resources.len()),
            work: Tally::new(day.set_count() * ACTIONS),
            entity: Tally::new(day.entities.len()),
            action: Tally::new(ACTIONS + 1),
            action_entity: Tally::new(day.entities.len() * ACTIONS),
            method: Tally::new(day.methods.len()),
            names: Counts::new(day.names.len()),
            channel_place: Counts::new(day.channels.len() + 1),
            half_hours: Vec::new(),
            gaps: Vec::new(),
            session: session::Scratch::new(day),
        }
    }

    fn clear(&mut self) {
        for tally in [
            &mut self.ip,
            &mut self.network,
            &mut self.country,
            &mut self.asn,
            &mut self.class,
            &mut self.identity,
            &mut self.app,
            &mut self.app_id,
            &mut self.client,
            &mut self.channel,
            &mut self.family,
            &mut self.version,
            &mut self.channel_version,
            &mut self.resource,
            &mut self.work,
            &mut self.entity,
            &mut self.action,
            &mut self.action_entity,
            &mut self.method,
        ] {
            tally.clear();
        }
        self.names.clear();
        self.channel_place.clear();
        self.half_hours.clear();
        self.gaps.clear();
    }

    fn kind(&self, kind: ValueKind) -> &Tally {
        match kind {
            ValueKind::Ip => &self.ip,
            ValueKind::Network => &self.network,
            ValueKind::Country => &self.country,
            ValueKind::Asn => &self.asn,
            ValueKind::NetworkClass => &self.class,
            ValueKind::App => &self.app,
            ValueKind::AppId => &self.app_id,
            ValueKind::Client => &self.client,
            ValueKind::Channel => &self.channel,
            ValueKind::ApiFamily => &self.family,
            ValueKind::ApiVersion => &self.channel_version,
            ValueKind::Resource => &self.resource,
            ValueKind::Entity => &self.entity,
            ValueKind::Action => &self.action,
            ValueKind::ActionEntity => &self.action_entity,
            ValueKind::HttpMethod => &self.method,
        }
    }
}

/// Runs of users with enough events each to be worth a task. Where they are cut changes no result.
pub(super) fn chunks(day: &Day<'_>) -> Vec<Range<usize>> {
    const EVENTS: usize = 1 << 15;
    let users = day.users.len();
    let (mut chunks, mut from, mut events) = (Vec::new(), 0, 0);
    for user in 0..users {
        events += day.rows_of(user).len();
        if events >= EVENTS || user + 1 == users {
            chunks.push(from..user + 1);
            (from, events) = (user + 1, 0);
        }
    }
    chunks
}

/// All rows of some users.
pub(super) fn compute(
    day: &Day<'_>,
    users: Range<usize>,
    options: Options<'_>,
    objects: Option<&Objects>,
    scratch: &mut Scratch,
) -> Chunk {
    let mut chunk = Chunk::default();
    let events: usize = users.clone().map(|user| day.rows_of(user).len()).sum();
    chunk.user_values.reserve(users.len() * f::COUNT);
    if options.scope == Scope::Full {
        // Nearly every event is a token of its own; of values there are fewer than events.
        chunk.tokens.reserve(events);
        chunk.values.reserve(events);
    }
    for user in users {
        let rows = day.rows_of(user);
        if rows.is_empty() {
            continue;
        }
        scratch.clear();
        let number = chunk.users.len() as u32;
        let sessions = session::compute(day, rows, number, options, objects, &mut scratch.session, &mut chunk);
        let row = match options.scope {
            Scope::Full => user_day::<true>(day, rows, sessions, scratch, &mut chunk),
            Scope::Rows => user_day::<false>(day, rows, sessions, scratch, &mut chunk),
        };
        let name = scratch.names.used.iter().copied().min_by_key(|&(code, calls)| (std::cmp::Reverse(calls), code));
        chunk.users.push(UserRow { id: user as u32, name: name.map_or(0, |(code, _)| code) });
        chunk.user_values.extend_from_slice(&row);
    }
    chunk
}

fn user_day<const FULL: bool>(
    day: &Day<'_>,
    rows: &[u32],
    sessions: u32,
    s: &mut Scratch,
    chunk: &mut Chunk,
) -> [f64; f::COUNT] {
    let mut outcomes = [0_u32; OUTCOMES];
    let mut half_hours = [0_u32; 48];
    let mut times = Times::default();
    let mut sums = [0_i64; 4];
    let mut with_entity = 0;
    for &at in rows {
        let row = &day.rows[at as usize];
        outcomes[row.outcome as usize] += 1;
        let half_hour = (row.ms / 1_800_000) as usize;
        half_hours[half_hour] += 1;
        if let Some(gap) = times.add(row.ms) {
            s.gaps.push(gap);
        }
        s.ip.add::<FULL>(row.ip, day, at, row);
        s.identity.add::<FULL>(row.identity, day, at, row);
        s.resource.add::<FULL>(row.resource, day, at, row);
        s.work.add::<FULL>(row.work, day, at, row);
        s.method.add::<FULL>(row.method, day, at, row);
        s.names.add(row.name);
        with_entity += u32::from(!day.set(row.set()).is_empty());
        for (sum, numbers) in sums.iter_mut().zip(&day.events.numbers) {
            // A missing number is the smallest there is.
            let number = numbers.get(row.event as usize).copied().unwrap_or(0);
            *sum = sum.saturating_add(number.max(0));
        }
        if FULL {
            let place = channel_place(&mut s.channel_place, row.channel, &mut s.half_hours);
            let cell = &mut s.half_hours[place].1[half_hour];
            cell[0] += 1;
            cell[1] += u32::from(row.failed());
        }
    }
    derive(day, s);

    let mut out = [0.0; f::COUNT];
    let mut set = |column: usize, value: u32| out[column] = f64::from(value);
    let calls = rows.len() as u32;
    let mut actions = [0; ACTIONS];
    for uses in &s.action.uses {
        actions[ACTIONS_BY_NAME[uses.code as usize - 1] as usize] = uses.calls;
    }
    let count = |action: Action| actions[action as usize];
    set(f::CALLS, calls);
    set(f::READS, calls_of(&actions, Action::is_read));
    set(f::WRITES, calls_of(&actions, Action::is_write));
    set(f::DELETES, calls_of(&actions, Action::is_delete));
    set(f::DESCRIBES, calls_of(&actions, Action::is_describe));
    set(f::QUERIES, count(Action::Query) + count(Action::QueryAll));
    set(f::QUERY_MORES, count(Action::QueryMore));
    set(f::BULK_CALLS, calls_of(&actions, Action::is_bulk));
    set(f::COMPOSITE_CALLS, count(Action::Composite));
    set(f::METADATA_CALLS, count(Action::MetadataTooling));
    set(f::AUTH_CALLS, count(Action::Auth));
    set(f::OTHER_CALLS, count(Action::Other));
    set(f::SESSIONS, sessions);

    let hours: [u32; 24] = std::array::from_fn(|h| half_hours[2 * h] + half_hours[2 * h + 1]);
    set(f::PEAK_5MIN_CALLS, times.peak_5min);
    set(f::PEAK_HOUR_CALLS, hours.iter().copied().max().unwrap_or(0));
    set(f::NIGHT_CALLS, hours[..6].iter().sum());

    let outcome = |o: Outcome| outcomes[o as usize];
    set(f::ERRORS, outcomes[Outcome::Unauthorised as usize..].iter().sum());
    set(f::ERRORS_401, outcome(Outcome::Unauthorised));
    set(f::ERRORS_403_LIMIT, outcome(Outcome::LimitExceeded));
    set(f::ERRORS_403_OTHER, outcome(Outcome::Forbidden));
    set(f::ERRORS_404, outcome(Outcome::NotFound));
    set(f::ERRORS_429, outcome(Outcome::TooMany));
    set(f::ERRORS_4XX_OTHER, outcome(Outcome::OtherClientError));
    set(f::ERRORS_5XX, outcome(Outcome::ServerError));
    set(f::STATUS_UNKNOWN, outcome(Outcome::Unknown));
    set(f::NO_APP_CALLS, s.app.uses.iter().filter(|u| u.code == 0).map(|u| u.calls).sum());
    let class = |code: u32| s.class.uses.iter().filter(|u| code != 0 && u.code == code).map(|u| u.calls).sum::<u32>();
    set(f::INTERNAL_IP_CALLS, class(day.class.internal));
    set(f::CORPORATE_CALLS, class(day.class.corporate));
    set(f::VPN_TOR_CALLS, class(day.class.vpn) + class(day.class.tor));
    set(f::HOSTING_CALLS, class(day.class.hosting));

    set(f::IPS, s.ip.distinct());
    set(f::NETWORKS, s.network.distinct());
    set(f::COUNTRIES, s.country.distinct());
    set(f::ASNS, s.asn.distinct());
    set(f::APPS, s.app.distinct());
    set(f::CLIENTS, s.client.distinct());
    set(f::CHANNELS, s.channel.distinct());
    set(f::API_FAMILIES, s.family.distinct());
    set(f::API_VERSIONS, s.version.distinct());
    set(f::ENTITIES, s.entity.distinct());
    set(f::RESOURCES, s.resource.distinct());
    set(f::ACTIONS, s.action.distinct());

    set(f::FIRST_MINUTE, times.first / 60_000);
    set(f::LAST_MINUTE, times.last / 60_000);
    set(f::ACTIVE_HOURS, hours.iter().filter(|n| **n > 0).count() as u32);
    set(f::ACTIVE_HALF_HOURS, half_hours.iter().filter(|n| **n > 0).count() as u32);
    set(f::SPAN_MINUTES, (times.last - times.first) / 60_000);
    set(f::LONGEST_STREAK_MIN, times.longest_streak);
    let gaps = math::gaps(&mut s.gaps);
    set(f::MEDIAN_GAP_MS, gaps.median);
    set(f::MAX_GAP_MS, gaps.max);

    out[f::BURSTINESS] = gaps.burstiness;
    out[f::ENTITY_ENTROPY] = math::entropy(s.entity.counts());
    out[f::RESOURCE_ENTROPY] = math::entropy(s.resource.counts());
    out[f::ACTION_ENTROPY] = math::entropy(s.action.counts());
    out[f::IP_ENTROPY] = math::entropy(s.ip.counts());
    out[f::HOUR_ENTROPY] = math::entropy(hours.into_iter());
    out[f::TOP_ENTITY_SHARE] = math::share(s.entity.top(), with_entity);
    out[f::TOP_RESOURCE_SHARE] = math::share(s.resource.top(), s.resource.counts().sum());
    out[f::TOP_IP_SHARE] = math::share(s.ip.top(), s.ip.counts().sum());
    for (column, sum) in [f::REQUEST_BYTES, f::RESPONSE_BYTES, f::ROW_COUNT, f::DURATION_MS].into_iter().zip(sums) {
        out[column] = sum as f64;
    }
    if FULL {
        emit(s, chunk);
    }
    out
}

/// Counts what follows from something counted already: the network from the address, the channel from the identity,
/// object and verb class from the two together.
fn derive(day: &Day<'_>, s: &mut Scratch) {
    for uses in &s.ip.uses {
        let place = day.places[uses.code as usize];
        s.network.merge(place.network, day, uses);
        s.country.merge(place.country, day, uses);
        s.asn.merge(place.asn, day, uses);
        s.class.merge(place.class, day, uses);
    }
    for uses in &s.identity.uses {
        let identity = day.identities[uses.code as usize];
        s.app.merge(identity.app, day, uses);
        s.app_id.merge(identity.app_id, day, uses);
        s.client.merge(identity.client, day, uses);
        s.channel.merge(identity.channel, day, uses);
        s.family.merge(identity.family, day, uses);
        s.version.merge(identity.version, day, uses);
        s.channel_version.merge(identity.channel_version, day, uses);
    }
    for uses in &s.work.uses {
        let (set, action) = (uses.code as usize / ACTIONS, uses.code as usize % ACTIONS);
        s.action.merge(action as u32 + 1, day, uses);
        for &entity in day.set(set) {
            s.entity.merge(entity, day, uses);
            s.action_entity.merge(day.pair(action, entity), day, uses);
        }
    }
}

/// The place of a channel among the user's half-hours. The missing channel counts too, so codes are moved up by one.
fn channel_place(places: &mut Counts, channel: u32, half_hours: &mut Vec<(u32, [[u32; 2]; 48])>) -> usize {
    let place = places.place(channel + 1);
    if place == half_hours.len() {
        half_hours.push((channel, [[0; 2]; 48]));
    }
    place
}

/// Writes the user's values and half-hours in order.
fn emit(s: &mut Scratch, chunk: &mut Chunk) {
    let user = chunk.users.len() as u32;
    for kind in ValueKind::ALL {
        let from = chunk.values.len();
        let uses = s.kind(kind).uses.iter().filter(|u| u.code != 0);
        chunk.values.extend(uses.map(|&uses| Value { user, kind, code: uses.code, uses }));
        chunk.values[from..].sort_unstable_by_key(|v| v.code);
    }
    s.half_hours.sort_unstable_by_key(|(channel, _)| *channel);
    for (channel, cells) in &s.half_hours {
        for (half_hour, &[calls, errors]) in cells.iter().enumerate().filter(|(_, cell)| cell[0] > 0) {
            chunk.hours.push(Activity { user, channel: *channel, half_hour: half_hour as u8, calls, errors });
        }
    }
}

/// What the times of calls say, taken in order.
#[derive(Debug, Default)]
struct Times {
    calls: u32,
    first: u32,
    last: u32,
    peak_5min: u32,
    in_5min: u32,
    streak: u32,
    longest_streak: u32,
}

impl Times {
    /// Takes the next call; the time since the one before.
    fn add(&mut self, ms: u32) -> Option<u32> {
        let before = (self.calls > 0).then_some(self.last);
        let (minute, minute_before) = (ms / 60_000, self.last / 60_000);
        match before {
            None => (self.first, self.streak) = (ms, 1),
            Some(_) if minute == minute_before => {}
            Some(_) if minute == minute_before + 1 => self.streak += 1,
            Some(_) => self.streak = 1,
        }
        let same_slot = before.is_some_and(|last| last / 300_000 == ms / 300_000);
        self.in_5min = if same_slot { self.in_5min + 1 } else { 1 };
        self.calls += 1;
        self.last = ms;
        self.peak_5min = self.peak_5min.max(self.in_5min);
        self.longest_streak = self.longest_streak.max(self.streak);
        before.map(|last| ms - last)
    }
}
