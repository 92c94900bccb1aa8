//! An owner and its channels on a bench: nothing happens unless a case lets it.
//!
//! By default the owner's own I/O ends well at once, and passes go through all channels at once. What a case wants to
//! keep in flight it holds ([`Bench::hold`], [`Bench::hold_pass`], [`Bench::hold_reports`]) and ends by hand. Children of
//! the host's I/O always wait until the case ends them.

use mirror_engine::format::{Geometry, LegRecord, LegState, LogType};
use mirror_engine::maps::Maps;
use mirror_engine::*;
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

/// Blocks of a region.
pub const REGION: u64 = 8;
/// When each bench begins.
pub const START_MS: u64 = 1000;
/// A leg in sync, for [`Setup::legs`].
pub const IN: LegState = LegState::InSync;
/// A leg that is out and lacks all regions.
pub const STALE: LegState = LegState::Stale;
/// Turns of [`Bench::run`]: more than any case needs, so that what never comes to rest still ends.
const TURNS_MAX: usize = 2000;

/// The slot of this number.
pub fn slot(index: usize) -> Slot {
    Slot::new(index).unwrap()
}

/// The slot's leg, as a device.
pub fn leg(index: usize) -> Device {
    Device::Leg(slot(index))
}

/// Host I/O by number.
pub struct Table(pub Vec<HostIo<u32>>);

impl HostIos for Table {
    type Id = u32;

    fn io(&self, id: u32) -> &HostIo<u32> {
        &self.0[id as usize]
    }

    fn io_mut(&mut self, id: u32) -> &mut HostIo<u32> {
        &mut self.0[id as usize]
    }
}

/// The mirror of a case: by default one channel, four written regions, two legs in sync and nothing on the legs.
pub struct Setup<'a> {
    pub channels: u16,
    pub regions: u32,
    pub written: bool,
    pub log: LogType,
    pub options: Options,
    pub legs: &'a [LegState],
    /// Regions from the first on that were dirty when the mirror stopped.
    pub dirty: u32,
    /// Regions marked ahead of a stream of writes.
    pub mark_ahead_regions: u32,
    /// The one that the start records.
    pub generation: u64,
    /// As [`Bench::hold`], from the start on.
    pub hold: fn(&Device, &Io) -> bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            channels: 1,
            regions: 4,
            written: true,
            log: LogType::Core,
            options: Options { leg_timeout_ms: 1000, clear_idle_ms: 100, ..Options::default() },
            legs: &[IN, IN],
            dirty: 0,
            mark_ahead_regions: 0,
            generation: 1,
            hold: |_, _| false,
        }
    }
}

impl Setup<'_> {
    /// The bench with this mirror, which serves.
    pub fn start(self) -> Bench {
        let geometry = self.geometry();
        let shared = Arc::new(Shared::new(SharedSizes {
            regions: self.regions,
            region_shift: REGION.trailing_zeros(),
            blocks: geometry.blocks,
            channels: self.channels,
            reports: 64,
        }));
        shared.set_flushed_legs(LegMask::first(MAX_LEGS));
        let limits = ChannelLimits {
            parked_max: 64,
            leg_timeout_ms: u64::from(self.options.leg_timeout_ms),
            mark_ahead_regions: self.mark_ahead_regions,
        };
        let channels = (0..self.channels).map(|number| Channel::new(number, limits).unwrap()).collect();
        let hold = self.hold;
        let owner = Owner::start(Arc::clone(&shared), self.owner_start(geometry.clone()));
        let mut bench = Bench {
            shared,
            owner,
            channels,
            table: Table(Vec::new()),
            homes: Vec::new(),
            now_ms: START_MS,
            data_offset: geometry.data_offset_blocks,
            ops: VecDeque::new(),
            children: Vec::new(),
            outcomes: Vec::new(),
            events: Vec::new(),
            stopped: None,
            reports: 0,
            wakes: 0,
            hold,
            hold_pass: None,
            hold_reports: false,
        };
        bench.run();
        bench
    }

    /// The shape of this mirror.
    pub fn geometry(&self) -> Geometry {
        Geometry {
            block_bytes: 512,
            blocks: u64::from(self.regions) * REGION,
            region_blocks: REGION,
            data_offset_blocks: Geometry::metadata_blocks(512, self.regions, LogType::Internal),
        }
    }

    fn owner_start(self, geometry: Geometry) -> Start {
        let mut maps = Maps::of_new(&geometry, self.written);
        for (index, _) in self.legs.iter().enumerate().filter(|(_, state)| **state != IN) {
            maps.out_of_sync[index] = Some(Bits::new(self.regions, true));
        }
        (0..self.dirty).for_each(|region| {
            maps.intent.set(region);
        });
        let start_leg = |(index, &state): (usize, &LegState)| StartLeg {
            slot: slot(index),
            record: LegRecord {
                uuid: Uuid::from_u128(index as u128 + 1),
                state,
                write_mostly: false,
                last_in_sync: 1,
                identity: Uuid::nil(),
                blocks: 1 << 20,
            },
            next_copy: 0,
        };
        let [machine, boot, instance] = [1, 2, 3].map(Uuid::from_u128);
        Start {
            config: Config {
                mirror: Uuid::from_u128(9),
                name: "m".into(),
                geometry,
                log: self.log,
                log_uuid: Uuid::nil(),
                owner: OwnerId { machine, boot, instance },
                unknown_compatible: 0,
            },
            options: self.options,
            legs: self.legs.iter().enumerate().map(start_leg).collect(),
            maps,
            generation: self.generation,
            sequence: 0,
            heartbeat: 0,
            log_lost: false,
            new_log: None,
            source: None,
            now_ms: START_MS,
        }
    }
}

