//! How a mirror ends: deleted, stopped, taken offline because a leg went, or with the process.
//!
//! All ways are one: the bdev is unregistered, its users let go of it, the bdev layer calls [`destruct`] on whichever
//! thread was last, and the rest happens on the app thread: io_device, legs, memory, answers.

use crate::app_thread;
use crate::log::{self, Level};
use crate::mirror::{Mirror, Phase};
use crate::registry;
use mirror_engine::LegSet;
use mirror_rpc::quote;
use spdk_sys::*;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A base bdev is being removed (SPDK's event, on the app thread): its mirror stops serving and goes offline.
pub fn leg_removed(bdev: *mut spdk_bdev) {
    for mirror in registry::all() {
        for leg in mirror.legs.iter().filter(|leg| leg.is_open() && leg.bdev() == bdev) {
            leg.set_gone();
            go_offline(&mirror, &leg.name);
        }
    }
}

fn go_offline(mirror: &Arc<Mirror>, leg: &str) {
    // From here on every I/O fails at once; what is in flight ends by itself.
    mirror.leg_set().publish(LegSet::OFFLINE);
    mirror.note(Level::Error, &format!("base bdev {} was removed: the mirror goes offline", quote(leg)));
    {
        let mut control = mirror.control();
        if control.phase != Phase::Online {
            return;
        }
        control.phase = Phase::GoingOffline;
    }
    // SAFETY: the bdev is registered while the mirror is online; this is the app thread.
    unsafe { spdk_bdev_unregister(mirror.bdev(), None, ptr::null_mut()) };
}

/// The bdev layer gives the bdev back (`spdk_bdev_fn_table.destruct`): 1 promises `spdk_bdev_destruct_done`.
///
/// # Safety
/// Called by the bdev layer once, on any thread, with the bdev's context.
pub unsafe extern "C" fn destruct(ctx: *mut c_void) -> c_int {
    // SAFETY: the context is the mirror, which the registry keeps until it was destroyed.
    let mirror = unsafe { &*ctx.cast::<Mirror>() };
    {
        let mut control = mirror.control();
        if control.phase == Phase::Online {
            // Not our doing: the process ends. Nobody may look at the bdev from now on.
            control.phase = Phase::GoingAway;
        }
    }
    mirror.destroy_pending.store(true, Ordering::Release);
    app_thread::destroy_soon();
    1
}

/// Goes on with every mirror that [`destruct`] was called for. On the app thread.
pub fn destroy_pending() {
    for mirror in registry::all() {
        if mirror.destroy_pending.swap(false, Ordering::AcqRel) {
            // SAFETY: registered by create(), once; closed() is called when its last channel is gone.
            unsafe { spdk_io_device_unregister(device(&mirror), Some(closed)) };
        }
    }
}

/// No channel is left.
///
/// # Safety
/// SPDK calls it on the app thread, with the mirror's address.
unsafe extern "C" fn closed(io_device: *mut c_void) {
    let Some(mirror) = registry::at(io_device) else { return };
    mirror.legs.iter().for_each(crate::leg::Leg::close);
    let bdev = mirror.bdev();
    // SAFETY: destruct() promised this; the bdev layer does not look at the bdev afterwards.
    unsafe { spdk_bdev_destruct_done(bdev, 0) };
    finish(&mirror);
}

/// A registration that failed when the bdev was registered already: the bdev layer will call destruct().
pub fn expect_destruct(mirror: &Mirror) {
    mirror.control().phase = Phase::GoingAway;
}

/// Undoes a registration that the bdev layer refused: there is no destruct() in this case.
pub fn undo_registration(mirror: &Arc<Mirror>) {
    mirror.control().phase = Phase::GoingAway;
    // SAFETY: registered just before; no channel was made, so the callback comes soon.
    unsafe { spdk_io_device_unregister(device(mirror), Some(never_registered)) };
    // The legs are free again when the call returns its error, not some messages later.
    mirror.legs.iter().for_each(crate::leg::Leg::close);
}

/// # Safety
/// As [`closed`].
unsafe extern "C" fn never_registered(io_device: *mut c_void) {
    if let Some(mirror) = registry::at(io_device) {
        finish(&mirror);
    }
}

/// Frees the bdev and either forgets the mirror or leaves it listed. The caller's reference is the last one to go.
fn finish(mirror: &Arc<Mirror>) {
    let bdev = mirror.bdev();
    mirror.set_bdev(ptr::null_mut());
    // SAFETY: made by mirror_shim_bdev_new() and out of SPDK's hands.
    unsafe { mirror_shim_bdev_free(bdev) };
    let waiting = {
        let mut control = mirror.control();
        if control.phase == Phase::GoingOffline {
            control.phase = Phase::Offline;
            return;
        }
        std::mem::take(&mut control.waiting)
    };
    log::of_mirror(Level::Notice, mirror.name(), "gone");
    registry::remove(mirror);
    for request in waiting {
        request.answer(Ok(true));
    }
}

fn device(mirror: &Arc<Mirror>) -> *mut c_void {
    Arc::as_ptr(mirror).cast_mut().cast()
}
