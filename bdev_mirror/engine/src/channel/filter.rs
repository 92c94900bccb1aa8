//! A quick answer to "does any write overlap this range?".

use std::hash::Hash;
use std::ops::Range;

const CELLS: usize = 256;
/// A granule is 128 blocks: 64 KiB of 512-byte blocks.
const GRANULE_SHIFT: u32 = 7;
/// A range over more granules than this is counted apart instead of in each of its cells.
const GRANULES_MAX: u64 = 32;

/// Counts ranges by granule, hashed. Says "none overlaps" or "look": a false "look" costs a walk through the list, a false
/// "none" does not exist.
#[derive(Clone, Debug, Hash)]
pub(super) struct OverlapFilter {
    counts: [u16; CELLS],
    wide: u32,
    all: u32,
}

impl Default for OverlapFilter {
    fn default() -> Self {
        Self { counts: [0; CELLS], wide: 0, all: 0 }
    }
}

fn granules(range: &Range<u64>) -> Range<u64> {
    range.start >> GRANULE_SHIFT..((range.end.max(1) - 1) >> GRANULE_SHIFT) + 1
}

impl OverlapFilter {
    #[inline]
    pub(super) fn add(&mut self, range: &Range<u64>) {
        self.all += 1;
        let granules = granules(range);
        if granules.end - granules.start > GRANULES_MAX {
            self.wide += 1;
            return;
        }
        for granule in granules {
            self.counts[granule as usize % CELLS] += 1;
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, range: &Range<u64>) {
        self.all -= 1;
        let granules = granules(range);
        if granules.end - granules.start > GRANULES_MAX {
            self.wide -= 1;
            return;
        }
        for granule in granules {
            self.counts[granule as usize % CELLS] -= 1;
        }
    }

    /// Whether a range that was added may overlap this one.
    #[inline]
    pub(super) fn may_overlap(&self, range: &Range<u64>) -> bool {
        if self.all == 0 {
            return false;
        }
        let mut granules = granules(range);
        self.wide > 0
            || granules.end - granules.start > GRANULES_MAX
            || granules.any(|granule| self.counts[granule as usize % CELLS] > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_far_away_or_gone_needs_no_look() {
        let (far, widest) = (1000 << GRANULE_SHIFT, GRANULES_MAX << GRANULE_SHIFT);
        let mut filter = OverlapFilter::default();
        filter.add(&(0..128));
        assert!(filter.may_overlap(&(127..128)));
        assert!(!filter.may_overlap(&(128..129)) && !filter.may_overlap(&(far..far + 1)));
        assert!(!filter.may_overlap(&(128..128 + widest)));
        assert!(filter.may_overlap(&(128..129 + widest)), "too wide for a look at each granule");
        let wide = far..far + 1 + widest;
        filter.add(&wide);
        assert!(filter.may_overlap(&(128..129)));
        filter.remove(&wide);
        assert!(!filter.may_overlap(&(128..129)));
        filter.add(&(far..far + 1));
        filter.remove(&(0..128));
        assert!(!filter.may_overlap(&(0..128)));
    }

    proptest! {
        /// Whatever was added and removed: a range that overlaps one that is left is never called free.
        #[test]
        fn never_a_false_none(ranges in prop::collection::vec((0u64..100_000, 1u64..6000, any::<bool>()), 0..40), at in 0u64..100_000, blocks in 1u64..6000) {
            let mut filter = OverlapFilter::default();
            let mut left = Vec::new();
            for (start, blocks, stays) in ranges {
                let range = start..start + blocks;
                filter.add(&range);
                if stays { left.push(range) } else { filter.remove(&range) }
            }
            let range = at..at + blocks;
            if left.iter().any(|other| other.start < range.end && range.start < other.end) {
                prop_assert!(filter.may_overlap(&range));
            }
            for other in &left {
                filter.remove(other);
            }
            prop_assert!(!filter.may_overlap(&range));
        }
    }
}
