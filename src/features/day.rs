//! A day's events in canonical order, with text replaced by numbers that sort as the text does.
//!
//! Rows are ordered by time, then user, channel, address and all that is left, so that the order is the same however
//! the events arrived; rows that are still equal are equal in every field and interchangeable.

use std::cmp::Ordering;
use std::hash::Hasher;

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHasher};

use crate::date::{Date, MS_PER_DAY};
use crate::enrich::Place;
use crate::events::action::Action;
use crate::events::batch::{Dictionary, Events, Field, TextColumn};

/// Verb classes in order of their names.
pub(super) const ACTIONS_BY_NAME: [Action; 18] = [
    Action::Auth,
    Action::BulkCreate,
    Action::BulkDelete,
    Action::BulkPoll,
    Action::BulkResult,
    Action::Composite,
    Action::CrudDelete,
    Action::CrudRead,
    Action::CrudWrite,
    Action::DescribeGlobal,
    Action::DescribeObject,
    Action::Limits,
    Action::MetadataTooling,
    Action::Other,
    Action::Query,
    Action::QueryAll,
    Action::QueryMore,
    Action::Search,
];

/// Place of each class (by discriminant) in [`ACTIONS_BY_NAME`].
const ACTION_RANK: [u32; 18] = {
    let mut rank = [0; 18];
    let mut i = 0;
    while i < 18 {
        rank[ACTIONS_BY_NAME[i] as usize] = i as u32;
        i += 1;
    }
    rank
};

/// Number of verb classes.
pub(super) const ACTIONS: usize = ACTIONS_BY_NAME.len();

/// Calls of the wanted classes, from calls by class.
#[inline]
pub(super) fn calls_of(calls: &[u32; ACTIONS], wanted: impl Fn(Action) -> bool) -> u32 {
    Action::ALL.iter().zip(calls).map(|(action, calls)| if wanted(*action) { *calls } else { 0 }).sum()
}

/// Distinct texts in order, the empty (missing) one first, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<String>);

impl Texts {
    pub(super) fn sorted<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<&str> = std::iter::once("").chain(texts).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self(sorted.into_iter().map(str::to_owned).collect())
    }

    /// The texts of a dictionary, and the new number of each old one.
    fn ranked(dictionary: &Dictionary) -> (Self, Vec<u32>) {
        let texts = Self::sorted(dictionary.iter());
        let ranks = dictionary.iter().map(|text| texts.code(text)).collect();
        (texts, ranks)
    }

    fn code(&self, text: &str) -> u32 {
        self.0.binary_search_by(|known| known.as_str().cmp(text)).map_or(0, |at| at as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, code: u32) -> &str {
        &self.0[code as usize]
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Outcome {
    Unknown,
    Fine,
    Unauthorised,
    /// 403 because the organisation's request limit was used up.
    LimitExceeded,
    Forbidden,
    NotFound,
    TooMany,
    OtherClientError,
    ServerError,
}

/// Number of outcomes.
pub(super) const OUTCOMES: usize = 9;

impl Outcome {
    fn of(status: u16, limit_reached: bool) -> Self {
        match status {
            0 => Self::Unknown,
            1..400 => Self::Fine,
            401 => Self::Unauthorised,
            403 if limit_reached => Self::LimitExceeded,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            429 => Self::TooMany,
            400..500 => Self::OtherClientError,
            _ => Self::ServerError,
        }
    }
}

/// One event, all text as numbers (0 is missing).
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Time of the day.
    pub(super) ms: u32,
    /// Row in the events.
    pub(super) event: u32,
    pub(super) user: u32,
    pub(super) name: u32,
    pub(super) channel: u32,
    pub(super) ip: u32,
    /// See [`Day::identities`].
    pub(super) identity: u32,
    pub(super) resource: u32,
    /// Verb class and set of objects: `set * ACTIONS + rank of the class`.
    pub(super) work: u32,
    pub(super) method: u32,
    /// The source's own session.
    pub(super) session: u32,
    /// Fingerprint of the request id.
    pub(super) request: u32,
    pub(super) status: u16,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
}

impl Row {
    /// Ended with status 400 or above.
    #[inline]
    pub(super) fn failed(&self) -> bool {
        self.outcome as u8 >= Outcome::Unauthorised as u8
    }

    pub(super) fn set(&self) -> usize {
        self.work as usize / ACTIONS
    }
}

/// What acts: app, client, API family and version. Far fewer than events, so that values of these are counted once
/// per identity and merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) channel: u32,
    pub(super) app: u32,
    pub(super) app_id: u32,
    pub(super) client: u32,
    pub(super) family: u32,
    pub(super) version: u32,
    pub(super) channel_version: u32,
}

