//! What a run found and missed: incidents, recall, precision, false alarms, calibration.

use std::collections::BTreeMap;

use serde::Serialize;

use super::labels::{Difficulty, Label, LabelCategory};
use super::matching::{incidents, is_hit, touches_night};
use super::metrics;
use crate::anomaly::{Anomaly, RunInfo};
use crate::date::Date;

/// The first ranks of a night that a person would look at.
pub const TOP: u32 = 10;

/// One labelled incident and what the run made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incident {
    /// Name of the scenario.
    pub scenario: String,
    /// What it is.
    pub category: LabelCategory,
    /// How hard it is to see.
    pub difficulty: Difficulty,
    /// Organisation.
    pub org_id: String,
    /// Users labelled, at most 100; empty for the whole organisation.
    pub user_ids: Vec<String>,
    /// First date.
    pub from: Date,
    /// Last date.
    pub to: Date,
    /// Nights of it that were scored.
    pub nights_scored: u64,
    /// A hit was among the first [`TOP`] of some night.
    pub found_top10: bool,
    /// A hit was reported.
    pub found_reported: bool,
    /// Best rank of a hit.
    pub best_rank: Option<u32>,
    /// Best score of a hit.
    pub best_score: Option<f64>,
    /// Title of the hit with the best score, if one was in the top or reported.
    pub title: Option<String>,
    /// First night with a hit in the top.
    pub first_top10: Option<Date>,
    /// First night with a reported hit.
    pub first_alert: Option<Date>,
    /// Days from the first date to the first reported hit; 0 is the same night.
    pub days_to_first_alert: Option<i32>,
}

/// Recall over a set of incidents.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Recall {
    /// Incidents.
    pub incidents: u64,
    /// Of these, found within the first [`TOP`] of some night.
    pub found_top10: u64,
    /// Of these, reported.
    pub found_reported: u64,
    /// `found_top10 / incidents`; 0 without incidents.
    pub recall_top10: f64,
    /// `found_reported / incidents`; 0 without incidents.
    pub recall_reported: f64,
}

/// What the reported anomalies were.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Alerts {
    /// Reported anomalies.
    pub reported: u64,
    /// Of these, hits on an attack.
    pub attacks: u64,
    /// Of the rest, hits on a benign look-alike.
    pub look_alikes: u64,
    /// Of the rest, hits on nothing.
    pub false_alarms: u64,
    /// `look_alikes / reported`; 0 if nothing was reported.
    pub look_alike_share: f64,
    /// `attacks / reported`; 0 if nothing was reported.
    pub precision: f64,
    /// 95 % Wilson interval of the precision.
    pub precision_interval: (f64, f64),
}

/// The nights of an organisation that no label touches: what is reported there is noise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct QuietNights {
    /// Such nights.
    pub nights: u64,
    /// Of these, nights with nothing reported.
    pub silent: u64,
    /// Reported anomalies on them.
    pub reported: u64,
    /// Mean reported per night; 0 without nights.
    pub mean: f64,
    /// Median reported per night; 0 without nights.
    pub median: f64,
}

/// Observed against expected small p-values on quiet nights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationPoint {
    /// Threshold.
    pub alpha: f64,
    /// Subjects with a p-value at or below it.
    pub observed: u64,
    /// `alpha` × subjects.
    pub expected: f64,
    /// `observed / expected`; `None` if nothing is expected.
    pub ratio: Option<f64>,
    /// The run kept too few rows of some night to count all of them.
    pub lower_bound: bool,
}

/// Quality of the order of the kept rows, attacks against everything else that is no look-alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ranking {
    /// Mean over nights with a kept attack of precision within the first [`TOP`] ranks.
    pub precision_top10: Option<f64>,
    /// Average precision over the kept rows of all nights, by score.
    pub average_precision: Option<f64>,
    /// Area under the ROC curve over the same rows.
    pub roc_auc: Option<f64>,
}

