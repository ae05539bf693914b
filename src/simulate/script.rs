//! What will happen: the scenarios placed in a world, with their rows and their changes to ordinary life; and how a
//! day of the whole world comes out of both.

use std::collections::{BTreeMap, BTreeSet};

use super::attacks;
use super::benign;
use super::calendar::switch_between;
use super::calls::Call;
use super::catalog::{Level, ScenarioSpec};
use super::days::{self, Dial};
use super::dice::Dice;
use super::rows::{Actor, Address, Channel, Event};
use super::schedule::{Candidate, Instance, Kind, is_lasting, place};
use super::stage::{Change, Edit, Stage, Who};
use super::text::{entity, id15};
use super::world::{Habit, Hosts, Role, Routine, Shape, User, World};
use crate::date::{Date, MS_PER_DAY};

/// The scenarios of a world.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub instances: Vec<Instance>,
    /// Scenarios that nobody in this world suits.
    pub refused: Vec<ScenarioSpec>,
    pub candidates: Vec<Candidate>,
    /// Rows of attacks, by day.
    pub rows: Vec<Vec<Event>>,
    pub edits: Vec<Edit>,
}

/// Everything of one day.
#[derive(Debug)]
pub(super) struct DayOut {
    /// Sorted by time.
    pub events: Vec<Event>,
    /// Rows that reach the archive a day late, sorted by time.
    pub late: Vec<Event>,
    pub tallies: Tallies,
}

/// What one instance did to one user on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Touch {
    pub rows: u64,
    pub first_ms: i64,
    pub last_ms: i64,
}

/// What the instances did on one day.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// By (instance + 1, actor).
    pub touches: BTreeMap<(u16, u32), Touch>,
    pub addresses: BTreeMap<u16, BTreeSet<Address>>,
    /// The first few request ids.
    pub requests: BTreeMap<u16, Vec<u128>>,
}

/// How many request ids the truth lists per instance and day, and addresses per instance.
const REQUESTS: usize = 5;

impl Tallies {
    /// Counts a row that is of, or was touched by, instance `number - 1`.
    pub(super) fn count(&mut self, number: u16, event: &Event) {
        self.touch(number, event.actor, event.ms);
        self.addresses.entry(number).or_default().insert(event.address);
        let requests = self.requests.entry(number).or_default();
        if requests.len() < REQUESTS && !requests.contains(&event.request) {
            requests.push(event.request);
        }
    }
}

impl Tallies {
    /// Counts a row without looking at its address and request id.
    pub(super) fn touch(&mut self, instance: u16, actor: u32, ms: i64) {
        let new = Touch { rows: 0, first_ms: ms, last_ms: ms };
        self.touches.entry((instance, actor)).or_insert(new).join(Touch { rows: 1, first_ms: ms, last_ms: ms });
    }

    /// Adds what another file of the same date says.
    pub(super) fn absorb(&mut self, other: Self) {
        for (key, touch) in other.touches {
            let new = Touch { rows: 0, ..touch };
            self.touches.entry(key).or_insert(new).join(touch);
        }
        for (number, addresses) in other.addresses {
            self.addresses.entry(number).or_default().extend(addresses);
        }
        for (number, requests) in other.requests {
            self.requests.entry(number).or_default().extend(requests);
        }
    }
}

impl Touch {
    fn join(&mut self, other: Self) {
        self.rows += other.rows;
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
    }
}

impl Script {
    /// Places and plays the scenarios; a new integration (B7) is added to the world.
    pub(super) fn write(world: &mut World, specs: &[ScenarioSpec], from: i32) -> Self {
        let candidates = candidates(world);
        let clocks: Vec<_> = world.orgs[0].offices.iter().map(|o| &o.clock).collect();
        let mut dice = Dice::new(world.seed, "schedule", 0);
        let (instances, refused) = place(specs, &candidates, &clocks, (world.start, from, world.days), &mut dice);
        let mut script =
            Self { instances, refused, candidates, rows: vec![Vec::new(); world.days as usize], edits: Vec::new() };
        for (i, instance) in script.instances.iter().enumerate() {
            let target = script.candidates[instance.target].clone();
            let mut dice = Dice::new(world.seed, "scenario", i as u64);
            let usual = days::addresses(world, &world.users[target.user], instance.first, &mut dice);
            let mut cast = std::mem::take(&mut world.cast);
            let mut stage = Stage {
                number: i as u16 + 1,
                level: instance.spec.level,
                start: world.start,
                first: instance.first,
                span: instance.span,
                days: world.days,
                target,
                everyone: &script.candidates,
                usual,
                cast: &mut cast,
                dice,
                events: Vec::new(),
                edits: Vec::new(),
            };
            let info = instance.spec.scenario.info();
            match info.id {
                "B5" => clock_change(world, &mut stage),
                "B7" => new_integration(world, &mut stage),
                id if info.benign => benign::play(id, &mut stage),
                id => attacks::play(id, &mut stage),
            }
            let (events, edits) = (stage.events, stage.edits);
            world.cast = cast;
            for event in events {
                let day = Date::from_ms(event.ms).0 - world.start.0;
                if let Some(rows) = usize::try_from(day).ok().and_then(|d| script.rows.get_mut(d)) {
                    rows.push(event);
                }
            }
            script.edits.extend(edits);
        }
        script
    }

