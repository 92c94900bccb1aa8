//! A mirror that stands still while another process takes it over, and goes on later.

use super::boot::MIRROR;
use super::engine::Running;
use super::{Flight, Origin, Verdict, Work, World};
use crate::chooser::Chooser;
use crate::coverage::Deed;
use mirror_engine::assembly::Found;
use mirror_engine::format::Superblock;
use mirror_engine::lease::{OwnerSeen, Takeover, has_stopped, owners, takeover};
use mirror_engine::{Action, ChannelStep, Fault, HostIo, HostIos, Io, Op, OpId, OwnerId};
use std::collections::BTreeMap;
use uuid::Uuid;

/// How long an I/O of an owner that stands still may live, and what clocks may differ by. What hung for longer before
/// that has ended by then. Shorter than a lease: otherwise the wait for the one would hide that for the other.
const LONGEST_IO_MS: u64 = 700;

/// A mirror that stands still, with what it has in flight.
pub struct Former {
    running: Running,
    flights: BTreeMap<u64, Flight>,
    /// Those of them that the drives did, in this order; it has not heard.
    landed: Vec<u64>,
    seen: OwnerSeen,
    heartbeat: u64,
    ours: OwnerId,
    /// Another one has taken its place.
    replaced: bool,
    /// How often it goes on after that.
    wakes: u32,
}

impl World {
    /// Whether a mirror stands still and a successor waits.
    pub fn is_successor_waiting(&self) -> bool {
        self.former.as_ref().is_some_and(|former| !former.replaced)
    }

    /// The whole process stands still, and another one wants its place.
    pub fn stall(&mut self) -> Verdict {
        let there = self.superblocks_there();
        let names_it = |superblock: &Superblock| superblock.owner == self.owner_id();
        let head = there.iter().max_by_key(|superblock| (superblock.generation, superblock.heartbeat));
        let Some((newest, stopped)) = self.seen_of(Some(self.owner_id())) else { return Ok(()) };
        if head.is_some_and(names_it) && !names_it(&newest) {
            return Err(format!("a successor does not ask after the owner of the newest leg, but after {newest:?}"));
        }
        let Some(running) = self.running.take() else { return Ok(()) };
        // On this machine, where the lock file is found to be held, or on another one.
        let here = self.chooser.percent(50);
        let machine = Uuid::from_u128(if here { 1 } else { 9 });
        let ours = OwnerId { machine, instance: Uuid::max(), ..self.owner_id() };
        let seen = OwnerSeen {
            owner: newest.owner,
            owner_lease_ms: u64::from(newest.lease_ms),
            stopped,
            first_seen_ms: self.now_ms,
            lock_file_free: here.then_some(false),
        };
        self.say(|| format!("the mirror stands still, another wants its place; on its machine: {here}"));
        self.former = Some(Former {
            running,
            flights: std::mem::take(&mut self.flights),
            landed: Vec::new(),
            seen,
            heartbeat: newest.heartbeat,
            ours,
            replaced: false,
            wakes: 1 + self.chooser.below(6),
        });
        Ok(())
    }

    /// Superblocks of this mirror on all drives that are there.
    fn superblocks_there(&self) -> Vec<Superblock> {
        let there = (0..self.disks.len()).filter(|drive| self.disks[*drive].present && Some(*drive) != self.log);
        let found = there.filter_map(|drive| self.superblock(drive, false).map(|(superblock, _)| superblock));
        found.filter(|superblock| superblock.mirror == MIRROR).collect()
    }

    /// What a successor sees of this owner, or else of the newest one: all others are dead.
    fn seen_of(&self, owner: Option<OwnerId>) -> Option<(Superblock, bool)> {
        let there = self.superblocks_there();
        let owners = owners(&there.iter().collect::<Vec<_>>());
        let of_it = owners.iter().find(|superblock| Some(superblock.owner) == owner);
        let seen = of_it.or(owners.first()).copied()?;
        Some((seen.clone(), has_stopped(seen, there.iter())))
    }

    /// A successor waits: time goes on, drives do what they were told, the mirror wakes, or the wait is over.
    pub fn successor_waits(&mut self) -> Verdict {
        match self.chooser.below(10) {
            0 if self.faults => return self.former_goes_on(),
            0..4 => self.former_flight_lands(),
            _ => self.now_ms += self.chooser.pick(&[10, 200, 400, 400]).unwrap_or(10),
        }
        let seen = self.seen_of(self.former.as_ref().map(|former| former.seen.owner));
        let now_ms = self.now_ms;
        let Some(former) = &mut self.former else { return Ok(()) };
        former.seen.stopped = seen.as_ref().is_some_and(|(_, stopped)| *stopped);
        if let Some((newest, _)) = seen.filter(|(newest, _)| newest.heartbeat != former.heartbeat) {
            former.heartbeat = newest.heartbeat;
            former.seen.first_seen_ms = now_ms;
            former.seen.owner_lease_ms = u64::from(newest.lease_ms);
        }
        match takeover(&former.seen, &former.ours, LONGEST_IO_MS, now_ms) {
            Takeover::Now(_) => self.take_over(),
            Takeover::Wait { until_ms } if now_ms < until_ms => Ok(()),
            other => Err(format!("a successor at {now_ms} ms is told {other:?}")),
        }
    }

