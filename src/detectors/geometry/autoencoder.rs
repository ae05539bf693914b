//! A dense autoencoder, as Le & Zincir-Heywood (2021) use it to find insiders: rows are squeezed through a bottleneck,
//! d – d/4 – d/8 – d/4 – d, and what cannot be put together again is odd. The squared residual of a column says where.
//!
//! Candle does the training. A trained network is plain arrays, and rows are scored without candle: a block of rows lies
//! column by column, so that each weight meets all rows of the block at once and the sums of a row have one fixed order.
//!
//! Equal seeds give equal bits. Candle's own random numbers cannot be seeded, so weights, held-out rows and batches are
//! drawn here. Threads have no say in training either: the matrix products below candle (crate `gemm`) share out tiles of
//! the result, never one sum, and candle's other operations on the CPU run in one thread.

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer};
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::matrix::Matrix;
use crate::seed::Seed;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Most passes over the rows.
    pub epochs: usize,
    /// Most rows a step is taken from.
    pub batch: usize,
    /// Step size of the optimiser.
    pub learning_rate: f64,
    /// Epochs without a better result on the held-out rows after which training ends.
    pub patience: usize,
    /// Share of the rows that is held out.
    pub held_out: f64,
    /// Most rows that are learned from; a random choice of them if there are more.
    pub max_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { epochs: 100, batch: 256, learning_rate: 1e-3, patience: 10, held_out: 0.1, max_rows: 100_000 }
    }
}

/// One dense layer: y = W x + b.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Numbers that come out.
    pub rows: usize,
    /// Numbers that go in.
    pub cols: usize,
    /// `rows × cols` weights, row by row.
    pub weights: Vec<f32>,
    /// One number per row.
    pub bias: Vec<f32>,
}

/// A trained autoencoder; tanh stands between its layers and nothing behind the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoencoder {
    /// Columns of the rows it was trained on.
    pub cols: usize,
    /// Layers from the rows to the rows.
    pub layers: Vec<Layer>,
}

/// Farthest from the centre that a value is looked at: beyond it a value is as odd as can be, and one huge value must not
/// bend the network to itself.
const FARTHEST: f64 = 10.0;

/// Fewer rows than this are too few to hold any out; they are all trained on, for [`FEW_EPOCHS`].
const FEW: usize = 20;
const FEW_EPOCHS: usize = 50;

/// Steps an epoch should have, as long as batches keep [`LEAST_BATCH`] rows: with batches of the full size a few hundred
/// rows would see too few steps to learn anything. A wide row says more at a time, and a step costs more: batches of those
/// keep a row for every [`COLS_PER_ROW`] columns.
const STEPS: usize = 32;
const LEAST_BATCH: usize = 8;
const COLS_PER_ROW: usize = 16;

/// Longest gradient that is followed as it is.
const CLIP: f64 = 1.0;

/// Rows scored together. Their sums for one output stay in registers.
const LANES: usize = 32;

/// Largest squared residual. Sound weights may still be so large that sums overflow.
const LARGEST: f32 = 1e12;

/// One column of a block of rows.
type Column = [f32; LANES];

/// Widths of the layers for rows of `d` columns. Hidden layers are narrower than the rows wherever that is possible, for a
/// wider one would let everything through.
fn widths(d: usize) -> [usize; 5] {
    let hidden = |share: usize| (d / share).max(2).min(d - 1).max(1);
    [d, hidden(4), hidden(8), hidden(4), d]
}

fn narrow(x: f64) -> f32 {
    x.clamp(-FARTHEST, FARTHEST) as f32
}

impl Layer {
    /// Xavier uniform weights (Glorot & Bengio 2010) and no bias.
    fn random(rows: usize, cols: usize, rng: &mut impl RngExt) -> Self {
        let bound = (6.0 / (rows + cols) as f32).sqrt();
        let weights = (0..rows * cols).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect();
        Self { rows, cols, weights, bias: vec![0.0; rows] }
    }

    fn apply(&self, input: &[Column]) -> Vec<Column> {
        let output = |(weights, bias): (&[f32], &f32)| {
            let mut sums = [*bias; LANES];
            for (w, x) in weights.iter().zip(input) {
                for r in 0..LANES {
                    sums[r] += w * x[r];
                }
            }
            sums
        };
        self.weights.chunks_exact(self.cols).zip(&self.bias).map(output).collect()
    }
}

