//! What a replay of history says: alerts per night, what was found and how soon, whether p-values held, and what each family
//! of detectors is worth.

pub mod page;
pub mod print;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::labels::{Label, LabelCategory};
use super::matching::{is_hit, same_id, touches_night};
use super::metrics;
use super::report::{Alerts, CalibrationPoint, Evaluation, Incident, Recall, Truth, evaluate, share, truth};
use crate::anomaly::{Anomaly, RunInfo, SubjectType};
use crate::date::Date;
use crate::features::catalog::Family;

/// Layout version of `backtest.json`.
pub const FORMAT_VERSION: u32 = 1;

/// Small p-values that are counted.
const ALPHAS: [f64; 3] = [0.05, 0.01, 0.001];

/// Lengths of the list at which precision and recall are told.
const LENGTHS: [u32; 4] = [1, 3, 5, 10];

/// One training of the replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Training {
    /// First training day.
    pub from: Date,
    /// Last training day: the day before the first night that this model scores.
    pub until: Date,
    /// Last date that this model may score.
    pub scores_until: Date,
    /// Nights scored by it, over all organisations.
    pub nights: u64,
    /// User-days learned.
    pub user_days: u64,
    /// BLAKE3 of what was learned.
    pub digest: String,
    /// What training noted.
    pub notes: Vec<String>,
}

/// One subject of one night.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The night.
    pub date: Date,
    /// Organisation.
    pub org_id: String,
    /// What it is.
    pub subject: SubjectType,
    /// Its id.
    pub id: String,
    /// Its p-value.
    pub p: f64,
}

/// A history as it would have been scored night by night.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// First date asked for.
    pub from: Date,
    /// Last date asked for.
    pub to: Date,
    /// Days between trainings; `None` for one training.
    pub retrain_every: Option<u32>,
    /// Seed of the trainings.
    pub seed: u64,
    /// The trainings, in order.
    pub trainings: Vec<Training>,
    /// The nights. The model's version is the number of the training, the model's digest that of the last one.
    pub run: RunInfo,
    /// The ranked rows of all nights.
    pub anomalies: Vec<Anomaly>,
    /// Every subject of every night.
    pub scored: Vec<Scored>,
    /// The first ranks of all nights without each family.
    pub without: BTreeMap<Family, Vec<Anomaly>>,
}

/// One organisation's night.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NightRow {
    /// The night.
    pub date: Date,
    /// Organisation.
    pub org_id: String,
    /// Events of the day.
    pub events: u64,
    /// Subjects scored.
    pub subjects: u64,
    /// Subjects reported.
    pub reported: u64,
    /// What the reported ones were, if there are labels.
    pub truth: Option<ReportedTruth>,
    /// Gates and remarks of the night.
    pub notes: Vec<String>,
}

/// What the reported subjects of a night were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ReportedTruth {
    /// Hits on an attack.
    pub attacks: u64,
    /// Of the rest, hits on a look-alike.
    pub look_alikes: u64,
    /// Of the rest, hits on nothing.
    pub false_alarms: u64,
}

/// Alerts per night, over all organisations.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct PerNight {
    /// Dates scored.
    pub nights: u64,
    /// Of these, dates with nothing reported.
    pub silent: u64,
    /// All alerts.
    pub reported: u64,
    /// Mean a date; 0 without dates.
    pub mean: f64,
    /// Median; 0 without dates.
    pub median: f64,
    /// Most on one date.
    pub most: u64,
}

/// Quality of the first ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtLength {
    /// Ranks looked at.
    pub k: u32,
    /// Mean share of hits on attacks among the first `k` ranks, over the dates on which an attack went on.
    pub precision: Option<f64>,
    /// Share of the attacks with a hit among the first `k` of some night.
    pub recall: Option<f64>,
}

/// How soon attacks were reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delay {
    /// Attacks that were never reported.
    pub never: u64,
    /// Attacks by the days from their first date, or that of the replay, to the first alert; 0 is the same night.
    pub days: BTreeMap<i32, u64>,
    /// Median days of the reported ones.
    pub median: Option<f64>,
}

/// The list with one family left out, beside the list with all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// The family left out; `null` is the list with all families.
    pub without: Option<Family>,
    /// Alerts per night.
    pub per_night: PerNight,
    /// What was found of the labelled attacks.
    pub recall: Option<Recall>,
    /// What was reported.
    pub alerts: Option<Alerts>,
    /// Attacks that only the list with all families reported, as `scenario date`.
    pub lost: Vec<String>,
    /// Attacks that only this list reported.
    pub gained: Vec<String>,
}

