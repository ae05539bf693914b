//! Feature tables as Parquet files and back.

use polars::prelude::{DataFrame, DataType, PolarsError};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::parquet::{Column, Texts, Values, encode};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::events::action::Action;
use crate::events::batch::Dictionary;
use crate::features::catalog::{self, Feature};
use crate::features::{DayFeatures, Token};
use crate::tables::{DayTables, FeatureTable, HourRow, SessionKey, Step, Steps, Sym, ValueKind, ValueRow};

/// A partition's feature files, in the order in which they are written.
pub(super) const TABLES: [&str; 8] =
    ["user_day", "session", "app_day", "ip_day", "org_day", "values", "hours", "tokens"];

/// The Parquet bytes of every table of [`TABLES`].
pub(super) fn encode_tables(features: &DayFeatures) -> Result<Vec<(&'static str, Vec<u8>)>> {
    TABLES.into_par_iter().map(|table| Ok((table, encode_table(features, table)?))).collect()
}

fn encode_table(features: &DayFeatures, table: &str) -> Result<Vec<u8>> {
    let t = &features.tables;
    let (kinds, actions) = (ValueKind::ALL.map(ValueKind::name), Action::ALL.map(Action::name));
    let text = Texts::List(&t.text);
    let user_ids = |rows: &mut dyn Iterator<Item = u32>| -> Values<'_> {
        Values::Text(rows.map(|user| t.user_day.ids[user as usize]).collect(), text)
    };
    let key = |name, syms: &[Sym]| Column::new(name, Values::Text(syms.to_vec(), text));
    let (mut columns, rows) = match table {
        "user_day" => (vec![key("user_id", &t.user_day.ids), key("user_name", &t.user_day.names)], t.user_day.len()),
        "session" => {
            let keys = &t.session_keys;
            let columns = vec![
                key("session_id", &t.session.ids),
                Column::new("user_id", user_ids(&mut keys.iter().map(|k| k.user))),
                Column::new("channel", Values::Text(keys.iter().map(|k| k.channel).collect(), text)),
                Column::new("client_ip", Values::Text(keys.iter().map(|k| k.ip).collect(), text)),
                Column::new("start", Values::Time(keys.iter().map(|k| k.start_ms).collect())),
                Column::new("end", Values::Time(keys.iter().map(|k| k.end_ms).collect())),
            ];
            (columns, t.session.len())
        }
        "app_day" => (vec![key("channel", &t.app_day.ids)], t.app_day.len()),
        "ip_day" => (vec![key("client_ip", &t.ip_day.ids)], t.ip_day.len()),
        "org_day" => (vec![key("org_id", &t.org_day.ids)], t.org_day.len()),
        "values" => {
            let v = &t.values;
            let columns = vec![
                Column::new("user_id", user_ids(&mut v.iter().map(|v| v.user))),
                Column::new("kind", Values::Text(v.iter().map(|v| v.kind as u32 + 1).collect(), Texts::Words(&kinds))),
                Column::new("value", Values::Text(v.iter().map(|v| v.value).collect(), text)),
                Column::new("calls", Values::Int(v.iter().map(|v| i64::from(v.calls)).collect())),
                Column::new("errors", Values::Int(v.iter().map(|v| i64::from(v.errors)).collect())),
                Column::new("first", Values::Time(v.iter().map(|v| v.first_ms).collect())),
                Column::new("last", Values::Time(v.iter().map(|v| v.last_ms).collect())),
                Column::new("request_ids", Values::TextList(v.iter().map(|v| v.request_ids).collect(), text)),
            ];
            (columns, v.len())
        }
        "hours" => {
            let h = &t.hours;
            let columns = vec![
                Column::new("user_id", user_ids(&mut h.iter().map(|h| h.user))),
                Column::new("channel", Values::Text(h.iter().map(|h| h.channel).collect(), text)),
                Column::new("half_hour", Values::Int(h.iter().map(|h| i64::from(h.half_hour)).collect())),
                Column::new("calls", Values::Int(h.iter().map(|h| i64::from(h.calls)).collect())),
                Column::new("errors", Values::Int(h.iter().map(|h| i64::from(h.errors)).collect())),
            ];
            (columns, h.len())
        }
        _ => {
            let k = &features.tokens;
            let mut ends = Vec::with_capacity(k.len() + 1);
            let mut bytes = Vec::new();
            ends.push(0);
            for token in k {
                bytes.extend_from_slice(t.text[token.request_id as usize].as_bytes());
                ends.push(bytes.len() as u64);
            }
            let columns = [
                Column::new("session", Values::Int(k.iter().map(|k| i64::from(k.session)).collect())),
                Column::new(
                    "action",
                    Values::Text(
                        k.iter().map(|k| k.action.map_or(0, |a| a as u32 + 1)).collect(),
                        Texts::Words(&actions),
                    ),
                ),
                Column::new("entity", Values::Text(k.iter().map(|k| k.entity).collect(), text)),
                Column::new("status_class", Values::Int(k.iter().map(|k| i64::from(k.status_class)).collect())),
                Column::new("gap", Values::Int(k.iter().map(|k| i64::from(k.gap)).collect())),
                Column::new("run", Values::Int(k.iter().map(|k| i64::from(k.run)).collect())),
                Column::new("request_id", Values::PlainText(&bytes, &ends)),
            ];
            return encode(&columns, k.len());
        }
    };
    let features = match table {
        "user_day" => Some(&t.user_day),
        "session" => Some(&t.session),
        "app_day" => Some(&t.app_day),
        "ip_day" => Some(&t.ip_day),
        "org_day" => Some(&t.org_day),
        _ => None,
    };
    if let Some(features) = features {
        columns.extend(feature_columns(features));
    }
    encode(&columns, rows)
}

