//! Ranges that are being copied and that host writes must stay out of.

use crate::sync::{AtomicU64, Ordering};
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// Most windows at a time: as many as one word has bits.
pub const MAX_WINDOWS: usize = 64;

/// Block ranges that host writes stay out of while they are copied: written by the owner alone, read by all channels.
///
/// The owner opens a window in this order: [`set`](Self::set), COPYING in the words of its regions, a pass through all
/// channels; it copies when each has answered that the writes it had sent before are done. After the copy it clears
/// COPYING and the window, and then wakes all channels.
///
/// A channel may look ([`overlaps`](Self::overlaps)) while the owner sets or clears. What it may then see of that
/// window is the old range, the new one, none, or the start of one with the end of the other, and each is safe:
///
/// * It misses a window that is being set: then it has not answered the pass for it yet, so its write is among those
///   that the answer waits for, and the copy comes later. From its answer on it misses nothing: all of `set` happened
///   before the message of the pass, so the bit, start and end that it reads are those of this window or later ones.
/// * Later ones, of the same index, are there only after the window was cleared, that is after its copy: whoever reads
///   any of them (Acquire, stored with Release) comes after that copy and may miss the old window; and for the new one
///   it has not answered yet, as above.
/// * It sees a window that is just being cleared, or a mixture: then its write is parked for nothing. The owner's
///   wake-up follows the clear, and the channel handles it after it parked.
#[derive(Debug)]
pub struct Windows {
    /// Which windows are in force, one bit each.
    in_force: AtomicU64,
    bounds: Box<[Bounds]>,
}

#[derive(Debug)]
struct Bounds {
    start: AtomicU64,
    end: AtomicU64,
}

impl Windows {
    /// No window.
    #[must_use]
    pub fn new() -> Self {
        let bounds = || Bounds { start: AtomicU64::new(0), end: AtomicU64::new(0) };
        Self { in_force: AtomicU64::new(0), bounds: (0..MAX_WINDOWS).map(|_| bounds()).collect() }
    }

    /// Owner: the window covers these blocks. One that is in force is to be cleared first.
    ///
    /// # Panics
    /// From index [`MAX_WINDOWS`] on.
    pub fn set(&self, index: usize, range: Range<u64>) {
        debug_assert!(self.get(index).is_none(), "a window cannot be moved");
        let bounds = &self.bounds[index];
        // Release: who reads a bound comes after the clear of the window that had the index before.
        bounds.start.store(range.start, Ordering::Release);
        bounds.end.store(range.end, Ordering::Release);
        // The bit last: who sees it sees both bounds.
        self.in_force.fetch_or(1 << index, Ordering::Release);
    }

    /// Owner: host writes may go there again.
    ///
    /// # Panics
    /// From index [`MAX_WINDOWS`] on.
    pub fn clear(&self, index: usize) {
        assert!(index < MAX_WINDOWS, "window {index}");
        self.in_force.fetch_and(!(1 << index), Ordering::Release);
    }

    /// The range of a window in force.
    ///
    /// # Panics
    /// From index [`MAX_WINDOWS`] on.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Range<u64>> {
        let bounds = &self.bounds[index];
        let in_force = self.in_force.load(Ordering::Acquire) & 1 << index != 0;
        in_force.then(|| bounds.start.load(Ordering::Acquire)..bounds.end.load(Ordering::Acquire))
    }

    /// Channel: whether any window has a block in this range.
    #[must_use]
    pub fn overlaps(&self, range: Range<u64>) -> bool {
        let mut rest = self.in_force.load(Ordering::Acquire);
        while rest != 0 {
            let bounds = &self.bounds[rest.trailing_zeros() as usize];
            rest &= rest - 1;
            if bounds.start.load(Ordering::Acquire) < range.end && range.start < bounds.end.load(Ordering::Acquire) {
                return true;
            }
        }
        false
    }

    /// Whether no window is in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_force.load(Ordering::Acquire) == 0
    }

    /// The same windows, apart from these: for the simulator.
    #[must_use]
    pub fn fork(&self) -> Self {
        let fork = Self::new();
        for index in 0..MAX_WINDOWS {
            if let Some(range) = self.get(index) {
                fork.set(index, range);
            }
        }
        fork
    }

    /// Adds the windows in force to a fingerprint.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        (0..MAX_WINDOWS).for_each(|index| self.get(index).hash(hasher));
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_is_there_from_set_to_clear() {
        let windows = Windows::new();
        assert!(windows.is_empty() && !windows.overlaps(0..u64::MAX));
        windows.set(63, 10..20);
        assert!(windows.overlaps(19..20) && windows.overlaps(0..11) && windows.overlaps(12..13));
        assert!(!windows.overlaps(20..30) && !windows.overlaps(0..10));
        assert_eq!(windows.get(63), Some(10..20));
        assert!(!windows.is_empty());
        windows.clear(63);
        assert!(windows.is_empty() && windows.get(63).is_none() && !windows.overlaps(0..u64::MAX));
    }

    proptest! {
        /// The same answers as a list.
        #[test]
        fn as_a_list(steps in prop::collection::vec((0..MAX_WINDOWS, 0u64..50, 1u64..9, any::<bool>()), 0..200)) {
            let windows = Windows::new();
            let mut list = vec![None; MAX_WINDOWS];
            for (index, start, blocks, set) in steps {
                let range = start..start + blocks;
                windows.clear(index);
                list[index] = None;
                if set {
                    windows.set(index, range.clone());
                    list[index] = Some(range.clone());
                }
                let asked = start / 2..start / 2 + blocks;
                let overlaps = list.iter().flatten().any(|w| w.start < asked.end && asked.start < w.end);
                prop_assert_eq!(windows.overlaps(asked), overlaps);
            }
        }
    }
}
