//! The first write to an unwritten region: zeros come first.

use crate::bench::{IN, STALE, Setup, leg};
use mirror_engine::format::LogType;
use mirror_engine::*;

fn is_zero(_: &Device, io: &Io) -> bool {
    matches!(io, Io::Zero { .. })
}

fn is_flush_of_1(device: &Device, io: &Io) -> bool {
    *device == leg(1) && *io == Io::Flush
}

/// Once showed: a write that waited for its region to be zeroed asked for it again with each answer.
#[test]
fn waiting_for_a_fill_keeps_nobody_busy() {
    let mut bench = Setup { written: false, ..Setup::default() }.start();
    bench.hold = is_zero;
    let before = (bench.reports, bench.wakes);
    let write = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.slots_of(write).len(), 0, "it waits");
    let (reports, wakes) = (bench.reports - before.0, bench.wakes - before.1);
    assert!(reports <= 2 && wakes <= 3, "{reports} reports, {wakes} wake-ups");
    bench.hold = |_, _| false;
    bench.run();
    assert_eq!(bench.slots_of(write), [0, 1], "it goes on by itself");
}

/// Once showed: a fill that failed on the last leg in sync was begun anew with its zeros still in flight on another leg.
/// These ended as part of the second fill, the region was opened, and its own zeros landed on the host's write.
#[test]
fn a_region_is_filled_by_one_fill_at_a_time() {
    let mut bench = Setup { written: false, legs: &[IN, STALE], ..Setup::default() }.start();
    bench.hold = |device, io| is_flush_of_1(device, io) || is_zero(device, io);
    bench.admit(1);
    // That before its first record. Then leg 1 is written, and not in sync yet, since the flush of its maps hangs.
    bench.end_op(is_flush_of_1, Ok(()));
    assert_eq!(bench.count_ops(is_flush_of_1), 1);
    let first = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.count_ops(is_zero), 2);
    bench.end_op(|device, io| is_zero(device, io) && *device == leg(0), Err(Fault::Failed));
    assert_eq!(bench.outcome(first), Some(Outcome::Failed(Failure::NoRecord)));
    bench.tick(100);
    let second = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.count_ops(is_zero), 1, "that of the first fill");
    bench.end_op(is_zero, Ok(()));
    assert_eq!(bench.count_ops(|device, io| is_zero(device, io) && *device == leg(0)), 1, "the second fill");
    while bench.count_ops(is_zero) > 0 {
        assert_eq!(bench.slots_of(second).len(), 0, "no write is sent while zeros may land on it");
        bench.end_op(is_zero, Ok(()));
        if bench.count_ops(is_zero) == 0 {
            // The fill is flushed; what else leg 1 was to flush is flushed as well.
            bench.hold = is_zero;
            bench.run();
        }
    }
    assert_eq!(bench.slots_of(second), [0, 1]);
    assert_eq!(bench.state(0), RegionState::Dirty);
}

/// Once showed: the zeros, the flush, the mark and the write each waited for a tick.
#[test]
fn a_first_write_waits_for_no_tick() {
    for log in [LogType::Core, LogType::Internal] {
        let mut bench = Setup { written: false, log, ..Setup::default() }.start();
        let write = bench.complete(0, Op::Write, 8, 1);
        assert_eq!(bench.outcome(write), Some(Outcome::GOOD), "{log:?}");
    }
}
