//! The word that says which legs serve.

use crate::LegMask;
use crate::sync::{AtomicU64, Ordering};

/// Which legs are read and which are written, and what I/O has to look at besides, at one moment.
///
/// The owner makes a new value for each change and publishes it in a [`PublishedLegSet`]. An I/O is meant for the legs of the
/// value that it finds at submission; a child goes out only if its leg is writable at that moment; whether a write may be
/// acknowledged is asked of the value in force at its end.
///
/// Layout of the word: bits 0..16 readable legs, 16..32 writable legs, 32..48 required legs, 48..64 flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegSet(u64);

/// Every leg that is not required is durably recorded as out.
const RECORDED: u64 = 1 << 48;
/// No record can be made durable on any leg: nothing may be acknowledged that some leg missed.
const STUCK: u64 = 1 << 49;
/// Reads have to look at the regions: some are unwritten, or their copies may differ.
const LOOK: u64 = 1 << 50;
/// New I/O waits: the mirror is suspended or stops.
const SUSPENDED: u64 = 1 << 51;
/// Writes have to look at the owner's lease.
const LEASED: u64 = 1 << 52;

impl LegSet {
    /// No leg serves: every I/O fails at once.
    pub const OFFLINE: Self = Self(0);

    /// All these legs are in sync, and nothing else is to be said.
    #[must_use]
    pub const fn in_sync(legs: LegMask) -> Self {
        Self::new(legs, legs, legs).with_recorded(true)
    }

    /// Legs that are read, written and required, without any flag.
    #[must_use]
    pub const fn new(readable: LegMask, writable: LegMask, required: LegMask) -> Self {
        Self(readable.bits() as u64 | (writable.bits() as u64) << 16 | (required.bits() as u64) << 32)
    }

    const fn with(self, flag: u64, on: bool) -> Self {
        if on { Self(self.0 | flag) } else { Self(self.0 & !flag) }
    }

    /// With or without: every leg that is not required is durably recorded as out.
    #[must_use]
    pub const fn with_recorded(self, on: bool) -> Self {
        self.with(RECORDED, on)
    }

    /// With or without: no record can be made durable.
    #[must_use]
    pub const fn with_stuck(self, on: bool) -> Self {
        self.with(STUCK, on)
    }

    /// With or without: reads have to look at the regions.
    #[must_use]
    pub const fn with_look(self, on: bool) -> Self {
        self.with(LOOK, on)
    }

    /// With or without: new I/O waits.
    #[must_use]
    pub const fn with_suspended(self, on: bool) -> Self {
        self.with(SUSPENDED, on)
    }

    /// With or without: writes have to look at the owner's lease.
    #[must_use]
    pub const fn with_leased(self, on: bool) -> Self {
        self.with(LEASED, on)
    }

    /// Legs that may serve a read: in sync, and known to be so.
    #[must_use]
    #[inline]
    pub const fn readable(self) -> LegMask {
        LegMask::from_bits(self.0 as u16)
    }

    /// Legs that every write goes to: those in sync and those that a resync writes.
    #[must_use]
    #[inline]
    pub const fn writable(self) -> LegMask {
        LegMask::from_bits((self.0 >> 16) as u16)
    }

    /// Legs that every acknowledged write must have reached: those that some superblock may list as in sync. One that is
    /// about to be recorded as in sync is among them before it is readable.
    #[must_use]
    #[inline]
    pub const fn required(self) -> LegMask {
        LegMask::from_bits((self.0 >> 32) as u16)
    }

    /// Whether every leg that is not required is durably recorded as out.
    #[must_use]
    #[inline]
    pub const fn is_recorded(self) -> bool {
        self.0 & RECORDED != 0
    }

    /// Whether no record can be made durable.
    #[must_use]
    #[inline]
    pub const fn is_stuck(self) -> bool {
        self.0 & STUCK != 0
    }

    /// Whether reads have to look at the regions.
    #[must_use]
    #[inline]
    pub const fn must_look(self) -> bool {
        self.0 & LOOK != 0
    }

    /// Whether new I/O waits.
    #[must_use]
    #[inline]
    pub const fn is_suspended(self) -> bool {
        self.0 & SUSPENDED != 0
    }

    /// Whether writes have to look at the owner's lease.
    #[must_use]
    #[inline]
    pub const fn is_leased(self) -> bool {
        self.0 & LEASED != 0
    }

    /// Whether no leg serves.
    #[must_use]
    #[inline]
    pub const fn is_offline(self) -> bool {
        self.readable().is_empty()
    }
}

/// The leg set as all channels see it: written by the owner, read by every I/O.
#[derive(Debug)]
pub struct PublishedLegSet(AtomicU64);

impl PublishedLegSet {
    /// Starts with this set.
    #[must_use]
    pub fn new(set: LegSet) -> Self {
        Self(AtomicU64::new(set.0))
    }

    /// The set in force.
    #[inline]
    pub fn load(&self) -> LegSet {
        LegSet(self.0.load(Ordering::Acquire))
    }

    /// Takes effect for every I/O submitted from now on.
    pub fn publish(&self, set: LegSet) {
        self.0.store(set.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_seen() {
        let word = PublishedLegSet::new(LegSet::in_sync(LegMask::first(2)));
        assert_eq!(word.load().readable(), LegMask::first(2));
        assert_eq!(word.load().writable(), LegMask::first(2));
        assert_eq!(word.load().required(), LegMask::first(2));
        assert!(word.load().is_recorded());
        word.publish(LegSet::OFFLINE);
        assert!(word.load().is_offline());
        assert!(word.load().writable().is_empty());
    }

    #[test]
    fn flags_do_not_disturb_each_other() {
        let set = LegSet::new(LegMask::first(16), LegMask::first(16), LegMask::first(16));
        let all = set.with_recorded(true).with_stuck(true).with_look(true).with_suspended(true).with_leased(true);
        assert!(all.is_recorded() && all.is_stuck() && all.must_look() && all.is_suspended() && all.is_leased());
        let without = all.with_look(false);
        assert!(!without.must_look() && without.is_stuck() && without.is_leased());
        assert_eq!(without.required().len(), 16);
    }
}
