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

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::anomaly::{Anomaly, NightSummary, SubjectType};
use crate::baseline::org::OrgState;
use crate::baseline::records;
use crate::baseline::user::HABITS;
use crate::config::Settings;
use crate::date::Date;
use crate::detectors::night::{RawNight, evaluate, facts, shared_new_ips};
use crate::error::{Error, Kind, Result};
use crate::explain::story::{Told, tell, top_family};
use crate::features::catalog::Family;
use crate::fusion::night::{Calibration, Fused, Sample};
use crate::fusion::rank::{Candidate, Cases, Decision, rank};
use crate::models::Record;
use crate::tables::DayTables;

/// Where days come from: a store, or a test.
pub trait Days: Sync {
    /// Every (organisation, date) with data, ascending by date, then organisation.
    fn list(&self) -> Result<Vec<(Date, String)>>;
    /// One day.
    fn load(&self, org: &str, date: Date) -> Result<DayTables>;
    /// Digest of one day's partition.
    fn digest(&self, org: &str, date: Date) -> Result<String>;
    /// What was kept of an earlier scoring of a night by this model, if anything.
    fn kept_night(&self, model: &str, date: Date) -> Result<Option<String>>;
    /// Keeps it. Losing it costs time, never a result.
    fn keep_night(&self, model: &str, date: Date, text: &str) -> Result<()>;
}

/// What training made.
#[derive(Debug)]
pub struct Trained {
    /// First and last training day.
    pub window: (Date, Date),
    /// Organisations.
    pub orgs: Vec<String>,
    /// Events of the window.
    pub events: u64,
    /// User-days of the window.
    pub user_days: u64,
    /// BLAKE3 over the digests of the partitions.
    pub input_digest: String,
    /// Named arrays of the calibration.
    pub arrays: Vec<(String, Vec<f64>)>,
    /// Rows of the baseline.
    pub records: Vec<Record>,
    /// Figures for the card: calibration points, nights, share of p ≤ 0.01 and so on.
    pub metrics: BTreeMap<String, f64>,
    /// Remarks for the card.
    pub notes: Vec<String>,
}

/// Progress of a long command: what, done, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// All organisations' state and what carries over from night to night.
#[derive(Debug, Clone, Default)]
struct Engine {
    orgs: BTreeMap<String, OrgState>,
    cases: Cases,
    /// Extreme nights that wait to be learned: (date, organisation, user).
    postponed: BTreeSet<(Date, String, String)>,
    /// BLAKE3 chain over the partitions folded since the training end.
    chain: String,
}

/// Nights after which an extreme night that nobody confirmed is learned after all.
const POSTPONE_NIGHTS: i32 = 7;

