//! The simulated world: organisations, their offices and users, and what each user does on ordinary days.
//!
//! A world is built once from the seed; after that, a day of a user is a pure function of the world, so that days can
//! be made in any order on any number of threads.

use super::calendar::Clock;
use super::calls::Call;
use super::dice::{Dice, mix};
use super::networks::{BLOCKS, block};
use super::rows::{Address, Cast};
use crate::date::Date;
use crate::seed::Seed;

/// Everything that exists.
#[derive(Debug)]
pub(super) struct World {
    pub seed: Seed,
    pub start: Date,
    /// Number of days; day numbers run from 0.
    pub days: i32,
    pub cast: Cast,
    pub orgs: Vec<Org>,
    pub users: Vec<User>,
}

/// An organisation.
#[derive(Debug)]
pub(super) struct Org {
    pub id: String,
    pub offices: Vec<Office>,
    /// Planned platform maintenance: day, start (ms of the day), length (ms).
    pub maintenance: Vec<(i32, i64, i64)>,
}

/// An office: a clock, and the addresses its people share.
#[derive(Debug)]
pub(super) struct Office {
    pub clock: Clock,
    /// Minutes to add to UTC, per day.
    pub offsets: Vec<i64>,
    pub nat: Vec<Address>,
    pub vpn: Address,
}

/// What a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Integration,
    Seller,
    Service,
    Manager,
    Analyst,
    Admin,
    /// The null id under which logins of unknown users are counted.
    Unknown,
}

/// A user and the ordinary course of their life.
#[derive(Debug)]
pub(super) struct User {
    pub actor: u32,
    pub org: usize,
    pub office: usize,
    pub role: Role,
    /// First and last day with the organisation (the first may be negative).
    pub from: i32,
    pub until: i32,
    /// Leave: first and last day.
    pub absences: Vec<(i32, i32)>,
    pub trips: Vec<Trip>,
    /// Uses a commercial VPN at home.
    pub private_vpn: bool,
    pub routines: Vec<Routine>,
}

/// Business travel.
#[derive(Debug)]
pub(super) struct Trip {
    pub from: i32,
    pub until: i32,
    /// Where the hotel's network is.
    pub block: usize,
}

/// One kind of call of a routine, with a weight, from a day on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
    pub call: Call,
    pub entity: u16,
    pub weight: f64,
    pub from: i32,
}

/// How the calls of a routine lie in time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// Every few minutes around the clock; `swell` of the calls follow office hours; `spike` is a daily run at a local
    /// minute with a share of the calls.
    Poll { minutes: i64, swell: f64, spike: Option<(i64, f64)> },
    /// A run at a local minute that walks through its objects in a fixed order; `minutes` long at first.
    Nightly { minute: i64, minutes: f64 },
    /// Bulk jobs at a minute of every hour; `ingest` writes instead of reading.
    Hourly { minute: i64, ingest: bool },
    /// Driven by what customers do: office hours with peaks at ten and three.
    Events,
    /// A dialler or mail plug-in under a person's name.
    Desk,
    /// A tool: bursts on some afternoons.
    Tool { active: f64 },
    /// A person's phone and browser: short sessions.
    Sessions,
    /// Releases on Tuesdays and Thursdays.
    Release,
    /// A forgotten script that fails to log in.
    Stale,
}

/// From where a routine calls.
#[derive(Debug, Clone)]
pub(super) enum Hosts {
    /// Servers: `live` at a time out of a pool that slowly renews itself within one or two blocks of one owner.
    Fleet { blocks: Vec<usize>, key: u64, live: u64, rotate_days: i32 },
    /// Wherever the person is.
    Person,
}

/// A stretch of failing calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Burst {
    pub day: i32,
    pub start_ms: i64,
    pub length_ms: i64,
    pub share: f64,
    pub status: u16,
}

/// One thing that a user does through one program.
#[derive(Debug)]
pub(super) struct Routine {
    pub shape: Shape,
    pub channel: u16,
    /// API version and, from a day on, later ones.
    pub version: u8,
    pub upgrades: Vec<(i32, u8)>,
    pub habits: Vec<Habit>,
    /// Calls on an ordinary Tuesday.
    pub daily: f64,
    /// Coefficient of variation from day to day.
    pub wobble: f64,
    /// Variance over mean of the counts within a day.
    pub ratio: f64,
    pub weekly_growth: f64,
    /// Lasting level shifts: from day, factor.
    pub shifts: Vec<(i32, f64)>,
    pub error_rate: f64,
    /// Share of calls that arrive from inside Salesforce.
    pub internal: f64,
    pub bursts: Vec<Burst>,
    pub hosts: Hosts,
    /// From which day on the routine exists.
    pub from: i32,
}

