//! A leg that goes out and comes back: what belongs to its former life is nothing to the new one.

use crate::bench::{Bench, IN, STALE, Setup, leg, slot};
use mirror_engine::format::LogType;
use mirror_engine::*;

fn is_failed(bench: &Bench, index: usize) -> bool {
    let out = |event: &&Event| matches!(event, Event::LegFailed { slot, .. } if slot.index() == index);
    // It was removed once, by the case.
    bench.events.iter().filter(out).count() > 1
}

fn is_in_sync(bench: &Bench, index: usize) -> bool {
    bench.shared.legs.load().readable().contains(slot(index))
}

/// Once showed: a flush failed on a leg, which then went and came back; when the flush ended on the other leg, the one
/// that had come back was blamed and failed.
#[test]
fn a_leg_is_not_blamed_for_its_former_life() {
    for op in [Op::Flush, Op::Write] {
        let mut bench = Setup::default().start();
        let io = bench.send(0, op, 0, 1);
        bench.end_child(io, 1, Err(Fault::Failed));
        bench.owner.leg_gone(slot(1));
        bench.run();
        bench.admit(1);
        bench.wait(500);
        bench.end_child(io, 0, Ok(()));
        bench.wait(1000);
        assert_eq!(bench.outcome(io), Some(Outcome::GOOD), "{op:?}");
        assert!(!is_failed(&bench, 1) && is_in_sync(&bench, 1), "{op:?}: {:?}", bench.events);
    }
}

/// As above, with the report that blames the leg in the queue while it goes and comes back: the owner was to take it before
/// the new life begins.
#[test]
fn blame_that_is_still_queued_is_taken_before_a_new_life() {
    for op in [Op::Flush, Op::Write] {
        let mut bench = Setup::default().start();
        let io = bench.send(0, op, 0, 1);
        bench.hold_reports = true;
        bench.end_child(io, 1, Err(Fault::Failed));
        bench.end_child(io, 0, Ok(()));
        assert_eq!(bench.outcome(io), None, "it waits to be judged");
        bench.owner.leg_gone(slot(1));
        bench.run();
        bench.admit(1);
        bench.hold_reports = false;
        bench.run();
        bench.wait(1000);
        assert_eq!(bench.outcome(io), Some(Outcome::GOOD), "{op:?}");
        assert!(!is_failed(&bench, 1) && is_in_sync(&bench, 1), "{op:?}: {:?}", bench.events);
    }
}

/// Two legs are resynced; what was copied to both waits for the flush of one of them. The other, which was flushed, goes
/// out, misses a write, and comes back: that copy was not to count for it.
#[test]
fn a_copy_of_a_former_life_does_not_count() {
    let mut setup = Setup { regions: 1, legs: &[IN, STALE, STALE], ..Setup::default() };
    // With a cap nothing is copied before the first tick, when both legs are there.
    setup.options.pacer.resync_max_mb_sec = 100;
    let mut bench = setup.start();
    let is_write = |device: &Device, io: &Io| matches!(io, Io::CopyWrite { .. }) && *device == leg(1);
    let is_flush = |device: &Device, io: &Io| *io == Io::Flush && *device == leg(2);
    bench.admit(1);
    bench.admit(2);
    assert_eq!(bench.shared.legs.load().writable(), LegMask::first(3));
    bench.hold = |device, io| *io == Io::Flush && *device == leg(2);
    bench.tick(100);
    assert_eq!(bench.ops.len(), 1, "{:?}", bench.ops);
    assert_eq!(bench.count_ops(is_flush), 1, "{:?}", bench.ops);
    bench.owner.leg_gone(slot(1));
    bench.run();
    let write = bench.complete(0, Op::Write, 0, 1);
    assert_eq!(bench.outcome(write), Some(Outcome::GOOD));
    bench.admit(1);
    bench.hold = |device, io| matches!(io, Io::CopyWrite { .. }) && *device == leg(1);
    bench.wait(1000);
    assert_eq!(bench.count_ops(is_write), 1, "region 0 is copied again, {:?}", bench.events);
    assert!(!is_in_sync(&bench, 1));
    bench.hold = |_, _| false;
    bench.run();
    bench.wait(1000);
    assert!(is_in_sync(&bench, 1) && is_in_sync(&bench, 2));
}

/// Once showed: a leg of another history made a start count on at a fixed distance from it. A second start from the same
/// legs, which knew nothing of the first one's records, gave the same numbers again.
#[test]
fn two_starts_that_meet_the_same_leg_count_on_apart() {
    let foreign = 1 << 50;
    let count_on = |generation| {
        let mut bench = Setup { log: LogType::Internal, legs: &[IN, STALE], generation, ..Setup::default() }.start();
        bench.admit_after(1, foreign);
        bench.owner.head().unwrap().generation
    };
    // As assembly draws them: at a distance that is drawn from the same superblock.
    let (first, second) = (count_on(1_000_017), count_on(9_000_004));
    assert!(first > foreign && second > foreign);
    assert!(first.abs_diff(second) > 1_000_000, "{first} and {second}");
}
