//! The recurrent part of an LSTM over whole sequences, forward and backward.
//!
//! Sequences stand longest first, so that those still running at a step are the first ones, and nothing is padded. Numbers of
//! a step and a sequence make a row; rows are ordered by shard, step, sequence. Shards have a fixed number of sequences: what they
//! add up to does not depend on how many threads they are shared out to.
//!
//! A row of gates is ordered by blocks of eight units: i, f, g and o of the block. That is what one tile of the product
//! computes, so gates become cells without leaving the registers.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::room::Room;
use super::simd::{self, LANES, Panels, get, set};

/// Gates of a block of units.
const BLOCK: usize = 4 * LANES;

/// Sequences in a shard.
pub(super) const SHARD: usize = 32;

/// How sequences of some lengths are laid out.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) shards: Vec<Shard>,
    /// Sequences.
    pub(super) sequences: usize,
    /// All steps of all sequences.
    pub(super) rows: usize,
}

/// Some sequences.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    /// Its first sequence.
    pub(super) sequence: usize,
    /// Its first row.
    pub(super) row: usize,
    /// Row of its own that each step begins at, and where the last ends.
    pub(super) steps: Vec<usize>,
}

impl Shard {
    fn new(sequence: usize, row: usize, lengths: &[usize]) -> Self {
        let running = |t: usize| lengths.partition_point(|l| *l > t);
        let mut steps = vec![0];
        for t in 0..lengths[0] {
            steps.push(steps[t] + running(t));
        }
        Self { sequence, row, steps }
    }

    pub(super) fn rows(&self) -> usize {
        self.steps[self.steps.len() - 1]
    }

    pub(super) fn sequences(&self) -> usize {
        self.steps[1]
    }

    /// Number of steps.
    pub(super) fn len(&self) -> usize {
        self.steps.len() - 1
    }

    pub(super) fn running(&self, t: usize) -> usize {
        self.steps[t + 1] - self.steps[t]
    }
}

impl Shape {
    /// For lengths of at least 1, the longest first.
    pub(super) fn new(lengths: &[usize]) -> Self {
        assert!(lengths.is_sorted_by(|a, b| a >= b) && lengths.iter().all(|l| *l > 0), "the longest first, none empty");
        let mut shards: Vec<Shard> = Vec::new();
        let mut row = 0;
        for (k, lengths) in lengths.chunks(SHARD).enumerate() {
            let shard = Shard::new(k * SHARD, row, lengths);
            row += shard.rows();
            shards.push(shard);
        }
        Self { shards, sequences: lengths.len(), rows: row }
    }

    /// For each row the sequence it belongs to.
    pub(super) fn sequence_of_rows(&self) -> Vec<u32> {
        let of = |s: &Shard| -> Vec<u32> {
            (0..s.len()).flat_map(|t| 0..s.running(t)).map(|r| (s.sequence + r) as u32).collect()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// The rows' order of what each sequence has at each step.
    pub(super) fn by_rows(&self, sequences: &[&[u32]]) -> Vec<u32> {
        let of = |s: &Shard| -> Vec<u32> {
            let at = |t: usize| sequences[s.sequence..][..s.running(t)].iter().map(move |q| q[t]);
            (0..s.len()).flat_map(at).collect()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// Parts of a list of `width` numbers per row, shard by shard.
    pub(super) fn split<'a>(&self, mut of: &'a mut [f32], width: usize) -> Vec<&'a mut [f32]> {
        let mut out = Vec::new();
        for shard in &self.shards {
            let (part, rest) = of.split_at_mut(shard.rows() * width);
            out.push(part);
            of = rest;
        }
        out
    }
}

/// Column of a row in blocks that has gate `n` (`gate · hidden + unit`).
fn in_blocks(n: usize, hidden: usize) -> usize {
    let (gate, unit) = (n / hidden, n % hidden);
    unit / LANES * BLOCK + gate * LANES + unit % LANES
}

/// Rows of gates (`gate · hidden + unit`) in blocks.
pub(super) fn to_blocks(rows: &[f32], hidden: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    let width = 4 * hidden;
    for (from, to) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        for n in (0..width).step_by(LANES) {
            to[in_blocks(n, hidden)..][..LANES].copy_from_slice(&from[n..n + LANES]);
        }
    }
    out
}

/// Recurrent weights (4 · hidden × hidden, a row per gate) for the product of a step.
pub(super) fn forward_panels(weights: &[f32], hidden: usize) -> Panels {
    let at: Vec<usize> = {
        let mut at = vec![0; 4 * hidden];
        (0..4 * hidden).for_each(|n| at[in_blocks(n, hidden)] = n);
        at
    };
    Panels::pack(hidden, 4 * hidden, |k, c| weights[at[c] * hidden + k])
}

/// The same weights for the product backward.
fn backward_panels(weights: &[f32], hidden: usize) -> Panels {
    let mut rows = vec![0; 4 * hidden];
    (0..4 * hidden).for_each(|n| rows[in_blocks(n, hidden)] = n);
    Panels::pack(4 * hidden, hidden, |k, c| weights[rows[k] * hidden + c])
}

/// What goes into a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    /// Units.
    pub(super) hidden: usize,
    /// Rows of gates, in blocks: what the input adds to them.
    pub(super) table: &'a [f32],
    /// Per row which of them.
    pub(super) index: &'a [u32],
}

