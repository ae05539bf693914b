//! Distances in the shape of the data: robust Mahalanobis distance, and a small Gaussian mixture.
//!
//! The Mahalanobis distance uses mean and covariance of the three quarters of the rows that lie nearest to each other, found by
//! concentration steps (fast MCD, Rousseeuw & Van Driessen 1999); the covariance is shrunk towards a multiple of the identity
//! (Ledoit & Wolf 2004), so that it has an inverse for any number of rows and columns. The mixture is fitted by expectation
//! maximisation from seeded k-means++ centres, each covariance held away from singular by a ridge.

use ndarray::{Array2, Axis};
use rand::RngExt;

use super::linalg::{Cholesky, mean, scatter, squared_distances, squared_norms};
use super::matrix::Matrix;
use crate::seed::Seed;

/// A normal distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    /// Its centre.
    pub mean: Vec<f64>,
    /// Factor of its covariance.
    pub factor: Cholesky,
}

/// Steps that concentrate the covariance on the bulk; more change nothing that matters.
const STEPS: usize = 6;

/// Least variance of a column in the bulk, as a share of that in all rows. The bulk of a column of few values (a flag, a rare
/// count) is one value; without this every other value would be infinitely far.
const LEAST: f64 = 0.25;

/// Columns beyond which two steps must do: each costs their cube.
const WIDE: usize = 500;

/// Share of the rows that the bulk of a table is.
pub const BULK: f64 = 0.75;

impl Gaussian {
    /// Mean and shrunk covariance of at least one row, with variances of at least `least`.
    fn of(rows: &Matrix, least: &[f64]) -> Self {
        let centre = mean(rows.view());
        let mut covariance = ledoit_wolf(rows, &centre);
        covariance.diag_mut().iter_mut().zip(least).for_each(|(x, v)| *x = x.max(*v));
        Self::with(centre, &covariance)
    }

    /// With a covariance that rounding may have brought to the edge of singular.
    fn with(mean: Vec<f64>, covariance: &Array2<f64>) -> Self {
        let scale = covariance.diag().iter().copied().fold(1e-12, f64::max);
        let mut ridge = 1e-9 * scale;
        loop {
            let mut a = covariance.clone();
            a.diag_mut().iter_mut().for_each(|x| *x += ridge);
            if let Some(factor) = Cholesky::new(a) {
                return Self { mean, factor };
            }
            ridge *= 10.0;
        }
    }

    /// The robust one: of the `bulk` of the rows, a share above 0. With all of them there is nothing to concentrate.
    pub fn robust(rows: &Matrix, bulk: f64) -> Self {
        let bulk = ((rows.rows as f64 * bulk) as usize).clamp(1, rows.rows);
        // The first bulk: nearest to the median in every column.
        let medians: Vec<f64> = (0..rows.cols)
            .map(|c| {
                let mut column: Vec<f64> = (0..rows.rows).map(|r| rows.row(r)[c]).collect();
                let middle = column.len() / 2;
                *column.select_nth_unstable_by(middle, f64::total_cmp).1
            })
            .collect();
        let mut distances: Vec<f64> =
            (0..rows.rows).map(|r| rows.row(r).iter().zip(&medians).map(|(x, m)| (x - m).powi(2)).sum()).collect();
        let centre = mean(rows.view());
        let mut least = vec![0.0; rows.cols];
        for r in 0..rows.rows {
            let weight = LEAST / rows.rows as f64;
            least.iter_mut().zip(rows.row(r)).zip(&centre).for_each(|((v, x), m)| *v += weight * (x - m).powi(2));
        }
        let mut kept: Vec<usize> = Vec::new();
        let mut fitted = None;
        for _ in 0..if rows.cols > WIDE { 2 } else { STEPS } {
            let mut order: Vec<usize> = (0..rows.rows).collect();
            order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
            order.truncate(bulk);
            order.sort_unstable();
            if order == kept {
                break;
            }
            let gaussian = Self::of(&rows.select(&order), &least);
            distances = gaussian.squared_distances(rows);
            kept = order;
            fitted = Some(gaussian);
        }
        fitted.expect("at least one step")
    }

    /// Squared Mahalanobis distance of each row.
    pub fn squared_distances(&self, rows: &Matrix) -> Vec<f64> {
        rows.by_blocks(|_, block| {
            let mut x = block.to_owned();
            x.outer_iter_mut().for_each(|mut row| row.iter_mut().zip(&self.mean).for_each(|(x, m)| *x -= m));
            self.factor.whiten(x.view_mut());
            squared_norms(x.view())
        })
    }

