//! DBSCAN (Ester, Kriegel, Sander & Xu 1996) as a detector: how far a row is from the nearest core point, in units of eps.
//!
//! Clustering is `linfa-clustering`'s. Its own neighbour searches are slow beyond a few columns, so it is given one of ours
//! ([`Precomputed`]): all neighbourhoods are found at once by blocked matrix products and kept as one bit per pair. The sample
//! is bounded, so the memory is known beforehand: rows² × 3 / 16 bytes, 19 MB for 10,000 rows.

use std::sync::Arc;

use linfa::Float;
use linfa::traits::Transformer;
use linfa_clustering::Dbscan as Clustering;
use linfa_nn::distance::{Distance, L2Dist};
use linfa_nn::{BuildError, NearestNeighbour, NearestNeighbourIndex, NnError};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayBase, ArrayView1, ArrayView2, Axis, Data, Ix2};
use rayon::prelude::*;

use super::linalg::{part, part_mut, squared_distances, squared_norms};
use super::matrix::Matrix;

/// A clustered sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Dbscan {
    /// Rows with at least `min_points` rows, themselves included, within eps.
    pub cores: Matrix,
    /// Cluster of each core point, numbered from 0.
    pub clusters: Vec<u32>,
    /// Radius of a neighbourhood, > 0.
    pub eps: f64,
    norms: Vec<f64>,
}

/// Which rows lie within eps of each other, one bit per pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Precomputed {
    eps: f64,
    rows: usize,
    words: usize,
    /// Shared: linfa takes a copy of what it searches with.
    bits: Arc<Vec<u64>>,
}

/// Rows of a tile, a multiple of 64; with [`ACROSS`] its distances fill half of a second level cache.
const BAND: usize = 256;
const ACROSS: usize = 512;

impl Precomputed {
    /// Finds all pairs within `eps`, each once: bits below the diagonal are those above it, mirrored.
    pub fn new(rows: &Matrix, eps: f64) -> Self {
        let n = rows.rows;
        let words = n.div_ceil(64);
        let tiles = Tiles::new(rows, eps);
        let starts: Vec<usize> = (0..n).step_by(BAND).collect();
        let upper: Vec<Vec<u64>> = starts.par_iter().map(|from| tiles.band(*from)).collect();
        let bits = starts
            .par_iter()
            .flat_map_iter(|&from| {
                let band = &upper[from / BAND];
                let mut all = vec![0; band.len() / (words - from / 64) * words];
                for (own, all) in band.chunks(words - from / 64).zip(all.chunks_mut(words)) {
                    all[from / 64..].copy_from_slice(own);
                }
                for above in 0..from / 64 {
                    let (other, first) = (&upper[above * 64 / BAND], above * 64 / BAND * BAND);
                    let wide = words - first / 64;
                    for word in from / 64..(from + BAND).min(n).div_ceil(64) {
                        let column = (above * 64 - first) * wide + word - first / 64;
                        let mirrored = transposed(&std::array::from_fn(|r| other[column + r * wide]));
                        let rows = all.chunks_mut(words).skip(word * 64 - from);
                        rows.zip(mirrored).for_each(|(row, bits)| row[above] = bits);
                    }
                }
                all
            })
            .collect();
        Self { eps, rows: n, words, bits: Arc::new(bits) }
    }

    /// The rows within eps of a row, itself included, ascending.
    fn within(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let words = self.bits[row * self.words..(row + 1) * self.words].iter().enumerate();
        words.flat_map(|(i, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(i * 64 + bit)
            })
        })
    }

    /// How many rows lie within eps of a row, itself included.
    fn count(&self, row: usize) -> usize {
        self.bits[row * self.words..(row + 1) * self.words].iter().map(|w| w.count_ones() as usize).sum()
    }
}

/// Rows in single precision, whose products cost half; pairs too close to eps to tell are measured again in double.
struct Tiles<'a> {
    rows: &'a Matrix,
    single: Array2<f32>,
    /// Squared lengths of the rows.
    norms: Vec<f32>,
    squared: f64,
    /// Largest rounding error of a squared distance, over the sum of both squared lengths: one rounding for each column and a
    /// few more, twice over.
    error: f32,
}

impl<'a> Tiles<'a> {
    fn new(rows: &'a Matrix, eps: f64) -> Self {
        let single = rows.view().mapv(|x| x as f32);
        let norms = squared_norms(rows.view()).into_iter().map(|x| x as f32).collect();
        Self { rows, single, norms, squared: eps * eps, error: (rows.cols as f32 + 8.0) * f32::EPSILON }
    }

