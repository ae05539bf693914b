#!/usr/bin/env bash
# Stops `models promote`, `rollback` and `gc` at every system call that opens, writes, flushes, renames or removes. After each
# the registry must verify and the champion be the old or the new version; the command run again must end in the bytes of an
# undisturbed run. Needs strace. Prints how often it was stopped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
state=models

awk 'BEGIN { srand(7); print "id,a,b"; for (i = 1; i <= 60; i++) printf "%d,%.3f,%.3f\n", i, rand(), rand() }' > table.csv
model=(--models models --name m)
for seed in 1 2 3; do
    "$quietwatch" train --table table.csv --key id "${model[@]}" --seed $seed > /dev/null
done
"$quietwatch" models promote "${model[@]}" --version 2 --reason second > /dev/null
mv models start

champion_is() { cmp -s models/m/aliases/champion "$1/m/aliases/champion"; }
halfway() { "$quietwatch" models verify "${model[@]}" && { champion_is start || champion_is want; }; }
finish() {
    # A rollback that took effect before it was stopped must not be done twice; any writer completes it.
    if [ "$name" = rollback ] && champion_is want; then set -- models gc "${model[@]}" --keep 9; fi
    run "$@"
}

sweep promote models promote "${model[@]}" --version 3 --reason third
sweep gc models gc "${model[@]}" --keep 0
sweep rollback models rollback "${model[@]}" --reason back
echo "stopped $stops times"
