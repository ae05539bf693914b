//! Messages of `score` and `deliver`, as receivers on this machine get them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::shipped::{skipped, text};
use crate::world::{LAST, NIGHT, WORLD, tree};
use crate::{CliTest, Outcome};

#[path = "../fixtures/deliver/receivers.rs"]
mod receivers;
use receivers::{AUTHORITY, Encrypted, Received, STRANGER, http, https, smtp, smtp_with};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const NO: &[u8] = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";

fn secret(test: &CliTest, name: &str, content: &str) {
    let path = test.write(name, content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A configuration with all three channels, whose secrets are beside it.
fn configure(test: &CliTest, web: SocketAddr, mail: SocketAddr) {
    secret(test, "etc/slack-url", &format!("http://{web}/services/T0/B0/s3cret"));
    secret(test, "etc/password", "p4ssword");
    secret(test, "etc/key", "signing-k3y");
    test.write(
        "etc/q.toml",
        &format!(
            "[deliver]\nback-off-ms = 1\nattempts = 2\n[deliver.slack]\nurl-file = \"slack-url\"\n[deliver.webhook]\n\
             url = \"http://{web}/hook\"\nsecret-file = \"key\"\n[deliver.mail]\nserver = \"{mail}\"\nsecurity = \"plain\"\n\
             from = \"q@example.com\"\nto = [\"soc@example.com\"]\nuser = \"robot\"\npassword-file = \"password\"\n"
        ),
    );
}

fn score(test: &CliTest, date: &str, more: &[&str]) -> Outcome {
    test.score(&format!("runs/{date}"), &[&["--date", date, "--config", "etc/q.toml"], more].concat())
}

fn json(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// A night without an alert, one with alerts, and how many.
fn nights(test: &CliTest) -> (String, String, usize) {
    assert_eq!(test.score("all", &["--from", NIGHT, "--to", LAST]).code, 0);
    let info = test.info("all");
    let night = |loud: bool| {
        let found = info["nights"].as_array().unwrap().iter().find(|n| (n["reported"] != 0) == loud).unwrap();
        (found["date"].as_str().unwrap().to_owned(), found["reported"].as_u64().unwrap() as usize)
    };
    (night(false).0, night(true).0, night(true).1)
}

#[test]
fn a_night_with_alerts_is_told_on_every_channel_once_and_a_calm_night_is_not() {
    let test = CliTest::new();
    let (calm, loud, reported) = nights(&test);
    let (web, posts) = http(vec![OK.to_vec(); 4]);
    let (mail, letters) = smtp(vec![None; 2]);
    configure(&test, web, mail);
    let quiet = score(&test, &calm, &[]);
    assert_eq!(quiet.code, 0, "{}", quiet.stderr);
    assert!(!quiet.stderr.contains("deliver"), "{}", quiet.stderr);
    let plain = test.score("plain", &["--date", &loud]);
    let told = score(&test, &loud, &[]);
    assert_eq!((told.code, &told.stdout), (0, &plain.stdout), "{}", told.stderr);
    for channel in ["slack", "mail", "webhook"] {
        assert!(told.stderr.contains(&format!("delivered {channel} digest of {loud}\n")), "{}", told.stderr);
    }
    let run = format!("runs/{loud}");
    assert!(tree(&test.path().join("plain")) == tree(&test.path().join(&run)), "no output knows");
    let (slack, hook) = (posts.recv().unwrap(), posts.recv().unwrap());
    assert_eq!(slack.head[0], "POST /services/T0/B0/s3cret HTTP/1.1");
    assert!(json(&slack)["blocks"][0]["text"]["text"].as_str().unwrap().starts_with(&format!("nightly {loud}: ")));
    let digest = json(&hook);
    assert_eq!(digest["data"]["anomalies"].as_array().unwrap().len(), reported);
    assert!(letters.recv().unwrap().letter.contains(&format!("Subject: [quietwatch] nightly {loud}: ")));
    let again = score(&test, &loud, &["--strict"]);
    assert!(!again.stderr.contains("deliver"), "{}", again.stderr);

    // The same night with a critical anomaly, in another folder beside it: that alone is new.
    let rows = fs::read_to_string(test.path().join(&run).join("anomalies.jsonl")).unwrap();
    let mut row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    (row["severity"], row["score"]) = ("critical".into(), 90.5.into());
    test.write("runs/worse/anomalies.jsonl", &format!("{row}\n"));
    fs::copy(test.path().join(&run).join("run.json"), test.path().join("runs/worse/run.json")).unwrap();
    let deliver = ["deliver", "--run", "runs/worse", "--config", "etc/q.toml"];
    let said = test.stdout(&deliver);
    assert_eq!(said.lines().filter(|l| l.contains(&format!("critical of {loud}  qw_"))).count(), 3, "{said}");
    let (slack, hook) = (json(&posts.recv().unwrap()), json(&posts.recv().unwrap()));
    assert!(slack["blocks"][1]["text"]["text"].as_str().unwrap().starts_with("*critical 90*\n"), "{slack:#}");
    assert_eq!(hook["type"], "quietwatch.critical");
    for column in ["anomaly_key", "severity", "score", "story", "source_ips", "window_start"] {
        assert_eq!(hook["data"]["anomalies"][0][column], row[column], "{column}");
    }
    let id = said.split("  qw_").nth(1).unwrap().lines().next().unwrap();
    assert!(letters.recv().unwrap().letter.contains(&format!("Message-ID: <qw_{id}@example.com>\n")), "{id}");
    assert_eq!(test.stdout(&deliver), "nothing to deliver\n");
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    for (wanted, security) in [(Encrypted::OnRequest, "starttls"), (Encrypted::Always, "tls")] {
        let test = CliTest::new();
        let ((web, posts), (mail, letters)) = (https(vec![OK.to_vec(); 2]), smtp_with(wanted, vec![None; 2]));
        secret(&test, "etc/password", "p4ssword");
        secret(&test, "etc/key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        fs::copy(AUTHORITY, test.path().join("etc/ca.pem")).unwrap();
        test.write(
            "etc/q.toml",
            &format!(
                "[deliver]\nattempts = 1\n[deliver.webhook]\nurl = \"https://localhost:{}/hook\"\nsecret-file = \"key\"\n\
                 ca-file = \"ca.pem\"\n[deliver.mail]\nserver = \"localhost:{}\"\nsecurity = \"{security}\"\nfrom = \"q@example.com\"\n\
                 to = [\"soc@example.com\"]\nuser = \"robot\"\npassword-file = \"password\"\nca-file = \"ca.pem\"\n",
                web.port(),
                mail.port()
            ),
        );
        let send = ["deliver", "--test", "--config", "etc/q.toml"];
        let ca_file = |key: &str| format!("deliver.{key}.ca-file={STRANGER}");
        let stranger = ["--set", &ca_file("webhook"), "--set", &ca_file("mail")];
        assert_eq!(test.run(&[&send[..], &stranger].concat()).code, 12);
        assert!(letters.recv().unwrap().letter.is_empty() && posts.try_recv().is_err());
        test.stdout(&send);
        assert!(letters.recv().unwrap().letter.contains("Messages of quietwatch arrive here"));
        check_in_python(&test, &posts.recv().unwrap());
    }
}

/// Has the receiver in `docs/operations.md` check a request, and one with another body.
fn check_in_python(test: &CliTest, received: &Received) {
    let page = text("docs/operations.md");
    let code =
        page.split("```python\n").find(|part| part.contains("def is_genuine")).unwrap().split_once("```").unwrap().0;
    let headers: Vec<(&str, &str)> = received.head.iter().filter_map(|line| line.split_once(": ")).collect();
    let body = String::from_utf8(received.body.clone()).unwrap();
    let given = serde_json::json!({ "headers": headers, "body": body });
    let ask = "import json\ngiven = json.load(open('given.json'))\nheaders, body = dict(given['headers']), given['body'].encode()\n\
               secret = open('etc/key').read()\nprint(is_genuine(headers, body, secret), is_genuine(headers, body + b' ', secret))\n";
    test.write("given.json", &given.to_string());
    let script = test.write("receiver.py", &format!("{code}{ask}"));
    match Command::new("python3").arg(script).current_dir(test.path()).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => skipped("the receiver in docs/operations.md", "python3"),
        ran => assert_eq!(String::from_utf8(ran.unwrap().stdout).unwrap(), "True False\n"),
    }
}

#[test]
fn what_would_keep_an_incident_from_being_told_is_told_on_a_calm_night_and_by_the_doctor() {
    let test = CliTest::new();
    let (calm, _, _) = nights(&test);
    let (nobody, _) = http(vec![]);
    configure(&test, nobody, nobody);
    let doctor = ["doctor", "--config", "etc/q.toml", "--store", &WORLD.path("store"), "--quick"];
    let channels = ["slack", "mail", "webhook"];
    let well = test.run(&doctor);
    assert!(channels.iter().all(|c| well.stdout.contains(&format!("ok    delivery to {c}: "))), "{}", well.stdout);
    fs::remove_file(test.path().join("etc/slack-url")).unwrap();
    fs::write(test.path().join("etc/key"), "whsec_no base64").unwrap();
    let ill = test.run(&doctor);
    assert_eq!(ill.code, well.code, "it is a warning");
    for said in ["warn  delivery to slack: ", "ok    delivery to mail: ", "warn  delivery to webhook: "] {
        assert!(ill.stdout.contains(said), "{said} in {}", ill.stdout);
    }
    let night = score(&test, &calm, &[]);
    assert_eq!(night.code, 0);
    for channel in ["slack", "webhook"] {
        assert!(
            night.stderr.contains(&format!("warning: nothing can be delivered to {channel}: ")),
            "{}",
            night.stderr
        );
    }
}

#[test]
fn a_receiver_that_fails_costs_no_night_and_hears_it_later() {
    let test = CliTest::new();
    let (_, loud, reported) = nights(&test);
    let (web, first) = http(vec![NO.to_vec(); 2]);
    let (nobody, _) = http(vec![]);
    configure(&test, web, nobody);
    let only_slack = ["--set", "deliver.webhook.url=", "--set", "deliver.mail.server="];
    let outcome = score(&test, &loud, &[&only_slack[..], &["--strict"]].concat());
    assert_eq!(outcome.code, 12, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the receiver answered 503 (2 of 2 attempts)"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the run is published all the same"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("s3cret"));
    assert_eq!(first.iter().count(), 2);
    let dir = format!("runs/{loud}");
    assert_eq!(test.anomalies(&dir).iter().filter(|r| r["reported"] == true).count(), reported);
    let (web, second) = http(vec![OK.to_vec(); 2]);
    configure(&test, web, nobody);
    let deliver = [&["deliver", "--run", &dir, "--config", "etc/q.toml"], &only_slack[..]].concat();
    let told: Value = serde_json::from_str(&test.stdout(&[&deliver[..], &["--json"]].concat())).unwrap();
    assert_eq!((told["sent"].as_array().unwrap().len(), told["failed"].as_array().unwrap().len()), (1, 0), "{told:#}");
    assert_eq!(json(&second.recv().unwrap())["blocks"][0]["block_id"], told["sent"][0]["id"]);
    assert_eq!(test.stdout(&deliver), "nothing to deliver\n");
}

#[test]
fn without_strict_a_failed_delivery_is_a_warning() {
    let test = CliTest::new();
    let (nobody, _) = http(vec![]);
    configure(&test, nobody, nobody);
    fs::remove_file(test.path().join("etc/key")).unwrap();
    fs::set_permissions(test.path().join("etc/password"), fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = score(&test, &nights(&test).1, &[]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("etc/password holds a secret and can be read by others (mode 644)"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("not delivered: webhook digest"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("etc/key: "), "{}", outcome.stderr);
    for secret in ["s3cret", "p4ssword", "signing-k3y"] {
        assert!(!outcome.stderr.contains(secret) && !outcome.stdout.contains(secret));
        for (file, bytes) in tree(&test.path().join("runs")) {
            assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{}", file.display());
        }
    }
    let shown = test.stdout(&["config", "show", "--config", "etc/q.toml"]);
    assert!(shown.contains("etc/slack-url") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_dry_run_needs_no_receiver_and_a_test_message_reaches_all() {
    let test = CliTest::new();
    let (web, posts) = http(vec![OK.to_vec(); 2]);
    let (mail, letters) = smtp(vec![None]);
    configure(&test, web, mail);
    let dry = score(&test, &nights(&test).1, &["--set", "deliver.dry-run=dry"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    let files = tree(&test.path().join("dry"));
    assert!(
        dry.stderr.contains(&format!("dry run: {} requests written to dry, nothing sent", files.len())),
        "{}",
        dry.stderr
    );
    assert!(files.keys().any(|f| f.extension().is_some_and(|e| e == "eml")));
    let said = test.stdout(&["deliver", "--test", "--config", "etc/q.toml"]);
    assert_eq!(said.lines().filter(|l| l.starts_with("delivered  ")).count(), 3, "{said}");
    assert_eq!(posts.iter().count(), 2);
    assert!(letters.recv().unwrap().letter.contains("Messages of quietwatch arrive here"));
    let said = test.failure(2, &["deliver", "--test"]);
    assert!(said.contains("deliver.slack.url-file"), "{said}");
    test.failure(2, &["deliver", "--config", "etc/q.toml"]);
}
