//! The network: its arrays, as candle trains it, and how it scores.

use std::sync::Arc;

use candle_core::{Result as Candle, Tensor, Var};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::WINDOW;
use super::architecture::{Architecture, WIDEST, Window};
use super::cell::Shape;
use super::op::Layer;
use super::ops::Surprise;
use super::room::Room;
use super::score::Scorer;
use super::simd::LANES;
use super::train::Options;
use crate::detectors::sequence::Network;

/// Names of the arrays, in order.
const NAMES: [&str; 9] = [
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

/// An LSTM autoencoder of some sizes. Rows of gates are in the order input, forget, cell, output, as in `PyTorch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Lstm {
    /// Symbols.
    pub(in super::super) symbols: usize,
    /// Numbers that a symbol is turned into.
    pub(in super::super) embedding: usize,
    /// Units of either layer.
    pub(in super::super) hidden: usize,
}

impl Architecture for Lstm {
    const NETWORK: Network = Network::Lstm;

    type Scorer = Scorer;

    fn new(symbols: usize, options: Options) -> Self {
        let hidden = options.width.clamp(LANES, WIDEST).next_multiple_of(LANES);
        Self { symbols, embedding: hidden / 2, hidden }
    }

    fn symbols(&self) -> usize {
        self.symbols
    }

    fn arrays(&self) -> Vec<(String, Vec<usize>)> {
        let Self { symbols, embedding, hidden } = *self;
        let shapes = [
            vec![symbols, embedding],
            vec![4 * hidden, embedding],
            vec![4 * hidden, hidden],
            vec![4 * hidden],
            vec![4 * hidden, hidden],
            vec![4 * hidden, hidden],
            vec![4 * hidden],
            vec![symbols, hidden],
            vec![symbols],
        ];
        NAMES.into_iter().map(str::to_owned).zip(shapes).collect()
    }

    fn found<'a>(shape: &dyn Fn(&str) -> Option<&'a [usize]>) -> Result<Self, &'static str> {
        let Some(&[symbols, embedding]) = shape(NAMES[0]) else { return Err(NAMES[0]) };
        let Some(&[_, hidden]) = shape(NAMES[2]) else { return Err(NAMES[2]) };
        let sound = symbols <= super::MOST_SYMBOLS as usize
            && (1..=WIDEST).contains(&embedding)
            && (1..=WIDEST).contains(&hidden)
            && hidden.is_multiple_of(LANES);
        if sound { Ok(Self { symbols, embedding, hidden }) } else { Err(NAMES[0]) }
    }

    /// As `PyTorch` draws them: normal embeddings, the rest uniform within 1 / √hidden.
    fn random(self, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let bound = 1.0 / (self.hidden as f32).sqrt();
        let mut array = |(name, shape): (String, Vec<usize>)| {
            let mut draw = || match name.as_str() {
                "embedding" => StandardNormal.sample(rng),
                _ => (rng.random::<f32>() * 2.0 - 1.0) * bound,
            };
            (0..shape.iter().product()).map(|_| draw()).collect()
        };
        self.arrays().into_iter().map(&mut array).collect()
    }

    /// Parts of at most [`WINDOW`] tokens, as equal in length as can be.
    fn windows(sequence: &[u32]) -> Vec<Window> {
        let (n, parts) = (sequence.len(), sequence.len().div_ceil(WINDOW));
        let part = |k: usize| {
            let symbols = sequence[k * n / parts..(k + 1) * n / parts].to_vec();
            Window { counted: symbols.len(), symbols }
        };
        (0..parts).map(part).collect()
    }

    /// Rows stand shard by shard, and in these step by step.
    fn surprise(self, vars: &[Var], windows: &[&[u32]], room: &Arc<Room>) -> Candle<Tensor> {
        let shape = Shape::new(&windows.iter().map(|s| s.len()).collect::<Vec<_>>());
        let (tokens, sequences) = (Arc::new(shape.by_rows(windows)), Arc::new(shape.sequence_of_rows()));
        let shape = Arc::new(shape);
        let [embedding, input, recurrent, bias, from_code, decoder, decoder_bias, output, output_bias] =
            std::array::from_fn(|k| vars[k].as_tensor());
        // What a symbol adds to the gates is computed once a symbol, what the code adds to the decoder's once a sequence.
        let table = embedding.matmul(&input.t()?)?.broadcast_add(bias)?;
        let code = table.apply_op2(recurrent, Layer::new(&shape, &tokens, false, room))?;
        let code = code.matmul(&from_code.t()?)?.broadcast_add(decoder_bias)?;
        let hidden = code.apply_op2(decoder, Layer::new(&shape, &sequences, true, room))?;
        hidden.apply_op3(output, output_bias, Surprise::new(&tokens, room))
    }

    fn scorer(self, arrays: &[Vec<f32>]) -> Scorer {
        Scorer::new(self, arrays)
    }

    fn sums(scorer: &Scorer, windows: &[Window]) -> Vec<f64> {
        scorer.sums(&windows.iter().map(|w| w.symbols.as_slice()).collect::<Vec<_>>())
    }
}
