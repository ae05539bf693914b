//! User-day and session features the slow and plain way: one Polars group-by per feature. What Polars groups is finished
//! here only where its group-by has no word for it (entropy, lower median, burstiness, streak).

use std::collections::BTreeMap;

use polars::prelude::*;

use super::catalog::{session, user_day};
use super::testing::{Call, place, random_calls};
use super::{Options, compute};
use crate::events::action::Action;
use crate::events::batch::Field;
use crate::features::testing::{DAY, events};

type Rows = BTreeMap<String, BTreeMap<&'static str, f64>>;

const KEY: &str = "key";

/// A row per call with all that is needed; `key` is the subject.
fn frame(calls: &[Call], keys: &[String]) -> LazyFrame {
    let text = |f: &dyn Fn(&Call) -> String| -> Vec<String> { calls.iter().map(f).collect() };
    let field = |field: Field| text(&|c| c.get(field).to_owned());
    let app = |c: &Call| first(&[c.get(Field::AppName), c.get(Field::AppId)]);
    let number = |at: usize| -> Vec<i64> { calls.iter().map(|c| c.numbers[at].max(0)).collect() };
    df!(
        KEY => keys,
        "user" => field(Field::User),
        "ms" => calls.iter().map(|c| c.ms).collect::<Vec<_>>(),
        "ip" => field(Field::ClientIp),
        "network" => text(&|c| or_blank(c, place(c.get(Field::ClientIp)).network)),
        "country" => text(&|c| or_blank(c, place(c.get(Field::ClientIp)).country)),
        "asn" => text(&|c| place(c.get(Field::ClientIp)).asn),
        "class" => text(&|c| place(c.get(Field::ClientIp)).class),
        "app" => text(&app),
        "client" => field(Field::ClientName),
        "family" => field(Field::ApiFamily),
        "channel" => text(&channel),
        "version" => field(Field::ApiVersion),
        "resource" => field(Field::Resource),
        "entity" => field(Field::Entity),
        "action" => text(&|c| c.action.name().to_owned()),
        "status" => calls.iter().map(|c| i64::from(c.status)).collect::<Vec<_>>(),
        "request_bytes" => number(0),
        "response_bytes" => number(1),
        "row_count" => number(2),
        "duration_ms" => number(3),
    )
    .unwrap()
    .lazy()
}

fn or_blank(call: &Call, text: String) -> String {
    if call.get(Field::ClientIp).is_empty() { "blank".to_owned() } else { text }
}

fn first(texts: &[&str]) -> String {
    texts.iter().find(|t| !t.is_empty()).map_or(String::new(), |t| (*t).to_owned())
}

fn channel(c: &Call) -> String {
    first(&[c.get(Field::AppName), c.get(Field::AppId), c.get(Field::ClientName), c.get(Field::ApiFamily)])
}

/// One aggregate per subject.
fn put(rows: &mut Rows, name: &'static str, grouped: LazyFrame, value: &str) {
    let frame = grouped.collect().unwrap();
    let values = frame.column(value).unwrap().cast(&DataType::Float64).unwrap();
    for (key, value) in frame.column(KEY).unwrap().str().unwrap().iter().zip(values.f64().unwrap().iter()) {
        rows.entry(key.unwrap().to_owned()).or_default().insert(name, value.unwrap());
    }
}

fn aggregate(rows: &mut Rows, calls: &LazyFrame, name: &'static str, value: Expr) {
    put(rows, name, calls.clone().group_by([col(KEY)]).agg([value.alias("value")]), "value");
}

/// Calls of subjects that are of a kind.
fn count(rows: &mut Rows, calls: &LazyFrame, name: &'static str, of: Expr) {
    aggregate(rows, calls, name, of.cast(DataType::Int64).sum());
}

fn one_of(names: &[Action]) -> Expr {
    names.iter().map(|a| col("action").eq(lit(a.name()))).reduce(Expr::or).unwrap()
}

