use pulp::{Simd, WithSimd};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::Value;

use super::architecture::{Architecture, Window};
use super::train::Training;
use super::*;
use crate::detectors::sequence::vocabulary::UNKNOWN;

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Sequences of lengths from 1 to `longest`, the longest first.
pub(super) fn random(n: usize, longest: usize, symbols: u32, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = Seed(seed).derive("sequences", 0);
    let one = |_| {
        let length = rng.random_range(1..=longest);
        (0..length).map(|_| rng.random_range(0..symbols)).collect()
    };
    let mut out: Vec<Vec<u32>> = (0..n).map(one).collect();
    out.sort_by_key(|s| std::cmp::Reverse(s.len()));
    out
}

pub(super) fn slices(of: &[Vec<u32>]) -> Vec<&[u32]> {
    of.iter().map(Vec::as_slice).collect()
}

/// Steps upward through ten tokens, from anywhere, with a stumble here and there.
fn circles(n: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = Seed(seed).derive("circles", 0);
    (0..n)
        .map(|_| {
            let mut at = rng.random_range(0..10);
            let length = rng.random_range(6..20);
            let step = |_| {
                at = if rng.random_bool(0.95) { (at + 1) % 10 } else { rng.random_range(0..10) };
                3 + at
            };
            (0..length).map(step).collect()
        })
        .collect()
}

fn quick(network: Network) -> Options {
    Options { width: 16, epochs: 4, ..Options::of(network) }
}

fn train(network: Network, of: &[Vec<u32>], options: Options, seed: u64) -> Model {
    Model::fit(network, &slices(of), 13, options, Seed(seed), &|_| {}).unwrap()
}

pub(super) fn floats(of: &Value) -> Vec<f32> {
    of.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// A network on symbols of which so many count in a window of so many.
fn windows(of: &[Vec<u32>], counted: fn(usize) -> usize) -> Vec<Window> {
    of.iter().map(|s| Window { symbols: s.clone(), counted: counted(s.len()) }).collect()
}

/// Holds a network with the weights of the fixtures' formula against what `PyTorch` says of it. `counted` is how many of a window's
/// symbols are positions, `rows` the order of rows, `step` what is left out of long gradients.
pub(super) fn is_as_pytorch_says<A: Architecture>(
    sizes: A,
    expected: &str,
    counted: fn(usize) -> usize,
    rows: fn(&[Vec<f32>]) -> Vec<f32>,
    step: fn(usize) -> usize,
) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    let number = |k: usize, i: usize| (0.4 * (1.7 * i as f64 + 0.9 * k as f64 + 0.3).sin()) as f32;
    let array =
        |(k, (_, shape)): (usize, (String, Vec<usize>))| (0..shape.iter().product()).map(|i| number(k, i)).collect();
    let weights = Weights { sizes, arrays: sizes.arrays().into_iter().enumerate().map(array).collect() };
    let of_sequence = |s: &Value| floats(s).iter().map(|x| *x as u32).collect();
    let sequences: Vec<Vec<u32>> = expected["sequences"].as_array().unwrap().iter().map(of_sequence).collect();
    let training = Training::new(&weights).unwrap();
    let surprise = sizes.surprise(&training.vars, &slices(&sequences), &training.room).unwrap();
    let by_sequence: Vec<Vec<f32>> = expected["surprise"].as_array().unwrap().iter().map(floats).collect();
    let (found, by_row): (Vec<f32>, _) = (surprise.to_vec1().unwrap(), rows(&by_sequence));
    assert_eq!(found.len(), by_row.len());
    for (a, b) in found.iter().zip(by_row) {
        assert!((a - b).abs() < 2e-6 * b, "{a} {b}");
    }
    for (sum, s) in A::sums(&weights.scorer(), &windows(&sequences, counted)).iter().zip(&by_sequence) {
        assert!((sum - f64::from(s.iter().sum::<f32>())).abs() < 1e-5);
    }
    let gradients = surprise.mean_all().unwrap().backward().unwrap();
    for ((name, _), var) in sizes.arrays().iter().zip(&training.vars) {
        let found: Vec<f32> = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let expected = floats(&expected["gradients"][name]);
        let found: Vec<&f32> = found.iter().step_by(step(found.len())).collect();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.into_iter().zip(expected) {
            assert!((a - b).abs() < 1e-7 + 5e-5 * b.abs(), "{name}: {a} {b}");
        }
    }
}

