# `just` lists the recipes.
default:
    @just --list

# Everything that a change must pass.
ci:
    .ci/run

# Unit and end-to-end tests.
test:
    cargo test --release

# The model registry's sweeps in full: every bit of a version, a thousand promotions beside loads and beside runs (minutes).
test-registry:
    QUIETWATCH_SLOW=1 cargo test --release models::

# Every command that writes, stopped at every system call by a kill, a full disk, a failing device (needs strace).
sweep: sweep-registry sweep-night sweep-deliver

# The same of promotion, rollback and removal.
sweep-registry:
    cargo build --release
    tests/sweeps/registry.sh "${CARGO_TARGET_DIR:-target}/release/quietwatch"

# Findings of scored attacks against the schema that OCSF publishes (needs Python with ocsf-json-schema and jsonschema).
check-ocsf PYTHON="python3":
    cargo build --release
    tests/fixtures/ocsf/check.sh "${CARGO_TARGET_DIR:-target}/release/quietwatch" {{PYTHON}}

# The same of features, train and score.
sweep-night:
    cargo build --release
    tests/sweeps/night.sh "${CARGO_TARGET_DIR:-target}/release/quietwatch"

# The same of delivery (needs Python too).
sweep-deliver:
    cargo build --release
    tests/sweeps/deliver.sh "${CARGO_TARGET_DIR:-target}/release/quietwatch"

# A single bit flipped in a version and in a store, 10,000 times; each must be refused with exit code 7.
sweep-bits COUNT="10000":
    cargo build --release
    tests/sweeps/bits.py "${CARGO_TARGET_DIR:-target}/release/quietwatch" {{COUNT}}

# Fuzzes one target: model, manifest, registry, kept, events, packed, config, profile, table.
fuzz TARGET SECONDS="600":
    fuzz/run {{TARGET}} {{SECONDS}}

# Merges what fuzzing learned into the committed corpus.
fuzz-minimise TARGET:
    fuzz/minimise {{TARGET}}

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

# Make models/example and the night that goes with it anew.
example-model:
    cargo build --release
    models/make-example.sh "${CARGO_TARGET_DIR:-target}/release/quietwatch" .
    datasets/list.sh

# Type the commands of docs/operations.md from top to bottom in an empty folder (a minute).
operations:
    cargo build --release
    tests/sweeps/operations.sh "${CARGO_TARGET_DIR:-target}/release/quietwatch"

# Execute the notebooks with the built binary; --write keeps their outputs (needs Python 3.10 and PyPI).
notebooks *ARGS:
    cargo build --release
    test -d "${CARGO_TARGET_DIR:-target}/notebooks" || python3 -m venv "${CARGO_TARGET_DIR:-target}/notebooks"
    "${CARGO_TARGET_DIR:-target}/notebooks/bin/pip" install --quiet --requirement notebooks/requirements.txt
    QUIETWATCH="$(realpath "${CARGO_TARGET_DIR:-target}/release/quietwatch")" "${CARGO_TARGET_DIR:-target}/notebooks/bin/python" notebooks/execute.py {{ARGS}}

# Write the digests of the data sets.
datasets:
    datasets/list.sh

# The examples of a nightly job: alert rules and their tests, systemd units, YAML (needs promtool, systemd-analyze, PyYAML).
deploy:
    promtool check rules docs/deploy/alerts.yml
    promtool test rules docs/deploy/alerts_test.yml
    # The program need not be installed here.
    mkdir -p "${CARGO_TARGET_DIR:-target}/units" && cp docs/deploy/quietwatch.timer "${CARGO_TARGET_DIR:-target}/units"
    sed 's|=quietwatch |=/bin/true |' docs/deploy/quietwatch.service > "${CARGO_TARGET_DIR:-target}/units/quietwatch.service"
    systemd-analyze verify "${CARGO_TARGET_DIR:-target}"/units/*
    systemd-analyze security --offline=yes --threshold=15 "${CARGO_TARGET_DIR:-target}/units/quietwatch.service" > /dev/null
    python3 -c 'import sys, yaml; [list(yaml.safe_load_all(open(f))) for f in sys.argv[1:]]' docs/deploy/*.yml docs/deploy/*.yaml

# Benches in full.
bench:
    cargo bench

# Licences and banned crates (needs cargo-deny).
deny:
    cargo deny check bans licenses sources
