//! Promises, checked where they could be broken.

use super::engine::Request;
use super::{Flight, Origin, Verdict, Work, World};
use crate::disk::Block;
use mirror_engine::format::{LegState, LogType, MapKind, SUPERBLOCK_BYTES, Superblock};
use mirror_engine::{Failure, Outcome, RegionState, Slot};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

impl World {
    /// A child of a host write goes to a leg.
    pub fn check_host_write(&mut self, slot: usize, range: Range<u64>) -> Verdict {
        if self.setup.leased && self.now_ms > self.truth.lease_until_ms {
            return Err(format!("a write at {} ms, the lease ended at {} ms", self.now_ms, self.truth.lease_until_ms));
        }
        let geometry = self.setup.geometry();
        for region in geometry.region_of(range.start)..=geometry.region_of(range.end - 1) {
            self.check_marked(region)?;
        }
        for (id, flight) in &self.flights {
            let Origin::Child { channel, io, .. } = flight.origin else {
                if let (Work::Write { block, data }, Some(other)) = (&flight.work, flight.slot) {
                    let offset = geometry.data_offset_blocks;
                    let mine = range.start + offset..range.end + offset;
                    if other == slot
                        && *block < mine.end
                        && mine.start < block + data.len() as u64
                        && self.is_current_life(flight)
                    {
                        return Err(format!("a host write of {range:?} meets a copy in flight ({id}) on slot {slot}"));
                    }
                }
                continue;
            };
            if let Work::Write { block, data } = &flight.work {
                let other =
                    block - geometry.data_offset_blocks..block - geometry.data_offset_blocks + data.len() as u64;
                let is_own = self.running.as_ref().is_some_and(|running| {
                    running.requests[io as usize]
                        .as_ref()
                        .is_some_and(|request| request.channel == channel && request.range == range)
                });
                if flight.slot == Some(slot)
                    && !is_own
                    && self.is_current_life(flight)
                    && other.start < range.end
                    && range.start < other.end
                {
                    return Err(format!("a write of {range:?} while another of {other:?} is in flight on slot {slot}"));
                }
            }
        }
        self.check_own_mark(slot)
    }

    fn is_current_life(&self, flight: &Flight) -> bool {
        match (flight.slot, &self.running) {
            (Some(slot), Some(running)) => {
                running.lives[slot] == flight.life && running.shared.legs.load().writable().contains(slot_of(slot))
            }
            _ => false,
        }
    }

    /// A region's dirty bit is durable wherever it may be looked for.
    fn check_marked(&self, region: u32) -> Verdict {
        let log_counts = match self.setup.log {
            LogType::Core => return Ok(()),
            LogType::Internal => None,
            LogType::Disk => self.log,
        };
        let drives = match log_counts {
            None => self.required_drives(),
            Some(log) => {
                let lost =
                    |drive: &usize| self.durable_superblock(*drive).is_some_and(|superblock| superblock.log_lost);
                if self.required_drives().iter().all(lost) { return Ok(()) } else { vec![log] }
            }
        };
        for drive in drives {
            let geometry = self.setup.geometry();
            if self.disks[drive].is_bad(geometry.unit_block(MapKind::Intent, geometry.unit_of(region).0)) {
                continue;
            }
            if self.map_bit(drive, MapKind::Intent, region, true) != Some(true) {
                return Err(format!("data goes to region {region}, whose dirty bit is not durable on drive {drive}"));
            }
        }
        Ok(())
    }

    /// A leg that is not in sync says so itself before anything is written to it.
    fn check_own_mark(&self, slot: usize) -> Verdict {
        let Some(running) = &self.running else { return Ok(()) };
        let set = running.shared.legs.load();
        if !self.has_superblocks() || set.required().contains(slot_of(slot)) {
            return Ok(());
        }
        let state = self.durable_superblock(self.slots[slot]).map(|superblock| superblock.legs[slot].state);
        if state != Some(LegState::Inconsistent) {
            return Err(format!("a write goes to slot {slot}, which is not in sync and says {state:?}"));
        }
        Ok(())
    }

