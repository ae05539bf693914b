use super::*;
use crate::anomaly::{Gate, GateKind};
use crate::report::sample;

fn wanted(heartbeat: bool) -> Wanted<'static> {
    Wanted { heartbeat, nights: 7, report_url: "https://q.example.com/{date}/report.html" }
}

fn kinds(messages: &[Message]) -> Vec<Why> {
    messages.iter().map(|m| m.why).collect()
}

#[test]
fn a_night_has_a_message_for_each_critical_and_one_digest() {
    let mut high = sample::anomaly(2);
    (high.severity, high.score, high.title) = (Severity::High, 80.0, "second".into());
    let watched = sample::anomaly(9);
    let messages = of_run(&sample::run(), &[watched, high, sample::anomaly(1)], wanted(true));
    assert_eq!(kinds(&messages), [Why::Critical, Why::Digest]);
    let digest = &messages[1];
    assert_eq!(digest.anomalies.iter().map(|a| a.rank).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(digest.headline, "3 of 214 subjects stand out");
    assert_eq!(digest.report_url, "https://q.example.com/2026-04-21/report.html");
    assert_eq!(digest.notes[0], "gate volume: 89,253 calls, usual 40,000–60,000");
    assert_eq!(digest.notes.last().unwrap(), "214 subjects, 89,253 calls");
}

#[test]
fn a_calm_night_has_none_or_a_heartbeat() {
    let mut ongoing = sample::anomaly(9);
    ongoing.status = crate::anomaly::Status::Ongoing;
    assert!(of_run(&sample::run(), &[ongoing.clone()], wanted(false)).is_empty());
    assert_eq!(kinds(&of_run(&sample::run(), &[ongoing], wanted(true))), [Why::Heartbeat]);
}

#[test]
fn a_heartbeat_names_each_file_once_that_is_missing_or_late() {
    let mut run = sample::run();
    let (missing, late) = ("no hourly file from 14:00 to 15:00 UTC", "the daily file was made only on 2026-04-25");
    run.nights[0].coverage.files = vec![missing.into(), late.into()];
    run.nights[0].gates = vec![Gate { gate: GateKind::PartialDay, message: format!("{missing}; wait for it") }];
    let notes = of_run(&run, &[], wanted(true))[0].notes.join("\n");
    assert_eq!((notes.matches(missing).count(), notes.matches(late).count()), (1, 1), "{notes}");
}

#[test]
fn of_a_long_range_the_last_nights_are_told() {
    let mut run = sample::run();
    run.nights = (0..30).map(|i| NightSummary { date: sample::date().plus(i), ..sample::summary() }).collect();
    let messages = of_run(&run, &[], wanted(true));
    assert_eq!(messages.len(), 7);
    assert_eq!((messages[0].night, messages[6].night), (sample::date().plus(23), sample::date().plus(29)));
}

#[test]
fn the_id_follows_night_and_subject_and_nothing_that_a_second_scoring_changes() {
    let messages = of_run(&sample::run(), &[sample::anomaly(1)], wanted(false));
    let mut again = sample::anomaly(1);
    (again.title, again.score) = ("another title".into(), 99.0);
    let mut run = sample::run();
    run.model_version = 4;
    let rescored = of_run(&run, &[again], wanted(false));
    assert_eq!(messages[0].id(), rescored[0].id());
    assert_eq!(messages[1].id(), rescored[1].id());
    assert_ne!(messages[0].id(), messages[1].id());
    assert!(messages[0].id().len() == 35 && messages[0].id().starts_with("qw_"), "{}", messages[0].id());
}

#[test]
fn a_message_is_bounded_and_counts_what_it_leaves_out() {
    let rows: Vec<Anomaly> = (1..=100).map(|rank| Anomaly { reported: true, ..sample::hostile(rank) }).collect();
    let mut run = sample::run();
    run.nights[0].notes = vec!["n".repeat(10_000); 50];
    let messages = of_run(&run, &rows, wanted(false));
    assert_eq!(messages.len(), 21);
    let digest = &messages[20];
    assert_eq!((digest.anomalies.len(), digest.left_out, digest.notes.len()), (20, 80, 12));
    assert!(digest.notes.iter().all(|n| n.chars().count() <= 401));
    assert!(serde_json::to_vec(digest).unwrap().len() < 100_000);
}
