//! Which leg serves a read.

use crate::{LegMask, MAX_LEGS, Slot};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a leg is chosen among those that may serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadPolicy {
    /// The one with the fewest children in flight; ties rotate.
    #[default]
    LeastOutstanding,
    /// The one with the lowest slot.
    First,
    /// Each in turn.
    RoundRobin,
    /// This one while it may serve, else as [`ReadPolicy::LeastOutstanding`].
    Preferred(Slot),
}

/// Policy and masks in one word, as all channels see them. Zero is the default policy without masks: the driver's fast
/// path tests for that and calls [`least_outstanding`] itself.
///
/// Layout: bits 0..16 write-mostly legs, bits 16..32 slow legs, bits 32..40 policy, bits 40..48 preferred slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReadRules(u64);

impl ReadRules {
    /// The policy, without masks.
    #[must_use]
    pub const fn new(policy: ReadPolicy) -> Self {
        let (number, slot) = match policy {
            ReadPolicy::LeastOutstanding => (0, 0),
            ReadPolicy::First => (1, 0),
            ReadPolicy::RoundRobin => (2, 0),
            ReadPolicy::Preferred(slot) => (3, slot.index() as u64),
        };
        Self(number << 32 | slot << 40)
    }

    /// Legs that are written and read only if no leg outside this mask may serve.
    #[must_use]
    pub const fn with_write_mostly(self, legs: LegMask) -> Self {
        Self(self.0 & !0xffff | legs.bits() as u64)
    }

    /// Legs that are far slower than the others: read only if nothing else is left, write-mostly legs included.
    #[must_use]
    pub const fn with_slow(self, legs: LegMask) -> Self {
        Self(self.0 & !0xffff_0000 | (legs.bits() as u64) << 16)
    }

    /// Whether [`least_outstanding`] among all readable legs is all there is to it.
    #[must_use]
    #[inline]
    pub const fn is_plain(self) -> bool {
        self.0 == 0
    }

    /// The policy.
    #[must_use]
    pub const fn policy(self) -> ReadPolicy {
        match ((self.0 >> 32) as u8, Slot::new((self.0 >> 40) as u8 as usize)) {
            (1, _) => ReadPolicy::First,
            (2, _) => ReadPolicy::RoundRobin,
            (3, Some(slot)) => ReadPolicy::Preferred(slot),
            _ => ReadPolicy::LeastOutstanding,
        }
    }

    /// The write-mostly legs.
    #[must_use]
    pub const fn write_mostly(self) -> LegMask {
        LegMask::from_bits(self.0 as u16)
    }

    /// The slow legs.
    #[must_use]
    pub const fn slow(self) -> LegMask {
        LegMask::from_bits((self.0 >> 16) as u16)
    }

    /// The leg that serves, among the `candidates`: readable, and not tried before. `None` only if there is none.
    ///
    /// `previous` and `outstanding` are those of [`least_outstanding`].
    #[inline]
    pub fn choose(self, candidates: LegMask, previous: usize, outstanding: impl Fn(Slot) -> u32) -> Option<Slot> {
        if self.is_plain() {
            least_outstanding(candidates, previous, outstanding)
        } else {
            self.choose_by_rules(candidates, previous, outstanding)
        }
    }

    /// Out of line, so that mirrors without rules do not pay for it.
    #[inline(never)]
    fn choose_by_rules(self, candidates: LegMask, previous: usize, outstanding: impl Fn(Slot) -> u32) -> Option<Slot> {
        let legs = self.best_class(candidates);
        match self.policy() {
            ReadPolicy::First => legs.lowest(),
            ReadPolicy::RoundRobin => least_outstanding(legs, previous, |_| 0),
            ReadPolicy::Preferred(slot) if legs.contains(slot) => Some(slot),
            ReadPolicy::LeastOutstanding | ReadPolicy::Preferred(_) => least_outstanding(legs, previous, outstanding),
        }
    }

