//! Abort: best effort, as NVMe has it. What waits here ends at once; what is in flight is aborted on each leg that can.

use super::child::CHILD_DONE;
use super::host_io::{FAILED, HostIo, Kind};
use crate::channel::Channel;
use mirror_engine::Fault;
use mirror_engine::LegMask;
use spdk_sys::*;
use std::ptr;

/// # Safety
/// `io` is an abort of ours, submitted on `channel`; the bdev layer names a target that is not completed yet.
pub unsafe fn start(io: *mut spdk_bdev_io, channel: &Channel) {
    // SAFETY: as promised; every I/O that reaches the module has a state from its first moment.
    let target = unsafe {
        let target_io = mirror_shim_io_abort_target(io);
        debug_assert!(!target_io.is_null());
        HostIo::of(target_io)
    };
    let ours = ptr::eq(target.channel(), channel);
    // Out of the queue first, so that nothing more is sent of it; ended below.
    let waited = ours && target.is_parked() && channel.parked().remove(target);
    let legs = if ours { target.in_flight().and(channel.mirror().capable.abort) } else { LegMask::NONE };
    let untouched = waited && target.is_untouched();
    // SAFETY: `io` is ours until it is completed.
    let host = unsafe { HostIo::start(io, channel, Kind::Abort, legs) };
    if waited {
        target.cancel();
    }
    if untouched {
        // SAFETY: completed once, here.
        unsafe { spdk_bdev_io_complete(io, SPDK_BDEV_IO_STATUS_SUCCESS) };
        return;
    }
    if legs.is_empty() {
        // SAFETY: completed once, here.
        unsafe { mirror_shim_io_complete(io, &FAILED) };
        return;
    }
    send(channel, host, ptr::from_ref(target).cast_mut());
}

/// Unlike other I/O an abort never waits for memory: its target might be another I/O by then.
fn send(channel: &Channel, host: &HostIo, target: *mut HostIo) {
    while let Some((slot, last)) = host.next_leg() {
        let leg = channel.leg(slot);
        leg.child_sent();
        let arg = ptr::from_ref(host).cast_mut().cast();
        // SAFETY: the leg is open as long as our channel is. The target is compared with the children's callback
        // arguments and not looked into.
        let rc =
            unsafe { mirror_shim_abort(leg.desc(), leg.io_channel(), target.cast(), CHILD_DONE[slot.index()], arg) };
        if rc != 0 {
            leg.child_ended();
            host.leg_bad(slot, Fault::Rejected, FAILED);
        }
        if last {
            return;
        }
    }
}
