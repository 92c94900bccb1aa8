//! The word that says which legs serve.

use crate::LegMask;
use crate::sync::{AtomicU64, Ordering};

/// Which legs are read and which are written, at one moment.
///
/// The control path makes a new value for each change and publishes it in a [`PublishedLegSet`]; an I/O takes the value
/// that it finds at submission and keeps to it.
///
/// Layout of the word: bits 0..16 readable legs (in sync), bits 16..32 writable legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegSet(u64);

impl LegSet {
    /// No leg serves: every I/O fails at once.
    pub const OFFLINE: Self = Self(0);

    /// All these legs are in sync.
    #[must_use]
    pub const fn in_sync(legs: LegMask) -> Self {
        Self(legs.bits() as u64 | (legs.bits() as u64) << 16)
    }

    /// Legs that may serve a read.
    #[must_use]
    #[inline]
    pub const fn readable(self) -> LegMask {
        LegMask::from_bits(self.0 as u16)
    }

    /// Legs that every write goes to.
    #[must_use]
    #[inline]
    pub const fn writable(self) -> LegMask {
        LegMask::from_bits((self.0 >> 16) as u16)
    }
}

/// The leg set as all channels see it: written by the control path, read by every I/O.
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
        word.publish(LegSet::OFFLINE);
        assert!(word.load().readable().is_empty());
        assert!(word.load().writable().is_empty());
    }
}
