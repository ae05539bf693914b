//! Canonical events as Parquet: the archive beyond the source's own retention.

use polars::prelude::DataFrame;

use super::parquet::{Column, Texts, Values, decode, encode};
use super::tables::{ints, texts, times};
use crate::error::{Error, Kind, Result};
use crate::events::action::Action;
use crate::events::batch::{Events, Field, MISSING, NUMBERS, TextColumn};

/// A part of the archive: the events of one source file (known by `digest`) for one partition, in file order.
pub(super) fn encode_part(events: &Events, digest: &str) -> Result<Vec<u8>> {
    let rows = events.len();
    let actions = Action::ALL.map(Action::name);
    let source = [digest];
    let status: Vec<i64> = events.status.iter().map(|s| if *s == 0 { MISSING } else { i64::from(*s) }).collect();
    let mut columns = vec![Column::new("timestamp", Values::Time(events.timestamp_ms.clone()))];
    for field in Field::ALL {
        let TextColumn { codes, dictionary } = events.column(field);
        columns.push(Column::new(field.name(), Values::Text(codes.clone(), Texts::Dictionary(dictionary))));
    }
    let action = events.action.iter().map(|a| *a as u32 + 1).collect();
    columns.push(Column::new("action", Values::Text(action, Texts::Words(&actions))));
    columns.push(Column::new("status_code", Values::IntOrNull(&status)));
    columns.push(Column::new("request_id", Values::PlainText(&events.request_id.bytes, &events.request_id.ends)));
    columns.push(Column::new("source", Values::Text(vec![1; rows], Texts::Words(&source))));
    columns.push(Column::new("source_row", Values::Int(events.source_row.iter().map(|r| *r as i64).collect())));
    for (name, numbers) in NUMBERS.iter().zip(&events.numbers) {
        if !numbers.is_empty() {
            columns.push(Column::new(name, Values::IntOrNull(numbers)));
        }
    }
    encode(&columns, rows)
}

/// The events of a part of the archive whose digest was checked.
pub(super) fn decode_part(bytes: Vec<u8>) -> Result<Events> {
    let frame = decode(bytes)?;
    read(&frame).map_err(|e| Error::new(Kind::Digest, "cannot read a part of the archive").with_source(e))
}

fn read(frame: &DataFrame) -> Result<Events> {
    let mut events = Events { timestamp_ms: times(frame, "timestamp")?, ..Events::default() };
    for field in Field::ALL {
        let column = events.column_mut(field);
        texts(frame, field.name(), |text| column.push(text))?;
    }
    texts(frame, "action", |text| events.action.push(Action::from_name(text).unwrap_or_default()))?;
    let number = |value: Option<i64>| value.unwrap_or(MISSING);
    events.status = ints(frame, "status_code", |s| s.and_then(|s| u16::try_from(s).ok()).unwrap_or(0))?;
    texts(frame, "request_id", |text| events.request_id.push(text))?;
    events.source_row = ints(frame, "source_row", |r| r.and_then(|r| u64::try_from(r).ok()).unwrap_or(0))?;
    for (at, name) in NUMBERS.iter().enumerate() {
        if frame.column(name).is_ok() {
            events.numbers[at] = ints(frame, name, number)?;
        }
    }
    Ok(events)
}
