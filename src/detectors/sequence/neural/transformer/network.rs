//! The network: its arrays, as candle trains it, and how it scores.

use std::sync::Arc;

use candle_core::{Device, Result as Candle, Tensor, Var};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::architecture::{Architecture, WIDEST, Window};
use super::attention::Rows;
use super::op::{Attention, Dense, Norm};
use super::ops::Surprise;
use super::room::Room;
use super::score::Scorer;
use super::simd::LANES;
use super::train::Options;
use super::{CONTEXT, HEADS, LAYERS, STEP};
use crate::detectors::sequence::Network;
use crate::detectors::sequence::vocabulary::{END, START};

/// Arrays of a layer, in order.
pub(super) const OF_LAYER: [&str; 11] = [
    "attention/norm",
    "attention/input",
    "attention/input-bias",
    "attention/distance",
    "attention/output",
    "attention/output-bias",
    "forward/norm",
    "forward/input",
    "forward/input-bias",
    "forward/output",
    "forward/output-bias",
];

/// A Transformer of some sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Transformer {
    /// Symbols.
    pub(in super::super) symbols: usize,
    /// Numbers of a position between layers.
    pub(in super::super) width: usize,
    /// Units inside the part of a layer that looks at one position.
    pub(in super::super) forward: usize,
}

impl Transformer {
    /// What positions are normalised by before they meet the embedding, and the bias of each symbol.
    pub(super) const LAST: [usize; 2] = [1 + LAYERS * OF_LAYER.len(), 2 + LAYERS * OF_LAYER.len()];

    /// Index of the first array of a layer.
    pub(super) fn layer(l: usize) -> usize {
        1 + l * OF_LAYER.len()
    }
}

impl Architecture for Transformer {
    const NETWORK: Network = Network::Transformer;

    type Scorer = Scorer;

    fn new(symbols: usize, options: Options) -> Self {
        let width = options.width.clamp(HEADS * LANES, WIDEST).next_multiple_of(HEADS * LANES);
        Self { symbols, width, forward: 2 * width }
    }

    fn symbols(&self) -> usize {
        self.symbols
    }

    fn arrays(&self) -> Vec<(String, Vec<usize>)> {
        let Self { symbols, width: d, forward: f } = *self;
        let mut out = vec![("embedding".to_owned(), vec![symbols, d])];
        for l in 0..LAYERS {
            let shapes = [
                vec![d],
                vec![3 * d, d],
                vec![3 * d],
                vec![HEADS, CONTEXT],
                vec![d, d],
                vec![d],
                vec![d],
                vec![f, d],
                vec![f],
                vec![d, f],
                vec![d],
            ];
            out.extend(OF_LAYER.iter().zip(shapes).map(|(name, shape)| (format!("{l}/{name}"), shape)));
        }
        out.push(("output/norm".to_owned(), vec![d]));
        out.push(("output/bias".to_owned(), vec![symbols]));
        out
    }

    fn found<'a>(shape: &dyn Fn(&str) -> Option<&'a [usize]>) -> Result<Self, &'static str> {
        const FORWARD: &str = "0/forward/input";
        let Some(&[symbols, width]) = shape("embedding") else { return Err("embedding") };
        let Some(&[forward, _]) = shape(FORWARD) else { return Err(FORWARD) };
        let sound = symbols <= super::MOST_SYMBOLS as usize
            && (1..=WIDEST).contains(&width)
            && width.is_multiple_of(HEADS * LANES);
        if !sound {
            return Err("embedding");
        }
        let sound = (1..=4 * WIDEST).contains(&forward) && forward.is_multiple_of(LANES);
        if sound { Ok(Self { symbols, width, forward }) } else { Err(FORWARD) }
    }

    /// Normal embeddings of length 1, weights uniform within 1 / √(numbers that go in), nothing added; a head forgets half of
    /// what it sees within 2.8, 11, 44 or 177 positions.
    fn random(self, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let mut array = |(name, shape): (String, Vec<usize>)| -> Vec<f32> {
            let n = shape.iter().product();
            let bound = 1.0 / (shape[shape.len() - 1] as f32).sqrt();
            if name == "embedding" {
                let mut draw = || -> f32 { StandardNormal.sample(rng) };
                (0..n).map(|_| draw() * bound).collect()
            } else if name.ends_with("distance") {
                let slope = |head: usize| 0.25_f32.powi(head as i32 + 1);
                (0..n).map(|i| -slope(i / CONTEXT) * (i % CONTEXT) as f32).collect()
            } else if name.ends_with("norm") {
                vec![1.0; n]
            } else if name.ends_with("bias") {
                vec![0.0; n]
            } else {
                (0..n).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect()
            }
        };
        self.arrays().into_iter().map(&mut array).collect()
    }

    /// The start and all tokens go in, all tokens and the end are foretold: a window has a symbol more than positions. If there
    /// are too many positions, each further window has half of the positions before it to look back at.
    fn windows(sequence: &[u32]) -> Vec<Window> {
        let symbols = [&[START][..], sequence, &[END]].concat();
        let positions = symbols.len() - 1;
        let mut to = positions.min(CONTEXT);
        let mut out = vec![Window { symbols: symbols[..=to].to_vec(), counted: to }];
        while to < positions {
            let from = to;
            to = positions.min(from + STEP);
            out.push(Window { symbols: symbols[to - CONTEXT..=to].to_vec(), counted: to - from });
        }
        out
    }

    /// Rows stand window by window.
    fn surprise(self, vars: &[Var], windows: &[&[u32]], room: &Arc<Room>) -> Candle<Tensor> {
        let rows = Arc::new(Rows::new(windows.iter().map(|w| w.len() - 1)));
        let given: Vec<u32> = windows.iter().flat_map(|w| &w[..w.len() - 1]).copied().collect();
        let foretold: Arc<Vec<u32>> = Arc::new(windows.iter().flat_map(|w| &w[1..]).copied().collect());
        let given = Tensor::from_vec(given, rows.len(), &Device::Cpu)?;
        let mut x = vars[0].index_select(&given, 0)?;
        for l in 0..LAYERS {
            let var = |k: usize| vars[Self::layer(l) + k].as_tensor();
            let seen = x.apply_op2(var(0), Norm)?.apply_op3(var(1), var(2), Dense { rectified: false })?;
            let seen = seen.apply_op2(var(3), Attention { rows: Arc::clone(&rows) })?;
            x = (x + seen.apply_op3(var(4), var(5), Dense { rectified: false })?)?;
            let inner = x.apply_op2(var(6), Norm)?.apply_op3(var(7), var(8), Dense { rectified: true })?;
            x = (x + inner.apply_op3(var(9), var(10), Dense { rectified: false })?)?;
        }
        let [norm, bias] = Self::LAST.map(|k| vars[k].as_tensor());
        x.apply_op2(norm, Norm)?.apply_op3(&vars[0], bias, Surprise::new(&foretold, room))
    }

    fn scorer(self, arrays: &[Vec<f32>]) -> Scorer {
        Scorer::new(self, arrays)
    }

    fn sums(scorer: &Scorer, windows: &[Window]) -> Vec<f64> {
        scorer.sums(windows)
    }
}
