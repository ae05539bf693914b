//! What becomes of malformed files: for each, the rows kept and set aside, or the error. Small texts are in
//! `tests/corpus`, binary and large ones are made here. No input may panic.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::parallel::Collector;
use super::quarantine::Reason::{self, *};
use super::read::{ReadStats, Tuning, read_tuned};
use super::{Events, Profile, QuarantineRow};
use crate::config::settings::Limits;
use crate::error::{Kind, Result};

/// What a file must end in.
#[derive(Debug, PartialEq)]
enum End {
    /// Rows kept, and the rows set aside.
    Rows(u64, Vec<(u64, Reason)>),
    /// An input error whose message has this in it.
    Error(String),
}

fn kept(rows: u64) -> End {
    End::Rows(rows, Vec::new())
}

fn aside<const N: usize>(rows: u64, bad: [(u64, Reason); N]) -> End {
    End::Rows(rows, bad.to_vec())
}

fn error(part: &str) -> End {
    End::Error(part.to_owned())
}

fn limits() -> Limits {
    // Every limit but the share, so that bad rows can be counted.
    Limits { bad_row_share: 1.0, ..Limits::default() }
}

fn read(path: &Path, profile: &str, tuning: Tuning) -> Result<(Vec<(u64, Reason)>, ReadStats)> {
    let limits = limits();
    let mut bad = Vec::new();
    let mut quarantine = |q: QuarantineRow| bad.push((q.row, q.reason));
    let mut sink = |_: Events| Ok(());
    let mut collector = Collector::new(path, &limits, &mut quarantine, &mut sink);
    read_tuned(path, &Profile::load(profile)?, &limits, tuning, &Ok, &mut collector)?;
    let stats = collector.finish()?;
    Ok((bad, stats))
}

fn check(path: &Path, profile: &str, expected: &End) -> Option<String> {
    let found = match read(path, profile, Tuning { block_bytes: 1 << 20, threads: 2 }) {
        Ok((bad, stats)) => {
            assert_eq!(bad.len() as u64, stats.quarantined);
            assert_eq!(bad.iter().any(|b| b.1 == Truncated), stats.truncated_tail && !bad.is_empty());
            End::Rows(stats.rows, bad)
        }
        Err(e) => {
            assert_eq!(e.kind(), Kind::Input, "{}: {e}", path.display());
            assert!(e.to_string().contains(&path.display().to_string()), "the error names the file: {e}");
            if let End::Error(part) = expected
                && e.to_string().contains(part)
            {
                End::Error(part.clone())
            } else {
                End::Error(e.to_string())
            }
        }
    };
    (found != *expected).then(|| format!("{}: expected {expected:?}, found {found:?}", path.display()))
}

