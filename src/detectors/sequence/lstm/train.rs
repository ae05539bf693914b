//! Training: batches of sequences of similar length, `AdamW` (Loshchilov & Hutter 2019), short gradients, and an end when held-out
//! sequences say so.

use candle_core::Result;
use candle_core::backprop::GradStore;
use candle_nn::{AdamW, Optimizer};
use rand::seq::SliceRandom;

use super::network::{Batch, Network, Sizes, Weights};
use super::score::Scorer;
use super::{MOST_SYMBOLS, Progress, known, windows};
use crate::seed::Seed;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Numbers that a token is turned into.
    pub embedding: usize,
    /// Units of encoder and decoder, a multiple of 8.
    pub hidden: usize,
    /// Most passes over the sequences.
    pub epochs: usize,
    /// Most sequences that a step is taken from.
    pub batch: usize,
    /// Step size of the optimiser.
    pub learning_rate: f64,
    /// Passes without a better result on the held-out sequences after which training ends.
    pub patience: usize,
    /// Share of the sequences that is held out.
    pub held_out: f64,
    /// Most windows that are learned from; a random choice of them if there are more.
    pub most: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            embedding: 32,
            hidden: 64,
            epochs: 30,
            batch: 128,
            learning_rate: 2e-3,
            patience: 3,
            held_out: 0.1,
            most: 50_000,
        }
    }
}

/// Fewer sequences than this are too few to hold any out.
const FEW: usize = 20;

/// Steps a pass should have, as long as batches keep so many sequences: a few hundred in batches of the full size would
/// see too few steps to learn anything.
const STEPS: usize = 32;
const LEAST_BATCH: usize = 8;

/// Batches that are sorted by length together: enough to make them alike, few enough to mix them anew each time.
const POOL: usize = 32;

/// Longest gradient that is followed as it is.
const CLIP: f64 = 1.0;

/// Trains a network; none without tokens, or if it never gave a finite number.
pub(super) fn fit(
    sequences: &[&[u32]],
    symbols: u32,
    options: Options,
    seed: Seed,
    progress: &dyn Fn(Progress),
) -> Result<Option<Weights>> {
    let sizes = Sizes {
        symbols: symbols.min(MOST_SYMBOLS) as usize,
        embedding: options.embedding.clamp(1, Sizes::WIDEST),
        hidden: options.hidden.clamp(super::simd::LANES, Sizes::WIDEST).next_multiple_of(super::simd::LANES),
    };
    let mut order: Vec<usize> = (0..sequences.len()).filter(|i| !sequences[*i].is_empty()).collect();
    order.shuffle(&mut seed.derive("lstm", 0));
    let held = if order.len() < FEW { 0 } else { (order.len() as f64 * options.held_out.clamp(0.0, 0.9)) as usize };
    let cut = |of: &[usize]| -> Vec<Vec<u32>> {
        let known = |i: &usize| known(sequences[*i], sizes.symbols);
        of.iter().map(known).flat_map(|s| windows(&s).map(<[u32]>::to_vec).collect::<Vec<_>>()).collect()
    };
    let mut learned = cut(&order[held..]);
    if learned.is_empty() {
        return Ok(None);
    }
    learned.shuffle(&mut seed.derive("lstm", 1));
    learned.truncate(options.most.max(1));
    // With none held out, the sequences themselves say which pass was best.
    let mut check = if held == 0 { learned.clone() } else { cut(&order[..held]) };
    check.truncate(options.most.max(1));
    check.sort_by_key(|w| std::cmp::Reverse(w.len()));
    let check: Vec<&[u32]> = check.iter().map(Vec::as_slice).collect();
    let tokens = check.iter().map(|w| w.len()).sum::<usize>() as f64;
    let loss_of = |weights: &Weights| Scorer::new(weights).sums(&check).iter().sum::<f64>() / tokens;

    let first = Weights::random(sizes, &mut seed.derive("lstm", 2));
    let network = Network::new(&first)?;
    let mut optimizer = AdamW::new_lr(network.vars.to_vec(), options.learning_rate)?;
    let batch = options.batch.clamp(1, (learned.len() / STEPS).max(LEAST_BATCH));
    let (mut best, mut stale): (Option<(f64, Weights)>, usize) = (None, 0);
    for epoch in 0..options.epochs {
        for chosen in batches(&learned, batch, seed, epoch as u64) {
            let mut gradients = network.surprise(&Batch::new(&chosen))?.mean_all()?.backward()?;
            if network.clip(&mut gradients)? {
                optimizer.step(&gradients)?;
            }
        }
        let weights = network.weights(sizes)?;
        let loss = loss_of(&weights);
        progress(Progress { epoch: epoch + 1, epochs: options.epochs, loss });
        if weights.are_sound() && loss.is_finite() && best.as_ref().is_none_or(|(least, _)| loss < *least) {
            (best, stale) = (Some((loss, weights)), 0);
        } else {
            stale += 1;
            if stale >= options.patience {
                break;
            }
        }
    }
    Ok(best.map(|(_, weights)| weights))
}

/// All windows in a new order, those of a batch alike in length and the longest first.
fn batches(windows: &[Vec<u32>], size: usize, seed: Seed, epoch: u64) -> Vec<Vec<&[u32]>> {
    let mut rng = seed.derive("lstm batches", epoch);
    let mut order: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    order.shuffle(&mut rng);
    let mut out: Vec<Vec<&[u32]>> = Vec::new();
    for pool in order.chunks_mut(size * POOL) {
        pool.sort_by_key(|w| std::cmp::Reverse(w.len()));
        out.extend(pool.chunks(size).map(<[&[u32]]>::to_vec));
    }
    out.shuffle(&mut rng);
    out
}

impl Network {
    /// Shortens the gradient to [`CLIP`]; false if it is not finite.
    fn clip(&self, gradients: &mut GradStore) -> Result<bool> {
        let mut square = 0.0;
        for g in self.vars.iter().filter_map(|v| gradients.get(v)) {
            square += f64::from(g.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let norm = square.sqrt();
        if norm > CLIP && norm.is_finite() {
            for var in &self.vars {
                if let Some(g) = gradients.remove(var) {
                    gradients.insert(var, (g * (CLIP / norm))?);
                }
            }
        }
        Ok(norm.is_finite())
    }
}
