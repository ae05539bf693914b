//! Why a sequence is odd: how rare what each member says of it is, which of its steps surprise n-grams most, and how it differs from
//! the nearest set of tokens that is known. No training sequence is kept whole, so that a model can be handed on: a set is
//! all that can be shown of the nearest.

use super::sequences::{Family, MEMBERS};
use super::strata::stratum_of;
use crate::detectors::sequence::bags::set_of;

/// Most steps that are told of.
const STEPS: usize = 3;

/// What is odd about a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Reasons {
    /// Share of ordinary sequences of about its length of which a member says as much, by its column.
    pub members: Vec<(&'static str, f64)>,
    /// The most surprising steps that are not what usually follows, the most surprising first.
    pub steps: Vec<Step>,
    /// The nearest known set of tokens; none if no known set shares a token.
    pub nearest: Option<Nearest>,
}

/// A step of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Index of the token; of the end, the number of tokens.
    pub at: usize,
    /// Its probability, given what is before it.
    pub p: f64,
    /// What usually follows instead, and its probability.
    pub usual: Option<(u32, f64)>,
}

/// How a sequence differs from the nearest known set of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// Tokens of the sequence that are not in the set.
    pub more: Vec<u32>,
    /// Tokens of the set that the sequence does not have.
    pub less: Vec<u32>,
}

impl Family {
    /// Why a sequence is odd of which the members said `raw`, in the order of [`Family::score`].
    pub fn reasons(&self, sequence: &[u32], raw: &[f64]) -> Reasons {
        let stratum = stratum_of(&self.lengths, sequence.len());
        let own = MEMBERS.into_iter().zip(&self.calibrators);
        let of_neural = self.neural.iter().map(|m| (m.network.column(), &m.calibrators));
        let members = own.chain(of_neural).zip(raw).map(|((name, c), raw)| (name, c[stratum].p(*raw))).collect();

        let mut surprise = Vec::new();
        self.ngrams.surprise(sequence, &mut surprise);
        let mut order: Vec<usize> = (0..surprise.len()).collect();
        order.sort_by(|a, b| surprise[*b].total_cmp(&surprise[*a]));
        let step = |at: usize| {
            let usual = self.ngrams.likeliest(&sequence[..at]);
            let p = (-surprise[at]).exp();
            // Of an order that is cut the likeliest may be rarer than what came.
            Step { at, p, usual: usual.filter(|(_, other)| *other > p) }
        };
        let steps = order.into_iter().take(STEPS).map(step).filter(|s| s.usual.is_some()).collect();

        let set = set_of(sequence);
        let nearest = self.bags.nearest_set(&set).map(|known| {
            let without = |of: &[u32], other: &[u32]| {
                of.iter().filter(|t| other.binary_search(t).is_err()).copied().collect::<Vec<u32>>()
            };
            Nearest { more: without(&set, known), less: without(known, &set) }
        });
        Reasons { members, steps, nearest }
    }
}
