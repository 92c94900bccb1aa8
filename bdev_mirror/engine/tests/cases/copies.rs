//! Copies, step by step: which leg is read, which is written, and what follows.

use crate::bench::{Bench, IN, STALE, Setup, slot};
use mirror_engine::format::LogType;
use mirror_engine::*;

/// A part of a copy: the slot; read, written, verified or zeroed; the mirror's first block, and how many.
type Step = (usize, char, u64, u32);

fn is_copy(_: &Device, io: &Io) -> bool {
    !matches!(io, Io::Write { .. } | Io::Flush)
}

fn is_copy_or_flush(device: &Device, io: &Io) -> bool {
    is_copy(device, io) || *io == Io::Flush
}

/// Superblocks take several blocks, units of maps one.
fn is_record(_: &Device, io: &Io) -> bool {
    matches!(io, Io::Write { data, .. } if data.len() > 512)
}

fn step_of(bench: &Bench, device: &Device, io: &Io) -> Option<Step> {
    let Device::Leg(slot) = device else { return None };
    let (what, block, blocks) = match *io {
        Io::CopyRead { block, blocks, .. } => ('r', block, blocks),
        Io::CopyWrite { block, blocks, .. } => ('w', block, blocks),
        Io::Verify { block, blocks, .. } => ('v', block, blocks),
        Io::Zero { block, blocks } => ('z', block, blocks),
        Io::Write { .. } | Io::Flush => return None,
    };
    Some((slot.index(), what, block - bench.data_offset, blocks))
}

/// The copies' I/O in flight.
fn steps(bench: &Bench) -> Vec<Step> {
    bench.ops.iter().filter_map(|(_, device, io)| step_of(bench, device, io)).collect()
}

/// Ends one of them.
fn end(bench: &mut Bench, step: Step, result: Result<(), Fault>) {
    let ops: Vec<_> = bench.ops.iter().cloned().collect();
    let (op, ..) = ops.into_iter().find(|(_, device, io)| step_of(bench, device, io) == Some(step)).expect("in flight");
    bench.ops.retain(|other| other.0 != op);
    bench.owner.done(op, result);
    bench.run();
}

/// Ends all of them, and those that follow; all that there were.
fn play(bench: &mut Bench, fails: impl Fn(Step) -> bool) -> Vec<Step> {
    let mut all = Vec::new();
    while let Some(&step) = steps(bench).first() {
        assert!(all.len() < 1000, "it goes on for ever");
        all.push(step);
        end(bench, step, if fails(step) { Err(Fault::Failed) } else { Ok(()) });
    }
    all
}

fn has(step: Step, block: u64) -> bool {
    (step.2..step.2 + u64::from(step.3)).contains(&block)
}

/// A read of the host that this leg, and no other, cannot serve.
fn read_badly(bench: &mut Bench, index: usize, block: u64, blocks: u32) {
    for _ in 0..8 {
        let read = bench.send(0, Op::Read, block, blocks);
        let is_there = bench.slots_of(read) == [index];
        while let Some(&on) = bench.slots_of(read).first() {
            bench.end_child(read, on, if on == index { Err(Fault::Failed) } else { Ok(()) });
        }
        if is_there {
            return;
        }
    }
    panic!("no read comes to leg {index}");
}

/// Chunks of two blocks.
fn small_chunks() -> Options {
    let mut options = Setup::default().options;
    options.pacer.resync_chunk_kb = 1;
    options
}

#[test]
fn a_leg_stands_in_for_the_source_for_a_chunk_and_no_longer() {
    let mut bench = Setup { options: small_chunks(), hold: is_copy, ..Setup::default() }.start();
    bench.suspect();
    let all = play(&mut bench, |step| step == (1, 'r', 0, 2));
    let mut expected = vec![(1, 'r', 0, 2), (0, 'r', 0, 2), (1, 'w', 0, 2)];
    expected.extend([2, 4, 6].into_iter().flat_map(|block| [(1, 'r', block, 2), (0, 'w', block, 2)]));
    assert_eq!(all, expected);
    assert!(bench.events.contains(&Event::Reconciled));
}

#[test]
fn a_block_that_no_leg_reads_is_left_out_alone_and_forgotten_with_the_last_other_leg() {
    let mut bench = start_flushed(Setup { hold: is_copy_or_flush, ..Setup::default() });
    bench.suspect();
    let all = play(&mut bench, |step| step.1 == 'r' && has(step, 3));
    let mut expected = vec![(1, 'r', 0, 8), (0, 'r', 0, 8)];
    expected.extend((0..3).flat_map(|block| [(0, 'r', block, 1), (1, 'w', block, 1)]));
    expected.extend([(0, 'r', 3, 1), (1, 'r', 3, 1)]);
    expected.extend((4..8).flat_map(|block| [(1, 'r', block, 1), (0, 'w', block, 1)]));
    assert_eq!(all, expected);
    // Before the copy is flushed the other leg is out: there is nothing left to differ from.
    assert!(bench.owner.take_leg_out(slot(0)));
    bench.run();
    bench.hold = is_copy;
    bench.run();
    assert!(bench.events.contains(&Event::Reconciled));
    assert_ne!(bench.state(0), RegionState::Unread);
}

