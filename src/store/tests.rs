use std::collections::BTreeMap;

use super::*;
use crate::config::Settings;
use crate::events::batch::{Field, MISSING, NUMBERS};
use crate::events::{Profile, SourceFile};
use crate::features::testing::{Call, DAY, random_calls, shuffled};
use crate::features::{DayFeatures, Options, compute};
use crate::pipeline::Days;
use crate::pipeline::files::{Daily, Hourly, Parts};
use crate::tables::{FeatureTable, Sym};

const HOUR: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR;

struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Writes the calls as a file of the profile `generic`.
    fn file(&self, name: &str, calls: &[Call]) -> SourceFile {
        let header = ["timestamp", "action", "status_code", "request_id"].into_iter();
        let header: Vec<&str> = header.chain(Field::ALL.map(Field::name)).chain(NUMBERS).collect();
        let mut lines = vec![header.join(",")];
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        for call in calls {
            let number = |n: i64, missing: i64| if n == missing { String::new() } else { n.to_string() };
            let mut cells = vec![
                crate::date::format_ms(DAY.start_ms() + call.ms),
                call.action.name().to_owned(),
                number(call.status.into(), 0),
                quoted(&call.request),
            ];
            cells.extend(Field::ALL.map(|field| quoted(call.get(field))));
            cells.extend(call.numbers.map(|n| number(n, MISSING)));
            lines.push(cells.join(","));
        }
        let text = lines.join("\n") + "\n";
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        SourceFile::at(&path).unwrap()
    }

    fn store(&self, name: &str) -> Store {
        Store::create(&self.dir.path().join(name)).unwrap()
    }

    /// A daily or hourly file of [`DAY`], made at `created`.
    fn salesforce(&self, interval: &str, id: &str, created: &str, calls: &[Call]) -> SourceFile {
        let name = format!("ApiTotalUsage_{}_{id}.csv", DAY.to_string().replace('-', ""));
        let source = self.file(&name, calls);
        let manifest = serde_json::json!({"Interval": interval, "LogDate": format!("{DAY}T00:00:00.000Z"), "CreatedDate": created});
        fs::write(source.path.with_extension("csv.json"), manifest.to_string()).unwrap();
        SourceFile::at(&source.path).unwrap()
    }
}

fn try_ingest(store: &Store, files: &[SourceFile], archive: bool) -> Result<IngestReport> {
    store.ingest(files, &Profile::load("generic").unwrap(), &Settings::default(), archive, &|_| ())
}

fn ingest(store: &Store, files: &[SourceFile]) -> IngestReport {
    try_ingest(store, files, true).unwrap()
}

