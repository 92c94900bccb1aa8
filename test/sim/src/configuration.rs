//! Small mirrors and what their hosts do, to be explored in every order of events.

use crate::world::Setup;
use mirror_engine::format::LogType;
use mirror_engine::options::InitialSync;
use mirror_engine::read_policy::ReadPolicy;
use mirror_engine::{LegMask, Op};
use std::ops::Range;

/// A host I/O: on a channel, of some blocks.
pub type HostIo = (usize, Op, Range<u64>);

/// A mirror of two legs with three regions of two blocks, the last one short by one, and what its host does, in this
/// order.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub name: &'static str,
    pub channels: usize,
    pub initial_sync: InitialSync,
    pub ios: Vec<HostIo>,
    /// How often 100 ms pass.
    pub ticks: u32,
    /// One write of the host may fail on the second leg.
    pub write_error: bool,
    /// How often a leg that is out comes back.
    pub admissions: u32,
}

impl Configuration {
    pub fn setup(&self) -> Setup {
        Setup {
            legs: 2,
            channels: self.channels,
            regions: 3,
            small_units: false,
            region_blocks: 2,
            short_by: 1,
            log: LogType::Internal,
            initial_sync: self.initial_sync,
            write_through: false,
            leased: false,
            mark_ahead_regions: 0,
            read_policy: ReadPolicy::LeastOutstanding,
            slow_leg: None,
            slow_leg_eject_sec: 0,
            cacheless: LegMask::NONE,
            recoverable: true,
            host_ios_max: self.ios.len(),
            reports_max: 64,
            parked_max: 64,
            steps_max: 0,
        }
    }

    fn new(name: &'static str, ios: Vec<HostIo>) -> Self {
        let channels = ios.iter().map(|(channel, ..)| channel + 1).max().unwrap_or(1);
        Self { name, channels, initial_sync: InitialSync::None, ios, ticks: 3, write_error: false, admissions: 0 }
    }

    /// All that are explored.
    pub fn all() -> Vec<Self> {
        use Op::{Flush, Read, Unmap, Write};
        let plain = |name, ios| Self::new(name, ios);
        let failing = |name, ios| Self { write_error: true, ..Self::new(name, ios) };
        let returning = |name, ios| Self { admissions: 1, ..failing(name, ios) };
        vec![
            plain("two regions, then a flush", vec![(0, Write, 1..3), (0, Flush, 0..1)]),
            plain("the short region twice", vec![(0, Write, 4..5), (0, Write, 4..5)]),
            plain("one region from two channels", vec![(0, Write, 0..1), (1, Write, 0..2)]),
            plain("a region written and unmapped", vec![(0, Write, 0..1), (0, Unmap, 0..2), (0, Write, 0..1)]),
            plain("a write and a read on two channels", vec![(0, Write, 0..2), (1, Read, 0..2)]),
            Self { initial_sync: InitialSync::Blank, ..plain("the first write of a region", vec![(0, Write, 2..3)]) },
            failing("a write error", vec![(0, Write, 0..1)]),
            failing("a write error, then a flush", vec![(0, Write, 0..1), (0, Flush, 0..1)]),
            returning("a leg comes back", vec![(0, Write, 0..1)]),
            returning("a leg comes back while the host writes", vec![(0, Write, 0..1), (0, Write, 0..2)]),
        ]
    }
}
