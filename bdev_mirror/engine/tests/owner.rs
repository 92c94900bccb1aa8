//! What the owner does and when, played by hand: channels are reports, and every I/O ends at once.

use mirror_engine::format::{Geometry, LegRecord, LegState, LogType};
use mirror_engine::maps::Maps;
use mirror_engine::*;
use std::sync::Arc;
use uuid::Uuid;

/// Blocks of a region, and where the data begins on a leg.
const REGION: u64 = 8;
const REGIONS: u32 = 4;

struct Bench {
    shared: Arc<Shared>,
    owner: Owner,
    now_ms: u64,
    ios: Vec<(Device, Io)>,
    events: Vec<Event>,
}

fn slot(index: usize) -> Slot {
    Slot::new(index).unwrap()
}

fn data_offset() -> u64 {
    Geometry::metadata_blocks(512, REGIONS, LogType::Internal)
}

fn start_leg(index: usize) -> StartLeg {
    let record = LegRecord {
        uuid: Uuid::from_u128(index as u128 + 1),
        state: LegState::InSync,
        last_in_sync: 1,
        blocks: 1 << 20,
        ..LegRecord::default()
    };
    StartLeg { slot: slot(index), record, next_copy: 0 }
}

impl Bench {
    /// Two legs in sync, all regions written and clean.
    fn new(options: Options) -> Self {
        let blocks = u64::from(REGIONS) * REGION;
        let geometry = Geometry { block_bytes: 512, blocks, region_blocks: REGION, data_offset_blocks: data_offset() };
        let sizes = SharedSizes { regions: REGIONS, region_shift: 3, blocks, channels: 2, reports: 64 };
        let shared = Arc::new(Shared::new(sizes));
        let start = Start {
            maps: Maps::of_new(&geometry, true),
            config: Config {
                mirror: Uuid::from_u128(9),
                name: "m".into(),
                geometry,
                log: LogType::Internal,
                log_uuid: Uuid::nil(),
                owner: OwnerId { machine: Uuid::from_u128(1), boot: Uuid::from_u128(2), instance: Uuid::from_u128(3) },
                unknown_compatible: 0,
            },
            options,
            legs: vec![start_leg(0), start_leg(1)],
            generation: 1,
            sequence: 0,
            heartbeat: 0,
            log_lost: false,
            new_log: None,
            source: None,
            now_ms: 1000,
        };
        let owner = Owner::start(Arc::clone(&shared), start);
        let mut bench = Self { shared, owner, now_ms: 1000, ios: Vec::new(), events: Vec::new() };
        bench.run();
        bench.ios.clear();
        bench
    }

    fn run(&mut self) {
        loop {
            match self.owner.next_action() {
                Some(Action::Io { op, device, io }) => {
                    self.ios.push((device, io));
                    self.owner.done(op, Ok(()));
                }
                Some(Action::Pass(pass)) => self.owner.pass_swept(pass, 0),
                Some(Action::Event(event)) => self.events.push(event),
                Some(_) => {}
                None if self.owner.take_report().is_some() => {}
                None => return,
            }
        }
    }

    fn report(&mut self, report: Report) {
        self.shared.send(report).unwrap();
        self.run();
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms;
        self.owner.tick(self.now_ms);
        self.run();
    }

    fn states(&self) -> Vec<RegionState> {
        self.shared.regions.iter_states().map(|(_, state)| state).collect()
    }

    /// Copies so far: the slot, whether it was written, the first block of the mirror, and how many.
    fn copies(&self) -> Vec<(usize, bool, u64, u32)> {
        let copies = self.ios.iter().filter_map(|(device, io)| match (device, io) {
            (Device::Leg(slot), &Io::CopyRead { block, blocks, .. }) => Some((slot.index(), false, block, blocks)),
            (Device::Leg(slot), &Io::CopyWrite { block, blocks, .. }) => Some((slot.index(), true, block, blocks)),
            _ => None,
        });
        copies.map(|(slot, written, block, blocks)| (slot, written, block - data_offset(), blocks)).collect()
    }
}

fn mark(first: u32, last: u32) -> Report {
    Report::Mark { channel: 0, first, last }
}

#[test]
fn within_the_budget_a_dirty_region_rests_before_it_is_cleared() {
    let options = Options { clear_idle_ms: 100, dirty_budget_regions: Some(1), ..Options::default() };
    let mut bench = Bench::new(options);
    bench.report(mark(0, 0));
    assert_eq!(bench.states()[0], RegionState::Dirty);
    bench.tick(1000);
    assert_eq!(bench.states()[0], RegionState::Flushing);
    bench.tick(99);
    assert_eq!(bench.states()[0], RegionState::Flushing);
    bench.tick(1);
    assert_eq!(bench.states()[0], RegionState::Clean);
    // The next one begins half as much time later.
    bench.report(mark(0, 0));
    bench.tick(49);
    assert_eq!(bench.states()[0], RegionState::Dirty);
    bench.tick(1);
    assert_eq!(bench.states()[0], RegionState::Flushing);
}

#[test]
fn beyond_the_budget_nothing_rests() {
    let options = Options { clear_idle_ms: 100, dirty_budget_regions: Some(1), ..Options::default() };
    let mut bench = Bench::new(options);
    bench.report(mark(0, 1));
    bench.tick(1000);
    assert_eq!(bench.states()[..2], [RegionState::Clean; 2]);
}

#[test]
fn blocks_that_a_leg_cannot_read_are_written_anew_and_no_others() {
    let mut bench = Bench::new(Options::default());
    bench.report(Report::ReadBad { channel: 0, slot: slot(1), block: 3, blocks: 2 });
    assert_eq!(bench.copies(), [(0, false, 3, 2), (1, true, 3, 2)]);
    let repaired = Event::Repaired { slot: slot(1), block: 3, blocks: 2 };
    assert!(bench.events.contains(&repaired), "{:?}", bench.events);
    assert_eq!(bench.shared.legs.load().readable(), LegMask::first(2));
}

#[test]
fn a_leg_that_returns_is_given_what_it_lacks_in_whole_chunks() {
    let mut bench = Bench::new(Options::default());
    assert!(bench.owner.take_leg_out(slot(1)));
    bench.run();
    bench.report(mark(2, 2));
    bench.ios.clear();
    let admission = Admission {
        uuid: Uuid::from_u128(2),
        identity: Uuid::nil(),
        blocks: 1 << 20,
        next_copy: 0,
        sequence: 1,
        generation: 1,
        own_intent: Some(Bits::new(REGIONS, false)),
        full: false,
    };
    assert!(bench.owner.admit(slot(1), admission));
    bench.run();
    for _ in 0..10 {
        bench.tick(100);
    }
    assert_eq!(bench.copies(), [(0, false, 16, 8), (1, true, 16, 8)]);
    assert!(bench.events.contains(&Event::LegInSync { slot: slot(1) }), "{:?}", bench.events);
    assert_eq!(bench.shared.legs.load().readable(), LegMask::first(2));
}
