//! What is true of the drives, whatever their superblocks say.

use super::World;
use crate::coverage::{Happening, Wrong};
use mirror_engine::format::{LogType, MapKind, SUPERBLOCK_BYTES, Superblock, decode_unit};
use mirror_engine::{Op, RegionState};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub next_leg: u128,
    /// The leg that each drive is.
    pub uuids: BTreeMap<usize, uuid::Uuid>,
    /// The mirror has served once.
    pub served: bool,
    pub log_uuid: uuid::Uuid,
    pub wanted: super::wanted::Wanted,
    /// Drives that have every acknowledged write.
    pub current: BTreeSet<usize>,
    /// Drives that lack what a read decided, and the drive that it was read from: the recorded source of a region that is
    /// still dirty, so that a start from both makes them alike.
    pub lacks_read: BTreeMap<usize, usize>,
    /// Drives that a resync began to write and did not end.
    pub inconsistent: BTreeSet<usize>,
    /// Drives that went their own way: nobody knows what they lack.
    pub wild: BTreeSet<usize>,
    /// Drives that an operator agreed to start from, although others have more.
    pub agreed: Vec<BTreeSet<usize>>,
    /// The same, of a start that is not recorded yet.
    pub giving_up: Option<BTreeSet<usize>>,
    /// Pairs of drives that each have acknowledged writes that the other lacks; and pairs that will be, with the next one.
    pub diverged: BTreeSet<(usize, usize)>,
    pub parting: BTreeSet<(usize, usize)>,
    /// What was recorded under each generation.
    pub generations: BTreeMap<u64, u64>,
    /// The highest generation of this run.
    pub generation: u64,
    /// When each heartbeat was issued, and until when the owner may write.
    pub heartbeats: BTreeMap<u64, u64>,
    pub lease_until_ms: u64,
    /// A heartbeat of this run succeeded.
    pub leased_once: bool,
    /// The source that a start found on the legs, if it has to keep to it.
    pub source: Option<usize>,
    /// It was said to be optimal at the last step.
    pub optimal: bool,
    /// A read failed since the start: another leg may stand in for the source.
    pub read_faults: bool,
}

impl World {
    /// The newest superblock that a power cut would leave on a drive.
    pub fn durable_superblock(&self, drive: usize) -> Option<Superblock> {
        self.superblock(drive, true).map(|(superblock, _)| superblock)
    }

    /// The newest superblock of a drive, and which copy it is not.
    pub fn superblock(&self, drive: usize, durable: bool) -> Option<(Superblock, usize)> {
        let geometry = self.setup.geometry();
        let read = |copy: usize| {
            let block = geometry.superblock_block(copy);
            let bytes = self.disks[drive].bytes(block, geometry.superblock_blocks(), durable)?;
            Superblock::decode(&bytes[..SUPERBLOCK_BYTES]).ok()
        };
        match (read(0), read(1)) {
            (Some(a), Some(b)) if a.sequence > b.sequence => Some((a, 1)),
            (_, Some(b)) => Some((b, 0)),
            (Some(a), None) => Some((a, 1)),
            (None, None) => None,
        }
    }

    pub fn maps_uuid(&self) -> uuid::Uuid {
        if self.setup.log == LogType::Disk { self.truth.log_uuid } else { super::boot::MIRROR }
    }

    /// Whether a region's bit is set in the unit of a drive; `None` if the unit is not valid.
    pub fn map_bit(&self, drive: usize, kind: MapKind, region: u32, durable: bool) -> Option<bool> {
        let geometry = self.setup.geometry();
        let (unit, bit) = geometry.unit_of(region);
        let bytes = self.disks[drive].bytes(geometry.unit_block(kind, unit), 1, durable)?;
        decode_unit(self.maps_uuid(), kind, unit, &bytes).ok().map(|bits| bits.get(bit))
    }

    /// Whether a region's bit counts as set for a start from these drives.
    pub fn merged_bit(&self, drives: &[usize], kind: MapKind, region: u32) -> bool {
        let copies: Vec<bool> = drives.iter().filter_map(|&drive| self.map_bit(drive, kind, region, false)).collect();
        copies.is_empty() || copies.contains(&true)
    }

    /// Slots of a mask, as indices.
    pub fn slots_of(&self, mask: mirror_engine::LegMask) -> Vec<usize> {
        mask.iter().map(mirror_engine::Slot::index).collect()
    }

    pub fn required_drives(&self) -> Vec<usize> {
        let Some(running) = &self.running else { return Vec::new() };
        self.slots_of(running.shared.legs.load().required()).into_iter().map(|slot| self.slots[slot]).collect()
    }

    pub fn has_superblocks(&self) -> bool {
        self.setup.log != LogType::Core
    }

    fn wrong(&self) -> Wrong {
        if self.flights.values().any(|flight| flight.hung) {
            Wrong::Hangs
        } else if self.disks.iter().any(|disk| disk.failing != [0; 3] || !disk.bad.is_empty()) {
            Wrong::Errors
        } else if self.running.as_ref().is_some_and(|running| !running.out.is_empty()) {
            Wrong::LegOut
        } else {
            Wrong::Nothing
        }
    }

    pub fn cover_host(&mut self, op: Op, range: &std::ops::Range<u64>) {
        let happening = match op {
            Op::Read => Happening::Read,
            Op::Write => Happening::Write,
            Op::WriteZeroes | Op::Unmap => Happening::Unmap,
            Op::Flush => return,
        };
        let geometry = self.setup.geometry();
        let wrong = self.wrong();
        let unit_of = |block: u64| geometry.unit_of(geometry.region_of(block)).0;
        if op != Op::Read && unit_of(range.start) != unit_of(range.end - 1) {
            self.coverage.note(crate::coverage::Deed::WriteOverUnits);
        }
        for region in geometry.region_of(range.start)..=geometry.region_of(range.end - 1) {
            self.cover(region, happening, wrong);
        }
    }

    pub fn cover_region(&mut self, region: u32, happening: Happening) {
        let wrong = self.wrong();
        self.cover(region, happening, wrong);
    }

    fn cover(&mut self, region: u32, happening: Happening, wrong: Wrong) {
        let Some(running) = &self.running else { return };
        let state = running.shared.regions.load(region).state();
        self.coverage.hit(state, happening, wrong);
    }

    pub fn cover_state(&mut self, state: RegionState, happening: Happening) {
        let wrong = self.wrong();
        self.coverage.hit(state, happening, wrong);
    }

    pub fn cover_regions(&mut self, happening: Happening) {
        let wrong = self.wrong();
        for region in 0..self.setup.geometry().regions() {
            self.cover(region, happening, wrong);
        }
    }
}
