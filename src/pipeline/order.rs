//! The order of sessions in a model: one set of arrays and records per organisation.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::detectors::sequence::night::{Named, Order};
use crate::error::{Error, Kind, Result};
use crate::models::Record;

/// Section of the record that names the organisation of the arrays `order/N/…`; of its words and users.
const ORG: &str = "order";
const SECTIONS: [&str; 2] = ["order/word", "order/habit"];

fn prefix(number: usize) -> String {
    format!("order/{number}")
}

/// Whether a record is one of these.
pub(super) fn is_order(record: &Record) -> bool {
    record.section == ORG || SECTIONS.contains(&record.section.as_str())
}

/// Appends what a model keeps of the organisation of this number.
pub(super) fn write(
    number: usize,
    org: &str,
    order: &Order,
    arrays: &mut Vec<(String, Vec<f64>)>,
    records: &mut Vec<Record>,
) {
    arrays.extend(order.to_arrays(&prefix(number)));
    let record = |section: &str, name: &str, numbers| Record {
        section: section.to_owned(),
        key: [org.to_owned(), name.to_owned(), String::new()],
        numbers,
    };
    records.push(record(ORG, "", vec![number as f64]));
    for (kind, name, numbers) in order.to_records() {
        records.push(record(SECTIONS[usize::from(kind == "habit")], &name, numbers));
    }
}

/// Reads what [`write()`] wrote of all organisations.
pub(super) fn read(arrays: &BTreeMap<&str, &[f64]>, records: &[Record]) -> Result<BTreeMap<String, Arc<Order>>> {
    let mut names: BTreeMap<&str, Vec<Named<'_>>> = BTreeMap::new();
    for r in records.iter().filter(|r| is_order(r) && r.section != ORG) {
        let kind = if r.section == SECTIONS[0] { "word" } else { "habit" };
        names.entry(&r.key[0]).or_default().push((kind, &r.key[1], &r.numbers));
    }
    let mut out = BTreeMap::new();
    for r in records.iter().filter(|r| r.section == ORG) {
        let [number] = r.numbers[..] else { return Err(broken("order")) };
        let of = names.get(r.key[0].as_str()).map_or(&[][..], Vec::as_slice);
        let order = Order::from_parts(arrays, &prefix(number as usize), of).map_err(|what| broken(&what))?;
        out.insert(r.key[0].clone(), Arc::new(order));
    }
    Ok(out)
}

fn broken(what: &str) -> Error {
    Error::new(Kind::Model, format!("the model's {what} is missing or makes no sense; train a new version"))
}