/// What is known about one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Where {
    pub(super) network: u32,
    pub(super) country: u32,
    pub(super) asn: u32,
    pub(super) class: u32,
}

/// Network classes with a feature of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClassCodes {
    pub(super) internal: u32,
    pub(super) corporate: u32,
    pub(super) vpn: u32,
    pub(super) tor: u32,
    pub(super) hosting: u32,
}

/// A day, ready to count.
#[derive(Debug)]
pub(super) struct Day<'e> {
    pub(super) events: &'e Events,
    pub(super) date: Date,
    /// In canonical order.
    pub(super) rows: Vec<Row>,
    pub(super) users: Texts,
    pub(super) names: Texts,
    pub(super) channels: Texts,
    pub(super) apps: Texts,
    pub(super) app_ids: Texts,
    pub(super) clients: Texts,
    pub(super) families: Texts,
    pub(super) versions: Texts,
    pub(super) channel_versions: Texts,
    pub(super) resources: Texts,
    pub(super) methods: Texts,
    pub(super) ips: Texts,
    pub(super) networks: Texts,
    pub(super) countries: Texts,
    pub(super) asns: Texts,
    pub(super) classes: Texts,
    pub(super) entities: Texts,
    pub(super) identities: Vec<Identity>,
    /// By address.
    pub(super) places: Vec<Where>,
    pub(super) class: ClassCodes,
    /// Objects of each set, ascending.
    sets: Vec<Vec<u32>>,
    /// Rows by user: those of user `u` are `by_user[user_ends[u]..user_ends[u + 1]]`, in canonical order.
    by_user: Vec<u32>,
    user_ends: Vec<u32>,
}

