//! Regions that several channels write.

use crate::bench::Table;
use crate::interrupted::Interrupted;
use mirror_engine::*;
use std::cell::{Cell, RefCell};

/// Region 0 is written by several channels, and becomes clean at the n-th look that a channel takes at the write which it
/// submits: how the write goes on, and whether it took so many looks.
fn cleaned_at_look(looks: u32) -> (ChannelStep, Option<Report>, bool) {
    let shared = Shared::new(SharedSizes { regions: 4, region_shift: 3, blocks: 32, channels: 2, reports: 64 });
    shared.legs.publish(LegSet::in_sync(LegMask::first(2)));
    shared.regions.set(0, RegionState::Dirty, Writer::SHARED);
    let limits = ChannelLimits { parked_max: 64, leg_timeout_ms: 1000, mark_ahead_regions: 0 };
    let mut channel = Channel::<u32>::new(0, limits).unwrap();
    let mut cleaned = || shared.regions.set(0, RegionState::Clean, Writer::NOBODY);
    let mut ios = Interrupted {
        table: Table(vec![HostIo::new(Op::Write, 2, 1, 0)]),
        looks_left: Cell::new(Some(looks)),
        event: RefCell::new(&mut cleaned),
    };
    let step = channel.submit(&mut ios, &shared, 0, 0);
    let interrupted = ios.looks_left.get().is_none();
    assert!(step == ChannelStep::Send || shared.ranges.is_empty(), "what waits holds nothing, after {looks} looks");
    (step, shared.reports.pop(), interrupted)
}

/// Once showed: a write that found its region changed when its range was its own gave that back and was parked without
/// asking for what the region wanted then: that was left to a tick.
#[test]
fn a_write_that_gives_its_range_back_asks_for_what_its_region_wants() {
    let (mut looks, mut asked) = (0, 0);
    loop {
        match cleaned_at_look(looks) {
            (_, _, false) => break,
            (ChannelStep::Wait, report, true) => {
                assert_eq!(report, Some(Report::Mark { channel: 0, first: 0, last: 0 }), "after {looks} looks");
                asked += 1;
            }
            (step, ..) => assert_eq!(step, ChannelStep::Send),
        }
        looks += 1;
    }
    assert!(asked > 3 && looks > asked, "before, between and after the two looks: {asked} of {looks}");
}
