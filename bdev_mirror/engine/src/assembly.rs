//! Whether a mirror may start from the legs that are there, and from which of them.
//!
//! Each leg's superblock says which legs were in sync at its generation, and for every slot the last generation at which
//! that one was in sync: its ancestry. From that follows who ran without whom, whatever the numbers are.

mod refusal;

use crate::format::{COUNTER_MAX, Superblock};
use crate::format::{LegRecord, LegState};
use crate::mutant::mutant;
use crate::{LegMask, MAX_LEGS, Slot};
pub use refusal::{Refusal, Rejected};
use uuid::Uuid;

/// Bits of a generation that count records; those above count starts that left legs in sync behind.
const RECORD_BITS: u32 = 44;

/// Highest generation, sequence and heartbeat that a leg may bring: from there to the highest that a superblock may have, a
/// mirror counts on through more starts than it will ever see.
const NUMBER_MAX: u64 = COUNTER_MAX / 2;

/// The generation of a start. No number is ever given twice, whatever of its records a crash leaves on a leg that is not
/// here now: each start begins at a distance of its own from what is known, and one that leaves legs in sync behind beyond
/// all that those may reach without it.
const fn start_generation(head: u64, seen: u64, fork: bool, tag: u32) -> u64 {
    if fork {
        // One bit is left free, so that counting on does not reach the upper part.
        ((seen >> RECORD_BITS) + 1) << RECORD_BITS | (tag as u64) << (RECORD_BITS - 1 - u32::BITS)
    } else {
        head + 1 + (tag & 0xff_ffff) as u64
    }
}

/// A leg that is there.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its newest superblock.
    pub superblock: Superblock,
    /// Which copy of it does not hold the newest.
    pub next_copy: usize,
    /// The stable identity of its base bdev; nil: none.
    pub identity: Uuid,
    /// The size of its base bdev in blocks.
    pub blocks: u64,
}

/// What an operator allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Start without legs that are listed as in sync.
    pub degraded: bool,
    /// Start from a stale leg if there is no better one: acknowledged writes are lost.
    pub force: bool,
    /// Start even from a leg that was being written by a resync: its data may never have been whole.
    pub accept_inconsistent: bool,
    /// Of legs that each ran alone, the one whose data is kept.
    pub winner: Option<Slot>,
}

/// Whether it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, so.
    Start(Plan),
    /// Not by itself: these legs are listed as in sync and are not there.
    Wait {
        /// Their slots.
        missing: LegMask,
    },
    /// No.
    Refuse(Refusal),
}

/// How it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The leg whose superblock the start goes by, an index into what was found.
    pub head: usize,
    /// The generation that the start records.
    pub generation: u64,
    /// The highest sequence and the highest heartbeat that any leg of the mirror brings: the start counts on from them.
    pub sequence: u64,
    /// See there.
    pub heartbeat: u64,
    /// Legs that are listed as in sync are left behind.
    pub fork: bool,
    /// Every slot that has a leg, with its state from now on.
    pub legs: Vec<PlanLeg>,
    /// The leg that suspect regions are copied from, if an earlier start chose one.
    pub source: Option<Slot>,
    /// Legs that take no part.
    pub rejected: Vec<(usize, Rejected)>,
}

impl Plan {
    /// Whether the maps of a log device hold for this start. Legs that are left behind may have gone on with the log, by the
    /// same records as always: it then says clean where they are alike, and the legs of this start are not.
    #[must_use]
    pub const fn holds_log(&self) -> bool {
        !self.fork
    }
}

/// A slot in a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLeg {
    /// The slot.
    pub slot: Slot,
    /// The leg in it, an index into what was found; `None`: it is missing.
    pub found: Option<usize>,
    /// What the record says of it from now on; in sync means that it serves.
    pub record: LegRecord,
    /// When it comes in, it gets everything: what it lacks is not known.
    pub full: bool,
}

