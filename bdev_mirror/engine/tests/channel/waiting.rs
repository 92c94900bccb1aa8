//! What an I/O waits for, and what waits for it.

use super::{BOTH, Bench, DONE, Table, failed, slot};
use mirror_engine::*;

#[test]
fn a_write_through_is_flushed_before_it_ends_and_no_other_io_is() {
    for (op, through, flushed) in [(Op::Write, true, true), (Op::Write, false, false), (Op::Flush, true, false)] {
        let mut bench = Bench::new(8, 8);
        bench.table.0.push(HostIo::new(op, 0, 1, 0).write_through(through));
        assert_eq!(bench.channel.submit(&mut bench.table, &bench.shared, 0, 0), ChannelStep::Send);
        bench.send(0);
        bench.ends(0, 0, Ok(()));
        let step = bench.ends(0, 1, Ok(()));
        if flushed {
            assert_eq!((step, bench.table.io(0).child_op()), (ChannelStep::Send, Op::Flush));
            assert_eq!(bench.send(0), [0, 1]);
            bench.ends(0, 0, Ok(()));
            assert_eq!(bench.ends(0, 1, Ok(())), DONE);
        } else {
            assert_eq!(step, DONE);
        }
    }
}

#[test]
fn only_writes_that_overlap_wait_for_each_other_and_in_their_order() {
    let mut bench = Bench::new(8, 8);
    let first = bench.start(Op::Write, 2, 2);
    for (block, blocks) in [(1, 1), (4, 1)] {
        assert_eq!(bench.submit(Op::Write, block, blocks).1, ChannelStep::Send, "side by side");
    }
    let (second, step) = bench.submit(Op::Write, 3, 4);
    assert_eq!(step, ChannelStep::Wait);
    // It overlaps nothing under way, and may not pass one that came before.
    let (third, step) = bench.submit(Op::Write, 6, 1);
    assert_eq!(step, ChannelStep::Wait);
    assert_eq!(bench.submit(Op::Write, 8, 1).1, ChannelStep::Send);
    // A read that waits stands in nobody's way.
    bench.ends(first, 0, Ok(()));
    assert_eq!(bench.ready(), None);
    bench.ends(first, 1, Ok(()));
    assert_eq!(bench.ready(), None, "the one at block 4 is under way still");
    assert_eq!(bench.channel.abort(&mut bench.table, &bench.shared, second), failed(Failure::Aborted));
    assert_eq!(bench.ready(), Some((third, ChannelStep::Send)), "at once");
    assert_eq!(bench.ready(), None);
}

#[test]
fn whoever_waits_for_an_older_write_goes_on_when_that_ends() {
    let mut bench = Bench::new(8, 8);
    let first = bench.start(Op::Write, 0, 2);
    let (second, _) = bench.submit(Op::Write, 1, 2);
    let (third, step) = bench.submit(Op::Write, 2, 2);
    assert_eq!(step, ChannelStep::Wait, "for one that waits itself");
    bench.ends(first, 0, Ok(()));
    assert_eq!(bench.ends(first, 1, Ok(())), DONE);
    assert_eq!(bench.ready(), Some((second, ChannelStep::Send)));
    bench.send(second);
    assert_eq!(bench.ready(), None);
    bench.ends(second, 0, Ok(()));
    assert_eq!(bench.ends(second, 1, Ok(())), DONE);
    assert_eq!(bench.ready(), Some((third, ChannelStep::Send)));
}

#[test]
fn what_could_not_be_asked_is_asked_when_a_write_ends() {
    let mut bench = Bench::new(1, 8);
    let first = bench.start(Op::Write, 0, 1);
    bench.shared.regions.set(1, RegionState::Clean, Writer::NOBODY);
    bench.shared.send(Report::Wake { channel: 0 });
    assert_eq!(bench.submit(Op::Write, 8, 1).1, ChannelStep::Wait, "the queue is full");
    assert_eq!(bench.handle(), [Report::Wake { channel: 0 }]);
    bench.ends(first, 0, Ok(()));
    assert_eq!(bench.ends(first, 1, Ok(())), DONE);
    assert_eq!(bench.ready(), None);
    assert_eq!(bench.handle(), [Report::Mark { channel: 1, first: 1, last: 1 }]);
}

