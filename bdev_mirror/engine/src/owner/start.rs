//! How a mirror begins to serve: from a new set of legs, or from what was found on them.

use super::action::Event;
use super::clearing::Clearing;
use super::copy::Copier;
use super::legs::{Leg, Stage};
use super::marks::Marks;
use super::txn::MapOrder;
use super::{Owner, Phase};
use crate::OwnerId;
use crate::error_budget::ErrorBudget;
use crate::format::{Geometry, LogType};
use crate::format::{LegRecord, LegState};
use crate::lease::Lease;
use crate::maps::Maps;
use crate::mutant::mutant;
use crate::pacer::Pacer;
use crate::region_map::RegionState;
use crate::slow_leg::SlowLegs;
use crate::{Bits, LegMask, MAX_LEGS, MAX_WINDOWS, Options, Pass, Shared, Slot, Writer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// What stays the same while a mirror runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// The mirror.
    pub mirror: Uuid,
    /// Its name.
    pub name: String,
    /// Size and layout.
    pub geometry: Geometry,
    /// Where the maps are.
    pub log: LogType,
    /// The log device; nil if there is none.
    pub log_uuid: Uuid,
    /// Who runs it.
    pub owner: OwnerId,
    /// Feature bits to be kept.
    pub unknown_compatible: u64,
}

impl Config {
    /// The uuid that map units carry: the mirror's on legs, the log's own on a log.
    #[must_use]
    pub fn maps_uuid(&self) -> Uuid {
        if self.log == LogType::Disk { self.log_uuid } else { self.mirror }
    }
}

/// A slot at the start.
#[derive(Clone, Debug)]
pub struct StartLeg {
    /// The slot.
    pub slot: Slot,
    /// The leg, as the superblock that the start goes by says; its state says whether it serves.
    pub record: LegRecord,
    /// Which copy of its superblock does not hold the newest.
    pub next_copy: usize,
}

/// All that a start goes by.
#[derive(Clone, Debug)]
pub struct Start {
    /// What stays the same.
    pub config: Config,
    /// Run-time options.
    pub options: Options,
    /// Slots that have a leg.
    pub legs: Vec<StartLeg>,
    /// The maps, merged.
    pub maps: Maps,
    /// The generation that this start records, never used before.
    pub generation: u64,
    /// The highest sequence seen on any leg; the first record counts on from it.
    pub sequence: u64,
    /// The highest heartbeat seen.
    pub heartbeat: u64,
    /// The log is lost.
    pub log_lost: bool,
    /// The log is begun anew under this uuid: for a start that left legs in sync behind. They know the log by its old uuid,
    /// and must not take what is written to it from now on for theirs.
    pub new_log: Option<Uuid>,
    /// The source of reconciliation that an earlier start chose.
    pub source: Option<Slot>,
    /// The time now.
    pub now_ms: u64,
}

