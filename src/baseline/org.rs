//! The learned behaviour of one organisation: its users, its apps, addresses and totals, and who ever used which value.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::cells::{CountCell, CountPrior, Decay, RateCell, RatePrior};
use super::priors::{MIN_MEMBERS, Priors, count_prior};
use super::stats::pitman_yor_alpha;
use super::user::{HABITS, HALF_HOURS, NEW_CALLS, UserState};
use crate::anomaly::SubjectType;
use crate::config::settings::Baseline;
use crate::date::Date;
use crate::features::catalog::{app_day, ip_day, org_day};
use crate::tables::{DayTables, FeatureTable, ValueKind};

/// Users that are usually active at a time from which on it does not pass without a call by chance (Poisson: below 1 %).
pub const NO_CHANCE: f64 = 5.0;

/// Who uses a value, over the whole organisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Owners {
    /// Users who ever used it.
    pub users: u32,
    /// First use by anyone.
    pub first: Date,
    /// Last use by anyone.
    pub last: Date,
}

/// The learned behaviour of one app, address or whole organisation.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateState {
    /// First day.
    pub first: Date,
    /// Last day.
    pub last: Date,
    /// By the counts of its [`AggregateModel`].
    pub counts: Vec<CountCell>,
    /// By the rates of its [`AggregateModel`].
    pub rates: Vec<RateCell>,
}

/// Which columns of an aggregate are modelled.
#[derive(Debug, Clone, Copy)]
pub struct AggregateModel {
    /// What it describes.
    pub subject: SubjectType,
    /// Negative-binomial counts.
    pub counts: &'static [usize],
    /// Beta-binomial shares of calls (column 0).
    pub rates: &'static [usize],
}

/// The aggregates, in the order in which they are scored.
pub const AGGREGATES: [AggregateModel; 3] = [
    AggregateModel {
        subject: SubjectType::AppDay,
        counts: &[
            app_day::CALLS,
            app_day::USERS,
            app_day::IPS,
            app_day::COUNTRIES,
            app_day::ENTITIES,
            app_day::RESOURCES,
            app_day::DELETES,
            app_day::QUERY_MORES,
            app_day::BULK_CALLS,
        ],
        rates: &[app_day::ERRORS, app_day::ERRORS_401, app_day::ERRORS_403],
    },
    AggregateModel {
        subject: SubjectType::IpDay,
        // How much went through an address, and to what, is told by the days of its users.
        counts: &[ip_day::USERS, ip_day::FAILED_USERS, ip_day::APPS, ip_day::ERRORS_401],
        rates: &[ip_day::ERRORS, ip_day::ERRORS_401],
    },
    AggregateModel {
        subject: SubjectType::OrgDay,
        counts: &[
            org_day::CALLS,
            org_day::USERS,
            org_day::FAILED_USERS,
            org_day::FAILED_IPS,
            org_day::IPS,
            org_day::COUNTRIES,
            org_day::DELETES,
            org_day::ERRORS_401,
        ],
        rates: &[org_day::ERRORS, org_day::ERRORS_401, org_day::ERRORS_403_LIMIT, org_day::ERRORS_5XX],
    },
];

/// The rows of an aggregate on a day.
pub fn aggregate_table(day: &DayTables, subject: SubjectType) -> &FeatureTable {
    match subject {
        SubjectType::AppDay => &day.app_day,
        SubjectType::IpDay => &day.ip_day,
        _ => &day.org_day,
    }
}

/// The learned behaviour of one organisation, folded up to and including [`Self::last`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OrgState {
    /// First folded day.
    pub first: Option<Date>,
    /// Last folded day.
    pub last: Option<Date>,
    /// Days folded.
    pub days: u32,
    /// By user id.
    pub users: BTreeMap<String, UserState>,
    /// By subject type and id.
    pub aggregates: BTreeMap<(SubjectType, String), AggregateState>,
    /// Numbers of values, by kind and text.
    pub numbers: FxHashMap<ValueKind, FxHashMap<String, u32>>,
    /// Kind and text by number.
    pub texts: Vec<(ValueKind, String)>,
    /// Who uses a value, by number.
    pub owners: Vec<Owners>,
}