fn feature_columns<'a>(table: &FeatureTable) -> impl Iterator<Item = Column<'a>> {
    table.columns.iter().enumerate().map(|(at, feature)| {
        let values = table.values.iter().skip(at).step_by(table.columns.len());
        let values = if feature.is_fraction() {
            Values::Float(values.copied().collect())
        } else {
            Values::Int(values.map(|v| *v as i64).collect())
        };
        Column::new(feature.name, values)
    })
}

/// The tables of a partition without tokens; `frame` reads one of [`TABLES`].
pub(super) fn decode_tables(
    org_id: &str,
    date: Date,
    frame: &mut dyn FnMut(&str) -> Result<DataFrame>,
) -> Result<DayTables> {
    let mut text = Dictionary::default();
    let users = frame("user_day")?;
    let user_day = FeatureTable {
        ids: syms(&users, "user_id", &mut text)?,
        names: syms(&users, "user_name", &mut text)?,
        ..features(&users, catalog::user_day::FEATURES)?
    };
    drop(users);
    let row_of_user = RowOf::new(&user_day.ids);

    let sessions = frame("session")?;
    let keys = [
        row_of_user.all(&sessions, &mut text)?,
        syms(&sessions, "channel", &mut text)?,
        syms(&sessions, "client_ip", &mut text)?,
    ];
    let (starts, ends) = (times(&sessions, "start")?, times(&sessions, "end")?);
    let session_keys: Vec<SessionKey> = (0..starts.len())
        .map(|i| SessionKey {
            user: keys[0][i],
            channel: keys[1][i],
            ip: keys[2][i],
            start_ms: starts[i],
            end_ms: ends[i],
        })
        .collect();
    let session = FeatureTable {
        ids: syms(&sessions, "session_id", &mut text)?,
        names: session_keys.iter().map(|k| user_day.names[k.user as usize]).collect(),
        ..features(&sessions, catalog::session::FEATURES)?
    };
    drop(sessions);

    let mut rollup = |table: &str, id: &str, columns: &'static [Feature]| -> Result<FeatureTable> {
        let frame = frame(table)?;
        let ids = syms(&frame, id, &mut text)?;
        Ok(FeatureTable { names: vec![0; ids.len()], ids, ..features(&frame, columns)? })
    };
    let app_day = rollup("app_day", "channel", catalog::app_day::FEATURES)?;
    let ip_day = rollup("ip_day", "client_ip", catalog::ip_day::FEATURES)?;
    let org_day = rollup("org_day", "org_id", catalog::org_day::FEATURES)?;

    let values = read_values(&frame("values")?, &row_of_user, &mut text)?;
    let hours = frame("hours")?;
    let users = row_of_user.all(&hours, &mut text)?;
    let channels = syms(&hours, "channel", &mut text)?;
    let half_hours = ints(&hours, "half_hour", |h| h.and_then(|h| u8::try_from(h).ok()).unwrap_or(0))?;
    let (calls, errors) = (ints(&hours, "calls", small)?, ints(&hours, "errors", small)?);
    let hours = (0..users.len())
        .map(|i| HourRow {
            user: users[i],
            channel: channels[i],
            half_hour: half_hours[i],
            calls: calls[i],
            errors: errors[i],
        })
        .collect();
    let text = text.iter().map(str::to_owned).collect();
    let org_id = org_id.to_owned();
    Ok(DayTables {
        org_id,
        date,
        text,
        user_day,
        session,
        session_keys,
        app_day,
        ip_day,
        org_day,
        values,
        hours,
        steps: None,
    })
}

