//! Training: fold the days in order, and calibrate on the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::drift::Collected;
use super::order;
use super::{Days, Engine, Learn, Progress, Said, calendar, events_of, expected, golden, load_with_steps};
use crate::anomaly::{Status, SubjectType};
use crate::baseline::records;
use crate::config::Settings;
use crate::config::settings::{ForestBackend, Fusion};
use crate::date::Date;
use crate::detectors::night::RawSubject;
use crate::detectors::sequence::corpus::Corpus;
use crate::detectors::sequence::night::Order;
use crate::error::{Error, Kind, Result};
use crate::explain::story::top_family;
use crate::features::catalog::Family;
use crate::feedback::Feedback;
use crate::fusion::ablation::Ablated;
use crate::fusion::night::{Calibration, Past, Sample};
use crate::fusion::rank::{Candidate, Cases, rank};
use crate::fusion::weights::Factors;
use crate::models::{Golden, Record};
use crate::seed::Seed;

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
    /// Digest of the network tables behind the last day's partitions.
    pub enrichment: String,
    /// Named arrays of the calibration.
    pub arrays: Vec<(String, Vec<f64>)>,
    /// Rows of the baseline.
    pub records: Vec<Record>,
    /// Figures for the card: calibration points, nights, share of p ≤ 0.01 and so on.
    pub metrics: BTreeMap<String, f64>,
    /// Remarks for the card.
    pub notes: Vec<String>,
    /// Rows with their p-values, for readers to reproduce.
    pub golden: Vec<Golden>,
}

/// Learns normal behaviour and calibrates on the last nights. Needs at least 4 days; says so in the notes when there is
/// less than it wants.
pub fn train(
    days: &dyn Days,
    until: Option<Date>,
    settings: &Settings,
    seed: Seed,
    progress: Progress<'_>,
) -> Result<Trained> {
    train_and_ablate(days, until, settings, seed, None, progress)
}

