//! The members of the geometry family beside their peers' work: `benches/peers/forest.py` and `benches/peers/density.py`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quietwatch::detectors::geometry::dbscan::{Dbscan, cluster};
use quietwatch::detectors::geometry::forest::{Forest, Options};
use quietwatch::detectors::geometry::gaussian::{BULK, Gaussian, Mixture};
use quietwatch::detectors::geometry::knn::Neighbours;
use quietwatch::detectors::geometry::matrix::Matrix;
use quietwatch::detectors::geometry::svm::OneClassSvm;
use quietwatch::seed::Seed;
use rand::RngExt;

const COLS: usize = 32;

/// Sums of two uniform numbers, as the peers' scripts make them.
fn rows(rows: usize) -> Matrix {
    let mut rng = Seed(1).derive("bench", 0);
    let values = (0..rows * COLS).map(|_| rng.random::<f64>() * 2.0 - 1.0 + rng.random::<f64>()).collect();
    Matrix::new(rows, COLS, values)
}

fn forest(c: &mut Criterion) {
    const ROWS: usize = 200_000;
    let data = rows(ROWS);
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

fn density(c: &mut Criterion) {
    let mut group = c.benchmark_group("density");
    group.sample_size(10);
    let many = rows(20_000);
    group.bench_function("dbscan 20k x 32, eps 1.5", |b| b.iter(|| cluster(&many, 1.5, 5)));
    // Most rows are core points of one cluster: the search has work to do, too.
    group.bench_function("dbscan 20k x 32, eps 4", |b| b.iter(|| cluster(&many, 4.0, 5)));
    let few = rows(2_000);
    group.bench_function("one-class svm fit 2k x 32", |b| b.iter(|| OneClassSvm::fit_with(&few, 0.05, 0.1)));
    let machine = OneClassSvm::fit_with(&few, 0.05, 0.1);
    group.bench_function("one-class svm score 2k x 32", |b| b.iter(|| machine.score(&few)));
    group.finish();
}

fn distance(c: &mut Criterion) {
    let mut group = c.benchmark_group("distance");
    group.sample_size(10);
    let data = rows(10_000);
    let neighbours = Neighbours::fit(&data);
    group.bench_function("knn score 10k x 32, 10k references", |b| b.iter(|| neighbours.score(&data, |_| None)));
    let clustered = Dbscan::fit(&rows(5_000));
    group.bench_function("dbscan score 10k x 32, 5k rows learned", |b| b.iter(|| clustered.score(&data)));
    group.bench_function("mahalanobis fit 10k x 32", |b| b.iter(|| Gaussian::robust(&data, BULK)));
    let shape = Gaussian::robust(&data, BULK);
    group.bench_function("mahalanobis score 10k x 32", |b| b.iter(|| shape.score(&data)));
    group.bench_function("mixture fit 10k x 32", |b| b.iter(|| Mixture::fit(&data, Seed(7))));
    let mixture = Mixture::fit(&data, Seed(7));
    group.bench_function("mixture score 10k x 32", |b| b.iter(|| mixture.score(&data)));
    group.finish();
}

criterion_group!(benches, forest, density, distance);
criterion_main!(benches);
