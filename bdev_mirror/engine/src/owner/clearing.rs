//! From dirty back to clean, lazily: nobody waits for it, and whoever writes meanwhile takes his region back.
//!
//! 1. Regions are stored as Flushing: still dirty, writes go on, but each takes its region back first. A pass takes back
//!    those with a write under way.
//! 2. After a rest, all legs are flushed. Whatever is still Flushing had no write since the pass, so the flush covers all.
//! 3. What is still Flushing is closed by compare-and-swap: from here on writes wait.
//! 4. The maps of absent legs get the regions that those lack, durably.
//! 5. The dirty bits are cleared, and the regions are clean.

use super::action::{Device, Io};
use super::ops::Purpose;
use super::txn::{MapOrder, Txn, TxnKind, UnitName};
use super::{Owner, Phase, WhyOut};
use crate::format::MapKind;
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{Bits, LegMask, Pass, Slot, Writer};
use std::collections::BTreeSet;

/// Regions that may be dirty without hurry, however few there are.
const DIRTY_BUDGET_MIN: u32 = 1024;
/// Most regions that are cleared at a time.
const BATCH_MAX: usize = 4096;

/// How far a clearing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum ClearStage {
    #[default]
    Idle,
    Vetoing,
    Resting {
        until_ms: u64,
    },
    Flushing {
        waiting: LegMask,
    },
    /// Closed; the absent legs' maps come first.
    OutOfSync {
        busy: bool,
    },
    Clearing {
        busy: bool,
    },
}

/// The clearing under way.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Clearing {
    pub(super) stage: ClearStage,
    round: u64,
    batch: Vec<u32>,
    next_ms: u64,
}

/// Regions that a snapshot of the maps shows as clear although memory does not yet.
pub(super) struct Cleared {
    pub(super) intent: Vec<u32>,
    pub(super) written: Vec<u32>,
}

impl Cleared {
    pub(super) fn of(&self, kind: MapKind) -> &[u32] {
        match kind {
            MapKind::Intent => &self.intent,
            MapKind::Written => &self.written,
            MapKind::OutOfSync(_) => &[],
        }
    }
}

impl Owner {
    /// Regions that could be cleared, were nobody writing to them.
    fn clearable(&self) -> Vec<u32> {
        self.intent
            .iter()
            .filter(|&region| {
                matches!(self.shared.regions.load(region).state(), RegionState::Dirty | RegionState::Zeroed)
                    && !self.is_repairing(region)
            })
            .take(BATCH_MAX)
            .collect()
    }

    pub(super) fn pump_clearing(&mut self) {
        match self.clearing.stage {
            ClearStage::Idle => self.begin_clearing(),
            ClearStage::Resting { until_ms } if self.now_ms >= until_ms => self.flush_before_clearing(),
            ClearStage::Flushing { waiting } if waiting.and(self.writable()).is_empty() => self.close_regions(),
            _ => {}
        }
    }

    fn begin_clearing(&mut self) {
        let hurry = self.phase == Phase::Stopping;
        if self.stuck || self.phase == Phase::Starting || (!hurry && self.now_ms < self.clearing.next_ms) {
            return;
        }
        if self.intent.count() == 0 {
            return;
        }
        let batch = self.clearable();
        self.clearing.batch = batch.into_iter().filter(|&region| self.shared.regions.start_flushing(region)).collect();
        if self.clearing.batch.is_empty() {
            return self.end_clearing();
        }
        if self.start_pass(Pass::Veto) {
            self.clearing.stage = ClearStage::Vetoing;
            self.clearing.round += 1;
        }
    }

    pub(super) fn veto_pass_done(&mut self) {
        if self.clearing.stage != ClearStage::Vetoing {
            return;
        }
        // Idle is what is still Flushing after the rest; beyond the budget nobody waits for that.
        let over_budget = self.intent.count() > self.dirty_budget();
        let rest_ms =
            if over_budget || self.phase == Phase::Stopping { 0 } else { u64::from(self.options.clear_idle_ms) };
        self.clearing.stage = ClearStage::Resting { until_ms: self.now_ms + rest_ms };
    }

    /// Most regions that may be dirty without hurry: what a crash would copy.
    pub(super) fn dirty_budget(&self) -> u32 {
        self.options.dirty_budget_regions.unwrap_or((self.config.geometry.regions() / 4).max(DIRTY_BUDGET_MIN))
    }

    fn is_flushing(&self, region: u32) -> bool {
        matches!(self.shared.regions.load(region).state(), RegionState::Flushing | RegionState::FlushingZeroed)
    }

