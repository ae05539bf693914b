//! The members beside other people's programs, on rows that both sides can compute exactly.
//!
//! Every number below was printed by isotree 0.6.1.post10 or scikit-learn 1.9.1, which were given the rows of [`rows`]:
//! sums of six numbers of a linear congruential generator, in five clusters, of which every 25th row is the farther out the
//! later it comes.

use super::dbscan::cluster;
use super::forest::{Forest, Options};
use super::gaussian::{BULK, Gaussian, Mixture};
use super::matrix::Matrix;
use crate::seed::Seed;

const ROWS: usize = 1_000;
const COLS: usize = 4;

/// Every so many rows one is far.
const EVERY: usize = 25;

/// All rows.
fn rows() -> Matrix {
    // Constants of Knuth's MMIX.
    let mut state = 42_u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut values: Vec<f64> = (0..ROWS * COLS).map(|_| (0..6).map(|_| next()).sum::<f64>() - 3.0).collect();
    for (r, row) in values.chunks_mut(COLS).enumerate() {
        if let Some(x) = row.get_mut(r % 5) {
            *x += 6.0;
        }
        if r % EVERY == 0 {
            row.iter_mut().for_each(|x| *x *= 1.0 + r as f64 / 200.0);
            row[1] -= r as f64 / 200.0;
        }
    }
    Matrix::new(ROWS, COLS, values)
}

/// The far rows, and the others.
fn parts() -> (Matrix, Matrix) {
    let (far, near): (Vec<usize>, Vec<usize>) = (0..ROWS).partition(|r| r % EVERY == 0);
    (rows().select(&far), rows().select(&near))
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum = |x: &[f64], mx: f64, y: &[f64], my: f64| x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>();
    sum(a, ma, b, mb) / (sum(a, ma, a, ma) * sum(b, mb, b, mb)).sqrt()
}

fn ranks(x: &[f64]) -> Vec<f64> {
    x.iter().map(|a| x.iter().filter(|b| *b < a).count() as f64).collect()
}

fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    correlation(&ranks(a), &ranks(b))
}

#[test]
fn forest_scores_are_those_of_isotree() {
    // isotree 0.6.1.post10: IsolationForest(ntrees=300, sample_size=256, ndim=2, coefs="normal", standardize_data=False,
    // random_seed=1), fitted to all rows, predict of the far ones. With random_seed=2 its own ranks correlate by 0.999.
    let expected = [
        0.433082, 0.414664, 0.446784, 0.473331, 0.486497, 0.549496, 0.529090, 0.538015, 0.554486, 0.515762, 0.609730,
        0.593764, 0.645535, 0.625280, 0.681561, 0.649938, 0.693961, 0.650883, 0.684321, 0.666602, 0.688806, 0.644114,
        0.640377, 0.677467, 0.689885, 0.680642, 0.676533, 0.694639, 0.700412, 0.712988, 0.740252, 0.717461, 0.741120,
        0.738119, 0.733772, 0.706676, 0.751723, 0.774382, 0.744477, 0.689003,
    ];
    let found = Forest::fit(&rows(), Options { trees: 300, sample: 256, level: 1 }, Seed(1)).score(&parts().0);
    let difference = found.iter().zip(expected).map(|(a, b)| a - b).sum::<f64>() / expected.len() as f64;
    let rho = rank_correlation(&found, &expected);
    assert!(rho > 0.97 && difference.abs() < 0.02, "{rho} {difference}");
}

#[test]
fn robust_distances_of_clean_rows_are_the_plain_ones() {
    // scikit-learn 1.9.1: EmpiricalCovariance, fitted to the near rows, root of mahalanobis of the far ones. Concentration and
    // shrinking change the scale; what is farther than what stays.
    let expected = [
        2.117035, 2.470706, 2.977355, 2.752518, 3.223470, 3.637596, 3.749971, 4.890642, 5.291346, 4.017615, 6.315775,
        6.235885, 5.986936, 6.430349, 6.683168, 8.062878, 8.432565, 6.504652, 8.783233, 6.230073, 9.672216, 8.435245,
        9.978476, 9.758335, 11.005774, 8.406865, 12.186598, 13.017143, 14.517974, 13.102445, 11.911342, 14.335192,
        14.418494, 11.321301, 14.440223, 12.163179, 14.866128, 16.286292, 15.845169, 13.151233,
    ];
    let (far, near) = parts();
    let found = Gaussian::robust(&near, BULK).score(&far);
    let r = correlation(&found, &expected);
    assert!(r > 0.99, "{r}");
}

#[test]
fn a_mixture_orders_rows_as_scikit_learns_does() {
    // scikit-learn 1.9.1: GaussianMixture(5, n_init=3, random_state=0), fitted to the near rows, −score_samples of the far ones.
    let expected = [
        6.565627,
        5.439398,
        8.305735,
        8.506204,
        12.920103,
        21.796680,
        20.190157,
        38.780365,
        54.807508,
        23.087201,
        84.780152,
        72.598194,
        107.000065,
        100.571834,
        138.827311,
        162.420863,
        236.349335,
        120.481037,
        230.031970,
        114.677562,
        311.883812,
        174.127370,
        257.805524,
        285.543342,
        358.076604,
        229.340658,
        439.269878,
        539.391318,
        628.170591,
        546.964966,
        548.038673,
        695.194326,
        684.911421,
        519.429774,
        752.201653,
        450.687595,
        886.142478,
        1044.826247,
        897.112387,
        558.683624,
    ];
    let (far, near) = parts();
    let found = Mixture::fit(&near, Seed(1));
    assert_eq!(found.parts.len(), 5);
    let rho = rank_correlation(&found.score(&far), &expected);
    assert!(rho > 0.99, "{rho}");
}

#[test]
fn noise_clusters_and_core_points_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1: DBSCAN(eps, min_samples).fit of all rows.
    for (eps, min_points, noise, cores, sizes) in
        [(1.2, 5, 43, 918, [164, 196, 199, 198, 200]), (1.5, 8, 36, 945, [165, 200, 200, 199, 200])]
    {
        let (clusters, is_core) = cluster(&rows(), eps, min_points);
        assert_eq!(clusters.iter().filter(|c| c.is_none()).count(), noise);
        assert_eq!(is_core.iter().filter(|c| **c).count(), cores);
        let size = |n: usize| clusters.iter().filter(|c| **c == Some(n)).count();
        assert_eq!([0, 1, 2, 3, 4].map(size), sizes);
        assert_eq!(size(5), 0);
    }
}
