//! One-class support vector machine (Schölkopf et al. 2001): how far a row lies outside the surface that encloses most
//! training rows in the space of a Gaussian kernel.
//!
//! Minimises ½ αᵀKα under 0 ≤ αᵢ ≤ 1 and Σα = νn by sequential minimal optimisation with second-order working sets (Fan, Chen &
//! Lin 2005), as LIBSVM does. Columns of the kernel are computed when they are first needed, which is for support vectors: a
//! twentieth of the rows. `linfa-svm` fits the same machine, but fills the whole kernel first and took 20 times as long as
//! LIBSVM; it is what a test holds this solver equal to.

use ndarray::{Array2, Axis};

use super::linalg::{squared_distances, squared_norms};
use super::matrix::Matrix;

/// Most rows that are trained on: the solver's time grows with their square.
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
        let (alpha, rho) = solve(&mut Kernel::new(rows, gamma), nu);
        let held: Vec<usize> = (0..rows.rows).filter(|r| alpha[*r] > 0.0).collect();
        let weights = held.iter().map(|r| alpha[*r]).collect();
        Self::with(rows.select(&held), weights, rho, gamma)
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

/// Columns of the kernel matrix, computed when they are asked for.
struct Kernel<'a> {
    rows: &'a Matrix,
    /// The rows column by column: a sum over columns then runs along rows, many at a time.
    across: Vec<f64>,
    norms: Vec<f64>,
    gamma: f64,
    columns: Vec<Option<Vec<f64>>>,
}

impl<'a> Kernel<'a> {
    fn new(rows: &'a Matrix, gamma: f64) -> Self {
        let across = rows.view().t().iter().copied().collect();
        Self { rows, across, norms: squared_norms(rows.view()), gamma, columns: vec![None; rows.rows] }
    }

    fn column(&mut self, i: usize) -> &[f64] {
        let (rows, across, norms, gamma) = (self.rows, &self.across, &self.norms, self.gamma);
        self.columns[i].get_or_insert_with(|| {
            let mut out = vec![0.0; rows.rows];
            for (x, column) in rows.row(i).iter().zip(across.chunks_exact(rows.rows)) {
                out.iter_mut().zip(column).for_each(|(sum, y)| *sum += x * y);
            }
            out.iter_mut().zip(norms).for_each(|(k, y)| *k = exp(-gamma * (norms[i] + y - 2.0 * *k).max(0.0)));
            out
        })
    }
}

