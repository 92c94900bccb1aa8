//! A leg, as `bdev_mirror_get_bdevs` shows it.

use serde::Serialize;
use uuid::Uuid;

/// A slot of a mirror and the base bdev in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegInfo {
    /// Name of the base bdev.
    pub name: String,
    /// Its UUID, where it has one.
    pub uuid: Option<Uuid>,
    /// Whether it is open and takes part.
    pub is_configured: bool,
    /// Where the data begin on it, in blocks.
    pub data_offset: u64,
    /// How much of it is used, in blocks.
    pub data_size: u64,
    /// Its index in `base_bdevs`.
    pub slot: usize,
    /// Whether it can be trusted.
    pub state: LegState,
    /// Why it is in that state, if there is something to say.
    pub reason: Option<String>,
    /// How it is flushed.
    pub durability: Durability,
    /// What went wrong on it.
    pub errors: LegErrors,
}

impl LegInfo {
    /// The leg's letter in the mirror's `status`: `A` in sync, `F` flush failed, `D` write failed, `S` not in sync, `R`
    /// read errors, `U` missing. The worst one wins.
    ///
    /// Letters and their order are those of `device_status_char()` in Linux' `drivers/md/dm-raid1.c`, except that `U`
    /// stands for an unknown failure there.
    pub fn letter(&self) -> char {
        if self.state == LegState::Missing {
            'U'
        } else if self.errors.flush > 0 {
            'F'
        } else if self.errors.write > 0 {
            'D'
        } else if self.state == LegState::Inconsistent {
            'S'
        } else if self.errors.read > 0 {
            'R'
        } else {
            'A'
        }
    }
}

/// Whether a leg can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// It has every acknowledged write.
    InSync,
    /// Its base bdev is gone.
    Missing,
    /// It may differ from the others.
    Inconsistent,
}

/// How data reach a leg's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// What it acknowledges is durable.
    NotNeeded,
    /// By NVMe's Flush command, passed through.
    NvmeFlush,
    /// By the bdev's flush, of a module that is known to honour it.
    BdevFlush,
    /// Nobody knows: a power cut may lose what it acknowledged.
    Unknown,
}

/// Errors of a leg since the mirror was created; without what it refused for what the command asks, and what a reset or
/// an abort cut short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LegErrors {
    /// Reads that failed.
    pub read: u64,
    /// Writes, unmaps and write-zeroes that failed.
    pub write: u64,
    /// Flushes that failed.
    pub flush: u64,
    /// Blocks repaired from another leg.
    pub corrected: u64,
}
