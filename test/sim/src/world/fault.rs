//! What goes wrong.

use super::check::slot_of;
use super::engine::Running;
use super::{Flight, Verdict, Work, World};
use crate::coverage::Happening;
use crate::disk::{Bad, Block};

impl World {
    /// Drives that faults may strike: in the recoverable regime the first leg is spared, so that the data is never lost.
    fn strikable(&self) -> Vec<usize> {
        let first = usize::from(self.setup.recoverable);
        (first..self.slots.len()).map(|slot| self.slots[slot]).collect()
    }

    pub fn setup_allows_errors(&self) -> bool {
        !self.setup.recoverable
    }

    /// Whether a fault that was armed strikes this I/O.
    pub fn take_fault(&mut self, flight: &Flight) -> bool {
        if matches!(flight.work, Work::Flush { .. }) && self.disks[flight.drive].cacheless {
            return false;
        }
        let kind = match flight.work {
            Work::Write { .. } => 0,
            Work::Read { .. } | Work::Verify { .. } => 1,
            Work::Flush { .. } => 2,
        };
        let failing = &mut self.disks[flight.drive].failing[kind];
        let fails = *failing > 0;
        *failing -= u32::from(fails);
        self.truth.read_faults |= fails && kind == 1;
        fails
    }

    /// Whether this kind of fault is switched off: 0..14 as in `something_fails`, 14 and 15 for a crash with and without
    /// power, from 16 on what an operator does, less 6, 28 for errors that commands deserve, 29 for a mirror that stands
    /// still.
    pub fn is_masked(&self, kind: u32) -> bool {
        self.masked >> kind & 1 != 0
    }

    pub fn something_fails(&mut self) -> Verdict {
        if !self.faults {
            return self.complete_something();
        }
        self.tell_time();
        let drives = self.strikable();
        let Some(drive) = self.chooser.pick(&drives) else { return Ok(()) };
        let what = self.chooser.below(14);
        if self.is_masked(what) {
            return self.complete_something();
        }
        match what {
            0..4 => {
                let kind = self.chooser.below(3) as usize;
                self.disks[drive].failing[kind] += 1;
                self.say(|| format!("the next {} of drive {drive} fails", ["write", "read", "flush"][kind]));
            }
            4 if !self.setup.recoverable => {
                // Two legs at once.
                for drive in drives {
                    self.disks[drive].failing[0] += 1;
                }
                self.say(|| "the next write of every drive fails".into());
            }
            4 | 5 => self.spoil_block(drive),
            6 => {
                self.disks[drive].hangs = !self.disks[drive].hangs;
                let hangs = self.disks[drive].hangs;
                for flight in self.flights.values_mut().filter(|flight| flight.drive == drive) {
                    flight.hung = hangs;
                }
                self.say(|| format!("drive {drive} hangs: {hangs}"));
            }
            7 => {
                let on_drive = self.flights.iter().filter(|(_, flight)| flight.drive == drive);
                let mut ids: Vec<u64> = on_drive.map(|(id, _)| *id).collect();
                // Zeroing of a region that is passed by a write is rare otherwise.
                let zeroing: Vec<u64> = ids.iter().copied().filter(|id| self.flights[id].is_zeroing()).collect();
                if !zeroing.is_empty() && self.chooser.percent(70) {
                    ids = zeroing;
                }
                if let Some(id) = self.chooser.pick(&ids)
                    && let Some(flight) = self.flights.get_mut(&id)
                {
                    flight.hung = true;
                    self.say(|| format!("an I/O of drive {drive} hangs"));
                }
            }
            8 => return self.remove_or_return(drive),
            9 | 10 => return self.reset_leg(drive),
            11 => return self.abort_host_io(),
            12 if self.log.is_some() && self.chooser.percent(20) => {
                let Some(log) = self.log else { return Ok(()) };
                self.disks[log].present = false;
                self.say(|| "the log is gone".into());
                self.tell_time();
                self.engine().owner.log_gone();
                return self.drain_owner();
            }
            _ => {
                if !self.clones.remove(&drive) && self.chooser.percent(30) {
                    self.clones.insert(drive);
                }
            }
        }
        Ok(())
    }

    /// A region whose copies may differ, if there is one.
    pub fn suspect_region(&self) -> Option<u32> {
        let running = self.running.as_ref()?;
        let mut states = running.shared.regions.iter_states();
        states.find(|(_, state)| *state == mirror_engine::RegionState::NoSync).map(|(region, _)| region)
    }

