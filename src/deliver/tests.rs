//! Messages as real receivers on loopback see them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::testing::TestClock;
use super::*;
use crate::anomaly::Anomaly;
use crate::config::deliver::{Mail, Security, Slack, Webhook};
use crate::report::message::{Wanted, of_run};
use crate::report::sample;

#[path = "../../tests/fixtures/deliver/receivers.rs"]
mod receivers;
use receivers::{AUTHORITY, Encrypted, Received, STRANGER, http, https, smtp, smtp_with};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A folder with secrets in it, where runs stand.
struct Site {
    dir: tempfile::TempDir,
    config: Deliver,
    clock: TestClock,
}

impl Site {
    fn new() -> Self {
        let config = Deliver { timeout_seconds: 5, ..Deliver::default() };
        Self { dir: tempfile::tempdir().unwrap(), config, clock: TestClock::default() }
    }

    fn secret(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn slack(mut self, address: SocketAddr) -> Self {
        let url_file = self.secret("url", &format!("http://{address}/services/T0/B0/s3cret\n"));
        self.config.slack = Slack { url_file, ..Slack::default() };
        self
    }

    fn webhook(mut self, address: SocketAddr) -> Self {
        let secret_file = self.secret("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        self.config.webhook =
            Webhook { url: format!("http://{address}/hook?team=soc"), secret_file, ..Webhook::default() };
        self
    }

    fn mail(mut self, address: SocketAddr) -> Self {
        self.config.mail = Mail {
            server: address.to_string(),
            security: Security::Plain,
            from: "quietwatch@example.com".into(),
            to: vec!["soc@example.com".into(), "lead@example.com".into()],
            user: "robot".into(),
            password_file: self.secret("password", "p4ssword"),
            ca_file: String::new(),
        };
        self
    }

    fn run(&self, rows: &[Anomaly]) -> Outcome {
        self.run_night(rows, 0)
    }

    fn run_night(&self, rows: &[Anomaly], later: i32) -> Outcome {
        let mut run = sample::run();
        run.nights[0].date = run.nights[0].date.plus(later);
        let rows: Vec<Anomaly> = rows.iter().map(|a| Anomaly { date: a.date.plus(later), ..a.clone() }).collect();
        let wanted = Wanted { heartbeat: self.config.heartbeat, nights: 7, report_url: "https://q.example.com/{date}" };
        let messages = of_run(&run, &rows, wanted);
        let said = Said { model: &run.model_name, nights: &[run.nights[0].date], messages: &messages };
        super::run(&said, self.dir.path(), &self.config, Seed(0), &self.clock).unwrap()
    }
}

fn one_critical() -> Vec<Anomaly> {
    vec![sample::anomaly(1)]
}

fn answer(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes()
}

fn json(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

#[test]
fn slack_receives_a_critical_and_a_digest_once() {
    let (address, received) = http(vec![OK.to_vec(), OK.to_vec()]);
    let site = Site::new().slack(address);
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (2, 0), "{outcome:?}");
    let critical = received.recv().unwrap();
    assert_eq!(critical.head[0], "POST /services/T0/B0/s3cret HTTP/1.1");
    assert_eq!(critical.header("content-type"), "application/json");
    let body = json(&critical);
    assert_eq!(body["blocks"][0]["text"]["text"], "Critical: First calls ever from Germany");
    assert!(body["blocks"][1]["text"]["text"].as_str().unwrap().contains("never seen for this org"));
    let digest = json(&received.recv().unwrap());
    assert_eq!(digest["blocks"][0]["text"]["text"], "acme 2026-04-21: 3 of 214 subjects stand out");
    assert!(digest.to_string().contains("<https://q.example.com/2026-04-21|Open the report>"));
    // The same night again says nothing again.
    assert_eq!(site.run(&one_critical()), Outcome::default());
    assert!(received.try_recv().is_err());
}

#[test]
fn a_calm_night_says_nothing_unless_a_heartbeat_is_wanted() {
    let (address, received) = http(vec![OK.to_vec()]);
    let mut site = Site::new().slack(address);
    assert_eq!(site.run(&[]), Outcome::default());
    site.config.heartbeat = true;
    assert_eq!(site.run(&[]).sent[0].why, Why::Heartbeat);
    let body = json(&received.recv().unwrap());
    assert!(body.to_string().contains("gate volume: 89,253 calls"), "{body:#}");
    assert_eq!(site.run(&[]), Outcome::default());
}

#[test]
fn a_webhook_is_signed_over_what_was_received() {
    let (address, received) = http(vec![OK.to_vec(), OK.to_vec()]);
    let site = Site::new().webhook(address);
    let outcome = site.run(&one_critical());
    let first = received.recv().unwrap();
    assert_eq!(first.head[0], "POST /hook?team=soc HTTP/1.1");
    assert_eq!(first.header("webhook-id"), outcome.sent[0].id);
    assert_eq!(first.header("webhook-timestamp"), "1776800000");
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert_eq!(
        first.header("webhook-signature"),
        sign::signature(&key, first.header("webhook-id"), 1_776_800_000, &first.body)
    );
    assert_eq!(json(&first)["data"]["anomalies"][0]["anomaly_key"], sample::anomaly(1).anomaly_key.as_str());
    assert_eq!(json(&received.recv().unwrap())["type"], "quietwatch.digest");
}

#[test]
fn what_passes_is_tried_again_under_the_same_id_and_bytes() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Le".to_vec();
    let answers = vec![
        answer("500 Oops", ""),
        answer("429 Slow down", "Retry-After: 0\r\n"),
        Vec::new(),
        cut,
        OK.to_vec(),
        // What follows a yes does not matter.
        b"HTTP/1.1 204 No\r\nContent-Length: 999999999\r\n\r\nhalf".to_vec(),
    ];
    let (address, received) = http(answers);
    let site = Site::new().webhook(address);
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (2, 0), "{outcome:?}");
    let tries: Vec<Received> = received.iter().collect();
    assert_eq!(tries.len(), 6);
    for again in &tries[1..5] {
        assert_eq!((again.header("webhook-id"), &again.body), (tries[0].header("webhook-id"), &tries[0].body));
    }
    assert_ne!(tries[4].header("webhook-timestamp"), tries[0].header("webhook-timestamp"));
    let waits = site.clock.waits();
    assert_eq!((waits.len(), waits[1]), (4, Duration::ZERO), "the receiver decided");
}

