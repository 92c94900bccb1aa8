//! A leg comes in: nothing of its former life is in flight, its own superblock says that it is not to be trusted, all
//! channels write to it, it is given what it lacks, gets the maps, and is recorded as in sync. In this order.

use super::action::{Action, Device, Event};
use super::legs::Stage;
use super::txn::{MapOrder, Txn, TxnKind};
use super::{Owner, Phase};
use crate::format::LegState;
use crate::format::{LogType, MapKind};
use crate::mutant::mutant;
use crate::{Bits, Pass, Slot};
use uuid::Uuid;

/// A base bdev that is to be a leg.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The leg's uuid: that of its superblock, or a new one.
    pub uuid: Uuid,
    /// The stable identity of the base bdev; nil: none.
    pub identity: Uuid,
    /// Its size in blocks.
    pub blocks: u64,
    /// Which copy of its superblock does not hold the newest.
    pub next_copy: usize,
    /// The sequence of its newest superblock; 0 if it has none.
    pub sequence: u64,
    /// The generation of that.
    pub generation: u64,
    /// The dirty regions of its own map: it may hold writes there that no other leg has.
    pub own_intent: Option<Bits>,
    /// Nothing that it holds is of use: it gets all that was ever written.
    pub full: bool,
}

impl Owner {
    /// Begins to admit a leg into a slot that is out of service or empty; whether it did.
    pub fn admit(&mut self, slot: Slot, admission: Admission) -> bool {
        if self.phase != Phase::Running || self.legs[slot.index()].stage != Stage::Out {
            return false;
        }
        let regions = self.config.geometry.regions();
        let known = self.legs[slot.index()].uuid == admission.uuid;
        let map = {
            let leg = &mut self.legs[slot.index()];
            leg.out_of_sync.get_or_insert_with(|| Bits::new(regions, true))
        };
        if (admission.full || !known) && !mutant!(StrangerLacksLittle) {
            map.set_all();
        }
        match &admission.own_intent {
            Some(own) => map.union(own),
            None if self.config.log == LogType::Internal && !mutant!(StrangerLacksLittle) => map.set_all(),
            None => {}
        }
        // A leg that went its own way may have counted further. What is written to it must be its newest, and no generation
        // is given twice.
        self.sequence = self.sequence.max(admission.sequence);
        self.generation_seen = self.generation_seen.max(admission.generation);
        let leg = &mut self.legs[slot.index()];
        leg.out_of_sync_durable.get_or_insert_with(|| Bits::new(regions, false));
        if !known {
            leg.last_in_sync = 0;
            leg.state = LegState::Inconsistent;
        }
        leg.uuid = admission.uuid;
        leg.identity = admission.identity;
        leg.blocks = admission.blocks;
        leg.next_copy = admission.next_copy;
        leg.flush_first = true;
        leg.stage = Stage::Quieting { asked: false };
        if !known {
            // The table of legs is another one.
            self.request_record();
        }
        self.budgets[slot.index()].reset();
        self.pump();
        true
    }

    pub(super) fn pump_admission(&mut self) {
        for slot in self.slots() {
            let leg = &self.legs[slot.index()];
            match leg.stage {
                Stage::Quieting { asked: false } => {
                    let quiet = !self.has_ops(Device::Leg(slot)) || mutant!(ReadmitWithChild);
                    if quiet && self.start_pass(Pass::Quiet(slot)) {
                        self.legs[slot.index()].stage = Stage::Quieting { asked: true };
                    }
                }
                Stage::Admitting { ticket } if self.is_durable(ticket) && self.recorded => {
                    self.legs[slot.index()].stage = Stage::Seeing;
                    self.publish();
                }
                Stage::Copying => self.pump_copying(slot),
                Stage::Promoting { ticket } if self.is_durable(ticket) => {
                    self.legs[slot.index()].stage = Stage::In;
                    self.actions.push_back(Action::Event(Event::LegInSync { slot }));
                    self.wake_wanted = true;
                    self.publish();
                }
                _ => {}
            }
        }
        let unseen = self.legs_that(|leg| leg.stage == Stage::Seeing).minus(self.seeing);
        if !unseen.is_empty() && self.start_pass(Pass::Seen) {
            self.seeing = unseen;
        }
    }

