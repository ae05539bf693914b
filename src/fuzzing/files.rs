//! Files from outside: event logs, profiles, configuration, tables and sequences.

use std::path::Path;

use super::base::{BASE, in_folder, write};
use super::edit::Taker;
use super::no_bug;
use crate::config::Layers;
use crate::config::settings::{Limits, Settings};
use crate::events::profile::BUILTIN;
use crate::events::{Profile, SourceFile, rows_in_blocks};
use crate::features::table::{Wanted, read};
use crate::features::{self, sequences};
use crate::store::rows;

/// A mapping of one's own, with nested columns and several sources of one.
const OWN: &str = "name = 'own'\n[columns]\ntimestamp = ['when', 'at']\nuser_id = ['actor.id', 'actor.alt']\norg_id = 'org'\n\
    client_ip = 'ip'\naction = 'verb'\nstatus_code = 'status'\nrow_count = 'rows'\n[timestamp]\nformat = 'unix-ms'\n";

/// Small enough that a file which is larger than what it says is found soon.
fn limits() -> Limits {
    Limits { bad_row_share: 1.0, line_bytes: 4_096, decompression_ratio: 100.0, file_bytes: 32 << 20 }
}

/// The first byte says which profile reads the rest, the second how the file is named.
pub(super) fn events(data: &[u8]) {
    event_file(data, &["events.csv", "events.jsonl", "events.json", "events"]);
}

/// As [`events`], compressed or Parquet.
pub(super) fn packed(data: &[u8]) {
    event_file(data, &["events.csv.gz", "events.csv.zst", "events.parquet", "events.json.gz"]);
}

fn event_file(data: &[u8], names: &[&str]) {
    let mut head = Taker(data);
    let (which, name) = (usize::from(head.byte()), names[usize::from(head.byte()) % names.len()]);
    in_folder(|dir| {
        let path = dir.join(name);
        write(&path, head.0);
        let profile = if let Some(name) = BUILTIN.get(which % (BUILTIN.len() + 1)) {
            Profile::builtin(name)
        } else {
            write(&dir.join("own.toml"), OWN.as_bytes());
            no_bug(Profile::load(&dir.join("own.toml").to_string_lossy()))
        };
        read_events(&path, &profile.expect("it is a profile"));
    });
}

/// Reads a file in one block and in many, which must say the same, and computes the features of its days.
fn read_events(path: &Path, profile: &Profile) {
    let whole = rows_in_blocks(path, profile, &limits(), (1 << 24, 1));
    let pieces = rows_in_blocks(path, profile, &limits(), (64, 1));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(a), Err(b)) => assert_eq!(a.kind(), b.kind()),
        (a, b) => panic!("one block: {:?}, many: {:?}", a.map(|a| a.2), b.map(|b| b.2)),
    }
    let Some(source) = no_bug(SourceFile::at(path)) else { return };
    let settings = Settings { limits: limits(), ..Settings::default() };
    for (_, day) in no_bug(rows(&[source], profile, &settings)).unwrap_or_default() {
        let tables = [&day.tables.user_day, &day.tables.session];
        assert!(tables.iter().all(|t| t.values.iter().all(|v| v.is_finite())));
    }
}

/// A profile, which then reads files.
pub(super) fn profile(data: &[u8]) {
    in_folder(|dir| {
        let path = dir.join("profile.toml");
        write(&path, data);
        let Some(profile) = no_bug(Profile::load(&path.to_string_lossy())) else { return };
        let lines: &[u8] = b"{\"timestamp\":\"2026-01-05T08:00:00Z\",\"user_id\":\"u\",\"a\":{\"b\":[1,\"x\"]},\"when\":1767600000000}\n";
        for (name, bytes) in [("e.csv", BASE.files[0].as_bytes()), ("e.jsonl", lines)] {
            let path = dir.join(name);
            write(&path, &bytes[..bytes.len().min(600)]);
            read_events(&path, &profile);
        }
    });
}

/// A configuration file and, after zero bytes, what `--set` says.
pub(super) fn config(data: &[u8]) {
    let mut parts = data.split(|b| *b == 0);
    let file = parts.next().unwrap_or_default();
    let sets: Vec<String> = parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    in_folder(|dir| {
        let path = dir.join("quietwatch.toml");
        write(&path, file);
        let Some(layers) = no_bug(Layers::read(Some(&path), &sets)) else { return };
        no_bug(layers.resolve_at_score_time(&Settings::default()));
        let Some(config) = no_bug(layers.resolve()) else { return };
        for (_, value, origin) in config.entries() {
            let _ = (value.map(|v| v.to_string()), origin.to_string());
        }
        // A model keeps its settings as JSON and must get the same ones back.
        let text = serde_json::to_string(config.settings()).expect("plain data serialises");
        let again: Settings = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(&again, config.settings());
        // What `config init` prints is this configuration, but for relative paths, which begin where the file is.
        write(&path, crate::config::init(&config).as_bytes());
        let printed = Layers::read(Some(&path), &[]).and_then(|layers| layers.resolve());
        let portable = printed.map(|c| c.settings().portable()).map_err(|e| e.to_string());
        assert_eq!(portable, Ok(config.settings().portable()));
    });
}

