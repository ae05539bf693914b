//! −ln p of the symbol that stands at each position: linear layer, softmax and logarithm in one, forward and backward.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::room::Room;
use super::simd::{self, LANES, Panels, get, set};

/// Rows whose logits are computed together.
const ROWS: usize = 32;

/// Rows that add up one part of a gradient.
const SHARD: usize = 1024;

/// A linear layer from hidden states to logits.
#[derive(Debug, Clone)]
pub(super) struct Output {
    weights: Panels,
    /// As wide as a product; −∞ for what is no symbol.
    bias: Vec<f32>,
    hidden: usize,
}

impl Output {
    /// From `symbols × hidden` weights and a bias per symbol.
    pub(super) fn new(weights: &[f32], bias: &[f32]) -> Self {
        let hidden = weights.len() / bias.len();
        let panels = Panels::pack(hidden, bias.len(), |k, c| weights[c * hidden + k]);
        let mut padded = bias.to_vec();
        // A logit so low adds nothing to the sum, and its exponential is still a number.
        padded.resize(panels.width(), NEVER);
        Self { weights: panels, bias: padded, hidden }
    }

    /// Numbers in a row of logits.
    pub(super) fn width(&self) -> usize {
        self.bias.len()
    }

    /// Surprise of each row at its target. `logits` is room for the rows; the probabilities are left there.
    #[inline(always)]
    pub(super) fn surprise<S: Simd>(
        &self,
        simd: S,
        hidden: &[f32],
        targets: &[u32],
        logits: &mut [f32],
        out: &mut [f32],
    ) {
        let width = self.width();
        let rows = targets.len();
        let mut from = 0;
        while from < rows {
            let to = (from + ROWS).min(rows);
            let logits = &mut logits[from * width..to * width];
            self.weights.product(simd, &hidden[from * self.hidden..to * self.hidden], to - from, logits);
            for r in from..to {
                let row = &mut logits[(r - from) * width..(r - from + 1) * width];
                out[r] = softmax(simd, row, &self.bias, targets[r] as usize);
            }
            from = to;
        }
    }
}

/// Logit of what is no symbol, and the least that any other counts as: what lies below the highest by more has no weight.
pub(super) const NEVER: f32 = -1e30;
pub(super) const DEEPEST: f32 = -80.0;

/// Logits become probabilities; −ln of the target's is the result.
#[inline(always)]
fn softmax<S: Simd>(simd: S, logits: &mut [f32], bias: &[f32], target: usize) -> f32 {
    let own = logits[target] + bias[target];
    let (logits, bias) = (S::as_mut_simd_f32s(logits).0, S::as_simd_f32s(bias).0);
    let mut highest = simd.splat_f32s(NEVER);
    let bias = &bias[..logits.len()];
    for k in 0..logits.len() {
        logits[k] = simd.add_f32s(logits[k], bias[k]);
        highest = simd.max_f32s(highest, logits[k]);
    }
    let top = simd.reduce_max_f32s(highest);
    let (shift, deepest) = (simd.splat_f32s(top), simd.splat_f32s(DEEPEST));
    let mut sum = simd.splat_f32s(0.0);
    for k in 0..logits.len() {
        logits[k] = simd::exp(simd, simd.max_f32s(simd.sub_f32s(logits[k], shift), deepest));
        sum = simd.add_f32s(sum, logits[k]);
    }
    let sum = simd.reduce_sum_f32s(sum);
    let scale = simd.splat_f32s(1.0 / sum);
    for k in 0..logits.len() {
        logits[k] = simd.mul_f32s(logits[k], scale);
    }
    sum.ln() + top - own
}

struct Forward<'a> {
    output: &'a Output,
    hidden: &'a [f32],
    targets: &'a [u32],
    logits: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.output.surprise(simd, self.hidden, self.targets, self.logits, self.out);
    }
}

