//! Builds a world: its organisations and their people with roles, tools, leave and travel, and the slow changes that
//! ordinary life brings to everybody (growth, level shifts, new objects, upgrades, error bursts).

use super::calendar::Clock;
use super::calls::Call;
use super::dice::Dice;
use super::networks::{BLOCKS, OFFICE_BLOCKS, block, blocks_where};
use super::rows::{Actor, Address, Cast, Channel};
use super::text::{ENTITIES, FIRST, LAST, NULL_USER, entity, id15};
use super::world::{Burst, Habit, Hosts, Office, Org, Role, Routine, Shape, Trip, User, World};
use crate::date::Date;
use crate::seed::Seed;

/// What to build.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub seed: Seed,
    pub start: Date,
    pub days: i32,
    /// All users of the main organisation, machines included.
    pub users: u32,
    /// Volume of the two largest integrations relative to the medium preset.
    pub scale: f64,
    pub offices: usize,
    /// Small integrations beside the eight large ones.
    pub tail: u32,
    /// Small organisations beside the main one.
    pub side_orgs: u32,
}

/// The category of nearly all callers.
pub(super) const EXTERNAL: &str = "EXTERNAL_APPLICATION";

/// Builds the world of a plan.
pub(super) fn world(plan: &Plan) -> World {
    let mut builder = Builder {
        dice: Dice::new(plan.seed, "world", 0),
        plan: plan.clone(),
        world: World {
            seed: plan.seed,
            start: plan.start,
            days: plan.days,
            cast: Cast { entities: ENTITIES.map(str::to_owned).to_vec(), ..Cast::default() },
            orgs: Vec::new(),
            users: Vec::new(),
        },
        host: 0,
    };
    builder.org(plan.offices);
    builder.integrations();
    builder.people(plan.users.saturating_sub(builder.world.users.len() as u32).max(6));
    for side in 0..plan.side_orgs {
        builder.dice = Dice::new(plan.seed, "side org", u64::from(side));
        builder.side_org(side);
    }
    builder.world
}

pub(super) struct Builder {
    pub dice: Dice,
    pub plan: Plan,
    pub world: World,
    /// How many integrations have been given hosts, so that they spread over the clouds.
    host: usize,
}

/// Shorthand for habits: `(call, objects, weight shared among them)`.
pub(super) type Mix<'a> = &'a [(Call, &'a [&'a str], f64)];

impl Builder {
    fn org(&mut self, offices: usize) {
        let org = self.world.orgs.len();
        let office = |i: usize, builder: &mut Self| {
            let clock = Clock::of(OFFICE_BLOCKS[i]);
            // Side organisations sit in blocks of their own.
            let home = if org == 0 { block("corporate", OFFICE_BLOCKS[i]) } else { block("corporate", "SG") + org };
            let first = builder.dice.below(200);
            let nat: Vec<Address> = (0..3).map(|n| BLOCKS[home].address(first + n)).collect();
            let offsets = (0..builder.plan.days).map(|d| clock.offset_minutes(builder.plan.start.plus(d))).collect();
            Office { clock, offsets, nat, vpn: BLOCKS[home].address(first + 7) }
        };
        let offices = (0..offices).map(|i| office(i, self)).collect();
        let mut maintenance = Vec::new();
        for day in 0..self.plan.days {
            let date = self.plan.start.plus(day);
            if date.weekday() == 5 && self.dice.chance(0.25) {
                let start = self.dice.between(2 * 3600, 6 * 3600) * 1000;
                maintenance.push((day, start, self.dice.between(3, 7) * 60_000));
            }
        }
        let id = id15("00D", &mut self.dice);
        self.world.orgs.push(Org { id, offices, maintenance });
    }

