//! Whose sequence is this? How much better everybody else would have explained it than the one who is said to have made it.
//!
//! Per token ln p(everyone else) − ln p(own), with Witten–Bell models of order 1 or 2. The own model backs off to everyone
//! else's unigrams, so that whoever has little history is told from the others by little. A mixture of own and common habits
//! would hide an impostor: the common part explains what another one does every day.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::vocabulary::{END, START};

/// A pair of symbols as a key; of single symbols the first is [`ALONE`].
type Key = u64;

/// No symbol has this number: stands before the symbols of unigrams.
const ALONE: u32 = u32::MAX;

fn key(before: u32, token: u32) -> Key {
    u64::from(before) << 32 | u64::from(token)
}

/// Counts of single symbols and pairs, with per context their sum and the number of distinct ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    of: HashMap<Key, f64, FxBuildHasher>,
    contexts: HashMap<u32, (f64, f64), FxBuildHasher>,
}

impl Counts {
    fn add(&mut self, sequence: &[u32], weight: f64) {
        for (before, token) in pairs(sequence) {
            for context in [ALONE, before] {
                self.add_one(context, token, weight);
            }
        }
    }

    fn add_one(&mut self, context: u32, token: u32, weight: f64) {
        let count = self.of.entry(key(context, token)).or_default();
        let of = self.contexts.entry(context).or_default();
        of.1 += f64::from(u8::from(*count == 0.0));
        of.0 += weight;
        *count += weight;
    }

    /// Sums depend on the order of their parts: those of what was learned are made anew in one that a file keeps.
    fn of_entries(entries: &[(u32, u32, f64)]) -> Self {
        let mut out = Self::default();
        entries.iter().for_each(|&(context, token, count)| out.add_one(context, token, count));
        out
    }

    fn count(&self, context: u32, token: u32) -> f64 {
        self.of.get(&key(context, token)).copied().unwrap_or_default()
    }

    fn context(&self, context: u32) -> (f64, f64) {
        self.contexts.get(&context).copied().unwrap_or_default()
    }

    /// Ascending (context, token, count), for a model file.
    fn entries(&self) -> Vec<(u32, u32, f64)> {
        let mut all: Vec<(Key, f64)> = self.of.iter().map(|(k, c)| (*k, *c)).collect();
        all.sort_unstable_by_key(|e| e.0);
        all.into_iter().map(|(k, c)| ((k >> 32) as u32, k as u32, c)).collect()
    }
}

/// Each symbol of a sequence and of its end with the one before it.
fn pairs(sequence: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    let before = std::iter::once(START).chain(sequence.iter().copied());
    before.zip(sequence.iter().copied().chain([END]))
}

/// One entity's counts.
#[derive(Debug, Clone, Default, PartialEq)]
struct Own {
    counts: Counts,
    /// Per context the continuations that nobody else has.
    alone: HashMap<u32, f64, FxBuildHasher>,
}

/// Everybody's habits.
#[derive(Debug, Clone, PartialEq)]
pub struct Habits {
    /// 1 or 2 symbols at a time.
    order: usize,
    predicted: f64,
    all: Counts,
    of: BTreeMap<String, Own>,
}

impl Habits {
    /// Most symbols that are looked at together.
    pub const HIGHEST_ORDER: usize = 2;

