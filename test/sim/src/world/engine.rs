//! The engine in the world: what the glue does in SPDK.

use super::{Flight, Origin, Verdict, Work, World};
use crate::disk::{Block, ZERO};
use mirror_engine::{
    Action, Channel, ChannelLimits, Device, Event, Fault, HostIo, HostIos, Io, Op, OpId, Outcome, Owner, Pass, Shared,
    WhyOut,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

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
    /// The error that the command deserves: legs give it, and are not to blame.
    pub deserves: Option<Fault>,
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

    pub fn open_channel(&mut self, at: usize) {
        let mark_ahead_regions = self.setup.mark_ahead_regions;
        let limits = ChannelLimits { parked_max: self.setup.parked_max, leg_timeout_ms: 1000, mark_ahead_regions };
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
        let now_ms = self.now_ms;
        let running = self.engine();
        let Some(mut channel) = running.channels[at].take() else { return Ok(()) };
        let owed = channel.close();
        running.owner.set_now(now_ms);
        running.owner.channel_closed(owed);
        running.wakes.remove(&at);
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
                if self.suspect_region().is_none() {
                    self.truth.source = None;
                }
            }
            // The next suspicion may choose another one.
            Event::Reconciled => self.truth.source = None,
            Event::Offline => self.engine().offline = true,
            Event::LegFailed { slot, why } => {
                let blamed =
                    !matches!(why, WhyOut::Gone | WhyOut::Asked | WhyOut::Hung | WhyOut::Unreadable | WhyOut::Slow);
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
                if drive >= self.setup.legs + usize::from(self.log.is_some()) {
                    self.coverage.note(crate::coverage::Deed::NewLegInSync);
                }
            }
            Event::LastLegStays { slot, why: WhyOut::Hung } => {
                self.engine().faulted.insert(slot.index());
            }
            Event::Suspended => {
                self.engine().suspended = true;
                self.check_all_parked()?;
                self.coverage.note(crate::coverage::Deed::Suspended);
            }
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
                if let Some(report) = self.engine().owner.take_report() {
                    self.check_mark_ahead(&report)?;
                }
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
        if self.running.is_none() {
            return Ok(());
        }
        if !stalls {
            if self.faults {
                self.feed_latencies();
            }
            self.engine().owner.tick(now_ms);
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

/// Whether a host I/O ended well.
pub fn is_good(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Good { .. })
}
