//! I/O that waits for memory.
//!
//! A leg that has no `spdk_bdev_io` for a child answers -ENOMEM. The host I/O then waits at the head of the channel's
//! queue, others line up behind it, and they go on where they stopped: at a wake-up of the bdev layer, which comes when
//! this thread frees one, when a child of ours has ended, or at the next tick of a slow poller. See
//! [`mirror_engine::starvation`] for the case in which none of these helps.

use super::child::{Sent, send_rest};
use super::host_io::{HostIo, Kind};
use super::reset;
use crate::channel::Channel;
use mirror_engine::starvation::{self, Relief};
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

    /// The oldest of which this holds.
    fn first(&self, holds: impl Fn(&HostIo) -> bool) -> Option<&HostIo> {
        self.iter().find(|host| holds(host))
    }

    /// The youngest of which nothing was sent. Resets stay: the host counts on them when all else fails.
    fn youngest_untouched(&self) -> Option<&HostIo> {
        self.iter().filter(|host| host.is_untouched() && host.kind() != Kind::Reset).last()
    }

    fn iter(&self) -> impl Iterator<Item = &HostIo> {
        std::iter::successors(self.get(self.first.get()), |host| self.get(host.parked_next().get()))
    }

    fn get(&self, host: *const HostIo) -> Option<&HostIo> {
        // SAFETY: what is in the queue was not completed: it leaves the queue before that.
        unsafe { host.as_ref() }
    }
}

/// What may be begun of the I/O that waits. What was begun already is always gone on with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Hardly anything, as long as the channel has children in flight. Memory that comes one by one, by wake-ups, goes to
    /// what was begun before: layers below (a bdev on a bdev, zeroes that are written) wait in the same queue for what
    /// they need to finish our children, and more children would only take it from them, until nobody can finish.
    Little,
    /// All that there is memory for, but what is hungry one at a time: it gives memory back and needs it again, and two of
    /// them may wait for each other. As long as anyone waits on this thread the bdev layer gives nothing to those who ask
    /// without a wake-up, so this takes nothing from a layer below.
    Most,
    /// All that there is memory for: the pool is far from empty.
    All,
}

/// How far the queue was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing waits any more.
    Nothing,
    /// Some may not be begun yet.
    Held,
    /// Memory ran out.
    Hungry,
}

impl Begin {
    fn allows(self, host: &HostIo, children: u32) -> bool {
        let hungry = host.kind().is_hungry();
        !host.is_untouched()
            || match self {
                Self::Little => children <= u32::from(!hungry),
                Self::Most => !hungry || children == 0,
                Self::All => true,
            }
    }
}

impl Channel {
    /// A wake-up: memory has come.
    pub fn pump(&self) {
        self.send_parked(Begin::Little);
    }

    /// A child has ended while I/O waits; what it gave back was offered to those who stood in the queue.
    #[cold]
    pub fn go_on(&self) {
        if !self.is_waiting() {
            self.send_parked(Begin::Little);
        }
    }

    /// An I/O comes while others wait: it lines up, and goes at once where they are only held back.
    #[cold]
    pub fn line_up(&self, host: &HostIo) {
        self.parked().push_back(host);
        if !self.is_waiting() {
            self.send_parked(Begin::Most);
        }
    }

    /// Sends what waits, until memory runs out again. The poller comes back for what is left.
    fn send_parked(&self, begin: Begin) -> Left {
        while let Some(host) = self.parked().first(|host| begin.allows(host, self.children())) {
            self.parked().remove(host);
            if send_rest(self, host, host.kind()) == Sent::NoMemory {
                return Left::Hungry;
            }
            self.progressed();
        }
        if self.parked().is_empty() { Left::Nothing } else { Left::Held }
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
    // SAFETY: the pool exists as long as there are channels.
    let begin = if starvation::is_plenty(unsafe { mirror_shim_free_ios() }) { Begin::All } else { Begin::Most };
    let left = if channel.is_waiting() { Left::Hungry } else { channel.send_parked(begin) };
    if left == Left::Nothing {
        return;
    }
    match channel.tick_patience() {
        Relief::Wait => {}
        Relief::Queue if left == Left::Hungry => channel.join_waiters(),
        Relief::Queue => {}
        Relief::FailYoungest => fail_youngest(channel),
    }
}

/// Nothing was sent or ended for long: one gives its memory back.
fn fail_youngest(channel: &Channel) {
    if let Some(host) = channel.parked().youngest_untouched() {
        channel.parked().remove(host);
        channel.mirror().count_given_up();
        // The first to have what it gives back is the oldest of ours, where the release lets us be first.
        channel.join_waiters();
        host.give_up();
    }
}