impl<'e> Day<'e> {
    pub(super) fn prepare(date: Date, events: &'e Events, place: &(dyn Fn(&str) -> Place + Sync)) -> Self {
        let (users, user_rank) = Texts::ranked(&events.column(Field::User).dictionary);
        let (names, name_rank) = Texts::ranked(&events.column(Field::UserName).dictionary);
        let (ips, ip_rank) = Texts::ranked(&events.column(Field::ClientIp).dictionary);
        let (clients, client_rank) = Texts::ranked(&events.column(Field::ClientName).dictionary);
        let (families, family_rank) = Texts::ranked(&events.column(Field::ApiFamily).dictionary);
        let (versions, version_rank) = Texts::ranked(&events.column(Field::ApiVersion).dictionary);
        let (resources, resource_rank) = Texts::ranked(&events.column(Field::Resource).dictionary);
        let (methods, method_rank) = Texts::ranked(&events.column(Field::HttpMethod).dictionary);
        let (_, session_rank) = Texts::ranked(&events.column(Field::SessionId).dictionary);
        let (combos, combo_of) = combinations(events);
        let texts: Vec<Combo<'_>> = combos.iter().map(|codes| Combo::of(events, codes)).collect();
        let channels = Texts::sorted(texts.iter().map(|c| c.channel));
        let apps = Texts::sorted(texts.iter().map(|c| c.app));
        let app_ids = Texts::sorted(texts.iter().map(|c| c.app_id));
        let channel_versions = Texts::sorted(texts.iter().map(|c| c.channel_version.as_str()));
        let identities: Vec<Identity> = (combos.iter().zip(&texts))
            .map(|(codes, text)| Identity {
                channel: channels.code(text.channel),
                app: apps.code(text.app),
                app_id: app_ids.code(text.app_id),
                client: client_rank[codes[2] as usize],
                family: family_rank[codes[3] as usize],
                version: version_rank[codes[4] as usize],
                channel_version: channel_versions.code(&text.channel_version),
            })
            .collect();
        let addresses: Vec<&str> = ips.iter().collect();
        let found: Vec<Place> = addresses.par_iter().map(|ip| described(place(ip))).collect();
        let networks = Texts::sorted(found.iter().map(|p| p.network.as_str()));
        let countries = Texts::sorted(found.iter().map(|p| p.country.as_str()));
        let asns = Texts::sorted(found.iter().map(|p| p.asn.as_str()));
        let classes = Texts::sorted(found.iter().map(|p| p.class.as_str()));
        let places = (found.iter())
            .map(|p| Where {
                network: networks.code(&p.network),
                country: countries.code(&p.country),
                asn: asns.code(&p.asn),
                class: classes.code(&p.class),
            })
            .collect();
        let class = ClassCodes {
            internal: classes.code("internal"),
            corporate: classes.code("corporate"),
            vpn: classes.code("vpn"),
            tor: classes.code("tor"),
            hosting: classes.code("hosting"),
        };
        let set_texts = &events.column(Field::Entity).dictionary;
        let entities = Texts::sorted(set_texts.iter().flat_map(members));
        let sets = (set_texts.iter())
            .map(|set| {
                let mut codes: Vec<u32> = members(set).map(|e| entities.code(e)).collect();
                codes.sort_unstable();
                codes.dedup();
                codes
            })
            .collect();
        let limits = limit_minutes(date, events);
        let codes = |field: Field| -> &[u32] { &events.column(field).codes };
        let (user, name, ip) = (codes(Field::User), codes(Field::UserName), codes(Field::ClientIp));
        let (resource, method, session, set) =
            (codes(Field::Resource), codes(Field::HttpMethod), codes(Field::SessionId), codes(Field::Entity));
        let make = |&(ms, event): &(u32, u32)| {
            let at = event as usize;
            let identity = combo_of[at];
            let (status, action) = (events.status[at], events.action[at]);
            Row {
                ms,
                event,
                user: user_rank[user[at] as usize],
                name: name_rank[name[at] as usize],
                channel: identities[identity as usize].channel,
                ip: ip_rank[ip[at] as usize],
                identity,
                resource: resource_rank[resource[at] as usize],
                work: set[at] * ACTIONS as u32 + ACTION_RANK[action as usize],
                method: method_rank[method[at] as usize],
                session: session_rank[session[at] as usize],
                request: fingerprint(request_bytes(events, at)),
                status,
                action,
                outcome: Outcome::of(status, limits[(ms / 60_000) as usize]),
            }
        };
        let mut rows: Vec<Row> = by_time(date, events).par_iter().with_min_len(1 << 14).map(make).collect();
        settle_ties(events, &mut rows);
        let (by_user, user_ends) = grouped(&rows, users.len(), |row| row.user);
        Self {
            events,
            date,
            rows,
            users,
            names,
            channels,
            apps,
            app_ids,
            clients,
            families,
            versions,
            channel_versions,
            resources,
            methods,
            ips,
            networks,
            countries,
            asns,
            classes,
            entities,
            identities,
            places,
            class,
            sets,
            by_user,
            user_ends,
        }
    }

    /// The rows of a user, as numbers of [`Self::rows`] in canonical order.
    pub(super) fn rows_of(&self, user: usize) -> &[u32] {
        &self.by_user[self.user_ends[user] as usize..self.user_ends[user + 1] as usize]
    }

    /// Objects of a set, ascending.
    pub(super) fn set(&self, set: usize) -> &[u32] {
        &self.sets[set]
    }

