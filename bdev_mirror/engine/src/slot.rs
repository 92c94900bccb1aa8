//! Slots and sets of slots.

/// Most legs that a mirror has: sets of legs fit 16 bits, and two of them one published word.
pub const MAX_LEGS: usize = 16;

/// The place of a leg in its mirror, `0..MAX_LEGS`; the base bdev in it may change, the slot does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The slot with this index; `None` from [`MAX_LEGS`] on.
    #[must_use]
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_LEGS { Some(Self(index as u8)) } else { None }
    }

    /// Its index, below [`MAX_LEGS`].
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        // The mask tells the compiler what new() made sure of: no bounds check on arrays of MAX_LEGS.
        self.0 as usize % MAX_LEGS
    }
}

/// A set of slots, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LegMask(u16);

impl LegMask {
    /// No slot.
    pub const NONE: Self = Self(0);

    /// The slots `0..count`; all of them from [`MAX_LEGS`] on.
    #[must_use]
    pub const fn first(count: usize) -> Self {
        if count >= MAX_LEGS { Self(u16::MAX) } else { Self((1 << count) - 1) }
    }

    /// The set with these bits, slot 0 lowest.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits, slot 0 lowest.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with just this slot.
    #[must_use]
    #[inline]
    pub const fn only(slot: Slot) -> Self {
        Self(1 << slot.index())
    }

    /// Whether no slot is in it.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many slots are in it.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the slot is in it.
    #[must_use]
    #[inline]
    pub const fn contains(self, slot: Slot) -> bool {
        self.0 & (1 << slot.index()) != 0
    }

    /// With the slot.
    #[must_use]
    #[inline]
    pub const fn with(self, slot: Slot) -> Self {
        Self(self.0 | 1 << slot.index())
    }

    /// Without the slot.
    #[must_use]
    #[inline]
    pub const fn without(self, slot: Slot) -> Self {
        Self(self.0 & !(1 << slot.index()))
    }

    /// Without its lowest slot, if it has any.
    #[must_use]
    #[inline]
    pub const fn without_lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_sub(1))
    }

    /// The slots in both.
    #[must_use]
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The slots in either.
    #[must_use]
    #[inline]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The slots of this set that the other lacks.
    #[must_use]
    #[inline]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The lowest slot in it.
    #[must_use]
    #[inline]
    pub const fn lowest(self) -> Option<Slot> {
        if self.0 == 0 { None } else { Some(Slot(self.0.trailing_zeros() as u8)) }
    }

    /// Whether every slot of this set is in the other.
    #[must_use]
    #[inline]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether the two have a slot in common.
    #[must_use]
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Its slots, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Slot> + use<> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let slot = rest.lowest()?;
            rest = rest.without(slot);
            Some(slot)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_end_at_sixteen() {
        assert_eq!(Slot::new(15).map(Slot::index), Some(15));
        assert_eq!(Slot::new(16), None);
    }

    #[test]
    fn masks_behave_as_sets() {
        assert_eq!(LegMask::first(0), LegMask::NONE);
        assert_eq!(LegMask::first(16).len(), 16);
        assert_eq!(LegMask::first(99).len(), 16);
        let three = LegMask::first(3);
        assert_eq!(three.iter().map(Slot::index).collect::<Vec<_>>(), [0, 1, 2]);
        let one = Slot::new(1).unwrap();
        assert!(!three.without(one).contains(one));
        assert_eq!(three.without_lowest(), three.without(Slot::new(0).unwrap()));
        assert_eq!(LegMask::NONE.without_lowest(), LegMask::NONE);
        assert_eq!(three.minus(LegMask::only(one)).with(one), three);
    }
}
