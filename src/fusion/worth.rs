//! Training of the neural members, and whether they count.
//!
//! A fifth of the training sequences is held out. A network learns from the others, but for those that are odd among
//! them, and is calibrated on what it has not seen. Whether it counts is measured there too: each held-out sequence is set beside
//! a copy in which neighbouring tokens of a short span have changed places, or into which a run of another sequence's tokens
//! was put. A network has weight only if the copies are told from the sequences better with it than by n-grams alone, in
//! average precision and in what is detected at 1 % false alarms, both beyond chance (paired bootstrap). Of two, the better is
//! measured first, and if it counts, the other has to add to both.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rayon::prelude::*;

use super::calibrate::{ANY_SCALE, Calibrator, tail};
use super::neural::{COUNTS, Neural, Trained, Worth};
use super::sequences::{SURPRISE, Sequences, mean};
use super::strata::stratum_of;
use crate::config::Sequence;
use crate::detectors::sequence::neural::{Model, Options};
use crate::detectors::sequence::ngram::Ngrams;
use crate::detectors::sequence::{Network, Progress};
use crate::seed::Seed;

/// Share of the sequences that is held out, and most of them.
const HELD_OUT: f64 = 0.2;
const MOST_HELD_OUT: usize = 10_000;

/// Most held-out sequences that it is measured on whether the network counts, and fewest.
const MOST_MEASURED: usize = 2_000;
const FEWEST_MEASURED: usize = 50;

/// Samples of the bootstrap, and the share of them in which the network may be no better.
const SAMPLES: usize = 500;
const CHANCE: f64 = 0.05;

/// Tokens of the span that is disordered, how many pairs change places in it, and tokens of a run that is put in.
const SPAN: usize = 8;
const SWAPS: usize = 4;
const RUN: std::ops::RangeInclusive<usize> = 3..=8;

/// Trains networks on sequences with these weights. `Err` says why it is not possible.
pub(super) fn train(
    networks: &[Network],
    of: Sequences<'_>,
    weights: &[f64],
    lengths: &[usize],
    settings: &Sequence,
    seed: Seed,
    progress: &dyn Fn(Progress),
) -> Result<Trained, String> {
    let n = of.tokens.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut seed.derive("neural held out", 0));
    let (held_out, rest) = order.split_at(((n as f64 * HELD_OUT) as usize).clamp(1, MOST_HELD_OUT));
    let usual = rest.iter().filter(|i| weights[**i] == 1.0).map(|i| of.tokens[*i]).collect::<Vec<_>>();
    let held: Vec<&[u32]> = held_out.iter().map(|i| of.tokens[*i]).collect();
    let mut neural = Vec::new();
    let mut raw = Vec::new();
    for &network in networks {
        let model = Model::fit(network, &usual, of.symbols, Options::of(network), seed, progress).ok_or_else(|| {
            format!("the {} found no tokens to learn from in {} of them", network.words(), usual.len())
        })?;
        let of_held = model.score(&held);
        let worth = Worth { sequences: 0, precision: (0.0, 0.0), detected: (0.0, 0.0), weight: 0.0 };
        neural.push(Neural { network, model, calibrators: by_stratum(&of_held, &held, lengths), worth });
        raw.push(of_held);
    }

    let measured = &held[..held.len().min(MOST_MEASURED)];
    if measured.len() >= FEWEST_MEASURED {
        let rest_weights: Vec<f64> = rest.iter().map(|i| weights[*i]).collect();
        let rest: Vec<&[u32]> = rest.iter().map(|i| of.tokens[*i]).collect();
        let (order, most) = (settings.order as usize, settings.ngrams as usize);
        let ngrams = Ngrams::fit(&rest, &rest_weights, of.symbols, order, most);
        let copies = disturbed(measured, seed);
        let copies: Vec<&[u32]> = copies.iter().map(Vec::as_slice).collect();
        let (known, odd) = (surprise(&ngrams, measured), surprise(&ngrams, &copies));
        let by_ngrams = by_stratum(&known, measured, lengths);
        let alone = [statistic(&by_ngrams, &known, measured, lengths), statistic(&by_ngrams, &odd, &copies, lengths)]
            .map(|values| values.into_iter().map(|x| SURPRISE * x).collect());
        let added = |(of, raw): (&Neural, &Vec<f64>)| {
            let odd = of.model.score(&copies);
            [(&raw[..measured.len()], measured), (&odd, &copies)]
                .map(|(raw, tokens)| statistic(&of.calibrators, raw, tokens, lengths))
        };
        let added: Vec<[Vec<f64>; 2]> = neural.iter().zip(&raw).map(added).collect();
        for (neural, worth) in neural.iter_mut().zip(measure(alone, &added, seed)) {
            neural.worth = worth;
        }
    }
    let mut adds = vec![0.0; held.len()];
    for (neural, raw) in neural.iter().zip(&raw).filter(|(n, _)| n.worth.weight > 0.0) {
        let crossed = crossed(raw, &held, lengths);
        adds.iter_mut().zip(crossed).for_each(|(sum, t)| *sum += neural.worth.weight * t);
    }
    Ok(Trained { neural, held_out: held_out.to_vec(), adds })
}

