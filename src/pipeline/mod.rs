//! Training and scoring: the one place that knows the whole flow.
//!
//! ```text
//! train: days ≤ T in order: score with what the days before taught, then learn
//!        the last nights calibrate; the folded state and the calibration are the model
//! score: state at T, rolled forward over the days since; score D; learn it for the next night
//! ```
//!
//! Every night is scored by a state made of the days before it alone, in training as in scoring, so that calibration
//! nights see exactly what a real night sees, and scoring a date again next week gives the same answer.

mod ablate;
pub mod backtest;
mod drift;
mod expected;
pub mod feedback;
pub mod files;
pub mod gates;
mod golden;
mod kept;
mod order;
mod score;
mod sequences;
mod table;
mod tell;
#[cfg(test)]
mod tests;
mod train;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use crate::baseline::org::OrgState;
use crate::baseline::user::HABITS;
use crate::config::Settings;
use crate::config::settings::Effect;
use crate::date::Date;
use crate::detectors::Campaign;
use crate::detectors::night::{RawNight, evaluate, shared_new_ips};
use crate::detectors::sequence::night::Order;
use crate::error::Result;
use crate::feedback::Feedback;
use crate::fusion::drift::Drift;
use crate::fusion::rank::Cases;
use crate::tables::{DayTables, Steps};

use expected::Said;
use files::Parts;
pub use golden::replay;
pub use score::{Night, Scorer};
pub use sequences::{SequenceScorer, TrainedSequences, train_sequences};
pub use table::{TrainedTable, score_table, train_table};
pub use train::{Trained, train};

/// Where days come from: a store, or a test.
pub trait Days: Sync {
    /// Every (organisation, date) with data, ascending by date, then organisation.
    fn list(&self) -> Result<Vec<(Date, String)>>;
    /// One day.
    fn load(&self, org: &str, date: Date) -> Result<DayTables>;
    /// What its sessions were made of, in order.
    fn steps(&self, org: &str, date: Date) -> Result<Steps>;
    /// Digest of one day's partition.
    fn digest(&self, org: &str, date: Date) -> Result<String>;
    /// Digest of the network tables that described the addresses of one day's partition; empty if there were none to choose.
    fn enrichment(&self, org: &str, date: Date) -> Result<String>;
    /// What was kept of an earlier scoring of a night by this model, if anything.
    fn kept_night(&self, model: &str, date: Date) -> Result<Option<String>>;
    /// Keeps it. Losing it costs time, never a result.
    fn keep_night(&self, model: &str, date: Date, text: &str) -> Result<()>;
    /// The source files behind one day's partition, where that is known.
    fn parts(&self, org: &str, date: Date) -> Result<Parts> {
        let _ = (org, date);
        Ok(Parts::default())
    }
    /// What people said about anomalies.
    fn feedback(&self) -> Result<Feedback> {
        Ok(Feedback::default())
    }
}

impl std::fmt::Debug for dyn Days + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Days")
    }
}

/// Progress of a long command: what, done, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// All organisations' state and what carries over from night to night.
#[derive(Debug, Clone, Default)]
struct Engine {
    orgs: BTreeMap<String, OrgState>,
    /// How each organisation's sessions usually go, where that was learned.
    orders: BTreeMap<String, Arc<Order>>,
    cases: Cases,
    /// How much calmer scored nights have become since calibration.
    drift: Drift,
    /// Extreme nights that wait to be learned: (date, organisation, user).
    postponed: BTreeSet<(Date, String, String)>,
    /// BLAKE3 chain over the partitions folded since the training end.
    chain: String,
    /// What people said about anomalies.
    feedback: Arc<Feedback>,
}

/// When a user-day is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Learn {
    /// At once.
    Now,
    /// When nobody has objected for a week: it was odd.
    Later,
    /// Not at all: it was expected to pass.
    Never,
}

/// Dates up to and including `until`, with the organisations that have data.
fn calendar(days: &dyn Days, until: Option<Date>) -> Result<BTreeMap<Date, Vec<String>>> {
    let mut out: BTreeMap<Date, Vec<String>> = BTreeMap::new();
    for (date, org) in days.list()? {
        if until.is_none_or(|u| date <= u) {
            out.entry(date).or_default().push(org);
        }
    }
    Ok(out)
}

