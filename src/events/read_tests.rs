//! Reading whole files: what every format and profile yields, and that blocks and threads change nothing.

use std::fmt::Write;

use super::*;

fn write(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn rows(path: &Path, profile: &Profile, tuning: Tuning) -> Result<Yield> {
    rows_in_blocks(
        path,
        profile,
        &Limits { bad_row_share: 1.0, ..Limits::default() },
        (tuning.block_bytes, tuning.threads),
    )
}

fn default_rows(path: &Path, profile: &str) -> Yield {
    rows(path, &Profile::load(profile).unwrap(), Tuning { block_bytes: 1 << 20, threads: 1 }).unwrap()
}

const HEADER_18: &str = "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,API_FAMILY,API_VERSION,API_RESOURCE,\
    CLIENT_NAME,HTTP_METHOD,CLIENT_IP,COUNTS_AGAINST_API_LIMIT,CONNECTED_APP_ID,ENTITY_NAME,STATUS_CODE,\
    CONNECTED_APP_NAME,USER_NAME,TIMESTAMP_DERIVED";

#[test]
fn a_salesforce_row_becomes_a_canonical_event() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "{HEADER_18}\nApiTotalUsage,20251009183437.652,4ehU_U-nbQyAPFl1cJILm-,00D000000000001,0055j000000utlP,REST,64.0,\
         /v64.0/sobjects/Account/001xx000003DGQW,,get,::ffff:198.18.0.1,1,8888Z000000pihz,Contact; Account,200,MyApp,\
         a@example.com,2025-10-09T18:34:37.652Z\n"
    );
    let (lines, bad, stats) = default_rows(&write(&dir, "a.csv", text.as_bytes()), "salesforce-api-total-usage");
    assert_eq!(bad, []);
    let missing = super::super::batch::MISSING;
    assert_eq!(
        lines,
        [format!(
            "1 2025-10-09T18:34:37.652Z|00D000000000001EAA|0055j000000utlPAAQ|a@example.com|198.18.0.1|\
             8888Z000000pihzQAA|MyApp||REST|64.0|/sobjects/Account/{{id}}|GET|Account;Contact||crud_read|200|\
             4ehU_U-nbQyAPFl1cJILm-|{missing}|{missing}|{missing}|{missing}"
        )]
    );
    assert_eq!((stats.rows, stats.timestamp_disagreements), (1, 0));
    assert_eq!((stats.unknown_columns.len(), stats.missing_columns.len()), (0, 0));
}

#[test]
fn all_four_header_shapes_bind_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let shape = |drop: &[&str], add: &str| {
        let names: Vec<&str> = HEADER_18.split(',').filter(|n| !drop.contains(n)).collect();
        let mut header = names.join(",");
        if !add.is_empty() {
            header = header.replace(",TIMESTAMP_DERIVED", &format!("{add},TIMESTAMP_DERIVED"));
        }
        header
    };
    let oldest = ["CONNECTED_APP_ID", "ENTITY_NAME", "STATUS_CODE", "CONNECTED_APP_NAME", "USER_NAME"];
    for (i, header) in [
        shape(&oldest, ""),
        shape(&oldest[2..], ""),
        shape(&[], ""),
        shape(&[], ",API_CLIENT_CATEGORY,BOT_ID,BOT_SESSION_ID,PLANNER_ID"),
    ]
    .iter()
    .enumerate()
    {
        let row: Vec<&str> = header
            .split(',')
            .map(|name| match name {
                "TIMESTAMP" => "20251009183437.652",
                "TIMESTAMP_DERIVED" => "2025-10-09T18:34:37.652+0000",
                "USER_ID" => "0055j000000utlP",
                "API_RESOURCE" => "/v58.0/query/01gxx0000004CxzAAE-2000",
                _ => "",
            })
            .collect();
        let quoted = |cells: &[&str]| cells.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(",");
        let text = format!("{}\r\n{}\r\n", quoted(&header.split(',').collect::<Vec<_>>()), quoted(&row));
        let (lines, bad, stats) =
            default_rows(&write(&dir, &format!("{i}.csv"), text.as_bytes()), "salesforce-api-total-usage");
        assert_eq!((lines.len(), bad.len(), stats.timestamp_disagreements), (1, 0, 0), "shape {i}");
        assert!(lines[0].contains("|58.0|/query/{cursor}|") && lines[0].contains("query_more"), "{}", lines[0]);
        assert_eq!(stats.unknown_columns, Vec::<String>::new());
        assert_eq!(stats.missing_columns.len(), [5, 3, 0, 0][i]);
    }
}