/// State of some sequences, hidden and cell, `hidden` numbers each.
pub(super) struct State<'a> {
    pub(super) hidden: &'a mut [f32],
    pub(super) cell: &'a mut [f32],
}

/// What the backward pass needs of a step.
pub(super) struct Trace<'a> {
    pub(super) gates: &'a mut [f32],
    pub(super) squashed: &'a mut [f32],
}

/// One step of `n` sequences. `before` is hidden and cell; none at the first step. With `KEEP`, `trace` is written.
#[inline(always)]
pub(super) fn step<S: Simd, const KEEP: bool>(
    simd: S,
    n: usize,
    input: Input<'_>,
    recurrent: &Panels,
    before: Option<(&[f32], &[f32])>,
    mut after: State<'_>,
    mut trace: Trace<'_>,
) {
    for block in 0..input.hidden / LANES {
        let mut r = 0;
        while r + 3 <= n {
            units::<S, 3, KEEP>(simd, r, block, input, recurrent, before, &mut after, &mut trace);
            r += 3;
        }
        match n - r {
            2 => units::<S, 2, KEEP>(simd, r, block, input, recurrent, before, &mut after, &mut trace),
            1 => units::<S, 1, KEEP>(simd, r, block, input, recurrent, before, &mut after, &mut trace),
            _ => {}
        }
    }
}

/// One block of units of `R` sequences.
#[inline(always)]
fn units<S: Simd, const R: usize, const KEEP: bool>(
    simd: S,
    r: usize,
    block: usize,
    input: Input<'_>,
    recurrent: &Panels,
    before: Option<(&[f32], &[f32])>,
    after: &mut State<'_>,
    trace: &mut Trace<'_>,
) {
    let h = input.hidden;
    let mut sums = [[simd.splat_f32s(0.0); 4]; R];
    for k in 0..R {
        let from = input.index[r + k] as usize * 4 * h + block * BLOCK;
        for gate in 0..4 {
            sums[k][gate] = get(simd, input.table, from + gate * LANES);
        }
    }
    if let Some((hidden, _)) = before {
        simd::tile(simd, &hidden[r * h..], h, recurrent.four::<S>(block), &mut sums);
    }
    for k in 0..R {
        let gates = simd::gates(simd, sums[k]);
        let [i, f, g, o] = gates;
        let at = (r + k) * h + block * LANES;
        let mut c = simd.mul_f32s(i, g);
        if let Some((_, cell)) = before {
            c = simd.mul_add_e_f32s(f, get(simd, cell, at), c);
        }
        let squashed = simd::tanh(simd, c);
        set(simd, after.cell, at, c);
        set(simd, after.hidden, at, simd.mul_f32s(o, squashed));
        if KEEP {
            set(simd, trace.squashed, at, squashed);
            for gate in 0..4 {
                set(simd, trace.gates, (r + k) * 4 * h + block * BLOCK + gate * LANES, gates[gate]);
            }
        }
    }
}

/// All that a forward pass leaves to the backward pass: rows of gates in blocks, of cells, of their tanh, of hidden states.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) gates: Vec<f32>,
    pub(super) cells: Vec<f32>,
    pub(super) squashed: Vec<f32>,
    pub(super) hidden: Vec<f32>,
}

