//! Why a mirror does not start, and why a leg takes no part: what an operator is told.

use super::NUMBER_MAX;
use crate::Slot;
use std::fmt;
use uuid::Uuid;

/// Why a mirror does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was found that belongs to it.
    Nothing,
    /// Two legs each ran without the other.
    Diverged {
        /// One.
        one: Slot,
        /// The other.
        other: Slot,
    },
    /// The winner is not there, or not fit to be one.
    NoSuchWinner {
        /// The slot that was asked for.
        slot: Slot,
    },
    /// Only stale legs are there: acknowledged writes would be lost.
    OnlyStale,
    /// Only legs are there that were being written by a resync: their data may never have been whole.
    OnlyInconsistent,
    /// A leg has features that only a newer module may write to.
    ReadOnlyFeatures {
        /// Their bits.
        features: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(out, "no leg of the mirror is there; attach its base bdevs"),
            Self::Diverged { one, other } => write!(
                out,
                "the legs in slots {} and {} each ran without the other; choose whose data is kept, by winner",
                one.index(),
                other.index()
            ),
            Self::NoSuchWinner { slot } => {
                write!(
                    out,
                    "winner: expected the slot of a leg that is there and in sync with itself, found {}",
                    slot.index()
                )
            }
            Self::OnlyStale => write!(
                out,
                "only stale legs are there; attach one that is in sync, or force the start and lose acknowledged writes"
            ),
            Self::OnlyInconsistent => write!(
                out,
                "only legs are there that a resync was writing; attach one that is in sync, or force the start with \
                 accept_inconsistent and take data that may never have been whole"
            ),
            Self::ReadOnlyFeatures { features } => {
                write!(out, "features {features:#x} are known to newer modules only; use one that knows them")
            }
        }
    }
}

/// Why a leg takes no part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Another leg with the same uuid is there: one is a copy of the other.
    Cloned {
        /// The uuid.
        leg: Uuid,
    },
    /// Its base bdev is not the one that it was when it was admitted.
    OtherBdev {
        /// The identity on record.
        expected: Uuid,
        /// What is there.
        found: Uuid,
    },
    /// Its base bdev became too small.
    Shrunk {
        /// Blocks that it needs.
        expected: u64,
        /// Blocks that it has.
        found: u64,
    },
    /// The mirror has another leg in that slot now.
    Replaced {
        /// The leg on record.
        expected: Uuid,
        /// The one that is there.
        found: Uuid,
    },
    /// It is of another size or layout than the mirror.
    OtherGeometry,
    /// One of its numbers leaves no room to count on: no mirror counts that far.
    TooHighNumber {
        /// Which one.
        field: &'static str,
        /// What it is.
        found: u64,
    },
    /// It belongs to another mirror.
    Foreign {
        /// The mirror.
        expected: Uuid,
        /// That of the leg.
        found: Uuid,
    },
}

impl fmt::Display for Rejected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloned { leg } => write!(out, "leg {leg} is there twice: one is a copy; detach it"),
            Self::OtherBdev { expected, found } => {
                write!(out, "uuid of the base bdev: expected {expected}, found {found}; is it a copy?")
            }
            Self::Shrunk { expected, found } => write!(out, "size: expected at least {expected} blocks, found {found}"),
            Self::Replaced { expected, found } => {
                write!(out, "leg in this slot: expected {expected}, found {found}; it was replaced, wipe it to use it")
            }
            Self::OtherGeometry => write!(out, "size or layout of the mirror differs from that on the other legs"),
            Self::TooHighNumber { field, found } => {
                write!(out, "{field}: expected at most {NUMBER_MAX}, found {found}; wipe it to use it")
            }
            Self::Foreign { expected, found } => write!(out, "mirror: expected {expected}, found {found}"),
        }
    }
}
