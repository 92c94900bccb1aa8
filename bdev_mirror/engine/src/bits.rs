//! A map in memory: one bit a region.

/// One bit a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bits {
    words: Vec<u64>,
    len: u32,
    ones: u32,
}

impl Bits {
    /// So many bits, all clear or all set.
    #[must_use]
    pub fn new(len: u32, set: bool) -> Self {
        let mut bits = Self { words: vec![0; len.div_ceil(64) as usize], len, ones: 0 };
        if set {
            bits.set_all();
        }
        bits
    }

    /// How many bits there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many are set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether this one is set; one beyond the end is not.
    #[must_use]
    pub fn get(&self, bit: u32) -> bool {
        self.words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    /// Sets this one; whether it was clear. One beyond the end stays.
    pub fn set(&mut self, bit: u32) -> bool {
        if bit >= self.len || self.get(bit) {
            return false;
        }
        self.words[bit as usize / 64] |= 1 << (bit % 64);
        self.ones += 1;
        true
    }

    /// Clears this one; whether it was set.
    pub fn clear(&mut self, bit: u32) -> bool {
        if !self.get(bit) {
            return false;
        }
        self.words[bit as usize / 64] &= !(1 << (bit % 64));
        self.ones -= 1;
        true
    }

    /// Sets all.
    pub fn set_all(&mut self) {
        (0..self.len).for_each(|bit| {
            self.set(bit);
        });
    }

    /// Sets those that are set in the other.
    pub fn union(&mut self, other: &Self) {
        other.iter().for_each(|bit| {
            self.set(bit);
        });
    }

    /// Those that are set, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.from(0)
    }

    /// Those that are set from this one on, lowest first.
    pub fn from(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let start = first as usize / 64;
        self.words.iter().enumerate().skip(start).flat_map(move |(index, &word)| {
            let base = index as u32 * 64;
            let mut rest = if base < first { word & (u64::MAX << (first - base)) } else { word };
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = base + rest.trailing_zeros();
                    rest &= rest - 1;
                    bit
                })
            })
        })
    }

    /// The words that hold the bits `first..first + count`, for a unit of a map: `first` is a multiple of 64.
    #[must_use]
    pub fn words_of(&self, first: u32, count: u32) -> &[u64] {
        let start = (first as usize / 64).min(self.words.len());
        let end = ((first + count).div_ceil(64) as usize).min(self.words.len());
        &self.words[start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn units_of_a_map_are_their_words() {
        let mut bits = Bits::new(200, false);
        assert_eq!((bits.len(), bits.is_empty(), Bits::new(0, false).is_empty()), (200, false, true));
        bits.set(64);
        bits.set(199);
        assert_eq!(bits.words_of(64, 64), [1]);
        assert_eq!(bits.words_of(128, 128), [0, 1 << 7]);
        assert!(bits.words_of(256, 64).is_empty());
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(len in 1u32..300, changes in prop::collection::vec((0u32..400, any::<bool>()), 0..100), from in 0u32..300) {
            let mut bits = Bits::new(len, false);
            let mut set = BTreeSet::new();
            for (bit, on) in changes {
                if on {
                    prop_assert_eq!(bits.set(bit), bit < len && set.insert(bit));
                } else {
                    prop_assert_eq!(bits.clear(bit), set.remove(&bit));
                }
            }
            prop_assert_eq!(bits.count() as usize, set.len());
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.from(from).collect::<Vec<_>>(), set.range(from..).copied().collect::<Vec<_>>());
            bits.set_all();
            prop_assert_eq!(bits.count(), len);
        }
    }
}
