//! A history is brought to its end: faults stop, every leg comes back, and all must be well.

use super::{Verdict, World};
use mirror_engine::format::{LogType, MapKind};
use mirror_engine::{Op, RegionState};

/// Steps that recovery may take; many times what it does take.
const STEPS_MAX: u32 = 60_000;

impl World {
    pub fn finish(&mut self) -> Verdict {
        self.faults = false;
        self.say(|| "no more faults".into());
        for (drive, disk) in self.disks.iter_mut().enumerate() {
            disk.hangs = false;
            disk.failing = [0; 3];
            disk.bad.clear();
            // What was replaced stays away.
            disk.present = self.slots.contains(&drive) || self.log == Some(drive);
        }
        self.clones.clear();
        for flight in self.flights.values_mut() {
            flight.hung = false;
        }
        self.settle()?;
        self.check_well()?;
        self.compare_all()?;
        self.stop_and_look()
    }

    /// Until nothing is left to do.
    fn settle(&mut self) -> Verdict {
        for _ in 0..STEPS_MAX {
            self.counts.steps += 1;
            self.check_status()?;
            self.tell_time();
            self.drain_owner()?;
            let Some(running) = &self.running else {
                self.start_again()?;
                continue;
            };
            if running.offline {
                self.crash(false)?;
                continue;
            }
            if running.stopped.is_some() {
                self.stopped()?;
                continue;
            }
            if self.is_settled() {
                return Ok(());
            }
            match self.chooser.below(100) {
                0..55 => self.complete_something()?,
                55..85 => self.deliver_something()?,
                85..92 => self.time_goes_on()?,
                92..95 => {
                    let resetting: Vec<usize> = self.engine().resetting.iter().copied().collect();
                    if let Some(slot) = self.chooser.pick(&resetting) {
                        self.end_reset(slot)?;
                    }
                }
                95..97 => {
                    self.tell_time();
                    self.engine().suspended = false;
                    self.tell_time();
                    self.engine().owner.resume();
                    self.drain_owner()?;
                }
                _ => {
                    self.tell_time();
                    self.admit_something()?;
                }
            }
        }
        Err(format!("no end in sight after {STEPS_MAX} steps: {}", self.what_waits()))
    }

    fn is_settled(&self) -> bool {
        let Some(running) = &self.running else { return false };
        let set = running.shared.legs.load();
        running.started
            && running.out.is_empty()
            && running.requests.iter().all(Option::is_none)
            && self.flights.is_empty()
            && set.readable().len() == self.slots.len()
            && set.is_recorded()
            && !set.is_stuck()
            && running.shared.regions.count(RegionState::NoSync) == 0
            && running.shared.regions.count(RegionState::Unread) == 0
    }

    fn what_waits(&self) -> String {
        let Some(running) = &self.running else { return "no mirror".into() };
        let waiting: Vec<_> = running
            .requests
            .iter()
            .flatten()
            .map(|request| (request.op, request.range.clone(), request.children))
            .collect();
        let states: Vec<_> = running.shared.regions.iter_states().collect();
        format!(
            "host I/O {waiting:?}, legs {:?}, out {:?}, flights {:?}, regions {states:?}, phase {:?}",
            running.shared.legs.load(),
            running.out,
            self.flights.values().collect::<Vec<_>>(),
            running.owner.phase()
        )
    }

    /// All legs hold the same, and what a host may see.
    fn compare_all(&mut self) -> Verdict {
        let geometry = self.setup.geometry();
        let Some(running) = &self.running else { return Ok(()) };
        for region in 0..geometry.regions() {
            let state = running.shared.regions.load(region).state();
            let unwritten = matches!(state, RegionState::Unwritten | RegionState::RefusedUnwritten);
            for block in geometry.region_range(region) {
                let at = geometry.data_offset_blocks + block;
                let views: Vec<_> = self.slots.iter().map(|&drive| self.disks[drive].view(at)).collect();
                if !unwritten && views.windows(2).any(|pair| pair[0] != pair[1]) {
                    return Err(format!("in the end block {block} differs: {views:?}"));
                }
                let value = match &views[0] {
                    _ if unwritten => 0,
                    crate::disk::Block::Stamp(stamp) => *stamp,
                    crate::disk::Block::Bytes(_) => return Err(format!("metadata in block {block}")),
                };
                if !self.model.allows(block, value) {
                    return Err(format!("in the end block {block} holds {value}, which a host may not see"));
                }
            }
        }
        // And a host sees it.
        let blocks = geometry.blocks;
        self.open_channel(0);
        for block in 0..blocks {
            self.submit(0, Op::Read, block..block + 1)?;
            self.settle()?;
        }
        Ok(())
    }

    /// A clean stop leaves nothing dirty, and the next start copies nothing.
    fn stop_and_look(&mut self) -> Verdict {
        self.tell_time();
        self.engine().owner.stop();
        self.drain_owner()?;
        for _ in 0..STEPS_MAX {
            self.counts.steps += 1;
            if self.engine().stopped.is_some() {
                break;
            }
            match self.chooser.below(10) {
                0..5 => self.complete_something()?,
                5..8 => self.deliver_something()?,
                _ => self.time_goes_on()?,
            }
        }
        let log_lost = self.durable_superblock(self.slots[0]).is_some_and(|superblock| superblock.log_lost);
        match self.engine().stopped {
            Some(true) => {}
            // Without a log nobody knows what was never written.
            Some(false) if log_lost => {}
            other => return Err(format!("a clean stop ended as {other:?}: {}", self.what_waits())),
        }
        self.running = None;
        self.flights.clear();
        if self.setup.log == LogType::Internal {
            for region in 0..self.setup.geometry().regions() {
                for &drive in &self.slots {
                    if self.map_bit(drive, MapKind::Intent, region, true) != Some(false) {
                        return Err(format!("after a clean stop region {region} is dirty on drive {drive}"));
                    }
                }
            }
        }
        if self.setup.log == LogType::Core {
            return Ok(());
        }
        let before = self.counts.copies;
        self.boot()?;
        self.settle()?;
        if self.counts.copies > before && !log_lost {
            return Err(format!("after a clean stop {} chunks were copied", self.counts.copies - before));
        }
        Ok(())
    }

    /// The mirror was stopped: what it left is looked at, and it starts again.
    pub fn stopped(&mut self) -> Verdict {
        let clean = self.engine().stopped == Some(true);
        if clean && self.setup.log == LogType::Internal {
            for region in 0..self.setup.geometry().regions() {
                for drive in self.required_drives() {
                    if self.map_bit(drive, MapKind::Intent, region, true) == Some(true) {
                        return Err(format!("after a clean stop region {region} is dirty on drive {drive}"));
                    }
                }
            }
        }
        self.running = None;
        for (_, flight) in std::mem::take(&mut self.flights) {
            if let super::Work::Write { block, data } = flight.work {
                self.disks[flight.drive].outlive(&[(block, data)], &mut self.chooser);
            }
        }
        self.model.crash(false, false);
        Ok(())
    }
}
