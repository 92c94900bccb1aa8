//! What is copied next, from which leg to which.

use super::copy::JobKind;
use super::{Owner, Phase};
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{LegMask, Slot};

/// Most regions that are looked at for a resync in one go.
const LOOKS_MAX: u32 = 1024;

/// What a look at a region that some leg lacks says.
enum Look {
    /// It is copied.
    Take,
    /// Nobody lacks it.
    Drop,
    /// It may not be copied now, or is being copied.
    Pass,
}

/// A look through the regions that some leg lacks, once around from where the last one ended. It gives up after so many:
/// those that may not be copied now can be nearly all, and the look is taken at every event. The next one goes on there.
struct Round {
    began: u32,
    at: u32,
    is_around: bool,
    looks: u32,
}

impl Round {
    fn from(at: u32) -> Self {
        Self { began: at, at, is_around: false, looks: 0 }
    }

    /// The next region; `next_set_from` gives the first one that is lacked from a place on.
    fn next(&mut self, next_set_from: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        if self.looks == LOOKS_MAX {
            return None;
        }
        self.looks += 1;
        let mut next = next_set_from(self.at);
        if next.is_none() && !self.is_around {
            self.is_around = true;
            next = next_set_from(0);
        }
        let next = next.filter(|&region| !self.is_around || region < self.began);
        self.at = next.map_or(self.began, |region| region + 1);
        next
    }
}

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
        if !self.can_reconcile() {
            return None;
        }
        // A region that is to be cleared is taken back, as a writer would.
        let is_dirty = |region| matches!(self.shared.regions.veto(region).state(), RegionState::Dirty);
        let source = self.source;
        let at = self.repairs.iter().position(|repair| {
            source != Some(repair.slot) && !self.copier.is_busy(repair.region) && is_dirty(repair.region)
        })?;
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
        let mut round = Round::from(self.copier.at);
        let mut found = None;
        while let Some(region) = round.next(|from| self.next_lacking(targets, from)) {
            match self.look_before_resync(region) {
                Look::Take => {
                    found = Some((region, JobKind::Resync));
                    break;
                }
                Look::Drop => {
                    for slot in targets.iter() {
                        if let Some(map) = &mut self.legs[slot.index()].out_of_sync {
                            map.clear(region);
                        }
                    }
                }
                Look::Pass => {}
            }
        }
        self.copier.at = round.at % self.config.geometry.regions();
        found
    }

    /// The first region from this one on that some of these legs lack.
    fn next_lacking(&self, legs: LegMask, from: u32) -> Option<u32> {
        legs.iter().filter_map(|slot| self.legs[slot.index()].out_of_sync.as_ref()?.next_set_from(from)).min()
    }

    fn look_before_resync(&self, region: u32) -> Look {
        match self.shared.regions.load(region).state() {
            // Nothing in it is ever read, and its first write zeroes it on every leg that is in service then.
            RegionState::Unwritten
                if !self.written.get(region)
                    && !self.copier.is_busy(region)
                    && !self.marks.filling.contains_key(&region)
                    && !self.marks.ready.contains_key(&region) =>
            {
                Look::Drop
            }
            // Comes to it by itself: reconciled onto all legs, or about to be opened.
            RegionState::NoSync
            | RegionState::Unread
            | RegionState::Unwritten
            | RegionState::Refused
            | RegionState::RefusedUnwritten => Look::Pass,
            _ if self.legs.iter().any(|leg| leg.is_to_be_given(region)) && !self.copier.is_busy(region) => Look::Take,
            _ => Look::Pass,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bits;
    use std::cell::Cell;

    const REGIONS: u32 = 1 << 24;

    fn lacking(regions: impl IntoIterator<Item = u32>) -> Bits {
        let mut map = Bits::new(REGIONS, false);
        regions.into_iter().for_each(|region| {
            map.set(region);
        });
        map
    }

    #[test]
    fn a_round_goes_once_around_and_ends_where_it_began() {
        let map = lacking([1, 500, REGIONS - 1]);
        let asked = Cell::new(0);
        let mut round = Round::from(501);
        let mut next = || {
            round.next(|from| {
                asked.set(asked.get() + 1);
                map.next_set_from(from)
            })
        };
        assert_eq!([next(), next(), next(), next()], [Some(REGIONS - 1), Some(1), Some(500), None]);
        assert_eq!((round.at, asked.get()), (501, 5), "regions that nobody lacks cost nothing");
        let mut round = Round::from(500);
        let found: Vec<_> = std::iter::from_fn(|| round.next(|from| map.next_set_from(from))).collect();
        assert_eq!((found, round.at), (vec![500, REGIONS - 1, 1], 500));
        assert_eq!(Round::from(3).next(|from| lacking([]).next_set_from(from)), None);
    }

    #[test]
    fn a_round_gives_up_and_the_next_one_goes_on() {
        let map = lacking(0..3000);
        let mut round = Round::from(2500);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let looked: Vec<_> = std::iter::from_fn(|| round.next(|from| map.next_set_from(from))).collect();
            assert!(looked.len() < 2000, "{} looks", looked.len());
            seen.extend(looked);
            round = Round::from(round.at);
        }
        assert_eq!(seen.len(), 3000);
    }
}
