//! Where the bdev layer hands I/O over.

use super::child::send_rest;
use super::host_io::{FAILED, HostIo, Kind};
use super::{abort, reset};
use crate::channel::Channel;
use mirror_engine::{LegMask, read_policy};
use spdk_sys::*;
use std::ffi::{c_int, c_void};

/// Bytes of driver context that each I/O of our bdevs needs.
///
/// # Safety
/// None: it looks at nothing.
pub unsafe extern "C" fn io_ctx_size() -> c_int {
    const { assert!(size_of::<HostIo>() <= 64) };
    size_of::<HostIo>() as c_int
}

/// What the mirror takes (`spdk_bdev_fn_table.io_type_supported`), the same on any legs: what a leg lacks is done another
/// way, see [`super::child`] and [`super::abort`]. The rest is the bdev layer's to emulate.
///
/// # Safety
/// None: it looks at nothing.
pub unsafe extern "C" fn io_type_supported(_: *mut c_void, io_type: spdk_bdev_io_type) -> bool {
    matches!(
        io_type,
        SPDK_BDEV_IO_TYPE_READ
            | SPDK_BDEV_IO_TYPE_WRITE
            | SPDK_BDEV_IO_TYPE_UNMAP
            | SPDK_BDEV_IO_TYPE_WRITE_ZEROES
            | SPDK_BDEV_IO_TYPE_FLUSH
            | SPDK_BDEV_IO_TYPE_RESET
            | SPDK_BDEV_IO_TYPE_ABORT
    )
}

/// Takes one I/O (`spdk_bdev_fn_table.submit_request`).
///
/// # Safety
/// Called by the bdev layer, on the channel's thread.
pub unsafe extern "C" fn submit_request(ch: *mut spdk_io_channel, io: *mut spdk_bdev_io) {
    // SAFETY: the bdev layer passes a channel of ours.
    let channel = unsafe { Channel::of(ch) };
    // SAFETY: the shim gives the offset of the type, one byte.
    let io_type = u32::from(unsafe { io.byte_add(MIRROR_SHIM_IO_TYPE_OFFSET as usize).cast::<u8>().read() });
    // SAFETY: `io` is ours until it is completed, and came through `channel`.
    unsafe {
        match io_type {
            SPDK_BDEV_IO_TYPE_READ if has_buffer(io) => read(channel, io),
            SPDK_BDEV_IO_TYPE_WRITE => write(channel, io),
            _ => other(channel, io, io_type),
        }
    }
}

/// Whether a read brought its own buffer.
///
/// # Safety
/// `io` is a read.
#[inline]
unsafe fn has_buffer(io: *mut spdk_bdev_io) -> bool {
    // SAFETY: the shim gives the offset of the pointer; without vectors, or with an empty one, the bdev layer is asked for
    // a buffer (SPDK's bdev modules do the same by spdk_bdev_io_get_buf()).
    unsafe {
        let iovs = io.byte_add(MIRROR_SHIM_IO_IOVS_OFFSET as usize).cast::<*const libc::iovec>().read();
        !iovs.is_null() && !(*iovs).iov_base.is_null()
    }
}

/// # Safety
/// As [`HostIo::start`].
#[inline(never)]
unsafe fn write(channel: &Channel, io: *mut spdk_bdev_io) {
    // SAFETY: as the caller promises.
    unsafe { start(channel, io, Kind::Write, channel.mirror().leg_set().load().writable()) }
}