/// One subject of a scored night, as kept for the nights after it. Numbers are IEEE bits: they must come back exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptSubject {
    org: String,
    subject: SubjectType,
    id: String,
    silent: bool,
    p: u64,
    fused: u64,
    families: [u64; 6],
    habits: [u64; HABITS],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptHeader {
    chain: String,
    subjects: usize,
    reported: Vec<(String, SubjectType, String, Family, u64)>,
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

/// Learns normal behaviour and calibrates on the last nights. Needs at least 4 days; says so in the notes when there is
/// less than it wants.
pub fn train(days: &dyn Days, until: Option<Date>, settings: &Settings, progress: Progress<'_>) -> Result<Trained> {
    let calendar = calendar(days, until)?;
    let (Some(&first), Some(&last)) = (calendar.keys().next(), calendar.keys().next_back()) else {
        return Err(Error::new(Kind::NoData, "no day to train on: the input is empty or every day lies after --until"));
    };
    const FEWEST: usize = 4;
    if calendar.len() < FEWEST {
        let message = format!(
            "expected at least {FEWEST} days to learn what is normal, found {} ({first} to {last}); {} days and more give \
             a useful baseline",
            calendar.len(),
            2 * settings.baseline.min_history_days
        );
        return Err(Error::new(Kind::NoData, message));
    }
    let warm_up = (settings.baseline.min_history_days as usize).min(calendar.len() / 2);
    let nights = (settings.calibration.nights as usize).min(calendar.len() - warm_up);
    let calibrate_from = calendar.len() - nights;
    let mut engine = Engine::default();
    let mut samples: Vec<Sample> = Vec::new();
    let mut sample_of: Vec<(Date, String, String)> = Vec::new();
    let mut histories: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut events, mut user_days) = (0, 0);
    let mut digest = blake3::Hasher::new();
    for (i, (&date, orgs)) in calendar.iter().enumerate() {
        progress("train", i as u64, calendar.len() as u64);
        let tables = load_all(days, date, orgs)?;
        for org in orgs {
            digest.update(days.digest(org, date)?.as_bytes());
        }
        let raw = engine.evaluate(&tables, settings);
        for (day, night) in tables.iter().zip(&raw) {
            user_days += day.user_day.len() as u64;
            events += events_of(day);
            if i < calibrate_from {
                continue;
            }
            for s in &night.subjects {
                let next = histories.len();
                let history = *histories.entry((day.org_id.clone(), s.id.clone())).or_insert(next);
                samples.push(Sample {
                    subject: s.subject,
                    silent: s.subject == SubjectType::UserDay && s.row.is_none(),
                    activity: s.activity,
                    scores: s.scores.clone(),
                    history,
                    // Interleaved, so that every block has young and old baselines alike.
                    fold: i,
                });
                sample_of.push((date, day.org_id.clone(), s.id.clone()));
            }
        }
        for (day, night) in tables.iter().zip(&raw) {
            let org = engine.orgs.entry(day.org_id.clone()).or_default();
            // Announced changes are not learned from; everything else is, winsorised.
            let learn: Vec<bool> = (0..day.user_day.len()).map(|row| !announced_row(day, row, settings)).collect();
            org.fold(day, &night.view, &settings.baseline, &night.habits, &learn);
        }
    }
    progress("calibrate", 0, 1);
    let (calibration, minus_ln_p) = Calibration::fit(&samples, histories.len(), settings);
    let mut hits = [0.0; 2];
    let mut scored = 0.0;
    for ((sample, (date, org, id)), v) in samples.iter().zip(&sample_of).zip(&minus_ln_p) {
        if sample.subject == SubjectType::UserDay {
            scored += 1.0;
            hits[0] += f64::from(u8::from(*v >= 100.0_f64.ln()));
            hits[1] += f64::from(u8::from(*v >= 1000.0_f64.ln()));
            if let Some(user) = engine.orgs.get_mut(org).and_then(|o| o.users.get_mut(id)) {
                user.remember_night(*date, *v);
            }
        }
    }
    let mut notes = Vec::new();
    if calendar.len() < 2 * settings.baseline.min_history_days as usize {
        notes.push(format!(
            "{} days of history; at least {} are advised, so p-values are coarse.",
            calendar.len(),
            2 * settings.baseline.min_history_days
        ));
    }
    let gaps = i64::from(last.0 - first.0) + 1 - calendar.len() as i64;
    if gaps > 0 {
        notes.push(format!("{gaps} days of the training window have no data; they teach nothing, not zeros."));
    }
    let metrics = BTreeMap::from([
        ("calibration_nights".to_owned(), nights as f64),
        ("calibration_user_days".to_owned(), scored),
        ("share_p_below_0.01".to_owned(), if scored > 0.0 { hits[0] / scored } else { 0.0 }),
        ("share_p_below_0.001".to_owned(), if scored > 0.0 { hits[1] / scored } else { 0.0 }),
    ]);
    let mut records = Vec::new();
    for (org, state) in &engine.orgs {
        records::write(org, state, &mut records);
    }
    Ok(Trained {
        window: (first, last),
        orgs: engine.orgs.keys().cloned().collect(),
        events,
        user_days,
        input_digest: digest.finalize().to_hex().to_string(),
        arrays: calibration.to_arrays(),
        records,
        metrics,
        notes,
    })
}

fn events_of(day: &DayTables) -> u64 {
    use crate::features::catalog::org_day::CALLS;
    (0..day.org_day.len()).map(|r| day.org_day.get(r, CALLS) as u64).sum()
}

/// Does an announced change cover this user on this day?
fn announced(day: &DayTables, settings: &Settings, id: &str, named: &str, apps: &[&str]) -> bool {
    settings.expected.changes.iter().any(|c| {
        c.from <= day.date
            && day.date <= c.until
            && c.who.iter().any(|w| w == "*" || w == id || w == named || apps.contains(&w.as_str()))
    })
}

fn announced_row(day: &DayTables, row: usize, settings: &Settings) -> bool {
    if settings.expected.changes.is_empty() {
        return false;
    }
    let apps: Vec<&str> = day
        .values_of(row as u32)
        .iter()
        .filter(|v| v.kind == crate::tables::ValueKind::Channel)
        .map(|v| day.text(v.value))
        .collect();
    let id = day.text(day.user_day.ids[row]);
    announced(day, settings, id, day.text(day.user_day.names[row]), &apps)
}

impl Engine {
    /// Raw scores of a date's organisations, each by its state up to the day before.
    fn evaluate(&self, tables: &[DayTables], settings: &Settings) -> Vec<RawNight> {
        let empty = OrgState::default();
        let states: Vec<&OrgState> = tables.iter().map(|d| self.orgs.get(&d.org_id).unwrap_or(&empty)).collect();
        let pairs: Vec<(&DayTables, &OrgState)> = tables.iter().zip(states.iter().copied()).collect();
        let shared = shared_new_ips(&pairs);
        pairs.iter().map(|(day, state)| evaluate(day, state, &shared, settings)).collect()
    }
}