/// Holds gradients against differences of what the scorer says.
pub(super) fn gradients_are_differences<A: Architecture>(sizes: A, of: &[Vec<u32>], counted: fn(usize) -> usize) {
    let windows = windows(of, counted);
    let positions: usize = windows.iter().map(|w| w.counted).sum();
    let weights = Weights::random(sizes, &mut Seed(2).derive("weights", 0));
    let training = Training::new(&weights).unwrap();
    let surprise = sizes.surprise(&training.vars, &slices(of), &training.room).unwrap();
    let gradients = surprise.mean_all().unwrap().backward().unwrap();
    let loss = |w: &Weights<A>| A::sums(&w.scorer(), &windows).iter().sum::<f64>() / positions as f64;
    for (k, (name, _)) in sizes.arrays().iter().enumerate() {
        let gradient: Vec<f32> = gradients.get(&training.vars[k]).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        // Along the gradient itself the difference is largest, and rounding least.
        let norm = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        let moved = |by: f64| {
            let mut w = weights.clone();
            w.arrays[k].iter_mut().zip(&gradient).for_each(|(x, g)| *x += (by * f64::from(*g) / norm) as f32);
            loss(&w)
        };
        let difference = (moved(0.01) - moved(-0.01)) / 0.02;
        assert!((difference / norm - 1.0).abs() < 0.01, "{name}: {difference} {norm}");
    }
}

#[test]
fn a_sequence_scores_the_same_bits_in_any_company_and_on_any_number_of_threads() {
    for network in Network::ALL {
        let model = train(network, &circles(300, 1), quick(network), 1);
        let mut of = random(150, 290, 13, 3);
        of.shuffle(&mut Seed(1).derive("order", 0));
        let one = on_threads(1, || model.score(&slices(&of)));
        assert_eq!(one, on_threads(2, || model.score(&slices(&of))));
        for (s, score) in of.iter().zip(&one) {
            assert_eq!(model.score(&[s]), [*score]);
        }
    }
}

#[test]
fn equal_seeds_train_equal_networks_on_any_number_of_threads() {
    let of = circles(400, 2);
    for network in Network::ALL {
        let fit = |threads, seed| on_threads(threads, || train(network, &of, quick(network), seed));
        let one = fit(1, 7);
        assert_eq!(one, fit(1, 7));
        assert_eq!(one, fit(2, 7));
        assert_ne!(one, fit(1, 8));
    }
}

#[test]
fn what_is_in_another_order_is_more_surprising() {
    let usual = circles(200, 4);
    let mut odd = usual.clone();
    for (i, s) in odd.iter_mut().enumerate() {
        s.shuffle(&mut Seed(9).derive("order", i as u64));
    }
    for (network, epochs) in [(Network::Lstm, 20), (Network::Transformer, 4)] {
        let model = train(network, &circles(2_000, 3), Options { width: 32, epochs, ..quick(network) }, 1);
        let (usual, odd) = (model.score(&slices(&usual)), model.score(&slices(&odd)));
        let higher = usual.iter().zip(&odd).filter(|(u, o)| o > u).count();
        assert!(higher >= 190, "{network:?}: {higher} of 200");
    }
}

#[test]
fn empty_short_long_and_unknown_are_no_trouble() {
    let long: Vec<u32> = (0..100_000).map(|i| 3 + i % 10).collect();
    for network in Network::ALL {
        let model = train(network, &circles(300, 5), quick(network), 1);
        let scores = model.score(&[&[], &[3], &long, &[u32::MAX, 12], &[UNKNOWN, 12]]);
        assert!(scores.iter().all(|s| s.is_finite() && *s >= 0.0), "{scores:?}");
        // Only of what is foretold can the end come too soon.
        assert_eq!(scores[0] > 0.0, network == Network::Transformer);
        assert_eq!(scores[3], scores[4], "what the vocabulary does not hold is the unknown token");
        assert_eq!(model.score(&[]), Vec::<f64>::new());
        let fit = |of: &[&[u32]], options| Model::fit(network, of, 13, options, Seed(1), &|_| {});
        assert!(fit(&[], quick(network)).is_none() && fit(&[&[], &[]], quick(network)).is_none());
        assert!(fit(&[&[3]], quick(network)).is_some() && fit(&vec![&[3, 4][..]; 30], quick(network)).is_some());
        let odd = Options {
            learning_rate: f64::NAN,
            batch: 0,
            patience: 0,
            held_out: f64::NAN,
            most: 0,
            width: 3,
            ..quick(network)
        };
        let tried = fit(&slices(&circles(40, 1)), odd);
        assert!(tried.is_none_or(|m| m.score(&[&[3, 4, 5]])[0].is_finite()), "what diverges is not kept");
    }
}

