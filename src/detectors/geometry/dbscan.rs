//! DBSCAN (Ester, Kriegel, Sander & Xu 1996) as a detector: how far a row is from the nearest core point, in units of eps.
//!
//! Clustering is `linfa-clustering`'s. Its own neighbour searches are slow beyond a few columns, so it is given one of ours
//! ([`Precomputed`]): all neighbourhoods are found at once by blocked matrix products and kept as one bit per pair. The sample
//! is bounded, so the memory is known beforehand: rows² / 8 bytes, 12.5 MB for 10,000 rows.

use linfa::Float;
use linfa::traits::Transformer;
use linfa_clustering::Dbscan as Clustering;
use linfa_nn::distance::{Distance, L2Dist};
use linfa_nn::{BuildError, NearestNeighbour, NearestNeighbourIndex, NnError};
use ndarray::{Array2, ArrayBase, ArrayView1, ArrayView2, Axis, Data, Ix2};

use super::linalg::{squared_distances, squared_norms};
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
    bits: Vec<u64>,
}

impl Precomputed {
    /// Finds all pairs within `eps`.
    pub fn new(rows: &Matrix, eps: f64) -> Self {
        let words = rows.rows.div_ceil(64);
        let norms = squared_norms(rows.view());
        let bits = rows.by_blocks(|_, block| {
            let mut distances = Array2::zeros((block.nrows(), rows.rows));
            squared_distances(block, rows.view(), &norms, distances.view_mut());
            let word =
                |chunk: &[f64]| chunk.iter().enumerate().fold(0, |w, (b, d)| w | (u64::from(*d <= eps * eps) << b));
            let row =
                |d: ArrayView1<'_, f64>| d.as_slice().expect("rows lie in one piece").chunks(64).map(word).collect();
            distances.axis_iter(Axis(0)).flat_map(|d| -> Vec<u64> { row(d) }).collect()
        });
        Self { eps, rows: rows.rows, words, bits }
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
        let k = (2 * rows.cols).min(MOST_NEIGHBOURS).min(rows.rows - 1);
        let mut distances = kth_distances(rows, k);
        distances.sort_unstable_by(f64::total_cmp);
        let least = distances.iter().copied().find(|d| *d > 1e-6).unwrap_or(1.0);
        let eps = knee(&distances).max(least);
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
            .map(|i| f64::from(u8::from(i / cols % 3 == 0)) * 6.0 + rng.random::<f64>() + rng.random::<f64>())
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
