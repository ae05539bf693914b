//! Metrics of the last night in the text format of Prometheus, for the textfile collector of its node exporter.
//!
//! The one output with a time in it: that a night was scored lately is the heartbeat, and a file that grows old is an alarm.

use std::fmt::Write;

use super::escape::visible;
use crate::anomaly::{Anomaly, GateKind, NightSummary, RunInfo};

/// The text; `now` in seconds since the epoch.
pub fn write(run: &RunInfo, anomalies: &[Anomaly], now: i64) -> String {
    let mut out = String::new();
    let last = run.nights.iter().map(|n| n.date).max();
    let nights: Vec<&NightSummary> = run.nights.iter().filter(|n| Some(n.date) == last).collect();
    let model = format!("model=\"{}\"", label(&run.model_name));
    let mut family = |name: &str, help: &str, samples: &[(String, f64)]| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP quietwatch_{name} {help}\n# TYPE quietwatch_{name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(out, "quietwatch_{name}{{{labels}}} {value}");
        }
    };
    let of_run = |value: f64| [(model.clone(), value)];
    let with_org = |org: &str| format!("{model},org=\"{}\"", label(org));
    let of_night = |value: &dyn Fn(&NightSummary) -> f64| -> Vec<(String, f64)> {
        nights.iter().map(|n| (with_org(&n.org_id), value(n))).collect()
    };
    family("last_success_timestamp_seconds", "When a night was last scored and published.", &of_run(now as f64));
    let info = format!("{model},version=\"{}\",digest=\"{}\"", run.model_version, label(&run.model_digest));
    family("model_info", "The model that scored.", &[(info, 1.0)]);
    if let Some(date) = last {
        let start = date.start_ms() as f64 / 1_000.0;
        family("night_timestamp_seconds", "Start of the last night that was scored (UTC).", &of_run(start));
    }
    family("missing_dates", "Dates asked for without data.", &of_run(run.missing_dates.len() as f64));
    family("events", "Events of the night.", &of_night(&|n| n.events as f64));
    family("subjects", "Subjects scored.", &of_night(&|n| n.subjects as f64));
    family("reported", "Anomalies reported.", &of_night(&|n| n.reported as f64));
    family("announced", "Findings not reported because announced or expected.", &of_night(&|n| n.announced as f64));
    family("over_budget", "Findings not reported because the budget was spent.", &of_night(&|n| n.over_budget as f64));
    family("cold_users", "Users with too little history of their own.", &of_night(&|n| n.cold_users as f64));
    let highest = |n: &NightSummary| {
        let rows = anomalies.iter().filter(|a| a.date == n.date && a.org_id == n.org_id);
        rows.map(|a| a.score).fold(0.0, f64::max)
    };
    family("highest_score", "Score of the oddest subject, 0 to 100.", &of_night(&highest));
    let gates: Vec<(String, f64)> = nights
        .iter()
        .flat_map(|n| {
            let org = with_org(&n.org_id);
            GateKind::ALL.map(|gate| {
                let tripped = n.gates.iter().any(|g| g.gate == gate);
                (format!("{org},gate=\"{}\"", gate.name()), f64::from(u8::from(tripped)))
            })
        })
        .collect();
    family("gate_tripped", "Whether the gate tripped.", &gates);
    out
}

/// A label's value: nothing in it ends the quotes or the line.
fn label(text: &str) -> String {
    visible(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_last_night_is_told_with_its_time_and_its_gates() {
        let mut run = sample::run();
        let mut before = sample::summary();
        before.date = before.date.plus(-1);
        before.events = 7;
        run.nights.insert(0, before);
        let text = write(&run, &[sample::anomaly(1)], 1_776_800_000);
        for line in [
            "quietwatch_last_success_timestamp_seconds{model=\"acme\"} 1776800000",
            // 2026-04-21T00:00:00Z.
            "quietwatch_night_timestamp_seconds{model=\"acme\"} 1776729600",
            "quietwatch_events{model=\"acme\",org=\"00D5g000001AAAA\"} 89253",
            "quietwatch_highest_score{model=\"acme\",org=\"00D5g000001AAAA\"} 96.5",
            "quietwatch_gate_tripped{model=\"acme\",org=\"00D5g000001AAAA\",gate=\"volume\"} 1",
            "quietwatch_gate_tripped{model=\"acme\",org=\"00D5g000001AAAA\",gate=\"model-age\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(!text.contains(" 7\n"), "the night before is not told");
    }

    #[test]
    fn every_line_is_a_comment_or_one_sample_whatever_an_organisation_is_called() {
        let mut run = sample::run();
        run.nights[0].org_id = format!("{}\\\"}} 1\nfake 2", sample::HOSTILE);
        let text = write(&run, &[], 0);
        for line in text.lines() {
            assert!(line.starts_with("# ") || line.starts_with("quietwatch_"), "{line:?}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(line.starts_with("# ") || value.parse::<f64>().is_ok(), "{line:?}");
        }
        assert!(text.contains("\\\\u{202e}") && !text.contains('\u{202e}'));
        assert!(text.contains("\\\\\\\"} 1\\\\nfake 2\""), "{text}");
    }
}
