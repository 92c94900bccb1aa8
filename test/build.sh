#!/usr/bin/env bash
# Builds products into target/out:
#
#   module  libbdev_mirror.so, to preload into the stock applications of a shared SPDK
#   target  spdk_tgt, SPDK's target with the mirror linked in
#   debug   spdk_tgt-debug, the same on an SPDK with its assertions on, and ours
#   asan    spdk_tgt-asan, the same with AddressSanitizer
#   tests   the small libraries that tests preload
#   tools   the demo, the tests and the benchmark (target/tools)
#
# What the SPDK in use cannot give (no shared, no static libraries) is left out with a word.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/env.sh
mkdir -p "$out"

skip() { echo "build: $1 is left out: $2" >&2; }
# An unchanged product keeps its time, so that nothing is taken for new.
publish() { cmp -s "$1" "$2" || install -m 755 "$1" "$2"; }

lib_dir=$SPDK_DIR/build/lib
[[ $SPDK_FROM != pkg-config ]] || lib_dir=$(pkg-config --variable=libdir spdk_bdev)
has_shared() { [[ -e $lib_dir/libspdk_bdev.so ]]; }
has_static() { [[ -e $lib_dir/libspdk_bdev.a ]]; }

build_module() {
  has_shared || { skip libbdev_mirror.so "no shared libraries in $lib_dir"; rm -f "$MIRROR_SO"; return; }
  CARGO_TARGET_DIR=target/shared cargo rustc "${CARGO_ARGS[@]}" --release -p bdev_mirror --lib --crate-type cdylib --features link-shared
  publish target/shared/release/libbdev_mirror.so "$MIRROR_SO"
}

build_target() {
  has_static || { skip spdk_tgt "no static libraries in $lib_dir"; rm -f "$MIRROR_TGT"; return; }
  CARGO_TARGET_DIR=target/static cargo build "${CARGO_ARGS[@]}" --release -p spdk_tgt --features link-static
  publish target/static/release/spdk_tgt "$MIRROR_TGT"
}

build_debug() {
  [[ -d $SPDK_DEBUG_DIR ]] || { skip spdk_tgt-debug "no SPDK with assertions in $SPDK_DEBUG_DIR (SPDK_DEBUG_DIR)"; rm -f "$MIRROR_TGT_DEBUG"; return; }
  SPDK_DIR=$SPDK_DEBUG_DIR CARGO_TARGET_DIR=target/static-debug cargo build "${CARGO_ARGS[@]}" -p spdk_tgt --features link-static
  publish target/static-debug/debug/spdk_tgt "$MIRROR_TGT_DEBUG"
}

build_asan() {
  has_static || { skip spdk_tgt-asan "no static libraries in $lib_dir"; rm -f "$MIRROR_TGT_ASAN"; return; }
  local triple
  triple=$(rustc -vV | sed -n 's/^host: //p')
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/static-asan \
    cargo build "${CARGO_ARGS[@]}" -p spdk_tgt --features link-static --target "$triple"
  publish "target/static-asan/$triple/debug/spdk_tgt" "$MIRROR_TGT_ASAN"
}

build_tests() {
  local flags=(-std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror -O1 -g -shared -fPIC) includes=()
  if [[ $SPDK_FROM = pkg-config ]]; then
    read -ra includes < <(pkg-config --cflags-only-I spdk_bdev libdpdk)
  else
    includes=("-I$SPDK_DIR/include" "-I$SPDK_DIR/build/include" "-I$SPDK_DIR/dpdk/build/include")
  fi
  gcc "${flags[@]}" "${includes[@]}" test/e2e/preload/{compare,counts,order}.c -o "$TEST_CALLS_SO"
  gcc "${flags[@]}" test/e2e/preload/lcores.c -o "$TEST_LCORES_SO" -ldl
}

build_tools() {
  CARGO_TARGET_DIR=target/tools cargo build "${CARGO_ARGS[@]}" -p mirror_e2e -p mirror_bench --bins --tests
}

for product in "$@"; do
  case $product in
    module | target | debug | asan | tests | tools) "build_$product" ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