fn actions(wanted: fn(Action) -> bool) -> Expr {
    one_of(&Action::ALL.into_iter().filter(|a| wanted(*a)).collect::<Vec<_>>())
}

/// One row per call and object.
fn entities(calls: &LazyFrame) -> LazyFrame {
    let frame = calls.clone().select([col(KEY), col("entity")]).collect().unwrap();
    let (mut keys, mut parts) = (Vec::new(), Vec::new());
    let column = |name: &str| frame.column(name).unwrap().str().unwrap().clone();
    for (key, set) in column(KEY).iter().zip(column("entity").iter()) {
        let mut set: Vec<&str> = set.unwrap().split([';', ',', '|']).map(str::trim).filter(|e| !e.is_empty()).collect();
        set.sort_unstable();
        set.dedup();
        for part in set {
            keys.push(key.unwrap().to_owned());
            parts.push(part.to_owned());
        }
    }
    df!(KEY => keys, "entity" => parts).unwrap().lazy()
}

fn present(calls: &LazyFrame, column: &str) -> LazyFrame {
    calls.clone().filter(col(column).neq(lit("")))
}

/// Calls by value of a column, per subject.
fn distribution(calls: &LazyFrame, column: &str) -> BTreeMap<String, Vec<f64>> {
    let counts = present(calls, column).group_by([col(KEY), col(column)]).agg([len().alias("n")]).collect().unwrap();
    let n = counts.column("n").unwrap().cast(&DataType::Float64).unwrap();
    let mut by_key: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (key, n) in counts.column(KEY).unwrap().str().unwrap().iter().zip(n.f64().unwrap().iter()) {
        by_key.entry(key.unwrap().to_owned()).or_default().push(n.unwrap());
    }
    by_key
}

fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

fn spread(
    rows: &mut Rows,
    calls: &LazyFrame,
    column: &str,
    distinct: Option<&'static str>,
    entropy: Option<&'static str>,
) {
    let by_key = distribution(calls, column);
    for (key, row) in rows.iter_mut() {
        let counts = by_key.get(key).cloned().unwrap_or_default();
        let total: f64 = counts.iter().sum();
        if let Some(name) = distinct {
            row.insert(name, counts.len() as f64);
        }
        if let Some(name) = entropy {
            let bits: f64 = counts.iter().map(|n| -(n / total) * (n / total).log2()).sum();
            row.insert(name, rounded(bits.max(0.0)) + 0.0);
        }
    }
}

fn top_share(rows: &mut Rows, calls: &LazyFrame, column: &str, of: &BTreeMap<String, f64>, name: &'static str) {
    let by_key = distribution(calls, column);
    for (key, row) in rows.iter_mut() {
        let top = by_key.get(key).and_then(|n| n.iter().copied().reduce(f64::max)).unwrap_or(0.0);
        row.insert(name, if top > 0.0 { top / of[key] } else { 0.0 });
    }
}

fn totals(calls: LazyFrame) -> BTreeMap<String, f64> {
    let mut rows = Rows::new();
    put(&mut rows, "n", calls.group_by([col(KEY)]).agg([len().alias("n")]), "n");
    rows.into_iter().map(|(key, row)| (key, row["n"])).collect()
}

/// Times of each subject's calls, ascending.
fn times(calls: &LazyFrame) -> BTreeMap<String, Vec<i64>> {
    let sorted = calls.clone().sort(["ms"], SortMultipleOptions::default()).collect().unwrap();
    let mut by_key: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let ms = sorted.column("ms").unwrap().i64().unwrap().clone();
    for (key, ms) in sorted.column(KEY).unwrap().str().unwrap().iter().zip(ms.iter()) {
        by_key.entry(key.unwrap().to_owned()).or_default().push(ms.unwrap());
    }
    by_key
}

