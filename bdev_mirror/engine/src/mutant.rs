//! Planted mistakes that prove the simulator's teeth.
//!
//! Each mistake is switched on by name at run time, in builds with the feature `mutants` only. In all other builds
//! [`mutant!`](crate::mutant::mutant) is the constant `false`, and the compiler drops the branch.

use std::fmt;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A mistake that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Mutant {
            /// None: the engine as it ships.
            None,
            $($(#[$doc])* #[doc = $text] $name,)*
        }

        impl Mutant {
            /// All of them, in the order of their definition.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it does wrong, in a few words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    Self::None => "none",
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

mutants! {
    AckBeforeStale = "acknowledge before the stale mark is durable",
    ClearBeforeFlush = "clear a bit before flushing all legs",
    ClearUnderNewerWrite = "clear a bit with a newer write in flight",
    ClearBeforeOutOfSync = "clear a bit before the absent leg's map has it",
    ForgetSecondRegion = "forget the second region of an unaligned write",
    TwoCommitsOfUnit = "two commits of one map unit in flight",
    SubmitErrorCompletes = "a submit error completes the write without failing the leg",
    AllFailedStaysReadable = "an all-failed write leaves its range readable from both legs",
    SourceBySlotOrder = "pick the source by slot order",
    ForgetChosenSource = "forget the chosen source over a second crash",
    LargerCounterWins = "trust the larger counter in a split",
    StartWithoutListed = "start without a leg listed as in sync",
    InconsistentAsStale = "start an inconsistent leg as stale",
    ReadAheadOfCopy = "read from a resyncing leg ahead of the copy",
    RepairFromHostBuffer = "repair from the host's buffer",
    SwallowFlushError = "swallow a flush error",
    FailLegForOwnReset = "fail a leg for our own reset",
    CompleteTwiceOnReset = "complete twice on reset",
    ReadmitWithChild = "re-admit a leg with a child outstanding",
    ParkHoldingCount = "park holding a count",
    ForgetShortRegion = "forget the last, short region",
    IgnoreChannelOverlap = "ignore an overlap between two channels",
    VetoOnlyInFlight = "veto a clearing only for writes still in flight",
    InSyncBeforeMaps = "record a leg as in sync before its maps",
    LostLegForgetsDirty = "a lost leg's map lacks the regions dirty at that time",
    NumberUsedTwice = "a start without a listed leg takes the next generation number",
    CopyWithoutWindow = "copy a chunk that the host may write",
    ReconcileWithoutFlush = "serve a reconciled range before it is flushed",
    MarkOneLeg = "write a dirty mark to one leg only",
    SkipZeroFill = "leave the rest of an unwritten region as it is at its first write",
    LostUnitIsClear = "read a map unit that no leg has as all clear",
    SuspectAfterError = "tell the host of an error before its range is suspect",
    CopyZerosOnReadError = "copy zeros where the source cannot be read",
    AcceptClone = "accept a leg of another size, slot or uuid",
    InconsistentMarkLate = "write to a returning leg before its own superblock says inconsistent",
    ResyncBitWithoutFlush = "forget a copied region before the target is flushed",
    WriteAfterLease = "the owner goes on writing after its lease has ended",
    PassUnjudged = "let others past a write of which a leg that stays has failed its part",
    MarkTooFar = "mark regions that no stream of writes comes to",
    StrangerLacksLittle = "give a new drive only what the leg before it lacked",
    ForgetSecondUnit = "write the first unit of a mark only",
    SuspendWithoutDrain = "say that all I/O has ended before it has",
    FlushEveryLeg = "send a flush to legs that know none",
    ParkTooMany = "park more I/O than may wait",
    FailLegForDeserved = "fail a leg for an error that the command deserves",
    RefusedAfterData = "call a write refused of which the data, or a part, was written",
    ReadStuckRange = "serve a range whose write failed for want of a record",
    SendAfterLease = "a channel goes on sending writes after the lease has ended",
    TakeOverInLease = "a successor does not wait for the lease",
    TakeOverBeforeLastIo = "a successor does not wait for the last I/O of the owner",
    StaleIsOptimal = "call a mirror with a stale leg optimal",
    SuspectIsOptimal = "call a mirror optimal while the copies of a range may differ",
}

impl Mutant {
    /// The mistake of this name, as [`Mutant::name`] gives it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }

    /// Its name on a command line, `ack-before-stale`.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text())
    }
}

/// Whether this build can plant mistakes. A product must not.
pub const AVAILABLE: bool = cfg!(feature = "mutants");

#[cfg(feature = "mutants")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(Mutant::None as u8);

/// Plants a mistake for the whole process, in place of the one before.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Mutant) {
    PLANTED.store(mutant as u8, std::sync::atomic::Ordering::Relaxed);
}

/// Whether this mistake is planted.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_planted(mutant: Mutant) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8
}

/// Whether this mistake is planted: never.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub const fn is_planted(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
thread_local! {
    static SMALL_UNITS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Gives map units few bits, on this thread: so that a simulated mirror of few regions has several units in a map.
#[cfg(feature = "mutants")]
pub fn set_small_units(small: bool) {
    SMALL_UNITS.set(small);
}

/// Bits of a unit, if they are fewer than a block holds.
#[cfg(feature = "mutants")]
pub(crate) fn small_units() -> Option<u32> {
    // A word: units are cut out of a map by words.
    SMALL_UNITS.get().then_some(64)
}

/// Bits of a unit, if they are fewer than a block holds: never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn small_units() -> Option<u32> {
    None
}

/// Whether a mistake is planted; `false` at compile time without the feature `mutants`.
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::is_planted($crate::mutant::Mutant::$name)
    };
}
pub(crate) use mutant;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_mutants() {
        for mutant in Mutant::ALL {
            assert_eq!(Mutant::named(&mutant.name()), Some(*mutant));
        }
        assert_eq!(Mutant::AckBeforeStale.name(), "ack-before-stale");
        assert_eq!(Mutant::named("nonsense"), None);
    }
}
