//! The isolation forest beside its peers' work (`benches/peers/forest.py`): 200,000 rows × 32, 100 trees of 256 rows.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quietwatch::detectors::geometry::forest::{Forest, Options};
use quietwatch::detectors::geometry::matrix::Matrix;
use quietwatch::seed::Seed;
use rand::RngExt;

const ROWS: usize = 200_000;
const COLS: usize = 32;

/// Sums of two uniform numbers, as the peers' script makes them.
fn rows() -> Matrix {
    let mut rng = Seed(1).derive("bench", 0);
    let values = (0..ROWS * COLS).map(|_| rng.random::<f64>() * 2.0 - 1.0 + rng.random::<f64>()).collect();
    Matrix::new(ROWS, COLS, values)
}

fn forest(c: &mut Criterion) {
    let data = rows();
    let mut group = c.benchmark_group("forest");
    group.sample_size(10);
    for level in [0, 1] {
        let options = Options { trees: 100, sample: 256, level };
        group.bench_function(BenchmarkId::new("fit 100 trees of 256", format!("level {level}")), |b| {
            b.iter(|| Forest::fit(&data, options, Seed(7)));
        });
        let grown = Forest::fit(&data, options, Seed(7));
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(BenchmarkId::new("score 200k x 32", format!("level {level}")), |b| {
            b.iter(|| grown.score(&data));
        });
    }
    group.finish();
}

criterion_group!(benches, forest);
criterion_main!(benches);
