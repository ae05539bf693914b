//! Scoring without gradients: blocks of sequences go through encoder, decoder and output while their states stay in the cache.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::cell::{self, Input, SHARD, Shape, State, Trace};
use super::network::Lstm;
use super::simd::{self, Panels};
use super::surprise::Output;

/// A network made ready to score.
#[derive(Debug)]
pub(in super::super) struct Scorer {
    hidden: usize,
    /// What each symbol adds to the encoder's gates, in blocks.
    table: Vec<f32>,
    encoder: Panels,
    /// What the code adds to the decoder's gates.
    code: Panels,
    code_bias: Vec<f32>,
    decoder: Panels,
    output: Output,
}

impl Scorer {
    pub(super) fn new(sizes: Lstm, arrays: &[Vec<f32>]) -> Self {
        let [embedding, input, recurrent, bias, from_code, decoder, decoder_bias, output, output_bias] =
            std::array::from_fn(|k| arrays[k].as_slice());
        let (e, h) = (sizes.embedding, sizes.hidden);
        let panels = Panels::pack(e, 4 * h, |k, n| input[n * e + k]);
        let mut table = vec![0.0; sizes.symbols * 4 * h];
        simd::run(Product { panels: &panels, rows: embedding, bias, out: &mut table });
        Self {
            hidden: h,
            table: cell::to_blocks(&table, h),
            encoder: cell::forward_panels(recurrent, h),
            code: cell::forward_panels(from_code, h),
            code_bias: cell::to_blocks(decoder_bias, h),
            decoder: cell::forward_panels(decoder, h),
            output: Output::new(output, output_bias),
        }
    }

    /// Surprise of all tokens of each sequence, added up. Sequences are not empty, the longest first.
    pub(super) fn sums(&self, sequences: &[&[u32]]) -> Vec<f64> {
        let blocks: Vec<Vec<f64>> =
            sequences.par_chunks(SHARD).map(|sequences| simd::run(Score { scorer: self, sequences })).collect();
        blocks.concat()
    }
}

/// A product and a bias.
struct Product<'a> {
    panels: &'a Panels,
    rows: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.bias.len();
        self.panels.product(simd, self.rows, self.out.len() / width, self.out);
        for row in self.out.chunks_exact_mut(width) {
            row.iter_mut().zip(self.bias).for_each(|(x, b)| *x += b);
        }
    }
}

struct Score<'a> {
    scorer: &'a Scorer,
    sequences: &'a [&'a [u32]],
}

impl WithSimd for Score<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let Scorer { hidden: h, table, encoder, code, code_bias, decoder, output } = self.scorer;
        let h = *h;
        let shape = Shape::new(&self.sequences.iter().map(|s| s.len()).collect::<Vec<_>>());
        let shard = &shape.shards[0];
        let tokens = shape.by_rows(self.sequences);
        let n = self.sequences.len();
        // Hidden state and cell, before and after a step.
        let mut states = [vec![0.0; n * h], vec![0.0; n * h], vec![0.0; n * h], vec![0.0; n * h]];
        let input = Input { hidden: h, table, index: &tokens };
        for t in 0..shard.len() {
            one(simd, t, shard.running(t), Input { index: &tokens[shard.steps[t]..], ..input }, encoder, &mut states);
        }
        let mut codes = vec![0.0; n * 4 * h];
        // The longest sequences' states are the ones written last; the others' stand where they ended.
        let mut last = vec![0.0; n * h];
        for r in 0..n {
            let from = if self.sequences[r].len() % 2 == 1 { 2 } else { 0 };
            last[r * h..(r + 1) * h].copy_from_slice(&states[from][r * h..(r + 1) * h]);
        }
        code.product(simd, &last, n, &mut codes);
        for r in 0..n {
            for k in 0..4 * h {
                codes[r * 4 * h + k] += code_bias[k];
            }
        }
        let index: Vec<u32> = (0..n as u32).collect();
        let input = Input { hidden: h, table: &codes, index: &index };
        let mut logits = vec![0.0; n * output.width()];
        let mut surprise = vec![0.0; n];
        let mut sums = vec![0.0; n];
        for t in 0..shard.len() {
            let running = shard.running(t);
            one(simd, t, running, input, decoder, &mut states);
            let hidden = &states[if t.is_multiple_of(2) { 2 } else { 0 }][..running * h];
            let targets = &tokens[shard.steps[t]..][..running];
            output.surprise(simd, hidden, targets, &mut logits, &mut surprise);
            for r in 0..running {
                sums[r] += f64::from(surprise[r]);
            }
        }
        sums
    }
}

/// Step `t`: an even one reads the first two states and writes the others.
#[inline(always)]
fn one<S: Simd>(simd: S, t: usize, n: usize, input: Input<'_>, recurrent: &Panels, states: &mut [Vec<f32>; 4]) {
    let [h0, c0, h1, c1] = states;
    let (before, after) = if t.is_multiple_of(2) { ((h0, c0), (h1, c1)) } else { ((h1, c1), (h0, c0)) };
    let state = State { hidden: after.0, cell: after.1 };
    let before = if t == 0 { None } else { Some((before.0.as_slice(), before.1.as_slice())) };
    let none = Trace { gates: &mut [], squashed: &mut [] };
    cell::step::<S, false>(simd, n, input, recurrent, before, state, none);
}