impl Routine {
    /// The API version in use on a day.
    pub(super) fn version_on(&self, day: i32) -> u8 {
        self.upgrades.iter().rev().find(|(from, _)| *from <= day).map_or(self.version, |(_, version)| *version)
    }

    /// Growth and level shifts up to a day, relative to day 0.
    pub(super) fn level(&self, day: i32) -> f64 {
        let growth = self.weekly_growth.mul_add(f64::from(day) / 7.0, 1.0);
        self.shifts.iter().filter(|(from, _)| *from <= day).fold(growth, |level, (_, factor)| level * factor)
    }

    /// Works by SOAP.
    pub(super) fn is_soap(&self) -> bool {
        self.habits.first().is_some_and(|h| h.call.family() == super::calls::Family::Soap)
    }
}

impl Hosts {
    /// Server `slot` (0..live) on a day; `None` for people.
    pub(super) fn server(&self, slot: u64, day: i32) -> Option<Address> {
        let Self::Fleet { blocks, key, live, rotate_days } = self else { return None };
        let slot = slot % live;
        let phase = (mix(*key, slot) % 7) as i32;
        let epoch = ((day + phase) / rotate_days) as u64;
        let draw = mix(*key, 1000 + slot * 4096 + epoch);
        // Most renewals go back to one of a dozen known machines, some to one never used before.
        let number = if draw % 10 < 7 { mix(*key, 500 + (draw >> 8) % 12) } else { draw };
        let block = blocks[usize::from(blocks.len() > 1 && (number >> 20) % 5 == 0)];
        Some(BLOCKS[block].address(number >> 24))
    }
}

impl User {
    /// Works on this day (holidays apart).
    pub(super) fn present(&self, day: i32) -> bool {
        (self.from..=self.until).contains(&day) && !self.absences.iter().any(|(a, b)| (*a..=*b).contains(&day))
    }

    /// A person rather than a program.
    pub(super) fn is_human(&self) -> bool {
        !matches!(self.role, Role::Integration | Role::Unknown)
    }

    /// Calls a day by all routines, on an ordinary Tuesday.
    pub(super) fn daily(&self) -> f64 {
        self.routines.iter().map(|r| r.daily).sum()
    }
}

/// Where a person is for the length of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Office,
    Home,
    Phone,
    Vpn,
}

impl World {
    /// The date of a day number.
    pub(super) fn date(&self, day: i32) -> Date {
        self.start.plus(day)
    }

    /// A user's office.
    pub(super) fn office(&self, user: &User) -> &Office {
        &self.orgs[user.org].offices[user.office]
    }

    /// Minutes to add to UTC for this user on a day.
    pub(super) fn offset(&self, user: &User, day: i32) -> i64 {
        let offsets = &self.office(user).offsets;
        offsets[day.clamp(0, offsets.len() as i32 - 1) as usize]
    }

    /// A person's address at a place. Homes renew theirs about monthly, phones with nearly every session; on a trip,
    /// everything but the company VPN comes from the hotel or the home carrier's roaming gateway.
    pub(super) fn person_address(&self, user: &User, day: i32, place: Place, dice: &mut Dice) -> Address {
        let office = self.office(user);
        let country = office.clock.country;
        let key = mix(self.seed.0, u64::from(user.actor));
        if let Some(trip) = user.trips.iter().find(|t| (t.from..=t.until).contains(&day)) {
            return match place {
                Place::Vpn => office.vpn,
                Place::Phone if dice.chance(0.6) => phone(country, dice),
                _ => BLOCKS[trip.block].address(mix(key, trip.from as u64)),
            };
        }
        match place {
            Place::Office => dice.pick(&office.nat),
            Place::Vpn => office.vpn,
            Place::Phone => phone(country, dice),
            Place::Home if user.private_vpn && dice.chance(0.3) => {
                BLOCKS[block("vpn", if country == "GB" { "GB" } else { "US" })].address(dice.bits())
            }
            Place::Home => {
                let epoch = (day + (key % 30) as i32) / 30;
                BLOCKS[block("residential", country)].address(mix(key, 77 + epoch as u64))
            }
        }
    }
}

fn phone(country: &str, dice: &mut Dice) -> Address {
    // Half of the carriers' customers reach the network over IPv6 where the carrier offers it.
    let v6 = BLOCKS.iter().find(|b| b.size == 0 && b.class == "mobile" && b.country == country);
    match v6 {
        Some(b) if dice.chance(0.5) => b.address(dice.bits()),
        _ => BLOCKS[block("mobile", country)].address(dice.bits()),
    }
}