/// Runs sequences through a layer. Every number of what is saved is written.
pub(super) fn forward(shape: &Shape, input: Input<'_>, weights: &[f32], room: &Room) -> Saved {
    let h = input.hidden;
    let recurrent = forward_panels(weights, h);
    let rows = || room.take(shape.rows * h);
    let mut saved = Saved { gates: room.take(shape.rows * 4 * h), cells: rows(), squashed: rows(), hidden: rows() };
    let parts: Vec<_> = shape
        .shards
        .iter()
        .zip(shape.split(&mut saved.gates, 4 * h))
        .zip(shape.split(&mut saved.cells, h))
        .zip(shape.split(&mut saved.squashed, h))
        .zip(shape.split(&mut saved.hidden, h))
        .collect();
    parts.into_par_iter().for_each(|((((shard, gates), cells), squashed), hidden)| {
        simd::run(Forward { shard, input, recurrent: &recurrent, gates, cells, squashed, hidden });
    });
    saved
}

struct Forward<'a> {
    shard: &'a Shard,
    input: Input<'a>,
    recurrent: &'a Panels,
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    squashed: &'a mut [f32],
    hidden: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let h = self.input.hidden;
        for t in 0..self.shard.len() {
            let n = self.shard.running(t);
            let at = self.shard.steps[t];
            let index = &self.input.index[self.shard.row + at..];
            let (hidden_before, hidden) = self.hidden.split_at_mut(at * h);
            let (cell_before, cell) = self.cells.split_at_mut(at * h);
            let before = t.checked_sub(1).map(|t| {
                let from = self.shard.steps[t] * h;
                (&hidden_before[from..], &cell_before[from..])
            });
            let trace = Trace { gates: &mut self.gates[at * 4 * h..], squashed: &mut self.squashed[at * h..] };
            let after = State { hidden, cell };
            step::<S, true>(simd, n, Input { index, ..self.input }, self.recurrent, before, after, trace);
        }
    }
}

/// Gradients with respect to the table (gates in order) and the recurrent weights.
pub(super) struct Gradients {
    pub(super) table: Vec<f32>,
    pub(super) weights: Vec<f32>,
}

/// Gradient of what comes out: per sequence of its last hidden state, or per row of every one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Upstream<'a> {
    Last(&'a [f32]),
    Every(&'a [f32]),
}

/// The backward pass. Uses up the gates.
pub(super) fn backward(
    shape: &Shape,
    saved: &mut Saved,
    hidden_states: &[f32],
    h: usize,
    (index, table_rows): (&[u32], usize),
    weights: &[f32],
    upstream: Upstream<'_>,
) -> Gradients {
    let recurrent = backward_panels(weights, h);
    let parts: Vec<_> = shape.shards.iter().zip(shape.split(&mut saved.gates, 4 * h)).collect();
    let (cells, squashed) = (saved.cells.as_slice(), saved.squashed.as_slice());
    let partial: Vec<Vec<f32>> = parts
        .into_par_iter()
        .map(|(shard, gates)| {
            let from = shard.row * h;
            let mut gradient = vec![0.0; 4 * h * h];
            let (upstream, mut state) = match upstream {
                Upstream::Last(g) => (None, g[shard.sequence * h..][..shard.sequences() * h].to_vec()),
                Upstream::Every(g) => (Some(&g[from..]), vec![0.0; shard.sequences() * h]),
            };
            simd::run(Backward {
                shard,
                h,
                recurrent: &recurrent,
                gates,
                cells: &cells[from..],
                squashed: &squashed[from..],
                hidden: &hidden_states[from..],
                upstream,
                state: &mut state,
                gradient: &mut gradient,
            });
            gradient
        })
        .collect();
    let mut sum = vec![0.0; 4 * h * h];
    for part in partial {
        sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    let mut of_weights = vec![0.0; 4 * h * h];
    for n in 0..4 * h {
        of_weights[n * h..(n + 1) * h].copy_from_slice(&sum[in_blocks(n, h) * h..][..h]);
    }
    Gradients { table: add_up(&saved.gates, index, table_rows, h), weights: of_weights }
}

/// Adds the rows of gates to the rows of the table that they came from.
fn add_up(gates: &[f32], index: &[u32], table_rows: usize, h: usize) -> Vec<f32> {
    let mut blocks = vec![0.0_f32; table_rows * 4 * h];
    blocks.par_chunks_mut(table_rows * BLOCK).enumerate().for_each(|(block, sums)| {
        simd::run(AddUp { gates: &gates[block * BLOCK..], width: 4 * h, index, sums });
    });
    let mut out = vec![0.0; table_rows * 4 * h];
    for (block, rows) in blocks.chunks_exact(table_rows * BLOCK).enumerate() {
        for (row, sums) in rows.chunks_exact(BLOCK).enumerate() {
            for (gate, sums) in sums.chunks_exact(LANES).enumerate() {
                out[row * 4 * h + gate * h + block * LANES..][..LANES].copy_from_slice(sums);
            }
        }
    }
    out
}

/// Derivative of tanh where it is `y`.
#[inline(always)]
fn of_tanh<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    simd.negate_mul_add_e_f32s(y, y, simd.splat_f32s(1.0))
}

/// Derivative of the logistic function where it is `y`.
#[inline(always)]
fn of_logistic<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    simd.negate_mul_add_e_f32s(y, y, y)
}

