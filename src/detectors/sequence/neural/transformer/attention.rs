//! What each position sees of those before it, forward and backward: softmax(q·k / √d + bias of the distance) · v, head by head.
//!
//! Rows hold queries, keys and values of all heads. A head of a sequence is a few products of small matrices; probabilities are
//! computed again for the backward pass, which costs less than keeping them.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::simd::{self, LANES, Panels, add_outer, get, set};
use super::surprise::{DEEPEST, NEVER};
use super::{CONTEXT, HEADS};

/// Sequences that add up one part of a gradient.
const SHARD: usize = 8;

/// Where the rows of each sequence are.
#[derive(Debug, Clone)]
pub(super) struct Rows(Vec<usize>);

impl Rows {
    /// For sequences of such lengths, of [`CONTEXT`] at most.
    pub(super) fn new(lengths: impl Iterator<Item = usize>) -> Self {
        let mut ends = vec![0];
        ends.extend(lengths.scan(0, |end, n| {
            *end += n;
            Some(*end)
        }));
        Self(ends)
    }

    /// All rows.
    pub(super) fn len(&self) -> usize {
        self.0[self.0.len() - 1]
    }

    /// First row and number of rows of each sequence.
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0.windows(2).map(|w| (w[0], w[1] - w[0]))
    }

    /// Parts of a list of `width` numbers per row, each with the lengths of its sequences.
    fn shards<'a>(&self, width: usize, mut of: &'a mut [f32]) -> Vec<(usize, Vec<usize>, &'a mut [f32])> {
        let sequences: Vec<(usize, usize)> = self.iter().collect();
        let mut out = Vec::new();
        for shard in sequences.chunks(SHARD) {
            let lengths: Vec<usize> = shard.iter().map(|(_, n)| *n).collect();
            let (part, rest) = of.split_at_mut(lengths.iter().sum::<usize>() * width);
            out.push((shard[0].0, lengths, part));
            of = rest;
        }
        out
    }
}

/// Biases of distances (a row per head) made ready: a row per head for positions before, the farthest first, and behind itself
/// what keeps a position from seeing those after it.
#[derive(Debug, Clone)]
pub(super) struct Distances(Vec<f32>);

/// Numbers in a row of [`Distances`].
const ROW: usize = CONTEXT + LANES;

impl Distances {
    pub(super) fn new(distance: &[f32]) -> Self {
        let mut rows = vec![NEVER; HEADS * ROW];
        for (row, distance) in rows.chunks_exact_mut(ROW).zip(distance.chunks_exact(CONTEXT)) {
            row.iter_mut().zip(distance.iter().rev()).for_each(|(to, from)| *to = *from);
        }
        Self(rows)
    }

    fn head(&self, head: usize) -> &[f32] {
        &self.0[head * ROW..(head + 1) * ROW]
    }
}

/// What a head of a sequence needs.
struct Head {
    /// Queries, with 1 / √d in them.
    queries: Vec<f32>,
    /// How much each position (a row) sees of each.
    seen: Vec<f32>,
    /// Positions as a whole number of vectors.
    width: usize,
}

/// The columns of a head, `part` 0 for queries, 1 for keys, 2 for values.
fn column(row: &[f32], d: usize, part: usize, head: usize) -> &[f32] {
    let size = d / HEADS;
    &row[part * d + head * size..][..size]
}

impl Head {
    #[inline(always)]
    fn new<S: Simd>(simd: S, rows: &[f32], d: usize, head: usize, distances: &[f32]) -> Self {
        let size = d / HEADS;
        let by = 1.0 / (size as f32).sqrt();
        let positions = rows.len() / (3 * d);
        let of = |row: &[f32]| column(row, d, 0, head).iter().map(|x| x * by).collect::<Vec<_>>();
        let queries: Vec<f32> = rows.chunks_exact(3 * d).flat_map(of).collect();
        let keys = Panels::pack(size, positions, |k, c| column(&rows[c * 3 * d..], d, 1, head)[k]);
        let width = keys.width();
        let mut seen = vec![0.0; positions * width];
        keys.product(simd, &queries, positions, &mut seen);
        for (i, row) in seen.chunks_exact_mut(width).enumerate() {
            softmax(simd, &mut row[..(i + 1).next_multiple_of(LANES)], &distances[CONTEXT - 1 - i..]);
            row[i + 1..].fill(0.0);
        }
        Self { queries, seen, width }
    }
}