/// What a night's detectors need beside the state: peer groups and the organisation's view of values.
#[derive(Debug)]
pub struct NightView {
    /// Priors; 0 is the whole organisation.
    pub groups: Vec<Priors>,
    /// What the members of a group share, for people.
    pub group_names: Vec<String>,
    /// Group by channel text.
    pub group_of_channel: BTreeMap<String, usize>,
    /// Priors of the aggregates, same order as [`AGGREGATES`]; one per modelled count.
    pub aggregates: Vec<Vec<CountPrior>>,
    /// By [`ValueKind`].
    pub kinds: Vec<KindView>,
}

/// The organisation's view of one kind of value.
#[derive(Debug)]
pub struct KindView {
    /// Calls on new values, pooled over users.
    pub new_calls: CountPrior,
    /// Discount pooled over users.
    pub discount: f64,
    /// Concentration pooled over users.
    pub alpha: f64,
    /// Probability that a value is new to the whole organisation, given that it is new to a user.
    pub new_to_org: f64,
    /// For each number of users, ascending: the mass of values used by fewer, plus half of those used by as many.
    pub popularity: Vec<(u32, f64)>,
}

impl KindView {
    /// Mid-p of drawing a value used by at most as many users as this one.
    pub fn rarity(&self, users: u32) -> f64 {
        if users == 0 {
            return 0.5 * self.new_to_org;
        }
        let i = self.popularity.partition_point(|(u, _)| *u < users).min(self.popularity.len().saturating_sub(1));
        let mass = self.popularity.get(i).map_or(1.0, |p| p.1);
        self.new_to_org + (1.0 - self.new_to_org) * mass
    }
}

impl OrgState {
    /// The organisation's number of a value, if anyone ever used it.
    pub fn number(&self, kind: ValueKind, text: &str) -> Option<u32> {
        self.numbers.get(&kind).and_then(|m| m.get(text)).copied()
    }

    /// The channel that a user mostly used up to now.
    pub fn main_channel(&self, user: &UserState) -> Option<&str> {
        user.values
            .iter()
            .filter(|((kind, _), _)| *kind == ValueKind::Channel)
            .map(|((_, n), cell)| (cell.calls, self.texts[*n as usize].1.as_str()))
            // Ties go by text: numbers are an accident of arrival.
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
            .map(|(_, text)| text)
    }

    /// Peer groups and value popularity, from the state alone.
    pub fn night_view(&self) -> NightView {
        let everyone: Vec<&UserState> = self.users.values().collect();
        let org = Priors::of(&everyone, &Priors::default());
        let mut members: BTreeMap<&str, Vec<&UserState>> = BTreeMap::new();
        for user in &everyone {
            if let Some(channel) = self.main_channel(user) {
                members.entry(channel).or_default().push(user);
            }
        }
        let mut view = NightView {
            groups: vec![org],
            group_names: vec!["everyone in the organisation".into()],
            group_of_channel: BTreeMap::new(),
            aggregates: self.aggregate_priors(),
            kinds: self.kind_views(),
        };
        for (channel, users) in members {
            if users.len() >= MIN_MEMBERS {
                view.group_of_channel.insert(channel.to_owned(), view.groups.len());
                view.groups.push(Priors::of(&users, &view.groups[0]));
                view.group_names.push(format!("users of {channel}"));
            }
        }
        view
    }

    fn aggregate_priors(&self) -> Vec<Vec<CountPrior>> {
        AGGREGATES
            .iter()
            .map(|model| {
                let states: Vec<&AggregateState> =
                    self.aggregates.iter().filter(|((s, _), _)| *s == model.subject).map(|(_, a)| a).collect();
                let weight = states.len() as f64 / (states.len() as f64 + 5.0);
                (0..model.counts.len())
                    .map(|i| count_prior(states.iter().map(|a| &a.counts[i]), CountPrior::default(), weight))
                    .collect()
            })
            .collect()
    }

