#!/usr/bin/env bash
# Writes SHA256SUMS and the table of files in README.md.
set -euo pipefail
cd "$(dirname "$0")"
find . -type f ! -path ./README.md ! -path ./SHA256SUMS ! -path ./list.sh -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum > SHA256SUMS
sed -i '/^| file | bytes | SHA-256 |$/,$d' README.md
{
    echo '| file | bytes | SHA-256 |'
    echo '|---|---|---|'
    while read -r digest name; do echo "| \`$name\` | $(stat -c %s "$name") | \`$digest\` |"; done < SHA256SUMS
} >> README.md
