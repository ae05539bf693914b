use super::*;
use crate::date::MS_PER_DAY;
use crate::evaluation::labels;
use crate::report::sample;

/// Two nights; the first has a hit on an attack, a look-alike and a false alarm, the second is calm.
fn replayed() -> Replayed {
    let mut run = sample::run();
    let mut calm = sample::summary();
    calm.date = calm.date.plus(1);
    calm.reported = 0;
    run.nights.push(calm);
    let of = |rank: u32, user: &str| {
        let mut a = sample::anomaly(rank);
        a.subject_id = user.into();
        a.user_id = Some(user.into());
        a.user_ids = vec![user.into()];
        a
    };
    let anomalies = vec![of(1, "thief"), of(2, "holiday"), of(3, "nobody"), of(4, "late")];
    let mut without_novelty = vec![of(1, "holiday"), of(4, "thief")];
    without_novelty[1].reported = false;
    let mut without_count = anomalies.clone();
    let mut after = of(1, "late");
    after.date = after.date.plus(1);
    after.window_start += MS_PER_DAY;
    after.window_end += MS_PER_DAY;
    without_count.push(after);
    let scored = |day: i32, subject, id: &str, p| Scored {
        date: sample::date().plus(day),
        org_id: "00D5g000001AAAA".into(),
        subject,
        id: id.into(),
        p,
    };
    let (user, app) = (SubjectType::UserDay, SubjectType::AppDay);
    let scored = vec![
        scored(0, user, "thief", 1e-9),
        scored(0, user, "nobody", 0.009),
        scored(0, app, "Drift", 1e-9),
        scored(1, user, "thief", 0.5),
        scored(1, app, "Drift", 0.04),
    ];
    Replayed {
        from: sample::date(),
        to: sample::date().plus(2),
        retrain_every: Some(7),
        seed: 0,
        trainings: vec![],
        run,
        anomalies,
        scored,
        without: BTreeMap::from([(Family::Novelty, without_novelty), (Family::Count, without_count)]),
    }
}

fn labels() -> Vec<Label> {
    labels::read(
        b"org_id,user_id,start,end,scenario,category,difficulty\n\
          00D5g000001AAAA,thief,2026-04-20,2026-04-21,S1,identity,easy\n\
          00D5g000001AAAA,late,2026-04-21,2026-04-21,S9,temporal,hard\n\
          00D5g000001AAAA,holiday,2026-04-21,2026-04-21,B1,benign,easy\n",
        "l",
    )
    .unwrap()
}

#[test]
fn subjects_that_no_label_touches_calibrate() {
    let counts = |b: &Backtest| b.calibration.iter().map(|p| p.observed).collect::<Vec<_>>();
    let with = measure(&replayed(), Some(&labels()));
    assert_eq!(counts(&with), [2, 1, 0], "neither the thief of the night nor its app");
    assert_eq!(with.calibration[0].ratio, Some(2.0 / (0.05 * 3.0)));
    let without = measure(&replayed(), None);
    assert_eq!(counts(&without), [4, 3, 2]);
    assert_eq!((without.evaluation, without.delay, without.at_length.len()), (None, None, 0));
    assert!(without.nights.iter().all(|n| n.truth.is_none()));
}

#[test]
fn every_alert_of_a_night_is_an_attack_a_look_alike_or_false() {
    let b = measure(&replayed(), Some(&labels()));
    assert_eq!(b.nights[0].truth, Some(ReportedTruth { attacks: 1, look_alikes: 1, false_alarms: 1 }));
    assert_eq!(b.nights[1].truth, Some(ReportedTruth::default()));
    assert_eq!((b.per_night.nights, b.per_night.silent, b.per_night.most), (2, 1, 3));
    assert_eq!((b.per_night.mean, b.per_night.median), (1.5, 1.5));
}

#[test]
fn precision_and_delay_are_of_the_nights_under_attack() {
    let b = measure(&replayed(), Some(&labels()));
    // One such night is scored: ranks 1 and 4 are hits.
    let at: Vec<_> = b.at_length.iter().map(|at| (at.k, at.precision, at.recall)).collect();
    assert_eq!(at[0], (1, Some(1.0), Some(0.5)));
    assert_eq!(at[1], (3, Some(1.0 / 3.0), Some(0.5)));
    assert_eq!(at[2], (5, Some(0.5), Some(1.0)));
    let delay = b.delay.unwrap();
    assert_eq!(
        (delay.never, delay.median, delay.days),
        (1, Some(0.0), BTreeMap::from([(0, 1)])),
        "the night before was not replayed"
    );
}

#[test]
fn a_family_that_alone_sees_an_attack_is_told_by_its_absence() {
    let b = measure(&replayed(), Some(&labels()));
    let row = |family| b.ablation.iter().find(|a| a.without == family).unwrap();
    assert_eq!(row(None).recall.unwrap().found_reported, 1);
    let novelty = row(Some(Family::Novelty));
    assert_eq!(novelty.lost, ["S1 2026-04-20"]);
    assert_eq!((novelty.gained.len(), novelty.per_night.reported), (0, 1));
    let count = row(Some(Family::Count));
    assert!(count.lost.is_empty() && count.gained.is_empty(), "a hit after the end of the label is none");
    assert_eq!(count.per_night.reported, 4);
}

#[test]
fn without_an_attack_nothing_is_said_of_recall() {
    let mut labels = labels();
    labels.retain(|l| l.category == LabelCategory::Benign);
    let b = measure(&replayed(), Some(&labels));
    let mut out = Vec::new();
    print::print(&mut out, &b, 120).unwrap();
    for text in [String::from_utf8(out).unwrap(), page::page(&b)] {
        assert!(text.contains("without novelty") && text.contains("B1"), "{text}");
        assert!(!text.to_lowercase().contains("recall") && !text.contains("First alert"), "{text}");
    }
}

#[test]
fn page_and_tables_hide_nothing_hostile() {
    let hostile = format!("\u{1b}[2J{}", sample::HOSTILE);
    let mut replayed = replayed();
    for n in &mut replayed.run.nights {
        n.org_id = hostile.clone();
        n.notes = vec![hostile.clone()];
    }
    let mut labels = labels();
    labels.iter_mut().for_each(|l| {
        l.scenario = hostile.clone();
        l.org_id = hostile.clone();
    });
    for a in &mut replayed.anomalies {
        a.title = hostile.clone();
        a.org_id = hostile.clone();
    }
    let b = measure(&replayed, Some(&labels));
    let page = page::page(&b);
    assert!(page.contains("default-src"));
    for forbidden in ["<script", "\u{202e}", "\u{1b}", "\0", " style=", "http://", "https://", " onload"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    assert!(page.contains("&lt;script&gt;"));
    let mut out = Vec::new();
    print::print(&mut out, &b, 120).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("without novelty") && text.contains("\\u{1b}"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
}
