//! Canonical events in, feature rows out: everything that is known about one organisation's day, as a pure function
//! of its events.
//!
//! `day` brings the events into a canonical order and replaces text by numbers that sort as the text does; `user`
//! makes the rows of users, `session` those of sessions, `rollup` those of apps, addresses and the organisation; `tally`
//! and `math` are what they count with. All sums are integers, and the few fractions are folded in canonical row
//! order and rounded to a millionth, so that input order and number of threads never reach a bit of the result.

pub mod catalog;
mod day;
mod math;
#[cfg(all(test, feature = "frame"))]
mod reference;
mod rollup;
#[cfg(feature = "frame")]
pub mod sequences;
mod session;
mod steps;
#[cfg(feature = "frame")]
pub mod table;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod user;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::date::Date;
use crate::enrich::Place;
use crate::events::action::Action;
use crate::events::batch::Events;
use crate::events::step::StepColumn;
use crate::tables::{DayTables, FeatureTable, HourRow, SessionKey, Sym, ValueKind, ValueRow};
use catalog::Feature;
use day::{Day, Texts};
use steps::Objects;
use tally::NO_ROW;

/// What to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// User-day and session rows alone, without texts of requests.
    Rows,
    /// All that the store keeps.
    Full,
}

/// How to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    /// A gap of this many milliseconds or more starts a new session.
    pub session_gap_ms: u32,
    /// What a step of a session is made of.
    pub step: &'a [StepColumn],
    /// What to compute.
    pub scope: Scope,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { session_gap_ms: 30 * 60_000, step: &StepColumn::USUAL, scope: Scope::Full }
    }
}

/// One step of a session, or several equal ones in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Row in [`DayTables::session`].
    pub session: u32,
    /// Verb class; `None` if the profile's steps have none.
    pub action: Option<Action>,
    /// First object, by text, or what the profile makes steps of besides the verb class (0 if none).
    pub entity: Sym,
    /// HTTP status by hundreds: 1..=5, 0 if unknown (see [`status_class`]).
    pub status_class: u8,
    /// Time since the call before (see [`gap_bucket`]).
    pub gap: u8,
    /// How many such calls in a row.
    pub run: u32,
    /// Request id of the first of them (0 if it has none).
    pub request_id: Sym,
}

/// HTTP status by hundreds, 1..=5; anything else is 0.
pub fn status_class(status: u16) -> u8 {
    let class = status / 100;
    if (1..=5).contains(&class) { class as u8 } else { 0 }
}

/// Time since the call before on a logarithmic scale: 0 for a session's first call, then 1 below 10 ms, 2 below
/// 100 ms and so on to 7 from 1000 s.
pub fn gap_bucket(gap_ms: Option<u32>) -> u8 {
    gap_ms.map_or(0, |gap| 1 + gap.max(1).ilog10().min(6) as u8)
}

/// What [`compute`] makes of a day. Tokens name texts of `tables`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DayFeatures {
    /// Rows, values and hours.
    pub tables: DayTables,
    /// Steps of all sessions, in order.
    pub tokens: Vec<Token>,
}

/// The features of one organisation's UTC date. `events` must all be of that organisation and date, in any order;
/// `place` says what is known about a client address and is asked once for each.
pub fn compute(
    org_id: &str,
    date: Date,
    events: &Events,
    place: &(dyn Fn(&str) -> Place + Sync),
    options: &Options<'_>,
) -> DayFeatures {
    let day = Day::prepare(date, events, place);
    let full = options.scope == Scope::Full;
    let objects = if full { Objects::new(events, options.step) } else { None };
    let chunks = user::chunks(&day);
    let (parts, rollups) = rayon::join(
        || -> Vec<user::Chunk> {
            chunks
                .into_par_iter()
                .map_init(
                    || user::Scratch::new(&day),
                    |scratch, users| user::compute(&day, users, *options, objects.as_ref(), scratch),
                )
                .collect()
        },
        || full.then(|| rollup::compute(&day)),
    );
    assemble(org_id, &day, parts, rollups, objects.as_ref())
}

/// Where each kind of text begins among the symbols; number 0 of every kind is the empty text.
struct Symbols {
    text: Vec<String>,
    base: [u32; ValueKind::ALL.len()],
    users: u32,
    names: u32,
}

