//! Metadata transactions: what is written to several devices, then flushed, and counts only as a whole.
//!
//! One at a time. So no two writes of one block are ever in flight on a leg, and each snapshot is newer than the one
//! before, whatever order a drive lands them in.

use super::action::{Device, Io};
use super::ops::Purpose;
use super::{Owner, WhyOut};
use crate::format::MapKind;
use crate::mutant::mutant;
use crate::{LegMask, Slot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a transaction is for.
#[derive(Clone, Debug, Hash)]
pub(super) enum TxnKind {
    /// Superblocks.
    Record { ticket: u64, required: LegMask, heartbeat_ms: Option<u64> },
    /// Dirty bits, set.
    Mark { regions: Vec<super::marks::Marked> },
    /// Maps of absent legs, before dirty bits are cleared; or their progress.
    OutOfSync { units: BTreeSet<(Slot, u32)>, clearing: bool },
    /// Dirty bits, cleared.
    Clear { regions: Vec<u32> },
    /// Units whose copies differ, or may.
    Rewrite { units: BTreeSet<UnitName> },
    /// All maps, on a leg that is to be in sync.
    Maps { slot: Slot },
}

/// A unit of a map.
pub(super) type UnitName = (MapOrder, u32);

/// The kind of a map, in an order: intent, written, then each slot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MapOrder(pub(super) usize);

impl MapOrder {
    pub(super) fn of(kind: MapKind) -> Self {
        Self(match kind {
            MapKind::Intent => 0,
            MapKind::Written => 1,
            MapKind::OutOfSync(slot) => 2 + slot.index(),
        })
    }

    pub(super) fn kind(self) -> MapKind {
        match self.0 {
            0 => MapKind::Intent,
            1 => MapKind::Written,
            n => Slot::new(n - 2).map_or(MapKind::Written, MapKind::OutOfSync),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Writing,
    Flushing,
    Done,
    Failed,
}

/// A device's part of a transaction.
#[derive(Clone, Debug, Hash)]
struct Part {
    device: Device,
    writes: u32,
    stage: Stage,
    /// The life of the leg that it was begun in.
    life: u32,
    /// Written once the first writes are durable.
    then: Writes,
}

/// A transaction under way.
#[derive(Clone, Debug, Hash)]
pub(super) struct Txn {
    id: u64,
    pub(super) kind: TxnKind,
    parts: Vec<Part>,
}

impl Txn {
    /// The devices that did not take it, and in which life.
    fn failed(&self) -> impl Iterator<Item = (Device, u32)> + '_ {
        self.parts.iter().filter(|part| part.stage == Stage::Failed).map(|part| (part.device, part.life))
    }

    /// The legs that have it durably.
    pub(super) fn done_legs(&self) -> LegMask {
        self.parts.iter().fold(LegMask::NONE, |legs, part| match (part.stage, part.device) {
            (Stage::Done, Device::Leg(slot)) => legs.with(slot),
            _ => legs,
        })
    }

    /// Whether this is that transaction, and a flush of it is followed by more writes.
    pub(super) fn goes_on_after_flush(&self, id: u64) -> bool {
        self.id == id && self.parts.iter().any(|part| !part.then.is_empty())
    }

    fn is_over(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.stage, Stage::Done | Stage::Failed))
    }
}

/// What a device is to be written: blocks of the device, and their contents.
pub(super) type Writes = Vec<(u64, Arc<[u8]>)>;

impl Owner {
    pub(super) fn start_txn(&mut self, kind: TxnKind, devices: Vec<(Device, Writes)>) {
        self.start_ordered_txn(
            kind,
            devices.into_iter().map(|(device, writes)| (device, writes, Vec::new())).collect(),
        );
    }

    /// As [`Owner::start_txn`]; each device gets the second writes when the first are durable on it.
    pub(super) fn start_ordered_txn(&mut self, kind: TxnKind, devices: Vec<(Device, Writes, Writes)>) {
        self.next_txn += 1;
        let id = self.next_txn;
        let mut parts = Vec::with_capacity(devices.len());
        for (index, (device, writes, then)) in devices.into_iter().enumerate() {
            let purpose = Purpose::Txn { txn: id, device: index };
            let life = self.life_of(device);
            let part = Part { device, writes: writes.len() as u32, stage: Stage::Writing, life, then };
            if writes.is_empty() {
                self.start_op(device, Io::Flush, purpose);
                parts.push(Part { stage: Stage::Flushing, ..part });
            } else {
                for (block, data) in writes {
                    self.start_op(device, Io::Write { block, data }, purpose);
                }
                parts.push(part);
            }
        }
        self.txns.push(Txn { id, kind, parts });
    }