/// The bench with the I/O of its start ended.
fn start_flushed(setup: Setup<'_>) -> Bench {
    let hold = setup.hold;
    let mut bench = Setup { hold: |_, _| false, ..setup }.start();
    bench.hold = hold;
    bench
}

#[test]
fn a_region_that_is_suspected_again_before_its_flush_is_copied_again() {
    let mut bench = start_flushed(Setup { hold: |_, io| *io == Io::Flush, ..Setup::default() });
    bench.suspect();
    let flushes = bench.ops.len();
    assert_eq!(flushes, 2);
    bench.suspect();
    (0..flushes).for_each(|_| bench.end_op(|_, io| *io == Io::Flush, Ok(())));
    assert!(!bench.events.contains(&Event::Reconciled), "the first copy is older than the second write");
    bench.tick(100);
    assert_eq!(bench.count_ops(|_, io| *io == Io::Flush), 2, "it was copied again");
    bench.hold = |_, _| false;
    bench.run();
    assert!(bench.events.contains(&Event::Reconciled));
}

#[test]
fn nothing_is_reconciled_before_the_choice_of_the_source_is_durable() {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    bench.complete(0, Op::Write, 0, 1);
    bench.hold = |device, io| is_record(device, io) || is_copy(device, io);
    bench.suspect();
    assert_eq!((bench.count_ops(is_record), bench.count_ops(is_copy)), (2, 0));
    bench.hold = is_copy;
    bench.run();
    assert_eq!(steps(&bench), [(1, 'r', 0, 8)]);
}

#[test]
fn what_a_resync_copies_of_a_suspect_region_does_not_count() {
    let setup = Setup { legs: &[IN, IN, STALE], options: small_chunks(), hold: is_copy, ..Setup::default() };
    let mut bench = start_flushed(setup);
    bench.admit(2);
    assert_eq!(steps(&bench)[..2], [(0, 'r', 0, 2), (1, 'r', 8, 2)]);
    // Beside the chunk that is shut.
    let write = bench.send(0, Op::Write, 6, 1);
    bench.abort(write);
    bench.slots_of(write).into_iter().for_each(|index| bench.end_child(write, index, Err(Fault::Aborted)));
    end(&mut bench, (0, 'r', 0, 2), Ok(()));
    assert!(steps(&bench).contains(&(1, 'r', 0, 2)), "it is reconciled: {:?}", steps(&bench));
    assert!(!steps(&bench).contains(&(2, 'w', 0, 2)));
    end(&mut bench, (1, 'r', 8, 2), Ok(()));
    assert!(steps(&bench).contains(&(2, 'w', 8, 2)), "the others go on: {:?}", steps(&bench));
}

#[test]
fn a_leg_that_goes_ends_the_copies_from_it_and_no_others() {
    let setup = Setup { legs: &[IN, IN, STALE], hold: is_copy, ..Setup::default() };
    let mut bench = start_flushed(setup);
    bench.admit(2);
    assert_eq!(steps(&bench)[..2], [(0, 'r', 0, 8), (1, 'r', 8, 8)]);
    assert!(bench.owner.take_leg_out(slot(1)));
    bench.run();
    end(&mut bench, (1, 'r', 8, 8), Ok(()));
    end(&mut bench, (0, 'r', 0, 8), Ok(()));
    let now = steps(&bench);
    assert!(now.contains(&(2, 'w', 0, 8)) && !now.contains(&(2, 'w', 8, 8)), "{now:?}");
}

#[test]
fn a_fill_that_the_last_leg_does_not_flush_is_begun_again_a_little_later() {
    let setup = Setup { legs: &[IN], written: false, hold: is_copy_or_flush, ..Setup::default() };
    let mut bench = start_flushed(setup);
    bench.send(0, Op::Write, 0, 1);
    end(&mut bench, (0, 'z', 0, 8), Ok(()));
    bench.end_op(|_, io| *io == Io::Flush, Err(Fault::Failed));
    assert!(bench.events.contains(&Event::LastLegStays { slot: slot(0), why: WhyOut::Flush }));
    assert_eq!(steps(&bench), []);
    bench.tick(99);
    assert_eq!(steps(&bench), []);
    bench.tick(1);
    assert_eq!(steps(&bench), [(0, 'z', 0, 8)]);
}

/// Once showed: a range of which a block was left out was called repaired.
#[test]
fn a_repair_reads_the_other_leg_only_and_says_nothing_of_what_it_left_out() {
    let mut bench = start_flushed(Setup { hold: is_copy, ..Setup::default() });
    read_badly(&mut bench, 1, 16, 3);
    let all = play(&mut bench, |step| step.1 == 'r' && has(step, 17));
    let whole = |block| [(0, 'r', block, 1), (1, 'w', block, 1), (1, 'v', block, 1)];
    let mut expected = vec![(0, 'r', 16, 3)];
    expected.extend(whole(16));
    expected.push((0, 'r', 17, 1));
    expected.extend(whole(18));
    assert_eq!(all, expected);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Repaired { .. })), "{:?}", bench.events);
}