#[test]
fn redirects_are_not_followed_and_refusals_are_not_repeated() {
    let (elsewhere, reached) = http(vec![OK.to_vec()]);
    let huge = [b"HTTP/1.1 400 Bad\r\n\r\n\x1b[2Jinvalid_payload ".to_vec(), vec![b'x'; 3 << 20]].concat();
    let (address, received) = http(vec![answer("302 Found", &format!("Location: http://{elsewhere}/\r\n")), huge]);
    let site = Site::new().slack(address);
    let outcome = site.run(&one_critical());
    let whys: Vec<&str> = outcome.failed.iter().map(|f| f.1.as_str()).collect();
    assert_eq!(whys[0], "the receiver answered 302, a redirect, which is not followed");
    assert!(whys[1].starts_with("the receiver answered 400: \\u{1b}[2Jinvalid_payload xxx"), "{whys:?}");
    assert!(whys[1].len() < 250, "{whys:?}");
    assert_eq!(received.iter().count(), 2);
    assert!(reached.try_recv().is_err());
    assert!(site.clock.waits().is_empty());
}

#[test]
fn what_could_not_be_delivered_arrives_with_the_next_run() {
    // Nobody listens there.
    let gone = http(vec![]).0;
    let mut site = Site::new().slack(gone);
    site.config.attempts = 3;
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (0, 2));
    assert!(outcome.failed[0].1.contains("3 of 3 attempts"), "{outcome:?}");
    assert!(outcome.failed[1].1.starts_with("not tried after that"), "{outcome:?}");
    assert_eq!(site.clock.waits().len(), 2, "the second message did not wait again");
    assert!(!format!("{outcome:?}").contains("s3cret"));
    // The next night is calm; yesterday's messages arrive.
    let (address, received) = http(vec![OK.to_vec(), OK.to_vec()]);
    let site = Site { config: site.slack_elsewhere(address), ..site };
    let outcome = site.run_night(&[], 1);
    assert_eq!((outcome.sent.len(), outcome.sent[0].night), (2, sample::date()));
    assert!(json(&received.recv().unwrap()).to_string().contains("First calls ever from Germany"));
    assert_eq!(site.run_night(&[], 1), Outcome::default());
}

impl Site {
    fn slack_elsewhere(&self, address: SocketAddr) -> Deliver {
        let url_file = self.secret("url", &format!("http://{address}/services/T0/B0/s3cret\n"));
        Deliver { slack: Slack { url_file, ..Slack::default() }, ..self.config.clone() }
    }
}

