use super::super::labels;
use super::*;
use crate::anomaly::NightSummary;
use crate::report::sample;

const ORG: &str = "00D5g000001AAAA";

fn labels(rows: &str) -> Vec<Label> {
    labels::read(format!("org_id,user_id,start,end,scenario,category,difficulty\n{rows}").as_bytes(), "l").unwrap()
}

fn day(n: i32) -> Date {
    sample::date().plus(n)
}

/// A row of user `user` on the n-th day, with p such that the row is as odd as its score.
fn row(n: i32, rank: u32, reported: bool, user: &str, score: f64) -> Anomaly {
    let date = day(n);
    Anomaly {
        date,
        rank,
        reported,
        subject_id: user.into(),
        user_ids: vec![user.into()],
        user_id: Some(user.into()),
        score,
        p_value: 10f64.powf(-score / 20.0),
        q_value: 0.0,
        window_start: date.start_ms() + 3_600_000,
        window_end: date.start_ms() + 7_200_000,
        title: format!("{user} on day {n}"),
        ..sample::anomaly(rank)
    }
}

fn run(nights: std::ops::Range<i32>, subjects: u64) -> RunInfo {
    let nights = nights.map(|n| NightSummary { date: day(n), subjects, ..sample::summary() });
    RunInfo { nights: nights.collect(), ..sample::run() }
}

#[test]
fn an_incident_is_found_by_its_best_night() {
    let labels = labels(&format!("{ORG},mallory,2026-04-21,2026-04-24,S5,behavioral,medium\n"));
    let rows = [
        row(0, 40, false, "mallory", 31.0),
        row(1, 4, false, "mallory", 55.0),
        row(2, 2, true, "mallory", 80.0),
        row(3, 1, true, "mallory", 79.0),
    ];
    let e = evaluate(&run(0..6, 100), &rows, &labels);
    let found = &e.attacks[0];
    assert_eq!((found.best_rank, found.best_score), (Some(1), Some(80.0)));
    assert_eq!((found.first_top10, found.first_alert), (Some(day(1)), Some(day(2))));
    assert_eq!(found.days_to_first_alert, Some(2));
    assert_eq!(found.title.as_deref(), Some("mallory on day 2"));
    assert_eq!(found.nights_scored, 4);
    assert_eq!(
        e.overall,
        Recall { incidents: 1, found_top10: 1, found_reported: 1, recall_top10: 1.0, recall_reported: 1.0 }
    );
    assert_eq!(e.alerts.attacks, 2, "both nights are true alerts of the one incident");
}

#[test]
fn what_is_missed_counts_and_what_was_never_scored_does_not() {
    let labels = labels(&format!(
        "{ORG},a,2026-04-21,2026-04-21,S1,identity,easy\n\
         {ORG},b,2026-04-22,2026-04-22,S2,volume,hard\n\
         {ORG},c,2026-03-01,2026-03-01,S3,volume,hard\n\
         00Dother,a,2026-04-21,2026-04-21,S4,volume,hard\n"
    ));
    let e = evaluate(&run(0..2, 100), &[row(0, 1, true, "a", 90.0), row(1, 11, false, "b", 20.0)], &labels);
    assert_eq!(e.incidents_not_scored, 2);
    assert_eq!((e.overall.incidents, e.overall.found_top10), (2, 1));
    assert_eq!(e.by_difficulty["easy"].recall_top10, 1.0);
    assert_eq!(e.by_difficulty["hard"].recall_top10, 0.0);
    assert_eq!(e.by_category["volume"].incidents, 1);
    assert_eq!(e.by_scenario["S1"].found_reported, 1);
    let missed = &e.attacks[1];
    assert_eq!((missed.best_rank, missed.found_top10, missed.title.as_deref()), (Some(11), false, None));
}

#[test]
fn alerts_are_attacks_look_alikes_or_false_alarms() {
    let labels = labels(&format!(
        "{ORG},a,2026-04-21,2026-04-21,S1,identity,easy\n\
         {ORG},a,2026-04-21,2026-04-21,B1,benign,easy\n\
         {ORG},b,2026-04-21,2026-04-21,B1,benign,easy\n"
    ));
    let rows = [
        row(0, 1, true, "a", 90.0),
        row(0, 2, true, "b", 85.0),
        row(0, 3, true, "c", 80.0),
        row(0, 4, true, "d", 79.0),
        row(0, 5, false, "b", 50.0),
    ];
    let e = evaluate(&run(0..1, 100), &rows, &labels);
    let a = e.alerts;
    assert_eq!(
        (a.reported, a.attacks, a.look_alikes, a.false_alarms),
        (4, 1, 1, 2),
        "an attack outweighs a look-alike"
    );
    assert_eq!((a.look_alike_share, a.precision), (0.25, 0.25));
    // statsmodels 0.15.0: proportion_confint(1, 4, 0.05, "wilson")
    assert!((a.precision_interval.0 - 0.045_587_260_809_700_6).abs() < 1e-12, "{:?}", a.precision_interval);
    assert_eq!(e.look_alikes.len(), 1, "a and b of one scenario are one incident");
    assert_eq!(e.overall.incidents, 1, "look-alikes are not in recall");
}

