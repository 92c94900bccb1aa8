//! One host I/O on several legs.

use crate::{Fault, LegMask, Slot};

/// The progress of one host I/O over its legs. Eight bytes; lives in the driver's per-I/O context.
///
/// A leg is first *unsent*, then *in flight*, then done: well, rejected or failed. The I/O is over when no leg is unsent
/// or in flight, never earlier: its buffers and context belong to the children until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Join {
    /// Unsent or in flight.
    pending: LegMask,
    /// Part of `pending`.
    unsent: LegMask,
    rejected: LegMask,
    failed: LegMask,
}

/// What follows when a leg is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Other legs are still to send or in flight.
    Wait,
    /// All legs are done: the I/O ends with [`Join::verdict`].
    Done,
}

/// How an I/O ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every leg did it.
    Good,
    /// Every leg refused it for what it asks: nothing was changed.
    Refused,
    /// Some leg failed, or only some refused: if it was a write, the legs may differ in its range.
    Bad,
}

impl Join {
    /// An I/O for these legs, nothing sent yet.
    #[must_use]
    #[inline]
    pub const fn new(legs: LegMask) -> Self {
        Self { pending: legs, unsent: legs, rejected: LegMask::NONE, failed: LegMask::NONE }
    }

    /// The leg to send to next; from then on it counts as in flight.
    #[inline]
    pub fn send_next(&mut self) -> Option<Slot> {
        let slot = self.unsent.lowest()?;
        self.unsent = self.unsent.without_lowest();
        Some(slot)
    }

    /// The next leg to send to among `allowed`; as [`Join::send_next`].
    #[inline]
    pub fn send_next_of(&mut self, allowed: LegMask) -> Option<Slot> {
        let slot = self.unsent.and(allowed).lowest()?;
        self.unsent = self.unsent.without(slot);
        Some(slot)
    }

    /// The leg had no memory for the child: it is to be sent again.
    pub fn not_sent(&mut self, slot: Slot) {
        debug_assert!(self.in_flight().contains(slot));
        self.unsent = self.unsent.with(slot);
    }

    /// The leg did it.
    #[inline]
    pub fn leg_good(&mut self, slot: Slot) -> Step {
        debug_assert!(self.in_flight().contains(slot));
        self.pending = self.pending.without(slot);
        self.step()
    }

    /// The leg did not do it.
    pub fn leg_bad(&mut self, slot: Slot, fault: Fault) -> Step {
        debug_assert!(self.in_flight().contains(slot));
        self.pending = self.pending.without(slot);
        match fault {
            Fault::Rejected => self.rejected = self.rejected.with(slot),
            Fault::Deserved | Fault::Aborted | Fault::Failed => self.failed = self.failed.with(slot),
        }
        self.step()
    }

    /// Nothing more is sent; what was not sent yet counts as failed. For aborts and resets.
    pub fn cancel_unsent(&mut self) -> Step {
        self.failed = self.failed.or(self.unsent);
        self.pending = self.pending.minus(self.unsent);
        self.unsent = LegMask::NONE;
        self.step()
    }

    /// Whether every leg is done.
    #[must_use]
    #[inline]
    pub const fn step(&self) -> Step {
        if self.pending.is_empty() { Step::Done } else { Step::Wait }
    }

    /// Legs left to send.
    #[must_use]
    #[inline]
    pub const fn unsent(&self) -> LegMask {
        self.unsent
    }

    /// Legs that are not done: left to send, or in flight.
    #[must_use]
    #[inline]
    pub const fn pending(&self) -> LegMask {
        self.pending
    }

    /// Legs that did not do it.
    #[must_use]
    #[inline]
    pub const fn bad(&self) -> LegMask {
        self.rejected.or(self.failed)
    }

    /// Nothing more is sent to these legs; what was not sent yet counts as failed.
    pub fn give_up(&mut self, legs: LegMask) -> Step {
        let given_up = self.unsent.and(legs);
        self.failed = self.failed.or(given_up);
        self.pending = self.pending.minus(given_up);
        self.unsent = self.unsent.minus(given_up);
        self.step()
    }

    /// Whether any leg is left to send.
    #[must_use]
    #[inline]
    pub const fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Legs that have a child now.
    #[must_use]
    #[inline]
    pub const fn in_flight(&self) -> LegMask {
        self.pending.minus(self.unsent)
    }

    /// Whether all of `legs` are unsent: no child was ever sent, and none was refused.
    #[must_use]
    pub fn untouched(&self, legs: LegMask) -> bool {
        self.unsent == legs && self.rejected.or(self.failed).is_empty()
    }

