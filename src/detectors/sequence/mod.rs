//! Detectors of sequences: which calls a session is made of, and in which order.
//!
//! A sequence is a list of token numbers ([`vocabulary`]). [`ngram`] says how surprising each next token is, [`bags`] how
//! near the nearest known sequences are when order is left aside, [`habits`] whether somebody else would rather have made it, `neural`
//! how well a network can write a sequence, from a short code or token by token.

pub mod bags;
pub mod corpus;
pub mod habits;
#[cfg(feature = "neural")]
pub mod neural;
pub mod ngram;
pub mod night;
pub mod tail;
pub mod usual;
pub mod vocabulary;

#[cfg(test)]
mod tests;

use crate::config::Sequence;

/// A kind of network. Also a build that has none knows their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Puts a sequence together again from one code.
    Lstm,
    /// Says each next token from those before it.
    Transformer,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Lstm, Self::Transformer];

    /// Those that settings ask for.
    pub fn wanted(settings: &Sequence) -> Vec<Self> {
        let is_wanted = |network: &Self| match network {
            Self::Lstm => settings.lstm_autoencoder,
            Self::Transformer => settings.transformer,
        };
        Self::ALL.into_iter().filter(is_wanted).collect()
    }

    /// Its column, and its calibration in a model file.
    pub fn column(self) -> &'static str {
        match self {
            Self::Lstm => "lstm_autoencoder",
            Self::Transformer => "transformer",
        }
    }

    /// Begins the names of its arrays.
    pub fn arrays(self) -> &'static str {
        match self {
            Self::Lstm => "lstm",
            Self::Transformer => "transformer",
        }
    }

    /// The setting that asks for it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Lstm => "sequence.lstm-autoencoder",
            Self::Transformer => "sequence.transformer",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Lstm => "LSTM autoencoder",
            Self::Transformer => "Transformer",
        }
    }
}

/// How far the training of a network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Which.
    pub network: Network,
    /// Passes over the sequences that are done.
    pub epoch: usize,
    /// Most passes.
    pub epochs: usize,
    /// Mean surprise of the held-out tokens, nats.
    pub loss: f64,
}

/// How much a sequence that is odd beside the others is worth as an example of what is normal. Not 0: rare normal work is
/// among the oddest too, and that it has been seen at all is worth knowing. Not 1: in contaminated training the highest
/// orders would learn the attack by heart.
pub const ODD_WEIGHT: f64 = 0.05;

/// What each sequence is worth as an example, by its mean surprise: of a share, the oddest, [`ODD_WEIGHT`].
pub fn votes(oddness: &[f64], odd_share: f64) -> Vec<f64> {
    let mut sorted = oddness.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted[((sorted.len() - 1) as f64 * (1.0 - odd_share)) as usize];
    oddness.iter().map(|x| if *x > cut { ODD_WEIGHT } else { 1.0 }).collect()
}
