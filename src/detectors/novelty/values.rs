//! Values never or hardly ever used before: addresses, networks, countries, apps, clients, versions, resources, objects,
//! verbs.
//!
//! A value that is new to a user has the predictive probability of a Pitman–Yor process, (α + dK) / (α + n), times how
//! rare it is among everyone else in the organisation (Heard & Rubin-Delanchy 2016; Sanna Passino & Heard 2019). Beside the
//! rarest value stand the number of new values (negative binomial around its expectation) and the share of calls on them.
//! A change in several parts of the fingerprint at once is scored by the sum of the parts' surprises.

use crate::anomaly::Category;
use crate::baseline::org::KindView;
use crate::baseline::stats::{ln_nb_at_least, ln_sidak};
use crate::baseline::user::{KindCell, weight_of_new};
use crate::detectors::fact::NewValue;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::Family;
use crate::tables::{ValueKind, ValueRow};

/// Novelty of values by kind.
#[derive(Debug)]
pub struct Values;

/// Kinds that are looked at; the rest are covered by these.
const KINDS: [ValueKind; 13] = [
    ValueKind::Ip,
    ValueKind::Network,
    ValueKind::Country,
    ValueKind::Asn,
    ValueKind::NetworkClass,
    ValueKind::App,
    ValueKind::AppId,
    ValueKind::Client,
    ValueKind::ApiVersion,
    ValueKind::Resource,
    ValueKind::Entity,
    ValueKind::Action,
    ValueKind::ActionEntity,
];

/// Which part of the fingerprint a kind belongs to: where, who, version, what, how. Kinds of one part are correlated
/// (a new address is often in a new network), so only the strongest of a part counts toward the sum.
fn part(kind: ValueKind) -> usize {
    match kind {
        ValueKind::Ip | ValueKind::Network | ValueKind::Country | ValueKind::Asn | ValueKind::NetworkClass => 0,
        ValueKind::App | ValueKind::AppId | ValueKind::Client | ValueKind::Channel => 1,
        ValueKind::ApiVersion | ValueKind::ApiFamily => 2,
        ValueKind::Entity => 3,
        _ => 4,
    }
}

const PER_KIND: usize = 3;
const FINGERPRINT: usize = KINDS.len() * PER_KIND;
const MIN_ACTIVITY: usize = FINGERPRINT + 1;
const SHARED_IP: usize = FINGERPRINT + 2;

/// Category of an anomaly whose strongest evidence is a new value of this kind.
pub fn category(kind: ValueKind) -> Category {
    if part(kind) <= 2 { Category::Identity } else { Category::Behavioral }
}

impl Detector for Values {
    fn slots(&self) -> Vec<Slot> {
        let mut out = Vec::new();
        for kind in KINDS {
            for name in ["new", "new-count", "new-calls"] {
                out.push(Slot {
                    name: format!("{name}/{}", kind.name()),
                    family: Family::Novelty,
                    category: category(kind),
                });
            }
        }
        for (name, category) in [
            ("new/fingerprint", Category::Identity),
            ("rule/new_value", Category::Identity),
            ("new/shared_ip", Category::Identity),
        ] {
            out.push(Slot { name: name.into(), family: Family::Novelty, category });
        }
        out
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let rows = s.day.values_of(s.row as u32);
        let mut parts = [0.0_f64; 5];
        let mut changed: Vec<ValueKind> = Vec::new();
        for (i, kind) in KINDS.into_iter().enumerate() {
            let from = rows.partition_point(|v| v.kind < kind);
            let to = from + rows[from..].partition_point(|v| v.kind == kind);
            // A new app has a new id; the id says something when the name is known: names can be imitated.
            if from == to || (kind == ValueKind::AppId && changed.contains(&ValueKind::App)) {
                continue;
            }
            let score = inspect_kind(s, kind, &rows[from..to], base + i * PER_KIND, out);
            if score > 0.0 {
                changed.push(kind);
                parts[part(kind)] = parts[part(kind)].max(score);
            }
        }
        let total: f64 = parts.iter().sum();
        if parts.iter().filter(|p| **p > 0.0).count() >= 2 {
            out.put_score(base + FINGERPRINT, total, || Fact::Changed { kinds: changed });
        }
        shared_ips(s, rows, base, out);
        min_activity(s, rows, base, out);
    }
}

