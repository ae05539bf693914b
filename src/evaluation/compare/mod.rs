//! Two models on the same nights, or the same table: what the second one would report, and what it would no longer.

pub mod page;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Label;
use super::metrics::spearman;
use super::report::{Evaluation, Recall, TOP, evaluate};
use crate::anomaly::{Anomaly, RunInfo, SubjectType};
use crate::date::Date;

/// A value of each of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Both<T> {
    /// Of the model that stands.
    pub from: T,
    /// Of the model that may take its place.
    pub to: T,
}

/// Where a model put a subject.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// 1 is the oddest of the night.
    pub rank: u32,
    /// 0–100.
    pub score: f64,
    /// Probability on a normal night.
    pub p_value: f64,
}

/// An anomaly that one model reports and the other does not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// The night.
    pub date: Date,
    /// Its key, the same in the runs of both models.
    pub anomaly_key: String,
    /// Organisation.
    pub org_id: String,
    /// Type.
    pub subject_type: SubjectType,
    /// Id within its type.
    pub subject_id: String,
    /// Headline, of the model that reports it.
    pub title: String,
    /// Where the models put it; none where it is not among the rows kept.
    pub place: Both<Option<Place>>,
}

/// How alike the order of two models is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Agreement {
    /// Subjects, or rows of a table, that both kept.
    pub in_both: u64,
    /// Those that one alone kept.
    pub in_one: Both<u64>,
    /// Spearman's rank correlation over what both kept, the mean over nights; none where no night has two.
    pub rank_correlation: Option<f64>,
    /// How many of the first [`TOP`] are the same, as a share; the mean over nights. None without rows.
    pub same_top10: Option<f64>,
}

/// What the labels say of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnLabels {
    /// Recall over the attacks.
    pub recall: Both<Recall>,
    /// Share of reported anomalies that are attacks.
    pub precision: Both<f64>,
    /// Reported anomalies on benign look-alikes.
    pub look_alikes: Both<u64>,
    /// Attacks, by scenario and first date, that are reported by the second alone.
    pub gained: Vec<String>,
    /// Those that are reported by the first alone.
    pub lost: Vec<String>,
}

/// What the models report of one night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NightOfBoth {
    /// The night.
    pub date: Date,
    /// Anomalies reported.
    pub alerts: Both<u64>,
    /// Reported by both.
    pub in_both: u64,
}

/// How two models differ on the same nights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Nights scored by both.
    pub nights: Vec<Date>,
    /// Anomalies reported.
    pub alerts: Both<u64>,
    /// Reported by both.
    pub alerts_in_both: u64,
    /// Nights on which nothing was reported.
    pub calm_nights: Both<u64>,
    /// Each night.
    pub by_night: Vec<NightOfBoth>,
    /// Reported by the second alone, the oddest first.
    pub gained: Vec<Changed>,
    /// Reported by the first alone, the oddest first.
    pub lost: Vec<Changed>,
    /// The order of the rows.
    pub agreement: Agreement,
    /// Only with labels.
    pub labels: Option<OnLabels>,
}

/// A run: what it says of itself, and its rows.
pub type Run<'a> = (&'a RunInfo, &'a [Anomaly]);

/// Compares the runs of two models over the same nights. A pure function; the order of rows does not matter.
pub fn compare(from: Run<'_>, to: Run<'_>, labels: Option<&[Label]>) -> Difference {
    let dates = |run: Run<'_>| run.0.nights.iter().map(|n| n.date).collect::<BTreeSet<Date>>();
    let nights: Vec<Date> = dates(from).intersection(&dates(to)).copied().collect();
    let (old, new) = (keyed(from.1), keyed(to.1));
    let reported = |rows: &Keyed<'_>| rows.values().filter(|a| a.reported).count() as u64;
    let is_reported = |rows: &Keyed<'_>, key: &str| rows.get(key).is_some_and(|a| a.reported);
    let by_night: Vec<NightOfBoth> = nights
        .iter()
        .map(|&date| {
            let of_night = |rows: &Keyed<'_>| rows.values().filter(|a| a.reported && a.date == date).count() as u64;
            let in_both = |(key, a): &(&&str, &&Anomaly)| a.reported && a.date == date && is_reported(&new, key);
            NightOfBoth {
                date,
                alerts: Both { from: of_night(&old), to: of_night(&new) },
                in_both: old.iter().filter(in_both).count() as u64,
            }
        })
        .collect();
    let calm = |of: fn(&Both<u64>) -> u64| by_night.iter().filter(|n| of(&n.alerts) == 0).count() as u64;
    Difference {
        alerts: Both { from: reported(&old), to: reported(&new) },
        alerts_in_both: by_night.iter().map(|n| n.in_both).sum(),
        calm_nights: Both { from: calm(|a| a.from), to: calm(|a| a.to) },
        by_night,
        gained: only(&new, |key| !is_reported(&old, key), (&old, &new)),
        lost: only(&old, |key| !is_reported(&new, key), (&old, &new)),
        agreement: agreement(&nights, from.1, to.1),
        labels: labels.map(|labels| on_labels(from, to, labels)),
        nights,
    }
}

