//! Counts against their negative-binomial predictive: daily features, and calls per verb, object and channel.

use crate::anomaly::Category;
use crate::baseline::cells::CountPredictive;
use crate::baseline::stats::{ln_nb_at_least, ln_sidak};
use crate::baseline::user::COUNTS;
use crate::detectors::novelty::values::MOVED;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::{Family, user_day as f};
use crate::tables::ValueKind;

/// Daily counts, high side. Slow and fast memory must agree.
#[derive(Debug)]
pub struct Counts;

/// The predictive of count `i` (slow memory first) with tonight's surge divided out, and the observed value.
pub fn predictive(s: &UserDay<'_>, i: usize, memory: usize) -> (CountPredictive, f64) {
    let (column, seasonal, base) = COUNTS[i];
    let season = if seasonal { s.user.season(s.day.date, s.priors()) } else { 1.0 };
    let y = (s.x()[column] - base).max(0.0);
    (s.user.counts[i].predict(s.priors().counts[i], season * s.surge.counts[i], memory), y)
}

impl Detector for Counts {
    fn slots(&self) -> Vec<Slot> {
        COUNTS
            .iter()
            .map(|(column, ..)| {
                let feature = &f::FEATURES[*column];
                let category = match *column {
                    f::IPS | f::NETWORKS | f::COUNTRIES | f::ASNS | f::APPS | f::CHANNELS | f::API_VERSIONS => {
                        Category::Identity
                    }
                    f::CALLS
                    | f::PEAK_5MIN_CALLS
                    | f::PEAK_HOUR_CALLS
                    | f::SESSIONS
                    | f::READS
                    | f::LONGEST_STREAK_MIN => Category::Volume,
                    f::NIGHT_CALLS => Category::Temporal,
                    _ => Category::Behavioral,
                };
                let family = if *column == f::NIGHT_CALLS { Family::Time } else { Family::Count };
                Slot { name: format!("count/{}", feature.name), family, category }
            })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        for i in 0..COUNTS.len() {
            let (slow, y) = predictive(s, i, 0);
            if y <= slow.mean {
                continue;
            }
            let (fast, _) = predictive(s, i, 1);
            let mut ln_p = slow.ln_at_least(y).max(fast.ln_at_least(y));
            if s.moved && matches!(COUNTS[i].0, f::IPS | f::NETWORKS | f::COUNTRIES | f::ASNS | f::SESSIONS) {
                // Sessions are cut by address.
                ln_p *= MOVED;
            }
            let (column, _, shift) = COUNTS[i];
            out.put(base + i, ln_p, || Fact::Level {
                feature: &f::FEATURES[column],
                observed: y + shift,
                expected: slow.mean + shift,
                low: (slow.mean - 1.64 * slow.sd()).max(0.0) + shift,
                high: slow.mean + 1.64 * slow.sd() + shift,
                days: s.user.days,
            });
        }
    }
}

/// Calls per known value of a kind: the verb, object or channel that suddenly carries the traffic.
#[derive(Debug)]
pub struct ValueCounts;

const KINDS: [ValueKind; 3] = [ValueKind::Channel, ValueKind::Action, ValueKind::ActionEntity];

impl Detector for ValueCounts {
    fn slots(&self) -> Vec<Slot> {
        KINDS
            .iter()
            .map(|kind| Slot {
                name: format!("value-count/{}", kind.name()),
                family: Family::Count,
                category: Category::Behavioral,
            })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        if s.user.days < 3.0 {
            return;
        }
        let half_life = s.settings.baseline.half_life_days;
        let surge = s.surge.counts[0] * s.user.season(s.day.date, s.priors());
        for (i, kind) in KINDS.into_iter().enumerate() {
            let rows = s.day.values_of(s.row as u32);
            let rows = rows.iter().filter(|v| v.kind == kind);
            let tests = rows.clone().count() as f64;
            for v in rows {
                let text = s.day.text(v.value);
                let known = s.state.number(kind, text).and_then(|n| s.user.values.get(&(kind, n)));
                let Some(known) = known else { continue };
                let age = (-f64::from(s.day.date.0 - known.last.0) / half_life).exp2();
                let mean = ((known.calls * age + 0.5) / (s.user.days + 1.0) * surge).max(0.05);
                let y = f64::from(v.calls);
                if y <= mean {
                    continue;
                }
                // One value's calls are burstier than a day's total; a dispersion of 1 (geometric) is a wide default,
                // narrowed by how often the value is used at all.
                let r = (0.3 + 2.0 * known.weight * age / (s.user.days + 1.0)).clamp(0.3, 2.5);
                let ln_p = ln_sidak(ln_nb_at_least(y, mean, r), tests);
                out.put(base + i, ln_p, || Fact::ValueLevel {
                    kind,
                    value: text.to_owned(),
                    observed: y,
                    expected: mean,
                    high: mean + 1.64 * (mean + mean * mean / r).sqrt(),
                });
            }
        }
    }
}
