//! The word of every region, which all channels read and change.

use crate::sync::{AtomicU16, Ordering};
use std::hash::{Hash, Hasher};

/// What is known of a region, and which phase of clearing it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RegionState {
    /// Never written: the legs may differ, nobody relies on what is in it.
    Unwritten = 0,
    /// The legs are alike, and no write is under way.
    Clean = 1,
    /// Is being recorded as dirty; writes wait.
    Marking = 2,
    /// Recorded as dirty: writes may go.
    Dirty = 3,
    /// Dirty, and all of it reads as zeros.
    Zeroed = 4,
    /// Dirty, and is to be cleared (phase one): the next write takes it back.
    Flushing = 5,
    /// [`Flushing`](Self::Flushing) of a region that reads as zeros.
    FlushingZeroed = 6,
    /// Is being recorded as clean; new writes wait.
    Cleaning = 7,
    /// [`Cleaning`](Self::Cleaning) of a region that reads as zeros.
    CleaningZeroed = 8,
    /// Dirty, and the legs in sync may differ.
    NoSync = 9,
    /// It could not be recorded as dirty on any leg: the writes that wait for it fail, then it is what it was before.
    Refused = 10,
    /// [`Refused`](Self::Refused), and never written.
    RefusedUnwritten = 11,
    /// [`NoSync`](Self::NoSync), and tried: no leg can read some block of it. It is read from the chosen leg alone until
    /// it could be reconciled.
    Unread = 12,
}

impl RegionState {
    /// By number. Numbers that no state has read as the state that promises least.
    const BY_NUMBER: [Self; 16] = [
        Self::Unwritten,
        Self::Clean,
        Self::Marking,
        Self::Dirty,
        Self::Zeroed,
        Self::Flushing,
        Self::FlushingZeroed,
        Self::Cleaning,
        Self::CleaningZeroed,
        Self::NoSync,
        Self::Refused,
        Self::RefusedUnwritten,
        Self::Unread,
        Self::NoSync,
        Self::NoSync,
        Self::NoSync,
    ];

    /// The state that an owner's close makes of it.
    const fn closed(self) -> Option<Self> {
        match self {
            Self::Flushing => Some(Self::Cleaning),
            Self::FlushingZeroed => Some(Self::CleaningZeroed),
            _ => None,
        }
    }

    /// The first phase of clearing it.
    const fn flushing(self) -> Option<Self> {
        match self {
            Self::Dirty => Some(Self::Flushing),
            Self::Zeroed => Some(Self::FlushingZeroed),
            _ => None,
        }
    }

    /// What it is once zeros were written all over it.
    const fn zeroed(self) -> Option<Self> {
        match self {
            Self::Dirty => Some(Self::Zeroed),
            Self::Flushing => Some(Self::FlushingZeroed),
            _ => None,
        }
    }

    /// What a write makes of it before it is sent.
    const fn vetoed(self) -> Option<Self> {
        match self {
            Self::Flushing | Self::FlushingZeroed | Self::Zeroed => Some(Self::Dirty),
            _ => None,
        }
    }
}

/// Who writes a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Writer(u16);

impl Writer {
    /// No channel wrote it yet.
    pub const NOBODY: Self = Self(2045);
    /// Is being handed from one channel to all: writes wait.
    pub const SHARING: Self = Self(2046);
    /// Several channels: each write claims its range first.
    pub const SHARED: Self = Self(2047);

    /// This channel alone; `None` from number 2045 on.
    #[must_use]
    pub const fn channel(number: u16) -> Option<Self> {
        if number < Self::NOBODY.0 { Some(Self(number)) } else { None }
    }

    /// The number of the channel, if it is a single one.
    #[must_use]
    pub const fn channel_number(self) -> Option<u16> {
        if self.0 < Self::NOBODY.0 { Some(self.0) } else { None }
    }
}

/// The word of a region at one moment.
///
/// Layout: bits 0..4 state, bit 4 COPYING (a part of it is being copied: the windows tell which), bits 5..16 writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionWord(u16);

impl RegionWord {
    const STATE: u16 = 0b1111;
    const COPYING: u16 = 1 << 4;
    const WRITER_SHIFT: u32 = 5;

    /// In this state with this writer, and not being copied.
    #[must_use]
    #[inline]
    pub const fn new(state: RegionState, writer: Writer) -> Self {
        Self(state as u16 | writer.0 << Self::WRITER_SHIFT)
    }

    /// Its state.
    #[must_use]
    #[inline]
    pub const fn state(self) -> RegionState {
        RegionState::BY_NUMBER[(self.0 & Self::STATE) as usize]
    }

    /// Who writes it.
    #[must_use]
    #[inline]
    pub const fn writer(self) -> Writer {
        Writer(self.0 >> Self::WRITER_SHIFT)
    }

    /// Whether a part of it is being copied.
    #[must_use]
    #[inline]
    pub const fn copying(self) -> bool {
        self.0 & Self::COPYING != 0
    }

