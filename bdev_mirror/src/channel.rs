//! A mirror on one SPDK thread.

use crate::channel_leg::ChannelLeg;
use crate::io::{self, List, Parked};
use crate::log::{self, Level};
use crate::mirror::Mirror;
use crate::wait::Wait;
use mirror_engine::starvation::{Patience, Relief};
use mirror_engine::{MAX_LEGS, Slot};
use mirror_rpc::quote;
use spdk_sys::*;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

/// How often I/O that waits for memory is looked after.
const TICK_US: u64 = 1_000;

/// Lives in the context of a `spdk_io_channel`, and does not move. Only its own thread touches it.
pub struct Channel {
    mirror: *const Mirror,
    legs: [ChannelLeg; MAX_LEGS],
    /// Slot of the last read, so that ties rotate.
    last_read: Cell<u8>,
    /// The host's I/O under way here.
    under_way: List,
    /// I/O that waits for memory.
    parked: Parked,
    patience: Cell<Patience>,
    /// A reset of this channel that waits for I/O to end.
    draining: Cell<*const io::HostIo>,
    /// Runs while something is parked or draining, paused otherwise.
    poller: Cell<*mut spdk_poller>,
    wait: Cell<*mut Wait>,
}

impl Channel {
    /// The channel behind SPDK's.
    ///
    /// # Safety
    /// `ch` is a channel of one of our io_devices, on its own thread.
    #[inline]
    pub unsafe fn of<'a>(ch: *mut spdk_io_channel) -> &'a Self {
        // SAFETY: create() made a Channel in the context of each channel of ours.
        unsafe { &*ch.byte_add(MIRROR_SHIM_CHANNEL_CTX_OFFSET as usize).cast::<Self>() }
    }

    #[inline]
    pub fn mirror(&self) -> &Mirror {
        // SAFETY: the mirror is freed after its io_device, which outlives its channels.
        unsafe { &*self.mirror }
    }

    #[inline]
    pub fn leg(&self, slot: Slot) -> &ChannelLeg {
        &self.legs[slot.index()]
    }

    /// Where the data begin on every leg.
    #[inline]
    pub fn data_offset_blocks(&self) -> u64 {
        0
    }

    #[inline]
    pub fn last_read(&self) -> usize {
        usize::from(self.last_read.get())
    }

    #[inline]
    pub fn set_last_read(&self, slot: Slot) {
        self.last_read.set(slot.index() as u8);
    }

    #[inline]
    pub fn under_way(&self) -> &List {
        &self.under_way
    }

    #[inline]
    pub fn parked(&self) -> &Parked {
        &self.parked
    }

    /// Children in flight on all legs.
    pub fn children(&self) -> u32 {
        self.legs.iter().map(ChannelLeg::outstanding).sum()
    }

    /// Something waits for memory: be woken by the poller, and when this thread frees some, if it has any to free. With
    /// nobody to wake us we must not stand among the waiters: while there are any, this thread gets nothing from the pool,
    /// and what other threads give back there wakes nobody.
    #[cold]
    pub fn wait_for_memory(&self) {
        self.resume_poller();
        if self.children() > 0 {
            self.join_waiters();
        }
    }

    /// Be woken when this thread frees a `spdk_bdev_io`. All legs of a thread have one queue of waiters.
    pub fn join_waiters(&self) {
        // SAFETY: made by create(), freed by Wait itself after the channel gave it up.
        unsafe { Wait::arm(self.wait.get(), &self.legs[0]) };
    }