    /// Bits of a band of rows, for all columns from its first row on.
    fn band(&self, from: usize) -> Vec<u64> {
        let n = self.rows.rows;
        let words = (n - from).div_ceil(64);
        let cols = self.rows.cols;
        let band = part(self.single.view(), from..(from + BAND).min(n), 0..cols);
        let mut bits = vec![0; band.nrows() * words];
        let mut products = Array2::zeros((band.nrows(), ACROSS));
        for start in (from..n).step_by(ACROSS) {
            let end = (start + ACROSS).min(n);
            let mut products = part_mut(products.view_mut(), 0..band.nrows(), 0..end - start);
            general_mat_mul(-2.0, &band, &part(self.single.view(), start..end, 0..cols).t(), 0.0, &mut products);
            for (i, products) in products.outer_iter().enumerate() {
                let products = products.to_slice().expect("rows lie in one piece");
                let out = &mut bits[i * words + (start - from) / 64..];
                for (k, products) in products.chunks(64).enumerate() {
                    out[k] = self.word(from + i, start + k * 64, products);
                }
            }
        }
        bits
    }

    /// Bits of up to 64 neighbouring columns.
    fn word(&self, row: usize, first: usize, products: &[f32]) -> u64 {
        let norms = &self.norms[first..first + products.len()];
        let longest = norms.iter().copied().fold(0.0, f32::max);
        let room = self.error * (self.norms[row] + longest) + f32::EPSILON * self.squared as f32;
        let limit = self.squared as f32 - self.norms[row];
        // Counted without a branch; a distance that is not a number is not far, and so a pair to measure again.
        let far: usize = products.iter().zip(norms).map(|(p, y)| usize::from(p + y > limit + room)).sum();
        if far == products.len() {
            return 0;
        }
        let mut word = 0;
        for (b, (p, y)) in products.iter().zip(norms).enumerate() {
            let near = if p + y > limit + room {
                false
            } else if p + y < limit - room {
                true
            } else {
                let (x, y) = (self.rows.row(row), self.rows.row(first + b));
                x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() <= self.squared
            };
            word |= u64::from(near) << b;
        }
        word
    }
}

/// A square of bits, mirrored at its diagonal (Hacker's Delight, section 7-3).
fn transposed(square: &[u64; 64]) -> [u64; 64] {
    let mut out = *square;
    let (mut width, mut mask) = (32, 0x0000_0000_ffff_ffff_u64);
    while width != 0 {
        let mut k = 0;
        while k < 64 {
            let swap = ((out[k] >> width) ^ out[k + width]) & mask;
            out[k] ^= swap << width;
            out[k + width] ^= swap;
            k = (k + width + 1) & !width;
        }
        width >>= 1;
        mask ^= mask << width;
    }
    out
}

impl NearestNeighbour for Precomputed {
    fn from_batch_with_leaf_size<'a, F: Float, DT: Data<Elem = F>, D: 'a + Distance<F>>(
        &self,
        batch: &'a ArrayBase<DT, Ix2>,
        _: usize,
        _: D,
    ) -> Result<Box<dyn 'a + Send + Sync + NearestNeighbourIndex<F>>, BuildError> {
        if batch.ncols() == 0 {
            return Err(BuildError::ZeroDimension);
        }
        assert_eq!(batch.nrows(), self.rows, "the batch is what the neighbourhoods were found in");
        Ok(Box::new(Index { found: self.clone(), batch: batch.view() }))
    }
}

/// Neighbourhoods beside the batch that linfa asks about.
#[derive(Debug)]
struct Index<'a, F> {
    found: Precomputed,
    batch: ArrayView2<'a, F>,
}

impl<F: Float> Index<'_, F> {
    /// The number of a row of the batch, by where it lies in memory: linfa asks with views into the batch alone.
    fn number(&self, point: ArrayView1<'_, F>) -> Result<usize, NnError> {
        if point.len() != self.batch.ncols() {
            return Err(NnError::WrongDimension);
        }
        let offset = (point.as_ptr() as usize).wrapping_sub(self.batch.as_ptr() as usize) / size_of::<F>();
        let row = offset / self.batch.ncols();
        assert!(offset.is_multiple_of(self.batch.ncols()) && row < self.batch.nrows(), "a row of the batch");
        Ok(row)
    }
}

