//! From drives to a mirror: what the glue does at creation, at examination and when a leg comes back.

use super::check::slot_of;
use super::engine::{Running, Table};
use super::{Verdict, World};
use crate::coverage::Deed;
use mirror_engine::assembly::{self, Allowed, Found, Plan, Refusal};
use mirror_engine::format::{LegRecord, LegState, LogType, MapKind, Superblock};
use mirror_engine::maps::Maps;
use mirror_engine::options::InitialSync;
use mirror_engine::{Bits, Config, LegMask, Owner, OwnerId, Shared, SharedSizes, Slot, Start, StartLeg};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

pub const MIRROR: Uuid = Uuid::from_u128(0x3122_0000);
const LOG: Uuid = Uuid::from_u128(0x0109);

impl World {
    fn leg_uuid(&self, slot: usize) -> Uuid {
        // The order of the uuids is not that of the slots.
        Uuid::from_u128(0x1e60_0000 + (slot as u128 * 7 + 3) % 11)
    }

    /// Who runs the mirror from now on: with each power cut the machine boots.
    pub fn owner_id(&self) -> OwnerId {
        OwnerId {
            machine: Uuid::from_u128(1),
            boot: Uuid::from_u128(u128::from(self.counts.power_cuts) + 2),
            instance: Uuid::from_u128(u128::from(self.counts.boots) + 3),
        }
    }

    fn config(&self) -> Config {
        Config {
            mirror: MIRROR,
            name: "m0".into(),
            geometry: self.setup.geometry(),
            log: self.setup.log,
            log_uuid: if self.setup.log == LogType::Disk { self.truth.log_uuid } else { Uuid::nil() },
            owner: self.owner_id(),
            unknown_compatible: 0,
        }
    }

    /// A new mirror. After a crash with `log_type: core` it is created again, from a leg that the operator names.
    pub fn create(&mut self) -> Verdict {
        let mut current = self.slots.iter().copied().filter(|drive| self.truth.current.contains(drive));
        let source = if self.truth.served { current.next() } else { None }.unwrap_or(self.slots[0]);
        let again = self.truth.served;
        if again {
            self.model.forget_zeros(|_| true);
        }
        // What an earlier attempt left is wiped.
        let metadata = self.setup.geometry().data_offset_blocks;
        for disk in &mut self.disks {
            disk.wipe(metadata);
        }
        self.truth.generations.clear();
        let sync = if again { InitialSync::Full } else { self.setup.initial_sync };
        let geometry = self.setup.geometry();
        let mut maps = Maps::of_new(&geometry, sync != InitialSync::Blank);
        let mut legs = Vec::new();
        self.truth.current.clear();
        let mut full = BTreeSet::new();
        self.truth.uuids.clear();
        for slot in 0..self.slots.len() {
            let drive = self.slots[slot];
            self.truth.uuids.insert(drive, self.leg_uuid(slot));
            let in_sync = sync != InitialSync::Full || drive == source;
            if in_sync {
                self.truth.current.insert(drive);
            } else {
                full.insert(slot);
                maps.out_of_sync[slot] = Some(Bits::new(geometry.regions(), true));
            }
            let record = LegRecord {
                uuid: self.leg_uuid(slot),
                state: if in_sync { LegState::InSync } else { LegState::Inconsistent },
                write_mostly: self.faults && self.chooser.percent(10),
                last_in_sync: u64::from(in_sync),
                identity: self.disks[drive].identity,
                blocks: self.disks[drive].blocks,
            };
            legs.push(StartLeg { slot: slot_of(slot), record, next_copy: 0 });
        }
        self.say(|| format!("created, source {source}, {sync:?}"));
        self.truth.generation = 0;
        self.truth.log_uuid = LOG;
        let start = Start {
            config: self.config(),
            options: self.setup.options(),
            legs,
            maps,
            generation: 1,
            sequence: 0,
            heartbeat: 0,
            log_lost: false,
            new_log: None,
            source: None,
            now_ms: self.now_ms,
        };
        self.start(start, full)
    }

    /// Legs that have a flush.
    pub fn flushed_legs(&self) -> LegMask {
        let has_cache = |slot: &usize| !self.disks[self.slots[*slot]].cacheless;
        (0..self.slots.len()).filter(has_cache).map(slot_of).fold(LegMask::NONE, LegMask::with)
    }

    fn start(&mut self, start: Start, out: BTreeSet<usize>) -> Verdict {
        let geometry = self.setup.geometry();
        let shared = Arc::new(Shared::new(SharedSizes {
            regions: geometry.regions(),
            region_shift: geometry.region_blocks.trailing_zeros(),
            blocks: geometry.blocks,
            channels: 8,
            reports: self.setup.reports_max,
        }));
        shared.set_flushed_legs(self.flushed_legs());
        self.truth.heartbeats.clear();
        self.truth.leased_once = false;
        self.truth.lease_until_ms = 0;
        self.truth.read_faults = false;
        let legs = self.slots.len();
        self.running = Some(Running {
            owner: Owner::start(Arc::clone(&shared), start),
            shared,
            channels: Vec::new(),
            table: Table::default(),
            requests: Vec::new(),
            buffers: vec![Vec::new(); 64],
            sweeps: VecDeque::new(),
            wakes: BTreeSet::new(),
            waiting: Vec::new(),
            lives: vec![0; legs],
            out,
            resetting: BTreeSet::new(),
            faulted: BTreeSet::new(),
            suspended: false,
            started: false,
            offline: false,
            stopped: None,
            states: Vec::new(),
        });
        for channel in 0..self.setup.channels {
            self.open_channel(channel);
        }
        self.drain_owner()
    }

