//! Which leg serves a read.

use crate::{LegMask, MAX_LEGS, Slot};

/// The leg with the fewest children in flight on this channel; among equals the first one after `previous`, so that ties
/// rotate.
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
}