#[test]
fn every_malformed_text_ends_as_stated() {
    let salesforce = "salesforce-api-total-usage";
    let table: Vec<(&str, &str, End)> = vec![
        ("empty.csv", "generic", kept(0)),
        ("header-only.csv", "generic", kept(0)),
        ("header-only-no-newline.csv", "generic", kept(0)),
        ("blank-lines-only.csv", "generic", kept(0)),
        ("bom.csv", "generic", kept(2)),
        ("crlf.csv", "generic", kept(2)),
        ("bom-crlf-quoted.csv", "generic", kept(2)),
        ("mixed-line-ends.csv", "generic", kept(2)),
        ("lone-cr.csv", "generic", error("CR alone")),
        ("no-final-newline.csv", "generic", kept(2)),
        ("blank-lines-between.csv", "generic", kept(2)),
        ("truncated-last-row.csv", "generic", aside(1, [(2, Truncated)])),
        ("truncated-in-quotes.csv", "generic", aside(1, [(2, Truncated)])),
        ("truncated-in-time.csv", "generic", aside(1, [(2, Truncated)])),
        ("extra-field.csv", "generic", aside(2, [(2, FieldCount)])),
        ("missing-field.csv", "generic", aside(2, [(2, FieldCount)])),
        ("extra-column.csv", "generic", kept(2)),
        ("missing-user-column.csv", "generic", error("user_id")),
        ("missing-time-column.csv", "generic", error("timestamp")),
        ("duplicated-column.csv", "generic", error("found several")),
        ("duplicated-unused-column.csv", "generic", kept(1)),
        ("reordered.csv", "generic", kept(2)),
        ("header-in-other-case.csv", salesforce, kept(1)),
        ("no-header.csv", "generic", error("expected a column timestamp")),
        ("semicolons.csv", "generic", error("expected a column timestamp")),
        ("tabs.csv", "generic", error("expected a column timestamp")),
        ("stray-quote.csv", "generic", kept(2)),
        ("text-after-quote.csv", "generic", aside(1, [(1, Quotes)])),
        ("unclosed-quote.csv", "generic", aside(2, [(1, Quotes)])),
        ("unclosed-quote-before-quoted.csv", "generic", aside(2, [(1, Quotes)])),
        ("newline-in-quotes.csv", "generic", kept(2)),
        ("doubled-quotes.csv", "generic", kept(1)),
        ("only-quotes.csv", "generic", error("expected a column timestamp")),
        ("bad-times.csv", "generic", End::Rows(0, (1..=13).map(|row| (row, Timestamp)).collect())),
        ("good-times.csv", "generic", kept(7)),
        ("leap-second.csv", "generic", aside(1, [(2, Timestamp)])),
        ("daylight-saving.csv", "generic", kept(4)),
        ("before-1990.csv", "generic", End::Rows(0, (1..=4).map(|row| (row, Timestamp)).collect())),
        ("far-future.csv", "generic", aside(1, [(2, Timestamp), (3, Timestamp)])),
        ("odd-ids.csv", salesforce, kept(4)),
        ("blank-user.csv", "generic", aside(1, [(1, User)])),
        ("blank-user-failed-login.csv", "generic", aside(2, [(3, User)])),
        ("space-user.csv", "generic", aside(1, [(1, User)])),
        ("bad-status.csv", "generic", kept(8)),
        ("bad-addresses.csv", "generic", kept(10)),
        ("other-event-type.csv", salesforce, aside(2, [(2, EventType)])),
        ("times-disagree.csv", salesforce, kept(1)),
        ("hostile-text.csv", "generic", kept(5)),
        ("good.jsonl", "generic", kept(2)),
        ("crlf-blank.jsonl", "generic", kept(2)),
        ("torn.jsonl", "generic", aside(1, [(2, Truncated)])),
        ("no-final-newline.jsonl", "generic", kept(2)),
        ("bad-line.jsonl", "generic", aside(2, [(2, Json)])),
        ("not-objects.jsonl", "generic", aside(1, [(2, NotObject), (3, NotObject), (4, NotObject), (5, NotObject)])),
        ("two-on-a-line.jsonl", "generic", aside(1, [(1, Json)])),
        ("duplicate-keys.jsonl", "generic", kept(1)),
        ("missing-keys.jsonl", "generic", aside(0, [(1, User), (2, Timestamp), (3, Timestamp)])),
        ("wrong-types.jsonl", "generic", aside(1, [(1, Timestamp), (2, User), (3, User)])),
        ("bad-escapes.jsonl", "generic", aside(1, [(1, Json), (2, Json)])),
        ("array.json", "generic", kept(2)),
        ("array-torn.json", "generic", aside(1, [(2, Truncated)])),
        ("array-unclosed.json", "generic", kept(2)),
        (
            "array-of-scalars.json",
            "generic",
            aside(1, [(2, NotObject), (3, NotObject), (4, NotObject), (5, NotObject)]),
        ),
        ("array-empty.json", "generic", kept(0)),
        ("array-closed-wrongly.json", "generic", error("damaged")),
        ("array-then-garbage.json", "generic", error("expected a JSON array")),
        ("records.json", "aws-cloudtrail", kept(2)),
        ("records-no-list.json", "aws-cloudtrail", error("expected Records to be a list")),
        ("records-number.json", "aws-cloudtrail", error("expected Records to be a list")),
        ("records-empty.json", "aws-cloudtrail", kept(0)),
        ("records-torn.json", "aws-cloudtrail", aside(1, [(2, Truncated)])),
        ("records-after-other-keys.json", "aws-cloudtrail", kept(1)),
        ("records-pretty.json", "aws-cloudtrail", kept(1)),
        ("two-documents.json", "aws-cloudtrail", kept(2)),
        ("no-records.json", "aws-cloudtrail", aside(1, [(1, Json), (2, Json), (4, Truncated)])),
        ("records-without-identity.json", "aws-cloudtrail", aside(1, [(1, User), (2, User)])),
        ("csv-named.json", "generic", aside(0, [(1, Json), (2, Json), (3, Json)])),
        ("json-named.csv", "generic", kept(2)),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let wrong: Vec<String> =
        table.iter().filter_map(|(name, profile, end)| check(&folder.join(name), profile, end)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let files = std::fs::read_dir(folder).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count();
    assert_eq!(table.len(), files, "every file of the corpus is in the table");
}

const HEADER: &str = "timestamp,user_id,client_name\n";

fn good_rows(count: usize) -> String {
    let row = |i: usize| format!("2026-04-21T10:00:00.{:03}Z,u{},c\n", i % 1000, i % 7);
    (0..count).map(row).collect::<Vec<_>>().concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_malformed_binary_ends_as_stated() {
    let text = format!("{HEADER}{}", good_rows(2_000));
    let utf16 = |big: bool, bom: bool| -> Vec<u8> {
        let units = bom.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    };
    let two = format!("{HEADER}{}", good_rows(2)).into_bytes();
    let with = |tail: &[u8]| [two.as_slice(), tail].concat();
    let zipped = gzip(text.as_bytes());
    let packed = zst(text.as_bytes());
    let changed = |bytes: &[u8], at: usize| {
        let mut copy = bytes.to_vec();
        copy[at] ^= 0xff;
        copy
    };
    // 20 MB of one row: gzip reaches about 300:1 and zstd more than 5000:1.
    let monotone = format!("{HEADER}{}", "2026-04-21T10:00:00.000Z,u,c\n".repeat(700_000));
    let deep = |depth: usize| format!("{{\"timestamp\":{}1{}}}\n", "[".repeat(depth), "]".repeat(depth));
    let long = "x".repeat(2 << 20);
    let damaged = "damaged or cut off";

    let table: Vec<(&str, Vec<u8>, End)> = vec![
        ("utf16le.csv", utf16(false, true), error("UTF-16")),
        ("utf16be.csv", utf16(true, true), error("UTF-16")),
        ("utf16-no-bom.csv", utf16(false, false), error("binary")),
        ("zeros.csv", vec![0; 4096], error("binary")),
        ("zero-tail.csv", with(&[0; 4096]), aside(2, [(3, Truncated)])),
        ("zero-in-row.csv", with(b"2026-04-21T10:00:00Z,u\0,c\n"), aside(2, [(3, Nul)])),
        ("latin1.csv", with(b"2026-04-21T10:00:00Z,J\xfcrgen,c\n"), aside(2, [(3, Encoding)])),
        ("overlong-utf8.csv", with(b"2026-04-21T10:00:00Z,\xc0\xaf,c\n"), aside(2, [(3, Encoding)])),
        (
            "latin1.jsonl",
            b"{\"timestamp\":\"2026-04-21T10:00:00Z\",\"user_id\":\"J\xfcrgen\"}\n".to_vec(),
            aside(0, [(1, Encoding)]),
        ),
        ("program.csv", b"\x7fELF\x02\x01\x01\0\0\0\0".to_vec(), error("binary")),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\0\0".to_vec(), error("expected a column timestamp")),
        ("zip.csv", b"PK\x03\x04\x14\0\0\0".to_vec(), error("binary")),
        ("long-line.csv", with(format!("2026-04-21T10:00:00Z,{long},c\n").as_bytes()), error("limits.line-bytes")),
        ("long-last-line.csv", with(long.as_bytes()), error("limits.line-bytes")),
        ("long-header.csv", format!("timestamp,user_id,{long}\n").into_bytes(), error("limits.line-bytes")),
        (
            "long-quoted.csv",
            with(format!("2026-04-21T10:00:00Z,\"{long}\",c\n").as_bytes()),
            error("limits.line-bytes"),
        ),
        ("long-line.jsonl", format!("{{\"user_id\":\"{long}\"}}\n").into_bytes(), error("limits.line-bytes")),
        ("long-element.json", format!("[{{\"user_id\":\"{long}\"}}]").into_bytes(), error("limits.line-bytes")),
        ("commas.csv", with(&b",".repeat(100_000)), aside(2, [(3, Truncated)])),
        ("quotes.csv", with(&b"\"".repeat(99_999)), aside(2, [(3, Truncated)])),
        ("deep.jsonl", deep(50_000).into_bytes(), aside(0, [(1, Json)])),
        ("deep.json", format!("[{}]", deep(50_000)).into_bytes(), aside(0, [(1, Json)])),
        ("deep-unclosed.json", "[".repeat(50_000).into_bytes(), aside(0, [(1, Truncated)])),
        ("good.csv.gz", zipped.clone(), kept(2_000)),
        ("empty.csv.gz", Vec::new(), error("empty file")),
        ("plain-text.csv.gz", text.clone().into_bytes(), kept(2_000)),
        ("magic-only.csv.gz", vec![0x1f, 0x8b], error(damaged)),
        ("truncated.csv.gz", zipped[..zipped.len() / 2].to_vec(), error(damaged)),
        ("no-trailer.csv.gz", zipped[..zipped.len() - 8].to_vec(), error(damaged)),
        ("bad-crc.csv.gz", changed(&zipped, zipped.len() - 6), error(damaged)),
        ("bad-length.csv.gz", changed(&zipped, zipped.len() - 2), error(damaged)),
        ("two-members.csv.gz", [gzip(HEADER.as_bytes()), gzip(good_rows(3).as_bytes())].concat(), kept(3)),
        ("bad-second-member.csv.gz", [zipped.as_slice(), b"not gzip"].concat(), error(damaged)),
        ("truncated-second-member.csv.gz", [zipped.as_slice(), &zipped[..40]].concat(), error(damaged)),
        ("bomb.csv.gz", gzip(&vec![b'\n'; 20 << 20]), error("limits.decompression-ratio")),
        ("good.csv.zst", packed.clone(), kept(2_000)),
        ("truncated.csv.zst", packed[..packed.len() / 2].to_vec(), error(damaged)),
        ("bad-checksum.csv.zst", changed(&packed, packed.len() - 2), error(damaged)),
        ("magic-only.csv.zst", vec![0x28, 0xb5, 0x2f, 0xfd], error(damaged)),
        ("bomb.csv.zst", zst(monotone.as_bytes()), error("limits.decompression-ratio")),
        ("compressed.parquet.gz", gzip(b"PAR1 and more"), error("compressed Parquet")),
        #[cfg(feature = "frame")]
        ("magic-only.parquet", b"PAR1".to_vec(), error("damaged Parquet")),
        #[cfg(feature = "frame")]
        ("no-footer.parquet", b"PAR1\0\0\0\0PAR1".to_vec(), error("damaged Parquet")),
    ];
    let dir = tempfile::tempdir().unwrap();
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(name, bytes, end)| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            check(&path, "generic", end)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(check(dir.path(), "generic", &error("expected a file")), None, "a folder");
    assert_eq!(check(&dir.path().join("none.csv"), "generic", &error("cannot open")), None, "nothing");
}

#[cfg(feature = "frame")]
mod parquet {
    use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
    use polars_io::parquet::write::ParquetWriter;

    use super::*;

    fn write(path: &Path, columns: Vec<Series>) {
        let columns: Vec<_> = columns.into_iter().map(IntoColumn::into_column).collect();
        let mut frame = DataFrame::new_infer_height(columns).unwrap();
        ParquetWriter::new(std::fs::File::create(path).unwrap()).finish(&mut frame).unwrap();
    }

    fn good(rows: usize) -> Vec<Series> {
        let times: Vec<String> = (0..rows).map(|i| format!("2026-04-21T10:00:00.{:03}Z", i % 1000)).collect();
        let users: Vec<Option<&str>> = (0..rows).map(|i| (i % 10 != 3).then_some("u")).collect();
        vec![Series::new("timestamp".into(), times), Series::new("user_id".into(), users)]
    }

    #[test]
    fn every_parquet_file_ends_as_stated() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let ms = Series::new("timestamp".into(), vec![1_776_765_600_000_i64; 2])
            .cast(&polars::prelude::DataType::Datetime(polars::prelude::TimeUnit::Microseconds, None))
            .unwrap();
        let user = || Series::new("user_id".into(), ["a", "b"]);
        let list = Series::new("user_id".into(), [Series::new("".into(), ["a"]), Series::new("".into(), ["b"])]);
        let numbers = Series::new("user_id".into(), [7_i64, 8]);
        let cases = [
            ("good.parquet", good(20), aside(18, [(4, User), (14, User)])),
            ("no-rows.parquet", good(0), kept(0)),
            ("no-user.parquet", good(2)[..1].to_vec(), error("user_id")),
            ("microseconds-as-1970.parquet", vec![ms, user()], aside(0, [(1, Timestamp), (2, Timestamp)])),
            ("list.parquet", vec![good(2)[0].clone(), list], error("expected text, numbers, booleans or times")),
            ("numbers.parquet", vec![good(2)[0].clone(), numbers], kept(2)),
        ];
        for (name, columns, end) in cases {
            write(&path(name), columns);
            assert_eq!(check(&path(name), "generic", &end), None);
        }
    }

    #[test]
    fn a_damaged_parquet_file_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, good(300));
        let bytes = std::fs::read(&path).unwrap();
        let tuning = Tuning { block_bytes: 1 << 20, threads: 1 };
        for at in (0..bytes.len()).step_by(3) {
            let mut copy = bytes.clone();
            copy[at] ^= 1 << (at % 8);
            std::fs::write(&path, &copy).unwrap();
            if let Err(e) = read(&path, "generic", tuning) {
                assert_eq!(e.kind(), Kind::Input);
            }
            std::fs::write(&path, &bytes[..at]).unwrap();
            if let Err(e) = read(&path, "generic", tuning) {
                assert_eq!(e.kind(), Kind::Input, "cut at {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_reads_the_same_in_small_blocks(
        body in proptest::collection::vec(
            prop_oneof![
                6 => Just("2026-04-21T10:00:00.000Z,u,c\n"),
                2 => Just("\"2026-04-21T10:00:00.000Z\",\"u\"\"1\",\"c\nd\"\r\n"),
                1 => Just("\""), 1 => Just(","), 1 => Just("\n"), 1 => Just("\r\n"), 1 => Just("x"), 1 => Just("\"\""),
                1 => Just("\"a\nb"), 1 => Just("é"), 1 => Just("\0"),
            ],
            0..60,
        ),
        block_bytes in 40_usize..400,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, format!("{HEADER}{}", body.concat())).unwrap();
        let whole = read(&path, "generic", Tuning { block_bytes: 1 << 20, threads: 1 }).unwrap();
        let blocks = read(&path, "generic", Tuning { block_bytes, threads: 3 }).unwrap();
        prop_assert_eq!(whole, blocks);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), pick in 0_usize..6) {
        let starts: [&[u8]; 6] = [b"", HEADER.as_bytes(), b"[{\"a\":", b"{\"Records\":[", b"\x1f\x8b\x08", b"{\"timestamp\":"];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, [starts[pick], &bytes].concat()).unwrap();
        if let Err(e) = read(&path, "generic", Tuning { block_bytes: 64, threads: 1 }) {
            prop_assert_eq!(e.kind(), Kind::Input);
        }
    }
}
