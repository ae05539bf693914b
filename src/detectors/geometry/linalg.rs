//! The little linear algebra that distances and covariances need: blocked, so that nearly all of it is matrix products
//! (`ndarray` on `matrixmultiply`), on any number of threads with the same result.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::matrix::Matrix;

/// Width of a block: a square of it stays in the nearest cache.
const BLOCK: usize = 64;

/// Rows that are worked on together by one thread.
pub const ROWS: usize = 64;

impl Matrix {
    /// The values as `ndarray` sees them.
    pub fn view(&self) -> ArrayView2<'_, f64> {
        ArrayView2::from_shape((self.rows, self.cols), &self.values).expect("a matrix holds rows × cols values")
    }

    /// Calls `work` with every block of up to [`ROWS`] rows and its first row's number, on all threads, and puts the results
    /// one after the other.
    pub fn by_blocks<T: Send>(&self, work: impl Fn(usize, ArrayView2<'_, f64>) -> Vec<T> + Sync) -> Vec<T> {
        let starts: Vec<usize> = (0..self.rows).step_by(ROWS).collect();
        let view = self.view();
        starts
            .into_par_iter()
            .flat_map_iter(|from| work(from, part(view, from..(from + ROWS).min(self.rows), 0..self.cols)))
            .collect()
    }
}

