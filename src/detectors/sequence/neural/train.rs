//! Training: batches of windows of similar length, `AdamW` (Loshchilov & Hutter 2019), short gradients, and an end when held-out
//! sequences say so.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Var};
use candle_nn::{AdamW, Optimizer};
use rand::seq::SliceRandom;

use super::architecture::{Architecture, Weights, Window, known};
use super::room::Room;
use super::{MOST_SYMBOLS, Network, Progress};
use crate::seed::Seed;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Units of a layer, a multiple of 8 (LSTM) or of 32 (Transformer).
    pub width: usize,
    /// Most passes over the sequences.
    pub epochs: usize,
    /// Most windows that a step is taken from.
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

impl Options {
    /// The defaults of a network.
    pub fn of(network: Network) -> Self {
        let of_both =
            Self { width: 64, epochs: 30, batch: 128, learning_rate: 2e-3, patience: 3, held_out: 0.1, most: 50_000 };
        match network {
            Network::Lstm => of_both,
            // Its windows may be twice as long.
            Network::Transformer => Self { batch: 64, most: 25_000, ..of_both },
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
pub(super) fn fit<A: Architecture>(
    sequences: &[&[u32]],
    symbols: u32,
    options: Options,
    seed: Seed,
    progress: &dyn Fn(Progress),
) -> Result<Option<Weights<A>>> {
    let label = A::NETWORK.arrays();
    let sizes = A::new(symbols.min(MOST_SYMBOLS) as usize, options);
    let mut order: Vec<usize> = (0..sequences.len()).filter(|i| !sequences[*i].is_empty()).collect();
    order.shuffle(&mut seed.derive(label, 0));
    let held = if order.len() < FEW { 0 } else { (order.len() as f64 * options.held_out.clamp(0.0, 0.9)) as usize };
    let cut = |of: &[usize]| -> Vec<Window> {
        of.iter().flat_map(|i| A::windows(&known(sequences[*i], sizes.symbols()))).collect()
    };
    let mut learned = cut(&order[held..]);
    if learned.is_empty() {
        return Ok(None);
    }
    learned.shuffle(&mut seed.derive(label, 1));
    learned.truncate(options.most.max(1));
    // With none held out, the sequences themselves say which pass was best.
    let mut check = if held == 0 { learned.clone() } else { cut(&order[..held]) };
    check.truncate(options.most.max(1));
    check.sort_by_key(|w| std::cmp::Reverse(w.symbols.len()));
    let tokens = check.iter().map(|w| w.counted).sum::<usize>() as f64;
    let loss_of = |weights: &Weights<A>| A::sums(&weights.scorer(), &check).iter().sum::<f64>() / tokens;

    let training = Training::new(&Weights::random(sizes, &mut seed.derive(label, 2)))?;
    let mut optimizer = AdamW::new_lr(training.vars.clone(), options.learning_rate)?;
    let batch = options.batch.clamp(1, (learned.len() / STEPS).max(LEAST_BATCH));
    let (mut best, mut stale): (Option<(f64, Weights<A>)>, usize) = (None, 0);
    for epoch in 0..options.epochs {
        let mut rng = seed.derive(&format!("{label} batches"), epoch as u64);
        for chosen in batches(&learned, batch, &mut rng) {
            let loss = sizes.surprise(&training.vars, &chosen, &training.room)?.mean_all()?;
            let mut gradients = loss.backward()?;
            if training.clip(&mut gradients)? {
                optimizer.step(&gradients)?;
            }
        }
        let weights = training.weights()?;
        let loss = loss_of(&weights);
        progress(Progress { network: A::NETWORK, epoch: epoch + 1, epochs: options.epochs, loss });
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
fn batches<'a>(windows: &'a [Window], size: usize, rng: &mut impl rand::Rng) -> Vec<Vec<&'a [u32]>> {
    let mut order: Vec<&[u32]> = windows.iter().map(|w| w.symbols.as_slice()).collect();
    order.shuffle(rng);
    let mut out: Vec<Vec<&[u32]>> = Vec::new();
    for pool in order.chunks_mut(size * POOL) {
        pool.sort_by_key(|w| std::cmp::Reverse(w.len()));
        out.extend(pool.chunks(size).map(<[&[u32]]>::to_vec));
    }
    out.shuffle(rng);
    out
}

/// The weights while candle trains them.
pub(super) struct Training<A> {
    sizes: A,
    pub(super) vars: Vec<Var>,
    pub(super) room: Arc<Room>,
}

impl<A: Architecture> Training<A> {
    pub(super) fn new(weights: &Weights<A>) -> Result<Self> {
        let sizes = weights.sizes;
        let arrays = weights.arrays.iter().zip(sizes.arrays());
        let vars = arrays.map(|(x, (_, shape))| Var::from_slice(x, shape, &Device::Cpu)).collect::<Result<_>>()?;
        Ok(Self { sizes, vars, room: Arc::default() })
    }

    /// The weights as they are now.
    fn weights(&self) -> Result<Weights<A>> {
        let arrays = self.vars.iter().map(|var| var.flatten_all()?.to_vec1()).collect::<Result<_>>()?;
        Ok(Weights { sizes: self.sizes, arrays })
    }

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
