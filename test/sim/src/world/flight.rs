//! I/O in flight on a drive, and how it ends.

use super::engine::Running;
use super::{Flight, Origin, Verdict, Work, World};
use crate::disk::Block;
use mirror_engine::{Fault, OpId, Slot};

impl World {
    /// Something in flight ends.
    pub fn complete_something(&mut self) -> Verdict {
        let (late, stalls) = (self.chooser_late(), self.owner_stalls());
        let disks = &self.disks;
        let ready: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| (!disks[flight.drive].hangs && !flight.hung) || late)
            .filter(|(_, flight)| !(stalls && matches!(flight.origin, Origin::Owner { .. })))
            .map(|(id, _)| *id)
            .collect();
        match self.chooser.pick(&ready) {
            Some(id) => self.complete(id),
            None => self.deliver_something(),
        }
    }

    /// Whether the owner's core stands still.
    pub fn owner_stalls(&self) -> bool {
        self.faults && self.now_ms < self.owner_stalls_ms
    }

    /// Whether what hangs may end now.
    fn chooser_late(&mut self) -> bool {
        self.flights.values().any(|flight| flight.hung) && self.chooser.percent(3)
    }

    pub fn complete(&mut self, id: u64) -> Verdict {
        let Some(flight) = self.flights.remove(&id) else { return Ok(()) };
        let (result, data) = self.perform(&flight)?;
        self.say(|| format!("{:?} on drive {} ends: {result:?}", Brief(&flight.work), flight.drive));
        let Some(running) = self.running.as_mut() else { return Ok(()) };
        if let (Err(Fault::Failed), Some(slot)) = (result, flight.slot) {
            running.faulted.insert(slot);
        }
        match flight.origin {
            Origin::Owner { op } => {
                if let (Work::Read { buffer: Some(buffer), .. }, Some(data)) = (&flight.work, data) {
                    running.buffers[*buffer] = data;
                }
                if matches!(flight.work, Work::Flush { .. }) && result.is_ok() {
                    self.note_heartbeat(&flight);
                    self.check_generations(flight.drive)?;
                }
                let now_ms = self.now_ms;
                self.engine().owner.set_now(now_ms);
                self.engine().owner.done(OpId(op), result);
                self.drain_owner()
            }
            Origin::Child { channel, io, slot } => {
                let Some(request) = running.requests[io as usize].as_mut() else {
                    return Err(format!("I/O {io} has ended while a child of it was in flight"));
                };
                request.children -= 1;
                if result.is_ok() {
                    if let Some(data) = data {
                        request.read = data;
                    }
                    request.good.insert(flight.drive);
                } else {
                    request.good.remove(&flight.drive);
                }
                let Running { channels, table, shared, .. } = running;
                let Some(open) = channels[channel].as_mut() else {
                    return Err(format!("channel {channel} closed with I/O"));
                };
                let Some(slot) = Slot::new(slot) else { return Ok(()) };
                let step = open.child_done(table, shared, io, slot, result);
                self.follow(channel, io, step)
            }
        }
    }

    /// A superblock became durable on a leg in sync: from its issue on the lease counts.
    fn note_heartbeat(&mut self, flight: &Flight) {
        let Some(slot) = flight.slot else { return };
        let set = self.engine().shared.legs.load();
        let readable = set.readable().contains(super::check::slot_of(slot)) || set.is_offline();
        let (true, Some(superblock)) = (self.setup.leased && readable, self.durable_superblock(flight.drive)) else {
            return;
        };
        if let Some(issued_ms) = self.truth.heartbeats.get(&superblock.heartbeat) {
            self.truth.leased_once = true;
            self.truth.lease_until_ms = self.truth.lease_until_ms.max(issued_ms + u64::from(superblock.lease_ms));
        }
    }

    /// The error that a child gets for what it asks. Not every leg looks as closely.
    fn deserved_by(&mut self, flight: &Flight) -> Option<Fault> {
        let Origin::Child { io, .. } = flight.origin else { return None };
        self.deserved(io).filter(|_| self.chooser.percent(80))
    }

    /// A command is refused; not before a layer below has done some of it, unless it is refused as such.
    fn refuse_in_part(&mut self, flight: &Flight, fault: Fault) -> Verdict<Option<Vec<Block>>> {
        if let Work::Write { block, data } = &flight.work
            && fault == Fault::Deserved
            && self.chooser.percent(50)
        {
            self.check_late_write(flight)?;
            let part = if self.chooser.percent(50) { 1 } else { data.len() };
            // It is an error whatever the medium says.
            let _ = self.disks[flight.drive].write(*block, &data[..part]);
        }
        Ok(None)
    }

    /// What the drive makes of an I/O.
    fn perform(&mut self, flight: &Flight) -> Verdict<Ended> {
        let fails = !self.disks[flight.drive].present || self.take_fault(flight);
        let aborted = flight.aborted;
        if let Some(fault) = self.deserved_by(flight).filter(|_| !fails && !aborted) {
            return Ok((Err(fault), self.refuse_in_part(flight, fault)?));
        }
        let drive = flight.drive;
        match &flight.work {
            Work::Write { block, data } => {
                let applies = !(fails || aborted) || self.chooser.percent(50);
                let part = if (fails || aborted) && applies && data.len() > 1 && self.chooser.percent(50) {
                    1
                } else {
                    data.len()
                };
                if applies && self.disks[drive].present {
                    self.check_late_write(flight)?;
                    let ok = self.disks[drive].write(*block, &data[..part]);
                    if !ok && !aborted {
                        return Ok((Err(Fault::Failed), None));
                    }
                }
            }
            Work::Read { block, blocks, .. } => {
                if fails {
                    self.want_repair(*block..block + blocks);
                }
                let disk = &self.disks[drive];
                if !fails && !aborted {
                    if (*block..block + blocks).any(|block| disk.is_bad(block)) {
                        self.truth.read_faults = true;
                        self.want_repair(*block..block + blocks);
                        return Ok((Err(Fault::Failed), None));
                    }
                    return Ok((Ok(()), Some((*block..block + blocks).map(|block| disk.view(block)).collect())));
                }
            }
            Work::Verify { block, data } => {
                let disk = &self.disks[drive];
                let same = data.iter().enumerate().all(|(index, data)| {
                    let block = block + index as u64;
                    !disk.is_bad(block) && disk.view(block) == *data
                });
                if !same && !fails && !aborted {
                    return Ok((Err(Fault::Failed), None));
                }
            }
            Work::Flush { clock } => {
                if !fails && !aborted {
                    self.disks[drive].flush(*clock);
                }
            }
        }
        let result = match (aborted, fails) {
            (true, _) => Err(Fault::Aborted),
            (_, true) => Err(Fault::Failed),
            _ => Ok(()),
        };
        Ok((result, None))
    }
}

/// Work without its contents.
struct Brief<'a>(&'a Work);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Work::Write { block, data } => write!(out, "write {block}+{}", data.len()),
            Work::Read { block, blocks, .. } => write!(out, "read {block}+{blocks}"),
            Work::Verify { block, data } => write!(out, "verify {block}+{}", data.len()),
            Work::Flush { .. } => write!(out, "flush"),
        }
    }
}

/// How an I/O on a drive ended, and what a read brought.
type Ended = (Result<(), Fault>, Option<Vec<Block>>);
