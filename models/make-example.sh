#!/usr/bin/env bash
# Makes models/example and datasets/example_night anew: six quiet users of a simulated organisation, a month to learn from, and
# the day after it, on which one of them is abused. Equal engines make equal bytes on one CPU type.
#   models/make-example.sh QUIETWATCH OUT        OUT receives models/example and datasets/example_night
set -euo pipefail
quietwatch=$(realpath "$1")
out=$(realpath -m "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The log of the model holds times.
export SOURCE_DATE_EPOCH=1767225600
unset USER LOGNAME
cd "$work"
"$quietwatch" simulate --out sim --users 20 --days 32 --seed 1 --scenario S4@high > simulated
until=$(grep -o 'up to [0-9-]*' simulated | cut -d' ' -f3)
night=$(date -u -d "$until + 1 day" +%F)
mkdir events
awk -F'","' 'FNR > 1 { n[$5]++ } END { for (user in n) if (n[user] >= 300 && n[user] < 4000) print user }' sim/events/*.csv > users
for file in sim/events/*.csv; do
    awk -F'","' 'NR == FNR { keep[$1]; next } FNR == 1 || $5 in keep' users "$file" > "events/${file##*/}"
done
"$quietwatch" features --events events --store store > /dev/null
"$quietwatch" train --store store --until "$until" --models models --name example > /dev/null
rm -rf "$out/models/example" "$out/datasets/example_night"
mkdir -p "$out/models" "$out/datasets/example_night"
rm models/example/.lock
mv models/example "$out/models/"
gzip -9nc "events/$night.csv" > "$out/datasets/example_night/$night.csv.gz"