    /// Mahalanobis distance of each row.
    pub fn score(&self, rows: &Matrix) -> Vec<f64> {
        self.squared_distances(rows).into_iter().map(f64::sqrt).collect()
    }

    /// The same shape around the same centre with `ridge` added to every variance.
    #[must_use]
    pub fn widened(&self, ridge: f64) -> Self {
        let mut covariance = self.factor.lower.dot(&self.factor.lower.t());
        covariance.diag_mut().iter_mut().for_each(|x| *x += ridge);
        Self::with(self.mean.clone(), &covariance)
    }

    /// What each value of a row would be expected to be given all the others, and its deviation from that in conditional
    /// standard deviations: (Px)ⱼ / √Pⱼⱼ with the precision matrix P.
    pub fn conditional(&self, row: &[f64]) -> Vec<(f64, f64)> {
        let precision = self.factor.inverse();
        let x: Vec<f64> = row.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        (0..x.len())
            .map(|j| {
                let px: f64 = precision.row(j).iter().zip(&x).map(|(p, x)| p * x).sum();
                let pjj = precision[(j, j)];
                (row[j] - px / pjj, px / pjj.sqrt())
            })
            .collect()
    }

    /// Logarithm of the density at each row.
    fn ln_density(&self, rows: &Matrix) -> Vec<f64> {
        let constant = self.mean.len() as f64 * std::f64::consts::TAU.ln() + self.factor.ln_det();
        self.squared_distances(rows).into_iter().map(|d| -0.5 * (d + constant)).collect()
    }
}

/// Covariance shrunk towards its mean variance times the identity, by the intensity that minimises the expected squared error
/// (Ledoit & Wolf 2004, equations 9 to 14).
fn ledoit_wolf(rows: &Matrix, centre: &[f64]) -> Array2<f64> {
    let (n, d) = (rows.rows as f64, rows.cols as f64);
    let mut s = scatter(rows.view(), None, centre) / n;
    let mu = s.diag().sum() / d;
    let spread = s.iter().map(|x| x * x).sum::<f64>() - mu * mu * d;
    // Σ‖xxᵀ − S‖² = Σ‖x‖⁴ − n‖S‖².
    let fourth: f64 =
        (0..rows.rows).map(|r| rows.row(r).iter().zip(centre).map(|(x, m)| (x - m).powi(2)).sum::<f64>().powi(2)).sum();
    let noise = ((fourth / n - s.iter().map(|x| x * x).sum::<f64>()) / n).clamp(0.0, spread.max(0.0));
    let intensity = if spread > 0.0 { noise / spread } else { 1.0 };
    s *= 1.0 - intensity;
    s.diag_mut().iter_mut().for_each(|x| *x += intensity * mu);
    s
}

/// A mixture of normal distributions with full covariances.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// Weight and shape of each part; the weights sum to 1.
    pub parts: Vec<(f64, Gaussian)>,
}

/// Most parts.
const PARTS: usize = 5;

/// Rows per free number of a part's covariance below which there are fewer parts: a covariance of fewer is noise.
const ROWS_PER_COLUMN: usize = 10;

/// Added to every variance of the scaled rows: a part that lies on equal rows must not become infinitely thin.
const RIDGE: f64 = 1e-2;

/// Rounds of expectation maximisation, and the gain in mean ln density that ends it.
const ROUNDS: usize = 60;
const GAIN: f64 = 1e-3;

impl Mixture {
    /// How many parts so many rows of this width can carry.
    fn parts(rows: usize, cols: usize) -> usize {
        (rows / (ROWS_PER_COLUMN * cols.max(1)).max(100)).clamp(1, PARTS)
    }

    /// Fits to at least one row.
    pub fn fit(rows: &Matrix, seed: Seed) -> Self {
        let parts = Self::parts(rows.rows, rows.cols);
        let mut shares = first_shares(rows, parts, seed);
        let centre = mean(rows.view());
        let mut prior = vec![0.0; rows.cols];
        for r in 0..rows.rows {
            prior
                .iter_mut()
                .zip(rows.row(r))
                .zip(&centre)
                .for_each(|((v, x), m)| *v += (x - m).powi(2) / rows.rows as f64);
        }
        // The volume of the whole, divided among the parts.
        let divided = (parts as f64).powf(2.0 / rows.cols as f64);
        prior.iter_mut().for_each(|v| *v /= divided);
        let mut out = Self::maximise(rows, &shares, &prior);
        let mut before = f64::NEG_INFINITY;
        if parts > 1 {
            for _ in 0..ROUNDS {
                let total = out.expect(rows, &mut shares);
                out = Self::maximise(rows, &shares, &prior);
                if total - before < GAIN {
                    break;
                }
                before = total;
            }
        }
        out
    }

