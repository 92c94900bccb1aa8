//! A mirror that stands still while another process takes it over, and goes on later.

use super::boot::MIRROR;
use super::engine::Running;
use super::{Flight, Origin, Verdict, Work, World};
use crate::chooser::Chooser;
use crate::coverage::Deed;
use mirror_engine::assembly::Found;
use mirror_engine::format::Superblock;
use mirror_engine::lease::{OwnerSeen, Takeover, newest, takeover};
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
        let Some(newest) = self.newest_superblock().filter(|_| self.running.is_some()) else { return Ok(()) };
        let Some(running) = self.running.take() else { return Ok(()) };
        // On this machine, where the lock file is found to be held, or on another one.
        let here = self.chooser.percent(50);
        let machine = Uuid::from_u128(if here { 1 } else { 9 });
        let ours = OwnerId { machine, instance: Uuid::max(), ..self.owner_id() };
        let seen = OwnerSeen {
            owner: newest.owner,
            owner_lease_ms: u64::from(newest.lease_ms),
            stopped: newest.clean,
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

    /// Of all drives that are there the newest superblock of this mirror.
    fn newest_superblock(&self) -> Option<Superblock> {
        let there = (0..self.disks.len()).filter(|drive| self.disks[*drive].present && Some(*drive) != self.log);
        let found = there.filter_map(|drive| self.superblock(drive, false).map(|(superblock, _)| superblock));
        let found: Vec<_> = found.filter(|superblock| superblock.mirror == MIRROR).collect();
        newest(found.iter()).cloned()
    }

    /// A successor waits: time goes on, drives do what they were told, the mirror wakes, or the wait is over.
    pub fn successor_waits(&mut self) -> Verdict {
        match self.chooser.below(10) {
            0 if self.faults => return self.former_goes_on(),
            0..4 => self.former_flight_lands(),
            _ => self.now_ms += self.chooser.pick(&[10, 200, 400, 400]).unwrap_or(10),
        }
        let newest = self.newest_superblock();
        let now_ms = self.now_ms;
        let Some(former) = &mut self.former else { return Ok(()) };
        if let Some(newest) = newest.filter(|newest| newest.heartbeat != former.heartbeat) {
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
        let alive = former.flights.values().find(|flight| flight.since_ms + LONGEST_IO_MS > now_ms);
        if let Some(flight) = alive.filter(|flight| matches!(flight.work, Work::Write { .. })) {
            return Err(format!("a successor starts at {now_ms} ms, a write of {} ms may be alive", flight.since_ms));
        }
        // It might have gone on for a moment, and submitted more until its lease ended.
        let last_ms = self.truth.lease_until_ms + LONGEST_IO_MS;
        if now_ms < last_ms {
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
        let Some(newest) = newest(found.iter().map(|leg| &leg.superblock)) else {
            return Ok(());
        };
        if self.former.as_ref().is_some_and(|former| former.seen.owner == newest.owner) {
            // That one is alive; it was waited for.
            return Ok(());
        }
        let seen = OwnerSeen {
            owner: newest.owner,
            owner_lease_ms: u64::from(newest.lease_ms),
            stopped: newest.clean,
            first_seen_ms: self.now_ms,
            lock_file_free: Some(true),
        };
        match takeover(&seen, &self.owner_id(), LONGEST_IO_MS, self.now_ms) {
            Takeover::Now(_) => Ok(()),
            other => Err(format!("the owner {seen:?} is dead, whoever starts is told {other:?}")),
        }
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