/// As [`train`]; fits also what the verdict would be without each family, if there is a place for that.
pub(super) fn train_and_ablate(
    days: &dyn Days,
    until: Option<Date>,
    settings: &Settings,
    seed: Seed,
    ablated: Option<&mut Vec<Ablated>>,
    progress: Progress<'_>,
) -> Result<Trained> {
    if cfg!(not(feature = "neural")) && settings.geometry.night_members.iter().any(|m| m == "autoencoder") {
        let message = "geometry.night-members names autoencoder, but this build has no neural detectors (feature `neural`): \
                       take it out of the list, or train with a build that has them";
        return Err(Error::new(Kind::Config, message));
    }
    let (slots, most) = (crate::detectors::slots().len(), crate::detectors::geometry::backend::MAX_WIDTH);
    let by_crate = settings.geometry.backend == ForestBackend::ExtendedIsolationForest;
    if by_crate && settings.fusion.geometry > 0.0 && slots > most {
        let message = format!(
            "geometry.backend = \"extended-isolation-forest\" takes at most {most} columns, a night has {slots}: use \
             \"quietwatch\", or fusion.geometry = 0"
        );
        return Err(Error::new(Kind::Config, message));
    }
    let calendar = calendar(days, until)?;
    let (Some(&first_day), Some(&last)) = (calendar.keys().next(), calendar.keys().next_back()) else {
        return Err(Error::new(Kind::NoData, "no day to train on: the input is empty or every day lies after --until"));
    };
    const FEWEST: usize = 4;
    if calendar.len() < FEWEST {
        let message = format!(
            "expected at least {FEWEST} days to learn what is normal, found {} ({first_day} to {last}); {} days and more give \
             a useful baseline",
            calendar.len(),
            2 * settings.baseline.min_history_days
        );
        return Err(Error::new(Kind::NoData, message));
    }
    let warm_up = (settings.baseline.min_history_days as usize).min(calendar.len() / 2);
    let nights = (settings.calibration.nights as usize).min(calendar.len() - warm_up);
    let calibrate_from = calendar.len() - nights;
    // Days before the calibration nights only teach.
    let feedback = Arc::new(days.feedback()?);
    let mut taught = Engine { feedback: feedback.clone(), ..Engine::default() };
    let (mut events, mut user_days) = (0, 0);
    let mut digest = blake3::Hasher::new();
    let mut sessions: BTreeMap<String, Corpus> = BTreeMap::new();
    for (i, (&date, orgs)) in calendar.iter().enumerate() {
        for org in orgs {
            digest.update(days.digest(org, date)?.as_bytes());
        }
        feedback.on(date).for_each(|entry| expected::chain(&mut digest, entry));
        if i < calibrate_from {
            progress("train", i as u64, calendar.len() as u64);
            let tables = load_with_steps(days, date, orgs)?;
            let raw = taught.evaluate(&tables, settings);
            for (day, night) in tables.iter().zip(&raw) {
                let said = Said::of(&feedback, day);
                let incident = |row| said.is_incident(day, row, &night.campaign);
                sessions.entry(day.org_id.clone()).or_default().add(day, incident);
                user_days += day.user_day.len() as u64;
                events += events_of(day);
                taught.fold(day, &night.habits, settings, |_| Learn::Now);
            }
        }
    }
    // The order of sessions that the calibration nights are judged by comes from the days before them, as it will on a real night.
    taught.orders = orders(&sessions, settings);
    // Calibration nights are scored twice. The first time finds the nights too odd to be learned unreviewed; the second
    // time they wait, as they would in a real week, so that their repeats look as odd as they will.
    let held_out: Vec<(Date, &[String])> =
        calendar.iter().skip(calibrate_from).map(|(d, orgs)| (*d, orgs.as_slice())).collect();
    let first = HeldOut::collect(days, taught.clone(), &held_out, settings, &BTreeSet::new(), None)?;
    progress("train", (calibrate_from + nights / 2) as u64, calendar.len() as u64);
    // Combinations, the costliest part, are left to the second time.
    let parts = Settings { fusion: Fusion { geometry: 0.0, ..settings.fusion.clone() }, ..settings.clone() };
    let factors = Factors(feedback.factors(last));
    let odd = first.odd(&Calibration::fit(&first.samples, first.histories, &parts, factors, seed).0, settings);
    let mut second = HeldOut::collect(days, taught, &held_out, settings, &odd, Some(&mut sessions))?;
    events += second.events;
    user_days += second.user_days;
    progress("calibrate", calendar.len() as u64, calendar.len() as u64);
    let (calibration, minus_ln_p, families) =
        Calibration::fit_with_families(&second.samples, second.histories, settings, factors, seed);
    let mut hits = [0.0; 2];
    let mut scored = 0.0;
    let weekly = calibration.looks_at_weeks();
    for ((sample, (date, org, id)), v) in second.samples.iter().zip(&second.of).zip(&minus_ln_p) {
        if sample.subject == SubjectType::UserDay {
            scored += 1.0;
            hits[0] += f64::from(u8::from(*v >= 100.0_f64.ln()));
            hits[1] += f64::from(u8::from(*v >= 1000.0_f64.ln()));
            if let Some(user) = second.engine.orgs.get_mut(org).and_then(|o| o.users.get_mut(id)) {
                user.remember_night(*date, *v);
                if weekly && !sample.silent {
                    user.remember_scores(*date, sample.scores.clone());
                }
            }
        }
    }
    if let Some(ablated) = ablated {
        *ablated = second.ablated(&calibration, &families, settings);
    }
    // Of users who have not come lately nothing is left that a later week could reach.
    second.engine.orgs.values_mut().flat_map(|o| o.users.values_mut()).for_each(|u| u.forget_scores(last));
    // The training window counts as reviewed: its odd nights are part of what is normal from here on.
    second.engine.learn_postponed(days, None, settings)?;
    let (mut engine, features) = (second.engine, second.features);
    // Where the calibration nights had no order to be judged by, later nights have none either.
    let known: BTreeSet<String> = engine.orders.keys().cloned().collect();
    sessions.retain(|org, _| known.contains(org));
    engine.orders = orders(&sessions, settings);
    let mut notes = Vec::new();
    if calendar.len() < 2 * settings.baseline.min_history_days as usize {
        notes.push(format!(
            "{} days of history; at least {} are advised, so p-values are coarse.",
            calendar.len(),
            2 * settings.baseline.min_history_days
        ));
    }
    if let Some(until) = until.filter(|u| *u > last) {
        notes.push(format!("Training was asked for up to {until}; the data ends on {last}."));
    }
    notes.extend(weighed(&feedback, last));
    let gaps = i64::from(last.0 - first_day.0) + 1 - calendar.len() as i64;
    if gaps > 0 {
        notes.push(format!("Days of the training window without data (they teach nothing, not zeros): {gaps}."));
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
    let mut arrays = calibration.to_arrays();
    arrays.extend(features.finish().to_arrays());
    for (i, (org, order)) in engine.orders.iter().enumerate() {
        order::write(i, org, order, &mut arrays, &mut records);
    }
    // From the last night: of each class the oddest subject and an ordinary one.
    let mut of_class: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, s) in second.samples.iter().enumerate().filter(|(_, s)| s.date == last) {
        of_class.entry(calibration.class(s.subject, s.silent, s.activity)).or_default().push(i);
    }
    for members in of_class.values_mut() {
        members.sort_by(|a, b| minus_ln_p[*b].total_cmp(&minus_ln_p[*a]).then(a.cmp(b)));
    }
    let picked = of_class.values().flat_map(|m| [Some(m[0]), (m.len() > 1).then(|| m[m.len() / 2])]).flatten();
    let picked = picked.map(|i| (&second.samples[i], second.of[i].1.as_str(), second.of[i].2.as_str()));
    let golden = golden::of_nights(&calibration, &engine.orgs, settings, last, picked);
    Ok(Trained {
        window: (first_day, last),
        orgs: engine.orgs.keys().cloned().collect(),
        events,
        user_days,
        enrichment: calendar
            .last_key_value()
            .map_or(Ok(String::new()), |(date, orgs)| days.enrichment(&orgs[0], *date))?,
        input_digest: digest.finalize().to_hex().to_string(),
        arrays,
        records,
        metrics,
        notes,
        golden,
    })
}

