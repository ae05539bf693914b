//! An LSTM autoencoder (Srivastava et al. 2015): an encoder reads a sequence and leaves one code, a decoder that sees nothing but the
//! code writes it again. How improbable the sequence's own tokens are to the decoder is its surprise.
//!
//! Candle trains the network. What is recurrent in it are operations of our own ([`ops`]) on whole batches of sequences, for
//! a tensor per gate and step costs more than the arithmetic on it. Scoring needs no gradients and has a path of its own
//! ([`score`]), which gives the same numbers.
//!
//! Equal seeds give equal bits on any number of threads: everything random is drawn from [`Seed`], sums are taken over
//! a fixed number of sequences at a time, and these are added up in their order.

#![expect(
    clippy::inline_always,
    reason = "what runs on vectors must be compiled together with the caller that has them"
)]

mod cell;
mod network;
mod ops;
mod room;
mod score;
mod simd;
mod surprise;
mod train;

#[cfg(test)]
mod tests;

use network::{NAMES, Sizes, Weights};
use score::Scorer;
pub use train::Options;

use super::Progress;
use super::vocabulary::UNKNOWN;
use crate::detectors::geometry::members::{Arrays, NamedArray};
use crate::seed::Seed;

/// Most symbols that the network tells apart. The vocabulary is ordered by how many sequences hold a token; what is rarer than
/// all of these is unknown to the network, and n-grams and sets of tokens see it.
pub const MOST_SYMBOLS: u32 = 2_048;

/// Tokens that are read and written at a time. Longer sequences are cut into parts of equal length: one code cannot say
/// everything of thousands of tokens.
const WINDOW: usize = 64;

/// A trained autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmAutoencoder {
    weights: Weights,
}

impl LstmAutoencoder {
    /// Trains. `None` if there are no tokens to learn from, or the numbers went out of range.
    pub fn fit(
        sequences: &[&[u32]],
        symbols: u32,
        options: Options,
        seed: Seed,
        progress: &dyn Fn(Progress),
    ) -> Option<Self> {
        train::fit(sequences, symbols, options, seed, progress).ok().flatten().map(|weights| Self { weights })
    }

    /// Mean surprise of each sequence's tokens, in nats; 0 of none.
    pub fn score(&self, sequences: &[&[u32]]) -> Vec<f64> {
        mean_surprise(&Scorer::new(&self.weights), sequences, self.weights.sizes.symbols)
    }

    /// What a model file keeps: an array for each of the network's.
    pub fn to_arrays(&self, prefix: &str) -> Vec<NamedArray> {
        let one = |((name, shape), values): ((&str, Vec<usize>), &Vec<f32>)| {
            (format!("{prefix}/lstm/{name}"), shape, values.iter().map(|x| f64::from(*x)).collect())
        };
        NAMES.into_iter().zip(self.weights.sizes.shapes()).zip(&self.weights.arrays).map(one).collect()
    }

    /// The inverse of [`Self::to_arrays`], of a vocabulary of so many symbols. `Err` names the array that is missing or
    /// makes no sense.
    pub fn from_arrays(prefix: &str, arrays: &Arrays<'_>, symbols: u32) -> Result<Self, String> {
        let name = |k: usize| format!("{prefix}/lstm/{}", NAMES[k]);
        let read = |k: usize| arrays.get(name(k).as_str()).ok_or_else(|| name(k));
        // The sizes follow from two arrays, and all must agree with them.
        let (&[found, embedding], &[_, hidden]) = (read(0)?.0, read(2)?.0) else { return Err(name(0)) };
        let sizes = Sizes { symbols: found, embedding, hidden };
        let sound = (1..=Sizes::WIDEST).contains(&embedding)
            && (1..=Sizes::WIDEST).contains(&hidden)
            && hidden.is_multiple_of(simd::LANES)
            && found == symbols.min(MOST_SYMBOLS) as usize;
        if !sound {
            return Err(name(0));
        }
        let mut weights = Weights { sizes, arrays: Default::default() };
        for (k, shape) in sizes.shapes().into_iter().enumerate() {
            let (at, values) = read(k)?;
            let floats: Vec<f32> = values.iter().map(|x| *x as f32).collect();
            // Far larger weights could overflow on the way to a score.
            let whole = floats.iter().zip(*values).all(|(x, y)| x.abs() <= Sizes::LARGEST && f64::from(*x) == *y);
            if *at != shape.as_slice() || values.len() != shape.iter().product::<usize>() || !whole {
                return Err(name(k));
            }
            weights.arrays[k] = floats;
        }
        Ok(Self { weights })
    }
}

/// Tokens as the network knows them.
fn known(sequence: &[u32], symbols: usize) -> Vec<u32> {
    sequence.iter().map(|t| if (*t as usize) < symbols { *t } else { UNKNOWN }).collect()
}

/// Parts of at most [`WINDOW`] tokens, none empty, as equal in length as can be.
fn windows(sequence: &[u32]) -> impl Iterator<Item = &[u32]> {
    let parts = sequence.len().div_ceil(WINDOW);
    (0..parts).map(move |k| &sequence[k * sequence.len() / parts..(k + 1) * sequence.len() / parts])
}

/// Mean surprise per token. Windows are scored side by side with others of their length.
fn mean_surprise(scorer: &Scorer, sequences: &[&[u32]], symbols: usize) -> Vec<f64> {
    let sequences: Vec<Vec<u32>> = sequences.iter().map(|s| known(s, symbols)).collect();
    let mut parts: Vec<(&[u32], usize)> =
        sequences.iter().enumerate().flat_map(|(i, s)| windows(s).map(move |w| (w, i))).collect();
    parts.sort_by_key(|(w, _)| std::cmp::Reverse(w.len()));
    let tokens: Vec<&[u32]> = parts.iter().map(|(w, _)| *w).collect();
    let mut out = vec![0.0; sequences.len()];
    for ((_, i), sum) in parts.iter().zip(scorer.sums(&tokens)) {
        out[*i] += sum / sequences[*i].len() as f64;
    }
    out
}
