//! A leg that comes back is given what it lacks.

use crate::bench::{IN, STALE, Setup, slot};
use mirror_engine::*;

/// Once showed: with a cap on its rate a resync never copied anything.
#[test]
fn a_resync_with_a_cap_ends() {
    for resync_max_mb_sec in [0, 1, 100] {
        let mut setup = Setup { legs: &[IN, STALE], ..Setup::default() };
        setup.options.pacer.resync_max_mb_sec = resync_max_mb_sec;
        let mut bench = setup.start();
        bench.admit(1);
        bench.wait(10_000);
        assert!(bench.events.contains(&Event::LegInSync { slot: slot(1) }), "cap of {resync_max_mb_sec} MB/s");
    }
}