    /// The candidates that no mask speaks against; else those that least does.
    fn best_class(self, candidates: LegMask) -> LegMask {
        let fast = candidates.minus(self.slow());
        let legs = if fast.is_empty() { candidates } else { fast };
        let read = legs.minus(self.write_mostly());
        if read.is_empty() { legs } else { read }
    }
}

/// The rules as all channels see them: written by the control path, read by every read.
#[derive(Debug, Default)]
pub struct PublishedReadRules(AtomicU64);

impl PublishedReadRules {
    /// Starts with these rules.
    #[must_use]
    pub const fn new(rules: ReadRules) -> Self {
        Self(AtomicU64::new(rules.0))
    }

    /// The rules in force. Relaxed: any leg that the leg set allows is a right one, the rules only say which is better.
    #[inline]
    pub fn load(&self) -> ReadRules {
        ReadRules(self.0.load(Ordering::Relaxed))
    }

    /// Takes effect for reads submitted from now on.
    pub fn publish(&self, rules: ReadRules) {
        self.0.store(rules.0, Ordering::Relaxed);
    }
}

/// The leg with the fewest children in flight on this channel; among equals the first one after `previous`, so that
/// ties rotate.
///
/// `outstanding` gives the children in flight of a slot. `None` if no leg is readable.
#[inline]
pub fn least_outstanding(readable: LegMask, previous: usize, outstanding: impl Fn(Slot) -> u32) -> Option<Slot> {
    // Rotate the set so that the slot after `previous` comes first, then scan it from its lowest bit.
    let start = (previous as u32 + 1) % MAX_LEGS as u32;
    let mut rest = readable.bits().rotate_right(start);
    let mut best: Option<(u32, Slot)> = None;
    while rest != 0 {
        let index = (rest.trailing_zeros() + start) as usize % MAX_LEGS;
        rest &= rest - 1;
        let Some(slot) = Slot::new(index) else { break };
        let count = outstanding(slot);
        if best.is_none_or(|(fewest, _)| count < fewest) {
            best = Some((count, slot));
        }
    }
    best.map(|(_, slot)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choose(legs: LegMask, previous: usize, counts: &[u32]) -> Option<usize> {
        least_outstanding(legs, previous, |slot| counts[slot.index()]).map(Slot::index)
    }

    #[test]
    fn the_least_busy_leg_serves() {
        assert_eq!(choose(LegMask::first(3), 0, &[5, 1, 3]), Some(1));
        assert_eq!(choose(LegMask::first(3), 1, &[5, 1, 3]), Some(1));
    }

    #[test]
    fn ties_rotate_over_all_legs() {
        let mut previous = 0;
        let order: Vec<_> = (0..6)
            .map(|_| {
                previous = choose(LegMask::first(3), previous, &[0; 3]).unwrap();
                previous
            })
            .collect();
        assert_eq!(order, [1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn an_unreadable_leg_never_serves() {
        let legs = LegMask::first(3).without(Slot::new(1).unwrap());
        for previous in 0..MAX_LEGS {
            assert_ne!(choose(legs, previous, &[9, 0, 9]), Some(1));
        }
        assert_eq!(choose(LegMask::NONE, 0, &[]), None);
    }

    #[test]
    fn sixteen_legs_all_get_their_turn() {
        let mut seen = LegMask::NONE;
        let mut previous = 7;
        for _ in 0..MAX_LEGS {
            previous = choose(LegMask::first(16), previous, &[0; 16]).unwrap();
            seen = seen.with(Slot::new(previous).unwrap());
        }
        assert_eq!(seen, LegMask::first(16));
    }

    fn policies() -> [ReadPolicy; 4] {
        let slot = Slot::new(1).unwrap();
        [ReadPolicy::LeastOutstanding, ReadPolicy::First, ReadPolicy::RoundRobin, ReadPolicy::Preferred(slot)]
    }

    fn mask(slots: &[usize]) -> LegMask {
        slots.iter().fold(LegMask::NONE, |legs, &slot| legs.with(Slot::new(slot).unwrap()))
    }

    #[test]
    fn the_word_gives_back_what_went_in() {
        for policy in policies() {
            let rules = ReadRules::new(policy).with_write_mostly(mask(&[0, 15])).with_slow(mask(&[3]));
            assert_eq!((rules.policy(), rules.write_mostly(), rules.slow()), (policy, mask(&[0, 15]), mask(&[3])));
            assert!(!rules.is_plain());
            let published = PublishedReadRules::default();
            assert!(published.load().is_plain());
            published.publish(rules);
            assert_eq!(published.load(), rules);
            let unmasked = rules.with_write_mostly(LegMask::NONE).with_slow(LegMask::NONE);
            assert_eq!(unmasked.is_plain(), policy == ReadPolicy::default());
        }
    }

    #[test]
    fn each_policy_has_its_way() {
        let turns = |policy| {
            let mut previous = 0;
            [(); 4].map(|()| {
                let counts = |slot: Slot| [3, 4, 0, 1][slot.index()];
                previous = ReadRules::new(policy).choose(LegMask::first(4), previous, counts).unwrap().index();
                previous
            })
        };
        assert_eq!(policies().map(turns), [[2, 2, 2, 2], [0, 0, 0, 0], [1, 2, 3, 0], [1, 1, 1, 1]]);
    }

    #[test]
    fn a_preferred_leg_that_may_not_serve_is_replaced() {
        let rules = ReadRules::new(ReadPolicy::Preferred(Slot::new(1).unwrap()));
        let counts = |slot: Slot| [5, 0, 2][slot.index()];
        assert_eq!(rules.choose(mask(&[0, 2]), 0, counts), Slot::new(2));
        assert_eq!(rules.with_slow(mask(&[1])).choose(mask(&[0, 1, 2]), 0, counts), Slot::new(2));
    }

    #[test]
    fn slow_is_worse_than_write_mostly() {
        let rules = ReadRules::default().with_write_mostly(mask(&[1, 3])).with_slow(mask(&[2, 3]));
        let order = [mask(&[0, 1, 2, 3]), mask(&[1, 2, 3]), mask(&[2, 3]), mask(&[3])];
        assert_eq!(order.map(|legs| rules.choose(legs, 9, |_| 0).unwrap().index()), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn a_candidate_serves_whenever_there_is_one(
            policy in 0_usize..4,
            masks: [u16; 3],
            previous in 0_usize..MAX_LEGS,
            counts: [u8; MAX_LEGS],
        ) {
            let [candidates, write_mostly, slow] = masks.map(LegMask::from_bits);
            let rules = ReadRules::new(policies()[policy]).with_write_mostly(write_mostly).with_slow(slow);
            let count = |slot: Slot| u32::from(counts[slot.index()]);
            let chosen = rules.choose(candidates, previous, count);
            prop_assert_eq!(chosen.is_none(), candidates.is_empty());
            if let Some(slot) = chosen {
                prop_assert!(candidates.contains(slot));
                let fast = candidates.minus(slow);
                prop_assert!(!slow.contains(slot) || fast.is_empty());
                let peers = if fast.is_empty() { candidates } else { fast };
                prop_assert!(!write_mostly.contains(slot) || peers.minus(write_mostly).is_empty());
            }
        }

        #[test]
        fn ties_rotate_over_the_best_legs(rotating in prop::sample::select(vec![0_usize, 2]), masks: [u16; 3]) {
            let [candidates, write_mostly, slow] = masks.map(LegMask::from_bits);
            let rules = ReadRules::new(policies()[rotating]).with_write_mostly(write_mostly).with_slow(slow);
            let best = rules.best_class(candidates);
            let (mut seen, mut previous) = (LegMask::NONE, 0);
            for _ in 0..best.len() {
                let slot = rules.choose(candidates, previous, |_| 7).unwrap();
                prop_assert!(!seen.contains(slot));
                seen = seen.with(slot);
                previous = slot.index();
            }
            prop_assert_eq!(seen, best);
        }
    }
}
