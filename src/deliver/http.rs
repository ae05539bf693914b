//! One POST: no redirect is followed, little of the answer is read, and an address that is a secret is told to nobody.

use std::io::Read;
use std::time::Duration;

use ureq::Agent;

use super::retry::Failure;
use super::trust::Trust;
use crate::report::escape::clip;

/// Most of an answer's body that is looked at, and shown.
const ANSWER: u64 = 1024;
const SHOWN: usize = 160;
/// Most of its head.
const HEAD: usize = 32 << 10;
/// How long a receiver may want to be left alone; what is longer is over every bound anyway.
const LONGEST_AFTER: u64 = 86_400;

/// A request as it leaves.
#[derive(Debug)]
pub(super) struct Request {
    url: String,
    secret: bool,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    trust: Trust,
}

impl Request {
    /// A JSON body for this address; `secret` if the address must not be shown.
    pub(super) fn new(url: String, secret: bool, body: Vec<u8>, trust: Trust) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", concat!("quietwatch/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        Self { url, secret, headers, body, trust }
    }

    pub(super) fn header(&mut self, name: &'static str, value: String) {
        self.headers.push((name, value));
    }

    /// What may be shown of the address: all of it, or its host.
    fn place(&self) -> String {
        let host = self.url.find("://").and_then(|at| Some(at + 3 + self.url[at + 3..].find('/')?));
        match host {
            Some(end) if self.secret => format!("{}/[secret]", &self.url[..end]),
            _ if self.secret => "[secret]".to_owned(),
            _ => self.url.clone(),
        }
    }

    /// The request in the words of HTTP, for a dry run.
    pub(super) fn shown(&self) -> Vec<u8> {
        let mut out = format!("POST {} HTTP/1.1\n", self.place());
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\n"));
        }
        out.push_str(&format!("content-length: {}\n\n", self.body.len()));
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out
    }

    /// Sends it once.
    pub(super) fn send(&self, timeout: Duration) -> Result<(), Failure> {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .max_response_header_size(HEAD)
            .tls_config(self.trust.https())
            .accept("")
            .accept_encoding("")
            .build();
        let mut builder = Agent::from(config).post(&self.url);
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        let mut response = builder.send(&self.body[..]).map_err(|e| {
            // Whatever the error holds, the address is not in it.
            let text = if self.secret { e.to_string().replace(&self.url, &self.place()) } else { e.to_string() };
            let why = clip(&text, SHOWN).into_owned();
            if let ureq::Error::Io(e) = &e { Failure::of_connection(e, why) } else { Failure::passing(why) }
        })?;
        let status = response.status().as_u16();
        let after = response.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?));
        match status {
            // What a receiver says beyond its yes is not waited for.
            200..=299 => Ok(()),
            300..=399 => {
                Err(Failure::Final(format!("the receiver answered {status}, a redirect, which is not followed")))
            }
            408 | 429 | 500..=599 => Err(Failure::Passing { why: format!("the receiver answered {status}"), after }),
            _ => {
                let mut answer = Vec::new();
                // What cannot be read is not shown.
                let _ = response.body_mut().as_reader().take(ANSWER).read_to_end(&mut answer);
                let answer = String::from_utf8_lossy(&answer);
                let said =
                    if answer.trim().is_empty() { String::new() } else { format!(": {}", clip(answer.trim(), SHOWN)) };
                let said = if self.secret { said.replace(&self.url, &self.place()) } else { said };
                Err(Failure::Final(format!("the receiver answered {status}{said}")))
            }
        }
    }
}

/// Seconds. A date is passed over: it would have to be held against a clock that is not ours.
fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_AFTER)))
}