    fn flush_before_clearing(&mut self) {
        let mut batch = std::mem::take(&mut self.clearing.batch);
        batch.retain(|&region| self.is_flushing(region));
        self.clearing.batch = batch;
        if self.clearing.batch.is_empty() {
            return self.end_clearing();
        }
        // Those that are being resynced too: what is cleared counts as done on them.
        let waiting = self.writable();
        let round = self.clearing.round;
        self.clearing.stage = ClearStage::Flushing { waiting };
        for slot in waiting.iter() {
            self.start_op(Device::Leg(slot), Io::Flush, Purpose::ClearFlush { round });
        }
        if mutant!(ClearBeforeFlush) {
            self.close_regions();
        }
    }

    pub(super) fn clear_flushed(&mut self, round: u64, slot: Slot, ok: bool) {
        let ClearStage::Flushing { waiting } = self.clearing.stage else { return };
        if round != self.clearing.round {
            return;
        }
        if !ok && !mutant!(SwallowFlushError) {
            if self.is_last(slot) {
                self.say_last_stays(slot, WhyOut::Flush);
                return self.take_back();
            }
            // Its map gets all that is dirty, these regions too, before they are cleared.
            self.fail_leg(slot, WhyOut::Flush);
        }
        self.clearing.stage = ClearStage::Flushing { waiting: waiting.without(slot) };
    }

    /// Gives the regions up that were to be cleared.
    fn take_back(&mut self) {
        for region in std::mem::take(&mut self.clearing.batch) {
            match self.shared.regions.load(region).state() {
                // The word afterwards does not matter: it is not Flushing any more, whoever changed it.
                RegionState::Flushing | RegionState::FlushingZeroed => {
                    let _ = self.shared.regions.veto(region);
                }
                RegionState::Cleaning | RegionState::CleaningZeroed => {
                    self.shared.regions.set(region, RegionState::Dirty, Writer::NOBODY);
                    self.wake_wanted = true;
                }
                _ => {}
            }
        }
        self.end_clearing();
    }

    fn end_clearing(&mut self) {
        self.clearing.batch.clear();
        self.clearing.stage = ClearStage::Idle;
        self.clearing.next_ms = self.now_ms + u64::from(self.options.clear_idle_ms) / 2;
    }

    fn close_regions(&mut self) {
        let mut batch = std::mem::take(&mut self.clearing.batch);
        batch.retain(|&region| self.shared.regions.close(region));
        self.clearing.batch = batch;
        if self.clearing.batch.is_empty() {
            self.end_clearing();
        } else if mutant!(ClearBeforeOutOfSync) {
            self.clearing.stage = ClearStage::Clearing { busy: false };
        } else {
            self.clearing.stage = ClearStage::OutOfSync { busy: false };
        }
    }

    /// Units of absent legs' maps that lack a region that is to be cleared; besides, once in a while, those that have more
    /// than is lacked.
    pub(super) fn start_out_of_sync(&mut self) -> bool {
        if self.stuck {
            return false;
        }
        let clearing = self.clearing.stage == ClearStage::OutOfSync { busy: false };
        if !clearing && !self.wants_progress() {
            return false;
        }
        let mut units = BTreeSet::new();
        for slot in self.slots() {
            let leg = &self.legs[slot.index()];
            let (Some(map), Some(durable)) = (&leg.out_of_sync, &leg.out_of_sync_durable) else { continue };
            if clearing {
                let lacking = self.clearing.batch.iter().filter(|&&region| map.get(region) && !durable.get(region));
                units.extend(lacking.map(|&region| (slot, self.config.geometry.unit_of(region).0)));
            } else {
                units.extend(self.units_that_differ(map, durable).map(|unit| (slot, unit)));
            }
        }
        self.progress_wanted = false;
        if clearing {
            self.clearing.stage = ClearStage::OutOfSync { busy: true };
        }
        if units.is_empty() {
            if clearing {
                self.clearing.stage = ClearStage::Clearing { busy: false };
            }
            return false;
        }
        let names: BTreeSet<UnitName> =
            units.iter().map(|&(slot, unit)| (MapOrder::of(MapKind::OutOfSync(slot)), unit)).collect();
        // What is durable is what the maps say now; a bit that is set meanwhile is not.
        for &(slot, unit) in &units {
            self.note_out_of_sync_written(slot, unit);
        }
        let devices = self.unit_writes(&self.map_devices(), &names, None);
        self.start_txn(TxnKind::OutOfSync { units, clearing }, devices);
        true
    }

