use super::super::tests::{gradients_are_differences, is_as_pytorch_says, random};
use super::architecture::Architecture;
use super::*;

/// Rows of one shard stand step by step.
fn by_step(of: &[Vec<f32>]) -> Vec<f32> {
    (0..7).flat_map(|t| of.iter().filter_map(move |s| s.get(t))).copied().collect()
}

#[test]
fn surprise_and_gradients_are_those_of_pytorch() {
    // Made by tests/fixtures/lstm/make.py.
    let expected = include_str!("../../../../../tests/fixtures/lstm/expected.json");
    is_as_pytorch_says(Lstm { symbols: 11, embedding: 5, hidden: 16 }, expected, |n| n, by_step, |_| 1);
}

#[test]
fn gradients_are_finite_differences() {
    // More than one shard of sequences and of rows, and a vocabulary that fills no vector.
    gradients_are_differences(Lstm { symbols: 37, embedding: 6, hidden: 24 }, &random(70, 30, 37, 1), |n| n);
}

#[test]
fn windows_are_all_of_a_sequence_and_alike_in_length() {
    for length in [0, 1, 63, 64, 65, 128, 129, 1_000] {
        let sequence: Vec<u32> = (0..length).collect();
        let parts = Lstm::windows(&sequence);
        assert_eq!(parts.iter().flat_map(|w| w.symbols.clone()).collect::<Vec<u32>>(), sequence);
        assert!(parts.iter().all(|w| w.counted == w.symbols.len()));
        let lengths = parts.iter().map(|w| w.counted);
        let (least, most) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
        assert!(most <= WINDOW && most - least <= 1);
    }
}