/// A mirror and the world around it.
pub struct Bench {
    pub shared: Arc<Shared>,
    pub owner: Owner,
    pub channels: Vec<Channel<u32>>,
    pub table: Table,
    pub now_ms: u64,
    /// The first block of a leg that holds the mirror's data.
    pub data_offset: u64,
    /// The owner's I/O in flight.
    pub ops: VecDeque<(OpId, Device, Io)>,
    /// Children in flight: of which I/O, on which slot; in the order in which they were sent.
    pub children: Vec<(u32, usize)>,
    pub events: Vec<Event>,
    /// The owner ended; cleanly or not.
    pub stopped: Option<bool>,
    /// Reports that the owner took, and wake-ups that it asked for.
    pub reports: u32,
    pub wakes: u32,
    /// Which I/O of the owner's stays in flight.
    pub hold: fn(&Device, &Io) -> bool,
    /// A pass that goes to no channel before the case sweeps it.
    pub hold_pass: Option<Pass>,
    /// Reports stay in the queue.
    pub hold_reports: bool,
    /// The channel of each host I/O.
    homes: Vec<usize>,
    outcomes: Vec<(u32, Outcome)>,
}

impl Bench {
    /// The host submits an I/O; the owner has not heard of it yet.
    pub fn submit(&mut self, channel: usize, op: Op, block: u64, blocks: u32) -> u32 {
        let id = self.table.0.len() as u32;
        self.table.0.push(HostIo::new(op, block, blocks, self.now_ms));
        self.homes.push(channel);
        let step = self.channels[channel].submit(&mut self.table, &self.shared, id, self.now_ms);
        self.follow(channel, id, step);
        id
    }

    /// The host submits an I/O, and whatever it needs of the owner is done.
    pub fn send(&mut self, channel: usize, op: Op, block: u64, blocks: u32) -> u32 {
        let id = self.submit(channel, op, block, blocks);
        self.run();
        id
    }

    /// An I/O is submitted, and all its children end well.
    pub fn complete(&mut self, channel: usize, op: Op, block: u64, blocks: u32) -> u32 {
        let id = self.send(channel, op, block, blocks);
        while let Some(&(_, slot)) = self.children.iter().find(|child| child.0 == id) {
            self.end_child(id, slot, Ok(()));
        }
        id
    }

    /// The host wants an I/O back.
    pub fn abort(&mut self, id: u32) {
        let channel = self.homes[id as usize];
        let step = self.channels[channel].abort(&mut self.table, &self.shared, id);
        self.follow(channel, id, step);
        self.run();
    }

    /// A child ends, and all that follows from it happens.
    pub fn end_child(&mut self, id: u32, index: usize, result: Result<(), Fault>) {
        let at = self.children.iter().position(|child| *child == (id, index)).expect("no such child is in flight");
        self.children.remove(at);
        let channel = self.homes[id as usize];
        let step = self.channels[channel].child_done(&mut self.table, &self.shared, id, slot(index), result);
        self.follow(channel, id, step);
        self.run();
    }

    /// Slots on which an I/O has a child in flight.
    pub fn slots_of(&self, id: u32) -> Vec<usize> {
        self.children.iter().filter(|child| child.0 == id).map(|child| child.1).collect()
    }

    /// How an I/O ended; `None` if it has not.
    pub fn outcome(&self, id: u32) -> Option<Outcome> {
        let mut outcomes = self.outcomes.iter().filter(|done| done.0 == id);
        let outcome = outcomes.next().map(|done| done.1);
        assert!(outcomes.next().is_none(), "it ends once");
        outcome
    }

    /// What is known of a region.
    pub fn state(&self, region: u32) -> RegionState {
        self.shared.regions.load(region).state()
    }