#[test]
fn quiet_nights_measure_noise() {
    let labels = labels(&format!("{ORG},a,2026-04-22,2026-04-22,S1,identity,easy\n"));
    let rows = [
        row(0, 1, true, "x", 90.0),
        row(0, 2, true, "y", 85.0),
        row(1, 1, true, "z", 85.0),
        row(3, 1, true, "z", 85.0),
    ];
    let q = evaluate(&run(0..5, 100), &rows, &labels).quiet_nights;
    assert_eq!((q.nights, q.silent, q.reported), (4, 2, 3), "the night with a label is not quiet");
    assert_eq!((q.mean, q.median), (0.75, 0.5));
    assert_eq!(evaluate(&run(0..0, 1), &[], &[]).quiet_nights, QuietNights::default());
}

#[test]
fn calibration_counts_small_p_values_of_quiet_nights() {
    // p = 10^(-score/20): 0.0316, 0.01, 0.001 on one night of 100 subjects, 1.0 on top.
    let rows = [
        row(0, 1, false, "a", 60.0),
        row(0, 2, false, "b", 40.0),
        row(0, 3, false, "c", 30.0),
        row(0, 4, false, "d", 0.0),
    ];
    let e = evaluate(&run(0..2, 100), &rows, &[]);
    let counts: Vec<_> = e.calibration.iter().map(|c| (c.alpha, c.observed, c.expected, c.lower_bound)).collect();
    assert_eq!(counts, [(0.05, 3, 10.0, false), (0.01, 2, 2.0, false), (0.001, 1, 0.2, false)]);
    assert_eq!(e.calibration[1].ratio, Some(1.0));
    let cut = evaluate(&run(0..1, 100), &rows[..3], &[]);
    assert!(cut.calibration[0].lower_bound, "rows beyond the third may lie below 0.05 as well");
    assert!(!cut.calibration[1].lower_bound);
}

#[test]
fn ranking_leaves_look_alikes_out() {
    let labels = labels(&format!(
        "{ORG},a,2026-04-21,2026-04-21,S1,identity,easy\n{ORG},b,2026-04-21,2026-04-21,B1,benign,easy\n"
    ));
    let rows = [
        row(0, 1, true, "b", 99.0),
        row(0, 2, true, "a", 90.0),
        row(0, 3, false, "c", 10.0),
        row(1, 1, false, "d", 95.0),
    ];
    let ranking = evaluate(&run(0..2, 10), &rows, &labels).ranking;
    assert_eq!(ranking.precision_top10, Some(1.0 / 3.0));
    assert_eq!(ranking.average_precision, Some(0.5));
    assert_eq!(ranking.roc_auc, Some(0.5));
}

#[test]
fn a_wrong_q_value_is_noticed() {
    let mut rows = [row(0, 1, true, "a", 80.0), row(0, 2, true, "b", 60.0)];
    rows[0].q_value = 1e-4 * 100.0;
    rows[1].q_value = 1e-3 * 100.0 / 2.0;
    assert_eq!(evaluate(&run(0..1, 100), &rows, &[]).q_values_too_high, 0);
    rows[1].q_value = 0.2;
    assert_eq!(evaluate(&run(0..1, 100), &rows, &[]).q_values_too_high, 1);
}

#[test]
fn the_order_of_rows_and_labels_does_not_matter() {
    let labels = labels(&format!(
        "{ORG},a,2026-04-21,2026-04-22,S1,identity,easy\n{ORG},b,2026-04-22,2026-04-22,S1,identity,easy\n{ORG},c,2026-04-21,2026-04-21,B2,benign,hard\n"
    ));
    let rows = [row(0, 1, true, "a", 90.0), row(1, 1, true, "b", 85.0), row(0, 2, true, "c", 70.0)];
    let forward = evaluate(&run(0..3, 50), &rows, &labels);
    let (mut rows, mut labels) = (rows.to_vec(), labels);
    rows.reverse();
    labels.reverse();
    assert_eq!(evaluate(&run(0..3, 50), &rows, &labels), forward);
    assert!(serde_json::to_string(&forward).unwrap().contains("\"by_difficulty\":{\"easy\""));
}

#[test]
fn a_look_alike_is_not_reported_by_an_alert_on_its_users_attack() {
    let labels = labels(&format!(
        "{ORG},a,2026-04-21,2026-04-21,S12,volume,easy\n{ORG},a,2026-04-20,2026-04-22,B2,benign,easy\n"
    ));
    let e = evaluate(&run(-1..3, 100), &[row(0, 1, true, "a", 90.0), row(1, 3, false, "a", 30.0)], &labels);
    assert!(e.attacks[0].found_reported);
    let benign = &e.look_alikes[0];
    assert!(!benign.found_reported);
    assert_eq!((benign.best_rank, benign.first_top10), (Some(3), Some(day(1))), "its own night still counts");
}
