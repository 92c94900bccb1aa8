//! What is copied next, from which leg to which.

use super::copy::JobKind;
use super::{Owner, Phase};
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{LegMask, Slot};

impl Owner {
    /// What is to be copied next: first what a host waits for.
    pub(super) fn next_work(&mut self) -> Option<(u32, JobKind)> {
        if self.can_reconcile() {
            let wanted = self.wanted.iter().find(|region| {
                self.suspects.contains_key(region) && !self.unread.contains(region) && !self.copier.is_busy(**region)
            });
            if let Some(&region) = wanted {
                self.wanted.remove(&region);
                return Some((region, JobKind::Reconcile));
            }
        }
        if let Some(fill) = self.next_fill() {
            return Some(fill);
        }
        if self.can_reconcile()
            && let Some(&region) =
                self.suspects.keys().find(|region| !self.unread.contains(region) && !self.copier.is_busy(**region))
        {
            return Some((region, JobKind::Reconcile));
        }
        if let Some(repair) = self.next_repair() {
            return Some(repair);
        }
        self.next_resync()
    }

    /// Whether suspect regions may be reconciled: the choice of the source is durable, and so is who is out, since until
    /// then a range whose write failed for want of a record is not to be read.
    fn can_reconcile(&self) -> bool {
        self.source.is_some() && self.is_durable(self.source_ticket) && self.recorded && !self.stuck
    }

    fn next_repair(&mut self) -> Option<(u32, JobKind)> {
        let slot = self.repairs.first()?.slot;
        if self.readable().without(slot).is_empty() {
            // Nobody is left who could give the blocks.
            self.repairs.retain(|repair| repair.slot != slot);
            return None;
        }
        // As for a suspect region, the choice of the leg that is right is durable before another one is written: should the
        // power fail within the rewrite, nobody may take the rewritten block for the better one.
        let unused = self.suspects.is_empty() && self.copier.is_idle();
        if self.source.is_none() || (self.source == Some(slot) && unused) {
            self.choose_source(LegMask::only(slot));
        }
        if self.source.is_none_or(|source| source == slot) || !self.can_reconcile() {
            return None;
        }
        // A region that is to be cleared is taken back, as a writer would.
        let is_dirty = |region| matches!(self.shared.regions.veto(region).state(), RegionState::Dirty);
        let at =
            self.repairs.iter().position(|repair| !self.copier.is_busy(repair.region) && is_dirty(repair.region))?;
        Some((self.repairs[at].region, JobKind::Repair { slot: self.repairs[at].slot }))
    }

    fn next_resync(&mut self) -> Option<(u32, JobKind)> {
        let targets = self.legs_that(|leg| leg.stage == super::legs::Stage::Copying);
        if targets.is_empty() || self.phase != Phase::Running || self.resync_paused {
            return None;
        }
        let chunk_bytes = u64::from(self.config.geometry.block_bytes) * self.chunk_blocks();
        if !self.pacer.may_start(chunk_bytes) {
            return None;
        }
        let regions = self.config.geometry.regions();
        let mut unwritten = Vec::new();
        let mut found = None;
        for region in (self.copier.at..regions).chain(0..self.copier.at) {
            let lacking = targets.iter().any(|slot| self.legs[slot.index()].is_to_be_given(region));
            if !lacking || self.copier.is_busy(region) {
                continue;
            }
            match self.shared.regions.load(region).state() {
                // Nothing in it is ever read, and its first write zeroes it on every leg that is in service then.
                RegionState::Unwritten
                    if !self.written.get(region)
                        && !self.marks.filling.contains_key(&region)
                        && !self.marks.ready.contains_key(&region) =>
                {
                    unwritten.push(region);
                }
                // Comes to it by itself: reconciled onto all legs, or about to be opened.
                RegionState::NoSync
                | RegionState::Unread
                | RegionState::Unwritten
                | RegionState::Refused
                | RegionState::RefusedUnwritten => {}
                _ => {
                    found = Some(region);
                    break;
                }
            }
        }
        for region in unwritten {
            for slot in targets.iter() {
                if let Some(map) = &mut self.legs[slot.index()].out_of_sync {
                    map.clear(region);
                }
            }
        }
        let region = found?;
        self.copier.at = (region + 1) % regions;
        Some((region, JobKind::Resync))
    }

    /// The leg that a job begins with, if there is one, and those that it writes.
    pub(super) fn source_and_targets(&self, region: u32, kind: JobKind) -> (Option<Slot>, LegMask) {
        let readable = self.readable();
        match kind {
            JobKind::Fill => (readable.lowest(), self.writable()),
            JobKind::Reconcile => {
                (self.source, self.source.map_or(LegMask::NONE, |source| self.writable().without(source)))
            }
            JobKind::Resync if mutant!(SourceBySlotOrder) => {
                let first = self.writable().lowest();
                (first, first.map_or(LegMask::NONE, |first| self.writable().without(first)))
            }
            JobKind::Resync => {
                let lacks = self.legs_that(|leg| leg.is_to_be_given(region));
                // Any leg in sync will do; they take turns.
                (readable.iter().nth(region as usize % readable.len().max(1)), lacks)
            }
            JobKind::Repair { slot } => {
                (self.source.filter(|source| *source != slot), LegMask::only(slot).and(readable))
            }
        }
    }
}
