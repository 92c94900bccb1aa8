//! A leg that comes back is given what it lacks.

use crate::bench::{IN, REGION, STALE, Setup, leg, slot};
use mirror_engine::format::{LogType, MapKind};
use mirror_engine::*;
use std::collections::BTreeSet;

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

/// Once showed: a search for what to copy next looked at so many regions and no more, and where the first of them could not
/// be copied it never came to the others.
#[test]
fn a_resync_gets_past_regions_that_may_not_be_copied() {
    let is_copy_read = |_: &Device, io: &Io| matches!(io, Io::CopyRead { .. });
    // The first ones are suspect and cannot be read; more than are looked at in one go.
    let setup = Setup { regions: 1510, legs: &[IN, IN, STALE], dirty: 1500, hold: is_copy_read, ..Setup::default() };
    let mut bench = setup.start();
    bench.admit(2);
    let mut read = BTreeSet::new();
    for _ in 0..5 {
        while let Some((op, device, io)) = bench.ops.pop_front() {
            let Io::CopyRead { block, .. } = io else { panic!("{io:?} on {device:?}") };
            let region = (block - bench.data_offset) / REGION;
            read.insert(region);
            bench.owner.done(op, if region < 1500 { Err(Fault::Failed) } else { Ok(()) });
            bench.run();
        }
        bench.tick(100);
    }
    assert_eq!(bench.state(1499), RegionState::Unread);
    assert_eq!(read.range(1500..).count(), 10);
    // Now they can be read.
    bench.hold = |_, _| false;
    bench.wait(2000);
    assert!(bench.events.contains(&Event::LegInSync { slot: slot(2) }));
}

/// A first write is on its way when a leg comes back: of a million regions that one alone is filled on the leg, or copied
/// to it.
#[test]
fn a_leg_is_not_given_what_was_never_written() {
    let setup = Setup { regions: 1 << 20, written: false, legs: &[IN, IN, STALE], ..Setup::default() };
    let mut bench = setup.start();
    bench.hold = |_, io| matches!(io, Io::Zero { .. });
    let write = bench.send(0, Op::Write, 8, 1);
    bench.admit(2);
    assert!(bench.events.contains(&Event::ResyncStarted { slot: slot(2), regions: 1 }), "{:?}", bench.events);
    bench.hold = |_, _| false;
    bench.run();
    assert_eq!(bench.slots_of(write), [0, 1, 2]);
    (0..3).for_each(|slot| bench.end_child(write, slot, Ok(())));
    assert_eq!(bench.outcome(write), Some(Outcome::GOOD));
    bench.tick(100);
    assert!(bench.events.contains(&Event::LegInSync { slot: slot(2) }));
}

/// Once showed: how far a resync is was recorded by writing the whole map, again and again.
#[test]
fn progress_is_written_to_the_units_that_differ() {
    let setup = Setup { regions: 10_000, log: LogType::Internal, legs: &[IN, IN, STALE], ..Setup::default() };
    let geometry = setup.geometry();
    assert_eq!(geometry.units_per_map(), 3);
    let mut bench = setup.start();
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.admit(2);
    // The first regions are copied; what is read after them stays under way.
    for _ in 0..MAX_WINDOWS {
        let (op, _, io) = bench.ops.pop_front().unwrap();
        assert!(matches!(io, Io::CopyRead { .. }));
        bench.owner.done(op, Ok(()));
        bench.run();
    }
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. } | Io::Write { .. });
    bench.tick(100);
    let written = bench.ops.iter().filter_map(|(_, device, io)| match io {
        Io::Write { block, .. } => Some((*device, *block)),
        _ => None,
    });
    let unit = geometry.unit_block(MapKind::OutOfSync(slot(2)), 0);
    assert_eq!(written.collect::<Vec<_>>(), [(leg(0), unit), (leg(1), unit)]);
}

/// Once showed: a write that waited for a chunk which was being copied waited for a tick when the copy had gone on to the
/// next one.
#[test]
fn a_write_waits_for_its_chunk_alone() {
    let mut setup = Setup { regions: 1, legs: &[IN, STALE], ..Setup::default() };
    // Two blocks.
    setup.options.pacer.resync_chunk_kb = 1;
    let mut bench = setup.start();
    bench.complete(0, Op::Write, 6, 1);
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.admit(1);
    let write = bench.send(0, Op::Write, 1, 1);
    assert_eq!(bench.slots_of(write).len(), 0, "its chunk is copied");
    bench.end_op(|_, io| matches!(io, Io::CopyRead { .. }), Ok(()));
    assert_eq!(bench.count_ops(|_, io| matches!(io, Io::CopyRead { .. })), 1, "the next chunk");
    assert_eq!(bench.slots_of(write), [0, 1]);
}
