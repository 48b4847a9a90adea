#!/usr/bin/env bash
# Checks dashboards against Grafana's published TypeScript types. Unknown properties are errors.
# The line numbers of errors are those of the JSON files.
#
#     check.sh [FILE...]       default: all dashboards; needs tests/setup.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."

modules=$PWD/target/testbed/node/node_modules
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp tests/dashboards/types/* "$folder"
ln -s "$modules" "$folder/node_modules"
[ $# -gt 0 ] || set -- dashboards/*.json
for file in "$@"; do
    # JSON is a TypeScript expression. For an object literal, tsc also reports unknown properties.
    printf 'export default %s satisfies import("./dashboard").DashboardFile;\n' "$(cat "$file")" \
        >"$folder/$(basename "$file").ts"
done
cd "$folder"
node_modules/.bin/tsc --pretty false --project .
