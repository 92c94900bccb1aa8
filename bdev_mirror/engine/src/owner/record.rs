//! Superblocks: what is durably known of the legs.

use super::action::{Action, Device, Event};
use super::legs::Stage;
use super::txn::{Txn, TxnKind, Writes};
use super::{Owner, Phase};
use crate::LegMask;
use crate::format::LogType;
use crate::format::Superblock;
use crate::format::{LegRecord, LegState};
use std::sync::Arc;

/// How far beyond a generation of another history the next one is, at least.
const FOREIGN_STRIDE: u64 = 1 << 34;
/// What of its own number a start adds to that: another start that meets the same leg goes on from another number.
const START_MASK: u64 = FOREIGN_STRIDE - 1;
/// How long to wait after a record that no leg took.
const RETRY_MS: u64 = 1000;

impl Owner {
    /// Asks for a record of what is known now; its ticket, for [`Owner::is_durable`].
    pub(super) fn request_record(&mut self) -> u64 {
        self.record_wanted = self.record_issued + 1;
        self.record_wanted
    }

    /// Whether every leg that counts has durably taken the record of this ticket, or a later one.
    pub(super) fn is_durable(&self, ticket: u64) -> bool {
        self.record_durable >= ticket
    }

    pub(super) fn start_record(&mut self) -> bool {
        if self.stuck && self.now_ms < self.record_retry_ms {
            return false;
        }
        let heartbeat = self.record_wanted <= self.record_issued;
        if heartbeat && !self.is_heartbeat_due() {
            return false;
        }
        if !heartbeat {
            self.record_issued += 1;
            self.generation = if self.generation_seen > self.generation {
                // That history may have gone on elsewhere: beyond all that it will count to.
                self.generation_seen + FOREIGN_STRIDE + (self.generation & START_MASK)
            } else {
                self.generation + 1
            };
            self.source_recorded = self.source;
        }
        self.sequence += 1;
        self.heartbeat += 1;
        for leg in self.legs.iter_mut().filter(|leg| leg.is_required()) {
            leg.state = LegState::InSync;
        }
        let devices = self.record_writes();
        if self.is_leased() {
            // One that is still under way is this one's elder: it failed, or its record is over.
            self.lease.failed();
            self.first_heartbeat_ms.get_or_insert(self.now_ms);
            self.lease.issued(self.now_ms);
        }
        let kind = TxnKind::Record {
            ticket: self.record_issued,
            required: self.required(),
            heartbeat_ms: self.is_leased().then_some(self.now_ms),
        };
        self.start_ordered_txn(kind, devices);
        true
    }

    /// Superblocks for all legs that get them, in the order in which each leg gets them.
    ///
    /// A leg whose metadata was read from what may be its cache is flushed first: of its two superblocks the one that is
    /// overwritten must not be the only one that would survive, and a dirty bit that was seen must stay.
    fn record_writes(&self) -> Vec<(Device, Writes, Writes)> {
        let starting = self.phase == Phase::Starting;
        let mut devices = Vec::new();
        // The last record goes to those alone that it lists as in sync: by these a successor knows that it is whole.
        let gets_it = if self.is_ending() { super::legs::Leg::is_required } else { super::legs::Leg::has_records };
        for slot in self.legs_that(gets_it).iter() {
            let device = Device::Leg(slot);
            let writes = self.superblock_writes(slot);
            if self.legs[slot.index()].flush_first {
                devices.push((device, Vec::new(), writes));
            } else if !writes.is_empty() {
                devices.push((device, writes, Vec::new()));
            }
        }
        if starting && self.config.log == LogType::Disk && !self.log_lost {
            devices.push((Device::Log, Vec::new(), Vec::new()));
        }
        devices
    }

    fn superblock_writes(&self, slot: crate::Slot) -> Writes {
        if self.config.log == LogType::Core {
            return Vec::new();
        }
        let superblock = self.superblock(slot);
        let geometry = &self.config.geometry;
        let mut bytes = superblock.encode().to_vec();
        bytes.resize((geometry.superblock_blocks() * u64::from(geometry.block_bytes)) as usize, 0);
        let block = geometry.superblock_block(self.legs[slot.index()].next_copy);
        vec![(block, Arc::from(bytes))]
    }

