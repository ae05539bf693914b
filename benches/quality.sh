#!/usr/bin/env bash
# Detection quality on simulated organisations: recall of every attack at each level, look-alikes among the alerts, and
# how quiet calm organisations are. Usage: benches/quality.sh [SEED...]; needs a release build. Minutes, not seconds.
#   QW    the binary (default: target/release/quietwatch)
#   OUT   where to work (default: a temporary folder, removed at the end)
#   PRESET  small|medium|large (default: medium)
set -euo pipefail
cd "$(dirname "$0")/.."
QW="${QW:-${CARGO_TARGET_DIR:-target}/release/quietwatch}"
PRESET="${PRESET:-medium}"
if [ -z "${OUT:-}" ]; then OUT="$(mktemp -d)"; trap 'rm -rf "$OUT"' EXIT; fi
[ $# -gt 0 ] || set -- 1 2 3

# The last clean day and the days after it, as the ground truth states them.
until_of() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["train_until"])' "$1/truth.json"; }

run() { # folder, scenario flags...
  local dir="$1"; shift
  rm -rf "$dir"; mkdir -p "$dir"
  "$QW" simulate --out "$dir/sim" --preset "$PRESET" "$@" 2>"$dir/simulate.log"
  "$QW" features --events "$dir/sim/events" --store "$dir/store" --config "$dir/sim/quietwatch.toml" >"$dir/features.log" 2>&1
}

for seed in "$@"; do
  for level in high medium low; do
    dir="$OUT/attack-$level-$seed"
    run "$dir" --seed "$seed" --scenario "all@$level"
    until="$(until_of "$dir/sim")"
    from="$(date -u -d "$until + 1 day" +%F)"
    "$QW" train --store "$dir/store" --until "$until" --models "$dir/models" --name org --config "$dir/sim/quietwatch.toml" >/dev/null 2>"$dir/train.log"
    "$QW" score --store "$dir/store" --from "$from" --to 2099-12-31 --models "$dir/models" --name org --out "$dir/run" >/dev/null 2>"$dir/score.log" || true
    echo "== seed $seed, all scenarios at $level"
    "$QW" evaluate --run "$dir/run" --labels "$dir/sim/labels.csv"
  done
  dir="$OUT/calm-$seed"
  run "$dir" --seed "$((seed + 1000))"
  first="$(ls "$dir/sim/events" | head -1 | cut -c1-10)"
  until="$(date -u -d "$first + 44 days" +%F)"
  from="$(date -u -d "$until + 1 day" +%F)"
  "$QW" train --store "$dir/store" --until "$until" --models "$dir/models" --name org --config "$dir/sim/quietwatch.toml" >/dev/null 2>"$dir/train.log"
  "$QW" score --store "$dir/store" --from "$from" --to 2099-12-31 --models "$dir/models" --name org --out "$dir/run" >/dev/null 2>"$dir/score.log" || true
  echo "== seed $((seed + 1000)), calm"
  python3 - "$dir/run" <<'PY'
import json, sys, statistics
run = json.load(open(sys.argv[1] + "/run.json"))
rows = [json.loads(line) for line in open(sys.argv[1] + "/anomalies.jsonl")]
per = [n["reported"] for n in run["nights"]]
m = sum(n["subjects"] for n in run["nights"])
ratio = {p: sum(r["p_value"] <= p for r in rows) / (m * p) for p in (0.01, 0.001)}
print(f"nights {len(per)}, reported per night mean {statistics.mean(per):.2f} median {statistics.median(per)}, "
      f"observed/expected at 0.01 {ratio[0.01]:.2f}, at 0.001 {ratio[0.001]:.2f}")
PY
done