fn load_all(days: &dyn Days, date: Date, orgs: &[String]) -> Result<Vec<DayTables>> {
    orgs.par_iter().map(|org| days.load(org, date)).collect()
}

/// As [`load_all`], with the steps of sessions.
fn load_with_steps(days: &dyn Days, date: Date, orgs: &[String]) -> Result<Vec<DayTables>> {
    let load = |org: &String| {
        let steps = Some(days.steps(org, date)?);
        Ok(DayTables { steps, ..days.load(org, date)? })
    };
    orgs.par_iter().map(load).collect()
}

fn events_of(day: &DayTables) -> u64 {
    use crate::features::catalog::org_day::CALLS;
    (0..day.org_day.len()).map(|r| day.org_day.get(r, CALLS) as u64).sum()
}

/// Nights after which an extreme night that nobody confirmed is learned after all.
const POSTPONE_NIGHTS: i32 = 7;

impl Engine {
    /// Raw scores of a date's organisations, each by its state up to the day before.
    fn evaluate(&self, tables: &[DayTables], settings: &Settings) -> Vec<RawNight> {
        let empty = OrgState::default();
        let states: Vec<&OrgState> = tables.iter().map(|d| self.orgs.get(&d.org_id).unwrap_or(&empty)).collect();
        let pairs: Vec<(&DayTables, &OrgState)> = tables.iter().zip(states.iter().copied()).collect();
        let shared = shared_new_ips(&pairs);
        pairs.iter().map(|(day, state)| evaluate(day, state, &shared, self.order(day), settings)).collect()
    }

    fn order(&self, day: &DayTables) -> Option<&Order> {
        self.orders.get(&day.org_id).map(AsRef::as_ref)
    }

    /// Learns the postponed nights whose week of grace has passed by `date`, or all of them.
    fn learn_postponed(&mut self, days: &dyn Days, date: Option<Date>, settings: &Settings) -> Result<()> {
        let is_due = |then: Date| date.is_none_or(|d| then.plus(POSTPONE_NIGHTS) <= d);
        let due: Vec<(Date, String, String)> = self.postponed.iter().filter(|p| is_due(p.0)).cloned().collect();
        for key in due {
            self.postponed.remove(&key);
            let (then, org, user) = key;
            let day = days.load(&org, then)?;
            let Some(row) = day.user_day.ids.iter().position(|id| day.text(*id) == user) else { continue };
            let Some(state) = self.orgs.get_mut(&org) else { continue };
            let view = state.night_view();
            // Its habits of that day were odd by definition and are left out by repeating the usual ones.
            let habits: [f64; HABITS] = state.users.get(&user).map_or([0.0; HABITS], |u| u.habits.map(|h| h.mean));
            state.fold_user(&day, row, &view, &settings.baseline, &habits);
        }
        Ok(())
    }

    /// Learns a day: of announced changes and confirmed incidents nothing, and of user-days that were odd or victims of a
    /// campaign nothing for now, unless somebody found them harmless, or the organisation is so young that everything is odd.
    fn fold(&mut self, day: &DayTables, habits: &[[f64; HABITS]], settings: &Settings, when: impl Fn(&str) -> Learn) {
        let said = Said::of(&self.feedback, day);
        let state = self.orgs.entry(day.org_id.clone()).or_default();
        let view = state.night_view();
        let young = state.days < settings.baseline.min_history_days;
        let campaign = Campaign::find(day);
        let mut learn = vec![true; day.user_day.len()];
        for (row, learn) in learn.iter_mut().enumerate() {
            let id = day.text(day.user_day.ids[row]);
            let when = when(id);
            if said.is_incident(day, row, &campaign)
                || when == Learn::Never
                || expected::announced_row(day, row, settings, Effect::DoNotLearn)
            {
                *learn = false;
            } else if said.harmless.contains(id) || young {
                // Learned at once.
            } else if when == Learn::Later || campaign.victims.contains(&row) {
                *learn = false;
                self.postponed.insert((day.date, day.org_id.clone(), id.to_owned()));
            }
        }
        state.fold(day, &view, &settings.baseline, habits, &learn, &said.incidents);
    }
}
