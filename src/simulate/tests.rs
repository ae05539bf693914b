//! What the simulator promises: realism, agreement of rows, labels and truth, and repeatability.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use super::rows::HEADER;
use super::*;
use crate::date::MS_PER_DAY;

/// A row of a log of ours (all fields quoted, none holds a quote).
#[derive(Debug, Clone)]
struct Row(String);

impl Row {
    fn get(&self, name: &str) -> &str {
        let line = &self.0[1..self.0.len() - 1];
        line.split("\",\"").nth(HEADER.iter().position(|(n, _)| *n == name).unwrap()).unwrap()
    }

    fn ms(&self) -> i64 {
        ms(self.get("TIMESTAMP_DERIVED"))
    }

    fn user(&self) -> String {
        text::id18(self.get("USER_ID"))
    }
}

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn parse(text: &str) -> Vec<Row> {
    text.lines().skip(1).map(|line| Row(line.to_owned())).collect()
}

fn rows(folder: &Path, keep: impl Fn(&str) -> bool) -> Vec<Row> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder.join("events")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let wanted = paths.into_iter().filter(|p| keep(p.file_name().unwrap().to_str().unwrap()));
    wanted.flat_map(|p| parse(&fs::read_to_string(p).unwrap())).collect()
}

fn simulate(out: &Path, options: &Options) -> Summary {
    run(options, out, &mut |_| {}).unwrap()
}

fn truth(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(out.join("truth.json")).unwrap()).unwrap()
}

/// `(user, start, end, scenario, category, difficulty)`
fn labels(out: &Path) -> Vec<(String, i64, i64, String, String, String)> {
    let text = fs::read_to_string(out.join("labels.csv")).unwrap();
    let label = |line: &str| {
        let f: Vec<&str> = line.split(',').collect();
        (f[1].to_owned(), ms(f[2]), ms(f[3]), f[4].to_owned(), f[5].to_owned(), f[6].to_owned())
    };
    text.lines().skip(1).map(label).collect()
}

fn small(seed: u64, scenarios: &str) -> Options {
    let scenarios = ScenarioSpec::parse_list(scenarios).unwrap();
    Options { preset: Preset::Small, seed: Seed(seed), scenarios, ..Options::default() }
}