    /// Number of sets of objects.
    pub(super) fn set_count(&self) -> usize {
        self.sets.len()
    }

    /// The request id of a row.
    pub(super) fn request_id(&self, row: u32) -> &'e str {
        std::str::from_utf8(request_bytes(self.events, self.rows[row as usize].event as usize)).unwrap_or("")
    }

    /// Whether two rows have the same request id.
    pub(super) fn same_request(&self, a: u32, b: u32) -> bool {
        let (a, b) = (&self.rows[a as usize], &self.rows[b as usize]);
        a.request == b.request
            && request_bytes(self.events, a.event as usize) == request_bytes(self.events, b.event as usize)
    }

    /// The number of a verb class and an object.
    pub(super) fn pair(&self, action: usize, entity: u32) -> u32 {
        (action * self.entities.len()) as u32 + entity
    }

    /// The text of [`Self::pair`].
    pub(super) fn action_entity(&self, pair: u32) -> String {
        let width = self.entities.len() as u32;
        format!("{} {}", ACTIONS_BY_NAME[(pair / width) as usize].name(), self.entities.get(pair % width))
    }
}

/// Row numbers by group (counting sort, stable), and where each group begins, with an end for the last.
pub(super) fn grouped(rows: &[Row], groups: usize, group: impl Fn(&Row) -> u32) -> (Vec<u32>, Vec<u32>) {
    let mut ends = vec![0_u32; groups + 1];
    for row in rows {
        ends[group(row) as usize + 1] += 1;
    }
    for i in 1..ends.len() {
        ends[i] += ends[i - 1];
    }
    let mut next = ends.clone();
    let mut order = vec![0; rows.len()];
    for (number, row) in rows.iter().enumerate() {
        let slot = &mut next[group(row) as usize];
        order[*slot as usize] = number as u32;
        *slot += 1;
    }
    (order, ends)
}

/// A missing address and the source's own internal one are places too: a user who is always there has a country that
/// is always the same.
fn described(mut place: Place) -> Place {
    if matches!(place.class.as_str(), "blank" | "internal") {
        for text in [&mut place.network, &mut place.country] {
            if text.is_empty() {
                text.clone_from(&place.class);
            }
        }
    }
    place
}

/// Parts of a multi-valued object name.
pub(super) fn members(set: &str) -> impl Iterator<Item = &str> {
    set.split([';', ',', '|']).map(str::trim).filter(|e| !e.is_empty())
}

fn request_bytes(events: &Events, row: usize) -> &[u8] {
    let ids = &events.request_id;
    match (ids.ends.get(row), ids.ends.get(row + 1)) {
        (Some(&from), Some(&to)) => &ids.bytes[from as usize..to as usize],
        _ => &[],
    }
}

/// Nonzero for a request id, so that most different ones are told apart without reading them.
fn fingerprint(id: &[u8]) -> u32 {
    if id.is_empty() {
        return 0;
    }
    let mut hasher = FxHasher::default();
    hasher.write(id);
    ((hasher.finish() >> 16) as u32) | 1
}

/// Texts of one combination of app, client, family and version.
struct Combo<'a> {
    app: &'a str,
    app_id: &'a str,
    channel: &'a str,
    channel_version: String,
}

