//! Who a scenario happens to, and when.

use super::calendar::{Clock, close, switch_between};
use super::catalog::{Level, Scenario, ScenarioSpec};
use super::dice::Dice;
use crate::date::Date;

/// A user as scenarios see them, be it a simulated one or one learned from an archive.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Number in the cast.
    pub actor: u32,
    /// Number among the world's users (the same as in the archive's census).
    pub user: usize,
    pub org: usize,
    pub human: bool,
    /// Calls a day.
    pub daily: f64,
    pub channel: u16,
    pub version: u8,
    /// Works by SOAP.
    pub soap: bool,
    pub app: bool,
    pub kind: Kind,
    /// Objects known to the user, ascending.
    pub known: Vec<u16>,
    /// Minutes to add to UTC, per day.
    pub offsets: Vec<i64>,
    /// Days on which the user is not available for a story.
    pub away: Vec<(i32, i32)>,
}

/// What a candidate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Poller,
    Nightly,
    Hourly,
    Release,
    Dialler,
    Person,
    ToolUser,
    Admin,
    Unknown,
}

/// One scenario that will happen.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub spec: ScenarioSpec,
    /// First day and number of days of the story.
    pub first: i32,
    pub span: i32,
    /// Index into the candidates.
    pub target: usize,
    /// What had to be done otherwise than the recipe says.
    pub notes: Vec<String>,
}

/// How many days a scenario's story lasts.
fn span(scenario: Scenario, level: Level) -> i32 {
    match scenario.info().id {
        "S1" => 6,
        "S5" | "B3" => 2,
        "S7" => 14,
        "S11" => 7,
        "S13" | "S14" | "B7" => 5,
        "B4" => 3,
        "B8" => level.of(2, 3, 5),
        _ => 1,
    }
}

/// Whether a story may begin on this date.
fn may_begin(scenario: Scenario, date: Date) -> bool {
    let day = date.weekday();
    match scenario.info().id {
        "S9" => day == 5,
        "S14" => day == 0,
        "S5" | "B3" | "B8" => day <= 2,
        "B11" => day == 1 || day == 3,
        "B4" => close(date) > 0.0 && close(date.plus(-1)) == 0.0,
        "S3" | "S4" | "S10" | "S12" | "S13" | "S16" | "S17" | "B9" | "B10" => day <= 4,
        _ => true,
    }
}

/// How badly a candidate suits a scenario; `None` if not at all.
fn misfit(scenario: Scenario, c: &Candidate) -> Option<f64> {
    let size = |calls: f64| (c.daily.max(0.1) / calls).ln().abs();
    let machine = !c.human && c.kind != Kind::Unknown;
    let rest_poller = machine && !c.soap && c.kind == Kind::Poller;
    let person = matches!(c.kind, Kind::Person | Kind::ToolUser);
    let when = |condition: bool, misfit: f64| condition.then_some(misfit);
    match scenario.info().id {
        "S1" => when(rest_poller, size(500.0) + if c.app { 0.0 } else { 1.0 }),
        "S2" | "S18" => when(rest_poller, size(1_200.0)),
        "S3" => when(c.kind == Kind::Poller || c.kind == Kind::Dialler, size(5_000.0)),
        "S4" | "S5" => when(c.kind == Kind::Person && c.daily <= 40.0, size(12.0)),
        "S6" => when(rest_poller, size(600.0)),
        "S7" => when(machine && matches!(c.kind, Kind::Poller | Kind::Nightly), size(20_000.0)),
        "S8" => when(c.kind == Kind::Nightly, 0.0),
        "S9" => when(person && c.daily >= 2.0, size(12.0)),
        "S10" => when(true, if c.kind == Kind::Unknown { 0.0 } else { 5.0 + c.daily / 1e4 }),
        "S11" => when(machine && !matches!(c.kind, Kind::Release | Kind::Hourly), size(2_000.0)),
        "S12" => when(machine && !c.soap, size(800.0)),
        "S13" => when(c.human, if c.kind == Kind::ToolUser { 0.0 } else { size(8.0) }),
        "S14" => when(c.kind == Kind::ToolUser, size(25.0)).or_else(|| when(c.kind == Kind::Person, 5.0)),
        "S15" => when(rest_poller, size(700.0)),
        "S16" => when(c.human, if c.kind == Kind::Admin { 0.0 } else { 9.0 }),
        "S17" => when(rest_poller && c.app, size(450.0)).or_else(|| when(machine, 9.0)),
        "B1" | "B2" | "B9" => when(machine && matches!(c.kind, Kind::Poller | Kind::Nightly), size(700.0)),
        "B3" => when(machine && c.kind == Kind::Poller, size(250.0)),
        "B8" => when(c.kind == Kind::Person, size(15.0)),
        "B11" => when(c.kind == Kind::Release, 0.0).or_else(|| when(machine, 9.0)),
        _ => Some(0.0),
    }
}

