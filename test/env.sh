# To be sourced, in bash: where SPDK and the products are, for programs and tests.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:${HOME:-/root}/.cargo/bin
recipe=$root/spdk-sys/recipe/spdk-20.07.sh

# Which SPDK: SPDK_DIR, pkg-config, cache. Empty SPDK_DIR with SPDK_FROM=pkg-config means: installed in the system.
if [[ -n ${SPDK_DIR:-} ]]; then
  SPDK_FROM=SPDK_DIR
  [[ -d $SPDK_DIR ]] || { echo "SPDK_DIR=$SPDK_DIR: no such folder" >&2; exit 1; }
  SPDK_DIR=$(cd "$SPDK_DIR" && pwd)
elif pkg-config --exists spdk_event spdk_bdev 2>/dev/null; then
  SPDK_FROM=pkg-config
else
  SPDK_FROM=cache
  SPDK_DIR=$("$recipe" path release)
fi
# With assertions: in the cache only; it is not built for those who bring their own SPDK.
SPDK_DEBUG_DIR=${SPDK_DEBUG_DIR:-$("$recipe" path debug)}

out=$root/target/out
export SPDK_DIR SPDK_FROM SPDK_DEBUG_DIR
export MIRROR_SO=$out/libbdev_mirror.so MIRROR_TGT=$out/spdk_tgt
export MIRROR_TGT_DEBUG=$out/spdk_tgt-debug MIRROR_TGT_ASAN=$out/spdk_tgt-asan
export TEST_CALLS_SO=$out/libtest_calls.so TEST_LCORES_SO=$out/libtest_lcores.so
export MIRROR_DEMO=$root/target/tools/debug/demo

# Cargo.lock decides the versions, from its first commit on.
CARGO_ARGS=(--quiet)
[[ ! -e $root/Cargo.lock ]] || CARGO_ARGS+=(--locked)
