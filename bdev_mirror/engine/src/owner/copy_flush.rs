//! What follows when copies are done: the legs concerned are flushed, and only then does a copy count.

use super::Owner;
use super::WhyOut;
use super::action::{Action, Device, Event, Io};
use super::copy::{Copied, Flushing, JobKind};
use super::ops::Purpose;
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{LegMask, Slot};

/// Regions that wait for their flush before it is begun although more could be copied.
const FLUSH_BATCH: usize = 64;

impl Owner {
    pub(super) fn start_copy_flush(&mut self) {
        let busy = self.copier.jobs.iter().any(Option::is_some);
        let urgent = self.copier.copied.iter().any(|copied| copied.kind != JobKind::Resync);
        let ripe = urgent || !busy || self.copier.copied.len() >= FLUSH_BATCH;
        if self.copier.flushing.is_some() || self.copier.copied.is_empty() || !ripe {
            return;
        }
        let batch = std::mem::take(&mut self.copier.copied);
        let waiting = batch.iter().fold(LegMask::NONE, |legs, copied| match copied.kind {
            // What the source serves afterwards must be durable on it as well.
            JobKind::Reconcile => legs.or(copied.targets).with(copied.source),
            _ => legs.or(copied.targets),
        });
        self.copier.round += 1;
        let round = self.copier.round;
        let waiting = waiting.and(self.writable());
        self.copier.flushing = Some(Flushing { round, waiting, flushed: LegMask::NONE, batch });
        for slot in waiting.iter() {
            self.start_op(Device::Leg(slot), Io::Flush, Purpose::CopyFlush { round });
        }
    }

    pub(super) fn copy_flushed(&mut self, round: u64, slot: Slot, ok: bool) {
        let Some(flushing) = self.copier.flushing.as_mut().filter(|flushing| flushing.round == round) else { return };
        flushing.waiting = flushing.waiting.without(slot);
        if ok || mutant!(SwallowFlushError) {
            flushing.flushed = flushing.flushed.with(slot);
        } else if self.is_last(slot) {
            self.say_last_stays(slot, WhyOut::Flush);
            self.copier.retry_ms = self.now_ms + 100;
        } else {
            self.fail_leg(slot, WhyOut::Flush);
        }
    }

    pub(super) fn finish_copy_flush(&mut self) {
        let writable = self.writable();
        let early = |batch: &[Copied]| {
            (mutant!(ReconcileWithoutFlush) && batch.iter().all(|copied| copied.kind == JobKind::Reconcile))
                || (mutant!(ResyncBitWithoutFlush) && batch.iter().all(|copied| copied.kind == JobKind::Resync))
        };
        let ready = |flushing: &Flushing| flushing.waiting.and(writable).is_empty() || early(&flushing.batch);
        if !self.copier.flushing.as_ref().is_some_and(ready) {
            return;
        }
        let Some(mut flushing) = self.copier.flushing.take() else { return };
        if early(&flushing.batch) {
            flushing.flushed = writable;
        }
        for copied in &flushing.batch {
            match copied.kind {
                JobKind::Fill => self.fill_flushed(copied, flushing.flushed),
                JobKind::Reconcile => self.reconcile_flushed(copied, flushing.flushed),
                JobKind::Resync => self.resync_flushed(copied, flushing.flushed),
                JobKind::Repair { slot } => self.repair_flushed(slot, copied),
            }
        }
    }

    fn fill_flushed(&mut self, copied: &Copied, flushed: LegMask) {
        let legs = copied.targets.and(flushed);
        if self.required().is_within(legs) {
            self.filled(copied.region, legs);
        } else if let Some((_, busy)) = self.marks.filling.get_mut(&copied.region) {
            *busy = false;
        }
    }

    fn reconcile_flushed(&mut self, copied: &Copied, flushed: LegMask) {
        let legs = copied.targets.with(copied.source).and(flushed);
        let same = self.suspects.get(&copied.region) == Some(&copied.epoch);
        if copied.incomplete && self.readable().len() > 1 {
            // No leg could read some block of it. The copies of that block may still differ, so the region stays suspect and
            // is tried again; until then it is read from the chosen leg alone.
            self.unreadable_suspect(copied.region);
            return;
        }
        if !same || self.stuck || !self.recorded || !self.readable().is_within(legs) || self.readable().is_empty() {
            // Suspected again, or a leg joined or was lost: once more.
            return;
        }
        self.suspects.remove(&copied.region);
        let word = self.shared.regions.load(copied.region);
        if matches!(word.state(), RegionState::NoSync | RegionState::Unread) {
            self.shared.regions.set(copied.region, RegionState::Dirty, word.writer());
        }
        self.resync_flushed(copied, flushed);
        self.wake_wanted = true;
        if self.suspects.is_empty() {
            self.wanted.clear();
            self.actions.push_back(Action::Event(Event::Reconciled));
        }
    }

    /// A suspect region was copied but for a block that no leg could read. It is read from the source alone, and tried again.
    fn unreadable_suspect(&mut self, region: u32) {
        let word = self.shared.regions.load(region);
        if word.state() == RegionState::NoSync {
            self.shared.set_source(self.source.map_or(LegMask::NONE, LegMask::only));
            self.shared.regions.set(region, RegionState::Unread, word.writer());
        }
        self.unread.insert(region);
        self.unread_retry_ms = self.now_ms + 1000;
        self.wake_wanted = true;
    }

    /// What could not be read is tried again, as if it had not been tried.
    pub(super) fn retry_unread(&mut self) {
        for region in std::mem::take(&mut self.unread) {
            let word = self.shared.regions.load(region);
            if word.state() == RegionState::Unread && self.shared.source().is_empty() {
                self.shared.regions.set(region, RegionState::NoSync, word.writer());
            }
        }
    }

    fn resync_flushed(&mut self, copied: &Copied, flushed: LegMask) {
        for slot in copied.targets.and(flushed).iter() {
            let leg = &mut self.legs[slot.index()];
            if copied.incomplete {
                if leg.stage == super::legs::Stage::Copying {
                    leg.skipped.insert(copied.region);
                    leg.retry_ms = self.now_ms + 1000;
                }
            } else if let Some(map) = &mut leg.out_of_sync {
                map.clear(copied.region);
            }
        }
    }

    fn repair_flushed(&mut self, slot: Slot, copied: &Copied) {
        // A block that no other leg could read was left out: the range as a whole is not written anew.
        if copied.targets.contains(slot) && !copied.incomplete {
            let leg = &mut self.legs[slot.index()];
            leg.unrepaired.retain(|block| !copied.blocks.contains(block));
            let (block, blocks) = (copied.blocks.start, (copied.blocks.end - copied.blocks.start) as u32);
            self.actions.push_back(Action::Event(Event::Repaired { slot, block, blocks }));
        }
    }
}