    /// The edits that concern a user on a day.
    fn edits_for<'a>(&'a self, user: &'a User, number: usize, day: i32) -> impl Iterator<Item = &'a Edit> {
        self.edits.iter().filter(move |edit| {
            let concerned = match edit.who {
                Who::User(n) => n == number,
                Who::Org(org) => user.org == org,
                Who::People(org, office) => user.org == org && user.office == office && user.is_human(),
            };
            concerned && (edit.days.0..=edit.days.1).contains(&day)
        })
    }

    /// A day of the whole world.
    pub(super) fn day(&self, world: &World, day: i32) -> DayOut {
        let (mut events, mut tallies) = (Vec::new(), Tallies::default());
        for number in 0..world.users.len() {
            self.user_day(world, number, day, &mut events, &mut tallies);
        }
        for event in &self.rows[day as usize] {
            tallies.count(event.instance, event);
        }
        events.extend_from_slice(&self.rows[day as usize]);
        events.sort_by_key(|e| (e.ms, e.actor));
        let late = self.take_late(world, day, &mut events);
        DayOut { events, late, tallies }
    }

    fn user_day(&self, world: &World, number: usize, day: i32, out: &mut Vec<Event>, tallies: &mut Tallies) {
        let (user, from) = (&world.users[number], out.len());
        let mut dial = Dial::default();
        for edit in self.edits_for(user, number, day) {
            match edit.change {
                Change::Volume { factor } => dial.volume *= factor,
                Change::Delay { minutes } => dial.late += minutes,
                Change::Release { calls } => dial.release = calls,
                _ => {}
            }
        }
        days::ordinary(world, number, day, dial, out);
        let stream = (number as u64) << 32 | day as u64;
        for (i, edit) in self.edits_for(user, number, day).enumerate() {
            let mut dice = Dice::new(world.seed, "edit", stream | (i as u64) << 56);
            apply(edit, out, from, &mut dice, tallies);
        }
    }

    /// Takes out the rows that come a day late: a part of the rows of one hour in twenty, and whole hours where a
    /// scenario says so.
    fn take_late(&self, world: &World, day: i32, events: &mut Vec<Event>) -> Vec<Event> {
        let mut dice = Dice::new(world.seed, "late", day as u64);
        let start = world.date(day).start_ms();
        let share: Vec<f64> = (0..24).map(|_| if dice.chance(0.05) { dice.uniform(0.2, 0.6) } else { 0.0 }).collect();
        let windows: Vec<(i64, i64)> = self
            .edits
            .iter()
            .filter(|e| (e.days.0..=e.days.1).contains(&day))
            .filter_map(|e| match e.change {
                Change::Late { from_ms, until_ms } => Some((from_ms, until_ms)),
                _ => None,
            })
            .collect();
        let mut late = Vec::new();
        events.retain(|event| {
            let hour = ((event.ms - start) / 3_600_000).clamp(0, 23) as usize;
            let whole = windows.iter().any(|(from, until)| (*from..*until).contains(&event.ms));
            let is_late = whole || (share[hour] > 0.0 && dice.chance(share[hour]));
            if is_late {
                late.push(*event);
            }
            !is_late
        });
        late
    }
}