    /// Fits to sequences with their makers and weights.
    pub fn fit<'a>(
        sequences: &[&[u32]],
        entities: impl IntoIterator<Item = &'a str>,
        weights: &[f64],
        symbols: u32,
        order: usize,
    ) -> Self {
        let mut of = BTreeMap::<String, Own>::new();
        for ((sequence, entity), weight) in sequences.iter().zip(entities).zip(weights) {
            if !of.contains_key(entity) {
                of.insert(entity.to_owned(), Own::default());
            }
            of.get_mut(entity).expect("it was put there").counts.add(sequence, *weight);
        }
        Self::of_counts(of, f64::from(symbols - 1), order)
    }

    /// Adds up everyone's counts, in the order of names, so that a model that was read equals the one that was fitted.
    fn of_counts(mut of: BTreeMap<String, Own>, predicted: f64, order: usize) -> Self {
        let mut all = Counts::default();
        let mut holders: HashMap<Key, u32, FxBuildHasher> = HashMap::default();
        for own in of.values_mut() {
            let entries = own.counts.entries();
            own.counts = Counts::of_entries(&entries);
            for (context, token, count) in entries {
                all.add_one(context, token, count);
                *holders.entry(key(context, token)).or_default() += 1;
            }
        }
        for own in of.values_mut() {
            for (context, token, _) in own.counts.entries() {
                if holders[&key(context, token)] == 1 {
                    *own.alone.entry(context).or_default() += 1.0;
                }
            }
        }
        Self { order, predicted, all, of }
    }

    /// The same counts, looked at in units of this many symbols.
    pub fn set_order(&mut self, order: usize) {
        self.order = order.clamp(1, Self::HIGHEST_ORDER);
    }

    /// Symbols looked at together.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Who is known.
    pub fn entities(&self) -> impl Iterator<Item = &str> {
        self.of.keys().map(String::as_str)
    }

    /// How many sequences are known of an entity, but for one of weight `left_out`.
    pub fn history(&self, entity: &str, left_out: f64) -> f64 {
        self.of.get(entity).map_or(0.0, |own| (own.counts.count(ALONE, END) - left_out).max(0.0))
    }

    /// How much better per token everyone else explains a sequence than `entity` does, in nats; 0 for one without history.
    /// `left_out` is the weight of the sequence in the entity's own counts, 0 if it is no part of them.
    pub fn stranger(&self, entity: &str, sequence: &[u32], left_out: f64) -> f64 {
        let Some(own) = self.of.get(entity) else { return 0.0 };
        let mut mine = Counts::default();
        // Per context the entity's continuations that are in this sequence alone.
        let mut lost: HashMap<u32, f64, FxBuildHasher> = HashMap::default();
        if left_out > 0.0 {
            mine.add(sequence, left_out);
            for (&k, &count) in &mine.of {
                if own.counts.of.get(&k).is_none_or(|c| *c <= count * (1.0 + 1e-9)) {
                    *lost.entry((k >> 32) as u32).or_default() += 1.0;
                }
            }
        }
        let of = |map: &HashMap<u32, f64, FxBuildHasher>, context| map.get(&context).copied().unwrap_or_default();
        let mut sum = 0.0;
        for (before, token) in pairs(sequence) {
            let mut other = 1.0 / self.predicted;
            let mut theirs = other;
            for context in [ALONE, before].into_iter().take(self.order) {
                let (all, all_types) = self.all.context(context);
                let (total, types) = own.counts.context(context);
                let seen = own.counts.count(context, token);
                let count = (self.all.count(context, token) - seen).max(0.0);
                other = witten_bell(count, (all - total).max(0.0), all_types - of(&own.alone, context), other);
                let count = (seen - mine.count(context, token)).max(0.0);
                let base = if context == ALONE { other } else { theirs };
                let total = (total - mine.context(context).0).max(0.0);
                theirs = witten_bell(count, total, types - of(&lost, context), base);
            }
            sum += other.ln() - theirs.ln();
        }
        sum / (sequence.len() + 1) as f64
    }

    /// What a model file keeps of each entity: context, token and count of each entry, one after the other.
    pub fn to_records(&self) -> impl Iterator<Item = (&str, Vec<f64>)> {
        let flat = |(context, token, count): (u32, u32, f64)| [context.into(), token.into(), count];
        self.of
            .iter()
            .map(move |(name, own)| (name.as_str(), own.counts.entries().into_iter().flat_map(flat).collect()))
    }

    /// The inverse of [`Self::to_records`]; `None` if the numbers make no habits.
    pub fn from_records<'a>(
        records: impl IntoIterator<Item = (&'a str, &'a [f64])>,
        symbols: u32,
        order: usize,
    ) -> Option<Self> {
        let mut of = BTreeMap::new();
        for (name, numbers) in records {
            let mut counts = Counts::default();
            let mut before = None;
            for entry in numbers.chunks(3) {
                let [context, token, count] = *entry else { return None };
                let is_symbol = |x: f64| (0.0..f64::from(symbols)).contains(&x) && x.fract() == 0.0;
                if !(is_symbol(context) || context == f64::from(ALONE))
                    || !is_symbol(token)
                    || !(0.0 < count && count.is_finite())
                {
                    return None;
                }
                let at = key(context as u32, token as u32);
                if before.is_some_and(|b| b >= at) {
                    return None;
                }
                before = Some(at);
                counts.add_one(context as u32, token as u32, count);
            }
            if of.insert(name.to_owned(), Own { counts, ..Own::default() }).is_some() {
                return None;
            }
        }
        let holds = !of.is_empty() && (1..=Self::HIGHEST_ORDER).contains(&order);
        holds.then(|| Self::of_counts(of, f64::from(symbols - 1), order))
    }
}

fn witten_bell(count: f64, total: f64, types: f64, shorter: f64) -> f64 {
    if types <= 0.0 { shorter } else { (count + types * shorter) / (total + types) }
}
