use super::*;
use crate::features::catalog::Family;
use crate::pipeline::backtest::{Plan, replay};

fn plan(from: i32, to: i32, retrain_every: Option<u32>) -> Plan {
    Plan { from: Date(FIRST + from), to: Date(FIRST + to), retrain_every, seed: 0 }
}

/// The rows of a night without what names the model.
fn rows(anomalies: &[crate::anomaly::Anomaly], date: i32) -> Vec<crate::anomaly::Anomaly> {
    let of_night = anomalies.iter().filter(|a| a.date == Date(FIRST + date)).cloned();
    let unnamed = of_night.map(|mut a| {
        a.model_name.clear();
        a.model_digest.clear();
        a.model_version = 0;
        a
    });
    unnamed.collect()
}

#[test]
fn each_night_is_scored_by_the_days_before_it_alone() {
    let settings = Settings::default();
    let days = memory(Odd::Country, 36, 39);
    let all = replay(&days, plan(35, 38, Some(2)), &settings, &mut |_, _, _| {}).unwrap();
    let windows: Vec<_> = all.trainings.iter().map(|t| (t.until, t.scores_until, t.nights)).collect();
    let at = |d: i32| Date(FIRST + d);
    assert_eq!(windows, [(at(34), at(36), 2), (at(36), at(38), 2)]);
    assert_eq!(all.anomalies.iter().map(|a| a.model_version).max(), Some(2));
    assert!(days.kept.lock().unwrap().is_empty(), "a replay leaves nothing in the store");
    // As a model that was trained the day before scores it.
    let trained = train(&days, Some(at(36)), &settings, Seed(0), &mut |_, _, _| {}).unwrap();
    let nights = score(&days, &trained, settings.clone(), &[37, 38]);
    assert_eq!(rows(&all.anomalies, 37), rows(&nights[0].anomalies, 37));
    assert_eq!(rows(&all.anomalies, 38), rows(&nights[1].anomalies, 38));
    // What came later is not known to it.
    let shorter = memory(Odd::Country, 36, 37);
    let cut = replay(&shorter, plan(35, 36, Some(2)), &settings, &mut |_, _, _| {}).unwrap();
    for date in [35, 36] {
        assert_eq!(rows(&all.anomalies, date), rows(&cut.anomalies, date));
    }
}

#[test]
fn without_its_family_an_attack_is_lost_and_without_another_it_is_not() {
    let days = memory(Odd::Imitation, 36, 38);
    let all = replay(&days, plan(35, 36, None), &Settings::default(), &mut |_, _, _| {}).unwrap();
    let reported = |rows: &[crate::anomaly::Anomaly]| {
        rows.iter().any(|a| a.reported && a.subject_id == "user03" && a.date == Date(FIRST + 36))
    };
    assert!(reported(&all.anomalies));
    assert!(!reported(&all.without[&Family::Novelty]));
    assert!(reported(&all.without[&Family::Time]));
    assert_eq!(all.scored.len() as u64, all.run.nights.iter().map(|n| n.subjects).sum::<u64>());
}

#[test]
fn dates_without_data_are_listed_and_a_range_of_them_is_refused() {
    let mut days = memory(Odd::Nothing, 0, 38);
    days.days.remove(&(Date(FIRST + 36), "org".to_owned()));
    let settings = Settings::default();
    let replayed = replay(&days, plan(35, 39, None), &settings, &mut |_, _, _| {}).unwrap();
    let missing: Vec<i32> = replayed.run.missing_dates.iter().map(|d| d.0 - FIRST).collect();
    assert_eq!(missing, [36, 38, 39]);
    for (from, to) in [(36, 36), (60, 70), (2, 10)] {
        let error = replay(&days, plan(from, to, None), &settings, &mut |_, _, _| {}).unwrap_err();
        assert_eq!(error.kind(), Kind::NoData, "{from} to {to}: {error}");
    }
}
