//! Scoring without gradients: a few windows at a time go through all layers while their rows stay in the cache.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::LAYERS;
use super::architecture::Window;
use super::attention::{self, Distances};
use super::dense::Dense;
use super::network::Transformer;
use super::norm;
use super::simd;
use super::surprise::Output;

/// Rows that go through the layers together, but for a window's own.
const ROWS: usize = 256;

/// Rows whose logits are computed together.
const LAST: usize = 32;

/// A network made ready to score.
#[derive(Debug)]
pub(in super::super) struct Scorer {
    sizes: Transformer,
    embedding: Vec<f32>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    output: Output,
}

#[derive(Debug)]
struct Layer {
    norms: [Vec<f32>; 2],
    input: Dense,
    distances: Distances,
    output: Dense,
    inner: Dense,
    outer: Dense,
}

impl Scorer {
    pub(super) fn new(sizes: Transformer, arrays: &[Vec<f32>]) -> Self {
        let layer = |l: usize| {
            let array = |k: usize| arrays[Transformer::layer(l) + k].as_slice();
            Layer {
                norms: [0, 6].map(|k| array(k).to_vec()),
                input: Dense::new(array(1), array(2), false),
                distances: Distances::new(array(3)),
                output: Dense::new(array(4), array(5), false),
                inner: Dense::new(array(7), array(8), true),
                outer: Dense::new(array(9), array(10), false),
            }
        };
        let [norm, bias] = Transformer::LAST;
        Self {
            sizes,
            embedding: arrays[0].clone(),
            layers: (0..LAYERS).map(layer).collect(),
            norm: arrays[norm].clone(),
            output: Output::new(&arrays[0], &arrays[bias]),
        }
    }

    /// Surprise of each window where it counts, added up.
    pub(super) fn sums(&self, windows: &[Window]) -> Vec<f64> {
        let mut parts: Vec<&[Window]> = Vec::new();
        let mut rest = windows;
        while !rest.is_empty() {
            let mut rows = 0;
            let few = |w: &&Window| {
                rows += w.symbols.len() - 1;
                rows <= ROWS
            };
            let n = rest.iter().take_while(few).count().max(1);
            let (part, others) = rest.split_at(n);
            parts.push(part);
            rest = others;
        }
        let of_parts: Vec<Vec<f64>> =
            parts.into_par_iter().map(|windows| simd::run(Score { scorer: self, windows })).collect();
        of_parts.concat()
    }
}

struct Score<'a> {
    scorer: &'a Scorer,
    windows: &'a [Window],
}

impl WithSimd for Score<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        let Scorer { sizes, embedding, layers, norm, output } = self.scorer;
        let (d, f) = (sizes.width, sizes.forward);
        let given = self.windows.iter().flat_map(|w| &w.symbols[..w.symbols.len() - 1]);
        let mut x: Vec<f32> = given.flat_map(|s| &embedding[*s as usize * d..][..d]).copied().collect();
        let rows = x.len() / d;
        let (mut normed, mut wide, mut seen) =
            (vec![0.0; rows * d], vec![0.0; rows * (3 * d).max(f)], vec![0.0; rows * d]);
        for layer in layers {
            norm::rows(simd, &x, &layer.norms[0], &mut normed);
            layer.input.forward(simd, &normed, rows, &mut wide);
            let mut from = 0;
            for window in self.windows {
                let to = from + window.symbols.len() - 1;
                let seen = &mut seen[from * d..to * d];
                attention::sequence(simd, &wide[from * 3 * d..to * 3 * d], d, &layer.distances, seen);
                from = to;
            }
            layer.output.forward(simd, &seen, rows, &mut normed);
            x.iter_mut().zip(&normed).for_each(|(x, y)| *x += y);
            norm::rows(simd, &x, &layer.norms[1], &mut normed);
            layer.inner.forward(simd, &normed, rows, &mut wide);
            layer.outer.forward(simd, &wide, rows, &mut seen);
            x.iter_mut().zip(&seen).for_each(|(x, y)| *x += y);
        }
        norm::rows(simd, &x, norm, &mut normed);
        let foretold: Vec<u32> = self.windows.iter().flat_map(|w| &w.symbols[1..]).copied().collect();
        let mut surprise = vec![0.0; rows];
        let mut logits = vec![0.0; LAST * output.width()];
        for ((rows, foretold), out) in normed.chunks(LAST * d).zip(foretold.chunks(LAST)).zip(surprise.chunks_mut(LAST))
        {
            output.surprise(simd, rows, foretold, &mut logits, out);
        }
        let mut end = 0;
        let mut sum = |window: &Window| {
            end += window.symbols.len() - 1;
            surprise[end - window.counted..end].iter().map(|x| f64::from(*x)).sum()
        };
        self.windows.iter().map(&mut sum).collect()
    }
}
