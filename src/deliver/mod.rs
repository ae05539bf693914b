//! Sends messages: to Slack, by e-mail, to a signed webhook. The only part of the engine that opens a connection.
//!
//! A run is published before anything of this begins, and nothing that fails here takes it back. Each message is written to the
//! ledger as pending before it is first tried and as delivered after a receiver has taken it, so that whatever is
//! interrupted or refused is tried again by the next run: at least once, each time under the same id. Killed between
//! the receiver's yes and the ledger, one message is sent twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Deliver;
use crate::config::deliver::{Slack, Webhook, is_safe_url};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::fsutil;
use crate::report::message::{Message, Why, slack, webhook};
use crate::seed::Seed;
use ledger::{Ledger, State};
use retry::{Failure, Policy};
use secret::Secret;
use trust::Trust;

mod http;
mod ledger;
mod retry;
mod secret;
mod sign;
mod smtp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trust;

pub use ledger::FOLDER as LEDGER;

/// Time, as whoever calls has it.
pub trait Clock {
    /// Seconds since the epoch.
    fn seconds(&self) -> i64;
    /// Time since some moment, never going back.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn wait(&self, time: Duration);
}

/// What a run has to say.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Its model.
    pub model: &'a str,
    /// The nights that it speaks of; one without a message is calm.
    pub nights: &'a [Date],
    /// Its messages, in the order in which they are to arrive.
    pub messages: &'a [Message],
}

/// What became of the messages, for people.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was delivered, or in a dry run written.
    pub sent: Vec<Sent>,
    /// What was not, with the reason.
    pub failed: Vec<(Sent, String)>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// One message to one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// `slack`, `mail` or `webhook`.
    pub channel: &'static str,
    /// Why it was sent.
    pub why: Why,
    /// The night.
    pub night: Date,
    /// What it is about.
    pub key: String,
    /// The id under which the receiver sees it.
    pub id: String,
}

impl Sent {
    fn new(channel: &'static str, message: &Message) -> Self {
        Self { channel, why: message.why, night: message.night, key: message.key.clone(), id: message.id() }
    }
}

/// A channel that is ready to send.
enum Channel {
    Slack(Secret, Trust),
    Mail(Box<smtp::Server>),
    Webhook(String, Secret, Trust),
}

/// Something to send, as it leaves.
enum Request {
    Http(http::Request),
    Mail(Box<smtp::Letter>),
}

/// A channel that is configured, or the reason why nothing can be sent to it.
struct Configured {
    name: &'static str,
    channel: std::result::Result<Channel, String>,
}

fn configured(config: &Deliver, warnings: &mut Vec<String>) -> Vec<Configured> {
    let mut out = Vec::new();
    let mut add = |name: &'static str, channel: Result<Channel>| {
        out.push(Configured { name, channel: channel.map_err(|e| e.in_one_line()) });
    };
    if !config.slack.url_file.is_empty() {
        add("slack", slack_channel(&config.slack, warnings));
    }
    if !config.mail.server.is_empty() {
        add("mail", smtp::Server::new(&config.mail, warnings).map(|server| Channel::Mail(Box::new(server))));
    }
    if !config.webhook.url.is_empty() {
        add("webhook", webhook_channel(&config.webhook, warnings));
    }
    out
}

fn webhook_channel(config: &Webhook, warnings: &mut Vec<String>) -> Result<Channel> {
    let key = Secret::read(&config.secret_file, warnings)?.into_key()?;
    Ok(Channel::Webhook(config.url.clone(), key, Trust::read(&config.ca_file)?))
}

fn slack_channel(config: &Slack, warnings: &mut Vec<String>) -> Result<Channel> {
    let url = Secret::read(&config.url_file, warnings)?;
    if url.text().is_some_and(is_safe_url) {
        return Ok(Channel::Slack(url, Trust::read(&config.ca_file)?));
    }
    let message = "deliver.slack.url-file: expected an address with https:// in the file, found something else";
    Err(Error::new(Kind::Config, message))
}

impl Channel {
    fn request(&self, message: &Message, now: i64) -> Request {
        match self {
            Self::Slack(url, trust) => {
                let body = slack::payload(message).to_string().into_bytes();
                let url = url.text().unwrap_or_default().to_owned();
                Request::Http(http::Request::new(url, true, body, trust.clone()))
            }
            Self::Webhook(url, key, trust) => {
                let body = webhook::payload(message).to_string().into_bytes();
                let signature = sign::signature(key.bytes(), &message.id(), now, &body);
                let mut request = http::Request::new(url.clone(), false, body, trust.clone());
                request.header("webhook-id", message.id());
                request.header("webhook-timestamp", now.to_string());
                request.header("webhook-signature", signature);
                Request::Http(request)
            }
            Self::Mail(server) => Request::Mail(Box::new(server.letter(message, now))),
        }
    }

    fn send(&self, request: &Request, timeout: Duration) -> std::result::Result<(), Failure> {
        match (self, request) {
            (Self::Mail(server), Request::Mail(letter)) => server.send(letter, timeout),
            (_, Request::Http(request)) => request.send(timeout),
            _ => unreachable!("a channel makes requests of its own kind"),
        }
    }
}