/// The shares published in an audit of one real daily file (a Tuesday of a firm with 40 licences, 89,253 rows), each
/// with the tolerance we allow the mean of two weekdays of each of three seeds.
#[test]
fn marginals_match_a_published_audit_of_a_real_file() {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    let mut days = 0.0;
    for seed in [101, 102, 103] {
        let options = Options { seed: Seed(seed), ..Options::default() };
        let (world, script, _) = stage(&options, 130, 75, 1.0, 2);
        for day in [1, 23] {
            let made = script.day(&world, day);
            let folder = tempfile::tempdir().unwrap();
            output::write_events(folder.path(), "day", Format::Csv, &world.cast, &made.events).unwrap();
            let text = fs::read_to_string(folder.path().join("day.csv")).unwrap();
            let rows = parse(&text);
            let share =
                |keep: &dyn Fn(&Row) -> bool| rows.iter().filter(|r| keep(r)).count() as f64 / rows.len() as f64;
            let is = |column: &'static str, value: &'static str| share(&move |r| r.get(column) == value);
            let mut users: BTreeMap<&str, usize> = BTreeMap::new();
            for row in &rows {
                *users.entry(row.get("USER_ID")).or_default() += 1;
            }
            let mut largest: Vec<usize> = users.values().copied().collect();
            largest.sort_unstable_by(|a, b| b.cmp(a));
            let hour = |r: &Row| (r.ms().rem_euclid(MS_PER_DAY) / 3_600_000) as usize;
            let office = share(&|r| hour(r) >= 13) / 11.0;
            let night = share(&|r| hour(r) < 13) / 13.0;
            days += 1.0;
            for (name, value) in [
                ("REST", is("API_FAMILY", "REST")),
                ("SOAP", is("API_FAMILY", "SOAP")),
                ("Bulk", is("API_FAMILY", "Bulk")),
                ("GET", is("HTTP_METHOD", "GET")),
                ("POST", is("HTTP_METHOD", "POST")),
                ("PATCH", is("HTTP_METHOD", "PATCH")),
                ("no method", is("HTTP_METHOD", "")),
                ("top two users", (largest[0] + largest[1]) as f64 / rows.len() as f64),
                ("no app", is("CONNECTED_APP_NAME", "")),
                ("external", is("API_CLIENT_CATEGORY", "EXTERNAL_APPLICATION")),
                ("counted", is("COUNTS_AGAINST_API_LIMIT", "1")),
                ("describe", share(&|r| r.get("API_RESOURCE").contains("describe"))),
                ("ok", share(&|r| r.get("STATUS_CODE") < "400")),
                ("internal", is("CLIENT_IP", "Salesforce.com IP")),
                ("IPv6", share(&|r| r.get("CLIENT_IP").contains(':'))),
                ("no name", is("USER_NAME", "")),
                ("office hours over night hours", office / night),
                ("bytes a row", text.len() as f64 / rows.len() as f64),
            ] {
                *sums.entry(name).or_default() += value;
            }
        }
    }
    for (name, expected, tolerance) in [
        ("REST", 0.890, 0.04),
        ("SOAP", 0.102, 0.04),
        ("Bulk", 0.0076, 0.006),
        ("GET", 0.846, 0.05),
        ("POST", 0.032, 0.015),
        ("PATCH", 0.019, 0.012),
        ("no method", 0.102, 0.04),
        ("top two users", 0.75, 0.06),
        ("no app", 0.89, 0.06),
        ("external", 0.997, 0.004),
        ("counted", 0.993, 0.003),
        ("describe", 0.077, 0.02),
        ("ok", 0.975, 0.012),
        ("internal", 0.005, 0.003),
        ("IPv6", 0.02, 0.015),
        ("no name", 0.01, 0.002),
        // 2.46 without the audit's one scheduled spike, 2.7 with it.
        ("office hours over night hours", 2.46, 0.5),
        ("bytes a row", 313.0, 25.0),
    ] {
        let found = sums[name] / days;
        assert!((found - expected).abs() <= tolerance, "{name}: expected {expected} ± {tolerance}, found {found:.4}");
    }
}

#[test]
fn people_keep_office_hours_and_weekends_and_counts_are_overdispersed() {
    let (world, script, _) = stage(&Options::default(), 130, 75, 1.0, 2);
    let human: BTreeSet<u32> = world.users.iter().filter(|u| u.is_human()).map(|u| u.actor).collect();
    let calls = |day: i32| script.day(&world, day).events.iter().filter(|e| human.contains(&e.actor)).count() as f64;
    let (workdays, saturdays) = ([1, 2, 3].map(calls).iter().sum::<f64>(), [5, 12, 19].map(calls).iter().sum::<f64>());
    assert!(saturdays < 0.35 * workdays, "{saturdays} on three Saturdays, {workdays} on three workdays");
    // Five-minute counts of the largest poller at night, when its mean is constant: variance well above the mean.
    let sync = world.users[0].actor;
    let mut counts = [0_f64; 60];
    for event in script.day(&world, 1).events.iter().filter(|e| e.actor == sync) {
        let slot = event.ms.rem_euclid(MS_PER_DAY) / 300_000;
        if let Some(count) = counts.get_mut(slot as usize) {
            *count += 1.0;
        }
    }
    let mean = counts.iter().sum::<f64>() / 60.0;
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 59.0;
    assert!(variance > 1.5 * mean, "variance {variance}, mean {mean}");
}

