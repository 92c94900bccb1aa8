//! The state of one host I/O, in the driver context of its `spdk_bdev_io`.

use super::list::{Link, List};
use super::reset;
use crate::channel::Channel;
use mirror_engine::{Fault, Join, LegMask, Slot, Step, Verdict};
use spdk_sys::*;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::offset_of;
use std::ptr::{self, addr_of_mut};

/// What a host I/O asks of its legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Read,
    Write,
    WriteZeroes,
    Unmap,
    Flush,
    Reset,
    Abort,
}

impl Kind {
    /// Whether it is in its channel's list while it is under way. Resets and aborts are about those that are.
    #[inline]
    pub const fn is_listed(self) -> bool {
        !matches!(self, Self::Reset | Self::Abort)
    }

    /// Whether its children may need memory of their own again and again: where a leg has no such command, the bdev layer
    /// writes zeroes piece by piece.
    pub const fn is_hungry(self) -> bool {
        matches!(self, Self::WriteZeroes | Self::Unmap)
    }

    /// Whether the legs may differ if it ended differently on them. A failed flush counts: what it was to make durable
    /// may be lost on one leg.
    pub const fn can_diverge(self) -> bool {
        matches!(self, Self::Write | Self::WriteZeroes | Self::Unmap | Self::Flush)
    }
}

/// Per-I/O state. A host I/O and its `HostIo` are the same object to SPDK, some bytes apart: children carry a pointer to
/// the `HostIo` as their callback argument.
///
/// All fields are cells: completions, wake-ups and submissions of one thread nest in each other, and SPDK may give the
/// memory to the next I/O as soon as this one is completed. (Nothing but cells: a reference to it promises the compiler
/// nothing about its content, also not that it stays.)
#[repr(C)]
pub struct HostIo {
    channel: Cell<*const Channel>,
    join: UnsafeCell<Join>,
    legs: Cell<LegMask>,
    kind: Cell<Kind>,
    parked: Cell<bool>,
    /// A reset waits for it.
    awaited: Cell<bool>,
    /// How the first bad child ended; valid once the join is not all good.
    status: Cell<mirror_shim_status>,
    /// The next one in the queue of those that wait for memory.
    parked_next: Cell<*const HostIo>,
    /// In the channel's list of I/O under way.
    link: Link,
}

impl HostIo {
    /// Prepares the context of an I/O that the bdev layer has just handed over. Every I/O gets one before anything else
    /// happens to it: an abort may look at it at any time until the I/O is completed.
    ///
    /// # Safety
    /// `io` is an I/O of this module's bdev, submitted on `channel` and not yet completed. The reference is good until
    /// then, which the caller has to see to.
    #[inline]
    pub unsafe fn start<'a>(io: *mut spdk_bdev_io, channel: &Channel, kind: Kind, legs: LegMask) -> &'a Self {
        // SAFETY: the driver context has io_ctx_size() bytes and belongs to us while the I/O does. Only what later code
        // reads without having written it is written here: the rest are cells of integers and pointers, valid with any
        // content, in memory that SPDK's pool has initialised.
        unsafe {
            let this = io.byte_add(MIRROR_SHIM_IO_CTX_OFFSET as usize).cast::<Self>();
            // A link leads back to its HostIo, and that to its I/O, by address.
            io.expose_provenance();
            addr_of_mut!((*this).channel).write(Cell::new(channel));
            addr_of_mut!((*this).join).write(UnsafeCell::new(Join::new(legs)));
            addr_of_mut!((*this).legs).write(Cell::new(legs));
            addr_of_mut!((*this).kind).write(Cell::new(kind));
            addr_of_mut!((*this).parked).write(Cell::new(false));
            addr_of_mut!((*this).awaited).write(Cell::new(false));
            &*this
        }
    }

