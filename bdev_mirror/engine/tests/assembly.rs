//! Whether a mirror starts, and from what: each rule alone, by superblocks that nothing but that rule tells apart.

use LegState::{InSync, Inconsistent, Stale};
use mirror_engine::assembly::{Allowed, Found, NoReturn, Plan, Refusal, Rejected, Verdict, judge, judge_return};
use mirror_engine::format::{COUNTER_MAX, Geometry, LegRecord, LegState, LogType, Superblock};
use mirror_engine::lease::{has_stopped, owners};
use mirror_engine::{LegMask, OwnerId, Slot};
use uuid::Uuid;

const NEEDED_BLOCKS: u64 = 1024 + 800;

fn slot(index: usize) -> Slot {
    Slot::new(index).unwrap()
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A leg: its slot, its generation, and what it says of each slot from 0 on, with the last generation in sync.
fn leg(own: usize, generation: u64, says: &[(LegState, u64)]) -> Found {
    let mut legs: [LegRecord; 16] = Default::default();
    for (index, &(state, last_in_sync)) in says.iter().enumerate() {
        let uuid = uuid(100 + index as u128);
        legs[index] = LegRecord { uuid, state, last_in_sync, blocks: NEEDED_BLOCKS, ..LegRecord::default() };
    }
    let superblock = Superblock {
        mirror: uuid(1),
        name: "m".into(),
        leg: legs[own].uuid,
        slot: slot(own),
        sequence: 1,
        generation,
        clean: false,
        log_lost: false,
        source: None,
        geometry: Geometry { block_bytes: 512, blocks: 800, region_blocks: 8, data_offset_blocks: 1024 },
        log: LogType::Internal,
        log_uuid: Uuid::nil(),
        owner: OwnerId { machine: uuid(2), boot: uuid(3), instance: uuid(4) },
        lease_ms: 0,
        heartbeat: 0,
        legs,
        unknown_compatible: 0,
        unknown_read_only: 0,
    };
    Found { superblock, next_copy: 0, identity: Uuid::nil(), blocks: NEEDED_BLOCKS }
}

const NOTHING: Allowed = Allowed { degraded: false, force: false, accept_inconsistent: false, winner: None };
const FORCE: Allowed = Allowed { force: true, ..NOTHING };

fn winner(index: usize) -> Allowed {
    Allowed { winner: Some(slot(index)), ..NOTHING }
}

fn start(found: &[Found], allowed: Allowed) -> Plan {
    match judge(found, allowed, 0) {
        Verdict::Start(plan) => plan,
        other => panic!("{other:?}"),
    }
}

/// State, last generation in sync, and whether it gets everything, of every slot.
fn legs(plan: &Plan) -> Vec<(LegState, u64, bool)> {
    plan.legs.iter().map(|leg| (leg.record.state, leg.record.last_in_sync, leg.full)).collect()
}

fn diverged(one: usize, other: usize) -> Verdict {
    Verdict::Refuse(Refusal::Diverged { one: slot(one), other: slot(other) })
}

#[test]
fn all_legs_in_sync_start_by_themselves() {
    let mut found = [leg(0, 5, &[(InSync, 4), (InSync, 4)]), leg(1, 5, &[(InSync, 4), (InSync, 4)])];
    found[1].superblock.sequence = 2;
    found[1].superblock.source = Some(slot(0));
    let plan = start(&found, NOTHING);
    assert_eq!((plan.head, plan.generation, plan.fork, plan.source), (1, 6, false, Some(slot(0))));
    assert_eq!(legs(&plan), [(InSync, 5, false), (InSync, 5, false)]);
}

#[test]
fn a_leg_that_the_newest_knows_in_its_last_generation_comes_back_for_the_rest() {
    // It lists nobody that the newest one is, so only the number speaks for it.
    let of_leg = |generation| leg(1, generation, &[(Stale, 1), (InSync, 2), (InSync, 2)]);
    let head = leg(0, 5, &[(InSync, 5), (Stale, 3), (Stale, 1)]);
    let plan = start(&[head.clone(), of_leg(3)], NOTHING);
    assert_eq!(legs(&plan)[..2], [(InSync, 5, false), (Stale, 3, false)]);
    assert!(!plan.fork && plan.holds_log());
    assert_eq!(judge(&[of_leg(4), head], NOTHING, 0), diverged(0, 1));
}

#[test]
fn a_record_that_reached_some_legs_only_sets_none_of_them_apart() {
    let mut head = leg(0, 5, &[(InSync, 4), (InSync, 0)]);
    head.superblock.sequence = 2;
    let plan = start(&[head, leg(1, 5, &[(Stale, 4), (InSync, 4)])], NOTHING);
    assert_eq!(legs(&plan), [(InSync, 5, false), (InSync, 5, false)]);
}

#[test]
fn a_leg_that_never_ran_without_the_newest_fits() {
    let head = leg(0, 5, &[(InSync, 4), (Stale, 3)]);
    let with = leg(1, 4, &[(InSync, 3), (InSync, 3)]);
    assert_eq!(legs(&start(&[head.clone(), with.clone()], NOTHING)), [(InSync, 5, false), (Stale, 3, false)]);
    let mut another = with.clone();
    another.superblock.legs[0].uuid = uuid(999);
    assert_eq!(judge(&[head.clone(), another], NOTHING, 0), diverged(0, 1), "another leg was in that slot");
    let without = leg(1, 4, &[(Stale, 3), (InSync, 3)]);
    assert_eq!(judge(&[head, without], NOTHING, 0), diverged(0, 1));
}

#[test]
fn a_leg_out_of_sync_fits_if_those_that_it_lists_are_known() {
    let says = [(Stale, 1), (Inconsistent, 0), (InSync, 4)];
    let head = |of_third| leg(0, 5, &[(InSync, 5), (Stale, 0), (Stale, of_third)]);
    let plan = start(&[head(4), leg(1, 4, &says)], NOTHING);
    // What it admits of itself is kept.
    assert_eq!(legs(&plan)[1], (Inconsistent, 0, false));
    // Its history is not the newest one's: it has nothing that anybody relies on, and gets everything.
    assert_eq!(legs(&start(&[head(3), leg(1, 4, &says)], NOTHING))[1], (Inconsistent, 0, true));
    let mut another = leg(1, 4, &says);
    another.superblock.legs[2].uuid = uuid(999);
    assert!(legs(&start(&[head(4), another], NOTHING))[1].2);
}

#[test]
fn a_leg_that_is_recorded_in_sync_is_so_whatever_its_older_record_says() {
    let found = [leg(0, 5, &[(InSync, 5), (InSync, 0)]), leg(1, 4, &[(InSync, 4), (Inconsistent, 0)])];
    assert_eq!(legs(&start(&found, NOTHING)), [(InSync, 5, false), (InSync, 4, false)]);
}

#[test]
fn the_winner_is_kept_and_who_ran_without_it_gets_everything() {
    let found = [leg(0, 5, &[(InSync, 5), (InSync, 4)]), leg(1, 7, &[(Stale, 4), (InSync, 7)])];
    assert_eq!(start(&found, NOTHING).head, 1, "the first one's last record says that it may have gone on");
    let plan = start(&found, winner(0));
    assert_eq!((plan.head, plan.fork), (0, true));
    assert_eq!(legs(&plan), [(InSync, 5, false), (Stale, 4, true)]);
    assert!(plan.generation > 8, "beyond all that the other one may have counted to");
    let plan = start(&found, winner(1));
    assert_eq!((plan.head, legs(&plan)), (1, vec![(Stale, 4, false), (InSync, 7, false)]));
}

#[test]
fn a_winner_is_there_and_in_sync_with_itself() {
    let found = [leg(0, 5, &[(InSync, 5), (Stale, 4)]), leg(1, 4, &[(InSync, 4), (Stale, 4)])];
    for index in [1, 2] {
        let refusal = Refusal::NoSuchWinner { slot: slot(index) };
        assert_eq!(judge(&found, winner(index), 0), Verdict::Refuse(refusal));
    }
    assert_eq!(judge(&[], winner(0), 0), Verdict::Refuse(Refusal::Nothing));
    assert_eq!(judge(&[], NOTHING, 0), Verdict::Refuse(Refusal::Nothing));
}

#[test]
fn without_a_listed_leg_somebody_has_to_allow_it() {
    let found = [leg(0, 5, &[(InSync, 5), (InSync, 5)])];
    assert_eq!(judge(&found, NOTHING, 0), Verdict::Wait { missing: LegMask::only(slot(1)) });
    let plan = start(&found, Allowed { degraded: true, ..NOTHING });
    assert_eq!((plan.fork, legs(&plan)), (true, vec![(InSync, 5, false), (Stale, 5, false)]));
    assert!(!plan.holds_log(), "the leg left behind may have cleared what this one lacks");
}

#[test]
fn force_takes_the_stale_leg_that_was_in_sync_last() {
    let newest = leg(1, 8, &[(InSync, 8), (Stale, 5), (Stale, 6)]);
    let longest = leg(2, 7, &[(InSync, 7), (Stale, 5), (Stale, 6)]);
    let found = [newest, longest];
    assert_eq!(judge(&found, NOTHING, 0), Verdict::Wait { missing: LegMask::only(slot(0)) });
    let degraded = Allowed { degraded: true, ..NOTHING };
    assert_eq!(judge(&found, degraded, 0), Verdict::Refuse(Refusal::OnlyStale));
    let plan = start(&found, FORCE);
    assert_eq!((plan.head, plan.fork), (1, true));
    // What the others did after it is no part of its history.
    assert_eq!(legs(&plan), [(Stale, 6, false), (Stale, 5, true), (InSync, 7, false)]);
}

#[test]
fn force_takes_what_a_resync_was_writing_only_if_that_is_allowed() {
    let found = [leg(1, 8, &[(InSync, 8), (Inconsistent, 5)])];
    assert_eq!(judge(&found, FORCE, 0), Verdict::Refuse(Refusal::OnlyInconsistent));
    let plan = start(&found, Allowed { accept_inconsistent: true, ..FORCE });
    assert_eq!(legs(&plan)[1].0, InSync);
}

#[test]
fn legs_are_rejected_for_what_they_are() {
    let says = [(InSync, 5), (InSync, 5)];
    let mut head = leg(0, 5, &says);
    head.superblock.sequence = 2;
    let rejected = |other: Found| start(&[head.clone(), other], Allowed { degraded: true, ..NOTHING }).rejected;
    let mut other = leg(1, 5, &says);
    assert_eq!(rejected(other.clone()), []);
    other.blocks = NEEDED_BLOCKS - 1;
    let shrunk = Rejected::Shrunk { expected: NEEDED_BLOCKS, found: NEEDED_BLOCKS - 1 };
    assert_eq!(rejected(other), [(1, shrunk)]);
    let mut other = leg(1, 5, &says);
    other.superblock.mirror = uuid(9);
    assert_eq!(rejected(other), [(1, Rejected::Foreign { expected: uuid(1), found: uuid(9) })]);
    let mut other = leg(1, 5, &says);
    other.superblock.leg = uuid(9);
    assert_eq!(rejected(other), [(1, Rejected::Replaced { expected: uuid(101), found: uuid(9) })]);
    let mut other = leg(1, 5, &says);
    other.superblock.geometry.region_blocks = 16;
    assert_eq!(rejected(other), [(1, Rejected::OtherGeometry)]);
    let twins = [head.clone(), leg(1, 5, &says), leg(1, 5, &says)];
    let cloned = || Rejected::Cloned { leg: uuid(101) };
    assert_eq!(start(&twins, Allowed { degraded: true, ..NOTHING }).rejected, [(1, cloned()), (2, cloned())]);
}

#[test]
fn an_identity_speaks_only_where_there_are_two() {
    let says = [(InSync, 5), (InSync, 5)];
    let rejected = |on_record, there| {
        let mut other = leg(1, 5, &says);
        other.superblock.legs[1].identity = on_record;
        other.identity = there;
        start(&[leg(0, 5, &says), other], Allowed { degraded: true, ..NOTHING }).rejected
    };
    for (on_record, there) in [(Uuid::nil(), uuid(7)), (uuid(7), Uuid::nil()), (uuid(7), uuid(7))] {
        assert_eq!(rejected(on_record, there), []);
    }
    assert_eq!(rejected(uuid(7), uuid(8)), [(1, Rejected::OtherBdev { expected: uuid(7), found: uuid(8) })]);
}

#[test]
fn a_rejected_leg_of_this_mirror_still_tells_that_it_ran_alone() {
    let head = leg(0, 5, &[(InSync, 5), (Stale, 2)]);
    let mut other = leg(1, 4, &[(Stale, 2), (InSync, 4)]);
    other.superblock.leg = uuid(9);
    assert_eq!(judge(&[head.clone(), other.clone()], NOTHING, 0), diverged(0, 1));
    other.superblock.mirror = uuid(8);
    assert_eq!(start(&[head, other], NOTHING).rejected.len(), 1, "one of another mirror tells nothing");
}

#[test]
fn a_leg_comes_back_to_a_mirror_whose_history_is_its_own() {
    let head = leg(0, 9, &[(InSync, 9), (Stale, 3), (Stale, 4)]).superblock;
    let returns = |leg: &Found| judge_return(&head, leg);
    // Each is known by one rule alone: its number, a leg that serves, those that it lists.
    assert_eq!(returns(&leg(1, 3, &[(Stale, 1), (InSync, 3), (Stale, 4)])), Ok(false));
    let mut by_number = leg(1, 3, &[(Stale, 1), (InSync, 3), (InSync, 3)]);
    by_number.superblock.legs[2].uuid = uuid(999);
    assert_eq!(returns(&by_number), Ok(false));
    assert_eq!(returns(&leg(1, 5, &[(InSync, 5), (InSync, 5), (Stale, 4)])), Ok(false));
    assert_eq!(returns(&leg(1, 4, &[(Stale, 1), (Inconsistent, 0), (InSync, 4)])), Ok(false));
    // Known by none.
    assert_eq!(returns(&leg(1, 5, &[(Stale, 1), (InSync, 5), (InSync, 5)])), Err(NoReturn::Diverged));
    assert_eq!(returns(&leg(1, 5, &[(Stale, 1), (Inconsistent, 0), (InSync, 5)])), Ok(true));
    let mut shrunk = leg(1, 3, &[(InSync, 3), (InSync, 3), (InSync, 3)]);
    shrunk.blocks = 0;
    assert!(matches!(returns(&shrunk), Err(NoReturn::Rejected(Rejected::Shrunk { .. }))));
    let mut replaced = leg(1, 3, &[(InSync, 3), (InSync, 3), (InSync, 3)]);
    replaced.superblock.leg = uuid(9);
    assert!(matches!(returns(&replaced), Err(NoReturn::Rejected(Rejected::Replaced { .. }))));
}

#[test]
fn a_leg_that_went_back_is_no_candidate() {
    // Leg 1 is known to have taken generation 9, and holds 7: what else it lost is not known.
    let head = leg(0, 9, &[(InSync, 9), (InSync, 9)]);
    let back = leg(1, 7, &[(InSync, 7), (InSync, 7)]);
    let plan = start(&[head.clone(), back.clone()], NOTHING);
    assert_eq!((plan.fork, legs(&plan)), (true, vec![(InSync, 9, false), (Stale, 9, true)]));
    assert_eq!(judge_return(&head.superblock, &back), Ok(true));
    // One that only missed the record that was on its way is as good as ever.
    let late = leg(1, 7, &[(InSync, 7), (InSync, 7)]);
    let head = leg(0, 9, &[(InSync, 7), (InSync, 7)]);
    let plan = start(&[head.clone(), late.clone()], NOTHING);
    assert_eq!((plan.fork, legs(&plan)), (false, vec![(InSync, 9, false), (InSync, 7, false)]));
    assert_eq!(judge_return(&head.superblock, &late), Ok(false));
}

#[test]
fn a_leg_with_a_number_beyond_all_counting_is_rejected() {
    let high = (COUNTER_MAX / 2) + 1;
    let found = [leg(0, 5, &[(InSync, 5), (InSync, 5)]), leg(1, high, &[(InSync, 5), (InSync, 5)])];
    let plan = start(&found, Allowed { degraded: true, ..NOTHING });
    assert_eq!(plan.rejected, [(1, Rejected::TooHighNumber { field: "generation", found: high })]);
    assert!(plan.generation < COUNTER_MAX / 4);
    let rejected = NoReturn::Rejected(Rejected::TooHighNumber { field: "generation", found: high });
    assert_eq!(judge_return(&found[0].superblock, &found[1]), Err(rejected));
    let mut often = leg(1, 5, &[(InSync, 5), (InSync, 5)]);
    often.superblock.sequence = high;
    let plan = start(&[found[0].clone(), often], Allowed { degraded: true, ..NOTHING });
    assert_eq!(plan.rejected, [(1, Rejected::TooHighNumber { field: "sequence", found: high })]);
    assert_eq!((plan.sequence, plan.heartbeat), (1, 0));
    let most = leg(0, COUNTER_MAX / 2, &[(InSync, 5)]);
    assert!(start(&[most], NOTHING).generation > COUNTER_MAX / 2);
}

/// A leg's superblock, with the owner that it names and the heartbeat.
fn owned(found: Found, owner: u128, heartbeat: u64) -> Superblock {
    let owner = OwnerId { instance: uuid(owner), ..found.superblock.owner };
    Superblock { owner, heartbeat, ..found.superblock }
}

/// Once showed: a successor asked after the dead owner of the leg of the highest generation alone, and began while the owner
/// of the other one wrote.
#[test]
fn a_leg_that_went_its_own_way_may_have_an_owner_of_its_own() {
    let dead = owned(leg(1, 9, &[(Stale, 3), (InSync, 9)]), 20, 1);
    let alive = owned(leg(0, 7, &[(InSync, 7), (Stale, 3)]), 21, 5);
    assert_eq!(owners(&[&alive, &dead]), [&dead, &alive]);
}

#[test]
fn the_owner_of_a_leg_that_was_left_behind_is_gone() {
    let newest = owned(leg(1, 9, &[(Stale, 3), (InSync, 9)]), 20, 1);
    let behind = owned(leg(0, 3, &[(InSync, 2), (InSync, 2)]), 21, 500);
    assert_eq!(owners(&[&behind, &newest]), [&newest]);
    assert!(owners(&[]).is_empty());
}

#[test]
fn an_owner_has_stopped_when_all_legs_in_sync_have_its_record() {
    let both = [(InSync, 4), (InSync, 4)];
    let clean = |index: usize| Superblock { clean: true, ..owned(leg(index, 5, &both), 20, 7) };
    let behind = owned(leg(1, 4, &both), 20, 6);
    let of = |legs: &[Superblock]| has_stopped(&legs[0], legs.iter());
    assert!(of(&[clean(0), clean(1)]));
    assert!(!of(&[clean(0), behind.clone()]));
    assert!(!of(&[clean(0)]), "the other one is not there, its record may be on its way");
    assert!(!of(&[behind]));
}
