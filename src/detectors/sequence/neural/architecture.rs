//! What a kind of network must be able to do to be trained, scored with and kept, and its weights as plain arrays.

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{Result as Candle, Tensor, Var};
use rand_chacha::ChaCha8Rng;

use super::MOST_SYMBOLS;
use super::room::Room;
use super::train::Options;
use crate::detectors::geometry::members::{Arrays, NamedArray};
use crate::detectors::sequence::Network;
use crate::detectors::sequence::vocabulary::UNKNOWN;

/// Most numbers per token and most units of a network: a file that says more is a forgery.
pub(super) const WIDEST: usize = 1_024;

/// Largest weight.
pub(super) const LARGEST: f32 = 1e6;

/// A part of a sequence that goes through a network at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// What the network is given.
    pub(super) symbols: Vec<u32>,
    /// Positions that count in the sequence's score, the last ones: those before them are only context, and count elsewhere.
    pub(super) counted: usize,
}

/// A kind of network, with its sizes.
pub(super) trait Architecture: Copy + Debug + PartialEq + Sync {
    /// Which it is.
    const NETWORK: Network;

    /// A network made ready to score.
    type Scorer: Sync;

    /// Sizes for a vocabulary.
    fn new(symbols: usize, options: Options) -> Self;

    /// Symbols that are told apart.
    fn symbols(&self) -> usize;

    /// Names and shapes of the arrays, in order.
    fn arrays(&self) -> Vec<(String, Vec<usize>)>;

    /// The sizes that some arrays have, given the shape by name; `Err` names the array that makes no sense.
    fn found<'a>(shape: &dyn Fn(&str) -> Option<&'a [usize]>) -> Result<Self, &'static str>;

    /// Random numbers to begin with, for each array.
    fn random(self, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>>;

    /// Cuts a sequence; none of the windows is empty.
    fn windows(sequence: &[u32]) -> Vec<Window>;

    /// Surprise at all positions of windows, the longest first, as candle trains on it.
    fn surprise(self, vars: &[Var], windows: &[&[u32]], room: &Arc<Room>) -> Candle<Tensor>;

    /// Makes a network ready to score.
    fn scorer(self, arrays: &[Vec<f32>]) -> Self::Scorer;

    /// Surprise of each window where it counts, added up. The longest come first.
    fn sums(scorer: &Self::Scorer, windows: &[Window]) -> Vec<f64>;
}

/// A network's weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights<A> {
    pub(super) sizes: A,
    pub(super) arrays: Vec<Vec<f32>>,
}

impl<A: Architecture> Weights<A> {
    pub(super) fn random(sizes: A, rng: &mut ChaCha8Rng) -> Self {
        Self { sizes, arrays: sizes.random(rng) }
    }

    /// Whether every number may be kept.
    pub(super) fn are_sound(&self) -> bool {
        self.arrays.iter().flatten().all(|x| x.abs() <= LARGEST)
    }

    pub(super) fn scorer(&self) -> A::Scorer {
        self.sizes.scorer(&self.arrays)
    }

    /// Mean surprise of each sequence where it counts. Windows are scored side by side with others of their length.
    pub(super) fn mean_surprise(&self, sequences: &[&[u32]]) -> Vec<f64> {
        let mut counted = vec![0.0; sequences.len()];
        let mut parts: Vec<(Window, usize)> = Vec::new();
        for (i, sequence) in sequences.iter().enumerate() {
            for window in A::windows(&known(sequence, self.sizes.symbols())) {
                counted[i] += window.counted as f64;
                parts.push((window, i));
            }
        }
        parts.sort_by_key(|(w, _)| std::cmp::Reverse(w.symbols.len()));
        let (windows, of): (Vec<Window>, Vec<usize>) = parts.into_iter().unzip();
        let mut out = vec![0.0; sequences.len()];
        for (i, sum) in of.into_iter().zip(A::sums(&self.scorer(), &windows)) {
            out[i] += sum / counted[i];
        }
        out
    }

    pub(super) fn to_arrays(&self, prefix: &str) -> Vec<NamedArray> {
        let one = |((name, shape), values): ((String, Vec<usize>), &Vec<f32>)| {
            let name = format!("{prefix}/{}/{name}", A::NETWORK.arrays());
            (name, shape, values.iter().map(|x| f64::from(*x)).collect())
        };
        self.sizes.arrays().into_iter().zip(&self.arrays).map(one).collect()
    }

    /// The inverse of [`Self::to_arrays`]. `Err` names the array that is missing or makes no sense.
    pub(super) fn from_arrays(prefix: &str, arrays: &Arrays<'_>, symbols: u32) -> Result<Self, String> {
        let full = |name: &str| format!("{prefix}/{}/{name}", A::NETWORK.arrays());
        // The sizes follow from some of the arrays, and all must agree with them.
        let sizes = A::found(&|name| arrays.get(full(name).as_str()).map(|(shape, _)| *shape)).map_err(full)?;
        let mut read = Vec::new();
        for (name, shape) in sizes.arrays() {
            let name = full(&name);
            let Some((at, values)) = arrays.get(name.as_str()) else { return Err(name) };
            let floats: Vec<f32> = values.iter().map(|x| *x as f32).collect();
            // Far larger weights could overflow on the way to a score.
            let whole = floats.iter().zip(*values).all(|(x, y)| x.abs() <= LARGEST && f64::from(*x) == *y);
            if *at != shape.as_slice() || values.len() != shape.iter().product::<usize>() || !whole {
                return Err(name);
            }
            read.push(floats);
        }
        if sizes.symbols() != symbols.min(MOST_SYMBOLS) as usize {
            return Err(full("embedding"));
        }
        Ok(Self { sizes, arrays: read })
    }
}

/// Tokens as a network knows them that tells so many symbols apart.
pub(super) fn known(sequence: &[u32], symbols: usize) -> Vec<u32> {
    sequence.iter().map(|t| if (*t as usize) < symbols { *t } else { UNKNOWN }).collect()
}