/// Judges what was found. `found` are legs of one mirror, in any order; the order decides nothing. `tag` is a random number:
/// no two starts have the same.
#[must_use]
pub fn judge(found: &[Found], allowed: Allowed, tag: u32) -> Verdict {
    let mut rejected = reject_alone(found);
    let is_left = |rejected: &[(usize, Rejected)], index: usize| rejected.iter().all(|(other, _)| *other != index);
    let left: Vec<usize> = (0..found.len()).filter(|&index| is_left(&rejected, index)).collect();
    let Some(head) = choose_head(found, &left, allowed) else {
        return Verdict::Refuse(match allowed.winner {
            Some(slot) if !left.is_empty() => Refusal::NoSuchWinner { slot },
            _ => Refusal::Nothing,
        });
    };
    for &index in &left {
        if let Some(why) = reject_beside(&found[head], &found[index]) {
            rejected.push((index, why));
        }
    }
    let left: Vec<usize> = left.into_iter().filter(|&index| is_left(&rejected, index)).collect();
    if let Some(features) = left.iter().map(|&index| found[index].superblock.unknown_read_only).find(|bits| *bits != 0)
    {
        return Verdict::Refuse(Refusal::ReadOnlyFeatures { features });
    }
    let is_apart = |leg: &Superblock| !fits(leg, &found[head].superblock) || went_back(leg, &found[head].superblock);
    let apart: Vec<usize> = left.iter().copied().filter(|&index| is_apart(&found[index].superblock)).collect();
    if allowed.winner.is_none() && !mutant!(LargerCounterWins) {
        // A leg that was not in sync on its own account has nothing that anybody relies on.
        // One that is not taken for another reason still tells of what happened.
        let outside = rejected.iter().map(|(index, _)| *index).filter(|&index| {
            let superblock = &found[index].superblock;
            superblock.mirror == found[head].superblock.mirror && !fits(superblock, &found[head].superblock)
        });
        let ran = apart.iter().copied().filter(|&index| !fits(&found[index].superblock, &found[head].superblock));
        let ran = ran.chain(outside).find(|&index| is_in_sync_itself(&found[index].superblock));
        if let Some(index) = ran {
            let (one, other) = (found[head].superblock.slot, found[index].superblock.slot);
            return Verdict::Refuse(Refusal::Diverged { one: one.min(other), other: one.max(other) });
        }
    }
    let mut verdict = start_from(found, &left, &apart, head, allowed, rejected);
    if let Verdict::Start(plan) = &mut verdict {
        // Not after a leg that takes no part: its numbers are another history's.
        let head = found[plan.head].superblock.generation;
        let mirror = found[plan.head].superblock.mirror;
        plan.sequence = newest(found, mirror, |superblock| superblock.sequence);
        plan.heartbeat = newest(found, mirror, |superblock| superblock.heartbeat);
        plan.generation = if mutant!(NumberUsedTwice) {
            head + 1
        } else {
            let seen = newest_generation(found, mirror);
            // A record that never counted is left behind like a leg that is.
            let behind = left.iter().any(|&index| found[index].superblock.generation > head);
            start_generation(head, seen, plan.fork || behind, tag)
        };
    }
    verdict
}

/// The highest generation that any leg of this mirror knows, whether it takes part or not.
fn newest_generation(found: &[Found], mirror: Uuid) -> u64 {
    newest(found, mirror, |superblock| superblock.generation)
}

/// The highest number of a kind that any leg of this mirror brings, but those that are too high.
fn newest(found: &[Found], mirror: Uuid, number: impl Fn(&Superblock) -> u64) -> u64 {
    let legs = found.iter().filter(|leg| leg.superblock.mirror == mirror && too_high_number(&leg.superblock).is_none());
    legs.map(|leg| number(&leg.superblock)).max().unwrap_or(0)
}

/// The number of a superblock that nobody could count on from.
fn too_high_number(superblock: &Superblock) -> Option<(&'static str, u64)> {
    let Superblock { generation, sequence, heartbeat, .. } = *superblock;
    [("generation", generation), ("sequence", sequence), ("heartbeat", heartbeat)]
        .into_iter()
        .find(|(_, number)| *number > NUMBER_MAX)
}

/// What is wrong with a leg whatever else is there.
fn reject_alone(found: &[Found]) -> Vec<(usize, Rejected)> {
    let mut rejected = Vec::new();
    if mutant!(AcceptClone) {
        return rejected;
    }
    for (index, leg) in found.iter().enumerate() {
        let superblock = &leg.superblock;
        let record = &superblock.legs[superblock.slot.index()];
        let twin =
            found.iter().enumerate().any(|(other, twin)| other != index && twin.superblock.leg == superblock.leg);
        let needed = superblock.geometry.data_offset_blocks.saturating_add(superblock.geometry.blocks);
        let why = if twin {
            Rejected::Cloned { leg: superblock.leg }
        } else if !record.identity.is_nil() && !leg.identity.is_nil() && record.identity != leg.identity {
            Rejected::OtherBdev { expected: record.identity, found: leg.identity }
        } else if leg.blocks < needed {
            Rejected::Shrunk { expected: needed, found: leg.blocks }
        } else if let Some((field, found)) = too_high_number(superblock) {
            Rejected::TooHighNumber { field, found }
        } else {
            continue;
        };
        rejected.push((index, why));
    }
    rejected
}

/// What is wrong with a leg beside the one that the start goes by.
fn reject_beside(head: &Found, leg: &Found) -> Option<Rejected> {
    let (head, leg) = (&head.superblock, &leg.superblock);
    let on_record = head.legs[leg.slot.index()].uuid;
    if head.mirror != leg.mirror {
        Some(Rejected::Foreign { expected: head.mirror, found: leg.mirror })
    } else if on_record != leg.leg && !mutant!(AcceptClone) {
        Some(Rejected::Replaced { expected: on_record, found: leg.leg })
    } else if head.geometry != leg.geometry {
        Some(Rejected::OtherGeometry)
    } else {
        None
    }
}