/// Everything that `evaluate` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// (night, organisation) pairs scored.
    pub nights_scored: u64,
    /// Labelled incidents that no scored night touches; they count nowhere else.
    pub incidents_not_scored: u64,
    /// All attacks.
    pub overall: Recall,
    /// Attacks by difficulty.
    pub by_difficulty: BTreeMap<&'static str, Recall>,
    /// Attacks by category.
    pub by_category: BTreeMap<&'static str, Recall>,
    /// Attacks by scenario.
    pub by_scenario: BTreeMap<String, Recall>,
    /// What was reported.
    pub alerts: Alerts,
    /// Noise on nights without a label.
    pub quiet_nights: QuietNights,
    /// P-values on nights without a label.
    pub calibration: Vec<CalibrationPoint>,
    /// Quality of the order.
    pub ranking: Ranking,
    /// Rows whose q-value is above what Benjamini–Hochberg gives for their night; more than 0 is a fault of the run.
    pub q_values_too_high: u64,
    /// The attacks, in the order of organisation and time.
    pub attacks: Vec<Incident>,
    /// The look-alikes, in the same order.
    pub look_alikes: Vec<Incident>,
}

/// What an anomaly turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Attack,
    LookAlike,
    Nothing,
}

/// Measures a run against labels. A pure function; the order of rows and labels does not matter.
pub fn evaluate(run: &RunInfo, anomalies: &[Anomaly], labels: &[Label]) -> Evaluation {
    let mut rows: Vec<&Anomaly> = anomalies.iter().collect();
    rows.sort_by(|a, b| (a.date, a.rank, &a.org_id, &a.subject_id).cmp(&(b.date, b.rank, &b.org_id, &b.subject_id)));
    let mut labels: Vec<Label> = labels.to_vec();
    labels.sort_by(|a, b| {
        (&a.org_id, a.start, &a.scenario, &a.user_id, a.end).cmp(&(&b.org_id, b.start, &b.scenario, &b.user_id, b.end))
    });

    let truths: Vec<Truth> = rows.iter().map(|a| truth(a, &labels)).collect();
    let all: Vec<Incident> = incidents(&labels)
        .into_iter()
        .map(|group| incident(run, (&rows, &truths), &group.into_iter().map(|i| &labels[i]).collect::<Vec<_>>()))
        .collect();
    let (scored, not_scored): (Vec<_>, Vec<_>) = all.into_iter().partition(|i| i.nights_scored > 0);
    let (look_alikes, attacks): (Vec<_>, Vec<_>) =
        scored.into_iter().partition(|i| i.category == LabelCategory::Benign);

    let quiet: Vec<(Date, &str, u64)> = run
        .nights
        .iter()
        .filter(|night| !labels.iter().any(|label| touches_night(label, &night.org_id, night.date)))
        .map(|night| (night.date, night.org_id.as_str(), night.subjects))
        .collect();
    Evaluation {
        nights_scored: run.nights.len() as u64,
        incidents_not_scored: not_scored.len() as u64,
        overall: recall(&attacks),
        by_difficulty: recall_by(&attacks, |i| i.difficulty.name()),
        by_category: recall_by(&attacks, |i| i.category.name()),
        by_scenario: recall_by(&attacks, |i| i.scenario.clone()),
        alerts: alerts(&rows, &truths),
        quiet_nights: quiet_nights(&rows, &quiet),
        calibration: [0.05, 0.01, 0.001].map(|alpha| calibration(run, &rows, &quiet, alpha)).to_vec(),
        ranking: ranking(&rows, &truths),
        q_values_too_high: q_values_too_high(run, &rows),
        attacks,
        look_alikes,
    }
}

pub(super) fn truth(a: &Anomaly, labels: &[Label]) -> Truth {
    let mut truth = Truth::Nothing;
    for label in labels.iter().filter(|label| is_hit(a, label)) {
        match label.category {
            LabelCategory::Attack(_) => return Truth::Attack,
            LabelCategory::Benign => truth = Truth::LookAlike,
        }
    }
    truth
}