impl<F: Float> NearestNeighbourIndex<F> for Index<'_, F> {
    fn k_nearest(&self, point: ArrayView1<'_, F>, k: usize) -> Result<Vec<(ArrayView1<'_, F>, usize)>, NnError> {
        if point.len() != self.batch.ncols() {
            return Err(NnError::WrongDimension);
        }
        let squared = |r: usize| self.batch.row(r).iter().zip(point).map(|(a, b)| (*a - *b) * (*a - *b)).sum::<F>();
        let mut order: Vec<(F, usize)> = (0..self.batch.nrows()).map(|r| (squared(r), r)).collect();
        order.sort_by(|a, b| a.partial_cmp(b).expect("finite distances"));
        Ok(order.into_iter().take(k).map(|(_, r)| (self.batch.row(r), r)).collect())
    }

    fn within_range(&self, point: ArrayView1<'_, F>, range: F) -> Result<Vec<(ArrayView1<'_, F>, usize)>, NnError> {
        assert!(range == F::cast(self.found.eps), "the range that neighbourhoods were found for");
        let row = self.number(point)?;
        Ok(self.found.within(row).map(|r| (self.batch.row(r), r)).collect())
    }
}

/// Clusters rows with `linfa-clustering`: per row its cluster, none for noise, and whether it is a core point.
pub fn cluster(rows: &Matrix, eps: f64, min_points: usize) -> (Vec<Option<usize>>, Vec<bool>) {
    let found = Precomputed::new(rows, eps);
    let is_core = (0..rows.rows).map(|r| found.count(r) >= min_points).collect();
    // linfa refuses fewer than two points; each row of one is a cluster of its own.
    if min_points < 2 || rows.rows == 0 {
        return ((0..rows.rows).map(Some).collect(), vec![true; rows.rows]);
    }
    let clustering = Clustering::params_with(min_points, L2Dist, found).tolerance(eps);
    let clusters = linfa::ParamGuard::check(clustering).map(|c| c.transform(&rows.view()).to_vec());
    (clusters.expect("at least two points and a radius above 0"), is_core)
}

/// Distance of each row to its `k`th nearest other row.
fn kth_distances(rows: &Matrix, k: usize) -> Vec<f64> {
    let norms = squared_norms(rows.view());
    rows.by_blocks(|from, block| {
        let mut distances = Array2::zeros((block.nrows(), rows.rows));
        squared_distances(block, rows.view(), &norms, distances.view_mut());
        distances
            .outer_iter_mut()
            .enumerate()
            .map(|(i, mut row)| {
                row[from + i] = 0.0;
                row.as_slice_mut().expect("rows lie in one piece").select_nth_unstable_by(k, f64::total_cmp).1.sqrt()
            })
            .collect()
    })
}

/// The knee of a curve that rises to the right: the point farthest below the line between its ends (Satopaa et al. 2011).
fn knee(ascending: &[f64]) -> f64 {
    let (first, last) = (ascending[0], ascending[ascending.len() - 1]);
    let n = (ascending.len() - 1).max(1) as f64;
    let below = |i: usize| (i as f64 / n) * (last - first) - (ascending[i] - first);
    let at = (0..ascending.len()).max_by(|a, b| below(*a).total_cmp(&below(*b))).unwrap_or(0);
    ascending[at]
}

/// Neighbours that make a core point: twice the columns, at most this many.
const MOST_NEIGHBOURS: usize = 20;

impl Dbscan {
    /// Clusters at least one row; eps is the knee of the distances to the kth neighbour, k = 2 × columns, at most 20.
    pub fn fit(rows: &Matrix) -> Self {
        Self::fit_within(rows, Self::radius(rows))
    }

    /// The radius that [`Self::fit`] chooses, > 0.
    fn radius(rows: &Matrix) -> f64 {
        let k = (2 * rows.cols).min(MOST_NEIGHBOURS).min(rows.rows - 1);
        let mut distances = kth_distances(rows, k);
        distances.sort_unstable_by(f64::total_cmp);
        let least = distances.iter().copied().find(|d| *d > 1e-6).unwrap_or(1.0);
        knee(&distances).max(least)
    }