    /// The most probable parts under a prior that is worth a few rows of the variances `prior` (Fraley & Raftery 2007): a part
    /// that caught a handful of far rows must not become a narrow home for them.
    fn maximise(rows: &Matrix, shares: &[Vec<f64>], prior: &[f64]) -> Self {
        let n = rows.rows as f64;
        let prior_rows = rows.cols as f64 + 2.0;
        let parts = shares
            .iter()
            .map(|w| {
                let total = w.iter().sum::<f64>().max(1e-9);
                let mut centre = vec![0.0; rows.cols];
                for (r, w) in w.iter().enumerate().filter(|(_, w)| **w > 0.0) {
                    centre.iter_mut().zip(rows.row(r)).for_each(|(m, x)| *m += w * x / total);
                }
                let mut covariance = scatter(rows.view(), Some(w), &centre) / (total + prior_rows);
                let share = prior_rows / (total + prior_rows);
                covariance.diag_mut().iter_mut().zip(prior).for_each(|(x, v)| *x += share * v + RIDGE);
                (total / n, Gaussian::with(centre, &covariance))
            })
            .collect();
        Self { parts }
    }

    /// Shares of the parts in every row; returns the mean ln density.
    fn expect(&self, rows: &Matrix, shares: &mut [Vec<f64>]) -> f64 {
        for ((weight, g), out) in self.parts.iter().zip(shares.iter_mut()) {
            *out = g.ln_density(rows).into_iter().map(|l| l + weight.ln()).collect();
        }
        let mut total = 0.0;
        for r in 0..rows.rows {
            let most = shares.iter().map(|s| s[r]).fold(f64::NEG_INFINITY, f64::max);
            let ln = most + shares.iter().map(|s| (s[r] - most).exp()).sum::<f64>().ln();
            shares.iter_mut().for_each(|s| s[r] = (s[r] - ln).exp());
            total += ln;
        }
        total / rows.rows as f64
    }

    /// −ln density of each row.
    pub fn score(&self, rows: &Matrix) -> Vec<f64> {
        let of: Vec<Vec<f64>> =
            self.parts.iter().map(|(w, g)| g.ln_density(rows).into_iter().map(|l| l + w.ln()).collect()).collect();
        (0..rows.rows)
            .map(|r| {
                let most = of.iter().map(|s| s[r]).fold(f64::NEG_INFINITY, f64::max);
                -(most + of.iter().map(|s| (s[r] - most).exp()).sum::<f64>().ln())
            })
            .collect()
    }
}

/// First shares: each row belongs to the nearest of k-means++ centres, after a few rounds of k-means.
fn first_shares(rows: &Matrix, parts: usize, seed: Seed) -> Vec<Vec<f64>> {
    const MEANS: usize = 10;
    let mut rng = seed.derive("mixture", 0);
    let mut centres = rows.select(&[rng.random_range(0..rows.rows)]);
    while centres.rows < parts {
        let nearest: Vec<f64> = nearest(rows, &centres).into_iter().map(|(_, d)| d).collect();
        let total: f64 = nearest.iter().sum();
        let mut at = rng.random::<f64>() * total;
        let far = nearest.iter().position(|d| {
            at -= d;
            at < 0.0
        });
        let next = rows.row(far.unwrap_or(rows.rows - 1)).to_vec();
        centres = Matrix::new(centres.rows + 1, rows.cols, [centres.values, next].concat());
    }
    for _ in 0..MEANS {
        let mut sums = vec![0.0; centres.values.len()];
        let mut counts = vec![0.0; centres.rows];
        for (r, (c, _)) in nearest(rows, &centres).into_iter().enumerate() {
            counts[c] += 1.0;
            sums[c * rows.cols..(c + 1) * rows.cols].iter_mut().zip(rows.row(r)).for_each(|(s, x)| *s += x);
        }
        for (i, sum) in sums.into_iter().enumerate() {
            // A centre that lost all its rows stays where it is.
            let count: f64 = counts[i / rows.cols];
            if count > 0.0 {
                centres.values[i] = sum / count;
            }
        }
    }
    let mut shares = vec![vec![0.0; rows.rows]; centres.rows];
    for (r, (c, _)) in nearest(rows, &centres).into_iter().enumerate() {
        shares[c][r] = 1.0;
    }
    shares
}

