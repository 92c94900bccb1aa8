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
        Self::with_dirty(channels, regions, written, log, opt, states, 0)
    }
    /// With so many regions that a crash left dirty; then what copies read is held back.
    fn with_dirty(
        channels: usize,
        regions: u64,
        written: bool,
        log: LogType,
        opt: Options,
        states: &[LegState],
        dirty: u32,
    ) -> Bench {
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
        (0..dirty).for_each(|region| {
            maps.intent.set(region);
        });
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
        let lim = ChannelLimits { parked_max: 64, leg_timeout_ms: 1000 };
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
            auto: if dirty == 0 { |_, _| true } else { |_, io| !matches!(io, Io::CopyRead { .. }) },
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
        if self.owner.take_report() {
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
impl Bench {
    /// The base bdev of a slot comes back with the leg that was there.
    fn admit(&mut self, slot: usize) {
        let uuid = Uuid::from_u128(slot as u128 + 1);
        let (blocks, next_copy, sequence, generation) = (1 << 20, 0, 1, 1);
        let known = Admission {
            uuid,
            identity: Uuid::nil(),
            blocks,
            next_copy,
            sequence,
            generation,
            own_intent: None,
            full: false,
        };
        assert!(self.owner.admit(s(slot), known));
        self.run();
    }
    /// Ends the owner's I/O that is held back, all of it and what follows.
    fn end_held(&mut self, result: impl Fn(&Io) -> Result<(), Fault>) {
        while let Some((op, _, io)) = self.ios.pop_front() {
            self.owner.done(op, result(&io));
            self.run();
        }
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

#[test]
fn a_resync_gets_past_regions_that_may_not_be_copied() {
    // The first 1500 regions are suspect and cannot be read; more than are looked at in one go.
    let states = [IN, IN, LegState::Stale];
    let mut w = Bench::with_dirty(1, 1510, true, LogType::Core, opt(), &states, 1500);
    w.admit(2);
    let data = Geometry::metadata_blocks(512, 1510, LogType::Internal);
    let region_of = |io: &Io| match io {
        Io::CopyRead { block, .. } => (block - data) / 8,
        io => panic!("{io:?}"),
    };
    let mut read = std::collections::BTreeSet::new();
    for _ in 0..5 {
        while let Some((op, _, io)) = w.ios.pop_front() {
            let region = region_of(&io);
            read.insert(region);
            w.owner.done(op, if region < 1500 { Err(Fault::Failed) } else { Ok(()) });
            w.run();
        }
        w.tick(100);
    }
    assert_eq!(w.st(1499), RegionState::Unread);
    assert_eq!(read.range(1500..).count(), 10);
    // Now they can be read.
    for _ in 0..20 {
        w.tick(100);
        w.end_held(|_| Ok(()));
    }
    assert!(w.events.contains(&Event::LegInSync { slot: s(2) }));
}

#[test]
fn a_leg_is_not_given_what_was_never_written() {
    let mut w = Bench::new(1, 1 << 20, false, LogType::Core, opt(), &[IN, IN, LegState::Stale]);
    w.auto = |_, io| !matches!(io, Io::Zero { .. });
    // A first write is on its way when the leg comes back: its region is filled on the leg, or copied to it.
    let write = w.submit(0, Op::Write, 8, 1);
    w.run();
    w.admit(2);
    assert!(w.events.contains(&Event::ResyncStarted { slot: s(2), regions: 1 }), "{:?}", w.events);
    w.end_held(|_| Ok(()));
    assert_eq!(w.sends.iter().map(|send| send.0).collect::<Vec<_>>(), [0, 1, 2]);
    (0..3).for_each(|slot| w.child(0, write, slot, Ok(())));
    w.run();
    assert_eq!(w.outcome(write), Some(Outcome::GOOD));
    w.tick(100);
    assert!(w.events.contains(&Event::LegInSync { slot: s(2) }));
}

#[test]
fn a_first_write_waits_for_no_tick() {
    let mut w = Bench::new(1, 4, false, LogType::Internal, opt(), &[IN, IN]);
    let write = w.write_all(0, Op::Write, 8, 1);
    assert_eq!(w.outcome(write), Some(Outcome::GOOD));
}

#[test]
fn a_clearing_waits_for_no_tick_but_its_rest() {
    let mut w = Bench::new(1, 4, true, LogType::Internal, opt(), &[IN, IN]);
    w.write_all(0, Op::Write, 0, 1);
    w.tick(100);
    assert!(matches!(w.st(0), RegionState::Dirty | RegionState::Flushing));
    w.tick(100);
    assert_eq!(w.st(0), RegionState::Clean);
}

#[test]
fn progress_is_written_to_the_units_that_differ() {
    let regions = 10_000;
    let mut w = Bench::new(1, regions, true, LogType::Internal, opt(), &[IN, IN, LegState::Stale]);
    w.auto = |_, io| !matches!(io, Io::CopyRead { .. });
    w.admit(2);
    // The first regions are copied; what is read after them stays under way.
    for _ in 0..MAX_WINDOWS {
        let (op, _, io) = w.ios.pop_front().unwrap();
        assert!(matches!(io, Io::CopyRead { .. }));
        w.owner.done(op, Ok(()));
        w.run();
    }
    w.auto = |_, io| !matches!(io, Io::CopyRead { .. } | Io::Write { .. });
    w.tick(100);
    let off = Geometry::metadata_blocks(512, regions as u32, LogType::Internal);
    let geometry = Geometry { block_bytes: 512, blocks: regions * 8, region_blocks: 8, data_offset_blocks: off };
    assert_eq!(geometry.units_per_map(), 3);
    let writes = w.ios.iter().filter_map(|(_, device, io)| match io {
        Io::Write { block, .. } => Some((*device, *block)),
        _ => None,
    });
    let unit = geometry.unit_block(format::MapKind::OutOfSync(s(2)), 0);
    assert_eq!(writes.collect::<Vec<_>>(), [(Device::Leg(s(0)), unit), (Device::Leg(s(1)), unit)]);
}

/// Where the first I/O of the owner's that is held back was cut short by a reset.
fn cut_short(w: &mut Bench) -> (Device, Io) {
    let (op, device, io) = w.ios.pop_front().unwrap();
    w.owner.done(op, Err(Fault::Aborted));
    w.run();
    (device, io)
}

#[test]
fn what_a_reset_cut_short_is_sent_again_when_it_has_ended() {
    let mut w = Bench::new(1, 4, true, LogType::Internal, opt(), &[IN, IN]);
    w.auto = |device, _| *device != Device::Leg(s(0));
    let write = w.submit(0, Op::Write, 0, 1);
    w.run();
    let cut = cut_short(&mut w);
    assert_eq!((cut.0, w.ios.len()), (Device::Leg(s(0)), 0), "not into the reset");
    w.tick(100);
    assert_eq!(w.ios.iter().map(|io| (io.1, io.2.clone())).collect::<Vec<_>>(), std::slice::from_ref(&cut));
    cut_short(&mut w);
    w.owner.reset_ended(Device::Leg(s(1)));
    w.run();
    assert_eq!(w.ios.len(), 0, "another device's reset");
    w.owner.reset_ended(Device::Leg(s(0)));
    w.run();
    assert_eq!(w.ios.iter().map(|io| (io.1, io.2.clone())).collect::<Vec<_>>(), std::slice::from_ref(&cut));
    w.end_held(|_| Ok(()));
    assert_eq!(w.sends, [(0, write), (1, write)]);
}

#[test]
fn a_leg_that_fails_within_a_reset_comes_back() {
    let mut w = Bench::new(1, 4, true, LogType::Internal, opt(), &[IN, IN]);
    w.auto = |device, _| *device != Device::Leg(s(1));
    let write = w.submit(0, Op::Write, 0, 1);
    w.run();
    cut_short(&mut w);
    // Aborted again and again: its time counts from the first attempt.
    for _ in 0..10 {
        w.tick(100);
        for _ in 0..w.ios.len() {
            cut_short(&mut w);
        }
    }
    assert!(w.events.contains(&Event::LegFailed { slot: s(1), why: WhyOut::Hung }), "{:?}", w.events);
    assert_eq!(w.sends, [(0, write)]);
    w.child(0, write, 0, Ok(()));
    w.auto = |_, _| true;
    // Nothing of its former life is in flight.
    w.admit(1);
    for _ in 0..5 {
        w.tick(100);
    }
    assert!(w.events.contains(&Event::LegInSync { slot: s(1) }), "{:?}", w.events);
}

#[test]
fn that_the_last_leg_hangs_is_said_once() {
    let mut w = Bench::new(1, 4, true, LogType::Core, opt(), &[IN, LegState::Stale]);
    let said = |w: &Bench| w.events.iter().filter(|event| matches!(event, Event::LastLegStays { .. })).count();
    w.auto = |_, io| !matches!(io, Io::CopyRead { .. });
    w.admit(1);
    for _ in 0..50 {
        w.tick(100);
    }
    assert_eq!(said(&w), 1);
    assert!(w.owner.errors_of_last(s(0)) > 2);
    // It works again for a while, then hangs again.
    w.end_held(|_| Ok(()));
    for _ in 0..60 {
        w.tick(100);
    }
    assert_eq!(said(&w), 1);
    assert!(w.events.contains(&Event::LegInSync { slot: s(1) }), "{:?}", w.events);
    assert!(w.owner.take_leg_out(s(1)));
    w.run();
    w.ch[0].wake(&mut w.t, &w.shared);
    let write = w.submit(0, Op::Write, 0, 1);
    w.run();
    w.child(0, write, 0, Ok(()));
    w.run();
    w.admit(1);
    for _ in 0..50 {
        w.tick(100);
    }
    assert_eq!(said(&w), 2);
}