    /// Whether this writer may write at once: dirty, its own, and not being copied.
    #[must_use]
    #[inline]
    pub const fn is_ready_for(self, writer: Writer) -> bool {
        self.0 == Self::new(RegionState::Dirty, writer).0
    }

    /// The same with another writer.
    const fn with_writer(self, writer: Writer) -> Self {
        Self(self.0 & (Self::STATE | Self::COPYING) | writer.0 << Self::WRITER_SHIFT)
    }

    /// The same in another state.
    const fn with_state(self, state: RegionState) -> Self {
        Self(self.0 & !Self::STATE | state as u16)
    }
}

/// The words of all regions: the owner of the mirror changes them, and channels in few cases.
///
/// Clearing a region takes one pass through the channels. The owner stores Flushing ([`start_flushing`]) and passes a
/// message through all channels; each answers when the writes to the region that it had sent before are done. A write
/// that read the word before Flushing was there is among those: its channel had it in flight when the message came. A
/// write that reads the word after the message finds Flushing, and must take the region back ([`veto`]) *before* it
/// sends anything. When all have answered, the owner closes the region ([`close`]). Both veto and close are one
/// compare-and-swap of the same word out of Flushing, so exactly one of them wins: either the region is dirty again and
/// the owner leaves it so, or it is closed and the write finds Cleaning and waits. Hence no write can slip in between
/// the answer of its channel and the close, and no second pass is needed.
///
/// [`start_flushing`]: Self::start_flushing
/// [`veto`]: Self::veto
/// [`close`]: Self::close
#[derive(Debug)]
pub struct RegionMap(Box<[AtomicU16]>);

impl RegionMap {
    /// So many regions, all with this word.
    #[must_use]
    pub fn new(regions: u32, initial: RegionWord) -> Self {
        Self((0..regions).map(|_| AtomicU16::new(initial.0)).collect())
    }

    /// How many regions there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The word in force.
    ///
    /// It may be a moment old, but never older than the last message that the caller's thread has handled: what the
    /// owner stores before it passes a message is seen by all that a channel does from that message on.
    #[must_use]
    #[inline]
    pub fn load(&self, region: u32) -> RegionWord {
        RegionWord(self.0[region as usize].load(Ordering::Acquire))
    }

    /// Owner: the region is in this state with this writer from now on, whatever it was; COPYING stays.
    ///
    /// Not for what a channel may change at the same time: a region leaves Flushing by [`close`](Self::close), or a
    /// veto would be overwritten.
    pub fn set(&self, region: u32, state: RegionState, writer: Writer) {
        let new = RegionWord::new(state, writer).0;
        // Always finds a new word: no error.
        let _ = self.change(region, |word| Some(RegionWord(new | word.0 & RegionWord::COPYING)));
    }

    /// Owner: whether a part of it is being copied.
    pub fn set_copying(&self, region: u32, copying: bool) {
        let word = &self.0[region as usize];
        if copying {
            word.fetch_or(RegionWord::COPYING, Ordering::AcqRel);
        } else {
            word.fetch_and(!RegionWord::COPYING, Ordering::AcqRel);
        }
    }

    /// Owner: phase one of clearing it, if it is Dirty or Zeroed; the answer is whether it was.
    #[must_use]
    pub fn start_flushing(&self, region: u32) -> bool {
        self.change_state(region, RegionState::flushing).is_ok()
    }

    /// Owner: no write may begin from now on, unless a channel took the region back since it is Flushing: then `false`,
    /// and nothing is changed.
    #[must_use]
    pub fn close(&self, region: u32) -> bool {
        self.change_state(region, RegionState::closed).is_ok()
    }

    /// Channel, before it sends a write to a region that is Flushing or Zeroed: makes it Dirty.
    ///
    /// The answer is the word in force afterwards; in any state but those nothing is changed. Only if the answer says
    /// Dirty may the write go.
    #[must_use]
    pub fn veto(&self, region: u32) -> RegionWord {
        match self.change_state(region, RegionState::vetoed) {
            Ok(word) | Err(word) => word,
        }
    }

    /// Channel, when zeros were written all over the region and nothing else since: Dirty becomes Zeroed, Flushing
    /// becomes FlushingZeroed; any other state stays.
    pub fn mark_zeroed(&self, region: u32) {
        // Another state says that it does not matter any more: no error.
        let _ = self.change_state(region, RegionState::zeroed);
    }

    /// Owner: changes who writes a region; its state stays, whatever a channel makes of it meanwhile.
    pub fn set_writer(&self, region: u32, writer: Writer) {
        // Always finds a new word: no error.
        let _ = self.change(region, |word| Some(word.with_writer(writer)));
    }

