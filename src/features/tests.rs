use super::catalog::{app_day, ip_day, org_day, session, user_day};
use super::testing::{Call, DAY, events, place, random_calls, shuffled};
use super::*;
use crate::events::batch::Field;

const MINUTE: i64 = 60_000;

fn day(calls: &[Call]) -> DayFeatures {
    compute("o", DAY, &events(calls), &place, &Options::default())
}

fn session_calls(day: &DayFeatures) -> Vec<f64> {
    let sessions = &day.tables.session;
    (0..sessions.len()).map(|row| sessions.get(row, session::CALLS)).collect()
}

fn values(day: &DayFeatures, kind: ValueKind) -> Vec<(&str, u32)> {
    let t = &day.tables;
    t.values.iter().filter(|v| v.kind == kind).map(|v| (t.text(v.value), v.calls)).collect()
}

#[test]
fn input_order_and_threads_reach_no_bit() {
    for case in 0..8 {
        let calls = random_calls(case, 300);
        let expected = day(&calls);
        assert_eq!(day(&shuffled(&calls, case)), expected, "case {case}");
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for threads in [1, 2, 3] {
            assert_eq!(pool(threads).install(|| day(&calls)), expected, "case {case}, {threads} threads");
        }
    }
}

#[test]
fn a_pause_of_exactly_thirty_minutes_ends_a_session_and_one_millisecond_less_does_not() {
    assert_eq!(session_calls(&day(&[Call::at(0), Call::at(30 * MINUTE)])), [1.0, 1.0]);
    assert_eq!(session_calls(&day(&[Call::at(0), Call::at(30 * MINUTE - 1)])), [2.0]);
}

#[test]
fn another_address_or_app_is_another_session_but_a_session_of_the_source_is_one() {
    let elsewhere = Call::at(MINUTE).with(Field::ClientIp, "198.18.0.2");
    assert_eq!(session_calls(&day(&[Call::at(0), elsewhere.clone()])), [1.0, 1.0]);
    assert_eq!(session_calls(&day(&[Call::at(0), Call::at(MINUTE).with(Field::AppName, "Flow")])), [1.0, 1.0]);
    let own = |call: Call| call.with(Field::SessionId, "s");
    let day = day(&[own(Call::at(0)), own(elsewhere), own(Call::at(120 * MINUTE))]);
    assert_eq!(session_calls(&day), [3.0]);
    assert_eq!(day.tables.text(day.tables.session_keys[0].ip), "198.18.0.1", "that of the first call");
}

#[test]
fn session_ids_say_user_and_start_and_differ_when_starts_are_equal() {
    let calls = [Call::at(MINUTE), Call::at(MINUTE).with(Field::ClientIp, "198.18.0.2"), Call::at(62 * MINUTE + 5)];
    let day = day(&calls);
    let ids: Vec<&str> = day.tables.session.ids.iter().map(|id| day.tables.text(*id)).collect();
    assert_eq!(ids, ["u/00:01:00.000/1", "u/00:01:00.000/2", "u/01:02:00.005/1"]);
}

#[test]
fn refusals_of_everybody_at_once_are_the_limit_and_those_of_one_user_are_not() {
    let refused = |ms, user: &str| Call::at(ms).with(Field::User, user).status(403);
    let mut calls: Vec<Call> = (0..4).map(|i| refused(i, ["a", "b"][i as usize % 2])).collect();
    calls.push(Call::at(5).with(Field::User, "b"));
    calls.push(refused(10 * MINUTE, "a"));
    let both = |day: &DayFeatures| {
        let row = day.tables.org_day.row(0);
        (row[org_day::ERRORS_403_LIMIT], row[org_day::ERRORS_403_OTHER])
    };
    assert_eq!(both(&day(&calls)), (4.0, 1.0), "exactly 80 % of the minute's calls");
    calls.push(Call::at(6).with(Field::User, "b"));
    assert_eq!(both(&day(&calls)), (0.0, 5.0));
}

#[test]
fn an_object_list_is_split_and_each_object_counted_once_per_call() {
    let day =
        day(&[Call::at(0).with(Field::Entity, "Lead; Account,Lead|Case"), Call::at(1).with(Field::Entity, "Case")]);
    assert_eq!(values(&day, ValueKind::Entity), [("Account", 1), ("Case", 2), ("Lead", 1)]);
    assert_eq!(values(&day, ValueKind::Action), [("query", 2)]);
    assert_eq!(values(&day, ValueKind::ActionEntity)[1], ("query Case", 2));
    assert_eq!(day.tables.user_day.get(0, user_day::TOP_ENTITY_SHARE), 1.0);
}

