//! Regions whose copies may differ, and that cannot be reconciled at once.

use crate::bench::{Bench, Setup, slot};
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

/// A write to the first block of a region that all legs took and the host aborted.
fn suspect(bench: &mut Bench, region: u64) {
    let write = bench.send(0, Op::Write, region * 8, 1);
    bench.abort(write);
    for slot in bench.slots_of(write) {
        bench.end_child(write, slot, Err(Fault::Aborted));
    }
}

/// Once showed: a read that waited, and had to keep to one leg when it was looked at before, kept to it when that leg was
/// gone and there was nothing to look at any more. It failed, although another leg could serve it.
#[test]
fn a_read_that_waited_is_looked_at_afresh() {
    let mut bench = unread();
    let source = bench.shared.source().lowest().unwrap();
    suspect(&mut bench, 1);
    // From the last block of the first region to the first of the second.
    let read = bench.send(0, Op::Read, 7, 2);
    assert!(bench.slots_of(read).is_empty(), "it waits");
    bench.hold = |_, _| false;
    // The channel hears of nothing before all is done.
    bench.owner.leg_gone(source);
    for (op, ..) in std::mem::take(&mut bench.ops) {
        bench.owner.done(op, Ok(()));
    }
    for _ in 0..100 {
        while let Some(action) = bench.owner.next_action() {
            match action {
                Action::Io { op, .. } => bench.owner.done(op, Ok(())),
                Action::Pass(pass) => bench.sweep(pass),
                Action::Event(event) => bench.events.push(event),
                _ => {}
            }
        }
        if bench.events.contains(&Event::Reconciled) {
            break;
        }
        bench.now_ms += 100;
        bench.owner.tick(bench.now_ms);
    }
    assert!(bench.events.contains(&Event::Reconciled));
    bench.wait(300);
    assert_eq!((bench.outcome(read), bench.slots_of(read).len()), (None, 1));
}

/// Once showed: such a read failed in the moment between the loss of the leg that it had to keep to and the choice of another.
#[test]
fn a_read_waits_while_another_source_is_chosen() {
    let mut bench = unread();
    bench.shared.set_source(LegMask::NONE);
    let read = bench.send(0, Op::Read, 0, 1);
    assert_eq!(bench.outcome(read), None);
}

/// Once showed: a stop waited for ever for a block that no leg could read, also for a repair of the leg that it was read from.
#[test]
fn a_stop_does_not_wait_for_what_no_leg_reads() {
    for with_repair in [false, true] {
        let mut bench = unread();
        let source = bench.shared.source().lowest().unwrap();
        if with_repair {
            bench.shared.send(Report::ReadBad { channel: 0, slot: source, block: 16, blocks: 1 });
        }
        bench.owner.stop();
        for _ in 0..50 {
            bench.wait(100);
            end_copy_reads(&mut bench, Err(Fault::Failed));
        }
        assert_eq!(bench.stopped, Some(false), "with a repair: {with_repair}");
    }
}

/// Once showed: a repair of the leg that suspect regions are read from was dropped when its turn came, and as long as it could
/// not be done no other was.
#[test]
fn a_repair_that_cannot_be_done_yet_is_kept_and_holds_up_no_other() {
    let mut bench = unread();
    let source = bench.shared.source().lowest().unwrap();
    let other = slot(1 - source.index());
    bench.shared.send(Report::ReadBad { channel: 0, slot: source, block: 16, blocks: 1 });
    bench.shared.send(Report::ReadBad { channel: 0, slot: other, block: 24, blocks: 1 });
    bench.run();
    for _ in 0..30 {
        bench.wait(100);
        end_copy_reads(&mut bench, Err(Fault::Failed));
    }
    assert!(bench.events.contains(&Event::Repaired { slot: other, block: 24, blocks: 1 }), "{:?}", bench.events);
    bench.hold = |_, _| false;
    bench.wait(3000);
    assert!(bench.events.contains(&Event::Repaired { slot: source, block: 16, blocks: 1 }), "{:?}", bench.events);
}