/// The leg with the newest superblock, or the winner.
fn choose_head(found: &[Found], left: &[usize], allowed: Allowed) -> Option<usize> {
    match allowed.winner {
        Some(slot) => left.iter().copied().find(|&index| {
            let superblock = &found[index].superblock;
            superblock.slot == slot && is_in_sync_itself(superblock)
        }),
        None => left.iter().copied().filter(|&index| !is_cut_short(found, left, index)).max_by_key(|&index| {
            let superblock = &found[index].superblock;
            (superblock.generation, superblock.sequence, superblock.leg)
        }),
    }
}

/// Whether a leg's record is known not to have counted, and may be one that nobody knew of since: a leg that it lists in sync
/// is there and did not take it, and does not list this one, so that a start could go by that record without this leg.
fn is_cut_short(found: &[Found], left: &[usize], index: usize) -> bool {
    let record = &found[index].superblock;
    left.iter().map(|&other| &found[other].superblock).any(|other| {
        other.generation < record.generation
            && has_in_sync(record, other, other.slot)
            && !has_in_sync(other, record, record.slot)
    })
}

/// Whether a leg holds less than it is known to have taken durably: an image of it was restored, its drive lied about a flush,
/// or its newest record decayed. What else it lost is not known.
fn went_back(leg: &Superblock, head: &Superblock) -> bool {
    let record = &head.legs[leg.slot.index()];
    record.uuid == leg.leg && leg.generation < record.last_in_sync
}

fn is_in_sync_itself(superblock: &Superblock) -> bool {
    superblock.in_sync().contains(superblock.slot)
}

/// Whether all that a leg went through is known to the leg of `head`: its generation is no later than the last that `head`
/// knows it to have taken in sync, or is the same, or it never ran without that leg.
pub(crate) fn fits(leg: &Superblock, head: &Superblock) -> bool {
    leg.generation <= head.legs[leg.slot.index()].last_in_sync
        || leg.generation == head.generation
        || has_in_sync(leg, head, head.slot)
        || (!is_in_sync_itself(leg) && is_known_record(leg, head))
}

/// Whether a leg lists the very leg in sync that `head` has in that slot: not another one that was there once, nor one whose
/// contents were replaced since, which gets a new uuid.
fn has_in_sync(leg: &Superblock, head: &Superblock, slot: Slot) -> bool {
    leg.in_sync().contains(slot) && leg.legs[slot.index()].uuid == head.legs[slot.index()].uuid
}

/// Whether a leg that was not in sync holds a record of the same history: every leg that it lists as in sync is known to have
/// been so at that generation or later.
fn is_known_record(leg: &Superblock, head: &Superblock) -> bool {
    leg.in_sync().iter().all(|slot| {
        let (theirs, ours) = (&leg.legs[slot.index()], &head.legs[slot.index()]);
        theirs.uuid == ours.uuid && ours.last_in_sync >= leg.generation
    })
}

fn start_from(
    found: &[Found],
    left: &[usize],
    apart: &[usize],
    head: usize,
    allowed: Allowed,
    rejected: Vec<(usize, Rejected)>,
) -> Verdict {
    let in_slot = |slot: Slot| left.iter().copied().find(|&index| found[index].superblock.slot == slot);
    let listed = found[head].superblock.in_sync();
    let present = listed.iter().filter(|&slot| in_slot(slot).is_some_and(|index| !apart.contains(&index)));
    let serving = present.fold(LegMask::NONE, LegMask::with);
    // One that went back is there and is no candidate: nothing is gained by waiting for it.
    let returned = listed.iter().filter(|&slot| {
        in_slot(slot).is_some_and(|index| went_back(&found[index].superblock, &found[head].superblock))
    });
    let back = returned.fold(LegMask::NONE, LegMask::with);
    let missing = listed.minus(serving).minus(back);
    if missing.is_empty() && !serving.is_empty() {
        let fork = allowed.winner.is_some() || !back.is_empty();
        return Verdict::Start(plan(found, left, apart, head, serving, fork, rejected));
    }
    let may = allowed.degraded || allowed.force || allowed.winner.is_some() || mutant!(StartWithoutListed);
    if !may {
        return Verdict::Wait { missing };
    }
    if !serving.is_empty() {
        return Verdict::Start(plan(found, left, apart, head, serving, true, rejected));
    }
    if !allowed.force {
        return if left.is_empty() { Verdict::Wait { missing } } else { Verdict::Refuse(Refusal::OnlyStale) };
    }
    start_by_force(found, left, allowed, rejected)
}

