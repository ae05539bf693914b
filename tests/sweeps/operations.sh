#!/usr/bin/env bash
# Types the commands of docs/operations.md from top to bottom in an empty folder, as a new user would.
#   tests/sweeps/operations.sh QUIETWATCH
set -euo pipefail
quietwatch=$(realpath "$1")
page=$(realpath "$(dirname "$0")/../../docs/operations.md")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
ln -s "$quietwatch" "$work/bin/quietwatch"
{
    echo 'set -euo pipefail'
    # Each command is shown before what it says.
    echo 'set -v'
    awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$page"
} > "$work/typed.sh"
mkdir "$work/here"
cd "$work/here"
PATH="$work/bin:$PATH" bash "$work/typed.sh"
# What the page says is there at the end.
test -f runs/2026-02-16/report.html
grep -q '"reported":true' runs/2026-02-20/anomalies.jsonl
grep -q '^quietwatch_last_success_timestamp_seconds' quietwatch.prom
test -f runs/2026-02-20/.revisions/000001.tar.gz
grep -q '"format_version"' runs/2026-02-22/shadow.json
grep -q '^000001 ' models/nightly/aliases/champion
grep -q '"event":"rollback"' models/nightly/log.jsonl
echo "every command of docs/operations.md ended well"
