//! Drives that take the place of others: a leg is replaced, a slot is added, and what was replaced comes back.

use super::check::slot_of;
use super::{Verdict, World};
use crate::coverage::Deed;
use crate::disk::{Block, Disk, GARBAGE, ZERO};
use mirror_engine::Slot;
use mirror_engine::format::{LegState, Superblock};
use std::sync::Arc;
use uuid::Uuid;

/// Drives that may come in a history besides those that it begins with.
const MORE_DRIVES: usize = 2;
/// A mirror that is not ours.
const FOREIGN: Uuid = Uuid::from_u128(0xf0e1);

impl World {
    /// A leg's base bdev is exchanged for a new one while the mirror runs.
    pub fn replace_leg(&mut self) -> Verdict {
        let first = usize::from(self.setup.recoverable);
        let slots: Vec<usize> = (first..self.slots.len()).collect();
        let Some(slot) = self.chooser.pick(&slots).filter(|_| self.may_have_more()) else { return Ok(()) };
        if !self.engine().out.contains(&slot) {
            // The last leg in sync stays.
            if !self.engine().owner.take_leg_out(slot_of(slot)) {
                return Ok(());
            }
            self.drain_owner()?;
        }
        let old = self.slots[slot];
        if self.chooser.percent(50) {
            self.disks[old].present = false;
        }
        let new = self.new_drive(old);
        self.say(|| format!("drive {new} takes the place of drive {old} in slot {slot}"));
        self.put_into(slot, new);
        self.coverage.note(Deed::LegReplaced);
        Ok(())
    }

    /// A slot more, with a new drive in it.
    pub fn add_leg(&mut self) -> Verdict {
        if !self.may_have_more() || self.slots.len() >= 5 {
            return Ok(());
        }
        let like = self.slots[0];
        let new = self.new_drive(like);
        let slot = self.slots.len();
        self.say(|| format!("drive {new} comes into a new slot {slot}"));
        self.slots.push(new);
        self.engine().lives.push(0);
        self.put_into(slot, new);
        self.coverage.note(Deed::LegAdded);
        Ok(())
    }

    fn may_have_more(&mut self) -> bool {
        let before = self.setup.legs + usize::from(self.log.is_some());
        self.engine().started && self.disks.len() < before + MORE_DRIVES
    }

    /// The slot's drive is this one from now on; it is not the leg that the records name there.
    fn put_into(&mut self, slot: usize, drive: usize) {
        self.slots[slot] = drive;
        self.engine().out.insert(slot);
        let flushed = self.flushed_legs();
        self.engine().shared.set_flushed_legs(flushed);
    }

    /// A drive that was never here, holding what it held elsewhere.
    fn new_drive(&mut self, old: usize) -> usize {
        let id = self.disks.len();
        let (block_bytes, blocks) = (self.disks[old].block_bytes, self.disks[old].blocks);
        let mut disk = Disk::new(id, block_bytes, blocks);
        let offset = self.setup.geometry().data_offset_blocks;
        match self.chooser.below(4) {
            0 => (0..blocks).for_each(|block| disk.put(block, ZERO)),
            1 => disk.wipe(offset),
            2 => self.make_foreign(&mut disk),
            // A copy of some drive, of this moment.
            _ => {
                let from = self.chooser.pick(&self.slots.clone()).unwrap_or(old);
                (0..blocks).for_each(|block| disk.put(block, self.disks[from].view(block)));
            }
        }
        disk.cacheless = self.setup.cacheless.contains(slot_of(id % 16));
        self.truth.wild.insert(id);
        self.disks.push(disk);
        id
    }

    /// It was a leg of another mirror, which has counted far.
    fn make_foreign(&self, disk: &mut Disk) {
        let Some((mut superblock, _)) = self.slots.iter().find_map(|&drive| self.superblock(drive, false)) else {
            return;
        };
        superblock.mirror = FOREIGN;
        superblock.sequence += 1000;
        superblock.generation += 1000;
        let geometry = self.setup.geometry();
        let bytes = superblock.encode();
        for copy in 0..2 {
            for (index, chunk) in bytes.chunks(disk.block_bytes).enumerate() {
                disk.put(geometry.superblock_block(copy) + index as u64, Block::Bytes(Arc::from(chunk)));
            }
        }
        disk.put(geometry.data_offset_blocks, Block::Stamp(GARBAGE + 7_000_000));
    }

    /// A drive that was in this slot once is plugged in there again, in place of the one that is; `None` if there is none.
    pub fn put_old_back(&mut self, slot: usize) -> Option<usize> {
        let before = self.slots[slot];
        let log = self.log;
        let old: Vec<usize> = (0..self.disks.len())
            .filter(|drive| !self.slots.contains(drive) && Some(*drive) != log && self.disks[*drive].present)
            .filter(|&drive| {
                self.superblock(drive, false).is_some_and(|(superblock, _)| superblock.slot.index() == slot)
            })
            .collect();
        let old = self.chooser.pick(&old)?;
        self.put_into(slot, old);
        self.say(|| format!("drive {old} is in slot {slot} again, instead of drive {before}"));
        Some(before)
    }

    /// Whether the records name this very drive in its slot.
    pub fn is_on_record(&self, drive: usize, uuid: Uuid) -> bool {
        self.truth.uuids.get(&drive) == Some(&uuid)
    }

    /// What a superblock says of a drive: nothing, if it names another leg.
    pub fn state_of(&self, superblock: &Superblock, drive: usize) -> LegState {
        let uuid = self.truth.uuids.get(&drive);
        let listed = superblock.legs.iter().find(|leg| Some(&leg.uuid) == uuid && !leg.is_empty());
        listed.map_or(LegState::Stale, |leg| leg.state)
    }

    /// Where drives are after a start: those that were found are in the slots of their legs.
    pub fn place_found(&mut self, found: impl Iterator<Item = (Slot, usize)>) {
        for (slot, drive) in found {
            if let Some(at) = self.slots.get_mut(slot.index()) {
                *at = drive;
            }
        }
    }
}
