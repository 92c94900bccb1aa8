//! The legs, as the owner sees them, and how one is failed.

use super::action::{Action, Device, Event, WhyOut};
use super::{Owner, Phase};
use crate::format::LegState;
use crate::health::{Health, judge_slots};
use crate::mutant::mutant;
use crate::{Bits, LegMask, MAX_LEGS, Slot};
use uuid::Uuid;

/// Without an error for so long, the next one of the last leg is said again.
const EPISODE_MS: u64 = 5000;

/// How far a leg is on its way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Not in service.
    #[default]
    Out,
    /// Children of its former life are waited for.
    Quieting { asked: bool },
    /// Its own superblock is to say "inconsistent".
    Admitting { ticket: u64 },
    /// It is written to; all channels are to know.
    Seeing,
    /// It is given what it lacks.
    Copying,
    /// Its maps are written, before it may be called in sync.
    Mapping { written: bool },
    /// It is being recorded as in sync.
    Promoting { ticket: u64 },
    /// In sync.
    In,
}

/// A slot and the leg in it.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Leg {
    pub(super) uuid: Uuid,
    pub(super) identity: Uuid,
    pub(super) blocks: u64,
    pub(super) write_mostly: bool,
    /// As the next record says it.
    pub(super) state: LegState,
    pub(super) last_in_sync: u64,
    pub(super) stage: Stage,
    /// Counts the times it was failed or admitted: what was begun in a former life does not count.
    pub(super) life: u32,
    /// Which copy of the superblock is written next: the one that does not hold the newest.
    pub(super) next_copy: usize,
    /// It is flushed before the next superblock.
    pub(super) flush_first: bool,
    /// Regions that it lacks; none for an empty slot.
    pub(super) out_of_sync: Option<Bits>,
    /// Those of them that are known to be durable in the maps.
    pub(super) out_of_sync_durable: Option<Bits>,
    /// Blocks that it can neither read nor be given.
    pub(super) unrepaired: std::collections::BTreeSet<u64>,
    /// Regions that no leg could read for it, until this time.
    pub(super) skipped: std::collections::BTreeSet<u32>,
    pub(super) retry_ms: u64,
}

impl Leg {
    /// Whether host writes go to it.
    pub(super) fn is_writable(&self) -> bool {
        matches!(
            self.stage,
            Stage::Seeing | Stage::Copying | Stage::Mapping { .. } | Stage::Promoting { .. } | Stage::In
        )
    }

    /// Whether some superblock may call it in sync.
    pub(super) fn is_required(&self) -> bool {
        matches!(self.stage, Stage::Promoting { .. } | Stage::In)
    }

    /// Whether map units are written to it.
    pub(super) fn has_maps(&self) -> bool {
        self.is_required() || self.stage == (Stage::Mapping { written: true })
    }

    /// Whether a resync of it copies this region now.
    pub(super) fn is_to_be_given(&self, region: u32) -> bool {
        self.stage == Stage::Copying
            && self.out_of_sync.as_ref().is_some_and(|map| map.get(region))
            && !self.skipped.contains(&region)
    }

    /// Whether superblocks are written to it.
    pub(super) fn has_records(&self) -> bool {
        matches!(self.stage, Stage::Admitting { .. }) || self.is_writable()
    }
}

