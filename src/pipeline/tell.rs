//! The rows and the summary of a scored night.

use rayon::prelude::*;

use super::ablate::Without;
use super::events_of;
use super::files::Parts;
use super::gates::{Held, hold};
use super::score::{Night, ScoredOrg, Scorer, past};
use crate::anomaly::{Anomaly, NightSummary, Severity, SubjectType};
use crate::baseline::org::OrgState;
use crate::detectors::night::facts;
use crate::evaluation::backtest::Scored;
use crate::evaluation::report::TOP;
use crate::explain::story::{Told, tell};
use crate::fusion::combine::score;
use crate::fusion::rank::{Candidate, Decision};
use crate::tables::DayTables;

impl Scorer<'_> {
    /// Runs the detectors again on the subjects that are kept, this time with facts, and tells their stories.
    pub(super) fn tell(
        &self,
        tables: &[DayTables],
        scored: &[ScoredOrg],
        candidates: &[Candidate],
        origin: &[(usize, usize)],
        (decisions, without): (&[Decision], &[Without]),
        parts: &[Parts],
    ) -> Night {
        let empty = OrgState::default();
        let state_of = |day: &DayTables| self.engine.orgs.get(&day.org_id).unwrap_or(&empty);
        let shared = self.shared_new_ips(tables);
        let row = |candidate: usize| {
            let (o, i) = origin[candidate];
            let (day, s) = (&tables[o], &scored[o]);
            let (subject, fused) = (&s.raw.subjects[i], &s.fused[i]);
            let state = state_of(day);
            let facts = facts(day, state, &s.raw, subject, &shared, self.engine.order(day), &self.settings);
            let silent = subject.subject == SubjectType::UserDay && subject.row.is_none();
            let class = self.calibration.class(subject.subject, silent, subject.activity);
            let combination =
                self.calibration.combination(class, &subject.scores, past(state, &s.raw, subject, day.date));
            let campaign = &s.raw.campaign;
            tell(&Told { day, state, subject, fused, facts, combination, campaign })
        };
        let keep = self.settings.ranking.keep as usize;
        let anomalies = decisions.par_iter().take(keep).map(|d| self.placed(row(d.candidate), d)).collect();
        let without = without
            .iter()
            .filter_map(|w| {
                // What a person would look at; the rest of the list says little about a family.
                let looked_at = |d: &&Decision| d.rank <= TOP || d.reported;
                let rows: Vec<Anomaly> = w
                    .decisions
                    .par_iter()
                    .filter(looked_at)
                    .map(|d| {
                        let mut anomaly = self.placed(row(d.candidate), d);
                        anomaly.p_value = w.p[d.candidate];
                        anomaly.score = score(anomaly.p_value);
                        anomaly.severity = Severity::of(anomaly.score);
                        anomaly
                    })
                    .collect();
                w.family.map(|family| (family, rows))
            })
            .collect();
        let summaries = tables
            .iter()
            .zip(scored)
            .zip(parts)
            .map(|((day, s), parts)| {
                let known = state_of(day).days;
                let of_org = |d: &&Decision| candidates[d.candidate].org == day.org_id;
                let mut notes = Vec::new();
                if known < self.settings.baseline.min_history_days.min(7) {
                    notes.push(format!("only {known} days of history: nothing is scored yet"));
                } else if known < self.settings.baseline.min_history_days {
                    notes.push(format!("only {known} days of history: scores lean on peers"));
                }
                let (gates, coverage, picture) = hold(&Held {
                    day,
                    state: state_of(day),
                    view: &s.raw.view,
                    reference: &self.reference,
                    parts,
                    settings: &self.settings,
                    window: self.window,
                });
                NightSummary {
                    date: day.date,
                    org_id: day.org_id.clone(),
                    events: events_of(day),
                    subjects: decisions.iter().filter(of_org).count() as u64,
                    reported: decisions.iter().filter(of_org).filter(|d| d.reported).count() as u64,
                    announced: decisions.iter().filter(of_org).filter(|d| d.announced).count() as u64,
                    over_budget: decisions.iter().filter(of_org).filter(|d| d.over_budget).count() as u64,
                    cold_users: s.raw.cold_users,
                    gates,
                    coverage,
                    notes,
                    picture: Some(Box::new(picture)),
                }
            })
            .collect();
        let p_values = candidates
            .iter()
            .zip(origin)
            .map(|(c, (o, _))| Scored {
                date: tables[*o].date,
                org_id: c.org.clone(),
                subject: c.subject,
                id: c.id.clone(),
                p: c.p,
            })
            .collect();
        Night { anomalies, summaries, p_values, without }
    }

    /// A row with its place in the night.
    fn placed(&self, mut anomaly: Anomaly, d: &Decision) -> Anomaly {
        anomaly.rank = d.rank;
        anomaly.reported = d.reported;
        anomaly.q_value = d.q;
        anomaly.status = d.status;
        anomaly.model_digest.clone_from(&self.model_digest);
        anomaly
    }
}
