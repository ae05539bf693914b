//! Metrics of ranked lists, as pure functions. Higher scores are odder; a positive is what should be found.

/// Share of positives among the first `k` of a ranked list (fewer if it is shorter); `None` for an empty list or `k` =
/// 0.
pub fn precision_at_k(ranked: &[bool], k: usize) -> Option<f64> {
    let top = &ranked[..k.min(ranked.len())];
    (!top.is_empty()).then(|| hits(top) as f64 / top.len() as f64)
}

/// Share of all positives among the first `k` of a ranked list; `None` without positives.
pub fn recall_at_k(ranked: &[bool], k: usize) -> Option<f64> {
    let all = hits(ranked);
    (all > 0).then(|| hits(&ranked[..k.min(ranked.len())]) as f64 / all as f64)
}

fn hits(list: &[bool]) -> usize {
    list.iter().filter(|&&hit| hit).count()
}

/// (score, positive) pairs in groups of equal scores, the highest first.
fn tie_groups(scores: &[f64], positive: &[bool]) -> Vec<(usize, usize)> {
    assert_eq!(scores.len(), positive.len(), "one label per score");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut groups: Vec<(usize, usize)> = Vec::new();
    let mut last = None;
    for i in order {
        if last != Some(scores[i]) {
            groups.push((0, 0));
            last = Some(scores[i]);
        }
        let (positives, negatives) = groups.last_mut().expect("just pushed");
        if positive[i] { *positives += 1 } else { *negatives += 1 }
    }
    groups
}

/// Average precision: the sum over thresholds of (recall step × precision), without interpolation; ties share one
/// threshold (as scikit-learn's `average_precision_score`). `None` without positives.
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let all = hits(positive);
    if all == 0 {
        return None;
    }
    let (mut found, mut seen, mut sum) = (0, 0, 0.0);
    for (positives, negatives) in tie_groups(scores, positive) {
        found += positives;
        seen += positives + negatives;
        sum += positives as f64 / all as f64 * (found as f64 / seen as f64);
    }
    Some(sum)
}

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting half (Mann &
/// Whitney 1947). `None` unless there are both.
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let all = hits(positive);
    let others = positive.len() - all;
    if all == 0 || others == 0 {
        return None;
    }
    let (mut above, mut won) = (0, 0.0);
    for (positives, negatives) in tie_groups(scores, positive) {
        won += negatives as f64 * (above as f64 + 0.5 * positives as f64);
        above += positives;
    }
    Some(won / (all as f64 * others as f64))
}

/// The Wilson score interval of a proportion at 95 % (Wilson 1927): sensible for few trials and for proportions of 0
/// and 1. Without trials nothing is known: 0 to 1.
pub fn wilson_interval(successes: u64, trials: u64) -> (f64, f64) {
    /// The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let center = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At 0 and at all successes the bound is exact; rounding would leave it a hair off.
    let low = if successes == 0 { 0.0 } else { center - half };
    let high = if successes == trials { 1.0 } else { center + half };
    (low, high)
}

/// Benjamini–Hochberg q-values (1995) of the smallest p-values of `m` tests, in the order given. Larger p-values
/// may be left out; the q-values are then upper bounds, because a missing one could have lowered them.
pub fn q_values(p_values: &[f64], m: u64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut q = vec![1.0; p_values.len()];
    let mut lowest = 1.0f64;
    for (i, &at) in order.iter().enumerate().rev() {
        lowest = lowest.min(p_values[at] * m as f64 / (i + 1) as f64);
        q[at] = lowest;
    }
    q
}

/// Observed over expected count of p-values at or below `alpha` among `tests` tests; 1 is perfectly calibrated. `None`
/// where nothing is expected.
pub fn observed_over_expected(p_values: impl IntoIterator<Item = f64>, tests: u64, alpha: f64) -> Option<f64> {
    let expected = alpha * tests as f64;
    let observed = p_values.into_iter().filter(|&p| p <= alpha).count();
    (expected > 0.0).then(|| observed as f64 / expected)
}

/// Spearman's rank correlation, ties at their mean rank; `None` for fewer than two pairs, or if either side is constant.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let (x, y) = (mean_ranks(x), mean_ranks(y));
    let mean = (x.len() + 1) as f64 / 2.0;
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (sum(&x, &x) * sum(&y, &y)).sqrt();
    (spread > 0.0).then(|| (sum(&x, &y) / spread).clamp(-1.0, 1.0))
}

