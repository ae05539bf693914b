//! Detectors: each looks at one subject beside what is normal for it, and says how odd it is and why.
//!
//! A detector owns one or more *slots*. For a subject it puts a raw score into each slot (0 = nothing odd; otherwise
//! about −ln p, higher = odder) and, when asked for evidence, a [`Fact`]. Raw scores never leave the engine: `fusion`
//! calibrates every slot on held-out nights. To add a detector, implement [`Detector`] and list it in [`all`]; its family
//! decides with which others it is fused. Detectors see plain rows and the learned state, never a data frame or a file.

pub mod aggregates;
pub mod campaign;
pub mod fact;
pub mod geometry;
pub mod night;
pub mod novelty;
pub mod sequence;
pub mod statistical;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::anomaly::Category;
use crate::baseline::org::{NightView, OrgState};
use crate::baseline::priors::Priors;
use crate::baseline::user::{HABITS, HALF_HOURS, UserState};
use crate::config::Settings;
use crate::features::catalog::Family;
use crate::tables::DayTables;

pub use campaign::Campaign;
pub use fact::{Fact, SessionOf};
use statistical::counts::predictive as counts_predictive;

/// One raw score of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// `detector/feature`, stable: calibration is stored under it.
    pub name: String,
    /// Family it is fused in.
    pub family: Family,
    /// Category of an anomaly whose strongest evidence it is.
    pub category: Category,
}

/// One user on one day, with everything a detector may look at.
#[derive(Debug)]
pub struct UserDay<'a> {
    /// The day.
    pub day: &'a DayTables,
    /// The user's row in `day.user_day`.
    pub row: usize,
    /// What is known of the user (empty for one never seen).
    pub user: &'a UserState,
    /// The organisation's state.
    pub state: &'a OrgState,
    /// Peer groups and value popularity.
    pub view: &'a NightView,
    /// The user's peer group in `view`.
    pub group: usize,
    /// What moved for everyone tonight.
    pub surge: &'a Surge,
    /// The user moved as a whole ([`novelty::values::moved_whole`]); [`inspect`] finds out.
    pub moved: bool,
    /// The user was tried by tonight's campaign of failed log-ins.
    pub victim: bool,
    /// Addresses that are new to two or more organisations tonight.
    pub shared_new_ips: &'a BTreeMap<String, night::SharedIp>,
    /// How the organisation's sessions usually go, if that is known, and the day's words as it numbers them.
    pub order: Option<(&'a sequence::night::Order, &'a [u32])>,
    /// Settings.
    pub settings: &'a Settings,
}

impl UserDay<'_> {
    /// Priors of the user's peer group.
    pub fn priors(&self) -> &Priors {
        &self.view.groups[self.group]
    }

    /// The user's features.
    pub fn x(&self) -> &[f64] {
        self.day.user_day.row(self.row)
    }
}

/// What moved for at least 30 % of the organisation's users tonight: one factor per count and per rate, 1 otherwise.
/// Dividing it out keeps a month-end, a maintenance window or a used-up limit from becoming a hundred findings.
#[derive(Debug, Clone, PartialEq)]
pub struct Surge {
    /// By [`crate::baseline::user::COUNTS`].
    pub counts: Vec<f64>,
    /// By [`crate::baseline::user::RATES`]: expected share that replaces the usual one where larger, else 0.
    pub rates: Vec<f64>,
    /// Share of users behind each count's factor.
    pub count_users: Vec<f64>,
    /// Share of users behind each rate's replacement.
    pub rate_users: Vec<f64>,
    /// Half-hours in which nobody called and several nearly always do: a part of the log is missing, or nobody worked.
    pub nobody: [bool; HALF_HOURS],
}

/// Scores of one subject and, if asked for, the facts behind them.
#[derive(Debug)]
pub struct Findings {
    /// Raw score per slot.
    pub scores: Vec<f64>,
    /// Facts with their slot; `None` if only scores are wanted.
    pub facts: Option<Vec<(usize, Fact)>>,
    /// The day's statistics that the user's own history of them is compared with.
    pub habits: [f64; HABITS],
}

