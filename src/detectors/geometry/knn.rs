//! k-nearest-neighbour distance (Ramaswamy, Rastogi & Shim 2000; the mean variant of Angiulli & Pizzuti 2002): how far a row
//! is, on average, from the normal rows nearest to it.
//!
//! Two numbers of neighbours are averaged: few see what is odd in its surroundings, many see clumps of anomalies for what they
//! are. Distances are measured between compressed values, 2 sign(x) ln(1 + |x| / 2): within two deviations they hardly
//! change, but one wild value must not weigh more than many moderate ones.
//!
//! Distances to all reference rows come from blocked matrix products; at these widths and numbers of rows that beats every
//! tree. Memory: the references, and one row of distances for each row of a block.

use ndarray::Array2;

use super::linalg::{squared_distances, squared_norms};
use super::matrix::Matrix;

/// Rows that others are compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// The reference rows, compressed; at least one.
    pub references: Matrix,
    /// How many of them count: few and many, each at least 1 and at most all.
    pub k: [usize; 2],
    norms: Vec<f64>,
}

/// Share of the references that are many.
const MANY: f64 = 0.05;

/// Neighbours that are few, if there are as many.
const FEW: usize = 20;

/// What distances are measured between.
fn compress(rows: &Matrix) -> Matrix {
    let values = rows.values.iter().map(|x| 2.0 * (x.abs() / 2.0).ln_1p().copysign(*x)).collect();
    Matrix::new(rows.rows, rows.cols, values)
}

impl Neighbours {
    /// With k = 20 and max(20, 5 % of the references), or all of them; at least one.
    pub fn fit(references: &Matrix) -> Self {
        let n = references.rows;
        let many = FEW.max((n as f64 * MANY) as usize);
        Self::with(compress(references), [FEW.min(n), many.min(n)])
    }

    /// With one neighbour: for comparison alone.
    pub fn comparing(references: &Matrix) -> Self {
        Self::with(compress(references), [1, 1])
    }

    /// From compressed references and numbers of neighbours.
    pub fn with(references: Matrix, k: [usize; 2]) -> Self {
        let holds = 1 <= k[0] && k[0] <= k[1] && k[1] <= references.rows;
        assert!(holds, "as many neighbours as there are references, at least one");
        let norms = squared_norms(references.view());
        Self { references, k, norms }
    }

    /// Mean distance of each row to its nearest references, averaged over few and many of them. `own` is the place among the
    /// references of a row that is one itself, which does not count.
    pub fn score(&self, rows: &Matrix, own: impl Fn(usize) -> Option<usize> + Sync) -> Vec<f64> {
        compress(rows).by_blocks(|from, block| {
            let mut distances = Array2::zeros((block.nrows(), self.references.rows));
            squared_distances(block, self.references.view(), &self.norms, distances.view_mut());
            distances
                .outer_iter_mut()
                .enumerate()
                .map(|(i, mut row)| {
                    let mut k = self.k;
                    if let Some(own) = own(from + i) {
                        row[own] = f64::INFINITY;
                        k = k.map(|k| k.min(self.references.rows - 1));
                    }
                    let row = row.as_slice_mut().expect("rows lie in one piece");
                    if k[0] == 0 {
                        return 0.0;
                    }
                    row.select_nth_unstable_by(k[1] - 1, f64::total_cmp);
                    let near = &mut row[..k[1]];
                    near.select_nth_unstable_by(k[0] - 1, f64::total_cmp);
                    // One order of the sum, however the selection left them.
                    let (few, rest) = near.split_at_mut(k[0]);
                    few.sort_unstable_by(f64::total_cmp);
                    rest.sort_unstable_by(f64::total_cmp);
                    let few: f64 = few.iter().map(|d| d.sqrt()).sum();
                    let many = few + rest.iter().map(|d| d.sqrt()).sum::<f64>();
                    f64::midpoint(few / k[0] as f64, many / k[1] as f64)
                })
                .collect()
        })
    }

    /// The reference nearest to a row.
    pub fn nearest(&self, row: &[f64]) -> usize {
        let row = compress(&Matrix::new(1, row.len(), row.to_vec())).values;
        let distance = |r: usize| self.references.row(r).iter().zip(&row).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let of = (0..self.references.rows).map(|r| (distance(r), r));
        of.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, r)| r)
    }

    /// A reference row as it was before it was compressed.
    pub fn reference(&self, r: usize) -> Vec<f64> {
        self.references.row(r).iter().map(|x| 2.0 * (x.abs() / 2.0).exp_m1().copysign(*x)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Matrix {
        Matrix::new(5, 1, vec![0.0, 1.0, 2.0, 3.0, 10.0])
    }

    #[test]
    fn the_score_is_the_mean_distance_to_the_nearest_references() {
        let n = Neighbours::with(line(), [2, 2]);
        let at = |x: f64| 2.0 * (x / 2.0).exp_m1();
        let near = |found: Vec<f64>, expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        };
        near(n.score(&Matrix::new(2, 1, vec![0.0, at(4.0)]), |_| None), &[0.5, 1.5]);
        near(
            n.score(&Matrix::new(5, 1, line().values.into_iter().map(at).collect()), Some),
            &[1.5, 1.0, 1.0, 1.5, 7.5],
        );
        near(Neighbours::with(line(), [1, 2]).score(&Matrix::new(1, 1, vec![0.0]), |_| None), &[0.25]);
        assert_eq!(n.nearest(&[at(8.0)]), 4);
        assert!((n.reference(3)[0] - at(3.0)).abs() < 1e-9);
    }

    #[test]
    fn one_reference_is_enough_and_alone_is_not_far_from_itself() {
        let alone = Matrix::new(1, 1, vec![0.0]);
        let n = Neighbours::fit(&alone);
        assert_eq!(n.score(&Matrix::new(1, 1, vec![1.0]), |_| None), [2.0 * 1.5_f64.ln()]);
        assert_eq!(n.score(&alone, Some), [0.0]);
    }
}
