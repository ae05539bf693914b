//! An ordinary day of one user: the calls of each of their routines, with noise, errors, retries and outages.

use super::calendar::{DAY_MINUTES, close, office_weight, weekday_factor};
use super::calls::Call;
use super::dice::{Dice, mix};
use super::rows::{Address, BLANK_NAME, Event, UNCOUNTED};
use super::world::{Habit, Hosts, Place, Role, Routine, Shape, User, World};
use crate::date::MS_PER_DAY;

/// What a scenario changes about how much is done on a day; everything else it changes on the finished calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dial {
    /// Factor on all volumes.
    pub volume: f64,
    /// Minutes by which scheduled runs are late.
    pub late: i64,
    /// A release is held whatever the weekday, with at least this many calls.
    pub release: f64,
}

impl Default for Dial {
    fn default() -> Self {
        Self { volume: 1.0, late: 0, release: 0.0 }
    }
}

/// Appends the calls of one user on one day, sorted by nothing in particular, all within the UTC date.
pub(super) fn ordinary(world: &World, number: usize, day: i32, dial: Dial, out: &mut Vec<Event>) {
    let user = &world.users[number];
    if user.is_human() && !user.present(day) {
        return;
    }
    for (i, routine) in user.routines.iter().enumerate() {
        if day < routine.from {
            continue;
        }
        let stream = (number as u64) << 40 | (i as u64) << 32 | day as u64;
        let mut pen = Pen::new(world, user, routine, day, dial, Dice::new(world.seed, "day", stream));
        let from = out.len();
        pen.write(out);
        pen.trouble(&mut out[from..]);
    }
}

/// Draws one routine's day.
struct Pen<'a> {
    world: &'a World,
    user: &'a User,
    routine: &'a Routine,
    day: i32,
    /// First ms of the date.
    start: i64,
    /// Minutes to add to UTC.
    offset: i64,
    dial: Dial,
    /// Habits in force with cumulated weights.
    habits: Vec<(f64, Habit)>,
    version: u8,
    error_rate: f64,
    request: u128,
    dice: Dice,
}

impl<'a> Pen<'a> {
    fn new(world: &'a World, user: &'a User, routine: &'a Routine, day: i32, dial: Dial, mut dice: Dice) -> Self {
        let date = world.date(day);
        let selling = close(date);
        let mut total = 0.0;
        let habits = routine
            .habits
            .iter()
            .filter(|h| h.from <= day)
            .map(|h| {
                // At the end of a month the objects of a sale are busier.
                let sales = (12..=17).contains(&h.entity) || h.entity == 4;
                total += h.weight * if sales { 0.6f64.mul_add(selling, 1.0) } else { 1.0 };
                (total, *h)
            })
            .collect();
        let error_rate = (routine.error_rate * dice.lognormal(1.0, 0.35)).min(1.0);
        Self {
            world,
            user,
            routine,
            day,
            start: date.start_ms(),
            offset: world.offset(user, day),
            dial,
            habits,
            version: routine.version_on(day),
            error_rate,
            request: 0,
            dice,
        }
    }

    /// Calls expected today.
    fn volume(&mut self) -> f64 {
        let date = self.world.date(self.day);
        let machine = matches!(
            self.routine.shape,
            Shape::Poll { .. } | Shape::Nightly { .. } | Shape::Hourly { .. } | Shape::Stale
        );
        let mut factor = weekday_factor(date, !machine);
        if !machine && self.world.office(self.user).clock.is_holiday(date) {
            factor *= 0.15;
        }
        let sales = if self.user.is_human() { 0.35 } else { 0.12 };
        factor *= sales * close(date) + 1.0;
        let wobble = self.dice.lognormal(1.0, self.routine.wobble);
        self.routine.daily * factor * wobble * self.routine.level(self.day) * self.dial.volume
    }

