//! Short and long sequences are calibrated apart where there are enough of each.

/// Lengths are calibrated apart where there are so many sequences of each kind.
const STRATUM: usize = 500;

/// Upper lengths of all but the last stratum: powers of two, with enough sequences between them.
pub(super) fn strata(tokens: &[&[u32]]) -> Vec<usize> {
    let mut out = Vec::new();
    let within = |from: usize, to: usize| tokens.iter().filter(|s| (from..=to).contains(&s.len())).count();
    let (mut from, mut to) = (0, 4);
    while to < 1 << 20 {
        if within(from, to) >= STRATUM && within(to + 1, usize::MAX) >= STRATUM {
            out.push(to);
            from = to + 1;
        }
        to *= 2;
    }
    out
}

pub(super) fn stratum_of(lengths: &[usize], length: usize) -> usize {
    lengths.partition_point(|l| *l < length)
}
