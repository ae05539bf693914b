use super::*;
use crate::tables::DayTables;
use crate::tables::{SessionKey, Step};

/// A day on which `user` had these sessions, each step an action on an object.
fn day(user: &str, sessions: &[&[&str]]) -> DayTables {
    let mut day = DayTables { text: vec![String::new(), user.to_owned(), "r1".into()], ..DayTables::default() };
    day.user_day.ids = vec![1];
    let mut steps = Steps { ids: vec![String::new()], ..Steps::default() };
    for (row, session) in sessions.iter().enumerate() {
        day.session_keys.push(SessionKey { user: 0, channel: 0, ip: 0, start_ms: 0, end_ms: 1 });
        for step in *session {
            let word = steps.words.len() as u32;
            let coarse = step.split(' ').next().unwrap_or_default().to_owned();
            steps.words.push(((*step).to_owned(), coarse));
            steps.rows.push(Step { session: row as u32, word, gap: 3, request_id: 0 });
        }
    }
    day.steps = Some(steps);
    day
}

const JOB: [&str; 5] = ["bulk_create Contact", "bulk_poll", "bulk_poll", "bulk_result", "auth"];
const READ: [&str; 4] = ["auth", "query Account", "crud_read Account", "query Account"];

fn order() -> Order {
    let mut corpus = Corpus::default();
    for i in 0..400_usize {
        let (user, of): (&str, &[&str]) = if i % 2 == 0 { ("job", &JOB) } else { ("ann", &READ) };
        let cut = of.len() - usize::from(i % 5 == 0);
        corpus.add(&day(user, &[&of[..cut]]), |_| false);
    }
    Order::fit(&corpus, &Sequence::default()).unwrap()
}

fn ln_p(order: &Order, session: &[&str]) -> f64 {
    let of = day("job", &[session]);
    let steps = of.steps.as_ref().unwrap();
    let numbers = order.encode(steps);
    let marked: Vec<u32> = steps.of(0).iter().map(|t| numbers[t.word as usize]).collect();
    let mut out = Vec::new();
    order.ngrams.surprise(&unmarked(&marked), &mut out);
    let said: Vec<f64> = judged(&marked).map(|at| out[at]).collect();
    order.tails[0].ln_p(summary(&said).0, marked.len())
}

#[test]
fn the_usual_calls_in_another_order_are_found() {
    let order = order();
    assert!(ln_p(&order, &JOB) > 0.2_f64.ln());
    let other = ["auth", "bulk_result", "bulk_create Contact", "bulk_poll", "bulk_poll"];
    assert!(ln_p(&order, &other) < 0.01_f64.ln(), "{}", ln_p(&order, &other).exp());
}

#[test]
fn a_rare_object_is_no_strange_order() {
    let order = order();
    let renamed = ["bulk_create Contact", "bulk_poll", "bulk_poll", "bulk_result", "auth"];
    let rare = ["auth", "query Account", "crud_read Ledger__c", "query Account"];
    assert!(ln_p(&order, &renamed) > 0.2_f64.ln());
    assert!(ln_p(&order, &rare) > 0.05_f64.ln(), "{}", ln_p(&order, &rare).exp());
}

#[test]
fn too_few_sessions_teach_nothing_and_many_are_thinned() {
    let mut corpus = Corpus::default();
    (0..FEWEST - 1).for_each(|_| corpus.add(&day("ann", &[&READ]), |_| false));
    assert!(Order::fit(&corpus, &Sequence::default()).is_none());
    corpus.add(&day("ann", &[&READ, &READ]), |_| false);
    let before = corpus.sessions.len();
    corpus.thin();
    assert_eq!((corpus.sessions.len(), corpus.steps.len()), (before / 2, before / 2 * READ.len()));
    corpus.add(&day("ann", &[&READ, &READ]), |_| false);
    assert_eq!(corpus.sessions.len(), before / 2 + 1, "and of later ones every other is kept");
}

#[test]
fn what_a_file_keeps_comes_back_and_nonsense_is_refused() {
    let order = order();
    let (arrays, records) = (order.to_arrays("o/0"), order.to_records());
    let read = |drop: &str, records: &[(&'static str, String, Vec<f64>)]| {
        let arrays: BTreeMap<&str, &[f64]> =
            arrays.iter().filter(|a| a.0 != drop).map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let records: Vec<(&str, &str, &[f64])> =
            records.iter().map(|(k, n, v)| (*k, n.as_str(), v.as_slice())).collect();
        Order::from_parts(&arrays, "o/0", &records)
    };
    assert_eq!(read("", &records).unwrap(), order);
    for (name, _) in &arrays {
        assert!(read(name, &records).is_err(), "{name}");
    }
    assert!(read("", &records[1..]).is_err(), "a word is missing");
}