/// Every file of a store by its path in it.
fn snapshot(store: &Store) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![store.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(store.path()).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn assert_same(a: &Store, b: &Store, what: &str) {
    let (a, b) = (snapshot(a), snapshot(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{what}");
    for (path, bytes) in &a {
        assert!(*bytes == b[path], "{what}: {} differs", path.display());
    }
}

fn id(org: &str, days: i32) -> PartitionId {
    PartitionId { org: org.to_owned(), date: DAY.plus(days) }
}

fn calls_of(store: &Store, id: &PartitionId) -> f64 {
    store.load(id).unwrap().org_day.get(0, crate::features::catalog::org_day::CALLS)
}

/// Calls over three days and two organisations.
fn spread_calls(case: u64, count: usize) -> Vec<Call> {
    let mut calls = random_calls(case, count);
    for (at, call) in calls.iter_mut().enumerate() {
        call.ms += (at as i64 % 3) * DAY_MS;
        call.text[Field::Org as usize] = ["o", "o", "../p"][at / 3 % 3].to_owned();
    }
    calls
}

#[test]
fn order_names_repetition_threads_and_memory_change_no_byte() {
    let lab = Lab::new();
    let contents = [spread_calls(1, 150), spread_calls(2, 200), spread_calls(3, 90)];
    // The second file overlaps with the first, as files of unknown kind may.
    let contents = [contents[0].clone(), [&contents[0][40..80], &contents[1]].concat(), contents[2].clone()];
    let [a, b, c] = std::array::from_fn(|i| lab.file(&format!("{i}.csv"), &contents[i]));
    let expected = lab.store("expected");
    let report = ingest(&expected, &[a.clone(), b.clone(), c.clone()]);
    assert_eq!((report.files, report.duplicate_files, report.partitions_written), (3, 0, 6));

    let reversed = lab.store("reversed");
    ingest(&reversed, &[c.clone(), b.clone(), a.clone()]);
    assert_same(&expected, &reversed, "another order");

    let again = lab.file("another name.csv", &contents[1]);
    let repeated = lab.store("repeated");
    let report = ingest(&repeated, &[a.clone(), again, b.clone(), c.clone(), a.clone()]);
    assert_eq!((report.files, report.duplicate_files, report.events), (5, 2, (150 + 240 + 90)));
    assert_same(&expected, &repeated, "a renamed and a repeated file");

    let stepwise = lab.store("stepwise");
    for file in [&b, &c, &b, &a] {
        ingest(&stepwise, std::slice::from_ref(file));
    }
    assert_same(&expected, &stepwise, "one file at a time");

    for threads in [1, 2] {
        let store = lab.store(&format!("threads {threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| ingest(&store, &[a.clone(), b.clone(), c.clone()]));
        assert_same(&expected, &store, "another number of threads");
    }

    let spilled = Store { buffer_bytes: Some(0), ..lab.store("spilled") };
    ingest(&spilled, &[a.clone(), b.clone(), c.clone()]);
    assert_same(&expected, &spilled, "no memory");

    let before = snapshot(&expected);
    let report = ingest(&expected, &[c, a, b]);
    assert_eq!((report.partitions_written, report.partitions_unchanged), (0, 6));
    assert_eq!(snapshot(&expected), before);
}

#[test]
fn what_is_stored_is_what_was_computed() {
    let lab = Lab::new();
    let calls = random_calls(7, 400);
    let store = lab.store("s");
    ingest(&store, &[lab.file("a.csv", &calls)]);
    let id = id("o", 0);
    // Events as they were read: from the archive.
    let manifest = store.manifest(&id).unwrap();
    let part = format!("events/{}.parquet", manifest.parts[0].digest);
    let events =
        archive::decode_part(read_checked(&store.folder(&id), manifest.file(&part).unwrap()).unwrap()).unwrap();
    assert_eq!(events.len(), 400);
    for (row, call) in calls.iter().enumerate() {
        assert_eq!(events.timestamp_ms[row], DAY.start_ms() + call.ms);
        assert_eq!((events.action[row], events.status[row]), (call.action, call.status));
        assert_eq!(events.request_id.get(row), call.request);
        assert_eq!(events.source_row[row], row as u64 + 1);
        assert_eq!(events.column(Field::User).get(row), call.get(Field::User));
        assert_eq!(events.numbers[3][row], call.numbers[3]);
    }
    let enricher = crate::enrich::Enricher::new(&Settings::default().enrich).unwrap();
    let computed = compute("o", DAY, &events, &|ip| enricher.lookup(ip), &Options::default());
    let loaded = store.load(&id).unwrap();
    assert_eq!(renumbered(&loaded), renumbered(&computed.tables));
    let tokens = store.load_tokens(&id).unwrap();
    let steps = |text: &[String], rows: &[crate::features::Token]| -> Vec<_> {
        let text = |sym: Sym| text[sym as usize].clone();
        rows.iter()
            .map(|t| (t.session, t.action, text(t.entity), t.status_class, t.gap, t.run, text(t.request_id)))
            .collect()
    };
    let DayFeatures { tables, tokens: rows } = &computed;
    assert_eq!(steps(&tokens.text, &tokens.rows), steps(&tables.text, rows));
    assert!(!rows.is_empty());
}

/// The tables with symbols numbered by first use, so that they can be compared.
fn renumbered(tables: &DayTables) -> DayTables {
    let mut out = tables.clone();
    let mut text = crate::events::batch::Dictionary::default();
    let mut renumber = |sym: &mut Sym| *sym = text.intern(tables.text(*sym));
    let table = |t: &mut FeatureTable, renumber: &mut dyn FnMut(&mut Sym)| {
        t.ids.iter_mut().chain(&mut t.names).for_each(renumber);
    };
    for t in [&mut out.user_day, &mut out.session, &mut out.app_day, &mut out.ip_day, &mut out.org_day] {
        table(t, &mut renumber);
    }
    for key in &mut out.session_keys {
        renumber(&mut key.channel);
        renumber(&mut key.ip);
    }
    for value in &mut out.values {
        renumber(&mut value.value);
        value.request_ids.iter_mut().for_each(&mut renumber);
    }
    out.hours.iter_mut().for_each(|h| renumber(&mut h.channel));
    out.text = text.iter().map(str::to_owned).collect();
    out
}

#[test]
fn a_daily_file_supersedes_hourly_ones_and_its_revision_holds_even_with_fewer_rows() {
    let lab = Lab::new();
    let calls = |from: i64, to: i64| -> Vec<Call> {
        (from..to).map(|i| Call::at(i * 1000).request(&format!("r{i}"))).collect()
    };
    let hourly = lab.salesforce("Hourly", "0AT000000000001", "2024-10-04T05:00:00.000Z", &calls(0, 60));
    let daily = lab.salesforce("Daily", "0AT000000000002", "2024-10-05T03:00:00.000Z", &calls(0, 100));
    let revised = lab.salesforce("Daily", "0AT000000000003", "2024-10-06T03:00:00.000Z", &calls(0, 90));
    let unknown = lab.file("extra.csv", &calls(80, 120));
    let forwards = lab.store("forwards");
    let mut seen = Vec::new();
    for file in [&hourly, &daily, &revised, &unknown] {
        ingest(&forwards, std::slice::from_ref(file));
        seen.push(calls_of(&forwards, &id("o", 0)));
    }
    assert_eq!(seen, [60.0, 100.0, 90.0, 120.0], "rows 80..90 are in both of the last");
    let backwards = lab.store("backwards");
    for file in [&unknown, &revised, &daily, &hourly] {
        ingest(&backwards, std::slice::from_ref(file));
    }
    assert_same(&forwards, &backwards, "another order of arrival");
    let manifest = forwards.manifest(&id("o", 0)).unwrap();
    let rows: BTreeMap<PartKind, Vec<(u64, u64)>> = manifest.parts.iter().fold(BTreeMap::new(), |mut rows, part| {
        rows.entry(part.kind).or_insert_with(Vec::new).push((part.rows, part.contributing_rows));
        rows
    });
    assert_eq!(rows[&PartKind::Hourly], [(60, 0)]);
    assert!(rows[&PartKind::Daily].contains(&(100, 0)));
    assert_eq!(manifest.events, 120);
    let hour = |date: Date, hours: i64| Some(date.start_ms() + hours * HOUR);
    let expected = Parts {
        daily: Some(Daily { rows: 90, created: hour(DAY.plus(2), 3) }),
        earlier_daily: vec![Daily { rows: 100, created: hour(DAY.plus(1), 3) }],
        hourly: vec![Hourly { hour: Some(0), sequence: None, rows: 60, created: hour(DAY, 5) }],
        other: 1,
        shared: 10,
    };
    assert_eq!(forwards.parts("o", DAY).unwrap(), expected);
}

#[test]
fn rows_of_another_date_in_a_daily_file_go_there_and_supersede_nothing() {
    let lab = Lab::new();
    let store = lab.store("s");
    let mut late: Vec<Call> = (0..10).map(|i| Call::at(i * 1000).request(&format!("d{i}"))).collect();
    late.push(Call::at(-1).request("stray"));
    ingest(&store, &[lab.file("before.csv", &[Call::at(-5000).request("y1"), Call::at(-4000).request("y2")])]);
    ingest(&store, &[lab.salesforce("Daily", "0AT000000000002", "2024-10-05T03:00:00.000Z", &late)]);
    assert_eq!(calls_of(&store, &id("o", 0)), 10.0);
    assert_eq!(calls_of(&store, &id("o", -1)), 3.0);
    assert!(store.manifest(&id("o", -1)).unwrap().parts.iter().all(|p| p.kind == PartKind::Unknown));
}

#[test]
fn sessions_are_cut_at_midnight() {
    let lab = Lab::new();
    let store = lab.store("s");
    let calls = [Call::at(DAY_MS - 1000), Call::at(DAY_MS - 1), Call::at(DAY_MS), Call::at(DAY_MS + 1000)];
    ingest(&store, &[lab.file("a.csv", &calls)]);
    for day in [0, 1] {
        let tables = store.load(&id("o", day)).unwrap();
        assert_eq!(tables.session.len(), 1);
        assert_eq!(tables.session.get(0, crate::features::catalog::session::CALLS), 2.0);
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_refused() {
    let lab = Lab::new();
    let store = lab.store("s");
    ingest(&store, &[lab.file("a.csv", &random_calls(1, 60))]);
    let id = id("o", 0);
    let folder = store.folder(&id);
    store.verify(&id).unwrap();
    for file in store.manifest(&id).unwrap().files {
        let path = folder.join(&file.path);
        let good = fs::read(&path).unwrap();
        for at in [0, good.len() / 3, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            assert_eq!(store.verify(&id).unwrap_err().kind(), Kind::Digest, "{}", file.path);
            let loaded = [store.load(&id).map(drop), store.load_tokens(&id).map(drop)];
            let refused = loaded.iter().filter(|l| l.as_ref().is_err_and(|e| e.kind() == Kind::Digest)).count();
            assert_eq!(refused, usize::from(file.path.starts_with("features/")), "{}", file.path);
        }
        fs::write(&path, &good).unwrap();
    }
    store.load(&id).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_a_manifest_is_refused() {
    let lab = Lab::new();
    let store = lab.store("s");
    ingest(&store, &[lab.file("a.csv", &random_calls(1, 60))]);
    let id = id("o", 0);
    let path = store.folder(&id).join(build::MANIFEST);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 7);
        fs::write(&path, &bad).unwrap();
        assert_eq!(store.manifest(&id).unwrap_err().kind(), Kind::Digest, "byte {at}");
    }
    // The number of the format itself is no exception.
    let number = good.iter().position(u8::is_ascii_digit).unwrap();
    for bit in 0..8 {
        let mut bad = good.clone();
        bad[number] ^= 1 << bit;
        fs::write(&path, &bad).unwrap();
        assert_eq!(store.manifest(&id).unwrap_err().kind(), Kind::Digest, "bit {bit} of the format");
    }
    fs::write(&path, &good).unwrap();
    store.load(&id).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_the_marker_of_a_store_is_refused() {
    let lab = Lab::new();
    let store = lab.store("s");
    let path = store.path().join(MARKER);
    let good = fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        assert_eq!(Store::open(store.path()).unwrap_err().kind(), Kind::Digest, "bit {bit}");
        assert_eq!(Store::create(store.path()).unwrap_err().kind(), Kind::Digest, "bit {bit}");
    }
    for cut in 0..good.len() {
        fs::write(&path, &good[..cut]).unwrap();
        assert_eq!(Store::open(store.path()).unwrap_err().kind(), Kind::Digest, "cut at {cut}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(Store::open(store.path()).unwrap_err().kind(), Kind::Input, "no store");
    let said = "{\"quietwatch_store\":2";
    fs::write(&path, format!("{said},\"check\":\"{}\"}}\n", blake3::hash(said.as_bytes()))).unwrap();
    let error = Store::open(store.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("expected a store of version 1, found 2"), "{error}");
    fs::write(&path, &good).unwrap();
    Store::open(store.path()).unwrap();
}

#[test]
fn what_a_killed_writer_left_is_cleared_and_what_it_moved_away_put_back() {
    let lab = Lab::new();
    let (store, expected) = (lab.store("s"), lab.store("expected"));
    let files = [lab.file("a.csv", &random_calls(1, 60)), lab.file("b.csv", &random_calls(2, 60))];
    ingest(&expected, &files);
    ingest(&store, &files[..1]);
    // Killed while writing a partition, and another one between the two renames of an exchange.
    let temp = store.temp();
    fs::create_dir_all(temp.join("q@2024-10-04.new/features")).unwrap();
    fs::write(temp.join("q@2024-10-04.new/features/values.parquet"), "half").unwrap();
    let target = store.folder(&id("o", 0));
    fs::rename(&target, temp.join(format!("o@{DAY}.old"))).unwrap();
    fs::create_dir(temp.join(format!("o@{DAY}.new"))).unwrap();
    ingest(&store, &files[1..]);
    assert_same(&expected, &store, "after recovery");
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0);
}

#[test]
fn a_second_writer_is_turned_away_and_readers_are_not() {
    let lab = Lab::new();
    let store = lab.store("s");
    let file = lab.file("a.csv", &random_calls(1, 20));
    ingest(&store, std::slice::from_ref(&file));
    let lock = store.lock().unwrap();
    assert_eq!(try_ingest(&store, std::slice::from_ref(&file), true).unwrap_err().kind(), Kind::Locked);
    store.load(&id("o", 0)).unwrap();
    drop(lock);
    ingest(&store, &[file]);
}

#[test]
fn without_an_archive_the_same_files_change_nothing_and_others_are_refused() {
    let lab = Lab::new();
    let store = lab.store("s");
    let (a, b) = (lab.file("a.csv", &random_calls(1, 60)), lab.file("b.csv", &random_calls(2, 60)));
    try_ingest(&store, std::slice::from_ref(&a), false).unwrap();
    let before = snapshot(&store);
    assert!(before.keys().all(|path| !path.to_string_lossy().contains("events")));
    for archive in [true, false] {
        let refused = try_ingest(&store, std::slice::from_ref(&b), archive).unwrap_err();
        assert_eq!(refused.kind(), Kind::Input);
        assert!(refused.to_string().contains("files of the date in one run"), "{refused}");
    }
    assert_eq!(try_ingest(&store, std::slice::from_ref(&a), false).unwrap().partitions_unchanged, 1);
    assert_eq!(snapshot(&store), before);
    // All files of the date together are as good as new.
    try_ingest(&store, &[b.clone(), a.clone()], true).unwrap();
    let expected = lab.store("expected");
    ingest(&expected, &[a, b]);
    assert_same(&expected, &store, "re-ingested");
}

#[test]
fn another_network_table_rebuilds_every_date_from_the_archive() {
    let lab = Lab::new();
    let (store, expected) = (lab.store("s"), lab.store("expected"));
    let (a, b) = (lab.file("a.csv", &spread_calls(1, 90)), lab.file("b.csv", &[Call::at(0)]));
    ingest(&store, std::slice::from_ref(&a));
    let mut settings = Settings::default();
    settings.enrich.corporate_ranges = vec!["10.0.0.0/8".to_owned()];
    let profile = Profile::load("generic").unwrap();
    let report = store.ingest(std::slice::from_ref(&b), &profile, &settings, true, &|_| ()).unwrap();
    assert_eq!(report.partitions_written, 6, "also dates without a new file");
    expected.ingest(&[a, b], &profile, &settings, true, &|_| ()).unwrap();
    assert_same(&expected, &store, "rebuilt");
    let corporate = crate::features::catalog::user_day::CORPORATE_CALLS;
    let users = store.load(&id("o", 0)).unwrap().user_day;
    assert!((0..users.len()).any(|row| users.get(row, corporate) > 0.0));
}

#[test]
fn a_file_that_cannot_be_read_leaves_the_store_as_it_was() {
    let lab = Lab::new();
    let store = lab.store("s");
    ingest(&store, &[lab.file("a.csv", &random_calls(1, 20))]);
    let before = snapshot(&store);
    let bad = lab.dir.path().join("bad.csv");
    fs::write(&bad, b"nothing,that,is,known\n1,2,3,4\n").unwrap();
    let files = [lab.file("b.csv", &random_calls(2, 20)), SourceFile::at(&bad).unwrap()];
    assert_eq!(try_ingest(&store, &files, true).unwrap_err().kind(), Kind::Input);
    assert_eq!(snapshot(&store), before);
}

#[test]
fn bad_rows_are_listed_by_number_and_reason_under_the_digest_of_their_file() {
    let lab = Lab::new();
    let store = lab.store("s");
    let mut source = lab.file("a.csv", &shuffled(&random_calls(1, 200), 1));
    let mut text = fs::read_to_string(&source.path).unwrap();
    text.push_str("yesterday,query,200,secret-id,o,u\n");
    source.path = lab.dir.path().join("b.csv");
    fs::write(&source.path, text).unwrap();
    let report = ingest(&store, &[source]);
    assert_eq!((report.events, report.quarantined), (200, 1));
    let path = store.path().join("quarantine").join(format!("{}.jsonl", report.digests[0]));
    let row: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((row["file"].as_str(), row["row"].as_u64()), (Some(report.digests[0].as_str()), Some(201)));
    assert!(!row.to_string().contains("secret"));
}

#[test]
fn hostile_organisations_stay_inside_the_store() {
    let lab = Lab::new();
    let store = lab.store("s");
    let mut orgs = ["../../evil", "quarantine", "nights", "a/b", ".tmp", "ü", "%41"].map(String::from).to_vec();
    orgs.push("x".repeat(5000));
    let calls: Vec<Call> = orgs.iter().enumerate().map(|(i, org)| Call::at(i as i64).with(Field::Org, org)).collect();
    ingest(&store, &[lab.file("a.csv", &calls)]);
    let mut found: Vec<String> = store.partitions().unwrap().into_iter().map(|id| id.org).collect();
    orgs.sort();
    found.sort();
    assert_eq!(found, orgs);
    for org in &orgs {
        assert_eq!(calls_of(&store, &id(org, 0)), 1.0);
    }
    assert!(!lab.dir.path().join("evil").exists());
}

#[test]
fn a_folder_with_other_things_in_it_is_no_store() {
    let lab = Lab::new();
    let path = lab.dir.path().join("photos");
    assert_eq!(Store::open(&path).unwrap_err().kind(), Kind::Input);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("cat.jpg"), "meow").unwrap();
    assert_eq!(Store::create(&path).unwrap_err().kind(), Kind::Usage);
    assert_eq!(lab.store("s").load(&id("o", 0)).unwrap_err().kind(), Kind::NoData);
}

#[test]
fn a_damaged_or_missing_feature_file_is_made_again_from_the_dates_files() {
    let lab = Lab::new();
    let file = lab.file("a.csv", &random_calls(5, 80));
    let (sound, hurt) = (lab.store("sound"), lab.store("hurt"));
    ingest(&sound, std::slice::from_ref(&file));
    ingest(&hurt, std::slice::from_ref(&file));
    let values = hurt.folder(&id("o", 0)).join("features/values.parquet");
    let mut bytes = fs::read(&values).unwrap();
    bytes[40] ^= 1;
    for damage in [Some(bytes), None] {
        match damage {
            Some(bytes) => fs::write(&values, bytes).unwrap(),
            None => fs::remove_file(&values).unwrap(),
        }
        assert!(hurt.load(&id("o", 0)).is_err());
        assert_eq!(ingest(&hurt, std::slice::from_ref(&file)).partitions_written, 1);
        assert_same(&sound, &hurt, "after repair");
    }
}

#[test]
fn the_profile_says_what_steps_are_made_of_and_where_two_differ_they_are_usual() {
    let lab = Lab::new();
    let mut text = String::from("name = 'own'\n[sequence]\ntoken = ['http_method', 'resource']\n[columns]\n");
    for name in ["timestamp", "org_id", "user_id", "http_method", "resource", "entity_name"] {
        text.push_str(&format!("{name} = '{name}'\n"));
    }
    let path = lab.dir.path().join("own.toml");
    fs::write(&path, text).unwrap();
    let own = Profile::load(path.to_str().unwrap()).unwrap();
    let call = |ms: i64| Call::at(ms).with(Field::Entity, "Lead").with(Field::HttpMethod, "GET");
    let file = lab.file("a.csv", &[call(0).with(Field::Resource, "/leads"), call(1).with(Field::HttpMethod, "")]);
    let words = |store: &Store| -> Vec<(String, String)> {
        let id = store.partitions().unwrap().remove(0);
        store.load_tokens(&id).unwrap().into_steps().words
    };
    let store = lab.store("own");
    store.ingest(&[file], &own, &Settings::default(), true, &|_| ()).unwrap();
    let pair = |full: &str, coarse: &str| (full.to_owned(), coarse.to_owned());
    assert_eq!(words(&store), [pair("GET /leads", "call"), pair("call", "call")]);
    ingest(&store, &[lab.file("b.csv", &[call(2)])]);
    let verb = Call::at(0).action.name();
    assert!(words(&store).contains(&pair(&format!("{verb} Lead"), verb)), "{:?}", words(&store));
}