    pub(super) fn domain(&self) -> &'static str {
        ["haldenridgepartners.example", "cobaltferry.example", "tidewellgroup.example"][self.world.orgs.len() - 1]
    }

    pub(super) fn user(&mut self, name: String, role: Role, office: usize, routines: Vec<Routine>) -> &mut User {
        let org = self.world.orgs.len() - 1;
        let user_id = if role == Role::Unknown { NULL_USER.to_owned() } else { id15("005", &mut self.dice) };
        let actor = self.world.cast.actor(Actor { org_id: self.world.orgs[org].id.clone(), user_id, user_name: name });
        let (days, human) = (self.plan.days, !matches!(role, Role::Integration | Role::Unknown));
        let mut user = User {
            actor,
            org,
            office,
            role,
            from: i32::MIN,
            until: i32::MAX,
            absences: Vec::new(),
            trips: Vec::new(),
            private_vpn: human && self.dice.chance(0.03),
            routines,
        };
        if human {
            // About one leave of one to ten working days in two months, a trip in three years, some who join or leave.
            for _ in 0..self.dice.count(f64::from(days) / 60.0, 1.0) {
                let from = self.dice.between(0, i64::from(days)) as i32;
                user.absences.push((from, from + self.dice.between(0, 11) as i32));
            }
            if self.dice.chance(f64::from(days) / 1000.0) {
                let abroad =
                    blocks_where(|b| b.class == "residential" && !["VN", "IN"].contains(&b.country) && b.size <= 16);
                let from = self.dice.between(0, i64::from(days)) as i32;
                let block = self.dice.pick(&abroad);
                user.trips.push(Trip { from, until: from + self.dice.between(1, 4) as i32, block });
            }
            if self.dice.chance(0.05) {
                user.from = self.dice.between(1, i64::from(days)) as i32;
            } else if self.dice.chance(0.04) {
                user.until = self.dice.between(1, i64::from(days)) as i32;
            }
        }
        self.world.users.push(user);
        self.world.users.last_mut().expect("a user was just pushed")
    }

    pub(super) fn channel(&mut self, app: &str, client: &str, category: &str) -> u16 {
        let app_id = if app.is_empty() { String::new() } else { self.app_id(app) };
        let bulk_is_rest = self.dice.chance(0.3);
        self.world.cast.channel(Channel {
            app_id,
            app_name: app.to_owned(),
            client: client.to_owned(),
            category: category.to_owned(),
            bulk_is_rest,
        })
    }

    /// An app keeps its id.
    fn app_id(&mut self, app: &str) -> String {
        let known = self.world.cast.channels.iter().find(|c| c.app_name == app);
        known.map_or_else(|| id15("0H4", &mut self.dice), |c| c.app_id.clone())
    }

    /// A routine with the slow changes of ordinary life.
    pub(super) fn routine(
        &mut self,
        shape: Shape,
        channel: u16,
        version: u8,
        daily: f64,
        error_rate: f64,
        calls: Mix,
    ) -> Routine {
        let days = f64::from(self.plan.days);
        let mut habits: Vec<Habit> = Vec::new();
        for (call, objects, weight) in calls {
            let objects = if objects.is_empty() { &[""][..] } else { objects };
            // Within a verb, the first objects are the busiest (Zipf).
            let total: f64 = (1..=objects.len()).map(|rank| 1.0 / rank as f64).sum();
            habits.extend(objects.iter().enumerate().map(|(i, object)| Habit {
                call: *call,
                entity: entity(object),
                weight: weight / (i + 1) as f64 / total,
                from: i32::MIN,
            }));
        }
        Routine {
            shape,
            channel,
            version,
            upgrades: Vec::new(),
            habits,
            daily,
            wobble: 0.12,
            ratio: self.dice.uniform(3.0, 8.0),
            weekly_growth: self.dice.uniform(0.0, 0.01),
            shifts: (0..self.dice.count(days / 60.0, 1.0))
                .map(|_| (self.dice.between(1, days as i64) as i32, self.dice.lognormal(1.0, 0.15)))
                .collect(),
            error_rate,
            internal: 0.0,
            bursts: (0..self.dice.count(days / 30.0, 1.0))
                .map(|_| Burst {
                    day: self.dice.between(0, days as i64) as i32,
                    start_ms: self.dice.between(0, 86_000) * 1000,
                    length_ms: self.dice.between(3, 18) * 60_000,
                    share: self.dice.uniform(0.1, 0.5),
                    status: self.dice.pick(&[500, 503, 503, 400, 404, 401]),
                })
                .collect(),
            hosts: Hosts::Person,
            from: i32::MIN,
        }
    }

    /// Puts a routine on servers, and gives integrations now and then a new object or a new version.
    pub(super) fn serve(&mut self, mut routine: Routine, live: u64, rotate_days: i32) -> Routine {
        // Two blocks of one owner, or one. A single integration lives on IPv6.
        const CLOUDS: [(usize, usize); 10] =
            [(0, 1), (3, 4), (6, 6), (8, 8), (2, 1), (5, 5), (4, 4), (7, 7), (9, 9), (33, 33)];
        let (first, second) =
            if self.host == 6 { (BLOCKS.len() - 1, BLOCKS.len() - 1) } else { CLOUDS[self.host % 10] };
        self.host += 1;
        let blocks = if first == second { vec![first] } else { vec![first, second] };
        routine.hosts = Hosts::Fleet { blocks, key: self.dice.bits(), live, rotate_days };
        let days = f64::from(self.plan.days);
        for _ in 0..self.dice.count(days / 50.0, 1.0) {
            let call = routine.habits[0].call;
            let object = self.dice.between(1, ENTITIES.len() as i64 - 1) as u16;
            let from = self.dice.between(1, days as i64) as i32;
            routine.habits.push(Habit { call, entity: object, weight: self.dice.uniform(0.002, 0.03), from });
        }
        if self.dice.chance(0.1 * days / 75.0) {
            let from = self.dice.between(1, days as i64) as i32;
            routine.upgrades.push((from, routine.version + 1));
        }
        routine
    }

    fn people(&mut self, count: u32) {
        let offices = self.world.orgs.last().map_or(1, |o| o.offices.len());
        let first_org = self.world.orgs.len() == 1;
        let diallers = if first_org { 3.min(count / 4) } else { 0 };
        for i in 0..count {
            let role = match self.dice.below(100) {
                _ if i < diallers => Role::Seller,
                _ if (diallers..diallers + 2).contains(&i) => Role::Admin,
                0..52 => Role::Seller,
                52..76 => Role::Service,
                76..88 => Role::Manager,
                88..96 => Role::Analyst,
                _ => Role::Admin,
            };
            // Two thirds sit at the headquarters.
            let office =
                if offices == 1 || self.dice.chance(0.66) { 0 } else { 1 + self.dice.below(offices as u64 - 1) };
            let mut routines = vec![self.everyday(role)];
            if i < diallers {
                routines.push(self.dialler());
            }
            routines.extend(self.tools(role));
            let name = self.person_name();
            self.user(name, role, office as usize, routines);
        }
    }

    /// A name that nobody has yet; of people with the same one in a large organisation, the later have a number.
    fn person_name(&mut self) -> String {
        const TRIES: usize = 100;
        let taken = |world: &World, name: &str| world.cast.actors.iter().any(|a| a.user_name == name);
        for _ in 0..TRIES {
            let (first, last) = (self.dice.pick(&FIRST), self.dice.pick(&LAST));
            let name = format!("{first}.{last}@{}", self.domain());
            if !taken(&self.world, &name) {
                return name;
            }
        }
        let (first, last) = (self.dice.pick(&FIRST), self.dice.pick(&LAST));
        format!("{first}.{last}{}@{}", self.world.cast.actors.len(), self.domain())
    }

    /// The phone app or the browser.
    fn everyday(&mut self, role: Role) -> Routine {
        use Call as C;
        let lightning = self.dice.chance(0.15);
        let channel = if lightning {
            self.channel("", "", "LIGHTNING_UI")
        } else {
            self.channel("SfdcApplication", "SfdcMobile", EXTERNAL)
        };
        let mean = match role {
            Role::Service => 12.0,
            Role::Seller => 9.0,
            Role::Manager | Role::Analyst => 5.0,
            _ => 3.0,
        };
        // A quarter hardly ever uses it.
        let daily = if self.dice.chance(0.25) { 0.4 } else { self.dice.lognormal(mean, 0.6).clamp(0.5, 60.0) };
        let own: &[&str] = match role {
            Role::Service => &["Case", "CaseComment", "Contact", "Account", "EmailMessage"],
            Role::Manager => &["Opportunity", "Account", "User", "Contract"],
            _ => &["Account", "Contact", "Opportunity", "Lead", "Task", "Event"],
        };
        let rare = &ENTITIES[8..66];
        let mut routine = self.routine(
            Shape::Sessions,
            channel,
            65,
            daily,
            0.01,
            &[
                (C::UiRecord, own, 40.0),
                (C::Composite, &[], 18.0),
                (C::Query, own, 16.0),
                (C::UiObject, own, 10.0),
                (C::Search, own, 6.0),
                (C::Update, own, 5.0),
                (C::Create, &["Task", "Event"], 3.0),
                (C::UiRecord, rare, 2.0),
            ],
        );
        // A platform release reaches everybody's app within a few weeks.
        let span = f64::from(self.plan.days);
        let from = self.dice.uniform(0.2, 0.5) * span;
        routine.upgrades.push((from as i32, 66));
        routine.wobble = 0.45;
        routine.internal = if lightning { 0.05 } else { 0.0 };
        routine
    }

    fn dialler(&mut self) -> Routine {
        use Call as C;
        let channel = self.channel("Ringside Dialer", "", EXTERNAL);
        let daily = self.dice.lognormal(1_350.0, 0.2) * self.plan.scale.powf(0.7);
        let routine = self.routine(
            Shape::Desk,
            channel,
            57,
            daily,
            0.015,
            &[
                (C::Get, &["Lead", "Contact", "Account"], 46.0),
                (C::Query, &["Lead", "Contact", "Task"], 28.0),
                (C::Create, &["Task"], 20.0),
                (C::Update, &["Lead", "Contact"], 6.0),
            ],
        );
        let mut routine = self.serve(routine, 3, 12);
        routine.wobble = 0.15;
        routine
    }

    fn tools(&mut self, role: Role) -> Option<Routine> {
        use Call as C;
        let (app, client, active, daily) = match role {
            Role::Admin => {
                (["Salesforce Inspector Reloaded", "devconsole"][self.dice.below(2) as usize], "", 0.45, 110.0)
            }
            Role::Analyst => ("Gridsheet Connector", "", 0.5, 40.0),
            Role::Seller | Role::Service if self.dice.chance(0.15) => ("Cadence Mail", "", 0.9, 14.0),
            _ => return None,
        };
        let channel = self.channel(app, client, EXTERNAL);
        let rare = &ENTITIES[1..66];
        let calls: Mix = match role {
            Role::Admin => &[
                (C::Query, rare, 34.0),
                (C::ToolingQuery, &["ApexClass", "CustomField", "Flow", "Layout", "ApexTrigger"], 26.0),
                (C::Describe, rare, 24.0),
                (C::QueryAll, &["Account", "Contact", "Opportunity", "Case"], 6.0),
                (C::ToolingGet, &["ApexClass", "Flow"], 5.0),
                (C::Limits, &[], 3.0),
                (C::DescribeGlobal, &[], 2.0),
            ],
            Role::Analyst => &[
                (C::Query, &ENTITIES[1..30], 50.0),
                (C::Report, &["Report"], 25.0),
                (C::QueryMore, &ENTITIES[1..8], 15.0),
                (C::Describe, &ENTITIES[1..20], 8.0),
                (C::DescribeGlobal, &[], 2.0),
            ],
            _ => &[(C::Query, &["Contact", "Lead", "Account"], 60.0), (C::Create, &["EmailMessage", "Task"], 40.0)],
        };
        let version = self.dice.between(60, 64) as u8;
        let daily = self.dice.lognormal(daily, 0.5).clamp(5.0, 300.0);
        let mut routine = self.routine(Shape::Tool { active }, channel, version, daily, 0.03, calls);
        routine.wobble = 0.6;
        routine.ratio = 8.0;
        // Now and then somebody picks up a tool they did not use before.
        if self.dice.chance(0.12) {
            routine.from = self.dice.between(1, i64::from(self.plan.days)) as i32;
        }
        Some(routine)
    }

    /// A small organisation: one chat connector, one poller, a few people.
    fn side_org(&mut self, side: u32) {
        use Call as C;
        self.org(1);
        let channel = self.channel("Chatmarsh", "", EXTERNAL);
        let poll = Shape::Poll { minutes: 10, swell: 0.5, spike: None };
        let chat = self.routine(
            poll,
            channel,
            58,
            300.0,
            0.01,
            &[
                (C::Query, &["Lead", "Contact"], 75.0),
                (C::Create, &["Lead", "Task"], 15.0),
                (C::Describe, &["Lead"], 10.0),
            ],
        );
        let chat = self.serve(chat, 2, 14);
        self.integration("chat.connector", 0, vec![chat]);
        let routine = self.tail(side * 4);
        self.integration("sync", 0, vec![routine]);
        self.people(6);
    }
}
