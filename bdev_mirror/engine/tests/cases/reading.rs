//! Which legs reads prefer.

use crate::bench::{Bench, IN, STALE, Setup, slot};
use mirror_engine::format::{LogType, Superblock};
use mirror_engine::read_policy::ReadPolicy;
use mirror_engine::slow_leg::{LatencySum, LegIo};
use mirror_engine::*;

/// What a leg takes for an I/O, in microseconds.
const FAST: u32 = 100;
const SLOW: u32 = 8000;

/// Time goes on while legs serve this many I/Os a second, each with its latency.
fn serve(bench: &mut Bench, latencies: &[u32], seconds: u64) {
    for _ in 0..seconds {
        for (index, &latency_us) in latencies.iter().enumerate() {
            let mut sum = LatencySum::default();
            (0..16).for_each(|_| sum.record(latency_us));
            bench.owner.note_leg_latency(slot(index), LegIo::Read, sum);
        }
        bench.wait(1000);
    }
}

/// The legs that serve some reads, one after the other.
fn serving(bench: &mut Bench, reads: usize) -> Vec<usize> {
    let mut slots = Vec::new();
    for _ in 0..reads {
        let read = bench.send(0, Op::Read, 0, 1);
        slots.extend(bench.slots_of(read));
        for slot in bench.slots_of(read) {
            bench.end_child(read, slot, Ok(()));
        }
    }
    slots
}

fn slow_events(bench: &Bench) -> Vec<Event> {
    let of_speed = |event: &&Event| {
        matches!(event, Event::LegSlow { .. } | Event::LegNotSlow { .. } | Event::LegFailed { .. })
            || matches!(event, Event::LastLegStays { .. })
    };
    bench.events.iter().filter(of_speed).copied().collect()
}

#[test]
fn reads_avoid_a_slow_leg_until_it_is_well() {
    let mut bench = Setup::default().start();
    serve(&mut bench, &[FAST, FAST], 20);
    assert_eq!(slow_events(&bench), []);
    serve(&mut bench, &[FAST, SLOW], 20);
    let [Event::LegSlow { slot: slow, latency_us, others_us }] = slow_events(&bench)[..] else {
        panic!("{:?}", bench.events)
    };
    assert_eq!((slow, others_us), (slot(1), FAST.into()));
    assert!((1000..=SLOW.into()).contains(&latency_us), "{latency_us}");
    assert_eq!(serving(&mut bench, 4), [0; 4]);
    let write = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.slots_of(write), [0, 1], "it is written all the same");
    for slot in [0, 1] {
        bench.end_child(write, slot, Ok(()));
    }
    serve(&mut bench, &[FAST, FAST], 60);
    assert_eq!(slow_events(&bench)[1..], [Event::LegNotSlow { slot: slot(1) }]);
    assert_eq!(serving(&mut bench, 4), [1, 0, 1, 0]);
}

#[test]
fn a_slow_leg_is_failed_if_that_is_asked_for_and_the_last_one_never() {
    let mut setup = Setup::default();
    setup.options.slow_leg_eject_sec = 10;
    setup.options.leg_timeout_ms = 1_000_000;
    let mut bench = setup.start();
    serve(&mut bench, &[FAST, SLOW], 12);
    assert!(matches!(slow_events(&bench)[..], [Event::LegSlow { .. }]), "{:?}", bench.events);
    serve(&mut bench, &[FAST, SLOW], 10);
    assert_eq!(slow_events(&bench)[1..], [Event::LegFailed { slot: slot(1), why: WhyOut::Slow }]);
    // The other one becomes slow, alone and while the first one is coming back.
    serve(&mut bench, &[SLOW, FAST], 30);
    bench.complete(0, Op::Write, 0, 1);
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.admit(1);
    serve(&mut bench, &[SLOW, FAST], 30);
    assert!(bench.shared.legs.load().writable().contains(slot(1)), "it is being copied to");
    assert_eq!(slow_events(&bench).len(), 2, "{:?}", bench.events);
    assert_eq!(serving(&mut bench, 4), [0; 4]);
}

