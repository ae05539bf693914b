//! A night's list without each family of detectors.

use rayon::prelude::*;

use super::score::{ScoredOrg, Scorer};
use crate::anomaly::SubjectType;
use crate::date::Date;
use crate::explain::story::top_family;
use crate::features::catalog::Family;
use crate::fusion::ablation::Ablated;
use crate::fusion::drift::moved;
use crate::fusion::rank::{Candidate, Cases, Decision, rank};

/// A night's ranking without one family.
pub(super) struct Without {
    pub(super) family: Option<Family>,
    /// Final p-value by candidate.
    pub(super) p: Vec<f64>,
    pub(super) decisions: Vec<Decision>,
}

impl Scorer<'_> {
    /// Families of detectors that do not run on these nights, with the reason.
    pub fn not_run(&self) -> Vec<String> {
        let speaking = Ablated::families(&self.calibration, &self.settings);
        let reason = |family: Family| {
            if self.settings.fusion.weight(family) > 0.0 {
                format!("{family}: the model has no detector of it")
            } else {
                format!("{family}: its weight is 0 (fusion.{family})")
            }
        };
        // Without an order of sessions its slots are there and stay empty.
        let ran = |f: &Family| speaking.contains(f) && (*f != Family::Sequence || !self.orders.is_empty());
        Family::ALL.into_iter().filter(|f| !ran(f)).map(reason).collect()
    }

    /// Tells with every night what its list would be without each family.
    pub(super) fn ablate(&mut self, ablated: Vec<Ablated>) {
        self.ablated = ablated.into_iter().map(|a| (a, Cases::new())).collect();
    }

    /// What the ranking would be without each family.
    pub(super) fn without(
        &mut self,
        date: Date,
        scored: &[ScoredOrg],
        candidates: &[Candidate],
        origin: &[(usize, usize)],
    ) -> Vec<Without> {
        let (calibration, settings) = (&self.calibration, &self.settings);
        let factor = self.engine.drift.factor(date, settings.calibration.drift_nights);
        let rank_without = |(ablated, cases): &mut (Ablated, Cases)| {
            let again: Vec<Candidate> = candidates
                .iter()
                .zip(origin)
                .map(|(c, &(o, i))| {
                    let (subject, fused) = (&scored[o].raw.subjects[i], &scored[o].fused[i]);
                    let silent = subject.subject == SubjectType::UserDay && subject.row.is_none();
                    let class = calibration.class(subject.subject, silent, subject.activity);
                    let fused = ablated.apply(calibration, class, &c.org, &c.id, fused);
                    let family = top_family(&fused.families);
                    Candidate { p: moved(fused.p, factor), statistic: fused.statistic, family, ..c.clone() }
                })
                .collect();
            let decisions = rank(date, &again, cases, settings);
            Without { family: ablated.without, p: again.iter().map(|c| c.p).collect(), decisions }
        };
        self.ablated.par_iter_mut().map(rank_without).collect()
    }
}
