#!/usr/bin/env bash
# The Debian packages of spdk-sys/recipe/debian-packages.txt, and Rust. Installs only what is missing, and only as root.
set -euo pipefail
cd "$(dirname "$0")/.."

rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null && [[ ! -x ${HOME:-/root}/.cargo/bin/cargo ]]; then
  echo "Rust is missing: install $rust or later with rustup, then try again" >&2
  exit 1
fi
PATH=$PATH:${HOME:-/root}/.cargo/bin
found=$(cargo --version | awk '{print $2}')
if ! printf '%s\n' "$rust" "$found" | sort -CV; then
  echo "Rust $found is too old: $rust or later is needed (Debian's own is older; use rustup), then try again" >&2
  exit 1
fi

list=spdk-sys/recipe/debian-packages.txt
if ! command -v dpkg-query >/dev/null; then
  echo "deps: this is not Debian; its packages would be: $(tr '\n' ' ' <$list)" >&2
  exit 0
fi

missing=()
while read -r package; do
  [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *' installed' ]] || missing+=("$package")
done <$list
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]]; then
  echo "These Debian packages are missing. Install them, then try again:" >&2
  echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "deps: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "${missing[@]}" >>"$log" 2>&1; }
# The package lists of a fresh machine are empty or old.
if ! { apt-get -q update >>"$log" 2>&1; install; }; then
  tail -n 20 "$log" >&2
  echo "deps: apt-get could not install: ${missing[*]}" >&2
  exit 1
fi
