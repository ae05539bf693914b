//! `baseline.arrow`: the records of a model as one Arrow IPC file with the columns `section`, `key1`, `key2`, `key3`
//! (text) and `numbers` (list of doubles), in the order of the draft.
//!
//! Arrow's file reader trusts the offsets in its metadata and panics on false ones. They are therefore checked here
//! first, block by block and buffer by buffer, and only then handed to the decoder.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, ListArray, RecordBatch, StringArray};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, MessageHeader};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::Record;
use crate::error::{Error, Kind, Result};

/// Records per Arrow batch: keeps 32-bit offsets far from their end and the reader's memory even.
const BATCH: usize = 1 << 16;

/// Most numbers and most text bytes in one batch, below the 32-bit offsets of Arrow's lists and strings.
const MAX_BATCH_UNITS: usize = 1 << 30;

/// Bytes per element of each buffer of a batch: validity, offsets and bytes of four texts; validity and offsets of the
/// list; validity and values of its numbers.
const UNITS: [usize; 16] = [1, 4, 1, 1, 4, 1, 1, 4, 1, 1, 4, 1, 1, 4, 1, 8];

/// Length of the footer and magic number, which end the file.
const TRAILER: usize = 10;

fn schema() -> Schema {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let numbers = DataType::List(Arc::new(Field::new("item", DataType::Float64, false)));
    Schema::new(vec![text("section"), text("key1"), text("key2"), text("key3"), Field::new("numbers", numbers, false)])
}

/// The bytes of `baseline.arrow`.
pub(crate) fn encode(records: &[Record]) -> Result<Vec<u8>> {
    let failed = |e: ArrowError| bug("cannot serialise the records of the model").with_source(e);
    let schema = Arc::new(schema());
    let mut writer = FileWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    for chunk in records.chunks(BATCH) {
        let numbers: usize = chunk.iter().map(|r| r.numbers.len()).sum();
        let text: usize = chunk.iter().map(|r| r.section.len() + r.key.iter().map(String::len).sum::<usize>()).sum();
        if numbers.max(text) > MAX_BATCH_UNITS {
            return Err(bug("the records of the model are too large for one file"));
        }
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns(chunk)?).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn columns(records: &[Record]) -> Result<Vec<ArrayRef>> {
    let text = |of: &dyn Fn(&Record) -> &str| -> ArrayRef {
        let mut builder = StringBuilder::new();
        for record in records {
            builder.append_value(of(record));
        }
        Arc::new(builder.finish())
    };
    let item = Field::new("item", DataType::Float64, false);
    let mut numbers = ListBuilder::new(Float64Builder::new()).with_field(item);
    for (row, record) in records.iter().enumerate() {
        if !record.numbers.iter().all(|v| v.is_finite()) {
            return Err(bug(format!("record {row} of section {:?} holds a number that is not finite", record.section)));
        }
        numbers.values().append_slice(&record.numbers);
        numbers.append(true);
    }
    Ok(vec![
        text(&|r| &r.section),
        text(&|r| &r.key[0]),
        text(&|r| &r.key[1]),
        text(&|r| &r.key[2]),
        Arc::new(numbers.finish()),
    ])
}

/// The records of `baseline.arrow`, in their order.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Vec<Record>> {
    let file = Buffer::from_vec(bytes);
    let trailer = file.len().checked_sub(TRAILER).ok_or_else(|| unreadable("it is too short"))?;
    let tail: [u8; TRAILER] = file[trailer..].try_into().expect("the last ten bytes");
    let footer_bytes = read_footer_length(tail).map_err(arrow)?;
    let footer_start = trailer.checked_sub(footer_bytes).ok_or_else(|| unreadable("its footer is cut"))?;
    let footer = arrow_ipc::root_as_footer(&file[footer_start..trailer])
        .map_err(|e| unreadable("its footer is damaged").with_source(e.to_string()))?;
    let found = footer.schema().ok_or_else(|| unreadable("its schema is missing"))?;
    let found = arrow_ipc::convert::try_fb_to_schema(found).map_err(arrow)?;
    let expected = schema();
    if found.fields() != expected.fields() {
        return Err(unreadable("its columns are not section, key1, key2, key3, numbers"));
    }
    if footer.dictionaries().is_some_and(|d| !d.is_empty()) {
        return Err(unreadable("it has dictionaries, and no column that uses one"));
    }

    let decoder = FileDecoder::new(Arc::new(expected), footer.version());
    let mut records = Vec::new();
    for block in footer.recordBatches().iter().flatten() {
        let body = checked_block(block, &file, footer_start)?;
        let batch = decoder.read_record_batch(block, &body).map_err(arrow)?;
        append(&batch.ok_or_else(|| unreadable("it has an empty block"))?, &mut records)?;
    }
    Ok(records)
}

