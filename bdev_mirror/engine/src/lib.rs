//! Every decision of the mirror, without SPDK, a clock or I/O.
//!
//! Events go in (submit, a leg is done, memory ran out), small values come out that say what to do next. On the data
//! path these are plain inlined calls: state lives in the driver's per-I/O context and channel, nothing is allocated,
//! nothing is locked.
//!
//! | noun | decides |
//! |---|---|
//! | [`LegSet`] | which legs are read and written, as one word that all channels read |
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
pub mod read_policy;
mod slot;
pub mod starvation;

pub use fault::Fault;
pub use join::{Join, Step, Verdict};
pub use leg_set::{LegSet, PublishedLegSet};
pub use slot::{LegMask, MAX_LEGS, Slot};