impl Autoencoder {
    /// Trains on scaled, finite rows. `Err` says that there is nothing to learn from, or what candle could not do.
    pub fn fit(data: &Matrix, options: Options, seed: Seed) -> Result<Self, String> {
        if data.rows == 0 || data.cols == 0 {
            return Err(format!(
                "an autoencoder learns from rows with columns, not from {} × {}",
                data.rows, data.cols
            ));
        }
        train(data, options, seed).map_err(|e| format!("training the autoencoder: {e}"))
    }

    /// Squared residual per row and column: what makes a row odd.
    pub fn residuals(&self, data: &Matrix) -> Matrix {
        assert_eq!(data.cols, self.cols, "rows of the width that the autoencoder was trained on");
        let mut values = vec![0.0; data.rows * data.cols];
        values.par_chunks_mut(LANES * self.cols).enumerate().for_each(|(block, out)| {
            for (c, column) in self.block(data, block * LANES).iter().enumerate() {
                out.chunks_exact_mut(self.cols).zip(column).for_each(|(row, x)| row[c] = f64::from(*x));
            }
        });
        Matrix::new(data.rows, data.cols, values)
    }

    /// Mean squared residual per row: finite, higher = odder.
    pub fn score(&self, data: &Matrix) -> Vec<f64> {
        assert_eq!(data.cols, self.cols, "rows of the width that the autoencoder was trained on");
        let mut scores = vec![0.0; data.rows];
        scores.par_chunks_mut(LANES).enumerate().for_each(|(block, out)| {
            for column in self.block(data, block * LANES) {
                out.iter_mut().zip(column).for_each(|(sum, x)| *sum += f64::from(x));
            }
            out.iter_mut().for_each(|sum| *sum /= self.cols as f64);
        });
        scores
    }

    /// Squared residuals of the rows behind `from`, column by column.
    fn block(&self, data: &Matrix, from: usize) -> Vec<Column> {
        let mut input = vec![[0.0; LANES]; self.cols];
        for r in 0..LANES.min(data.rows - from) {
            for (column, x) in input.iter_mut().zip(data.row(from + r)) {
                column[r] = narrow(*x);
            }
        }
        let mut x: Option<Vec<Column>> = None;
        for layer in &self.layers {
            if let Some(hidden) = &mut x {
                hidden.as_flattened_mut().iter_mut().for_each(|v| *v = v.tanh());
            }
            x = Some(layer.apply(x.as_ref().unwrap_or(&input)));
        }
        let mut out = x.expect("an autoencoder has layers");
        for (y, x) in out.as_flattened_mut().iter_mut().zip(input.as_flattened()) {
            // An overflow leaves infinity or NaN; `min` takes the limit in place of either.
            *y = ((*y - x) * (*y - x)).min(LARGEST);
        }
        out
    }

    /// Whether the arrays make an autoencoder: each layer takes what the one before it gives, rows come out as wide as they
    /// went in, every number finite. A model file is checked with this before it is used.
    pub fn is_sound(&self) -> bool {
        let mut width = self.cols;
        let chained = self.layers.iter().all(|l| {
            let fits = l.rows >= 1
                && l.cols == width
                && l.rows.checked_mul(l.cols) == Some(l.weights.len())
                && l.rows == l.bias.len()
                && l.weights.iter().chain(&l.bias).all(|x| x.is_finite());
            width = l.rows;
            fits
        });
        self.cols >= 1 && !self.layers.is_empty() && chained && width == self.cols
    }

    /// All of it as one list: number of layers, all widths, then weights and bias of each layer.
    pub fn to_numbers(&self) -> Vec<f64> {
        let mut out = vec![self.layers.len() as f64, self.cols as f64];
        out.extend(self.layers.iter().map(|l| l.rows as f64));
        for layer in &self.layers {
            out.extend(layer.weights.iter().chain(&layer.bias).map(|x| f64::from(*x)));
        }
        out
    }

