//! Aliases and the log: what says which version is meant.

use super::base::{BASE, in_folder, write};
use super::no_bug;
use crate::models::{Because, CHAMPION, Registry, Selector};

const BECAUSE: Because<'_> = Because { reason: "a reason", now: "2026-05-01T02:00:00Z", by: None };

/// The first byte says what is made to fit; then come the alias, the log, and what a killed writer left, apart by a zero byte.
pub(super) fn registry(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(3, |b| *b == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (alias, log, pending) = (next(), next(), next());
    let digest = &BASE.versions[0].loaded.digest;
    let fill = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("@digest@", digest).into_bytes();
    let seal = first & 1 == 1;
    let log = if seal { sealed(&fill(log)) } else { log.to_vec() };
    let last = log.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let pending = if seal { sealed_line(&fill(pending), last) } else { pending.to_vec() };
    in_folder(|dir| {
        let models = dir.join("registry");
        let root = models.join("m");
        for version in ["000001", "000002"] {
            let folder = root.join("versions").join(version);
            if !folder.join("card.md").exists() {
                BASE.versions[0].files.iter().for_each(|(name, bytes)| write(&folder.join(name), bytes));
            }
        }
        write(&root.join("aliases/champion"), &fill(alias));
        write(&root.join("log.jsonl"), &log);
        let _ = std::fs::remove_file(root.join(".pending"));
        if !pending.is_empty() {
            write(&root.join(".pending"), &pending);
        }
        let registry = Registry::open(&models, "m").expect("it is a name");
        no_bug(registry.resolve(&Selector::Alias(CHAMPION.into())));
        no_bug(registry.list());
        no_bug(registry.aliases());
        no_bug(registry.log());
        no_bug(registry.verify(None));
        no_bug(registry.gc(1, None, BECAUSE, true));
        no_bug(registry.rollback(CHAMPION, BECAUSE, &mut |_| Ok(())));
        // Whatever was there, promoting by number sets things right.
        let named = registry.promote(2, CHAMPION, BECAUSE, &mut |_| Ok(()));
        assert!(named.is_ok(), "{named:?}");
        assert_eq!(registry.resolve(&Selector::Alias(CHAMPION.into())).expect("just promoted").0, 2);
    });
}

/// Each line as an object with the hash of the line before and its own.
fn sealed(log: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    for line in log.split_inclusive(|b| *b == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            out.extend(line);
            break;
        };
        last = sealed_line(line, &last);
        out.extend(&last);
        out.push(b'\n');
    }
    out
}

fn sealed_line(line: &[u8], before: &[u8]) -> Vec<u8> {
    let Some(object) = line.strip_suffix(b"}") else { return line.to_vec() };
    let previous = if before.is_empty() { "0".repeat(64) } else { blake3::hash(before).to_hex().to_string() };
    let body = [object, format!(",\"previous\":\"{previous}\"").as_bytes()].concat();
    let own = blake3::hash(&body).to_hex();
    [&body, format!(",\"hash\":\"{own}\"}}").as_bytes()].concat()
}

pub(super) fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let line = |event: &str, version: u32, parent: &str, alias: &str| {
        format!(
            "{{\"time\":\"2026-05-01T02:00:00Z\",\"event\":\"{event}\",\"version\":{version},\"digest\":\"@digest@\",\"parent\":{parent},\
             \"alias\":{alias},\"reason\":\"because\"}}\n"
        )
    };
    let champion = "\"champion\"";
    let log = [
        line("create", 1, "null", "null"),
        line("promote", 1, "null", champion),
        line("create", 2, "1", "null"),
        line("promote", 2, "1", champion),
        line("rollback", 1, "2", champion),
    ]
    .concat();
    let of = |first: u8, alias: &str, log: &[u8], pending: &str| {
        [&[first], alias.as_bytes(), &[0], log, &[0], pending.as_bytes()].concat()
    };
    let pending = line("promote", 2, "1", champion);
    vec![
        ("registry", "as-made".to_owned(), of(0, "000001 @digest@\n", &BASE.log, "")),
        ("registry", "swapped".to_owned(), of(1, "000001 @digest@\n", log.as_bytes(), "")),
        ("registry", "killed".to_owned(), of(1, "000002 @digest@\n", log.as_bytes(), pending.trim_end())),
        ("registry", "older".to_owned(), of(0, "000001 @digest@\n", line("alias", 1, "null", champion).as_bytes(), "")),
    ]
}