    /// No mirror runs, or only one that stands still.
    pub fn start_again(&mut self) -> Verdict {
        if self.is_successor_waiting() { self.successor_waits() } else { self.boot() }
    }

    /// After a while drives are found, and the mirror starts if it may.
    pub fn boot(&mut self) -> Verdict {
        self.now_ms += 5000;
        self.boot_now()
    }

    /// Drives are found, and the mirror starts if it may.
    pub fn boot_now(&mut self) -> Verdict {
        self.counts.boots += 1;
        if self.setup.log == LogType::Core {
            for drive in 0..self.disks.len() {
                self.disks[drive].present = self.slots.contains(&drive);
            }
            return self.create();
        }
        if !self.truth.served && (0..self.disks.len()).all(|drive| self.own_superblock(drive).is_none()) {
            // The creation left nothing behind: it is called again.
            return self.create();
        }
        self.plug_some();
        let (found, drives) = self.examine();
        self.check_owner_gone(&found)?;
        let allowed = Allowed::default();
        self.judge(&found, &drives, allowed)
    }

    /// Some drives are there, others not yet.
    fn plug_some(&mut self) {
        for drive in 0..self.disks.len() {
            let is_ours = self.slots.contains(&drive) || self.log == Some(drive);
            self.disks[drive].present = if self.faults { self.chooser.percent(80) } else { is_ours };
        }
        if self.setup.recoverable {
            self.disks[0].present = true;
        }
    }

    /// The superblock of a drive, if it is of this mirror.
    fn own_superblock(&self, drive: usize) -> Option<(Superblock, usize)> {
        self.superblock(drive, false).filter(|(superblock, _)| superblock.mirror == MIRROR)
    }

