//! The family sequence alone, on any token sequences: is a sequence strange at all, and is it strange for the one who made it?
//!
//! The first question is answered by n-gram surprise and by the distance from the nearest known sets of tokens, whose p-values are
//! added up on the scale of −ln p (surprise twice: it is the better one, and they fail on different sequences). The second, asked where
//! sequences have an entity, by the likelihood ratio of everyone else against the entity's own habits. The two
//! answers are fused by a weighted harmonic mean: either one alone is enough. How much the second counts is measured on the
//! training itself, by asking of each sequence whether it can be told whose it is.
//!
//! Everything is calibrated on the training sequences, each scored as if it had not been learned from. Networks that were
//! asked for and count ([`super::neural`]) add to the answer to the first question, and what combines their p-values with others
//! is calibrated on the sequences that they were not trained on.

use rand::RngExt;
use rayon::prelude::*;

use super::calibrate::{ANY_SCALE, COMBINED_FEW, Calibrator, distinct_p, tail};
use super::combine::harmonic_mean;
use super::neural::{Neural, Worth};
use super::strata::{strata, stratum_of};
use super::table::Scores;
use crate::config::Sequence;
use crate::detectors::geometry::members::{Arrays, NamedArray};
use crate::detectors::sequence::bags::Bags;
use crate::detectors::sequence::habits::Habits;
use crate::detectors::sequence::ngram::Ngrams;
use crate::detectors::sequence::{Network, Progress, votes};
use crate::seed::Seed;

/// Names of the members, which are the columns of what they say.
pub const MEMBERS: [&str; 3] = ["ngram", "bag", "habit"];

/// Fewest sequences that are learned from: of fewer, nothing can be said about a tail.
pub const FEWEST: usize = 10;

/// What surprise and distance count in the answer to the first question.
pub(super) const SURPRISE: f64 = 2.0;
const DISTANCE: f64 = 1.0;

/// Most that the second question counts against the first, of 1.
const MOST_HABIT: f64 = 0.85;

/// So many sequences of an entity's own make the second question half as good as it can be.
const HALF_KNOWN: f64 = 5.0;

/// Sequences with their makers, as numbers.
#[derive(Debug, Clone, Copy)]
pub struct Sequences<'a> {
    /// Token numbers.
    pub tokens: &'a [&'a [u32]],
    /// Who made each, if that is known.
    pub entities: Option<&'a [&'a str]>,
    /// Number of symbols of the vocabulary.
    pub symbols: u32,
}

/// A fitted family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub(super) ngrams: Ngrams,
    pub(super) bags: Bags,
    habits: Option<Habits>,
    pub(super) neural: Vec<Neural>,
    /// Upper lengths of all but the last stratum, ascending.
    pub(super) lengths: Vec<usize>,
    /// Per member, per stratum.
    pub(super) calibrators: Vec<Vec<Calibrator>>,
    /// Of the answer to the first question.
    strange: Calibrator,
    /// Weight of the second question, 0..=1.
    weight: f64,
    /// Of the fused statistic.
    fused: Calibrator,
    least: (f64, f64),
}

