//! A mirror, as `bdev_mirror_get_bdevs` shows it.

use serde::Serialize;
use uuid::Uuid;

use crate::{InitialSync, LegInfo, LogType, ReadPolicy, UnmapMode};

/// A mirror and its legs. Keys that `bdev_raid_get_bdevs` has too mean the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorInfo {
    /// Name of the mirror bdev.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it serves I/O.
    pub state: State,
    /// Slots.
    pub num_base_bdevs: usize,
    /// Slots whose base bdev is there.
    pub num_base_bdevs_discovered: usize,
    /// Slots whose base bdev takes part.
    pub num_base_bdevs_operational: usize,
    /// How redundant it really is.
    pub health: Health,
    /// One letter per leg, see [`LegInfo::letter`].
    pub status: String,
    /// Where the dirty region log is.
    pub log_type: LogType,
    /// What the legs were declared to hold at creation.
    pub initial_sync: InitialSync,
    /// Which leg a read goes to.
    pub read_policy: ReadPolicy,
    /// What becomes of an unmap.
    pub unmap: UnmapMode,
    /// In bytes.
    pub block_size: u32,
    /// In blocks.
    pub num_blocks: u64,
    /// The last thing that happened to it, in a sentence.
    pub last_event: Option<String>,
    /// I/Os failed because they waited for memory and nothing progressed (5 s the first time, then 10 ms while it goes on).
    pub nomem_failed_ios: u64,
    /// The legs, one per slot.
    pub base_bdevs_list: Vec<LegInfo>,
}

impl MirrorInfo {
    /// What `status` should be for the legs listed: one letter per leg, in slot order.
    pub fn status_letters(&self) -> String {
        self.base_bdevs_list.iter().map(LegInfo::letter).collect()
    }
}

/// Whether a mirror serves I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Online,
    /// It does not any more; it is listed until it is deleted.
    Offline,
}

/// How redundant a mirror really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Two legs or more, all of them in sync.
    Optimal,
    /// A single leg: nothing is mirrored.
    Degraded,
    /// It no longer serves I/O.
    Failing,
    /// A write or flush failed or was cut short: the legs may differ.
    Inconsistent,
}
