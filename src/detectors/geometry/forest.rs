//! Extended isolation forest (Hariri, Carrasco Kind & Brunner 2021; Liu, Ting & Zhou 2008): rows that random cuts separate
//! early are odd. A cut is a random hyperplane through a random point of the node's bounding box; with `level` 0 it is
//! parallel to all axes but one, which is the plain isolation forest.
//!
//! Scoring carries thousands of rows down a tree at a time: at each node the rows that got there are split into two lists
//! without a branch, and the node's numbers stay in registers; above a pair of leaves the leaf's value is chosen at once. Walking
//! trees row by row stalls on every wrong guess of the way. [`Forest::path_lengths_one_by_one`] is the plain walk, which a test holds equal to the bit.
//!
//! Why not the crate `extended-isolation-forest`: it draws from the thread's random numbers, so no two models are equal,
//! fixes the width at compile time and uses one thread.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::matrix::Matrix;
use crate::seed::Seed;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Number of trees, at least 1.
    pub trees: usize,
    /// Rows a tree is grown from, at least 2; all of them if there are fewer.
    pub sample: usize,
    /// Extension level: a cut involves this many columns and one more.
    pub level: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { trees: 300, sample: 256, level: 1 }
    }
}

/// A grown forest: nodes of all trees in flat arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    /// Columns of the rows it was grown from.
    pub cols: usize,
    /// Columns per cut, at least 1.
    pub width: usize,
    /// Average path length of the sample, c(ψ): what path lengths are measured in.
    pub normal: f32,
    /// First node of each tree.
    pub roots: Vec<u32>,
    /// Child where the projection is at most the threshold; 0 for a leaf. Children lie behind their parent.
    pub left: Vec<u32>,
    /// The other child; 0 for a leaf.
    pub right: Vec<u32>,
    /// Threshold of a cut; of a leaf the path length to it, with what its rows would still need.
    pub value: Vec<f32>,
    /// `nodes × width` columns of the cuts.
    pub columns: Vec<u32>,
    /// `nodes × width` weights of these columns.
    pub weights: Vec<f32>,
}

/// The nth harmonic number: exact sums for small n, the asymptotic series (error below 1e-9) for others.
fn harmonic(n: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    if n <= 32 {
        return (1..=n).map(|i| 1.0 / i as f64).sum();
    }
    let x = n as f64;
    x.ln() + EULER + 1.0 / (2.0 * x) - 1.0 / (12.0 * x * x)
}

/// Average path length of an unsuccessful search among `n` rows, c(n) = 2 H(n − 1) − 2 (n − 1) / n; 0 for fewer than two.
pub fn average_path(n: usize) -> f64 {
    if n < 2 { 0.0 } else { 2.0 * harmonic(n - 1) - 2.0 * (n - 1) as f64 / n as f64 }
}

/// Rows that go down a tree together: the columns of a block and its lists stay in the nearest caches.
const BLOCK: usize = 2048;

/// Rows too few to be worth a block.
const FEW: usize = 16;

struct Tree {
    left: Vec<u32>,
    right: Vec<u32>,
    value: Vec<f32>,
    columns: Vec<u32>,
    weights: Vec<f32>,
}

impl Forest {
    /// Grows a forest from at least one row and one column.
    pub fn fit(data: &Matrix, options: Options, seed: Seed) -> Self {
        assert!(data.rows > 0 && data.cols > 0, "a forest grows from rows with columns");
        let sample = options.sample.clamp(2, data.rows.max(2)).min(data.rows.max(1));
        let width = (options.level + 1).min(data.cols);
        let trees: Vec<Tree> =
            (0..options.trees.max(1)).into_par_iter().map(|t| grow(data, sample, width, seed, t)).collect();
        let mut out = Self {
            cols: data.cols,
            width,
            normal: (average_path(sample) as f32).max(f32::MIN_POSITIVE),
            roots: Vec::with_capacity(trees.len()),
            left: Vec::new(),
            right: Vec::new(),
            value: Vec::new(),
            columns: Vec::new(),
            weights: Vec::new(),
        };
        for tree in trees {
            let base = out.left.len() as u32;
            out.roots.push(base);
            let moved = |child: u32| if child == 0 { 0 } else { child + base };
            out.left.extend(tree.left.into_iter().map(moved));
            out.right.extend(tree.right.into_iter().map(moved));
            out.value.extend(tree.value);
            out.columns.extend(tree.columns);
            out.weights.extend(tree.weights);
        }
        out
    }

    /// Anomaly scores 2^(−E\[path\] / c(ψ)), 0..=1, higher = odder.
    pub fn score(&self, data: &Matrix) -> Vec<f64> {
        self.scores_of(&self.path_lengths(data))
    }