/// Everything that `backtest` says. No time, path, host or thread count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// Layout version.
    pub format_version: u32,
    /// Version of the engine.
    pub engine_version: String,
    /// First date asked for.
    pub from: Date,
    /// Last date asked for.
    pub to: Date,
    /// Days between trainings.
    pub retrain_every: Option<u32>,
    /// Seed.
    pub seed: u64,
    /// BLAKE3 over everything read.
    pub input_digest: String,
    /// The trainings.
    pub trainings: Vec<Training>,
    /// Nights by date and organisation.
    pub nights: Vec<NightRow>,
    /// Dates asked for without data.
    pub missing_dates: Vec<Date>,
    /// Alerts per night.
    pub per_night: PerNight,
    /// Observed against expected small p-values of all subjects that no label touches: of users, those that are not
    /// labelled that night; of apps, addresses and the organisation, those of nights without a label.
    pub calibration: Vec<CalibrationPoint>,
    /// What each family is worth; the first row leaves nothing out.
    pub ablation: Vec<Ablation>,
    /// Precision and recall at some lengths of the list, if there are labels.
    pub at_length: Vec<AtLength>,
    /// How soon attacks were reported, if there are labels.
    pub delay: Option<Delay>,
    /// Everything that `evaluate` says, if there are labels.
    pub evaluation: Option<Evaluation>,
}

impl Backtest {
    /// Was any night labelled as an attack that was scored?
    pub fn has_attacks(&self) -> bool {
        self.evaluation.as_ref().is_some_and(|e| e.overall.incidents > 0)
    }
}

/// Measures a replay. A pure function.
pub fn measure(replayed: &Replayed, labels: Option<&[Label]>) -> Backtest {
    let run = &replayed.run;
    let evaluation = labels.map(|labels| evaluate(run, &replayed.anomalies, labels));
    let per_night = per_night(run, &replayed.anomalies);
    let all = Ablation {
        without: None,
        per_night,
        recall: evaluation.as_ref().map(|e| e.overall),
        alerts: evaluation.as_ref().map(|e| e.alerts),
        lost: Vec::new(),
        gained: Vec::new(),
    };
    let mut ablation = vec![all];
    for (family, rows) in &replayed.without {
        ablation.push(ablated(run, *family, rows, labels, evaluation.as_ref()));
    }
    Backtest {
        format_version: FORMAT_VERSION,
        engine_version: run.engine_version.clone(),
        from: replayed.from,
        to: replayed.to,
        retrain_every: replayed.retrain_every,
        seed: replayed.seed,
        input_digest: run.input_digest.clone(),
        trainings: replayed.trainings.clone(),
        nights: nights(run, &replayed.anomalies, labels),
        missing_dates: run.missing_dates.clone(),
        per_night,
        calibration: calibration(&replayed.scored, labels.unwrap_or_default()),
        ablation,
        at_length: match (labels, &evaluation) {
            (Some(labels), Some(e)) => at_lengths(run, &replayed.anomalies, labels, e),
            _ => Vec::new(),
        },
        delay: evaluation.as_ref().map(|e| delay(e, replayed.from)),
        evaluation,
    }
}

fn nights(run: &RunInfo, anomalies: &[Anomaly], labels: Option<&[Label]>) -> Vec<NightRow> {
    let row = |n: &crate::anomaly::NightSummary| {
        let truth = labels.map(|labels| {
            let mut out = ReportedTruth::default();
            let of_night = |a: &&Anomaly| a.reported && a.date == n.date && a.org_id == n.org_id;
            for a in anomalies.iter().filter(of_night) {
                match truth(a, labels) {
                    Truth::Attack => out.attacks += 1,
                    Truth::LookAlike => out.look_alikes += 1,
                    Truth::Nothing => out.false_alarms += 1,
                }
            }
            out
        });
        NightRow {
            date: n.date,
            org_id: n.org_id.clone(),
            events: n.events,
            subjects: n.subjects,
            reported: n.reported,
            truth,
            notes: n.gates.iter().map(|g| format!("{}: {}", g.gate.name(), g.message)).chain(n.notes.clone()).collect(),
        }
    };
    run.nights.iter().map(row).collect()
}

/// Dates that were scored, ascending.
fn dates(run: &RunInfo) -> Vec<Date> {
    let mut dates: Vec<Date> = run.nights.iter().map(|n| n.date).collect();
    dates.sort_unstable();
    dates.dedup();
    dates
}

fn per_night(run: &RunInfo, rows: &[Anomaly]) -> PerNight {
    let dates = dates(run);
    let mut counts: Vec<u64> =
        dates.iter().map(|date| rows.iter().filter(|a| a.reported && a.date == *date).count() as u64).collect();
    counts.sort_unstable();
    let n = counts.len();
    let reported = counts.iter().sum();
    PerNight {
        nights: n as u64,
        silent: counts.iter().filter(|c| **c == 0).count() as u64,
        reported,
        mean: share(reported, n as u64),
        median: if n == 0 { 0.0 } else { (counts[(n - 1) / 2] + counts[n / 2]) as f64 / 2.0 },
        most: counts.last().copied().unwrap_or(0),
    }
}