impl Owner {
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..MAX_LEGS).filter_map(Slot::new)
    }

    pub(super) fn legs_that(&self, is: impl Fn(&Leg) -> bool) -> LegMask {
        self.slots().filter(|slot| is(&self.legs[slot.index()])).fold(LegMask::NONE, LegMask::with)
    }

    /// Legs that serve reads.
    pub(super) fn readable(&self) -> LegMask {
        self.legs_that(|leg| leg.stage == Stage::In)
    }

    pub(super) fn writable(&self) -> LegMask {
        self.legs_that(Leg::is_writable)
    }

    pub(super) fn required(&self) -> LegMask {
        self.legs_that(Leg::is_required)
    }

    /// Whether this is the only leg in sync.
    pub(super) fn is_last(&self, slot: Slot) -> bool {
        self.readable() == LegMask::only(slot)
    }

    /// What an operator may be told of the mirror: never that it is well while its legs may differ outside of what is
    /// marked dirty, or while a leg that belongs to it is not in sync. A spare is not waited for.
    #[must_use]
    pub fn health(&self) -> Health {
        let online = matches!(self.phase, Phase::Running | Phase::Stopping);
        let in_sync = self.readable();
        let belongs = self.legs_that(|leg| !matches!(leg.state, LegState::Empty | LegState::Spare));
        let configured = if mutant!(StaleIsOptimal) { in_sync } else { belongs.or(in_sync) };
        // A block that a leg neither gives nor takes may hold anything there, whatever its region says.
        let unreadable = !self.legs_that(|leg| leg.stage == Stage::In && !leg.unrepaired.is_empty()).is_empty();
        let suspect = !self.suspects.is_empty() && !mutant!(SuspectIsOptimal);
        let legs_may_differ = suspect || unreadable || self.stuck;
        judge_slots(online, in_sync.len(), configured.len(), legs_may_differ)
    }

    /// The last leg had an error and stays. It is said once for each kind of error, and again after a while without one.
    pub(super) fn say_last_stays(&mut self, slot: Slot, why: WhyOut) {
        // What hangs is reported again after the time-out of a leg.
        let quiet_ms = EPISODE_MS.max(2 * u64::from(self.options.leg_timeout_ms));
        let (count, said) = &mut self.stayed[slot.index()];
        *count += 1;
        let last_ms = said.iter().find(|(other, _)| *other == why).map(|(_, last_ms)| *last_ms);
        said.retain(|(other, _)| *other != why);
        said.push((why, self.now_ms));
        if last_ms.is_none_or(|last_ms| self.now_ms >= last_ms + quiet_ms) {
            self.actions.push_back(Action::Event(Event::LastLegStays { slot, why }));
        }
    }

    /// How often a leg had errors, or was found hanging, while it was the last one in sync: in this life of the mirror.
    #[must_use]
    pub fn errors_of_last(&self, slot: Slot) -> u64 {
        self.stayed[slot.index()].0
    }

    /// Takes a leg out of service, unless it is the last one in sync. What it lacks from now on goes into its map.
    ///
    /// Takes effect for all channels at once, by the published word. The acknowledgement of whatever it missed waits for
    /// the record that is asked for here.
    pub(super) fn fail_leg(&mut self, slot: Slot, why: WhyOut) {
        let leg = &self.legs[slot.index()];
        if matches!(leg.stage, Stage::Out | Stage::Quieting { .. }) {
            return;
        }
        if self.is_last(slot) {
            self.say_last_stays(slot, why);
            return;
        }
        let was_required = leg.is_required();
        self.take_out(slot);
        self.legs[slot.index()].state = if was_required { LegState::Stale } else { LegState::Inconsistent };
        self.actions.push_back(Action::Event(Event::LegFailed { slot, why }));
        self.actions.push_back(Action::Release(slot));
        if was_required {
            self.recorded = false;
            self.request_record();
        }
        if self.source == Some(slot) {
            self.choose_source(LegMask::NONE);
        }
        self.wake_wanted = true;
        // A former leg must be out before anything that follows from this is judged.
        self.publish();
    }

    fn take_out(&mut self, slot: Slot) {
        self.stayed[slot.index()].1.clear();
        let leg = &mut self.legs[slot.index()];
        leg.stage = Stage::Out;
        leg.life += 1;
        leg.unrepaired.clear();
        leg.skipped.clear();
        self.slow_legs.forget(slot);
        if !mutant!(LostLegForgetsDirty)
            && let Some(map) = &mut leg.out_of_sync
        {
            // Whatever was not flushed on it may be lost to it, and whatever is under way may never reach it.
            map.union(&self.intent);
        }
        self.give_up_ops(Device::Leg(slot));
        self.drop_leg_from_copies(slot);
    }

    /// The base bdev of a leg is gone. The last leg in sync takes the mirror with it.
    pub fn leg_gone(&mut self, slot: Slot) {
        self.remove_leg(slot, WhyOut::Gone);
    }

    /// An operator takes a leg out. Not the last one in sync; whether it was done.
    pub fn take_leg_out(&mut self, slot: Slot) -> bool {
        if self.is_last(slot) {
            return false;
        }
        self.remove_leg(slot, WhyOut::Asked);
        true
    }

    fn remove_leg(&mut self, slot: Slot, why: WhyOut) {
        if self.is_last(slot) {
            self.go_offline(slot);
        } else if self.phase == Phase::Starting && self.legs[slot.index()].stage == Stage::In {
            // Before the start is recorded nothing may be decided on fewer legs than the start was.
            self.go_offline(slot);
        } else {
            if let Stage::Quieting { .. } = self.legs[slot.index()].stage {
                self.legs[slot.index()].stage = Stage::Out;
            }
            self.fail_leg(slot, why);
        }
        self.pump();
    }

    /// Nothing serves any more. What comes next is a new start from what is on the legs.
    fn go_offline(&mut self, slot: Slot) {
        self.actions.push_back(Action::Event(Event::LegFailed { slot, why: WhyOut::Gone }));
        self.end_offline();
        self.publish();
        self.wake_wanted = true;
    }

    /// Takes the mirror out of service for good.
    pub(super) fn end_offline(&mut self) {
        self.phase = Phase::Offline;
        self.actions.push_back(Action::Event(Event::Offline));
        self.give_up_all();
    }

    /// Nothing follows from what is in flight any more, and none of it is sent again.
    pub(super) fn give_up_all(&mut self) {
        for slot in self.slots() {
            self.give_up_ops(Device::Leg(slot));
        }
        self.give_up_ops(Device::Log);
        self.resolved.clear();
        self.txns.clear();
    }

    /// The log device is lost. The legs have to say so before anything counts as marked.
    pub(super) fn lose_log(&mut self) {
        if self.log_lost {
            return;
        }
        self.log_lost = true;
        self.give_up_ops(Device::Log);
        self.actions.push_back(Action::Event(Event::LogLost));
        self.request_record();
    }

    /// The log device is gone.
    pub fn log_gone(&mut self) {
        if self.config.log == crate::format::LogType::Disk && self.phase != Phase::Offline {
            self.lose_log();
            self.pump();
        }
    }
}