fn gaps(rows: &mut Rows, calls: &LazyFrame) {
    for (key, times) in times(calls) {
        let mut gaps: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        gaps.sort_unstable();
        let row = rows.get_mut(&key).unwrap();
        let n = gaps.len();
        let mean = gaps.iter().sum::<i64>() as f64 / n as f64;
        let sd = (gaps.iter().map(|g| (*g as f64 - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        row.insert("median_gap_ms", gaps.get(n.saturating_sub(1) / 2).map_or(0.0, |g| *g as f64));
        row.insert("max_gap_ms", gaps.last().map_or(0.0, |g| *g as f64));
        row.insert("mean_gap_ms", if n > 0 { mean.floor() } else { 0.0 });
        row.insert("burstiness", if n > 1 && mean > 0.0 { rounded((sd - mean) / (sd + mean)) } else { 0.0 });
        let mut minutes: Vec<i64> = times.iter().map(|t| t / 60_000).collect();
        minutes.dedup();
        let streak = minutes.chunk_by(|a, b| a + 1 == *b).map(<[i64]>::len).max().unwrap();
        row.insert("longest_streak_min", streak as f64);
    }
}

fn peak(rows: &mut Rows, calls: &LazyFrame, name: &'static str, slot_ms: i64) {
    let slots = calls.clone().with_column((col("ms") / lit(slot_ms)).alias("slot"));
    let counts = slots.group_by([col(KEY), col("slot")]).agg([len().alias("n")]);
    put(rows, name, counts.group_by([col(KEY)]).agg([col("n").max()]), "n");
}

/// What both kinds of subject have.
fn common(calls: &LazyFrame) -> Rows {
    let mut rows = Rows::new();
    let r = &mut rows;
    let status = || col("status");
    aggregate(r, calls, "calls", len());
    count(r, calls, "reads", actions(Action::is_read));
    count(r, calls, "writes", actions(Action::is_write));
    count(r, calls, "deletes", actions(Action::is_delete));
    count(r, calls, "describes", actions(Action::is_describe));
    count(r, calls, "queries", one_of(&[Action::Query, Action::QueryAll]));
    count(r, calls, "query_mores", one_of(&[Action::QueryMore]));
    count(r, calls, "bulk_calls", actions(Action::is_bulk));
    count(r, calls, "composite_calls", one_of(&[Action::Composite]));
    count(r, calls, "metadata_calls", one_of(&[Action::MetadataTooling]));
    count(r, calls, "auth_calls", one_of(&[Action::Auth]));
    count(r, calls, "other_calls", one_of(&[Action::Other]));
    count(r, calls, "errors", status().gt_eq(lit(400)));
    count(r, calls, "errors_401", status().eq(lit(401)));
    count(r, calls, "errors_403", status().eq(lit(403)));
    count(r, calls, "errors_404", status().eq(lit(404)));
    count(r, calls, "errors_429", status().eq(lit(429)));
    count(r, calls, "errors_5xx", status().gt_eq(lit(500)));
    count(r, calls, "status_unknown", status().eq(lit(0)));
    let listed = [401, 403, 404, 429].map(|s| status().neq(lit(s))).into_iter().reduce(Expr::and).unwrap();
    count(r, calls, "errors_4xx_other", status().gt_eq(lit(400)).and(status().lt(lit(500))).and(listed));
    for name in ["request_bytes", "response_bytes", "row_count", "duration_ms"] {
        aggregate(r, calls, name, col(name).sum());
    }
    aggregate(r, calls, "start_minute", col("ms").min() / lit(60_000));
    aggregate(r, calls, "duration_s", (col("ms").max() - col("ms").min()) / lit(1000));
    peak(r, calls, "peak_minute_calls", 60_000);
    peak(r, calls, "peak_5min_calls", 300_000);
    peak(r, calls, "peak_hour_calls", 3_600_000);
    gaps(r, calls);
    let entities = entities(calls);
    spread(r, &entities, "entity", Some("entities"), Some("entity_entropy"));
    spread(r, calls, "resource", Some("resources"), Some("resource_entropy"));
    spread(r, calls, "action", Some("actions"), Some("action_entropy"));
    spread(r, calls, "version", Some("api_versions"), None);
    top_share(r, calls, "resource", &totals(present(calls, "resource")), "top_resource_share");
    rows
}

fn user_days(calls: &[Call]) -> Rows {
    let keys: Vec<String> = calls.iter().map(|c| c.get(Field::User).to_owned()).collect();
    let calls = frame(calls, &keys).with_columns([
        (col("ms") / lit(60_000)).alias("minute"),
        (col("ms") / lit(3_600_000)).cast(DataType::String).alias("hour"),
        (col("ms") / lit(1_800_000)).cast(DataType::String).alias("half_hour"),
    ]);
    let minutes = calls.clone().group_by([col("minute")]).agg([
        col("user").n_unique().alias("users"),
        col("status").eq(lit(403)).cast(DataType::Int64).sum().alias("refused"),
        len().cast(DataType::Int64).alias("all"),
    ]);
    let calls = calls.join(minutes, [col("minute")], [col("minute")], JoinArgs::new(JoinType::Left));
    let limit = || col("users").gt_eq(lit(2)).and((col("refused") * lit(5)).gt_eq(col("all") * lit(4)));
    let mut rows = common(&calls);
    let r = &mut rows;
    count(r, &calls, "errors_403_limit", col("status").eq(lit(403)).and(limit()));
    count(r, &calls, "errors_403_other", col("status").eq(lit(403)).and(limit().not()));
    count(r, &calls, "night_calls", col("ms").lt(lit(6 * 3_600_000)));
    count(r, &calls, "no_app_calls", col("app").eq(lit("")));
    let class = |class: &str| col("class").eq(lit(class.to_owned()));
    count(r, &calls, "internal_ip_calls", class("internal"));
    count(r, &calls, "corporate_calls", class("corporate"));
    count(r, &calls, "vpn_tor_calls", class("vpn").or(class("tor")));
    count(r, &calls, "hosting_calls", class("hosting"));
    aggregate(r, &calls, "first_minute", col("ms").min() / lit(60_000));
    aggregate(r, &calls, "last_minute", col("ms").max() / lit(60_000));
    aggregate(r, &calls, "span_minutes", (col("ms").max() - col("ms").min()) / lit(60_000));
    spread(r, &calls, "ip", Some("ips"), Some("ip_entropy"));
    spread(r, &calls, "network", Some("networks"), None);
    spread(r, &calls, "country", Some("countries"), None);
    spread(r, &calls, "asn", Some("asns"), None);
    spread(r, &calls, "app", Some("apps"), None);
    spread(r, &calls, "client", Some("clients"), None);
    spread(r, &calls, "channel", Some("channels"), None);
    spread(r, &calls, "family", Some("api_families"), None);
    spread(r, &calls, "hour", Some("active_hours"), Some("hour_entropy"));
    spread(r, &calls, "half_hour", Some("active_half_hours"), None);
    top_share(r, &calls, "ip", &totals(present(&calls, "ip")), "top_ip_share");
    let named = calls.clone().filter(col("entity").neq(lit("")).and(col("entity").neq(lit(";"))));
    top_share(r, &entities(&calls), "entity", &totals(named), "top_entity_share");
    rows
}

/// The session of each call, as its user, start and number; by walking over sorted calls.
fn session_keys(calls: &[Call], gap_ms: i64) -> Vec<String> {
    let group = |c: &Call| {
        let session = c.get(Field::SessionId).to_owned();
        let own = if session.is_empty() { (channel(c), c.get(Field::ClientIp).to_owned()) } else { Default::default() };
        (c.get(Field::User).to_owned(), session, own)
    };
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|i| (group(&calls[*i]), calls[*i].ms));
    let mut keys = vec![String::new(); calls.len()];
    let mut number = 0;
    for (at, &i) in order.iter().enumerate() {
        let same = at > 0 && {
            let before = &calls[order[at - 1]];
            let in_time = calls[i].ms - before.ms < gap_ms || !calls[i].get(Field::SessionId).is_empty();
            group(before) == group(&calls[i]) && in_time
        };
        number += usize::from(!same);
        keys[i] = format!("{}/{number}", calls[i].get(Field::User));
    }
    keys
}

/// Rows as text, sorted: sessions that start together have no order that both sides could know.
fn as_lines<'a>(rows: impl Iterator<Item = (String, &'a [f64])>, columns: &[super::Feature]) -> Vec<String> {
    let mut lines: Vec<String> = rows
        .map(|(key, values)| {
            let values: Vec<String> = columns.iter().zip(values).map(|(c, v)| format!("{}={v}", c.name)).collect();
            format!("{key} {}", values.join(" "))
        })
        .collect();
    lines.sort();
    lines
}