    /// A drive does what it was told; the mirror does not hear of it.
    fn former_flight_lands(&mut self) {
        let Some(former) = &mut self.former else { return };
        // What a leg refuses it does not do.
        let deserved = |flight: &Flight| match flight.origin {
            Origin::Child { io, .. } => {
                former.running.requests[io as usize].as_ref().is_some_and(|request| request.deserves.is_some())
            }
            Origin::Owner { .. } => false,
        };
        let is_due = |id: &u64, flight: &Flight| {
            !deserved(flight)
                && !former.landed.contains(id)
                && self.disks[flight.drive].present
                && matches!(flight.work, Work::Write { .. })
        };
        let due: Vec<u64> =
            former.flights.iter().filter(|(id, flight)| is_due(id, flight)).map(|(id, _)| *id).collect();
        let Some(id) = self.chooser.pick(&due) else { return };
        if let Some(Flight { drive, work: Work::Write { block, data }, .. }) = former.flights.get(&id) {
            // Nobody hears how it ended.
            let _ = self.disks[*drive].write(*block, data);
            former.landed.push(id);
        }
    }

    /// It wakes before anyone took its place: the successor gives up.
    fn former_goes_on(&mut self) -> Verdict {
        let Some(former) = self.former.take() else { return Ok(()) };
        self.say(|| "the mirror goes on".into());
        self.coverage.note(Deed::OwnerWentOn);
        self.running = Some(former.running);
        self.flights = former.flights;
        for id in former.landed {
            self.complete(id)?;
        }
        Ok(())
    }

    /// The wait is over. What the former owner had in flight has ended, and it writes no more.
    fn take_over(&mut self) -> Verdict {
        let now_ms = self.now_ms;
        let Some(former) = &mut self.former else { return Ok(()) };
        let is_alive = |id: &u64, flight: &Flight| {
            matches!(flight.work, Work::Write { .. })
                && flight.since_ms + LONGEST_IO_MS > now_ms
                && !former.landed.contains(id)
        };
        if let Some((_, flight)) = former.flights.iter().find(|(id, flight)| is_alive(id, flight)) {
            return Err(format!("a successor starts at {now_ms} ms, a write of {} ms may be alive", flight.since_ms));
        }
        // It might have gone on for a moment, and submitted more until its lease ended; not after it said that it stopped.
        let last_ms = self.truth.lease_until_ms + LONGEST_IO_MS;
        if now_ms < last_ms && !former.seen.stopped {
            return Err(format!("a successor starts at {now_ms} ms, a write of its owner may live until {last_ms} ms"));
        }
        former.replaced = true;
        let landed = &former.landed;
        self.flights = former
            .flights
            .iter()
            .filter(|(id, _)| !landed.contains(id))
            .map(|(id, flight)| (*id, flight.clone()))
            .collect();
        self.say(|| "a successor takes over".into());
        self.coverage.note(Deed::TakenOver);
        self.crash(false)?;
        self.boot_now()
    }

    /// The former owner goes on for a moment, if there is one: it writes nothing.
    pub fn former_wakes(&mut self) -> Verdict {
        let Some(mut former) = self.former.take() else { return Ok(()) };
        self.coverage.note(Deed::FormerWoke);
        for _ in 0..1 + self.chooser.below(5) {
            let (now_ms, geometry) = (self.now_ms, self.setup.geometry());
            let acted = former.act(&mut self.chooser, now_ms, geometry.blocks);
            acted.map_err(|what| format!("a former owner at {now_ms} ms: {what}"))?;
        }
        former.wakes -= 1;
        self.former = Some(former).filter(|former| former.wakes > 0);
        Ok(())
    }

    /// Whoever ran the mirror before is dead, and whoever starts now is told so at once.
    pub fn check_owner_gone(&self, found: &[Found]) -> Verdict {
        let superblocks: Vec<_> = found.iter().map(|leg| &leg.superblock).collect();
        let waited_for = self.former.as_ref().map(|former| former.seen.owner);
        for last in owners(&superblocks).into_iter().filter(|last| Some(last.owner) != waited_for) {
            let seen = OwnerSeen {
                owner: last.owner,
                owner_lease_ms: u64::from(last.lease_ms),
                stopped: has_stopped(last, superblocks.iter().copied()),
                first_seen_ms: self.now_ms,
                lock_file_free: Some(true),
            };
            match takeover(&seen, &self.owner_id(), LONGEST_IO_MS, self.now_ms) {
                Takeover::Now(_) => {}
                other => return Err(format!("the owner {seen:?} is dead, whoever starts is told {other:?}")),
            }
        }
        Ok(())
    }
}