    /// The inverse of [`Self::to_numbers`]; `None` for any other list.
    pub fn from_numbers(numbers: &[f64]) -> Option<Self> {
        let (layers, rest) = numbers.split_first()?;
        let widths = rest.get(..=*layers as usize)?;
        let mut rest = &rest[widths.len()..];
        let mut out = Self { cols: widths[0] as usize, layers: Vec::new() };
        let floats = |x: &[f64]| x.iter().map(|x| *x as f32).collect();
        for pair in widths.windows(2) {
            let (cols, rows) = (pair[0] as usize, pair[1] as usize);
            let (weights, behind) = rest.split_at_checked(rows.checked_mul(cols)?)?;
            let (bias, behind) = behind.split_at_checked(rows)?;
            rest = behind;
            out.layers.push(Layer { rows, cols, weights: floats(weights), bias: floats(bias) });
        }
        // The round trip also refuses widths and weights that were rounded on the way in.
        (out.is_sound() && out.to_numbers() == numbers).then_some(out)
    }
}

/// The layers while candle trains them: weights and bias of each.
struct Network(Vec<(Var, Var)>);

impl Network {
    fn new(layers: &[Layer]) -> candle_core::Result<Self> {
        let var = |x: &[f32], shape: &[usize]| Var::from_slice(x, shape, &Device::Cpu);
        let pair = |l: &Layer| Ok((var(&l.weights, &[l.rows, l.cols])?, var(&l.bias, &[l.rows])?));
        Ok(Self(layers.iter().map(pair).collect::<candle_core::Result<_>>()?))
    }

    fn vars(&self) -> impl Iterator<Item = &Var> {
        self.0.iter().flat_map(|(weights, bias)| [weights, bias])
    }

    fn forward(&self, rows: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = rows.clone();
        for (i, (weights, bias)) in self.0.iter().enumerate() {
            let input = if i == 0 { x } else { x.tanh()? };
            x = input.matmul(&weights.t()?)?.broadcast_add(bias)?;
        }
        Ok(x)
    }

    fn autoencoder(&self, cols: usize) -> candle_core::Result<Autoencoder> {
        let layer = |(weights, bias): &(Var, Var)| {
            let (rows, cols) = weights.dims2()?;
            Ok(Layer { rows, cols, weights: weights.flatten_all()?.to_vec1()?, bias: bias.to_vec1()? })
        };
        Ok(Autoencoder { cols, layers: self.0.iter().map(layer).collect::<candle_core::Result<_>>()? })
    }