    fn scores_of(&self, lengths: &[f32]) -> Vec<f64> {
        let unit = self.roots.len() as f64 * f64::from(self.normal);
        lengths.iter().map(|l| (-f64::from(*l) / unit).exp2()).collect()
    }

    /// Sum of the path lengths over the trees, per row.
    pub fn path_lengths(&self, data: &Matrix) -> Vec<f32> {
        assert_eq!(data.cols, self.cols, "rows of the width that the forest was grown from");
        if data.rows < FEW {
            return self.path_lengths_one_by_one(data);
        }
        let blocks: Vec<usize> = (0..data.rows).step_by(BLOCK).collect();
        blocks.into_par_iter().flat_map_iter(|from| self.block(data, from)).collect()
    }

    fn block(&self, data: &Matrix, from: usize) -> Vec<f32> {
        let rows = BLOCK.min(data.rows - from);
        let mut columns = vec![[0.0_f32; BLOCK]; self.cols];
        for r in 0..rows {
            for (column, x) in columns.iter_mut().zip(data.row(from + r)) {
                column[r] = *x as f32;
            }
        }
        let mut sums = Box::new([0.0_f32; BLOCK]);
        // Rows by the node they got to, in two copies: a node reads its rows from one and writes its children's to the other.
        let mut lists = Box::new([[0_u16; BLOCK], [0_u16; BLOCK]]);
        let mut stack: Vec<(u32, u16, u16, bool)> = Vec::with_capacity(64);
        for &root in &self.roots {
            for (i, o) in lists[0].iter_mut().enumerate() {
                *o = i as u16;
            }
            stack.push((root, 0, rows as u16, false));
            while let Some((node, a, b, second)) = stack.pop() {
                let (n, a, b) = (node as usize, usize::from(a), usize::from(b));
                let [one, two] = &mut *lists;
                let (from, to) = if second { (two, one) } else { (one, two) };
                if self.left[n] == 0 {
                    for &r in &from[a..b] {
                        sums[usize::from(r) % BLOCK] += self.value[n];
                    }
                    continue;
                }
                let (low, high) = (self.left[n] as usize, self.right[n] as usize);
                if self.left[low] == 0 && self.left[high] == 0 {
                    let values = [self.value[high], self.value[low]];
                    let add = |r: u16, below: bool| sums[usize::from(r) % BLOCK] += values[usize::from(below)];
                    self.project(n, &columns, &from[a..b], add);
                    continue;
                }
                let l = self.split(n, &columns, &from[a..b], &mut to[a..b]);
                if a + l < b {
                    stack.push((self.right[n], (a + l) as u16, b as u16, !second));
                }
                if l > 0 {
                    stack.push((self.left[n], a as u16, (a + l) as u16, !second));
                }
            }
        }
        sums[..rows].to_vec()
    }

    /// Tells for each row at node `n` whether it lies at or below the threshold.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is done with the answer must be compiled into each of the loops")]
    fn project(&self, n: usize, columns: &[[f32; BLOCK]], members: &[u16], mut put: impl FnMut(u16, bool)) {
        let cut = n * self.width..(n + 1) * self.width;
        let (features, weights, threshold) = (&self.columns[cut.clone()], &self.weights[cut], self.value[n]);
        let at = |row: u16| usize::from(row) % BLOCK;
        match (features, weights) {
            ([f], [w]) => {
                let x = &columns[*f as usize];
                members.iter().for_each(|&row| put(row, w * x[at(row)] <= threshold));
            }
            ([f, g], [v, w]) => {
                let (x, y) = (&columns[*f as usize], &columns[*g as usize]);
                members.iter().for_each(|&row| put(row, v * x[at(row)] + w * y[at(row)] <= threshold));
            }
            _ => {
                for &row in members {
                    let term = |k: usize| weights[k] * columns[features[k] as usize][at(row)];
                    put(row, (1..features.len()).fold(term(0), |p, k| p + term(k)) <= threshold);
                }
            }
        }
    }

    /// Puts the rows at node `n` that lie at or below the threshold first, the others last, and counts the first.
    fn split(&self, n: usize, columns: &[[f32; BLOCK]], members: &[u16], out: &mut [u16]) -> usize {
        let last = out.len() - 1;
        let (mut l, mut r) = (0, last);
        // Both ends are written at every step and only one moves: no branch to guess wrong.
        self.project(n, columns, members, |row, below| {
            out[l.min(last)] = row;
            out[r.min(last)] = row;
            let below = usize::from(below);
            l += below;
            r = r.wrapping_sub(1 - below);
        });
        l
    }

