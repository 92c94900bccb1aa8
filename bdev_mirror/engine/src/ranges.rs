//! The ranges of writes in flight to regions that several channels write.

use crate::sync::{AtomicBool, AtomicU64, Ordering};
use std::hash::{Hash, Hasher};
use std::ops::{Range, RangeInclusive};

/// Most regions that one write may touch.
pub const MAX_REGIONS_PER_WRITE: usize = 32;

/// Entries of a shard, at most and by default.
pub const ENTRIES_PER_SHARD: usize = 32;

/// Exact list of the ranges that several channels write at the moment, so that overlapping writes are never in flight
/// together. No lock, no allocation after [`new`](Self::new), no waiting: a write that conflicts parks.
///
/// A region belongs to one shard, and a write has an entry in the shard of each region that it touches. Overlapping
/// writes have a region in common and so meet in its shard.
///
/// Each shard has one word: which entries are reserved, and which of them are live. A claim reserves an entry, fills it
/// in, and makes it live by a read-modify-write that at the same time says which others were live before.
///
/// **Never two holders.** The read-modify-writes of one word have one order. Of two overlapping claims that are live in
/// a shard together, the one that became live later finds the bit of the other, sees the overlap and gives all back. It
/// cannot misread the other's entry: nobody fills it in anew before the other has given it back.
///
/// **One always gets on.** A claim goes through its shards in ascending order, so of two claims only one can see the
/// other: in the lowest shard that they share one is earlier, and the later one does not get beyond it. Whoever backs
/// off saw an earlier claim in the same shard or one that is beyond it; that chain has an end, a claim that holds.
///
/// **No lost wake-up.** A claim that is to park first sets the `waiters` flag of all its shards and then looks once
/// more, by a read-modify-write of each word. Either it finds the way free, and claims; or it finds an entry in the
/// way. Who gives up that entry does so by a later read-modify-write of the same word, and so sees the flag, or that a
/// [`release`](Self::release) has taken it since, which wakes all. Who sees the flag
///
/// * in a release, wakes all;
/// * when giving back, and parks as well: says so ([`Claim::Conflict`]), and wakes all. Whoever ends what it parked for
///   would do so too, but perhaps much later;
/// * when giving back, and then holds after all: leaves the flag, and wakes all when it releases.
///
/// The wake-up is a message to the parked one's thread and comes after it has parked.
///
/// **No wake-ups in circles.** A claim looks before it enters anything. While nothing changes, a claim that is tried
/// again and again enters nothing, gives nothing back, and wakes nobody.
#[derive(Debug)]
pub struct RangeTable {
    shards: Box<[Shard]>,
    /// `entries_per_shard` of each shard, one shard after the other.
    entries: Box<[Entry]>,
    entries_per_shard: usize,
    shard_bits: u32,
}

/// How a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// No other write overlaps it until [`RangeTable::release`].
    Held,
    /// Something is in the way: park the write, before the thread handles its next message, and try again when woken.
    Conflict {
        /// All channels are to be woken, this one too: the claim may have been in somebody's way for a moment.
        wake_all: bool,
    },
}

/// Aligned so that channels that use different shards do not share a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Shard {
    /// Bits 0..32 reserved entries, bits 32..64 live entries (part of the reserved ones).
    word: AtomicU64,
    /// Someone has parked, or is about to.
    waiters: AtomicBool,
}

/// Aligned so that it is within one cache line.
#[derive(Debug)]
#[repr(align(32))]
struct Entry {
    key: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
}

/// What a claim enters.
struct Wanted {
    key: u64,
    range: Range<u64>,
}

/// The distinct shards of a write, ascending.
struct ShardList {
    indices: [u16; MAX_REGIONS_PER_WRITE],
    len: usize,
}

impl ShardList {
    #[inline]
    fn insert(&mut self, index: u16) {
        let mut at = self.len;
        while at > 0 && self.indices[at - 1] >= index {
            if self.indices[at - 1] == index {
                return;
            }
            at -= 1;
        }
        self.indices.copy_within(at..self.len, at + 1);
        self.indices[at] = index;
        self.len += 1;
    }