/// One block of rows of gates is added up.
struct AddUp<'a> {
    gates: &'a [f32],
    width: usize,
    index: &'a [u32],
    sums: &'a mut [f32],
}

impl WithSimd for AddUp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for k in 0..self.index.len() {
            let row = &self.gates[k * self.width..k * self.width + BLOCK];
            let from = self.index[k] as usize * BLOCK;
            let sums = &mut self.sums[from..from + BLOCK];
            for at in (0..BLOCK).step_by(LANES) {
                let sum = simd.add_f32s(get(simd, sums, at), get(simd, row, at));
                set(simd, sums, at, sum);
            }
        }
    }
}

struct Backward<'a> {
    shard: &'a Shard,
    h: usize,
    recurrent: &'a Panels,
    gates: &'a mut [f32],
    cells: &'a [f32],
    squashed: &'a [f32],
    hidden: &'a [f32],
    upstream: Option<&'a [f32]>,
    /// Gradient of the hidden state of each sequence.
    state: &'a mut [f32],
    /// Of the weights, gates in blocks.
    gradient: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let h = self.h;
        // Gradient of the cells.
        let mut carried = vec![0.0; self.state.len()];
        for t in (0..self.shard.len()).rev() {
            let n = self.shard.running(t);
            let at = self.shard.steps[t];
            let before = t.checked_sub(1).map(|t| self.shard.steps[t]);
            let rows = &mut self.gates[at * 4 * h..(at + n) * 4 * h];
            for r in 0..n {
                for block in 0..h / LANES {
                    let own = r * h + block * LANES;
                    let row = at * h + own;
                    let gates = r * 4 * h + block * BLOCK;
                    let i = get(simd, rows, gates);
                    let f = get(simd, rows, gates + LANES);
                    let g = get(simd, rows, gates + 2 * LANES);
                    let o = get(simd, rows, gates + 3 * LANES);
                    let mut dh = get(simd, self.state, own);
                    if let Some(upstream) = self.upstream {
                        dh = simd.add_f32s(dh, get(simd, upstream, row));
                    }
                    let squashed = get(simd, self.squashed, row);
                    let through = simd.mul_f32s(simd.mul_f32s(dh, o), of_tanh(simd, squashed));
                    let dc = simd.add_f32s(get(simd, &carried, own), through);
                    set(simd, &mut carried, own, simd.mul_f32s(dc, f));
                    let mut cell = simd.splat_f32s(0.0);
                    if let Some(before) = before {
                        cell = get(simd, self.cells, before * h + own);
                    }
                    set(simd, rows, gates, simd.mul_f32s(simd.mul_f32s(dc, g), of_logistic(simd, i)));
                    set(simd, rows, gates + LANES, simd.mul_f32s(simd.mul_f32s(dc, cell), of_logistic(simd, f)));
                    set(simd, rows, gates + 2 * LANES, simd.mul_f32s(simd.mul_f32s(dc, i), of_tanh(simd, g)));
                    set(
                        simd,
                        rows,
                        gates + 3 * LANES,
                        simd.mul_f32s(simd.mul_f32s(dh, squashed), of_logistic(simd, o)),
                    );
                }
            }
            if let Some(before) = before {
                let rows = &self.gates[at * 4 * h..][..n * 4 * h];
                self.recurrent.product(simd, rows, n, self.state);
                simd::add_outer(simd, rows, 4 * h, &self.hidden[before * h..][..n * h], h, self.gradient);
            }
        }
    }
}

impl Shape {
    /// The last row of each sequence.
    pub(super) fn last(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.sequences * width];
        for shard in &self.shards {
            for t in 0..shard.len() {
                let goes_on = if t + 1 < shard.len() { shard.running(t + 1) } else { 0 };
                for r in goes_on..shard.running(t) {
                    let from = (shard.row + shard.steps[t] + r) * width;
                    out[(shard.sequence + r) * width..][..width].copy_from_slice(&rows[from..from + width]);
                }
            }
        }
        out
    }
}
