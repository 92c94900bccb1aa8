#!/usr/bin/env bash
# The demo from nothing: packages, SPDK, the build, the run. What it cannot do without is asked for first.
set -euo pipefail
cd "$(dirname "$0")/.."
test/deps.sh
if [[ $(id -u) -ne 0 ]]; then
  echo "demo: SPDK needs hugepages, and reserving them needs root: run this as root (sudo make demo)" >&2
  exit 1
fi
test/spdk.sh release
test/build.sh target tools
# Exports where the products are.
source test/env.sh
exec target/tools/debug/demo