impl Family {
    /// Fits. `Err` says why it is not possible. `progress` hears of the passes of the networks.
    pub fn fit(
        of: Sequences<'_>,
        settings: &Sequence,
        seed: Seed,
        progress: &dyn Fn(Progress),
    ) -> Result<Self, String> {
        let n = of.tokens.len();
        if n < FEWEST {
            return Err(format!("expected at least {FEWEST} sequences to tell odd from ordinary, found {n}"));
        }
        if of.tokens.iter().all(|s| s.is_empty()) {
            return Err("expected sequences of tokens, found only empty ones".to_owned());
        }
        let (order, most) = (settings.order as usize, settings.ngrams as usize);
        let plain = Ngrams::fit(of.tokens, &vec![1.0; n], of.symbols, order, most);
        let oddness = left_out(&plain, of.tokens, &vec![1.0; n]);
        let weights = votes(&oddness, settings.odd_share);
        let usual: Vec<bool> = weights.iter().map(|w| *w == 1.0).collect();
        let ngrams = Ngrams::fit(of.tokens, &weights, of.symbols, order, most);
        let bags = Bags::fit(of.tokens, &usual, of.symbols, settings.references as usize, seed);
        let habits = of.entities.map(|entities| {
            let habits = Habits::fit(of.tokens, entities.iter().copied(), &weights, of.symbols, 1);
            tell_apart(habits, of.tokens, entities, &weights, seed)
        });
        let mut raw = vec![left_out(&ngrams, of.tokens, &weights), bags.distances(of.tokens, &usual)];
        let (mut weight, mut ratio, mut known) = (0.0, None, vec![0.0; n]);
        if let (Some((habits, area)), Some(entities)) = (&habits, of.entities) {
            weight = MOST_HABIT * (2.0 * area - 1.0).clamp(0.0, 1.0);
            ratio = Some(strangers(habits, of.tokens, entities, &weights));
            known = entities.iter().zip(&weights).map(|(e, w)| known_by(habits, e, *w)).collect();
        }
        raw.extend(ratio);
        let quantile = tail(n);
        let lengths = strata(of.tokens);
        let stratum: Vec<usize> = of.tokens.iter().map(|s| stratum_of(&lengths, s.len())).collect();
        let calibrators: Vec<Vec<Calibrator>> = raw
            .iter()
            .map(|raw| {
                let of = |k: usize| raw.iter().zip(&stratum).filter(|(_, s)| **s == k).map(|(x, _)| *x).collect();
                (0..=lengths.len()).map(|k| Calibrator::fit(of(k), quantile, ANY_SCALE)).collect()
            })
            .collect();
        let (mut neural, mut on, mut adds) = (Vec::new(), None, None);
        let networks = Network::wanted(settings);
        if !networks.is_empty() {
            #[cfg(feature = "neural")]
            let trained = super::worth::train(&networks, of, &weights, &lengths, settings, seed, progress);
            #[cfg(not(feature = "neural"))]
            let trained: Result<super::neural::Trained, String> = {
                let _ = progress;
                Err(format!("{} is set, but this build has no feature `neural`", networks[0].setting()))
            };
            let trained = trained?;
            if trained.neural.iter().any(|n| n.worth.weight > 0.0) {
                (on, adds) = (Some(trained.held_out), Some(trained.adds));
            }
            neural = trained.neural;
        }
        // What combines p-values is then calibrated on sequences that no network has seen.
        let (mut raw, mut stratum) = (raw, stratum);
        if let Some(on) = &on {
            raw = raw.iter().map(|raw| on.iter().map(|i| raw[*i]).collect()).collect();
            (stratum, known) = on.iter().map(|i| (stratum[*i], known[*i])).unzip();
        }
        let (n, quantile) = (stratum.len(), tail(stratum.len()));
        let mut family = Self {
            ngrams,
            bags,
            habits: habits.map(|(h, _)| h),
            neural,
            lengths,
            calibrators,
            strange: Calibrator::Exponential { mean: 1.0, unseen: 0.0 },
            weight,
            fused: Calibrator::Exponential { mean: 1.0, unseen: 0.0 },
            least: (0.0, 1.0),
        };
        let strange = family.strangeness(&raw, adds.as_deref(), &stratum);
        // A sum of −ln p has a scale of its own, which the fewer held-out sequences cannot win from a prior of 1.
        let prior = if adds.is_some() { ANY_SCALE } else { COMBINED_FEW };
        family.strange = Calibrator::fit(strange, quantile, prior);
        let statistic = family.statistic(&raw, adds.as_deref(), &stratum, &known);
        family.least = (statistic.iter().copied().fold(f64::INFINITY, f64::min), n as f64);
        family.fused = Calibrator::fit(statistic, quantile, COMBINED_FEW);
        Ok(family)
    }

    /// Scores sequences.
    pub fn score(&self, tokens: &[&[u32]], entities: Option<&[&str]>) -> Scores {
        let n = tokens.len();
        let surprise = tokens
            .par_iter()
            .map_init(Vec::new, |out, s| {
                self.ngrams.surprise(s, out);
                mean(out)
            })
            .collect();
        let mut known = vec![0.0; n];
        let mut raw: Vec<Vec<f64>> = vec![surprise, self.bags.distances(tokens, &vec![false; n])];
        if let Some(habits) = &self.habits {
            raw.push(match entities {
                Some(entities) => {
                    known = entities.iter().map(|e| known_by(habits, e, 0.0)).collect();
                    strangers(habits, tokens, entities, &vec![0.0; n])
                }
                None => vec![0.0; n],
            });
        }
        let stratum: Vec<usize> = tokens.iter().map(|s| stratum_of(&self.lengths, s.len())).collect();
        let of_neural: Vec<(&Neural, Vec<f64>)> = self.neural.iter().map(|m| (m, m.score(tokens))).collect();
        let adds = |i: usize| of_neural.iter().map(|(m, raw)| m.adds(raw[i], stratum[i])).sum();
        let adds: Option<Vec<f64>> = (!of_neural.is_empty()).then(|| (0..n).map(adds).collect());
        let p = self.statistic(&raw, adds.as_deref(), &stratum, &known).into_iter().map(|t| self.p(t)).collect();
        let of_neural = of_neural.into_iter().map(|(m, raw)| (m.network.column(), raw));
        Scores { members: MEMBERS.into_iter().zip(raw).chain(of_neural).collect(), p }
    }