fn read_values(frame: &DataFrame, row_of_user: &RowOf, text: &mut Dictionary) -> Result<Vec<ValueRow>> {
    let users = row_of_user.all(frame, text)?;
    let mut kinds = Vec::with_capacity(users.len());
    texts(frame, "kind", |name| kinds.push(ValueKind::from_name(name)))?;
    let values = syms(frame, "value", text)?;
    let (calls, errors) = (ints(frame, "calls", small)?, ints(frame, "errors", small)?);
    let (first, last) = (times(frame, "first")?, times(frame, "last")?);
    let lists = frame.column("request_ids").and_then(|c| c.list().cloned()).map_err(unexpected)?;
    let mut rows = Vec::with_capacity(users.len());
    for (i, list) in lists.amortized_iter().enumerate() {
        let mut request_ids = [0; 3];
        if let Some(list) = list {
            let ids = list.as_ref().str().map_err(unexpected)?;
            for (slot, id) in request_ids.iter_mut().zip(ids.iter()) {
                *slot = text.intern(id.unwrap_or(""));
            }
        }
        rows.push(ValueRow {
            user: users[i],
            kind: kinds[i].ok_or_else(|| Error::new(Kind::Digest, "unknown kind of value in the store"))?,
            value: values[i],
            calls: calls[i],
            errors: errors[i],
            first_ms: first[i],
            last_ms: last[i],
            request_ids,
        });
    }
    Ok(rows)
}

/// Tokens of a partition; they name texts of their own list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DayTokens {
    /// Texts; the first is empty.
    pub text: Vec<String>,
    /// Steps of all sessions, in order of [`DayTables::session`] rows.
    pub rows: Vec<Token>,
}

/// A step of which the profile's columns say nothing.
const NO_STEP: &str = "call";

impl DayTokens {
    /// Steps as words: verb and object, as the profile makes them (`events::step`).
    pub fn into_steps(self) -> Steps {
        let mut numbers = FxHashMap::default();
        let mut words = Vec::new();
        let rows = self
            .rows
            .iter()
            .map(|t| {
                let word = *numbers.entry((t.action, t.entity)).or_insert_with(|| {
                    let object = &self.text[t.entity as usize];
                    words.push(match t.action.map(Action::name) {
                        Some(verb) if object.is_empty() => (verb.to_owned(), verb.to_owned()),
                        Some(verb) => (format!("{verb} {object}"), verb.to_owned()),
                        None if object.is_empty() => (NO_STEP.to_owned(), NO_STEP.to_owned()),
                        None => (object.clone(), NO_STEP.to_owned()),
                    });
                    words.len() as u32 - 1
                });
                Step { session: t.session, word, gap: t.gap, request_id: t.request_id }
            })
            .collect();
        Steps { words, ids: self.text, rows }
    }
}

