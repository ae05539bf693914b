//! E-mail by SMTP: plain text and HTML, encrypted unless the server is this machine.

use std::error::Error as _;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Tls;
use lettre::{Address, SmtpTransport, Transport};

use super::retry::Failure;
use super::secret::Secret;
use super::trust::Trust;
use crate::config::deliver::{Mail, Security};
use crate::error::{Error, Kind, Result};
use crate::report::escape::clip;
use crate::report::message::{Message, mail};

/// Most characters of a server's answer that are shown.
const SHOWN: usize = 160;

/// A mail server, and who writes to whom.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    from: Address,
    to: Vec<Address>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}:{})", self.host, self.port)
    }
}

/// A message as it leaves.
#[derive(Debug)]
pub(super) struct Letter(lettre::Message);

impl Letter {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.formatted()
    }
}

impl Server {
    pub(super) fn new(config: &Mail, warnings: &mut Vec<String>) -> Result<Self> {
        let wrong = |key: &str, what: &str| Error::new(Kind::Config, format!("deliver.mail.{key}: expected {what}"));
        let (host, port) = config.host_and_port().ok_or_else(|| wrong("server", "HOST or HOST:PORT"))?;
        let address = |text: &String, key: &str| {
            text.parse::<Address>().map_err(|e| wrong(key, "an e-mail address").with_source(e))
        };
        let trust = Trust::read(&config.ca_file)?;
        let parameters =
            || trust.mail(host).map_err(|e| wrong("server", "a name that a certificate can be for").with_source(e));
        let tls = match config.security {
            Security::Starttls => Tls::Required(parameters()?),
            Security::Tls => Tls::Wrapper(parameters()?),
            Security::Plain => Tls::None,
        };
        let credentials = if config.user.is_empty() {
            None
        } else {
            let password = Secret::read(&config.password_file, warnings)?;
            Some(Credentials::new(config.user.clone(), password.text().unwrap_or_default().to_owned()))
        };
        let to = config.to.iter().map(|to| address(to, "to")).collect::<Result<_>>()?;
        Ok(Self { host: host.to_owned(), port, tls, credentials, from: address(&config.from, "from")?, to })
    }

    pub(super) fn letter(&self, message: &Message, now: i64) -> Letter {
        let id = message.id();
        let date = UNIX_EPOCH + Duration::from_secs(now.try_into().unwrap_or(0));
        let mut builder = lettre::Message::builder()
            .from(Mailbox::new(Some("quietwatch".into()), self.from.clone()))
            .date(date)
            .message_id(Some(format!("<{id}@{}>", self.from.domain())))
            .subject(mail::subject(message))
            // No out-of-office note shall answer (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            builder = builder.to(Mailbox::new(None, to.clone()));
        }
        let body = MultiPart::alternative()
            .boundary(format!("={id}="))
            .singlepart(SinglePart::plain(mail::plain(message)))
            .singlepart(SinglePart::html(mail::page(message)));
        Letter(builder.multipart(body).expect("it has a sender and recipients"))
    }

    pub(super) fn send(&self, letter: &Letter, timeout: Duration) -> std::result::Result<(), Failure> {
        let mut builder =
            SmtpTransport::builder_dangerous(&*self.host).port(self.port).tls(self.tls.clone()).timeout(Some(timeout));
        if let Some(credentials) = &self.credentials {
            builder = builder.credentials(credentials.clone());
        }
        match builder.build().send(&letter.0) {
            Ok(_) => Ok(()),
            Err(e) => {
                let cause = e.source().map_or_else(String::new, |cause| format!(": {cause}"));
                let why = clip(
                    &format!("the mail server: {e}{}", if e.to_string().contains(&cause) { "" } else { &cause }),
                    SHOWN,
                )
                .into_owned();
                // A missing way to log in does not pass by itself either.
                Err(if e.is_permanent() || e.is_client() || e.is_tls() {
                    Failure::Final(why)
                } else {
                    Failure::of_connection(&e, why)
                })
            }
        }
    }
}