    /// −ln of the fused p-value before its calibration; `known` is how well each maker is known, 0..=1.
    fn statistic(&self, raw: &[Vec<f64>], adds: Option<&[f64]>, stratum: &[usize], known: &[f64]) -> Vec<f64> {
        let strange = self.strangeness(raw, adds, stratum);
        let second = raw.get(2).zip(self.calibrators.get(2));
        strange
            .into_iter()
            .enumerate()
            .map(|(i, t)| {
                let first = self.strange.p(t);
                let p = match second {
                    Some((raw, calibrators)) if self.weight > 0.0 => {
                        let weight = self.weight * known[i];
                        let own = calibrators[stratum[i]].mid_p(raw[i]);
                        harmonic_mean([(1.0 - weight, first), (weight, own)])
                    }
                    _ => first,
                };
                -p.ln()
            })
            .collect()
    }

    /// The first question's statistic: −ln p of surprise and distance, added up by weight, and what the networks add.
    fn strangeness(&self, raw: &[Vec<f64>], adds: Option<&[f64]>, stratum: &[usize]) -> Vec<f64> {
        let part = |m: usize, i: usize| -self.calibrators[m][stratum[i]].p(raw[m][i]).ln();
        let of = |i: usize| SURPRISE * part(0, i) + DISTANCE * part(1, i) + adds.map_or(0.0, |adds| adds[i]);
        (0..stratum.len()).map(of).collect()
    }

    fn p(&self, statistic: f64) -> f64 {
        distinct_p(&self.fused, self.least, statistic)
    }

    /// The model of order.
    pub fn ngrams(&self) -> &Ngrams {
        &self.ngrams
    }

    /// Weight of whose a sequence is, 0..=1, and symbols looked at together for it; `None` without entities.
    pub fn habit(&self) -> Option<(f64, usize)> {
        self.habits.as_ref().map(|h| (self.weight, h.order()))
    }

    /// What was measured of each network that there is.
    pub fn neural(&self) -> Vec<(Network, Worth)> {
        self.neural.iter().map(|m| (m.network, m.worth)).collect()
    }

    /// The entities' records, if there are any.
    pub fn to_records(&self) -> Vec<(String, Vec<f64>)> {
        let all = |h: &Habits| h.to_records().map(|(name, numbers)| (name.to_owned(), numbers)).collect();
        self.habits.as_ref().map(all).unwrap_or_default()
    }

    /// What a model file keeps beside the records.
    pub fn to_arrays(&self) -> Vec<NamedArray> {
        let order = self.habits.as_ref().map_or(0, Habits::order);
        let lengths: Vec<f64> = self.lengths.iter().map(|l| *l as f64).collect();
        let about = vec![self.weight, order as f64, self.least.0, self.least.1];
        let mut out = vec![
            ("sequence/about".to_owned(), vec![4], about),
            ("sequence/lengths".to_owned(), vec![lengths.len()], lengths),
        ];
        let mut add = |name: String, c: &Calibrator| {
            let numbers = c.to_numbers();
            out.push((name, vec![numbers.len()], numbers));
        };
        for (name, calibrators) in MEMBERS.iter().zip(&self.calibrators) {
            for (k, c) in calibrators.iter().enumerate() {
                add(format!("sequence/calibration/{name}/{k}"), c);
            }
        }
        add("sequence/calibration/strange".to_owned(), &self.strange);
        add("sequence/calibration/fused".to_owned(), &self.fused);
        out.extend(self.ngrams.to_arrays("sequence"));
        out.extend(self.bags.to_arrays("sequence"));
        out.extend(self.neural.iter().flat_map(Neural::to_arrays));
        out
    }

