//! Many p-values into one, and one p-value into a score that means the same everywhere.

/// Weighted harmonic-mean p-value (Wilson 2019): 1 / Σ wᵢ/pᵢ with the weights normalised to sum 1. It is robust to
/// dependence and lets one decisive p-value speak; p-values near 1 cannot veto. Returns 1 for no input.
pub fn harmonic_mean(p: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let (mut weight, mut sum) = (0.0, 0.0);
    for (w, p) in p {
        weight += w;
        sum += w / p;
    }
    if sum > 0.0 { (weight / sum).min(1.0) } else { 1.0 }
}

/// −log10 p against score, between which the map is linear: a fixed scale, never stretched to a night.
const SCALE: [(f64, f64); 8] =
    [(0.0, 0.0), (1.0, 20.0), (2.0, 40.0), (3.0, 60.0), (4.0, 75.0), (5.0, 85.0), (6.0, 95.0), (8.0, 100.0)];

/// The score (0–100) of a p-value.
pub fn score(p: f64) -> f64 {
    let x = -p.clamp(1e-300, 1.0).log10();
    match SCALE.iter().position(|(at, _)| x < *at) {
        Some(i) => {
            let ((x0, y0), (x1, y1)) = (SCALE[i - 1], SCALE[i]);
            y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        }
        None => 100.0,
    }
}

/// Benjamini–Hochberg q-values (1995), in the order of the input.
pub fn q_values(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]).then(a.cmp(&b)));
    let mut q = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (rank, &i) in order.iter().enumerate().rev() {
        least = least.min(p[i] * p.len() as f64 / (rank + 1) as f64);
        q[i] = least;
    }
    q
}

/// Second stage per user: how odd is `v` = −ln p for someone whose last `n` nights summed to `sum`? The predictive of an
/// exponential with a Gamma(a, b) prior, a = b = 20 (prior mean 1): P(V ≥ v) = ((b + S)/(b + S + v))^(a + n). It keeps
/// habitually odd users from flooding the list, and users who are always at zero from firing on their first blip.
/// Returns −ln of it.
pub fn second_stage(v: f64, sum: f64, n: f64) -> f64 {
    const PRIOR: f64 = 20.0;
    // A mean below 1 comes from many nights with nothing at all and says nothing about the tail: quiet users are not the
    // more surprising for it.
    (PRIOR + n) * (v / (PRIOR + sum.max(n))).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_decisive_p_value_speaks_and_ones_do_not_veto() {
        let p = harmonic_mean([(1.0, 1e-6), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)]);
        assert!((p - 4e-6).abs() < 1e-10);
        assert_eq!(harmonic_mean([]), 1.0);
    }

    #[test]
    fn the_score_passes_through_the_documented_points() {
        for (x, y) in SCALE {
            assert!((score(10f64.powf(-x)) - y).abs() < 1e-9);
        }
        assert_eq!(score(0.0), 100.0);
        assert!((score(10f64.powf(-2.5)) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn q_values_match_the_step_up_definition() {
        // R 4.4: p.adjust(c(0.01, 0.04, 0.03, 0.005), "BH") = 0.02 0.04 0.04 0.02
        let q = q_values(&[0.01, 0.04, 0.03, 0.005]);
        for (a, b) in q.iter().zip([0.02, 0.04, 0.04, 0.02]) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn a_habitually_odd_user_needs_more_to_stand_out() {
        assert!(second_stage(8.0, 300.0, 60.0) < second_stage(8.0, 60.0, 60.0));
        assert!((second_stage(5.0, 1e6, 1e6) - 5.0).abs() < 1e-3);
    }
}
