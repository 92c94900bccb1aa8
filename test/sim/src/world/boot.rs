//! From drives to a mirror: what the glue does at creation, at examination and when a leg comes back.

use super::check::slot_of;
use super::engine::{Running, Table};
use super::{Verdict, World};
use mirror_engine::assembly::{self, Allowed, Found, Plan, Refusal};
use mirror_engine::format::{LegRecord, LegState, LogType, MapKind, Superblock};
use mirror_engine::maps::Maps;
use mirror_engine::options::InitialSync;
use mirror_engine::{Admission, Bits, Config, LegMask, Owner, OwnerId, Shared, SharedSizes, Slot, Start, StartLeg};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

pub const MIRROR: Uuid = Uuid::from_u128(0x3122_0000);
const LOG: Uuid = Uuid::from_u128(0x0109);

impl World {
    fn leg_uuid(&self, slot: usize) -> Uuid {
        // The order of the uuids is not that of the slots.
        Uuid::from_u128(0x1e60_0000 + (slot as u128 * 7 + 3) % 11)
    }

    fn config(&self) -> Config {
        Config {
            mirror: MIRROR,
            name: "m0".into(),
            geometry: self.setup.geometry(),
            log: self.setup.log,
            log_uuid: if self.setup.log == LogType::Disk { self.truth.log_uuid } else { Uuid::nil() },
            owner: OwnerId {
                machine: Uuid::from_u128(1),
                boot: Uuid::from_u128(2),
                instance: Uuid::from_u128(u128::from(self.counts.boots) + 3),
            },
            unknown_compatible: 0,
        }
    }

