//! Scoring: roll the model's state forward to a night, score it, keep what later nights need, learn it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::drift::Reference;
use super::files::Parts;
use super::kept::{KeptHeader, KeptSubject, read_kept, write_kept};
use super::{Days, Engine, Learn, Progress, calendar, expected, load_all, load_with_steps, order};
use crate::anomaly::{Anomaly, NightSummary, SubjectType};
use crate::baseline::org::OrgState;
use crate::baseline::records;
use crate::baseline::user::{HABITS, UserState};
use crate::config::Settings;
use crate::config::settings::Effect;
use crate::date::Date;
use crate::detectors::night::{RawNight, RawSubject, SharedIp, shared_new_ips, slots_of};
use crate::detectors::sequence::night::Order;
use crate::error::{Error, Kind, Result};
use crate::evaluation::backtest::Scored;
use crate::explain::story::top_family;
use crate::features::catalog::Family;
use crate::fusion::ablation::Ablated;
use crate::fusion::drift::{Counted, moved};
use crate::fusion::night::{Calibration, Fused, Past};
use crate::fusion::rank::{Candidate, Cases, rank};
use crate::models::Record;
use crate::tables::DayTables;

/// A model ready to score: the state rolled forward to some date, and the calibration.
#[derive(Debug)]
pub struct Scorer<'a> {
    pub(super) days: &'a dyn Days,
    pub(super) settings: Settings,
    pub(super) calibration: Calibration,
    pub(super) engine: Engine,
    pub(super) model_digest: String,
    /// The model's baseline, for a range that leaves the training window.
    rows: &'a [Record],
    /// The model's order of sessions.
    pub(super) orders: BTreeMap<String, Arc<Order>>,
    /// First and last training day.
    pub(super) window: (Date, Date),
    /// Where the features lay in training.
    pub(super) reference: Reference,
    /// Dates with data and their organisations.
    calendar: BTreeMap<Date, Vec<String>>,
    /// The state was folded anew within the training window and is not the model's.
    in_sample: bool,
    /// Next date that has not been folded.
    next: Date,
    /// Verdicts without each family, if they are wanted, each with its open cases.
    pub(super) ablated: Vec<(Ablated, Cases)>,
}

/// A scored night.
#[derive(Debug)]
pub struct Night {
    /// The ranked subjects that are kept, without model name and version.
    pub anomalies: Vec<Anomaly>,
    /// One per organisation.
    pub summaries: Vec<NightSummary>,
    /// Every subject with its final p-value (for calibration checks), in canonical order.
    pub p_values: Vec<Scored>,
    /// What the night's list would be without each family, cut to what was asked for.
    pub without: Vec<(Family, Vec<Anomaly>)>,
}

/// What a model remembers of its organisations.
pub(super) fn read_state(rows: &[Record]) -> Result<BTreeMap<String, OrgState>> {
    let mut orgs = BTreeMap::new();
    for row in rows.iter().filter(|row| !order::is_order(row)) {
        records::read(row, &mut orgs)?;
    }
    let slots = slots_of(SubjectType::UserDay, false).len();
    let mut weeks = orgs.values().flat_map(|o: &OrgState| o.users.values()).flat_map(|u| &u.recent);
    if let Some((_, scores)) = weeks.find(|(_, scores)| scores.len() != slots) {
        let found = scores.len();
        let message = format!(
            "the model remembers days of {found} scores, where this engine has {slots} a day; train a new version"
        );
        return Err(Error::new(Kind::Model, message));
    }
    Ok(orgs)
}

/// The calibration in a model's arrays.
pub(super) fn read_calibration(arrays: &BTreeMap<&str, &[f64]>) -> Result<Calibration> {
    Calibration::from_arrays(arrays).map_err(|name| {
        Error::new(Kind::Model, format!("the model's array {name} is missing or makes no sense; train a new version"))
    })
}

/// What is remembered of a user, nothing of other subjects.
pub(super) fn past<'a>(state: &'a OrgState, night: &RawNight, subject: &RawSubject, date: Date) -> Past<'a> {
    let is_user = subject.subject == SubjectType::UserDay;
    let partly = is_user && subject.row.is_some_and(|row| night.campaign.victims.contains(&row));
    let of = |u: &'a UserState| Past { nights: u.second_stage(), week: u.week_before(date), partly };
    state.users.get(&subject.id).map_or(Past { partly, ..Past::default() }, of)
}

pub(super) struct ScoredOrg {
    pub(super) raw: RawNight,
    pub(super) fused: Vec<Fused>,
}

/// Raised when the same day, model and settings come to give other scores: nights that were kept before are computed anew.
const REVISION: u32 = 2;

