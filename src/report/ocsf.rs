//! Anomalies as Detection Findings of the Open Cybersecurity Schema Framework (class 2004, version 1.5.0), one JSON object
//! per line, for a SIEM or a security data lake.
//!
//! A finding says what an anomaly says and nothing that the engine does not know: no ATT&CK technique (a category of
//! behaviour is not a technique), no confidence, no kind of user. Times are those of the night, so that equal runs give
//! equal bytes.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::bounded;
use crate::anomaly::{Anomaly, Evidence, Severity, Status};
use crate::date::MS_PER_DAY;
use crate::error::{Error, Kind, Result};
use crate::features::catalog::Family;

/// Version of the schema.
pub const VERSION: &str = "1.5.0";

const CLASS: u32 = 2004;
const CATEGORY: u32 = 2;

/// The findings, one on each line, in the order of the rows.
pub fn write<'a>(anomalies: impl IntoIterator<Item = &'a Anomaly>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for anomaly in anomalies {
        serde_json::to_writer(&mut out, &finding(anomaly))
            .map_err(|e| Error::new(Kind::Bug, "a finding cannot be written as JSON").with_source(e))?;
        out.push(b'\n');
    }
    Ok(out)
}

/// One finding.
pub fn finding(anomaly: &Anomaly) -> Value {
    let a = &bounded::anomaly(anomaly);
    let (activity, activity_name, status, status_name) = match a.status {
        Status::New => (1, "Create", 1, "New"),
        Status::Ongoing => (2, "Update", 2, "In Progress"),
    };
    let (severity, severity_name) = match a.severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    };
    let (evidences, observables) = evidences(a);
    json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "anomaly_analyses": analyses(a),
        "category_name": "Findings",
        "category_uid": CATEGORY,
        "class_name": "Detection Finding",
        "class_uid": CLASS,
        "count": a.event_count.min(i32::MAX as u64),
        "end_time": a.window_end,
        "evidences": evidences,
        "finding_info": finding_info(a),
        "is_alert": a.reported,
        "message": a.title,
        "metadata": {
            "product": { "name": "quietwatch", "vendor_name": "quietwatch", "version": a.engine_version },
            "tenant_uid": a.org_id,
            "uid": a.anomaly_key,
            "version": VERSION,
        },
        "observables": observables,
        // Rounding up must not lift a score over the step of its severity.
        "risk_level": if severity == 1 { "Info" } else { severity_name },
        "risk_level_id": severity - 1,
        "risk_score": a.score.floor() as u32,
        "severity": severity_name,
        "severity_id": severity,
        "start_time": a.window_start,
        "status": status_name,
        "status_id": status,
        // The night is known when it is over.
        "time": a.date.start_ms() + MS_PER_DAY,
        "type_name": format!("Detection Finding: {activity_name}"),
        "type_uid": CLASS * 100 + activity,
        "unmapped": {
            "date": a.date,
            "error_count": a.error_count,
            "model_digest": a.model_digest,
            "model_name": a.model_name,
            "model_version": a.model_version,
            "p_value": a.p_value,
            "q_value": a.q_value,
            "rank": a.rank,
            "score": a.score,
            "subject_id": a.subject_id,
            "subject_type": a.subject_type,
            "user_ids": a.user_ids,
        },
    })
}

fn finding_info(a: &Anomaly) -> Value {
    let mut analytics: Vec<Value> = Vec::new();
    for e in &a.evidence {
        let analytic = analytic(e, &a.engine_version);
        if !analytics.contains(&analytic) {
            analytics.push(analytic);
        }
    }
    let mut info = Map::new();
    if !analytics.is_empty() {
        info.insert("analytic".into(), analytics.remove(0));
    }
    info.insert("desc".into(), json!(a.story));
    info.insert("first_seen_time".into(), json!(a.window_start));
    info.insert("last_seen_time".into(), json!(a.window_end));
    if !analytics.is_empty() {
        info.insert("related_analytics".into(), json!(analytics));
    }
    if !a.request_ids.is_empty() {
        let events: Vec<Value> = a.request_ids.iter().map(|id| json!({ "type": "API request", "uid": id })).collect();
        info.insert("related_events".into(), json!(events));
    }
    info.insert("title".into(), json!(a.title));
    info.insert("types".into(), json!([a.category]));
    info.insert("uid".into(), json!(a.anomaly_key));
    Value::Object(info)
}