/// Probability that a draw of this kind is new to the user.
fn p_new(cell: &KindCell, view: &KindView) -> f64 {
    const PRIOR_VALUES: f64 = 2.0;
    let known = f64::from(cell.known);
    let discount = (f64::from(cell.once) + PRIOR_VALUES * view.discount) / (known + PRIOR_VALUES);
    ((view.alpha + discount * known) / (view.alpha + cell.draws)).clamp(1e-4, 1.0)
}

/// Did the user move as a whole: (nearly) all calls from new places, or with a new version, at no more than the usual volume and
/// with nothing else new? That is what a change of data centre, an upgrade or a journey looks like; someone else with the user's
/// token adds calls to the usual ones, or wants other things.
pub fn moved_whole(s: &UserDay<'_>) -> bool {
    let rows = s.day.values_of(s.row as u32);
    let mut new_calls = [0.0_f64; 5];
    let mut calls = [0.0_f64; 5];
    for group in rows.chunk_by(|a, b| a.kind == b.kind).filter(|g| KINDS.contains(&g[0].kind)) {
        let (mut new, mut all) = (0.0, 0.0);
        for v in group {
            all += f64::from(v.calls);
            let number = s.state.number(v.kind, s.day.text(v.value));
            if !number.is_some_and(|n| s.user.values.contains_key(&(v.kind, n))) {
                new += f64::from(v.calls);
            }
        }
        let p = part(group[0].kind);
        if new / all.max(1.0) > new_calls[p] / calls[p].max(1.0) || calls[p] <= 0.0 {
            (new_calls[p], calls[p]) = (new, all);
        }
    }
    let share = |p: usize| new_calls[p] / calls[p].max(1.0);
    let season = s.user.season(s.day.date, s.priors());
    let usual = s.user.counts[0].predict(s.priors().counts[0], season * s.surge.counts[0], 0);
    let volume = s.x()[crate::features::catalog::user_day::CALLS];
    let fresh: Vec<usize> = (0..5).filter(|p| share(*p) > 0.02).collect();
    matches!(fresh.as_slice(), [p @ (0 | 2)] if share(*p) > 0.9) && volume < usual.mean + 2.0 * usual.sd()
}

/// What remains of the surprise when the user moved as a whole.
pub const MOVED: f64 = 0.5;

