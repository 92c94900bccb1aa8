//! Regions on their way from dirty to clean.

use crate::bench::Setup;
use mirror_engine::format::LogType;
use mirror_engine::*;

/// Once showed: a region that was closed for its clearing stayed closed up to the next tick, and writes to it waited.
#[test]
fn a_clearing_waits_for_no_tick_but_its_rest() {
    let mut bench = Setup { log: LogType::Internal, ..Setup::default() }.start();
    bench.complete(0, Op::Write, 0, 1);
    bench.tick(100);
    assert!(matches!(bench.state(0), RegionState::Dirty | RegionState::Flushing));
    bench.tick(100);
    assert_eq!(bench.state(0), RegionState::Clean);
}

#[test]
fn without_an_option_a_quarter_of_the_regions_may_be_dirty_without_hurry() {
    for (marked, state) in [(1500, RegionState::Flushing), (2000, RegionState::Flushing), (2100, RegionState::Clean)] {
        let mut bench = Setup { regions: 8000, ..Setup::default() }.start();
        bench.shared.send(Report::Mark { channel: 0, first: 0, last: marked - 1 }).unwrap();
        bench.run();
        bench.tick(100);
        assert_eq!(bench.state(0), state, "{marked}");
    }
}