/// Every channel that is configured, and what keeps it from being used, if anything does. Sends nothing.
pub fn check(config: &Deliver, warnings: &mut Vec<String>) -> Vec<(&'static str, Option<String>)> {
    configured(config, warnings).into_iter().map(|c| (c.name, c.channel.err())).collect()
}

/// Delivers the messages of a published run and what earlier runs beside it could not; `parent` holds the run folder.
pub fn run(said: &Said<'_>, parent: &Path, config: &Deliver, seed: Seed, clock: &dyn Clock) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let channels = configured(config, &mut outcome.warnings);
    if !config.dry_run.is_empty() {
        dry_run(said.messages, &channels, Path::new(&config.dry_run), clock, &mut outcome)?;
        return Ok(outcome);
    }
    let ledger = Ledger::open(parent)?;
    let mut state = ledger.load()?;
    let names: Vec<&'static str> = channels.iter().map(|c| c.name).collect();
    if state.plan(said, &names, &mut outcome.warnings) {
        ledger.save(&state)?;
    }
    for configured in &channels {
        // Without a message nothing would be tried, and the night with an incident would be the first to know.
        if let (Err(why), true) = (&configured.channel, state.pending_for(configured.name).is_empty()) {
            outcome.warnings.push(format!("nothing can be delivered to {}: {why}", configured.name));
        }
        send_pending(configured, &mut state, &ledger, &Policy::new(config, seed), clock, &mut outcome)?;
    }
    Ok(outcome)
}

/// Sends what is pending for one channel, oldest first. A receiver that cannot be reached is not tried with the next message: that
/// would only take its time again.
fn send_pending(
    configured: &Configured,
    state: &mut State,
    ledger: &Ledger,
    policy: &Policy,
    clock: &dyn Clock,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut unreachable: Option<String> = None;
    for message in state.pending_for(configured.name) {
        let sent = Sent::new(configured.name, &message);
        let channel = match (&configured.channel, &unreachable) {
            (Err(why), _) | (_, Some(why)) => {
                outcome.failed.push((sent, why.clone()));
                continue;
            }
            (Ok(channel), None) => channel,
        };
        let attempt = || channel.send(&channel.request(&message, clock.seconds()), policy.timeout);
        match policy.attempt(&sent.id, clock, attempt) {
            Ok(()) => {
                state.delivered(configured.name, &message);
                ledger.save(state)?;
                outcome.sent.push(sent);
            }
            Err(Failure::Final(why)) => outcome.failed.push((sent, why)),
            Err(Failure::Passing { why, .. }) => {
                outcome.failed.push((sent, why.clone()));
                unreachable = Some(format!("not tried after that ({why})"));
            }
        }
    }
    Ok(())
}

/// Sends one message to every channel, whatever the ledger says, and leaves it out of the ledger.
pub fn send_one(message: &Message, config: &Deliver, seed: Seed, clock: &dyn Clock) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let channels = configured(config, &mut outcome.warnings);
    if !config.dry_run.is_empty() {
        dry_run(std::slice::from_ref(message), &channels, Path::new(&config.dry_run), clock, &mut outcome)?;
        return Ok(outcome);
    }
    let policy = Policy::new(config, seed);
    for Configured { name, channel } in &channels {
        let sent = Sent::new(name, message);
        let result = channel.as_ref().map_err(Clone::clone).and_then(|channel| {
            let attempt = || channel.send(&channel.request(message, clock.seconds()), policy.timeout);
            policy.attempt(&sent.id, clock, attempt).map_err(Failure::into_why)
        });
        match result {
            Ok(()) => outcome.sent.push(sent),
            Err(why) => outcome.failed.push((sent, why)),
        }
    }
    Ok(outcome)
}

/// Writes every request to a folder, whatever the ledger says, and changes nothing else.
fn dry_run(
    messages: &[Message],
    channels: &[Configured],
    folder: &Path,
    clock: &dyn Clock,
    outcome: &mut Outcome,
) -> Result<()> {
    fsutil::create_dirs(folder)?;
    for message in messages {
        for Configured { name, channel } in channels {
            let sent = Sent::new(name, message);
            let channel = match channel {
                Ok(channel) => channel,
                Err(why) => {
                    outcome.failed.push((sent, why.clone()));
                    continue;
                }
            };
            let (bytes, kind) = match channel.request(message, clock.seconds()) {
                Request::Http(request) => (request.shown(), "http"),
                Request::Mail(letter) => (letter.bytes(), "eml"),
            };
            let file = format!("{}-{}-{name}-{}.{kind}", message.night, message.why.name(), &sent.id[3..11]);
            fsutil::write_atomic(&folder.join(file), &bytes)?;
            outcome.sent.push(sent);
        }
    }
    Ok(())
}

/// The folder that holds the run folder.
pub fn parent_of(run: &Path) -> Result<PathBuf> {
    let dir = fs::canonicalize(run).map_err(|e| Error::io(Kind::Input, "find", run, e))?;
    Ok(dir.parent().unwrap_or(Path::new("/")).to_owned())
}
