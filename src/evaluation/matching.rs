//! When an anomaly is a hit on a label, and which label rows are one incident.

use crate::anomaly::Anomaly;
use crate::date::{Date, MS_PER_DAY};

use super::labels::Label;

/// Rows of one scenario and organisation whose windows are at most this far apart are one incident, whoever the user
/// is: an attack that moves from user to user, or pauses overnight.
pub const CHAIN_MS: i64 = 2 * MS_PER_DAY;

/// The same for rows of one user: slow attacks rest for days.
pub const SAME_USER_CHAIN_MS: i64 = 14 * MS_PER_DAY;

/// Equal ids; a 15-character id also equals its own 18-character form, which adds a checksum of the letters' case.
pub fn same_id(a: &str, b: &str) -> bool {
    fn is_id(id: &str) -> bool {
        id.bytes().all(|b| b.is_ascii_alphanumeric())
    }
    match (a.len(), b.len()) {
        (15, 18) => is_id(b) && b.starts_with(a),
        (18, 15) => is_id(a) && a.starts_with(b),
        _ => a == b,
    }
}

/// The closed window of an anomaly, ms; one that names no span stands for its whole date.
pub fn window(a: &Anomaly) -> (i64, i64) {
    if a.window_start < a.window_end {
        (a.window_start, a.window_end)
    } else {
        (a.date.start_ms(), a.date.start_ms() + MS_PER_DAY - 1)
    }
}

/// Whether the anomaly is about the labelled user, in the same organisation, in overlapping windows (ends included).
pub fn is_hit(a: &Anomaly, label: &Label) -> bool {
    let (start, end) = window(a);
    start <= label.end && label.start <= end && same_id(&a.org_id, &label.org_id) && {
        label.user_id.as_deref().is_none_or(|user| {
            same_id(&a.subject_id, user)
                || a.user_id.as_deref().is_some_and(|id| same_id(id, user))
                || a.user_ids.iter().any(|id| same_id(id, user))
        })
    }
}

/// Whether a label touches a night of its organisation.
pub fn touches_night(label: &Label, org_id: &str, date: Date) -> bool {
    let start = date.start_ms();
    same_id(&label.org_id, org_id) && label.start < start + MS_PER_DAY && start <= label.end
}

/// The incidents, as indices of label rows: rows of one scenario, difficulty, category and organisation chained by
/// [`CHAIN_MS`] and [`SAME_USER_CHAIN_MS`]. Ordered by their first row in (organisation, start, scenario) order.
pub fn incidents(labels: &[Label]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| key(&labels[a]).cmp(&key(&labels[b])));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &i in &order {
        // A row can join two chains that had nothing in common before; they are one incident then.
        let (joined, apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|&j| chained(&labels[i], &labels[j])));
        groups = apart;
        let mut group: Vec<usize> = joined.into_iter().flatten().collect();
        group.push(i);
        group.sort_by(|&a, &b| key(&labels[a]).cmp(&key(&labels[b])));
        groups.push(group);
    }
    groups.sort_by(|a, b| key(&labels[a[0]]).cmp(&key(&labels[b[0]])));
    groups
}

type Key<'a> = (&'a str, i64, &'a str, super::labels::Difficulty, Option<&'a str>, i64);

fn key(l: &Label) -> Key<'_> {
    (&l.org_id, l.start, &l.scenario, l.difficulty, l.user_id.as_deref(), l.end)
}

fn chained(a: &Label, b: &Label) -> bool {
    if a.scenario != b.scenario
        || a.difficulty != b.difficulty
        || a.category != b.category
        || !same_id(&a.org_id, &b.org_id)
    {
        return false;
    }
    let gap = a.start.saturating_sub(b.end).max(b.start.saturating_sub(a.end));
    let same_user = match (&a.user_id, &b.user_id) {
        (Some(a), Some(b)) => same_id(a, b),
        (None, None) => true,
        _ => false,
    };
    gap <= if same_user { SAME_USER_CHAIN_MS } else { CHAIN_MS }
}

#[cfg(test)]
mod tests {
    use super::super::labels;
    use super::*;
    use crate::report::sample;

    fn labels(rows: &str) -> Vec<Label> {
        labels::read(format!("org_id,user_id,start,end,scenario,category,difficulty\n{rows}").as_bytes(), "l").unwrap()
    }

