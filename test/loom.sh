#!/usr/bin/env bash
# The engine's shared words in every order of several threads, checked by loom. Arguments go to the tests, for example a
# name; LOOM_MAX_PREEMPTIONS=4 looks deeper than usual and takes far longer.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/env.sh
# A directory of its own: the flag changes every crate.
export RUSTFLAGS="--cfg loom ${RUSTFLAGS:-}" CARGO_TARGET_DIR=target/loom
# Release for speed, without the link-time optimization of the products.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
cargo test "${CARGO_ARGS[@]}" -p mirror_engine --release --test loom -- "$@"
