//! Whether a mirror may start, from what stands on its legs.

use crate::bench::{IN, STALE, Setup, slot};
use mirror_engine::assembly::{Allowed, Found, Verdict, judge};
use mirror_engine::format::{LegState, LogType};
use mirror_engine::*;
use uuid::Uuid;

/// The leg in a slot with a record of this generation, which lists these states.
fn found(index: usize, generation: u64, states: [LegState; 3]) -> Found {
    let bench = Setup { log: LogType::Internal, legs: &[IN, IN, IN], ..Setup::default() }.start();
    let mut superblock = bench.owner.head().unwrap();
    superblock.slot = slot(index);
    superblock.leg = superblock.legs[index].uuid;
    superblock.generation = generation;
    for (leg, state) in superblock.legs.iter_mut().zip(states) {
        leg.state = state;
        leg.last_in_sync = generation - 1;
    }
    Found { superblock, next_copy: 0, identity: Uuid::nil(), blocks: 1 << 20 }
}

/// Once showed: a record that leg 1 is out was written to leg 2, which was coming back, and to no other leg when the power
/// failed. Legs 0 and 1 started without leg 2, by the record before; leg 0 was lost, and leg 1 took writes alone. After
/// another crash legs 2 and 0 started by themselves, since the record on leg 2 was the newest there and lists leg 0 alone.
#[test]
fn a_record_that_never_counted_starts_nothing() {
    let leg_0 = found(0, 3, [IN, IN, STALE]);
    for (states, name) in [
        ([IN, STALE, LegState::Inconsistent], "coming back"),
        // The same record may have been the one that called it in sync.
        ([IN, STALE, IN], "being promoted"),
    ] {
        let leg_2 = found(2, 4, states);
        for legs in [[leg_2.clone(), leg_0.clone()], [leg_0.clone(), leg_2.clone()]] {
            let verdict = judge(&legs, Allowed::default(), 7);
            assert_eq!(verdict, Verdict::Wait { missing: LegMask::only(slot(1)) }, "leg 2 was {name}");
        }
    }
}

/// The counterpart: the same record counts once the leg that it lists in sync has it too.
#[test]
fn a_record_that_counted_starts_without_the_leg_that_is_out() {
    let states = [IN, STALE, LegState::Inconsistent];
    let verdict = judge(&[found(0, 4, states), found(2, 4, states)], Allowed::default(), 7);
    assert!(matches!(verdict, Verdict::Start(_)), "{verdict:?}");
    // And where the leg in sync has it alone.
    let verdict = judge(&[found(0, 4, states), found(1, 3, [IN, IN, STALE])], Allowed::default(), 7);
    assert!(matches!(verdict, Verdict::Start(_)), "{verdict:?}");
}