    /// A write to the first block of region 0 that all legs took and the host aborted: the region is suspect.
    pub fn suspect(&mut self) {
        let write = self.send(0, Op::Write, 0, 1);
        self.abort(write);
        for slot in self.slots_of(write) {
            self.end_child(write, slot, Err(Fault::Aborted));
        }
        assert_eq!(self.outcome(write), Some(Outcome::Failed(Failure::Aborted)));
    }

    /// A leg that is out comes in, as it was.
    pub fn admit(&mut self, index: usize) {
        self.admit_after(index, 0);
    }

    /// The same of a leg whose superblock has this generation.
    pub fn admit_after(&mut self, index: usize, generation: u64) {
        let admission = Admission {
            uuid: Uuid::from_u128(index as u128 + 1),
            identity: Uuid::nil(),
            blocks: 1 << 20,
            next_copy: 0,
            sequence: 0,
            generation,
            own_intent: Some(Bits::new(self.shared.regions.len(), false)),
            full: false,
        };
        assert!(self.owner.admit(slot(index), admission));
        self.run();
    }

    /// The first I/O of the owner's in flight that is meant, with what it does.
    pub fn op(&self, meant: impl Fn(&Device, &Io) -> bool) -> Option<(OpId, Device, Io)> {
        self.ops.iter().find(|(_, device, io)| meant(device, io)).cloned()
    }

    /// How many I/Os of the owner's in flight are meant.
    pub fn count_ops(&self, meant: impl Fn(&Device, &Io) -> bool) -> usize {
        self.ops.iter().filter(|(_, device, io)| meant(device, io)).count()
    }

    /// The first I/O of the owner's in flight that is meant ends, and all that follows from it happens.
    pub fn end_op(&mut self, meant: impl Fn(&Device, &Io) -> bool, result: Result<(), Fault>) {
        let (op, ..) = self.op(meant).expect("no such I/O is in flight");
        self.end(op, result);
        self.run();
    }

    fn end(&mut self, op: OpId, result: Result<(), Fault>) {
        self.ops.retain(|other| other.0 != op);
        self.owner.done(op, result);
    }

    /// All channels are asked.
    pub fn sweep(&mut self, pass: Pass) {
        let mut later = 0;
        for channel in &mut self.channels {
            later += u32::from(!channel.pass(&mut self.table, &self.shared, pass));
        }
        self.owner.pass_swept(pass, later);
    }

    /// Does one thing that can be done now; whether there was any.
    pub fn turn(&mut self) -> bool {
        let mut any = self.act();
        if let Some((op, ..)) = self.op(|device, io| !(self.hold)(device, io)) {
            self.end(op, Ok(()));
            any = true;
        }
        if !self.hold_reports && self.owner.take_report().is_some() {
            self.reports += 1;
            any = true;
        }
        any
    }

    /// Does all that can be done now, apart from what is held.
    pub fn run(&mut self) {
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return;
            }
        }
    }

    /// Time goes on by one tick.
    pub fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        self.owner.tick(self.now_ms);
        self.run();
        for channel in 0..self.channels.len() {
            self.channels[channel].tick(&mut self.table, &self.shared, self.now_ms);
            self.follow_ready(channel);
        }
        self.run();
    }

    /// Time goes on, in ticks of a tenth of a second.
    pub fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.tick(100);
        }
    }

    /// Does what the owner wants done.
    pub fn act(&mut self) -> bool {
        let mut any = false;
        while let Some(action) = self.owner.next_action() {
            any = true;
            match action {
                Action::Io { op, device, io } => self.ops.push_back((op, device, io)),
                Action::Pass(pass) if self.hold_pass == Some(pass) => {}
                Action::Pass(pass) => self.sweep(pass),
                Action::Wake => {
                    self.wakes += 1;
                    for channel in 0..self.channels.len() {
                        self.channels[channel].wake(&mut self.table, &self.shared);
                        self.follow_ready(channel);
                    }
                }
                Action::Release(_) => {}
                Action::Stopped { clean } => self.stopped = Some(clean),
                Action::Event(event) => self.events.push(event),
            }
        }
        any
    }

    fn follow(&mut self, channel: usize, id: u32, step: ChannelStep) {
        self.step(channel, id, step);
        self.follow_ready(channel);
    }

    /// What became ready on a channel goes on.
    pub fn follow_ready(&mut self, channel: usize) {
        while let Some((id, step)) = self.channels[channel].next_ready(&mut self.table, &self.shared, self.now_ms) {
            self.step(channel, id, step);
        }
    }

    fn step(&mut self, channel: usize, id: u32, step: ChannelStep) {
        match step {
            ChannelStep::Wait => {}
            ChannelStep::Send => {
                let channel = &mut self.channels[channel];
                while let Some(slot) = channel.next_child(&mut self.table, &self.shared, id, self.now_ms) {
                    self.children.push((id, slot.index()));
                }
            }
            ChannelStep::Done(outcome) => self.outcomes.push((id, outcome)),
        }
    }
}