    /// All regions with their states.
    pub fn iter_states(&self) -> impl Iterator<Item = (u32, RegionState)> + '_ {
        (0..self.len()).map(|region| (region, self.load(region).state()))
    }

    /// How many regions are in this state.
    #[must_use]
    pub fn count(&self, state: RegionState) -> u32 {
        self.iter_states().filter(|&(_, other)| other == state).count() as u32
    }

    /// The same words, apart from these: for the simulator.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self((0..self.len()).map(|region| AtomicU16::new(self.load(region).0)).collect())
    }

    /// Adds all words to a fingerprint.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        (0..self.len()).for_each(|region| self.load(region).hash(hasher));
    }

    fn change_state(
        &self,
        region: u32,
        change: impl Fn(RegionState) -> Option<RegionState>,
    ) -> Result<RegionWord, RegionWord> {
        self.change(region, |word| Some(word.with_state(change(word.state())?)))
    }

    /// Changes the word by compare-and-swap: the new word, or the word in force for which `change` had none.
    ///
    /// The refusal is of use only if the word is no older than what the caller knows from messages; Acquire and Release
    /// see to that.
    fn change(&self, region: u32, change: impl Fn(RegionWord) -> Option<RegionWord>) -> Result<RegionWord, RegionWord> {
        let word = &self.0[region as usize];
        let mut old = word.load(Ordering::Acquire);
        loop {
            let Some(new) = change(RegionWord(old)) else { return Err(RegionWord(old)) };
            match word.compare_exchange_weak(old, new.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(new),
                Err(now) => old = now,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use RegionState::{Clean, Cleaning, CleaningZeroed, Dirty, Flushing, FlushingZeroed, Marking, NoSync};
    use RegionState::{Unwritten, Zeroed};

    const ALL: [RegionState; 10] =
        [Unwritten, Clean, Marking, Dirty, Zeroed, Flushing, FlushingZeroed, Cleaning, CleaningZeroed, NoSync];

    fn channel(number: u16) -> Writer {
        Writer::channel(number).unwrap()
    }

    fn map(state: RegionState) -> RegionMap {
        RegionMap::new(3, RegionWord::new(state, channel(7)))
    }

    #[test]
    fn words_keep_what_they_are_made_of() {
        assert_eq!(Writer::channel(2045), None);
        for writer in [channel(0), channel(2044), Writer::NOBODY, Writer::SHARING, Writer::SHARED] {
            for state in ALL {
                let map = RegionMap::new(1, RegionWord::new(state, writer));
                for copying in [true, false] {
                    map.set_copying(0, copying);
                    let word = map.load(0);
                    assert_eq!((word.state(), word.writer(), word.copying()), (state, writer, copying));
                    assert_eq!(word.is_ready_for(writer), state == Dirty && !copying);
                    assert!(!word.is_ready_for(channel(9)));
                }
            }
        }
        assert_eq!(channel(2044).channel_number(), Some(2044));
        assert_eq!(Writer::SHARED.channel_number(), None);
    }

    #[test]
    fn a_layout_that_others_rely_on() {
        let map = RegionMap::new(1, RegionWord::new(NoSync, channel(3)));
        map.set_copying(0, true);
        assert_eq!(map.load(0).0, 9 | 1 << 4 | 3 << 5);
        assert_eq!(RegionWord::new(Unwritten, Writer::SHARED).0, 2047 << 5);
        assert_eq!((map.is_empty(), RegionMap::new(0, map.load(0)).is_empty()), (false, true));
    }

    #[test]
    fn each_step_leads_from_its_states_only() {
        for state in ALL {
            let (flushing, closing, vetoed, zeroed) = (map(state), map(state), map(state), map(state));
            assert_eq!(flushing.start_flushing(1), matches!(state, Dirty | Zeroed));
            assert_eq!(closing.close(1), matches!(state, Flushing | FlushingZeroed));
            let word = vetoed.veto(1);
            assert_eq!(word, vetoed.load(1));
            zeroed.mark_zeroed(1);
            let after = [&flushing, &closing, &vetoed, &zeroed].map(|map| map.load(1).state());
            let expected = match state {
                Dirty => [Flushing, Dirty, Dirty, Zeroed],
                Zeroed => [FlushingZeroed, Zeroed, Dirty, Zeroed],
                Flushing => [Flushing, Cleaning, Dirty, FlushingZeroed],
                FlushingZeroed => [FlushingZeroed, CleaningZeroed, Dirty, FlushingZeroed],
                other => [other; 4],
            };
            assert_eq!(after, expected, "{state:?}");
        }
    }

    #[test]
    fn what_a_step_does_not_concern_stays() {
        let map = map(Flushing);
        map.set_copying(1, true);
        let word = map.veto(1);
        assert_eq!((word.state(), word.writer(), word.copying()), (Dirty, channel(7), true));
        map.set(1, Clean, Writer::NOBODY);
        let word = map.load(1);
        assert_eq!((word.state(), word.writer(), word.copying()), (Clean, Writer::NOBODY, true));
        assert_eq!(map.iter_states().collect::<Vec<_>>(), [(0, Flushing), (1, Clean), (2, Flushing)]);
        assert_eq!((map.count(Flushing), map.count(Dirty), map.len()), (2, 0, 3));
    }
}