/// The first byte says how the rest is read: as a table, to learn or to score, or as sequences; from CSV or Parquet.
pub(super) fn table(data: &[u8]) {
    let mut head = Taker(data);
    let how = head.byte();
    in_folder(|dir| {
        let path = dir.join(["t.csv", "t.csv.gz", "t.parquet"][usize::from(how / 4) % 3]);
        write(&path, head.0);
        let keys = ["id".to_owned()];
        let learned = ["a".to_owned(), "c".to_owned()];
        match how % 4 {
            0 => {
                let Some(read) = no_bug(sequences::read(&path, &limits())) else { return };
                let vocabulary = read.vocabulary(100);
                let encoded = read.encode(&vocabulary);
                assert_eq!(read.cut(&encoded).len(), read.len());
                let _ = read.digest();
            }
            kind => {
                let learned = (kind == 1).then_some(&learned[..]);
                let Some(table) = no_bug(read(&path, Wanted { keys: &keys, excluded: &[], learned }, &limits())) else {
                    return;
                };
                assert_eq!(table.numbers.values.len(), table.numbers.rows * table.numbers.cols);
                let _ = (table.digest(), features::table::schema(&table.columns));
            }
        }
    });
}

pub(super) fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let [archive, table, sequences] = &BASE.files;
    let mut seeds: Vec<(&'static str, String, Vec<u8>)> = Vec::new();
    let mut add = |target, name: &str, head: &[u8], bytes: &[u8]| {
        seeds.push((target, name.to_owned(), [head, bytes].concat()));
    };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, bytes) in super::base::contents(&corpus).unwrap_or_default() {
        let ending = Path::new(&name).extension().and_then(|e| e.to_str());
        let kind = ["csv", "jsonl", "json"].iter().position(|e| ending == Some(e)).unwrap_or(0) as u8;
        let profile = u8::from(memchr::memmem::find(&bytes, b"eventName").is_some());
        add("events", &name, &[profile, kind], &bytes);
    }
    let some = &archive.as_bytes()[..archive.match_indices('\n').nth(8).map_or(0, |(at, _)| at + 1)];
    add("events", "generic.csv", &[2, 0], some);
    add(
        "events",
        "own.jsonl",
        &[3, 1],
        b"{\"when\":1767600000000,\"actor\":{\"id\":\"u\"},\"ip\":\"198.18.0.1\",\"status\":200}\n",
    );
    add("packed", "generic.csv.gz", &[2, 0], &gz(some));
    add("packed", "generic.csv.zst", &[2, 1], &zstd::encode_all(some, 1).unwrap_or_default());
    for (name, bytes) in parquet() {
        add("packed", &name, &[2, 2], &bytes);
        add("table", &name, &[2 + 8], &bytes);
        add("table", &format!("sequences-{name}"), &[8], &bytes);
    }
    add("table", "learn.csv", &[2], table.as_bytes());
    add("table", "score.csv", &[1], table.as_bytes());
    add("table", "sequences.csv", &[0], sequences.as_bytes());
    add("table", "learn.csv.gz", &[2 + 4], &gz(table.as_bytes()));
    let config = Layers::default().resolve().expect("defaults are in range");
    add("config", "init.toml", &[], crate::config::init(&config).as_bytes());
    add(
        "config",
        "changes.toml",
        &[],
        b"required-version = \">=0.1\"\n[[expected.changes]]\nwho = [\"a@b\"]\nfrom = 2026-05-01\nuntil = \"2026-05-14\"\nreason = \"r\"\n\
          effects = [\"do-not-learn\"]\n[alerts]\nper-night = 3\0alerts.q=0.2\0enrich.corporate-ranges=[\"192.0.2.0/24\"]\0run.name=x",
    );
    for name in BUILTIN {
        let text =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/events/profiles/{name}.toml")));
        add("profile", name, &[], &text.unwrap_or_default());
    }
    add("profile", "own.toml", &[], OWN.as_bytes());
    seeds
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("memory grows");
    encoder.finish().expect("memory grows")
}

/// Small Parquet files: of events, of numbers.
fn parquet() -> Vec<(String, Vec<u8>)> {
    use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
    let text = |name: &str, of: [&str; 3]| Series::new(name.into(), of).into_column();
    let events = vec![
        text("timestamp", ["2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z", "x"]),
        text("user_id", ["u", "v", ""]),
        text("client_ip", ["198.18.0.1", "2001:db8::1", "?"]),
    ];
    let numbers = vec![
        text("id", ["x", "y", "z"]),
        Series::new("a".into(), [1.0, f64::NAN, -2.5]).into_column(),
        Series::new("c".into(), [Some(1_i64), None, Some(3)]).into_column(),
    ];
    let sequences = vec![text("sequence_id", ["x", "y", "z"]), text("tokens", ["a b", "", "b b"])];
    let write = |columns: Vec<Column>| {
        let mut bytes = Vec::new();
        let mut frame = DataFrame::new(3, columns).expect("columns of one length");
        polars_io::parquet::write::ParquetWriter::new(&mut bytes).finish(&mut frame).expect("memory grows");
        bytes
    };
    [("events", events), ("numbers", numbers), ("tokens", sequences)]
        .map(|(name, columns)| (format!("{name}.parquet"), write(columns)))
        .to_vec()
}
