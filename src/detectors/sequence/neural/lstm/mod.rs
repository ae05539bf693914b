//! An LSTM autoencoder (Srivastava et al. 2015): an encoder reads a sequence and leaves one code, a decoder that sees nothing but the
//! code writes it again. How improbable the sequence's own tokens are to the decoder is its surprise.
//!
//! What is recurrent are operations of our own on whole batches of sequences ([`op`]).

mod cell;
mod network;
mod op;
mod score;

#[cfg(test)]
mod tests;

pub(super) use network::Lstm;

use super::{MOST_SYMBOLS, architecture, ops, room, simd, surprise, train};

/// Tokens that are read and written at a time. Longer sequences are cut into parts of equal length: one code cannot say
/// everything of thousands of tokens.
pub(super) const WINDOW: usize = 64;
