use super::*;
use crate::report::sample;

#[path = "../../tests/fixtures/ocsf/schema.rs"]
mod schema;

fn every_kind() -> Vec<Anomaly> {
    let plain = sample::anomaly(1);
    let mut app = sample::anomaly(5);
    (app.user_id, app.user_name, app.app_id) = (None, None, Some("0H4".into()));
    (app.status, app.severity, app.score) = (Status::Ongoing, Severity::Info, 3.9);
    app.user_ids = vec!["a".into(), "b".into()];
    let mut silent = sample::anomaly(2);
    (silent.source_ips, silent.countries, silent.evidence, silent.request_ids) = (vec![], vec![], vec![], vec![]);
    (silent.user_id, silent.user_name, silent.app_name, silent.user_ids) = (None, None, None, vec![]);
    let mut verb = sample::anomaly(3);
    (verb.evidence[0].detector, verb.evidence[0].observed) = ("new/action".into(), "bulk_delete (3 calls)".into());
    verb.source_ips.truncate(1);
    vec![plain, app, silent, verb, sample::hostile(4)]
}

#[test]
fn every_finding_is_valid_under_the_published_schema() {
    for anomaly in every_kind() {
        let finding = finding(&anomaly);
        assert_eq!(schema::errors(&finding), [""; 0], "{finding:#}");
    }
}

#[test]
fn the_schema_refuses_what_it_does_not_allow() {
    type Change = fn(&mut Value);
    let broken = |change: Change| {
        let mut finding = finding(&sample::anomaly(1));
        change(&mut finding);
        schema::errors(&finding)
    };
    let cases: [(Change, &str); 9] = [
        (|f| drop(f["finding_info"].as_object_mut().unwrap().remove("uid")), "/finding_info/uid: required"),
        (|f| drop(f.as_object_mut().unwrap().remove("severity_id")), "/severity_id: required"),
        (|f| f["metadata"]["surprise"] = json!(1), "/metadata/surprise: unknown"),
        (|f| f["actor"] = json!({}), "/actor: needs the profile"),
        (|f| f["risk_score"] = json!(96.5), "/risk_score: integer_t"),
        (|f| f["severity_id"] = json!(7), "/severity_id: one of"),
        (|f| f["evidences"][0]["src_endpoint"]["ip"] = json!("nowhere"), "/evidences[0]/src_endpoint/ip: ip_t"),
        (|f| f["evidences"][0] = json!({ "name": "x" }), "/evidences[0]: at least one of"),
        (|f| f["anomaly_analyses"] = json!({}), "/anomaly_analyses: an array"),
    ];
    for (change, said) in cases {
        let errors = broken(change);
        assert!(errors.len() == 1 && errors[0].starts_with(said), "{said}: {errors:?}");
    }
}

#[test]
fn a_finding_says_what_the_anomaly_says() {
    let a = sample::anomaly(1);
    let f = finding(&a);
    assert_eq!((&f["finding_info"]["uid"], &f["metadata"]["uid"]), (&json!(a.anomaly_key), &json!(a.anomaly_key)));
    assert_eq!((&f["type_uid"], &f["activity_name"]), (&json!(200_401), &json!("Create")));
    assert_eq!((&f["risk_score"], &f["risk_level_id"], &f["severity_id"]), (&json!(96), &json!(4), &json!(5)));
    assert_eq!(f["metadata"]["tenant_uid"], a.org_id.as_str());
    // 2026-04-22T00:00:00Z: when the night was over.
    assert_eq!(f["time"], 1_776_816_000_000_i64);
    assert_eq!(f["evidences"][1]["actor"]["user"]["uid"], "0055g00000AAAAA");
    assert_eq!(f["evidences"][1]["src_endpoint"]["ip"], "2001:db8::7");
    assert_eq!(f["anomaly_analyses"][0]["anomalies"][0]["observations"][0]["value"], "4,812 calls");
    assert_eq!(f["anomaly_analyses"][0]["baselines"][0]["observed_pattern"], "900 to 1500");
    assert_eq!(f["finding_info"]["related_events"][1]["uid"], "TID:4712");
    // What an observable names is there.
    for o in f["observables"].as_array().unwrap() {
        let pointer = format!("/{}", o["name"].as_str().unwrap().replace('[', "/").replace(']', "").replace('.', "/"));
        assert_eq!(f.pointer(&pointer), Some(&o["value"]), "{pointer}");
    }
    let kinds = every_kind();
    let ongoing = finding(&kinds[1]);
    assert_eq!((&ongoing["type_uid"], &ongoing["is_alert"]), (&json!(200_402), &json!(false)));
    assert_eq!((&ongoing["risk_score"], &ongoing["risk_level"]), (&json!(3), &json!("Info")));
    assert_eq!(finding(&kinds[3])["evidences"][1]["api"]["operation"], "bulk_delete");
}

#[test]
fn a_line_is_one_finding_of_bearable_size_whatever_names_hold() {
    let bytes = write(&every_kind()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), every_kind().len());
    for line in text.lines() {
        assert!(line.len() < 20_000, "{} bytes", line.len());
        assert!(serde_json::from_str::<Value>(line).unwrap().is_object());
    }
}