    fn write(&mut self, out: &mut Vec<Event>) {
        let volume = self.volume();
        match self.routine.shape {
            Shape::Poll { minutes, swell, spike } => self.poll(out, volume, minutes, swell, spike),
            Shape::Nightly { minute, minutes } => self.nightly(out, volume, minute, minutes),
            Shape::Hourly { minute, ingest } => self.hourly(out, volume, minute, ingest),
            Shape::Events => self.slots(out, volume, |m| {
                let hour = m as f64 / 60.0;
                let peak = |at: f64| (-(hour - at).powi(2) / 3.0).exp();
                peak(10.0) + 0.9 * peak(15.0) + 0.02
            }),
            Shape::Desk => self.slots(out, volume, |m| {
                let lunch = if (12 * 60..13 * 60).contains(&m) { 0.35 } else { 1.0 };
                if (8 * 60 + 30..17 * 60 + 30).contains(&m) { lunch } else { 0.004 }
            }),
            Shape::Tool { active } => self.tool(out, volume, active),
            Shape::Sessions => self.sessions(out, volume),
            Shape::Release => self.release(out, volume),
            Shape::Stale => {
                for _ in 0..self.dice.count(volume, 1.5) {
                    let ms = self.start + self.dice.below(MS_PER_DAY as u64) as i64;
                    let address = self.server(0);
                    self.call(out, ms, address, Call::SoapLogin, 0);
                }
            }
        }
    }

    /// UTC ms of a local minute of this date.
    fn at_local(&self, minute: i64) -> i64 {
        self.start + (minute - self.offset).rem_euclid(DAY_MINUTES) * 60_000
    }

    fn server(&mut self, slot: u64) -> Address {
        if let Some(address) = self.routine.hosts.server(slot, self.day) {
            return address;
        }
        let place = self.place();
        self.world.person_address(self.user, self.day, place, &mut self.dice)
    }

    /// Where a person works from, by routine.
    fn place(&mut self) -> Place {
        let weekend = self.world.date(self.day).is_weekend();
        let u = self.dice.unit();
        match self.routine.shape {
            Shape::Tool { .. } if !weekend => match u {
                u if u < 0.6 => Place::Office,
                u if u < 0.82 => Place::Home,
                _ => Place::Vpn,
            },
            _ if weekend => {
                if u < 0.6 {
                    Place::Phone
                } else {
                    Place::Home
                }
            }
            _ => match u {
                u if u < 0.45 => Place::Phone,
                u if u < 0.8 => Place::Office,
                u if u < 0.95 => Place::Home,
                _ => Place::Vpn,
            },
        }
    }

    fn habit(&mut self) -> (Call, u16) {
        let total = self.habits.last().map_or(0.0, |(sum, _)| *sum);
        let u = self.dice.unit() * total;
        let at = self.habits.partition_point(|(sum, _)| *sum <= u).min(self.habits.len() - 1);
        let habit = self.habits[at].1;
        (habit.call, habit.entity)
    }

    /// Appends one call, if it lies within the date.
    fn call(&mut self, out: &mut Vec<Event>, ms: i64, address: Address, call: Call, entity: u16) {
        let bits = self.dice.bits();
        self.call_part(out, ms, address, call, entity, bits >> 22);
    }

    fn call_part(&mut self, out: &mut Vec<Event>, ms: i64, address: Address, call: Call, entity: u16, part: u64) {
        if !(self.start..self.start + MS_PER_DAY).contains(&ms) {
            return;
        }
        let bits = self.dice.bits();
        let low = self.dice.bits();
        // Some transactions write several rows under one id.
        if bits & 0xFF != 0 || self.request == 0 {
            self.request = u128::from(bits) << 64 | u128::from(low);
        }
        let blank = if low.is_multiple_of(100) { BLANK_NAME } else { 0 };
        let uncounted = if (low >> 16).is_multiple_of(128) { UNCOUNTED } else { 0 };
        let flags = blank | uncounted;
        let failed = self.error_rate > 0.0 && self.dice.chance(self.error_rate);
        let status = if failed { self.error(call) } else { call.ok() };
        let internal = self.routine.internal > 0.0 && self.dice.chance(self.routine.internal);
        out.push(Event {
            ms,
            request: self.request,
            address: if internal { Address::Internal } else { address },
            actor: self.user.actor,
            instance: 0,
            channel: self.routine.channel,
            entity,
            status,
            call,
            version: self.version,
            flags,
            part,
        });
        // A third of the failed calls is tried again a few seconds later, and mostly works.
        if failed && self.user.role != Role::Unknown && self.dice.chance(0.3) {
            let mut again = out[out.len() - 1];
            again.ms += self.dice.between(1500, 30_000);
            again.request = u128::from(self.dice.bits()) << 64 | u128::from(self.dice.bits());
            again.status = if self.dice.chance(0.7) { call.ok() } else { status };
            if again.ms < self.start + MS_PER_DAY {
                out.push(again);
            }
        }
    }