/// A row of products becomes probabilities.
#[inline(always)]
fn softmax<S: Simd>(simd: S, row: &mut [f32], bias: &[f32]) {
    let mut highest = simd.splat_f32s(NEVER);
    for k in (0..row.len()).step_by(LANES) {
        let x = simd.add_f32s(get(simd, row, k), get(simd, bias, k));
        highest = simd.max_f32s(highest, x);
        set(simd, row, k, x);
    }
    let (shift, deepest) = (simd.splat_f32s(simd.reduce_max_f32s(highest)), simd.splat_f32s(DEEPEST));
    let mut sum = simd.splat_f32s(0.0);
    for k in (0..row.len()).step_by(LANES) {
        let x = simd::exp(simd, simd.max_f32s(simd.sub_f32s(get(simd, row, k), shift), deepest));
        sum = simd.add_f32s(sum, x);
        set(simd, row, k, x);
    }
    let scale = simd.splat_f32s(1.0 / simd.reduce_sum_f32s(sum));
    for k in (0..row.len()).step_by(LANES) {
        set(simd, row, k, simd.mul_f32s(get(simd, row, k), scale));
    }
}

/// One sequence: rows of 3 d numbers become rows of d.
#[inline(always)]
pub(super) fn sequence<S: Simd>(simd: S, rows: &[f32], d: usize, distances: &Distances, out: &mut [f32]) {
    let size = d / HEADS;
    let positions = rows.len() / (3 * d);
    let mut of_head = vec![0.0; positions * size];
    for h in 0..HEADS {
        let head = Head::new(simd, rows, d, h, distances.head(h));
        let value = |k: usize, c: usize| if k < positions { column(&rows[k * 3 * d..], d, 2, h)[c] } else { 0.0 };
        Panels::pack(head.width, size, value).product(simd, &head.seen, positions, &mut of_head);
        for (row, of_head) in out.chunks_exact_mut(d).zip(of_head.chunks_exact(size)) {
            row[h * size..(h + 1) * size].copy_from_slice(of_head);
        }
    }
}

struct Forward<'a> {
    rows: &'a [f32],
    lengths: &'a [usize],
    d: usize,
    distances: &'a Distances,
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (d, mut from) = (self.d, 0);
        for n in self.lengths {
            let to = from + n;
            sequence(simd, &self.rows[from * 3 * d..to * 3 * d], d, self.distances, &mut self.out[from * d..to * d]);
            from = to;
        }
    }
}

pub(super) fn forward(of: &Rows, rows: &[f32], distance: &[f32]) -> Vec<f32> {
    let d = rows.len() / of.len() / 3;
    let distances = Distances::new(distance);
    let mut out = vec![0.0; of.len() * d];
    of.shards(d, &mut out).into_par_iter().for_each(|(from, lengths, out)| {
        simd::run(Forward { rows: &rows[from * 3 * d..], lengths: &lengths, d, distances: &distances, out });
    });
    out
}