    fn hits(row: &str) -> bool {
        is_hit(&sample::anomaly(1), &labels(row)[0])
    }

    #[test]
    fn ids_of_15_and_18_characters_are_one() {
        assert!(same_id("0055g00000AAAAA", "0055g00000AAAAAAAF"));
        assert!(same_id("0055g00000AAAAAAAF", "0055g00000AAAAA"));
        assert!(!same_id("0055g00000AAAAA", "0055g00000AAAABAAF"));
        assert!(!same_id("0055g00000AAAAA", "0055g00000AAAAA@xy"), "not an id");
        assert!(!same_id("0055g00000aaaaa", "0055g00000AAAAA"), "case tells ids apart");
        assert!(same_id("dana", "dana"));
    }

    #[test]
    fn windows_that_touch_overlap() {
        // The anomaly's window is 14:32:00.000 to 15:32:00.000.
        assert!(hits("00D5g000001AAAA,0055g00000AAAAA,2026-04-21T15:32:00Z,2026-04-21T16:00:00Z,S1,volume,easy\n"));
        assert!(!hits(
            "00D5g000001AAAA,0055g00000AAAAA,2026-04-21T15:32:00.001Z,2026-04-21T16:00:00Z,S1,volume,easy\n"
        ));
        assert!(hits("00D5g000001AAAA,0055g00000AAAAA,2026-04-21T10:00:00Z,2026-04-21T14:32:00Z,S1,volume,easy\n"));
        assert!(!hits(
            "00D5g000001AAAA,0055g00000AAAAA,2026-04-21T10:00:00Z,2026-04-21T14:31:59.999Z,S1,volume,easy\n"
        ));
    }

    #[test]
    fn a_window_without_a_span_is_its_date() {
        let mut a = sample::anomaly(1);
        a.window_end = a.window_start;
        let morning =
            labels("00D5g000001AAAA,0055g00000AAAAA,2026-04-21T01:00:00Z,2026-04-21T02:00:00Z,S1,volume,easy\n");
        assert!(is_hit(&a, &morning[0]));
    }

    #[test]
    fn the_subject_must_be_or_touch_the_user_of_the_organisation() {
        assert!(hits("00D5g000001AAAAXYZ,0055g00000AAAAA,2026-04-21,2026-04-21,S1,volume,easy\n"));
        assert!(!hits("00D5g000001AAAB,0055g00000AAAAA,2026-04-21,2026-04-21,S1,volume,easy\n"), "other organisation");
        assert!(!hits("00D5g000001AAAA,0055g00000AAAAB,2026-04-21,2026-04-21,S1,volume,easy\n"), "other user");
        assert!(hits("00D5g000001AAAA,,2026-04-21,2026-04-21,S1,volume,easy\n"), "the whole organisation");
        let mut ip = sample::anomaly(1);
        ip.subject_id = "198.18.7.9".into();
        ip.user_id = None;
        ip.user_ids = vec!["0055g00000BBBBB".into(), "0055g00000AAAAA".into()];
        assert!(is_hit(&ip, &labels("00D5g000001AAAA,0055g00000AAAAA,2026-04-21,2026-04-21,S1,volume,easy\n")[0]));
    }

    #[test]
    fn rows_chain_into_incidents() {
        let rows = labels(
            "o,a,2026-04-01,2026-04-01,S1,volume,easy\n\
             o,a,2026-04-10,2026-04-10,S1,volume,easy\n\
             o,b,2026-04-11,2026-04-11,S1,volume,easy\n\
             o,c,2026-04-11,2026-04-11,S1,volume,hard\n\
             o,a,2026-06-01,2026-06-01,S1,volume,easy\n\
             p,a,2026-04-01,2026-04-01,S1,volume,easy\n\
             o,d,2026-04-20,2026-04-20,S2,volume,easy\n",
        );
        assert_eq!(incidents(&rows), [vec![0, 1, 2], vec![3], vec![6], vec![4], vec![5]]);
    }

    #[test]
    fn a_row_can_join_two_chains() {
        let rows = labels(
            "o,a,2026-04-01,2026-04-05,S1,volume,easy\n\
             o,b,2026-04-09,2026-04-12,S1,volume,easy\n\
             o,b,2026-03-31,2026-03-31,S1,volume,easy\n",
        );
        assert_eq!(incidents(&rows), [vec![2, 0, 1]]);
    }
}
