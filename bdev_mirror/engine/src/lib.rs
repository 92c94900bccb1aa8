//! Every decision of the mirror, without SPDK, a clock or I/O.
//!
//! Events go in (submit, a leg is done, memory ran out), small values come out that say what to do next. On the data
//! path these are plain inlined calls: state lives in the driver's per-I/O context and channel, nothing is allocated,
//! nothing is locked.
//!
//! | noun | decides |
//! |---|---|
//! | [`LegSet`] | which legs are read and written, as one word that all channels read |
//! | [`RegionMap`] | what is known of each region, who writes it, and who wins when it is cleared and written at once |
//! | [`RangeTable`] | which of several channels' overlapping writes goes first |
//! | [`Windows`] | which blocks writes stay out of while they are copied |
//! | [`Join`] | when an I/O that was sent to several legs is done, and how it ended |
//! | [`Fault`] | whether an error is the leg's or the command's own |
//! | [`read_policy`] | which leg serves a read |
//! | [`starvation`] | whom to fail when waiting for memory makes no progress |
//! | [`geometry`] | how large the mirror is |
//! | [`format`] | what stands on the legs, byte by byte, and where |
//! | [`health`] | what may be said of the mirror |

mod fault;
pub mod format;
pub mod geometry;
pub mod health;
mod join;
mod leg_set;
mod ranges;
pub mod read_policy;
mod region_map;
mod slot;
pub mod starvation;
pub mod sync;
mod windows;

pub use fault::Fault;
pub use join::{Join, Step, Verdict};
pub use leg_set::{LegSet, PublishedLegSet};
pub use ranges::{Claim, ENTRIES_PER_SHARD, MAX_REGIONS_PER_WRITE, RangeTable};
pub use region_map::{RegionMap, RegionState, RegionWord, Writer};
pub use slot::{LegMask, MAX_LEGS, Slot};
pub use windows::{MAX_WINDOWS, Windows};
