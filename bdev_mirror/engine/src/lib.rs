//! Every decision of the mirror, without SPDK, a clock or I/O.
//!
//! Events go in (submit, a leg is done, memory ran out), small values come out that say what to do next. On the data
//! path these are plain inlined calls: state lives in the driver's per-I/O context and channel, nothing is allocated,
//! nothing is locked.
//!
//! A mirror has one [`Owner`], and a [`Channel`] on each thread that does I/O; they share a [`Shared`]. [`assembly`] says
//! from what is found on legs whether a mirror may start.
//!
//! | noun | decides |
//! |---|---|
//! | [`Channel`] | when an I/O may go to the legs, and when and how it ends |
//! | [`Owner`] | all that is decided once for all channels: which legs serve, what is durable, what is copied |
//! | [`assembly`] | whether, and with which legs, a mirror starts |
//! | [`maps`] | what the maps of several legs say together |
//! | [`LegSet`] | which legs are read and written, as one word that all channels read |
//! | [`RegionMap`] | what is known of each region, who writes it, and who wins when it is cleared and written at once |
//! | [`RangeTable`] | which of several channels' overlapping writes goes first |
//! | [`Windows`] | which blocks writes stay out of while they are copied |
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
//! | [`format`] | what stands on the legs, byte by byte, and where |
//! | [`health`] | what may be said of the mirror |
//! | [`OwnerId`] | whether two owners are of one machine and boot |
//! | [`LatencyHistogram`] | what host I/O latency is |
//! | [`Pacer`] | how fast a resync may copy |
//! | [`Progress`] | how far it has come, and when it ends |
//! | [`Options`] | what may be set, and to which values |

pub mod assembly;
mod bits;
mod channel;
mod error_budget;
mod fault;
pub mod flapping;
pub mod format;
pub mod geometry;
pub mod health;
mod host_io;
mod join;
mod latency;
pub mod lease;
mod leg_set;
mod list;
pub mod maps;
pub mod mutant;
mod option_error;
pub mod options;
mod owner;
mod owner_id;
mod pacer;
mod progress;
mod ranges;
pub mod read_policy;
mod region_map;
mod report;
mod sequential;
mod shared;
mod slot;
pub mod slow_leg;
pub mod starvation;
pub mod sync;
mod windows;

pub use bits::Bits;
pub use channel::{Channel, ChannelLimits, Step as ChannelStep};
pub use error_budget::ErrorBudget;
pub use fault::Fault;
pub use host_io::{Failure, HostIo, MAX_REGIONS_PER_IO, Op, Outcome};
pub use join::{Join, Step, Verdict};
pub use latency::{LatencyHistogram, LatencySample};
pub use leg_set::{LegSet, PublishedLegSet};
pub use list::{HostIos, IoList};
pub use option_error::OptionError;
pub use options::Options;
pub use owner::{Action, Admission, Config, Device, Event, Io, OpId, Owner, Phase, Start, StartLeg, WhyOut};
pub use owner_id::OwnerId;
pub use pacer::{Pacer, PacerOptions};
pub use progress::Progress;
pub use ranges::{Claim, ENTRIES_PER_SHARD, MAX_REGIONS_PER_WRITE, RangeTable};
pub use region_map::{RegionMap, RegionState, RegionWord, Writer};
pub use report::{Pass, Report};
pub use sequential::SequentialWrites;
pub use shared::{Shared, SharedSizes};
pub use slot::{LegMask, MAX_LEGS, Slot};
pub use windows::{MAX_WINDOWS, Windows};