/// A mirror of two large regions, the first of which is dirty.
fn large(writer: Writer) -> Bench {
    let mut bench = Bench::new(8, 2000);
    bench.shared = Shared::new(SharedSizes { regions: 2, region_shift: 17, blocks: 2 << 17, channels: 2, reports: 8 });
    bench.shared.legs.publish(LegSet::in_sync(BOTH));
    bench.shared.regions.set(0, RegionState::Dirty, writer);
    bench
}

#[test]
fn who_waits_for_room_in_the_table_of_ranges_goes_on_when_a_range_is_given_back() {
    let mut bench = large(Writer::SHARED);
    let ids: Vec<u32> = (0..ENTRIES_PER_SHARD as u64).map(|block| bench.start(Op::Write, block, 1)).collect();
    let (last, step) = bench.submit(Op::Write, 100, 1);
    assert_eq!(step, ChannelStep::Wait);
    bench.ends(ids[3], 0, Ok(()));
    assert_eq!(bench.ends(ids[3], 1, Ok(())), DONE);
    assert_eq!(bench.ready(), Some((last, ChannelStep::Send)), "it does not wait for the owner to wake all");
}

/// Counts how often an I/O is looked at.
struct Counted(Table, std::cell::Cell<usize>);

impl HostIos for Counted {
    type Id = u32;

    fn io(&self, id: u32) -> &HostIo<u32> {
        self.1.set(self.1.get() + 1);
        self.0.io(id)
    }

    fn io_mut(&mut self, id: u32) -> &mut HostIo<u32> {
        self.1.set(self.1.get() + 1);
        self.0.io_mut(id)
    }
}

/// Once showed: each write that ended had all that was parked looked at, whatever it waited for.
#[test]
fn a_write_that_nobody_waits_for_ends_without_a_look_at_what_is_parked() {
    const PARKED: u32 = 1000;
    const ENDED: u32 = 1000;
    let Bench { shared, mut channel, .. } = large(Writer::channel(1).unwrap());
    let mut ios = Counted(Table(Vec::new()), std::cell::Cell::default());
    shared.regions.set(1, RegionState::Marking, Writer::NOBODY);
    for id in 0..PARKED {
        ios.0.0.push(HostIo::new(Op::Write, (1 << 17) + u64::from(id), 1, 0));
        assert_eq!(channel.submit(&mut ios, &shared, id, 0), ChannelStep::Wait);
    }
    ios.1.set(0);
    for id in PARKED..PARKED + ENDED {
        // Far from those that are parked, also for the filter of overlaps.
        ios.0.0.push(HostIo::new(Op::Write, 100 * 128, 1, 0));
        assert_eq!(channel.submit(&mut ios, &shared, id, 0), ChannelStep::Send);
        while channel.next_child(&mut ios, &shared, id, 0).is_some() {}
        channel.child_done(&mut ios, &shared, id, slot(0), Ok(()));
        assert_eq!(channel.child_done(&mut ios, &shared, id, slot(1), Ok(())), DONE);
        assert_eq!(channel.next_ready(&mut ios, &shared, 0), None);
    }
    let looks = ios.1.get() / ENDED as usize;
    assert!(looks < 40, "{looks} looks for each write");
}

#[test]
fn a_region_that_no_leg_could_give_whole_is_read_from_the_chosen_leg() {
    let mut bench = Bench::new(8, 8);
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_look(true));
    bench.shared.regions.set(0, RegionState::Unread, Writer::NOBODY);
    bench.shared.set_source(LegMask::only(slot(1)));
    for _ in 0..4 {
        let (id, _) = bench.submit(Op::Read, 0, 1);
        assert_eq!(bench.send(id), [1]);
    }
    // Nothing can be recorded: who is right would be forgotten.
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_look(true).with_stuck(true));
    assert_eq!(bench.submit(Op::Read, 0, 1).1, failed(Failure::NoRecord));
}

#[test]
fn a_suspect_region_is_asked_for_and_read_by_nobody() {
    let mut bench = Bench::new(8, 8);
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_look(true));
    bench.shared.regions.set(1, RegionState::NoSync, Writer::NOBODY);
    assert_eq!(bench.submit(Op::Read, 0, 16).1, ChannelStep::Wait);
    assert_eq!(bench.handle(), [Report::Want { channel: 1, first: 0, last: 1 }]);
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_look(true).with_stuck(true));
    assert_eq!(bench.submit(Op::Read, 8, 1).1, failed(Failure::NoRecord));
}