    /// The owner writes nothing either once its lease has ended.
    pub fn check_owner_lease(&self, io: &mirror_engine::Io) -> Verdict {
        let writes = !matches!(
            io,
            mirror_engine::Io::Flush | mirror_engine::Io::CopyRead { .. } | mirror_engine::Io::Verify { .. }
        );
        let until_ms = self.truth.lease_until_ms;
        // Before the first heartbeat of a run it writes as whoever starts a mirror does.
        if writes && self.setup.leased && self.truth.leased_once && self.now_ms > until_ms {
            return Err(format!("the owner writes at {} ms, its lease ended at {until_ms} ms", self.now_ms));
        }
        Ok(())
    }

    /// The owner writes data: a copy, or zeros.
    pub fn check_owner_data_write(
        &mut self,
        drive: usize,
        slot: Option<usize>,
        block: u64,
        blocks: u64,
        zeros: bool,
    ) -> Verdict {
        let geometry = self.setup.geometry();
        let Some(slot) = slot else { return Err("data goes to the log".into()) };
        let start = block - geometry.data_offset_blocks;
        let range = start..start + blocks;
        let region = geometry.region_of(start);
        if range.end > geometry.blocks {
            return Err(format!("a copy of {range:?} goes beyond the mirror"));
        }
        self.cover_region(region, crate::coverage::Happening::Resync);
        let Some(running) = &self.running else { return Ok(()) };
        let state = running.shared.regions.load(region).state();
        let required = running.shared.legs.load().required().contains(slot_of(slot));
        for flight in self.flights.values() {
            if let (Origin::Child { .. }, Work::Write { block: other, data }) = (flight.origin, &flight.work) {
                let other =
                    other - geometry.data_offset_blocks..other - geometry.data_offset_blocks + data.len() as u64;
                if self.is_current_life(flight) && other.start < range.end && range.start < other.end {
                    return Err(format!(
                        "a copy of {range:?} meets a host write of {other:?} in flight on {:?}",
                        flight.slot
                    ));
                }
            }
        }
        if !required {
            self.truth.inconsistent.insert(drive);
            return self.check_own_mark(slot);
        }
        // Nothing is ever read from an unwritten region, so zeros may go to it before its bit.
        if zeros && state == RegionState::Unwritten { Ok(()) } else { self.check_marked(region) }
    }

    /// The owner reads what it is going to copy.
    pub fn check_copy_read(&mut self, slot: Option<usize>, block: u64) -> Verdict {
        let geometry = self.setup.geometry();
        let Some(slot) = slot else { return Err("a copy from the log".into()) };
        let drive = self.slots[slot];
        if !self.truth.current.contains(&drive) {
            return Err(format!("a copy from slot {slot}, which lacks acknowledged writes"));
        }
        let region = geometry.region_of(block - geometry.data_offset_blocks);
        let Some(running) = &self.running else { return Ok(()) };
        if running.shared.regions.load(region).state() != RegionState::NoSync
            || !self.has_superblocks()
            || self.truth.read_faults
        {
            return Ok(());
        }
        if let Some(source) = self.truth.source.filter(|source| *source != slot)
            && running.shared.legs.load().readable().contains(slot_of(source))
        {
            return Err(format!("region {region} is reconciled from slot {slot}, an earlier start chose {source}"));
        }
        for drive in self.required_drives() {
            let said = self.durable_superblock(drive).and_then(|superblock| superblock.source).map(Slot::index);
            if said != Some(slot) {
                return Err(format!("region {region} is reconciled from slot {slot}, drive {drive} says {said:?}"));
            }
        }
        Ok(())
    }

    pub fn check_host_read(&mut self, slot: usize, range: Range<u64>) -> Verdict {
        if !self.truth.current.contains(&self.slots[slot]) {
            return Err(format!("a read of {range:?} goes to slot {slot}, which lacks acknowledged writes"));
        }
        Ok(())
    }

    /// A write that was sent in a leg's former life may not land in its next one.
    pub fn check_late_write(&self, flight: &Flight) -> Verdict {
        let (Some(slot), Some(running)) = (flight.slot, &self.running) else { return Ok(()) };
        let serves = running.shared.legs.load().writable().contains(slot_of(slot));
        if serves && running.lives[slot] != flight.life {
            return Err(format!("a write of a former life lands on slot {slot}"));
        }
        Ok(())
    }