    fn kind_views(&self) -> Vec<KindView> {
        let mut by_kind: Vec<Vec<u32>> = vec![Vec::new(); ValueKind::ALL.len()];
        for ((kind, _), owners) in self.texts.iter().zip(&self.owners) {
            by_kind[*kind as usize].push(owners.users);
        }
        ValueKind::ALL
            .into_iter()
            .map(|kind| {
                let cells = self.users.values().map(|u| &u.kinds[kind as usize]).filter(|k| k.draws > 0.0);
                let (mut n, mut draws, mut known, mut once) = (0.0, 0.0, 0.0, 0.0);
                for c in cells {
                    n += 1.0;
                    draws += c.draws;
                    known += f64::from(c.known);
                    once += f64::from(c.once);
                }
                if n == 0.0 {
                    return KindView {
                        new_calls: NEW_CALLS,
                        discount: 0.5,
                        alpha: 1.0,
                        new_to_org: 1.0,
                        popularity: Vec::new(),
                    };
                }
                let discount = (once / known.max(1.0)).clamp(0.02, 0.9);
                let alpha = pitman_yor_alpha(draws / n, known / n, discount).clamp(0.05, 20.0);
                let mut users = by_kind[kind as usize].clone();
                users.sort_unstable();
                let total: f64 = users.iter().map(|u| f64::from(*u)).sum();
                let single = users.iter().filter(|u| **u == 1).count() as f64;
                let org_discount = (single / users.len().max(1) as f64).clamp(0.02, 0.9);
                // Of the draws that were new to their user, how many were new to everyone? Each value was new to the
                // organisation once and new to a user `users` times.
                let new_to_org = ((1.0 + org_discount * users.len() as f64) / (1.0 + total)).clamp(1e-4, 1.0);
                let mut popularity: Vec<(u32, f64)> = Vec::new();
                let mut below = 0.0;
                for group in users.chunk_by(|a, b| a == b) {
                    let mass = group.iter().map(|u| f64::from(*u)).sum::<f64>() / total.max(1.0);
                    popularity.push((group[0], below + mass / 2.0));
                    below += mass;
                }
                let cells = self.users.values().map(|u| &u.kinds[kind as usize].new_calls).filter(|c| c.days() > 0.0);
                let new_calls = count_prior(cells, NEW_CALLS, n / (n + 5.0));
                KindView { new_calls, discount, alpha, new_to_org, popularity }
            })
            .collect()
    }

    /// The priors of a user: of the group whose channel the user mostly uses, else of the organisation.
    pub fn group_of(&self, view: &NightView, user: Option<&UserState>, todays_channel: Option<&str>) -> usize {
        user.and_then(|u| self.main_channel(u))
            .or(todays_channel)
            .and_then(|c| view.group_of_channel.get(c))
            .copied()
            .unwrap_or(0)
    }

    /// Users of whom something is expected on a day: seen in the four weeks before it, and on three days at least.
    pub fn known(&self, date: Date) -> impl Iterator<Item = &UserState> {
        let recently = date.plus(-28);
        self.users.values().filter(move |u| u.last >= recently && u.days >= 3.0)
    }

    /// How many users are usually active in each half-hour of such a day.
    pub fn usual_users(&self, view: &NightView, date: Date) -> [f64; HALF_HOURS] {
        let weekend = usize::from(date.is_weekend());
        let mut usual = [0.0; HALF_HOURS];
        for user in self.known(date).filter(|u| u.hour_days[weekend] >= 2.0) {
            let comes = user.activity(date, &view.groups[self.group_of(view, Some(user), None)]);
            for (sum, active) in usual.iter_mut().zip(user.hours[weekend]) {
                *sum += comes * active / user.hour_days[weekend];
            }
        }
        usual
    }

    /// Folds a day in. Rows of `day.user_day` for which `learn` is false are passed over (extreme nights, announced
    /// changes), and so are the `incidents` among apps, addresses and the organisation; `habits` are the statistics that the
    /// detectors computed, per row.
    pub fn fold(
        &mut self,
        day: &DayTables,
        view: &NightView,
        settings: &Baseline,
        habits: &[[f64; HABITS]],
        learn: &[bool],
        incidents: &BTreeSet<(SubjectType, String)>,
    ) {
        self.advance(day.date, settings);
        self.days += 1;
        self.first.get_or_insert(day.date);
        let weekend = usize::from(day.date.is_weekend());
        for user in self.users.values_mut() {
            user.seen[weekend] += 1.0;
        }
        for row in 0..day.user_day.len() {
            if learn[row] {
                self.fold_user(day, row, view, settings, &habits[row]);
            } else if let Some(user) = self.users.get_mut(day.text(day.user_day.ids[row])) {
                // Not learned from, but seen: "silent since" must stay true.
                user.last = day.date;
                user.active[weekend] += 1.0;
            }
        }
        for model in &AGGREGATES {
            self.fold_aggregates(day, model, incidents);
        }
    }

