# What the sweeps share. A sweep runs a command on a copy of `start` in the folder `$state` again and again, and stops it at
# every system call of some kinds, one after the other: by SIGKILL, by a full disk, by a failing device.
#
# The caller has the functions `halfway`, which fails unless `$state` is the state from before or from after, and `finish`, which
# runs the command again or, where it took effect already, whatever completes it. After that `$state` must equal `want`.

quietwatch=$(realpath "${1:?usage: $(basename "$0") PATH/TO/quietwatch [folder to work in]}")
# Polars has a thread of its own; everything else is done by one, since strace counts the calls of each thread apart.
export SOURCE_DATE_EPOCH=1770508800 USER=sweep POLARS_MAX_THREADS=1
dir=$(mktemp -d ${2:+-p "$(realpath "$2")"})
trap 'rm -rf "$dir"' EXIT
cd "$dir"
stops=0
calls=(write fsync rename renameat2 ftruncate)
# Where nothing but a kill can come from.
calls_of_a_kill=(openat unlink unlinkat mkdir flock linkat)

fail() {
    echo "$name, $fault at $call $n: $*: $(cat stderr halfway difference 2> /dev/null)"
    exit 1
}

# Runs the command quietly; false, and `stderr`, if it fails.
run() { "$quietwatch" "$@" > /dev/null 2> stderr; }

begin() { rm -rf "$state" && { [ ! -e start ] || cp -a start "$state"; }; }

# Stops the command "$@" at the n-th call; sets `code` to its exit code, and `stopped`.
disturb() {
    begin
    code=0
    { strace -qq -f -o trace -e "trace=$call" -e "inject=$call:$fault:when=$n" "$quietwatch" --threads 1 "$@"; } \
        > /dev/null 2> stderr || code=$?
    stopped=false
    case $fault in
        signal=KILL) [ "$code" -eq 0 ] || { [ "$code" -eq 137 ] || fail "exit $code"; stopped=true; } ;;
        # A failure that the command can do without, such as that of a wake-up between threads, leaves 0.
        *) if grep -q INJECTED trace; then
               [ "$code" -eq 11 ] || [ "$code" -eq 0 ] || fail "exit $code"
               stopped=true
           fi ;;
    esac
}

sweep() { # name, the command
    name=$1
    shift
    local of_this=0
    fault=none call=none n=0
    begin
    run "$@" || fail "the undisturbed run"
    rm -rf want && mv "$state" want
    for fault in signal=KILL error=ENOSPC error=EIO; do
        local swept=("${calls[@]}")
        [ "$fault" = signal=KILL ] && swept+=("${calls_of_a_kill[@]}")
        for call in "${swept[@]}"; do
            n=0 stopped=true
            while $stopped; do
                n=$((n + 1))
                disturb "$@"
                $stopped && of_this=$((of_this + 1))
                halfway > halfway || fail "neither the state from before nor that from after"
                finish "$@" || fail "not completed"
                diff -r "$state" want > difference || fail "other bytes than those of an undisturbed run"
            done
        done
    done
    stops=$((stops + of_this))
    echo "$name: stopped $of_this times; always the old or the new state, and run again the bytes of an undisturbed run"
}
