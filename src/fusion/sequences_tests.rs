use rand::RngExt;

use super::sequences::*;
use crate::config::Sequence;
use crate::detectors::sequence::vocabulary::{FIRST, UNKNOWN};
use crate::seed::Seed;

const SYMBOLS: u32 = FIRST + 12;

/// Sequences of two groups of people: each walks in circles through six tokens of its own, with stumbles.
fn walks(n: usize, seed: u64) -> Vec<(Vec<u32>, &'static str)> {
    let mut rng = Seed(seed).derive("walks", 0);
    (0..n)
        .map(|i| {
            let (name, from) = [("ann", 0), ("bob", 6)][i % 2];
            let mut at = rng.random_range(0..6_u32);
            let length = rng.random_range(3..30);
            let step = |_| {
                at = if rng.random_bool(0.9) { (at + 1) % 6 } else { rng.random_range(0..6) };
                FIRST + from + at
            };
            ((0..length).map(step).collect(), name)
        })
        .collect()
}

fn family(of: &[(Vec<u32>, &str)], with_names: bool) -> Family {
    let tokens: Vec<&[u32]> = of.iter().map(|(s, _)| s.as_slice()).collect();
    let names: Vec<&str> = of.iter().map(|(_, n)| *n).collect();
    let of = Sequences { tokens: &tokens, entities: with_names.then_some(&names[..]), symbols: SYMBOLS };
    Family::fit(of, &Sequence::default(), Seed(1)).unwrap()
}

fn p(family: &Family, sequence: &[u32], name: Option<&str>) -> f64 {
    family.score(&[sequence], name.as_ref().map(std::slice::from_ref)).p[0]
}

fn circle(from: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| FIRST + from + i % 6).collect()
}

#[test]
fn fresh_ordinary_sequences_have_uniform_p_values() {
    let model = family(&walks(3_000, 1), true);
    let fresh = walks(4_000, 2);
    let tokens: Vec<&[u32]> = fresh.iter().map(|(s, _)| s.as_slice()).collect();
    let names: Vec<&str> = fresh.iter().map(|(_, n)| *n).collect();
    let scores = model.score(&tokens, Some(&names));
    for level in [0.1, 0.01] {
        let hit = scores.p.iter().filter(|p| **p <= level).count() as f64 / fresh.len() as f64;
        assert!((0.6..1.6).contains(&(hit / level)), "{level}: {hit}");
    }
}

#[test]
fn another_order_and_another_maker_are_found_and_either_alone_is_enough() {
    let model = family(&walks(2_000, 3), true);
    let usual = circle(0, 18);
    assert!(p(&model, &usual, Some("ann")) > 0.05);
    let mut backwards = usual.clone();
    backwards.reverse();
    assert!(p(&model, &backwards, Some("ann")) < 0.01, "the same calls, another order");
    assert!(p(&model, &usual, Some("bob")) < 0.02, "an ordinary sequence of somebody else");
    assert!(
        p(&model, &usual, None) > 0.05 && p(&model, &usual, Some("eve")) > 0.05,
        "nothing is held against a stranger"
    );
    assert_eq!(family(&walks(200, 3), false).habit(), None);
}

#[test]
fn sequences_of_any_length_have_an_answer() {
    let model = family(&walks(300, 4), true);
    let long: Vec<u32> = circle(0, 100_000);
    let odd = [vec![], vec![FIRST], vec![UNKNOWN], vec![UNKNOWN; 50], long];
    for sequence in &odd {
        assert!((0.0..=1.0).contains(&p(&model, sequence, Some("ann"))), "{} tokens", sequence.len());
    }
    assert!(p(&model, &odd[3], Some("ann")) < 0.02, "fifty tokens that nobody has met");
    assert!(model.score(&[], None).p.is_empty());
}

#[test]
fn too_little_to_learn_from_is_said() {
    let settings = Sequence::default();
    let few = [&[FIRST][..]; 9];
    let error = |tokens: &[&[u32]]| {
        Family::fit(Sequences { tokens, entities: None, symbols: SYMBOLS }, &settings, Seed(1)).unwrap_err()
    };
    assert!(error(&few).contains("at least 10"));
    assert!(error(&[&[][..]; 20]).contains("only empty ones"));
    let equal = [&[FIRST][..]; 20];
    let all_equal = Sequences { tokens: &equal, entities: Some(&["a"; 20]), symbols: SYMBOLS };
    assert!(Family::fit(all_equal, &settings, Seed(1)).is_ok(), "twenty equal ones are enough to know what is usual");
}

#[test]
fn the_model_does_not_depend_on_the_number_of_threads() {
    let of = walks(600, 5);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let model = family(&of, true);
            let scores: Vec<u64> = of.iter().map(|(s, n)| p(&model, s, Some(n)).to_bits()).collect();
            (model, scores)
        })
    };
    let (one, two) = (on(1), on(2));
    assert!(one.0.to_arrays() == two.0.to_arrays() && one.1 == two.1);
}

#[test]
fn a_model_that_was_read_scores_the_same_and_a_damaged_one_is_refused() {
    let of = walks(700, 6);
    let model = family(&of, true);
    let (arrays, records) = (model.to_arrays(), model.to_records());
    let read = |drop: &str, symbols: u32, records: &[(String, Vec<f64>)]| {
        let arrays: std::collections::BTreeMap<&str, (&[usize], &[f64])> = arrays
            .iter()
            .filter(|(name, ..)| name != drop)
            .map(|(name, shape, values)| (name.as_str(), (shape.as_slice(), values.as_slice())))
            .collect();
        let records: Vec<(&str, &[f64])> = records.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        Family::from_parts(&arrays, &records, symbols)
    };
    let again = read("", SYMBOLS, &records).unwrap();
    for (sequence, name) in &of[..50] {
        assert_eq!(p(&again, sequence, Some(name)), p(&model, sequence, Some(name)));
    }
    for (name, ..) in &arrays {
        assert!(read(name, SYMBOLS, &records).is_err(), "{name} is missing");
    }
    assert!(read("", SYMBOLS + 1, &records).is_err() && read("", SYMBOLS, &[]).is_err());
}
