"""Times quietwatch beside Polars and DuckDB on one file, alternating, and prints medians and peak memory.

    benches/compare.py BENCH_BINARY EVENTS_CSV [--rounds 3]

BENCH_BINARY is what `cargo bench --bench features --no-run` prints; see benches/README.md.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

PEERS = pathlib.Path(__file__).parent / "peers" / "features.py"


def run(command, **env):
    """Wall seconds, CPU seconds and peak MB of one process."""
    begun = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command} failed with status {status}")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("events")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()

    def ours(work):
        with tempfile.TemporaryDirectory(dir=pathlib.Path(args.events).parent) as folder:
            return run(
                [args.binary],
                QUIETWATCH_EVENTS=args.events,
                QUIETWATCH_WORK=work,
                QUIETWATCH_STORE=f"{folder}/store",
            )

    def peer(engine):
        return run([sys.executable, str(PEERS), engine, args.events])

    contenders = {
        "quietwatch rows": lambda: ours("rows"),
        "quietwatch store": lambda: ours("store"),
        "polars": lambda: peer("polars"),
        "duckdb": lambda: peer("duckdb"),
    }
    runs = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, contender in contenders.items():
            runs[name].append(contender())
    medians = {name: [statistics.median(column) for column in zip(*rounds)] for name, rounds in runs.items()}
    best = {name: min(medians[p][i] for p in ("polars", "duckdb")) for i, name in enumerate(("wall", "cpu"))}
    print(f"{'':18}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'x wall':>8}{'x CPU':>8}")
    for name, (wall, cpu, peak) in medians.items():
        print(f"{name:18}{wall:8.2f}{cpu:8.2f}{peak:9.0f}{best['wall'] / wall:8.2f}{best['cpu'] / cpu:8.2f}")


if __name__ == "__main__":
    main()
