//! Neural detectors of sequences: an LSTM autoencoder ([`lstm`]) and a causal Transformer ([`transformer`]). What both
//! have in common is here, once: windows, training, arrays in a model file, surprise at a symbol, arithmetic on vectors.
//!
//! Candle trains the networks. What costs most in them are operations of our own on whole batches of sequences: a
//! tensor per gate and step, or per head, costs more than the arithmetic on it. Scoring needs no gradients and has a path of
//! its own, which gives the same numbers.
//!
//! Equal seeds give equal bits on any number of threads: everything random is drawn from [`Seed`], sums are taken over
//! a fixed number of sequences or rows at a time, and these are added up in their order.

#![expect(
    clippy::inline_always,
    reason = "what runs on vectors must be compiled together with the caller that has them"
)]

mod architecture;
mod lstm;
mod ops;
mod room;
mod simd;
mod surprise;
mod train;
mod transformer;

#[cfg(test)]
mod tests;

use architecture::Weights;
use lstm::Lstm;
pub use train::Options;
use transformer::Transformer;

use super::{Network, Progress};
use crate::detectors::geometry::members::{Arrays, NamedArray};
use crate::seed::Seed;

/// Most symbols that a network tells apart. The vocabulary is ordered by how many sequences hold a token; what is rarer than
/// all of these is unknown to the network, and n-grams and sets of tokens see it.
pub const MOST_SYMBOLS: u32 = 2_048;

/// A trained network.
#[derive(Debug, Clone, PartialEq)]
pub struct Model(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Lstm(Weights<Lstm>),
    Transformer(Weights<Transformer>),
}

impl Model {
    /// Trains. `None` if there are no tokens to learn from, or the numbers went out of range.
    pub fn fit(
        network: Network,
        sequences: &[&[u32]],
        symbols: u32,
        options: Options,
        seed: Seed,
        progress: &dyn Fn(Progress),
    ) -> Option<Self> {
        let kind = match network {
            Network::Lstm => train::fit(sequences, symbols, options, seed, progress).map(|w| w.map(Kind::Lstm)),
            Network::Transformer => {
                train::fit(sequences, symbols, options, seed, progress).map(|w| w.map(Kind::Transformer))
            }
        };
        kind.ok().flatten().map(Self)
    }

    /// Mean surprise of each sequence's tokens, in nats; 0 where there is nothing to be surprised at.
    pub fn score(&self, sequences: &[&[u32]]) -> Vec<f64> {
        match &self.0 {
            Kind::Lstm(weights) => weights.mean_surprise(sequences),
            Kind::Transformer(weights) => weights.mean_surprise(sequences),
        }
    }

    /// What a model file keeps: an array for each of the network's.
    pub fn to_arrays(&self, prefix: &str) -> Vec<NamedArray> {
        match &self.0 {
            Kind::Lstm(weights) => weights.to_arrays(prefix),
            Kind::Transformer(weights) => weights.to_arrays(prefix),
        }
    }

    /// The inverse of [`Self::to_arrays`], of a vocabulary of so many symbols. `Err` names the array that is missing or
    /// makes no sense.
    pub fn from_arrays(network: Network, prefix: &str, arrays: &Arrays<'_>, symbols: u32) -> Result<Self, String> {
        let kind = match network {
            Network::Lstm => Kind::Lstm(Weights::from_arrays(prefix, arrays, symbols)?),
            Network::Transformer => Kind::Transformer(Weights::from_arrays(prefix, arrays, symbols)?),
        };
        Ok(Self(kind))
    }
}
