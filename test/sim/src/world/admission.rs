//! Legs that come while the mirror runs.

use super::boot::MIRROR;
use super::check::slot_of;
use super::{Verdict, World};
use crate::coverage::Deed;
use mirror_engine::assembly::{self, Found};
use mirror_engine::format::{LegRecord, LogType, MapKind};
use mirror_engine::{Admission, Bits};
use uuid::Uuid;

impl World {
    /// A leg that is out comes back.
    pub fn admit_something(&mut self) -> Verdict {
        self.tell_time();
        self.drain_owner()?;
        let out: Vec<usize> = self.engine().out.iter().copied().collect();
        let out: Vec<usize> = out.into_iter().filter(|&slot| self.disks[self.slots[slot]].present).collect();
        let Some(slot) = self.chooser.pick(&out) else { return Ok(()) };
        let Some(head) = self.engine().owner.head() else { return Ok(()) };
        let before = if self.faults && self.chooser.percent(50) { self.put_old_back(slot) } else { None };
        let drive = self.slots[slot];
        let record = &head.legs[slot];
        let stranger = self.is_stranger(drive, record);
        let disk = &self.disks[drive];
        let mut admission = Admission {
            uuid: record.uuid,
            identity: disk.identity,
            blocks: disk.blocks,
            next_copy: 0,
            sequence: 0,
            generation: 0,
            own_intent: self.own_intent(drive),
            full: true,
        };
        if self.has_superblocks() {
            if let Some((superblock, next_copy)) = self.superblock(drive, false) {
                admission.sequence = superblock.sequence;
                admission.generation = superblock.generation;
                let leg = Found { superblock, next_copy, identity: admission.identity, blocks: disk.blocks };
                match assembly::judge_return(&head, &leg) {
                    Ok(_) if stranger => {
                        return Err(format!("drive {drive} is taken for the leg that slot {slot} has on record"));
                    }
                    Ok(full) => admission.full = full,
                    Err(why) => {
                        self.say(|| format!("slot {slot} may not come back: {why:?}"));
                        if before.is_some() {
                            self.coverage.note(Deed::OldLegRefused);
                        }
                        // An operator has it overwritten, or not.
                        if self.faults && self.chooser.percent(70) {
                            return Ok(());
                        }
                    }
                }
                admission.next_copy = next_copy;
            }
        } else {
            admission.full = stranger;
        }
        let full = admission.full;
        if full {
            // What it held is given up: it is another leg from here on.
            self.truth.next_leg += 1;
            if stranger {
                self.truth.wild.insert(drive);
            }
            admission.uuid = Uuid::from_u128(0x1e60_1000 + self.truth.next_leg);
        }
        let uuid = admission.uuid;
        if self.engine().owner.admit(slot_of(slot), admission) {
            self.truth.uuids.insert(drive, uuid);
            if stranger {
                self.truth.current.remove(&drive);
            }
            self.say(|| format!("slot {slot} is admitted, full: {full}"));
            self.engine().out.remove(&slot);
        }
        self.drain_owner()
    }

    /// Whether a drive is another one than the records name in its slot, whatever it holds.
    fn is_stranger(&self, drive: usize, record: &LegRecord) -> bool {
        match self.superblock(drive, false).filter(|_| self.has_superblocks()) {
            Some((own, _)) => {
                own.mirror != MIRROR || own.leg != record.uuid || record.identity != self.disks[drive].identity
            }
            None => !self.is_on_record(drive, record.uuid),
        }
    }

    pub fn own_intent(&self, drive: usize) -> Option<Bits> {
        if self.setup.log != LogType::Internal {
            return None;
        }
        let geometry = self.setup.geometry();
        let mut bits = Bits::new(geometry.regions(), false);
        for region in 0..geometry.regions() {
            if self.map_bit(drive, MapKind::Intent, region, false)? {
                bits.set(region);
            }
        }
        Some(bits)
    }
}