#[test]
fn a_calm_organisation_has_no_labels_and_names_its_networks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("calm");
    let summary = simulate(&out, &small(5, ""));
    assert_eq!((summary.scenarios, summary.first_attack), (0, None));
    assert_eq!(summary.train_until, Some("2026-01-31".parse().unwrap()), "60 % of 45 days");
    assert_eq!(
        fs::read_to_string(out.join("labels.csv")).unwrap(),
        "org_id,user_id,start,end,scenario,category,difficulty\n"
    );
    let config: toml::Value = toml::from_str(&fs::read_to_string(out.join("quietwatch.toml")).unwrap()).unwrap();
    assert_eq!(config["enrich"]["networks"][0].as_str(), Some("networks.csv"));
    let networks = fs::read_to_string(out.join("networks.csv")).unwrap();
    assert!(networks.starts_with("network,country,asn,as_name,class\n198.18."));
    let rows = rows(&out, |_| true);
    assert_eq!(rows.len() as u64, summary.events);
    for row in rows.iter().step_by(97) {
        let ip = row.get("CLIENT_IP");
        assert!(ip == "Salesforce.com IP" || ip.starts_with("198.1") || ip.starts_with("2001:db8:"), "{ip}");
        assert_eq!(row.get("HTTP_METHOD").is_empty(), row.get("API_FAMILY") == "SOAP");
        assert_eq!((row.get("USER_ID").len(), row.get("REQUEST_ID").len()), (15, 22));
    }
}

/// Rows, labels and truth of every scenario say the same.
fn every_scenario_agrees(level: &str) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let options = Options { users: Some(60), ..small(11, &format!("all@{level}")) };
    let summary = simulate(&out, &options);
    assert_eq!(summary.scenarios, 30);
    assert!(summary.skipped.is_empty());
    let truth = truth(&out);
    let labels = labels(&out);
    let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let first = summary.train_until.unwrap().plus(1).to_string();
    for row in rows(&out, |name| name >= first.as_str()) {
        seen.entry(row.user()).or_default().push(row.ms());
    }
    for times in seen.values_mut() {
        times.sort_unstable();
    }
    for deed in truth["scenarios"].as_array().unwrap() {
        let id = deed["id"].as_str().unwrap();
        let mine: Vec<_> = labels.iter().filter(|l| l.3 == id).collect();
        assert!(!mine.is_empty() && deed["events"].as_u64().unwrap() > 0, "{id}@{level} left nothing");
        assert!(!deed["request_ids"].as_array().unwrap().is_empty(), "{id}@{level}");
        let users: Vec<&str> = deed["user_ids"].as_array().unwrap().iter().map(|u| u.as_str().unwrap()).collect();
        for (user, start, end, _, category, difficulty) in mine {
            assert!(users.contains(&user.as_str()), "{id}@{level}");
            assert_eq!(category, deed["category"].as_str().unwrap());
            assert_eq!(difficulty, deed["difficulty"].as_str().unwrap());
            assert_eq!(Date::from_ms(*start), Date::from_ms(*end - 1), "{id}@{level}: a window lies within its date");
            let times = &seen[user.as_str()];
            let at = times.partition_point(|t| t < start);
            assert!(times.get(at).is_some_and(|t| t < end), "{id}@{level}: no row of {user} in the window");
            assert!(Date::from_ms(*start) > summary.train_until.unwrap());
        }
    }
}

#[test]
fn every_scenario_agrees_at_low() {
    every_scenario_agrees("low");
}

#[test]
fn every_scenario_agrees_at_medium() {
    every_scenario_agrees("medium");
}

#[test]
fn every_scenario_agrees_at_high() {
    every_scenario_agrees("high");
}

/// The rows of one scenario's user on its day, in a world with and in a world without it.
fn with_and_without(scenario: &str) -> (Vec<Row>, Vec<Row>) {
    let folder = tempfile::tempdir().unwrap();
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    simulate(&with, &small(21, scenario));
    simulate(&without, &small(21, ""));
    let deed = truth(&with)["scenarios"][0].clone();
    let (day, user) = (deed["days"][0].as_str().unwrap().to_owned(), deed["user_ids"][0].as_str().unwrap().to_owned());
    let of = |out: &Path| {
        let mut rows = rows(out, |name| name.starts_with(&day));
        rows.retain(|r| r.user() == user);
        rows
    };
    (of(&with), of(&without))
}

