//! Rows for the tests of every form: one ordinary, one hostile.

use crate::anomaly::picture::{HALF_HOURS, OrgDay, OrgPicture, Picture, Usual};
use crate::anomaly::{
    Anomaly, Category, Coverage, Evidence, Gate, GateKind, NightSummary, RunInfo, Severity, Status, SubjectType,
    anomaly_key,
};
use crate::date::Date;
use crate::features::catalog::Family;

/// 2026-04-21, a Tuesday.
pub(crate) fn date() -> Date {
    "2026-04-21".parse().unwrap()
}

pub(crate) fn summary() -> NightSummary {
    NightSummary {
        date: date(),
        org_id: "00D5g000001AAAA".into(),
        events: 89_253,
        subjects: 214,
        reported: 3,
        announced: 0,
        over_budget: 0,
        cold_users: 2,
        gates: vec![Gate { gate: GateKind::Volume, message: "89,253 calls, usual 40,000–60,000".into() }],
        coverage: Coverage { half_hours: 48, usual_half_hours: 48, daily_files: 1, ..Coverage::default() },
        notes: vec!["only 9 days of history".into()],
        picture: None,
    }
}

pub(crate) fn run() -> RunInfo {
    RunInfo {
        format_version: 1,
        engine_version: "0.1.0".into(),
        model_name: "acme".into(),
        model_version: 3,
        model_digest: "5f".repeat(32),
        input_digest: "a1".repeat(32),
        in_sample: false,
        nights: vec![summary()],
        missing_dates: vec![],
        not_run: vec!["geometry: its weight is 0 (fusion.geometry)".into()],
    }
}

pub(crate) fn evidence(family: Family) -> Evidence {
    Evidence {
        family,
        detector: "negative_binomial".into(),
        feature: "calls".into(),
        observed: "4,812 calls".into(),
        expected: "1,200 calls".into(),
        low: 900.0,
        high: 1500.0,
        p_value: 0.0003,
        contribution: 0.25,
        sentence: "4,812 calls, usual 900 to 1,500.".into(),
    }
}

pub(crate) fn anomaly(rank: u32) -> Anomaly {
    let user = "0055g00000AAAAA".to_owned();
    let start = date().start_ms() + 14 * 3_600_000 + 32 * 60_000;
    Anomaly {
        date: date(),
        rank,
        reported: rank <= 3,
        subject_id: user.clone(),
        user_ids: vec![user.clone()],
        anomaly_key: anomaly_key("00D5g000001AAAA", SubjectType::UserDay, &user, date()),
        score: 96.5,
        severity: Severity::Critical,
        p_value: 4.0e-7,
        q_value: 8.0e-5,
        status: Status::New,
        category: Category::Identity,
        subject_type: SubjectType::UserDay,
        org_id: "00D5g000001AAAA".into(),
        user_id: Some(user),
        user_name: Some("Marketing Automation".into()),
        app_id: None,
        app_name: Some("Drift".into()),
        source_ips: vec!["198.18.7.9".into(), "2001:db8::7".into()],
        countries: vec!["DE".into()],
        window_start: start,
        window_end: start + 3_600_000,
        title: "First calls ever from Germany".into(),
        story: "At 14:32 UTC Marketing Automation began calling from 198.18.7.9 (Germany), never seen for this org; \
                volume was normal."
            .into(),
        event_count: 4_812,
        error_count: 12,
        evidence: vec![evidence(Family::Novelty), evidence(Family::Count)],
        request_ids: vec!["TID:4711".into(), "TID:4712".into()],
        model_name: "acme".into(),
        model_version: 3,
        model_digest: "5f".repeat(32),
        engine_version: "0.1.0".into(),
        picture: None,
    }
}

/// A day of calls at 14:30 after 30 workdays of office hours.
pub(crate) fn picture() -> Picture {
    let (mut calls, mut errors) = ([0; HALF_HOURS], [0; HALF_HOURS]);
    (calls[29], calls[30], errors[29]) = (4_000, 812, 12);
    let office = std::array::from_fn(|h| if (16..34).contains(&h) { 0.9 } else { 0.0 });
    Picture {
        calls,
        errors,
        usual: Some(Usual { active: office, calls: office.map(|share| 70.0 * share) }),
        clock: [Some(office), None],
        past: (0..30).map(|n| (date().plus(n - 31), 1_000 + 15 * (n as u64 % 7))).collect(),
        range: Some((1_000, 1_090)),
    }
}

/// A day of 200 users after 21 workdays of 180 to 186 and 9 weekend days of 20.
pub(crate) fn org_picture() -> OrgPicture {
    let day = |date: Date, users: u64| OrgDay { date, calls: 100 * users, users, errors: users };
    let past =
        (0..30).map(|n| date().plus(n - 30)).map(|d| (d, if d.is_weekend() { 20 } else { 180 + d.0 as u64 % 7 }));
    let office = |users| std::array::from_fn(|h| if (16..34).contains(&h) { users } else { 0 });
    OrgPicture {
        users: office(150),
        usual: office(140).map(|users| users as f64),
        today: day(date(), 200),
        past: past.map(|(date, users)| day(date, users)).collect(),
    }
}

/// The text that every output has to survive.
pub(crate) const HOSTILE: &str = "=<script>alert(1)</script>\u{202e}\u{1b}[2J\"'\r\n,;&\0\u{feff}";

pub(crate) fn hostile(rank: u32) -> Anomaly {
    let long = format!("{HOSTILE}{}", "A".repeat(65_536));
    Anomaly {
        rank,
        subject_id: HOSTILE.into(),
        user_ids: vec![HOSTILE.into()],
        user_id: None,
        user_name: Some(long),
        app_id: Some("-1".into()),
        source_ips: vec![HOSTILE.into()],
        countries: vec![],
        title: HOSTILE.into(),
        story: HOSTILE.into(),
        evidence: vec![Evidence {
            detector: HOSTILE.into(),
            feature: HOSTILE.into(),
            observed: HOSTILE.into(),
            expected: HOSTILE.into(),
            sentence: HOSTILE.into(),
            ..evidence(Family::Novelty)
        }],
        request_ids: vec![HOSTILE.into()],
        ..anomaly(rank)
    }
}
