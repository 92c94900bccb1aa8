//! Which legs are slow, though none of their I/O fails.
//!
//! A leg is slow when its I/O takes several times as long as that of the others, for a while. Reads then avoid it (a
//! [`crate::read_policy::ReadRules`] mask); writes still wait for it, so by policy it may be ejected, which is off by
//! default. Reads and writes are judged apart: a leg that reads avoid has only writes left, and these are slower or
//! faster than reads on any drive.

use crate::{LegMask, MAX_LEGS, Slot};

/// Slow at this many times the others' latency.
const SLOW_TIMES: u64 = 4;
/// Well again below this many times.
const WELL_TIMES: u64 = 2;
/// Below this, no leg is called slow: a drive over a network beside a local one is not ill.
const SLOW_US_MIN: u64 = 1_000;
/// Judgements in a row that change a verdict.
const JUDGEMENTS: u8 = 5;
/// I/Os that a leg has to have ended before it is compared.
const SAMPLES_MIN: u32 = 16;
/// A slow leg of which nothing was seen for this long is tried again.
const FORGET_MS: u64 = 60_000;
/// A new mean counts an eighth.
const WEIGHT: u64 = 8;
/// Averages are kept in sixteenths of a microsecond, so that slow steps are not lost.
const FRACTION: u64 = 16;

/// Kinds of I/O that are judged apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LegIo {
    /// Reads.
    Read,
    /// Writes, and what is like them.
    Write,
}

const KINDS: [LegIo; 2] = [LegIo::Read, LegIo::Write];

/// What one channel sees of one leg and kind between two judgements: two additions an I/O.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LatencySum {
    sum_us: u64,
    count: u32,
}

impl LatencySum {
    /// A child ended well.
    #[inline]
    pub fn record(&mut self, latency_us: u32) {
        self.sum_us = self.sum_us.saturating_add(u64::from(latency_us));
        self.count = self.count.saturating_add(1);
    }

    /// Adds what another channel saw.
    pub fn merge(&mut self, other: Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.count = self.count.saturating_add(other.count);
    }
}

/// What a judgement found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlowChange {
    /// It is slow from now on.
    Slow {
        /// Which leg.
        slot: Slot,
        /// How long its I/O takes.
        latency_us: u64,
        /// How long the others' does.
        others_us: u64,
    },
    /// It is slow no more, or gets another chance.
    Well {
        /// Which leg.
        slot: Slot,
    },
    /// It has been slow for as long as the policy bears. Told at each judgement until the leg is forgotten or well.
    Eject {
        /// Which leg.
        slot: Slot,
    },
}

/// What is known of one leg and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Average {
    /// In [`FRACTION`]s of a microsecond.
    average: u64,
    samples: u32,
    seen_ms: u64,
}

impl Average {
    fn known_us(&self) -> Option<u64> {
        (self.samples >= SAMPLES_MIN).then_some(self.average / FRACTION)
    }
}

/// Judges the legs of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SlowLegs {
    averages: [[Average; KINDS.len()]; MAX_LEGS],
    slow: LegMask,
    /// Judgements in a row that spoke against the verdict in force.
    contrary: [u8; MAX_LEGS],
    slow_since_ms: [u64; MAX_LEGS],
}

impl SlowLegs {
    /// What all channels saw of a leg since the last judgement.
    pub fn observe(&mut self, slot: Slot, kind: LegIo, now_ms: u64, sum: LatencySum) {
        let Some(mean) = sum.sum_us.saturating_mul(FRACTION).checked_div(u64::from(sum.count)) else { return };
        let known = &mut self.averages[slot.index()][kind as usize];
        known.average = if known.samples == 0 { mean } else { known.average - known.average / WEIGHT + mean / WEIGHT };
        known.samples = known.samples.saturating_add(sum.count);
        known.seen_ms = now_ms;
    }