    /// Whether a wake-up is due.
    pub fn is_waiting(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.wait.get()).is_armed() }
    }

    /// A child has ended, or something that waited was sent.
    #[inline]
    pub fn progressed(&self) {
        let mut patience = self.patience.get();
        patience.progressed();
        self.patience.set(patience);
    }

    /// One tick passed while I/O waits.
    pub fn tick_patience(&self) -> Relief {
        let mut patience = self.patience.get();
        let relief = patience.tick();
        self.patience.set(patience);
        relief
    }

    /// Nothing waits any more.
    pub fn recovered(&self) {
        let mut patience = self.patience.get();
        patience.recovered();
        self.patience.set(patience);
    }

    /// Looks again later whether a reset can end.
    pub fn drain_later(&self, host: &io::HostIo) {
        self.draining.set(host);
        self.resume_poller();
    }

    pub fn is_draining(&self) -> bool {
        !self.draining.get().is_null()
    }

    pub fn take_draining(&self) -> Option<&io::HostIo> {
        // SAFETY: a reset in here is completed only after it was taken.
        unsafe { self.draining.replace(ptr::null()).as_ref() }
    }

    pub fn pause_poller(&self) {
        // SAFETY: registered by create(), on this thread.
        unsafe { spdk_poller_pause(self.poller.get()) };
    }

    pub fn resume_poller(&self) {
        // SAFETY: as above.
        unsafe { spdk_poller_resume(self.poller.get()) };
    }
}

/// Bytes of context that SPDK is to give to each channel.
pub const CONTEXT_BYTES: u32 = size_of::<Channel>() as u32;

/// Opens every leg on this thread (`spdk_io_device_register`'s create callback). -ENOMEM leaves nothing behind.
///
/// # Safety
/// SPDK passes a mirror of ours and [`CONTEXT_BYTES`] bytes.
pub unsafe extern "C" fn create(io_device: *mut c_void, context: *mut c_void) -> c_int {
    // SAFETY: the io_device is the mirror's address.
    let mirror = unsafe { &*io_device.cast::<Mirror>() };
    let mut legs = std::array::from_fn::<_, MAX_LEGS, _>(|_| ChannelLeg::none());
    for (place, leg) in legs.iter_mut().zip(&mirror.legs) {
        match ChannelLeg::open(leg) {
            Some(opened) => *place = opened,
            None => {
                log::of_mirror(Level::Error, mirror.name(), &format!("no channel for base bdev {}", quote(&leg.name)));
                legs.iter().for_each(ChannelLeg::close);
                return -libc::ENOMEM;
            }
        }
    }
    let this = context.cast::<Channel>();
    // SAFETY: SPDK's context is large enough and aligned as malloc() aligns; nobody uses it before we return.
    let channel = unsafe {
        this.write(Channel {
            mirror,
            legs,
            last_read: Cell::new(0),
            under_way: List::new(),
            parked: Parked::new(),
            patience: Cell::default(),
            draining: Cell::new(ptr::null()),
            poller: Cell::new(ptr::null_mut()),
            wait: Cell::new(ptr::null_mut()),
        });
        &*this
    };
    channel.under_way.init();
    channel.wait.set(Wait::new(channel));
    // SAFETY: the poller is unregistered by destroy(), before the context goes.
    let poller =
        unsafe { spdk_poller_register_named(Some(io::tick), context, TICK_US, c"bdev_mirror_parked".as_ptr()) };
    if poller.is_null() {
        channel.legs.iter().for_each(ChannelLeg::close);
        // SAFETY: made above, never armed.
        unsafe { Wait::give_up(channel.wait.get()) };
        return -libc::ENOMEM;
    }
    channel.poller.set(poller);
    channel.pause_poller();
    0
}

/// Undoes [`create`], on the same thread.
///
/// # Safety
/// SPDK passes what it passed there; no I/O of the channel is left.
pub unsafe extern "C" fn destroy(_: *mut c_void, context: *mut c_void) {
    // SAFETY: as promised.
    let channel = unsafe { &*context.cast::<Channel>() };
    debug_assert!(channel.under_way.is_empty());
    // SAFETY: registered by create() on this thread; the wait was made there.
    unsafe {
        spdk_poller_unregister(channel.poller.as_ptr());
        Wait::give_up(channel.wait.get());
    }
    channel.legs.iter().for_each(ChannelLeg::close);
}

/// A channel for the calling thread (`spdk_bdev_fn_table.get_io_channel`); null without memory.
///
/// # Safety
/// The bdev layer passes the context of a registered bdev of ours.
pub unsafe extern "C" fn get_io_channel(ctx: *mut c_void) -> *mut spdk_io_channel {
    // SAFETY: the context is the io_device's address too.
    unsafe { spdk_get_io_channel(ctx) }
}