#[test]
fn killed_between_the_yes_and_the_ledger_one_message_comes_twice_under_one_id() {
    let (address, received) = http(vec![OK.to_vec(); 3]);
    let site = Site::new().webhook(address);
    let file = site.dir.path().join(LEDGER).join("delivered.json");
    let messages = of_run(&sample::run(), &one_critical(), Wanted { heartbeat: false, nights: 7, report_url: "" });
    let said = Said { model: "acme", nights: &[sample::date()], messages: &messages[..1] };
    super::run(&said, site.dir.path(), &site.config, Seed(0), &site.clock).unwrap();
    // The state before the yes: planned, not delivered.
    let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["delivered"] = serde_json::json!([]);
    state["pending"] = serde_json::json!([{ "channel": "webhook", "message": messages[0] }]);
    fs::write(&file, state.to_string()).unwrap();
    fs::write(file.with_file_name(".tmp-killed"), "half").unwrap();
    super::run(&said, site.dir.path(), &site.config, Seed(0), &site.clock).unwrap();
    let (first, second) = (received.recv().unwrap(), received.recv().unwrap());
    assert_eq!((first.header("webhook-id"), first.body.len()), (second.header("webhook-id"), second.body.len()));
    super::run(&said, site.dir.path(), &site.config, Seed(0), &site.clock).unwrap();
    assert!(received.try_recv().is_err());
    assert!(!file.with_file_name(".tmp-killed").exists());
}

#[test]
fn a_mail_server_receives_both_forms_of_a_critical_and_of_a_calm_night() {
    let (address, received) = smtp(vec![None, None, None]);
    let mut site = Site::new().mail(address);
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (2, 0), "{outcome:?}");
    let critical = received.recv().unwrap();
    // \0robot\0p4ssword
    assert!(critical.commands.contains(&"AUTH PLAIN AHJvYm90AHA0c3N3b3Jk".to_owned()), "{:?}", critical.commands);
    assert!(critical.commands.iter().any(|c| c.starts_with("MAIL FROM:<quietwatch@example.com>")));
    assert_eq!(critical.commands.iter().filter(|c| c.starts_with("RCPT TO:")).count(), 2);
    for line in [
        "Subject: [quietwatch] critical, 2026-04-21: First calls ever from Germany",
        &format!("Message-ID: <{}@example.com>", outcome.sent[0].id),
        "To: soc@example.com, lead@example.com",
        "Auto-Submitted: auto-generated",
        "Date: Tue, 21 Apr 2026 19:33:20 +0000",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: text/html; charset=utf-8",
    ] {
        assert!(critical.letter.lines().any(|l| l == line), "{line} in\n{}", critical.letter);
    }
    // Long lines are folded.
    assert!(critical.letter.replace("=\n", "").contains("198.18.7.9 (Germany)"), "{}", critical.letter);
    assert!(received.recv().unwrap().letter.contains("3 of 214 subjects stand out"));
    site.config.heartbeat = true;
    assert_eq!(site.run_night(&[], 1).sent.len(), 1);
    let heartbeat = received.recv().unwrap().letter;
    assert!(heartbeat.contains("Calm") || heartbeat.contains("stand out"), "{heartbeat}");
    assert!(heartbeat.contains("gate volume"));
}

#[test]
fn a_mail_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let (address, received) = smtp(vec![Some("451 busy"), None, Some("550 no such user")]);
    let site = Site::new().mail(address);
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (1, 1), "{outcome:?}");
    assert!(outcome.failed[0].1.contains("no such user"), "{outcome:?}");
    assert_eq!(received.iter().count(), 3);
    assert_eq!(site.clock.waits().len(), 1);
}

#[test]
fn mail_over_tls_reaches_a_server_of_a_trusted_authority_and_no_other() {
    for (wanted, security) in [(Encrypted::OnRequest, Security::Starttls), (Encrypted::Always, Security::Tls)] {
        let (address, received) = smtp_with(wanted, vec![None; 8]);
        let mut site = Site::new().mail(address);
        let server = |name: &str| format!("{name}:{}", address.port());
        (site.config.mail.server, site.config.mail.security) = (server("localhost"), security);
        let refused = |site: &Site| {
            let outcome = site.run(&one_critical());
            assert_eq!((outcome.sent.len(), site.clock.waits().len()), (0, 0), "{outcome:?}");
            for heard in received.iter().take(2) {
                assert!(heard.letter.is_empty() && !heard.commands.iter().any(|c| c.starts_with("AUTH")), "{heard:?}");
            }
            outcome.failed[0].1.clone()
        };
        // An unknown authority, another one, and another name than in the certificate.
        assert!(refused(&site).contains("UnknownIssuer"));
        site.config.mail.ca_file = STRANGER.to_owned();
        assert!(refused(&site).contains("invalid peer certificate"));
        (site.config.mail.server, site.config.mail.ca_file) = (server("127.0.0.1"), AUTHORITY.to_owned());
        assert!(refused(&site).contains("not valid for name"));
        site.config.mail.server = server("localhost");
        let outcome = site.run(&one_critical());
        assert_eq!((outcome.sent.len(), outcome.failed.len()), (2, 0), "{outcome:?}");
        let heard = received.recv().unwrap();
        assert!(heard.commands.contains(&"AUTH PLAIN AHJvYm90AHA0c3N3b3Jk".to_owned()), "{:?}", heard.commands);
        assert!(heard.letter.contains("First calls ever from Germany"));
    }
}