/// What is usual in the sessions of each organisation; nothing if the family has no weight.
fn orders(sessions: &BTreeMap<String, Corpus>, settings: &Settings) -> BTreeMap<String, Arc<Order>> {
    if settings.fusion.sequence <= 0.0 {
        return BTreeMap::new();
    }
    let fit =
        |(org, corpus): (&String, &Corpus)| Some((org.clone(), Arc::new(Order::fit(corpus, &settings.sequence)?)));
    sessions.iter().filter_map(fit).collect()
}

/// What verdicts did to the weights of the families, for the card.
fn weighed(feedback: &Feedback, last: Date) -> Option<String> {
    let counts = feedback.counts(last);
    let of_family = |(family, factor): (Family, f64)| {
        let (confirmed, harmless) = counts[family as usize];
        (confirmed + harmless > 0.0)
            .then(|| format!("{family} × {factor:.2} ({confirmed} confirmed, {harmless} harmless)"))
    };
    let said: Vec<String> = Family::ALL.into_iter().zip(feedback.factors(last)).filter_map(of_family).collect();
    (!said.is_empty()).then(|| format!("Family weights follow the verdicts on past findings: {}.", said.join(", ")))
}

/// The calibration nights, scored in order.
struct HeldOut {
    engine: Engine,
    samples: Vec<Sample>,
    /// Date, organisation and subject of each sample.
    of: Vec<(Date, String, String)>,
    /// Number of subjects with a history.
    histories: usize,
    events: u64,
    user_days: u64,
    /// Where the features lay.
    features: Collected,
}