    /// Shortens the gradient to [`CLIP`]; false if it is not finite.
    fn clip(&self, gradients: &mut GradStore) -> candle_core::Result<bool> {
        let mut square = 0.0;
        for g in self.vars().filter_map(|v| gradients.get(v)) {
            square += f64::from(g.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let norm = square.sqrt();
        if norm > CLIP && norm.is_finite() {
            for var in self.vars() {
                if let Some(g) = gradients.remove(var) {
                    gradients.insert(var, (g * (CLIP / norm))?);
                }
            }
        }
        Ok(norm.is_finite())
    }
}

fn train(data: &Matrix, options: Options, seed: Seed) -> candle_core::Result<Autoencoder> {
    let mut rows: Vec<usize> = (0..data.rows).collect();
    rows.shuffle(&mut seed.derive("autoencoder", 0));
    rows.truncate(options.max_rows.max(1));
    let few = rows.len() < FEW;
    let held = if few { 0 } else { (rows.len() as f64 * options.held_out.clamp(0.0, 0.9)) as usize };
    let (epochs, patience) = if few { (FEW_EPOCHS, usize::MAX) } else { (options.epochs, options.patience) };
    // With none held out, the rows themselves say which epoch was best.
    let check = data.select(if held == 0 { &rows } else { &rows[..held] });
    let mut order = rows.split_off(held);
    let batch = options.batch.clamp(1, (order.len() / STEPS).max(LEAST_BATCH).max(data.cols / COLS_PER_ROW));

    let mut rng = seed.derive("autoencoder", 1);
    let layers = widths(data.cols).windows(2).map(|w| Layer::random(w[1], w[0], &mut rng)).collect();
    let mut best = Autoencoder { cols: data.cols, layers };
    let network = Network::new(&best.layers)?;
    let mut optimizer = AdamW::new_lr(network.vars().cloned().collect(), options.learning_rate)?;
    let loss_of = |model: &Autoencoder| model.score(&check).iter().sum::<f64>();
    let mut least = loss_of(&best);
    let mut stale = 0;
    for epoch in 0..epochs {
        order.shuffle(&mut seed.derive("autoencoder", 2 + epoch as u64));
        for chosen in order.chunks(batch) {
            let values: Vec<f32> = chosen.iter().flat_map(|r| data.row(*r)).map(|x| narrow(*x)).collect();
            let x = Tensor::from_vec(values, (chosen.len(), data.cols), &Device::Cpu)?;
            let mut gradients = (network.forward(&x)? - &x)?.sqr()?.mean_all()?.backward()?;
            if network.clip(&mut gradients)? {
                optimizer.step(&gradients)?;
            }
        }
        let model = network.autoencoder(data.cols)?;
        let loss = loss_of(&model);
        if loss < least && model.is_sound() {
            (best, least, stale) = (model, loss, 0);
        } else {
            stale += 1;
            if stale >= patience {
                break;
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    /// Rows near a plane of two dimensions, columns of variance 1; the plane is the same for every seed.
    fn plane(rows: usize, cols: usize, seed: u64) -> Matrix {
        let mut axes = Seed(0).derive("axes", cols as u64);
        let angles: Vec<f64> = (0..cols).map(|_| axes.random::<f64>() * std::f64::consts::TAU).collect();
        let mut rng = Seed(seed).derive("plane", 0);
        let mut values = Vec::with_capacity(rows * cols);
        for _ in 0..rows {
            let (a, b): (f64, f64) = (StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng));
            for angle in &angles {
                let noise: f64 = StandardNormal.sample(&mut rng);
                values.push(a * angle.cos() + b * angle.sin() + 0.1 * noise);
            }
        }
        Matrix::new(rows, cols, values)
    }

    /// Every column in an order of its own: all values stay, what held them together is gone.
    fn scrambled(mut data: Matrix) -> Matrix {
        for c in 0..data.cols {
            let mut column: Vec<f64> = (0..data.rows).map(|r| data.row(r)[c]).collect();
            column.shuffle(&mut Seed(1).derive("scramble", c as u64));
            for (r, x) in column.into_iter().enumerate() {
                data.values[r * data.cols + c] = x;
            }
        }
        data
    }

    fn fit(data: &Matrix, seed: u64) -> Autoencoder {
        Autoencoder::fit(data, Options::default(), Seed(seed)).unwrap()
    }

    fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn rows_off_the_plane_score_higher_although_each_value_is_ordinary() {
        let model = fit(&plane(2_000, 10, 1), 1);
        let near = model.score(&plane(1_000, 10, 2));
        let off = model.score(&scrambled(plane(1_000, 10, 3)));
        let higher = off.iter().map(|o| near.iter().filter(|n| *n < o).count()).sum::<usize>();
        let auroc = higher as f64 / 1e6;
        assert!(auroc > 0.95, "{auroc}");
    }

    #[test]
    fn the_residual_points_at_the_broken_column() {
        let model = fit(&plane(2_000, 10, 1), 1);
        let mut data = plane(200, 10, 4);
        for r in 0..data.rows {
            data.values[r * 10 + r % 10] += 3.0;
        }
        let residuals = model.residuals(&data);
        let largest = |r: usize| (0..10).max_by(|a, b| residuals.row(r)[*a].total_cmp(&residuals.row(r)[*b])).unwrap();
        let found = (0..data.rows).filter(|r| largest(*r) == r % 10).count();
        assert!(found >= 180, "{found} of 200");
        let means = (0..data.rows).map(|r| residuals.row(r).iter().sum::<f64>() / 10.0);
        assert!(means.eq(model.score(&data)), "a score is the mean of its row");
    }

    #[test]
    fn equal_seeds_train_equal_networks_on_any_number_of_threads() {
        // Wide enough for `gemm` to use threads.
        for (rows, cols, epochs) in [(600, 9, 20), (700, 400, 3)] {
            let data = plane(rows, cols, 5);
            let options = Options { epochs, ..Options::default() };
            let fit = |threads, seed| on_threads(threads, || Autoencoder::fit(&data, options, Seed(seed)).unwrap());
            let one = fit(1, 7);
            assert_eq!(one, fit(1, 7));
            assert_eq!(one, fit(2, 7));
            assert_ne!(one, fit(1, 8));
            assert_eq!(on_threads(1, || one.score(&data)), on_threads(2, || one.score(&data)));
        }
    }

    #[test]
    fn scoring_agrees_with_candle() {
        for (rows, cols) in [(500, 45), (33, 10), (1, 3)] {
            let data = plane(rows, cols, 6);
            let model = Autoencoder::fit(&data, Options { epochs: 5, ..Options::default() }, Seed(1)).unwrap();
            let values: Vec<f32> = data.values.iter().map(|x| narrow(*x)).collect();
            let x = Tensor::from_vec(values, (rows, cols), &Device::Cpu).unwrap();
            let y = Network::new(&model.layers).unwrap().forward(&x).unwrap();
            let squares = (y - x).unwrap().sqr().unwrap();
            let expected: Vec<f32> = squares.mean(1).unwrap().to_vec1().unwrap();
            for (a, b) in model.score(&data).iter().zip(expected) {
                assert!((a - f64::from(b)).abs() <= 1e-5 * f64::from(b), "{a} {b}");
            }
        }
    }

    #[test]
    fn one_row_equal_rows_narrow_and_wide_rows_are_no_trouble() {
        let far = Matrix::new(40, 3, (0..120).map(|i| if i % 7 == 0 { 1e300 } else { -1e3 }).collect());
        let mut tried = vec![far, Matrix::new(50, 2, vec![1.5; 100]), plane(100, 2_000, 1), plane(1, 400, 1)];
        tried.extend((1..20).map(|cols| plane(cols + 5, cols, 1)));
        tried.extend([plane(1, 1, 1), plane(1, 9, 1)]);
        for data in tried {
            let model = Autoencoder::fit(&data, Options { epochs: 3, ..Options::default() }, Seed(1)).unwrap();
            assert!(model.is_sound());
            assert!(model.score(&data).iter().all(|s| s.is_finite()));
            assert_eq!(Autoencoder::from_numbers(&model.to_numbers()), Some(model));
        }
        let odd =
            Options { epochs: 9, batch: 0, learning_rate: f64::NAN, patience: 0, held_out: f64::NAN, max_rows: 25 };
        assert!(Autoencoder::fit(&plane(40, 3, 1), odd, Seed(1)).unwrap().is_sound(), "what diverges is not kept");
        assert_eq!(fit(&plane(5, 3, 1), 1).score(&Matrix::new(0, 3, vec![])), Vec::<f64>::new());
        assert!(Autoencoder::fit(&Matrix::new(0, 3, vec![]), Options::default(), Seed(1)).is_err());
        assert!(Autoencoder::fit(&Matrix::new(3, 0, vec![]), Options::default(), Seed(1)).is_err());
    }

    #[test]
    fn hidden_layers_are_narrower_than_the_rows() {
        for d in 2..100 {
            let [_, outer, inner, _, _] = widths(d);
            assert!(outer < d && inner <= outer && inner >= 1);
        }
        assert_eq!([widths(1), widths(3), widths(45)], [[1; 5], [3, 2, 2, 2, 3], [45, 11, 5, 11, 45]]);
    }

    #[test]
    fn forged_arrays_are_no_autoencoder() {
        let sound = fit(&plane(5, 10, 1), 1);
        let forge = |change: &dyn Fn(&mut Autoencoder)| {
            let mut forged = sound.clone();
            change(&mut forged);
            assert!(!forged.is_sound());
            assert_eq!(Autoencoder::from_numbers(&forged.to_numbers()), None);
        };
        forge(&|a| a.layers[1].weights[0] = f32::NAN);
        forge(&|a| a.layers[2].bias[0] = f32::INFINITY);
        forge(&|a| a.layers.clear());
        forge(&|a| a.cols = 0);
        forge(&|a| a.layers.truncate(3));
        forge(&|a| a.layers[3].bias.truncate(1));
        forge(&|a| a.layers[0].weights.truncate(9));
        forge(&|a| a.layers[0].rows = usize::MAX);
        for numbers in
            [vec![], vec![f64::NAN], vec![1e300, 1.0], vec![1.0, 1e300, 1e300], vec![1.0, 1.5, 1.5, 0.0, 0.0]]
        {
            assert_eq!(Autoencoder::from_numbers(&numbers), None);
        }
        let mut huge = sound;
        huge.layers.iter_mut().for_each(|l| l.weights.fill(f32::MAX));
        assert!(huge.is_sound() && huge.score(&plane(9, 10, 1)).iter().all(|s| s.is_finite()));
    }
}
