//! What a channel says of an I/O, played by hand: the legs are a published word, the owner is this file.

mod waiting;

use mirror_engine::*;

const BOTH: LegMask = LegMask::first(2);
/// Blocks of a region, of eight.
const REGION: u64 = 8;

struct Table(Vec<HostIo<u32>>);

impl HostIos for Table {
    type Id = u32;

    fn io(&self, id: u32) -> &HostIo<u32> {
        &self.0[id as usize]
    }

    fn io_mut(&mut self, id: u32) -> &mut HostIo<u32> {
        &mut self.0[id as usize]
    }
}

/// One channel of a mirror with four regions, all dirty and its own.
struct Bench {
    shared: Shared,
    channel: Channel<u32>,
    table: Table,
    now_ms: u64,
}

fn slot(index: usize) -> Slot {
    Slot::new(index).unwrap()
}

impl Bench {
    fn new(reports: usize, parked_max: u32) -> Self {
        let sizes = SharedSizes { regions: 4, region_shift: 3, blocks: 4 * REGION, channels: 2, reports };
        let shared = Shared::new(sizes);
        shared.legs.publish(LegSet::in_sync(BOTH));
        shared.set_flushed_legs(BOTH);
        for region in 0..4 {
            shared.regions.set(region, RegionState::Dirty, Writer::channel(1).unwrap());
        }
        let channel =
            Channel::new(1, ChannelLimits { parked_max, leg_timeout_ms: 1000, mark_ahead_regions: 0 }).unwrap();
        Self { shared, channel, table: Table(Vec::new()), now_ms: 0 }
    }

    fn submit(&mut self, op: Op, block: u64, blocks: u32) -> (u32, ChannelStep) {
        let id = self.table.0.len() as u32;
        self.table.0.push(HostIo::new(op, block, blocks, self.now_ms));
        let step = self.channel.submit(&mut self.table, &self.shared, id, self.now_ms);
        (id, step)
    }

    /// The legs that get a child now.
    fn send(&mut self, id: u32) -> Vec<usize> {
        let mut slots = Vec::new();
        while let Some(slot) = self.channel.next_child(&mut self.table, &self.shared, id, self.now_ms) {
            slots.push(slot.index());
        }
        slots
    }

    /// An I/O that was submitted, with all its children sent.
    fn start(&mut self, op: Op, block: u64, blocks: u32) -> u32 {
        let (id, step) = self.submit(op, block, blocks);
        assert_eq!(step, ChannelStep::Send);
        self.send(id);
        id
    }

    fn ends(&mut self, id: u32, leg: usize, result: Result<(), Fault>) -> ChannelStep {
        self.channel.child_done(&mut self.table, &self.shared, id, slot(leg), result)
    }

    fn ready(&mut self) -> Option<(u32, ChannelStep)> {
        self.channel.next_ready(&mut self.table, &self.shared, self.now_ms)
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        self.channel.tick(&mut self.table, &self.shared, self.now_ms);
    }

    fn wake(&mut self) {
        self.channel.wake(&mut self.table, &self.shared);
    }

    fn pass(&mut self, pass: Pass) -> bool {
        self.channel.pass(&mut self.table, &self.shared, pass)
    }

    /// The owner handles all reports.
    fn handle(&mut self) -> Vec<Report> {
        let reports: Vec<_> = std::iter::from_fn(|| self.shared.reports.pop()).collect();
        reports.iter().for_each(|report| self.shared.count_handled(report.channel()));
        reports
    }

    fn state(&self, region: u32) -> RegionState {
        self.shared.regions.load(region).state()
    }
}

const DONE: ChannelStep = ChannelStep::Done(Outcome::GOOD);

fn failed(failure: Failure) -> ChannelStep {
    ChannelStep::Done(Outcome::Failed(failure))
}

#[test]
fn a_write_that_all_legs_did_ends_without_the_owner() {
    let mut bench = Bench::new(8, 8);
    assert!(bench.channel.is_idle());
    let id = bench.start(Op::Write, 0, 1);
    assert!(!bench.channel.is_idle());
    assert_eq!(bench.ends(id, 0, Ok(())), ChannelStep::Wait);
    assert_eq!(bench.ends(id, 1, Ok(())), DONE);
    assert_eq!((bench.handle(), bench.channel.is_idle()), (vec![], true));
}

