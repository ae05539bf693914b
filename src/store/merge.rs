//! Bringing events together: rows of several batches under one set of dictionaries, and parts of a date as multisets.

use std::cmp::Ordering;
use std::hash::Hasher;
use std::ops::Range;

use rayon::prelude::*;
use rustc_hash::FxHasher;

use crate::events::batch::{Events, Field, MISSING};

/// Appends rows of a batch, giving its texts the numbers they have in `into`.
pub(super) fn append(into: &mut Events, from: &Events, rows: &[Range<usize>]) {
    let (before, added) = (into.len(), rows.iter().map(ExactSizeIterator::len).sum::<usize>());
    into.text.par_iter_mut().zip(&from.text).for_each(|(into, from)| {
        into.codes.reserve(added);
        if from.dictionary.is_empty() {
            into.codes.resize(before + added, 0);
            return;
        }
        let mut number = vec![u32::MAX; from.dictionary.len()];
        for range in rows {
            let dictionary = &mut into.dictionary;
            into.codes.extend(from.codes[range.clone()].iter().map(|&code| {
                let known = &mut number[code as usize];
                if *known == u32::MAX {
                    *known = dictionary.intern(from.dictionary.get(code));
                }
                *known
            }));
        }
    });
    for (into, from) in into.numbers.iter_mut().zip(&from.numbers) {
        if from.is_empty() && into.is_empty() {
            continue;
        }
        into.resize(before, MISSING);
        if from.is_empty() {
            into.resize(before + added, MISSING);
        } else {
            for range in rows {
                into.extend_from_slice(&from[range.clone()]);
            }
        }
    }
    for range in rows {
        into.timestamp_ms.extend_from_slice(&from.timestamp_ms[range.clone()]);
        into.action.extend_from_slice(&from.action[range.clone()]);
        into.status.extend_from_slice(&from.status[range.clone()]);
    }
    // Callers that need neither ids nor origins leave both out of all batches.
    if from.source_row.is_empty() {
        return;
    }
    into.request_id.ends.reserve(added);
    for range in rows {
        into.source_row.extend_from_slice(&from.source_row[range.clone()]);
        let ends = &from.request_id.ends;
        let (start, end) = (ends[range.start], ends[range.end]);
        let base = into.request_id.bytes.len() as u64;
        into.request_id.bytes.extend_from_slice(&from.request_id.bytes[start as usize..end as usize]);
        into.request_id.ends.extend(ends[range.start + 1..=range.end].iter().map(|e| base + (e - start)));
    }
}

/// Appends a whole batch.
pub(super) fn append_all(into: &mut Events, from: &Events) {
    append(into, from, std::slice::from_ref(&(0..from.len())));
}

/// All rows of several parts, each row as often as it is in the part that has it most often. Parts overlap when the
/// same call was delivered in two files; equal rows within one part are different calls. Also how many rows came
/// from each part: the first of those that have a row most often.
pub(super) fn union(parts: Vec<Events>) -> (Events, Vec<u64>) {
    let mut parts = parts;
    if parts.len() < 2 {
        let only = parts.pop().unwrap_or_default();
        let rows = only.len() as u64;
        return (only, vec![rows]);
    }
    let mut all = Events::default();
    let mut part_of = Vec::new();
    let count = parts.len();
    for (number, part) in parts.into_iter().enumerate() {
        append_all(&mut all, &part);
        part_of.resize(all.len(), number as u32);
    }
    let mut order: Vec<(u64, u32, u32)> =
        (0..all.len()).into_par_iter().map(|row| (hash(&all, row), part_of[row], row as u32)).collect();
    order.par_sort_unstable();
    let mut keep = vec![false; all.len()];
    let mut contributing = vec![0; count];
    let mut settle = |same: &[(u64, u32, u32)]| {
        // Runs of equal part; the longest, and of equally long ones the first, is kept.
        let best = same.chunk_by(|a, b| a.1 == b.1).rev().max_by_key(|run| run.len()).unwrap_or_default();
        for &(_, part, row) in best {
            keep[row as usize] = true;
            contributing[part as usize] += 1;
        }
    };
    for same_hash in order.chunk_by_mut(|a, b| a.0 == b.0) {
        let first = same_hash[0].2 as usize;
        if same_hash.iter().all(|&(_, _, row)| compare(&all, first, row as usize).is_eq()) {
            settle(same_hash);
        } else {
            same_hash.sort_unstable_by(|a, b| compare(&all, a.2 as usize, b.2 as usize).then(a.cmp(b)));
            for same in same_hash.chunk_by(|a, b| compare(&all, a.2 as usize, b.2 as usize).is_eq()) {
                settle(same);
            }
        }
    }
    if keep.iter().all(|k| *k) {
        return (all, contributing);
    }
    let mut kept = Events::default();
    append(&mut kept, &all, &runs(&keep));
    (kept, contributing)
}

