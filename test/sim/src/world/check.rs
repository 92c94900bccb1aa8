//! Promises, checked where they could be broken.

use super::engine::Request;
use super::{Flight, Origin, Verdict, Work, World};
use crate::coverage::Deed;
use mirror_engine::format::{LegState, LogType, MapKind};
use mirror_engine::{Failure, Outcome, RegionState, Slot};
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

    pub fn is_current_life(&self, flight: &Flight) -> bool {
        match (flight.slot, &self.running) {
            (Some(slot), Some(running)) => {
                running.lives[slot] == flight.life && running.shared.legs.load().writable().contains(slot_of(slot))
            }
            _ => false,
        }
    }

    /// A region's dirty bit is durable wherever it may be looked for.
    pub fn check_marked(&self, region: u32) -> Verdict {
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
    pub fn check_own_mark(&self, slot: usize) -> Verdict {
        let Some(running) = &self.running else { return Ok(()) };
        let set = running.shared.legs.load();
        if !self.has_superblocks() || set.required().contains(slot_of(slot)) {
            return Ok(());
        }
        let drive = self.slots[slot];
        let own = self.durable_superblock(drive).filter(|own| self.is_on_record(drive, own.leg));
        let state = own.map(|superblock| superblock.legs[slot].state);
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

    /// All I/O of the host is parked: nothing of it is under way.
    pub fn check_all_parked(&mut self) -> Verdict {
        let running = self.engine();
        for (at, channel) in running.channels.iter().enumerate() {
            let Some(channel) = channel else { continue };
            let known = running.requests.iter().flatten().filter(|request| request.channel == at);
            let (count, children) = known.fold((0, 0), |(count, all), request| (count + 1, all + request.children));
            if children > 0 || channel.parked_count() != count {
                return Err(format!(
                    "I/O is said to have ended, channel {at} has {count} I/Os, {} of them wait, {children} children",
                    channel.parked_count()
                ));
            }
        }
        Ok(())
    }

    /// No more I/O waits than may. What found no room ends with an error of its own, and nothing of it was sent.
    pub fn check_busy(&mut self, channel: usize, request: &Request, outcome: Outcome) -> Verdict {
        let parked_max = self.setup.parked_max;
        let Some(parked) = self.engine().channels[channel].as_ref().map(mirror_engine::Channel::parked_count) else {
            return Ok(());
        };
        if parked > parked_max {
            return Err(format!("{parked} I/Os wait in channel {channel}, {parked_max} may"));
        }
        if outcome != Outcome::Failed(Failure::Busy) {
            return Ok(());
        }
        if request.sent {
            return Err(format!("{:?} of {:?} found no room to wait, and was sent", request.op, request.range));
        }
        if parked < parked_max {
            return Err(format!("{:?} of {:?} found no room, {parked} wait", request.op, request.range));
        }
        self.coverage.note(Deed::Busy);
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
        let serves = running.shared.legs.load().writable().contains(slot_of(slot)) && self.slots[slot] == flight.drive;
        if serves && running.lives[slot] != flight.life {
            return Err(format!("a write of a former life lands on slot {slot}"));
        }
        Ok(())
    }

    /// With recoverable faults a read does not fail while a leg has the block: the first drive does, unless an operator
    /// started from another one.
    pub fn check_read_outcome(&self, request: &Request, outcome: Outcome) -> Verdict {
        let Some(running) = &self.running else { return Ok(()) };
        let readable = running.shared.legs.load().readable();
        let spared = self.slots.iter().position(|drive| *drive == 0);
        let is_there = self.setup.recoverable && spared.is_some_and(|slot| readable.contains(slot_of(slot)));
        if is_there && outcome == Outcome::Failed(Failure::Legs) && request.deserves.is_none() {
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
        let required = self.required_drives();
        let offset = self.setup.geometry().data_offset_blocks;
        // A leg that went out before the flush after the data may lose it.
        let may_lose = |drive: &usize| {
            let mut blocks = request.range.clone().map(|block| offset + block);
            request.through && !required.contains(drive) && blocks.any(|block| self.disks[*drive].is_volatile(block))
        };
        let lacks = |drive: &&usize| !request.good.contains(*drive) || may_lose(drive);
        let lacking: Vec<usize> = self.truth.current.iter().filter(lacks).copied().collect();
        if !required.iter().any(|drive| request.good.contains(drive))
            && self.running.as_ref().is_some_and(|running| !running.offline)
        {
            return Err(format!("{:?} of {:?} was acknowledged, no leg in sync has it", request.op, request.range));
        }
        for drive in lacking {
            if required.contains(&drive) {
                return Err(format!(
                    "{:?} of {:?} was acknowledged, drive {drive} in sync lacks it",
                    request.op, request.range
                ));
            }
            if self.has_superblocks() {
                for &other in &required {
                    let state = self.durable_superblock(other).map(|superblock| self.state_of(&superblock, drive));
                    if state == Some(LegState::InSync) || state.is_none() {
                        return Err(format!(
                            "{:?} of {:?} was acknowledged without drive {drive}, drive {other} says {state:?}",
                            request.op, request.range
                        ));
                    }
                }
            }
            self.truth.current.remove(&drive);
        }
        if request.through {
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

    pub fn overlapping(&self, request: &Request) -> bool {
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
        // Of the last two no leg is asked: they read as zeros.
        use RegionState::{NoSync, RefusedUnwritten, Unread, Unwritten};
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
            if !same && !matches!(state, NoSync | Unread | Unwritten | RefusedUnwritten) {
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
        if self.required_drives().iter().any(|&drive| self.disks[drive].cacheless) {
            self.coverage.note(Deed::FlushWithout);
        }
        for drive in self.required_drives() {
            if self.disks[drive].has_unflushed(request.clocks.get(drive).copied().unwrap_or(0), offset) {
                return Err(format!("a flush was acknowledged, drive {drive} has older writes in its cache"));
            }
        }
        Ok(())
    }
}

pub fn slot_of(slot: usize) -> Slot {
    Slot::new(slot).expect("slots of a history are few")
}
