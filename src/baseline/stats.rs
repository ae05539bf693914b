//! The predictive distributions behind every baseline, as natural logarithms of tail probabilities, so that an event
//! of probability 1e-400 still ranks above one of 1e-350.

use statrs::function::beta::{checked_beta_reg, ln_beta};
use statrs::function::gamma::ln_gamma;

/// Smallest probability that is still taken from the regularised incomplete beta function itself.
const UNDERFLOW: f64 = 1e-280;

/// ln `I_x(a, b)`, the log of the regularised incomplete beta function, for a, b > 0 and 0 ≤ x ≤ 1. Below 1e-280 it is
/// the first term of its series (DLMF 8.17.7), which is exact to a factor near 1 there.
pub fn ln_beta_reg(a: f64, b: f64, x: f64) -> f64 {
    if !(a > 0.0 && b > 0.0) || x >= 1.0 {
        return 0.0;
    }
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    match checked_beta_reg(a, b, x) {
        Ok(v) if v > UNDERFLOW => v.ln().min(0.0),
        _ => (a * x.ln() + b * (-x).ln_1p() - a.ln() - ln_beta(a, b)).min(0.0),
    }
}

/// ln P(Y ≥ y) of a negative binomial with the given mean > 0 and dispersion `r` > 0 (variance = mean + mean²/r).
pub fn ln_nb_at_least(y: f64, mean: f64, r: f64) -> f64 {
    if y <= 0.0 { 0.0 } else { ln_beta_reg(y, r, mean / (mean + r)) }
}

/// ln P(Y ≤ y) of the same distribution.
pub fn ln_nb_at_most(y: f64, mean: f64, r: f64) -> f64 {
    ln_beta_reg(r, y + 1.0, r / (mean + r))
}

/// ln P(X ≥ k) of a beta-binomial with `n` trials and Beta(a, b): the sum of the upper tail, term by term.
pub fn ln_betabinomial_at_least(k: u64, n: u64, a: f64, b: f64) -> f64 {
    if k == 0 || n == 0 {
        return 0.0;
    }
    let (kf, nf) = (k as f64, n as f64);
    let ln_choose = ln_gamma(nf + 1.0) - ln_gamma(kf + 1.0) - ln_gamma(nf - kf + 1.0);
    let ln_first = ln_choose + ln_beta(kf + a, nf - kf + b) - ln_beta(a, b);
    // Terms relative to the first; they rise to the mode and then fall, so stop once they no longer count.
    let (mut term, mut sum, mut x) = (1.0_f64, 1.0_f64, kf);
    while x < nf {
        term *= (nf - x) / (x + 1.0) * (x + a) / (nf - x - 1.0 + b);
        sum += term;
        x += 1.0;
        if term < sum * 1e-9 && x > nf * a / (a + b) {
            break;
        }
        if sum > 1e280 {
            // k is far below the mode: the tail is all but certain.
            return 0.0;
        }
    }
    (ln_first + sum.ln()).min(0.0)
}

/// ln P(T ≥ t) of Student's t with `df` > 0 degrees of freedom.
pub fn ln_t_at_least(t: f64, df: f64) -> f64 {
    let half = ln_beta_reg(df / 2.0, 0.5, df / (df + t * t)) - std::f64::consts::LN_2;
    if t >= 0.0 { half } else { (-half.exp()).ln_1p() }
}

/// The concentration α of a Pitman–Yor process with discount `d` for which `n` draws are expected to show `k` distinct
/// values: E\[K\] = (α/d)(Γ(α+d+n)Γ(α) / (Γ(α+n)Γ(α+d)) − 1), by bisection on ln α; clamped to 0.01..=100.
pub fn pitman_yor_alpha(n: f64, k: f64, d: f64) -> f64 {
    let expected = |alpha: f64| {
        if d < 1e-6 {
            // The Dirichlet-process limit: α (ψ(α+n) − ψ(α)), by its common logarithmic form.
            alpha * (1.0 + n / alpha).ln()
        } else {
            let ratio = ln_gamma(alpha + d + n) + ln_gamma(alpha) - ln_gamma(alpha + n) - ln_gamma(alpha + d);
            alpha / d * (ratio.exp() - 1.0)
        }
    };
    let (mut low, mut high) = (0.01_f64.ln(), 100.0_f64.ln());
    for _ in 0..40 {
        let mid = 0.5 * (low + high);
        if expected(mid.exp()) < k {
            low = mid;
        } else {
            high = mid;
        }
    }
    (0.5 * (low + high)).exp()
}

