//! The stage on which a scenario is played: its target, the clock, new addresses and objects, and the rows and
//! changes that come out.

use std::net::Ipv4Addr;

use super::calls::Call;
use super::catalog::Level;
use super::dice::Dice;
use super::networks::{BLOCKS, block_of, blocks_where};
use super::rows::{Actor, Address, Cast, Channel, Event};
use super::schedule::{Candidate, Kind};
use super::text::{NULL_USER, id15};
use crate::date::Date;

/// A change to ordinary life while a story lasts.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    /// Number of the instance + 1, stamped on every row that the change touches.
    pub instance: u16,
    pub who: Who,
    /// First and last day.
    pub days: (i32, i32),
    pub change: Change,
}

/// Whom a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    User(usize),
    /// Everybody of an organisation.
    Org(usize),
    /// The people of an office.
    People(usize, usize),
}

/// What changes.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// This share of the calls becomes paging through other objects, at the same times from the same addresses.
    Rewrite { share: f64, objects: Vec<u16> },
    /// This share of the calls fails, half of it with a retry.
    Errors { share: f64 },
    /// Between two UTC times, this share of the calls gets a status (and is tried again if `retry`).
    Refuse { from_ms: i64, until_ms: i64, share: f64, status: u16, retry: bool },
    /// This share of the calls comes from these addresses.
    Hosts { addresses: Vec<Address>, share: f64 },
    /// The API version rises.
    Version { by: u8 },
    /// Volumes are multiplied.
    Volume { factor: f64 },
    /// Scheduled runs are late by so many minutes.
    Delay { minutes: i64 },
    /// A release of at least so many calls.
    Release { calls: f64 },
    /// Nothing: the rows are only marked.
    Mark,
    /// Rows between two UTC times reach the archive a day late.
    Late { from_ms: i64, until_ms: i64 },
}

/// The program and identity under which rows are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guise {
    pub actor: u32,
    pub channel: u16,
    pub version: u8,
    pub soap: bool,
    /// One request id for all rows.
    pub request: Option<u128>,
}

impl Guise {
    /// The candidate as they are.
    pub(super) fn of(c: &Candidate) -> Self {
        Self { actor: c.actor, channel: c.channel, version: c.version, soap: c.soap, request: None }
    }
}

/// One scenario being played.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// Number of the instance + 1.
    pub number: u16,
    pub level: Level,
    pub start: Date,
    pub first: i32,
    pub span: i32,
    pub days: i32,
    pub target: Candidate,
    pub everyone: &'a [Candidate],
    /// Addresses from which the target calls on the first day.
    pub usual: Vec<Address>,
    pub cast: &'a mut Cast,
    pub dice: Dice,
    pub events: Vec<Event>,
    pub edits: Vec<Edit>,
}