/// Rows by their key.
type Keyed<'a> = BTreeMap<&'a str, &'a Anomaly>;

fn keyed(rows: &[Anomaly]) -> Keyed<'_> {
    rows.iter().map(|a| (a.anomaly_key.as_str(), a)).collect()
}

/// What `rows` reports where `missed` holds of its key.
fn only(rows: &Keyed<'_>, missed: impl Fn(&str) -> bool, (old, new): (&Keyed<'_>, &Keyed<'_>)) -> Vec<Changed> {
    let place =
        |rows: &Keyed<'_>, key: &str| rows.get(key).map(|a| Place { rank: a.rank, score: a.score, p_value: a.p_value });
    let mut changed: Vec<(f64, Changed)> = rows
        .iter()
        .filter(|(key, a)| a.reported && missed(key))
        .map(|(key, a)| {
            let changed = Changed {
                date: a.date,
                anomaly_key: a.anomaly_key.clone(),
                org_id: a.org_id.clone(),
                subject_type: a.subject_type,
                subject_id: a.subject_id.clone(),
                title: a.title.clone(),
                place: Both { from: place(old, key), to: place(new, key) },
            };
            (a.p_value, changed)
        })
        .collect();
    changed.sort_by(|a, b| {
        a.0.total_cmp(&b.0).then_with(|| (a.1.date, &a.1.anomaly_key).cmp(&(b.1.date, &b.1.anomaly_key)))
    });
    changed.into_iter().map(|(_, changed)| changed).collect()
}

fn agreement(nights: &[Date], from: &[Anomaly], to: &[Anomaly]) -> Agreement {
    let mut out = Agreement::default();
    let (mut correlations, mut tops) = (Vec::new(), Vec::new());
    for night in nights {
        let ranks = |rows: &[Anomaly]| -> BTreeMap<String, u32> {
            rows.iter().filter(|a| a.date == *night).map(|a| (a.anomaly_key.clone(), a.rank)).collect()
        };
        let (old, new) = (ranks(from), ranks(to));
        let both: Vec<(f64, f64)> =
            old.iter().filter_map(|(key, rank)| Some((f64::from(*rank), f64::from(*new.get(key)?)))).collect();
        out.in_both += both.len() as u64;
        out.in_one.from += (old.len() - both.len()) as u64;
        out.in_one.to += (new.len() - both.len()) as u64;
        let (x, y): (Vec<f64>, Vec<f64>) = both.into_iter().unzip();
        correlations.extend(spearman(&x, &y));
        let top = |ranks: &BTreeMap<String, u32>| -> BTreeSet<String> {
            ranks.iter().filter(|(_, rank)| **rank <= TOP).map(|(key, _)| key.clone()).collect()
        };
        tops.extend(overlap(&top(&old), &top(&new)));
    }
    out.rank_correlation = mean(&correlations);
    out.same_top10 = mean(&tops);
    out
}

