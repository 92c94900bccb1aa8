# make demo    a mirror of two files takes a verified load over NVMe/TCP (as root: hugepages)
# make test    everything that is tested; the last line is the sum
#
# make build   target/out/libbdev_mirror.so and target/out/spdk_tgt; make build-asan: spdk_tgt-asan as well
# make sim     the engine on simulated disks: SEEDS=n histories from SEED=s on; make sim-mutants: whether it sees mistakes
# make fuzz    what is read from the legs, SECONDS_EACH=n; make loom: the engine's shared words in every order of threads
# make bench   what an I/O costs beside SPDK's passthru and raid1
# make spdk    only finds or builds SPDK; make deps: only the Debian packages; make lint; make test-full; make clean
#
# SPDK_DIR=/path/to/built/spdk selects an SPDK; else pkg-config is asked (enough for make build); else SPDK 20.07 is
# built once into a cache.

SHELL := /bin/bash
export SPDK_DIR

.PHONY: help demo test test-full build build-asan spdk deps lint sim sim-mutants fuzz loom bench clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo:
	@test/demo.sh

# As .ci/run: lint, unit tests, end-to-end tests on real SPDK, the guard for speed.
test:
	@test/run.sh

# The same with longer loads, more cycles and a longer fuzz.
test-full:
	@MIRROR_TEST_FULL=1 test/run.sh

# target/out: libbdev_mirror.so (to preload into a stock SPDK), spdk_tgt (SPDK's target with the mirror in it).
build: deps spdk
	@test/build.sh module target

# target/out/spdk_tgt-asan: the same with AddressSanitizer.
build-asan: deps spdk
	@test/build.sh asan

# Finds or builds SPDK, and says which it is.
spdk: deps
	@test/spdk.sh release

# The Debian packages: installed as root, else named.
deps:
	@test/deps.sh

lint: deps spdk
	@test/lint.sh

# SEEDS=n histories of the engine on simulated disks, from SEED=s on; then small mirrors in every order of events.
SEEDS ?= 20000
SEED ?= 1
sim: deps
	@test/sim.sh run --seeds $(SEEDS) --seed $(SEED)
	@test/sim.sh exhaustive

# Whether the simulator sees each of the engine's planted mistakes.
sim-mutants: deps
	@test/sim.sh mutants

SECONDS_EACH ?= 600
fuzz: deps
	@test/fuzz.sh $(SECONDS_EACH)

loom: deps
	@test/loom.sh

# Instructions, cycles and IOPS against the bare child, passthru and raid1: a table and target/bench/results.json.
bench: deps spdk
	@test/build.sh module target tools
	@source test/env.sh && exec target/tools/debug/mirror_bench

clean:
	rm -rf target