impl Owner {
    /// Begins to start. The mirror serves from [`Event::Started`] on.
    #[must_use]
    pub fn start(shared: Arc<Shared>, start: Start) -> Self {
        let geometry = start.config.geometry.clone();
        let mut owner = Self {
            legs: std::array::from_fn(|_| Leg::default()),
            stayed: Default::default(),
            log_lost: start.log_lost,
            intent: start.maps.intent,
            written: start.maps.written,
            unsure: BTreeSet::new(),
            unmarked: BTreeSet::new(),
            generation: start.generation.saturating_sub(1),
            generation_seen: 0,
            sequence: start.sequence,
            heartbeat: start.heartbeat,
            record_wanted: 0,
            record_issued: 0,
            record_durable: 0,
            record_retry_ms: 0,
            recorded: false,
            stuck: false,
            lease: Lease::new(start.options.lease),
            first_heartbeat_ms: None,
            next_txn: 0,
            txns: Vec::new(),
            next_op: 0,
            ops: BTreeMap::new(),
            resolved: VecDeque::new(),
            marks: Marks::default(),
            clearing: Clearing::default(),
            progress_wanted: false,
            progress_ms: start.now_ms,
            copier: Copier::new(MAX_WINDOWS),
            pacer: Pacer::new(start.options.pacer, start.now_ms),
            pacing: false,
            host_latency: Default::default(),
            slow_legs: SlowLegs::default(),
            slow_judged_ms: start.now_ms,
            resync_paused: false,
            suspects: BTreeMap::new(),
            suspect_epoch: 0,
            unread: BTreeSet::new(),
            unread_retry_ms: 0,
            wanted: BTreeSet::new(),
            source: None,
            source_ticket: 0,
            source_recorded: None,
            repairs: Vec::new(),
            budgets: std::array::from_fn(|_| ErrorBudget::default()),
            seeing: LegMask::NONE,
            passes: [Default::default(); Pass::COUNT],
            wake_wanted: false,
            actions: VecDeque::new(),
            shared,
            config: Config { log_uuid: start.new_log.unwrap_or(start.config.log_uuid), ..start.config },
            options: start.options,
            now_ms: start.now_ms,
            phase: Phase::Starting,
            suspended: false,
            drained: false,
            drain_again: false,
            final_ticket: None,
        };
        for (kind, unit) in start.maps.unsure {
            owner.unsure.insert((MapOrder::of(kind), unit));
        }
        if start.new_log.is_some() {
            let units = Maps::all_units(&geometry).into_iter();
            owner.unsure.extend(units.map(|(kind, unit)| (MapOrder::of(kind), unit)));
        }
        for leg in start.legs {
            owner.start_leg(leg, &start.maps.out_of_sync, &geometry);
        }
        owner.start_regions(start.source);
        let lease_until_ms = if owner.is_leased() { 0 } else { u64::MAX };
        owner.shared.lease_until_ms.store(lease_until_ms, std::sync::atomic::Ordering::Release);
        owner.publish_read_rules();
        owner.request_record();
        owner.pump();
        owner
    }

    fn start_leg(&mut self, start: StartLeg, maps: &[Option<Bits>; MAX_LEGS], geometry: &Geometry) {
        let in_sync = start.record.state == LegState::InSync;
        let empty = || Bits::new(geometry.regions(), false);
        let known = maps[start.slot.index()].clone().unwrap_or_else(empty);
        let mut lacks = if in_sync { empty() } else { known.clone() };
        if !in_sync {
            // Whatever was under way at the crash may have missed it.
            lacks.union(&self.intent);
        }
        self.legs[start.slot.index()] = Leg {
            uuid: start.record.uuid,
            identity: start.record.identity,
            blocks: start.record.blocks,
            write_mostly: start.record.write_mostly,
            state: start.record.state,
            last_in_sync: start.record.last_in_sync,
            stage: if in_sync { Stage::In } else { Stage::Out },
            next_copy: start.next_copy,
            flush_first: in_sync,
            out_of_sync: Some(lacks),
            out_of_sync_durable: Some(known),
            ..Leg::default()
        };
    }

    /// After a crash every dirty region is suspect: legs that were in sync are equal candidates for it.
    fn start_regions(&mut self, source: Option<Slot>) {
        for region in 0..self.config.geometry.regions() {
            let state = if !self.written.get(region) {
                // Marked and never written: nothing was sent.
                if self.intent.clear(region) {
                    let unit = self.config.geometry.unit_of(region).0;
                    self.unsure.insert((MapOrder(0), unit));
                }
                RegionState::Unwritten
            } else if self.intent.get(region) {
                self.suspect_epoch += 1;
                self.suspects.insert(region, self.suspect_epoch);
                RegionState::NoSync
            } else {
                RegionState::Clean
            };
            self.shared.regions.set(region, state, Writer::NOBODY);
        }
        if self.suspects.is_empty() {
            return;
        }
        let kept = source.filter(|source| self.readable().contains(*source) && !mutant!(ForgetChosenSource));
        match kept {
            Some(_) => {
                self.source = kept;
                self.source_ticket = self.request_record();
            }
            None => self.choose_source(LegMask::NONE),
        }
    }

    /// The start counts when it is durable, and when all legs agree about the maps: a bit that only one leg has is lost
    /// with that leg.
    pub(super) fn pump_start(&mut self) {
        if self.phase != Phase::Starting || self.stuck {
            return;
        }
        let recorded = self.record_issued > 0 && self.is_durable(self.record_wanted);
        if recorded && self.recorded && self.unsure.is_empty() && self.txns.is_empty() {
            self.phase = Phase::Running;
            self.publish();
            self.say(Event::Started);
            self.wake_wanted = true;
        }
    }
}
