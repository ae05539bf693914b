# `just` lists the recipes.
default:
    @just --list

# Everything that a change must pass.
ci:
    .ci/run

# Unit and end-to-end tests.
test:
    cargo test --release

# Baseline, detectors, fusion, explain, simulate: no Polars.
test-fast:
    cargo test --release --no-default-features --lib

# Formatting and lints.
check:
    cargo fmt --check
    cargo clippy --release --all-targets -- -D warnings

# Recall, look-alikes and calm nights on simulated organisations (slow: minutes).
quality *SEEDS="1 2 3":
    benches/quality.sh {{SEEDS}}

# Benches in full.
bench:
    cargo bench

# Licences and banned crates (needs cargo-deny).
deny:
    cargo deny check bans licenses sources
