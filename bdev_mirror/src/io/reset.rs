//! Reset: ends what waits, resets every leg, and answers once everything that was under way has ended.
//!
//! The bdev layer lets no new I/O in while a reset is under way, on the channels that were open when it began. A channel
//! that is opened meanwhile takes I/O, so the reset waits only for what its first pass found.

use super::child::send_rest;
use super::host_io::{HostIo, Kind};
use crate::channel::Channel;
use mirror_engine::LegMask;
use spdk_sys::*;
use std::ffi::c_int;
use std::ptr;

/// First pass: what waits for memory on any channel ends as aborted, what is in flight is marked.
pub fn start(host: &HostIo) {
    pass(host, begin_in_channel, begun);
}

/// Last pass, repeated until nothing marked is left. The legs have been reset, so what they held has ended or soon will.
pub fn drain(host: &HostIo) {
    pass(host, drained_in_channel, drained);
}

impl Channel {
    /// The first pass of a reset: what waits here ends, what is in flight is waited for.
    fn begin_reset(&self) {
        self.parked().cancel_all();
        // SAFETY: a link of the channel's list.
        self.under_way().each(|link| unsafe { HostIo::of_link(link) }.set_awaited());
    }

    /// Whether all that a reset waits for has ended here. I/O that came later, through a channel that was opened during
    /// the reset, does not count.
    fn is_drained(&self) -> bool {
        // SAFETY: a link of the channel's list.
        !self.under_way().any(|link| unsafe { HostIo::of_link(link) }.is_awaited())
    }
}

fn pass(
    host: &HostIo,
    each: unsafe extern "C" fn(*mut spdk_io_channel_iter),
    done: unsafe extern "C" fn(*mut spdk_io_channel_iter, c_int),
) {
    let mirror = ptr::from_ref(host.channel().mirror()).cast_mut().cast();
    let arg = ptr::from_ref(host).cast_mut().cast();
    // SAFETY: the mirror is our io_device, registered as long as a channel with I/O is open; the reset's I/O lives until
    // it is completed, after the last pass.
    unsafe { spdk_for_each_channel(mirror, Some(each), arg, Some(done)) };
}

/// # Safety
/// SPDK passes the iterator of [`pass`], on the channel's thread.
unsafe extern "C" fn begin_in_channel(i: *mut spdk_io_channel_iter) {
    // SAFETY: as promised.
    unsafe {
        Channel::of(spdk_io_channel_iter_get_channel(i)).begin_reset();
        spdk_for_each_channel_continue(i, 0);
    }
}

/// # Safety
/// SPDK passes the iterator of [`pass`], on the reset's own thread.
unsafe extern "C" fn begun(i: *mut spdk_io_channel_iter, _status: c_int) {
    // SAFETY: as promised.
    let host = unsafe { host_of(i) };
    if host.legs() == LegMask::NONE {
        drain(host);
    } else {
        send_rest(host.channel(), host, Kind::Reset);
    }
}

/// # Safety
/// SPDK passes the iterator of [`pass`], on the channel's thread.
unsafe extern "C" fn drained_in_channel(i: *mut spdk_io_channel_iter) {
    // SAFETY: as promised.
    unsafe {
        let drained = Channel::of(spdk_io_channel_iter_get_channel(i)).is_drained();
        spdk_for_each_channel_continue(i, if drained { 0 } else { -libc::EBUSY });
    }
}

/// # Safety
/// SPDK passes the iterator of [`pass`], on the reset's own thread.
unsafe extern "C" fn drained(i: *mut spdk_io_channel_iter, status: c_int) {
    // SAFETY: as promised.
    let host = unsafe { host_of(i) };
    if status == 0 {
        host.finish_reset();
    } else {
        host.channel().drain_later(host);
    }
}

/// # Safety
/// The iterator is one of [`pass`].
unsafe fn host_of<'a>(i: *mut spdk_io_channel_iter) -> &'a HostIo {
    // SAFETY: pass() gave the reset's state as context, which lives until the reset is completed.
    unsafe { &*spdk_io_channel_iter_get_ctx(i).cast::<HostIo>() }
}