    /// The inverse of [`Self::to_arrays`] and [`Self::to_records`]; `Err` names what is missing or makes no sense.
    pub fn from_parts(arrays: &Arrays<'_>, records: &[(&str, &[f64])], symbols: u32) -> Result<Self, String> {
        let numbers = |name: &str| arrays.get(name).map(|(_, v)| *v).ok_or_else(|| name.to_owned());
        let [weight, order, least, n] = *numbers("sequence/about")? else { return Err("sequence/about".into()) };
        let lengths = numbers("sequence/lengths")?;
        let ascending =
            lengths.windows(2).all(|w| w[0] < w[1]) && lengths.iter().all(|l| *l >= 0.0 && l.fract() == 0.0);
        if !(0.0..=1.0).contains(&weight) || !least.is_finite() || n < 1.0 || !ascending {
            return Err("sequence/about".into());
        }
        let lengths: Vec<usize> = lengths.iter().map(|l| *l as usize).collect();
        let ngrams = Ngrams::from_arrays(numbers("sequence/ngram/about")?, numbers("sequence/ngram/nodes")?)
            .filter(|m| m.predicted() == f64::from(symbols - 1))
            .ok_or("sequence/ngram/nodes")?;
        let bags = Bags::from_arrays(
            numbers("sequence/bags/idf")?,
            numbers("sequence/bags/sets")?,
            numbers("sequence/bags/tokens")?,
        )
        .filter(|b| b.symbols() == symbols as usize)
        .ok_or("sequence/bags")?;
        let habits = match order as usize {
            0 if records.is_empty() => None,
            order => Some(
                Habits::from_records(records.iter().copied(), symbols, order).ok_or("the records of sequence/habit")?,
            ),
        };
        let calibrator = |name: String| Calibrator::from_numbers(numbers(&name)?).ok_or(name);
        let members = if habits.is_some() { 3 } else { 2 };
        let calibrators = MEMBERS[..members]
            .iter()
            .map(|m| (0..=lengths.len()).map(|k| calibrator(format!("sequence/calibration/{m}/{k}"))).collect())
            .collect::<Result<_, String>>()?;
        Ok(Self {
            ngrams,
            bags,
            habits,
            neural: Neural::all_from_arrays(arrays, lengths.len() + 1, symbols)?,
            lengths,
            calibrators,
            strange: calibrator("sequence/calibration/strange".into())?,
            weight,
            fused: calibrator("sequence/calibration/fused".into())?,
            least: (least, n),
        })
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Mean surprise of each training sequence, as if it had not been one.
fn left_out(ngrams: &Ngrams, tokens: &[&[u32]], weights: &[f64]) -> Vec<f64> {
    tokens
        .par_iter()
        .zip(weights)
        .map_init(Vec::new, |out, (s, w)| {
            ngrams.surprise_left_out(s, *w, out);
            mean(out)
        })
        .collect()
}

/// How well an entity is known, 0..=1, but for a sequence of weight `left_out`.
fn known_by(habits: &Habits, entity: &str, left_out: f64) -> f64 {
    let history = habits.history(entity, left_out);
    history / (history + HALF_KNOWN)
}

fn strangers(habits: &Habits, tokens: &[&[u32]], entities: &[&str], left_out: &[f64]) -> Vec<f64> {
    let one = |((s, e), w): ((&&[u32], &&str), &f64)| habits.stranger(e, s, *w);
    tokens.par_iter().zip(entities).zip(left_out).map(one).collect()
}

/// Chooses how many symbols to look at together, by how well a sequence's own maker is told from another one: the habits,
/// and the area under the curve (1/2 = not at all).
fn tell_apart(mut habits: Habits, tokens: &[&[u32]], entities: &[&str], weights: &[f64], seed: Seed) -> (Habits, f64) {
    /// Sequences asked about.
    const ASKED: usize = 2_000;
    let names: Vec<String> = habits.entities().map(str::to_owned).collect();
    if names.len() < 2 {
        return (habits, 0.5);
    }
    let step = tokens.len().div_ceil(ASKED);
    let mut rng = seed.derive("impostors", 0);
    // Each with somebody else's name.
    let asked: Vec<(usize, &str)> = (0..tokens.len())
        .step_by(step)
        .map(|i| {
            let at = rng.random_range(0..names.len() - 1);
            let own = names.binary_search_by(|n| n.as_str().cmp(entities[i])).expect("it was learned from");
            (i, names[if at >= own { at + 1 } else { at }].as_str())
        })
        .collect();
    let mut best = (1, 0.5);
    for order in 1..=Habits::HIGHEST_ORDER {
        habits.set_order(order);
        let (own, other): (Vec<f64>, Vec<f64>) = asked
            .par_iter()
            .map(|(i, other)| {
                (habits.stranger(entities[*i], tokens[*i], weights[*i]), habits.stranger(other, tokens[*i], 0.0))
            })
            .unzip();
        let area = area_under_curve(&own, &other);
        if area > best.1 {
            best = (order, area);
        }
    }
    habits.set_order(best.0);
    (habits, best.1)
}

/// Share of pairs in which the second's value is higher, ties half.
fn area_under_curve(below: &[f64], above: &[f64]) -> f64 {
    let mut sorted = below.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let wins = |x: &f64| {
        let less = sorted.partition_point(|y| y < x);
        let equal = sorted.partition_point(|y| y <= x) - less;
        less as f64 + equal as f64 / 2.0
    };
    above.iter().map(wins).sum::<f64>() / (below.len() * above.len()).max(1) as f64
}