#[test]
fn progress_says_how_far_training_is() {
    for network in Network::ALL {
        let told = std::cell::RefCell::new(Vec::new());
        let of = circles(300, 6);
        Model::fit(network, &slices(&of), 13, quick(network), Seed(1), &|p| told.borrow_mut().push(p)).unwrap();
        let told = told.into_inner();
        assert!(told.iter().map(|p| p.epoch).eq(1..=told.len()));
        assert!(told.iter().all(|p| (p.network, p.epochs) == (network, 4)));
        assert!(told[told.len() - 1].loss < told[0].loss);
    }
}

#[test]
fn forged_arrays_are_no_network() {
    for network in Network::ALL {
        let model = train(network, &circles(100, 7), quick(network), 1);
        let arrays = model.to_arrays("sequence");
        let read = |arrays: &[NamedArray], symbols| {
            let arrays: std::collections::BTreeMap<&str, (&[usize], &[f64])> =
                arrays.iter().map(|(n, s, v)| (n.as_str(), (s.as_slice(), v.as_slice()))).collect();
            Model::from_arrays(network, "sequence", &arrays, symbols)
        };
        assert_eq!(read(&arrays, 13), Ok(model));
        assert!(read(&arrays, 14).is_err());
        for k in 0..arrays.len() {
            let forge = |change: &dyn Fn(&mut NamedArray)| {
                let mut forged = arrays.clone();
                change(&mut forged[k]);
                read(&forged, 13).unwrap_err()
            };
            forge(&|a| a.0.push('x'));
            forge(&|a| a.1.push(1));
            forge(&|a| a.1[0] += 1);
            forge(&|a| a.1[0] = 0);
            forge(&|a| a.1[0] = usize::MAX);
            forge(&|a| a.2.truncate(3));
            forge(&|a| a.2[0] = f64::NAN);
            forge(&|a| a.2[0] = 1e30);
            forge(&|a| a.2[0] = 0.1);
        }
    }
}

struct Functions(Vec<f32>);

impl WithSimd for Functions {
    type Output = Vec<[f32; 4]>;

    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let one = |x: &f32| {
            let x = simd.splat_f32s(*x);
            let [i, _, g, _] = simd::gates(simd, [x; 4]);
            let first = |v| {
                let mut out = [0.0; simd::LANES];
                simd::set(simd, &mut out, 0, v);
                out[0]
            };
            [first(simd::exp(simd, x)), first(i), first(g), first(simd::tanh(simd, x))]
        };
        self.0.iter().map(one).collect()
    }
}

#[test]
fn functions_on_vectors_are_those_of_the_library_on_any_processor() {
    let xs: Vec<f32> = (-8_000..=8_000).map(|i| i as f32 / 100.0).collect();
    let found = [simd::run(Functions(xs.clone())), Simd::vectorize(pulp::Scalar256b, Functions(xs.clone()))];
    for found in found {
        for (x, [exp, logistic, g, tanh]) in xs.iter().zip(found) {
            let exact = f64::from(*x);
            let near = |a: f32, b: f64, most: f64| assert!((f64::from(a) - b).abs() <= most, "{x}: {a} {b}");
            near(exp, exact.exp(), exact.exp() * 2.5e-7);
            near(logistic, 1.0 / (1.0 + (-exact).exp()), 3e-7);
            near(g, exact.tanh(), 3e-7);
            near(tanh, exact.tanh(), 3e-7);
        }
    }
}
