//! Names that attack whoever looks at them go through the whole engine, and harmlessly through every output.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use quietwatch::date::Date;
use quietwatch::report::{csv, jsonl, parquet, run_folder};
use serde_json::{Value, json};

use crate::CliTest;
use crate::ocsf::schema;
use crate::world::{LAST, NIGHT, tree};

/// Users, apps, clients, objects and request ids of this organisation.
fn corpus() -> Vec<String> {
    let mut out: Vec<String> = [
        "<script>alert(1)</script>",
        "=HYPERLINK(\"http://evil.example\",\"x\")",
        "\u{202e}gpj.exe",
        "\"><img src=x onerror=alert(1)>",
        "+cmd|' /C calc'!A0",
        "-1+1",
        "@SUM(1+1)*cmd",
        "\tTAB first",
        "\rCR first",
        "\u{1b}[2J\u{1b}[31mred",
        "\u{1b}]0;title\u{7}bell",
        "\u{9b}31m",
        "ze\u{200b}ro\u{feff}",
        "two\nlines",
        "nul\0byte",
        "</style></script><script>x</script>",
        "' onmouseover='x",
        "<!channel> <@U012> @here",
        "`code` *bold* :skull:",
        "${7*7} {{7*7}} %s%n",
        "\\\"\\u003cb",
        "'=1+1",
        "a,b;c|d\u{2028}e",
        "x\r\nBcc: evil@example.com",
        "&lt;b&gt;&#x3c;",
        "\u{2066}isolated\u{2069}",
    ]
    .map(str::to_owned)
    .to_vec();
    out.push("N".repeat(65_536));
    out
}

const ORG: &str = "=org<b>\u{202e}";
const FIRST: &str = "2026-01-01";
const UNTIL: &str = "2026-02-01";
const NIGHTS: [&str; 3] = ["2026-02-02", "2026-02-03", "2026-02-04"];

/// Five weeks of office hours; each of the first three users turns on one of the last nights.
fn events() -> String {
    let names = corpus();
    let name = |i: usize| &names[i % names.len()];
    let mut out = String::new();
    let first: Date = FIRST.parse().unwrap();
    let last: Date = NIGHTS[2].parse().unwrap();
    for date in (first.0..=last.0).map(Date) {
        for user in 0..names.len() {
            // Endless names, few calls: the file stays small.
            let long = [user, user + 7, user + 3, user + 5].iter().any(|&i| name(i).len() > 60_000);
            let calls = if long { 2 } else { 10 + (user * 7 + date.0 as usize * 3) % 5 };
            let mut call = |at: String, ip: String, other: usize, request: &str| {
                let row = json!({
                    "timestamp": format!("{date}T{at}Z"), "org_id": ORG, "user_id": name(user), "user_name": name(user + 7),
                    "client_ip": ip, "app_name": name(user + 3 + other), "client_name": name(user + 5 + other),
                    "entity_name": if other > 0 { name(user + other) } else { "Account" }, "api_version": "60.0",
                    "api_family": "REST", "resource": "/v60.0/query", "http_method": "GET", "status_code": 200,
                    "request_id": request,
                });
                writeln!(out, "{row}").unwrap();
            };
            for k in 0..calls {
                let minute = 8 * 60 + k * 540 / calls;
                call(format!("{:02}:{:02}:00", minute / 60, minute % 60), format!("198.18.0.{user}"), 0, "r");
            }
            if NIGHTS.get(user).is_some_and(|night| *night == date.to_string()) {
                for k in 0..300 {
                    let request = if name(k).len() < 1_000 { name(k).as_str() } else { "long" };
                    let at = format!("02:{:02}:{:02}", k / 60, k % 60);
                    // Nothing endless: it would be in each of these rows.
                    call(at, "203.0.113.9".into(), 10, request);
                }
            }
        }
    }
    out
}

/// Nothing that moves a cursor, reorders or hides; lines end as they should.
fn assert_visible(text: &str, what: &str) {
    let steering = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if let Some(at) = text.find(steering) {
        panic!("{what}: {:?}", &text[at..].chars().take(40).collect::<String>());
    }
}

