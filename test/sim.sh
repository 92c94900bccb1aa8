#!/usr/bin/env bash
# The engine on simulated disks: test/sim.sh run|exhaustive|mutants [OPTIONS]; --help tells them.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${HOME:-/root}/.cargo/bin
# A directory of its own: with the planted mistakes the engine is another one.
CARGO_TARGET_DIR=target/sim cargo build --quiet --profile sim -p mirror_sim
exec target/sim/sim/mirror_sim "$@"
