//! What the owner wants done.

use crate::{Pass, Slot};
use std::sync::Arc;

/// A device of the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    /// The base bdev in a slot.
    Leg(Slot),
    /// The log device of a mirror with `log_type: disk`.
    Log,
}

/// Names an operation of the owner; its end comes back by [`crate::Owner::done`]. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// An I/O of the owner on a device. Blocks are those of the device, the data offset included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Io {
    /// Write metadata.
    Write {
        /// First block.
        block: u64,
        /// Whole blocks.
        data: Arc<[u8]>,
    },
    /// Make durable all that was completed before, by the method that reaches the device's media. A device that needs none
    /// answers at once.
    Flush,
    /// Read data into a buffer of the owner's.
    CopyRead {
        /// First block.
        block: u64,
        /// Blocks.
        blocks: u32,
        /// Which buffer.
        buffer: usize,
    },
    /// Write data from a buffer.
    CopyWrite {
        /// First block.
        block: u64,
        /// Blocks.
        blocks: u32,
        /// Which buffer.
        buffer: usize,
    },
    /// Read data and compare it with a buffer; a difference is an error.
    Verify {
        /// First block.
        block: u64,
        /// Blocks.
        blocks: u32,
        /// Which buffer.
        buffer: usize,
    },
    /// Write zeros.
    Zero {
        /// First block.
        block: u64,
        /// Blocks.
        blocks: u32,
    },
}

/// What the owner wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// An I/O; its end is told by [`crate::Owner::done`].
    Io {
        /// Its name.
        op: OpId,
        /// Where.
        device: Device,
        /// What.
        io: Io,
    },
    /// Ask every open channel in turn ([`crate::Channel::pass`]), then [`crate::Owner::pass_swept`].
    Pass(Pass),
    /// Tell every channel to look again ([`crate::Channel::wake`]).
    Wake,
    /// The leg is out: end what is in flight on it (reset, close), so that it can come back.
    Release(Slot),
    /// Something an operator wants to know.
    Event(Event),
    /// The mirror is stopped; clean if nothing is dirty and that is recorded.
    Stopped {
        /// Nothing is dirty, and that is recorded.
        clean: bool,
    },
}

/// Something an operator wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The mirror serves.
    Started,
    /// A leg is out.
    LegFailed {
        /// Which.
        slot: Slot,
        /// Why.
        why: WhyOut,
    },
    /// The last leg in sync had an error and stays: said once while errors of this kind go on
    /// ([`crate::Owner::errors_of_last`] counts them).
    LastLegStays {
        /// Which.
        slot: Slot,
        /// What happened.
        why: WhyOut,
    },
    /// The last leg in sync is gone: the mirror does not serve any more.
    Offline,
    /// The owner's lease ended before it could be renewed: another owner may have begun.
    OwnerLost,
    /// Nothing can be recorded on the last leg.
    RecordStuck,
    /// Recording works again.
    RecordWorks,
    /// A leg came back and is given what it lacks.
    ResyncStarted {
        /// Which.
        slot: Slot,
        /// Regions that it lacks.
        regions: u32,
    },
    /// A resync left regions out that no leg can read; it goes on later.
    ResyncStalled {
        /// Which.
        slot: Slot,
        /// Regions left.
        regions: u32,
    },
    /// A leg is in sync again.
    LegInSync {
        /// Which.
        slot: Slot,
    },
    /// Copies may differ in this many regions; they are reconciled now.
    Suspect {
        /// Regions.
        regions: u32,
    },
    /// No copies differ any more.
    Reconciled,
    /// A block that could not be read was written anew.
    Repaired {
        /// On which leg.
        slot: Slot,
        /// First block.
        block: u64,
        /// Blocks.
        blocks: u32,
    },
    /// A block that could not be read could not be written either.
    RepairFailed {
        /// On which leg.
        slot: Slot,
        /// First block.
        block: u64,
    },
    /// The log device is lost: after the next unclean stop everything is copied.
    LogLost,
    /// All I/O has ended, and new I/O waits.
    Suspended,
    /// A leg takes several times as long as the others do; reads avoid it.
    LegSlow {
        /// Which.
        slot: Slot,
        /// How long its I/O takes.
        latency_us: u64,
        /// How long the others' does.
        others_us: u64,
    },
    /// A leg is slow no more, or gets another chance.
    LegNotSlow {
        /// Which.
        slot: Slot,
    },
}

/// Why a leg is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyOut {
    /// A write of the host failed on it.
    Write,
    /// A flush failed.
    Flush,
    /// A metadata write failed.
    Metadata,
    /// A copy onto it failed.
    Copy,
    /// A block could be neither read nor written.
    Unreadable,
    /// Its children took too long.
    Hung,
    /// Its base bdev was removed.
    Gone,
    /// An operator took it out.
    Asked,
    /// It was far slower than the others for longer than the options bear.
    Slow,
}