/// Applies a change to a user's finished calls of a day (`events[from..]`).
fn apply(edit: &Edit, events: &mut Vec<Event>, from: usize, dice: &mut Dice, tallies: &mut Tallies) {
    let number = edit.instance;
    let mut retries = Vec::new();
    match &edit.change {
        Change::Volume { .. } | Change::Delay { .. } | Change::Release { .. } | Change::Mark => {
            events[from..].iter().for_each(|e| tallies.count(number, e));
        }
        Change::Rewrite { share, objects } => {
            // Pages of one query follow one another, so calls are rewritten in runs, on every server alike.
            let (mut locator, mut page) = (dice.bits() >> 22, 0);
            let chosen: Vec<usize> = (from..events.len()).filter(|_| dice.chance(*share)).collect();
            let count = chosen.len().max(1);
            for (i, at) in chosen.into_iter().enumerate() {
                let event = &mut events[at];
                if page == 0 || dice.chance(0.02) {
                    (locator, page) = (dice.bits() >> 22, 0);
                }
                let soap = event.call.family() == super::calls::Family::Soap;
                event.call = if page == 0 { Call::Query } else { Call::QueryMore }.in_family(soap);
                event.entity = objects[i * objects.len() / count];
                event.part = locator << 12 | page & 0xFFF;
                event.status = if event.status < 400 { event.call.ok() } else { event.status };
                tallies.count(number, event);
                page += 1;
            }
        }
        Change::Errors { share } => {
            for event in &mut events[from..] {
                if dice.chance(*share) {
                    event.status = if dice.chance(0.8) { 401 } else { 400 };
                    tallies.count(number, event);
                    if dice.chance(0.5) {
                        retries.push(again(event, dice));
                    }
                }
            }
        }
        Change::Refuse { from_ms, until_ms, share, status, retry } => {
            for event in &mut events[from..] {
                if (*from_ms..*until_ms).contains(&event.ms) && dice.chance(*share) {
                    event.status = *status;
                    tallies.count(number, event);
                    if *retry {
                        retries.push(again(event, dice));
                    }
                }
            }
        }
        Change::Hosts { addresses, share } => {
            for event in &mut events[from..] {
                if event.address != Address::Internal && dice.chance(*share) {
                    event.address = addresses[(event.ms / 1_800_000) as usize % addresses.len()];
                }
                tallies.count(number, event);
            }
        }
        Change::Version { by } => {
            for event in &mut events[from..] {
                event.version += by;
                tallies.count(number, event);
            }
        }
        Change::Late { from_ms, until_ms } => {
            for event in events[from..].iter().filter(|e| (*from_ms..*until_ms).contains(&e.ms)) {
                tallies.count(number, event);
            }
        }
    }
    for retry in &retries {
        tallies.count(number, retry);
    }
    events.append(&mut retries);
}

/// The same call a few seconds later, still within the date.
fn again(event: &Event, dice: &mut Dice) -> Event {
    let end = (event.ms.div_euclid(MS_PER_DAY) + 1) * MS_PER_DAY - 1;
    let request = u128::from(dice.bits()) << 64 | u128::from(dice.bits());
    Event { ms: (event.ms + dice.between(2_000, 40_000)).min(end), request, ..*event }
}

/// The users of a world as scenarios see them.
fn candidates(world: &World) -> Vec<Candidate> {
    let view = |(number, user): (usize, &User)| {
        let main = user.routines.iter().max_by(|a, b| a.daily.total_cmp(&b.daily))?;
        let tool = user.routines.iter().any(|r| matches!(r.shape, Shape::Tool { .. }) && r.daily > 8.0);
        let kind = match (main.shape, user.role) {
            (_, Role::Unknown) => Kind::Unknown,
            (Shape::Desk, _) => Kind::Dialler,
            (_, Role::Admin) => Kind::Admin,
            (_, Role::Integration) => match main.shape {
                Shape::Nightly { .. } => Kind::Nightly,
                Shape::Hourly { .. } => Kind::Hourly,
                Shape::Release => Kind::Release,
                _ => Kind::Poller,
            },
            _ if tool => Kind::ToolUser,
            _ => Kind::Person,
        };
        let known: BTreeSet<u16> = user.routines.iter().flat_map(|r| &r.habits).map(|h| h.entity).collect();
        let mut away = user.absences.clone();
        away.extend(user.trips.iter().map(|t| (t.from, t.until)));
        if user.is_human() {
            away.push((i32::MIN / 2, user.from.max(i32::MIN / 2) + 20));
            away.push((user.until.min(i32::MAX / 2) + 1, i32::MAX / 2));
        }
        let channel = &world.cast.channels[usize::from(main.channel)];
        Some(Candidate {
            actor: user.actor,
            user: number,
            org: user.org,
            human: user.is_human(),
            daily: user.daily(),
            channel: main.channel,
            version: main.version_on(world.days),
            soap: main.is_soap(),
            app: !channel.app_name.is_empty(),
            kind,
            known: known.into_iter().filter(|e| *e != 0).collect(),
            offsets: world.office(user).offsets.clone(),
            away,
        })
    };
    world.users.iter().enumerate().filter_map(view).collect()
}