/// Might the subject's p-value come from what a label names?
fn is_labelled(s: &Scored, labels: &[Label]) -> bool {
    let names = |l: &Label| l.user_id.as_deref().is_none_or(|user| same_id(user, &s.id));
    labels.iter().any(|l| touches_night(l, &s.org_id, s.date) && (s.subject != SubjectType::UserDay || names(l)))
}

fn calibration(scored: &[Scored], labels: &[Label]) -> Vec<CalibrationPoint> {
    let calm: Vec<f64> = scored.iter().filter(|s| !is_labelled(s, labels)).map(|s| s.p).collect();
    let point = |alpha: f64| CalibrationPoint {
        alpha,
        observed: calm.iter().filter(|p| **p <= alpha).count() as u64,
        expected: alpha * calm.len() as f64,
        ratio: metrics::observed_over_expected(calm.iter().copied(), calm.len() as u64, alpha),
        lower_bound: false,
    };
    ALPHAS.map(point).to_vec()
}

fn ablated(
    run: &RunInfo,
    family: Family,
    rows: &[Anomaly],
    labels: Option<&[Label]>,
    all: Option<&Evaluation>,
) -> Ablation {
    let here = labels.map(|labels| evaluate(run, rows, labels));
    let reported = |e: &Evaluation| -> Vec<(String, bool)> {
        e.attacks.iter().map(|i| (format!("{} {}", i.scenario, i.from), i.found_reported)).collect()
    };
    let (mut lost, mut gained) = (Vec::new(), Vec::new());
    if let (Some(all), Some(here)) = (all, &here) {
        // The same labels and nights: the attacks stand in the same order.
        for ((name, then), (_, now)) in reported(all).into_iter().zip(reported(here)) {
            match (then, now) {
                (true, false) => lost.push(name),
                (false, true) => gained.push(name),
                _ => {}
            }
        }
    }
    Ablation {
        without: Some(family),
        per_night: per_night(run, rows),
        recall: here.as_ref().map(|e| e.overall),
        alerts: here.as_ref().map(|e| e.alerts),
        lost,
        gained,
    }
}

fn at_lengths(run: &RunInfo, anomalies: &[Anomaly], labels: &[Label], e: &Evaluation) -> Vec<AtLength> {
    let attacks: Vec<&Label> = labels.iter().filter(|l| l.category != LabelCategory::Benign).collect();
    let mut under_attack: Vec<Date> = Vec::new();
    for night in &run.nights {
        if attacks.iter().any(|l| touches_night(l, &night.org_id, night.date)) && !under_attack.contains(&night.date) {
            under_attack.push(night.date);
        }
    }
    let hits: Vec<Vec<bool>> = under_attack
        .iter()
        .map(|date| {
            let mut rows: Vec<&Anomaly> = anomalies.iter().filter(|a| a.date == *date).collect();
            rows.sort_by_key(|a| a.rank);
            rows.iter().map(|a| attacks.iter().any(|l| is_hit(a, l))).collect()
        })
        .collect();
    let at = |k: u32| {
        let precisions: Vec<f64> = hits.iter().filter_map(|h| metrics::precision_at_k(h, k as usize)).collect();
        let found = e.attacks.iter().filter(|i| i.best_rank.is_some_and(|rank| rank <= k)).count() as u64;
        let known = !e.attacks.is_empty();
        AtLength {
            k,
            precision: (!precisions.is_empty()).then(|| precisions.iter().sum::<f64>() / precisions.len() as f64),
            recall: known.then(|| share(found, e.attacks.len() as u64)),
        }
    };
    LENGTHS.map(at).to_vec()
}

/// Days count from an attack's first date, or from the first of the replay if it was under way by then.
fn delay(e: &Evaluation, from: Date) -> Delay {
    let wait = |i: &Incident| i.first_alert.map(|date| date.0 - i.from.max(from).0);
    let mut waits: Vec<i32> = e.attacks.iter().filter_map(wait).collect();
    waits.sort_unstable();
    let n = waits.len();
    let mut days: BTreeMap<i32, u64> = BTreeMap::new();
    for wait in &waits {
        *days.entry(*wait).or_default() += 1;
    }
    Delay {
        never: (e.attacks.len() - n) as u64,
        days,
        median: (n > 0).then(|| f64::from(waits[(n - 1) / 2] + waits[n / 2]) / 2.0),
    }
}
