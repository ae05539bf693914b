//! A dense layer on rows, forward and backward.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::simd::{self, LANES, Panels, add_outer, get, set};

/// Rows that add up one part of a gradient.
pub(super) const SHARD: usize = 512;

/// Rows whose gradient is in the cache at a time.
const ROWS: usize = 32;

/// y = W x + b; with `rectified`, what would be below 0 is 0.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    weights: Panels,
    bias: Vec<f32>,
    rectified: bool,
}

impl Dense {
    /// From a row of weights, and a bias, per number that comes out: a multiple of [`LANES`].
    pub(super) fn new(weights: &[f32], bias: &[f32], rectified: bool) -> Self {
        let depth = weights.len() / bias.len();
        let panels = Panels::pack(depth, bias.len(), |k, c| weights[c * depth + k]);
        Self { weights: panels, bias: bias.to_vec(), rectified }
    }

    /// Numbers that come out of a row.
    pub(super) fn width(&self) -> usize {
        self.bias.len()
    }

    #[inline(always)]
    pub(super) fn forward<S: Simd>(&self, simd: S, x: &[f32], rows: usize, out: &mut [f32]) {
        self.weights.product(simd, x, rows, out);
        let zero = simd.splat_f32s(0.0);
        for row in out[..rows * self.width()].chunks_exact_mut(self.width()) {
            for k in (0..row.len()).step_by(LANES) {
                let mut y = simd.add_f32s(get(simd, row, k), get(simd, &self.bias, k));
                if self.rectified {
                    y = simd.max_f32s(y, zero);
                }
                set(simd, row, k, y);
            }
        }
    }
}

struct Forward<'a> {
    layer: &'a Dense,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.layer.forward(simd, self.x, self.out.len() / self.layer.width(), self.out);
    }
}

/// All rows through a layer.
pub(super) fn forward(layer: &Dense, x: &[f32]) -> Vec<f32> {
    let (depth, width) = (layer.weights.depth(), layer.width());
    let mut out = vec![0.0; x.len() / depth * width];
    x.par_chunks(SHARD * depth).zip(out.par_chunks_mut(SHARD * width)).for_each(|(x, out)| {
        simd::run(Forward { layer, x, out });
    });
    out
}

/// Gradients with respect to the rows, the weights and the bias.
pub(super) struct Gradients {
    pub(super) x: Vec<f32>,
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

struct Backward<'a> {
    /// For the product backward.
    weights: &'a Panels,
    x: &'a [f32],
    /// What came out, of a layer that is rectified.
    y: Option<&'a [f32]>,
    upstream: &'a [f32],
    depth: usize,
    width: usize,
    of_x: &'a mut [f32],
    of_weights: &'a mut [f32],
    of_bias: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (depth, width) = (self.depth, self.width);
        let all = self.x.len() / depth;
        let mut cut = vec![0.0; if self.y.is_some() { ROWS * width } else { 0 }];
        for from in (0..all).step_by(ROWS) {
            let rows = ROWS.min(all - from);
            let mut upstream = &self.upstream[from * width..(from + rows) * width];
            if let Some(y) = self.y {
                let cut = &mut cut[..rows * width];
                for ((cut, g), y) in cut.iter_mut().zip(upstream).zip(&y[from * width..]) {
                    *cut = if *y > 0.0 { *g } else { 0.0 };
                }
                upstream = cut;
            }
            for row in upstream.chunks_exact(width) {
                for k in (0..width).step_by(LANES) {
                    let sum = simd.add_f32s(get(simd, self.of_bias, k), get(simd, row, k));
                    set(simd, self.of_bias, k, sum);
                }
            }
            self.weights.product(simd, upstream, rows, &mut self.of_x[from * depth..(from + rows) * depth]);
            add_outer(simd, upstream, width, &self.x[from * depth..(from + rows) * depth], depth, self.of_weights);
        }
    }
}

/// The backward pass. `y` is what came out of a layer that is rectified.
pub(super) fn backward(weights: &[f32], width: usize, x: &[f32], y: Option<&[f32]>, upstream: &[f32]) -> Gradients {
    let depth = weights.len() / width;
    let panels = Panels::pack(width, depth, |k, c| weights[k * depth + c]);
    let mut of_x = vec![0.0; x.len()];
    let shards: Vec<_> = x
        .chunks(SHARD * depth)
        .zip(upstream.chunks(SHARD * width))
        .zip(of_x.chunks_mut(SHARD * depth))
        .enumerate()
        .collect();
    let partial: Vec<(Vec<f32>, Vec<f32>)> = shards
        .into_par_iter()
        .map(|(k, ((x, upstream), of_x))| {
            let (mut of_weights, mut of_bias) = (vec![0.0; width * depth], vec![0.0; width]);
            simd::run(Backward {
                weights: &panels,
                x,
                y: y.map(|y| &y[k * SHARD * width..][..upstream.len()]),
                upstream,
                depth,
                width,
                of_x,
                of_weights: &mut of_weights,
                of_bias: &mut of_bias,
            });
            (of_weights, of_bias)
        })
        .collect();
    let mut sums = Gradients { x: of_x, weights: vec![0.0; width * depth], bias: vec![0.0; width] };
    for (of_weights, of_bias) in partial {
        sums.weights.iter_mut().zip(of_weights).for_each(|(s, p)| *s += p);
        sums.bias.iter_mut().zip(of_bias).for_each(|(s, p)| *s += p);
    }
    sums
}