    /// Judges the legs in service, about once a second; `report` hears of each change. `slow_leg_eject_sec` is the
    /// policy: 0 ejects nothing.
    pub fn judge(&mut self, legs: LegMask, now_ms: u64, slow_leg_eject_sec: u64, mut report: impl FnMut(SlowChange)) {
        for slot in self.slow.minus(legs).iter() {
            self.forget(slot);
        }
        for slot in legs.iter() {
            self.forget_old(slot, now_ms);
            let was_slow = self.slow.contains(slot);
            let verdict = self.compare(slot, legs);
            let now_slow = match verdict {
                // Nothing to compare with any more: it is given a chance.
                None => false,
                Some(seen) if was_slow => seen.latency_us >= seen.others_us.saturating_mul(WELL_TIMES),
                Some(seen) => {
                    seen.latency_us >= SLOW_US_MIN
                        && seen.latency_us >= seen.others_us.saturating_mul(SLOW_TIMES)
                        && !legs.minus(self.slow).without(slot).is_empty()
                }
            };
            if let Some(change) = self.settle(slot, now_slow, verdict, now_ms) {
                report(change);
            }
            let slow_ms = now_ms.saturating_sub(self.slow_since_ms[slot.index()]);
            let ejects = slow_leg_eject_sec > 0 && slow_ms >= slow_leg_eject_sec.saturating_mul(1_000);
            // Not where the legs that did better have left since: a slow leg is better than none.
            if ejects && self.slow.contains(slot) && !legs.minus(self.slow).is_empty() {
                report(SlowChange::Eject { slot });
            }
        }
    }

    /// Legs that reads avoid. No judgement makes it all legs in service; it may come to that when others leave.
    #[must_use]
    pub const fn slow(&self) -> LegMask {
        self.slow
    }

    /// How long this leg's I/O takes lately, if enough of it was seen.
    #[must_use]
    pub fn latency_us(&self, slot: Slot, kind: LegIo) -> Option<u64> {
        self.averages[slot.index()][kind as usize].known_us()
    }

    /// The leg left service, or another base bdev is in its slot.
    pub fn forget(&mut self, slot: Slot) {
        self.averages[slot.index()] = <[Average; KINDS.len()]>::default();
        self.contrary[slot.index()] = 0;
        self.slow = self.slow.without(slot);
    }

    /// What was seen long ago says nothing of today. Without this, a mirror that is only read would never try a slow
    /// leg again.
    fn forget_old(&mut self, slot: Slot, now_ms: u64) {
        for average in &mut self.averages[slot.index()] {
            if now_ms.saturating_sub(average.seen_ms) >= FORGET_MS {
                *average = Average::default();
            }
        }
    }

    /// The leg and the median of the others, for the kind of I/O in which it does worst; `None` if nothing can be
    /// compared.
    fn compare(&self, slot: Slot, legs: LegMask) -> Option<Seen> {
        let ratio = |seen: &Seen| u128::from(seen.latency_us) * 1_000 / u128::from(seen.others_us.max(1));
        KINDS
            .into_iter()
            .filter_map(|kind| {
                let latency_us = self.latency_us(slot, kind)?;
                let others_us = self.median_us(legs.without(slot), kind)?;
                Some(Seen { latency_us, others_us })
            })
            .max_by_key(ratio)
    }

    /// The lower median: with two other legs, the faster one. It is enough that reads have somewhere better to go.
    fn median_us(&self, legs: LegMask, kind: LegIo) -> Option<u64> {
        let mut known = [0; MAX_LEGS];
        let mut count = 0;
        for latency_us in legs.iter().filter_map(|slot| self.latency_us(slot, kind)) {
            known[count] = latency_us;
            count += 1;
        }
        known[..count].sort_unstable();
        known[..count].get(count.saturating_sub(1) / 2).copied()
    }