#[test]
fn times_that_disagree_are_counted_and_the_derived_one_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let text = "TIMESTAMP,TIMESTAMP_DERIVED,USER_ID\n\
        20251009183437.652,2025-10-09T18:34:38.000Z,u\n\
        20251009183437.652,,u\n\
        ,2025-10-09T18:34:37.652Z,u\n\
        20251009183437.652,broken,u\n";
    let (lines, bad, stats) = default_rows(&write(&dir, "a.csv", text.as_bytes()), "salesforce-api-total-usage");
    assert_eq!((lines.len(), bad.len(), stats.timestamp_disagreements), (4, 0, 2));
    assert!(lines[0].starts_with("1 2025-10-09T18:34:38.000Z"));
}

#[test]
fn failed_authentication_keeps_its_row_without_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let text = "timestamp,user_id,status_code\n2025-10-09T18:34:37Z,,401\n2025-10-09T18:34:37Z,,200\n";
    let (lines, bad, _) = default_rows(&write(&dir, "a.csv", text.as_bytes()), "generic");
    assert_eq!(bad, [(2, "no user")]);
    assert!(lines.len() == 1 && lines[0].contains("|(unknown)|"));
}

/// A few thousand rows with quotes, ends of line inside quotes, blanks, bad rows and rare values.
fn awkward_csv() -> String {
    let mut text = String::from("timestamp,user_id,resource,http_method,client_name,request_id,row_count\n");
    for i in 0..4_000_u32 {
        let second = i % 60;
        let minute = i / 60 % 60;
        match i % 97 {
            13 => text.push('\n'),
            29 => text.push_str("not,enough\n"),
            31 => text.push_str("\"2025-10-09T18:00:00Z\",\"un\"closed\",x,GET,c,r,1\n"),
            41 => text.push_str("2025-99-09T18:00:00Z,u,/v1/x,GET,c,r,1\n"),
            _ => {
                writeln!(
                    text,
                    "2025-10-09T18:{minute:02}:{second:02}.{:03}Z,u{},\"/v{}/users/{i}?q=\"\"1\"\"\",GET,\"a\nb{}\",r{i},{i}",
                    i % 1000,
                    i % 7,
                    i % 3,
                    i % 5
                )
                .unwrap();
            }
        }
    }
    text
}

#[test]
fn blocks_and_threads_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let csv = awkward_csv();
    let plain_csv = csv.replace('"', "").replace("a\nb", "ab");
    let mut json = String::new();
    for i in 0..3_000 {
        let user = i % 11;
        writeln!(json, r#"{{"timestamp":"2025-10-09T18:00:00Z","user_id":"u{user}","row_count":{i}}}"#).unwrap();
    }
    let document = format!("{{\"x\":1,\"Records\":[{}]}}", json.trim_end().replace('\n', " , "));
    let profile = Profile::builtin("generic").unwrap();
    for (name, text) in [
        ("q.csv", csv.as_bytes()),
        ("p.csv", plain_csv.as_bytes()),
        ("l.jsonl", json.as_bytes()),
        ("d.json", document.as_bytes()),
    ] {
        let path = write(&dir, name, text);
        let whole = rows(&path, &profile, Tuning { block_bytes: 1 << 24, threads: 1 }).unwrap();
        assert!(whole.0.len() > 2_000);
        assert_eq!(whole.2.digest, blake3::hash(text).to_hex().to_string());
        for tuning in [
            Tuning { block_bytes: 1_000, threads: 1 },
            Tuning { block_bytes: 70_000, threads: 2 },
            Tuning { block_bytes: 4_096, threads: 5 },
        ] {
            assert!(rows(&path, &profile, tuning).unwrap() == whole, "{name} {tuning:?}");
        }
    }
}

#[test]
fn compressed_files_read_as_their_contents() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let text = awkward_csv();
    let expected = default_rows(&write(&dir, "a.csv", text.as_bytes()), "generic");
    let gzip = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    let (first, second) = text.as_bytes().split_at(text.len() / 3);
    let members = [gzip(first), gzip(second)].concat();
    let frames = [zstd::encode_all(first, 3).unwrap(), zstd::encode_all(second, 3).unwrap()].concat();
    for (name, bytes) in [("a.csv.gz", &members), ("a.csv.zst", &frames), ("misnamed.csv", &members)] {
        assert!(default_rows(&write(&dir, name, bytes), "generic") == expected, "{name}");
    }
}