impl Stage<'_> {
    /// `n` at full intensity, at least `min`.
    pub(super) fn scaled(&self, n: f64, min: u64) -> u64 {
        ((n * self.level.factor()).round() as u64).max(min)
    }

    /// UTC ms of a UTC minute, `day` days into the story.
    pub(super) fn utc(&self, day: i32, minute: f64) -> i64 {
        self.start.plus(self.first + day).start_ms() + (minute * 60_000.0) as i64
    }

    /// UTC ms of a minute of the target's office; a late evening there may be the next date here.
    pub(super) fn local(&self, day: i32, minute: f64) -> i64 {
        let at = (self.first + day).clamp(0, self.target.offsets.len() as i32 - 1);
        self.utc(day, minute - self.target.offsets[at as usize] as f64)
    }

    /// Appends a row with the call's success status.
    pub(super) fn put(&mut self, guise: Guise, ms: i64, address: Address, call: Call, entity: u16) {
        let part = self.dice.bits() >> 22;
        self.put_full(guise, ms, address, call.in_family(guise.soap), entity, part, None);
    }

    /// Appends a row.
    pub(super) fn put_full(
        &mut self,
        guise: Guise,
        ms: i64,
        address: Address,
        call: Call,
        entity: u16,
        part: u64,
        status: Option<u16>,
    ) {
        let request = u128::from(self.dice.bits()) << 64 | u128::from(self.dice.bits());
        self.events.push(Event {
            ms,
            request: guise.request.unwrap_or(request),
            address,
            actor: guise.actor,
            instance: self.number,
            channel: guise.channel,
            entity,
            status: status.unwrap_or(call.ok()),
            call,
            version: guise.version,
            flags: 0,
            part,
        });
    }

    /// Pages through objects: `n` rows evenly from `from` to `until` (ms), a new query every few dozen pages, half a
    /// percent of them refused.
    pub(super) fn page(
        &mut self,
        guise: Guise,
        (from, until): (i64, i64),
        n: u64,
        objects: &[u16],
        address: impl Fn(&mut Dice, u64) -> Address,
    ) {
        let step = (until - from) as f64 / n.max(1) as f64;
        let (mut locator, mut page, mut object) = (0, 0, objects[0]);
        for i in 0..n {
            if i == 0 || self.dice.chance(0.02) {
                let at = (i * objects.len() as u64 / n.max(1)) as usize;
                (locator, page, object) = (self.dice.bits() >> 22, 0, objects[at]);
            }
            let call = if page == 0 { Call::Query } else { Call::QueryMore };
            let ms = from + ((i as f64 + self.dice.unit()) * step) as i64;
            let from_where = address(&mut self.dice, i);
            let status = self.dice.chance(0.005).then_some(400);
            self.put_full(
                guise,
                ms,
                from_where,
                call.in_family(guise.soap),
                object,
                locator << 12 | page & 0xFFF,
                status,
            );
            page += 1;
        }
    }

    /// `n` objects that the target has never touched, the ones that thieves like first.
    pub(super) fn strange_objects(&mut self, n: usize) -> Vec<u16> {
        let mut tempting: Vec<u16> = (1..self.cast.entities.len() as u16).collect();
        tempting.retain(|e| !self.target.known.contains(e));
        self.dice.shuffle(&mut tempting);
        tempting.truncate(n.max(1));
        if tempting.is_empty() {
            tempting.push(1);
        }
        tempting
    }

    /// Numbers of the objects with these names.
    pub(super) fn objects(&mut self, names: &[&str]) -> Vec<u16> {
        let entities = &mut self.cast.entities;
        let mut number = |name: &str| {
            let known = entities.iter().position(|e| e == name);
            known.unwrap_or_else(|| {
                entities.push(name.to_owned());
                entities.len() - 1
            }) as u16
        };
        names.iter().map(|name| number(name)).collect()
    }

    /// Addresses of rented servers, `n` spread over so many countries.
    pub(super) fn servers(&mut self, n: u64, countries: usize) -> Vec<Address> {
        self.elsewhere("hosting", &["NL", "FR", "DE", "RO", "FI", "US"], n, countries)
    }

    /// `n` addresses of a class in the first few of these countries, in random order.
    pub(super) fn elsewhere(&mut self, class: &str, countries: &[&str], n: u64, take: usize) -> Vec<Address> {
        let mut order = countries.to_vec();
        self.dice.shuffle(&mut order);
        order.truncate(take.max(1));
        // The clouds of ordinary life come first in the table and are left out.
        let blocks =
            blocks_where(|b| b.class == class && order.contains(&b.country) && (b.first >= 144 || b.size == 0));
        let blocks: Vec<usize> = blocks.into_iter().filter(|i| BLOCKS[*i].size > 0).collect();
        (0..n).map(|i| BLOCKS[blocks[i as usize % blocks.len()]].address(self.dice.bits() >> 8)).collect()
    }

    /// An address of the target's own network that it has not used: a neighbour in the same block if we know it, else
    /// in the same /24.
    pub(super) fn neighbour(&mut self) -> Address {
        let own = self.usual.iter().copied().find(|a| *a != Address::Internal);
        match own.and_then(block_of) {
            Some(block) => block.address(self.dice.bits() >> 8),
            None => match own {
                Some(Address::V4(ip)) => {
                    let [a, b, c, _] = ip.octets();
                    Address::V4(Ipv4Addr::new(a, b, c, self.dice.between(1, 254) as u8))
                }
                Some(other) => other,
                None => self.servers(1, 1)[0],
            },
        }
    }

    /// One of the target's usual addresses.
    pub(super) fn own_address(&mut self) -> Address {
        if self.usual.is_empty() { self.servers(1, 1)[0] } else { self.dice.pick(&self.usual) }
    }

    /// A connected app nobody knows; `prefix` is `0H4` or, for consumers without an installed app, `888`.
    pub(super) fn app(&mut self, prefix: &str, name: &str, client: &str) -> u16 {
        let app_id = id15(prefix, &mut self.dice);
        self.cast.channel(Channel {
            app_id,
            app_name: name.to_owned(),
            client: client.to_owned(),
            category: "EXTERNAL_APPLICATION".to_owned(),
            bulk_is_rest: false,
        })
    }

    /// Calls without an app or client name.
    pub(super) fn plain_channel(&mut self) -> u16 {
        let [app_id, app_name, client] = [const { String::new() }; 3];
        let category = "EXTERNAL_APPLICATION".to_owned();
        self.cast.channel(Channel { app_id, app_name, client, category, bulk_is_rest: false })
    }

    /// The null id under which attempts on users that do not exist are counted.
    pub(super) fn unknown_user(&mut self) -> u32 {
        if self.target.kind == Kind::Unknown {
            return self.target.actor;
        }
        let org_id = self.cast.actors[self.target.actor as usize].org_id.clone();
        self.cast.actor(Actor { org_id, user_id: NULL_USER.to_owned(), user_name: String::new() })
    }

    /// Changes ordinary life on days of the story (from `from` to `until` days into it).
    pub(super) fn edit(&mut self, who: Who, (from, until): (i32, i32), change: Change) {
        let days = (self.first + from, (self.first + until).min(self.days - 1));
        self.edits.push(Edit { instance: self.number, who, days, change });
    }
}
