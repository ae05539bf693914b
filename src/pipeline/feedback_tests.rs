use super::*;
use crate::config::settings::ExpectedChange;
use crate::feedback::{Entry, Feedback, Verdict};
use crate::pipeline::feedback::find;

/// A calm organisation in which user03 is odd on the given days.
fn days_with(odd: &[(i32, Odd)]) -> Memory {
    let mut days = memory(Odd::Nothing, 0, 47);
    for (d, odd) in odd {
        let date = Date(FIRST + d);
        days.days.insert((date, "org".to_owned()), day(date, *odd, date));
    }
    days
}

fn trained_on(days: &Memory) -> Trained {
    train(days, Some(Date(FIRST + 34)), &Settings::default(), Seed(0), &mut |_, _, _| {}).unwrap()
}

/// A verdict on user03's night, as the kept night of an earlier scoring has it.
fn verdict(days: &Memory, verdict: Verdict, night: i32, until: Option<i32>) -> Entry {
    let date = Date(FIRST + night);
    let kept: Vec<(String, Date)> = days.kept.lock().unwrap().keys().cloned().collect();
    let key = anomaly_key("org", SubjectType::UserDay, "user03", date);
    let found = find(days, &kept, &key).unwrap();
    assert_eq!((found.subject_id.as_str(), found.date), ("user03", date));
    Entry {
        anomaly_key: found.anomaly_key,
        verdict,
        reason: "because".into(),
        until: until.map(|d| Date(FIRST + d)),
        at: "2026-02-20T08:00:00Z".into(),
        date: found.date,
        org_id: found.org_id,
        subject_type: found.subject_type,
        subject_id: found.subject_id,
        family: found.family,
        families: found.families,
    }
}

fn of_user03(night: &Night) -> &crate::anomaly::Anomaly {
    night.anomalies.iter().find(|a| a.subject_id == "user03").unwrap()
}

fn p_of_user03(night: &Night) -> f64 {
    night.p_values.iter().find(|s| s.id == "user03").unwrap().p
}

#[test]
fn what_is_expected_alerts_again_when_its_time_is_over() {
    let odd: Vec<(i32, Odd)> = (35..40).map(|d| (d, Odd::Country)).collect();
    let mut days = days_with(&odd);
    let trained = trained_on(&days);
    let before = score(&days, &trained, Settings::default(), &[35, 36]);
    assert!(of_user03(&before[0]).reported);
    let first = days.kept.lock().unwrap().clone();
    days.feedback = Feedback::new([verdict(&days, Verdict::Expected, 35, Some(37))]);
    let nights = score(&days, &trained, Settings::default(), &[35, 36, 37, 38]);
    let reported: Vec<bool> = nights.iter().map(|n| of_user03(n).reported).collect();
    assert_eq!(reported, [false, false, false, true]);
    assert_eq!(nights[1].summaries[0].announced, 1, "silence that was asked for is told");
    assert_eq!(of_user03(&nights[3]).status, Status::New);
    assert_ne!(
        days.kept.lock().unwrap()[&("model".to_owned(), Date(FIRST + 35))],
        first[&("model".to_owned(), Date(FIRST + 35))]
    );
    // A night on its own scores as in the range, from kept nights and without them.
    assert_eq!(score(&days, &trained, Settings::default(), &[38])[0].anomalies, nights[3].anomalies);
    days.kept.lock().unwrap().clear();
    assert_eq!(score(&days, &trained, Settings::default(), &[38])[0].anomalies, nights[3].anomalies);
}

#[test]
fn an_expected_value_covers_neither_another_value_nor_more_of_anything() {
    for (other, covered) in [(Odd::Objects, false), (Odd::Hours, false), (Odd::Country, true)] {
        let mut days = days_with(&[(35, Odd::Country), (37, other)]);
        let trained = trained_on(&days);
        score(&days, &trained, Settings::default(), &[35]);
        days.feedback = Feedback::new([verdict(&days, Verdict::Expected, 35, Some(40))]);
        let nights = score(&days, &trained, Settings::default(), &[35, 37]);
        assert!(!of_user03(&nights[0]).reported);
        assert_eq!(of_user03(&nights[1]).reported, !covered);
    }
}

#[test]
fn an_expected_verdict_on_one_user_is_not_one_on_another() {
    let mut days = days_with(&[(35, Odd::Country)]);
    let trained = trained_on(&days);
    score(&days, &trained, Settings::default(), &[35]);
    let mut other = verdict(&days, Verdict::Expected, 35, Some(40));
    other.subject_id = "user04".into();
    other.anomaly_key = anomaly_key("org", SubjectType::UserDay, "user04", other.date);
    days.feedback = Feedback::new([other]);
    assert!(of_user03(&score(&days, &trained, Settings::default(), &[35])[0]).reported);
}