/// No leg in sync is there, and the operator takes what there is: the stale leg that was in sync last.
fn start_by_force(found: &[Found], left: &[usize], allowed: Allowed, rejected: Vec<(usize, Rejected)>) -> Verdict {
    let newest = |usable: &dyn Fn(LegState) -> bool| {
        left.iter()
            .copied()
            .filter(|&index| {
                let superblock = &found[index].superblock;
                usable(superblock.legs[superblock.slot.index()].state)
            })
            .max_by_key(|&index| {
                let superblock = &found[index].superblock;
                (superblock.legs[superblock.slot.index()].last_in_sync, superblock.sequence, superblock.leg)
            })
    };
    let whole = |state| {
        matches!(state, LegState::InSync | LegState::Stale)
            || (mutant!(InconsistentAsStale) && state == LegState::Inconsistent)
    };
    let any = |state| matches!(state, LegState::InSync | LegState::Stale | LegState::Inconsistent);
    let chosen = newest(&whole).or_else(|| if allowed.accept_inconsistent { newest(&any) } else { None });
    let Some(head) = chosen else { return Verdict::Refuse(Refusal::OnlyInconsistent) };
    let others: Vec<usize> = left.iter().copied().filter(|&index| index != head).collect();
    let superblock = &found[head].superblock;
    let own = &superblock.legs[superblock.slot.index()];
    let known = if own.state == LegState::InSync { superblock.generation } else { own.last_in_sync };
    let mut plan = plan(found, left, &others, head, LegMask::only(superblock.slot), true, rejected);
    for leg in plan.legs.iter_mut().filter(|leg| leg.slot != superblock.slot) {
        // It knows of later generations, and lacks what was written in them: they are no part of its history.
        leg.record.last_in_sync = leg.record.last_in_sync.min(known);
    }
    Verdict::Start(plan)
}

fn plan(
    found: &[Found],
    left: &[usize],
    apart: &[usize],
    head: usize,
    serving: LegMask,
    fork: bool,
    rejected: Vec<(usize, Rejected)>,
) -> Plan {
    let superblock = &found[head].superblock;
    let legs = (0..MAX_LEGS)
        .filter_map(Slot::new)
        .filter(|slot| !superblock.legs[slot.index()].is_empty())
        .map(|slot| {
            let index = left.iter().copied().find(|&index| found[index].superblock.slot == slot);
            let mut record = superblock.legs[slot.index()].clone();
            if serving.contains(slot) {
                record.state = LegState::InSync;
                if let Some(index) = index {
                    record.last_in_sync = found[index].superblock.generation;
                }
            } else if record.state == LegState::InSync {
                record.state = LegState::Stale;
            }
            // What its own superblock admits is never forgotten: a resync had begun to write it.
            let admits = index.is_some_and(|index| {
                let own = &found[index].superblock;
                own.legs[slot.index()].state == LegState::Inconsistent
            });
            if admits && record.state == LegState::Stale {
                record.state = LegState::Inconsistent;
            }
            let full = index.is_some_and(|index| apart.contains(&index));
            PlanLeg { slot, found: index, record, full }
        })
        .collect();
    Plan {
        head,
        generation: 0,
        sequence: 0,
        heartbeat: 0,
        fork,
        legs,
        source: superblock.source.filter(|source| serving.contains(*source)),
        rejected,
    }
}

/// Why a leg may not come back to a mirror that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReturn {
    /// It takes no part.
    Rejected(Rejected),
    /// It ran without the mirror's legs.
    Diverged,
}

/// Whether a leg that was found may come back to a mirror that runs, whose superblocks say what `head` says, and whether it
/// then needs everything, since what it lacks is not known.
///
/// # Errors
/// [`NoReturn`]: what is wrong with it.
pub fn judge_return(head: &Superblock, leg: &Found) -> Result<bool, NoReturn> {
    if let Some((_, why)) = reject_alone(std::slice::from_ref(leg)).pop() {
        return Err(NoReturn::Rejected(why));
    }
    let running = Found { superblock: head.clone(), next_copy: 0, identity: Uuid::nil(), blocks: u64::MAX };
    if let Some(why) = reject_beside(&running, leg) {
        return Err(NoReturn::Rejected(why));
    }
    // The mirror has gone on since: a leg in whose last generation no leg of it was in sync has gone its own way.
    let serving = head.in_sync();
    let superblock = &leg.superblock;
    let known = superblock.generation <= head.legs[superblock.slot.index()].last_in_sync
        || serving.without(superblock.slot).iter().any(|slot| has_in_sync(superblock, head, slot))
        || is_known_record(superblock, head);
    match (known, is_in_sync_itself(superblock)) {
        (true, _) => Ok(went_back(superblock, head)),
        (false, true) if !mutant!(LargerCounterWins) => Err(NoReturn::Diverged),
        (false, _) => Ok(true),
    }
}
