//! The mix of verbs and objects, and of resources: how much of the day's traffic lies outside the usual mix (total
//! variation distance), beside the user's own history of that distance.

use crate::anomaly::Category;
use crate::baseline::user::{HABIT_FLOOR, Habit};
use crate::detectors::statistical::hours::sampling_noise;
use crate::detectors::{Detector, Fact, Findings, Slot, UserDay};
use crate::features::catalog::Family;
use crate::tables::ValueKind;

/// Mix of (verb, object) pairs and of resource templates.
#[derive(Debug)]
pub struct Mix;

const KINDS: [(ValueKind, Habit); 2] =
    [(ValueKind::ActionEntity, Habit::ActionMix), (ValueKind::Resource, Habit::ResourceMix)];

impl Detector for Mix {
    fn slots(&self) -> Vec<Slot> {
        KINDS
            .iter()
            .map(|(kind, _)| Slot {
                name: format!("mix/{}", kind.name()),
                family: Family::Novelty,
                category: Category::Behavioral,
            })
            .collect()
    }

    fn inspect(&self, s: &UserDay<'_>, base: usize, out: &mut Findings) {
        let half_life = s.settings.baseline.half_life_days;
        for (i, (kind, habit)) in KINDS.into_iter().enumerate() {
            let rows: Vec<_> = s.day.values_of(s.row as u32).iter().filter(|v| v.kind == kind).collect();
            let total: f64 = rows.iter().map(|v| f64::from(v.calls)).sum();
            if total < 1.0 {
                continue;
            }
            let usual = |text: &str| {
                let known = s.state.number(kind, text).and_then(|n| s.user.values.get(&(kind, n)));
                known.map_or(0.0, |k| {
                    let age = (-f64::from(s.day.date.0 - k.last.0) / half_life).exp2();
                    (k.share * age / s.user.days.max(1.0)).min(1.0)
                })
            };
            let mut overlap = 0.0;
            let mut grew: Vec<(String, f64, f64)> = Vec::new();
            for v in &rows {
                let (now, before) = (f64::from(v.calls) / total, usual(s.day.text(v.value)));
                overlap += now.min(before);
                if out.facts.is_some() && now > before + 0.02 {
                    grew.push((s.day.text(v.value).to_owned(), now, before));
                }
            }
            let distance = (1.0 - overlap).clamp(0.0, 1.0);
            out.habits[habit as usize] = distance;
            if s.user.days < 5.0 {
                continue;
            }
            let p =
                s.user.habits[habit as usize].predict(s.priors().habits[habit as usize], HABIT_FLOOR[habit as usize]);
            // A handful of calls always has an odd mix: a day's worth of sampling noise is part of the scale.
            let known = f64::from(s.user.kinds[kind as usize].known).min(40.0);
            if distance > p.mean {
                let ln_p = p.with_noise(sampling_noise(known, total)).ln_at_least(distance);
                grew.sort_by(|a, b| (b.1 - b.2).total_cmp(&(a.1 - a.2)).then_with(|| a.0.cmp(&b.0)));
                grew.truncate(3);
                out.put(base + i, ln_p, || Fact::Mix { kind, distance, expected: p.mean.clamp(0.0, 1.0), grew });
            }
        }
    }
}