#[test]
fn a_confirmed_incident_is_never_learned_and_a_harmless_night_at_once() {
    let mut days = days_with(&[(35, Odd::Imitation), (37, Odd::Imitation), (46, Odd::Imitation)]);
    let trained = trained_on(&days);
    let nothing_said = score(&days, &trained, Settings::default(), &[35, 37, 46]);
    let (incident, harmless) = (verdict(&days, Verdict::True, 35, None), verdict(&days, Verdict::Benign, 35, None));
    let second = verdict(&days, Verdict::True, 37, None);
    days.feedback = Feedback::new([harmless]);
    let learned = score(&days, &trained, Settings::default(), &[35, 37]);
    assert_eq!(learned[0].anomalies, nothing_said[0].anomalies, "a verdict changes nothing of its own night");
    let (before, after) = (p_of_user03(&nothing_said[1]), p_of_user03(&learned[1]));
    assert!(after > 5.0 * before, "{before} {after}");
    days.feedback = Feedback::new([incident, second]);
    let kept_out = score(&days, &trained, Settings::default(), &[35, 37, 46]);
    // Unconfirmed, both nights were learned by then.
    let (before, after) = (p_of_user03(&nothing_said[2]), p_of_user03(&kept_out[2]));
    assert!(after < before / 5.0, "{before} {after}");
    assert!(of_user03(&kept_out[2]).reported);
}

#[test]
fn training_leaves_confirmed_incidents_out_and_weighs_families_by_their_precision() {
    let mut days = days_with(&[(30, Odd::Country), (31, Odd::Country), (35, Odd::Country)]);
    let without = trained_on(&days);
    let plain = score(&days, &without, Settings::default(), &[35]);
    let said = |d: i32, verdict| {
        let date = Date(FIRST + d);
        crate::feedback::tests::entry(verdict, "user03", date, crate::features::catalog::Family::Novelty)
    };
    days.feedback = Feedback::new([said(30, Verdict::True), said(31, Verdict::True)]);
    let with = trained_on(&days);
    assert_ne!(with.input_digest, without.input_digest);
    let nights = score(&days, &with, Settings::default(), &[35]);
    assert!(p_of_user03(&nights[0]) < p_of_user03(&plain[0]) / 5.0);
    let factors = |t: &Trained| t.arrays.iter().find(|(n, _)| n == "calibration/family-factors").map(|a| a.1.clone());
    assert_eq!(factors(&without), None);
    // (4 + 2) / (8 + 2), over 1/2.
    let expected = [1.0, 1.0, 1.0, 1.2, 1.0, 1.0];
    assert!(factors(&with).unwrap().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
    assert!(with.notes.iter().any(|n| n.contains("novelty × 1.20 (2 confirmed, 0 harmless)")), "{:?}", with.notes);
}

#[test]
fn an_announced_value_is_silent_in_its_scope_and_time() {
    let days = days_with(&[(35, Odd::Country), (38, Odd::Country)]);
    let others = days_with(&[(35, Odd::Objects)]);
    let trained = trained_on(&days);
    let change = |text: &str| -> Settings {
        let change: ExpectedChange = serde_json::from_str(text).unwrap();
        let mut settings = Settings::default();
        settings.expected.changes = vec![change];
        settings
    };
    let (from, until) = (Date(FIRST + 35), Date(FIRST + 37));
    let values = r#""what": ["DE", "203.0.113.9", "203.0.113.0/24"]"#;
    let scope = format!(r#"{{{values}, "from": "{from}", "until": "{until}", "owner": "it", "reason": "office"}}"#);
    let reported = |settings: Settings| -> Vec<bool> {
        score(&days, &trained, settings, &[35, 38]).iter().map(|n| of_user03(n).reported).collect()
    };
    assert!(reported(Settings::default())[0]);
    assert_eq!(reported(change(&scope)), [false, true], "not later");
    assert!(of_user03(&score(&others, &trained, change(&scope), &[35])[0]).reported, "no other values");
    let other = scope.replace(r#""what""#, r#""who": ["user04"], "what""#);
    assert!(reported(change(&other))[0], "of another user");
    let learn_only = scope.replace(r#""owner""#, r#""effects": ["do-not-learn"], "owner""#);
    assert!(reported(change(&learn_only))[0]);
}