fn analytic(e: &Evidence, version: &str) -> Value {
    let (id, name) = match e.family {
        _ if e.detector.starts_with("rule/") => (1, "Rule"),
        Family::Count | Family::Rate => (3, "Statistical"),
        Family::Time | Family::Novelty | Family::Sequence => (2, "Behavioral"),
        Family::Geometry => (4, "Learning (ML/DL)"),
    };
    json!({ "category": e.family, "name": e.detector, "type": name, "type_id": id, "uid": e.detector, "version": version })
}

/// What is usual beside what was seen, piece by piece.
fn analyses(a: &Anomaly) -> Vec<Value> {
    if a.evidence.is_empty() {
        return Vec::new();
    }
    let side = |e: &Evidence, value: &str, pattern: Option<String>| {
        let mut side = json!({
            "observation_parameter": e.feature,
            "observation_type": e.family,
            "observations": [{ "value": value }],
        });
        if let Some(pattern) = pattern {
            side["observed_pattern"] = json!(pattern);
        }
        side
    };
    let usual = |e: &Evidence| (e.low < e.high).then(|| format!("{} to {}", e.low, e.high));
    let anomalies: Vec<Value> = a.evidence.iter().map(|e| side(e, &e.observed, Some(e.sentence.clone()))).collect();
    let baselines: Vec<Value> = a.evidence.iter().map(|e| side(e, &e.expected, usual(e))).collect();
    vec![json!({
        "analysis_targets": [{ "name": a.subject_id, "type": a.subject_type }],
        "anomalies": anomalies,
        "baselines": baselines,
    })]
}

/// Who acted from where, one piece for each address; what was done, where a verb is new; and where the values to search for stand.
fn evidences(a: &Anomaly) -> (Vec<Value>, Vec<Value>) {
    let mut actor = Map::new();
    let mut user = Map::new();
    for (key, value) in [("name", &a.user_name), ("uid", &a.user_id)] {
        user.extend(said(value.as_ref()).map(|value| (key.to_owned(), json!(value))));
    }
    for (key, value) in [("app_name", &a.app_name), ("app_uid", &a.app_id)] {
        actor.extend(said(value.as_ref()).map(|value| (key.to_owned(), json!(value))));
    }
    let mut observables = Vec::new();
    let mut observe = |name: String, id: u32, kind: &str, value: &str| {
        observables.push(json!({ "name": name, "type": kind, "type_id": id, "value": value }));
    };
    let mut out: Vec<Value> = Vec::new();
    for ip in a.source_ips.iter().filter(|ip| !ip.is_empty()) {
        // A log can hold anything in the place of an address.
        let endpoint = if ip.parse::<IpAddr>().is_ok() {
            observe(format!("evidences[{}].src_endpoint.ip", out.len()), 2, "IP Address", ip);
            json!({ "ip": ip })
        } else {
            json!({ "name": ip })
        };
        out.push(json!({ "src_endpoint": endpoint }));
    }
    // The country of which address is known only where there is one of each.
    if let ([country], [only]) = (a.countries.as_slice(), out.as_mut_slice()) {
        only["src_endpoint"]["location"] = json!({ "country": country });
    }
    if let Some(operation) = a.evidence.iter().find_map(new_verb) {
        out.push(json!({ "api": { "operation": operation } }));
    }
    if !user.is_empty() {
        actor.insert("user".into(), Value::Object(user));
    }
    if !actor.is_empty() {
        if out.is_empty() {
            out.push(json!({}));
        }
        for (key, id, kind) in [("name", 4, "User Name"), ("uid", 31, "User Object: uid")] {
            if let Some(value) = actor.get("user").and_then(|user| user[key].as_str()) {
                observe(format!("evidences[0].actor.user.{key}"), id, kind, value);
            }
        }
        for evidence in &mut out {
            evidence["actor"] = Value::Object(actor.clone());
        }
    }
    // A finding about an app, an address or the organisation touches users without being one's own.
    if a.user_id.is_none() {
        for id in a.user_ids.iter().filter(|id| !id.is_empty()) {
            observe(format!("evidences[{}].user.uid", out.len()), 31, "User Object: uid", id);
            out.push(json!({ "user": { "uid": id } }));
        }
    }
    (out, observables)
}

fn said(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

/// The class of calls that is new, from evidence of `new/action`: `bulk_create (3 calls)`.
fn new_verb(e: &Evidence) -> Option<&str> {
    let verb = e.observed.split(" (").next().filter(|_| e.detector == "new/action")?;
    (!verb.is_empty() && verb.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then_some(verb)
}

#[cfg(test)]
#[path = "ocsf_tests.rs"]
mod tests;
