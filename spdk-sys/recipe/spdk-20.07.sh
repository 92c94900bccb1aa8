#!/usr/bin/env bash
# Gets SPDK 20.07 and builds it into a per-user cache, for those who bring no SPDK of their own.
#
#   spdk-20.07.sh build VARIANT...   builds what is missing; prints nothing but progress (stderr)
#   spdk-20.07.sh path VARIANT       prints where that variant is (or would be); builds nothing
#
# VARIANT: release (static and shared libraries, spdk_tgt, nvmf_tgt, bdevperf, bdevio, rpc.py)
#          debug   (static libraries with SPDK's assertions on)
#
# The source is the subtree src/spdk of Debian's source package ceph, which is a whole SPDK 20.07 with its
# DPDK 20.05. It comes through apt, from the mirror this machine already uses, and apt checks its hashes.
# The cache is keyed by this file: another recipe is another folder. A variant appears under its final name by
# one rename after everything in it was built, so an interrupted download or build is never taken for a finished one.
set -euo pipefail

recipe=$(readlink -f "${BASH_SOURCE[0]}")
key=$({ cat "$recipe"; uname -m; } | sha256sum | cut -c1-12)
cache=${BDEV_MIRROR_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set it, or BDEV_MIRROR_CACHE}/.cache}/bdev_mirror}
base=$cache/spdk-20.07-$key
jobs=$(nproc)
started=$SECONDS

say() { printf 'spdk: %3d:%02d  %s\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) "$*" >&2; }

# run STEP COMMAND...: output goes to the log; on failure its end is shown and everything stops.
run() {
  say "$1"
  shift
  if ! "$@" >>"$log" 2>&1; then
    tail -n 25 "$log" >&2
    say "failed: $*; the whole log: $log"
    exit 1
  fi
}

# The machine's own mirror and keyring, with deb-src for one suite, in an apt configuration of our own:
# neither the machine's sources nor its package lists are touched.
apt_source() {
  local suite=$1 uri keyring
  uri=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -v security | grep -m1 debian || true)
  [[ -n $uri ]] || uri=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | head -n1)
  [[ -n $uri ]] || { say "apt knows no package mirror: run 'apt-get update' once, then try again"; return 1; }
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [[ -e $keyring ]] || { say "missing $keyring: install the package debian-archive-keyring"; return 1; }
  mkdir -p apt/lists/partial apt/archives/partial
  echo "deb-src [signed-by=$keyring] $uri $suite main" >apt/sources.list
  cat >apt/apt.conf <<CONF
Dir::Etc::SourceList "$work/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/apt/lists";
Dir::Cache::archives "$work/apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "";
CONF
  APT_CONFIG=$work/apt/apt.conf apt-get -q update &&
    APT_CONFIG=$work/apt/apt.conf apt-get -q source --tar-only --download-only ceph
}

fetch_source() {
  say "getting the source (148 MB)"
  local suite
  for suite in trixie sid; do
    if apt_source "$suite" >>"$log" 2>&1; then break; fi
    rm -f ceph_*.orig.tar.*
  done
  local tarball=(ceph_*.orig.tar.*)
  if [[ ! -s ${tarball[0]} ]]; then
    tail -n 15 "$log" >&2
    say "no source: Debian's source package ceph was looked for in trixie and sid of this machine's mirror;"
    say "give a built SPDK instead: SPDK_DIR=/path/to/spdk"
    exit 1
  fi
  run "extracting src/spdk" tar -xf "${tarball[0]}" --wildcards '*/src/spdk/*' --strip-components=2
  rm -rf "${tarball[0]}" apt
  grep -q 'SPDK_VERSION_MAJOR[[:space:]]*20$' spdk/include/spdk/version.h &&
    grep -q 'SPDK_VERSION_MINOR[[:space:]]*7$' spdk/include/spdk/version.h || { say "the tarball has another SPDK than 20.07"; exit 1; }
}

# SPDK's own Makefiles, only the folders that are needed. arc4random: glibc 2.36 has it, SPDK 20.07 defines its own.
compile() {
  local variant=$1
  local flags=(--disable-unit-tests --without-isal --without-vhost --without-virtio --target-arch=x86-64-v2)
  [[ $variant = debug ]] && flags+=(--enable-debug) || flags+=(--with-shared)
  export CFLAGS=-DHAVE_ARC4RANDOM
  run "$variant: configure" ./configure "${flags[@]}"
  run "$variant: preparing" make include/spdk/config.h build_dir
  run "$variant: DPDK" make -j"$jobs" -C dpdkbuild
  run "$variant: libraries" make -j"$jobs" -C lib
  run "$variant: modules" make -j"$jobs" -C module
  [[ $variant = debug ]] && return
  run "$variant: shared library" make -j"$jobs" -C shared_lib
  local app
  for app in app/spdk_tgt app/nvmf_tgt test/bdev/bdevperf test/bdev/bdevio; do
    run "$variant: $app" make -j"$jobs" -C "$app"
  done
}

# What a build against SPDK and a run of its programs need, with the tree's own names.
prune_into() {
  local out=$1 f
  mkdir -p "$out"
  for f in include build/lib build/bin dpdk/build/lib dpdk/build/include mk/config.mk scripts/rpc.py scripts/rpc \
    app/spdk_tgt/spdk_tgt app/nvmf_tgt/nvmf_tgt \
    test/bdev/bdevperf/bdevperf test/bdev/bdevio/bdevio test/bdev/bdevio/tests.py LICENSE; do
    [[ -e $f ]] && cp -aL --parents "$f" "$out"
  done
  # libspdk.so is a linker script in this release: only what is ELF is stripped.
  find "$out" -name 'lib*.so.*' -type f -size +4k -exec strip --strip-debug {} +
  chmod -R u+w "$out"
}

build() {
  local variant want=()
  for variant in "$@"; do
    case $variant in release | debug) ;; *) echo "spdk: unknown variant '$variant' (release, debug)" >&2; exit 2 ;; esac
    [[ -d $base/$variant ]] || want+=("$variant")
  done
  [[ ${#want[@]} -gt 0 ]] || return 0
  mkdir -p "$base"
  exec 9>"$base/lock"
  flock -n 9 || { say "waiting for another build in $base"; flock 9; }
  log=$base/build.log
  : >"$log"
  say "SPDK 20.07 (${want[*]}) into $base; a few minutes, once"
  rm -rf "$base"/work.*
  work=$(mktemp -d "$base/work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  cd "$work"
  fetch_source
  for variant in "${want[@]}"; do
    [[ -d $base/$variant ]] && continue # another process built it while this one waited
    cp -a spdk "build-$variant"
    (cd "build-$variant" && compile "$variant" && prune_into "$work/out-$variant")
    mv "out-$variant" "$base/$variant"
    rm -rf "build-$variant"
  done
  say "done"
}

case ${1:-} in
  build) shift && build "$@" ;;
  path) echo "$base/${2:?variant}" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$recipe" >&2; exit 2 ;;
esac
