//! Streams of writes, and the regions that are marked ahead of them.

use crate::bench::{Bench, REGION, Setup};
use mirror_engine::format::LogType;
use mirror_engine::*;

const HALF: u64 = REGION / 2;

/// A mirror of clean regions, or of unwritten ones.
fn streaming(mark_ahead_regions: u32, written: bool) -> Bench {
    Setup { regions: 16, mark_ahead_regions, written, log: LogType::Internal, ..Setup::default() }.start()
}

/// One write of half a region; whether it had to wait.
fn write_parks(bench: &mut Bench, half: u64) -> bool {
    let write = bench.submit(0, Op::Write, half * HALF, HALF as u32);
    let parks = bench.slots_of(write).is_empty();
    bench.run();
    for slot in [0, 1] {
        bench.end_child(write, slot, Ok(()));
    }
    assert_eq!(bench.outcome(write), Some(Outcome::GOOD));
    parks
}

/// The writes of a stream over the whole mirror that had to wait.
fn parked(bench: &mut Bench) -> Vec<u64> {
    (0..32).filter(|&half| write_parks(bench, half)).collect()
}

#[test]
fn after_its_third_write_a_stream_waits_for_no_mark() {
    for written in [true, false] {
        assert_eq!(parked(&mut streaming(2, written)), [0, 2]);
        // The counterpart, so that the line above does not pass because nothing ever waits.
        assert_eq!(parked(&mut streaming(0, written)), Vec::from_iter((0..32).step_by(2)));
    }
}

#[test]
fn a_mark_ahead_that_is_lost_costs_time_alone() {
    let mut bench = streaming(2, true);
    // Region 1 is dirty before the stream gets there.
    assert!(write_parks(&mut bench, 3));
    assert!(write_parks(&mut bench, 0));
    assert!(!write_parks(&mut bench, 1));
    bench.hold_reports = true;
    while bench.shared.send(Report::Wake { channel: 0 }).is_some() {}
    // The third write in a row: its mark ahead does not fit the queue.
    assert!(!write_parks(&mut bench, 2));
    bench.hold_reports = false;
    bench.run();
    assert!([2, 3].iter().all(|&region| bench.state(region) == RegionState::Clean));
    let parked: Vec<u64> = (3..32).filter(|&half| write_parks(&mut bench, half)).collect();
    assert_eq!(parked, [4, 6], "the regions that were not marked, and no later ones");
}