    /// A write or flush of a transaction ended.
    pub(super) fn txn_op_done(&mut self, txn: u64, index: usize, ok: bool) {
        let Some(at) = self.txns.iter().position(|other| other.id == txn) else { return };
        let part = &mut self.txns[at].parts[index];
        let device = part.device;
        match part.stage {
            Stage::Done | Stage::Failed => {}
            _ if !ok => part.stage = Stage::Failed,
            Stage::Flushing if !part.then.is_empty() => {
                let then = std::mem::take(&mut part.then);
                part.writes = then.len() as u32;
                part.stage = Stage::Writing;
                for (block, data) in then {
                    self.start_op(device, Io::Write { block, data }, Purpose::Txn { txn, device: index });
                }
            }
            Stage::Flushing => {
                part.stage = Stage::Done;
                self.heartbeat_landed(at, device);
            }
            Stage::Writing => {
                part.writes -= 1;
                if part.writes == 0 {
                    part.stage = Stage::Flushing;
                    self.start_op(device, Io::Flush, Purpose::Txn { txn, device: index });
                }
            }
        }
    }

    /// Ends the transactions that are over; whether there was one.
    pub(super) fn finish_txns(&mut self) -> bool {
        let Some(at) = self.txns.iter().position(Txn::is_over) else { return false };
        let txn = self.txns.remove(at);
        match &txn.kind {
            TxnKind::Record { ticket, required, .. } => self.record_done(*ticket, *required, &txn),
            TxnKind::Mark { regions } => self.mark_done(regions, &txn),
            TxnKind::OutOfSync { units, clearing } => self.out_of_sync_done(units, *clearing, &txn),
            TxnKind::Clear { regions } => self.clear_done(regions, &txn),
            TxnKind::Rewrite { units } => self.rewrite_done(units, &txn),
            TxnKind::Maps { slot } => self.maps_done(*slot, &txn),
        }
        true
    }

    /// Fails the devices that did not take a transaction.
    ///
    /// `Ok` tells the ticket of the record that has to be durable before the transaction counts, if some device failed;
    /// `Err`, that the last leg did not take it.
    pub(super) fn fail_devices(&mut self, txn: &Txn) -> Result<Option<u64>, ()> {
        let before = self.record_wanted;
        // A leg that was failed meanwhile, and has begun a new life since, has done nothing wrong in it.
        let failed: Vec<_> =
            txn.failed().filter(|(device, life)| self.life_of(*device) == *life).map(|(device, _)| device).collect();
        let mut last_failed = false;
        for device in failed {
            match device {
                Device::Log => self.lose_log(),
                Device::Leg(slot) => {
                    if self.is_last(slot) {
                        last_failed = true;
                        self.say_last_stays(slot, WhyOut::Metadata);
                    } else {
                        self.fail_leg(slot, WhyOut::Metadata);
                    }
                }
            }
        }
        if last_failed {
            return Err(());
        }
        Ok((self.record_wanted > before || self.record_wanted > self.record_durable).then_some(self.record_wanted))
    }

    fn life_of(&self, device: Device) -> u32 {
        match device {
            Device::Leg(slot) => self.legs[slot.index()].life,
            Device::Log => 0,
        }
    }

    /// Begins the next transaction, if none is under way and there is one to begin; whether it did.
    pub(super) fn next_txn(&mut self) -> bool {
        let both_mark = mutant!(TwoCommitsOfUnit)
            && self.txns.len() == 1
            && matches!(self.txns[0].kind, TxnKind::Mark { .. } | TxnKind::Clear { .. });
        if (!self.txns.is_empty() && !both_mark) || self.has_late_metadata() || self.is_final_sent() {
            return false;
        }
        if self.is_ending() {
            return self.start_record();
        }
        if both_mark {
            return self.start_mark();
        }
        self.start_record()
            || self.start_rewrite()
            || self.start_mark()
            || self.start_out_of_sync()
            || self.start_clear()
            || self.start_maps()
    }