impl<'a> Scorer<'a> {
    /// A model's state. `from` is the first date that will be scored; if it lies within the training window
    /// (`in_sample`), the state is folded anew from the store's days before it.
    pub fn new(
        days: &'a dyn Days,
        arrays: &BTreeMap<&str, &[f64]>,
        rows: &'a [Record],
        window: (Date, Date),
        model_digest: &str,
        settings: Settings,
        from: Date,
    ) -> Result<Self> {
        let calibration = read_calibration(arrays)?;
        let calendar = calendar(days, None)?;
        let orders = order::read(arrays, rows)?;
        let orgs: BTreeSet<&str> = calendar.values().flatten().map(String::as_str).collect();
        let reference = Reference::from_arrays(arrays, orgs.into_iter());
        let feedback = Arc::new(days.feedback()?);
        let mut scorer = Self {
            days,
            settings,
            calibration,
            engine: Engine { feedback, ..Engine::default() },
            model_digest: model_digest.to_owned(),
            rows,
            orders,
            window,
            reference,
            calendar,
            in_sample: true,
            next: window.0,
            ablated: Vec::new(),
        };
        if from > window.1 {
            scorer.start_from_model()?;
            return Ok(scorer);
        }
        if from < window.0 {
            let message = format!(
                "{from} lies before the model's first training day ({}), of which it knows nothing; score a later date, or \
                 train a version on the days before {from}",
                window.0
            );
            return Err(Error::new(Kind::Model, message));
        }
        // The model's state has seen later days already: fold anew from the first training day.
        scorer.engine.chain = scorer.first_link("in-sample", scorer.next)?;
        let earliest = scorer.calendar.keys().next().copied();
        if earliest.is_none_or(|e| e > window.0) && from > window.0 {
            let found = earliest.map_or("no day".into(), |e| format!("days from {e} on"));
            let message = format!(
                "{from} lies within the model's training window ({} to {}), so the baseline must be folded anew from \
                 {}, but the store has {found}; ingest the archive or score a later date",
                window.0, window.1, window.0
            );
            return Err(Error::new(Kind::Model, message));
        }
        Ok(scorer)
    }

    /// The model's own state, which ends with the training window.
    fn start_from_model(&mut self) -> Result<()> {
        let (next, feedback) = (self.window.1.plus(1), self.engine.feedback.clone());
        self.engine = Engine {
            chain: self.first_link("model", next)?,
            orgs: read_state(self.rows)?,
            orders: self.orders.clone(),
            feedback,
            ..Engine::default()
        };
        self.in_sample = false;
        self.next = next;
        Ok(())
    }

    /// Start of the chain of inputs: what of the settings, and of the verdicts on nights before `next`, decides which nights are
    /// reported or learned from.
    fn first_link(&self, start: &str, next: Date) -> Result<String> {
        let deciding = (start, REVISION, &self.settings.alerts, &self.settings.ranking, &self.settings.expected);
        let text = serde_json::to_string(&deciding).expect("plain data serialises");
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes());
        for entry in self.engine.feedback.before(next).filter(|e| e.until.is_some_and(|until| until >= next)) {
            expected::chain(&mut hasher, entry);
            if self.calendar.get(&entry.date).is_some_and(|orgs| orgs.contains(&entry.org_id)) {
                hasher.update(self.days.digest(&entry.org_id, entry.date)?.as_bytes());
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Digests of the partitions of a date, in order.
    fn input(&self, date: Date) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.engine.chain.as_bytes());
        for org in self.calendar.get(&date).map_or(&[][..], Vec::as_slice) {
            hasher.update(&(org.len() as u64).to_le_bytes());
            hasher.update(org.as_bytes());
            hasher.update(self.days.digest(org, date)?.as_bytes());
        }
        self.engine.feedback.on(date).for_each(|entry| expected::chain(&mut hasher, entry));
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// BLAKE3 chain over the digests of all partitions folded or scored since the start, and the settings that decide
    /// what is reported.
    pub fn input_digest(&self) -> &str {
        &self.engine.chain
    }

    /// Dates with data.
    pub fn dates(&self) -> impl Iterator<Item = Date> + '_ {
        self.calendar.keys().copied()
    }

    /// Rolls forward over the days before `date`, then scores it. Dates must be asked for in order. `None` if the date
    /// has no data.
    pub fn night(&mut self, date: Date, progress: Progress<'_>) -> Result<Option<Night>> {
        if date > self.window.1 && self.in_sample {
            // A range that leaves the training window goes on as its later nights would on their own.
            self.start_from_model()?;
        }
        let before: Vec<Date> = self.calendar.range(self.next..date).map(|(d, _)| *d).collect();
        for (i, d) in before.iter().enumerate() {
            progress("roll forward", i as u64, before.len() as u64);
            self.roll(*d, false)?;
        }
        if !self.calendar.contains_key(&date) {
            return Ok(None);
        }
        progress("score", 0, 1);
        self.roll(date, true)
    }

