//! How long the owner may write after a heartbeat.

use crate::bench::{Bench, IN, STALE, Setup, slot};
use mirror_engine::format::{LegState, LogType};
use mirror_engine::lease::LeaseOptions;
use mirror_engine::*;

const LEASE_MS: u64 = 1600;

/// A mirror with a lease, which was issued a heartbeat at its start.
fn leased(legs: &[LegState]) -> Bench {
    let mut setup = Setup { log: LogType::Internal, legs, ..Setup::default() };
    // Regions stay dirty: a write that waits is one that waits for the lease.
    setup.options.clear_idle_ms = 60_000;
    setup.options.lease = LeaseOptions { owner_lease_ms: LEASE_MS, heartbeat_ms: 200 };
    setup.start()
}

/// Fails whatever the owner has in flight, as long as time goes on.
fn fail_all(bench: &mut Bench, ms: u64) {
    for _ in 0..ms / 100 {
        bench.tick(100);
        while !bench.ops.is_empty() {
            bench.end_op(|_, _| true, Err(Fault::Failed));
        }
    }
}

/// A successor may have read a heartbeat the moment it landed, so the lease counts from when it was issued, however long
/// the owner had to wait to learn of it.
#[test]
fn a_lease_counts_from_the_issue_of_its_heartbeat() {
    let mut bench = leased(&[IN, IN]);
    let warm = bench.complete(0, Op::Write, 0, 1);
    assert_eq!(bench.outcome(warm), Some(Outcome::GOOD));
    bench.hold = |_, _| true;
    bench.tick(200);
    let issued_ms = bench.now_ms;
    assert!(bench.count_ops(|_, io| matches!(io, Io::Write { .. })) > 0, "a heartbeat is issued");
    bench.wait(700);
    // It ends well on both legs; from here on none does.
    for _ in [0, 1] {
        bench.end_op(|_, io| matches!(io, Io::Write { .. }), Ok(()));
    }
    for _ in [0, 1] {
        bench.end_op(|_, io| *io == Io::Flush, Ok(()));
    }
    assert_eq!(bench.shared.lease_until_ms.load(std::sync::atomic::Ordering::Acquire), issued_ms + LEASE_MS);
    // Only the channel looks at the time from here on: the owner's core stands still.
    bench.now_ms = issued_ms + LEASE_MS - 1;
    let write = bench.submit(0, Op::Write, 2, 1);
    assert_eq!(bench.slots_of(write), [0, 1]);
    bench.now_ms += 1;
    let late = bench.submit(0, Op::Write, 4, 1);
    assert_eq!((bench.slots_of(late).len(), bench.outcome(late)), (0, None), "it waits for a new lease");
}

/// Once showed: a write that was sent to one leg when the lease ended waited for the other for ever.
#[test]
fn a_write_half_sent_at_the_end_of_the_lease_ends() {
    let mut bench = leased(&[IN, IN]);
    bench.wait(200);
    let warm = bench.complete(0, Op::Write, 0, 1);
    assert_eq!(bench.outcome(warm), Some(Outcome::GOOD));
    bench.channels[0].reset_began(slot(1));
    let write = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.slots_of(write), [0]);
    bench.end_child(write, 0, Ok(()));
    bench.hold = |_, _| true;
    fail_all(&mut bench, 10_000);
    bench.channels[0].reset_ended(slot(1));
    bench.follow_ready(0);
    fail_all(&mut bench, 1000);
    assert!(matches!(bench.outcome(write), Some(Outcome::Failed(_))), "{:?}", bench.outcome(write));
    assert_eq!(bench.slots_of(write).len(), 0, "nothing is sent after the lease");
}

/// Once showed: as above, of a mirror with one leg, to which nothing was sent yet.
#[test]
fn a_write_not_sent_before_the_end_of_the_lease_ends() {
    let mut bench = leased(&[IN]);
    bench.wait(200);
    let warm = bench.complete(0, Op::Write, 0, 1);
    assert_eq!(bench.outcome(warm), Some(Outcome::GOOD));
    bench.channels[0].reset_began(slot(0));
    let write = bench.send(0, Op::Write, 0, 1);
    assert_eq!(bench.slots_of(write).len(), 0);
    bench.hold = |_, _| true;
    fail_all(&mut bench, 5000);
    bench.channels[0].reset_ended(slot(0));
    bench.follow_ready(0);
    fail_all(&mut bench, 5000);
    assert!(matches!(bench.outcome(write), Some(Outcome::Failed(_))), "{:?}", bench.outcome(write));
    assert_eq!(bench.slots_of(write).len(), 0, "nothing is sent after the lease");
}

/// Once showed: an owner that had stood still beyond its lease went on with its copies when they were read.
#[test]
fn a_copy_is_not_written_after_the_lease() {
    let mut bench = leased(&[IN, STALE]);
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.wait(200);
    bench.admit(1);
    let is_read = |_: &Device, io: &Io| matches!(io, Io::CopyRead { .. });
    assert!(bench.count_ops(is_read) > 0);
    // The process stands still; then what was in flight ends.
    bench.hold = |_, _| true;
    bench.now_ms += LEASE_MS + 200;
    bench.owner.set_now(bench.now_ms);
    while bench.count_ops(is_read) > 0 {
        bench.end_op(is_read, Ok(()));
    }
    bench.wait(1000);
    let writes = bench.count_ops(|_, io| matches!(io, Io::CopyWrite { .. } | Io::Write { .. } | Io::Zero { .. }));
    assert_eq!(writes, 0, "{:?}", bench.ops);
    assert!(bench.events.contains(&Event::OwnerLost));
}

/// Once showed: a read that was not sent when the lease ended was said to have failed on its legs, although one has the
/// block: the mirror is offline then, and that is what its host is to hear.
#[test]
fn a_read_not_sent_before_the_end_of_the_lease_ends_as_offline() {
    let mut bench = leased(&[IN, IN]);
    bench.channels[0].reset_began(slot(0));
    bench.channels[0].reset_began(slot(1));
    let read = bench.send(0, Op::Read, 0, 1);
    assert_eq!((bench.slots_of(read).len(), bench.outcome(read)), (0, None));
    bench.hold = |_, _| true;
    bench.wait(2 * LEASE_MS);
    assert!(bench.events.contains(&Event::OwnerLost));
    assert_eq!(bench.outcome(read), Some(Outcome::Failed(Failure::Offline)));
}
