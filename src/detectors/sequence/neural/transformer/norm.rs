//! Rows divided by their root mean square and scaled by a gain per column (Zhang & Sennrich 2019), forward and backward.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::dense::SHARD;
use super::simd::{self, LANES, get, set};

/// Added to the mean square: a row of zeros stays one.
const LEAST: f32 = 1e-5;

/// One over the root mean square of a row.
#[inline(always)]
fn scale<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut sum = simd.splat_f32s(0.0);
    for k in (0..row.len()).step_by(LANES) {
        let x = get(simd, row, k);
        sum = simd.mul_add_e_f32s(x, x, sum);
    }
    1.0 / (simd.reduce_sum_f32s(sum) / row.len() as f32 + LEAST).sqrt()
}

#[inline(always)]
pub(super) fn rows<S: Simd>(simd: S, x: &[f32], gain: &[f32], out: &mut [f32]) {
    for (row, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
        let scale = simd.splat_f32s(scale(simd, row));
        for k in (0..row.len()).step_by(LANES) {
            let x = simd.mul_f32s(get(simd, row, k), scale);
            set(simd, out, k, simd.mul_f32s(x, get(simd, gain, k)));
        }
    }
}

struct Forward<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        rows(simd, self.x, self.gain, self.out);
    }
}

pub(super) fn forward(x: &[f32], gain: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let shard = SHARD * gain.len();
    x.par_chunks(shard).zip(out.par_chunks_mut(shard)).for_each(|(x, out)| simd::run(Forward { x, gain, out }));
    out
}

struct Backward<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    upstream: &'a [f32],
    of_x: &'a mut [f32],
    of_gain: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let d = self.gain.len();
        let rows = self.x.chunks_exact(d).zip(self.upstream.chunks_exact(d)).zip(self.of_x.chunks_exact_mut(d));
        for ((row, upstream), of_x) in rows {
            let scale = scale(simd, row);
            let by = simd.splat_f32s(scale);
            // How much the row's own length has a part in what came out.
            let mut along = simd.splat_f32s(0.0);
            for k in (0..d).step_by(LANES) {
                let (x, g) = (get(simd, row, k), get(simd, upstream, k));
                let own = simd.mul_f32s(x, by);
                set(simd, self.of_gain, k, simd.mul_add_e_f32s(g, own, get(simd, self.of_gain, k)));
                let g = simd.mul_f32s(g, get(simd, self.gain, k));
                along = simd.mul_add_e_f32s(g, x, along);
                set(simd, of_x, k, g);
            }
            let along = simd.splat_f32s(simd.reduce_sum_f32s(along) * scale * scale / d as f32);
            for k in (0..d).step_by(LANES) {
                let g = simd.negate_mul_add_e_f32s(get(simd, row, k), along, get(simd, of_x, k));
                set(simd, of_x, k, simd.mul_f32s(g, by));
            }
        }
    }
}

/// Gradients with respect to the rows and the gain.
pub(super) fn backward(x: &[f32], gain: &[f32], upstream: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut of_x = vec![0.0; x.len()];
    let shard = SHARD * gain.len();
    let partial: Vec<Vec<f32>> = x
        .par_chunks(shard)
        .zip(upstream.par_chunks(shard))
        .zip(of_x.par_chunks_mut(shard))
        .map(|((x, upstream), of_x)| {
            let mut of_gain = vec![0.0; gain.len()];
            simd::run(Backward { x, gain, upstream, of_x, of_gain: &mut of_gain });
            of_gain
        })
        .collect();
    let mut of_gain = vec![0.0; gain.len()];
    for part in partial {
        of_gain.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    (of_x, of_gain)
}