fn expected_lines(rows: &Rows, columns: &[super::Feature], key: fn(&str) -> String) -> Vec<String> {
    let values: Vec<(String, Vec<f64>)> =
        rows.iter().map(|(k, row)| (key(k), columns.iter().map(|c| row[c.name]).collect())).collect();
    as_lines(values.iter().map(|(k, v)| (k.clone(), v.as_slice())), columns)
}

#[test]
fn the_kernel_equals_a_plain_group_by_in_every_feature() {
    let mut refused_by_limit = 0.0;
    for case in 0..24 {
        let mut calls = random_calls(case, 1 + (case as usize * 37) % 400);
        // A quarter of the days have minutes in which nearly every call is refused.
        if case % 4 == 0 {
            calls.iter_mut().filter(|c| c.ms / 60_000 % 2 == 0 || c.ms % 3 > 0).for_each(|c| c.status = 403);
        }
        let options = Options { session_gap_ms: 29 * 60_000, ..Options::default() };
        let tables = compute("o", DAY, &events(&calls), &place, &options).tables;

        let keys = session_keys(&calls, i64::from(options.session_gap_ms));
        let mut users = user_days(&calls);
        for (key, row) in &mut users {
            let of_user: std::collections::BTreeSet<&String> =
                keys.iter().filter(|k| k.rsplit_once('/').unwrap().0 == key).collect();
            row.insert("sessions", of_user.len() as f64);
        }
        let found = &tables.user_day;
        let rows = (0..found.len()).map(|row| (tables.text(found.ids[row]).to_owned(), found.row(row)));
        assert_eq!(
            as_lines(rows, user_day::FEATURES),
            expected_lines(&users, user_day::FEATURES, str::to_owned),
            "users of case {case}"
        );

        refused_by_limit += (0..found.len()).map(|row| found.get(row, user_day::ERRORS_403_LIMIT)).sum::<f64>();
        let mut sessions = common(&frame(&calls, &keys));
        for (key, row) in &mut sessions {
            // Calls of the same millisecond have an order only by all their fields: the kernel's own.
            row.insert("transitions", f64::NAN);
            assert!(key.contains('/'));
        }
        let transitions = session::TRANSITIONS;
        let found = &tables.session;
        let values: Vec<(String, Vec<f64>)> = (0..found.len())
            .map(|row| {
                let mut values = found.row(row).to_vec();
                values[transitions] = f64::NAN;
                let user = tables.user_day.ids[tables.session_keys[row].user as usize];
                (tables.text(user).to_owned(), values)
            })
            .collect();
        assert_eq!(
            as_lines(values.iter().map(|(k, v)| (k.clone(), v.as_slice())), session::FEATURES),
            expected_lines(&sessions, session::FEATURES, |k| k.rsplit_once('/').unwrap().0.to_owned()),
            "sessions of case {case}"
        );
    }
    assert!(refused_by_limit > 100.0);
}
