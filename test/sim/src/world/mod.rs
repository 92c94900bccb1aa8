//! A mirror, its drives, its host and its operator.

mod admission;
mod boot;
mod check;
mod child;
mod engine;
mod fault;
mod finish;
mod flight;
mod fork;
mod host;
mod records;
mod recovery;
mod regions;
mod replacement;
mod setup;
mod status;
mod takeover;
mod truth;
mod wanted;

use crate::chooser::Chooser;
use crate::coverage::Coverage;
use crate::disk::{Block, Disk};
use crate::model::Model;
use engine::Running;
pub use setup::Setup;
use std::collections::{BTreeMap, BTreeSet};
use truth::Truth;

/// What went wrong, for a person.
pub type Verdict<T = ()> = Result<T, String>;

/// Where an I/O on a drive comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A child of a host I/O.
    Child { channel: usize, io: u32, slot: usize },
    /// The owner.
    Owner { op: u64 },
}

/// What a drive is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    Write {
        block: u64,
        data: Vec<Block>,
    },
    Read {
        block: u64,
        blocks: u64,
        buffer: Option<usize>,
    },
    /// Compares with what a buffer holds.
    Verify {
        block: u64,
        data: Vec<Block>,
    },
    Flush {
        clock: u64,
    },
}

/// An I/O in flight on a drive.
#[derive(Clone, Debug, Hash)]
pub struct Flight {
    pub drive: usize,
    pub work: Work,
    pub origin: Origin,
    /// The life of the leg that it was sent in.
    pub life: u32,
    pub slot: Option<usize>,
    pub since_ms: u64,
    /// It ends late.
    pub hung: bool,
    /// Our own reset cuts it short.
    pub aborted: bool,
}

impl Flight {
    /// Whether it is a host's zeros.
    pub fn is_zeroing(&self) -> bool {
        matches!(&self.work, Work::Write { data, .. } if data.first() == Some(&crate::disk::ZERO))
            && matches!(self.origin, Origin::Child { .. })
    }
}

/// What a history counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub steps: u64,
    pub crash_points: u64,
    pub boots: u64,
    pub power_cuts: u64,
    pub host_ios: u64,
    pub copies: u64,
}

/// All of it.
pub struct World {
    pub setup: Setup,
    pub chooser: Chooser,
    pub now_ms: u64,
    /// The owner's core stands still until then.
    pub owner_stalls_ms: u64,
    pub disks: Vec<Disk>,
    /// The drive in each slot, and the log's.
    pub slots: Vec<usize>,
    pub log: Option<usize>,
    pub flights: BTreeMap<u64, Flight>,
    pub next_flight: u64,
    pub running: Option<Running>,
    /// A mirror that stood still when another took its place, or is to.
    pub former: Option<takeover::Former>,
    pub model: Model,
    pub truth: Truth,
    pub counts: Counts,
    pub coverage: Coverage,
    pub next_value: u64,
    /// Faults may happen; not while a history is brought to its end.
    pub faults: bool,
    pub trace: Option<Vec<String>>,
    /// Drives whose clone is plugged in beside them at the next boot.
    pub clones: BTreeSet<usize>,
    /// Kinds of faults that do not happen: see `shrink.rs`.
    pub masked: u32,
}

impl World {
    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>5} {:>7} ms  {}", self.counts.steps, self.now_ms, line()));
        }
    }

    /// A history. It is looked at when it begins and after each of its steps.
    pub fn run(&mut self, mut look: impl FnMut(&mut Self)) -> Verdict {
        self.create()?;
        let steps = 60 + u64::from(self.chooser.below(self.setup.steps_max));
        look(self);
        for _ in 0..steps {
            self.step()?;
            self.check_status()?;
            look(self);
        }
        self.finish()
    }

    /// One thing happens.
    pub fn step(&mut self) -> Verdict {
        self.counts.steps += 1;
        if self.running.is_none() {
            return self.start_again();
        }
        if self.former.is_some() && self.chooser.percent(20) {
            return self.former_wakes();
        }
        // Weights: what is due, what the host does, what goes wrong.
        match self.chooser.below(100) {
            0..42 => self.complete_something(),
            42..56 => self.deliver_something(),
            56..75 => self.host_acts(),
            75..85 => self.time_goes_on(),
            85..89 => self.operator_acts(),
            89..98 => self.something_fails(),
            _ => self.crash_maybe(),
        }
    }

    /// Time goes on by a little, or by enough for what waits.
    pub fn time_goes_on(&mut self) -> Verdict {
        // Without faults nothing takes longer than it may.
        let steps: &[u64] = match (self.faults, self.flights.is_empty()) {
            (true, _) => &[1, 10, 40, 100, 100, 300, 1100],
            (false, true) => &[40, 100, 300],
            (false, false) => &[1, 5],
        };
        let ms = self.chooser.pick(steps).unwrap_or(1);
        if self.setup.recoverable {
            self.end_what_is_late(ms)?;
        }
        self.now_ms += ms;
        self.tick_all()
    }

    /// In the recoverable regime the first leg is never late.
    fn end_what_is_late(&mut self, ms: u64) -> Verdict {
        let due_ms = (self.now_ms + ms).saturating_sub(900);
        let late = |world: &Self| {
            let mut flights = world.flights.iter();
            flights.find(|(_, flight)| flight.drive == 0 && flight.since_ms <= due_ms).map(|(id, _)| *id)
        };
        while let Some(id) = late(self) {
            self.complete(id)?;
        }
        Ok(())
    }

    pub fn drive_of(&self, slot: usize) -> usize {
        self.slots[slot]
    }
}