/// Ranks from 1, equal values at the mean of theirs.
fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for ties in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = first as f64 + (ties.len() + 1) as f64 / 2.0;
        ties.iter().for_each(|&i| ranks[i] = rank);
        first += ties.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    // scikit-learn 1.9.1, statsmodels 0.15.0 and scipy 1.17.1; the commands stand above each number.
    const SCORES: [f64; 10] = [0.9, 0.8, 0.8, 0.7, 0.6, 0.55, 0.5, 0.5, 0.3, 0.1];
    const POSITIVE: [bool; 10] = [true, false, true, false, true, false, false, true, false, false];

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "found {found}, expected {expected}");
    }

    #[test]
    fn precision_and_recall_count_the_top() {
        assert_eq!(precision_at_k(&POSITIVE, 3), Some(2.0 / 3.0));
        assert_eq!(precision_at_k(&POSITIVE[..2], 10), Some(0.5), "a short list is all of it");
        assert_eq!(precision_at_k(&[], 10), None);
        assert_eq!(precision_at_k(&POSITIVE, 0), None);
        assert_eq!(recall_at_k(&POSITIVE, 3), Some(0.5));
        assert_eq!(recall_at_k(&[false], 3), None);
    }

    #[test]
    fn average_precision_agrees_with_scikit_learn() {
        // average_precision_score(POSITIVE, SCORES)
        close(average_precision(&SCORES, &POSITIVE).unwrap(), 0.691_666_666_666_666_7);
        assert_eq!(average_precision(&[0.5], &[false]), None);
        close(average_precision(&[2.0, 1.0], &[true, false]).unwrap(), 1.0);
    }

    #[test]
    fn roc_auc_agrees_with_scikit_learn() {
        // roc_auc_score(POSITIVE, SCORES)
        close(roc_auc(&SCORES, &POSITIVE).unwrap(), 0.75);
        close(roc_auc(&[1.0, 1.0], &[true, false]).unwrap(), 0.5);
        assert_eq!(roc_auc(&SCORES, &[true; 10]), None);
    }

    #[test]
    fn the_wilson_interval_agrees_with_statsmodels() {
        // proportion_confint(k, n, 0.05, "wilson")
        let reference = [
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_6, 1.0),
            (3, 10, 0.107_791_267_406_301_04, 0.603_221_852_538_854_6),
            (85, 100, 0.767_164_404_091_676_3, 0.906_940_147_163_433_7),
            (1, 1, 0.206_549_314_377_237_4, 1.0),
        ];
        for (k, n, low, high) in reference {
            let (found_low, found_high) = wilson_interval(k, n);
            close(found_low, low);
            close(found_high, high);
        }
        assert_eq!(wilson_interval(0, 0), (0.0, 1.0));
    }

    #[test]
    fn q_values_agree_with_scipy() {
        // scipy.stats.false_discovery_control([0.01, 0.04, 0.03, 0.005, 0.2, 0.03])
        let p = [0.01, 0.04, 0.03, 0.005, 0.2, 0.03];
        let exact = [0.03, 0.048, 0.045, 0.03, 0.2, 0.045];
        for (found, expected) in q_values(&p, 6).into_iter().zip(exact) {
            close(found, expected);
        }
        for (bound, exact) in q_values(&[0.005, 0.01, 0.03], 6).into_iter().zip([0.03, 0.03, 0.045]) {
            assert!(bound >= exact - 1e-15, "the q-value of a truncated list is an upper bound");
        }
        assert!(q_values(&[], 5).is_empty());
    }

    #[test]
    fn calibration_is_a_ratio_of_counts() {
        assert_eq!(observed_over_expected([0.001, 0.01, 0.02, 0.5], 200, 0.01), Some(1.0));
        assert_eq!(observed_over_expected([], 0, 0.01), None);
    }

    #[test]
    fn rank_correlation_takes_ties_at_their_mean_rank() {
        // scipy 1.17.1: spearmanr([1, 2, 2, 4, 5], [5, 6, 7, 8, 7]).statistic
        let found = spearman(&[1.0, 2.0, 2.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]).unwrap();
        assert!((found - 0.763_157_894_736_842_1).abs() < 1e-12, "{found}");
        assert_eq!(spearman(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None, "a constant has no order");
        assert_eq!(spearman(&[1.0, 2.0], &[1.0]), None);
    }
}
