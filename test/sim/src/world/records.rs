//! Promises about what is recorded: generations, and who is called in sync.

use super::check::slot_of;
use super::{Origin, Verdict, Work, World};
use crate::disk::Block;
use mirror_engine::RegionState;
use mirror_engine::format::{LogType, MapKind, SUPERBLOCK_BYTES, Superblock};
use std::hash::{DefaultHasher, Hash, Hasher};

impl World {
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
        self.check_goes_on(drive, &superblock)?;
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

    pub fn check_generation(&mut self, superblock: &Superblock) -> Verdict {
        let generation = superblock.generation;
        if generation < self.truth.generation {
            return Err(format!("generation {generation} after {}", self.truth.generation));
        }
        self.truth.generation = generation;
        Ok(())
    }

    /// What is written to a drive is its newest, whatever it brought with it.
    fn check_goes_on(&self, drive: usize, superblock: &Superblock) -> Verdict {
        let Some((before, _)) = self.superblock(drive, false).filter(|(before, _)| before.mirror == superblock.mirror)
        else {
            return Ok(());
        };
        // What our reset cut short is written again as it is.
        let again = before == *superblock;
        if superblock.sequence <= before.sequence && !again {
            return Err(format!("drive {drive} gets sequence {} after {}", superblock.sequence, before.sequence));
        }
        if superblock.generation < before.generation {
            return Err(format!("drive {drive} gets generation {} after {}", superblock.generation, before.generation));
        }
        Ok(())
    }

    /// What became durable on a drive under a generation is all that ever does.
    pub fn check_generations(&mut self, drive: usize) -> Verdict {
        let geometry = self.setup.geometry();
        for copy in 0..2 {
            let block = geometry.superblock_block(copy);
            let bytes = self.disks[drive].bytes(block, geometry.superblock_blocks(), true);
            if let Some(Ok(superblock)) = bytes.map(|bytes| Superblock::decode(&bytes[..SUPERBLOCK_BYTES]))
                && superblock.mirror == super::boot::MIRROR
            {
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
        // One that is on its way while a drive is replaced lists the one that was there.
        let is_there = |slot: &usize| self.truth.uuids.get(&self.slots[*slot]) == Some(&superblock.legs[*slot].uuid);
        let listed: Vec<usize> = self.slots_of(superblock.in_sync()).into_iter().filter(is_there).collect();
        let Some((&first, others)) = listed.split_first() else { return Ok(()) };
        let geometry = self.setup.geometry();
        for &other in others {
            for kind in MapKind::all() {
                let (one, two) = (self.slots[first], self.slots[other]);
                let mut units = (0..geometry.units_per_map()).map(|unit| (unit, geometry.unit_block(kind, unit)));
                if units.any(|(_, block)| self.disks[one].is_bad(block) || self.disks[two].is_bad(block)) {
                    continue;
                }
                for region in (0..geometry.units_per_map()).filter_map(|unit| geometry.region_at(unit, 0)) {
                    let is_valid = |drive: usize| self.map_bit(drive, kind, region, true).is_some();
                    if !is_valid(two) && is_valid(one) {
                        return Err(format!("slot {other} is recorded as in sync before its map {kind:?}"));
                    }
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
    pub fn truth_of_promotion(&self, slot: usize) -> bool {
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
        self.truth.lacks_read.remove(&drive);
        self.truth.wild.remove(&drive);
        self.truth.agreed.retain(|agreed| !agreed.contains(&drive));
        // It is what the others are now.
        for pairs in [&mut self.truth.diverged, &mut self.truth.parting] {
            pairs.retain(|(one, two)| *one != drive && *two != drive);
            let apart: Vec<_> = pairs.iter().filter(|(one, _)| *one == other).map(|(_, two)| *two).collect();
            pairs.extend(apart.iter().flat_map(|&two| [(drive, two), (two, drive)]));
        }
        // Whatever is under way was given to it by the copy.
        for request in self.engine().requests.iter_mut().flatten() {
            request.good.insert(drive);
        }
        Ok(())
    }
}
