//! Orders of events that once broke a promise and that histories hardly ever hit, each played by hand.

use mirror_engine::format::{Geometry, LegRecord, LegState, LogType};
use mirror_engine::maps::Maps;
use mirror_engine::*;
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

struct Table(Vec<HostIo<u32>>);
impl HostIos for Table {
    type Id = u32;
    fn io(&self, id: u32) -> &HostIo<u32> {
        &self.0[id as usize]
    }
    fn io_mut(&mut self, id: u32) -> &mut HostIo<u32> {
        &mut self.0[id as usize]
    }
}

/// An owner and its channels; their I/O waits until a case ends it.
struct Bench {
    shared: Arc<Shared>,
    owner: Owner,
    ch: Vec<Channel<u32>>,
    t: Table,
    now: u64,
    ios: VecDeque<(OpId, Device, Io)>,
    events: Vec<Event>,
    done: Vec<(u32, Outcome)>,
    sends: Vec<(usize, u32)>,
    /// Which owner I/O is completed at once.
    auto: fn(&Device, &Io) -> bool,
    hold_pass: Option<Pass>,
    held: Vec<Pass>,
}
fn s(i: usize) -> Slot {
    Slot::new(i).unwrap()
}

impl Bench {
    fn new(channels: usize, regions: u64, written: bool, log: LogType, opt: Options, states: &[LegState]) -> Bench {
        let off = Geometry::metadata_blocks(512, regions as u32, LogType::Internal);
        let geometry = Geometry { block_bytes: 512, blocks: regions * 8, region_blocks: 8, data_offset_blocks: off };
        let shared = Arc::new(Shared::new(SharedSizes {
            regions: regions as u32,
            region_shift: 3,
            blocks: regions * 8,
            channels: 8,
            reports: 64,
        }));
        shared.set_flushed_legs(LegMask::first(16));
        let mut maps = Maps::of_new(&geometry, written);
        let mut sl = Vec::new();
        for (i, &state) in states.iter().enumerate() {
            if state != LegState::InSync {
                maps.out_of_sync[i] = Some(Bits::new(regions as u32, true));
            }
            sl.push(StartLeg {
                slot: s(i),
                record: LegRecord {
                    uuid: Uuid::from_u128(i as u128 + 1),
                    state,
                    write_mostly: false,
                    last_in_sync: 1,
                    identity: Uuid::nil(),
                    blocks: 1 << 20,
                },
                next_copy: 0,
            });
        }
        let start = Start {
            config: Config {
                mirror: Uuid::from_u128(9),
                name: "m".into(),
                geometry,
                log,
                log_uuid: Uuid::nil(),
                owner: OwnerId { machine: Uuid::from_u128(1), boot: Uuid::from_u128(2), instance: Uuid::from_u128(3) },
                unknown_compatible: 0,
            },
            options: opt,
            legs: sl,
            maps,
            generation: 1,
            sequence: 0,
            heartbeat: 0,
            log_lost: false,
            new_log: None,
            source: None,
            now_ms: 1000,
        };
        let owner = Owner::start(Arc::clone(&shared), start);
        let lim = ChannelLimits { parked_max: 64, leg_timeout_ms: 1000, mark_ahead_regions: 0 };
        let mut w = Bench {
            shared,
            owner,
            ch: (0..channels).map(|i| Channel::new(i as u16, lim).unwrap()).collect(),
            t: Table(vec![]),
            now: 1000,
            ios: VecDeque::new(),
            events: vec![],
            done: vec![],
            sends: vec![],
            auto: |_, _| true,
            hold_pass: None,
            held: vec![],
        };
        w.run();
        w
    }
    fn ready(&mut self, c: usize) {
        while let Some((id, st)) = self.ch[c].next_ready(&mut self.t, &self.shared, self.now) {
            self.step(c, id, st);
        }
    }
    fn step(&mut self, c: usize, id: u32, st: ChannelStep) {
        match st {
            ChannelStep::Wait => {}
            ChannelStep::Send => {
                while let Some(slot) = self.ch[c].next_child(&mut self.t, &self.shared, id, self.now) {
                    self.sends.push((slot.index(), id));
                }
            }
            ChannelStep::Done(o) => self.done.push((id, o)),
        }
    }
    fn submit(&mut self, c: usize, op: Op, block: u64, blocks: u32) -> u32 {
        let id = self.t.0.len() as u32;
        self.t.0.push(HostIo::new(op, block, blocks, self.now));
        let st = self.ch[c].submit(&mut self.t, &self.shared, id, self.now);
        self.step(c, id, st);
        self.ready(c);
        id
    }
    fn child(&mut self, c: usize, id: u32, slot: usize, r: Result<(), Fault>) {
        let st = self.ch[c].child_done(&mut self.t, &self.shared, id, s(slot), r);
        self.step(c, id, st);
        self.ready(c);
    }
    fn actions(&mut self) -> bool {
        let mut any = false;
        while let Some(a) = self.owner.next_action() {
            any = true;
            match a {
                Action::Io { op, device, io } => self.ios.push_back((op, device, io)),
                Action::Pass(p) => {
                    if self.hold_pass == Some(p) {
                        self.held.push(p);
                        continue;
                    }
                    self.sweep(p);
                }
                Action::Wake => {
                    for c in 0..self.ch.len() {
                        self.ch[c].wake(&mut self.t, &self.shared);
                        self.ready(c);
                    }
                }
                Action::Release(_) | Action::Stopped { .. } => {}
                Action::Event(e) => self.events.push(e),
            }
        }
        any
    }
    fn sweep(&mut self, p: Pass) {
        let mut later = 0;
        for c in 0..self.ch.len() {
            if !self.ch[c].pass(&mut self.t, &self.shared, p) {
                later += 1;
            }
        }
        self.owner.pass_swept(p, later);
    }
    fn once(&mut self) -> bool {
        let mut any = self.actions();
        if let Some(at) = self.ios.iter().position(|(_, d, i)| (self.auto)(d, i)) {
            let (op, ..) = self.ios.remove(at).unwrap();
            self.owner.done(op, Ok(()));
            any = true;
        }
        if self.owner.take_report().is_some() {
            any = true;
        }
        any
    }
    fn run(&mut self) {
        for _ in 0..2000 {
            if !self.once() {
                return;
            }
        }
    }
    fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.owner.tick(self.now);
        self.run();
        for c in 0..self.ch.len() {
            self.ch[c].tick(&mut self.t, &self.shared, self.now);
            self.ready(c);
        }
        self.run();
    }
    fn st(&self, r: u32) -> RegionState {
        self.shared.regions.load(r).state()
    }
    fn write_all(&mut self, c: usize, op: Op, block: u64, blocks: u32) -> u32 {
        let id = self.submit(c, op, block, blocks);
        self.run();
        while let Some(at) = self.sends.iter().position(|x| x.1 == id) {
            let (sl, _) = self.sends.remove(at);
            self.child(c, id, sl, Ok(()));
            self.run();
        }
        id
    }
    fn outcome(&self, id: u32) -> Option<Outcome> {
        self.done.iter().find(|d| d.0 == id).map(|d| d.1)
    }
}
fn opt() -> Options {
    Options { leg_timeout_ms: 1000, clear_idle_ms: 100, ..Options::default() }
}
const IN: LegState = LegState::InSync;