    /// How it ended, for an I/O over `legs`.
    #[must_use]
    #[inline]
    pub fn verdict(&self, legs: LegMask) -> Verdict {
        let bad = self.rejected.or(self.failed);
        if bad.is_empty() {
            Verdict::Good
        } else if self.rejected == legs {
            Verdict::Refused
        } else {
            Verdict::Bad
        }
    }

    /// Whether every leg did it so far.
    #[must_use]
    #[inline]
    pub const fn all_good(&self) -> bool {
        self.rejected.bits() | self.failed.bits() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(index: usize) -> Slot {
        Slot::new(index).unwrap()
    }

    #[test]
    fn two_good_legs_end_it_once() {
        let mut join = Join::new(LegMask::first(2));
        assert!(join.untouched(LegMask::first(2)));
        assert_eq!(join.send_next(), Some(slot(0)));
        assert_eq!(join.send_next(), Some(slot(1)));
        assert_eq!(join.send_next(), None);
        assert_eq!(join.leg_good(slot(1)), Step::Wait);
        assert_eq!(join.leg_good(slot(0)), Step::Done);
        assert_eq!(join.verdict(LegMask::first(2)), Verdict::Good);
    }

    #[test]
    fn a_leg_done_before_the_next_is_sent_does_not_end_it() {
        let mut join = Join::new(LegMask::first(2));
        join.send_next();
        assert_eq!(join.leg_good(slot(0)), Step::Wait);
        join.send_next();
        assert_eq!(join.leg_good(slot(1)), Step::Done);
    }

    #[test]
    fn what_had_no_memory_is_sent_again_and_once() {
        let mut join = Join::new(LegMask::first(2));
        join.send_next();
        join.send_next();
        join.not_sent(slot(1));
        assert!(!join.untouched(LegMask::first(2)));
        assert_eq!(join.leg_good(slot(0)), Step::Wait);
        assert_eq!(join.send_next(), Some(slot(1)));
        assert_eq!(join.send_next(), None);
        assert_eq!(join.leg_good(slot(1)), Step::Done);
    }

    #[test]
    fn one_refusal_among_two_leaves_the_legs_different() {
        let mut join = Join::new(LegMask::first(2));
        join.send_next();
        join.send_next();
        join.leg_bad(slot(0), Fault::Rejected);
        join.leg_good(slot(1));
        assert_eq!(join.verdict(LegMask::first(2)), Verdict::Bad);
    }

    #[test]
    fn a_refusal_by_all_changes_nothing() {
        let mut join = Join::new(LegMask::first(2));
        join.send_next();
        join.send_next();
        join.leg_bad(slot(0), Fault::Rejected);
        assert_eq!(join.leg_bad(slot(1), Fault::Rejected), Step::Done);
        assert_eq!(join.verdict(LegMask::first(2)), Verdict::Refused);
    }

    #[test]
    fn a_cancelled_rest_waits_for_what_was_sent() {
        let mut join = Join::new(LegMask::first(3));
        join.send_next();
        assert_eq!(join.cancel_unsent(), Step::Wait);
        assert_eq!(join.send_next(), None);
        assert_eq!(join.leg_good(slot(0)), Step::Done);
        assert_eq!(join.verdict(LegMask::first(3)), Verdict::Bad);
    }

    proptest! {
        /// Whatever the order of sends, shortages and ends: each leg is sent successfully once, Done comes with the last
        /// end and only then.
        #[test]
        fn ends_exactly_once(legs in 1usize..=MAX_LEGS_TESTED, choices in prop::collection::vec(0u8..4, 0..200)) {
            let mask = LegMask::first(legs);
            let mut join = Join::new(mask);
            let (mut sent, mut ended, mut done) = (LegMask::NONE, LegMask::NONE, 0);
            for choice in choices {
                let step = match (choice, join.in_flight().lowest()) {
                    (0 | 1, _) => {
                        if let Some(slot) = join.send_next() {
                            if choice == 1 {
                                join.not_sent(slot);
                            } else {
                                prop_assert!(!sent.contains(slot));
                                sent = sent.with(slot);
                            }
                        }
                        continue;
                    }
                    (2, Some(slot)) => { ended = ended.with(slot); join.leg_good(slot) }
                    (_, Some(slot)) => { ended = ended.with(slot); join.leg_bad(slot, Fault::Failed) }
                    (_, None) => continue,
                };
                prop_assert_eq!(step == Step::Done, ended == mask);
                done += usize::from(step == Step::Done);
            }
            prop_assert!(done <= 1);
        }
    }

    const MAX_LEGS_TESTED: usize = crate::MAX_LEGS;
}
