//! Blocks that a leg cannot read: written anew from a leg that can.

use super::Owner;
use super::action::{Action, Event, WhyOut};
use crate::region_map::RegionState;
use crate::{Slot, Writer};
use std::ops::Range;

/// Most block ranges that wait for repair; what does not fit is found again by the next read.
const REPAIRS_MAX: usize = 256;
/// Most blocks remembered as beyond repair on a leg.
const UNREPAIRED_MAX: usize = 1024;

/// A range that a leg could not read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Repair {
    pub(super) region: u32,
    pub(super) slot: Slot,
    blocks: Range<u64>,
}

impl Owner {
    /// A read failed on a leg. It is repaired if another leg in sync can give the blocks.
    pub(super) fn read_failed_on(&mut self, slot: Slot, block: u64, blocks: u32) {
        if !self.readable().contains(slot) || self.is_last(slot) {
            return;
        }
        if self.budgets[slot.index()].spend(self.now_ms, self.options.read_error_limit) {
            return self.fail_leg(slot, WhyOut::Unreadable);
        }
        let end = (block + u64::from(blocks)).min(self.config.geometry.blocks);
        let mut at = block;
        while at < end && self.repairs.len() < REPAIRS_MAX {
            let region = self.config.geometry.region_of(at);
            let part = at..end.min(self.config.geometry.region_range(region).end);
            at = part.end;
            let known = |repair: &Repair| repair.slot == slot && repair.region == region && repair.blocks == part;
            if self.repairs.iter().any(known) || self.shared.regions.load(region).state() == RegionState::NoSync {
                // A suspect region is rewritten as a whole.
                continue;
            }
            self.repairs.push(Repair { region, slot, blocks: part });
            // A clean region gets its dirty bit before anything is written to it, even what it should hold anyway: a
            // write that is cut short by a power cut may leave anything in its block.
            self.mark(region, Writer::NOBODY, true);
        }
    }

    pub(super) fn take_repair(&mut self, region: u32, slot: Slot) -> Option<Range<u64>> {
        let at = self.repairs.iter().position(|repair| repair.region == region && repair.slot == slot)?;
        Some(self.repairs.remove(at).blocks)
    }

    /// A repair whose region was cleared before it came to it asks again.
    pub(super) fn mark_for_repairs(&mut self) {
        let clean: Vec<_> = self
            .repairs
            .iter()
            .map(|repair| repair.region)
            .filter(|&region| self.shared.regions.load(region).state() == RegionState::Clean)
            .collect();
        for region in clean {
            self.mark(region, Writer::NOBODY, true);
        }
    }

    /// The block can be neither read nor written. Its leg is failed only if every other leg in sync is whole: two legs with
    /// different bad blocks are worth more than one.
    pub(super) fn repair_failed(&mut self, slot: Slot, block: u64) {
        let others_whole =
            self.readable().without(slot).iter().all(|other| self.legs[other.index()].unrepaired.is_empty());
        self.actions.push_back(Action::Event(Event::RepairFailed { slot, block }));
        if others_whole {
            self.fail_leg(slot, WhyOut::Unreadable);
        } else if self.legs[slot.index()].unrepaired.len() < UNREPAIRED_MAX {
            self.legs[slot.index()].unrepaired.insert(block);
        }
    }
}
