//! A map in memory: one bit a region.

/// One bit a region. Above the words are levels that say which words of the one below are not zero, so that the next bit
/// that is set is found in a few steps however far away it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bits {
    words: Vec<u64>,
    /// From the level right above the words to one that is a single word; none above a single word.
    above: Vec<Vec<u64>>,
    len: u32,
    ones: u32,
}

impl Bits {
    /// So many bits, all clear or all set.
    #[must_use]
    pub fn new(len: u32, set: bool) -> Self {
        let words = vec![0; len.div_ceil(64) as usize];
        let mut above: Vec<Vec<u64>> = Vec::new();
        let mut below = words.len();
        while below > 1 {
            below = below.div_ceil(64);
            above.push(vec![0; below]);
        }
        let mut bits = Self { words, above, len, ones: 0 };
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
        let word = bit as usize / 64;
        self.store(word, self.words[word] | 1 << (bit % 64));
        true
    }

    /// Clears this one; whether it was set.
    pub fn clear(&mut self, bit: u32) -> bool {
        if !self.get(bit) {
            return false;
        }
        let word = bit as usize / 64;
        self.store(word, self.words[word] & !(1 << (bit % 64)));
        true
    }

    /// Sets all.
    pub fn set_all(&mut self) {
        for index in 0..self.words.len() {
            self.store(index, u64::MAX);
        }
    }

    /// Sets those that are set in the other.
    pub fn union(&mut self, other: &Self) {
        let words = self.words.len();
        for (index, word) in other.set_words().take_while(|(index, _)| *index < words) {
            self.store(index, self.words[index] | word);
        }
    }

    /// Clears those that are clear in the other.
    pub fn intersect(&mut self, other: &Self) {
        let mut next = 0;
        while let Some(bit) = self.next_set_from(next) {
            let index = bit as usize / 64;
            self.store(index, self.words[index] & other.words.get(index).unwrap_or(&0));
            next = (bit / 64 + 1) * 64;
        }
    }

    /// Makes the bits `first..first + count` those of the other: `first` and `count` are multiples of 64.
    pub fn copy_words_of(&mut self, other: &Self, first: u32, count: u32) {
        let start = first as usize / 64;
        for (index, &word) in (start..self.words.len()).zip(other.words_of(first, count)) {
            self.store(index, word);
        }
    }

    /// Those that are set, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.from(0)
    }

    /// Those that are set from this one on, lowest first.
    pub fn from(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let bit = self.next_set_from(next?)?;
            next = bit.checked_add(1);
            Some(bit)
        })
    }

    /// The first one that is set from this one on.
    #[must_use]
    pub fn next_set_from(&self, first: u32) -> Option<u32> {
        let mut at = first as usize;
        // Up, until a word has something left; then down, always to the lowest.
        for height in 0..=self.above.len() {
            let word = self.level(height).get(at / 64)? & (u64::MAX << (at % 64));
            if word != 0 {
                at = at / 64 * 64 + word.trailing_zeros() as usize;
                for level in (0..height).rev().map(|below| self.level(below)) {
                    at = at * 64 + level[at].trailing_zeros() as usize;
                }
                return Some(at as u32);
            }
            at = at / 64 + 1;
        }
        None
    }

    /// The words that hold the bits `first..first + count`, for a unit of a map: `first` is a multiple of 64.
    #[must_use]
    pub fn words_of(&self, first: u32, count: u32) -> &[u64] {
        let start = (first as usize / 64).min(self.words.len());
        let end = ((first + count).div_ceil(64) as usize).min(self.words.len());
        &self.words[start..end]
    }

    fn level(&self, height: usize) -> &[u64] {
        height.checked_sub(1).map_or(&self.words, |above| &self.above[above])
    }

    /// Words that are not zero, and their places.
    fn set_words(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let index = self.next_set_from(next?)? / 64;
            next = (index + 1).checked_mul(64);
            Some((index as usize, self.words[index as usize]))
        })
    }

    /// Changes a word; bits beyond the end stay clear.
    fn store(&mut self, index: usize, word: u64) {
        let rest = self.len - index as u32 * 64;
        let word = if rest < 64 { word & ((1 << rest) - 1) } else { word };
        let before = std::mem::replace(&mut self.words[index], word);
        self.ones = self.ones + word.count_ones() - before.count_ones();
        let (mut at, set) = (index, word != 0);
        if set == (before != 0) {
            return;
        }
        for level in &mut self.above {
            let before = level[at / 64];
            let word = if set { before | 1 << (at % 64) } else { before & !(1 << (at % 64)) };
            level[at / 64] = word;
            if (before != 0) == (word != 0) {
                return;
            }
            at /= 64;
        }
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
        fn behaves_as_a_set(
            len in prop_oneof![1u32..300, 4000u32..10_000],
            changes in prop::collection::vec((0u32..10_100, any::<bool>()), 0..100),
            from in 0u32..10_100,
        ) {
            let mut bits = Bits::new(len, false);
            let mut set = BTreeSet::new();
            for (bit, on) in changes {
                // Mostly within, sometimes beyond the end.
                let bit = bit % (len + 100);
                if on {
                    prop_assert_eq!(bits.set(bit), bit < len && set.insert(bit));
                } else {
                    prop_assert_eq!(bits.clear(bit), set.remove(&bit));
                }
            }
            prop_assert_eq!(bits.count() as usize, set.len());
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.from(from).collect::<Vec<_>>(), set.range(from..).copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.next_set_from(from), set.range(from..).next().copied());
            bits.set_all();
            prop_assert_eq!(bits.count(), len);
            prop_assert_eq!(bits, Bits::new(len, true));
        }

        #[test]
        fn whole_words_are_as_bit_by_bit(
            len in 200u32..500,
            one in prop::collection::btree_set(0u32..500, 0..40),
            other in prop::collection::btree_set(0u32..500, 0..40),
            unit in 0u32..4,
        ) {
            let of = |set: &BTreeSet<u32>| {
                let mut bits = Bits::new(len, false);
                set.iter().for_each(|&bit| { bits.set(bit); });
                bits
            };
            let (one, other) = (of(&one), of(&other));
            let mut union = one.clone();
            union.union(&other);
            prop_assert_eq!(&union, &of(&one.iter().chain(other.iter()).collect()));
            let mut both = one.clone();
            both.intersect(&other);
            prop_assert_eq!(&both, &of(&one.iter().filter(|bit| other.get(*bit)).collect()));
            let range = unit * 128..(unit + 1) * 128;
            let same = range.clone().all(|bit| one.get(bit) == other.get(bit));
            prop_assert_eq!(one.words_of(unit * 128, 128) == other.words_of(unit * 128, 128), same);
            let mut copied = one.clone();
            copied.copy_words_of(&other, unit * 128, 128);
            let outside = one.iter().filter(|bit| !range.contains(bit));
            prop_assert_eq!(copied, of(&outside.chain(other.iter().filter(|bit| range.contains(bit))).collect()));
        }
    }
}