impl<'a> Combo<'a> {
    fn of(events: &'a Events, codes: &[u32; 5]) -> Self {
        let text = |field: Field, code: u32| events.column(field).dictionary.get(code);
        let first = |texts: &[&'a str]| texts.iter().copied().find(|t| !t.is_empty()).unwrap_or("");
        let app_id = text(Field::AppId, codes[1]);
        let app = first(&[text(Field::AppName, codes[0]), app_id]);
        let channel = first(&[app, text(Field::ClientName, codes[2]), text(Field::ApiFamily, codes[3])]);
        let version = text(Field::ApiVersion, codes[4]);
        let channel_version = if version.is_empty() { String::new() } else { format!("{channel} @ {version}") };
        Self { app, app_id, channel, channel_version }
    }
}

/// Distinct combinations of (app name, app id, client, family, version), and that of each event.
fn combinations(events: &Events) -> (Vec<[u32; 5]>, Vec<u32>) {
    let columns: [&TextColumn; 5] =
        [Field::AppName, Field::AppId, Field::ClientName, Field::ApiFamily, Field::ApiVersion]
            .map(|f| events.column(f));
    let mut known: FxHashMap<(u64, u64, u32), u32> = FxHashMap::default();
    let mut combos = Vec::new();
    let mut last = ([u32::MAX; 5], 0);
    let of = (0..events.len())
        .map(|row| {
            let codes = columns.map(|c| c.codes[row]);
            if codes != last.0 {
                let [a, b, c, d, e] = codes;
                let key = (u64::from(a) << 32 | u64::from(b), u64::from(c) << 32 | u64::from(d), e);
                let number = *known.entry(key).or_insert_with(|| {
                    combos.push(codes);
                    combos.len() as u32 - 1
                });
                last = (codes, number);
            }
            last.1
        })
        .collect();
    (combos, of)
}

/// Which minutes of the day the organisation's request limit was used up. The log does not say why a call was
/// refused with 403; when at least two users are active and at least 80 % of all calls are refused at once, it was no
/// permission of theirs.
fn limit_minutes(date: Date, events: &Events) -> Vec<bool> {
    #[derive(Clone, Copy, Default)]
    struct Minute {
        calls: u32,
        refused: u32,
        user: u32,
        several: bool,
    }
    let mut minutes = vec![Minute::default(); 1440];
    let users = &events.column(Field::User).codes;
    for ((&ms, &status), &user) in events.timestamp_ms.iter().zip(&events.status).zip(users) {
        let minute = &mut minutes[(ms_of_day(date, ms) / 60_000) as usize];
        if minute.calls == 0 {
            minute.user = user;
        }
        minute.several |= minute.user != user;
        minute.calls += 1;
        minute.refused += u32::from(status == 403);
    }
    minutes.iter().map(|m| m.several && u64::from(m.refused) * 5 >= u64::from(m.calls) * 4).collect()
}

fn ms_of_day(date: Date, ms: i64) -> u32 {
    (ms - date.start_ms()).clamp(0, MS_PER_DAY - 1) as u32
}

/// (ms of day, event), by time.
fn by_time(date: Date, events: &Events) -> Vec<(u32, u32)> {
    let mut order: Vec<(u32, u32)> =
        (events.timestamp_ms.iter().enumerate()).map(|(event, &ms)| (ms_of_day(date, ms), event as u32)).collect();
    if !order.is_sorted_by_key(|&(ms, _)| ms) {
        order.par_sort_unstable();
    }
    order
}

/// Orders rows of the same millisecond.
fn settle_ties(events: &Events, rows: &mut [Row]) {
    for tied in rows.chunk_by_mut(|a, b| a.ms == b.ms).filter(|tied| tied.len() > 1) {
        tied.sort_unstable_by(|a, b| {
            (a.user, a.channel, a.ip).cmp(&(b.user, b.channel, b.ip)).then_with(|| compare_fields(events, a, b))
        });
    }
}

/// Compares rows of equal time by every field.
fn compare_fields(events: &Events, a: &Row, b: &Row) -> Ordering {
    let (i, j) = (a.event as usize, b.event as usize);
    let mut order = (a.status, a.action).cmp(&(b.status, b.action));
    for column in &events.text {
        if order.is_ne() {
            return order;
        }
        if column.codes[i] != column.codes[j] {
            order = column.get(i).cmp(column.get(j));
        }
    }
    for numbers in events.numbers.iter().filter(|n| !n.is_empty()) {
        order = order.then(numbers[i].cmp(&numbers[j]));
    }
    order.then_with(|| request_bytes(events, i).cmp(request_bytes(events, j)))
}