#[test]
fn a_value_keeps_its_three_earliest_different_requests() {
    let ids = ["x", "x", "", "y", "x", "z", "w"];
    let calls: Vec<Call> = ids.iter().enumerate().map(|(i, id)| Call::at(i as i64).request(id)).collect();
    let day = day(&shuffled(&calls, 1));
    for value in &day.tables.values {
        assert_eq!(value.request_ids.map(|id| day.tables.text(id)), ["x", "y", "z"], "{:?}", value.kind);
    }
}

#[test]
fn requests_of_a_network_are_the_earliest_over_its_addresses() {
    let from = |ms: i64, ip: &str| Call::at(ms).with(Field::ClientIp, ip).request(&format!("r{ms}"));
    let day = day(&[from(1, "10.0.0.2"), from(2, "10.0.0.4"), from(3, "10.0.0.2"), from(4, "10.0.0.4")]);
    let network = day.tables.values.iter().find(|v| v.kind == ValueKind::Network).unwrap();
    assert_eq!(network.request_ids.map(|id| day.tables.text(id)), ["r1", "r2", "r3"]);
    assert_eq!((network.calls, network.first_ms, network.last_ms), (4, DAY.start_ms() + 1, DAY.start_ms() + 4));
}

#[test]
fn distinct_counts_are_the_number_of_value_rows() {
    let day = day(&random_calls(3, 400));
    let t = &day.tables;
    for user in 0..t.user_day.len() {
        for (kind, column) in [
            (ValueKind::Ip, user_day::IPS),
            (ValueKind::Network, user_day::NETWORKS),
            (ValueKind::Country, user_day::COUNTRIES),
            (ValueKind::Asn, user_day::ASNS),
            (ValueKind::App, user_day::APPS),
            (ValueKind::Client, user_day::CLIENTS),
            (ValueKind::Channel, user_day::CHANNELS),
            (ValueKind::ApiFamily, user_day::API_FAMILIES),
            (ValueKind::Resource, user_day::RESOURCES),
            (ValueKind::Entity, user_day::ENTITIES),
            (ValueKind::Action, user_day::ACTIONS),
        ] {
            let rows = t.values_of(user as u32).iter().filter(|v| v.kind == kind).count();
            assert_eq!(rows as f64, t.user_day.get(user, column), "{kind:?}");
        }
        let hours: u32 = t.hours_of(user as u32).iter().map(|h| h.calls).sum();
        assert_eq!(f64::from(hours), t.user_day.get(user, user_day::CALLS));
        assert_eq!(t.sessions_of(user as u32).len() as f64, t.user_day.get(user, user_day::SESSIONS));
    }
}

#[test]
fn rows_are_sorted_as_the_tables_promise() {
    let day = day(&random_calls(5, 400));
    let t = &day.tables;
    for table in [&t.user_day, &t.app_day, &t.ip_day] {
        assert!(table.ids.windows(2).all(|w| t.text(w[0]) < t.text(w[1])));
    }
    assert!(
        t.values
            .windows(2)
            .all(|w| { (w[0].user, w[0].kind, t.text(w[0].value)) < (w[1].user, w[1].kind, t.text(w[1].value)) })
    );
    assert!(t.hours.windows(2).all(|w| {
        (w[0].user, t.text(w[0].channel), w[0].half_hour) < (w[1].user, t.text(w[1].channel), w[1].half_hour)
    }));
    assert!(t.session_keys.windows(2).all(|w| {
        (w[0].user, w[0].start_ms, t.text(w[0].channel), t.text(w[0].ip))
            <= (w[1].user, w[1].start_ms, t.text(w[1].channel), t.text(w[1].ip))
    }));
    assert!(t.session.values.iter().chain(&t.user_day.values).all(|v| v.is_finite()));
}

#[test]
fn the_name_of_a_user_is_the_one_seen_most() {
    let named = |ms, name| Call::at(ms).with(Field::UserName, name);
    let name = |calls: &[Call]| {
        let day = day(calls);
        day.tables.text(day.tables.user_day.names[0]).to_owned()
    };
    assert_eq!(name(&[named(0, "old"), named(1, ""), named(2, ""), named(3, "new"), named(4, "new")]), "new");
    assert_eq!(name(&[named(0, "b"), named(1, "a")]), "a", "ties by text");
    assert_eq!(name(&[Call::at(0)]), "");
}

#[test]
fn equal_steps_in_a_row_are_one_token_with_the_first_request() {
    let step = |ms: i64, entity: &str| Call::at(ms).with(Field::Entity, entity).request(&format!("r{ms}"));
    let day = day(&[step(0, "Lead"), step(50, "Lead"), step(100, "Lead"), step(5_000, "Lead"), step(5_050, "Case")]);
    let steps: Vec<_> = day
        .tokens
        .iter()
        .map(|t| (day.tables.text(t.entity), t.gap, t.run, day.tables.text(t.request_id), t.status_class))
        .collect();
    assert_eq!(
        steps,
        [("Lead", 0, 1, "r0", 2), ("Lead", 2, 2, "r50", 2), ("Lead", 4, 1, "r5000", 2), ("Case", 2, 1, "r5050", 2)]
    );
}

