//! Legs that do not answer.

use crate::bench::{Bench, IN, STALE, Setup, slot};
use mirror_engine::*;

/// Once showed: an I/O reported a leg that hangs once in its life; a read that went on to another leg, which hung as well,
/// waited for ever.
#[test]
fn each_leg_that_a_read_hangs_on_is_found() {
    let mut bench = Setup { legs: &[IN, IN, IN], ..Setup::default() }.start();
    let read = bench.send(0, Op::Read, 0, 1);
    let first = bench.slots_of(read)[0];
    bench.wait(2000);
    let hung = |index| Event::LegFailed { slot: slot(index), why: WhyOut::Hung };
    assert!(bench.events.contains(&hung(first)));
    bench.end_child(read, first, Err(Fault::Failed));
    let second = bench.slots_of(read)[0];
    assert_ne!(first, second);
    bench.wait(2000);
    assert!(bench.events.contains(&hung(second)));
    bench.end_child(read, second, Err(Fault::Failed));
    let third = bench.slots_of(read)[0];
    bench.end_child(read, third, Ok(()));
    assert_eq!(bench.outcome(read), Some(Outcome::GOOD));
}

/// Once showed: that the last leg hangs was said at each tick, or never again once it had worked in between.
#[test]
fn that_the_last_leg_hangs_is_said_once() {
    let mut bench = Setup { legs: &[IN, STALE], ..Setup::default() }.start();
    let said = |bench: &Bench| bench.events.iter().filter(|event| matches!(event, Event::LastLegStays { .. })).count();
    let hold: fn(&Device, &Io) -> bool = |_, io| matches!(io, Io::CopyRead { .. });
    bench.hold = hold;
    bench.admit(1);
    bench.wait(5000);
    assert_eq!(said(&bench), 1);
    assert!(bench.owner.errors_of_last(slot(0)) > 2);
    // It works again for a while, then hangs again.
    bench.hold = |_, _| false;
    bench.run();
    bench.wait(6000);
    assert_eq!(said(&bench), 1);
    assert!(bench.events.contains(&Event::LegInSync { slot: slot(1) }), "{:?}", bench.events);
    assert!(bench.owner.take_leg_out(slot(1)));
    bench.run();
    bench.complete(0, Op::Write, 0, 1);
    bench.hold = hold;
    bench.admit(1);
    bench.wait(5000);
    assert_eq!(said(&bench), 2);
}
