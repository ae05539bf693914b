use super::*;
use crate::anomaly::GateKind;
use crate::features::catalog::user_day as f;

fn gates(night: &Night) -> Vec<GateKind> {
    night.summaries[0].gates.iter().map(|g| g.gate).collect()
}

#[test]
fn calm_nights_trip_no_gate_and_say_what_was_seen() {
    for night in run(&memory(Odd::Nothing, 0, DAYS), &[35, 36, 37, 38, 39]) {
        assert_eq!(gates(&night), []);
        let coverage = &night.summaries[0].coverage;
        assert_eq!((coverage.half_hours, coverage.usual_half_hours, coverage.silent.len()), (16, 16, 0));
    }
}

#[test]
fn features_that_moved_for_everyone_are_named_and_the_night_is_scored_all_the_same() {
    let mut days = memory(Odd::Country, 36, 37);
    let moved = days.days.get_mut(&(Date(FIRST + 36), "org".to_owned())).unwrap();
    for row in 0..moved.user_day.len() {
        moved.user_day.values[row * f::FEATURES.len() + f::ROW_COUNT] = 500.0 + row as f64;
    }
    let night = &run(&days, &[36])[0];
    assert_eq!(gates(night), [GateKind::FeatureDrift]);
    let message = &night.summaries[0].gates[0].message;
    assert!(message.contains("row_count (PSI "), "{message}");
    assert!(night.anomalies.iter().any(|a| a.subject_id == "user03"));
}

#[test]
fn half_a_day_and_half_the_users_are_told_apart_from_a_whole_one() {
    let at = (Date(FIRST + 35), "org".to_owned());
    let mut half = memory(Odd::Nothing, 0, 36);
    half.days.get_mut(&at).unwrap().hours.retain(|h| h.half_hour < 22);
    let night = &run(&half, &[35])[0];
    assert_eq!(gates(night), [GateKind::PartialDay]);
    assert_eq!(night.summaries[0].coverage.silent.len(), 1, "the night is silent as ever, the afternoon is not");
    assert!(night.summaries[0].gates[0].message.contains("from 11:00 to 16:00 UTC"));
    let blamed =
        night.anomalies.iter().flat_map(|a| &a.evidence).find(|e| e.detector.contains("missing") && e.p_value < 0.1);
    assert!(blamed.is_none(), "a hole in the log is nobody's: {blamed:?}");

    // One who is absent while the others are there is missed as ever.
    let mut one = memory(Odd::Nothing, 0, 36);
    one.days.get_mut(&at).unwrap().hours.retain(|h| h.user != 3 || h.half_hour < 22);
    let night = &run(&one, &[35])[0];
    let missed = night.anomalies.iter().find(|a| a.evidence.iter().any(|e| e.detector.contains("missing")));
    assert_eq!(missed.map(|a| a.subject_id.as_str()), Some("user03"));
}