/// ln P(X ≥ x) of a gamma variable of this whole-numbered shape and scale 1: e⁻ˣ Σ xⁱ/i! for i below the shape.
pub fn ln_gamma_at_least(shape: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..shape as usize {
        term *= x / i as f64;
        sum += term;
    }
    sum.ln() - x
}

/// ln of 1 − (1 − p)^n: the probability that the smallest of `n` independent p-values is at most p (Šidák).
pub fn ln_sidak(ln_p: f64, n: f64) -> f64 {
    if n <= 1.0 {
        return ln_p;
    }
    if ln_p < -25.0 {
        return (ln_p + n.ln()).min(0.0);
    }
    let none = n * (-ln_p.exp()).ln_1p();
    (-none.exp_m1()).ln().min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_tail_matches_scipy() {
        // SciPy 1.17: scipy.stats.gamma(7).logsf([0, 2, 10, 60]).
        for (x, expected) in
            [(0.0, 0.0), (2.0, -0.004544114393256855), (10.0, -2.039133566867609), (60.0, -41.90979942700546)]
        {
            assert!((ln_gamma_at_least(7.0, x) - expected).abs() < 1e-9, "{x}");
        }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{a} is not {b}");
    }

    #[test]
    fn tails_agree_with_the_sum_of_their_mass() {
        close(ln_nb_at_least(30.0, 10.0, 5.0), reference_nb(30, 10.0, 5.0));
        close(ln_betabinomial_at_least(9, 40, 2.0, 50.0), reference_bb(9, 40, 2.0, 50.0));
        close(ln_t_at_least(0.0, 7.0), 0.5_f64.ln());
        close(ln_t_at_least(1.0, 1.0), 0.25_f64.ln());
    }

    /// The definition: 1 minus the sum of the probability mass below y.
    fn reference_nb(y: u32, mean: f64, r: f64) -> f64 {
        let p = r / (r + mean);
        let mass = |k: f64| (ln_gamma(k + r) - ln_gamma(k + 1.0) - ln_gamma(r) + r * p.ln() + k * (1.0 - p).ln()).exp();
        (1.0 - (0..y).map(|k| mass(f64::from(k))).sum::<f64>()).ln()
    }

    fn reference_bb(k: u32, n: u32, a: f64, b: f64) -> f64 {
        let nf = f64::from(n);
        let mass = |x: f64| {
            (ln_gamma(nf + 1.0) - ln_gamma(x + 1.0) - ln_gamma(nf - x + 1.0) + ln_beta(x + a, nf - x + b)
                - ln_beta(a, b))
            .exp()
        };
        (k..=n).map(|x| mass(f64::from(x))).sum::<f64>().ln()
    }

    #[test]
    fn far_tails_stay_ordered_below_the_smallest_double() {
        let a = ln_nb_at_least(20_000.0, 100.0, 20.0);
        let b = ln_nb_at_least(40_000.0, 100.0, 20.0);
        assert!(b < a && a < -700.0 && b.is_finite(), "{a} {b}");
    }

    #[test]
    fn both_tails_of_a_count_cover_everything() {
        for y in [0.0, 1.0, 7.0, 50.0] {
            let below = ln_nb_at_most(y, 9.0, 3.0).exp();
            let above = ln_nb_at_least(y + 1.0, 9.0, 3.0).exp();
            close(below + above, 1.0);
        }
    }

    #[test]
    fn alpha_reproduces_the_expected_number_of_distinct_values() {
        let alpha = pitman_yor_alpha(200.0, 30.0, 0.3);
        let ratio = ln_gamma(alpha + 0.3 + 200.0) + ln_gamma(alpha) - ln_gamma(alpha + 200.0) - ln_gamma(alpha + 0.3);
        close(alpha / 0.3 * (ratio.exp() - 1.0), 30.0);
    }

    #[test]
    fn sidak_matches_its_definition() {
        close(ln_sidak(0.01_f64.ln(), 5.0), (1.0 - 0.99_f64.powi(5)).ln());
        close(ln_sidak(-40.0, 10.0), -40.0 + 10.0_f64.ln());
    }
}