/// Share of the larger set that is in both; none if there is nothing.
fn overlap<T: Ord>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> Option<f64> {
    let most = a.len().max(b.len());
    (most > 0).then(|| a.intersection(b).count() as f64 / most as f64)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// How alike two models order the rows of one table, by p-value: the smallest first, equal ones in the order of the table.
pub fn agreement_of_rows(from: &[f64], to: &[f64]) -> Agreement {
    let top = |p: &[f64]| -> BTreeSet<usize> { oddest(p).into_iter().take(TOP as usize).collect() };
    Agreement {
        in_both: from.len() as u64,
        in_one: Both::default(),
        rank_correlation: spearman(from, to),
        same_top10: overlap(&top(from), &top(to)),
    }
}

/// Rows by their p-value, the smallest first; equal ones in the order of the table.
pub fn oddest(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    order
}

fn on_labels(from: Run<'_>, to: Run<'_>, labels: &[Label]) -> OnLabels {
    let (old, new) = (evaluate(from.0, from.1, labels), evaluate(to.0, to.1, labels));
    let found = |e: &Evaluation| -> BTreeSet<String> {
        let reported = e.attacks.iter().filter(|i| i.found_reported);
        reported.map(|i| format!("{} of {}", i.scenario, i.from)).collect()
    };
    let (a, b) = (found(&old), found(&new));
    OnLabels {
        recall: Both { from: old.overall, to: new.overall },
        precision: Both { from: old.alerts.precision, to: new.alerts.precision },
        look_alikes: Both { from: old.alerts.look_alikes, to: new.alerts.look_alikes },
        gained: b.difference(&a).cloned().collect(),
        lost: a.difference(&b).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels;
    use super::*;
    use crate::report::sample;

    fn row(id: usize, rank: u32, reported: bool) -> Anomaly {
        let mut a = sample::anomaly(rank);
        a.subject_id = format!("u{id}");
        a.anomaly_key = format!("{id:064}");
        a.rank = rank;
        a.reported = reported;
        a.p_value = 1e-6 * f64::from(rank);
        a
    }

    #[test]
    fn what_one_model_alone_reports_is_gained_or_lost() {
        let run = sample::run();
        let old = [row(1, 1, true), row(2, 2, true), row(3, 3, false), row(4, 4, false)];
        let new = [row(3, 1, true), row(1, 2, true), row(2, 3, false), row(5, 4, true)];
        let d = compare((&run, &old), (&run, &new), None);
        assert_eq!((d.alerts, d.alerts_in_both), (Both { from: 2, to: 3 }, 1));
        let ids = |changed: &[Changed]| changed.iter().map(|c| c.subject_id.clone()).collect::<Vec<_>>();
        assert_eq!((ids(&d.gained), ids(&d.lost)), (vec!["u3".to_owned(), "u5".to_owned()], vec!["u2".to_owned()]));
        assert_eq!(d.gained[0].place.from.map(|p| p.rank), Some(3));
        assert_eq!((d.gained[1].place.from, d.lost[0].place.to.map(|p| p.rank)), (None, Some(3)));
        assert_eq!((d.agreement.in_both, d.agreement.in_one), (3, Both { from: 1, to: 1 }));
        // scipy 1.17.1: spearmanr([1, 2, 3], [2, 3, 1]).statistic
        assert!((d.agreement.rank_correlation.unwrap() - -0.5).abs() < 1e-12);
        assert_eq!(d.agreement.same_top10, Some(0.75));
        assert_eq!(d.calm_nights, Both { from: 0, to: 0 });
        let night = NightOfBoth { date: sample::date(), alerts: Both { from: 2, to: 3 }, in_both: 1 };
        assert_eq!(d.by_night, [night]);
    }

    #[test]
    fn the_page_says_what_changes_and_lets_nothing_hostile_through() {
        let run = sample::run();
        let (old, mut new) = ([row(1, 1, true), row(2, 2, true)], [row(1, 1, true), row(3, 2, true)]);
        new[1].title = format!("\u{1b}[2J{}", sample::HOSTILE);
        let d = compare((&run, &old), (&run, &new), None);
        let versions = Both { from: (1, "aaaa"), to: (2, "bbbb") };
        let page = page::page(&page::About { name: "nightly", versions, in_sample: false }, &d);
        for said in
            ["Version 2 adds 1 alert and drops 1", "not kept becomes ", "Only version 1 reports", "&lt;script&gt;"]
        {
            assert!(page.contains(said), "{said} in {page}");
        }
        for forbidden in
            ["<script", "\u{202e}", "\u{1b}", "\0", " style=", "http://", "https://", " onload", "In sample"]
        {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
        let same = compare((&run, &old), (&run, &old), None);
        let page = page::page(&page::About { name: "nightly", versions, in_sample: true }, &same);
        assert!(page.contains("Version 2 reports the same") && page.contains("In sample"));
    }

    #[test]
    fn a_model_does_not_differ_from_itself() {
        let run = sample::run();
        let rows = [row(1, 1, true), row(2, 2, false), row(3, 3, false)];
        let mut other = rows.clone();
        other.reverse();
        let d = compare((&run, &rows), (&run, &other), None);
        assert!(d.gained.is_empty() && d.lost.is_empty());
        assert_eq!((d.agreement.rank_correlation, d.agreement.same_top10), (Some(1.0), Some(1.0)));
        let nothing = compare((&run, &[]), (&run, &[]), None);
        assert_eq!((nothing.agreement.rank_correlation, nothing.calm_nights.from), (None, nothing.nights.len() as u64));
    }

    #[test]
    fn labels_say_which_attack_was_gained() {
        let labels = labels::read(
            b"org_id,user_id,start,end,scenario,category,difficulty\n\
              00D5g000001AAAA,0055g00000AAAAA,2026-04-21,2026-04-21,S1,identity,easy\n",
            "l",
        )
        .unwrap();
        let run = sample::run();
        let mut quiet = sample::anomaly(1);
        quiet.reported = false;
        let loud = sample::anomaly(1);
        let d = compare((&run, &[quiet]), (&run, &[loud]), Some(&labels)).labels.unwrap();
        assert_eq!((d.recall.from.found_reported, d.recall.to.found_reported), (0, 1));
        assert_eq!((d.gained, d.lost), (vec!["S1 of 2026-04-21".to_owned()], vec![]));
    }

    #[test]
    fn rows_of_a_table_agree_by_their_p_values() {
        let p = [0.5, 0.001, 0.2, 0.9];
        assert_eq!(agreement_of_rows(&p, &p).rank_correlation, Some(1.0));
        let half = p.map(|p| 1.0 - p);
        assert_eq!(agreement_of_rows(&p, &half).rank_correlation, Some(-1.0));
        assert_eq!(oddest(&[0.5, 0.1, 0.1]), [1, 2, 0]);
        assert_eq!(agreement_of_rows(&[], &[]), Agreement::default());
    }
}