#[test]
fn zeroing_that_was_overtaken_says_nothing_of_its_region() {
    let mut w = Bench::new(1, 4, true, LogType::Core, opt(), &[IN, IN]);
    let zeroing = w.submit(0, Op::WriteZeroes, 0, 8);
    w.run();
    w.child(0, zeroing, 0, Ok(()));
    // Its other leg hangs, goes out, and is passed by a write.
    assert!(w.owner.take_leg_out(s(1)));
    w.run();
    w.sends.clear();
    let write = w.write_all(0, Op::Write, 2, 1);
    assert_eq!(w.outcome(write), Some(Outcome::GOOD));
    w.child(0, zeroing, 1, Err(Fault::Failed));
    w.run();
    assert_eq!(w.outcome(zeroing), Some(Outcome::GOOD));
    for _ in 0..10 {
        w.tick(100);
    }
    assert_eq!(w.st(0), RegionState::Clean);
    let read = w.submit(0, Op::Read, 2, 1);
    assert_eq!((w.outcome(read), w.sends.last()), (None, Some(&(0, read))), "a leg is asked");
}

#[test]
fn a_region_with_a_block_that_no_leg_reads_is_not_reconciled() {
    let mut w = Bench::new(1, 4, true, LogType::Core, opt(), &[IN, IN]);
    let write = w.submit(0, Op::Write, 0, 1);
    w.run();
    w.ch[0].abort(&mut w.t, &w.shared, write);
    w.auto = |_, io| !matches!(io, Io::CopyRead { .. });
    w.child(0, write, 0, Err(Fault::Aborted));
    w.child(0, write, 1, Ok(()));
    w.run();
    let first = Geometry::metadata_blocks(512, 4, LogType::Internal);
    while let Some(at) = w.ios.iter().position(|io| matches!(io.2, Io::CopyRead { .. })) {
        let (op, _, io) = w.ios.remove(at).unwrap();
        let bad = matches!(io, Io::CopyRead { block, .. } if block == first);
        w.owner.done(op, if bad { Err(Fault::Failed) } else { Ok(()) });
        w.run();
    }
    assert_eq!(w.st(0), RegionState::Unread);
    // Reads keep to one leg, whatever the policy would choose.
    let mut legs = std::collections::BTreeSet::new();
    for _ in 0..4 {
        w.submit(0, Op::Read, 0, 1);
        legs.insert(w.sends.last().unwrap().0);
    }
    assert_eq!(legs.len(), 1);
}

#[test]
fn suspended_is_said_when_nothing_is_under_way() {
    let mut w = Bench::new(2, 4, true, LogType::Core, opt(), &[IN, IN]);
    w.hold_pass = Some(Pass::Drain);
    w.owner.suspend();
    w.run();
    w.owner.resume();
    w.run();
    let write = w.submit(0, Op::Write, 0, 1);
    w.run();
    assert!(!w.sends.is_empty());
    w.owner.suspend();
    w.hold_pass = None;
    // The pass of the first suspension went by before the write.
    w.owner.pass_swept(Pass::Drain, 0);
    w.run();
    assert!(!w.events.contains(&Event::Suspended));
    w.child(0, write, 0, Ok(()));
    w.child(0, write, 1, Ok(()));
    w.run();
    assert!(w.events.contains(&Event::Suspended));
}
