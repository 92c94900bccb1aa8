//! Regions whose copies may differ, and that cannot be reconciled at once.

use crate::bench::{Bench, Setup};
use mirror_engine::*;
use std::collections::BTreeSet;

fn is_copy_read(_: &Device, io: &Io) -> bool {
    matches!(io, Io::CopyRead { .. })
}

/// Ends all reads of copies, and what they lead to; those that begin with the mirror's first block end as given. How many
/// there were.
fn end_copy_reads(bench: &mut Bench, first_block: Result<(), Fault>) -> u32 {
    let mut reads = 0;
    while let Some((op, _, io)) = bench.op(is_copy_read) {
        let is_first = matches!(io, Io::CopyRead { block, .. } if block == bench.data_offset);
        bench.end_op(|_, other| *other == io, if is_first { first_block } else { Ok(()) });
        assert!(bench.ops.iter().all(|other| other.0 != op));
        reads += 1;
        assert!(reads < 1000, "it goes on for ever");
    }
    reads
}

/// A mirror whose region 0 is suspect, and whose first block no leg could read.
fn unread() -> Bench {
    let mut bench = Setup::default().start();
    bench.hold = is_copy_read;
    bench.suspect();
    end_copy_reads(&mut bench, Err(Fault::Failed));
    bench
}

/// Once showed: blocks that no leg could read were left out of the copy, and the region was called reconciled: each leg
/// went on with its own content of the block.
#[test]
fn a_region_with_a_block_that_no_leg_reads_is_not_reconciled() {
    let mut bench = unread();
    assert_eq!(bench.state(0), RegionState::Unread);
    assert!(!bench.events.contains(&Event::Reconciled));
    // Reads keep to one leg, whatever the policy would choose.
    let legs: BTreeSet<usize> = (0..4)
        .flat_map(|_| {
            let read = bench.send(0, Op::Read, 0, 1);
            bench.slots_of(read)
        })
        .collect();
    assert_eq!(legs.len(), 1);
}

/// Once showed: a region that no leg could read was tried again without a rest, or never.
#[test]
fn a_region_that_no_leg_reads_is_tried_again_now_and_then() {
    let mut bench = unread();
    let once = end_copy_reads(&mut bench, Err(Fault::Failed));
    assert_eq!(once, 0, "it rests");
    let mut tries = 0;
    for _ in 0..50 {
        bench.wait(100);
        tries += u32::from(end_copy_reads(&mut bench, Err(Fault::Failed)) > 0);
    }
    assert!((3..=6).contains(&tries), "{tries} tries in five seconds");
    // The block can be read again.
    bench.hold = |_, _| false;
    bench.wait(2000);
    assert!(bench.events.contains(&Event::Reconciled));
    assert_eq!(bench.state(0), RegionState::Clean);
}

/// Once showed: a read that waited for a suspect region asked for it again with each answer, and owner and channel kept
/// each other busy until the copy was done.
#[test]
fn waiting_for_a_suspect_region_keeps_nobody_busy() {
    let mut bench = Setup::default().start();
    bench.hold = is_copy_read;
    bench.suspect();
    let before = (bench.reports, bench.wakes);
    let read = bench.send(0, Op::Read, 0, 1);
    assert_eq!((bench.outcome(read), bench.slots_of(read).len()), (None, 0), "it waits");
    let (reports, wakes) = (bench.reports - before.0, bench.wakes - before.1);
    assert!(reports <= 2 && wakes <= 3, "{reports} reports, {wakes} wake-ups");
    bench.hold = |_, _| false;
    bench.run();
    assert_eq!(bench.slots_of(read).len(), 1, "it goes on by itself");
}
