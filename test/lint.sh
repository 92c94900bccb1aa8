#!/usr/bin/env bash
# Format, clippy over everything (linking makes no difference to it), and shellcheck where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
source test/env.sh
failed=0 skipped=0

step() {
  local name=$1
  shift
  "$@" || { echo "lint: $name failed" >&2; failed=$((failed + 1)); }
}

export CARGO_TARGET_DIR=target/lint
step rustfmt cargo fmt --all --check
# The program itself is only there with static libraries.
features=()
[[ ! -e $SPDK_DIR/build/lib/libspdk_bdev.a ]] || features=(--features spdk_tgt/link-static)
step clippy cargo clippy "${CARGO_ARGS[@]}" --workspace --all-targets "${features[@]}" -- -D warnings
if command -v shellcheck >/dev/null; then
  step shellcheck shellcheck -S warning -x .ci/run test/*.sh spdk-sys/recipe/*.sh
else
  echo "lint: shellcheck is skipped: it is not installed"
  skipped=1
fi
passed=$((3 - failed - skipped))
echo "test result: $([[ $failed -eq 0 ]] && echo ok || echo FAILED). $passed passed; $failed failed; $skipped ignored"
[[ $failed -eq 0 ]]
