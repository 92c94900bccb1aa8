use super::*;
use proptest::prelude::*;
use uuid::Uuid;

const FINITE: LeaseOptions = LeaseOptions { owner_lease_ms: 20_000, heartbeat_ms: 2_000 };

#[test]
fn a_finite_lease_outlasts_a_leg_that_hangs() {
    let with = |owner_lease_ms| LeaseOptions { owner_lease_ms, heartbeat_ms: 2_000 }.check(15_000);
    assert_eq!(with(0), Ok(()));
    assert_eq!(with(19_001), Ok(()));
    assert_eq!(
        with(19_000).unwrap_err().to_string(),
        "owner_lease_ms: expected 0 (infinite) or more than 19000: leg_timeout_ms 15000 plus two times heartbeat_ms \
         2000, found 19000"
    );
}

#[test]
fn time_counts_from_the_issue() {
    let mut lease = Lease::new(FINITE);
    assert!(!lease.may_write(0) && lease.heartbeat_due(0));
    lease.issued(1_000);
    assert!(!lease.heartbeat_due(9_000), "one at a time");
    assert!(!lease.may_write(9_000));
    assert_eq!(lease.succeeded(1_000), 21_000);
    assert!(lease.may_write(20_999) && !lease.may_write(21_000));
    assert!(lease.heartbeat_due(9_000), "the first took long");
    lease.issued(9_000);
    lease.failed();
    assert!(!lease.heartbeat_due(10_999) && lease.heartbeat_due(11_000));
    assert_eq!(lease.valid_until_ms(), 21_000);
}

#[test]
fn an_infinite_lease_needs_nothing() {
    let lease = Lease::new(LeaseOptions::default());
    assert!(lease.may_write(u64::MAX) && !lease.heartbeat_due(u64::MAX));
}

#[test]
fn another_owner_ends_even_an_infinite_lease() {
    let mut lease = Lease::new(LeaseOptions::default());
    lease.lost();
    assert!(!lease.may_write(0) && !lease.heartbeat_due(0));
    assert_eq!(lease.valid_until_ms(), 0);
}

#[test]
fn a_lease_that_becomes_finite_ends_as_soon_as_a_successor_may_know() {
    let mut lease = Lease::new(LeaseOptions::default());
    lease.set_options(FINITE);
    assert!(lease.may_write(u64::MAX) && lease.heartbeat_due(5_000));
    lease.issued(5_000);
    assert!(lease.may_write(24_999) && !lease.may_write(25_000));
    // It may have landed although it failed.
    lease.failed();
    assert!(!lease.may_write(25_000));
    lease.issued(7_000);
    assert_eq!(lease.succeeded(7_000), 27_000);
}

#[test]
fn a_lease_that_becomes_infinite_is_so_once_that_is_durable() {
    let mut lease = Lease::new(FINITE);
    lease.issued(0);
    lease.succeeded(0);
    lease.set_options(LeaseOptions::default());
    assert!(!lease.may_write(20_000) && lease.heartbeat_due(2_000));
    lease.issued(2_000);
    assert!(!lease.may_write(20_000));
    assert_eq!(lease.succeeded(2_000), u64::MAX);
    assert!(lease.may_write(u64::MAX) && !lease.heartbeat_due(u64::MAX));
}

fn owner(machine: u128, boot: u128, instance: u128) -> OwnerId {
    OwnerId { machine: Uuid::from_u128(machine), boot: Uuid::from_u128(boot), instance: Uuid::from_u128(instance) }
}

fn seen(owner: OwnerId) -> OwnerSeen {
    OwnerSeen { owner, owner_lease_ms: 0, stopped: false, first_seen_ms: 1_000, lock_file_free: None }
}

#[test]
fn no_wait_where_the_owner_is_known_to_be_dead() {
    let ours = owner(1, 2, 3);
    let cases = [
        (seen(OwnerId::NIL), OwnerGone::Nobody),
        (seen(ours), OwnerGone::Ourselves),
        (OwnerSeen { stopped: true, ..seen(owner(9, 9, 9)) }, OwnerGone::Stopped),
        (OwnerSeen { lock_file_free: Some(false), ..seen(owner(1, 9, 9)) }, OwnerGone::Rebooted),
        (OwnerSeen { lock_file_free: Some(true), ..seen(owner(1, 2, 9)) }, OwnerGone::LockFree),
    ];
    for (seen, reason) in cases {
        assert_eq!(takeover(&seen, &ours, 30_000, 1_000), Takeover::Now(reason));
    }
}