/// The nearest centre of each row and the squared distance to it.
fn nearest(rows: &Matrix, centres: &Matrix) -> Vec<(usize, f64)> {
    let norms = squared_norms(centres.view());
    rows.by_blocks(|_, block| {
        let mut distances = Array2::zeros((block.nrows(), centres.rows));
        squared_distances(block, centres.view(), &norms, distances.view_mut());
        let least = |row: ndarray::ArrayView1<'_, f64>| {
            let of = row.iter().copied().enumerate();
            of.min_by(|a, b| a.1.total_cmp(&b.1)).expect("at least one centre")
        };
        distances.axis_iter(Axis(0)).map(least).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    fn normals(rows: usize, cols: usize, seed: u64) -> Vec<f64> {
        let mut rng = Seed(seed).derive("gaussian", 0);
        (0..rows * cols).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    #[test]
    fn a_fifth_of_far_rows_does_not_move_the_robust_shape() {
        let mut values = normals(1_000, 3, 1);
        values[..600].iter_mut().for_each(|x| *x = 8.0 + *x * 0.1);
        let rows = Matrix::new(1_000, 3, values);
        let g = Gaussian::robust(&rows, BULK);
        assert!(g.mean.iter().all(|m| m.abs() < 0.2), "{:?}", g.mean);
        let d = g.score(&rows);
        assert!(d[..200].iter().all(|d| *d > 8.0));
    }

    #[test]
    fn a_broken_correlation_is_far_though_each_value_is_ordinary() {
        let z = normals(2_000, 2, 2);
        let values = z.chunks(2).flat_map(|z| [z[0], z[0] + 0.1 * z[1]]).collect();
        let g = Gaussian::robust(&Matrix::new(2_000, 2, values), BULK);
        let d = g.score(&Matrix::new(2, 2, vec![1.0, 1.0, 1.0, -1.0]));
        assert!(d[1] > 5.0 * d[0], "{d:?}");
    }

    #[test]
    fn what_breaks_a_correlation_is_unusual_given_the_rest() {
        let z = normals(5_000, 3, 6);
        let values = z.chunks(3).flat_map(|z| [z[0], z[0] + 0.2 * z[1], z[2]]).collect();
        let g = Gaussian::robust(&Matrix::new(5_000, 3, values), 1.0);
        let of = g.conditional(&[1.0, -1.0, 0.5]);
        assert!(of[1].1 < -8.0 && of[2].1.abs() < 1.0, "{of:?}");
        // b = a + 0.2 e, so that b is expected to be a.
        assert!((of[1].0 - 1.0).abs() < 0.1, "{of:?}");
    }

    #[test]
    fn a_shrunk_covariance_matches_scikit_learn() {
        // scikit-learn 1.9.1: ledoit_wolf(X)[0] of these rows.
        let y = [2.0, 4.5, 5.0, 9.0, 9.5, 13.0, 13.5, 16.0];
        let rows = Matrix::new(8, 2, y.iter().enumerate().flat_map(|(i, y)| [i as f64 + 1.0, *y]).collect());
        let s = ledoit_wolf(&rows, &mean(rows.view()));
        let expected = [6.678245710637758, 8.610192823739165, 8.610192823739165, 19.91159803936224];
        for (a, b) in s.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{s}");
        }
    }

    #[test]
    fn two_clouds_are_two_parts_and_what_lies_between_them_is_odd() {
        let mut values = normals(3_000, 2, 3);
        values[..3_000].iter_mut().for_each(|x| *x += 10.0);
        let m = Mixture::fit(&Matrix::new(3_000, 2, values), Seed(1));
        let s = m.score(&Matrix::new(3, 2, vec![0.0, 0.0, 10.0, 10.0, 5.0, 5.0]));
        assert!(s[2] > s[0] + 5.0 && s[2] > s[1] + 5.0, "{s:?}");
        assert!((m.parts.iter().map(|p| p.0).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn equal_rows_one_row_and_more_columns_than_rows_have_a_shape() {
        for rows in [
            Matrix::new(1, 3, vec![1.0; 3]),
            Matrix::new(50, 2, vec![2.0; 100]),
            Matrix::new(20, 90, normals(20, 90, 4)),
        ] {
            assert!(Gaussian::robust(&rows, BULK).score(&rows).iter().all(|d| d.is_finite()));
            assert!(Mixture::fit(&rows, Seed(1)).score(&rows).iter().all(|d| d.is_finite()));
        }
    }
}