#[test]
fn a_leg_that_hangs_is_said_again_as_soon_as_the_queue_has_room() {
    let mut bench = Bench::new(1, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.ends(id, 0, Ok(()));
    bench.shared.send(Report::Wake { channel: 0 }).unwrap();
    bench.tick(999);
    bench.tick(1);
    assert_eq!(bench.handle(), [Report::Wake { channel: 0 }]);
    bench.tick(100);
    let hung = [Report::Hung { channel: 1, legs: LegMask::only(slot(1)) }];
    assert_eq!(bench.handle(), hung);
    bench.tick(999);
    assert_eq!(bench.handle(), []);
    bench.tick(1);
    assert_eq!(bench.handle(), hung, "as much time has passed once more");
    // Nobody waits for a leg that is out.
    bench.shared.legs.publish(LegSet::in_sync(LegMask::only(slot(0))));
    bench.tick(5000);
    assert_eq!(bench.handle(), []);
}

#[test]
fn waiting_for_memory_is_not_the_legs_time() {
    let mut bench = Bench::new(8, 8);
    let (id, _) = bench.submit(Op::Write, 0, 1);
    assert_eq!(bench.channel.next_child(&mut bench.table, &bench.shared, id, 0), Some(slot(0)));
    assert_eq!(bench.channel.outstanding(slot(0)), 1);
    bench.channel.not_sent(&mut bench.table, &bench.shared, id, slot(0));
    assert_eq!(bench.channel.outstanding(slot(0)), 0);
    bench.tick(2000);
    assert_eq!(bench.handle(), []);
    assert_eq!(bench.ready(), Some((id, ChannelStep::Send)));
    assert_eq!(bench.send(id), [0, 1]);
}

#[test]
fn more_than_may_wait_is_told_to_the_host() {
    let mut bench = Bench::new(8, 2);
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_suspended(true));
    let (first, step) = bench.submit(Op::Write, 0, 1);
    assert_eq!((step, bench.submit(Op::Read, 1, 1).1), (ChannelStep::Wait, ChannelStep::Wait));
    assert_eq!(bench.channel.parked_count(), 2);
    assert_eq!(bench.submit(Op::Write, 2, 1).1, failed(Failure::Busy));
    assert_eq!(bench.channel.abort(&mut bench.table, &bench.shared, first), failed(Failure::Aborted));
    assert_eq!(bench.channel.parked_count(), 1);
    assert_eq!(bench.submit(Op::Write, 2, 1).1, ChannelStep::Wait);
}

#[test]
fn an_aborted_io_does_not_stop_the_walk_through_those_that_wait() {
    let mut bench = Bench::new(8, 8);
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_suspended(true));
    let ids: Vec<u32> = (0..3).map(|block| bench.submit(Op::Write, block, 1).0).collect();
    bench.shared.legs.publish(LegSet::in_sync(BOTH));
    bench.wake();
    assert_eq!(bench.ready(), Some((ids[0], ChannelStep::Send)));
    // The walk stands at the second.
    bench.channel.abort(&mut bench.table, &bench.shared, ids[1]);
    assert_eq!(bench.ready(), Some((ids[2], ChannelStep::Send)));
    assert_eq!((bench.ready(), bench.channel.parked_count()), (None, 0));
}

#[test]
fn a_lease_is_looked_at_where_there_is_one_and_ends_when_it_ends() {
    let mut bench = Bench::new(8, 8);
    bench.shared.lease_until_ms.store(0, std::sync::atomic::Ordering::Relaxed);
    let id = bench.start(Op::Write, 0, 1);
    assert_eq!(bench.channel.outstanding(slot(1)), 1, "no lease, no end of it");
    bench.ends(id, 0, Ok(()));
    bench.ends(id, 1, Ok(()));
    bench.shared.legs.publish(LegSet::in_sync(BOTH).with_leased(true));
    bench.shared.lease_until_ms.store(10, std::sync::atomic::Ordering::Relaxed);
    bench.now_ms = 9;
    let (write, step) = bench.submit(Op::Write, 0, 1);
    assert_eq!(step, ChannelStep::Send);
    bench.now_ms = 10;
    assert_eq!(bench.send(write), [] as [usize; 0], "it ended before the children were sent");
    assert_eq!(bench.submit(Op::Write, 8, 1).1, ChannelStep::Wait);
    let (read, step) = bench.submit(Op::Read, 16, 1);
    assert_eq!((step, bench.send(read).len()), (ChannelStep::Send, 1));
}

