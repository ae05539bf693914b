//! The network: weights as plain arrays, and as candle trains them.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, Var};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::cell::Shape;
use super::ops::{Lstm, Surprise};
use super::room::Room;

/// Names of the arrays, in order.
pub(super) const NAMES: [&str; 9] = [
    "embedding",
    "encoder/input",
    "encoder/recurrent",
    "encoder/bias",
    "decoder/input",
    "decoder/recurrent",
    "decoder/bias",
    "output/weights",
    "output/bias",
];

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Symbols.
    pub(super) symbols: usize,
    /// Numbers that a symbol is turned into.
    pub(super) embedding: usize,
    /// Units of either layer.
    pub(super) hidden: usize,
}

impl Sizes {
    /// Most numbers per token and most units: a file that says more is a forgery.
    pub(super) const WIDEST: usize = 1_024;

    /// Largest weight.
    pub(super) const LARGEST: f32 = 1e6;

    /// Shape of each array.
    pub(super) fn shapes(self) -> [Vec<usize>; 9] {
        let Sizes { symbols, embedding, hidden } = self;
        [
            vec![symbols, embedding],
            vec![4 * hidden, embedding],
            vec![4 * hidden, hidden],
            vec![4 * hidden],
            vec![4 * hidden, hidden],
            vec![4 * hidden, hidden],
            vec![4 * hidden],
            vec![symbols, hidden],
            vec![symbols],
        ]
    }
}

/// All weights. Rows of gates are in the order input, forget, cell, output, as in `PyTorch`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub(super) sizes: Sizes,
    pub(super) arrays: [Vec<f32>; 9],
}

impl Weights {
    /// Random weights as `PyTorch` draws them: normal embeddings, the rest uniform within 1 / √hidden.
    pub(super) fn random(sizes: Sizes, rng: &mut impl RngExt) -> Self {
        let bound = 1.0 / (sizes.hidden as f32).sqrt();
        let shapes = sizes.shapes();
        let arrays = std::array::from_fn(|k| {
            let n = shapes[k].iter().product();
            let mut draw = || match k {
                0 => StandardNormal.sample(rng),
                _ => (rng.random::<f32>() * 2.0 - 1.0) * bound,
            };
            (0..n).map(|_| draw()).collect()
        });
        Self { sizes, arrays }
    }

    /// Whether every number may be kept.
    pub(super) fn are_sound(&self) -> bool {
        self.arrays.iter().flatten().all(|x| x.abs() <= Sizes::LARGEST)
    }
}

/// The weights while candle trains them.
pub(super) struct Network {
    pub(super) vars: [Var; 9],
    room: Arc<Room>,
}

/// Sequences to learn from at once.
pub(super) struct Batch {
    shape: Arc<Shape>,
    tokens: Arc<Vec<u32>>,
    sequences: Arc<Vec<u32>>,
}

impl Batch {
    /// Of sequences that are not empty, the longest first.
    pub(super) fn new(sequences: &[&[u32]]) -> Self {
        let shape = Shape::new(&sequences.iter().map(|s| s.len()).collect::<Vec<_>>());
        let (tokens, of) = (shape.by_rows(sequences), shape.sequence_of_rows());
        Self { shape: Arc::new(shape), tokens: Arc::new(tokens), sequences: Arc::new(of) }
    }
}

impl Network {
    pub(super) fn new(weights: &Weights) -> Result<Self> {
        let shapes = weights.sizes.shapes();
        let vars: Vec<Var> = weights
            .arrays
            .iter()
            .zip(shapes)
            .map(|(x, shape)| Var::from_slice(x, shape, &Device::Cpu))
            .collect::<Result<_>>()?;
        Ok(Self { vars: vars.try_into().expect("as many as there are arrays"), room: Arc::default() })
    }

    /// The weights as they are now.
    pub(super) fn weights(&self, sizes: Sizes) -> Result<Weights> {
        let mut arrays: [Vec<f32>; 9] = Default::default();
        for (array, var) in arrays.iter_mut().zip(&self.vars) {
            *array = var.flatten_all()?.to_vec1()?;
        }
        Ok(Weights { sizes, arrays })
    }

    /// Surprise of every token.
    pub(super) fn surprise(&self, batch: &Batch) -> Result<Tensor> {
        let [embedding, input, recurrent, bias, from_code, decoder, decoder_bias, output, output_bias] =
            self.vars.each_ref().map(Var::as_tensor);
        // What a symbol adds to the gates is computed once a symbol, what the code adds to the decoder's once a sequence.
        let table = embedding.matmul(&input.t()?)?.broadcast_add(bias)?;
        let code = table.apply_op2(recurrent, Lstm::new(&batch.shape, &batch.tokens, false, &self.room))?;
        let code = code.matmul(&from_code.t()?)?.broadcast_add(decoder_bias)?;
        let hidden = code.apply_op2(decoder, Lstm::new(&batch.shape, &batch.sequences, true, &self.room))?;
        hidden.apply_op3(output, output_bias, Surprise::new(&batch.tokens, &self.room))
    }
}
