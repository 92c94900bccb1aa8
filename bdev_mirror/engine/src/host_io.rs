//! One host I/O: all that the engine knows of it.

use crate::{Join, LegMask, Report};
use std::ops::{Range, RangeInclusive};

/// Most regions that one host I/O may touch; longer ones are split before they come here. Bounds every loop over the
/// regions of an I/O.
pub const MAX_REGIONS_PER_IO: u32 = 32;

/// What the host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Read blocks.
    Read,
    /// Write blocks.
    Write,
    /// Make blocks read as zeros.
    WriteZeroes,
    /// Give blocks up; they read as zeros afterwards, since the mirror sends zeroes or a leg is known to read zeros.
    Unmap,
    /// Make durable what was completed before.
    Flush,
}

impl Op {
    /// Whether it changes blocks.
    #[must_use]
    #[inline]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::WriteZeroes | Self::Unmap)
    }

    /// Whether it changes blocks to zeros.
    #[must_use]
    #[inline]
    pub const fn is_zeroing(self) -> bool {
        matches!(self, Self::WriteZeroes | Self::Unmap)
    }
}

/// Where an I/O is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Not with the channel: new, or ended.
    #[default]
    Outside,
    /// On the list of those that wait; it holds nothing.
    Parked,
    /// On the list of those under way: children are to send, in flight, or all done while the owner judges.
    UnderWay,
}

/// How a host I/O ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Well. `zeroed` are the regions of a read, counted from its first one, whose part of the buffer is to be filled
    /// with zeros now: they were never written.
    Good {
        /// One bit a region.
        zeroed: u32,
    },
    /// With an error.
    Failed(Failure),
}

impl Outcome {
    /// Well, with nothing to fill.
    pub const GOOD: Self = Self::Good { zeroed: 0 };
}

/// Why a host I/O failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No leg is in service.
    Offline,
    /// No leg could do it; the error of the first one that could not goes to the host.
    Legs,
    /// Every leg refused it for what it asks: nothing was changed.
    Refused,
    /// The host aborted it.
    Aborted,
    /// Nothing can be recorded on the last leg: writes cannot be made safe.
    NoRecord,
    /// More wait than may: the host is to try again.
    Busy,
}

/// A host I/O on its way. Lives in the driver's context of the bdev_io, allocated with it.
#[derive(Clone, Debug, Hash)]
pub struct HostIo<Id> {
    pub(crate) op: Op,
    pub(crate) place: Place,
    /// Flush after the data, before completing: FUA, or a mirror with `write_through`.
    pub(crate) through: bool,
    /// The flush after the data is what is under way now.
    pub(crate) flushing: bool,
    /// Its ranges are in the shared table.
    pub(crate) claimed: bool,
    /// The host wants it back.
    pub(crate) aborted: bool,
    /// Some failure was nobody's fault: the command's own, or an abort.
    pub(crate) unblamed: bool,
    /// Others were let past it while it waited for legs that were out: it says nothing of what its blocks hold now.
    pub(crate) overtaken: bool,
    /// A younger write was found to wait for this one: it is looked at when this one is gone.
    pub(crate) awaited: bool,
    /// A child was cut short by our reset and is sent again: it may have been done in part, whatever comes of it then.
    pub(crate) cut_short: bool,
    /// The number of its last report that the owner has to handle first; 0 is none.
    pub(crate) report: u64,
    pub(crate) block: u64,
    pub(crate) blocks: u32,
    pub(crate) zeroed: u32,
    /// Resets of the channel that had begun when its children were sent.
    pub(crate) resets: u32,
    pub(crate) join: Join,
    /// Legs that it was meant for, of the leg set at submission.
    pub(crate) sent: LegMask,
    /// Reads: legs that failed it.
    pub(crate) tried: LegMask,
    /// Legs that failed it and are to blame.
    pub(crate) blamed: LegMask,
    pub(crate) started_ms: u64,
    /// Names its ranges in the shared table.
    pub(crate) key: u64,
    pub(crate) previous: Option<Id>,
    pub(crate) next: Option<Id>,
}

impl<Id> HostIo<Id> {
    /// An I/O as it comes from the host. `blocks` is at least 1, and the range lies in the mirror and
    /// touches at most [`MAX_REGIONS_PER_IO`] regions (a flush has no range).
    #[must_use]
    #[inline]
    pub fn new(op: Op, block: u64, blocks: u32, now_ms: u64) -> Self {
        Self {
            op,
            place: Place::Outside,
            through: false,
            flushing: false,
            claimed: false,
            aborted: false,
            unblamed: false,
            overtaken: false,
            awaited: false,
            cut_short: false,
            report: 0,
            block,
            blocks,
            zeroed: 0,
            resets: 0,
            join: Join::new(LegMask::NONE),
            sent: LegMask::NONE,
            tried: LegMask::NONE,
            blamed: LegMask::NONE,
            started_ms: now_ms,
            key: 0,
            previous: None,
            next: None,
        }
    }

    /// With a flush of every leg before it completes.
    #[must_use]
    pub fn write_through(mut self, through: bool) -> Self {
        self.through = through && self.op.is_write();
        self
    }

    /// What its children are: the host's operation, or the flush that follows a write through.
    #[must_use]
    #[inline]
    pub fn child_op(&self) -> Op {
        if self.flushing { Op::Flush } else { self.op }
    }

    /// Its blocks, of the mirror.
    #[must_use]
    #[inline]
    pub fn range(&self) -> Range<u64> {
        self.block..self.block + u64::from(self.blocks)
    }

    /// The regions that it touches.
    #[must_use]
    #[inline]
    pub fn regions(&self, region_shift: u32) -> RangeInclusive<u32> {
        let first = (self.block >> region_shift) as u32;
        let last = ((self.block + u64::from(self.blocks.max(1)) - 1) >> region_shift) as u32;
        if crate::mutant::mutant!(ForgetSecondRegion) {
            return first..=first;
        }
        first..=last
    }

    /// Legs that have it: sent, done, and without an error.
    #[must_use]
    pub(crate) fn good(&self) -> LegMask {
        self.sent.minus(self.join.bad()).minus(self.join.pending())
    }

    /// What the owner is to judge it by.
    pub(crate) fn bad_report(&self, channel: u16, region_shift: u32) -> Report {
        let regions = self.op.is_write().then(|| self.regions(region_shift));
        Report::Bad {
            channel,
            blamed: self.blamed,
            good: self.good(),
            unblamed: self.unblamed,
            regions: regions.map(|regions| (*regions.start(), *regions.end())),
        }
    }

    /// Whether the ranges have a block in common.
    #[must_use]
    #[inline]
    pub(crate) fn overlaps(&self, other: &Range<u64>) -> bool {
        let range = self.range();
        range.start < other.end && other.start < range.end
    }
}