/// The tokens in a frame.
pub(super) fn decode_tokens(frame: &DataFrame) -> Result<DayTokens> {
    let mut text = Dictionary::default();
    let sessions = ints(frame, "session", small)?;
    let mut actions = Vec::with_capacity(sessions.len());
    texts(frame, "action", |name| {
        actions.push(if name.is_empty() { None } else { Some(Action::from_name(name).unwrap_or_default()) });
    })?;
    let entities = syms(frame, "entity", &mut text)?;
    let byte = |b: Option<i64>| b.and_then(|b| u8::try_from(b).ok()).unwrap_or(0);
    let (classes, gaps) = (ints(frame, "status_class", byte)?, ints(frame, "gap", byte)?);
    let runs = ints(frame, "run", small)?;
    let requests = syms(frame, "request_id", &mut text)?;
    let rows = (0..sessions.len())
        .map(|i| Token {
            session: sessions[i],
            action: actions[i],
            entity: entities[i],
            status_class: classes[i],
            gap: gaps[i],
            run: runs[i],
            request_id: requests[i],
        })
        .collect();
    Ok(DayTokens { text: text.iter().map(str::to_owned).collect(), rows })
}

/// Row of a user in `user_day`, by symbol.
struct RowOf(Vec<u32>);

impl RowOf {
    fn new(ids: &[Sym]) -> Self {
        let mut rows = vec![u32::MAX; ids.iter().max().map_or(0, |max| *max as usize + 1)];
        for (row, id) in ids.iter().enumerate() {
            rows[*id as usize] = row as u32;
        }
        Self(rows)
    }

    fn all(&self, frame: &DataFrame, text: &mut Dictionary) -> Result<Vec<u32>> {
        syms(frame, "user_id", text)?
            .into_iter()
            .map(|sym| match self.0.get(sym as usize) {
                Some(&row) if row != u32::MAX => Ok(row),
                _ => Err(Error::new(Kind::Digest, "a table of the store names a user that user_day does not have")),
            })
            .collect()
    }
}

fn features(frame: &DataFrame, columns: &'static [Feature]) -> Result<FeatureTable> {
    let (rows, width) = (frame.height(), columns.len());
    let mut values = vec![0.0; rows * width];
    for (at, feature) in columns.iter().enumerate() {
        let column = frame.column(feature.name).map_err(unexpected)?.cast(&DataType::Float64).map_err(unexpected)?;
        for (row, value) in column.f64().map_err(unexpected)?.iter().enumerate() {
            values[row * width + at] = value.unwrap_or(0.0);
        }
    }
    Ok(FeatureTable { values, columns, ..FeatureTable::default() })
}

fn unexpected(e: PolarsError) -> Error {
    Error::new(Kind::Digest, "a table of the store is not what its manifest says").with_source(e)
}

fn small(value: Option<i64>) -> u32 {
    value.and_then(|v| u32::try_from(v).ok()).unwrap_or(0)
}

/// Hands every text of a column to `each`, missing as "".
pub(super) fn texts(frame: &DataFrame, name: &str, mut each: impl FnMut(&str)) -> Result<()> {
    let column = frame.column(name).map_err(unexpected)?;
    for text in column.str().map_err(unexpected)?.iter() {
        each(text.unwrap_or(""));
    }
    Ok(())
}

fn syms(frame: &DataFrame, name: &str, text: &mut Dictionary) -> Result<Vec<Sym>> {
    let mut out = Vec::with_capacity(frame.height());
    texts(frame, name, |t| out.push(text.intern(t)))?;
    Ok(out)
}

/// The whole numbers of a column.
pub(super) fn ints<T>(frame: &DataFrame, name: &str, map: impl Fn(Option<i64>) -> T) -> Result<Vec<T>> {
    let column = frame.column(name).map_err(unexpected)?;
    Ok(column.i64().map_err(unexpected)?.iter().map(map).collect())
}

/// The times of a column, ms since the epoch.
pub(super) fn times(frame: &DataFrame, name: &str) -> Result<Vec<i64>> {
    let column = frame.column(name).map_err(unexpected)?.cast(&DataType::Int64).map_err(unexpected)?;
    Ok(column.i64().map_err(unexpected)?.iter().map(|t| t.unwrap_or(0)).collect())
}
