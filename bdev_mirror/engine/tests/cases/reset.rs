//! The owner's I/O that a reset of its device cuts short.

use crate::bench::{Bench, Setup, leg, slot};
use mirror_engine::format::LogType;
use mirror_engine::*;

/// Where the first I/O of the owner's that is held was cut short by a reset, and what it was.
fn cut_short(bench: &mut Bench) -> (Device, Io) {
    let (op, device, io) = bench.ops.pop_front().unwrap();
    bench.owner.done(op, Err(Fault::Aborted));
    bench.run();
    (device, io)
}

fn in_flight(bench: &Bench) -> Vec<(Device, Io)> {
    bench.ops.iter().map(|(_, device, io)| (*device, io.clone())).collect()
}

/// Once showed: what a reset aborted was sent again into the same reset, which aborted it again.
#[test]
fn what_a_reset_cut_short_is_sent_again_when_it_has_ended() {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    bench.hold = |device, _| *device == leg(0);
    let write = bench.send(0, Op::Write, 0, 1);
    let cut = cut_short(&mut bench);
    assert_eq!(cut.0, leg(0));
    assert_eq!(in_flight(&bench), [], "not into the reset");
    bench.tick(100);
    assert_eq!(in_flight(&bench), std::slice::from_ref(&cut));
    cut_short(&mut bench);
    bench.owner.reset_ended(leg(1));
    bench.run();
    assert_eq!(in_flight(&bench), [], "another device's reset");
    bench.owner.reset_ended(leg(0));
    bench.run();
    assert_eq!(in_flight(&bench), [cut]);
    bench.hold = |_, _| false;
    bench.run();
    assert_eq!(bench.slots_of(write), [0, 1]);
}

/// Once showed: the time of an I/O that was aborted and sent again began anew with each attempt, so its leg was never said
/// to hang; and what waited to be sent again then was sent to a leg that was out.
#[test]
fn a_leg_that_fails_within_a_reset_comes_back() {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    bench.hold = |device, _| *device == leg(1);
    let write = bench.send(0, Op::Write, 0, 1);
    cut_short(&mut bench);
    for _ in 0..9 {
        bench.tick(100);
        for _ in 0..bench.ops.len() {
            cut_short(&mut bench);
        }
    }
    bench.tick(100);
    let hung = Event::LegFailed { slot: slot(1), why: WhyOut::Hung };
    assert!(bench.events.contains(&hung), "{:?}", bench.events);
    assert_eq!(in_flight(&bench), [], "it is out, and sent nothing again");
    assert_eq!(bench.slots_of(write), [0]);
    bench.end_child(write, 0, Ok(()));
    assert_eq!(bench.outcome(write), Some(Outcome::GOOD));
    bench.hold = |_, _| false;
    bench.admit(1);
    bench.wait(500);
    assert!(bench.events.contains(&Event::LegInSync { slot: slot(1) }), "{:?}", bench.events);
}
