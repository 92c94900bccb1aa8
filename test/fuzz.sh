#!/usr/bin/env bash
# test/fuzz.sh SECONDS [TARGET...]: fuzzes what is read from the legs, each target SECONDS long, on a copy of the corpus.
#
# The corpus in the tree stays as it is. A crash leaves its input in target/fuzz/crashes, and the command to repeat it is
# printed. test/fuzz.sh merge DIR TARGET makes a new corpus of the kept one and the inputs in DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:${HOME:-/root}/.cargo/bin
fuzz=$PWD/target/fuzz

build() {
  local triple flags=(-Cpasses=sancov-module --cfg fuzzing) arg
  triple=$(rustc -vV | sed -n 's/^host: //p')
  # As cargo-fuzz sets them. No address sanitizer: the decoders have no unsafe code, and run faster without.
  for arg in level=4 inline-8bit-counters pc-table trace-compares; do flags+=("-Cllvm-args=-sanitizer-coverage-$arg"); done
  # With a target, so that build scripts stay without instrumentation.
  RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=$fuzz \
    cargo build --quiet --locked --release --target "$triple" --manifest-path test/fuzz/Cargo.toml
  bin=$fuzz/$triple/release
}

# run TARGET SECONDS
run() {
  local log=$fuzz/$1.log corpus rc=0
  corpus=$(mktemp -d)
  cp test/fuzz/corpus/"$1"/* "$corpus"
  "$bin/$1" "$corpus" -max_total_time="$2" -max_len=8192 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
    -print_final_stats=1 -artifact_prefix="$fuzz/crashes/$1-" >"$log" 2>&1 || rc=$?
  local count edges
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  echo "fuzz $1: ${count:-?} executions, ${edges:-?} edges, $(find "$corpus" -type f | wc -l) inputs in the corpus at the end"
  rm -rf "$corpus"
  [[ $rc -ne 0 ]] || return 0
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
  grep -m 5 -E "panicked at|assertion|^ *(left|right):|ERROR: libFuzzer" "$log" >&2 || tail -20 "$log" >&2
  echo "fuzz $1: FAILED; input: ${input:-none was written}" >&2
  [[ -z $input ]] || echo "fuzz $1: to repeat it: $bin/$1 $input" >&2
  return 1
}

merge() {
  local merged
  merged=$(mktemp -d)
  # Without counters: the fewest inputs that reach all code, not every number of times that a loop may run.
  "$bin/$2" -set_cover_merge=1 -use_counters=0 "$merged" test/fuzz/corpus/"$2" "$1"
  rm -rf "test/fuzz/corpus/$2"
  mv "$merged" "test/fuzz/corpus/$2"
  chmod 755 "test/fuzz/corpus/$2"
}

mkdir -p "$fuzz/crashes"
case ${1:-} in
  merge) build && merge "${2:?DIR}" "${3:?TARGET}" && exit ;;
  '' | 0 | *[!0-9]*) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
seconds=$1
shift
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(superblock maps)
build
passed=0 failed=0
for target in "${targets[@]}"; do
  if run "$target" "$seconds"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "test result: $([[ $failed -eq 0 ]] && echo ok || echo FAILED). $passed passed; $failed failed; 0 ignored"
[[ $failed -eq 0 ]]