/// A model ready to score: the state rolled forward to some date, and the calibration.
#[derive(Debug)]
pub struct Scorer<'a> {
    days: &'a dyn Days,
    settings: Settings,
    calibration: Calibration,
    engine: Engine,
    model_digest: String,
    /// The model's baseline, for a range that leaves the training window.
    rows: &'a [Record],
    /// First and last training day.
    window: (Date, Date),
    /// Dates with data and their organisations.
    calendar: BTreeMap<Date, Vec<String>>,
    /// Next date that has not been folded.
    next: Date,
}

impl std::fmt::Debug for dyn Days + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Days")
    }
}

/// A scored night.
#[derive(Debug)]
pub struct Night {
    /// The ranked subjects that are kept, without model name and version.
    pub anomalies: Vec<Anomaly>,
    /// One per organisation.
    pub summaries: Vec<NightSummary>,
    /// Final p-value of every subject (for calibration checks), in canonical order.
    pub p_values: Vec<(SubjectType, f64)>,
}

struct ScoredOrg {
    raw: RawNight,
    fused: Vec<Fused>,
}

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
        let calibration = Calibration::from_arrays(arrays).map_err(|name| {
            Error::new(
                Kind::Model,
                format!("the model's array {name} is missing or makes no sense; train a new version"),
            )
        })?;
        let calendar = calendar(days, None)?;
        let mut scorer = Self {
            days,
            settings,
            calibration,
            engine: Engine::default(),
            model_digest: model_digest.to_owned(),
            rows,
            window,
            calendar,
            next: window.0,
        };
        if from > window.1 {
            scorer.start_from_model()?;
            return Ok(scorer);
        }
        // The model's state has seen later days already: fold anew from the first training day.
        scorer.engine.chain = scorer.first_link("in-sample");
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
        self.engine = Engine { chain: self.first_link("model"), ..Engine::default() };
        for row in self.rows {
            records::read(row, &mut self.engine.orgs)?;
        }
        self.next = self.window.1.plus(1);
        Ok(())
    }

    /// Start of the chain of inputs: what of the settings decides which nights are reported or learned from.
    fn first_link(&self, start: &str) -> String {
        let deciding = (start, &self.settings.alerts, &self.settings.ranking, &self.settings.expected);
        let text = serde_json::to_string(&deciding).expect("plain data serialises");
        blake3::hash(text.as_bytes()).to_hex().to_string()
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
        if date > self.window.1 && self.next <= self.window.1 {
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
        let tables = load_all(self.days, date, &orgs)?;
        self.learn_postponed(date)?;
        let (night, subjects) = if let Some((header, subjects)) = kept {
            for (org, subject, id, family, p) in header.reported {
                let key = (org, subject, id, family);
                let p = f64::from_bits(p);
                let least = self.engine.cases.get(&key).map_or(p, |(_, old)| old.min(p));
                self.engine.cases.insert(key, (date, least));
            }
            (None, subjects)
        } else {
            let (night, header, subjects) = self.score(date, &tables, &chain, wanted);
            let mut text = serde_json::to_string(&header).expect("plain data serialises");
            for s in &subjects {
                text.push('\n');
                text.push_str(&serde_json::to_string(s).expect("plain data serialises"));
            }
            self.days.keep_night(&self.model_digest, date, &text)?;
            (night, subjects)
        };
        self.fold(date, &tables, &subjects);
        self.engine.chain = chain;
        self.next = date.plus(1);
        Ok(night)
    }

    fn kept(&self, date: Date, chain: &str) -> Result<Option<(KeptHeader, Vec<KeptSubject>)>> {
        let Some(text) = self.days.kept_night(&self.model_digest, date)? else { return Ok(None) };
        let mut lines = text.lines();
        let header: Option<KeptHeader> = lines.next().and_then(|l| serde_json::from_str(l).ok());
        // Anything unexpected means: score it again.
        let Some(header) = header.filter(|h| h.chain == chain) else { return Ok(None) };
        let subjects: Option<Vec<KeptSubject>> = lines.map(|l| serde_json::from_str(l).ok()).collect();
        Ok(subjects.filter(|s| s.len() == header.subjects).map(|s| (header, s)))
    }

    fn score(
        &mut self,
        date: Date,
        tables: &[DayTables],
        chain: &str,
        wanted: bool,
    ) -> (Option<Night>, KeptHeader, Vec<KeptSubject>) {
        let raw = self.engine.evaluate(tables, &self.settings);
        let empty = OrgState::default();
        let scored: Vec<ScoredOrg> = tables
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
                        let history =
                            state.users.get(&s.id).map_or((0.0, 0.0), crate::baseline::user::UserState::second_stage);
                        self.calibration.apply(class, &s.scores, history, &self.settings)
                    })
                    .collect();
                ScoredOrg { raw, fused }
            })
            .collect();
        let mut candidates = Vec::new();
        let mut origin = Vec::new();
        let mut kept = Vec::new();
        for (o, (day, s)) in tables.iter().zip(&scored).enumerate() {
            let known = self.engine.orgs.get(&day.org_id).map_or(0, |s| s.days);
            for (i, (subject, fused)) in s.raw.subjects.iter().zip(&s.fused).enumerate() {
                let user_row = subject.row.filter(|_| subject.subject == SubjectType::UserDay);
                kept.push(KeptSubject {
                    org: day.org_id.clone(),
                    subject: subject.subject,
                    id: subject.id.clone(),
                    silent: subject.subject == SubjectType::UserDay && subject.row.is_none(),
                    p: fused.p.to_bits(),
                    fused: fused.fused.to_bits(),
                    families: fused.families.map(f64::to_bits),
                    habits: user_row.map_or([0; HABITS], |row| s.raw.habits[row].map(f64::to_bits)),
                });
                if known < self.settings.baseline.min_history_days.min(7) {
                    // Too young an organisation: everything is new, and nothing can be told from that.
                    continue;
                }
                let expected = match user_row {
                    Some(row) => announced_row(day, row, &self.settings),
                    None => announced(day, &self.settings, &subject.id, "", &[]),
                };
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
        let header = KeptHeader { chain: chain.to_owned(), subjects: kept.len(), reported };
        let night = wanted.then(|| self.tell(tables, &scored, &candidates, &origin, &decisions));
        (night, header, kept)
    }

    fn tell(
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
                let facts = facts(day, state, &s.raw, subject, &shared, &self.settings);
                let mut anomaly = tell(&Told { day, state, subject, fused, facts });
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
                    cold_users: s.raw.cold_users,
                    notes,
                }
            })
            .collect();
        let p_values = origin.iter().map(|&(o, i)| (scored[o].raw.subjects[i].subject, scored[o].fused[i].p)).collect();
        Night { anomalies, summaries, p_values }
    }

    /// Learns extreme nights that nobody has confirmed within a week.
    fn learn_postponed(&mut self, date: Date) -> Result<()> {
        let due: Vec<(Date, String, String)> =
            self.engine.postponed.iter().filter(|p| p.0.plus(POSTPONE_NIGHTS) <= date).cloned().collect();
        for key in due {
            self.engine.postponed.remove(&key);
            let (then, org, user) = key;
            let day = self.days.load(&org, then)?;
            let Some(row) = day.user_day.ids.iter().position(|id| day.text(*id) == user) else { continue };
            let Some(state) = self.engine.orgs.get_mut(&org) else { continue };
            let view = state.night_view();
            let settings = self.settings.baseline.clone();
            // Its habits of that day were odd by definition and are left out by repeating the usual ones.
            let habits: [f64; HABITS] = state.users.get(&user).map_or([0.0; HABITS], |u| u.habits.map(|h| h.mean));
            state.fold_user(&day, row, &view, &settings, &habits);
        }
        Ok(())
    }

    fn fold(&mut self, date: Date, tables: &[DayTables], subjects: &[KeptSubject]) {
        let below = self.settings.baseline.no_learning_below;
        let mut by_user: BTreeMap<(&str, &str), &KeptSubject> = BTreeMap::new();
        for s in subjects.iter().filter(|s| s.subject == SubjectType::UserDay) {
            by_user.insert((&s.org, &s.id), s);
        }
        for day in tables {
            let state = self.engine.orgs.entry(day.org_id.clone()).or_default();
            let view = state.night_view();
            let young = state.days < self.settings.baseline.min_history_days;
            let mut habits = vec![[0.0; HABITS]; day.user_day.len()];
            let mut learn = vec![true; day.user_day.len()];
            for row in 0..day.user_day.len() {
                let id = day.text(day.user_day.ids[row]);
                let Some(s) = by_user.get(&(day.org_id.as_str(), id)) else { continue };
                habits[row] = s.habits.map(f64::from_bits);
                let extreme = f64::from_bits(s.p) < below && !young;
                if announced_row(day, row, &self.settings) {
                    learn[row] = false;
                } else if extreme {
                    learn[row] = false;
                    self.engine.postponed.insert((date, day.org_id.clone(), id.to_owned()));
                }
            }
            state.fold(day, &view, &self.settings.baseline, &habits, &learn);
            for s in subjects.iter().filter(|s| s.org == day.org_id && s.subject == SubjectType::UserDay) {
                if let Some(user) = state.users.get_mut(&s.id) {
                    user.remember_night(date, -f64::from_bits(s.fused).ln());
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