/// One incident; `labels` are its rows, the earliest first. What touches an attack is that attack's: a look-alike of the
/// same user on the same night is not what was reported.
fn incident(run: &RunInfo, (rows, truths): (&[&Anomaly], &[Truth]), labels: &[&Label]) -> Incident {
    let first = labels[0];
    let from = Date::from_ms(first.start);
    let to = Date::from_ms(labels.iter().map(|l| l.end).max().unwrap_or(first.end));
    let nights = run.nights.iter().filter(|n| labels.iter().any(|label| touches_night(label, &n.org_id, n.date)));
    let benign = matches!(first.category, LabelCategory::Benign);
    let hits: Vec<&Anomaly> = rows
        .iter()
        .zip(truths)
        .filter(|(a, truth)| !(benign && **truth == Truth::Attack) && labels.iter().any(|label| is_hit(a, label)))
        .map(|(a, _)| *a)
        .collect();
    let best = hits.iter().copied().reduce(|best, a| if a.score > best.score { a } else { best });
    let first_top10 = hits.iter().find(|a| a.rank <= TOP).map(|a| a.date);
    let first_alert = hits.iter().find(|a| a.reported).map(|a| a.date);
    let mut user_ids: Vec<String> = labels.iter().filter_map(|label| label.user_id.clone()).collect();
    user_ids.sort();
    user_ids.dedup();
    user_ids.truncate(100);
    Incident {
        scenario: first.scenario.clone(),
        category: first.category,
        difficulty: first.difficulty,
        org_id: first.org_id.clone(),
        user_ids,
        from,
        to,
        nights_scored: nights.count() as u64,
        found_top10: first_top10.is_some(),
        found_reported: first_alert.is_some(),
        best_rank: hits.iter().map(|a| a.rank).min(),
        best_score: best.map(|a| a.score),
        title: best.filter(|_| first_top10.is_some() || first_alert.is_some()).map(|a| a.title.clone()),
        first_top10,
        first_alert,
        days_to_first_alert: first_alert.map(|date| date.0 - from.0),
    }
}

pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn recall<'a>(incidents: impl IntoIterator<Item = &'a Incident>) -> Recall {
    let mut recall = Recall::default();
    for incident in incidents {
        recall.incidents += 1;
        recall.found_top10 += u64::from(incident.found_top10);
        recall.found_reported += u64::from(incident.found_reported);
    }
    recall.recall_top10 = share(recall.found_top10, recall.incidents);
    recall.recall_reported = share(recall.found_reported, recall.incidents);
    recall
}

fn recall_by<K: Ord>(incidents: &[Incident], key: impl Fn(&Incident) -> K) -> BTreeMap<K, Recall> {
    let mut groups: BTreeMap<K, Vec<&Incident>> = BTreeMap::new();
    for incident in incidents {
        groups.entry(key(incident)).or_default().push(incident);
    }
    groups.into_iter().map(|(key, group)| (key, recall(group))).collect()
}

fn alerts(rows: &[&Anomaly], truths: &[Truth]) -> Alerts {
    let count = |truth: Truth| rows.iter().zip(truths).filter(|(a, t)| a.reported && **t == truth).count() as u64;
    let (attacks, look_alikes, false_alarms) = (count(Truth::Attack), count(Truth::LookAlike), count(Truth::Nothing));
    let reported = attacks + look_alikes + false_alarms;
    Alerts {
        reported,
        attacks,
        look_alikes,
        false_alarms,
        look_alike_share: share(look_alikes, reported),
        precision: share(attacks, reported),
        precision_interval: metrics::wilson_interval(attacks, reported),
    }
}