#[test]
fn transitions_are_different_pairs_of_consecutive_verbs() {
    use Action::{Query, QueryMore, Search};
    let steps = [Query, QueryMore, QueryMore, QueryMore, Query, QueryMore, Search];
    let calls: Vec<Call> =
        steps.iter().enumerate().map(|(i, action)| Call { action: *action, ..Call::at(i as i64) }).collect();
    assert_eq!(day(&calls).tables.session.get(0, session::TRANSITIONS), 4.0);
}

#[test]
fn roll_ups_count_users_and_failures_and_leave_blanks_out() {
    let calls = [
        Call::at(0).with(Field::User, "a").status(401),
        Call::at(1).with(Field::User, "b").status(401),
        Call::at(2).with(Field::User, "b").with(Field::ClientIp, "").with(Field::ApiFamily, ""),
        Call::at(3).with(Field::User, "c").with(Field::ClientIp, "198.18.0.2").with(Field::AppName, "Flow"),
    ];
    let t = day(&calls).tables;
    assert_eq!(t.ip_day.ids.iter().map(|id| t.text(*id)).collect::<Vec<_>>(), ["198.18.0.1", "198.18.0.2"]);
    assert_eq!((t.ip_day.get(0, ip_day::USERS), t.ip_day.get(0, ip_day::FAILED_USERS)), (2.0, 2.0));
    assert_eq!(t.app_day.ids.iter().map(|id| t.text(*id)).collect::<Vec<_>>(), ["Flow", "REST"]);
    assert_eq!(t.app_day.get(1, app_day::ERRORS_401), 2.0);
    let org = t.org_day.row(0);
    assert_eq!(
        (org[org_day::USERS], org[org_day::APPS], org[org_day::IPS], org[org_day::FAILED_IPS]),
        (3.0, 1.0, 2.0, 1.0)
    );
}

#[test]
fn the_scope_of_rows_alone_gives_the_same_rows() {
    let calls = events(&random_calls(9, 300));
    let full = compute("o", DAY, &calls, &place, &Options::default()).tables;
    let rows = compute("o", DAY, &calls, &place, &Options { scope: Scope::Rows, ..Options::default() });
    assert_eq!(rows.tables.user_day.values, full.user_day.values);
    assert_eq!(rows.tables.session.values, full.session.values);
    assert!(rows.tokens.is_empty() && rows.tables.values.is_empty());
}

#[test]
fn a_day_without_events_has_no_rows_but_its_organisation() {
    let t = compute("o", DAY, &Events::default(), &place, &Options::default()).tables;
    assert!(t.user_day.is_empty() && t.session.is_empty() && t.app_day.is_empty());
    assert_eq!(t.org_day.row(0)[org_day::CALLS], 0.0);
}

#[test]
fn the_documented_features_are_those_of_the_catalog() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/features.md");
    let expected = catalog::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == expected, "docs/features.md is stale; run this test with UPDATE_DOCS=1 and look at the diff");
}

#[test]
fn steps_are_made_of_the_columns_that_a_profile_names() {
    let call = |ms: i64, resource: &str, status: u16| {
        Call::at(ms).with(Field::Entity, "B;A").with(Field::Resource, resource).status(status)
    };
    let calls = [call(0, "/users", 200), call(50, "/users", 404), call(90, "/users", 404), call(5_000, "", 0)];
    let steps = |names: &[&str]| -> Vec<(Option<Action>, String, u32)> {
        let step: Vec<StepColumn> = names.iter().map(|name| StepColumn::from_name(name).unwrap()).collect();
        let day = compute("o", DAY, &events(&calls), &place, &Options { step: &step, ..Options::default() });
        let text = |token: &Token| day.tables.text(token.entity).to_owned();
        day.tokens.iter().map(|t| (t.action, text(t), t.run)).collect()
    };
    let verb = Some(calls[0].action);
    let step = |verb, object: &str, run| (verb, object.to_owned(), run);
    assert_eq!(
        steps(&["action", "resource"]),
        [
            step(verb, "/users", 1),
            step(verb, "/users", 2), // another pace than the first
            step(verb, "", 1),
        ]
    );
    assert_eq!(
        steps(&["resource", "status_class"]),
        [step(None, "/users 2xx", 1), step(None, "/users 4xx", 2), step(None, "", 1)]
    );
    assert_eq!(
        steps(&["entity_name", "gap"]),
        [step(None, "A first", 1), step(None, "A <100ms", 2), step(None, "A <10s", 1)]
    );
    assert_eq!(steps(&["action"]).iter().map(|s| s.1.as_str()).collect::<Vec<_>>(), ["", "", ""]);
}