/// Surprise per row, and the probabilities, rows of [`Output::width`].
pub(super) fn forward(output: &Output, hidden: &[f32], targets: &[u32], room: &Room) -> (Vec<f32>, Vec<f32>) {
    let (h, width) = (output.hidden, output.width());
    let mut out = vec![0.0; targets.len()];
    let mut logits = room.take(targets.len() * width);
    let parts = hidden.par_chunks(SHARD * h).zip(targets.par_chunks(SHARD));
    let to = logits.par_chunks_mut(SHARD * width).zip(out.par_chunks_mut(SHARD));
    parts.zip(to).for_each(|((hidden, targets), (logits, out))| {
        simd::run(Forward { output, hidden, targets, logits, out });
    });
    (out, logits)
}

/// Gradients with respect to the hidden states, the weights and the bias.
pub(super) struct Gradients {
    pub(super) hidden: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

struct Backward<'a> {
    /// symbols × hidden, for the product backward.
    weights: &'a Panels,
    hidden: &'a [f32],
    h: usize,
    targets: &'a [u32],
    upstream: &'a [f32],
    /// Probabilities; used up.
    logits: &'a mut [f32],
    width: usize,
    out: &'a mut [f32],
    of_weights: &'a mut [f32],
    of_bias: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (h, width) = (self.h, self.width);
        let rows = self.targets.len();
        let mut from = 0;
        while from < rows {
            let to = (from + ROWS).min(rows);
            let logits = &mut self.logits[from * width..to * width];
            for r in from..to {
                let row = &mut logits[(r - from) * width..(r - from + 1) * width];
                row[self.targets[r] as usize] -= 1.0;
                let scale = simd.splat_f32s(self.upstream[r]);
                for k in (0..width).step_by(LANES) {
                    let x = simd.mul_f32s(get(simd, row, k), scale);
                    set(simd, row, k, x);
                    let sum = simd.add_f32s(get(simd, self.of_bias, k), x);
                    set(simd, self.of_bias, k, sum);
                }
            }
            self.weights.product(simd, logits, to - from, &mut self.out[from * h..to * h]);
            simd::add_outer(simd, logits, width, &self.hidden[from * h..to * h], h, self.of_weights);
            from = to;
        }
    }
}

/// The backward pass. `upstream` is the gradient of each row's surprise; uses up the probabilities.
pub(super) fn backward(
    weights: &[f32],
    symbols: usize,
    hidden: &[f32],
    targets: &[u32],
    upstream: &[f32],
    logits: &mut [f32],
) -> Gradients {
    let h = weights.len() / symbols;
    let width = logits.len() / targets.len();
    let panels = Panels::pack(width, h, |k, c| if k < symbols { weights[k * h + c] } else { 0.0 });
    let mut out = vec![0.0; hidden.len()];
    let parts = hidden.par_chunks(SHARD * h).zip(targets.par_chunks(SHARD)).zip(upstream.par_chunks(SHARD));
    let to = logits.par_chunks_mut(SHARD * width).zip(out.par_chunks_mut(SHARD * h));
    let partial: Vec<(Vec<f32>, Vec<f32>)> = parts
        .zip(to)
        .map(|(((hidden, targets), upstream), (logits, out))| {
            let (mut of_weights, mut of_bias) = (vec![0.0; width * h], vec![0.0; width]);
            simd::run(Backward {
                weights: &panels,
                hidden,
                h,
                targets,
                upstream,
                logits,
                width,
                out,
                of_weights: &mut of_weights,
                of_bias: &mut of_bias,
            });
            (of_weights, of_bias)
        })
        .collect();
    let mut sums = Gradients { hidden: out, weights: vec![0.0; symbols * h], bias: vec![0.0; symbols] };
    for (of_weights, of_bias) in partial {
        sums.weights.iter_mut().zip(of_weights).for_each(|(s, p)| *s += p);
        sums.bias.iter_mut().zip(of_bias).for_each(|(s, p)| *s += p);
    }
    sums
}