/// B5: on a real switch the rows of that office's first days are only marked; otherwise scheduled runs move.
fn clock_change(world: &World, stage: &mut Stage) {
    let first = world.date(stage.first);
    let until = 3.min(stage.days - 1 - stage.first);
    let real = |user: &User| {
        let clock = &world.office(user).clock;
        user.org == 0 && switch_between(clock, first, first).is_some()
    };
    let moved: Vec<usize> = world.users.iter().enumerate().filter(|(_, u)| real(u)).map(|(n, _)| n).collect();
    if moved.is_empty() {
        let scheduled = |r: &Routine| {
            matches!(r.shape, Shape::Nightly { .. } | Shape::Release | Shape::Poll { spike: Some(_), .. })
        };
        for (n, user) in world.users.iter().enumerate() {
            if user.org == 0 && user.routines.iter().any(scheduled) {
                stage.edit(Who::User(n), (0, stage.days), Change::Delay { minutes: -60 });
            }
        }
        return;
    }
    for n in moved {
        stage.edit(Who::User(n), (0, until), Change::Mark);
    }
}

/// B7: a user that did not exist before; a twentieth of its traffic on the first day, all of it on the fifth.
fn new_integration(world: &mut World, stage: &mut Stage) {
    const RAMP: [f64; 5] = [0.05, 0.2, 0.5, 0.8, 1.0];
    let channel = Channel {
        app_id: id15("0H4", &mut stage.dice),
        app_name: "Orchard Analytics".to_owned(),
        client: String::new(),
        category: "EXTERNAL_APPLICATION".to_owned(),
        bulk_is_rest: false,
    };
    let channel = stage.cast.channel(channel);
    let actor = stage.cast.actor(Actor {
        org_id: world.orgs[0].id.clone(),
        user_id: id15("005", &mut stage.dice),
        user_name: format!("orchard.analytics.{}@haldenridgepartners.example", stage.number),
    });
    let habit = |call, name, weight| Habit { call, entity: entity(name), weight, from: i32::MIN };
    let routine = Routine {
        shape: Shape::Poll { minutes: 15, swell: 0.2, spike: None },
        channel,
        version: 64,
        upgrades: Vec::new(),
        habits: vec![
            habit(Call::Query, "Account", 50.0),
            habit(Call::Query, "Opportunity", 25.0),
            habit(Call::Describe, "Account", 10.0),
            habit(Call::QueryMore, "Account", 15.0),
        ],
        daily: stage.level.of(400.0, 1_000.0, 2_000.0),
        wobble: 0.1,
        ratio: 4.0,
        weekly_growth: 0.0,
        shifts: Vec::new(),
        error_rate: 0.01,
        internal: 0.0,
        bursts: Vec::new(),
        hosts: Hosts::Fleet { blocks: vec![4], key: stage.dice.bits(), live: 2, rotate_days: 30 },
        from: stage.first,
    };
    world.users.push(User {
        actor,
        org: 0,
        office: 0,
        role: Role::Integration,
        from: i32::MIN,
        until: i32::MAX,
        absences: Vec::new(),
        trips: Vec::new(),
        private_vpn: false,
        routines: vec![routine],
    });
    let user = Who::User(world.users.len() - 1);
    for (day, factor) in RAMP.into_iter().enumerate() {
        let factor = match stage.level {
            // At the lowest level the ramp is gentle, at the highest it is a step.
            Level::High if day > 0 => 1.0,
            _ => factor,
        };
        stage.edit(user, (day as i32, day as i32), Change::Volume { factor });
    }
    stage.edit(user, (5, stage.days), Change::Mark);
}

/// Whether an instance's labels cover whole days: changes of ordinary life have no clear beginning within a day.
pub(super) fn whole_days(instance: &Instance) -> bool {
    let info = instance.spec.scenario.info();
    info.id == "S8" || is_lasting(instance.spec.scenario) || (info.benign && info.id != "B6")
}