    /// A new mirror. After a crash with `log_type: core` it is created again, from a leg that the operator names.
    pub fn create(&mut self) -> Verdict {
        let source = if self.truth.served { self.truth.current.first().copied().unwrap_or(0) } else { 0 };
        let again = self.truth.served;
        if again {
            self.model.forget_zeros();
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
        for slot in 0..self.setup.legs {
            let drive = self.slots[slot];
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
                write_mostly: false,
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

    fn start(&mut self, start: Start, out: BTreeSet<usize>) -> Verdict {
        let geometry = self.setup.geometry();
        let shared = Arc::new(Shared::new(SharedSizes {
            regions: geometry.regions(),
            region_shift: geometry.region_blocks.trailing_zeros(),
            blocks: geometry.blocks,
            channels: 8,
            reports: self.setup.reports_max,
        }));
        shared.set_flushed_legs(LegMask::first(16));
        self.truth.heartbeats.clear();
        self.truth.leased_once = false;
        self.truth.lease_until_ms = 0;
        self.truth.read_faults = false;
        let legs = self.setup.legs;
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

    /// Drives are found, and the mirror starts if it may.
    pub fn boot(&mut self) -> Verdict {
        self.counts.boots += 1;
        self.now_ms += 5000;
        if self.setup.log == LogType::Core {
            for drive in 0..self.disks.len() {
                self.disks[drive].present = true;
            }
            return self.create();
        }
        if !self.truth.served && (0..self.disks.len()).all(|drive| self.superblock(drive, false).is_none()) {
            // The creation left nothing behind: it is called again.
            return self.create();
        }
        self.plug_some();
        let (found, drives) = self.examine();
        let allowed = Allowed::default();
        self.judge(&found, &drives, allowed)
    }

    /// Some drives are there, others not yet.
    fn plug_some(&mut self) {
        for drive in 0..self.disks.len() {
            self.disks[drive].present = !self.faults || self.chooser.percent(80);
        }
        if self.setup.recoverable {
            self.disks[0].present = true;
        }
    }

    /// Superblocks of the drives that are there, in any order.
    fn examine(&mut self) -> (Vec<Found>, Vec<usize>) {
        let mut order: Vec<usize> = self.slots.clone();
        for at in (1..order.len()).rev() {
            order.swap(at, self.chooser.below(at as u32 + 1) as usize);
        }
        let mut found = Vec::new();
        let mut drives = Vec::new();
        for drive in order {
            if !self.disks[drive].present {
                continue;
            }
            if let Some((superblock, next_copy)) = self.superblock(drive, false) {
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
        let (maps, log_lost) = self.read_maps(&serving, head);
        let homes = self.map_homes(&serving, head);
        if homes.iter().all(|&drive| self.map_bit(drive, MapKind::Written, 0, false).is_none()) {
            // Nobody knows any more what was never written or given up: it may read as anything from now on.
            self.model.forget_zeros();
        }
        self.check_recovery(&serving, &maps)?;
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
        let out =
            plan.legs.iter().filter(|leg| leg.record.state != LegState::InSync).map(|leg| leg.slot.index()).collect();
        let new_log = (plan.fork && self.setup.log == LogType::Disk && !log_lost)
            .then(|| Uuid::from_u128(0x0109_0000 + u128::from(self.counts.boots)));
        let start = Start {
            config: Config { unknown_compatible: head.unknown_compatible, ..self.config() },
            options: self.setup.options(),
            legs,
            maps,
            generation: plan.generation,
            sequence: found.iter().map(|leg| leg.superblock.sequence).max().unwrap_or(0),
            heartbeat: found.iter().map(|leg| leg.superblock.heartbeat).max().unwrap_or(0),
            log_lost,
            new_log,
            source: plan.source,
            now_ms: self.now_ms,
        };
        debug_assert_eq!(geometry, start.config.geometry);
        self.truth.log_uuid = new_log.unwrap_or(self.truth.log_uuid);
        self.truth.generation = 0;
        self.start(start, out)
    }

    /// The legs that serve have every acknowledged write, unless an operator took less.
    fn check_start(&mut self, serving: &[usize], allowed: Allowed, found: &[Found], drives: &[usize]) -> Verdict {
        self.truth.giving_up = None;
        let current: Vec<_> = serving.iter().filter(|drive| self.truth.current.contains(drive)).collect();
        let agreed = self.truth.agreed.iter().any(|agreed| serving.iter().all(|drive| agreed.contains(drive)));
        if allowed != Allowed::default() {
            // Once this is recorded, it may start so by itself, whatever others do meanwhile.
            self.truth.agreed.push(serving.iter().copied().collect());
            self.truth.agreed.push(self.truth.current.clone());
        }
        if allowed.winner.is_none() {
            self.check_not_diverged(serving, found, drives)?;
        }
        if current.len() == serving.len() {
            return Ok(());
        }
        if allowed == Allowed::default() && !agreed {
            return Err(format!(
                "started by itself from drives {serving:?}, only {:?} have every acknowledged write",
                self.truth.current
            ));
        }
        if !current.is_empty() {
            return Err(format!(
                "started from drives {serving:?}, of which only {current:?} have every acknowledged write"
            ));
        }
        if serving.iter().any(|drive| self.clones.contains(drive)) {
            return Err(format!("started from a copy of a drive among {serving:?}"));
        }
        let inconsistent = serving
            .iter()
            .any(|drive| self.truth.inconsistent.contains(drive) && self.says_inconsistent(*drive, found, drives));
        if inconsistent && !allowed.accept_inconsistent && !agreed {
            return Err(format!("started from drives {serving:?} that a resync was writing, without a word"));
        }
        // The writes are given up when it serves.
        self.truth.giving_up = Some(serving.iter().copied().collect());
        Ok(())
    }

    /// The mirror serves, from legs that lack acknowledged writes: an operator wanted it so.
    pub fn give_up(&mut self) {
        let Some(serving) = self.truth.giving_up.take() else { return };
        self.say(|| "acknowledged writes are given up".into());
        self.model.anything(|_| true);
        let apart = self.truth.current.iter().filter(|drive| !serving.contains(drive));
        self.truth.parting = apart.flat_map(|&other| serving.iter().map(move |&drive| (drive, other))).collect();
        for drive in self.slots.clone() {
            if !serving.contains(&drive) {
                self.truth.wild.insert(drive);
            }
        }
        self.truth.current = serving;
    }

    /// No drive is there that went its own way beside those that serve.
    fn check_not_diverged(&self, serving: &[usize], found: &[Found], drives: &[usize]) -> Verdict {
        for (leg, &drive) in found.iter().zip(drives) {
            let itself = leg.superblock.in_sync().contains(leg.superblock.slot);
            if itself && serving.iter().any(|other| self.truth.diverged.contains(&(*other, drive))) {
                return Err(format!("started from drives {serving:?} beside drive {drive}, which went its own way"));
            }
        }
        Ok(())
    }

    fn says_inconsistent(&self, drive: usize, found: &[Found], drives: &[usize]) -> bool {
        drives.iter().position(|other| *other == drive).is_some_and(|index| {
            let superblock: &Superblock = &found[index].superblock;
            superblock.legs[superblock.slot.index()].state == LegState::Inconsistent
        })
    }

    /// Where the maps are read from.
    fn map_homes(&self, serving: &[usize], head: &Superblock) -> Vec<usize> {
        match (self.setup.log, self.log) {
            (LogType::Disk, Some(log)) if self.disks[log].present && !head.log_lost => vec![log],
            (LogType::Disk, _) => Vec::new(),
            _ => serving.to_vec(),
        }
    }

    fn read_maps(&mut self, serving: &[usize], head: &Superblock) -> (Maps, bool) {
        let geometry = self.setup.geometry();
        let homes = self.map_homes(serving, head);
        if homes.is_empty() {
            let mut maps = Maps::of_lost(&geometry);
            if head.clean {
                maps.intent = Bits::new(geometry.regions(), false);
            }
            return (maps, true);
        }
        let blocks: BTreeMap<(usize, u32), Vec<Option<Vec<u8>>>> = Maps::all_units(&geometry)
            .into_iter()
            .map(|(kind, unit)| {
                let copies = homes
                    .iter()
                    .map(|&drive| self.disks[drive].bytes(geometry.unit_block(kind, unit), 1, false))
                    .collect();
                ((order(kind), unit), copies)
            })
            .collect();
        let maps = Maps::merge(self.maps_uuid(), &geometry, |kind, unit| {
            blocks[&(order(kind), unit)].iter().map(|block| block.as_deref()).collect()
        });
        (maps, false)
    }

    /// What is outside the dirty regions is alike on the legs that serve, by a count of the dirty regions that is not the
    /// engine's; and the engine copies no more than these.
    fn check_recovery(&mut self, serving: &[usize], maps: &Maps) -> Verdict {
        self.counts.crash_points += 1;
        if self.setup.log != LogType::Internal {
            return Ok(());
        }
        let geometry = self.setup.geometry();
        for region in 0..geometry.regions() {
            let written = self.merged_bit(serving, MapKind::Written, region);
            let unit_lost = serving.iter().all(|&drive| self.map_bit(drive, MapKind::Written, region, false).is_none());
            let dirty = self.merged_bit(serving, MapKind::Intent, region) || unit_lost;
            if maps.intent.get(region) != dirty {
                return Err(format!(
                    "region {region}: dirty by the legs: {dirty}, by the engine: {}",
                    maps.intent.get(region)
                ));
            }
            if dirty || !written {
                continue;
            }
            for block in geometry.region_range(region) {
                let at = geometry.data_offset_blocks + block;
                let views: Vec<_> = serving.iter().map(|&drive| self.disks[drive].view(at)).collect();
                if views.windows(2).any(|pair| pair[0] != pair[1]) {
                    return Err(format!(
                        "after a crash block {block} differs on drives {serving:?}: {views:?}, its region {region} is not dirty"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A leg that is out comes back.
    pub fn admit_something(&mut self) -> Verdict {
        let out: Vec<usize> = self.engine().out.iter().copied().collect();
        let out: Vec<usize> = out.into_iter().filter(|&slot| self.disks[self.slots[slot]].present).collect();
        let Some(slot) = self.chooser.pick(&out) else { return Ok(()) };
        let drive = self.slots[slot];
        let Some(head) = self.engine().owner.head() else { return Ok(()) };
        let record = &head.legs[slot];
        let disk = &self.disks[drive];
        let mut admission = Admission {
            uuid: record.uuid,
            identity: disk.identity,
            blocks: disk.blocks,
            next_copy: 0,
            sequence: 0,
            generation: 0,
            own_intent: self.own_intent(drive),
            full: true,
        };
        if self.has_superblocks() {
            if let Some((superblock, next_copy)) = self.superblock(drive, false) {
                admission.sequence = superblock.sequence;
                admission.generation = superblock.generation;
                let leg = Found { superblock, next_copy, identity: admission.identity, blocks: disk.blocks };
                match assembly::judge_return(&head, &leg) {
                    Ok(full) => admission.full = full,
                    Err(why) => {
                        self.say(|| format!("slot {slot} may not come back: {why:?}"));
                        // An operator has it overwritten, or not.
                        if self.faults && self.chooser.percent(70) {
                            return Ok(());
                        }
                    }
                }
                admission.next_copy = next_copy;
            }
        } else {
            admission.full = false;
        }
        let full = admission.full;
        if full {
            // What it held is given up: it is another leg from here on.
            self.truth.next_leg += 1;
            admission.uuid = Uuid::from_u128(0x1e60_1000 + self.truth.next_leg);
        }
        if self.owner().admit(slot_of(slot), admission) {
            self.say(|| format!("slot {slot} is admitted, full: {full}"));
            self.engine().out.remove(&slot);
        }
        self.drain_owner()
    }

    fn own_intent(&self, drive: usize) -> Option<Bits> {
        if self.setup.log != LogType::Internal {
            return None;
        }
        let geometry = self.setup.geometry();
        let mut bits = Bits::new(geometry.regions(), false);
        for region in 0..geometry.regions() {
            if self.map_bit(drive, MapKind::Intent, region, false)? {
                bits.set(region);
            }
        }
        Some(bits)
    }
}

fn order(kind: MapKind) -> usize {
    match kind {
        MapKind::Intent => 0,
        MapKind::Written => 1,
        MapKind::OutOfSync(slot) => 2 + slot.index(),
    }
}