    /// Lets time pass up to `date`.
    fn advance(&mut self, date: Date, settings: &Baseline) {
        let steps = self.last.map_or(0, |last| date.0 - last.0);
        self.last = Some(self.last.map_or(date, |last| last.max(date)));
        if steps <= 0 {
            return;
        }
        let factor = |half_life: f64| (-f64::from(steps) / half_life).exp2();
        let decay = Decay { slow: factor(settings.half_life_days), fast: factor(settings.fast_half_life_days) };
        self.users.values_mut().for_each(|u| u.decay(decay));
        for a in self.aggregates.values_mut() {
            a.counts.iter_mut().for_each(|c| c.decay(decay));
            a.rates.iter_mut().for_each(|c| c.decay(decay));
        }
    }

    /// Folds one user's row in, without letting time pass: also used when a postponed day is learned after all.
    pub fn fold_user(
        &mut self,
        day: &DayTables,
        row: usize,
        view: &NightView,
        settings: &Baseline,
        habits: &[f64; HABITS],
    ) {
        let id = day.text(day.user_day.ids[row]);
        let mut user = self.users.remove(id).unwrap_or_else(|| {
            let mut user = UserState::new(day.date);
            user.seen[usize::from(day.date.is_weekend())] += 1.0;
            user
        });
        // A postponed day was counted as active when it passed.
        let seen_before = user.active_days > 0 && user.last >= day.date;
        let group = self.group_of(view, Some(&user), None);
        let (numbers, texts, owners) = (&mut self.numbers, &mut self.texts, &mut self.owners);
        let date = day.date;
        let before: rustc_hash::FxHashSet<(ValueKind, u32)> = user.values.keys().copied().collect();
        user.learn(day, row, &view.groups[group], settings.half_life_days, habits, &mut |kind, text| {
            let of_kind = numbers.entry(kind).or_default();
            let number = if let Some(n) = of_kind.get(text) {
                *n
            } else {
                let n = u32::try_from(texts.len()).expect("fewer than 2^32 distinct values in an organisation");
                of_kind.insert(text.to_owned(), n);
                texts.push((kind, text.to_owned()));
                owners.push(Owners { users: 0, first: date, last: date });
                n
            };
            let owner = &mut owners[number as usize];
            owner.last = owner.last.max(date);
            if !before.contains(&(kind, number)) {
                owner.users += 1;
            }
            number
        });
        if !seen_before {
            user.active[usize::from(date.is_weekend())] += 1.0;
        }
        self.users.insert(id.to_owned(), user);
    }

    fn fold_aggregates(
        &mut self,
        day: &DayTables,
        model: &AggregateModel,
        incidents: &BTreeSet<(SubjectType, String)>,
    ) {
        let table = aggregate_table(day, model.subject);
        for row in 0..table.len() {
            let x = table.row(row);
            let key = (model.subject, day.text(table.ids[row]).to_owned());
            if incidents.contains(&key) {
                if let Some(state) = self.aggregates.get_mut(&key) {
                    state.last = day.date;
                }
                continue;
            }
            let state = self.aggregates.entry(key).or_insert_with(|| AggregateState {
                first: day.date,
                last: day.date,
                counts: vec![CountCell::default(); model.counts.len()],
                rates: vec![RateCell::default(); model.rates.len()],
            });
            state.last = day.date;
            for (cell, &column) in state.counts.iter_mut().zip(model.counts) {
                cell.learn(x[column], 1.0, CountPrior::default());
            }
            for (cell, &column) in state.rates.iter_mut().zip(model.rates) {
                cell.learn(x[column], x[0], RatePrior::default());
            }
        }
        if model.subject == SubjectType::IpDay {
            // Addresses come and go; one unseen for two half-lives says nothing any more and would grow the model for ever.
            let old = day.date.plus(-60);
            self.aggregates.retain(|(s, _), a| *s != SubjectType::IpDay || a.last >= old);
        }
    }
}