    /// The state of an I/O that [`HostIo::start`] was called for.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn of<'a>(io: *mut spdk_bdev_io) -> &'a Self {
        // SAFETY: as the caller promises, start() has written a HostIo there.
        unsafe { &*io.byte_add(MIRROR_SHIM_IO_CTX_OFFSET as usize).cast::<Self>() }
    }

    /// Asks or tells the join.
    #[inline]
    fn join<T>(&self, ask: impl FnOnce(&mut Join) -> T) -> T {
        // SAFETY: one thread; the engine's methods, all that is called here, call nobody back.
        ask(unsafe { &mut *self.join.get() })
    }

    /// The I/O that has this link.
    ///
    /// # Safety
    /// The link is in a channel's list of I/O under way.
    pub unsafe fn of_link(link: &Link) -> &Self {
        let address = ptr::from_ref(link).addr() - offset_of!(Self, link);
        // SAFETY: only links inside a HostIo join that list, whose memory start() has exposed.
        unsafe { &*ptr::with_exposed_provenance(address) }
    }

    /// The host I/O itself, as SPDK knows it.
    #[inline]
    pub fn io(&self) -> *mut spdk_bdev_io {
        // start() has exposed it.
        ptr::with_exposed_provenance_mut(ptr::from_ref(self).addr() - MIRROR_SHIM_IO_CTX_OFFSET as usize)
    }

    /// The channel it came through.
    #[inline]
    pub fn channel(&self) -> &Channel {
        // SAFETY: the bdev layer keeps a channel while an I/O of it is not completed.
        unsafe { &*self.channel.get() }
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        self.kind.get()
    }

    pub fn legs(&self) -> LegMask {
        self.legs.get()
    }

    pub fn in_flight(&self) -> LegMask {
        self.join(|join| join.in_flight())
    }

    /// Whether nothing was sent of it yet.
    pub fn is_untouched(&self) -> bool {
        self.join(|join| join.untouched(self.legs()))
    }

    pub fn is_parked(&self) -> bool {
        self.parked.get()
    }

    pub fn set_parked(&self, parked: bool) {
        self.parked.set(parked);
    }

    /// A reset waits for it from now on.
    pub fn set_awaited(&self) {
        self.awaited.set(true);
    }

    pub fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    pub fn parked_next(&self) -> &Cell<*const HostIo> {
        &self.parked_next
    }

    #[inline]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Takes the next leg to send to, and whether it is the last one.
    #[inline]
    pub fn next_leg(&self) -> Option<(Slot, bool)> {
        self.join(|join| join.send_next().map(|slot| (slot, !join.has_unsent())))
    }

    /// The leg had no memory.
    pub fn leg_not_sent(&self, slot: Slot) {
        self.join(|join| join.not_sent(slot));
    }

    /// The leg's child succeeded. Ends the I/O if it was the last one: `self` is gone then.
    #[inline]
    pub fn leg_good(&self, slot: Slot) {
        if self.join(|join| join.leg_good(slot)) == Step::Done {
            self.finish();
        }
    }

    /// The leg's child failed. Ends the I/O if it was the last one: `self` is gone then.
    #[cold]
    pub fn leg_bad(&self, slot: Slot, fault: Fault, status: mirror_shim_status) {
        if self.join(|join| join.all_good()) {
            self.status.set(status);
        }
        let step = self.join(|join| join.leg_bad(slot, fault));
        if fault == Fault::Failed {
            self.channel().mirror().count_error(slot, self.kind());
        }
        if step == Step::Done {
            self.finish();
        }
    }

    /// Sends nothing more of it, for an abort or a reset; what is in flight still ends by itself. May end the I/O.
    pub fn cancel(&self) {
        let aborted = mirror_shim_status { cdw0: 0, status: SPDK_BDEV_IO_STATUS_ABORTED as i8, sct: 0, sc: 0 };
        if self.is_untouched() {
            self.leave_list();
            self.complete(&aborted);
            return;
        }
        if self.join(|join| join.all_good()) {
            self.status.set(aborted);
        }
        if self.join(Join::cancel_unsent) == Step::Done {
            self.finish();
        }
    }

    /// Ends an I/O of which nothing was sent, because no memory will come.
    pub fn give_up(&self) {
        debug_assert!(self.is_untouched());
        self.leave_list();
        self.complete(&FAILED);
    }

    /// All legs are done.
    #[inline]
    fn finish(&self) {
        self.leave_list();
        if self.join(|join| join.all_good()) && self.kind() != Kind::Reset {
            // SAFETY: ours, not completed before: Join says Done once.
            unsafe { spdk_bdev_io_complete(self.io(), SPDK_BDEV_IO_STATUS_SUCCESS) };
        } else {
            self.finish_otherwise();
        }
    }

    #[cold]
    fn finish_otherwise(&self) {
        if self.kind() == Kind::Reset {
            return reset::drain(self);
        }
        if self.kind().can_diverge() && self.join(|join| join.verdict(self.legs())) == Verdict::Bad {
            // Known before the host is told: from here on nobody says that the legs are equal.
            self.channel().mirror().mark_diverged(self.kind());
        }
        self.complete(&self.status.get());
    }

    /// Ends a reset, once everything before it has ended.
    pub fn finish_reset(&self) {
        let good = mirror_shim_status { cdw0: 0, status: SPDK_BDEV_IO_STATUS_SUCCESS as i8, sct: 0, sc: 0 };
        self.complete(if self.join(|join| join.all_good()) { &good } else { &FAILED });
    }

    #[inline]
    fn leave_list(&self) {
        if self.kind().is_listed() {
            // SAFETY: it is in the list from its start to here, once.
            unsafe { List::remove(&self.link) };
        }
    }

    fn complete(&self, status: &mirror_shim_status) {
        // SAFETY: ours, and each path to here is taken once per I/O.
        unsafe { mirror_shim_io_complete(self.io(), status) };
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WriteZeroes => "write-zeroes",
            Self::Unmap => "unmap",
            Self::Flush => "flush",
            Self::Reset => "reset",
            Self::Abort => "abort",
        })
    }
}

/// An error of which nothing more is known.
pub const FAILED: mirror_shim_status =
    mirror_shim_status { cdw0: 0, status: SPDK_BDEV_IO_STATUS_FAILED as i8, sct: 0, sc: 0 };