    /// Clusters at least one row with a given radius.
    pub fn fit_within(rows: &Matrix, eps: f64) -> Self {
        let k = (2 * rows.cols).min(MOST_NEIGHBOURS).min(rows.rows - 1);
        let (clusters, is_core) = cluster(rows, eps, k + 1);
        let mut cores: Vec<usize> = (0..rows.rows).filter(|r| is_core[*r]).collect();
        if cores.is_empty() {
            // Every row has k others within the largest of the distances; eps is none of the smallest.
            cores = (0..rows.rows).collect();
        }
        let numbers = cores.iter().map(|&r| clusters[r].unwrap_or(0) as u32).collect();
        Self::with(rows.select(&cores), numbers, eps)
    }

    /// From its parts.
    pub fn with(cores: Matrix, clusters: Vec<u32>, eps: f64) -> Self {
        let norms = squared_norms(cores.view());
        Self { cores, clusters, eps, norms }
    }

    /// Distance of each row to the nearest core point over eps: at most 1 within a cluster.
    pub fn score(&self, rows: &Matrix) -> Vec<f64> {
        rows.by_blocks(|_, block| {
            let mut distances = Array2::zeros((block.nrows(), self.cores.rows));
            squared_distances(block, self.cores.view(), &self.norms, distances.view_mut());
            let least = |row: ArrayView1<'_, f64>| row.iter().copied().fold(f64::INFINITY, f64::min);
            distances.axis_iter(Axis(0)).map(|row| least(row).sqrt() / self.eps).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use linfa_nn::CommonNearestNeighbour;
    use rand::RngExt;

    fn clouds(rows: usize, cols: usize) -> Matrix {
        let mut rng = Seed(1).derive("dbscan", 0);
        let values = (0..rows * cols)
            .map(|i| {
                f64::from(u8::from((i / cols).is_multiple_of(3))) * 6.0 + rng.random::<f64>() + rng.random::<f64>()
            })
            .collect();
        Matrix::new(rows, cols, values)
    }

    #[test]
    fn our_neighbours_give_linfa_the_clusters_that_its_own_give_it() {
        for (cols, eps) in [(2, 0.12), (3, 0.3), (5, 0.6)] {
            let rows = clouds(700, cols);
            let own = Clustering::params_with(5, L2Dist, CommonNearestNeighbour::LinearSearch).tolerance(eps);
            let expected = linfa::ParamGuard::check(own).unwrap().transform(&rows.view()).to_vec();
            let (found, _) = cluster(&rows, eps, 5);
            assert_eq!(found, expected, "{cols} columns");
            assert!(found.iter().flatten().max() >= Some(&1), "more than one cluster");
        }
    }

    #[test]
    fn pairs_are_those_of_the_definition_at_any_number_of_rows_and_any_size_of_values() {
        for (n, cols, scale) in
            [(1, 2, 1.0), (63, 3, 1.0), (64, 1, 1e-9), (257, 4, 1e3), (700, 3, 1e12), (900, 9, 1e200)]
        {
            let mut rows = clouds(n, cols);
            rows.values.iter_mut().for_each(|x| *x = (*x + 40.0) * scale);
            let eps = 0.4 * scale * cols as f64;
            let found = Precomputed::new(&rows, eps);
            for a in 0..n {
                let near = |b: &usize| {
                    rows.row(a).iter().zip(rows.row(*b)).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() <= eps * eps
                };
                let expected: Vec<usize> = (0..n).filter(near).collect();
                assert_eq!(found.within(a).collect::<Vec<_>>(), expected, "row {a} of {n}");
                assert_eq!(found.count(a), expected.len());
            }
        }
    }

    #[test]
    fn a_row_far_from_every_cluster_scores_above_one_and_core_points_do_not() {
        let rows = clouds(600, 3);
        let d = Dbscan::fit(&rows);
        assert!(d.score(&d.cores).iter().all(|s| *s < 1e-6));
        assert!(d.score(&Matrix::new(1, 3, vec![4.0, 4.0, 4.0]))[0] > 2.0);
    }

    #[test]
    fn one_row_equal_rows_and_wide_rows_cluster() {
        for rows in [Matrix::new(1, 2, vec![1.0, 2.0]), Matrix::new(60, 2, vec![3.0; 120]), clouds(30, 500)] {
            let d = Dbscan::fit(&rows);
            assert!(d.eps > 0.0 && d.score(&rows).iter().all(|s| s.is_finite()));
        }
    }

    #[test]
    fn the_knee_is_where_a_flat_curve_turns_up() {
        let curve: Vec<f64> =
            (0..100).map(|i| if i < 90 { f64::from(i) * 0.01 } else { 0.9 + f64::from(i - 90) }).collect();
        assert!((0.8..1.0).contains(&knee(&curve)));
    }
}