fn quiet_nights(rows: &[&Anomaly], quiet: &[(Date, &str, u64)]) -> QuietNights {
    let mut counts: Vec<u64> = quiet
        .iter()
        .map(|(date, org, _)| rows.iter().filter(|a| a.reported && a.date == *date && a.org_id == *org).count() as u64)
        .collect();
    counts.sort_unstable();
    let nights = counts.len();
    let reported = counts.iter().sum();
    QuietNights {
        nights: nights as u64,
        silent: counts.iter().filter(|&&n| n == 0).count() as u64,
        reported,
        mean: share(reported, nights as u64),
        median: if nights == 0 { 0.0 } else { (counts[(nights - 1) / 2] + counts[nights / 2]) as f64 / 2.0 },
    }
}

fn calibration(run: &RunInfo, rows: &[&Anomaly], quiet: &[(Date, &str, u64)], alpha: f64) -> CalibrationPoint {
    let subjects: u64 = quiet.iter().map(|(_, _, subjects)| subjects).sum();
    let is_quiet = |a: &Anomaly| quiet.iter().any(|(date, org, _)| a.date == *date && a.org_id == *org);
    let observed = rows.iter().filter(|a| a.p_value <= alpha && is_quiet(a)).count() as u64;
    // A night keeps its best rows over all organisations: all at or below alpha are there if one above it is, or if
    // every subject is.
    let cut = |date: Date| {
        let scored: u64 = run.nights.iter().filter(|n| n.date == date).map(|n| n.subjects).sum();
        let kept = rows.iter().filter(|a| a.date == date);
        (kept.clone().count() as u64) < scored && kept.clone().all(|a| a.p_value <= alpha) && kept.count() > 0
    };
    CalibrationPoint {
        alpha,
        observed,
        expected: alpha * subjects as f64,
        ratio: metrics::observed_over_expected(rows.iter().filter(|a| is_quiet(a)).map(|a| a.p_value), subjects, alpha),
        lower_bound: quiet.iter().any(|(date, _, _)| cut(*date)),
    }
}

fn ranking(rows: &[&Anomaly], truths: &[Truth]) -> Ranking {
    let judged: Vec<(&Anomaly, bool)> = rows
        .iter()
        .zip(truths)
        .filter(|(_, truth)| **truth != Truth::LookAlike)
        .map(|(a, truth)| (*a, *truth == Truth::Attack))
        .collect();
    let (scores, positive): (Vec<f64>, Vec<bool>) = judged.iter().map(|(a, attack)| (a.score, *attack)).unzip();
    // Rows are in the order of date and rank.
    let nights = rows.chunk_by(|a, b| a.date == b.date);
    let mut start = 0;
    let precisions: Vec<f64> = nights
        .filter_map(|night| {
            let hits: Vec<bool> = truths[start..start + night.len()].iter().map(|t| *t == Truth::Attack).collect();
            start += night.len();
            metrics::precision_at_k(&hits, TOP as usize).filter(|_| hits.contains(&true))
        })
        .collect();
    Ranking {
        precision_top10: (!precisions.is_empty()).then(|| precisions.iter().sum::<f64>() / precisions.len() as f64),
        average_precision: metrics::average_precision(&scores, &positive),
        roc_auc: metrics::roc_auc(&scores, &positive),
    }
}

fn q_values_too_high(run: &RunInfo, rows: &[&Anomaly]) -> u64 {
    let mut wrong = 0;
    for night in &run.nights {
        let kept: Vec<&&Anomaly> = rows.iter().filter(|a| a.date == night.date && a.org_id == night.org_id).collect();
        // A run that was read from its rows alone does not know how many were scored.
        if night.subjects < kept.len() as u64 {
            continue;
        }
        let p_values: Vec<f64> = kept.iter().map(|a| a.p_value).collect();
        let bounds = metrics::q_values(&p_values, night.subjects);
        wrong += kept.iter().zip(bounds).filter(|(a, bound)| a.q_value > bound * (1.0 + 1e-9)).count() as u64;
    }
    wrong
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
