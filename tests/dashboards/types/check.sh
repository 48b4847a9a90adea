#!/usr/bin/env bash
# Checks dashboards against the types that Grafana publishes. A property that they do not have is a fault too.
# Usage: check.sh [FILE...]   by default all dashboards; the line of a fault is the line in the file
set -euo pipefail
cd "$(dirname "$0")/../../.."

modules=$PWD/target/testbed/node/node_modules
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp tests/dashboards/types/* "$folder"
ln -s "$modules" "$folder/node_modules"
[ $# -gt 0 ] || set -- dashboards/*.json
for file in "$@"; do
    # JSON is an expression of TypeScript, and a literal may have no property too many.
    printf 'export default %s satisfies import("./board").Board;\n' "$(cat "$file")" >"$folder/$(basename "$file").ts"
done
cd "$folder"
node_modules/.bin/tsc --pretty false --project .