impl HeldOut {
    /// Scores and learns the nights; user-days that are `odd` wait a week. Their sessions are added to `sessions`.
    fn collect(
        days: &dyn Days,
        mut engine: Engine,
        nights: &[(Date, &[String])],
        settings: &Settings,
        odd: &BTreeSet<(Date, String, String)>,
        mut sessions: Option<&mut BTreeMap<String, Corpus>>,
    ) -> Result<Self> {
        let (mut samples, mut of) = (Vec::new(), Vec::new());
        let mut histories: BTreeMap<(String, String), usize> = BTreeMap::new();
        let (mut events, mut user_days) = (0, 0);
        let mut features = Collected::default();
        for (i, (date, orgs)) in nights.iter().enumerate() {
            let tables = load_with_steps(days, *date, orgs)?;
            engine.learn_postponed(days, Some(*date), settings)?;
            let raw = engine.evaluate(&tables, settings);
            for (day, night) in tables.iter().zip(raw) {
                user_days += day.user_day.len() as u64;
                events += events_of(day);
                features.add(day);
                let waits = |id: &str| odd.contains(&(*date, day.org_id.clone(), id.to_owned()));
                let when = |id: &str| if waits(id) { Learn::Later } else { Learn::Now };
                engine.fold(day, &night.habits, settings, when);
                // A confirmed incident is no example of a normal night.
                let feedback = engine.feedback.clone();
                let said = Said::of(&feedback, day);
                if let Some(sessions) = &mut sessions {
                    let incident = |row| said.is_incident(day, row, &night.campaign);
                    sessions.entry(day.org_id.clone()).or_default().add(day, incident);
                }
                let incident = |s: &RawSubject| match (s.subject, s.row) {
                    (SubjectType::UserDay, Some(row)) => said.is_incident(day, row, &night.campaign),
                    _ => said.incidents.contains(&(s.subject, s.id.clone())),
                };
                let incidents: Vec<bool> = night.subjects.iter().map(incident).collect();
                for (s, _) in night.subjects.into_iter().zip(incidents).filter(|(_, incident)| !incident) {
                    let next = histories.len();
                    let history = *histories.entry((day.org_id.clone(), s.id.clone())).or_insert(next);
                    of.push((*date, day.org_id.clone(), s.id));
                    samples.push(Sample {
                        subject: s.subject,
                        silent: s.subject == SubjectType::UserDay && s.row.is_none(),
                        activity: s.activity,
                        scores: s.scores,
                        history,
                        date: *date,
                        // Interleaved, so that every block has young and old baselines alike.
                        fold: i,
                    });
                }
            }
        }
        Ok(Self { engine, samples, of, histories: histories.len(), events, user_days, features })
    }

    /// What the verdict would be without each family.
    fn ablated(&self, calibration: &Calibration, families: &[[f64; 6]], settings: &Settings) -> Vec<Ablated> {
        let fit = |family: Family| {
            let fitted = (self.samples.as_slice(), families, self.histories);
            let (mut ablated, minus_ln_p) = Ablated::fit(Some(family), calibration, fitted, settings);
            for ((sample, (_, org, id)), v) in self.samples.iter().zip(&self.of).zip(&minus_ln_p) {
                let known = self.engine.orgs.get(org).is_some_and(|o| o.users.contains_key(id));
                if sample.subject == SubjectType::UserDay && known {
                    ablated.remember_night(org, id, *v);
                }
            }
            ablated
        };
        Ablated::families(calibration, settings).into_par_iter().map(fit).collect()
    }

    /// The user-days that would not have been learned at once: extreme ones, and those that would have been reported.
    fn odd(&self, calibration: &Calibration, settings: &Settings) -> BTreeSet<(Date, String, String)> {
        let mut out = BTreeSet::new();
        let mut cases = Cases::new();
        let mut history = vec![(0.0, 0.0); self.histories];
        let nights: Vec<usize> = (0..self.of.len()).collect();
        for night in nights.chunk_by(|a, b| self.of[*a].0 == self.of[*b].0) {
            let candidates: Vec<Candidate> = night
                .iter()
                .map(|&i| {
                    let (s, (_, org, id)) = (&self.samples[i], &self.of[i]);
                    let class = calibration.class(s.subject, s.silent, s.activity);
                    // Its calibration knows no combinations, so nothing looks at weeks.
                    let past = Past { nights: history[s.history], ..Past::default() };
                    let fused = calibration.apply(class, &s.scores, past, settings);
                    if s.subject == SubjectType::UserDay {
                        let (sum, n) = history[s.history];
                        history[s.history] = (sum + (-fused.fused.ln()).min(6.0), n + 1.0);
                    }
                    Candidate {
                        org: org.clone(),
                        subject: s.subject,
                        id: id.clone(),
                        p: fused.p,
                        statistic: fused.statistic,
                        family: top_family(&fused.families),
                        expected: false,
                    }
                })
                .collect();
            let date = self.of[night[0]].0;
            for d in rank(date, &candidates, &mut cases, settings) {
                let c = &candidates[d.candidate];
                let ongoing = d.status == Status::Ongoing;
                let odd = d.reported || ongoing || c.p < settings.baseline.no_learning_below;
                if odd && c.subject == SubjectType::UserDay {
                    out.insert((date, c.org.clone(), c.id.clone()));
                }
            }
        }
        out
    }
}
