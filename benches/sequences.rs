//! The networks of sequences beside those of `PyTorch`, `benches/peers/lstm.py` and `benches/peers/transformer.py`: the same sizes,
//! made-up tokens.
//!
//! With `QUIETWATCH_PROCESSOR_TIME` set, nothing is sampled: rounds of training and scoring are timed by the clock and by the
//! processor time of all threads, which other work on the machine disturbs less.

use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quietwatch::detectors::sequence::Network;
use quietwatch::detectors::sequence::neural::{Model, Options};
use quietwatch::seed::Seed;
use rand::RngExt;

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

criterion_group!(benches, networks);
criterion_main!(benches);