impl Symbols {
    fn new(day: &Day<'_>) -> Self {
        let mut text = vec![String::new()];
        let mut add = |texts: &Texts| {
            let base = text.len() as u32;
            text.extend(texts.iter().skip(1).map(str::to_owned));
            base
        };
        let users = add(&day.users);
        let names = add(&day.names);
        let entities = add(&day.entities);
        let channels = add(&day.channels);
        let base = ValueKind::ALL.map(|kind| match kind {
            ValueKind::Ip => add(&day.ips),
            ValueKind::Network => add(&day.networks),
            ValueKind::Country => add(&day.countries),
            ValueKind::Asn => add(&day.asns),
            ValueKind::NetworkClass => add(&day.classes),
            ValueKind::App => add(&day.apps),
            ValueKind::AppId => add(&day.app_ids),
            ValueKind::Client => add(&day.clients),
            ValueKind::Channel => channels,
            ValueKind::ApiFamily => add(&day.families),
            ValueKind::ApiVersion => add(&day.channel_versions),
            ValueKind::Resource => add(&day.resources),
            ValueKind::Entity => entities,
            ValueKind::Action => add(&Texts::sorted(day::ACTIONS_BY_NAME.iter().map(|a| a.name()))),
            ValueKind::ActionEntity => 0, // named as they are met
            ValueKind::HttpMethod => add(&day.methods),
        });
        Self { text, base, users, names }
    }

    fn of(base: u32, code: u32) -> Sym {
        if code == 0 { 0 } else { base + code - 1 }
    }

    fn value(&self, kind: ValueKind, code: u32) -> Sym {
        Self::of(self.base[kind as usize], code)
    }
}

fn table(columns: &'static [Feature]) -> FeatureTable {
    FeatureTable { columns, ..FeatureTable::default() }
}