struct Backward<'a> {
    rows: &'a [f32],
    lengths: &'a [usize],
    d: usize,
    distances: &'a Distances,
    upstream: &'a [f32],
    out: &'a mut [f32],
    /// Rows as those of [`Distances`].
    of_distances: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut from = 0;
        for &n in self.lengths {
            for h in 0..HEADS {
                self.head(simd, from, n, h);
            }
            from += n;
        }
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn head<S: Simd>(&mut self, simd: S, from: usize, n: usize, h: usize) {
        let (d, size) = (self.d, self.d / HEADS);
        let rows = &self.rows[from * 3 * d..(from + n) * 3 * d];
        let distances = self.distances.head(h);
        let Head { queries, seen, width } = Head::new(simd, rows, d, h, distances);
        let upstream: Vec<f32> = self.upstream[from * d..(from + n) * d]
            .chunks_exact(d)
            .flat_map(|row| &row[h * size..(h + 1) * size])
            .copied()
            .collect();
        let cell = |row: usize, part: usize, k: usize| column(&rows[row * 3 * d..], d, part, h)[k];
        let mut of_values = vec![0.0; width * size];
        add_outer(simd, &seen, width, &upstream, size, &mut of_values);
        // The gradient of what is seen becomes that of the sums below the softmax.
        let mut sums = vec![0.0; n * width];
        Panels::pack(size, n, |k, c| cell(c, 2, k)).product(simd, &upstream, n, &mut sums);
        for (i, (row, seen)) in sums.chunks_exact_mut(width).zip(seen.chunks_exact(width)).enumerate() {
            let upto = (i + 1).next_multiple_of(LANES);
            let mut mean = simd.splat_f32s(0.0);
            for k in (0..upto).step_by(LANES) {
                mean = simd.mul_add_e_f32s(get(simd, row, k), get(simd, seen, k), mean);
            }
            let mean = simd.splat_f32s(simd.reduce_sum_f32s(mean));
            let first = CONTEXT - 1 - i;
            for k in (0..upto).step_by(LANES) {
                let x = simd.mul_f32s(simd.sub_f32s(get(simd, row, k), mean), get(simd, seen, k));
                set(simd, row, k, x);
                let of = &mut self.of_distances[h * ROW..(h + 1) * ROW];
                let sum = simd.add_f32s(get(simd, of, first + k), x);
                set(simd, of, first + k, sum);
            }
            row[upto..].fill(0.0);
        }
        let mut of_queries = vec![0.0; n * size];
        let key = |k: usize, c: usize| if k < n { cell(k, 1, c) } else { 0.0 };
        Panels::pack(width, size, key).product(simd, &sums, n, &mut of_queries);
        let mut of_keys = vec![0.0; width * size];
        add_outer(simd, &sums, width, &queries, size, &mut of_keys);
        let by = 1.0 / (size as f32).sqrt();
        for (r, row) in self.out[from * 3 * d..(from + n) * 3 * d].chunks_exact_mut(3 * d).enumerate() {
            let at = h * size;
            for k in 0..size {
                row[at + k] = of_queries[r * size + k] * by;
                row[d + at + k] = of_keys[r * size + k];
                row[2 * d + at + k] = of_values[r * size + k];
            }
        }
    }
}

/// Gradients with respect to the rows and the biases of distances.
pub(super) fn backward(of: &Rows, rows: &[f32], distance: &[f32], upstream: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let d = rows.len() / of.len() / 3;
    let distances = Distances::new(distance);
    let mut out = vec![0.0; rows.len()];
    let partial: Vec<Vec<f32>> = of
        .shards(3 * d, &mut out)
        .into_par_iter()
        .map(|(from, lengths, out)| {
            let mut of_distances = vec![0.0; HEADS * ROW];
            simd::run(Backward {
                rows: &rows[from * 3 * d..],
                lengths: &lengths,
                d,
                distances: &distances,
                upstream: &upstream[from * d..],
                out,
                of_distances: &mut of_distances,
            });
            of_distances
        })
        .collect();
    let mut of_distance = vec![0.0; distance.len()];
    for part in partial {
        for (sums, part) in of_distance.chunks_exact_mut(CONTEXT).zip(part.chunks_exact(ROW)) {
            sums.iter_mut().rev().zip(part).for_each(|(s, p)| *s += p);
        }
    }
    (out, of_distance)
}
