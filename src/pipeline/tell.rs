//! The rows and the summary of a scored night.

use rayon::prelude::*;

use super::events_of;
use super::score::{Night, ScoredOrg, Scorer, past};
use crate::anomaly::{NightSummary, SubjectType};
use crate::baseline::org::OrgState;
use crate::detectors::night::{facts, shared_new_ips};
use crate::explain::story::{Told, tell};
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
        decisions: &[Decision],
    ) -> Night {
        let empty = OrgState::default();
        let state_of = |day: &DayTables| self.engine.orgs.get(&day.org_id).unwrap_or(&empty);
        let pairs: Vec<(&DayTables, &OrgState)> = tables.iter().map(|d| (d, state_of(d))).collect();
        let shared = shared_new_ips(&pairs);
        let anomalies = decisions
            .par_iter()
            .take(self.settings.ranking.keep as usize)
            .map(|d| {
                let (o, i) = origin[d.candidate];
                let (day, s) = (&tables[o], &scored[o]);
                let (subject, fused) = (&s.raw.subjects[i], &s.fused[i]);
                let state = state_of(day);
                let facts = facts(day, state, &s.raw, subject, &shared, self.engine.order(day), &self.settings);
                let silent = subject.subject == SubjectType::UserDay && subject.row.is_none();
                let class = self.calibration.class(subject.subject, silent, subject.activity);
                let combination =
                    self.calibration.combination(class, &subject.scores, past(state, &s.raw, subject, day.date));
                let campaign = &s.raw.campaign;
                let mut anomaly = tell(&Told { day, state, subject, fused, facts, combination, campaign });
                anomaly.rank = d.rank;
                anomaly.reported = d.reported;
                anomaly.q_value = d.q;
                anomaly.status = d.status;
                anomaly.model_digest.clone_from(&self.model_digest);
                anomaly
            })
            .collect();
        let summaries = tables
            .iter()
            .zip(scored)
            .map(|(day, s)| {
                let known = state_of(day).days;
                let of_org = |d: &&Decision| candidates[d.candidate].org == day.org_id;
                let mut notes = Vec::new();
                if known < self.settings.baseline.min_history_days.min(7) {
                    notes.push(format!("only {known} days of history: nothing is scored yet"));
                } else if known < self.settings.baseline.min_history_days {
                    notes.push(format!("only {known} days of history: scores lean on peers"));
                }
                let usual = state_of(day).users.values().filter(|u| u.last.0 + 7 >= day.date.0).count();
                if usual >= 10 && day.user_day.len() * 2 < usual {
                    notes.push(format!(
                        "only {} of about {usual} users have events: a holiday, or a part of the log is missing",
                        day.user_day.len()
                    ));
                }
                NightSummary {
                    date: day.date,
                    org_id: day.org_id.clone(),
                    events: events_of(day),
                    subjects: decisions.iter().filter(of_org).count() as u64,
                    reported: decisions.iter().filter(of_org).filter(|d| d.reported).count() as u64,
                    announced: decisions.iter().filter(of_org).filter(|d| d.announced).count() as u64,
                    over_budget: decisions.iter().filter(of_org).filter(|d| d.over_budget).count() as u64,
                    cold_users: s.raw.cold_users,
                    notes,
                }
            })
            .collect();
        let p_values = origin.iter().map(|&(o, i)| (scored[o].raw.subjects[i].subject, scored[o].fused[i].p)).collect();
        Night { anomalies, summaries, p_values }
    }
}
