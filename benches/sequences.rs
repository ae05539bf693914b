//! N-grams of sequences; and the networks beside those of `PyTorch`, `benches/peers/lstm.py` and `benches/peers/transformer.py`: the
//! same sizes, made-up tokens.
//!
//! With `QUIETWATCH_PROCESSOR_TIME` set, nothing is sampled: rounds of training and scoring are timed by the clock and by the
//! processor time of all threads, which other work on the machine disturbs less.

use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quietwatch::detectors::sequence::Network;
use quietwatch::detectors::sequence::neural::{Model, Options};
use quietwatch::detectors::sequence::ngram::Ngrams;
use quietwatch::seed::Seed;
use rand::RngExt;
use rayon::prelude::*;

const SEQUENCES: usize = 6_400;
const LENGTH: usize = 32;
const SYMBOLS: u32 = 200;

/// Multiplications and additions per token forward; backward they are twice as many.
fn forward(network: Network) -> f64 {
    2.0 * match network {
        // Recurrent and output products.
        Network::Lstm => 2.0 * 64.0 * 256.0 + 64.0 * 200.0,
        // Dense layers, what is seen of half a window on average, output products.
        Network::Transformer => 2.0 * (8.0 * 64.0 * 64.0 + 2.0 * 64.0 * 16.5) + 64.0 * 200.0,
    }
}

fn tokens() -> Vec<Vec<u32>> {
    let mut rng = Seed(1).derive("bench", 0);
    (0..SEQUENCES).map(|_| (0..LENGTH).map(|_| rng.random_range(0..SYMBOLS)).collect()).collect()
}

/// As many sequences as one likes, of tokens of which some are far more frequent than others and often follow each other.
fn skewed(sequences: usize) -> Vec<Vec<u32>> {
    let mut rng = Seed(1).derive("bench", 1);
    let mut next = |last: u32| {
        let rank = rng.random_range(0.0..1.0_f64).powi(4) * f64::from(SYMBOLS);
        (7 * last + rank as u32) % SYMBOLS
    };
    let mut sequence = || {
        let steps = std::iter::successors(Some(0), |last| Some(next(*last)));
        steps.skip(1).take(LENGTH).collect()
    };
    (0..sequences).map(|_| sequence()).collect()
}

/// Surprise under n-grams of up to 12 tokens, learned from as many other sequences.
fn ngrams(c: &mut Criterion) {
    let count = if std::env::args().any(|a| a == "--test") { 1_000 } else { 100_000 };
    let owned = skewed(2 * count);
    let (learned, new) = owned.split_at(count);
    let data: Vec<&[u32]> = learned.iter().map(Vec::as_slice).collect();
    let clock = Instant::now();
    let model = Ngrams::fit(&data, &vec![1.0; data.len()], SYMBOLS, 12, usize::MAX);
    let fit = clock.elapsed().as_secs_f64();
    let score = || -> f64 {
        let of = |sequence: &Vec<u32>| {
            let mut out = Vec::new();
            model.surprise(sequence, &mut out);
            out.iter().sum::<f64>()
        };
        new.par_iter().map(of).sum()
    };
    let all = (count * LENGTH) as u64;
    if std::env::var_os("QUIETWATCH_PROCESSOR_TIME").is_some() {
        println!("n-grams: {} learned from {all} tokens in {fit:.1} s", model.len());
        for _ in 0..5 {
            let (clock, used) = (Instant::now(), processor());
            score();
            let (clock, used) = (clock.elapsed().as_secs_f64(), processor() - used);
            println!(
                "n-grams score: {:.0} tokens/s, {:.0} per second of processor",
                all as f64 / clock,
                all as f64 / used
            );
        }
        return;
    }
    let mut group = c.benchmark_group("ngrams");
    group.sample_size(10).throughput(Throughput::Elements(all));
    group.bench_function(format!("score {count} x 32"), |b| b.iter(&score));
    group.finish();
}

/// One pass over the sequences, none held out.
fn train(network: Network, data: &[&[u32]]) -> Model {
    let options = Options { epochs: 1, held_out: 0.0, most: SEQUENCES, ..Options::of(network) };
    Model::fit(network, data, SYMBOLS, options, Seed(7), &|_| {}).expect("there are tokens")
}

fn networks(c: &mut Criterion) {
    let owned = tokens();
    let data: Vec<&[u32]> = owned.iter().map(Vec::as_slice).collect();
    for network in Network::ALL {
        if std::env::var_os("QUIETWATCH_PROCESSOR_TIME").is_some() {
            rounds(network, &data);
            continue;
        }
        let mut group = c.benchmark_group(network.arrays());
        group.sample_size(10).throughput(Throughput::Elements((SEQUENCES * LENGTH) as u64));
        // A pass ends with scoring the sequences: that is how it is known which pass was best.
        group.bench_function("train and score 6400 x 32", |b| b.iter(|| train(network, &data)));
        let model = train(network, &data);
        group.bench_function("score 6400 x 32", |b| b.iter(|| model.score(&data)));
        group.finish();
    }
}

/// Seconds of processor that this process has used, all threads together.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux counts processor time");
    let behind_name = stat.rsplit(')').next().expect("the name ends with a bracket");
    // utime and stime, in hundredths of a second.
    let ticks = behind_name.split_whitespace().skip(11).take(2).map(|x| x.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}

fn rounds(network: Network, data: &[&[u32]]) {
    let all = (SEQUENCES * LENGTH) as f64;
    let model = train(network, data);
    for _ in 0..5 {
        let (clock, used) = (Instant::now(), processor());
        model.score(data);
        let (score, score_used) = (clock.elapsed().as_secs_f64(), processor() - used);
        let (clock, used) = (Instant::now(), processor());
        train(network, data);
        // Without the scoring at the end.
        let (train, train_used) = (clock.elapsed().as_secs_f64() - score, processor() - used - score_used);
        for (name, clock, used, times) in [("train", train, train_used, 3.0), ("score", score, score_used, 1.0)] {
            println!(
                "{} {name}: {:.0} tokens/s, {:.0} per second of processor, {:.0} GFLOP/s a processor",
                network.words(),
                all / clock,
                all / used,
                all * times * forward(network) / used / 1e9
            );
        }
    }
}

criterion_group!(benches, ngrams, networks);
criterion_main!(benches);