    /// The same as [`Self::path_lengths`], each row walking each tree on its own.
    pub fn path_lengths_one_by_one(&self, data: &Matrix) -> Vec<f32> {
        (0..data.rows)
            .map(|r| {
                let x = data.row(r);
                let mut sum = 0.0_f32;
                for &root in &self.roots {
                    let mut n = root as usize;
                    while self.left[n] != 0 {
                        let cut = n * self.width..(n + 1) * self.width;
                        let mut terms = self.columns[cut.clone()]
                            .iter()
                            .zip(&self.weights[cut])
                            .map(|(f, w)| w * (x[*f as usize] as f32));
                        let first = terms.next().unwrap_or(0.0);
                        let p = terms.fold(first, |p, t| p + t);
                        n = if p <= self.value[n] { self.left[n] } else { self.right[n] } as usize;
                    }
                    sum += self.value[n];
                }
                sum
            })
            .collect()
    }

    /// Whether the arrays make a forest: children behind their parents and within bounds, as many nodes as roots and children,
    /// columns within the width, every number finite. A model file is checked with this before it is used.
    pub fn is_sound(&self) -> bool {
        let nodes = self.left.len();
        let lengths = nodes == self.right.len()
            && nodes == self.value.len()
            && nodes * self.width == self.columns.len()
            && nodes * self.width == self.weights.len();
        let child = |n: usize, c: u32| c as usize > n && (c as usize) < nodes;
        lengths
            && self.width >= 1
            && !self.roots.is_empty()
            && self.normal.is_finite()
            && self.normal > 0.0
            && self.roots.iter().all(|r| (*r as usize) < nodes)
            && nodes == self.roots.len() + 2 * self.left.iter().filter(|l| **l != 0).count()
            && (0..nodes).all(|n| {
                let (l, r) = (self.left[n], self.right[n]);
                (l == 0 && r == 0) || (child(n, l) && child(n, r))
            })
            && self.value.iter().chain(&self.weights).all(|x| x.is_finite())
            && self.columns.iter().all(|c| (*c as usize) < self.cols)
    }
}

/// A node that is still to be made.
struct Pending {
    rows: Vec<u32>,
    depth: usize,
    /// Parent, and whether this is its left child.
    parent: Option<(usize, bool)>,
}

/// Grows tree number `t`.
fn grow(data: &Matrix, sample: usize, width: usize, seed: Seed, t: usize) -> Tree {
    let mut rng = seed.derive("forest", t as u64);
    // The first `sample` places of a shuffle.
    let mut rows: Vec<u32> = (0..data.rows as u32).collect();
    for i in 0..sample {
        let j = rng.random_range(i..rows.len());
        rows.swap(i, j);
    }
    rows.truncate(sample);
    let limit = (sample as f64).log2().ceil() as usize;
    let mut tree = Tree { left: vec![], right: vec![], value: vec![], columns: vec![], weights: vec![] };
    let mut stack = vec![Pending { rows, depth: 0, parent: None }];
    while let Some(Pending { rows, depth, parent }) = stack.pop() {
        let n = tree.left.len();
        if let Some((parent, is_left)) = parent {
            if is_left { tree.left[parent] = n as u32 } else { tree.right[parent] = n as u32 }
        }
        tree.left.push(0);
        tree.right.push(0);
        tree.columns.extend(std::iter::repeat_n(0, width));
        tree.weights.extend(std::iter::repeat_n(0.0, width));
        let ranges: Vec<(u32, f32, f32)> = if depth < limit && rows.len() > 1 { spread(data, &rows) } else { vec![] };
        if ranges.is_empty() {
            tree.value.push((depth as f64 + average_path(rows.len())) as f32);
            continue;
        }
        // Columns that are constant here could not separate anything.
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        let used = width.min(ranges.len());
        let mut threshold = 0.0_f32;
        for k in 0..used {
            let pick = rng.random_range(k..order.len());
            order.swap(k, pick);
            let (column, low, high) = ranges[order[k]];
            let weight: f32 = StandardNormal.sample(&mut rng);
            let point = low + rng.random::<f32>() * (high - low);
            tree.columns[n * width + k] = column;
            tree.weights[n * width + k] = weight;
            threshold += weight * point;
        }
        let projection = |row: u32| {
            let x = data.row(row as usize);
            let mut terms =
                (0..width).map(|k| tree.weights[n * width + k] * (x[tree.columns[n * width + k] as usize] as f32));
            let first = terms.next().unwrap_or(0.0);
            terms.fold(first, |p, t| p + t)
        };
        let (left, right): (Vec<u32>, Vec<u32>) = rows.into_iter().partition(|r| projection(*r) <= threshold);
        tree.value.push(threshold);
        stack.push(Pending { rows: right, depth: depth + 1, parent: Some((n, false)) });
        stack.push(Pending { rows: left, depth: depth + 1, parent: Some((n, true)) });
    }
    tree
}

