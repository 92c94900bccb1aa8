//! What the owner and the channels of a mirror share.

use crate::read_policy::PublishedReadRules;
use crate::{
    LegMask, LegSet, PublishedLegSet, RangeTable, RegionMap, RegionState, RegionWord, Report, Windows, Writer,
};
use crossbeam_queue::ArrayQueue;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// How large the shared parts are.
#[derive(Clone, Copy, Debug)]
pub struct SharedSizes {
    /// Regions of the mirror.
    pub regions: u32,
    /// Blocks of a region as a power of two.
    pub region_shift: u32,
    /// Blocks of the mirror.
    pub blocks: u64,
    /// Most channels open at a time; their numbers are below this.
    pub channels: u16,
    /// Reports that fit the queue to the owner; a channel whose report does not fit tries again.
    pub reports: usize,
}

/// Counts of one channel's reports: how many it sent, and how many of these the owner has handled.
#[derive(Debug, Default)]
struct Reports {
    sent: AtomicU64,
    handled: AtomicU64,
}

/// Shared by the owner, who writes nearly all of it, and the channels, who read it. Nothing in it waits or locks.
#[derive(Debug)]
pub struct Shared {
    /// Which legs serve.
    pub legs: PublishedLegSet,
    /// Which of them serves a read.
    pub read_rules: PublishedReadRules,
    /// The state of every region.
    pub regions: RegionMap,
    /// Write ranges in regions that several channels write.
    pub ranges: RangeTable,
    /// Block ranges that are being copied.
    pub windows: Windows,
    /// From the channels to the owner.
    pub reports: ArrayQueue<Report>,
    /// No write is submitted from this time on; looked at only where the published word says so.
    pub lease_until_ms: AtomicU64,
    /// Legs that are sent flushes.
    flushed_legs: AtomicU16,
    /// The leg that suspect regions are read from, as a mask.
    source: AtomicU16,
    counts: Box<[Reports]>,
    /// Blocks of a region as a power of two.
    pub region_shift: u32,
    /// Blocks of the mirror.
    pub blocks: u64,
}

/// Shards of the table of write ranges, and entries of each.
const RANGE_SHARDS: usize = 64;
const RANGE_ENTRIES: usize = 32;

impl Shared {
    /// For a mirror that does not serve yet.
    #[must_use]
    pub fn new(sizes: SharedSizes) -> Self {
        Self {
            legs: PublishedLegSet::new(LegSet::OFFLINE),
            read_rules: PublishedReadRules::default(),
            regions: RegionMap::new(sizes.regions, RegionWord::new(RegionState::Clean, Writer::NOBODY)),
            ranges: RangeTable::new(RANGE_SHARDS.min(sizes.regions as usize), RANGE_ENTRIES),
            windows: Windows::default(),
            reports: ArrayQueue::new(sizes.reports.max(1)),
            lease_until_ms: AtomicU64::new(u64::MAX),
            flushed_legs: AtomicU16::new(0),
            source: AtomicU16::new(0),
            counts: (0..sizes.channels).map(|_| Reports::default()).collect(),
            region_shift: sizes.region_shift,
            blocks: sizes.blocks,
        }
    }

    /// Legs that are sent flushes: the others have no volatile cache, or no flush that would reach it.
    #[inline]
    pub fn flushed_legs(&self) -> LegMask {
        LegMask::from_bits(self.flushed_legs.load(Ordering::Relaxed))
    }

    /// The leg that alone may serve regions that could not be reconciled; none if there is no choice.
    #[inline]
    pub fn source(&self) -> LegMask {
        LegMask::from_bits(self.source.load(Ordering::Acquire))
    }

    /// Says which leg that is.
    pub fn set_source(&self, legs: LegMask) {
        self.source.store(legs.bits(), Ordering::Release);
    }

    /// Says which legs are sent flushes.
    pub fn set_flushed_legs(&self, legs: LegMask) {
        self.flushed_legs.store(legs.bits(), Ordering::Relaxed);
    }

    /// Queues a report and gives its number among those of its channel, from 1; `None` if the queue is full.
    pub fn send(&self, report: Report) -> Option<u64> {
        let sent = &self.counts[usize::from(report.channel())].sent;
        self.reports.push(report).ok()?;
        // Only this channel's thread writes it.
        let number = sent.load(Ordering::Relaxed) + 1;
        sent.store(number, Ordering::Relaxed);
        Some(number)
    }

    /// Whether the owner has handled this channel's report of that number. What it published for it is then seen.
    #[inline]
    pub fn is_handled(&self, channel: u16, number: u64) -> bool {
        self.counts[usize::from(channel)].handled.load(Ordering::Acquire) >= number
    }

    /// The owner has handled one more report of the channel.
    pub fn count_handled(&self, channel: u16) {
        let handled = &self.counts[usize::from(channel)].handled;
        handled.store(handled.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// All of it as it is now, apart from this: for the simulator, which goes on from one state in several ways, while no
    /// call is under way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let reports = ArrayQueue::new(self.reports.capacity());
        for report in self.queued() {
            // It has the same capacity.
            let _ = reports.push(report);
        }
        let counts = self.counts.iter().map(|count| Reports {
            sent: AtomicU64::new(count.sent.load(Ordering::Relaxed)),
            handled: AtomicU64::new(count.handled.load(Ordering::Relaxed)),
        });
        Self {
            legs: PublishedLegSet::new(self.legs.load()),
            read_rules: PublishedReadRules::new(self.read_rules.load()),
            regions: self.regions.fork(),
            ranges: self.ranges.fork(),
            windows: self.windows.fork(),
            reports,
            lease_until_ms: AtomicU64::new(self.lease_until_ms.load(Ordering::Relaxed)),
            flushed_legs: AtomicU16::new(self.flushed_legs.load(Ordering::Relaxed)),
            source: AtomicU16::new(self.source.load(Ordering::Relaxed)),
            counts: counts.collect(),
            region_shift: self.region_shift,
            blocks: self.blocks,
        }
    }

    /// The reports in the queue, which are taken out and put in again.
    fn queued(&self) -> Vec<Report> {
        let queued: Vec<_> = std::iter::from_fn(|| self.reports.pop()).collect();
        for report in &queued {
            // They were in it.
            let _ = self.reports.push(*report);
        }
        queued
    }

    /// Adds all of it to a fingerprint, while no call is under way.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        (self.legs.load(), self.read_rules.load()).hash(hasher);
        self.regions.hash_into(hasher);
        self.ranges.hash_into(hasher);
        self.windows.hash_into(hasher);
        self.queued().hash(hasher);
        for count in &self.counts {
            (count.sent.load(Ordering::Relaxed), count.handled.load(Ordering::Relaxed)).hash(hasher);
        }
        self.lease_until_ms.load(Ordering::Relaxed).hash(hasher);
    }
}