fn assemble(
    org_id: &str,
    day: &Day<'_>,
    parts: Vec<user::Chunk>,
    rollups: Option<rollup::Rollups>,
    objects: Option<&Objects>,
) -> DayFeatures {
    let mut named = FxHashMap::default();
    let mut symbols = Symbols::new(day);
    let mut pairs = vec![0_u32; if rollups.is_some() { day::ACTIONS_BY_NAME.len() * day.entities.len() } else { 0 }];
    let requests = name_requests(day, &parts, &mut symbols.text);
    let mut tables = DayTables {
        org_id: org_id.to_owned(),
        date: day.date,
        user_day: table(catalog::user_day::FEATURES),
        session: table(catalog::session::FEATURES),
        app_day: table(catalog::app_day::FEATURES),
        ip_day: table(catalog::ip_day::FEATURES),
        org_day: table(catalog::org_day::FEATURES),
        ..DayTables::default()
    };
    let mut tokens = Vec::with_capacity(parts.iter().map(|p| p.tokens.len()).sum());
    tables.values.reserve(parts.iter().map(|p| p.values.len()).sum());
    tables.hours.reserve(parts.iter().map(|p| p.hours.len()).sum());
    tables.session.values.reserve(parts.iter().map(|p| p.session_values.len()).sum());
    let start_ms = day.date.start_ms();
    for part in parts {
        let (first_user, first_session) = (tables.user_day.ids.len() as u32, tables.session.ids.len() as u32);
        tables.user_day.ids.extend(part.users.iter().map(|u| Symbols::of(symbols.users, u.id)));
        tables.user_day.names.extend(part.users.iter().map(|u| Symbols::of(symbols.names, u.name)));
        tables.user_day.values.extend_from_slice(&part.user_values);
        tables.session.values.extend_from_slice(&part.session_values);
        for session in &part.sessions {
            let user = tables.user_day.ids[(first_user + session.user) as usize];
            let id = session_id(&symbols.text[user as usize], session.start, session.ordinal);
            tables.session.ids.push(symbols.text.len() as u32);
            tables.session.names.push(tables.user_day.names[(first_user + session.user) as usize]);
            symbols.text.push(id);
            tables.session_keys.push(SessionKey {
                user: first_user + session.user,
                channel: symbols.value(ValueKind::Channel, session.channel),
                ip: symbols.value(ValueKind::Ip, session.ip),
                start_ms: start_ms + i64::from(session.start),
                end_ms: start_ms + i64::from(session.end),
            });
        }
        for value in &part.values {
            let sym = if value.kind == ValueKind::ActionEntity {
                let known = &mut pairs[value.code as usize];
                if *known == 0 {
                    *known = symbols.text.len() as u32;
                    symbols.text.push(day.action_entity(value.code));
                }
                *known
            } else {
                symbols.value(value.kind, value.code)
            };
            tables.values.push(ValueRow {
                user: first_user + value.user,
                kind: value.kind,
                value: sym,
                calls: value.uses.calls,
                errors: value.uses.errors,
                first_ms: start_ms + i64::from(value.uses.first),
                last_ms: start_ms + i64::from(value.uses.last),
                request_ids: value.uses.requests.map(|row| request_sym(&requests, row)),
            });
        }
        tables.hours.extend(part.hours.iter().map(|h| HourRow {
            user: first_user + h.user,
            channel: symbols.value(ValueKind::Channel, h.channel),
            half_hour: h.half_hour,
            calls: h.calls,
            errors: h.errors,
        }));
        for token in &part.tokens {
            tokens.push(Token {
                session: first_session + token.session,
                action: token.action,
                entity: match objects {
                    None => symbols.value(ValueKind::Entity, token.entity),
                    Some(objects) => objects.symbol(token.entity, &mut named, &mut symbols.text),
                },
                status_class: token.status_class,
                gap: token.gap,
                run: token.run,
                request_id: request_sym(&requests, token.row),
            });
        }
    }
    if let Some(rollups) = rollups {
        let fill = |table: &mut FeatureTable, kind: ValueKind, rows: rollup::Rows| {
            table.ids = rows.codes.iter().map(|&code| symbols.value(kind, code)).collect();
            table.names = vec![0; rows.codes.len()];
            table.values = rows.values;
        };
        fill(&mut tables.app_day, ValueKind::Channel, rollups.apps);
        fill(&mut tables.ip_day, ValueKind::Ip, rollups.ips);
        let org = if org_id.is_empty() { 0 } else { symbols.text.len() as u32 };
        tables.org_day.ids = vec![org];
        tables.org_day.names = vec![0];
        tables.org_day.values = rollups.org;
        symbols.text.push(org_id.to_owned());
    }
    tables.text = symbols.text;
    DayFeatures { tables, tokens }
}

/// Adds the request ids that values and tokens name to `text`; the symbol of each row. In order of rows, which is
/// hardly another order than that of memory.
fn name_requests(day: &Day<'_>, parts: &[user::Chunk], text: &mut Vec<String>) -> Vec<Sym> {
    let mut requests = vec![0; day.rows.len()];
    for part in parts {
        let of_values = part.values.iter().flat_map(|v| v.uses.requests);
        for row in of_values.chain(part.tokens.iter().map(|t| t.row)).filter(|row| *row != NO_ROW) {
            requests[row as usize] = 1;
        }
    }
    for (row, sym) in requests.iter_mut().enumerate().filter(|(_, sym)| **sym > 0) {
        *sym = text.len() as u32;
        text.push(day.request_id(row as u32).to_owned());
    }
    requests
}

fn request_sym(requests: &[Sym], row: u32) -> Sym {
    if row == NO_ROW { 0 } else { requests[row as usize] }
}

/// `<user_id>/<first call hh:mm:ss.mmm>/<n>`, n counting from 1 the user's sessions that start in that millisecond.
fn session_id(user: &str, start: u32, ordinal: u32) -> String {
    let mut id = String::with_capacity(user.len() + 16);
    let mut digits = |before: char, number: u32, width: u32| {
        id.push(before);
        for place in (0..width).rev() {
            id.push(char::from(b'0' + (number / 10_u32.pow(place) % 10) as u8));
        }
    };
    digits('/', start / 3_600_000, 2);
    digits(':', start / 60_000 % 60, 2);
    digits(':', start / 1000 % 60, 2);
    digits('.', start % 1000, 3);
    digits('/', ordinal, ordinal.max(1).ilog10() + 1);
    id.insert_str(0, user);
    id
}