    /// Superblocks of the drives that are there, in any order.
    fn examine(&mut self) -> (Vec<Found>, Vec<usize>) {
        let log = self.log;
        let mut order: Vec<usize> = (0..self.disks.len()).filter(|drive| Some(*drive) != log).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.chooser.below(at as u32 + 1) as usize);
        }
        let mut found = Vec::new();
        let mut drives = Vec::new();
        for drive in order {
            if !self.disks[drive].present {
                continue;
            }
            if let Some((superblock, next_copy)) = self.own_superblock(drive) {
                let is_copy = superblock.legs[superblock.slot.index()].identity != self.disks[drive].identity;
                if is_copy && (!self.faults || self.setup.recoverable || self.chooser.percent(30)) {
                    // An operator detaches it.
                    continue;
                }
                let disk = &self.disks[drive];
                let mut leg = Found { superblock, next_copy, identity: disk.identity, blocks: disk.blocks };
                if self.clones.contains(&drive) {
                    // Another drive with the same contents is there in its place.
                    leg.identity = Uuid::from_u128(0xc104e);
                }
                found.push(leg);
                drives.push(drive);
            }
        }
        (found, drives)
    }

    fn judge(&mut self, found: &[Found], drives: &[usize], allowed: Allowed) -> Verdict {
        // As good as random: sums of few of them differ.
        let mut hasher = std::hash::DefaultHasher::new();
        std::hash::Hash::hash(&self.counts.boots, &mut hasher);
        let tag = std::hash::Hasher::finish(&hasher) as u32;
        let verdict = assembly::judge(found, allowed, tag);
        self.say(|| {
            let said: Vec<_> = found
                .iter()
                .map(|leg| {
                    let s = &leg.superblock;
                    format!("slot {} generation {} in sync {:?}", s.slot.index(), s.generation, s.in_sync())
                })
                .collect();
            format!("boot with {said:?}, allowed {allowed:?}: {verdict:?}")
        });
        match verdict {
            assembly::Verdict::Start(plan) => self.start_plan(found, drives, allowed, &plan),
            assembly::Verdict::Wait { missing } => self.wait_or_insist(found, drives, allowed, missing),
            assembly::Verdict::Refuse(refusal) => self.refused(found, drives, allowed, &refusal),
        }
    }

    /// Legs are missing. They come, or an operator does without them.
    fn wait_or_insist(&mut self, found: &[Found], drives: &[usize], allowed: Allowed, missing: LegMask) -> Verdict {
        let spared_missing = self.setup.recoverable && missing.contains(slot_of(0));
        if spared_missing && !self.truth.served {
            // The creation was cut short: it is called again.
            return self.create();
        }
        if allowed == Allowed::default() && self.faults && !spared_missing {
            let insist = match self.chooser.below(10) {
                0 | 1 => Some(Allowed { degraded: true, ..allowed }),
                2..5 if !self.setup.recoverable => Some(Allowed { force: true, ..allowed }),
                _ => None,
            };
            if let Some(insist) = insist {
                return self.judge(found, drives, insist);
            }
        }
        if !self.faults {
            // Everything is plugged in: what is missing cannot be read any more.
            let all_there = missing.iter().all(|slot| self.disks[self.slots[slot.index()]].present);
            if all_there {
                let insist = Allowed { force: true, accept_inconsistent: true, ..Allowed::default() };
                if allowed != insist {
                    return self.judge(found, drives, insist);
                }
            }
        }
        Ok(())
    }

    fn refused(&mut self, found: &[Found], drives: &[usize], allowed: Allowed, refusal: &Refusal) -> Verdict {
        match refusal {
            Refusal::Diverged { one, other } if allowed.winner.is_none() => {
                if self.faults && self.chooser.percent(50) {
                    return Ok(());
                }
                let winner = self.chooser.pick(&[*one, *other]);
                self.judge(found, drives, Allowed { winner, force: true, ..allowed })
            }
            Refusal::OnlyInconsistent if !allowed.accept_inconsistent => {
                if self.faults && self.chooser.percent(70) {
                    return Ok(());
                }
                self.judge(found, drives, Allowed { accept_inconsistent: true, force: true, ..allowed })
            }
            _ => Ok(()),
        }
    }

    fn start_plan(&mut self, found: &[Found], drives: &[usize], allowed: Allowed, plan: &Plan) -> Verdict {
        if plan.rejected.iter().any(|(_, why)| matches!(why, assembly::Rejected::Replaced { .. })) {
            self.coverage.note(Deed::OldLegRejected);
        }
        for leg in plan.legs.iter().filter_map(|leg| leg.found) {
            self.truth.uuids.insert(drives[leg], found[leg].superblock.leg);
        }
        self.place_found(plan.legs.iter().filter_map(|leg| leg.found.map(|index| (leg.slot, drives[index]))));
        let serving: Vec<usize> = plan
            .legs
            .iter()
            .filter(|leg| leg.record.state == LegState::InSync)
            .filter_map(|leg| leg.found.map(|index| drives[index]))
            .collect();
        self.check_start(&serving, allowed, found, drives)?;
        let geometry = self.setup.geometry();
        let head = &found[plan.head].superblock;
        self.truth.log_uuid = head.log_uuid;
        let (maps, log_lost) = self.read_maps(&serving, head, plan);
        let homes = self.map_homes(&serving, head, plan);
        let region_lost =
            |region: u32| homes.iter().all(|&drive| self.map_bit(drive, MapKind::Written, region, false).is_none());
        let lost: BTreeSet<u32> = (0..geometry.regions()).filter(|&region| region_lost(region)).collect();
        // Nobody knows any more what was never written there or given up: it may read as anything from now on.
        self.model.forget_zeros(|block| lost.contains(&geometry.region_of(block)));
        self.check_recovery(&serving, &homes, head.clean && head.log_lost && plan.holds_log(), &maps)?;
        self.truth.source = plan.source.map(Slot::index).filter(|_| maps.intent.count() > 0);
        let expected = head
            .source
            .map(Slot::index)
            .filter(|source| serving.contains(&self.slots[*source]) && maps.intent.count() > 0);
        if self.truth.current.len() > 1 && expected.is_some() {
            self.truth.source = expected;
        }
        let legs = plan
            .legs
            .iter()
            .map(|leg| StartLeg {
                slot: leg.slot,
                record: leg.record.clone(),
                next_copy: leg.found.map_or(0, |index| found[index].next_copy),
            })
            .collect();
        let in_sync = plan.legs.iter().filter(|leg| leg.record.state == LegState::InSync);
        let in_sync: BTreeSet<usize> = in_sync.map(|leg| leg.slot.index()).collect();
        let out = (0..self.slots.len()).filter(|slot| !in_sync.contains(slot)).collect();
        let new_log = (plan.fork && self.setup.log == LogType::Disk && !log_lost)
            .then(|| Uuid::from_u128(0x0109_0000 + u128::from(self.counts.boots)));
        let start = Start {
            config: Config { unknown_compatible: head.unknown_compatible, ..self.config() },
            options: self.setup.options(),
            legs,
            maps,
            generation: plan.generation,
            sequence: plan.sequence,
            heartbeat: plan.heartbeat,
            log_lost,
            new_log,
            source: plan.source,
            now_ms: self.now_ms,
        };
        debug_assert_eq!(geometry, start.config.geometry);
        self.truth.log_uuid = new_log.unwrap_or(self.truth.log_uuid);
        // A leg that takes no part, or gets everything, is of another history, whose numbers a fork leaves behind too.
        let is_apart = |index: usize| plan.legs.iter().any(|leg| leg.found == Some(index) && leg.full);
        let is_out =
            |index: usize| !plan.fork && (is_apart(index) || plan.rejected.iter().any(|(other, _)| *other == index));
        let known = found.iter().enumerate().filter(|(index, _)| !is_out(*index));
        let newest = known.map(|(_, leg)| leg.superblock.generation).max();
        self.truth.generation = newest.unwrap_or(0) + 1;
        self.start(start, out)
    }
}