#[test]
fn a_slow_leg_stays_if_it_is_the_last_one_when_its_time_is_up() {
    let mut setup = Setup::default();
    setup.options.slow_leg_eject_sec = 10;
    setup.options.leg_timeout_ms = 1_000_000;
    let mut bench = setup.start();
    serve(&mut bench, &[SLOW, FAST], 13);
    assert!(bench.owner.take_leg_out(slot(1)));
    bench.run();
    bench.complete(0, Op::Write, 0, 1);
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.admit(1);
    bench.wait(20_000);
    let [Event::LegSlow { slot: slow, .. }, Event::LegFailed { why: WhyOut::Asked, .. }, well] =
        slow_events(&bench)[..]
    else {
        panic!("{:?}", bench.events)
    };
    assert_eq!((slow, well), (slot(0), Event::LegNotSlow { slot: slot(0) }), "there is nothing to compare it with");
}

#[test]
fn how_long_a_leg_takes_while_it_is_copied_to_says_nothing() {
    let mut setup = Setup { legs: &[IN, STALE], ..Setup::default() };
    setup.options.leg_timeout_ms = 1_000_000;
    let mut bench = setup.start();
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.admit(1);
    serve(&mut bench, &[FAST, SLOW], 20);
    bench.hold = |_, _| false;
    bench.wait(10_000);
    assert!(bench.shared.legs.load().readable().contains(slot(1)));
    assert_eq!(slow_events(&bench), []);
}

/// What the legs' newest superblocks say of the leg in slot 1, by the record that is written now.
fn write_mostly_written(bench: &mut Bench) -> Vec<bool> {
    let mut written = Vec::new();
    let is_write = |_: &Device, io: &Io| matches!(io, Io::Write { .. });
    while let Some((_, _, Io::Write { data, .. })) = bench.op(is_write) {
        written.extend(Superblock::decode(&data).map(|superblock| superblock.legs[1].write_mostly));
        bench.end_op(is_write, Ok(()));
    }
    written
}

#[test]
fn a_write_mostly_leg_is_recorded_and_read_if_there_is_no_other() {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    bench.hold = |_, io| matches!(io, Io::Write { .. });
    for write_mostly in [true, false, true] {
        bench.owner.set_write_mostly(slot(1), write_mostly);
        bench.run();
        assert_eq!(write_mostly_written(&mut bench), [write_mostly; 2], "on each leg");
        // As it is already: nothing to record.
        bench.owner.set_write_mostly(slot(1), write_mostly);
        bench.run();
        assert_eq!(write_mostly_written(&mut bench).len(), 0);
        assert_eq!(serving(&mut bench, 4), if write_mostly { [0; 4] } else { [1, 0, 1, 0] });
    }
    bench.hold = |_, _| false;
    assert!(bench.owner.take_leg_out(slot(0)));
    bench.run();
    assert_eq!(serving(&mut bench, 2), [1, 1]);
}

#[test]
fn reads_go_by_the_policy_in_force() {
    let mut bench = Setup { legs: &[IN, IN, IN], ..Setup::default() }.start();
    // A child is in flight on leg 0 all the while.
    bench.owner.set_read_policy(ReadPolicy::First);
    bench.send(0, Op::Read, 0, 1);
    assert_eq!(serving(&mut bench, 4), [0; 4]);
    bench.owner.set_read_policy(ReadPolicy::Preferred(slot(2)));
    assert_eq!(serving(&mut bench, 4), [2; 4]);
    bench.owner.set_read_policy(ReadPolicy::RoundRobin);
    assert_eq!(serving(&mut bench, 4), [0, 1, 2, 0]);
    bench.owner.set_read_policy(ReadPolicy::LeastOutstanding);
    assert_eq!(serving(&mut bench, 4), [1, 2, 1, 2]);
}