/// Elements with their attributes, and what stands in `script` and `style`.
fn structure(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut elements, mut raw) = (BTreeSet::new(), BTreeSet::new());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '!')).collect();
        rest = &rest[name.len()..];
        elements.insert(name.clone());
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let attribute: String = rest.chars().take_while(|c| !matches!(c, '=' | '>' | ' ' | '\n')).collect();
            assert!(!attribute.is_empty(), "{:?}", &rest[..rest.len().min(80)]);
            rest = &rest[attribute.len()..];
            elements.insert(format!("{name} {attribute}"));
            if let Some(value) = rest.strip_prefix("=\"") {
                rest = &value[value.find('"').expect("a value ends") + 1..];
            }
        }
        if name == "script" || name == "style" {
            let end = rest.find("</").expect("it is closed");
            raw.insert(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    (elements, raw)
}

/// A page of hostile names has no element, attribute, script or style that a page of ordinary ones has not.
fn assert_harmless(page: &str, ordinary: &str, what: &str) {
    assert_visible(page, what);
    let (elements, raw) = structure(page);
    let (allowed, same) = structure(ordinary);
    // A tripped gate has its name in bold, and no gate trips on the ordinary nights.
    let new: Vec<&String> = elements.difference(&allowed).filter(|e| !e.ends_with("strong")).collect();
    assert!(new.is_empty(), "{what}: {new:?}");
    assert!(raw.is_subset(&same), "{what}: another script or style");
    let policy = |page: &str| {
        let at = page.find("Content-Security-Policy").expect("there is a policy");
        page[at..].split('>').next().unwrap().to_owned()
    };
    assert_eq!(policy(page), policy(ordinary), "{what}");
}

#[test]
fn hostile_names_pass_through_every_output_harmlessly() {
    let test = CliTest::new();
    test.write("events.jsonl", &events());
    // Bytes that are no text, in a file of its own: its rows are set aside, and what is told of them is visible.
    let bytes = b"timestamp,org_id,user_id,user_name\n2026-01-05T10:00:00Z,o,u\xff\xfe,\xc3(\n2026-01-05T10:00:00Z,o,u2,\x1b[2J\n";
    fs::write(test.path().join("bytes.csv"), bytes).unwrap();
    let run = |args: &str| {
        let outcome = test.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.code, 0, "{args}: {}", outcome.stderr);
        assert_visible(&outcome.stdout, args);
        assert_visible(&outcome.stderr, args);
        outcome.stdout
    };
    run("features --events events.jsonl --profile generic --store store");
    run("features --events bytes.csv --profile generic --store other --set limits.bad-row-share=1");
    run(&format!("train --store store --until {UNTIL} --models models --name m"));
    test.write("secret", "https://hooks.example.com/services/x");
    test.write(
        "q.toml",
        "[outputs]\nocsf = \"ocsf.jsonl\"\nocsf-watch-list = true\nmetrics = \"night.prom\"\n[deliver]\ndry-run = \"dry\"\n\
         slack.url-file = \"secret\"\nwebhook = { url = \"https://example.com/\", secret-file = \"secret\" }\n\
         mail = { server = \"mx.example.com\", from = \"q@example.com\", to = [\"soc@example.com\"] }\n",
    );
    let range = format!("--from {} --to {}", NIGHTS[0], NIGHTS[2]);
    let printed = run(&format!("score --store store --models models --name m {range} --out run --config q.toml"));
    let rows = test.anomalies("run");
    let names = corpus();
    for (night, name) in NIGHTS.iter().zip(&names) {
        let row = rows.iter().find(|r| r["date"] == *night && r["user_id"] == name.as_str()).expect("ranked");
        assert_eq!(row["reported"], true, "{name:?} is reported");
        let key = row["anomaly_key"].as_str().unwrap();
        assert!(printed.contains(&key[..12]), "{printed}");
        run(&format!("explain {key} --run run"));
    }
    // The corpus is in the list, byte for byte but for blanks around an id.
    for name in names.iter().map(|name| name.trim()) {
        assert!(rows.iter().any(|r| r["user_id"] == name), "{:?}", &name[..name.len().min(60)]);
    }

    let read = |name: &str| fs::read(test.path().join("run").join(name)).unwrap();
    let (info, from_json) = run_folder::load(&test.path().join("run")).unwrap();
    assert_eq!(from_json, jsonl::read(&read("anomalies.jsonl"), "j").unwrap());
    assert_eq!(parquet::read(&read("anomalies.parquet"), "p").unwrap(), from_json);
    assert_eq!(csv::read(&read("anomalies.csv"), "c").unwrap(), from_json);
    for record in csv::records(&read("anomalies.csv"), "c").unwrap() {
        for cell in record.cells {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{:?}", &cell[..cell.len().min(40)]);
        }
    }
    assert_eq!(info.nights[0].org_id, ORG);

    assert_eq!(test.score("plain", &["--from", NIGHT, "--to", LAST]).code, 0);
    let ordinary = fs::read_to_string(test.path().join("plain/report.html")).unwrap();
    let page = String::from_utf8(read("report.html")).unwrap();
    assert_harmless(&page, &ordinary, "report.html");
    assert!(page.len() < 2 << 20, "{} bytes", page.len());

    let findings = fs::read_to_string(test.path().join("ocsf.jsonl")).unwrap();
    assert_eq!(findings.lines().count(), rows.len());
    for line in findings.lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        assert_eq!(schema::errors(&finding), [""; 0]);
        assert!(line.len() < 60_000, "{} bytes", line.len());
    }
    for line in fs::read_to_string(test.path().join("night.prom")).unwrap().lines() {
        assert!(line.starts_with("# ") || (line.starts_with("quietwatch_") && line.contains("} ")), "{line}");
        assert_visible(line, "metrics");
    }
    messages(&test, &info, &from_json);

    run(&format!("backtest --store store {range} --out back"));
    let pages = tree(&test.path().join("back"));
    let page = String::from_utf8(pages[std::path::Path::new("backtest.html")].clone()).unwrap();
    assert_visible(&page, "backtest.html");
    assert!(!structure(&page).0.iter().any(|e| e == "img" || e.contains("onmouseover") || e.contains("onerror")));
    run("doctor --store store --models models");
    run(&format!("models diff --models models --name m --from 1 --to 1 --store store --since {}", NIGHTS[0]));
}