fn inspect_kind(s: &UserDay<'_>, kind: ValueKind, rows: &[ValueRow], slot: usize, out: &mut Findings) -> f64 {
    let view = &s.view.kinds[kind as usize];
    let cell = &s.user.kinds[kind as usize];
    let new = p_new(cell, view);
    let draws = rows.len() as f64;
    let (mut least, mut fresh, mut fresh_calls, mut calls) = (0.0_f64, 0.0, 0.0, 0.0);
    let mut news: Vec<(f64, &ValueRow, u32)> = Vec::new();
    for v in rows {
        calls += f64::from(v.calls);
        let number = s.state.number(kind, s.day.text(v.value));
        if number.is_some_and(|n| s.user.values.contains_key(&(kind, n))) {
            continue;
        }
        let others = number.map_or(0, |n| s.state.owners[n as usize].users);
        let ln_p = new.ln() + view.rarity(others).max(1e-6).ln();
        least = least.min(ln_p);
        fresh += 1.0;
        fresh_calls += f64::from(v.calls);
        news.push((ln_p, v, others));
    }
    if fresh < 1.0 || s.user.days < 3.0 {
        // Cold start: everything is new to a new user, which is no news.
        return 0.0;
    }
    let facts = |news: &mut Vec<(f64, &ValueRow, u32)>| {
        news.sort_by(|a, b| {
            a.0.total_cmp(&b.0).then_with(|| b.1.calls.cmp(&a.1.calls)).then(a.1.value.cmp(&b.1.value))
        });
        let values = news.iter().take(8).map(|(_, v, others)| new_value(s, v, *others)).collect();
        Fact::New { kind, values, expected: draws * new }
    };
    let damp = if s.moved { MOVED } else { 1.0 };
    let score = -ln_sidak(least, draws) * damp;
    out.put_score(slot, score, || facts(&mut news));
    // How many are new, beyond the first: one new value is already scored above.
    let ln_count = ln_nb_at_least(fresh, (draws * new).max(1e-3), 2.0) * damp;
    out.put(slot + 1, ln_count, || facts(&mut news));
    // How many calls went there: one look is not ten thousand.
    let usual = cell.new_calls.predict(view.new_calls, 1.0, 0);
    let weight = weight_of_new(kind, fresh_calls, s.user.counts[0].mean(s.priors().counts[0]));
    out.put(slot + 2, usual.ln_at_least(weight) * damp, || Fact::NewShare {
        kind,
        values: {
            news.sort_by(|a, b| b.1.calls.cmp(&a.1.calls).then(a.1.value.cmp(&b.1.value)));
            news.iter().take(3).map(|(_, v, _)| s.day.text(v.value).to_owned()).collect()
        },
        hits: fresh_calls,
        calls,
        // Back from weights to calls.
        expected: (usual.mean * fresh_calls / weight / calls).min(1.0),
    });
    score.max(-ln_count)
}

fn new_value(s: &UserDay<'_>, v: &ValueRow, others: u32) -> NewValue {
    NewValue {
        value: s.day.text(v.value).to_owned(),
        calls: v.calls,
        first_ms: v.first_ms,
        others,
        request_ids: v.request_ids.iter().filter(|r| **r != 0).map(|r| s.day.text(*r).to_owned()).collect(),
    }
}

/// A new address that is new to several organisations on the same night: each far below any threshold, together not. One
/// program walks through its list within the hour; guests of one hotel or users of one mobile network do not.
fn shared_ips(s: &UserDay<'_>, rows: &[ValueRow], base: usize, out: &mut Findings) {
    const WALK_MS: i64 = 3_600_000;
    for v in rows.iter().filter(|v| v.kind == ValueKind::Ip) {
        let text = s.day.text(v.value);
        if let Some(shared) = s.shared_new_ips.get(text) {
            let orgs = shared.orgs.len() as f64;
            let score = if shared.spread_ms <= WALK_MS { 8.0 + orgs } else { 1.0 + orgs };
            out.put_score(base + SHARED_IP, score, || Fact::SharedIp {
                ip: text.to_owned(),
                orgs: shared.orgs.clone(),
                minutes: shared.spread_ms / 60_000,
            });
        }
    }
}

/// The rule: a new value with a minimum activity.
fn min_activity(s: &UserDay<'_>, rows: &[ValueRow], base: usize, out: &mut Findings) {
    let least = s.settings.rules.new_value_min_calls;
    if s.user.days < 7.0 {
        return;
    }
    for v in rows.iter().filter(|v| KINDS.contains(&v.kind) && v.calls >= least) {
        let number = s.state.number(v.kind, s.day.text(v.value));
        if number.is_some_and(|n| s.user.values.contains_key(&(v.kind, n))) {
            continue;
        }
        let others = number.map_or(0, |n| s.state.owners[n as usize].users);
        let score =
            f64::from(v.calls).ln() - p_new(&s.user.kinds[v.kind as usize], &s.view.kinds[v.kind as usize]).ln();
        let score = if s.moved { score * MOVED } else { score };
        out.put_score(base + MIN_ACTIVITY, score, || Fact::New {
            kind: v.kind,
            values: vec![new_value(s, v, others)],
            expected: 0.0,
        });
    }
}