/// What is rarer than reads and writes.
///
/// # Safety
/// As [`HostIo::start`].
#[inline(never)]
unsafe fn other(channel: &Channel, io: *mut spdk_bdev_io, io_type: spdk_bdev_io_type) {
    let writable = channel.mirror().leg_set().load().writable();
    let capable = &channel.mirror().capable;
    // SAFETY: as the caller promises.
    unsafe {
        match io_type {
            SPDK_BDEV_IO_TYPE_READ => {
                // An abort may look at it while it waits for its buffer.
                HostIo::start(io, channel, Kind::Read, LegMask::NONE);
                mirror_shim_io_get_buffer(io, Some(read_with_buffer));
            }
            SPDK_BDEV_IO_TYPE_WRITE_ZEROES => start(channel, io, Kind::WriteZeroes, writable),
            SPDK_BDEV_IO_TYPE_UNMAP => start(channel, io, Kind::Unmap, writable),
            SPDK_BDEV_IO_TYPE_FLUSH => flush(channel, io, writable, capable.flush),
            // Every leg that is open, in service or not: a reset is to get rid of what is stuck there.
            SPDK_BDEV_IO_TYPE_RESET => reset::start(HostIo::start(io, channel, Kind::Reset, capable.reset)),
            SPDK_BDEV_IO_TYPE_ABORT => abort::start(io, channel),
            _ => fail(channel, io),
        }
    }
}

/// The buffer that the bdev layer got for a read that brought none.
///
/// # Safety
/// The bdev layer calls it on the channel's thread, with an I/O that was given to mirror_shim_io_get_buffer().
unsafe extern "C" fn read_with_buffer(ch: *mut spdk_io_channel, io: *mut spdk_bdev_io, success: bool) {
    // SAFETY: the bdev layer calls back on the channel that the read came through, with our I/O.
    unsafe {
        let channel = Channel::of(ch);
        if success {
            read(channel, io);
        } else {
            fail(channel, io);
        }
    }
}

/// # Safety
/// As [`HostIo::start`].
#[inline(never)]
unsafe fn read(channel: &Channel, io: *mut spdk_bdev_io) {
    let readable = channel.mirror().leg_set().load().readable();
    let chosen = read_policy::least_outstanding(readable, channel.last_read(), |slot| channel.leg(slot).outstanding());
    // SAFETY: as the caller promises.
    unsafe {
        match chosen {
            Some(slot) => {
                channel.set_last_read(slot);
                start(channel, io, Kind::Read, LegMask::only(slot));
            }
            None => fail(channel, io),
        }
    }
}

/// # Safety
/// As [`HostIo::start`].
unsafe fn flush(channel: &Channel, io: *mut spdk_bdev_io, writable: LegMask, needs_flush: LegMask) {
    let legs = writable.and(needs_flush);
    // SAFETY: as the caller promises.
    unsafe {
        if legs.is_empty() && !writable.is_empty() {
            // What these legs acknowledged is durable already.
            HostIo::start(io, channel, Kind::Flush, LegMask::NONE);
            spdk_bdev_io_complete(io, SPDK_BDEV_IO_STATUS_SUCCESS);
        } else {
            start(channel, io, Kind::Flush, legs);
        }
    }
}

/// Sends an I/O to its legs, or queues it behind those that wait for memory.
///
/// # Safety
/// As [`HostIo::start`].
#[inline(always)]
unsafe fn start(channel: &Channel, io: *mut spdk_bdev_io, kind: Kind, legs: LegMask) {
    // SAFETY: as the caller promises; the link leaves the list when the I/O ends.
    unsafe {
        if legs.is_empty() {
            return fail(channel, io);
        }
        let host = HostIo::start(io, channel, kind, legs);
        channel.under_way().push(host.link());
        if channel.parked().is_empty() {
            send_rest(channel, host, kind);
        } else {
            channel.line_up(host);
        }
    }
}

/// Ends an I/O that no leg can serve.
///
/// # Safety
/// As [`HostIo::start`].
#[cold]
unsafe fn fail(channel: &Channel, io: *mut spdk_bdev_io) {
    // SAFETY: as the caller promises.
    unsafe {
        // No legs, so nobody looks at the kind.
        HostIo::start(io, channel, Kind::Read, LegMask::NONE);
        mirror_shim_io_complete(io, &FAILED);
    }
}
