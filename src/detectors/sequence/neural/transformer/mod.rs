//! A causal Transformer (Vaswani et al. 2017): each next token, and the end, is foretold from those before it. How improbable the
//! sequence's own tokens are is its surprise, as with n-grams, but a context of a hundred tokens is looked at as
//! a whole, and tokens that do not matter are passed over.
//!
//! Layers are normalised where they begin (Xiong et al. 2020; root mean square, Zhang & Sennrich 2019). Where a token stands is known
//! by its distance only, a learned bias per head (Raffel et al. 2020) that begins as `ALiBi`'s (Press et al. 2022): windows of a long
//! sequence begin anywhere in it. Symbols go in and come out by the same embedding (Press & Wolf 2017).
//!
//! What is not a sum is an operation of our own ([`op`]) on rows that stand sequence by sequence, without padding.

mod attention;
mod dense;
mod network;
mod norm;
mod op;
mod score;

#[cfg(test)]
mod tests;

pub(super) use network::Transformer;

use super::{MOST_SYMBOLS, architecture, ops, room, simd, surprise, train};

/// Layers.
const LAYERS: usize = 2;

/// Heads of a layer.
const HEADS: usize = 4;

/// Most positions that are looked at together.
const CONTEXT: usize = 128;

/// Positions that count of a window that begins inside a sequence; those before them are there to be looked back at.
const STEP: usize = 64;