    fn spoil_block(&mut self, drive: usize) {
        let geometry = self.setup.geometry();
        let suspect = self.suspect_region().filter(|_| self.chooser.percent(60));
        let block = match suspect {
            Some(region) => geometry.region_range(region).start,
            None => u64::from(self.chooser.below(geometry.blocks as u32)),
        };
        let block = geometry.data_offset_blocks + block;
        let bad = if self.chooser.percent(70) { Bad::HealsOnWrite } else { Bad::ForGood };
        // Only one leg has bad blocks in the recoverable regime.
        self.disks[drive].bad.insert(block, bad);
        if !self.setup.recoverable && self.chooser.percent(if suspect.is_some() { 80 } else { 20 }) {
            // The same block everywhere.
            for disk in &mut self.disks {
                disk.bad.insert(block, bad);
            }
        }
        self.truth.read_faults = true;
        self.say(|| format!("block {block} of drive {drive} cannot be read: {bad:?}"));
    }

    fn remove_or_return(&mut self, drive: usize) -> Verdict {
        if self.disks[drive].present {
            self.disks[drive].present = false;
            self.disks[drive].hangs = false;
            self.say(|| format!("drive {drive} is removed"));
            for flight in self.flights.values_mut().filter(|flight| flight.drive == drive) {
                flight.hung = false;
            }
            let Some(slot) = self.slots.iter().position(|other| *other == drive) else { return Ok(()) };
            self.tell_time();
            self.engine().owner.leg_gone(slot_of(slot));
            self.engine().out.insert(slot);
            self.drain_owner()
        } else {
            self.disks[drive].present = true;
            self.say(|| format!("drive {drive} returns"));
            Ok(())
        }
    }

    /// We reset a leg: what is in flight on it is cut short, and is no fault of its.
    pub fn reset_leg(&mut self, drive: usize) -> Verdict {
        let Some(slot) = self.slots.iter().position(|other| *other == drive) else { return Ok(()) };
        if !self.engine().resetting.insert(slot) {
            return self.end_reset(slot);
        }
        self.say(|| format!("reset of slot {slot}"));
        for channel in self.engine().channels.iter_mut().flatten() {
            channel.reset_began(slot_of(slot));
        }
        for flight in self.flights.values_mut().filter(|flight| flight.slot == Some(slot)) {
            flight.aborted = true;
            flight.hung = false;
        }
        Ok(())
    }

    pub fn end_reset(&mut self, slot: usize) -> Verdict {
        // A reset ends after what it cut short.
        if self.flights.values().any(|flight| flight.slot == Some(slot) && flight.aborted) {
            return Ok(());
        }
        self.say(|| format!("reset of slot {slot} ends"));
        self.engine().resetting.remove(&slot);
        for at in 0..self.engine().channels.len() {
            if let Some(channel) = self.engine().channels[at].as_mut() {
                channel.reset_ended(slot_of(slot));
                self.follow_ready(at)?;
            }
        }
        self.tell_time();
        self.engine().owner.reset_ended(mirror_engine::Device::Leg(slot_of(slot)));
        self.drain_owner()
    }

    fn abort_host_io(&mut self) -> Verdict {
        let ids: Vec<u32> = self
            .engine()
            .requests
            .iter()
            .enumerate()
            .filter(|(_, request)| request.is_some())
            .map(|(id, _)| id as u32)
            .collect();
        let Some(io) = self.chooser.pick(&ids) else { return Ok(()) };
        let Some(request) = self.engine().requests[io as usize].clone() else { return Ok(()) };
        if request.op.is_write() || request.op == mirror_engine::Op::Read {
            let geometry = self.setup.geometry();
            self.cover_region(geometry.region_of(request.range.start), Happening::Abort);
        }
        self.say(|| format!("the host aborts I/O {io}"));
        for flight in self.flights.values_mut() {
            if matches!(flight.origin, super::Origin::Child { io: other, .. } if other == io)
                && self.chooser.percent(70)
            {
                flight.aborted = true;
            }
        }
        let Running { channels, table, shared, .. } = self.engine();
        let Some(channel) = channels[request.channel].as_mut() else { return Ok(()) };
        let step = channel.abort(table, shared, io);
        self.follow(request.channel, io, step)
    }

