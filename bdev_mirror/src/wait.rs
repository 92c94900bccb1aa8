//! A channel's place among those that wait for memory.

use crate::channel::Channel;
use crate::channel_leg::ChannelLeg;
use spdk_sys::*;
use std::cell::Cell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

/// The channel's place in the bdev layer's queue of those that wait for a `spdk_bdev_io`.
///
/// There is no way to leave that queue, so this outlives a channel that closes while it stands in it: it has an
/// allocation of its own, made with the channel.
pub struct Wait {
    entry: MaybeUninit<spdk_bdev_io_wait_entry>,
    channel: Cell<*const Channel>,
    armed: Cell<bool>,
}

impl Wait {
    /// A place for this channel, not in the queue yet.
    pub fn new(channel: &Channel) -> *mut Self {
        Box::into_raw(Box::new(Self {
            entry: MaybeUninit::zeroed(),
            channel: Cell::new(channel),
            armed: Cell::new(false),
        }))
    }

    /// Whether it is in the queue.
    pub fn is_armed(&self) -> bool {
        self.armed.get()
    }

    /// Joins the queue, if it is not in it. It stays out where the bdev layer has memory after all; the poller sees
    /// to that.
    ///
    /// # Safety
    /// `this` is from [`Wait::new`] and not given up; the leg is open on this thread.
    pub unsafe fn arm(this: *mut Self, leg: &ChannelLeg) {
        // SAFETY: as the caller promises. The entry stays in place until fire().
        unsafe {
            if !(*this).armed.get() {
                let entry = (*this).entry.as_mut_ptr();
                let rc = mirror_shim_wait(entry, leg.desc(), leg.io_channel(), Some(fire), this.cast());
                (*this).armed.set(rc == 0);
            }
        }
    }

    /// The channel closes. Freed now, or when the queue lets go of it.
    ///
    /// # Safety
    /// `this` is from [`Wait::new`]; it is not used again.
    pub unsafe fn give_up(this: *mut Self) {
        // SAFETY: as the caller promises.
        unsafe {
            (*this).channel.set(ptr::null());
            if !(*this).armed.get() {
                drop(Box::from_raw(this));
            }
        }
    }
}

/// The bdev layer has memory.
///
/// # Safety
/// SPDK calls it on the channel's thread with what arm() gave, which is out of the queue now.
unsafe extern "C" fn fire(arg: *mut c_void) {
    let this = arg.cast::<Wait>();
    // SAFETY: as promised; while armed it is freed nowhere else.
    unsafe {
        (*this).armed.set(false);
        match (*this).channel.get().as_ref() {
            Some(channel) => channel.pump(),
            None => drop(Box::from_raw(this)),
        }
    }
}