    pub fn check_read_outcome(&self, request: &Request, outcome: Outcome) -> Verdict {
        if self.setup.recoverable && outcome == Outcome::Failed(Failure::Legs) {
            return Err(format!("a read of {:?} failed although a leg has it", request.range));
        }
        Ok(())
    }

    /// Whatever drive lacks an acknowledged write is durably known to be out.
    pub fn check_acknowledged(&mut self, request: &Request) -> Verdict {
        if request.op.is_write() {
            let parting = std::mem::take(&mut self.truth.parting);
            for (one, other) in parting.into_iter().filter(|(one, _)| request.good.contains(one)) {
                self.truth.diverged.extend([(one, other), (other, one)]);
            }
        }
        let lacking: Vec<usize> = self.truth.current.difference(&request.good).copied().collect();
        let required = self.required_drives();
        if !required.iter().any(|drive| request.good.contains(drive))
            && self.running.as_ref().is_some_and(|running| !running.offline)
        {
            return Err(format!("{:?} of {:?} was acknowledged, no leg in sync has it", request.op, request.range));
        }
        for drive in lacking {
            let Some(slot) = self.slots.iter().position(|other| *other == drive) else { continue };
            if self
                .running
                .as_ref()
                .is_some_and(|running| running.shared.legs.load().required().contains(slot_of(slot)))
            {
                return Err(format!(
                    "{:?} of {:?} was acknowledged, slot {slot} in sync lacks it",
                    request.op, request.range
                ));
            }
            if self.has_superblocks() {
                for &other in &required {
                    let state = self.durable_superblock(other).map(|superblock| superblock.legs[slot].state);
                    if state == Some(LegState::InSync) || state.is_none() {
                        return Err(format!(
                            "{:?} of {:?} was acknowledged without slot {slot}, drive {other} says {state:?}",
                            request.op, request.range
                        ));
                    }
                }
            }
            self.truth.current.remove(&drive);
        }
        if request.through {
            let offset = self.setup.geometry().data_offset_blocks;
            for &drive in &required {
                if request.range.clone().any(|block| self.disks[drive].is_volatile(offset + block))
                    && !self.overlapping(request)
                {
                    return Err(format!(
                        "a write through of {:?} was acknowledged, drive {drive} has it in its cache",
                        request.range
                    ));
                }
            }
        }
        Ok(())
    }

    fn overlapping(&self, request: &Request) -> bool {
        let Some(running) = &self.running else { return false };
        running.requests.iter().flatten().any(|other| {
            other.key != request.key
                && other.op.is_write()
                && other.range.start < request.range.end
                && request.range.start < other.range.end
        })
    }

    /// After an error the copies may differ only in ranges that are not read.
    pub fn check_write_error(&self, request: &Request) -> Verdict {
        let Some(running) = &self.running else { return Ok(()) };
        if running.offline || self.overlapping(request) {
            return Ok(());
        }
        let geometry = self.setup.geometry();
        let readable: Vec<usize> =
            self.slots_of(running.shared.legs.load().readable()).into_iter().map(|slot| self.slots[slot]).collect();
        for block in request.range.clone() {
            let state = running.shared.regions.load(geometry.region_of(block)).state();
            let same = readable.windows(2).all(|pair| {
                let at = geometry.data_offset_blocks + block;
                self.disks[pair[0]].view(at) == self.disks[pair[1]].view(at)
            });
            if !same && !matches!(state, RegionState::NoSync | RegionState::Unread | RegionState::Unwritten) {
                return Err(format!(
                    "a write of {:?} failed, and block {block} differs and is readable ({state:?})",
                    request.range
                ));
            }
        }
        Ok(())
    }