/// Columns that vary among these rows, with their least and greatest value.
fn spread(data: &Matrix, rows: &[u32]) -> Vec<(u32, f32, f32)> {
    let mut low = vec![f32::INFINITY; data.cols];
    let mut high = vec![f32::NEG_INFINITY; data.cols];
    for &row in rows {
        for (c, x) in data.row(row as usize).iter().enumerate() {
            let x = *x as f32;
            low[c] = low[c].min(x);
            high[c] = high[c].max(x);
        }
    }
    (0..data.cols).filter(|&c| low[c] < high[c]).map(|c| (c as u32, low[c], high[c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ball of normal rows, and far ones behind them.
    fn ball(rows: usize, far: usize, cols: usize, seed: u64) -> Matrix {
        let mut rng = Seed(seed).derive("ball", 0);
        let values = (0..rows + far)
            .flat_map(|r| (0..cols).map(move |_| if r < rows { 1.0 } else { 6.0 }))
            .map(|scale| {
                let x: f64 = StandardNormal.sample(&mut rng);
                x * scale
            })
            .collect();
        Matrix::new(rows + far, cols, values)
    }

    #[test]
    fn carrying_rows_together_equals_walking_alone_to_the_bit() {
        for (level, cols) in [(0, 5), (1, 5), (3, 7), (9, 2)] {
            let data = ball(5_000, 100, cols, level as u64);
            let forest = Forest::fit(&data, Options { trees: 30, sample: 256, level }, Seed(1));
            assert!(forest.is_sound());
            let (together, alone) = (forest.path_lengths(&data), forest.path_lengths_one_by_one(&data));
            assert!(together.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn far_rows_score_higher_and_scores_are_those_of_the_paper() {
        let data = ball(2_000, 20, 6, 3);
        let scores = Forest::fit(&data, Options::default(), Seed(5)).score(&data);
        assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
        let mut normal = scores[..2_000].to_vec();
        normal.sort_unstable_by(f64::total_cmp);
        // Section 2 of Liu et al.: about a half without distinct anomalies, clearly above for these.
        assert!((0.35..0.5).contains(&normal[1_000]), "{}", normal[1_000]);
        let above = scores[2_000..].iter().filter(|s| **s > normal[1_980]).count();
        assert!(above >= 19, "{above} of 20");
    }

    #[test]
    fn path_lengths_use_exact_harmonic_numbers() {
        assert_eq!(average_path(1), 0.0);
        assert_eq!(average_path(2), 1.0);
        assert!((average_path(3) - (3.0 - 4.0 / 3.0)).abs() < 1e-12);
        let exact: f64 = (1..256).map(|i| 1.0 / f64::from(i)).sum();
        assert!((average_path(256) - (2.0 * exact - 2.0 * 255.0 / 256.0)).abs() < 1e-9);
    }

    #[test]
    fn equal_seeds_grow_equal_forests_on_any_number_of_threads() {
        let data = ball(1_000, 5, 4, 9);
        let grow = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Forest::fit(&data, Options::default(), Seed(2)))
        };
        assert_eq!(grow(1), grow(2));
        assert_ne!(grow(1), Forest::fit(&data, Options::default(), Seed(3)));
    }

    #[test]
    fn one_row_equal_rows_and_wide_rows_are_no_trouble() {
        for data in [ball(1, 0, 3, 1), Matrix::new(50, 2, vec![1.5; 100]), ball(30, 0, 2_000, 1)] {
            let forest = Forest::fit(&data, Options { trees: 20, ..Options::default() }, Seed(1));
            assert!(forest.is_sound());
            assert!(forest.score(&data).iter().all(|s| s.is_finite()));
        }
        let forest = Forest::fit(&ball(10, 0, 2, 1), Options::default(), Seed(1));
        assert!(forest.score(&Matrix::new(0, 2, vec![])).is_empty());
    }

    #[test]
    fn forged_arrays_are_no_forest() {
        let sound = Forest::fit(&ball(300, 0, 3, 4), Options { trees: 3, ..Options::default() }, Seed(1));
        let mut circular = sound.clone();
        circular.left[5] = 2;
        circular.right[5] = 3;
        let mut outside = sound.clone();
        outside.left[0] = u32::MAX;
        let mut column = sound.clone();
        column.columns[0] = 99;
        let mut nan = sound.clone();
        nan.value[1] = f32::NAN;
        let mut short = sound.clone();
        short.weights.pop();
        let mut fewer = sound;
        fewer.roots.pop();
        for forged in [circular, outside, column, nan, short, fewer] {
            assert!(!forged.is_sound());
        }
    }
}