#[test]
fn a_leg_that_does_not_take_a_repair_is_out_as_unreadable() {
    for what in ['w', 'v'] {
        let mut bench = start_flushed(Setup { hold: is_copy, ..Setup::default() });
        read_badly(&mut bench, 1, 16, 1);
        play(&mut bench, |step| step.1 == what);
        assert!(bench.events.contains(&Event::RepairFailed { slot: slot(1), block: 16 }), "{:?}", bench.events);
        assert!(bench.events.contains(&Event::LegFailed { slot: slot(1), why: WhyOut::Unreadable }));
    }
}

#[test]
fn a_region_that_waits_for_its_repair_or_is_in_it_stays_dirty() {
    // The record of the source comes first.
    let mut bench = start_flushed(Setup { log: LogType::Internal, ..Setup::default() });
    bench.hold = |device, io| is_record(device, io) || is_copy(device, io);
    bench.complete(0, Op::Write, 0, 1);
    while bench.state(0) != RegionState::Clean {
        bench.tick(10);
    }
    // The next clearing does not begin at once.
    bench.complete(0, Op::Write, 16, 1);
    bench.complete(0, Op::Write, 24, 1);
    read_badly(&mut bench, 1, 16, 1);
    bench.wait(400);
    assert_eq!((bench.count_ops(is_record), bench.count_ops(is_copy)), (2, 0));
    assert_eq!(bench.state(2), RegionState::Dirty);
    assert_ne!(bench.state(3), RegionState::Dirty, "it has nothing to wait for");
    bench.hold = is_copy;
    bench.run();
    bench.wait(400);
    assert_eq!(steps(&bench), [(0, 'r', 16, 1)]);
    assert_eq!(bench.state(2), RegionState::Dirty);
    assert_eq!(bench.state(3), RegionState::Clean);
}

#[test]
fn a_region_left_out_stays_so_although_a_leg_fails_in_its_copy() {
    let mut bench = start_flushed(Setup { legs: &[IN, IN, IN], hold: is_copy, ..Setup::default() });
    bench.suspect();
    play(&mut bench, |step| (step.1 == 'r' && has(step, 3)) || (step.0 == 0 && step.1 == 'w' && has(step, 5)));
    assert!(bench.events.contains(&Event::LegFailed { slot: slot(0), why: WhyOut::Copy }));
    assert!(!bench.events.contains(&Event::Reconciled));
    assert_eq!(bench.state(0), RegionState::Unread);
}

#[test]
fn nothing_counts_as_reconciled_while_who_is_out_is_not_recorded() {
    let mut bench = start_flushed(Setup { legs: &[IN, IN, IN], log: LogType::Internal, ..Setup::default() });
    bench.hold = is_copy;
    bench.suspect();
    assert_eq!(steps(&bench), [(2, 'r', 0, 8)]);
    bench.hold = |device, io| is_record(device, io) || is_copy(device, io);
    assert!(bench.owner.take_leg_out(slot(0)));
    bench.run();
    play(&mut bench, |_| false);
    assert!(!bench.events.contains(&Event::Reconciled));
    bench.hold = |_, _| false;
    bench.run();
    bench.tick(100);
    assert!(bench.events.contains(&Event::Reconciled));
}

#[test]
fn a_region_that_a_resync_cannot_read_is_said_and_tried_again_after_a_second() {
    let mut bench = start_flushed(Setup { legs: &[IN, STALE], hold: is_copy, ..Setup::default() });
    bench.admit(1);
    play(&mut bench, |step| step.1 == 'r' && has(step, 3));
    let stalled = Event::ResyncStalled { slot: slot(1), regions: 1 };
    bench.wait(900);
    assert!(!bench.events.contains(&stalled));
    assert_eq!(steps(&bench), []);
    bench.wait(200);
    assert!(bench.events.contains(&stalled));
    assert_eq!(steps(&bench), [(0, 'r', 0, 8)]);
    play(&mut bench, |_| false);
    bench.wait(200);
    assert!(bench.events.contains(&Event::LegInSync { slot: slot(1) }));
}

#[test]
fn a_stop_waits_for_the_copies_under_way_and_begins_none() {
    let setup = Setup { regions: 100, legs: &[IN, STALE], hold: is_copy, ..Setup::default() };
    let mut bench = start_flushed(setup);
    bench.admit(1);
    let began = steps(&bench);
    assert!(!began.is_empty() && began.len() < 100);
    bench.owner.stop();
    bench.wait(500);
    assert_eq!(bench.stopped, None);
    let all = play(&mut bench, |_| false);
    assert_eq!(all.iter().filter(|step| step.1 == 'r').count(), began.len());
    bench.wait(500);
    assert_eq!(bench.stopped, Some(true));
}
