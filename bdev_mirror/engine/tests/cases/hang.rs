//! Legs that do not answer.

use crate::bench::{IN, Setup, slot};
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
