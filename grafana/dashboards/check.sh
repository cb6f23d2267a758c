#!/usr/bin/env bash
# Checks the dashboards; with the argument "write" writes them anew. Runs from anywhere and exits non-zero at the first problem.
#
#   grafana/dashboards/check.sh          everything that is wrong with the committed files
#   grafana/dashboards/check.sh write    what source/ says, into the folder of this script
#
# What is installed and built for it lies under target/grafana (and target/tools, where the machine has no Node).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/grafana
source=$here/source

bin=$("$source/node.sh")
export PATH=$bin:$PATH

mkdir -p "$work"
# Sources beside node_modules, where the compiler looks for it; nothing is installed inside the repository.
rm -rf "$work/build" "$work/check" "$work"/*.ts
cp -r "$source"/*.ts "$source/check" "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$source/tsconfig.json" "$work"
cd "$work"
if ! cmp -s package-lock.json installed-lock.json; then
  npm ci --no-progress --loglevel=error
  cp package-lock.json installed-lock.json
fi
node node_modules/prettier/bin/prettier.cjs --log-level=warn --check "*.ts" "check/*.ts"
node node_modules/typescript/bin/tsc

if [[ ${1-} == write ]]; then
  node build/write.js "$here"
  exit
fi

agent=$target/debug/xprober-agent
if [[ ! -x $agent ]]; then
  echo "check.sh: $agent is not there: cargo build -p xprober-agent" >&2
  exit 1
fi
"$agent" metrics >metrics.txt
node build/check/main.js "$root" metrics.txt
node --test-reporter=dot build/check/faults.js "$root" metrics.txt