fn distinct<T: Ord>(rows: &[Row], of: impl Fn(&Row) -> T) -> BTreeSet<T> {
    rows.iter().map(of).collect()
}

fn hour(row: &Row) -> i64 {
    row.ms().rem_euclid(MS_PER_DAY) / 3_600_000
}

#[test]
fn same_volume_theft_changes_objects_and_nothing_else() {
    let (with, without) = with_and_without("S3@high");
    assert!(without.len() > 500);
    let change = with.len() as f64 / without.len() as f64;
    assert!((0.97..=1.03).contains(&change), "{change}");
    assert_eq!(distinct(&with, hour), distinct(&without, hour));
    assert_eq!(
        distinct(&with, |r| r.get("CLIENT_IP").to_owned()),
        distinct(&without, |r| r.get("CLIENT_IP").to_owned())
    );
    let usual = distinct(&without, |r| r.get("ENTITY_NAME").to_owned());
    let strange: Vec<Row> = with.iter().filter(|r| !usual.contains(r.get("ENTITY_NAME"))).cloned().collect();
    let share = strange.len() as f64 / with.len() as f64;
    assert!((0.55..0.65).contains(&share), "{share}");
    assert_eq!(distinct(&strange, |r| r.get("ENTITY_NAME").to_owned()).len(), 3);
}

#[test]
fn a_shifted_run_has_the_same_calls_at_other_hours() {
    let (with, without) = with_and_without("S8@high");
    assert_eq!(with.len(), without.len());
    assert!(distinct(&with, hour).is_disjoint(&distinct(&without, hour)));
    assert_eq!(
        distinct(&with, |r| r.get("ENTITY_NAME").to_owned()),
        distinct(&without, |r| r.get("ENTITY_NAME").to_owned())
    );
}

#[test]
fn the_constant_request_id_is_on_every_stolen_page() {
    let (with, without) = with_and_without("S18@medium");
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &with {
        *ids.entry(row.get("REQUEST_ID")).or_default() += 1;
    }
    let most = *ids.values().max().unwrap();
    assert!(most > 3_000 && most + without.len() == with.len(), "{most} of {} and {}", with.len(), without.len());
}

#[test]
fn the_error_share_climbs_from_two_to_eighteen_percent() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    simulate(&out, &small(31, "S11@high"));
    let deed = truth(&out)["scenarios"][0].clone();
    let days: Vec<&str> = deed["days"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
    let share = |day: &str| {
        let mut rows = rows(&out, |name| name.starts_with(day));
        rows.retain(|r| r.user() == deed["user_ids"][0]);
        rows.iter().filter(|r| r.get("STATUS_CODE").starts_with('4')).count() as f64 / rows.len() as f64
    };
    let (first, last) = (share(days[0]), share(days[days.len() - 1]));
    assert!(days.len() == 7 && first < 0.06 && (0.15..0.30).contains(&last), "{first} {last}");
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn equal_seeds_give_equal_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let formats =
        if cfg!(feature = "frame") { &[Format::Csv, Format::CsvGz, Format::Parquet][..] } else { &[Format::Csv] };
    for &format in formats {
        let options = Options { days: Some(14), format, ..small(3, "all@low") };
        let make = |threads: usize| {
            let out = folder.path().join(format!("{threads}-{}", format.extension()));
            on_threads(threads, || simulate(&out, &options));
            files(&out)
        };
        let (one, two) = (make(1), make(2));
        assert!(one.len() > 14);
        assert!(one == two, "{format:?}");
        let other = folder.path().join(format!("other-{}", format.extension()));
        simulate(&other, &Options { seed: Seed(4), ..options });
        assert!(files(&other) != one, "another seed, another world");
    }
}