    /// A flush covers what was completed before it, on every leg that counts.
    pub fn check_flush(&mut self, request: &Request) -> Verdict {
        self.check_acknowledged(request)?;
        let offset = self.setup.geometry().data_offset_blocks;
        for drive in self.required_drives() {
            if self.disks[drive].has_unflushed(request.clocks[drive], offset) {
                return Err(format!("a flush was acknowledged, drive {drive} has older writes in its cache"));
            }
        }
        Ok(())
    }

    /// The owner writes metadata.
    pub fn check_metadata_write(&mut self, drive: usize, slot: Option<usize>, block: u64, data: &[Block]) -> Verdict {
        let geometry = self.setup.geometry();
        for flight in self.flights.values().filter(|flight| flight.drive == drive) {
            if let (Origin::Owner { .. }, Work::Write { block: other, .. }) = (flight.origin, &flight.work) {
                let current = flight.slot.is_none() || self.is_current_life(flight);
                if *other == block && current {
                    return Err(format!("two writes of metadata block {block} are in flight on drive {drive}"));
                }
            }
        }
        let is_superblock = (0..2).any(|copy| geometry.superblock_block(copy) == block);
        let (true, Some(slot)) = (is_superblock, slot) else { return Ok(()) };
        let bytes: Vec<u8> = data
            .iter()
            .flat_map(|block| match block {
                Block::Bytes(bytes) => bytes.to_vec(),
                Block::Stamp(_) => Vec::new(),
            })
            .collect();
        let superblock = Superblock::decode(&bytes[..SUPERBLOCK_BYTES])
            .map_err(|error| format!("a superblock is written that does not decode: {error}"))?;
        self.check_generation(&superblock)?;
        self.truth.heartbeats.entry(superblock.heartbeat).or_insert(self.now_ms);
        self.check_promotion(&superblock)?;
        for slot in self.slots_of(superblock.in_sync()) {
            if self.truth_of_promotion(slot) {
                // From here on it may be trusted after a crash.
                self.check_in_sync(slot)?;
                self.truth.current.insert(self.slots[slot]);
            }
        }
        debug_assert_eq!(superblock.slot.index(), slot);
        Ok(())
    }

    fn check_generation(&mut self, superblock: &Superblock) -> Verdict {
        let generation = superblock.generation;
        if generation < self.truth.generation {
            return Err(format!("generation {generation} after {}", self.truth.generation));
        }
        self.truth.generation = generation;
        Ok(())
    }

    /// What became durable on a drive under a generation is all that ever does.
    pub fn check_generations(&mut self, drive: usize) -> Verdict {
        let geometry = self.setup.geometry();
        for copy in 0..2 {
            let block = geometry.superblock_block(copy);
            let bytes = self.disks[drive].bytes(block, geometry.superblock_blocks(), true);
            if let Some(Ok(superblock)) = bytes.map(|bytes| Superblock::decode(&bytes[..SUPERBLOCK_BYTES])) {
                self.check_generation_once(&superblock)?;
            }
        }
        Ok(())
    }

    fn check_generation_once(&mut self, superblock: &Superblock) -> Verdict {
        let mut hasher = DefaultHasher::new();
        let legs: Vec<_> = superblock.legs.iter().map(|leg| (leg.uuid, leg.state)).collect();
        (legs, superblock.source, superblock.log_lost, superblock.clean, superblock.owner).hash(&mut hasher);
        let content = hasher.finish();
        let generation = superblock.generation;
        match self.truth.generations.insert(generation, content) {
            Some(before) if before != content => Err(format!("generation {generation} is used twice")),
            _ => Ok(()),
        }
    }