/// eˣ for x ≤ 0 to a relative error below 1e-9, in steps that a compiler does for several x at once: x = n ln 2 + r with a whole n,
/// a polynomial for eʳ, and n as the exponent of the result. Below −700, where the kernel is nothing, e⁻⁷⁰⁰.
fn exp(x: f64) -> f64 {
    /// Adding it leaves a number's whole part in the lowest bits.
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    let x = if x < -700.0 { -700.0 } else { x };
    let shifted = x * std::f64::consts::LOG2_E + WHOLE;
    let r = x - (shifted - WHOLE) * std::f64::consts::LN_2;
    let series = [1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let power = series.into_iter().fold(0.0, |sum, c| sum * r + c);
    power * f64::from_bits((shifted.to_bits() + 1023) << 52)
}

/// The weights αᵢ and the height ρ of the surface.
fn solve(kernel: &mut Kernel<'_>, nu: f64) -> (Vec<f64>, f64) {
    /// Stands for a curvature that rounding made 0: of two equal rows.
    const FLAT: f64 = 1e-12;
    let n = kernel.rows.rows;
    // The first νn rows hold the surface up to begin with, as in LIBSVM.
    let total = nu * n as f64;
    let mut alpha: Vec<f64> = (0..n).map(|i| (total - i as f64).clamp(0.0, 1.0)).collect();
    let mut gradient = vec![0.0; n];
    for i in (0..n).filter(|i| alpha[*i] > 0.0).collect::<Vec<_>>() {
        let weight = alpha[i];
        gradient.iter_mut().zip(kernel.column(i)).for_each(|(g, k)| *g += weight * k);
    }
    // Each round moves weight from one row to another, at most LIBSVM's number of times.
    for _ in 0..(100 * n).max(10_000_000) {
        // Where weight would help most, and where taking it away gains most for the curvature between them.
        let mut up: Option<usize> = None;
        for i in (0..n).filter(|i| alpha[*i] < 1.0) {
            if up.is_none_or(|u| gradient[i] < gradient[u]) {
                up = Some(i);
            }
        }
        let Some(i) = up else { break };
        let least = gradient[i];
        let column = kernel.column(i);
        let mut best: Option<(f64, usize)> = None;
        let mut widest = 0.0_f64;
        for j in (0..n).filter(|j| alpha[*j] > 0.0) {
            let gap = gradient[j] - least;
            widest = widest.max(gap);
            if gap > 0.0 {
                let gain = gap * gap / (2.0 - 2.0 * column[j]).max(FLAT);
                if best.is_none_or(|(most, _)| gain > most) {
                    best = Some((gain, j));
                }
            }
        }
        let Some((_, j)) = best.filter(|_| widest >= PRECISION) else { break };
        let curvature = (2.0 - 2.0 * column[j]).max(FLAT);
        let step = ((gradient[j] - least) / curvature).min(1.0 - alpha[i]).min(alpha[j]);
        alpha[i] = if step == 1.0 - alpha[i] { 1.0 } else { alpha[i] + step };
        alpha[j] = if step == alpha[j] { 0.0 } else { alpha[j] - step };
        gradient.iter_mut().zip(kernel.column(i)).for_each(|(g, k)| *g += step * k);
        gradient.iter_mut().zip(kernel.column(j)).for_each(|(g, k)| *g -= step * k);
    }
    // Rows on the surface have the gradient ρ; if none lies on it exactly, the middle between inside and outside.
    let free: Vec<f64> = (0..n).filter(|i| 0.0 < alpha[*i] && alpha[*i] < 1.0).map(|i| gradient[i]).collect();
    let rho = if free.is_empty() {
        let held = (0..n).filter(|i| alpha[*i] >= 1.0).map(|i| gradient[i]).fold(f64::NEG_INFINITY, f64::max);
        let inside = (0..n).filter(|i| alpha[*i] <= 0.0).map(|i| gradient[i]).fold(f64::INFINITY, f64::min);
        match (held.is_finite(), inside.is_finite()) {
            (true, true) => f64::midpoint(held, inside),
            (true, false) => held,
            _ => inside,
        }
    } else {
        free.iter().sum::<f64>() / free.len() as f64
    };
    (alpha, rho)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linfa::DatasetBase;
    use linfa::dataset::Pr;
    use linfa::traits::Fit;
    use linfa_svm::Svm;
    use ndarray::Array1;

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
    fn the_fast_exponential_is_the_exponential() {
        for i in 0..70_000 {
            let x = -f64::from(i) * 0.01;
            assert!((super::exp(x) / x.exp() - 1.0).abs() < 1e-9, "{x}");
        }
        assert!(super::exp(-1e9) < 1e-300 && super::exp(0.0) == 1.0);
    }

    #[test]
    fn the_solver_finds_what_linfa_svm_finds() {
        let rows = grid();
        let data = DatasetBase::new(rows.view().to_owned(), Array1::from_elem(100, ()));
        let params = Svm::<f64, Pr>::params().nu_weight(0.2).gaussian_kernel(10.0).eps(PRECISION);
        let machine: Svm<f64, bool> = params.fit(&data).unwrap();
        let own = OneClassSvm::fit_with(&rows, 0.2, 0.1);
        assert!((own.weights.iter().sum::<f64>() - 20.0).abs() < 1e-9, "νn");
        for (r, own) in own.score(&rows).into_iter().enumerate() {
            let theirs = machine.weighted_sum(&rows.view().row(r)) - machine.rho;
            assert!((own + theirs).abs() < 2.0 * PRECISION, "{r}: {own} and {theirs}");
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