/// A rectangle of a matrix.
pub fn part<T>(m: ArrayView2<'_, T>, rows: Range<usize>, cols: Range<usize>) -> ArrayView2<'_, T> {
    let m = m.split_at(Axis(0), rows.end).0.split_at(Axis(0), rows.start).1;
    m.split_at(Axis(1), cols.end).0.split_at(Axis(1), cols.start).1
}

/// A rectangle of a matrix, to be changed.
pub fn part_mut<T>(m: ArrayViewMut2<'_, T>, rows: Range<usize>, cols: Range<usize>) -> ArrayViewMut2<'_, T> {
    let m = m.split_at(Axis(0), rows.end).0.split_at(Axis(0), rows.start).1;
    m.split_at(Axis(1), cols.end).0.split_at(Axis(1), cols.start).1
}

/// Squared Euclidean length of each row.
pub fn squared_norms(rows: ArrayView2<'_, f64>) -> Vec<f64> {
    rows.axis_iter(Axis(0)).map(|r| r.dot(&r)).collect()
}

/// Squared Euclidean distances of every row of `a` to every row of `b`, |x|² + |y|² − 2xy, never below 0.
pub fn squared_distances(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    b_norms: &[f64],
    mut out: ArrayViewMut2<'_, f64>,
) {
    general_mat_mul(-2.0, &a, &b.t(), 0.0, &mut out);
    for (mut row, x) in out.axis_iter_mut(Axis(0)).zip(squared_norms(a)) {
        row.iter_mut().zip(b_norms).for_each(|(d, y)| *d = (*d + x + y).max(0.0));
    }
}

/// Mean of the rows.
pub fn mean(rows: ArrayView2<'_, f64>) -> Vec<f64> {
    let n = rows.nrows().max(1) as f64;
    let mut out = vec![0.0; rows.ncols()];
    for row in rows.axis_iter(Axis(0)) {
        out.iter_mut().zip(row).for_each(|(m, x)| *m += x / n);
    }
    out
}

/// Weighted scatter Σ wᵢ (xᵢ − m)(xᵢ − m)ᵀ.
pub fn scatter(rows: ArrayView2<'_, f64>, weights: Option<&[f64]>, mean: &[f64]) -> Array2<f64> {
    let d = rows.ncols();
    // Chunks of a fixed size, added in their order: the sum does not depend on the threads. Few and large chunks keep the
    // partial sums of wide rows small beside the rows.
    let chunk = (1_usize << 22).div_ceil(d.max(1)).max(256);
    let parts: Vec<Array2<f64>> = (0..rows.nrows())
        .step_by(chunk)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|from| {
            let mut x = part(rows, from..(from + chunk).min(rows.nrows()), 0..d).to_owned();
            for (i, mut row) in x.axis_iter_mut(Axis(0)).enumerate() {
                let w = weights.map_or(1.0, |w| w[from + i].sqrt());
                row.iter_mut().zip(mean).for_each(|(x, m)| *x = (*x - m) * w);
            }
            x.t().dot(&x)
        })
        .collect();
    parts.into_iter().fold(Array2::zeros((d, d)), |sum, part| sum + part)
}

/// A lower triangular Cholesky factor.
#[derive(Debug, Clone, PartialEq)]
pub struct Cholesky {
    /// L, zero above the diagonal.
    pub lower: Array2<f64>,
}

impl Cholesky {
    /// L with L Lᵀ = A; `None` unless A is positive definite.
    pub fn new(mut a: Array2<f64>) -> Option<Self> {
        let n = a.nrows();
        for from in (0..n).step_by(BLOCK) {
            let to = (from + BLOCK).min(n);
            for j in from..to {
                for k in from..j {
                    let sum: f64 = (from..k).map(|i| a[(j, i)] * a[(k, i)]).sum();
                    a[(j, k)] = (a[(j, k)] - sum) / a[(k, k)];
                }
                let rest = a[(j, j)] - (from..j).map(|i| a[(j, i)] * a[(j, i)]).sum::<f64>();
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                a[(j, j)] = rest.sqrt();
            }
            let (head, mut tail) = a.view_mut().split_at(Axis(0), to);
            let below = n - to;
            let diagonal = part(head.view(), from..to, from..to);
            solve_small(diagonal, part_mut(tail.view_mut(), 0..below, from..to));
            let panel = part(tail.view(), 0..below, from..to).to_owned();
            // Only what lies on and below the diagonal, a band at a time.
            for at in (0..below).step_by(4 * BLOCK) {
                let end = (at + 4 * BLOCK).min(below);
                let (band, across) =
                    (part(panel.view(), at..end, 0..to - from), part(panel.view(), 0..end, 0..to - from));
                let mut rest = part_mut(tail.view_mut(), at..end, to..to + end);
                general_mat_mul(-1.0, &band, &across.t(), 1.0, &mut rest);
            }
        }
        for i in 0..n {
            a.row_mut(i).iter_mut().skip(i + 1).for_each(|x| *x = 0.0);
        }
        Some(Self { lower: a })
    }

    /// L from its numbers, row by row; `None` unless they make a lower triangle with a positive diagonal.
    pub fn from_numbers(numbers: &[f64], n: usize) -> Option<Self> {
        let lower = Array2::from_shape_vec((n, n), numbers.to_vec()).ok()?;
        let triangular = lower.indexed_iter().all(|((i, j), x)| if i == j { *x > 0.0 } else { i > j || *x == 0.0 });
        triangular.then_some(Self { lower })
    }

    /// Puts L⁻¹x in the place of every row x.
    pub fn whiten(&self, mut rows: ArrayViewMut2<'_, f64>) {
        let n = self.lower.nrows();
        for from in (0..n).step_by(BLOCK) {
            let to = (from + BLOCK).min(n);
            let (done, mut rest) = rows.view_mut().split_at(Axis(1), from);
            let all = rest.nrows();
            let mut now = part_mut(rest.view_mut(), 0..all, 0..to - from);
            general_mat_mul(-1.0, &done, &part(self.lower.view(), from..to, 0..from).t(), 1.0, &mut now);
            solve_small(part(self.lower.view(), from..to, from..to), now);
        }
    }

    /// Logarithm of the determinant of A.
    pub fn ln_det(&self) -> f64 {
        2.0 * self.lower.diag().iter().map(|x| x.ln()).sum::<f64>()
    }

    /// The inverse of A.
    pub fn inverse(&self) -> Array2<f64> {
        let mut columns = Array2::eye(self.lower.nrows());
        // Row i becomes L⁻¹eᵢ; their products are those of the columns of L⁻¹.
        self.whiten(columns.view_mut());
        columns.dot(&columns.t())
    }
}

/// Puts L⁻¹x in the place of every row x, of a small L.
fn solve_small(lower: ArrayView2<'_, f64>, mut rows: ArrayViewMut2<'_, f64>) {
    for mut row in rows.axis_iter_mut(Axis(0)) {
        for j in 0..row.len() {
            let sum: f64 = (0..j).map(|i| lower[(j, i)] * row[i]).sum();
            row[j] = (row[j] - sum) / lower[(j, j)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use rand::RngExt;

    fn random(rows: usize, cols: usize, seed: u64) -> Matrix {
        let mut rng = Seed(seed).derive("linalg", 0);
        Matrix::new(rows, cols, (0..rows * cols).map(|_| rng.random::<f64>() * 4.0 - 2.0).collect())
    }

    #[test]
    fn a_factor_gives_back_its_matrix_and_its_inverse_at_any_width() {
        for d in [1, 3, 63, 64, 65, 200, 300] {
            let x = random(2 * d + 5, d, d as u64);
            let m = mean(x.view());
            let a = scatter(x.view(), None, &m);
            let l = Cholesky::new(a.clone()).unwrap();
            let back = l.lower.dot(&l.lower.t());
            assert!((&back - &a).iter().all(|e| e.abs() < 1e-9 * d as f64), "{d}");
            let eye = l.inverse().dot(&a);
            assert!((&eye - &Array2::<f64>::eye(d)).iter().all(|e| e.abs() < 1e-6), "{d}");
            let mut y = x.view().to_owned();
            l.whiten(y.view_mut());
            assert!((&y.dot(&l.lower.t()) - &x.view()).iter().all(|e| e.abs() < 1e-9), "{d}");
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        assert!(Cholesky::new(ndarray::arr2(&[[1.0, 2.0], [2.0, 1.0]])).is_none());
        assert!(Cholesky::new(ndarray::arr2(&[[f64::NAN]])).is_none());
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        let (a, b) = (random(70, 9, 1), random(33, 9, 2));
        let mut out = Array2::zeros((70, 33));
        squared_distances(a.view(), b.view(), &squared_norms(b.view()), out.view_mut());
        for i in 0..70 {
            for j in 0..33 {
                let exact: f64 = a.row(i).iter().zip(b.row(j)).map(|(x, y)| (x - y).powi(2)).sum();
                assert!((out[(i, j)] - exact).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_scatter_does_not_depend_on_the_threads() {
        let x = random(40_000, 130, 3);
        let m = mean(x.view());
        let sum = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| scatter(x.view(), None, &m))
        };
        assert_eq!(sum(1), sum(2));
    }
}