#[test]
fn a_revised_day_is_delivered_twice_and_the_second_holds_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let out = (1..).map(|seed| {
        let out = folder.path().join(seed.to_string());
        simulate(&out, &small(seed, ""));
        out
    });
    let out = out.take(20).find(|out| !truth(out)["revised_days"].as_array().unwrap().is_empty()).unwrap();
    let files = files(&out.join("events"));
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let revised = files.keys().map(|path| named(path)).find(|name| name.contains("-revised")).unwrap();
    let twice: Vec<_> = files.iter().filter(|(name, _)| named(name)[..10] == revised[..10]).collect();
    let lines =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (mut first, mut second) = (lines(twice[0].1), lines(twice[1].1));
    if named(twice[0].0) == revised {
        std::mem::swap(&mut first, &mut second);
    }
    assert!(first.len() < second.len() && first.is_subset(&second));
}

#[test]
fn only_an_empty_folder_or_an_earlier_simulation_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let options = Options { days: Some(14), ..small(1, "") };
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.txt"), "years of work").unwrap();
    assert_eq!(run(&options, &out, &mut |_| {}).unwrap_err().kind(), Kind::Usage);
    assert_eq!(fs::read_to_string(out.join("thesis.txt")).unwrap(), "years of work");
    fs::remove_file(out.join("thesis.txt")).unwrap();
    simulate(&out, &options);
    let first = files(&out);
    simulate(&out, &Options { seed: Seed(2), ..options });
    assert!(files(&out) != first);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing half-made or former is left beside the result");
}

#[test]
fn scenarios_are_named_by_id_or_slug_with_a_level() {
    let one = |text: &str| text.parse::<ScenarioSpec>().map(|s| (s.scenario.info().id, s.level));
    assert_eq!(one("S3").unwrap(), ("S3", Level::Medium));
    assert_eq!(one("s3@high").unwrap(), ("S3", Level::High));
    assert_eq!(one("same-volume-other-objects@low").unwrap(), ("S3", Level::Low));
    let error = one("S99").unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("B12 (late-log)"), "{error}");
    assert_eq!(one("S3@extreme").unwrap_err().kind(), Kind::Usage);
    let count = |text: &str| ScenarioSpec::parse_list(text).unwrap().len();
    assert_eq!((count("all"), count("attacks@high"), count("benign"), count("S1,b2@low")), (30, 18, 12, 2));
    assert!(catalog().iter().all(|i| i.benign == i.id.starts_with('B')));
}

/// An archive in the older header, unquoted, with CRLF, made from a simulation.
fn old_archive(folder: &Path) -> PathBuf {
    let made = folder.join("made");
    simulate(&made, &Options { days: Some(24), ..small(8, "") });
    let archive = folder.join("archive");
    fs::create_dir(&archive).unwrap();
    let columns: Vec<usize> = (0..17).chain([21]).collect();
    for (name, bytes) in files(&made.join("events")) {
        let text = String::from_utf8(bytes).unwrap();
        let mut lines = String::new();
        for line in text.lines() {
            let fields: Vec<&str> = line[1..line.len() - 1].split("\",\"").collect();
            lines.push_str(&columns.iter().map(|c| fields[*c]).collect::<Vec<_>>().join(","));
            lines.push_str("\r\n");
        }
        fs::write(archive.join(name), lines).unwrap();
    }
    fs::write(archive.join("readme.txt"), "kept as it is").unwrap();
    archive
}

#[test]
fn injection_never_replaces_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    run(&small(3, "S3@high"), &made, &mut |_| {}).unwrap();
    let before = files(&made);
    for out in [made.clone(), made.join("events")] {
        let error = inject(&[made.join("events")], &small(4, "S3@high"), &out, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
    }
    assert!(files(&made) == before);
}

