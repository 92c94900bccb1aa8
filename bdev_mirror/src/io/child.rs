//! Children: sending them to the legs, and what they report.

use super::host_io::{FAILED, HostIo, Kind};
use crate::channel::Channel;
use mirror_engine::{Fault, MAX_LEGS, Slot};
use spdk_sys::*;
use std::ffi::{c_int, c_void};
use std::ptr;

/// Whether a host I/O got all its children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All are sent; the I/O may even be over.
    All,
    /// A leg had no memory; the I/O waits at the head of the queue.
    NoMemory,
}

/// Sends what is left to send of an I/O. `kind` is the I/O's own, a constant where the caller knows it.
#[inline(always)]
pub fn send_rest(channel: &Channel, host: &HostIo, kind: Kind) -> Sent {
    while let Some((slot, last)) = host.next_leg() {
        let leg = channel.leg(slot);
        leg.child_sent();
        // SAFETY: desc and channel are open as long as our channel is, and the host I/O with its buffers lives until the
        // last child has ended.
        let rc = unsafe { submit(channel, slot, host, kind) };
        if rc == 0 {
            if last {
                // It may have ended already: `host` is not touched again.
                return Sent::All;
            }
            continue;
        }
        leg.child_ended();
        if rc == -libc::ENOMEM {
            host.leg_not_sent(slot);
            channel.parked().push_front(host);
            channel.wait_for_memory();
            return Sent::NoMemory;
        }
        // Refused before anything was sent: the leg is as it was.
        host.leg_bad(slot, Fault::Rejected, FAILED);
        if last {
            return Sent::All;
        }
    }
    Sent::All
}

/// # Safety
/// The leg is open on the channel's thread; the host I/O lives until the child has ended.
#[inline(always)]
unsafe fn submit(channel: &Channel, slot: Slot, host: &HostIo, kind: Kind) -> c_int {
    let leg = channel.leg(slot);
    let (desc, ch, io, offset) = (leg.desc(), leg.io_channel(), host.io(), channel.data_offset_blocks());
    let done = CHILD_DONE[slot.index()];
    let arg = ptr::from_ref(host).cast_mut().cast();
    // SAFETY: as the caller promises.
    unsafe {
        match kind {
            Kind::Read => mirror_shim_readv(desc, ch, io, offset, done, arg),
            Kind::Write => mirror_shim_writev(desc, ch, io, offset, done, arg),
            Kind::Unmap if channel.mirror().capable.unmap.contains(slot) => {
                mirror_shim_unmap(desc, ch, io, offset, done, arg)
            }
            Kind::WriteZeroes | Kind::Unmap => mirror_shim_write_zeroes(desc, ch, io, offset, done, arg),
            Kind::Flush if channel.mirror().capable.nvme_flush.contains(slot) => {
                mirror_shim_nvme_flush(desc, ch, done, arg)
            }
            Kind::Flush => mirror_shim_flush(desc, ch, done, arg),
            Kind::Reset => mirror_shim_reset(desc, ch, done, arg),
            // Aborts name their target and are sent by abort::start.
            Kind::Abort => -libc::EINVAL,
        }
    }
}

type ChildDone = spdk_bdev_io_completion_cb;

/// One callback for each slot, so that a child's end says which leg it was without a search.
pub static CHILD_DONE: [ChildDone; MAX_LEGS] = [
    Some(child_done::<0>),
    Some(child_done::<1>),
    Some(child_done::<2>),
    Some(child_done::<3>),
    Some(child_done::<4>),
    Some(child_done::<5>),
    Some(child_done::<6>),
    Some(child_done::<7>),
    Some(child_done::<8>),
    Some(child_done::<9>),
    Some(child_done::<10>),
    Some(child_done::<11>),
    Some(child_done::<12>),
    Some(child_done::<13>),
    Some(child_done::<14>),
    Some(child_done::<15>),
];

/// A child of slot `SLOT` has ended.
///
/// # Safety
/// Called by the bdev layer on the channel's thread, with the `HostIo` that was given at submission.
unsafe extern "C" fn child_done<const SLOT: usize>(child: *mut spdk_bdev_io, success: bool, arg: *mut c_void) {
    const { assert!(SLOT < MAX_LEGS) };
    // SAFETY: a host I/O lives until its last child has ended, and this child has not been accounted for yet.
    let host = unsafe { &*arg.cast::<HostIo>() };
    let Some(slot) = Slot::new(SLOT) else { return };
    let channel = host.channel();
    channel.leg(slot).child_ended();
    channel.progressed();
    if success {
        // SAFETY: the child is ours to free. Freed first: I/O that waits for memory, perhaps this very one, gets it now.
        unsafe { spdk_bdev_free_io(child) };
        if channel.parked().is_empty() {
            host.leg_good(slot);
        } else {
            good_while_others_wait(host, slot);
        }
    } else {
        // SAFETY: as above.
        unsafe { child_failed(host, slot, child) };
    }
}

#[cold]
fn good_while_others_wait(host: &HostIo, slot: Slot) {
    let channel = ptr::from_ref(host.channel());
    host.leg_good(slot);
    // SAFETY: `host` may be gone; its channel is not, which SPDK destroys by a message.
    unsafe { &*channel }.go_on();
}

/// # Safety
/// `child` has ended and was not freed.
#[cold]
unsafe fn child_failed(host: &HostIo, slot: Slot, child: *mut spdk_bdev_io) {
    let mut status = FAILED;
    // SAFETY: as the caller promises.
    unsafe {
        mirror_shim_io_status(child, &mut status);
        spdk_bdev_free_io(child);
    }
    let fault = match i32::from(status.status) {
        SPDK_BDEV_IO_STATUS_NVME_ERROR => Fault::of_nvme(status.sct, status.sc),
        SPDK_BDEV_IO_STATUS_ABORTED => Fault::Aborted,
        _ => Fault::Failed,
    };
    host.leg_bad(slot, fault, status);
}
