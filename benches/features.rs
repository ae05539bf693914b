//! How fast event files become features.
//!
//! Without variables: criterion over a small file made here. With `QUIETWATCH_EVENTS=FILE`: one run over that file for
//! `benches/compare.py`: `QUIETWATCH_WORK=read` (no features), `rows` (user-day and session rows, no store) or `store`
//! (everything).

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group};
use polars::prelude::*;
use quietwatch::Date;
use quietwatch::config::Settings;
use quietwatch::enrich::Place;
use quietwatch::events::batch::Field;
use quietwatch::events::{Events, Profile, SourceFile, discover, read};
use quietwatch::features::{Options, Scope, compute};
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

/// The peers' user-day aggregates (`benches/peers/features.py`) as Polars computes them from the same codes: what the
/// kernel must beat to be worth having (docs/adr/0003).
fn group_by(frame: &DataFrame) -> DataFrame {
    let status = || col("status");
    let count = |of: Expr| of.cast(DataType::UInt32).sum();
    frame
        .clone()
        .lazy()
        .group_by([col("user")])
        .agg([
            len().alias("calls"),
            col("ip").n_unique(),
            col("app").n_unique(),
            col("entity").n_unique(),
            col("resource").n_unique(),
            count(status().gt_eq(lit(400))).alias("errors"),
            count(status().eq(lit(401))).alias("errors_401"),
            count(status().gt_eq(lit(500))).alias("errors_5xx"),
            count(col("hour").lt(lit(6))).alias("night"),
            col("ms").min().alias("first"),
            col("ms").max().alias("last"),
            count(col("family").eq(lit(1))).alias("bulk"),
            count(col("method").eq(lit(1))).alias("get"),
            col("hour").n_unique().alias("hours"),
        ])
        .collect()
        .expect("a plain aggregation")
}

fn kernel(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("events.csv");
    small_file(&file);
    let source = SourceFile::at(&file).expect("just written");
    let mut batches: Vec<Events> = Vec::new();
    let mut keep = |events| {
        batches.push(events);
        Ok(())
    };
    read(&source, &profile(), &Settings::default().limits, &mut |_| (), &mut keep).expect("a good file");
    let events = batches.remove(0);
    let date = Date::from_ms(events.timestamp_ms[0]);
    let codes = |field: Field| events.column(field).codes.clone();
    let frame = df!(
        "user" => codes(Field::User),
        "ip" => codes(Field::ClientIp),
        "app" => codes(Field::AppId),
        "entity" => codes(Field::Entity),
        "resource" => codes(Field::Resource),
        "family" => codes(Field::ApiFamily),
        "method" => codes(Field::HttpMethod),
        "status" => events.status.iter().map(|s| i32::from(*s)).collect::<Vec<_>>(),
        "ms" => events.timestamp_ms.clone(),
        "hour" => events.timestamp_ms.iter().map(|ms| (ms / 3_600_000 % 24) as i32).collect::<Vec<_>>(),
    )
    .expect("columns of equal length");
    let place = |ip: &str| Place { network: ip.to_owned(), ..Place::default() };
    let mut group = c.benchmark_group("one day");
    group.sample_size(20).throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("kernel: 63 user-day and 32 session features", |b| {
        let options = Options { scope: Scope::Rows, ..Options::default() };
        b.iter(|| compute("o", date, &events, &place, &options));
    });
    group.bench_function("kernel: everything", |b| {
        b.iter(|| compute("o", date, &events, &place, &Options::default()));
    });
    group.bench_function("polars: 14 user-day aggregates", |b| b.iter(|| group_by(&frame)));
    group.finish();
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
    let sources = discover(&[file.to_owned()]).expect("a readable file or folder");
    let (profile, settings) = (profile(), Settings::default());
    let begun = Instant::now();
    let work = std::env::var("QUIETWATCH_WORK").unwrap_or_default();
    let what = if work == "read" {
        let mut events = 0;
        let mut count = |batch: Events| {
            events += batch.len();
            Ok(())
        };
        read(&sources[0], &profile, &settings.limits, &mut |_| (), &mut count).expect("a good file");
        format!("{events} events")
    } else if work == "store" {
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

criterion_group!(benches, kernel, features);

fn main() {
    if let Ok(file) = std::env::var("QUIETWATCH_EVENTS") {
        return once(&file);
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
