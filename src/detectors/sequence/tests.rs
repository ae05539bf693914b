use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::bags::{Bags, set_of};
use super::habits::Habits;
use super::ngram::Ngrams;
use super::vocabulary::{END, FIRST, START, UNKNOWN};
use crate::seed::Seed;

/// Sequences that walk in circles with stumbles.
fn walks(n: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = Seed(seed).derive("walks", 0);
    (0..n)
        .map(|_| {
            let mut at = rng.random_range(0..6_u32);
            (0..rng.random_range(1..12))
                .map(|_| {
                    at = if rng.random_bool(0.8) { (at + 1) % 6 } else { rng.random_range(0..6) };
                    FIRST + at
                })
                .collect()
        })
        .collect()
}

fn slices(of: &[Vec<u32>]) -> Vec<&[u32]> {
    of.iter().map(Vec::as_slice).collect()
}

const SYMBOLS: u32 = FIRST + 6;

fn fit(of: &[Vec<u32>], weights: &[f64], order: usize) -> Ngrams {
    Ngrams::fit(&slices(of), weights, SYMBOLS, order, 1_000_000)
}

fn surprise(model: &Ngrams, sequence: &[u32]) -> Vec<f64> {
    let mut out = Vec::new();
    model.surprise(sequence, &mut out);
    out
}

/// Witten–Bell as its recursion is written down, from sets and counts of whole n-grams.
struct Plain {
    votes: BTreeMap<Vec<u32>, f64>,
    order: usize,
}

impl Plain {
    fn fit(of: &[Vec<u32>], weights: &[f64], order: usize) -> Self {
        let mut votes: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
        for (sequence, weight) in of.iter().zip(weights) {
            let framed: Vec<u32> = [&[START], sequence.as_slice(), &[END]].concat();
            let mut grams = BTreeSet::new();
            for to in 2..=framed.len() {
                for from in to.saturating_sub(order)..to {
                    grams.insert(framed[from..to].to_vec());
                }
            }
            for gram in grams {
                *votes.entry(gram).or_default() += weight;
            }
        }
        Self { votes, order }
    }

    fn p(&self, context: &[u32], token: u32) -> f64 {
        let shorter = if context.is_empty() { 1.0 / f64::from(SYMBOLS - 1) } else { self.p(&context[1..], token) };
        let (mut total, mut types, mut count) = (0.0, 0.0, 0.0);
        for (gram, votes) in &self.votes {
            if gram.len() == context.len() + 1 && gram.starts_with(context) {
                total += votes;
                types += 1.0;
                count += if gram.last() == Some(&token) { *votes } else { 0.0 };
            }
        }
        if types > 0.0 { (count + types * shorter) / (total + types) } else { shorter }
    }

    fn surprise(&self, sequence: &[u32]) -> Vec<f64> {
        let framed: Vec<u32> = [&[START], sequence, &[END]].concat();
        (1..framed.len()).map(|at| -self.p(&framed[(at + 1).saturating_sub(self.order)..at], framed[at]).ln()).collect()
    }
}

fn assert_near(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-10, "{a:?} {b:?}");
    }
}

#[test]
fn surprise_is_what_the_recursion_of_witten_and_bell_says() {
    let of = walks(30, 1);
    let weights: Vec<f64> = (0..30).map(|i| if i % 7 == 0 { 0.05 } else { 1.0 }).collect();
    for order in [1, 2, 3, 5, 20] {
        let (model, plain) = (fit(&of, &weights, order), Plain::fit(&of, &weights, order));
        for sequence in walks(20, 2).iter().chain([&vec![], &vec![UNKNOWN, FIRST, UNKNOWN]]) {
            assert_near(&surprise(&model, sequence), &plain.surprise(sequence));
        }
    }
}

#[test]
fn probabilities_of_all_that_can_follow_sum_to_one() {
    let model = fit(&walks(30, 3), &[1.0; 30], 4);
    for before in [&[][..], &[FIRST], &[FIRST, FIRST + 1, FIRST + 2], &[UNKNOWN, FIRST + 3]] {
        let p = |next: u32| (-surprise(&model, &[before, &[next]].concat())[before.len()]).exp();
        let ends = (-surprise(&model, before)[before.len()]).exp();
        let sum = ends + (UNKNOWN..SYMBOLS).map(p).sum::<f64>();
        assert!((sum - 1.0).abs() < 1e-12, "{before:?}: {sum}");
    }
}