/// What each of some statistics is worth beside one, that of sequences and that of their copies: the one with which the
/// precision is best is measured first, and the others beside it as well, if it counts.
fn measure(mut base: [Vec<f64>; 2], added: &[[Vec<f64>; 2]], seed: Seed) -> Vec<Worth> {
    let mut found = vec![None; added.len()];
    while let Some((k, worth, both)) = (0..added.len())
        .filter(|k| found[*k].is_none())
        .map(|k| {
            let both = [0, 1].map(|c| base[c].iter().zip(&added[k][c]).map(|(a, b)| a + COUNTS * b).collect());
            (k, compare(&base, &both, seed), both)
        })
        .reduce(|a, b| if b.1.precision.1 > a.1.precision.1 { b } else { a })
    {
        if worth.weight > 0.0 {
            base = both;
        }
        found[k] = Some(worth);
    }
    found.into_iter().flatten().collect()
}

fn surprise(ngrams: &Ngrams, tokens: &[&[u32]]) -> Vec<f64> {
    let one = |out: &mut Vec<f64>, s: &&[u32]| {
        ngrams.surprise(s, out);
        mean(out)
    };
    tokens.par_iter().map_init(Vec::new, one).collect()
}

fn by_stratum(raw: &[f64], tokens: &[&[u32]], lengths: &[usize]) -> Vec<Calibrator> {
    let tail = tail(raw.len());
    let of = |k: usize| raw.iter().zip(tokens).filter(move |(_, s)| stratum_of(lengths, s.len()) == k).map(|(x, _)| *x);
    (0..=lengths.len()).map(|k| Calibrator::fit(of(k).collect(), tail, ANY_SCALE)).collect()
}

/// −ln p of each sequence.
fn statistic(calibrators: &[Calibrator], raw: &[f64], tokens: &[&[u32]], lengths: &[usize]) -> Vec<f64> {
    raw.iter().zip(tokens).map(|(x, s)| -calibrators[stratum_of(lengths, s.len())].p(*x).ln()).collect()
}

/// −ln p of each sequence by the calibration of the others: its own would not find it as odd as a new one, and what combines
/// p-values would promise too much.
fn crossed(raw: &[f64], tokens: &[&[u32]], lengths: &[usize]) -> Vec<f64> {
    const PARTS: usize = 5;
    let mut out = vec![0.0; raw.len()];
    for part in 0..PARTS.min(raw.len()) {
        let others = || (0..raw.len()).filter(|i| i % PARTS != part);
        let known: Vec<f64> = others().map(|i| raw[i]).collect();
        let by: Vec<&[u32]> = others().map(|i| tokens[i]).collect();
        let calibrators = by_stratum(&known, &by, lengths);
        for i in (part..raw.len()).step_by(PARTS) {
            out[i] = -calibrators[stratum_of(lengths, tokens[i].len())].p(raw[i]).ln();
        }
    }
    out
}

