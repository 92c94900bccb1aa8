//! The engine in the world: what the glue does in SPDK.

use super::{Flight, Origin, Verdict, Work, World};
use crate::disk::{Block, ZERO};
use mirror_engine::{
    Action, Channel, ChannelLimits, ChannelStep, Device, Event, Fault, HostIo, HostIos, Io, Op, OpId, Outcome, Owner,
    Pass, Shared, Slot, WhyOut,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Most I/O that a channel parks: more than any history has.
pub const PARKED_MAX: u32 = 64;

/// Host I/O by number.
#[derive(Default)]
pub struct Table {
    pub ios: Vec<Option<HostIo<u32>>>,
}

impl HostIos for Table {
    type Id = u32;

    fn io(&self, id: u32) -> &HostIo<u32> {
        self.ios[id as usize].as_ref().expect("the engine names only I/O that is there")
    }

    fn io_mut(&mut self, id: u32) -> &mut HostIo<u32> {
        self.ios[id as usize].as_mut().expect("the engine names only I/O that is there")
    }
}

/// What the world knows of a host I/O.
#[derive(Clone, Debug)]
pub struct Request {
    pub channel: usize,
    pub op: Op,
    pub range: std::ops::Range<u64>,
    pub value: u64,
    pub through: bool,
    pub key: u64,
    /// Children in flight.
    pub children: u32,
    /// Some child was sent.
    pub sent: bool,
    /// Drives that have done it.
    pub good: BTreeSet<usize>,
    pub read: Vec<Block>,
    /// For a flush: what every drive had completed when it came.
    pub clocks: Vec<u64>,
}

/// A pass on its way through the channels.
pub struct Sweep {
    pub pass: Pass,
    pub next: usize,
    pub later: u32,
}

/// A mirror that runs.
pub struct Running {
    pub shared: Arc<Shared>,
    pub owner: Owner,
    pub channels: Vec<Option<Channel<u32>>>,
    pub table: Table,
    pub requests: Vec<Option<Request>>,
    pub buffers: Vec<Vec<Block>>,
    pub sweeps: VecDeque<Sweep>,
    pub wakes: BTreeSet<usize>,
    /// I/O that waits for memory.
    pub waiting: Vec<(usize, u32)>,
    /// How often each leg was released.
    pub lives: Vec<u32>,
    /// Slots that are out, and are to come back.
    pub out: BTreeSet<usize>,
    pub resetting: BTreeSet<usize>,
    /// Slots that really failed something.
    pub faulted: BTreeSet<usize>,
    pub suspended: bool,
    pub started: bool,
    pub offline: bool,
    pub stopped: Option<bool>,
    /// Region states as they were last looked at.
    pub states: Vec<mirror_engine::RegionState>,
}

impl World {
    pub fn engine(&mut self) -> &mut Running {
        self.running.as_mut().expect("a mirror runs")
    }

    /// The owner, told the time: that comes before every event, so that it does nothing once its lease has ended.
    pub fn owner(&mut self) -> &mut Owner {
        let now_ms = self.now_ms;
        let owner = &mut self.engine().owner;
        owner.set_now(now_ms);
        owner
    }

    pub fn open_channel(&mut self, at: usize) {
        let limits = ChannelLimits { parked_max: PARKED_MAX, leg_timeout_ms: 1000 };
        let running = self.engine();
        while running.channels.len() <= at {
            running.channels.push(None);
        }
        if running.channels[at].is_none() {
            running.channels[at] = Channel::new(at as u16, limits);
            self.say(|| format!("channel {at} opens"));
        }
    }

    pub fn close_channel(&mut self, at: usize) -> Verdict {
        let idle = self.engine().channels.get(at).is_some_and(|channel| channel.as_ref().is_some_and(Channel::is_idle));
        if !idle {
            return Ok(());
        }
        let running = self.engine();
        let Some(mut channel) = running.channels[at].take() else { return Ok(()) };
        let owed = channel.close();
        running.wakes.remove(&at);
        self.owner().channel_closed(owed);
        self.say(|| format!("channel {at} closes"));
        self.drain_owner()
    }

    /// Does what the owner wants done.
    pub fn drain_owner(&mut self) -> Verdict {
        while let Some(action) = self.running.as_mut().and_then(|running| running.owner.next_action()) {
            match action {
                Action::Io { op, device, io } => self.owner_io(op, device, io)?,
                Action::Pass(pass) => {
                    self.say(|| format!("owner asks {pass:?}"));
                    self.engine().sweeps.push_back(Sweep { pass, next: 0, later: 0 });
                }
                Action::Wake => {
                    let running = self.engine();
                    let open = running.channels.iter().enumerate().filter(|(_, channel)| channel.is_some());
                    running.wakes.extend(open.map(|(at, _)| at));
                }
                Action::Release(slot) => {
                    let slot = slot.index();
                    self.engine().lives[slot] += 1;
                    self.engine().out.insert(slot);
                }
                Action::Event(event) => self.event(event)?,
                Action::Stopped { clean } => {
                    self.say(|| format!("stopped, clean: {clean}"));
                    self.engine().stopped = Some(clean);
                }
            }
        }
        self.look_at_regions()
    }

    fn event(&mut self, event: Event) -> Verdict {
        self.say(|| format!("event {event:?}"));
        match event {
            Event::Started => {
                self.engine().started = true;
                self.truth.served = true;
                self.give_up();
            }
            Event::Offline => self.engine().offline = true,
            Event::LegFailed { slot, why } => {
                let blamed = !matches!(why, WhyOut::Gone | WhyOut::Asked | WhyOut::Hung | WhyOut::Unreadable);
                if blamed && !self.engine().faulted.remove(&slot.index()) {
                    return Err(format!("slot {} is failed ({why:?}) and has done nothing wrong", slot.index()));
                }
                self.cover_regions(crate::coverage::Happening::LegLost);
            }
            Event::ResyncStarted { .. } => self.cover_regions(crate::coverage::Happening::LegBack),
            Event::LegInSync { slot } => {
                let drive = self.drive_of(slot.index());
                self.engine().out.remove(&slot.index());
                self.check_in_sync(slot.index())?;
                self.truth.current.insert(drive);
            }
            Event::LastLegStays { slot, why: WhyOut::Hung } => {
                self.engine().faulted.insert(slot.index());
            }
            Event::Suspended => self.engine().suspended = true,
            _ => {}
        }
        Ok(())
    }

    fn owner_io(&mut self, op: OpId, device: Device, io: Io) -> Verdict {
        let (drive, slot) = match device {
            Device::Leg(slot) => (self.drive_of(slot.index()), Some(slot.index())),
            Device::Log => (self.log.expect("a mirror with a log has its drive"), None),
        };
        self.check_owner_lease(&io)?;
        self.say(|| match &io {
            Io::Write { block, data } => format!("owner writes metadata {block}+{} bytes on drive {drive}", data.len()),
            io => format!("owner {io:?} on drive {drive}"),
        });
        let work = match io {
            Io::Write { block, data } => {
                let size = self.disks[drive].block_bytes;
                let data: Vec<Block> = data.chunks(size).map(|chunk| Block::Bytes(Arc::from(chunk))).collect();
                self.check_metadata_write(drive, slot, block, &data)?;
                Work::Write { block, data }
            }
            Io::Flush => Work::Flush { clock: self.disks[drive].clock },
            Io::CopyRead { block, blocks, buffer } => {
                self.check_copy_read(slot, block)?;
                Work::Read { block, blocks: u64::from(blocks), buffer: Some(buffer) }
            }
            Io::CopyWrite { block, blocks, buffer } => {
                let data = self.engine().buffers[buffer].clone();
                if data.len() != blocks as usize {
                    return Err(format!("a copy of {blocks} blocks from a buffer of {}", data.len()));
                }
                self.counts.copies += 1;
                self.check_owner_data_write(drive, slot, block, u64::from(blocks), false)?;
                Work::Write { block, data }
            }
            Io::Verify { block, blocks, buffer } => {
                let mut data = self.engine().buffers[buffer].clone();
                data.truncate(blocks as usize);
                Work::Verify { block, data }
            }
            Io::Zero { block, blocks } => {
                self.check_owner_data_write(drive, slot, block, u64::from(blocks), true)?;
                Work::Write { block, data: vec![ZERO; blocks as usize] }
            }
        };
        let life = slot.map_or(0, |slot| self.engine().lives[slot]);
        self.launch(Flight {
            drive,
            work,
            origin: Origin::Owner { op: op.0 },
            life,
            slot,
            since_ms: 0,
            hung: false,
            aborted: false,
        });
        Ok(())
    }

    pub fn launch(&mut self, mut flight: Flight) {
        flight.hung = self.disks[flight.drive].hangs;
        flight.since_ms = self.now_ms;
        self.next_flight += 1;
        self.flights.insert(self.next_flight, flight);
    }

    /// Follows a step of an I/O, and whatever became ready besides.
    pub fn follow(&mut self, channel: usize, io: u32, step: ChannelStep) -> Verdict {
        let mut next = Some((io, step));
        while let Some((io, step)) = next {
            match step {
                ChannelStep::Wait => {}
                ChannelStep::Send => self.send_children(channel, io)?,
                ChannelStep::Done(outcome) => self.host_io_done(channel, io, outcome)?,
            }
            next = self.next_ready(channel);
        }
        Ok(())
    }

    fn next_ready(&mut self, channel: usize) -> Option<(u32, ChannelStep)> {
        let now_ms = self.now_ms;
        let Running { channels, table, shared, .. } = self.engine();
        channels[channel].as_mut()?.next_ready(table, shared, now_ms)
    }

    /// Sends what is to be sent, as far as memory goes.
    pub fn send_children(&mut self, channel: usize, io: u32) -> Verdict {
        loop {
            let now_ms = self.now_ms;
            let Running { channels, table, shared, requests, .. } = self.engine();
            let Some(open) = channels[channel].as_mut() else { return Ok(()) };
            if requests[io as usize].is_none() {
                return Ok(());
            }
            let Some(slot) = open.next_child(table, shared, io, now_ms) else { return Ok(()) };
            if self.faults && self.chooser.percent(4) {
                self.say(|| format!("no memory for a child of {io} on slot {}", slot.index()));
                let Running { channels, table, shared, waiting, .. } = self.engine();
                if let Some(open) = channels[channel].as_mut() {
                    open.not_sent(table, shared, io, slot);
                }
                waiting.push((channel, io));
                return Ok(());
            }
            let drive = self.drive_of(slot.index());
            let refused =
                !self.disks[drive].present || (self.faults && self.setup_allows_errors() && self.chooser.percent(1));
            if refused {
                self.say(|| format!("a child of {io} is refused by slot {}", slot.index()));
                self.engine().faulted.insert(slot.index());
                let Running { channels, table, shared, .. } = self.engine();
                let Some(open) = channels[channel].as_mut() else { return Ok(()) };
                let step = open.child_refused(table, shared, io, slot, Fault::Failed);
                if step != ChannelStep::Send {
                    return self.follow(channel, io, step);
                }
                continue;
            }
            self.send_child(channel, io, slot)?;
        }
    }

    fn send_child(&mut self, channel: usize, io: u32, slot: Slot) -> Verdict {
        let drive = self.drive_of(slot.index());
        let offset = self.setup.geometry().data_offset_blocks;
        let running = self.engine();
        let op = running.table.io(io).child_op();
        let life = running.lives[slot.index()];
        let Some(request) = running.requests[io as usize].as_mut() else {
            return Err(format!("a child of I/O {io}, which has ended"));
        };
        request.children += 1;
        request.sent = true;
        let request = request.clone();
        let (block, blocks) = (offset + request.range.start, request.range.end - request.range.start);
        let work = match op {
            Op::Read => {
                self.check_host_read(slot.index(), request.range.clone())?;
                Work::Read { block, blocks, buffer: None }
            }
            Op::Flush => Work::Flush { clock: self.disks[drive].clock },
            Op::Write | Op::WriteZeroes | Op::Unmap => {
                self.check_host_write(slot.index(), request.range.clone())?;
                let data = if op == Op::Write { Block::Stamp(request.value) } else { ZERO };
                Work::Write { block, data: vec![data; blocks as usize] }
            }
        };
        self.say(|| format!("child of {io} on slot {}: {op:?} {:?}", slot.index(), request.range));
        let origin = Origin::Child { channel, io, slot: slot.index() };
        self.launch(Flight {
            drive,
            work,
            origin,
            life,
            slot: Some(slot.index()),
            since_ms: 0,
            hung: false,
            aborted: false,
        });
        Ok(())
    }

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

    /// What the drive makes of an I/O.
    fn perform(&mut self, flight: &Flight) -> Verdict<Ended> {
        let fails = !self.disks[flight.drive].present || self.take_fault(flight);
        let aborted = flight.aborted;
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
                let disk = &self.disks[drive];
                if !fails && !aborted {
                    if (*block..block + blocks).any(|block| disk.is_bad(block)) {
                        self.truth.read_faults = true;
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

    /// A message arrives: a report, a wake-up, a step of a pass, memory.
    pub fn deliver_something(&mut self) -> Verdict {
        let stalls = self.owner_stalls();
        let running = self.engine();
        let mut due = Vec::new();
        if !running.shared.reports.is_empty() && !stalls {
            due.push(0);
            due.push(0);
        }
        if !running.sweeps.is_empty() && !stalls {
            due.push(1);
        }
        if !running.wakes.is_empty() {
            due.push(2);
        }
        if !running.waiting.is_empty() {
            due.push(3);
        }
        match self.chooser.pick(&due) {
            Some(0) => {
                let now_ms = self.now_ms;
                self.engine().owner.set_now(now_ms);
                self.engine().owner.take_report();
                self.drain_owner()
            }
            Some(1) => self.sweep(),
            Some(2) => {
                let wakes: Vec<usize> = self.engine().wakes.iter().copied().collect();
                let Some(at) = self.chooser.pick(&wakes) else { return Ok(()) };
                self.engine().wakes.remove(&at);
                self.wake(at)
            }
            Some(_) => {
                let (channel, io) = self.engine().waiting.remove(0);
                self.send_children(channel, io)?;
                self.follow_ready(channel)
            }
            None => Ok(()),
        }
    }

    fn wake(&mut self, at: usize) -> Verdict {
        let Running { channels, table, shared, .. } = self.engine();
        if let Some(channel) = channels[at].as_mut() {
            channel.wake(table, shared);
        }
        self.follow_ready(at)
    }

    pub fn follow_ready(&mut self, channel: usize) -> Verdict {
        while let Some((io, step)) = self.next_ready(channel) {
            self.follow(channel, io, step)?;
        }
        Ok(())
    }

    fn sweep(&mut self) -> Verdict {
        let now_ms = self.now_ms;
        let running = self.engine();
        let Some(mut sweep) = running.sweeps.pop_front() else { return Ok(()) };
        while sweep.next < running.channels.len() {
            let at = sweep.next;
            sweep.next += 1;
            let Running { channels, table, shared, .. } = running;
            if let Some(channel) = channels[at].as_mut() {
                if !channel.pass(table, shared, sweep.pass) {
                    sweep.later += 1;
                }
                running.sweeps.push_front(sweep);
                return Ok(());
            }
        }
        running.owner.set_now(now_ms);
        running.owner.pass_swept(sweep.pass, sweep.later);
        self.drain_owner()
    }

    pub fn tick_all(&mut self) -> Verdict {
        let now_ms = self.now_ms;
        if self.faults && self.setup.leased && self.chooser.percent(4) {
            // The owner's core stands still while the others go on.
            self.owner_stalls_ms = now_ms + 2500;
        }
        let stalls = self.owner_stalls();
        let Some(running) = self.running.as_mut() else { return Ok(()) };
        if !stalls {
            running.owner.tick(now_ms);
            self.drain_owner()?;
        }
        for at in 0..self.engine().channels.len() {
            let Running { channels, table, shared, .. } = self.engine();
            if let Some(channel) = channels[at].as_mut() {
                channel.tick(table, shared, now_ms);
                self.follow_ready(at)?;
            }
        }
        Ok(())
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

/// Whether a host I/O ended well.
pub fn is_good(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Good { .. })
}
