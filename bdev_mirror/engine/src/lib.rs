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
//! | [`ErrorBudget`] | when a leg had too many read errors |
//! | [`slow_leg`] | which legs are slow, though none of their I/O fails |
//! | [`flapping`] | when a leg that comes and goes is taken back, and when a spare is |
//! | [`SequentialWrites`] | which regions are marked ahead of a stream of writes |
//! | [`lease`] | how long an owner may write, and when another takes over |
//! | [`starvation`] | whom to fail when waiting for memory makes no progress |
//! | [`geometry`] | how large the mirror is |
//! | [`health`] | what may be said of the mirror |
//! | [`OwnerId`] | whether two owners are of one machine and boot |
//! | [`LatencyHistogram`] | what host I/O latency is |
//! | [`Pacer`] | how fast a resync may copy |
//! | [`Progress`] | how far it has come, and when it ends |
//! | [`Options`] | what may be set, and to which values |

mod error_budget;
mod fault;
pub mod flapping;
pub mod geometry;
pub mod health;
mod join;
mod latency;
pub mod lease;
mod leg_set;
mod option_error;
pub mod options;
mod owner_id;
mod pacer;
mod progress;
pub mod read_policy;
mod sequential;
mod slot;
pub mod slow_leg;
pub mod starvation;

pub use error_budget::ErrorBudget;
pub use fault::Fault;
pub use join::{Join, Step, Verdict};
pub use latency::{LatencyHistogram, LatencySample};
pub use leg_set::{LegSet, PublishedLegSet};
pub use option_error::OptionError;
pub use options::Options;
pub use owner_id::OwnerId;
pub use pacer::{Pacer, PacerOptions};
pub use progress::Progress;
pub use sequential::SequentialWrites;
pub use slot::{LegMask, MAX_LEGS, Slot};