    /// A leg is called in sync only with maps like the others'.
    fn check_promotion(&self, superblock: &Superblock) -> Verdict {
        if self.setup.log != LogType::Internal || !self.running.as_ref().is_some_and(|running| running.started) {
            return Ok(());
        }
        let listed = self.slots_of(superblock.in_sync());
        let Some((&first, others)) = listed.split_first() else { return Ok(()) };
        let geometry = self.setup.geometry();
        for &other in others {
            for kind in MapKind::all() {
                let block = geometry.unit_block(kind, 0);
                let (one, two) = (self.slots[first], self.slots[other]);
                if self.disks[one].is_bad(block) || self.disks[two].is_bad(block) {
                    continue;
                }
                let is_valid = |drive: usize| self.map_bit(drive, kind, 0, true).is_some();
                if !is_valid(two) && is_valid(one) {
                    return Err(format!("slot {other} is recorded as in sync before its map {kind:?}"));
                }
                for region in 0..geometry.regions() {
                    let bits = (self.map_bit(one, kind, region, true), self.map_bit(two, kind, region, true));
                    let matters = match kind {
                        // Bits that were cleared in memory are cleared on the legs some time later.
                        MapKind::OutOfSync(slot) => {
                            bits.1 == Some(false) && self.is_clean(region) && self.lacks(slot.index(), one, region)
                        }
                        _ => true,
                    };
                    // A commit that failed on one of them is about to fail that leg.
                    if bits.0 != bits.1 && matters && self.truth_of_promotion(other) {
                        return Err(format!(
                            "slot {other} is recorded as in sync, its map {kind:?} differs in region {region}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn is_clean(&self, region: u32) -> bool {
        self.running.as_ref().is_some_and(|running| running.shared.regions.load(region).state() == RegionState::Clean)
    }

    /// Whether the leg in a slot holds something else in a region than another drive.
    fn lacks(&self, slot: usize, other: usize, region: u32) -> bool {
        let geometry = self.setup.geometry();
        let Some(&drive) = self.slots.get(slot) else { return false };
        geometry.region_range(region).any(|block| {
            let at = geometry.data_offset_blocks + block;
            self.disks[drive].durable(at) != self.disks[other].durable(at)
        })
    }

    /// Whether a slot is being recorded as in sync for the first time.
    fn truth_of_promotion(&self, slot: usize) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let set = running.shared.legs.load();
            set.required().contains(slot_of(slot)) && !set.readable().contains(slot_of(slot))
        })
    }

    /// A leg is in sync: it has whatever is clean.
    pub fn check_in_sync(&mut self, slot: usize) -> Verdict {
        let drive = self.slots[slot];
        let geometry = self.setup.geometry();
        let Some(running) = &self.running else { return Ok(()) };
        let readable = self.slots_of(running.shared.legs.load().readable());
        let Some(other) = readable.into_iter().map(|slot| self.slots[slot]).find(|other| *other != drive) else {
            return Ok(());
        };
        for region in 0..geometry.regions() {
            if running.shared.regions.load(region).state() != RegionState::Clean {
                continue;
            }
            for block in geometry.region_range(region) {
                let at = geometry.data_offset_blocks + block;
                if self.disks[drive].durable(at) != self.disks[other].durable(at) {
                    return Err(format!(
                        "slot {slot} is called in sync, block {block} is {:?} there and {:?} on drive {other}",
                        self.disks[drive].durable(at),
                        self.disks[other].durable(at)
                    ));
                }
            }
        }
        self.truth.inconsistent.remove(&drive);
        self.truth.wild.remove(&drive);
        self.truth.agreed.retain(|agreed| !agreed.contains(&drive));
        // It is what the others are now.
        self.truth.diverged.retain(|(one, two)| *one != drive && *two != drive);
        self.truth.parting.retain(|(one, two)| *one != drive && *two != drive);
        let apart: Vec<_> = self.truth.diverged.iter().filter(|(one, _)| *one == other).map(|(_, two)| *two).collect();
        self.truth.diverged.extend(apart.iter().flat_map(|&two| [(drive, two), (two, drive)]));
        // Whatever is under way was given to it by the copy.
        for request in self.engine().requests.iter_mut().flatten() {
            request.good.insert(drive);
        }
        Ok(())
    }

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
                // A leg that was out was not zeroed: it does not read as the others do.
                let required = self.required_drives();
                self.truth.current.retain(|drive| required.contains(drive));
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
        if self.setup.log != LogType::Internal {
            return Ok(());
        }
        let geometry = self.setup.geometry();
        let required = self.required_drives();
        let Some(&one) = required.first() else { return Ok(()) };
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
            for &other in &required {
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

pub fn slot_of(slot: usize) -> Slot {
    Slot::new(slot).expect("slots of a history are few")
}
