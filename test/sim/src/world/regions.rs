//! Promises about regions: what is called clean or reconciled is so.

use super::check::slot_of;
use super::{Verdict, World};
use crate::disk::ZERO;
use mirror_engine::RegionState;
use mirror_engine::format::{LogType, MapKind};

impl World {
    /// A region that became clean is alike on all legs, durably.
    pub fn look_at_regions(&mut self) -> Verdict {
        let geometry = self.setup.geometry();
        let Some(running) = &mut self.running else { return Ok(()) };
        let before = std::mem::take(&mut running.states);
        let now: Vec<RegionState> = running.shared.regions.iter_states().map(|(_, state)| state).collect();
        running.states.clone_from(&now);
        for (region, state) in now.iter().enumerate() {
            let region = region as u32;
            let opened = before
                .get(region as usize)
                .is_some_and(|before| matches!(before, RegionState::Unwritten | RegionState::RefusedUnwritten));
            if opened && *state == RegionState::Dirty {
                // A leg that was out may not have been zeroed: then it does not read as the others do.
                let required = self.required_drives();
                let disks = &self.disks;
                let is_zeroed = |drive: usize| {
                    let mut blocks = geometry.region_range(region);
                    blocks.all(|block| disks[drive].durable(geometry.data_offset_blocks + block) == ZERO)
                };
                self.truth.current.retain(|&drive| required.contains(&drive) || is_zeroed(drive));
            }
            if let Some(before) = before.get(region as usize) {
                self.check_reason(region, *before, *state)?;
            }
            if matches!(before.get(region as usize), Some(RegionState::NoSync | RegionState::Unread))
                && *state == RegionState::Dirty
            {
                self.check_reconciled(region)?;
            }
            let cleared = before.get(region as usize).is_some_and(|before| {
                matches!(before, RegionState::Cleaning | RegionState::CleaningZeroed)
                    && matches!(state, RegionState::Clean | RegionState::Unwritten)
            });
            if !cleared {
                continue;
            }
            self.cover_region(region, crate::coverage::Happening::Clear);
            let drives = self.required_drives();
            for block in geometry.region_range(region) {
                let at = geometry.data_offset_blocks + block;
                for pair in drives.windows(2) {
                    if self.disks[pair[0]].durable(at) != self.disks[pair[1]].durable(at) {
                        return Err(format!(
                            "region {region} is {state:?}, block {block} differs durably on drives {pair:?}"
                        ));
                    }
                }
                if let Some(drive) = drives.iter().find(|drive| self.disks[**drive].is_volatile(at)) {
                    return Err(format!(
                        "region {region} is {state:?}, block {block} is in the cache of drive {drive}"
                    ));
                }
            }
            self.check_cleared_for_absent(region)?;
        }
        Ok(())
    }

    /// A region may be read again: what a read decides now is durable on every leg.
    fn check_reconciled(&self, region: u32) -> Verdict {
        let geometry = self.setup.geometry();
        let drives = self.required_drives();
        for block in geometry.region_range(region).filter(|&block| self.model.is_undecided(block)) {
            let at = geometry.data_offset_blocks + block;
            if self.disks.iter().any(|disk| disk.is_bad(at)) {
                continue;
            }
            let mut values = drives.iter().map(|&drive| self.disks[drive].durable(at));
            let first = values.next();
            if values.any(|value| Some(value) != first) || drives.iter().any(|&drive| self.disks[drive].is_volatile(at))
            {
                return Err(format!(
                    "region {region} is reconciled, block {block} is not alike and durable on drives {drives:?}"
                ));
            }
        }
        Ok(())
    }

    /// A region was cleared: every leg that lacks it is durably known to.
    fn check_cleared_for_absent(&self, region: u32) -> Verdict {
        let geometry = self.setup.geometry();
        let required = self.required_drives();
        let Some(&one) = required.first() else { return Ok(()) };
        let lost = |drive: &usize| self.durable_superblock(*drive).is_some_and(|superblock| superblock.log_lost);
        let homes = match (self.setup.log, self.log) {
            (LogType::Internal, _) => required.clone(),
            (LogType::Disk, Some(log)) if self.disks[log].present && !required.iter().any(lost) => vec![log],
            _ => return Ok(()),
        };
        let Some(running) = &self.running else { return Ok(()) };
        if running.shared.regions.load(region).state() == RegionState::Unwritten {
            return Ok(());
        }
        for (slot, &drive) in self.slots.iter().enumerate() {
            if required.contains(&drive) || self.truth.wild.contains(&drive) {
                continue;
            }
            let lacks = geometry.region_range(region).any(|block| {
                let at = geometry.data_offset_blocks + block;
                self.disks[drive].durable(at) != self.disks[one].durable(at)
            });
            let kind = MapKind::OutOfSync(slot_of(slot));
            for &other in &homes {
                if lacks && self.map_bit(other, kind, region, true) == Some(false) {
                    return Err(format!(
                        "region {region} was cleared, slot {slot} lacks it and drive {other} does not know"
                    ));
                }
            }
        }
        Ok(())
    }
}
