//! What an operator is told of a mirror while legs go, come back, and differ.

use crate::bench::{IN, STALE, Setup, slot};
use mirror_engine::health::Health;
use mirror_engine::*;

#[test]
fn a_mirror_is_optimal_again_when_its_leg_is_in_sync() {
    let mut bench = Setup { legs: &[IN, IN, IN], ..Setup::default() }.start();
    assert_eq!(bench.owner.health(), Health::Optimal);
    bench.owner.leg_gone(slot(2));
    bench.run();
    assert_eq!(bench.owner.health(), Health::Degraded);
    bench.admit(2);
    bench.wait(500);
    assert_eq!(bench.owner.health(), Health::Optimal);
    for index in [1, 2] {
        bench.owner.leg_gone(slot(index));
    }
    bench.run();
    assert_eq!(bench.owner.health(), Health::Degraded);
    bench.owner.leg_gone(slot(0));
    bench.run();
    assert_eq!(bench.owner.health(), Health::Failing);
}

#[test]
fn a_mirror_is_degraded_until_its_stale_leg_was_resynced() {
    let mut bench = Setup { legs: &[IN, IN, STALE], ..Setup::default() }.start();
    assert_eq!(bench.owner.health(), Health::Degraded);
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.admit(2);
    assert!(bench.count_ops(|_, io| matches!(io, Io::CopyRead { .. })) > 0);
    assert_eq!(bench.owner.health(), Health::Degraded);
    bench.hold = |_, _| false;
    bench.wait(1000);
    assert_eq!(bench.owner.health(), Health::Optimal);
}

#[test]
fn a_mirror_is_inconsistent_until_what_is_suspect_is_reconciled() {
    let mut bench = Setup::default().start();
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.suspect();
    assert_eq!(bench.owner.health(), Health::Inconsistent);
    bench.hold = |_, _| false;
    bench.wait(500);
    assert_eq!(bench.owner.health(), Health::Optimal);
    bench.owner.stop();
    bench.wait(500);
    assert_eq!((bench.stopped, bench.owner.health()), (Some(true), Health::Failing));
}