#[test]
fn a_read_over_unwritten_regions_says_which_are_zeros() {
    let mut bench = Bench::new(8, 8);
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_look(true));
    for region in [1, 2] {
        bench.shared.regions.set(region, RegionState::Unwritten, Writer::NOBODY);
    }
    let (id, step) = bench.submit(Op::Read, 4, 16);
    assert_eq!(step, ChannelStep::Send);
    let leg = bench.send(id)[0];
    assert_eq!(bench.ends(id, leg, Ok(())), ChannelStep::Done(Outcome::Good { zeroed: 0b110 }));
    assert_eq!(bench.submit(Op::Read, 8, 16).1, ChannelStep::Done(Outcome::Good { zeroed: 0b11 }), "no leg is asked");
}

#[test]
fn a_refused_region_refuses_whatever_else_is_to_be_asked() {
    let mut bench = Bench::new(8, 8);
    bench.shared.regions.set(0, RegionState::Clean, Writer::NOBODY);
    bench.shared.regions.set(1, RegionState::Refused, Writer::NOBODY);
    assert_eq!(bench.submit(Op::Write, 4, 8).1, failed(Failure::NoRecord));
    bench.shared.regions.set(2, RegionState::Clean, Writer::NOBODY);
    bench.shared.regions.set(3, RegionState::Marking, Writer::NOBODY);
    assert_eq!(bench.submit(Op::Write, 20, 8).1, ChannelStep::Wait);
    assert_eq!(bench.handle(), [Report::Mark { channel: 1, first: 2, last: 3 }]);
}

#[test]
fn the_owner_is_asked_once_and_not_for_what_he_is_at() {
    let mut bench = Bench::new(8, 8);
    bench.shared.regions.set(0, RegionState::Clean, Writer::NOBODY);
    assert_eq!(bench.submit(Op::Write, 0, 1).1, ChannelStep::Wait);
    bench.wake();
    assert_eq!(bench.ready(), None);
    assert_eq!(bench.handle(), [Report::Mark { channel: 1, first: 0, last: 0 }]);
    bench.shared.regions.set_writer(1, Writer::SHARING);
    assert_eq!(bench.submit(Op::Write, 8, 1).1, ChannelStep::Wait);
    assert_eq!(bench.handle(), []);
    // A suspect region that is ours is dirty already.
    bench.shared.regions.set(2, RegionState::NoSync, Writer::channel(1).unwrap());
    assert_eq!(bench.submit(Op::Write, 16, 1).1, ChannelStep::Send);
}

#[test]
fn passes_wait_for_the_writes_that_they_are_about_alone() {
    let mut bench = Bench::new(8, 8);
    let write = bench.start(Op::Write, 0, 1);
    let read = bench.start(Op::Read, 16, 1);
    // A window elsewhere, and one over the read.
    bench.shared.windows.set(0, 16..24);
    assert!(bench.pass(Pass::Windows));
    bench.shared.regions.set_writer(1, Writer::SHARING);
    bench.shared.regions.set_writer(2, Writer::SHARING);
    assert!(bench.pass(Pass::Sharing));
    bench.shared.windows.set(1, 0..8);
    bench.shared.regions.set_writer(0, Writer::SHARING);
    assert!(!bench.pass(Pass::Windows) && !bench.pass(Pass::Sharing));
    // One that nothing waits for but legs that are out is passed, once the channel has seen it.
    bench.ends(write, 0, Ok(()));
    bench.shared.legs.publish(LegSet::in_sync(LegMask::only(slot(0))));
    assert!(!bench.pass(Pass::Windows) && bench.handle().is_empty());
    bench.wake();
    let answers = [Pass::Windows, Pass::Sharing].map(|pass| Report::PassDone { channel: 1, pass });
    assert_eq!(bench.handle(), answers);
    assert!(bench.table.io(read).child_op() == Op::Read);
}

#[test]
fn a_leg_in_a_new_life_is_not_judged_for_the_former_one() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.ends(id, 1, Err(Fault::Failed));
    assert!(bench.pass(Pass::Quiet(slot(1))));
    bench.ends(id, 0, Ok(()));
    let [Report::Bad { blamed: LegMask::NONE, good, .. }] = bench.handle()[..] else { panic!() };
    assert_eq!(good, LegMask::only(slot(0)));
    // It is required again by now, and was given this write by the copy.
    bench.wake();
    assert_eq!(bench.ready(), Some((id, DONE)));
}