/// The bytes of one block, once every offset and length in it is known to lie inside.
fn checked_block(block: &Block, file: &Buffer, end: usize) -> Result<Buffer> {
    let damaged = || unreadable("a block reaches outside of the file");
    let size = |v: i64| usize::try_from(v).map_err(|_| damaged());
    let start = size(block.offset())?;
    let metadata = size(i64::from(block.metaDataLength()))?;
    let body = size(block.bodyLength())?;
    let total = metadata.checked_add(body).ok_or_else(damaged)?;
    if start.checked_add(total).is_none_or(|stop| stop > end) {
        return Err(damaged());
    }
    let bytes = file.slice_with_length(start, total);

    // A message starts with its length, in newer files after a marker of four 0xff bytes.
    let head = &bytes[..metadata];
    let head = head.strip_prefix(&[0xff; 4]).unwrap_or(head);
    let message = head.get(4..).ok_or_else(damaged)?;
    let message = arrow_ipc::root_as_message(message)
        .map_err(|e| unreadable("a block header is damaged").with_source(e.to_string()))?;
    if message.header_type() != MessageHeader::RecordBatch {
        return Err(unreadable("a block is no record batch"));
    }
    let batch = message.header_as_record_batch().ok_or_else(damaged)?;
    if batch.compression().is_some() {
        return Err(unreadable("a block is compressed"));
    }
    let inside = |b: &arrow_ipc::Buffer, unit: usize| {
        let (offset, length) = (usize::try_from(b.offset()).ok()?, usize::try_from(b.length()).ok()?);
        let aligned = offset.is_multiple_of(8) && length.is_multiple_of(unit);
        offset.checked_add(length).filter(|&stop| aligned && stop <= body)
    };
    let buffers = batch.buffers().ok_or_else(damaged)?;
    if buffers.len() != UNITS.len() || !buffers.iter().zip(UNITS).all(|(b, unit)| inside(b, unit).is_some()) {
        return Err(damaged());
    }
    // Rows and nodes are counted in 64 bits; none can be longer than the bytes that hold it.
    let rows_fit = |n: i64| usize::try_from(n).is_ok_and(|n| n <= body);
    let nodes_fit = batch.nodes().iter().flatten().all(|n| rows_fit(n.length()) && n.null_count() == 0);
    if !rows_fit(batch.length()) || !nodes_fit {
        return Err(damaged());
    }
    Ok(bytes)
}

fn append(batch: &RecordBatch, records: &mut Vec<Record>) -> Result<()> {
    let text = |column: usize| -> &StringArray { batch.column(column).as_string() };
    let (section, keys) = (text(0), [text(1), text(2), text(3)]);
    let numbers: &ListArray = batch.column(4).as_list();
    for row in 0..batch.num_rows() {
        let values = numbers.value(row);
        let values = values.as_primitive::<Float64Type>().values();
        if !values.iter().all(|v| v.is_finite()) {
            return Err(unreadable(format!("record {} holds a number that is not finite", records.len())));
        }
        records.push(Record {
            section: section.value(row).to_owned(),
            key: keys.map(|k| k.value(row).to_owned()),
            numbers: values.to_vec(),
        });
    }
    Ok(())
}

fn bug(message: impl Into<String>) -> Error {
    Error::new(Kind::Bug, message)
}

fn arrow(e: ArrowError) -> Error {
    unreadable("it is damaged").with_source(e)
}

fn unreadable(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Model, format!("baseline.arrow cannot be used: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(section: &str, key: &str, numbers: &[f64]) -> Record {
        Record { section: section.into(), key: [key.into(), String::new(), "ü".into()], numbers: numbers.to_vec() }
    }

    fn sample() -> Vec<Record> {
        vec![record("hours", "b", &[1.0, -0.0, 1e-310]), record("counts", "a", &[]), record("hours", "a", &[2.0])]
    }

    #[test]
    fn records_come_back_in_order_and_bit_equal() {
        let records = sample();
        let bytes = encode(&records).unwrap();
        assert_eq!(bytes, encode(&records).unwrap());
        let back = decode(bytes).unwrap();
        assert_eq!(back, records);
        assert!(back[0].numbers[1].is_sign_negative());
    }

    #[test]
    fn no_records_and_more_than_one_batch_work() {
        assert_eq!(decode(encode(&[]).unwrap()).unwrap(), []);
        let many: Vec<_> = (0..BATCH + 3).map(|i| record("s", &i.to_string(), &[i as f64])).collect();
        assert_eq!(decode(encode(&many).unwrap()).unwrap(), many);
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_both_ways() {
        assert_eq!(encode(&[record("s", "k", &[f64::NAN])]).unwrap_err().kind(), Kind::Bug);
        let marker = 1234.5f64.to_le_bytes();
        let mut bytes = encode(&[record("s", "k", &[1234.5])]).unwrap();
        let at = bytes.windows(8).position(|w| w == marker).unwrap();
        bytes[at..at + 8].copy_from_slice(&f64::INFINITY.to_le_bytes());
        assert_eq!(decode(bytes).unwrap_err().kind(), Kind::Model);
    }

    #[test]
    fn a_record_cut_anywhere_is_refused() {
        let bytes = encode(&sample()).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode(bytes[..cut].to_vec()).is_err(), "cut at {cut} of {}", bytes.len());
        }
    }

    #[test]
    fn no_flipped_bit_and_no_false_length_panics() {
        let bytes = encode(&sample()).unwrap();
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let _ = decode(damaged);
            }
            for word in [i64::MAX, -1, 1 << 40] {
                let mut damaged = bytes.clone();
                let stop = bytes.len().min(at + 8);
                damaged[at..stop].copy_from_slice(&word.to_le_bytes()[..stop - at]);
                let _ = decode(damaged);
            }
        }
    }
}