#[test]
fn a_profile_of_ones_own_reads_nested_json() {
    let dir = tempfile::tempdir().unwrap();
    let profile = write(
        &dir,
        "okta.toml",
        b"name = 'okta'\n[columns]\ntimestamp = 'published'\nuser_id = ['actor.id', 'actor.alternateId']\n\
          client_ip = 'client.ip'\nentity_name = 'target.0.id'\nresource = 'kinds'\n",
    );
    let text = r#"{"published":"2025-10-09T18:34:37Z","actor":{"id":"","alternateId":"a@b"},"client":{"ip":"2001:DB8::1"},"target":[{"id":"t1"},{"id":"t2"}],"kinds":["x","y",3],"extra":{"deep":[1]}}
{"published":"2025-10-09T18:34:38Z","actor.id":"flat","actor":null}
"#;
    let (lines, bad, stats) = default_rows(&write(&dir, "a.jsonl", text.as_bytes()), profile.to_str().unwrap());
    assert_eq!(bad, []);
    assert!(lines[0].contains("|a@b||2001:db8::1|") && lines[0].contains("|x;y;3||t1|"), "{}", lines[0]);
    assert!(lines[1].contains("|flat|"));
    assert_eq!(stats.unknown_columns, ["extra"]);
    assert_eq!(stats.missing_columns, Vec::<String>::new());
}

#[test]
fn limits_end_in_errors_that_name_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let text = awkward_csv();
    let path = write(&dir, "a.csv", text.as_bytes());
    let profile = Profile::builtin("generic").unwrap();
    let source = SourceFile::at(&path).unwrap();
    let fine = Limits { bad_row_share: 1.0, ..Limits::default() };
    for (limits, key) in [
        (Limits { bad_row_share: 0.01, ..fine.clone() }, "limits.bad-row-share"),
        (Limits { line_bytes: 50, ..fine.clone() }, "limits.line-bytes"),
        (Limits { file_bytes: 1_000, ..fine.clone() }, "limits.file-bytes"),
    ] {
        let error = read(&source, &profile, &limits, &mut |_| (), &mut |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(key) && error.to_string().contains("a.csv"), "{error}");
    }
    let mut big = Vec::new();
    for _ in 0..300_000 {
        big.extend_from_slice(b"2025-10-09T18:34:37Z,u,/x,GET,c,r,1,,,,,,,,,,,,,,,,,,,,,,,,\n");
    }
    let bomb = write(&dir, "bomb.csv.zst", &zstd::encode_all(big.as_slice(), 3).unwrap());
    let error = read(&SourceFile::at(&bomb).unwrap(), &profile, &fine, &mut |_| (), &mut |_| Ok(())).unwrap_err();
    assert!(
        error.to_string().contains("column timestamp") && !error.to_string().contains("18:34"),
        "no header: {error}"
    );
    let with_header = [b"timestamp,user_id,a,b,c,d,e,,,,,,,,,,,,,,,,,,,,,,,,,\n".as_slice(), &big].concat();
    let bomb = write(&dir, "bomb2.csv.zst", &zstd::encode_all(with_header.as_slice(), 3).unwrap());
    let error = read(&SourceFile::at(&bomb).unwrap(), &profile, &fine, &mut |_| (), &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("limits.decompression-ratio"), "{error}");
}

#[test]
fn an_error_of_the_sink_ends_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "a.csv", awkward_csv().as_bytes());
    let profile = Profile::builtin("generic").unwrap();
    let limits = Limits { bad_row_share: 1.0, ..Limits::default() };
    for threads in [1, 3] {
        let mut batches = 0;
        let mut quarantine = |_| ();
        let mut sink = |_: Events| {
            batches += 1;
            if batches == 2 { Err(Error::new(Kind::Resource, "full")) } else { Ok(()) }
        };
        let mut collector = Collector::new(&path, &limits, &mut quarantine, &mut sink);
        let tuning = Tuning { block_bytes: 10_000, threads };
        let error = read_tuned(&path, &profile, &limits, tuning, &Ok, &mut collector).unwrap_err();
        assert_eq!(error.kind(), Kind::Resource);
        assert_eq!(batches, 2);
    }
}

/// `QW_EVENTS=/path/ev.csv cargo test --release --lib reading_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for a file or folder named by QW_EVENTS"]
fn reading_speed() {
    let path = std::env::var("QW_EVENTS").unwrap();
    let name = std::env::var("QW_PROFILE").unwrap_or_else(|_| "salesforce-api-total-usage".to_owned());
    let profile = Profile::load(&name).unwrap();
    let sources = crate::events::discover(&[path]).unwrap();
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let (mut rows, mut bad, mut batches) = (0, 0, 0);
        for source in &sources {
            let stats = read(source, &profile, &Limits::default(), &mut |_| (), &mut |_| {
                batches += 1;
                Ok(())
            })
            .unwrap();
            rows += stats.rows;
            bad += stats.quarantined;
        }
        let seconds = started.elapsed().as_secs_f64();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let ticks: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).collect();
        eprintln!(
            "{rows} rows, {bad} bad, {batches} batches, {seconds:.3} s; so far {peak}, CPU 1/100 s user+system {ticks:?}"
        );
    }
}
