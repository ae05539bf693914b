#!/usr/bin/env bash
# Stops `deliver` at every system call that opens, writes, flushes, renames, links or removes. After each the ledger must be readable and
# whole; the command run again must end in the ledger of an undisturbed run, and the receiver must have each message: once, or
# twice where the stop came between its answer and the ledger. Needs strace and Python. Prints how often it was stopped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
state=site

cat > receiver.py <<'P'
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with open("received", "a") as received:
            print(self.headers["webhook-id"], file=received)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
with open("port.tmp", "w") as port:
    print(server.server_port, file=port)
import os
os.rename("port.tmp", "port")
server.serve_forever()
P
mkfifo began
{ python3 receiver.py & echo $! > began; wait; } &
receiver=$(cat began)
trap 'kill $receiver; rm -rf "$dir"' EXIT
until [ -e port ]; do kill -0 "$receiver"; done

# Two nights with an alert each.
mkdir -p start logs
for day in 05 06 07 08 09 10 11; do
    awk -v day="$day" 'BEGIN {
        print "timestamp,user_id,client_ip,app_name,entity_name,status_code,request_id"
        for (user = 0; user < 6; user++) for (c = 0; c < 8 + user; c++) {
            odd = day > 9 && user == day - 8
            printf "2026-01-%sT%02d:%02d:00Z,u%d,198.18.%d.%d,App %d,%s,%d,r%d-%d-%d\n", day, 7 + (user + c) % 11, (c * 7 + user) % 60,
                user, odd ? 99 : user, 1 + c % 2, user % 2, odd ? "Secret" c : "Object" c % 3, c == 5 ? 401 : 200, day, user, c
        }
    }' > "logs/2026-01-$day.csv"
done
run features --profile generic --store store --events logs || fail "features"
model=(--store store --models models --name m)
run train "${model[@]}" --until 2026-01-09 --set baseline.min-history-days=3 --set calibration.min-stratum=20 || fail "train"
run score "${model[@]}" --from 2026-01-10 --to 2026-01-11 --out start/run || fail "score"
echo "a secret" > key && chmod 600 key
deliver=(deliver --run site/run --set "deliver.webhook.url=http://127.0.0.1:$(cat port)/" --set deliver.webhook.secret-file=key
    --set deliver.heartbeat=true --set deliver.attempts=1)

begin() { rm -rf "$state" received && cp -a start "$state"; }
halfway() {
    local ledger=site/.quietwatch-delivered/delivered.json
    diff -r site/run start/run || return 1
    [ ! -e $ledger ] || python3 -c 'import json, sys; json.load(open(sys.argv[1]))' $ledger
}
finish() {
    run "$@" || return 1
    [ -e messages ] || sort -u received > messages
    sort -u received | cmp - messages || { echo "not each message arrived"; return 1; }
    [ "$(wc -l < received)" -le $(($(wc -l < messages) + 1)) ] || { echo "a message arrived three times"; return 1; }
    rm received
}

name=once
begin && finish "${deliver[@]}" || fail "the first run"
[ "$(wc -l < messages)" -ge 2 ] || fail "fewer than two messages"
sweep deliver "${deliver[@]}"
echo "stopped $stops times"