    /// A verdict changes only after several judgements in a row against it.
    fn settle(&mut self, slot: Slot, now_slow: bool, seen: Option<Seen>, now_ms: u64) -> Option<SlowChange> {
        let contrary = &mut self.contrary[slot.index()];
        if now_slow == self.slow.contains(slot) {
            *contrary = 0;
            return None;
        }
        *contrary += 1;
        if *contrary < JUDGEMENTS {
            return None;
        }
        *contrary = 0;
        match seen {
            Some(Seen { latency_us, others_us }) if now_slow => {
                self.slow = self.slow.with(slot);
                self.slow_since_ms[slot.index()] = now_ms;
                Some(SlowChange::Slow { slot, latency_us, others_us })
            }
            _ => {
                self.slow = self.slow.without(slot);
                Some(SlowChange::Well { slot })
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    latency_us: u64,
    others_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    fn sum(latency_us: u32, count: u32) -> LatencySum {
        LatencySum { sum_us: u64::from(latency_us) * u64::from(count), count }
    }

    struct Mirror {
        slow_legs: SlowLegs,
        now_ms: u64,
        eject_sec: u64,
    }

    impl Mirror {
        fn new() -> Self {
            Self { slow_legs: SlowLegs::default(), now_ms: 0, eject_sec: 0 }
        }

        /// Judges once a second; reads avoid slow legs.
        fn run(&mut self, seconds: u32, reads_us: &[u32], writes_us: &[u32]) -> Vec<SlowChange> {
            let legs = LegMask::first(reads_us.len().max(writes_us.len()));
            let mut changes = Vec::new();
            for _ in 0..seconds {
                self.now_ms += 1_000;
                for (kind, latencies) in [(LegIo::Read, reads_us), (LegIo::Write, writes_us)] {
                    for (index, &latency_us) in latencies.iter().enumerate() {
                        if kind == LegIo::Write || !self.slow_legs.slow().contains(slot(index)) {
                            self.slow_legs.observe(slot(index), kind, self.now_ms, sum(latency_us, 100));
                        }
                    }
                }
                self.slow_legs.judge(legs, self.now_ms, self.eject_sec, |change| changes.push(change));
            }
            changes
        }
    }

    #[test]
    fn a_leg_is_slow_after_a_while_and_well_again_after_a_while() {
        let mut mirror = Mirror::new();
        assert_eq!(mirror.run(4, &[], &[500, 5_000]), []);
        let slow = SlowChange::Slow { slot: slot(1), latency_us: 5_000, others_us: 500 };
        assert_eq!(mirror.run(1, &[], &[500, 5_000]), [slow]);
        assert_eq!(mirror.run(100, &[], &[500, 5_000]), []);
        assert_eq!(mirror.run(30, &[], &[500, 1_200]), [], "between the bounds nothing changes");
        assert_eq!(mirror.run(30, &[], &[500, 600]), [SlowChange::Well { slot: slot(1) }]);
    }

    #[test]
    fn all_slow_alike_is_not_slow_and_neither_is_fast() {
        assert_eq!(Mirror::new().run(60, &[9_000; 3], &[50_000; 3]), []);
        assert_eq!(Mirror::new().run(60, &[20, 900], &[20, 900]), []);
        assert_eq!(Mirror::new().run(60, &[90_000], &[90_000]), []);
    }

    #[test]
    fn a_leg_that_is_slow_in_reads_alone_is_tried_again_later() {
        let mut mirror = Mirror::new();
        assert_eq!(mirror.run(10, &[500, 5_000], &[]).len(), 1);
        assert!(mirror.slow_legs.slow().contains(slot(1)));
        let changes = mirror.run(80, &[500, 5_000], &[]);
        assert_eq!(changes[0], SlowChange::Well { slot: slot(1) });
        assert!(matches!(changes[1], SlowChange::Slow { .. }));
        // Well in truth by now: after the next try it stays.
        mirror.run(80, &[500, 500], &[]);
        assert_eq!(mirror.run(200, &[500, 500], &[]), []);
        assert!(mirror.slow_legs.slow().is_empty());
    }

    #[test]
    fn the_kind_of_io_in_which_a_leg_does_worst_counts() {
        // Ten times as slow in reads, twice in writes, which take longer.
        let slow = SlowChange::Slow { slot: slot(1), latency_us: 5_000, others_us: 500 };
        assert_eq!(Mirror::new().run(5, &[500, 5_000], &[4_000, 9_000]), [slow]);
        // A ratio, whatever the size of the numbers.
        let slow = SlowChange::Slow { slot: slot(1), latency_us: 4_000, others_us: 400 };
        assert_eq!(Mirror::new().run(5, &[400, 4_000], &[10, 60]), [slow]);
    }

    #[test]
    fn what_channels_saw_is_added_up() {
        let (mut one, mut other) = (LatencySum::default(), LatencySum::default());
        one.record(100);
        one.record(300);
        other.record(50);
        one.merge(other);
        assert_eq!(one, LatencySum { sum_us: 450, count: 3 });
    }

    #[test]
    fn ejection_is_off_unless_asked_for() {
        let mut mirror = Mirror::new();
        assert_eq!(mirror.run(2_000, &[], &[500, 500, 80_000]).len(), 1);
        mirror.eject_sec = 30;
        assert_eq!(mirror.run(1, &[], &[500, 500, 80_000]), [SlowChange::Eject { slot: slot(2) }]);
        let mut mirror = Mirror { eject_sec: 30, ..Mirror::new() };
        assert_eq!(mirror.run(34, &[], &[500, 500, 80_000]).len(), 1);
        assert_eq!(mirror.run(1, &[], &[500, 500, 80_000]), [SlowChange::Eject { slot: slot(2) }]);
    }

    #[test]
    fn legs_that_change_places_are_never_both_slow() {
        let mut mirror = Mirror::new();
        mirror.run(10, &[], &[500, 50_000]);
        assert_eq!(mirror.slow_legs.slow(), LegMask::only(slot(1)));
        for _ in 0..40 {
            mirror.run(1, &[], &[50_000, 500]);
            assert_eq!(mirror.slow_legs.slow().len().max(1), 1);
        }
        assert_eq!(mirror.slow_legs.slow(), LegMask::only(slot(0)));
    }

    #[test]
    fn the_last_leg_that_is_not_slow_stays_so() {
        let mut slow_legs = SlowLegs { slow: LegMask::only(slot(1)), ..SlowLegs::default() };
        // Reached when legs overtake each other in leaps.
        slow_legs.contrary[0] = JUDGEMENTS - 1;
        slow_legs.observe(slot(0), LegIo::Write, 0, sum(50_000, 100));
        slow_legs.observe(slot(1), LegIo::Write, 0, sum(500, 100));
        slow_legs.judge(LegMask::first(2), 0, 0, |change| panic!("{change:?}"));
    }

    #[test]
    fn of_three_legs_two_may_be_slow() {
        let mut mirror = Mirror::new();
        assert_eq!(mirror.run(20, &[], &[50_000, 500, 40_000]).len(), 2);
        assert_eq!(mirror.slow_legs.slow(), LegMask::first(3).without(slot(1)));
    }

    #[test]
    fn another_drive_in_the_slot_starts_afresh() {
        let mut mirror = Mirror::new();
        mirror.run(10, &[], &[500, 5_000]);
        mirror.slow_legs.forget(slot(1));
        assert!(mirror.slow_legs.slow().is_empty());
        assert_eq!(mirror.slow_legs.latency_us(slot(1), LegIo::Write), None);
        mirror.run(10, &[], &[500, 5_000]);
        assert_eq!(mirror.run(1, &[], &[500]), []);
        assert!(mirror.slow_legs.slow().is_empty(), "a leg out of service is forgotten");
    }

    proptest! {
        #[test]
        fn never_all_legs_are_slow(
            legs in 1_u16..64,
            seconds in prop::collection::vec((any::<[u16; 6]>(), 1_u64..20), 0..200),
        ) {
            let legs = LegMask::from_bits(legs);
            let (mut slow_legs, mut now_ms) = (SlowLegs::default(), 0);
            for (latencies, passed_sec) in seconds {
                now_ms += passed_sec * 1_000;
                for (index, latency) in latencies.into_iter().enumerate() {
                    // Extremes, or nothing would be slow.
                    let latency_us = if latency & 1 == 0 { 10 } else { u32::from(latency) * 100 };
                    slow_legs.observe(slot(index), LegIo::Write, now_ms, sum(latency_us, 50));
                }
                let before = slow_legs.slow();
                let mut expected = before;
                slow_legs.judge(legs, now_ms, 0, |change| match change {
                    SlowChange::Slow { slot, .. } => expected = expected.with(slot),
                    SlowChange::Well { slot } => expected = expected.without(slot),
                    SlowChange::Eject { .. } => unreachable!(),
                });
                prop_assert_eq!(slow_legs.slow(), expected);
                prop_assert!(slow_legs.slow().minus(legs).is_empty());
                prop_assert!(!legs.minus(slow_legs.slow()).is_empty());
            }
        }
    }
}
