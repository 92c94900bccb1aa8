//! Suspending, and the end.

use crate::bench::{Bench, IN, STALE, Setup, leg, slot};
use mirror_engine::format::LogType;
use mirror_engine::*;

/// Once showed: a pass of a suspension that was over answered for the next one, and the mirror called itself suspended
/// with a write under way.
#[test]
fn suspended_is_said_when_nothing_is_under_way() {
    let mut bench = Setup { channels: 2, ..Setup::default() }.start();
    bench.hold_pass = Some(Pass::Drain);
    bench.owner.suspend();
    bench.run();
    bench.owner.resume();
    bench.run();
    let write = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.slots_of(write), [0, 1]);
    bench.owner.suspend();
    bench.hold_pass = None;
    // The pass of the first suspension went by before the write.
    bench.owner.pass_swept(Pass::Drain, 0);
    bench.run();
    assert!(!bench.events.contains(&Event::Suspended));
    bench.end_child(write, 0, Ok(()));
    bench.end_child(write, 1, Ok(()));
    assert!(bench.events.contains(&Event::Suspended));
}

/// Once showed: a report that came behind the end made the owner write to the legs, which others may own by then.
#[test]
fn nothing_is_written_after_the_end() {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    bench.owner.stop();
    bench.wait(1000);
    assert_eq!(bench.stopped, Some(true));
    let late = [
        Report::MarkAhead { channel: 0, first: 0, last: 0 },
        Report::Mark { channel: 0, first: 1, last: 1 },
        Report::ReadBad { channel: 0, slot: slot(1), block: 17, blocks: 1 },
        Report::Bad {
            channel: 0,
            blamed: LegMask::only(slot(1)),
            good: LegMask::only(slot(0)),
            unblamed: false,
            regions: Some((0, 0)),
        },
        Report::Hung { channel: 0, legs: LegMask::only(slot(1)) },
    ];
    bench.hold = |_, _| true;
    for report in late {
        bench.shared.send(report);
        bench.wait(200);
        assert!(bench.ops.is_empty(), "{:?} after {report:?}", bench.ops);
    }
}

/// A mirror of two legs that stops; the record that says so is on its way.
fn last_record_on_its_way() -> Bench {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    let write = bench.complete(0, Op::Write, 0, 1);
    assert_eq!(bench.outcome(write), Some(Outcome::GOOD));
    bench.owner.stop();
    bench.hold = is_superblock;
    bench.wait(1000);
    assert_eq!((bench.stopped, bench.ops.len()), (None, 2));
    bench
}

/// Both copies of it stand before all maps.
fn is_superblock(_: &Device, io: &Io) -> bool {
    matches!(io, Io::Write { block, .. } if *block < 256)
}

fn is_of(index: usize) -> impl Fn(&Device, &Io) -> bool {
    move |device, _| *device == leg(index)
}

/// Once showed: another record said that a leg had not taken the last one. Whoever had read that on the other leg took the
/// owner for gone and was writing by then.
#[test]
fn nothing_is_written_after_the_record_that_says_stopped() {
    let mut bench = last_record_on_its_way();
    bench.end_op(is_of(0), Ok(()));
    assert_eq!(bench.stopped, None);
    bench.end_op(is_of(1), Err(Fault::Failed));
    assert!(bench.ops.is_empty(), "{:?}", bench.ops);
    assert_eq!(bench.stopped, Some(true));
}

#[test]
fn a_stop_that_no_leg_took_is_not_clean() {
    let mut bench = last_record_on_its_way();
    bench.end_op(is_of(0), Err(Fault::Failed));
    bench.end_op(is_of(1), Err(Fault::Failed));
    assert!(bench.ops.is_empty(), "{:?}", bench.ops);
    assert_eq!(bench.stopped, Some(false));
}

/// Once showed: a write that had asked for its region before the stop got it filled with zeros after the record that says
/// stopped. Who started next had written there by then.
#[test]
fn no_region_is_filled_after_the_record_that_says_stopped() {
    let mut bench = Setup { written: false, log: LogType::Internal, ..Setup::default() }.start();
    bench.hold_reports = true;
    let write = bench.submit(0, Op::Write, 0, 1);
    bench.hold = is_superblock;
    bench.owner.stop();
    bench.run();
    assert_eq!((bench.count_ops(is_superblock), bench.ops.len()), (2, 2));
    bench.hold = |_, _| true;
    bench.hold_reports = false;
    bench.wait(500);
    assert_eq!(bench.ops.len(), 2, "{:?}", bench.ops);
    bench.hold = |_, _| false;
    bench.run();
    assert_eq!(bench.stopped, Some(true));
    assert_eq!(bench.outcome(write), Some(Outcome::Failed(Failure::Offline)));
}

/// Once showed: the record of the leg that failed followed it.
#[test]
fn a_suspension_does_not_keep_a_stop_from_ending() {
    let mut bench = last_record_on_its_way();
    bench.hold_pass = Some(Pass::Drain);
    bench.owner.suspend();
    bench.run();
    bench.end_op(is_of(0), Ok(()));
    bench.end_op(is_of(1), Err(Fault::Failed));
    assert!(bench.ops.is_empty(), "{:?}", bench.ops);
    assert_eq!(bench.stopped, Some(true));
}

/// Once showed: its own superblock was sent to it after all legs in sync had the record that says stopped.
#[test]
fn a_leg_on_its_way_in_gets_no_record_that_says_stopped() {
    let mut bench = Setup { log: LogType::Internal, legs: &[IN, STALE], ..Setup::default() }.start();
    bench.admit(1);
    bench.hold = is_superblock;
    bench.owner.stop();
    bench.wait(1000);
    while bench.stopped.is_none() {
        let last = bench.op(is_superblock).expect("a stop is under way");
        assert_eq!(last.1, leg(0), "{:?}", bench.ops);
        bench.end_op(is_superblock, Ok(()));
    }
    assert!(bench.ops.is_empty(), "{:?}", bench.ops);
}