    /// What the superblocks say now, as that of the lowest slot in sync.
    #[must_use]
    pub fn head(&self) -> Option<Superblock> {
        self.readable().lowest().map(|slot| self.superblock(slot))
    }

    /// What a leg's superblock says now.
    fn superblock(&self, slot: crate::Slot) -> Superblock {
        let own = &self.legs[slot.index()];
        Superblock {
            mirror: self.config.mirror,
            name: self.config.name.clone(),
            leg: own.uuid,
            slot,
            sequence: self.sequence,
            generation: self.generation,
            clean: self.final_ticket.is_some() && self.ends_clean(),
            log_lost: self.log_lost,
            source: self.source_recorded.filter(|source| self.legs[source.index()].state == LegState::InSync),
            geometry: self.config.geometry.clone(),
            log: self.config.log,
            log_uuid: self.config.log_uuid,
            owner: self.config.owner,
            lease_ms: self.options.lease.owner_lease_ms as u32,
            heartbeat: self.heartbeat,
            legs: std::array::from_fn(|index| {
                let leg = &self.legs[index];
                LegRecord {
                    uuid: leg.uuid,
                    state: leg.state,
                    write_mostly: leg.write_mostly,
                    last_in_sync: leg.last_in_sync,
                    identity: leg.identity,
                    blocks: leg.blocks,
                }
            }),
            unknown_compatible: self.config.unknown_compatible,
            unknown_read_only: 0,
        }
    }

    pub(super) fn record_done(&mut self, ticket: u64, required: LegMask, txn: &Txn) {
        for slot in txn.done_legs().and(required).iter() {
            // Only now is it known to have been in sync at this generation.
            self.legs[slot.index()].last_in_sync = self.generation;
        }
        for slot in txn.done_legs().iter() {
            // The other copy is written next. One that failed is written again: the last good one is never in danger.
            let leg = &mut self.legs[slot.index()];
            leg.next_copy = 1 - leg.next_copy;
            leg.flush_first = false;
        }
        if self.fail_devices(txn).is_err() {
            self.get_stuck();
            return;
        }
        // A leg that was failed meanwhile asked for a record of its own; one that joined meanwhile is not in this one.
        let now = self.required();
        let all_have_it = self.config.log == LogType::Core || now.is_within(txn.done_legs());
        if !all_have_it || !now.is_within(required) {
            self.request_record();
            return;
        }
        self.record_durable = ticket;
        if self.stuck {
            self.stuck = false;
            self.actions.push_back(Action::Event(Event::RecordWorks));
        }
        if self.record_wanted <= ticket {
            self.recorded = true;
        }
        self.wake_wanted = true;
    }

    /// The last leg in sync takes no metadata: nothing that some leg lacks may be acknowledged any more, and nothing may be
    /// marked dirty. Reads go on; the record is tried again.
    pub(super) fn get_stuck(&mut self) {
        if !self.stuck {
            self.stuck = true;
            self.actions.push_back(Action::Event(Event::RecordStuck));
        }
        self.record_retry_ms = self.now_ms + RETRY_MS;
        self.request_record();
        self.refuse_marks();
        self.wake_wanted = true;
        self.publish();
    }

    pub(super) fn is_leased(&self) -> bool {
        // Without superblocks nobody could read a heartbeat.
        self.options.lease.owner_lease_ms > 0 && self.config.log != LogType::Core
    }

    fn is_heartbeat_due(&self) -> bool {
        self.is_leased()
            && matches!(self.phase, Phase::Running | Phase::Stopping)
            && self.lease.heartbeat_due(self.now_ms)
    }

    /// A superblock landed on a leg: if that leg is in sync, the owner is known to be alive to whoever looks.
    pub(super) fn heartbeat_landed(&mut self, txn_at: usize, device: Device) {
        let Device::Leg(slot) = device else { return };
        if self.legs[slot.index()].stage != Stage::In {
            return;
        }
        // The first leg decides; the others' turn changes nothing.
        let TxnKind::Record { heartbeat_ms, .. } = &mut self.txns[txn_at].kind else { return };
        let Some(issued_ms) = heartbeat_ms.take() else { return };
        let until_ms = self.lease.succeeded(issued_ms);
        self.shared.lease_until_ms.store(until_ms, std::sync::atomic::Ordering::Release);
        self.wake_wanted = true;
    }
}