    /// Folds a date in; scores it first if wanted, or if nothing is kept of an earlier scoring.
    fn roll(&mut self, date: Date, wanted: bool) -> Result<Option<Night>> {
        let orgs = self.calendar.get(&date).cloned().unwrap_or_default();
        let chain = self.input(date)?;
        let kept = if wanted { None } else { self.kept(date, &chain)? };
        let tables = if kept.is_some() || self.engine.orders.is_empty() {
            load_all(self.days, date, &orgs)?
        } else {
            load_with_steps(self.days, date, &orgs)?
        };
        self.engine.learn_postponed(self.days, Some(date), &self.settings)?;
        let (night, counted, subjects) = if let Some((header, subjects)) = kept {
            for (org, subject, id, family, p) in header.reported {
                let key = (org, subject, id, family);
                let p = f64::from_bits(p);
                let least = self.engine.cases.get(&key).map_or(p, |(_, old)| old.min(p));
                self.engine.cases.insert(key, (date, least));
            }
            (None, header.counted, subjects)
        } else {
            let (night, header, subjects) = self.score(date, &tables, &chain, wanted)?;
            let text = write_kept(&header, &subjects);
            self.days.keep_night(&self.model_digest, date, &text)?;
            (night, header.counted, subjects)
        };
        self.engine.drift.remember(date, counted, self.settings.calibration.drift_nights);
        self.fold(date, &tables, &subjects);
        self.engine.chain = chain;
        self.next = date.plus(1);
        Ok(night)
    }

    fn kept(&self, date: Date, chain: &str) -> Result<Option<(KeptHeader, Vec<KeptSubject>)>> {
        // Anything unexpected means: score it again.
        let kept = self.days.kept_night(&self.model_digest, date)?.as_deref().and_then(read_kept);
        Ok(kept.filter(|(header, subjects)| header.chain == chain && subjects.iter().all(|s| self.has_scores(s))))
    }

    /// Does it have the raw scores that later weeks need, and no others?
    fn has_scores(&self, s: &KeptSubject) -> bool {
        let active = s.subject == SubjectType::UserDay && !s.silent;
        let needed = if active && self.calibration.looks_at_weeks() { slots_of(s.subject, false).len() } else { 0 };
        s.scores.len() == needed
    }