impl Former {
    /// Does one thing of those that a process does when it goes on, in any order.
    fn act(&mut self, chooser: &mut Chooser, now_ms: u64, blocks: u64) -> Verdict {
        let channels = self.running.channels.len() as u32;
        let channel = chooser.below(channels) as usize;
        match chooser.below(6) {
            0 => self.running.owner.tick(now_ms),
            1 | 2 => {
                let ids: Vec<u64> = self.flights.keys().copied().collect();
                if let Some(flight) = chooser.pick(&ids).and_then(|id| self.flights.remove(&id)) {
                    let result = if chooser.percent(80) { Ok(()) } else { Err(Fault::Failed) };
                    self.flight_ends(&flight, result, now_ms)?;
                }
            }
            3 => self.host_writes(channel, u64::from(chooser.below(blocks as u32)), now_ms)?,
            4 => {
                self.running.owner.set_now(now_ms);
                let _ = self.running.owner.take_report();
            }
            _ => {
                let Running { channels, table, shared, .. } = &mut self.running;
                if let Some(open) = channels[channel].as_mut() {
                    open.tick(table, shared, now_ms);
                    open.wake(table, shared);
                }
                self.follow_ready(channel, now_ms)?;
            }
        }
        self.drain(now_ms)
    }

    fn flight_ends(&mut self, flight: &Flight, result: Result<(), Fault>, now_ms: u64) -> Verdict {
        match flight.origin {
            Origin::Owner { op } => {
                self.running.owner.set_now(now_ms);
                self.running.owner.done(OpId(op), result);
                Ok(())
            }
            Origin::Child { channel, io, slot } => {
                let Running { channels, table, shared, .. } = &mut self.running;
                let Some(open) = channels[channel].as_mut() else { return Ok(()) };
                let step = open.child_done(table, shared, io, super::check::slot_of(slot), result);
                self.follow(channel, io, step, now_ms)
            }
        }
    }

    /// Its host still writes.
    fn host_writes(&mut self, channel: usize, block: u64, now_ms: u64) -> Verdict {
        let Running { channels, table, shared, requests, .. } = &mut self.running;
        let Some(open) = channels[channel].as_mut() else { return Ok(()) };
        let id = table.ios.len() as u32;
        table.ios.push(Some(HostIo::new(Op::Write, block, 1, now_ms)));
        requests.push(None);
        let step = open.submit(table, shared, id, now_ms);
        self.follow(channel, id, step, now_ms)
    }

    fn follow(&mut self, channel: usize, io: u32, step: ChannelStep, now_ms: u64) -> Verdict {
        if step == ChannelStep::Send {
            self.send(channel, io, now_ms)?;
        }
        self.follow_ready(channel, now_ms)
    }

    fn follow_ready(&mut self, channel: usize, now_ms: u64) -> Verdict {
        loop {
            let Running { channels, table, shared, .. } = &mut self.running;
            let Some(open) = channels[channel].as_mut() else { return Ok(()) };
            let Some((io, step)) = open.next_ready(table, shared, now_ms) else { return Ok(()) };
            if step == ChannelStep::Send {
                self.send(channel, io, now_ms)?;
            }
        }
    }

    /// Children of reads and flushes end at once; there are none of writes.
    fn send(&mut self, channel: usize, io: u32, now_ms: u64) -> Verdict {
        let Running { channels, table, shared, .. } = &mut self.running;
        let Some(open) = channels[channel].as_mut() else { return Ok(()) };
        while let Some(slot) = open.next_child(table, shared, io, now_ms) {
            if table.io(io).child_op().is_write() {
                return Err(format!("a write of its host is sent to slot {}", slot.index()));
            }
            if matches!(open.child_done(table, shared, io, slot, Ok(())), ChannelStep::Done(_)) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What its owner wants done is done at once; nothing of it is a write.
    fn drain(&mut self, now_ms: u64) -> Verdict {
        while let Some(action) = self.running.owner.next_action() {
            match action {
                Action::Io { op, io: Io::Flush | Io::CopyRead { .. } | Io::Verify { .. }, .. } => {
                    self.running.owner.set_now(now_ms);
                    self.running.owner.done(op, Ok(()));
                }
                Action::Io { device, io, .. } => return Err(format!("its owner writes {io:?} to {device:?}")),
                Action::Wake => {
                    for at in 0..self.running.channels.len() {
                        let Running { channels, table, shared, .. } = &mut self.running;
                        if let Some(open) = channels[at].as_mut() {
                            open.wake(table, shared);
                        }
                        self.follow_ready(at, now_ms)?;
                    }
                }
                Action::Pass(pass) => {
                    let Running { channels, table, shared, .. } = &mut self.running;
                    let open = channels.iter_mut().flatten();
                    let later = open.filter_map(|open| (!open.pass(table, shared, pass)).then_some(())).count();
                    self.running.owner.set_now(now_ms);
                    self.running.owner.pass_swept(pass, later as u32);
                }
                Action::Release(_) | Action::Event(_) | Action::Stopped { .. } => {}
            }
        }
        Ok(())
    }
}
