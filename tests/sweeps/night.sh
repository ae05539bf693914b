#!/usr/bin/env bash
# Stops `features`, `train` and `score` at every system call that opens, writes, flushes, renames, links or removes. After each
# every partition, version, run folder, export and heartbeat must be that from before or that from after; the command run again must end
# in the bytes of an undisturbed run. Needs strace and openssl. Prints how often it was stopped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
state=site
mkdir logs late

# Six people for six days; on the last one of them comes from elsewhere and reads what nobody else does.
day() { # number, rows to leave out, folder
    awk -v day="$1" -v drop="$2" 'BEGIN {
        print "timestamp,user_id,client_ip,app_name,entity_name,status_code,request_id"
        for (user = 0; user < 6; user++) for (c = 0; c < 8 + user; c++) {
            if (++row <= drop) continue
            odd = day == 6 && user == 3
            printf "2026-01-%02dT%02d:%02d:00Z,u%d,198.18.%d.%d,App %d,%s,%d,r%d-%d\n", 4 + day, 7 + (user + c) % 11, (c * 7 + user) % 60,
                user, odd ? 99 : user, 1 + c % 2, user % 2, odd ? "Secret" c : "Object" c % 3, c == 5 ? 401 : 200, day, row
        }
    }' > "$3/2026-01-$(printf %02d $((4 + $1))).csv"
}
for number in 1 2 3 4 5 6; do day $number $((number == 6 ? 5 : 0)) logs; done
day 6 0 late

features=(features --profile generic --store site/store --events)
model=(--store site/store --models site/models --name m)
train=(train "${model[@]}" --until 2026-01-09 --set baseline.min-history-days=3 --set calibration.min-stratum=20)
score=(score "${model[@]}" --date 2026-01-10 --out site/run --set outputs.metrics=site/quietwatch.prom
    --set "outputs.ocsf=site/{date}.ocsf.jsonl")

same() { diff -r --exclude=.tmp --exclude=.lock "$1" "$2" > /dev/null 2>&1; }
# A folder or file is as before or as after, or still not there if it was not.
either() {
    [ -e "site/$1" ] || [ ! -e "start/$1" ] || { echo "$1 is gone"; return 1; }
    [ ! -e "site/$1" ] || same "site/$1" "start/$1" || same "site/$1" "want/$1" || { echo "$1 is a mixture"; return 1; }
}
halfway() {
    local path
    for path in $(cd want && find . -path './store/*/????-??-??' -o -path './models/m/versions/0*' -prune -o -path './run' -prune); do
        case $path in
            ./store/nights/*) ;; # what may be lost at the price of time
            *) either "${path#./}" || return 1 ;;
        esac
    done
    either quietwatch.prom && either 2026-01-10.ocsf.jsonl || return 1
    [ ! -d site/models/m/versions ] || [ -z "$(ls site/models/m/versions)" ] || "$quietwatch" models verify "${model[@]:2}" || return 1
    [ ! -e site/store/store.json ] || "$quietwatch" doctor --store site/store
}
finish() {
    # A training that took effect before it was stopped must not be done twice; any writer completes it.
    local made=site/models/m/versions/000002
    [ "$name" != "train and sign" ] || [ ! -e $made ] || set -- models gc "${model[@]:2}" --keep 9
    [ "$name" != "train" ] || [ ! -e ${made%2}1 ] || set -- models gc "${model[@]:2}" --keep 9
    run "$@"
}

sweep "features into a new store" "${features[@]}" logs/2026-01-05.csv
mv want site && run "${features[@]}" logs && mv site start
sweep "features of a revised file" "${features[@]}" late
sweep "train" "${train[@]}"
rm -rf start && mv want start
openssl genpkey -algorithm ed25519 -out key.pem
sweep "train and sign" "${train[@]}" --seed 2 --set signing.key-file=key.pem
sweep "score" "${score[@]}"
rm -rf start && mv want start
# The night once more, its file complete: another revision in the place of the first.
mv start site && run "${features[@]}" late && mv site start
sweep "score a revised night" "${score[@]}"
[ -e want/run/.revisions/000001.tar.gz ] || { echo "the run before is not kept"; exit 1; }
echo "stopped $stops times"
