#!/usr/bin/env bash
# All tests, stage by stage, each with its minutes. A stage that fails does not keep the others from running, except the
# first three, which all others need. The last line is the sum: N passed, N failed, N skipped.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

logs=target/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

# Adds up the lines "test result: … 3 passed; 0 failed; 1 ignored" of a log; the status is 1 if any failed.
count() {
  local p f i sum=0
  while read -r p f i; do
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + i)) sum=$((sum + f))
  done < <(sed -n 's/.*test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$1")
  return $((sum > 0))
}

# stage NAME COMMAND...: a stage without result lines is one test.
stage() {
  local name=$1 started=$SECONDS rc
  shift
  printf '\n=== %s\n' "$name"
  "$@" 2>&1 | tee "$logs/$name.log"
  rc=${PIPESTATUS[0]}
  if grep -q 'test result: ' "$logs/$name.log"; then
    # A stage that fails beyond its tests (a crash, a build) is one failure more.
    count "$logs/$name.log" && [[ $rc -ne 0 ]] && failed=$((failed + 1))
  elif [[ $rc -eq 0 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  printf '=== %s: %s, %d:%02d min\n' "$name" "$([[ $rc -eq 0 ]] && echo ok || echo FAILED)" \
    $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60))
  return "$rc"
}

finish() {
  printf '\n%d:%02d min in all\n' $((SECONDS / 60)) $((SECONDS % 60))
  echo "$passed passed, $failed failed, $skipped skipped"
  [[ $failed -eq 0 ]]
  exit
}

# In a shell of its own, with the environment of the products.
with_env() { bash -c 'source test/env.sh && "$@"' -- "$@"; }
cargo_test() { bash -c 'source test/env.sh && CARGO_TARGET_DIR=target/tools exec cargo test "${CARGO_ARGS[@]}" "$@"' -- "$@"; }

stage deps test/deps.sh || finish
stage spdk test/spdk.sh release debug || finish
stage build test/build.sh module target tests tools || finish
stage build-debug test/build.sh debug
stage build-asan test/build.sh asan
stage lint test/lint.sh
stage unit cargo_test -p mirror_engine -p mirror_rpc -p mirror_bench
stage sim-unit cargo_test -p mirror_sim
stage sim test/sim.sh run
stage sim-exhaustive test/sim.sh exhaustive
stage sim-mutants test/sim.sh mutants
stage loom test/loom.sh
stage fuzz test/fuzz.sh "${MIRROR_FUZZ_SECONDS:-60}"
# The module's own tests need SPDK to link against.
module_test() {
  bash -c 'source test/env.sh
    if [[ $SPDK_FROM != pkg-config && ! -e $SPDK_DIR/build/lib/libspdk_bdev.a ]]; then
      echo "module: skipped, no static libraries in $SPDK_DIR"
      echo "test result: ok. 0 passed; 0 failed; 1 ignored"
      exit
    fi
    CARGO_TARGET_DIR=target/tools exec cargo test "${CARGO_ARGS[@]}" -p bdev_mirror --features link-static'
}
stage module module_test
stage harness cargo_test -p mirror_e2e --lib
stage e2e cargo_test -p mirror_e2e --test e2e
stage guard with_env target/tools/debug/mirror_bench guard
finish