#[test]
fn a_mail_server_without_starttls_gets_neither_password_nor_letter() {
    let (address, received) = smtp_with(Encrypted::Never, vec![None]);
    let mut site = Site::new().mail(address);
    site.config.mail.security = Security::Starttls;
    assert_eq!(site.run(&one_critical()).sent.len(), 0);
    let heard = received.recv().unwrap();
    assert!(heard.letter.is_empty() && !heard.commands.iter().any(|c| c.starts_with("AUTH")), "{heard:?}");
}

#[test]
fn https_reaches_a_receiver_of_a_trusted_authority_and_no_other() {
    let (address, received) = https(vec![OK.to_vec(); 8]);
    let mut site = Site::new().webhook(address);
    let url = |name: &str| format!("https://{name}:{}/hook", address.port());
    for (name, ca_file) in [("localhost", ""), ("localhost", STRANGER), ("127.0.0.1", AUTHORITY)] {
        (site.config.webhook.url, site.config.webhook.ca_file) = (url(name), ca_file.to_owned());
        let outcome = site.run(&one_critical());
        assert_eq!(outcome.sent.len(), 0, "{name} {ca_file}: {outcome:?}");
        assert!(outcome.failed[0].1.contains("certificate"), "{outcome:?}");
        assert!(received.try_recv().is_err() && site.clock.waits().is_empty(), "{outcome:?}");
    }
    site.config.webhook.url = url("localhost");
    assert_eq!(site.run(&one_critical()).sent.len(), 2);
    assert_eq!(json(&received.recv().unwrap())["type"], "quietwatch.critical");
    for nonsense in ["no/such/file", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
        site.config.webhook.ca_file = nonsense.to_owned();
        let why = site.run_night(&one_critical(), 1).failed[0].1.clone();
        assert!(why.contains(nonsense) && why.contains("certificates"), "{why}");
    }
}

#[test]
fn a_dry_run_writes_each_request_as_it_would_leave_and_no_secret() {
    let (address, received) = http(vec![OK.to_vec(), OK.to_vec()]);
    let mut site = Site::new().slack(address).webhook(address).mail("127.0.0.1:9".parse().unwrap());
    site.config.dry_run = site.dir.path().join("dry").to_str().unwrap().to_owned();
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (6, 0), "{outcome:?}");
    assert!(received.try_recv().is_err());
    assert!(!site.dir.path().join(LEDGER).exists());
    let mut files: Vec<_> = fs::read_dir(&site.config.dry_run).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 6);
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for secret in ["s3cret", "p4ssword", "AHJvYm90AHA0c3N3b3Jk", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(!text.contains(secret), "{}", file.display());
        }
    }
    let text = |end: &str| {
        let file = files.iter().find(|f| f.to_str().unwrap().contains(end)).unwrap();
        fs::read_to_string(file).unwrap()
    };
    assert!(text("critical-slack").starts_with(&format!("POST http://{address}/[secret] HTTP/1.1\n")));
    assert!(text("critical-mail").contains("Subject: [quietwatch] critical"));
    // What is sent afterwards is what was written.
    site.config.dry_run = String::new();
    site.config.slack = Slack::default();
    site.config.mail = Mail::default();
    site.run(&one_critical());
    let sent = received.recv().unwrap();
    let (head, body) = text("critical-webhook").split_once("\n\n").map(|(h, b)| (h.to_owned(), b.to_owned())).unwrap();
    assert_eq!(body.as_bytes(), sent.body);
    for line in head.lines().skip(1) {
        assert!(sent.head.iter().any(|l| l.eq_ignore_ascii_case(line)), "{line} in {:?}", sent.head);
    }
}

#[test]
fn a_secret_that_cannot_be_read_fails_its_channel_and_no_other() {
    let (address, received) = http(vec![OK.to_vec(), OK.to_vec()]);
    let mut site = Site::new().webhook(address);
    site.config.slack.url_file = site.dir.path().join("nowhere").to_str().unwrap().to_owned();
    let outcome = site.run(&one_critical());
    assert_eq!((outcome.sent.len(), outcome.failed.len()), (2, 2));
    assert!(outcome.failed[0].1.contains("cannot read the secret in"), "{outcome:?}");
    assert_eq!(received.iter().count(), 2);
    // Once it can be read, what was to be said is said.
    let (address, received) = http(vec![OK.to_vec(), OK.to_vec()]);
    let site = Site { config: site.slack_elsewhere(address), ..site };
    assert_eq!(site.run(&one_critical()).sent.len(), 2);
    assert_eq!(received.iter().count(), 2);
}