#[test]
fn a_training_sequence_is_scored_as_if_it_had_not_been_learned() {
    let of = walks(25, 4);
    let weights: Vec<f64> = (0..25).map(|i| if i % 5 == 0 { 0.05 } else { 1.0 }).collect();
    for order in [1, 2, 3, 12] {
        let model = fit(&of, &weights, order);
        for left in 0..of.len() {
            let (mut rest, mut others) = (of.clone(), weights.clone());
            let sequence = rest.remove(left);
            let weight = others.remove(left);
            let mut out = Vec::new();
            model.surprise_left_out(&sequence, weight, &mut out);
            assert_near(&out, &surprise(&fit(&rest, &others, order), &sequence));
        }
    }
}

#[test]
fn the_same_calls_in_another_order_are_more_surprising() {
    let model = fit(&walks(200, 5), &[1.0; 200], 6);
    let mean = |s: &[u32]| surprise(&model, s).iter().sum::<f64>() / (s.len() + 1) as f64;
    let usual: Vec<u32> = (0..6).map(|i| FIRST + i).collect();
    let other: Vec<u32> = [0, 3, 1, 5, 2, 4].into_iter().map(|i| FIRST + i).collect();
    assert!(mean(&other) > mean(&usual) + 1.0, "{} {}", mean(&other), mean(&usual));
}

#[test]
fn the_likeliest_continuation_is_the_one_with_the_least_surprise() {
    let model = fit(&walks(100, 6), &[1.0; 100], 3);
    for before in [&[][..], &[FIRST], &[FIRST + 4, FIRST + 5], &[UNKNOWN], &[FIRST, UNKNOWN]] {
        let (token, p) = model.likeliest(before).unwrap();
        let of = |next: u32| match next {
            END => surprise(&model, before)[before.len()],
            _ => surprise(&model, &[before, &[next]].concat())[before.len()],
        };
        let least = (END..SYMBOLS).map(of).fold(f64::INFINITY, f64::min);
        assert!((of(token) - least).abs() < 1e-12 && (p.ln() + least).abs() < 1e-12, "{before:?}");
    }
    let nothing = Ngrams::fit(&[], &[], SYMBOLS, 3, 1_000);
    assert!(nothing.is_empty() && nothing.likeliest(&[FIRST]).is_none());
    assert_near(&surprise(&nothing, &[]), &[f64::from(SYMBOLS - 1).ln()]);
}

#[test]
fn a_model_with_too_many_ngrams_has_a_lower_order() {
    let of = walks(50, 7);
    let whole = fit(&of, &[1.0; 50], 8);
    let small = Ngrams::fit(&slices(&of), &[1.0; 50], SYMBOLS, 8, 60);
    assert!(small.len() < 60 && small.order() < whole.order());
    assert_eq!(small, fit(&of, &[1.0; 50], small.order()), "shorter n-grams are all there");
}

#[test]
fn ngrams_round_trip_and_nonsense_is_refused() {
    let model = fit(&walks(30, 8), &[1.0; 30], 4);
    let arrays = model.to_arrays("x");
    let (about, nodes) = (&arrays[0].2, &arrays[1].2);
    let read = Ngrams::from_arrays(about, nodes).unwrap();
    assert_eq!(read, model);
    assert_near(&surprise(&read, &[FIRST, FIRST + 1]), &surprise(&model, &[FIRST, FIRST + 1]));
    let n = nodes.len() / 3;
    // Parent, token and votes of the last n-gram; an order below its own; parents that form no trie.
    for (at, value) in
        [(n - 1, n as f64), (n - 1, -1.0), (2 * n - 1, 1e6), (3 * n - 1, 0.0), (3 * n - 1, f64::NAN), (0, 0.5)]
    {
        let mut bad = nodes.clone();
        bad[at] = value;
        assert!(Ngrams::from_arrays(about, &bad).is_none(), "{at} {value}");
    }
    assert!(Ngrams::from_arrays(&[2.0, about[1]], nodes).is_none());
    assert!(Ngrams::from_arrays(about, &nodes[1..]).is_none());
}

#[test]
fn the_nearest_sets_are_those_that_a_search_of_all_finds() {
    let of = walks(60, 9);
    let keep = vec![true; of.len()];
    let bags = Bags::fit(&slices(&of), &keep, SYMBOLS, 1_000, Seed(1));
    let n = of.len() as f64;
    let idf = |t: u32| 1.0 + ((n + 1.0) / (of.iter().filter(|s| s.contains(&t)).count() as f64 + 1.0)).ln();
    let cosine = |a: &[u32], b: &[u32]| {
        let dot: f64 = a.iter().filter(|t| b.contains(t)).map(|t| idf(*t).powi(2)).sum();
        let norm = |s: &[u32]| s.iter().map(|t| idf(*t).powi(2)).sum::<f64>().sqrt();
        dot / (norm(a) * norm(b))
    };
    let search = |set: &[u32], but: usize| {
        let mut all: Vec<f64> =
            of.iter().enumerate().filter(|(i, _)| *i != but).map(|(_, s)| cosine(set, &set_of(s))).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        1.0 - all[..3].iter().sum::<f64>() / 3.0
    };
    let left_out = bags.distances(&slices(&of), &keep);
    for (i, sequence) in of.iter().enumerate() {
        let set = set_of(sequence);
        assert!((bags.distance(&set, false) - search(&set, usize::MAX)).abs() < 1e-12);
        assert!((left_out[i] - search(&set, i)).abs() < 1e-12);
    }
    assert_eq!(bags.distance(&[UNKNOWN], false), 1.0);
    assert_eq!(bags.distance(&[], false), 1.0, "nothing is near to nothing at all");
}

