//! `feedback`: verdicts of people on anomalies.

use std::io::Write;

use super::args::{FeedbackAddArgs, FeedbackCommand};
use super::{cannot_print, now, print_json, terminal};
use crate::error::{Error, Kind, Result};
use crate::feedback::{DEFAULT_DAYS, Entry, MAX_REASON, Verdict};
use crate::pipeline::feedback::find;
use crate::store::Store;

pub(super) fn run(command: &FeedbackCommand, out: &mut dyn Write) -> Result<()> {
    match command {
        FeedbackCommand::Add(args) => add(args, out),
        FeedbackCommand::List { store, json } => list(&store.open()?, *json, out),
    }
}

fn add(args: &FeedbackAddArgs, out: &mut dyn Write) -> Result<()> {
    let usage = |message: String| Err(Error::new(Kind::Usage, message));
    let reason = args.reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON {
        return usage(format!("expected a --reason of 1 to {MAX_REASON} bytes, found {}", reason.len()));
    }
    if args.until.is_some() && args.verdict != Verdict::Expected {
        let verdict = args.verdict.name();
        return usage(format!("--until is for --verdict expected: a verdict {verdict} is about its own night alone"));
    }
    let store = args.store.open()?;
    let subject = find(&store, &store.kept_nights()?, &args.anomaly_key)?;
    let until = (args.verdict == Verdict::Expected).then(|| args.until.unwrap_or(subject.date.plus(DEFAULT_DAYS)));
    if let Some(until) = until.filter(|until| *until < subject.date) {
        return usage(format!("expected --until no earlier than the anomaly's night {}, found {until}", subject.date));
    }
    let entry = Entry {
        anomaly_key: subject.anomaly_key,
        verdict: args.verdict,
        reason: reason.to_owned(),
        until,
        at: now(),
        date: subject.date,
        org_id: subject.org_id,
        subject_type: subject.subject_type,
        subject_id: subject.subject_id,
        family: subject.family,
        families: subject.families,
    };
    store.add_verdict(&entry)?;
    if args.json {
        return print_json(out, &entry);
    }
    let effect = match entry.until {
        Some(until) => format!("the same thing neither alerts nor is learned until {until}"),
        None if entry.verdict == Verdict::True => "this night is never learned".to_owned(),
        None => "this night is learned at once".to_owned(),
    };
    let line = format!(
        "{} {} of {} is {}: {effect}",
        entry.subject_type.name(),
        terminal::escape(&entry.subject_id),
        entry.date,
        entry.verdict.name()
    );
    writeln!(out, "{line}").map_err(cannot_print)
}

fn list(store: &Store, json: bool, out: &mut dyn Write) -> Result<()> {
    let verdicts = store.verdicts()?;
    if json {
        return print_json(out, &verdicts);
    }
    if verdicts.is_empty() {
        return writeln!(out, "no verdicts").map_err(cannot_print);
    }
    let mut table = terminal::table(&["night", "verdict", "until", "subject", "id", "family", "key", "reason"]);
    for v in verdicts {
        let row = [
            v.date.to_string(),
            v.verdict.name().to_owned(),
            v.until.map_or("-".into(), |d| d.to_string()),
            v.subject_type.name().to_owned(),
            crate::report::escape::shorten(&v.subject_id, 40),
            v.family.name().to_owned(),
            v.anomaly_key[..12].to_owned(),
            crate::report::escape::shorten(&v.reason, 60),
        ];
        terminal::add_row(&mut table, row);
    }
    writeln!(out, "{}", terminal::render(&table)).map_err(cannot_print)
}