    fn error(&mut self, call: Call) -> u16 {
        if call == Call::SoapLogin {
            return 401;
        }
        match self.dice.below(100) {
            0..40 => 400,
            40..58 => 401,
            58..82 => 404,
            82..90 => 403,
            90..95 => 500,
            _ => 503,
        }
    }

    fn poll(&mut self, out: &mut Vec<Event>, volume: f64, minutes: i64, swell: f64, spike: Option<(i64, f64)>) {
        let polls = DAY_MINUTES / minutes;
        let spike_share = spike.map_or(0.0, |(_, share)| share);
        let day_weight: f64 = (0..polls).map(|p| office_weight(p * minutes)).sum();
        let key = u64::from(self.user.actor);
        let phase = (mix(key, 3) % (minutes as u64 * 60_000)) as i64 / 2;
        let flat = (1.0 - swell - spike_share) / polls as f64;
        for p in 0..polls {
            let weight = flat + swell * office_weight(p * minutes + self.offset) / day_weight;
            let n = self.dice.count(volume * weight, self.routine.ratio);
            let from = self.start + p * minutes * 60_000 + phase + self.dice.below(4000) as i64;
            let address = self.server(p as u64);
            let step = (minutes * 55_000 / n.max(1) as i64).min(1_400);
            self.batch(out, from, step, n, address);
        }
        if let Some((minute, share)) = spike {
            let n = self.dice.count(volume * share, self.routine.ratio);
            let from = self.at_local(minute + self.dial.late) + self.dice.between(0, 90_000);
            let address = self.server(0);
            self.batch(out, from, (14 * 60_000 / n.max(1) as i64).clamp(1, 2_000), n, address);
        }
    }

    /// `n` calls, one each `step` ms or so.
    fn batch(&mut self, out: &mut Vec<Event>, from: i64, step: i64, n: u64, address: Address) {
        let mut ms = from;
        for _ in 0..n {
            let (call, entity) = self.habit();
            self.call(out, ms, address, call, entity);
            ms += step / 2 + self.dice.below(step.max(1) as u64) as i64;
        }
    }

    fn nightly(&mut self, out: &mut Vec<Event>, volume: f64, minute: i64, minutes: f64) {
        let mut ms = self.at_local(minute + self.dial.late) + self.dice.between(-240_000, 240_000);
        let address = self.server(0);
        let total = self.habits.last().map_or(1.0, |(sum, _)| *sum);
        let step = minutes * 60_000.0 / self.routine.daily.max(1.0);
        let mut before = 0.0;
        for (sum, habit) in self.habits.clone() {
            let pages = self.dice.count(volume * (sum - before) / total, 3.0);
            before = sum;
            let locator = self.dice.bits() >> 22;
            for page in 0..pages {
                let first = page == 0;
                let call = if first { habit.call } else { Call::QueryMore.in_family(habit.call == Call::SoapQuery) };
                self.call_part(out, ms, address, call, habit.entity, locator << 12 | page);
                ms += (step * self.dice.uniform(0.5, 1.5)) as i64;
            }
        }
    }

    fn hourly(&mut self, out: &mut Vec<Event>, volume: f64, minute: i64, ingest: bool) {
        for hour in 0..24 {
            // A job is about eleven rows.
            for job in 0..self.dice.round(volume / 24.0 / 11.0).max(1) {
                let address = self.server(hour as u64);
                let mut ms =
                    self.start + (hour * 60 + minute) * 60_000 + self.dice.between(500, 9_000) + job as i64 * 700;
                let (_, entity) = self.habit();
                let part = job_number(self.user.actor, self.day, hour, job);
                let write = ingest && self.dice.chance(0.5);
                let (create, poll) =
                    if write { (Call::IngestCreate, Call::IngestPoll) } else { (Call::JobCreate, Call::JobPoll) };
                self.call_part(out, ms, address, create, entity, part);
                if write {
                    for call in [Call::IngestUpload, Call::IngestClose] {
                        ms += self.dice.between(300, 1500);
                        self.call_part(out, ms, address, call, entity, part);
                    }
                }
                for _ in 0..self.dice.between(4, 11) {
                    ms += self.dice.between(9_500, 10_800);
                    self.call_part(out, ms, address, poll, entity, part);
                }
                if !write {
                    for _ in 0..self.dice.between(1, 4) {
                        ms += self.dice.between(600, 4_000);
                        self.call_part(out, ms, address, Call::JobResult, entity, part);
                    }
                }
            }
        }
    }