    fn as_slice(&self) -> &[u16] {
        &self.indices[..self.len]
    }
}

impl RangeTable {
    /// A table without claims: `shards` is rounded up to a power of two of at most 65536, `entries_per_shard` is at
    /// most [`ENTRIES_PER_SHARD`].
    #[must_use]
    pub fn new(shards: usize, entries_per_shard: usize) -> Self {
        let shards = shards.clamp(1, 1 << 16).next_power_of_two();
        let entries_per_shard = entries_per_shard.clamp(1, ENTRIES_PER_SHARD);
        let shard = || Shard { word: AtomicU64::new(0), waiters: AtomicBool::new(false) };
        let entry = || Entry { key: AtomicU64::new(0), start: AtomicU64::new(0), end: AtomicU64::new(0) };
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            entries: (0..shards * entries_per_shard).map(|_| entry()).collect(),
            entries_per_shard,
            shard_bits: shards.trailing_zeros(),
        }
    }

    /// Claims `range` (blocks, all of them in `regions`) for the write with this `key`, which no other write has.
    ///
    /// # Panics
    /// With more than [`MAX_REGIONS_PER_WRITE`] regions.
    pub fn try_claim(&self, regions: RangeInclusive<u32>, key: u64, range: Range<u64>) -> Claim {
        let shards = self.shards_of(regions);
        let shards = shards.as_slice();
        let wanted = Wanted { key, range };
        let mut wake_all = false;
        // The first look may be a moment old: what it misses, the claim finds; what it sees too much, the second look
        // does not.
        let look = |shard: &u16| self.is_blocked(*shard, self.word(*shard).load(Ordering::Acquire), &wanted);
        if !shards.iter().any(look) {
            match self.claim_all(shards, &wanted) {
                Ok(()) => return Claim::Held,
                Err(waiters) => wake_all = waiters,
            }
        }

        // From here on whoever gives up an entry of these shards knows that someone waits. Relaxed is enough: the
        // read-modify-writes that follow carry it.
        shards.iter().for_each(|&shard| self.shards[usize::from(shard)].waiters.store(true, Ordering::Relaxed));
        // This look has its place in the order of the word's changes, hence no plain load: an entry that is in the way
        // is given up after it. A full shard counts as well: the entries in it are given up too.
        let look_now = |shard: &u16| self.is_blocked(*shard, self.word(*shard).fetch_or(0, Ordering::AcqRel), &wanted);
        if shards.iter().any(look_now) {
            return Claim::Conflict { wake_all };
        }
        match self.claim_all(shards, &wanted) {
            Ok(()) => Claim::Held,
            // Others were quicker just now, and see the flag when they end. But someone may have parked because of what
            // was just given back, and the flag cannot tell: this claim has set it itself.
            Err(_) => Claim::Conflict { wake_all: true },
        }
    }

    /// The write with this key is over; `regions` are those that it claimed. Whether all channels are to be woken.
    #[must_use]
    pub fn release(&self, regions: RangeInclusive<u32>, key: u64) -> bool {
        let mut wake_all = false;
        for &shard in self.shards_of(regions).as_slice() {
            let waiters = &self.shards[usize::from(shard)].waiters;
            // Only a release takes the flag down, because only a release is sure to wake. Read before it is changed:
            // mostly nobody waits.
            wake_all |=
                self.remove(shard, key) && waiters.load(Ordering::Acquire) && waiters.swap(false, Ordering::AcqRel);
        }
        wake_all
    }

    /// Whether no range is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.word.load(Ordering::Acquire) == 0)
    }

    /// The same claims and flags, apart from these: for the simulator, while no call is under way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let fork = Self::new(self.shards.len(), self.entries_per_shard);
        for (new, shard) in fork.shards.iter().zip(&self.shards) {
            new.word.store(shard.word.load(Ordering::Acquire), Ordering::Relaxed);
            new.waiters.store(shard.waiters.load(Ordering::Acquire), Ordering::Relaxed);
        }
        for (new, entry) in fork.entries.iter().zip(&self.entries) {
            new.key.store(entry.key.load(Ordering::Acquire), Ordering::Relaxed);
            new.start.store(entry.start.load(Ordering::Acquire), Ordering::Relaxed);
            new.end.store(entry.end.load(Ordering::Acquire), Ordering::Relaxed);
        }
        fork
    }

    /// Adds claims and flags to a fingerprint; which entry of its shard a claim has makes no difference. Allocates: for
    /// the simulator, not for the data path.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        for (index, shard) in self.shards.iter().enumerate() {
            let mut claims: Vec<_> = self.live_entries(index as u16, shard.word.load(Ordering::Acquire)).collect();
            claims.sort_unstable();
            claims.hash(hasher);
            shard.waiters.load(Ordering::Acquire).hash(hasher);
        }
    }

    fn shards_of(&self, regions: RangeInclusive<u32>) -> ShardList {
        let mut list = ShardList { indices: [0; MAX_REGIONS_PER_WRITE], len: 0 };
        let count = u64::from(*regions.end()).saturating_sub(u64::from(*regions.start())) + 1;
        assert!(count <= MAX_REGIONS_PER_WRITE as u64, "a write touches {count} regions");
        for region in regions {
            // Fibonacci hashing: regions at any stride spread over the shards, neighbours most evenly.
            let hash = u64::from(region.wrapping_mul(0x9e37_79b1));
            list.insert((hash >> (u32::BITS - self.shard_bits)) as u16);
        }
        list
    }

    #[inline]
    fn word(&self, shard: u16) -> &AtomicU64 {
        &self.shards[usize::from(shard)].word
    }

    #[inline]
    fn entry(&self, shard: u16, bit: u32) -> &Entry {
        &self.entries[usize::from(shard) * self.entries_per_shard + bit as usize]
    }

    /// Entries of a shard that are not reserved in this word, one bit each.
    #[inline]
    const fn free_entries(&self, word: u64) -> u32 {
        !(word as u32) & (u32::MAX >> (ENTRIES_PER_SHARD - self.entries_per_shard))
    }

    /// Bit, start, end and key of the entries that are live in this word.
    ///
    /// An entry may be given back and filled in anew meanwhile, and is then read as a mixture. Acquire, so that whoever
    /// misses a claim for that reason comes after the end of its write.
    #[inline]
    fn live_entries(&self, shard: u16, word: u64) -> impl Iterator<Item = (u64, u64, u64)> {
        let mut live = (word >> u32::BITS) as u32;
        std::iter::from_fn(move || {
            if live == 0 {
                return None;
            }
            let entry = self.entry(shard, live.trailing_zeros());
            live &= live - 1;
            let load = |field: &AtomicU64| field.load(Ordering::Acquire);
            Some((load(&entry.start), load(&entry.end), load(&entry.key)))
        })
    }

    #[inline]
    fn overlaps(&self, shard: u16, word: u64, wanted: &Wanted) -> bool {
        self.live_entries(shard, word)
            .any(|(start, end, key)| start < wanted.range.end && wanted.range.start < end && key != wanted.key)
    }

    #[inline]
    fn is_blocked(&self, shard: u16, word: u64, wanted: &Wanted) -> bool {
        self.free_entries(word) == 0 || self.overlaps(shard, word, wanted)
    }

    /// An entry in each shard, or none: then whether anyone waits that may have seen one of them.
    #[inline]
    fn claim_all(&self, shards: &[u16], wanted: &Wanted) -> Result<(), bool> {
        for (index, &shard) in shards.iter().enumerate() {
            let entered = match self.enter(shard, wanted) {
                Entered::Alone => continue,
                Entered::Overlapping => index + 1,
                Entered::Full => index,
            };
            let mut waiters = false;
            for &given_back in &shards[..entered] {
                self.remove(given_back, wanted.key);
                waiters |= self.shards[usize::from(given_back)].waiters.load(Ordering::Acquire);
            }
            return Err(waiters);
        }
        Ok(())
    }

    /// Fills in an entry, makes it live, and then looks who was live before.
    #[inline]
    fn enter(&self, shard: u16, wanted: &Wanted) -> Entered {
        let word = self.word(shard);
        let mut old = word.load(Ordering::Relaxed);
        let bit = loop {
            let free = self.free_entries(old);
            if free == 0 {
                return Entered::Full;
            }
            let bit = free.trailing_zeros();
            // Acquire: the entry is filled in after whoever had it before has given it back.
            match word.compare_exchange_weak(old, old | 1 << bit, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break bit,
                Err(now) => old = now,
            }
        };
        let entry = self.entry(shard, bit);
        // Release: see live_entries().
        entry.key.store(wanted.key, Ordering::Release);
        entry.start.store(wanted.range.start, Ordering::Release);
        entry.end.store(wanted.range.end, Ordering::Release);
        let before = word.fetch_or(1 << (u32::BITS + bit), Ordering::AcqRel);
        if self.overlaps(shard, before, wanted) { Entered::Overlapping } else { Entered::Alone }
    }

    /// Frees the entries of this key in a shard: whether there were any.
    #[inline]
    fn remove(&self, shard: u16, key: u64) -> bool {
        let word = self.word(shard);
        let mut live = (word.load(Ordering::Acquire) >> u32::BITS) as u32;
        let mut mine = 0;
        while live != 0 {
            let bit = live.trailing_zeros();
            live &= live - 1;
            // Keys are not used twice at a time, and who holds this one is the caller: no other entry has it.
            if self.entry(shard, bit).key.load(Ordering::Acquire) == key {
                mine |= 1 << bit;
            }
        }
        if mine != 0 {
            // One change for both halves. Release: the next holder comes after this write; Acquire: the flag of whoever
            // saw this entry.
            word.fetch_and(!(mine | mine << u32::BITS), Ordering::AcqRel);
        }
        mine != 0
    }
}