/// Runs of true.
fn runs(keep: &[bool]) -> Vec<Range<usize>> {
    let mut at = 0;
    keep.chunk_by(|a, b| a == b)
        .filter_map(|run| {
            let range = at..at + run.len();
            at = range.end;
            run[0].then_some(range)
        })
        .collect()
}

fn request(events: &Events, row: usize) -> &[u8] {
    let ends = &events.request_id.ends;
    &events.request_id.bytes[ends[row] as usize..ends[row + 1] as usize]
}

/// Hash of a row's identity: every field but where it was read from.
fn hash(events: &Events, row: usize) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_i64(events.timestamp_ms[row]);
    for field in Field::ALL {
        hasher.write_u32(events.column(field).codes[row]);
    }
    hasher.write_u32(u32::from(events.status[row]) << 8 | events.action[row] as u32);
    for numbers in events.numbers.iter().filter(|n| !n.is_empty()) {
        hasher.write_i64(numbers[row]);
    }
    hasher.write(request(events, row));
    hasher.finish()
}

/// Some order in which rows of equal identity, and no others, are equal.
fn compare(events: &Events, a: usize, b: usize) -> Ordering {
    let mut order = (events.timestamp_ms[a], events.status[a], events.action[a]).cmp(&(
        events.timestamp_ms[b],
        events.status[b],
        events.action[b],
    ));
    for column in &events.text {
        order = order.then(column.codes[a].cmp(&column.codes[b]));
    }
    for numbers in events.numbers.iter().filter(|n| !n.is_empty()) {
        order = order.then(numbers[a].cmp(&numbers[b]));
    }
    order.then_with(|| request(events, a).cmp(request(events, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(rows: &[(&str, &str)]) -> Events {
        let mut events = Events::default();
        for (at, (user, request)) in rows.iter().enumerate() {
            events.timestamp_ms.push(0);
            for field in Field::ALL {
                events.column_mut(field).push(if field == Field::User { user } else { "" });
            }
            events.action.push(crate::events::action::Action::Query);
            events.status.push(200);
            events.request_id.push(request);
            events.source_row.push(at as u64 + 1);
        }
        events
    }

    fn rows(events: &Events) -> Vec<(String, String)> {
        let mut rows: Vec<_> = (0..events.len())
            .map(|r| (events.column(Field::User).get(r).to_owned(), events.request_id.get(r).to_owned()))
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn a_row_twice_in_one_part_and_once_in_another_is_two_calls() {
        let (all, contributing) =
            union(vec![events(&[("a", "1"), ("b", "2")]), events(&[("c", "3"), ("a", "1"), ("a", "1")])]);
        let expected = [("a", "1"), ("a", "1"), ("b", "2"), ("c", "3")].map(|(u, r)| (u.to_owned(), r.to_owned()));
        assert_eq!(rows(&all), expected);
        assert_eq!(contributing, [1, 3]);
    }

    #[test]
    fn rows_that_share_a_request_id_are_all_kept() {
        let (all, _) = union(vec![events(&[("a", "1"), ("b", "1")]), events(&[("c", "1")])]);
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_number_that_only_one_part_has_is_missing_in_the_others() {
        let mut with = events(&[("b", "2")]);
        with.numbers[1] = vec![7];
        let (all, _) = union(vec![events(&[("a", "1")]), with, events(&[("c", "3")])]);
        assert_eq!(all.numbers[1], [MISSING, 7, MISSING]);
    }
}