#[test]
fn an_infinite_lease_of_an_owner_that_may_live_is_refused() {
    let ours = owner(1, 2, 3);
    for (theirs, lock_file_free) in [
        (owner(4, 5, 6), None),
        // A lock on this machine says nothing of a process on another one.
        (owner(4, 5, 6), Some(true)),
        (owner(4, 2, 6), Some(true)),
        (owner(0, 5, 6), Some(true)),
        (owner(1, 2, 6), Some(false)),
        (owner(1, 2, 6), None),
        (owner(1, 0, 6), None),
    ] {
        let seen = OwnerSeen { lock_file_free, ..seen(theirs) };
        assert_eq!(takeover(&seen, &ours, 30_000, u64::MAX), Takeover::RefusedInfinite, "{theirs:?}");
    }
    // Nobody knows which machine it is on, itself included.
    assert_eq!(takeover(&seen(owner(0, 0, 1)), &owner(0, 0, 2), 0, 0), Takeover::RefusedInfinite);
}

#[test]
fn a_finite_lease_is_waited_for_and_the_longest_io_with_it() {
    let seen = OwnerSeen { owner_lease_ms: 20_000, ..seen(owner(4, 5, 6)) };
    let ours = owner(1, 2, 3);
    assert_eq!(takeover(&seen, &ours, 30_000, 50_999), Takeover::Wait { until_ms: 51_000 });
    assert_eq!(takeover(&seen, &ours, 30_000, 51_000), Takeover::Now(OwnerGone::LeaseOver));
}

#[test]
fn a_change_taken_back_after_a_failed_heartbeat_is_made_durable_too() {
    let mut lease = Lease::new(LeaseOptions::default());
    lease.set_options(FINITE);
    lease.issued(0);
    lease.failed();
    lease.set_options(LeaseOptions::default());
    assert!(lease.heartbeat_due(2_000));
    lease.issued(2_000);
    assert_eq!(lease.succeeded(2_000), u64::MAX);
}

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    /// The heartbeat in flight, or the next one, lands on the leg; the owner may hear of it later or never.
    Land,
    Hear,
    Fail,
    Change(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u64..6_000).prop_map(Event::Pass),
        4 => Just(Event::Land),
        4 => Just(Event::Hear),
        1 => Just(Event::Fail),
        1 => prop::sample::select(vec![20_000_u64, 30_000, 25_000, 0]).prop_map(Event::Change),
    ]
}

proptest! {
    /// A successor watches the leg all the time. Whatever is delayed, lost or changed: when it may take over, the owner
    /// may not write any more.
    #[test]
    fn owner_and_successor_never_write_both(
        first in prop::sample::select(vec![20_000_u64, 0]),
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut options = LeaseOptions { owner_lease_ms: first, heartbeat_ms: 2_000 };
        let mut lease = Lease::new(options);
        let mut now_ms = 1_000_000;
        // What the leg holds: its lease, and when it landed. Ownership itself was written at the start.
        let (mut on_leg, mut in_flight) = ((first, now_ms), None::<(u64, u64, bool)>);
        for event in events {
            match event {
                Event::Pass(ms) => now_ms += ms,
                Event::Land => {
                    if let Some((_, lease_ms, landed)) = &mut in_flight {
                        if !*landed {
                            on_leg = (*lease_ms, now_ms);
                        }
                        *landed = true;
                    }
                }
                Event::Hear => {
                    if let Some((issued_ms, _, true)) = in_flight {
                        let before_ms = lease.valid_until_ms();
                        prop_assert!(lease.succeeded(issued_ms) >= before_ms);
                        in_flight = None;
                    }
                }
                Event::Fail => {
                    if in_flight.take().is_some() {
                        lease.failed();
                    }
                }
                Event::Change(owner_lease_ms) => {
                    options.owner_lease_ms = owner_lease_ms;
                    lease.set_options(options);
                }
            }
            if lease.heartbeat_due(now_ms) {
                lease.issued(now_ms);
                in_flight = Some((now_ms, options.owner_lease_ms, false));
            }
            let (owner_lease_ms, first_seen_ms) = on_leg;
            let seen = OwnerSeen { owner_lease_ms, first_seen_ms, ..seen(owner(4, 5, 6)) };
            if let Takeover::Now(_) = takeover(&seen, &owner(1, 2, 3), 0, now_ms) {
                prop_assert!(!lease.may_write(now_ms));
            }
        }
    }
}