#[test]
fn a_pass_is_answered_as_soon_as_nothing_stands_in_its_way() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    let quiet = Pass::Quiet(slot(1));
    assert!(!bench.pass(quiet) && !bench.pass(Pass::Drain));
    bench.ends(id, 1, Ok(()));
    assert_eq!(bench.handle(), [Report::PassDone { channel: 1, pass: quiet }]);
    bench.ends(id, 0, Ok(()));
    assert_eq!(bench.handle(), [Report::PassDone { channel: 1, pass: Pass::Drain }]);
}

#[test]
fn what_our_own_reset_cut_short_is_sent_again_and_other_aborts_are_the_legs() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.channel.reset_began(slot(1));
    assert_eq!(bench.ends(id, 1, Err(Fault::Aborted)), ChannelStep::Send);
    assert_eq!(bench.send(id), [] as [usize; 0], "not before the reset has ended");
    bench.channel.reset_ended(slot(1));
    assert_eq!(bench.ready(), Some((id, ChannelStep::Send)));
    assert_eq!(bench.send(id), [1]);
    // The reset is over, and the child was sent since.
    assert_eq!(bench.ends(id, 1, Err(Fault::Aborted)), ChannelStep::Wait);
    assert_eq!(bench.ends(id, 0, Ok(())), ChannelStep::Wait);
    let [Report::Bad { blamed, unblamed: false, .. }] = bench.handle()[..] else { panic!() };
    assert_eq!(blamed, LegMask::only(slot(1)));
}

#[test]
fn a_reset_is_ours_while_it_lasts_and_for_all_that_was_sent_before() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.channel.reset_began(slot(0));
    bench.channel.reset_began(slot(1));
    assert_eq!(bench.ends(id, 0, Err(Fault::Aborted)), ChannelStep::Send);
    assert_eq!(bench.ends(id, 1, Err(Fault::Aborted)), ChannelStep::Send);
    bench.channel.reset_ended(slot(0));
    bench.channel.reset_ended(slot(1));
    assert_eq!(bench.send(id), [0, 1]);
    // The word of an abort may come after the reset has ended.
    bench.channel.reset_began(slot(1));
    bench.channel.reset_ended(slot(1));
    assert_eq!(bench.ends(id, 1, Err(Fault::Aborted)), ChannelStep::Send);
    assert_eq!(bench.send(id), [1]);
}

#[test]
fn an_abort_by_a_reset_on_a_leg_that_is_out_is_not_sent_again() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.channel.reset_began(slot(1));
    bench.channel.reset_ended(slot(1));
    bench.shared.legs.publish(LegSet::in_sync(LegMask::only(slot(0))));
    assert_eq!(bench.ends(id, 1, Err(Fault::Aborted)), ChannelStep::Wait);
    bench.ends(id, 0, Ok(()));
    bench.handle();
    bench.wake();
    assert_eq!(bench.ready(), Some((id, DONE)));
}

#[test]
fn a_leg_that_is_out_is_blamed_for_nothing() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.shared.legs.publish(LegSet::in_sync(LegMask::only(slot(0))));
    bench.ends(id, 1, Err(Fault::Failed));
    bench.ends(id, 0, Ok(()));
    let [Report::Bad { blamed, good, unblamed: false, .. }] = bench.handle()[..] else { panic!() };
    assert_eq!((blamed, good), (LegMask::NONE, LegMask::only(slot(0))));
}

