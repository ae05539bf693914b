//! What a run has to say to people who are not looking: one message per critical anomaly, one digest a night, and on a calm
//! night nothing, or a heartbeat where one is wanted. [`slack`], [`mail`] and [`webhook`] give it a form.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{bounded, words};
use crate::anomaly::{Anomaly, NightSummary, RunInfo, Severity};
use crate::date::Date;

pub mod mail;
pub mod slack;
pub mod webhook;

/// Most messages for critical anomalies of one night, and most anomalies that a digest shows; it counts the rest.
const MOST: usize = 20;
/// Most remarks of a message.
const NOTES: usize = 12;
/// Most characters of a remark.
const NOTE: usize = 400;

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// One critical anomaly.
    Critical,
    /// A night with anomalies.
    Digest,
    /// A calm night.
    Heartbeat,
    /// Somebody wants to know whether messages arrive.
    Test,
}

impl Why {
    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Digest => "digest",
            Self::Heartbeat => "heartbeat",
            Self::Test => "test",
        }
    }
}

/// One message. It is of bearable size ([`bounded`]); its texts are as they stand in the log, and every form guards them its own
/// way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Why it is sent.
    pub why: Why,
    /// What it is about: equal for equal nights and anomalies, whatever was found since.
    pub key: String,
    /// The night.
    pub night: Date,
    /// The model that scored.
    pub model_name: String,
    /// Its version.
    pub model_version: u32,
    /// The night or the anomaly in one line.
    pub headline: String,
    /// Counts, gates and remarks.
    pub notes: Vec<String>,
    /// The anomaly, or those of the digest in rank order.
    pub anomalies: Vec<Anomaly>,
    /// Reported anomalies that are not among them.
    pub left_out: u64,
    /// Where the report is; empty if nobody said.
    pub report_url: String,
}

impl Message {
    /// The id under which a receiver sees it, however often it is sent.
    pub fn id(&self) -> String {
        format!("qw_{}", hex::encode(&Sha256::digest(self.key.as_bytes())[..16]))
    }
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// A message on calm nights.
    pub heartbeat: bool,
    /// Most nights, the latest ones.
    pub nights: usize,
    /// Address of the report with `{date}` in it, or empty.
    pub report_url: &'a str,
}

/// The nights of a run that are spoken of: the latest ones.
pub fn nights(run: &RunInfo, wanted: Wanted<'_>) -> Vec<Date> {
    let nights: BTreeSet<Date> = run.nights.iter().map(|n| n.date).collect();
    let skipped = nights.len().saturating_sub(wanted.nights);
    nights.into_iter().skip(skipped).collect()
}

/// The messages of a run, night by night, the critical ones first.
pub fn of_run(run: &RunInfo, anomalies: &[Anomaly], wanted: Wanted<'_>) -> Vec<Message> {
    let mut out = Vec::new();
    for night in nights(run, wanted) {
        let summaries: Vec<&NightSummary> = run.nights.iter().filter(|n| n.date == night).collect();
        let mut rows: Vec<&Anomaly> = anomalies.iter().filter(|a| a.date == night && a.reported).collect();
        rows.sort_by_key(|a| a.rank);
        let message = |why: Why, of: &str, headline: String, notes: Vec<String>, shown: &[&Anomaly]| Message {
            why,
            key: format!("{}/{night}/{}{of}", run.model_name, why.name()),
            night,
            model_name: run.model_name.clone(),
            model_version: run.model_version,
            headline,
            notes,
            anomalies: shown.iter().map(|a| bounded::anomaly(a)).collect(),
            left_out: 0,
            report_url: wanted.report_url.replace("{date}", &night.to_string()),
        };
        for a in rows.iter().filter(|a| a.severity == Severity::Critical).take(MOST) {
            let headline = bounded::text(&a.title, NOTE).into_owned();
            out.push(message(Why::Critical, &format!("/{}", a.anomaly_key), headline, Vec::new(), &[a]));
        }
        let sum = |count: fn(&NightSummary) -> u64| summaries.iter().map(|n| count(n)).sum::<u64>();
        let ongoing = summaries.iter().map(|n| words::ongoing(n, anomalies).len() as u64).sum();
        let headline = words::headline(sum(|n| n.reported), sum(|n| n.subjects), ongoing);
        if !rows.is_empty() {
            let mut digest = message(Why::Digest, "", headline, notes(run, &summaries), &rows[..rows.len().min(MOST)]);
            digest.left_out = (rows.len() - digest.anomalies.len()) as u64;
            out.push(digest);
        } else if wanted.heartbeat {
            out.push(message(Why::Heartbeat, "", headline, notes(run, &summaries), &[]));
        }
    }
    out
}

/// A message that says only that messages arrive; `key` tells one from the next.
pub fn test(key: &str, night: Date) -> Message {
    Message {
        why: Why::Test,
        key: format!("test/{key}"),
        night,
        model_name: String::new(),
        model_version: 0,
        headline: "Messages of quietwatch arrive here".into(),
        notes: vec!["This is a test; nothing was found.".into()],
        anomalies: Vec::new(),
        left_out: 0,
        report_url: String::new(),
    }
}

/// What keeps the night from being trusted as it is comes before the counts.
fn notes(run: &RunInfo, summaries: &[&NightSummary]) -> Vec<String> {
    let several = summaries.len() > 1;
    let mut out = Vec::new();
    for n in summaries {
        let org = if several { format!("{}: ", bounded::text(&n.org_id, 40)) } else { String::new() };
        out.extend(n.gates.iter().map(|g| format!("{org}gate {}: {}", g.gate.name(), g.message)));
        let said = |about: &&String| n.gates.iter().any(|g| bounded::text(&g.message, NOTE).contains(about.as_str()));
        out.extend(n.coverage.files.iter().filter(|about| !said(about)).map(|about| format!("{org}{about}")));
        out.extend(n.notes.iter().map(|note| format!("{org}{note}")));
        out.extend(words::muted(n).iter().map(|muted| format!("{org}{muted}")));
    }
    if !run.missing_dates.is_empty() {
        let dates: Vec<String> = run.missing_dates.iter().take(10).map(Date::to_string).collect();
        let more = if run.missing_dates.len() > dates.len() { " and more" } else { "" };
        out.push(format!("no data: {}{more}", dates.join(", ")));
    }
    for n in summaries {
        let org = if several { format!("{}: ", bounded::text(&n.org_id, 40)) } else { String::new() };
        out.push(format!("{org}{}, {}", words::count(n.subjects, "subject"), words::count(n.events, "call")));
    }
    let more = out.len().saturating_sub(NOTES);
    if more > 0 {
        out.truncate(NOTES - 1);
        out.push(format!("{} more in the report", words::count(more as u64 + 1, "remark")));
    }
    out.iter().map(|note| bounded::text(note, NOTE).into_owned()).collect()
}

/// One line about who, what and how likely, for people.
fn about(a: &Anomaly) -> String {
    format!("{} · {} · {}", a.category.name(), a.status.name(), words::one_in(a.p_value))
}

/// The command that shows everything.
fn explain(a: &Anomaly) -> String {
    format!("quietwatch explain {} --run …", a.anomaly_key.get(..12).unwrap_or(&a.anomaly_key))
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