#[cfg(not(feature = "deliver"))]
fn messages(_: &CliTest, _: &quietwatch::anomaly::RunInfo, _: &[quietwatch::anomaly::Anomaly]) {}

/// The dry run's requests, and both forms of its letters.
#[cfg(feature = "deliver")]
fn messages(test: &CliTest, info: &quietwatch::anomaly::RunInfo, rows: &[quietwatch::anomaly::Anomaly]) {
    use quietwatch::report::message::{Wanted, mail, of_run};

    let requests = tree(&test.path().join("dry"));
    assert!(requests.len() >= 9, "{:?}", requests.keys());
    for (file, bytes) in &requests {
        let what = file.display().to_string();
        assert!(bytes.len() < 400_000, "{what}: {} bytes", bytes.len());
        let text = String::from_utf8(bytes.clone()).expect("a request is text");
        if file.extension().is_some_and(|e| e == "eml") {
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(head.matches("Bcc").count(), 0, "{what}");
            for line in head.split("\r\n") {
                assert_visible(line, &what);
                let folded = line.starts_with([' ', '\t']);
                let name = line.split(':').next().unwrap();
                let known =
                    ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"];
                assert!(folded || known.contains(&name), "{what}: {line}");
            }
            continue;
        }
        let (head, body) = text.split_once("\n\n").unwrap();
        assert_visible(head, &what);
        let body: Value = serde_json::from_str(body).unwrap();
        if what.contains("slack") {
            assert!(body["blocks"].as_array().unwrap().len() <= 50);
            let marked = body.to_string().matches("\"mrkdwn\",\"text\":\"").count();
            assert!(marked > 0);
            for block in body["blocks"].as_array().unwrap().iter().filter(|b| b["text"]["type"] == "mrkdwn") {
                let text = block["text"]["text"].as_str().unwrap();
                assert!(!text.contains('<') && !text.contains("@here") && !text.contains(":skull:"), "{text}");
                assert_visible(text, &what);
            }
        }
    }
    let wanted = Wanted { heartbeat: true, nights: 7, report_url: "" };
    for message in of_run(info, rows, wanted) {
        assert_visible(&mail::subject(&message), "subject");
        assert!(!mail::subject(&message).contains('\n'));
        assert_visible(&mail::plain(&message), "plain text");
        let page = mail::page(&message);
        assert_visible(&page, "letter");
        let (elements, raw) = structure(&page);
        let allowed = ["!DOCTYPE", "html", "head", "meta", "title", "body", "p", "strong", "div", "ul", "li", "code"];
        for element in &elements {
            let mut words = element.trim_start_matches('/').split(' ');
            assert!(allowed.contains(&words.next().unwrap()), "{element}");
            assert!(words.next().is_none_or(|a| ["lang", "charset", "style", "html"].contains(&a)), "{element}");
        }
        assert!(raw.is_empty());
    }
}