    pub fn crash_maybe(&mut self) -> Verdict {
        if !self.faults || !self.chooser.percent(60) {
            return self.time_goes_on();
        }
        let serves = |running: &Running| running.started && !running.offline && running.stopped.is_none();
        if self.setup.leased && self.running.as_ref().is_some_and(serves) && self.chooser.percent(30) {
            return if self.is_masked(29) { self.time_goes_on() } else { self.stall() };
        }
        let power = self.chooser.percent(70);
        if self.is_masked(if power { 14 } else { 15 }) {
            return self.time_goes_on();
        }
        self.crash(power)
    }

    /// The process ends at once, with the drives' power or without.
    pub fn crash(&mut self, power: bool) -> Verdict {
        self.counts.crash_points += 1;
        self.cover_regions(Happening::Crash);
        self.say(|| if power { "power cut".into() } else { "the process is killed".to_string() });
        self.running = None;
        self.counts.power_cuts += u64::from(power);
        let flights = std::mem::take(&mut self.flights);
        let tears = !self.setup.recoverable;
        for drive in 0..self.disks.len() {
            let mut writes: Vec<(u64, Vec<Block>)> = flights
                .values()
                .filter(|flight| flight.drive == drive && self.disks[drive].present)
                .filter_map(|flight| match &flight.work {
                    Work::Write { block, data } => Some((*block, data.clone())),
                    _ => None,
                })
                .collect();
            for at in (1..writes.len()).rev() {
                writes.swap(at, self.chooser.below(at as u32 + 1) as usize);
            }
            if power {
                self.disks[drive].power_cut(&writes, tears, &mut self.chooser);
                self.disks[drive].hangs = false;
            } else {
                self.disks[drive].outlive(&writes, &mut self.chooser);
            }
        }
        self.model.crash(power, tears);
        for drive in 0..self.disks.len() {
            self.check_generations(drive)?;
        }
        Ok(())
    }

    /// Whoever calls the owner tells it the time.
    pub fn tell_time(&mut self) {
        let now_ms = self.now_ms;
        if let Some(running) = self.running.as_mut() {
            running.owner.set_now(now_ms);
        }
    }

    pub fn operator_acts(&mut self) -> Verdict {
        if self.owner_stalls() {
            return self.complete_something();
        }
        self.tell_time();
        self.drain_owner()?;
        let running = self.engine();
        if running.offline {
            // The glue tears a mirror down that lost its last leg; examination starts it again.
            return self.crash(false);
        }
        if running.stopped.is_some() {
            return self.stopped();
        }
        let resetting: Vec<usize> = running.resetting.iter().copied().collect();
        if let Some(slot) = self.chooser.pick(&resetting)
            && self.chooser.percent(60)
        {
            return self.end_reset(slot);
        }
        let what = self.chooser.below(22);
        if what >= 10 && self.is_masked(what + 6) {
            return Ok(());
        }
        match what {
            0..10 => self.admit_something(),
            10..12 => {
                let at = self.chooser.below(4) as usize;
                let is_open = self.engine().channels.get(at).is_some_and(Option::is_some);
                if is_open {
                    return self.close_channel(at);
                }
                self.open_channel(at);
                Ok(())
            }
            12 => {
                self.engine().owner.suspend();
                self.drain_owner()
            }
            13 | 14 => {
                self.engine().suspended = false;
                self.engine().owner.resume();
                self.drain_owner()
            }
            15 if self.faults && self.engine().started && self.chooser.percent(15) => {
                self.say(|| "the operator stops the mirror".into());
                self.engine().owner.stop();
                self.drain_owner()
            }
            16 if self.faults && self.chooser.percent(30) => {
                let slot = self.chooser.below(self.slots.len() as u32) as usize;
                if self.setup.recoverable && slot == 0 {
                    return Ok(());
                }
                if self.engine().owner.take_leg_out(slot_of(slot)) {
                    self.engine().out.insert(slot);
                }
                self.drain_owner()
            }
            20 if self.faults && self.chooser.percent(25) => self.replace_leg(),
            21 if self.faults && self.chooser.percent(8) => self.add_leg(),
            _ => {
                let drive = self.chooser.below(self.disks.len() as u32) as usize;
                let log = self.log == Some(drive);
                if !log && !self.disks[drive].present {
                    return self.remove_or_return(drive);
                }
                Ok(())
            }
        }
    }
}
