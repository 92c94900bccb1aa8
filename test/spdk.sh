#!/usr/bin/env bash
# Makes sure that there is an SPDK: spdk.sh release [debug]. Builds only when none was given.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/env.sh

case $SPDK_FROM in
  cache)
    "$recipe" build "$@"
    ;;
  SPDK_DIR)
    if [[ ! -e $SPDK_DIR/include/spdk/bdev.h ]]; then
      echo "SPDK_DIR=$SPDK_DIR is not an SPDK tree: looked for include/spdk/bdev.h" >&2
      exit 1
    fi
    if [[ ! -e $SPDK_DIR/build/lib/libspdk_bdev.so && ! -e $SPDK_DIR/build/lib/libspdk_bdev.a ]]; then
      echo "SPDK_DIR=$SPDK_DIR is not built: looked for build/lib/libspdk_bdev.so and libspdk_bdev.a (run ./configure --with-shared && make there)" >&2
      exit 1
    fi
    ;;
esac
echo "spdk: from $SPDK_FROM${SPDK_DIR:+: $SPDK_DIR}" >&2
