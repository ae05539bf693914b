//! Where messages go. Belongs to one installation, like [`super::Run`]: never in a model. Holds names of files with
//! secrets and never a secret.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where and how messages are delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Deliver {
    /// An incoming webhook of Slack.
    pub slack: Slack,
    /// A mail server.
    pub mail: Mail,
    /// Any receiver of signed JSON.
    pub webhook: Webhook,
    /// A message on calm nights too.
    pub heartbeat: bool,
    /// Most nights of one run that are delivered, the latest ones.
    pub nights: u32,
    /// Address of the report, perhaps with `{date}` in it; empty for none.
    pub report_url: String,
    /// Folder to write requests to in place of sending them; empty for none.
    pub dry_run: String,
    /// Most attempts for one message.
    pub attempts: u32,
    /// Longest time for one attempt.
    pub timeout_seconds: u32,
    /// Longest time for all attempts on one message.
    pub give_up_seconds: u32,
    /// Wait before the second attempt; doubled before each further one.
    pub back_off_ms: u32,
}

/// An incoming webhook of Slack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slack {
    /// File with its address, which is the secret; empty for none.
    pub url_file: String,
    /// File with the authorities to trust in place of the well-known ones; empty for these.
    pub ca_file: String,
}

/// A mail server, and who writes to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mail {
    /// `HOST` or `HOST:PORT`; empty for none.
    pub server: String,
    /// How the connection is protected.
    pub security: Security,
    /// Sender.
    pub from: String,
    /// Recipients.
    pub to: Vec<String>,
    /// Who logs in; empty for nobody.
    pub user: String,
    /// File with the password.
    pub password_file: String,
    /// File with the authorities to trust in place of the well-known ones; empty for these.
    pub ca_file: String,
}

/// Any receiver of signed JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webhook {
    /// Its address; empty for none.
    pub url: String,
    /// File with the secret of the signature.
    pub secret_file: String,
    /// File with the authorities to trust in place of the well-known ones; empty for these.
    pub ca_file: String,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS after STARTTLS, or not at all.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None; on this machine alone.
    Plain,
}

impl Default for Deliver {
    fn default() -> Self {
        Self {
            slack: Slack::default(),
            mail: Mail::default(),
            webhook: Webhook::default(),
            heartbeat: false,
            nights: 7,
            report_url: String::new(),
            dry_run: String::new(),
            attempts: 5,
            timeout_seconds: 10,
            give_up_seconds: 120,
            back_off_ms: 1_000,
        }
    }
}

impl Deliver {
    /// Whether there is anywhere to deliver to.
    pub fn is_on(&self) -> bool {
        !(self.slack.url_file.is_empty() && self.mail.server.is_empty() && self.webhook.url.is_empty())
    }
}

impl Mail {
    /// Host and port.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let standard = match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::Plain => 25,
        };
        // An address of version 6 has colons of its own and stands in brackets.
        let (host, rest) = match self.server.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => self.server.find(':').map_or((self.server.as_str(), ""), |colon| self.server.split_at(colon)),
        };
        let port = if rest.is_empty() { standard } else { rest.strip_prefix(':')?.parse().ok().filter(|&p| p > 0)? };
        is_host(host).then_some((host, port))
    }

    /// Whether the server is this machine.
    pub fn is_local(&self) -> bool {
        self.host_and_port().is_some_and(|(host, _)| is_local(host))
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'))
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether messages may be sent to this address: by HTTPS, or to this machine; without a user or password in it, which would
/// be a secret in plain sight.
pub fn is_safe_url(url: &str) -> bool {
    let printable = url.bytes().all(|b| b.is_ascii_graphic());
    let (rest, encrypted) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some(parts) => parts,
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    printable && port && is_host(host) && (encrypted || is_local(host))
}

/// Whether it is one address and nothing else.
pub(super) fn is_mail_address(text: &str) -> bool {
    let Some((user, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    !user.is_empty() && user.chars().all(plain) && is_host(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_or_local_addresses_without_credentials_are_safe() {
        for url in [
            "https://hooks.example.com/services/T0/B0/x",
            "https://hooks.example.com:8443/x?y=z",
            "http://localhost:8080/hook",
            "http://127.0.0.1:9/",
            "http://[::1]:9/x",
        ] {
            assert!(is_safe_url(url), "{url}");
        }
        for url in [
            "",
            "http://hooks.example.com/x",
            "http://127.0.0.1.example.com/x",
            "http://localhost@example.com/",
            "https://user:secret@example.com/",
            "https://",
            "https:///x",
            "ftp://localhost/",
            "https://example.com/a b",
            "https://example.com:0x1/",
            "https://exämple.com/",
        ] {
            assert!(!is_safe_url(url), "{url}");
        }
    }

    #[test]
    fn a_mail_server_has_the_port_of_its_kind() {
        let of = |server: &str, security| Mail { server: server.into(), security, ..Mail::default() };
        let port = |server: &str, security| of(server, security).host_and_port().map(|(h, p)| (h.to_owned(), p));
        assert_eq!(port("mx.example.com", Security::Starttls), Some(("mx.example.com".into(), 587)));
        assert_eq!(port("mx.example.com", Security::Tls), Some(("mx.example.com".into(), 465)));
        assert_eq!(port("[::1]:2525", Security::Plain), Some(("::1".into(), 2525)));
        assert_eq!(port("127.0.0.1:25x", Security::Plain), None);
        assert_eq!(port("a b", Security::Tls), None);
        assert!(of("127.0.0.1:2525", Security::Plain).is_local() && !of("mx", Security::Plain).is_local());
    }

    #[test]
    fn an_address_holds_nothing_that_ends_a_header() {
        assert!(is_mail_address("soc+night@example.com"));
        for text in
            ["soc", "@example.com", "a@", "a@b\r\nBcc: c@d", "a b@example.com", "<a@example.com>", "a@b,c@d", "a@b>"]
        {
            assert!(!is_mail_address(text), "{text:?}");
        }
    }
}