    /// Units of a map of which something else is durable.
    fn units_that_differ(&self, map: &Bits, durable: &Bits) -> impl Iterator<Item = u32> {
        let bits = self.config.geometry.unit_bits();
        // Mostly a leg lacks nothing.
        let all = if map.count() == 0 && durable.count() == 0 { 0 } else { self.config.geometry.units_per_map() };
        (0..all).filter(move |unit| map.words_of(unit * bits, bits) != durable.words_of(unit * bits, bits))
    }

    fn wants_progress(&self) -> bool {
        self.progress_wanted
    }

    /// Takes the snapshot of a unit as what will be durable. Bits that fail to become so are set to "not durable" again by
    /// the end of the transaction.
    pub(super) fn note_out_of_sync_written(&mut self, slot: Slot, unit: u32) {
        let bits = self.config.geometry.unit_bits();
        let leg = &mut self.legs[slot.index()];
        if let (Some(map), Some(durable)) = (&leg.out_of_sync, &mut leg.out_of_sync_durable) {
            durable.copy_words_of(map, unit * bits, bits);
        }
    }

    pub(super) fn out_of_sync_done(&mut self, units: &BTreeSet<(Slot, u32)>, clearing: bool, txn: &Txn) {
        let ticket = match self.fail_devices(txn) {
            Ok(ticket) => ticket,
            Err(()) => {
                for &(slot, unit) in units {
                    self.forget_out_of_sync_written(slot, unit);
                }
                if clearing {
                    self.take_back();
                }
                return self.get_stuck();
            }
        };
        if !clearing {
            return;
        }
        if ticket.is_some() {
            // A leg was lost meanwhile: its map needs these regions too.
            self.clearing.stage = ClearStage::OutOfSync { busy: false };
        } else {
            self.clearing.stage = ClearStage::Clearing { busy: false };
        }
    }

    fn forget_out_of_sync_written(&mut self, slot: Slot, unit: u32) {
        let bits = self.config.geometry.unit_bits();
        if let Some(durable) = &mut self.legs[slot.index()].out_of_sync_durable {
            for region in unit * bits..(unit + 1) * bits {
                durable.clear(region);
            }
        }
    }

    pub(super) fn start_clear(&mut self) -> bool {
        if self.clearing.stage != (ClearStage::Clearing { busy: false }) || self.stuck {
            return false;
        }
        let regions = self.clearing.batch.clone();
        let zeroed: Vec<_> = regions
            .iter()
            .copied()
            .filter(|&region| self.shared.regions.load(region).state() == RegionState::CleaningZeroed)
            .collect();
        let mut units = BTreeSet::new();
        for &region in &regions {
            units.insert((MapOrder::of(MapKind::Intent), self.config.geometry.unit_of(region).0));
        }
        for &region in &zeroed {
            units.insert((MapOrder::of(MapKind::Written), self.config.geometry.unit_of(region).0));
        }
        let cleared = Cleared { intent: regions.clone(), written: zeroed };
        let devices = self.unit_writes(&self.map_devices(), &units, Some(&cleared));
        self.clearing.stage = ClearStage::Clearing { busy: true };
        self.start_txn(TxnKind::Clear { regions }, devices);
        true
    }

    pub(super) fn clear_done(&mut self, regions: &[u32], txn: &Txn) {
        if self.fail_devices(txn).is_err() {
            for &region in regions {
                let unit = self.config.geometry.unit_of(region).0;
                self.unsure.insert((MapOrder::of(MapKind::Intent), unit));
                self.unsure.insert((MapOrder::of(MapKind::Written), unit));
            }
            // What the leg holds of these bits is unknown: clean in memory, so that the next write marks anew, once the units
            // are rewritten.
            self.take_back_unsure();
            return self.get_stuck();
        }
        for &region in regions {
            self.intent.clear(region);
            let state = if self.shared.regions.load(region).state() == RegionState::CleaningZeroed {
                self.written.clear(region);
                RegionState::Unwritten
            } else {
                RegionState::Clean
            };
            self.shared.regions.set(region, state, Writer::NOBODY);
        }
        self.wake_wanted = true;
        self.end_clearing();
    }

    /// After a clearing that no leg took: the regions are asked to be marked again, as if they were clean.
    fn take_back_unsure(&mut self) {
        for region in std::mem::take(&mut self.clearing.batch) {
            self.intent.clear(region);
            self.shared.regions.set(region, RegionState::Clean, Writer::NOBODY);
        }
        self.wake_wanted = true;
        self.end_clearing();
    }
}
