//! `deliver`, and what `score` does with messages after a run is published: never a reason to fail but under `--strict`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::DeliverArgs;
use super::messages::Message;
use super::{cannot_print, now, print_json};
use crate::anomaly::{Anomaly, RunInfo};
use crate::config::Config;
use crate::date::{Date, parse_ms};
use crate::deliver::{self, Clock, Outcome, Said, Sent};
use crate::error::{Error, Kind, Result};
use crate::report::escape::visible;
use crate::report::message::{self, Wanted};
use crate::report::run_folder;
use crate::report::words::count;
use crate::seed::Seed;

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn seconds(&self) -> i64 {
        parse_ms(&now()).unwrap_or_default() / 1_000
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait(&self, time: Duration) {
        thread::sleep(time);
    }
}

pub(super) fn run(args: &DeliverArgs, out: &mut dyn Write) -> Result<ExitCode> {
    let config = args.layers()?.resolve()?;
    if !config.deliver().is_on() {
        let message = "expected deliver.slack.url-file, deliver.mail.server or deliver.webhook.url in the configuration, found \
                       none of them; docs/operations.md shows how to set them up";
        return Err(Error::new(Kind::Usage, message));
    }
    let outcome = match &args.run {
        Some(dir) => {
            let (info, anomalies) = run_folder::load(dir)?;
            of_run(&info, &anomalies, dir, &config)?
        }
        None => test(&config)?,
    };
    warn(&outcome);
    if args.json {
        let sent = |s: &Sent| json!({ "channel": s.channel, "why": s.why, "night": s.night, "key": s.key, "id": s.id });
        let failed = |f: &(Sent, String)| {
            let mut value = sent(&f.0);
            value["reason"] = json!(f.1);
            value
        };
        let value = json!({
            "dry_run": !config.deliver().dry_run.is_empty(),
            "sent": outcome.sent.iter().map(sent).collect::<Vec<_>>(),
            "failed": outcome.failed.iter().map(failed).collect::<Vec<_>>(),
        });
        print_json(out, &value)?;
    } else {
        let done = if config.deliver().dry_run.is_empty() { "delivered" } else { "written" };
        for sent in &outcome.sent {
            writeln!(out, "{done}  {}  {}", said(sent), sent.id).map_err(cannot_print)?;
        }
        if outcome.sent.is_empty() && outcome.failed.is_empty() {
            writeln!(out, "nothing to deliver").map_err(cannot_print)?;
        }
    }
    tell_failed(&outcome);
    if outcome.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let (failed, all) = (outcome.failed.len(), outcome.failed.len() + outcome.sent.len());
    Message::ended(Kind::Undelivered, format!("{failed} of {} not delivered", count(all as u64, "message"))).tell();
    Ok(ExitCode::from(Kind::Undelivered.exit_code()))
}

/// Delivers what a published run says, and tells what came of it. Whether all is delivered.
pub(super) fn after(info: &RunInfo, anomalies: &[Anomaly], dir: &Path, config: &Config) -> bool {
    if !config.deliver().is_on() {
        return true;
    }
    match of_run(info, anomalies, dir, config) {
        Ok(outcome) => {
            warn(&outcome);
            let dry_run = &config.deliver().dry_run;
            if dry_run.is_empty() {
                for sent in &outcome.sent {
                    with_fields(Message::done(format!("delivered {}", said(sent))), sent).tell();
                }
            } else {
                let count = outcome.sent.len();
                let text = format!("dry run: {count} requests written to {dry_run}, nothing sent");
                Message::done(text).with_path("path", Path::new(dry_run)).tell();
            }
            tell_failed(&outcome);
            if !outcome.failed.is_empty() {
                let text = format!(
                    "the run is published all the same; the next score beside it, or quietwatch deliver --run {}, tries again",
                    dir.display()
                );
                Message::warning(text).with_path("path", dir).tell();
            }
            outcome.failed.is_empty()
        }
        Err(error) => {
            let text = format!("nothing is delivered, the run is published all the same: {}", error.in_one_line());
            Message::warning(visible(&text)).tell();
            false
        }
    }
}

fn of_run(info: &RunInfo, anomalies: &[Anomaly], dir: &Path, config: &Config) -> Result<Outcome> {
    let deliver = config.deliver();
    let wanted =
        Wanted { heartbeat: deliver.heartbeat, nights: deliver.nights as usize, report_url: &deliver.report_url };
    let messages = message::of_run(info, anomalies, wanted);
    let nights = message::nights(info, wanted);
    let said = Said { model: &info.model_name, nights: &nights, messages: &messages };
    deliver::run(&said, &deliver::parent_of(dir)?, deliver, Seed(config.run().seed), &clock())
}

fn test(config: &Config) -> Result<Outcome> {
    let clock = clock();
    let message = message::test(&now(), Date::from_ms(clock.seconds() * 1_000));
    deliver::send_one(&message, config.deliver(), Seed(config.run().seed), &clock)
}

fn clock() -> SystemClock {
    SystemClock(Instant::now())
}

fn said(sent: &Sent) -> String {
    format!("{} {} of {}", sent.channel, sent.why.name(), sent.night)
}

fn tell_failed(outcome: &Outcome) {
    for (sent, why) in &outcome.failed {
        let text = format!("not delivered: {}: {}", said(sent), visible(why));
        with_fields(Message::warning(text), sent).tell();
    }
}

fn warn(outcome: &Outcome) {
    for warning in &outcome.warnings {
        Message::warning(visible(warning)).tell();
    }
}

fn with_fields(message: Message, sent: &Sent) -> Message {
    message
        .with("channel", sent.channel)
        .with("why", sent.why.name())
        .with("date", sent.night.to_string())
        .with("id", &*sent.id)
}
