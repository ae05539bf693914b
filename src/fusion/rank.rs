//! From p-values to the night's list: order, false discovery rate, alert budget, and what is new.

use std::collections::BTreeMap;

use super::combine::q_values;
use crate::anomaly::{Status, SubjectType};
use crate::config::Settings;
use crate::date::Date;
use crate::features::catalog::Family;

/// A subject as the ranking sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Organisation.
    pub org: String,
    /// Type.
    pub subject: SubjectType,
    /// Id.
    pub id: String,
    /// Final p-value.
    pub p: f64,
    /// Statistic behind it.
    pub statistic: f64,
    /// Strongest family.
    pub family: Family,
    /// Announced: ranked, not reported.
    pub expected: bool,
}

/// What the ranking decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Index of the candidate.
    pub candidate: usize,
    /// 1 is the oddest.
    pub rank: u32,
    /// Counts as an alert.
    pub reported: bool,
    /// Would count as one if it were not announced.
    pub announced: bool,
    /// Would count as one if the night's budget were larger.
    pub over_budget: bool,
    /// Benjamini–Hochberg q-value within the organisation's night.
    pub q: f64,
    /// New or ongoing.
    pub status: Status,
}

/// Nights for which a case stays open.
pub const CASE_NIGHTS: i32 = 7;

/// How much less likely a repeat has to be to count as an alert again.
pub const WORSE: f64 = 10.0;

/// A repeat at most this likely keeps its case open, though it might not be reported on its own.
pub const STILL_ODD: f64 = 0.05;

/// The last report of each open case: date and p-value.
pub type Cases = BTreeMap<(String, SubjectType, String, Family), (Date, f64)>;

/// Ranks a night. Reported are those that pass Benjamini–Hochberg at `alerts.q` over the organisation's m subjects, have
/// p ≤ 0.5/m (half a false alert a night), fit the budget, were not announced and are no mere repeat of an open case.
pub fn rank(date: Date, candidates: &[Candidate], cases: &mut Cases, settings: &Settings) -> Vec<Decision> {
    let mut of_org: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, c) in candidates.iter().enumerate() {
        of_org.entry(&c.org).or_default().push(i);
    }
    let mut q = vec![1.0; candidates.len()];
    let mut m = vec![1.0; candidates.len()];
    for members in of_org.values() {
        let p: Vec<f64> = members.iter().map(|&i| candidates[i].p).collect();
        for (&i, value) in members.iter().zip(q_values(&p)) {
            q[i] = value;
            m[i] = members.len() as f64;
        }
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        let (x, y) = (&candidates[a], &candidates[b]);
        x.p.total_cmp(&y.p)
            .then_with(|| y.statistic.total_cmp(&x.statistic))
            .then_with(|| (&x.org, x.subject, &x.id).cmp(&(&y.org, y.subject, &y.id)))
    });
    cases.retain(|_, (last, _)| date.0 - last.0 <= CASE_NIGHTS);
    let mut alerts = 0;
    order
        .into_iter()
        .enumerate()
        .map(|(place, i)| {
            let c = &candidates[i];
            let significant = q[i] <= settings.alerts.q && c.p <= 0.5 / m[i];
            let key = (c.org.clone(), c.subject, c.id.clone(), c.family);
            let open = cases.get(&key).copied().filter(|(last, _)| *last < date);
            let repeat = open.is_some_and(|(_, p)| c.p > p / WORSE);
            let news = significant && !repeat;
            let reported = news && !c.expected && alerts < settings.alerts.per_night;
            let (announced, over_budget) = (news && c.expected, news && !c.expected && !reported);
            if reported {
                alerts += 1;
            }
            let still = repeat && c.p <= STILL_ODD;
            if reported || still {
                let least = open.map_or(c.p, |(_, p)| p.min(c.p));
                cases.insert(key, (date, least));
            }
            let status = if open.is_some() && c.p <= STILL_ODD { Status::Ongoing } else { Status::New };
            Decision { candidate: i, rank: place as u32 + 1, reported, announced, over_budget, q: q[i], status }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: usize, p: f64) -> Candidate {
        Candidate {
            org: "o".into(),
            subject: SubjectType::UserDay,
            id: format!("u{id:03}"),
            p,
            statistic: -p.ln(),
            family: Family::Novelty,
            expected: false,
        }
    }

    fn calm(n: usize) -> Vec<Candidate> {
        (0..n).map(|i| candidate(i, (i as f64 + 0.5) / n as f64)).collect()
    }

    #[test]
    fn a_calm_night_reports_nothing() {
        let decisions = rank(Date(0), &calm(200), &mut Cases::new(), &Settings::default());
        assert!(decisions.iter().all(|d| !d.reported));
    }

    #[test]
    fn one_attack_is_reported_once_and_ongoing_after_that() {
        let mut cases = Cases::new();
        let mut night = calm(200);
        night.push(candidate(999, 1e-6));
        let settings = Settings::default();
        let first = rank(Date(0), &night, &mut cases, &settings);
        assert!(first[0].reported && first[0].status == Status::New);
        let second = rank(Date(1), &night, &mut cases, &settings);
        assert!(!second[0].reported && second[0].status == Status::Ongoing && second[0].rank == 1);
        night[200].p = 1e-8;
        assert!(rank(Date(2), &night, &mut cases, &settings)[0].reported, "ten times less likely is news");
        assert!(rank(Date(20), &night, &mut cases, &settings)[0].status == Status::New, "the case was closed");
    }

    #[test]
    fn the_budget_holds_over_all_organisations() {
        let mut night = calm(500);
        for i in 0..20 {
            let mut c = candidate(600 + i, 1e-9);
            c.org = format!("o{i}");
            night.push(c);
        }
        let decisions = rank(Date(0), &night, &mut Cases::new(), &Settings::default());
        assert_eq!(decisions.iter().filter(|d| d.reported).count(), 10);
    }

    #[test]
    fn announced_changes_are_ranked_but_not_reported() {
        let mut night = calm(100);
        night[0].p = 1e-9;
        night[0].expected = true;
        let decisions = rank(Date(0), &night, &mut Cases::new(), &Settings::default());
        assert!(decisions[0].candidate == 0 && !decisions[0].reported);
    }
}
