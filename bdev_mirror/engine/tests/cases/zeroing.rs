//! Regions that were zeroed whole, and count as unwritten once that is durable.

use crate::bench::{Setup, Table, slot};
use crate::interrupted::Interrupted;
use mirror_engine::*;
use std::cell::{Cell, RefCell};

/// Once showed: a zeroing that waited for a leg which was out marked its region as zeroed although a write had passed it,
/// and the region became unwritten: the write read as zeros.
#[test]
fn zeroing_that_was_overtaken_says_nothing_of_its_region() {
    for late in [Ok(()), Err(Fault::Failed)] {
        let mut bench = Setup::default().start();
        let zeroing = bench.send(0, Op::WriteZeroes, 0, 8);
        bench.end_child(zeroing, 0, Ok(()));
        // Its other leg hangs, goes out, and is passed by a write.
        assert!(bench.owner.take_leg_out(slot(1)));
        bench.run();
        let write = bench.complete(0, Op::Write, 2, 1);
        assert_eq!(bench.outcome(write), Some(Outcome::GOOD));
        bench.end_child(zeroing, 1, late);
        assert_eq!(bench.outcome(zeroing), Some(Outcome::GOOD));
        bench.wait(1000);
        assert_eq!(bench.state(0), RegionState::Clean);
        let read = bench.send(0, Op::Read, 2, 1);
        assert_eq!(bench.slots_of(read), [0], "a leg is asked");
    }
}

/// The counterpart, so that the case above does not pass because nothing is ever zeroed.
#[test]
fn a_region_that_was_zeroed_whole_becomes_unwritten() {
    let mut bench = Setup::default().start();
    let zeroing = bench.complete(0, Op::WriteZeroes, 0, 8);
    assert_eq!(bench.outcome(zeroing), Some(Outcome::GOOD));
    assert_eq!(bench.state(0), RegionState::Zeroed);
    bench.wait(1000);
    assert_eq!(bench.state(0), RegionState::Unwritten);
    let read = bench.send(0, Op::Read, 2, 1);
    assert_eq!(bench.outcome(read), Some(Outcome::Good { zeroed: 1 }));
}

/// Region 0 is written by two channels. One ends a zeroing of all of it at the n-th look that the other one takes at the
/// write which it submits. Gives whether the write took so many looks before it was sent or parked.
fn zeroing_ends_at_look(looks: u32) -> bool {
    let shared = Shared::new(SharedSizes { regions: 4, region_shift: 3, blocks: 32, channels: 2, reports: 64 });
    shared.legs.publish(LegSet::in_sync(LegMask::first(2)));
    shared.regions.set(0, RegionState::Dirty, Writer::SHARED);
    let limits = ChannelLimits { parked_max: 64, leg_timeout_ms: 1000, mark_ahead_regions: 0 };
    let [mut zeroes, mut writes] = [0, 1].map(|number| Channel::<u32>::new(number, limits).unwrap());
    let mut table = Table(vec![HostIo::new(Op::WriteZeroes, 0, 8, 0)]);
    assert_eq!(zeroes.submit(&mut table, &shared, 0, 0), ChannelStep::Send);
    while zeroes.next_child(&mut table, &shared, 0, 0).is_some() {}
    assert_eq!(zeroes.child_done(&mut table, &shared, 0, slot(0), Ok(())), ChannelStep::Wait);
    let mut zeroing_ends = || {
        let step = zeroes.child_done(&mut table, &shared, 0, slot(1), Ok(()));
        assert_eq!(step, ChannelStep::Done(Outcome::GOOD));
        assert_eq!(shared.regions.load(0).state(), RegionState::Zeroed);
    };
    let mut ios = Interrupted {
        table: Table(vec![HostIo::new(Op::Write, 2, 1, 0)]),
        looks_left: Cell::new(Some(looks)),
        event: RefCell::new(&mut zeroing_ends),
    };
    let mut step = writes.submit(&mut ios, &shared, 0, 0);
    let interrupted = ios.looks_left.get().is_none();
    if step == ChannelStep::Wait {
        ios.looks_left.set(Some(0));
        if !interrupted {
            ios.look();
        }
        ios.looks_left.set(None);
        writes.wake(&mut ios, &shared);
        step = writes.next_ready(&mut ios, &shared, 0).map_or(ChannelStep::Wait, |(_, step)| step);
    }
    assert_eq!(step, ChannelStep::Send, "after {looks} looks");
    assert_eq!(shared.regions.load(0).state(), RegionState::Dirty, "it is sent to a dirty region, after {looks} looks");
    interrupted
}

/// Once showed: a write looked at its region, then claimed its range when another channel's zeroing had ended in between
/// and had marked the region as zeroed; it was sent all the same, and the region became unwritten with the write in it.
#[test]
fn a_write_is_sent_to_a_zeroed_region_only_after_taking_it_back() {
    let mut looks = 0;
    while zeroing_ends_at_look(looks) {
        looks += 1;
    }
    assert!(looks > 3, "the zeroing ended before, within and after the look at the region: {looks}");
}