#[test]
fn sets_round_trip_and_nonsense_is_refused() {
    let of = walks(60, 10);
    let bags = Bags::fit(&slices(&of), &[true; 60], SYMBOLS, 20, Seed(1));
    let arrays = bags.to_arrays("x");
    let [idf, about, tokens] = [0, 1, 2].map(|i| arrays[i].2.clone());
    assert_eq!(about.len(), 2 * 20, "a sample of the sets");
    assert_eq!(Bags::from_arrays(&idf, &about, &tokens).unwrap(), bags);
    let changed = |of: &[f64], at: usize, value: f64| {
        let mut of = of.to_vec();
        of[at] = value;
        of
    };
    assert!(Bags::from_arrays(&idf, &changed(&about, 0, 99.0), &tokens).is_none());
    assert!(Bags::from_arrays(&idf, &changed(&about, 20, 0.0), &tokens).is_none());
    assert!(Bags::from_arrays(&idf, &about, &changed(&tokens, 0, f64::from(SYMBOLS))).is_none());
    assert!(Bags::from_arrays(&changed(&idf, 0, f64::NAN), &about, &tokens).is_none());
}

/// Walks of two people, one of whom goes backwards.
fn two_people() -> (Vec<Vec<u32>>, Vec<&'static str>) {
    let mut of = walks(80, 11);
    of[40..].iter_mut().for_each(|s| s.reverse());
    (of, (0..80).map(|i| if i < 40 { "ann" } else { "bob" }).collect())
}

#[test]
fn an_impostor_is_told_by_the_order_of_what_everybody_does() {
    let (of, names) = two_people();
    let habits = Habits::fit(&slices(&of), names, &[1.0; 80], SYMBOLS, 2);
    let forwards: Vec<u32> = (0..6).map(|i| FIRST + i).collect();
    assert!(habits.stranger("ann", &forwards, 0.0) < -0.3);
    assert!(habits.stranger("bob", &forwards, 0.0) > 0.3);
    assert_eq!(habits.stranger("eve", &forwards, 0.0), 0.0, "nothing is known of her");
}

#[test]
fn a_sequence_is_no_witness_of_its_own_makers_habits() {
    let (mut of, mut names) = two_people();
    let weights: Vec<f64> = (0..80).map(|i| if i % 9 == 0 { 0.05 } else { 1.0 }).collect();
    let whole = Habits::fit(&slices(&of), names.iter().copied(), &weights, SYMBOLS, 2);
    for left in [0, 1, 9, 45, 79] {
        let told = whole.stranger(names[left], &of[left], weights[left]);
        let (sequence, name) = (of.remove(left), names.remove(left));
        let mut others = weights.clone();
        others.remove(left);
        let rest = Habits::fit(&slices(&of), names.iter().copied(), &others, SYMBOLS, 2);
        assert!((told - rest.stranger(name, &sequence, 0.0)).abs() < 1e-10, "{left}");
        of.insert(left, sequence);
        names.insert(left, name);
    }
}

#[test]
fn habits_round_trip_and_nonsense_is_refused() {
    let (of, names) = two_people();
    let habits = Habits::fit(&slices(&of), names, &[1.0; 80], SYMBOLS, 2);
    let records: Vec<(&str, Vec<f64>)> = habits.to_records().collect();
    let of = |records: &[(&str, Vec<f64>)]| {
        Habits::from_records(records.iter().map(|(n, v)| (*n, v.as_slice())), SYMBOLS, 2)
    };
    assert_eq!(of(&records).unwrap(), habits);
    for (at, value) in [(0, 0.5), (1, f64::from(SYMBOLS)), (2, 0.0), (2, f64::INFINITY), (3, 0.0)] {
        let mut bad = records.clone();
        let last = bad[1].1.len() - 6;
        bad[1].1[last + at] = value;
        assert!(of(&bad).is_none(), "{at} {value}");
    }
    assert!(of(&[]).is_none() && of(&[records[0].clone(), records[0].clone()]).is_none());
}