/// How it went in one shard.
enum Entered {
    /// In, and nobody overlaps.
    Alone,
    /// In, and somebody overlaps.
    Overlapping,
    /// Not in: there is no entry.
    Full,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::hash_map::DefaultHasher;

    const PARKED: Claim = Claim::Conflict { wake_all: false };

    fn fingerprint(table: &RangeTable) -> u64 {
        let mut hasher = DefaultHasher::new();
        table.hash_into(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn the_later_of_two_waits_for_the_release() {
        let table = RangeTable::new(4, 8);
        assert_eq!(table.try_claim(0..=1, 1, 90..110), Claim::Held);
        assert!(!table.is_empty());
        assert_eq!(table.try_claim(1..=2, 2, 109..210), PARKED);
        assert_eq!(table.try_claim(1..=2, 3, 110..210), Claim::Held);
        assert!(table.release(0..=1, 1));
        assert_eq!(table.try_claim(1..=1, 2, 100..110), Claim::Held);
        assert!(!table.release(1..=1, 2) && !table.release(1..=1, 2));
        // The flag was set in all shards of the one that parked.
        let _ = table.release(1..=2, 3);
        assert!(table.is_empty());
    }

    #[test]
    fn a_full_shard_parks_and_wakes() {
        let table = RangeTable::new(1, 2);
        assert_eq!(table.try_claim(0..=0, 1, 0..1), Claim::Held);
        assert_eq!(table.try_claim(7..=7, 2, 70..71), Claim::Held);
        assert_eq!(table.try_claim(8..=8, 3, 80..81), PARKED);
        assert!(table.release(7..=7, 2));
        assert_eq!(table.try_claim(8..=8, 3, 80..81), Claim::Held);
        assert!(!table.release(8..=8, 3) && !table.release(0..=0, 1));
        assert!(table.is_empty());
    }

    #[test]
    fn what_stays_parked_wakes_nobody() {
        let table = RangeTable::new(16, 32);
        assert_eq!(table.try_claim(5..=5, 1, 500..510), Claim::Held);
        for _ in 0..3 {
            assert_eq!(table.try_claim(0..=31, 2, 0..3200), PARKED);
            assert_eq!(table.try_claim(5..=5, 3, 509..520), PARKED);
        }
        assert!(table.release(5..=5, 1));
        assert!(table.is_empty());
    }

    #[test]
    fn regions_at_any_stride_use_all_shards() {
        let table = RangeTable::new(64, 32);
        for stride in [1, 2, 16, 64, 1024] {
            let used: std::collections::BTreeSet<_> =
                (0..1024).map(|n| table.shards_of(n * stride..=n * stride).indices[0]).collect();
            assert!(used.len() >= 48, "stride {stride}: {} shards", used.len());
        }
        let list = table.shards_of(100..=131);
        assert!(list.as_slice().is_sorted_by(|a, b| a < b));
    }

    #[test]
    #[should_panic(expected = "33 regions")]
    fn more_regions_than_allowed() {
        let _ = RangeTable::new(4, 8).try_claim(0..=32, 1, 0..1);
    }

    #[test]
    fn the_fingerprint_does_not_tell_the_order() {
        let (one, other) = (RangeTable::new(1, 8), RangeTable::new(1, 8));
        for key in [1, 2] {
            assert_eq!(one.try_claim(0..=0, key, key..key + 1), Claim::Held);
            assert_eq!(other.try_claim(0..=0, 3 - key, 3 - key..4 - key), Claim::Held);
        }
        assert_eq!(fingerprint(&one), fingerprint(&other));
        assert!(!one.release(0..=0, 1));
        assert_ne!(fingerprint(&one), fingerprint(&other));
    }

    /// Blocks of a region in the test below.
    const REGION_BLOCKS: u64 = 10;

    proptest! {
        /// A claim is held exactly if nothing held overlaps and there is room; a release wakes if anyone parked since.
        #[test]
        fn as_a_list(
            shards in 1usize..9,
            entries in 1usize..9,
            steps in prop::collection::vec((0u64..150, 1u64..60, any::<prop::sample::Index>(), any::<bool>()), 0..200),
        ) {
            let table = RangeTable::new(shards, entries);
            let mut held: Vec<(u64, Range<u64>)> = Vec::new();
            let regions = |range: &Range<u64>| {
                (range.start / REGION_BLOCKS) as u32..=((range.end - 1) / REGION_BLOCKS) as u32
            };
            for (key, (start, blocks, index, claim)) in steps.into_iter().enumerate() {
                if claim {
                    let (key, range) = (key as u64, start..start + blocks);
                    let overlaps = held.iter().any(|(_, other)| other.start < range.end && range.start < other.end);
                    let room = table.shards_of(regions(&range)).as_slice().iter().all(|&shard| {
                        let in_it = |other: &Range<u64>| table.shards_of(regions(other)).as_slice().contains(&shard);
                        held.iter().filter(|(_, other)| in_it(other)).count() < entries
                    });
                    let claim = table.try_claim(regions(&range), key, range.clone());
                    prop_assert_eq!(claim, if !overlaps && room { Claim::Held } else { PARKED });
                    if claim == Claim::Held {
                        held.push((key, range));
                    } else {
                        let flags = table.shards_of(regions(&range));
                        let set = |&shard: &u16| table.shards[usize::from(shard)].waiters.load(Ordering::Acquire);
                        prop_assert!(flags.as_slice().iter().all(set));
                    }
                } else if !held.is_empty() {
                    let (key, range) = held.swap_remove(index.index(held.len()));
                    let flags = table.shards_of(regions(&range));
                    let set = |&shard: &u16| table.shards[usize::from(shard)].waiters.load(Ordering::Acquire);
                    let expected = flags.as_slice().iter().any(set);
                    prop_assert_eq!(table.release(regions(&range), key), expected);
                    prop_assert!(!flags.as_slice().iter().any(set));
                }
            }
            for (key, range) in held {
                let _ = table.release(regions(&range), key);
            }
            prop_assert!(table.is_empty());
        }
    }
}
