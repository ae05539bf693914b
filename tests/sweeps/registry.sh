#!/usr/bin/env bash
# Stops `models promote`, `rollback` and `gc` at every system call that opens, writes, flushes, renames or removes, one
# after the other: by SIGKILL, by a full disk, by a failing device. After each the registry must verify and the champion
# be the old or the new version; the same command run again must end in the bytes of an undisturbed run.
# Needs strace. Prints how often it was stopped.
set -euo pipefail
quietwatch=$(realpath "${1:?usage: registry.sh PATH/TO/quietwatch}")
export SOURCE_DATE_EPOCH=1770508800 USER=sweep
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

awk 'BEGIN { srand(7); print "id,a,b"; for (i = 1; i <= 60; i++) printf "%d,%.3f,%.3f\n", i, rand(), rand() }' > table.csv
model=(--models models --name m)
for seed in 1 2 3; do
    "$quietwatch" train --table table.csv --key id "${model[@]}" --seed $seed > /dev/null
done
"$quietwatch" models promote "${model[@]}" --version 2 --reason second > /dev/null
mv models start
stops=0

fail() { echo "$*: $(cat stderr verified difference 2> /dev/null)"; exit 1; }
champion_is() { cmp -s models/m/aliases/champion "$1/m/aliases/champion"; }

# Stops the command "$@" at the n-th call; sets `code` to its exit code, and `stopped`.
disturb() { # fault, call, n, the command
    local fault=$1 call=$2 n=$3
    shift 3
    rm -rf models && cp -a start models
    code=0
    { strace -qq -f -o trace -e "trace=$call" -e "inject=$call:$fault:when=$n" "$quietwatch" --threads 1 "$@"; } \
        > /dev/null 2> stderr || code=$?
    stopped=false
    case $fault in
        signal=KILL) [ "$code" -eq 0 ] || { [ "$code" -eq 137 ] || fail "$name, $fault at $call $n: exit $code"; stopped=true; } ;;
        # A failure that the command can do without, such as that of a wake-up between threads, leaves 0.
        *) if grep -q INJECTED trace; then
               [ "$code" -eq 11 ] || [ "$code" -eq 0 ] || fail "$name, $fault at $call $n: exit $code"
               stopped=true
           fi ;;
    esac
}

sweep() { # name, the command
    name=$1
    shift
    rm -rf models && cp -a start models
    "$quietwatch" "$@" > /dev/null
    rm -rf want && mv models want
    local fault call n
    for fault in signal=KILL error=ENOSPC error=EIO; do
        local calls=(write fsync rename renameat2 ftruncate)
        [ "$fault" = signal=KILL ] && calls+=(openat unlink unlinkat mkdir flock)
        for call in "${calls[@]}"; do
            n=0 stopped=true
            while $stopped; do
                n=$((n + 1))
                disturb "$fault" "$call" $n "$@"
                $stopped && stops=$((stops + 1))
                "$quietwatch" models verify "${model[@]}" > verified || fail "$name, $fault at $call $n: damaged"
                champion_is start || champion_is want || fail "$name, $fault at $call $n: champion is neither old nor new"
                # A rollback that took effect before it was stopped must not be done twice; any writer completes it.
                if [ "$name" = rollback ] && champion_is want; then set -- models gc "${model[@]}" --keep 9; else set -- "$@"; fi
                "$quietwatch" "$@" > /dev/null 2> stderr || fail "$name, $fault at $call $n: not completed"
                diff -r models want > difference || fail "$name, $fault at $call $n: other bytes"
                [ "$name" = rollback ] && set -- models rollback "${model[@]}" --reason back
            done
        done
    done
    echo "$name: always the old or the new state, and run again the bytes of an undisturbed run"
}

sweep promote models promote "${model[@]}" --version 3 --reason third
sweep gc models gc "${model[@]}" --keep 0
sweep rollback models rollback "${model[@]}" --reason back
echo "stopped $stops times"