impl Findings {
    /// Nothing found yet.
    pub fn new(slots: usize, with_facts: bool) -> Self {
        Self { scores: vec![0.0; slots], facts: with_facts.then(Vec::new), habits: [0.0; HABITS] }
    }

    /// Puts −ln p from a natural logarithm of p; `fact` is only called when evidence is wanted.
    pub fn put(&mut self, slot: usize, ln_p: f64, fact: impl FnOnce() -> Fact) {
        self.put_score(slot, -ln_p, fact);
    }

    /// Puts a raw score ≥ 0.
    pub fn put_score(&mut self, slot: usize, score: f64, fact: impl FnOnce() -> Fact) {
        // A score of infinity would tie all that reach it; e^-1e6 is odd enough.
        let score = if score.is_nan() { 0.0 } else { score.clamp(0.0, 1e6) };
        if score > self.scores[slot] {
            self.scores[slot] = score;
            if let Some(facts) = &mut self.facts {
                facts.retain(|(s, _)| *s != slot);
                facts.push((slot, fact()));
            }
        }
    }
}

/// Looks at user-days. Implementations hold no state: what they know comes from the subject.
pub trait Detector: Sync + Send + std::fmt::Debug {
    /// The scores that it gives, in the order of its slots.
    fn slots(&self) -> Vec<Slot>;

    /// Scores one subject; its first slot is number `base`.
    fn inspect(&self, subject: &UserDay<'_>, base: usize, out: &mut Findings);
}

/// All detectors of user-days with the number of their first slot.
pub fn all() -> &'static [(Box<dyn Detector>, usize)] {
    static ALL: LazyLock<Vec<(Box<dyn Detector>, usize)>> = LazyLock::new(|| {
        let detectors: Vec<Box<dyn Detector>> = vec![
            Box::new(statistical::counts::Counts),
            Box::new(statistical::counts::ValueCounts),
            Box::new(statistical::continuous::Continuous),
            Box::new(statistical::sessions::Sessions),
            Box::new(statistical::sessions::WholeSessions),
            Box::new(statistical::rules::VolumeRules),
            Box::new(statistical::trend::Trends),
            Box::new(statistical::rates::Rates),
            Box::new(statistical::hours::Hours),
            Box::new(novelty::values::Values),
            Box::new(novelty::mix::Mix),
            Box::new(sequence::night::Sequences),
        ];
        let mut base = 0;
        detectors
            .into_iter()
            .map(|d| {
                let at = base;
                base += d.slots().len();
                (d, at)
            })
            .collect()
    });
    &ALL
}

/// The slots of all user-day detectors, by number.
pub fn slots() -> &'static [Slot] {
    static SLOTS: LazyLock<Vec<Slot>> = LazyLock::new(|| all().iter().flat_map(|(d, _)| d.slots()).collect());
    &SLOTS
}

/// Scores one user-day with every detector.
pub fn inspect(mut subject: UserDay<'_>, with_facts: bool) -> Findings {
    subject.moved = novelty::values::moved_whole(&subject);
    let mut out = Findings::new(slots().len(), with_facts);
    for (detector, base) in all() {
        detector.inspect(&subject, *base, &mut out);
    }
    if subject.victim {
        for (score, _) in out.scores.iter_mut().zip(slots()).filter(|(_, slot)| !Campaign::leaves(slot)) {
            *score = 0.0;
        }
        if let Some(facts) = &mut out.facts {
            facts.retain(|(j, _)| Campaign::leaves(&slots()[*j]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_names_are_unique() {
        let mut names: Vec<&str> = slots().iter().map(|s| s.name.as_str()).collect();
        names.sort_unstable();
        let n = names.len();
        names.dedup();
        assert_eq!(n, names.len());
    }
}