/// Changes from its first day on and for good.
pub(super) fn is_lasting(scenario: Scenario) -> bool {
    matches!(scenario.info().id, "B1" | "B2" | "B5" | "B7")
}

/// Where the main organisation keeps its clocks, for the switch of B5.
pub(super) type Clocks<'a> = &'a [&'a Clock];

/// Places every scenario: on days from `from` on that are least busy with other stories, at the user who suits best
/// and has no other story within a day. Scenarios nobody suits are returned as names.
pub(super) fn place(
    specs: &[ScenarioSpec],
    candidates: &[Candidate],
    clocks: Clocks,
    (start, from, days): (Date, i32, i32),
    dice: &mut Dice,
) -> (Vec<Instance>, Vec<ScenarioSpec>) {
    let window = (days - from).max(1);
    let mut order: Vec<usize> = (0..specs.len()).collect();
    // Long and choosy stories first: the rest finds room around them.
    order.sort_by_key(|&i| {
        let (scenario, level) = (specs[i].scenario, specs[i].level);
        let choices = (from..days).filter(|d| may_begin(scenario, start.plus(*d))).count();
        (std::cmp::Reverse(span(scenario, level)), choices, i)
    });
    let mut load = vec![0_u32; days.max(1) as usize];
    let mut taken: Vec<Vec<(i32, i32)>> = vec![Vec::new(); candidates.len()];
    let mut placed: Vec<(usize, Instance)> = Vec::new();
    let mut refused = Vec::new();
    for i in order {
        let ScenarioSpec { scenario, level } = specs[i];
        let length = span(scenario, level).min(window);
        let mut notes = Vec::new();
        let switch = clocks.iter().find_map(|c| switch_between(c, start.plus(from), start.plus(days - 1)));
        let mut starts: Vec<i32> = match (scenario.info().id, switch) {
            ("B5", Some(date)) => vec![date.0 - start.0],
            _ => (from..=days - length).filter(|d| may_begin(scenario, start.plus(*d))).collect(),
        };
        if scenario.info().id == "B5" && switch.is_none() {
            notes.push(
                "no clock changes in these days: locally scheduled jobs were moved by an hour instead".to_owned(),
            );
        }
        if starts.is_empty() {
            starts = (from..=days - length).collect();
            notes.push("no suitable weekday or month-end in these days: another day was taken".to_owned());
        }
        if length < span(scenario, level) {
            notes.push(format!("shortened to {length} days"));
        }
        dice.shuffle(&mut starts);
        starts.sort_by_key(|&s| {
            let busy = &load[s as usize..(s + length).min(days) as usize];
            (busy.iter().max().copied().unwrap_or(0), busy.iter().sum::<u32>())
        });
        // Ties among equally suitable users are broken at random.
        let mut fits: Vec<(f64, usize)> = candidates
            .iter()
            .enumerate()
            .filter(|(_, c)| c.org == 0)
            .filter_map(|(n, c)| Some((misfit(scenario, c)? + 0.05 * dice.unit(), n)))
            .collect();
        fits.sort_by(|a, b| a.0.total_cmp(&b.0));
        // 0 for a free day, 1 for one with another story of the same user, 2 for one on which the user is away.
        let shared = matches!(scenario.info().id, "S10" | "B4" | "B5" | "B6" | "B7" | "B10" | "B12");
        let conflict = |n: usize, s: i32| {
            let last = if is_lasting(scenario) { days } else { s + length - 1 };
            let clash = |&(a, b): &(i32, i32)| a <= last + 1 && s - 1 <= b;
            match (candidates[n].away.iter().any(clash), taken[n].iter().any(clash)) {
                _ if shared => 0,
                (true, _) => 2,
                (false, taken) => u8::from(taken),
            }
        };
        // The best fitting user with the least conflict on some day; and of those days the calmest.
        let found = fits
            .iter()
            .map(|(misfit, n)| {
                let least = starts.iter().map(|s| conflict(*n, *s)).min().unwrap_or(2);
                (least, misfit + 0.7 * taken[*n].len() as f64, *n)
            })
            .min_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal));
        let Some((_, _, target)) = found else {
            refused.push(specs[i]);
            continue;
        };
        // `starts` is ordered by how busy the days are, and the first of equals wins.
        let first = starts.iter().copied().min_by_key(|s| conflict(target, *s)).unwrap_or(from);
        for day in first..(first + length).min(days) {
            load[day as usize] += 1;
        }
        if !shared {
            taken[target].push((first, if is_lasting(scenario) { days } else { first + length - 1 }));
        }
        placed.push((i, Instance { spec: specs[i], first, span: length, target, notes }));
    }
    placed.sort_by_key(|(i, _)| *i);
    (placed.into_iter().map(|(_, instance)| instance).collect(), refused)
}