/// A copy of each sequence with something wrong: every second one in its order, the others with a run of another sequence.
fn disturbed(sequences: &[&[u32]], seed: Seed) -> Vec<Vec<u32>> {
    let mut rng = seed.derive("neural copies", 0);
    let mut copies = Vec::with_capacity(sequences.len());
    for (i, sequence) in sequences.iter().enumerate() {
        let mut copy = sequence.to_vec();
        if i % 2 == 0 && copy.len() > 1 {
            let from = rng.random_range(0..=copy.len().saturating_sub(SPAN));
            let span = SPAN.min(copy.len() - from);
            for _ in 0..SWAPS {
                let at = from + rng.random_range(0..span - 1);
                copy.swap(at, at + 1);
            }
        }
        // Also where all tokens are equal and have no order.
        if copy == *sequence {
            let other = sequences.choose(&mut rng).copied().unwrap_or_default();
            let run = rng.random_range(RUN).min(other.len());
            let from = rng.random_range(0..=other.len() - run);
            let at = rng.random_range(0..=copy.len());
            copy.splice(at..at, other[from..from + run].iter().copied());
        }
        copies.push(copy);
    }
    copies
}

/// Whether two kinds of values tell sequences (first list) from their copies (second list) differently well.
fn compare(alone: &[Vec<f64>; 2], both: &[Vec<f64>; 2], seed: Seed) -> Worth {
    let n = alone[0].len();
    let falling = |values: &[Vec<f64>; 2]| {
        let mut order: Vec<(f64, usize, bool)> = (0..2 * n).map(|k| (values[k / n][k % n], k % n, k >= n)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        order
    };
    let (alone, both) = (falling(alone), falling(both));
    let once = vec![1.0; n];
    let (a, b) = (quality(&alone, &once), quality(&both, &once));
    let no_better: Vec<(bool, bool)> = (0..SAMPLES)
        .into_par_iter()
        .map(|k| {
            let mut rng = seed.derive("neural bootstrap", k as u64);
            let mut times = vec![0.0; n];
            (0..n).for_each(|_| times[rng.random_range(0..n)] += 1.0);
            let (a, b) = (quality(&alone, &times), quality(&both, &times));
            (b.0 <= a.0, b.1 <= a.1)
        })
        .collect();
    let rare =
        |of: fn(&(bool, bool)) -> bool| no_better.iter().filter(|x| of(x)).count() as f64 <= CHANCE * SAMPLES as f64;
    let counts = rare(|x| x.0) && rare(|x| x.1);
    Worth { sequences: n, precision: (a.0, b.0), detected: (a.1, b.1), weight: if counts { COUNTS } else { 0.0 } }
}

/// Average precision, and the share of copies found at 1 % false alarms, with each pair counted so many times. Values that are equal
/// are found together.
fn quality(falling: &[(f64, usize, bool)], times: &[f64]) -> (f64, f64) {
    let all: f64 = times.iter().sum();
    let (mut found, mut alarms, mut precision, mut detected) = (0.0, 0.0, 0.0, 0.0);
    for equal in falling.chunk_by(|a, b| a.0 == b.0) {
        let count = |copy: bool| equal.iter().filter(|e| e.2 == copy).map(|e| times[e.1]).sum::<f64>();
        let (more, false_alarms) = (count(true), count(false));
        found += more;
        alarms += false_alarms;
        if more > 0.0 {
            precision += more * found / (found + alarms);
        }
        if alarms <= 0.01 * all {
            detected = found;
        }
    }
    (precision / all, detected / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_is_average_precision_and_detection_at_one_percent() {
        // By hand: copies at ranks 1, 2 and 4 of six.
        let falling =
            [(6.0, 0, true), (5.0, 1, true), (4.0, 0, false), (3.0, 2, true), (2.0, 1, false), (1.0, 2, false)];
        let (precision, detected) = quality(&falling, &[1.0; 3]);
        assert!((precision - (1.0 + 1.0 + 0.75) / 3.0).abs() < 1e-12 && (detected - 2.0 / 3.0).abs() < 1e-12);
        // A pair that is left out is as if it were not there.
        assert_eq!(quality(&falling, &[0.0, 1.0, 1.0]).0, 1.0);
        let equal = [(1.0, 0, true), (1.0, 0, false)];
        assert_eq!(quality(&equal, &[1.0]), (0.5, 0.0));
    }

    #[test]
    fn what_adds_nothing_gets_no_weight_and_what_tells_more_gets_it() {
        let mut rng = Seed(1).derive("values", 0);
        let mut values = |shift: f64| -> Vec<f64> { (0..400).map(|_| rng.random::<f64>() + shift).collect() };
        let alone = [values(0.0), values(0.3)];
        let noise = [values(0.0), values(0.0)];
        let told = [values(0.0), values(0.9)];
        let with = |other: &[Vec<f64>; 2]| {
            [0, 1].map(|k| alone[k].iter().zip(&other[k]).map(|(a, b)| a + b).collect::<Vec<f64>>())
        };
        assert_eq!(compare(&alone, &alone, Seed(1)).weight, 0.0);
        assert_eq!(compare(&alone, &with(&noise), Seed(1)).weight, 0.0);
        let worth = compare(&alone, &with(&told), Seed(1));
        assert!(worth.weight == COUNTS && worth.precision.1 > worth.precision.0 && worth.detected.1 > worth.detected.0);
    }

    #[test]
    fn of_two_that_tell_the_same_only_the_better_counts_and_of_two_that_differ_both() {
        let mut rng = Seed(2).derive("values", 0);
        let mut noise = |shift: f64| -> Vec<f64> { (0..400).map(|_| rng.random::<f64>() + shift).collect() };
        let alone = [noise(0.0), noise(0.2)];
        let told = [noise(0.0), noise(0.6)];
        let worse = [0, 1].map(|c: usize| told[c].iter().zip(noise(0.0)).map(|(x, e)| x + 0.2 * e).collect());
        let other = [noise(0.0), noise(0.6)];
        let weights = |added: &[[Vec<f64>; 2]]| -> Vec<f64> {
            measure(alone.clone(), added, Seed(1)).iter().map(|w| w.weight).collect()
        };
        assert!(weights(&[]).is_empty());
        assert_eq!(weights(&[told.clone(), other.clone()]), [COUNTS, COUNTS]);
        assert_eq!(weights(&[worse.clone(), told.clone()])[1], COUNTS);
        let both = measure(alone.clone(), &[worse, told], Seed(1));
        assert_eq!(both[0].precision.0, both[1].precision.1, "the second is measured beside the first");
    }

    #[test]
    fn every_copy_differs_from_its_sequence() {
        let all: Vec<Vec<u32>> =
            (0..60).map(|i| (0..=i % 30).map(|k| if i % 3 == 0 { 5 } else { 3 + k % 7 }).collect()).collect();
        let slices: Vec<&[u32]> = all.iter().map(Vec::as_slice).collect();
        let copies = disturbed(&slices, Seed(3));
        let differing = copies.iter().zip(&all).filter(|(c, s)| c != s).count();
        assert_eq!(differing, 60);
        assert!(copies.iter().zip(&all).any(|(c, s)| c.len() == s.len()), "some only in their order");
        assert!(disturbed(&[&[], &[]], Seed(1)).iter().all(Vec::is_empty), "nothing to put in is no trouble");
    }
}