    pub(super) fn quiet_pass_done(&mut self, slot: Slot) {
        let leg = &mut self.legs[slot.index()];
        if leg.stage != (Stage::Quieting { asked: true }) {
            return;
        }
        leg.state = LegState::Inconsistent;
        leg.life += 1;
        let ticket = self.record_issued + 1;
        let stage = if mutant!(InconsistentMarkLate) { Stage::Seeing } else { Stage::Admitting { ticket } };
        self.legs[slot.index()].stage = stage;
        self.request_record();
        self.publish();
    }

    /// All channels write to these legs from here on, so what is dirty now is all that they may have missed besides their
    /// maps.
    pub(super) fn seen_pass_done(&mut self) {
        let seen = std::mem::replace(&mut self.seeing, crate::LegMask::NONE);
        for slot in seen.iter() {
            let leg = &mut self.legs[slot.index()];
            if leg.stage != Stage::Seeing {
                continue;
            }
            leg.stage = Stage::Copying;
            let Some(map) = &mut leg.out_of_sync else { continue };
            // They are in the map already: dirty when the leg went out, or marked while it was out. To say it again costs a
            // copy at most.
            map.union(&self.intent);
            // What was never written holds nothing; what is being written for the first time is looked at again then.
            let first = self.marks.filling.keys().chain(self.marks.ready.keys());
            let first: Vec<u32> = first.copied().filter(|&region| map.get(region)).collect();
            map.intersect(&self.written);
            first.into_iter().for_each(|region| {
                map.set(region);
            });
            let regions = map.count();
            self.actions.push_back(Action::Event(Event::ResyncStarted { slot, regions }));
        }
    }

    fn pump_copying(&mut self, slot: Slot) {
        let leg = &mut self.legs[slot.index()];
        let left = leg.out_of_sync.as_ref().map_or(0, Bits::count);
        if left > 0 {
            if !leg.skipped.is_empty() && self.now_ms >= leg.retry_ms {
                leg.skipped.clear();
                self.actions.push_back(Action::Event(Event::ResyncStalled { slot, regions: left }));
            }
            return;
        }
        if self.copier.concerns(slot) || self.phase != Phase::Running {
            return;
        }
        if mutant!(InSyncBeforeMaps) {
            let ticket = self.request_record();
            self.legs[slot.index()].stage = Stage::Promoting { ticket };
            self.publish();
        } else {
            self.legs[slot.index()].stage = Stage::Mapping { written: false };
        }
    }

    /// Writes all maps to a leg that is to be in sync. The flush at the end covers its data too. From here on the leg takes
    /// part in every commit, so that its maps stay what they are now.
    pub(super) fn start_maps(&mut self) -> bool {
        if self.stuck {
            return false;
        }
        let Some(slot) = self.legs_that(|leg| leg.stage == (Stage::Mapping { written: false })).lowest() else {
            return false;
        };
        let device = Device::Leg(slot);
        let devices = if self.config.log == LogType::Internal {
            let units = MapKind::all()
                .flat_map(|kind| (0..self.config.geometry.units_per_map()).map(move |unit| (MapOrder::of(kind), unit)))
                .collect();
            self.unit_writes(&[device], &units, None)
        } else {
            vec![(device, Vec::new())]
        };
        self.legs[slot.index()].stage = Stage::Mapping { written: true };
        self.start_txn(TxnKind::Maps { slot }, devices);
        true
    }

    pub(super) fn maps_done(&mut self, slot: Slot, txn: &Txn) {
        // It is never the last leg in sync.
        let _ = self.fail_devices(txn);
        if self.legs[slot.index()].stage != (Stage::Mapping { written: true }) {
            return;
        }
        if self.legs[slot.index()].out_of_sync.as_ref().is_some_and(|map| map.count() > 0) {
            self.legs[slot.index()].stage = Stage::Copying;
            return;
        }
        let ticket = self.request_record();
        self.legs[slot.index()].stage = Stage::Promoting { ticket };
        // Required before any superblock may call it in sync: no write is acknowledged that it lacks.
        self.publish();
    }
}
