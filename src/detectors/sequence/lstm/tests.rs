use pulp::{Simd, WithSimd};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::Value;

use super::network::{Batch, Network};
use super::*;

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// Sequences of lengths from 1 to `longest`, the longest first.
fn random(n: usize, longest: usize, symbols: u32, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = Seed(seed).derive("sequences", 0);
    let one = |_| {
        let length = rng.random_range(1..=longest);
        (0..length).map(|_| rng.random_range(0..symbols)).collect()
    };
    let mut out: Vec<Vec<u32>> = (0..n).map(one).collect();
    out.sort_by_key(|s| std::cmp::Reverse(s.len()));
    out
}

fn slices(of: &[Vec<u32>]) -> Vec<&[u32]> {
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

fn quick() -> Options {
    Options { hidden: 16, embedding: 8, epochs: 4, ..Options::default() }
}

fn train(of: &[Vec<u32>], options: Options, seed: u64) -> LstmAutoencoder {
    LstmAutoencoder::fit(&slices(of), 13, options, Seed(seed), &|_| {}).unwrap()
}

fn floats(of: &Value) -> Vec<f32> {
    of.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[test]
fn surprise_and_gradients_are_those_of_pytorch() {
    // Made by tests/fixtures/lstm/make.py.
    let expected: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/lstm/expected.json")).unwrap();
    let sizes = Sizes { symbols: 11, embedding: 5, hidden: 16 };
    let mut weights = Weights { sizes, arrays: Default::default() };
    for (k, shape) in sizes.shapes().iter().enumerate() {
        let number = |i: usize| (0.4 * (1.7 * i as f64 + 0.9 * k as f64 + 0.3).sin()) as f32;
        weights.arrays[k] = (0..shape.iter().product()).map(number).collect();
    }
    let sequences: Vec<Vec<u32>> = expected["sequences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| floats(s).iter().map(|x| *x as u32).collect())
        .collect();
    let network = Network::new(&weights).unwrap();
    let batch = Batch::new(&slices(&sequences));
    let surprise = network.surprise(&batch).unwrap();
    // Rows stand step by step.
    let found: Vec<f32> = surprise.to_vec1().unwrap();
    let by_sequence: Vec<Vec<f32>> = expected["surprise"].as_array().unwrap().iter().map(floats).collect();
    let by_step = (0..7).flat_map(|t| by_sequence.iter().filter_map(move |s| s.get(t)));
    for (a, b) in found.iter().zip(by_step) {
        assert!((a - b).abs() < 2e-6 * b, "{a} {b}");
    }
    for (sum, s) in Scorer::new(&weights).sums(&slices(&sequences)).iter().zip(&by_sequence) {
        assert!((sum - f64::from(s.iter().sum::<f32>())).abs() < 1e-5);
    }
    let gradients = surprise.mean_all().unwrap().backward().unwrap();
    for (name, var) in NAMES.iter().zip(&network.vars) {
        let found: Vec<f32> = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let expected = floats(&expected["gradients"][name]);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-7 + 5e-5 * b.abs(), "{name}: {a} {b}");
        }
    }
}

#[test]
fn gradients_are_finite_differences() {
    // More than one shard of sequences and of rows, and a vocabulary that fills no vector.
    let of = random(70, 30, 37, 1);
    let sequences = slices(&of);
    let tokens: usize = of.iter().map(Vec::len).sum();
    let sizes = Sizes { symbols: 37, embedding: 6, hidden: 24 };
    let weights = Weights::random(sizes, &mut Seed(2).derive("weights", 0));
    let network = Network::new(&weights).unwrap();
    let gradients = network.surprise(&Batch::new(&sequences)).unwrap().mean_all().unwrap().backward().unwrap();
    let loss = |w: &Weights| Scorer::new(w).sums(&sequences).iter().sum::<f64>() / tokens as f64;
    for (k, name) in NAMES.iter().enumerate() {
        let gradient: Vec<f32> = gradients.get(&network.vars[k]).unwrap().flatten_all().unwrap().to_vec1().unwrap();
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
    let model = train(&circles(300, 1), quick(), 1);
    let mut of = random(150, 90, 13, 3);
    of.shuffle(&mut Seed(1).derive("order", 0));
    let one = on_threads(1, || model.score(&slices(&of)));
    assert_eq!(one, on_threads(2, || model.score(&slices(&of))));
    for (s, score) in of.iter().zip(&one) {
        assert_eq!(model.score(&[s]), [*score]);
    }
}

#[test]
fn equal_seeds_train_equal_networks_on_any_number_of_threads() {
    let of = circles(400, 2);
    let fit = |threads, seed| on_threads(threads, || train(&of, quick(), seed));
    let one = fit(1, 7);
    assert_eq!(one, fit(1, 7));
    assert_eq!(one, fit(2, 7));
    assert_ne!(one, fit(1, 8));
}

#[test]
fn what_is_in_another_order_is_harder_to_put_together_again() {
    let model = train(&circles(2_000, 3), Options { hidden: 32, epochs: 20, ..quick() }, 1);
    let usual = circles(200, 4);
    let mut odd = usual.clone();
    for (i, s) in odd.iter_mut().enumerate() {
        s.shuffle(&mut Seed(9).derive("order", i as u64));
    }
    let (usual, odd) = (model.score(&slices(&usual)), model.score(&slices(&odd)));
    let higher = usual.iter().zip(&odd).filter(|(u, o)| o > u).count();
    assert!(higher >= 190, "{higher} of 200");
}

#[test]
fn empty_short_long_and_unknown_are_no_trouble() {
    let model = train(&circles(300, 5), quick(), 1);
    let long: Vec<u32> = (0..100_000).map(|i| 3 + i % 10).collect();
    let scores = model.score(&[&[], &[3], &long, &[u32::MAX, 12], &[UNKNOWN, 12]]);
    assert!(scores[0] == 0.0 && scores.iter().all(|s| s.is_finite() && *s >= 0.0), "{scores:?}");
    assert_eq!(scores[3], scores[4], "what the vocabulary does not hold is the unknown token");
    assert_eq!(model.score(&[]), Vec::<f64>::new());
    let none = |of: &[&[u32]]| LstmAutoencoder::fit(of, 13, quick(), Seed(1), &|_| {});
    assert!(none(&[]).is_none() && none(&[&[], &[]]).is_none());
    assert!(none(&[&[3]]).is_some() && none(&vec![&[3, 4][..]; 30]).is_some());
    let odd =
        Options { learning_rate: f64::NAN, batch: 0, patience: 0, held_out: f64::NAN, most: 0, hidden: 3, ..quick() };
    let tried = LstmAutoencoder::fit(&slices(&circles(40, 1)), 13, odd, Seed(1), &|_| {});
    assert!(tried.is_none_or(|m| m.score(&[&[3, 4, 5]])[0].is_finite()), "what diverges is not kept");
}

#[test]
fn windows_are_all_of_a_sequence_and_alike_in_length() {
    for length in [0, 1, 63, 64, 65, 128, 129, 1_000] {
        let sequence: Vec<u32> = (0..length).collect();
        let parts: Vec<&[u32]> = windows(&sequence).collect();
        assert_eq!(parts.concat(), sequence);
        let lengths = parts.iter().map(|p| p.len());
        let (least, most) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
        assert!(most <= WINDOW && most - least <= 1);
    }
}

#[test]
fn progress_says_how_far_training_is() {
    let told = std::cell::RefCell::new(Vec::new());
    let of = circles(300, 6);
    LstmAutoencoder::fit(&slices(&of), 13, quick(), Seed(1), &|p| told.borrow_mut().push(p)).unwrap();
    let told = told.into_inner();
    assert!(told.iter().map(|p| p.epoch).eq(1..=told.len()) && told.iter().all(|p| p.epochs == 4));
    assert!(told[told.len() - 1].loss < told[0].loss);
}

#[test]
fn forged_arrays_are_no_autoencoder() {
    let model = train(&circles(100, 7), quick(), 1);
    let arrays = model.to_arrays("sequence");
    let read = |arrays: &[NamedArray], symbols| {
        let arrays: std::collections::BTreeMap<&str, (&[usize], &[f64])> =
            arrays.iter().map(|(n, s, v)| (n.as_str(), (s.as_slice(), v.as_slice()))).collect();
        LstmAutoencoder::from_arrays("sequence", &arrays, symbols)
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
        forge(&|a| a.1[0] = usize::MAX);
        forge(&|a| a.2.truncate(3));
        forge(&|a| a.2[0] = f64::NAN);
        forge(&|a| a.2[0] = 1e30);
        forge(&|a| a.2[0] = 0.1);
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