    fn score(
        &mut self,
        date: Date,
        tables: &[DayTables],
        chain: &str,
        wanted: bool,
    ) -> Result<(Option<Night>, KeptHeader, Vec<KeptSubject>)> {
        let raw = self.engine.evaluate(tables, &self.settings);
        let empty = OrgState::default();
        let shared = self.shared_new_ips(tables);
        let mut scored: Vec<ScoredOrg> = tables
            .iter()
            .zip(raw)
            .map(|(day, raw)| {
                let state = self.engine.orgs.get(&day.org_id).unwrap_or(&empty);
                let fused = raw
                    .subjects
                    .par_iter()
                    .map(|s| {
                        let silent = s.subject == SubjectType::UserDay && s.row.is_none();
                        let class = self.calibration.class(s.subject, silent, s.activity);
                        self.calibration.apply(class, &s.scores, past(state, &raw, s, date), &self.settings)
                    })
                    .collect();
                ScoredOrg { raw, fused }
            })
            .collect();
        let factor = self.engine.drift.factor(date, self.settings.calibration.drift_nights);
        let mut counted = Counted::default();
        let mut candidates = Vec::new();
        let mut origin = Vec::new();
        let mut kept = Vec::new();
        let weekly = self.calibration.looks_at_weeks();
        for (o, (day, s)) in tables.iter().zip(&mut scored).enumerate() {
            let known = self.engine.orgs.get(&day.org_id).map_or(0, |s| s.days);
            for (i, (subject, fused)) in s.raw.subjects.iter().zip(&mut s.fused).enumerate() {
                let as_calibrated = fused.p;
                fused.p = moved(as_calibrated, factor);
                let user_row = subject.row.filter(|_| subject.subject == SubjectType::UserDay);
                kept.push(KeptSubject {
                    org: day.org_id.clone(),
                    subject: subject.subject,
                    id: subject.id.clone(),
                    silent: subject.subject == SubjectType::UserDay && subject.row.is_none(),
                    p: fused.p.to_bits(),
                    fused: fused.fused.to_bits(),
                    families: fused.families.map(f64::to_bits),
                    expected: false,
                    habits: user_row.map_or([0; HABITS], |row| s.raw.habits[row].map(f64::to_bits)),
                    scores: if weekly && user_row.is_some() {
                        subject.scores.iter().map(|s| s.to_bits()).collect()
                    } else {
                        Vec::new()
                    },
                });
                if known < self.settings.baseline.min_history_days.min(7) {
                    // Too young an organisation: everything is new, and nothing can be told from that.
                    continue;
                }
                let announced = match user_row {
                    Some(row) => expected::announced_row(day, row, &self.settings, Effect::DoNotAlert),
                    None => expected::announced(day.date, &subject.id, &self.settings),
                };
                let same = self.is_expected(day, &s.raw, subject, fused, &shared)?;
                kept.last_mut().expect("pushed above").expected = same.by_verdict;
                let expected = announced || same.by_verdict || same.by_values;
                if !expected {
                    counted.add(as_calibrated);
                }
                candidates.push(Candidate {
                    org: day.org_id.clone(),
                    subject: subject.subject,
                    id: subject.id.clone(),
                    p: fused.p,
                    statistic: fused.statistic,
                    family: top_family(&fused.families),
                    expected,
                });
                origin.push((o, i));
            }
        }
        let decisions = rank(date, &candidates, &mut self.engine.cases, &self.settings);
        let reported = self
            .engine
            .cases
            .iter()
            .filter(|(_, (last, _))| *last == date)
            .map(|((org, subject, id, family), (_, p))| (org.clone(), *subject, id.clone(), *family, p.to_bits()))
            .collect();
        let header = KeptHeader { chain: chain.to_owned(), subjects: kept.len(), counted, reported };
        let without = if wanted { self.without(date, &scored, &candidates, &origin) } else { Vec::new() };
        let night = if wanted {
            let parts: Vec<Parts> =
                tables.iter().map(|day| self.days.parts(&day.org_id, date)).collect::<Result<_>>()?;
            Some(self.tell(tables, &scored, &candidates, &origin, (&decisions, &without), &parts))
        } else {
            None
        };
        Ok((night, header, kept))
    }

    /// Addresses that are new to several organisations tonight.
    pub(super) fn shared_new_ips(&self, tables: &[DayTables]) -> BTreeMap<String, SharedIp> {
        let empty = OrgState::default();
        let state = |day: &DayTables| self.engine.orgs.get(&day.org_id).unwrap_or(&empty);
        shared_new_ips(&tables.iter().map(|day| (day, state(day))).collect::<Vec<_>>())
    }

    fn fold(&mut self, date: Date, tables: &[DayTables], subjects: &[KeptSubject]) {
        let below = self.settings.baseline.no_learning_below;
        let mut by_user: BTreeMap<(&str, &str), &KeptSubject> = BTreeMap::new();
        for s in subjects.iter().filter(|s| s.subject == SubjectType::UserDay) {
            by_user.insert((&s.org, &s.id), s);
        }
        for day in tables {
            let org = day.org_id.as_str();
            let mut habits = vec![[0.0; HABITS]; day.user_day.len()];
            let mut when: BTreeMap<&str, Learn> = BTreeMap::new();
            for (row, habits) in habits.iter_mut().enumerate() {
                let id = day.text(day.user_day.ids[row]);
                let Some(s) = by_user.get(&(org, id)) else { continue };
                *habits = s.habits.map(f64::from_bits);
                // Nor is a night learned that was reported and that nobody has looked at yet.
                let reported = Family::ALL.into_iter().any(|family| {
                    let case = (org.to_owned(), SubjectType::UserDay, id.to_owned(), family);
                    self.engine.cases.get(&case).is_some_and(|(last, _)| *last == date)
                });
                if s.expected {
                    when.insert(id, Learn::Never);
                } else if reported || f64::from_bits(s.p) < below {
                    when.insert(id, Learn::Later);
                }
            }
            self.engine.fold(day, &habits, &self.settings, |id| when.get(id).copied().unwrap_or(Learn::Now));
            let Some(state) = self.engine.orgs.get_mut(org) else { continue };
            for s in subjects.iter().filter(|s| s.org == org && s.subject == SubjectType::UserDay) {
                if let Some(user) = state.users.get_mut(&s.id) {
                    user.remember_night(date, -f64::from_bits(s.fused).ln());
                    self.ablated.iter_mut().for_each(|(a, _)| a.remember(org, &s.id));
                    if !s.scores.is_empty() {
                        user.remember_scores(date, s.scores.iter().map(|s| f32::from_bits(*s)).collect());
                    }
                }
            }
        }
    }
}
