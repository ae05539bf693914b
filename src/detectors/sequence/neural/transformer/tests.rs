use rand::RngExt;

use super::super::tests::{gradients_are_differences, is_as_pytorch_says, random, slices};
use super::super::{Model, Network, Options};
use super::architecture::{Architecture, Weights};
use super::train::Training;
use super::*;
use crate::detectors::sequence::vocabulary::{END, START};
use crate::seed::Seed;

#[test]
fn surprise_and_gradients_are_those_of_pytorch() {
    // Made by tests/fixtures/transformer/make.py.
    let expected = include_str!("../../../../../tests/fixtures/transformer/expected.json");
    let sizes = Transformer { symbols: 11, width: 32, forward: 24 };
    is_as_pytorch_says(sizes, expected, |n| n - 1, <[Vec<f32>]>::concat, |n| if n > 400 { 13 } else { 1 });
}

#[test]
fn gradients_are_finite_differences() {
    // More than one shard of sequences and of rows, and a vocabulary that fills no vector.
    let of: Vec<Vec<u32>> = random(70, 30, 37, 1).into_iter().map(|s| [&[START][..], &s].concat()).collect();
    gradients_are_differences(Transformer { symbols: 37, width: 64, forward: 40 }, &of, |n| n - 1);
}

#[test]
fn windows_foretell_each_token_and_the_end_once() {
    for length in [0, 1, 126, 127, 128, 129, 190, 192, 193, 1_000] {
        let sequence: Vec<u32> = (0..length).collect();
        let parts = Transformer::windows(&sequence);
        let counted = |w: &architecture::Window| w.symbols[w.symbols.len() - w.counted..].to_vec();
        assert_eq!(parts.iter().flat_map(counted).collect::<Vec<u32>>(), [&sequence[..], &[END]].concat());
        assert_eq!(parts[0].symbols[0], START);
        for later in &parts[1..] {
            assert!(later.symbols.len() == CONTEXT + 1 && (1..=STEP).contains(&later.counted));
        }
    }
}

#[test]
fn what_comes_later_changes_nothing() {
    let sizes = Transformer { symbols: 20, width: 32, forward: 32 };
    let weights = Weights::random(sizes, &mut Seed(3).derive("weights", 0));
    let training = Training::new(&weights).unwrap();
    let of: Vec<u32> = random(1, 1, 20, 1)[0].iter().copied().cycle().take(60).collect();
    let surprise =
        |of: &[u32]| -> Vec<f32> { sizes.surprise(&training.vars, &[of], &training.room).unwrap().to_vec1().unwrap() };
    let mut other = of.clone();
    other[41..].iter_mut().for_each(|t| *t = (*t + 7) % 20);
    let (whole, changed) = (surprise(&of), surprise(&other));
    assert_eq!(whole[..40], changed[..40]);
    assert!(whole[40..].iter().zip(&changed[40..]).all(|(a, b)| a != b));
    assert_eq!(surprise(&of[..=40]), whole[..40]);
}

/// One of two keys, twenty tokens that say nothing, and the door of a key.
fn doors(n: usize, right: bool, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = Seed(seed).derive("doors", 0);
    let one = |_| {
        let key = rng.random_range(0..2);
        let noise: Vec<u32> = (0..20).map(|_| rng.random_range(7..13)).collect();
        [&[3 + key][..], &noise, &[5 + if right { key } else { 1 - key }]].concat()
    };
    (0..n).map(one).collect()
}

#[test]
fn what_was_said_long_before_is_known() {
    let options = Options { width: 32, epochs: 12, ..Options::of(Network::Transformer) };
    let of = doors(1_500, true, 1);
    let model = Model::fit(Network::Transformer, &slices(&of), 13, options, Seed(1), &|_| {}).unwrap();
    let (right, wrong) = (doors(100, true, 2), doors(100, false, 2));
    let (right, wrong) = (model.score(&slices(&right)), model.score(&slices(&wrong)));
    let higher = right.iter().zip(&wrong).filter(|(r, w)| w > r).count();
    assert!(higher >= 98, "{higher} of 100");
}
