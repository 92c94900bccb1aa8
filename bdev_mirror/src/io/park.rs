//! I/O that waits for memory.
//!
//! A leg that has no `spdk_bdev_io` for a child answers -ENOMEM. The host I/O then waits at the head of the channel's
//! queue, others line up behind it, and they go on where they stopped: at a wake-up of the bdev layer, which comes when
//! this thread frees one, or at the next tick of a slow poller. See [`mirror_engine::starvation`] for the case in which
//! neither helps.

use super::child::{Sent, send_rest};
use super::host_io::{HostIo, Kind};
use super::reset;
use crate::channel::Channel;
use mirror_engine::starvation::Relief;
use spdk_sys::*;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The queue, oldest first. Bounded by the host's queue depth: its members are the host's own I/O.
pub struct Parked {
    first: Cell<*const HostIo>,
    last: Cell<*const HostIo>,
}

impl Parked {
    pub const fn new() -> Self {
        Self { first: Cell::new(ptr::null()), last: Cell::new(ptr::null()) }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.get().is_null()
    }

    /// Queues an I/O behind all others.
    pub fn push_back(&self, host: &HostIo) {
        host.set_parked(true);
        host.parked_next().set(ptr::null());
        match self.get(self.last.get()) {
            Some(last) => last.parked_next().set(host),
            None => self.first.set(host),
        }
        self.last.set(host);
    }

    /// Queues an I/O that was interrupted, before all others.
    pub fn push_front(&self, host: &HostIo) {
        host.set_parked(true);
        host.parked_next().set(self.first.get());
        if self.is_empty() {
            self.last.set(host);
        }
        self.first.set(host);
    }

    /// Takes the oldest.
    pub fn pop_front(&self) -> Option<&HostIo> {
        let host = self.get(self.first.get())?;
        self.remove(host);
        Some(host)
    }

    /// Takes one out, wherever it is; whether it was there.
    pub fn remove(&self, host: &HostIo) -> bool {
        let mut before = None;
        let mut here = self.get(self.first.get());
        while let Some(at) = here {
            let next = at.parked_next().get();
            if ptr::eq(at, host) {
                match before {
                    None => self.first.set(next),
                    Some(before) => HostIo::parked_next(before).set(next),
                }
                if next.is_null() {
                    self.last.set(before.map_or(ptr::null(), ptr::from_ref));
                }
                host.set_parked(false);
                return true;
            }
            before = here;
            here = self.get(next);
        }
        false
    }

    /// Ends all that are in it now. What their owners submit meanwhile stays.
    pub fn cancel_all(&self) {
        let mut here = self.get(self.first.replace(ptr::null()));
        self.last.set(ptr::null());
        while let Some(host) = here {
            // Read first: a cancelled I/O may be gone.
            here = self.get(host.parked_next().get());
            host.set_parked(false);
            host.cancel();
        }
    }

    /// The youngest of which nothing was sent. Resets stay: the host counts on them when all else fails.
    fn youngest_untouched(&self) -> Option<&HostIo> {
        let mut found = None;
        let mut here = self.get(self.first.get());
        while let Some(at) = here {
            if at.is_untouched() && at.kind() != Kind::Reset {
                found = Some(at);
            }
            here = self.get(at.parked_next().get());
        }
        found
    }

    fn get(&self, host: *const HostIo) -> Option<&HostIo> {
        // SAFETY: what is in the queue was not completed: it leaves the queue before that.
        unsafe { host.as_ref() }
    }
}

impl Channel {
    /// Sends what waits, until memory runs out again.
    pub fn pump(&self) {
        while let Some(host) = self.parked().pop_front() {
            if host.kind().is_hungry() && host.is_untouched() && self.has_children() {
                // One at a time: two that were begun and cannot go on would wait for each other, and neither can be
                // given up. The poller comes back.
                self.parked().push_front(host);
                return self.resume_poller();
            }
            if send_rest(self, host, host.kind()) == Sent::NoMemory {
                return;
            }
            self.progressed();
        }
    }
}

/// The channel's poller: runs while something waits.
///
/// # Safety
/// Called by SPDK on the channel's thread with the channel.
pub unsafe extern "C" fn tick(arg: *mut c_void) -> c_int {
    // SAFETY: as promised; the poller is unregistered before the channel goes.
    let channel = unsafe { &*arg.cast::<Channel>() };
    if let Some(host) = channel.take_draining() {
        reset::drain(host);
    }
    if !channel.parked().is_empty() {
        relieve(channel);
    }
    if channel.parked().is_empty() {
        channel.recovered();
        if !channel.is_draining() {
            channel.pause_poller();
        }
    }
    MIRROR_SHIM_POLLER_BUSY as c_int
}

fn relieve(channel: &Channel) {
    if !channel.is_waiting() {
        channel.pump();
    }
    if channel.parked().is_empty() || channel.tick_patience() == Relief::Wait {
        return;
    }
    if let Some(host) = channel.parked().youngest_untouched() {
        channel.parked().remove(host);
        channel.mirror().count_given_up();
        // The first to have what it gives back is the oldest of ours, where the release lets us be first.
        channel.join_waiters();
        host.give_up();
    }
}
