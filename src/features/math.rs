//! The few fractional features, from integer sums.

use std::sync::LazyLock;

/// Fractions are kept to a millionth: finer digits depend on the order of summation and mean nothing.
pub(super) fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

static N_LOG2_N: LazyLock<Vec<f64>> = LazyLock::new(|| (0..1024_u32).map(n_log2_n_slow).collect());

fn n_log2_n_slow(n: u32) -> f64 {
    if n < 2 { 0.0 } else { f64::from(n) * f64::from(n).log2() }
}

fn n_log2_n(n: u32) -> f64 {
    N_LOG2_N.get(n as usize).copied().unwrap_or_else(|| n_log2_n_slow(n))
}

/// Shannon entropy in bits of a distribution given by counts, 0 if it has none.
pub(super) fn entropy(counts: impl Iterator<Item = u32>) -> f64 {
    let (mut total, mut sum) = (0_u64, 0.0);
    for n in counts {
        total += u64::from(n);
        sum += n_log2_n(n);
    }
    if total == 0 {
        return 0.0;
    }
    let total = total as f64;
    // Not below zero by rounding, and no negative zero.
    rounded((total.log2() - sum / total).max(0.0))
}

/// `part / whole`, 0 if there is no whole.
pub(super) fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

/// What is known of the times between calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gaps {
    pub(super) median: u32,
    pub(super) max: u32,
    pub(super) mean: u32,
    pub(super) burstiness: f64,
}

/// Describes gaps in milliseconds (reorders them). The median of an even number is the lower one of the middle two.
///
/// Burstiness is (sd − mean) / (sd + mean) (Goh & Barabási, EPL 81:48002, 2008), 0 for fewer than two gaps. With
/// S1 = Σg, S2 = Σg² and D = mS2 − S1², sd / mean = √D / S1.
pub(super) fn gaps(gaps: &mut [u32]) -> Gaps {
    let m = gaps.len();
    if m == 0 {
        return Gaps::default();
    }
    let (mut s1, mut s2, mut max) = (0_u64, 0_u128, 0);
    for &gap in gaps.iter() {
        s1 += u64::from(gap);
        s2 += u128::from(gap) * u128::from(gap);
        max = max.max(gap);
    }
    let middle = (m - 1) / 2;
    let median = *gaps.select_nth_unstable(middle).1;
    let mut burstiness = 0.0;
    if m > 1 && s1 > 0 {
        let spread = ((m as u128 * s2 - u128::from(s1) * u128::from(s1)) as f64).sqrt();
        let s1 = s1 as f64;
        burstiness = rounded((spread - s1) / (spread + s1));
    }
    Gaps { median, max, mean: (s1 / m as u64) as u32, burstiness }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_a_fair_die_and_of_one_face() {
        assert_eq!(entropy([5, 5, 5, 5].into_iter()), 2.0);
        assert_eq!(entropy([7].into_iter()), 0.0);
        assert_eq!(entropy(std::iter::empty()), 0.0);
        // numpy 2.3: -(p*log2(p)).sum() for p = [1,2,3000]/3003
        assert_eq!(entropy([1, 2, 3000].into_iter()), 0.012315);
    }

    #[test]
    fn periodic_calls_have_burstiness_minus_one_and_a_single_long_pause_is_bursty() {
        assert_eq!(gaps(&mut [10, 10, 10]).burstiness, -1.0);
        let bursty = gaps(&mut [1, 1, 1, 1, 1, 1, 1, 1, 1, 1_000_000]);
        assert!(bursty.burstiness > 0.49, "{bursty:?}");
        assert_eq!((bursty.median, bursty.max), (1, 1_000_000));
        assert_eq!(gaps(&mut [0, 0]).burstiness, 0.0);
        assert_eq!(gaps(&mut []), Gaps::default());
    }
}
