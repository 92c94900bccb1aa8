//! What an operator is told of the mirror is true.

use super::check::slot_of;
use super::{Verdict, World};
use mirror_engine::RegionState;
use mirror_engine::health::Health;
use std::collections::BTreeSet;

/// Steps between two looks at all blocks of a mirror that is said to be well all the time.
const LOOK_EVERY: u64 = 64;

impl World {
    /// The mirror is said to be well only if it is: every leg that belongs to it is in sync, no copies may differ that
    /// nobody marked, and what is clean is alike.
    pub fn check_status(&mut self) -> Verdict {
        let optimal = self.running.as_ref().is_some_and(|running| running.owner.health() == Health::Optimal);
        let before = std::mem::replace(&mut self.truth.optimal, optimal);
        let Some(running) = self.running.as_ref().filter(|_| optimal) else { return Ok(()) };
        let set = running.shared.legs.load();
        // A slot that was added may have no leg yet.
        let out = (0..self.setup.legs).find(|slot| !set.readable().contains(slot_of(*slot)));
        if out.is_some() || set.readable().len() < 2 || set.is_stuck() || !set.is_recorded() {
            return Err(format!("the mirror is said to be optimal, its legs are {set:?}"));
        }
        let regions = &running.shared.regions;
        if regions.count(RegionState::NoSync) + regions.count(RegionState::Unread) > 0 {
            return Err("the mirror is said to be optimal, the copies of a region may differ".into());
        }
        if before && !self.counts.steps.is_multiple_of(LOOK_EVERY) {
            return Ok(());
        }
        let readable = self.slots_of(set.readable());
        let drives: BTreeSet<usize> = readable.iter().map(|&slot| self.slots[slot]).collect();
        if let Some(drive) = drives.iter().find(|drive| !self.truth.current.contains(drive)) {
            return Err(format!("the mirror is said to be optimal, drive {drive} lacks acknowledged writes"));
        }
        self.check_listed(&drives)?;
        self.check_clean_alike(&drives)
    }

    /// Every leg that these drives list is among them.
    fn check_listed(&self, drives: &BTreeSet<usize>) -> Verdict {
        for superblock in
            drives.iter().filter(|_| self.has_superblocks()).filter_map(|&drive| self.durable_superblock(drive))
        {
            let listed = superblock.legs.iter().filter(|leg| !leg.is_empty()).count();
            if listed > drives.len() {
                return Err(format!(
                    "the mirror is said to be optimal with drives {drives:?}, {listed} legs belong to it"
                ));
            }
        }
        Ok(())
    }

    /// What is clean is durably alike on these drives.
    fn check_clean_alike(&self, drives: &BTreeSet<usize>) -> Verdict {
        let geometry = self.setup.geometry();
        let Some(running) = &self.running else { return Ok(()) };
        let clean = running.shared.regions.iter_states().filter(|(_, state)| *state == RegionState::Clean);
        for block in clean.flat_map(|(region, _)| geometry.region_range(region)) {
            let mut values = drives.iter().map(|&drive| self.disks[drive].durable(geometry.data_offset_blocks + block));
            let first = values.next();
            if values.any(|value| Some(value) != first) {
                return Err(format!("the mirror is said to be optimal, block {block} differs on drives {drives:?}"));
            }
        }
        Ok(())
    }

    /// With all legs in sync and nothing left to do the mirror is said to be well, unless blocks were found that a leg
    /// neither gives nor takes.
    pub fn check_well(&self) -> Verdict {
        let Some(running) = self.running.as_ref().filter(|_| self.slots.len() > 1) else { return Ok(()) };
        match running.owner.health() {
            Health::Optimal => Ok(()),
            Health::Inconsistent if self.truth.read_faults => Ok(()),
            health => Err(format!("in the end the mirror is said to be {health:?}")),
        }
    }
}