    /// Calls spread over half-hours by a weight of the local minute, in little groups.
    fn slots(&mut self, out: &mut Vec<Event>, volume: f64, weight: impl Fn(i64) -> f64) {
        let total: f64 = (0..48).map(|s| weight(s * 30)).sum();
        for slot in 0..48 {
            let local = (slot * 30 + self.offset).rem_euclid(DAY_MINUTES);
            let mut left = self.dice.count(volume * weight(local) / total, self.routine.ratio);
            while left > 0 {
                let group = left.min(1 + self.dice.below(4));
                left -= group;
                let from = self.start + slot * 1_800_000 + self.dice.below(1_790_000) as i64;
                let machine = self.dice.below(8);
                let address = self.server(machine);
                self.batch(out, from, 900, group, address);
            }
        }
    }

    fn tool(&mut self, out: &mut Vec<Event>, volume: f64, active: f64) {
        let n = self.dice.count(volume / active.max(0.1), self.routine.ratio);
        if !self.dice.chance(active) {
            return;
        }
        let bursts = 1 + self.dice.below(3);
        for _ in 0..bursts {
            let minute = self.dice.between(11 * 60, 17 * 60 + 30);
            let calls = self.dice.round(n as f64 / bursts as f64);
            let length = self.dice.between(4, 40) * 60_000;
            let address = self.server(0);
            let from = self.at_local(minute);
            self.batch(out, from, (length / calls.max(1) as i64).clamp(200, 90_000), calls, address);
        }
    }

    fn sessions(&mut self, out: &mut Vec<Event>, volume: f64) {
        let mut left = self.dice.count(volume, 3.0);
        while left > 0 {
            let calls = left.min(1 + self.dice.below(8));
            left -= calls;
            // Rejection sampling of a local minute by the weights of a working day, whose largest is 1.15.
            let minute = loop {
                let minute = self.dice.below(DAY_MINUTES as u64) as i64;
                if self.dice.chance(office_weight(minute) / 1.15) {
                    break minute;
                }
            };
            let address = self.server(0);
            let from = self.at_local(minute) + self.dice.below(60_000) as i64;
            self.batch(out, from, 9_000, calls, address);
        }
    }

    fn release(&mut self, out: &mut Vec<Event>, volume: f64) {
        let release_day = matches!(self.world.date(self.day).weekday(), 1 | 3) && self.dice.chance(0.85);
        if !release_day && self.dial.release <= 0.0 {
            return;
        }
        let n = self.dice.count(volume.max(self.dial.release), 6.0);
        let minute = 15 * 60 + self.dice.between(-50, 70);
        let from = self.at_local(minute);
        let length = self.dice.between(60, 150) * 60_000;
        let step = (length / n.max(1) as i64).clamp(300, 30_000);
        let address = self.server(0);
        self.batch(out, from, step, n, address);
    }

    /// Applies the routine's own bursts of errors and the organisation's maintenance.
    fn trouble(&mut self, events: &mut [Event]) {
        let maintenance = self.world.orgs[self.user.org].maintenance.iter();
        let maintenance =
            maintenance.filter(|(day, ..)| *day == self.day).map(|(_, start, length)| (*start, *length, 0.5, 503));
        let bursts = self.routine.bursts.iter().filter(|b| b.day == self.day);
        let bursts = bursts.map(|b| (b.start_ms, b.length_ms, b.share, b.status));
        for (start, length, share, status) in maintenance.chain(bursts) {
            let (from, until) = (self.start + start, self.start + start + length);
            for event in events.iter_mut().filter(|e| (from..until).contains(&e.ms)) {
                if self.dice.chance(share) {
                    event.status = status;
                }
            }
        }
    }
}

/// The number of a bulk job, which its owner and whoever tampers with it agree on.
pub(super) fn job_number(actor: u32, day: i32, hour: i64, job: u64) -> u64 {
    mix(u64::from(actor), (day as u64) << 16 | (hour as u64) << 8 | job) >> 22
}

/// The addresses from which a user may call on a day, servers first.
pub(super) fn addresses(world: &World, user: &User, day: i32, dice: &mut Dice) -> Vec<Address> {
    let mut found = Vec::new();
    for routine in &user.routines {
        if let Hosts::Fleet { live, .. } = &routine.hosts {
            found.extend((0..*live).filter_map(|slot| routine.hosts.server(slot, day)));
        }
    }
    if user.is_human() {
        found.push(world.person_address(user, day, Place::Office, dice));
        found.push(world.person_address(user, day, Place::Home, dice));
    }
    found
}
