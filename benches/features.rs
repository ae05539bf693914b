//! How fast event files become features.
//!
//! Without variables: criterion over a small file made here. With `QUIETWATCH_EVENTS=FILE`: one run over that file,
//! `QUIETWATCH_WORK=rows` (user-day and session rows, no store) or `store` (everything), for `benches/compare.py`.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group};
use quietwatch::config::Settings;
use quietwatch::events::{Profile, SourceFile};
use quietwatch::store::{Store, rows};

const EVENTS: u64 = 100_000;

/// A day of Salesforce's daily log: a few busy integrations and many quiet users.
fn small_file(path: &Path) {
    let mut text = String::from(
        "EVENT_TYPE,REQUEST_ID,ORGANIZATION_ID,USER_ID,API_FAMILY,API_VERSION,API_RESOURCE,CLIENT_IP,CONNECTED_APP_ID,\
         ENTITY_NAME,HTTP_METHOD,STATUS_CODE,TIMESTAMP_DERIVED\n",
    );
    let mut state = 7_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for event in 0..EVENTS {
        let ms = event * 86_400_000 / EVENTS;
        let user = draw(40) * draw(40);
        let (h, m, s, f) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        let entity = ["Account", "Contact", "Lead", "Case"][draw(4) as usize];
        let resource = ["/v62.0/query", "/v62.0/search", "/v62.0/sobjects/Lead/describe"][draw(3) as usize];
        let status = [200, 200, 200, 401, 500][draw(5) as usize];
        writeln!(
            text,
            "ApiTotalUsage,{:016x},00D000000000001,005{user:012},REST,62.0,{resource},198.18.{}.{},0H4{:012},{entity},GET,\
             {status},2026-01-01T{h:02}:{m:02}:{s:02}.{f:03}Z",
            draw(u64::MAX),
            user % 250,
            draw(4),
            user % 40,
        )
        .expect("writing to memory");
    }
    std::fs::write(path, text).expect("a temporary file");
}

fn profile() -> Profile {
    Profile::load("salesforce-api-total-usage").expect("built in")
}

fn features(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("events.csv");
    small_file(&file);
    let sources = [SourceFile::at(&file).expect("just written")];
    let (profile, settings) = (profile(), Settings::default());
    let mut group = c.benchmark_group("features");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS));
    group.bench_function("rows", |b| b.iter(|| rows(&sources, &profile, &settings).expect("a good file")));
    group.bench_function("store", |b| {
        b.iter(|| {
            let store = tempfile::tempdir_in(&folder).expect("a temporary folder");
            let store = Store::create(store.path()).expect("an empty folder");
            store.ingest(&sources, &profile, &settings, true, &|_| ()).expect("a good file")
        });
    });
    group.finish();
}

fn once(file: &str) {
    let sources = [SourceFile::at(Path::new(file)).expect("a readable file")];
    let (profile, settings) = (profile(), Settings::default());
    let begun = Instant::now();
    let what = if std::env::var("QUIETWATCH_WORK").is_ok_and(|work| work == "store") {
        let folder = std::env::var("QUIETWATCH_STORE").expect("QUIETWATCH_STORE names the folder of the store");
        let store = Store::create(Path::new(&folder)).expect("an empty folder");
        let report = store.ingest(&sources, &profile, &settings, true, &|_| ()).expect("a good file");
        format!("{} events, {} partitions", report.events, report.partitions_written)
    } else {
        let days = rows(&sources, &profile, &settings).expect("a good file");
        let users: usize = days.iter().map(|(_, day)| day.tables.user_day.len()).sum();
        let sessions: usize = days.iter().map(|(_, day)| day.tables.session.len()).sum();
        format!("{users} {sessions}")
    };
    println!("{what}\n{:.2} s", begun.elapsed().as_secs_f64());
}

criterion_group!(benches, features);

fn main() {
    if let Ok(file) = std::env::var("QUIETWATCH_EVENTS") {
        return once(&file);
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
