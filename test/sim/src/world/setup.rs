//! What a history starts with.

use super::check::slot_of;
use super::{Counts, Truth, World};
use crate::chooser::Chooser;
use crate::coverage::Coverage;
use crate::disk::{Disk, GARBAGE, ZERO};
use crate::model::Model;
use mirror_engine::format::{Geometry, LogType};
use mirror_engine::lease::LeaseOptions;
use mirror_engine::options::InitialSync;
use mirror_engine::read_policy::ReadPolicy;
use mirror_engine::{LegMask, Options, PacerOptions};
use std::collections::{BTreeMap, BTreeSet};

/// The shape of a history.
#[derive(Clone, Debug)]
pub struct Setup {
    pub legs: usize,
    pub channels: usize,
    pub regions: u64,
    /// A map has several units.
    pub small_units: bool,
    pub region_blocks: u64,
    /// Blocks that the last region is short of.
    pub short_by: u64,
    pub log: LogType,
    pub initial_sync: InitialSync,
    pub write_through: bool,
    pub leased: bool,
    pub mark_ahead_regions: u32,
    pub read_policy: ReadPolicy,
    /// This one's I/O takes far longer than the others'.
    pub slow_leg: Option<usize>,
    pub slow_leg_eject_sec: u32,
    /// Legs whose drives have no cache, and no flush.
    pub cacheless: LegMask,
    /// Recoverable faults: progress must hold, blocks are written whole. Otherwise anything may happen.
    pub recoverable: bool,
    pub host_ios_max: usize,
    pub reports_max: usize,
    /// Most I/O that may wait in a channel.
    pub parked_max: u32,
    pub steps_max: u32,
}

/// In a quarter of histories some drives have no cache.
fn random_cacheless(chooser: &mut Chooser) -> LegMask {
    if chooser.percent(25) { LegMask::from_bits(1 + chooser.below(15) as u16) } else { LegMask::NONE }
}

const BLOCK_BYTES: u32 = 512;

impl Setup {
    pub fn random(chooser: &mut Chooser) -> Self {
        let log = match chooser.below(10) {
            0..8 => LogType::Internal,
            8 => LogType::Disk,
            _ => LogType::Core,
        };
        let initial_sync = match chooser.below(4) {
            0 | 1 => InitialSync::None,
            2 => InitialSync::Full,
            _ => InitialSync::Blank,
        };
        let legs = [2, 2, 2, 2, 3, 3, 3, 4, 1][chooser.below(9) as usize];
        let recoverable = chooser.percent(60);
        let any_slot = chooser.below(4) as usize;
        let read_policy = match chooser.below(8) {
            0..5 => ReadPolicy::LeastOutstanding,
            5 => ReadPolicy::First,
            6 => ReadPolicy::RoundRobin,
            _ => ReadPolicy::Preferred(slot_of(any_slot)),
        };
        let small_units = log != LogType::Core && chooser.percent(4);
        let regions = if small_units { 65 + chooser.below(4) } else { 3 + chooser.below(4) };
        Self {
            legs,
            channels: 1 + chooser.below(3) as usize,
            regions: u64::from(regions),
            small_units,
            region_blocks: if small_units { 2 } else { [2, 4, 8][chooser.below(3) as usize] },
            short_by: u64::from(chooser.below(2)),
            log,
            initial_sync,
            write_through: chooser.percent(15),
            cacheless: random_cacheless(chooser),
            leased: log != LogType::Core && chooser.percent(15),
            mark_ahead_regions: chooser.below(3),
            read_policy,
            // With recoverable faults the first leg is the one that never leaves.
            slow_leg: (chooser.percent(15) && !(recoverable && any_slot.is_multiple_of(legs)))
                .then_some(any_slot % legs),
            slow_leg_eject_sec: chooser.below(2),
            recoverable,
            host_ios_max: 1 + chooser.below(8) as usize,
            reports_max: [2, 64, 64][chooser.below(3) as usize],
            parked_max: [1, 2, 64, 64, 64, 64][chooser.below(6) as usize],
            steps_max: 500,
        }
    }

    pub fn geometry(&self) -> Geometry {
        let blocks = self.regions * self.region_blocks - self.short_by;
        let offset = Geometry::metadata_blocks(BLOCK_BYTES, self.regions as u32, LogType::Internal);
        Geometry { block_bytes: BLOCK_BYTES, blocks, region_blocks: self.region_blocks, data_offset_blocks: offset }
    }

    pub fn options(&self) -> Options {
        Options {
            log_type: self.log,
            initial_sync: self.initial_sync,
            write_through: self.write_through,
            leg_timeout_ms: 1000,
            clear_idle_ms: 100,
            dirty_budget_regions: Some(2),
            // Two blocks.
            pacer: PacerOptions { resync_chunk_kb: 1, resync_min_mb_sec: 1, ..PacerOptions::default() },
            lease: LeaseOptions { owner_lease_ms: if self.leased { 1600 } else { 0 }, heartbeat_ms: 200 },
            read_error_limit: 6,
            mark_ahead_regions: self.mark_ahead_regions,
            read_policy: self.read_policy,
            slow_leg_eject_sec: self.slow_leg_eject_sec,
            ..Options::default()
        }
    }
}

impl World {
    pub fn new(setup: Setup, chooser: Chooser, traced: bool) -> Self {
        mirror_engine::mutant::set_small_units(setup.small_units);
        let geometry = setup.geometry();
        let total = geometry.data_offset_blocks + geometry.blocks;
        let has_log = setup.log == LogType::Disk;
        let mut disks: Vec<Disk> = (0..setup.legs + usize::from(has_log))
            .map(|id| Disk::new(id, geometry.block_bytes as usize, total + id as u64 % 2))
            .collect();
        for slot in setup.cacheless.iter().filter(|slot| slot.index() < setup.legs) {
            disks[slot.index()].cacheless = true;
        }
        let log = has_log.then_some(setup.legs);
        let offset = geometry.data_offset_blocks;
        // A host has data on the first leg, or on all legs the same, or none of worth.
        let mut world = Self {
            slots: (0..setup.legs).collect(),
            log,
            now_ms: 1000,
            owner_stalls_ms: 0,
            flights: BTreeMap::new(),
            next_flight: 0,
            running: None,
            former: None,
            model: Model::default(),
            truth: Truth::default(),
            counts: Counts::default(),
            coverage: Coverage::default(),
            next_value: 1,
            faults: true,
            trace: traced.then(Vec::new),
            clones: BTreeSet::new(),
            masked: 0,
            chooser,
            disks,
            setup,
        };
        match world.setup.initial_sync {
            InitialSync::Blank => world.model = Model::new((0..geometry.blocks).map(|_| Some(0))),
            sync => {
                let filled = if sync == InitialSync::None { world.setup.legs } else { 1 };
                for drive in 0..filled {
                    for block in 0..geometry.blocks {
                        world.disks[drive]
                            .write(offset + block, &[crate::disk::Block::Stamp(GARBAGE + 5_000_000 + block)]);
                    }
                    let clock = world.disks[drive].clock;
                    world.disks[drive].flush(clock);
                }
                world.model = Model::new((0..geometry.blocks).map(|block| Some(GARBAGE + 5_000_000 + block)));
            }
        }
        debug_assert!(ZERO == crate::disk::Block::Stamp(0));
        world
    }
}