    /// Units whose durable copies are unknown after a transaction that no device took are written anew.
    fn start_rewrite(&mut self) -> bool {
        if self.unsure.is_empty() || self.stuck {
            return false;
        }
        let units = std::mem::take(&mut self.unsure);
        for &(order, unit) in &units {
            if let MapKind::OutOfSync(slot) = order.kind() {
                self.note_out_of_sync_written(slot, unit);
            }
        }
        let devices = self.map_devices();
        if devices.is_empty() {
            return false;
        }
        let devices = self.ordered_unit_writes(&devices, &units);
        self.start_ordered_txn(TxnKind::Rewrite { units }, devices);
        true
    }

    fn rewrite_done(&mut self, units: &BTreeSet<UnitName>, txn: &Txn) {
        if self.fail_devices(txn).is_err() {
            self.unsure.extend(units);
            return self.get_stuck();
        }
        // Now that no leg calls them written any more, they need not be called dirty.
        for region in std::mem::take(&mut self.unmarked) {
            self.unsure.insert((MapOrder(0), self.config.geometry.unit_of(region).0));
        }
    }

    /// These units for these devices, in two goes: those of the written map last.
    ///
    /// A region that a crash leaves as written and not dirty is taken to be alike on all legs, those that are out included.
    /// So its dirty bit is durable before its written bit.
    pub(super) fn ordered_unit_writes(
        &self,
        devices: &[Device],
        units: &BTreeSet<UnitName>,
    ) -> Vec<(Device, Writes, Writes)> {
        let (last, first): (BTreeSet<_>, BTreeSet<_>) =
            units.iter().copied().partition(|(order, _)| order.kind() == MapKind::Written);
        let last = self.unit_writes(devices, &last, None);
        let first = self.unit_writes(devices, &first, None);
        first.into_iter().zip(last).map(|((device, first), (_, last))| (device, first, last)).collect()
    }

    /// These units for these devices, as the maps are now; a region in `without` counts as clear in the maps `without.0`.
    pub(super) fn unit_writes(
        &self,
        devices: &[Device],
        units: &BTreeSet<UnitName>,
        without: Option<&super::clearing::Cleared>,
    ) -> Vec<(Device, Writes)> {
        let writes: Writes = units.iter().map(|&unit| self.encode(unit, without)).collect();
        devices.iter().map(|&device| (device, writes.clone())).collect()
    }

    fn encode(&self, (order, index): UnitName, without: Option<&super::clearing::Cleared>) -> (u64, Arc<[u8]>) {
        let kind = order.kind();
        let geometry = &self.config.geometry;
        let unit_bits = geometry.unit_bits();
        let mut out = vec![0; geometry.block_bytes as usize];
        let empty = crate::Bits::new(0, false);
        let map = match kind {
            MapKind::Intent => &self.intent,
            MapKind::Written => &self.written,
            MapKind::OutOfSync(slot) => self.legs[slot.index()].out_of_sync.as_ref().unwrap_or(&empty),
        };
        let mut words = map.words_of(index * unit_bits, unit_bits).to_vec();
        for &region in self.unmarked.iter().filter(|_| kind == MapKind::Intent) {
            let (unit, bit) = geometry.unit_of(region);
            if unit == index {
                words[bit as usize / 64] |= 1 << (bit % 64);
            }
        }
        for region in without.into_iter().flat_map(|cleared| cleared.of(kind)) {
            let (unit, bit) = geometry.unit_of(*region);
            if unit == index {
                words[bit as usize / 64] &= !(1 << (bit % 64));
            }
        }
        crate::format::encode_unit(self.config.maps_uuid(), kind, index, &words, &mut out);
        (geometry.unit_block(kind, index), out.into())
    }

    /// Where maps are written now.
    pub(super) fn map_devices(&self) -> Vec<Device> {
        use crate::format::LogType;
        let mut devices = match self.config.log {
            LogType::Core => Vec::new(),
            LogType::Disk if self.log_lost => Vec::new(),
            LogType::Disk => vec![Device::Log],
            LogType::Internal => {
                self.slots().filter(|slot| self.legs[slot.index()].has_maps()).map(Device::Leg).collect()
            }
        };
        if mutant!(MarkOneLeg) {
            devices.truncate(1);
        }
        devices
    }
}