#[test]
fn injection_keeps_every_row_and_the_shape_of_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let archive = old_archive(folder.path());
    let options = small(9, "S2@high,S4@medium,S10@low,S11@high,S16@high,B9@medium");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let summary = on_threads(1, || inject(std::slice::from_ref(&archive), &options, &one, &mut |_| {}).unwrap());
    on_threads(2, || inject(std::slice::from_ref(&archive), &options, &two, &mut |_| {}).unwrap());
    assert!(files(&one) == files(&two));
    assert_eq!((summary.scenarios, summary.skipped.len()), (6, 0));
    let (before, after) = (files(&archive), files(&one.join("events")));
    assert!(before.keys().eq(after.keys()));
    let mut added = 0;
    for (name, old) in &before {
        let count = |bytes: &[u8]| {
            let mut lines: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                *lines.entry(line.to_vec()).or_default() += 1;
            }
            lines
        };
        let (old, new) = (count(old), count(&after[name]));
        assert!(old.iter().all(|(line, n)| new.get(line).is_some_and(|m| m >= n)), "{}", name.display());
        for line in new.keys().filter(|l| !old.contains_key(*l)) {
            assert!(line.ends_with(b"\r\n") && memchr::memchr_iter(b',', line).count() == 17);
            added += 1;
        }
    }
    assert!(added > 9_000, "{added}");
    let known: BTreeSet<String> = before
        .values()
        .flat_map(|bytes| String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| line.split(',').nth(4).map(text::id18))
        .collect();
    for (user, ..) in labels(&one) {
        assert!(known.contains(&user), "{user} is no user of the archive");
    }
}

#[test]
fn injected_theft_of_other_objects_keeps_the_volume() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    simulate(&archive, &Options { days: Some(24), format: Format::CsvGz, ..small(8, "") });
    let out = folder.path().join("out");
    inject(&[archive.join("events")], &small(9, "S3@high,S8@high,B10"), &out, &mut |_| {}).unwrap();
    let truth = truth(&out);
    assert_eq!(truth["skipped"][0]["scenario"], "B10");
    let count = |folder: &Path, day: &str, user: &str| {
        let mut found = 0;
        for (name, bytes) in files(&folder.join("events")) {
            if name.to_str().unwrap().starts_with(day) {
                let mut text = String::new();
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
                found += parse(&text).iter().filter(|r| r.user() == user).count();
            }
        }
        found
    };
    for deed in truth["scenarios"].as_array().unwrap() {
        let (day, user) = (deed["days"][0].as_str().unwrap(), deed["user_ids"][0].as_str().unwrap());
        assert!(deed["events"].as_u64().unwrap() > 100, "{deed}");
        assert_eq!(count(&archive, day, user), count(&out, day, user), "{}", deed["id"]);
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shopping.csv");
    fs::write(&file, "item,price\nmilk,2\n").unwrap();
    let try_with = |path: &Path, scenarios: &str| {
        inject(&[path.to_owned()], &small(1, scenarios), &folder.path().join("out"), &mut |_| {}).unwrap_err().kind()
    };
    assert_eq!(try_with(&file, "S2"), Kind::Input);
    assert_eq!(try_with(&file, ""), Kind::Usage);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(try_with(&empty, "S2"), Kind::Usage);
    fs::write(empty.join("a.csv"), "").unwrap();
    assert_eq!(try_with(&empty, "S2"), Kind::NoData);
    assert!(!folder.path().join("out").exists());
}

#[test]
fn an_organisation_may_have_more_people_than_there_are_names() {
    let plan = build::Plan {
        seed: Seed(5),
        start: Options::default().start,
        days: 14,
        users: 4_000,
        scale: 0.1,
        offices: 3,
        tail: 4,
        side_orgs: 0,
    };
    let world = build::world(&plan);
    let names: BTreeSet<&str> = world.cast.actors.iter().map(|a| a.user_name.as_str()).collect();
    assert!(names.len() == world.cast.actors.len() && names.len() >= 4_000);
}