#[test]
fn a_failed_write_names_the_reason_in_force_when_it_is_judged() {
    let reasons = [
        (LegSet::in_sync(BOTH), Failure::Legs),
        (LegSet::OFFLINE, Failure::Offline),
        (LegSet::new(BOTH, BOTH, BOTH).with_stuck(true), Failure::NoRecord),
    ];
    for (set, failure) in reasons {
        let mut bench = Bench::new(8, 8);
        let id = bench.start(Op::Write, 0, 1);
        bench.ends(id, 0, Err(Fault::Failed));
        assert_eq!(bench.ends(id, 1, Err(Fault::Failed)), ChannelStep::Wait);
        bench.wake();
        assert_eq!(bench.ready(), None, "the owner has not judged it yet");
        bench.shared.legs.publish(set);
        bench.handle();
        bench.wake();
        assert_eq!(bench.ready(), Some((id, failed(failure))));
    }
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    assert!(!bench.pass(Pass::Drain));
    bench.channel.abort(&mut bench.table, &bench.shared, id);
    bench.ends(id, 0, Ok(()));
    bench.ends(id, 1, Err(Fault::Aborted));
    bench.handle();
    bench.wake();
    assert_eq!(bench.ready(), Some((id, failed(Failure::Aborted))));
    assert_eq!(bench.handle(), [Report::PassDone { channel: 1, pass: Pass::Drain }]);
}

#[test]
fn what_some_leg_lacks_is_an_error_while_no_record_says_so() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::Write, 0, 1);
    bench.ends(id, 0, Ok(()));
    let one = LegMask::only(slot(0));
    bench.shared.legs.publish(LegSet::new(one, one, one).with_stuck(true));
    assert_eq!(bench.ends(id, 1, Err(Fault::Failed)), ChannelStep::Wait);
    bench.handle();
    bench.wake();
    // All legs that count have it, and still it may not be acknowledged: its range is to be suspect first.
    assert_eq!(bench.ready(), None);
    let [Report::Bad { unblamed: true, regions: Some((0, 0)), .. }] = bench.handle()[..] else { panic!() };
    bench.wake();
    assert_eq!(bench.ready(), Some((id, failed(Failure::NoRecord))));
}

#[test]
fn what_is_not_sent_yet_goes_to_legs_that_serve_its_kind() {
    // Slot 1 is being resynced: written, not read.
    let one = LegMask::only(slot(0));
    let mut bench = Bench::new(8, 8);
    bench.shared.legs.publish(LegSet::new(one, BOTH, one).with_recorded(true));
    let (write, _) = bench.submit(Op::Write, 0, 1);
    bench.wake();
    assert_eq!(bench.ready(), Some((write, ChannelStep::Send)));
    assert_eq!(bench.send(write), [0, 1]);
    // A read whose leg is only written by now goes to the other one.
    bench.shared.legs.publish(LegSet::in_sync(BOTH));
    let (read, _) = bench.submit(Op::Read, 8, 1);
    let chosen = bench.channel.next_child(&mut bench.table, &bench.shared, read, 0).unwrap();
    bench.channel.not_sent(&mut bench.table, &bench.shared, read, chosen);
    let other = BOTH.without(chosen);
    bench.shared.legs.publish(LegSet::new(other, BOTH, other).with_recorded(true));
    bench.wake();
    assert_eq!(bench.ready(), Some((read, ChannelStep::Send)));
    assert_eq!(bench.send(read), [other.lowest().unwrap().index()]);
}

#[test]
fn only_regions_zeroed_whole_and_well_read_as_zeros() {
    let mut bench = Bench::new(8, 8);
    let id = bench.start(Op::WriteZeroes, 4, 16);
    bench.ends(id, 0, Ok(()));
    bench.ends(id, 1, Ok(()));
    let states: Vec<_> = (0..4).map(|region| bench.state(region)).collect();
    assert_eq!(states, [RegionState::Dirty, RegionState::Zeroed, RegionState::Dirty, RegionState::Dirty]);
    let id = bench.start(Op::WriteZeroes, 24, 8);
    bench.ends(id, 0, Ok(()));
    bench.ends(id, 1, Err(Fault::Failed));
    bench.handle();
    bench.wake();
    assert_eq!(bench.ready(), Some((id, failed(Failure::Legs))));
    assert_eq!(bench.state(3), RegionState::Dirty);
    let id = bench.start(Op::Write, 0, 8);
    bench.ends(id, 0, Ok(()));
    bench.ends(id, 1, Ok(()));
    assert_eq!(bench.state(0), RegionState::Dirty, "data is not zeros");
}
