//! One-class support vector machine (Schölkopf et al. 2001): how far a row lies outside the surface that encloses most
//! training rows in the space of a Gaussian kernel.
//!
//! Fitted by `linfa-svm` on at most [`MOST_ROWS`] rows, because its kernel matrix is dense: 32 MB. linfa keeps its result to
//! itself but for a yes or no, so the support vectors are kept here and the decision value computed from them. Its solver
//! panics on parameters out of range; they are computed and checked here.

use linfa::DatasetBase;
use linfa::dataset::Pr;
use linfa::traits::Fit;
use linfa_svm::Svm;
use ndarray::{Array1, Array2, Axis};

use super::linalg::{squared_distances, squared_norms};
use super::matrix::Matrix;

/// Most rows that are trained on.
pub const MOST_ROWS: usize = 2_000;

/// Share of the training rows that may lie outside, and at least so many are support vectors.
const NU: f64 = 0.05;

/// Precision of the solver, that of LIBSVM.
const PRECISION: f64 = 1e-3;

/// A fitted machine.
#[derive(Debug, Clone, PartialEq)]
pub struct OneClassSvm {
    /// Rows that hold the surface up.
    pub support: Matrix,
    /// Their weights, > 0.
    pub weights: Vec<f64>,
    /// Height of the surface.
    pub rho: f64,
    /// Width of the kernel exp(−gamma |x − y|²), > 0.
    pub gamma: f64,
    norms: Vec<f64>,
}

impl OneClassSvm {
    /// Fits to at least one row; of more than [`MOST_ROWS`] to evenly spaced ones. gamma is 1 / (columns × variance), as
    /// scikit-learn's "scale".
    pub fn fit(rows: &Matrix) -> Self {
        let n = rows.rows.min(MOST_ROWS);
        let picked: Vec<usize> = (0..n).map(|i| i * rows.rows / n).collect();
        let rows = rows.select(&picked);
        let values = rows.values.len() as f64;
        let mean = rows.values.iter().sum::<f64>() / values;
        let variance = rows.values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values;
        let gamma = if variance > 0.0 { 1.0 / (rows.cols as f64 * variance) } else { 1.0 };
        Self::fit_with(&rows, NU, gamma)
    }

    /// Fits with given parameters, 0 < nu ≤ 1 and gamma > 0.
    pub fn fit_with(rows: &Matrix, nu: f64, gamma: f64) -> Self {
        assert!(rows.rows > 0 && 0.0 < nu && nu <= 1.0, "rows, and a share of them");
        assert!(0.0 < gamma && gamma.is_finite(), "a kernel of some width");
        let records = rows.view().to_owned();
        let data = DatasetBase::new(records, Array1::from_elem(rows.rows, ()));
        let machine: Svm<f64, bool> = Svm::<f64, Pr>::params()
            .nu_weight(nu)
            .gaussian_kernel(1.0 / gamma)
            .eps(PRECISION)
            .fit(&data)
            .expect("parameters were checked");
        // What linfa itself takes for a support vector.
        let is_support = |a: &f64| a.abs() > 100.0 * f64::EPSILON;
        let held: Vec<usize> = (0..rows.rows).filter(|r| is_support(&machine.alpha[*r])).collect();
        let weights = held.iter().map(|r| machine.alpha[*r]).collect();
        Self::with(rows.select(&held), weights, machine.rho, gamma)
    }

    /// From its parts.
    pub fn with(support: Matrix, weights: Vec<f64>, rho: f64, gamma: f64) -> Self {
        let norms = squared_norms(support.view());
        Self { support, weights, rho, gamma, norms }
    }

    /// Height of the surface above each row; positive outside.
    pub fn score(&self, rows: &Matrix) -> Vec<f64> {
        rows.by_blocks(|_, block| {
            let mut distances = Array2::zeros((block.nrows(), self.support.rows));
            squared_distances(block, self.support.view(), &self.norms, distances.view_mut());
            let sum = |row: ndarray::ArrayView1<'_, f64>| -> f64 {
                row.iter().zip(&self.weights).map(|(d, w)| w * (-self.gamma * d).exp()).sum()
            };
            distances.axis_iter(Axis(0)).map(|row| self.rho - sum(row)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the reference run: a sheared grid.
    fn grid() -> Matrix {
        let values = (0..100).flat_map(|i| [f64::from(i % 10), f64::from(i / 10) + 0.3 * f64::from(i % 10)]).collect();
        Matrix::new(100, 2, values)
    }

    #[test]
    fn decision_values_match_libsvm() {
        // scikit-learn 1.9.1 (LIBSVM): OneClassSVM(gamma=0.1, nu=0.2, tol=1e-6).decision_function, of the rows below.
        let m = OneClassSvm::fit_with(&grid(), 0.2, 0.1);
        let rows = Matrix::new(4, 2, vec![4.5, 6.0, 0.0, 0.0, 9.0, 2.7, 12.0, -3.0]);
        for (found, expected) in
            m.score(&rows).into_iter().zip([-0.005381955969, -0.330690643758, -0.205693066866, -3.156448384148])
        {
            assert!((found + expected).abs() < 5e-3, "{found} and {expected}");
        }
    }

    #[test]
    fn the_decision_value_is_linfas() {
        let rows = grid();
        let data = DatasetBase::new(rows.view().to_owned(), Array1::from_elem(100, ()));
        let params = Svm::<f64, Pr>::params().nu_weight(0.2).gaussian_kernel(10.0).eps(PRECISION);
        let machine: Svm<f64, bool> = params.fit(&data).unwrap();
        let own = OneClassSvm::fit_with(&rows, 0.2, 0.1).score(&rows);
        for (r, own) in own.into_iter().enumerate() {
            let theirs = machine.weighted_sum(&rows.view().row(r)) - machine.rho;
            assert!((own + theirs).abs() < 1e-9);
        }
    }

    #[test]
    fn one_row_equal_rows_and_wide_rows_have_a_surface() {
        for rows in [
            Matrix::new(1, 2, vec![1.0, 2.0]),
            Matrix::new(60, 2, vec![3.0; 120]),
            Matrix::new(40, 900, vec![0.5; 36_000]),
        ] {
            assert!(OneClassSvm::fit(&rows).score(&rows).iter().all(|s| s.is_finite()));
        }
    }
}
