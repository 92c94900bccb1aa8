//! How a mirror ends: deleted, stopped, taken offline because a leg went, or with the process.
//!
//! All ways are one: the bdev is unregistered, its users let go of it, the bdev layer calls [`destruct`] on whichever
//! thread was last, and the rest happens on the app thread: io_device, legs, memory, answers.

use crate::app_thread;
use crate::log::{self, Level};
use crate::mirror::{Mirror, Phase};
use crate::registry;
use crate::request::Request;
use mirror_engine::LegSet;
use mirror_rpc::{RpcError, Wording, quote};
use spdk_sys::*;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A call that wants a mirror gone. Legs are left as they are: with `log_type: core` nothing of ours is on them.
pub struct Deletion {
    pub name: String,
    /// Also while somebody has it open: they are told to let go, and waited for.
    pub force: bool,
    pub request: Request,
    /// Waited for other modules' examination, which looks like a user.
    examined: bool,
}

impl Deletion {
    pub fn new(name: String, force: bool, request: Request) -> Self {
        Self { name, force, request, examined: false }
    }

    /// Deletes the mirror and answers when it is gone.
    pub fn run(self) {
        let mirror = match registry::expect(&self.name) {
            Ok(mirror) => mirror,
            Err(error) => return self.request.answer::<bool>(Err(error)),
        };
        let phase = mirror.phase();
        match phase {
            Phase::GoingAway => return self.request.answer::<bool>(Err(going_already(&self.name))),
            Phase::Offline => {
                registry::remove(&mirror);
                return self.request.answer(Ok(true));
            }
            // SAFETY: the bdev is registered while the mirror is online.
            Phase::Online if !self.force && unsafe { mirror_shim_bdev_is_open(mirror.bdev()) } => {
                return self.wait_or_refuse();
            }
            Phase::Online | Phase::GoingOffline => {
                let mut control = mirror.control();
                control.phase = Phase::GoingAway;
                control.waiting.push(self.request);
            }
        }
        if phase == Phase::Online {
            // SAFETY: the bdev is registered while the mirror is online; this is the app thread.
            unsafe { spdk_bdev_unregister(mirror.bdev(), None, ptr::null_mut()) };
        }
    }

    /// It is open: by a user, or on newer releases by the bdev layer itself until all modules have examined it.
    fn wait_or_refuse(mut self) {
        if !self.examined {
            self.examined = true;
            let waiting = Box::into_raw(Box::new(self));
            // SAFETY: examined() takes the box back, unless the call is refused, which it says now.
            let rc = unsafe { mirror_shim_wait_for_examine(Some(examined), waiting.cast()) };
            if rc == 0 {
                return;
            }
            // SAFETY: made above, refused.
            self = *unsafe { Box::from_raw(waiting) };
        }
        self.request.answer::<bool>(Err(RpcError::busy(Wording {
            subject: &format!("name {}", quote(&self.name)),
            wrong: "open",
            expected: "a mirror that nobody uses",
            found: "open descriptors",
            advice: "remove its users first (an NVMe-oF namespace, a bdev on top), or delete it with force",
        })));
    }
}

/// # Safety
/// SPDK passes what [`Deletion::wait_or_refuse`] gave, once, on the app thread.
unsafe extern "C" fn examined(ctx: *mut c_void) {
    // SAFETY: as promised.
    unsafe { Box::from_raw(ctx.cast::<Deletion>()) }.run();
}

fn going_already(name: &str) -> RpcError {
    RpcError::busy(Wording {
        subject: &format!("name {}", quote(name)),
        wrong: "being deleted already",
        advice: "wait for the first call's answer",
        ..Wording::default()
    })
}

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
    mirror.note(Level::Error, &format!("base bdev '{leg}' was removed: the mirror goes offline"));
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
/// SPDK calls it on the app thread, with the mirror.
unsafe extern "C" fn closed(io_device: *mut c_void) {
    // SAFETY: the io_device is the mirror's address; the registry keeps it until finish().
    let mirror = unsafe { &*io_device.cast::<Mirror>() };
    mirror.legs.iter().for_each(crate::leg::Leg::close);
    let bdev = mirror.bdev();
    // SAFETY: destruct() promised this; the bdev layer does not look at the bdev afterwards.
    unsafe { spdk_bdev_destruct_done(bdev, 0) };
    finish(mirror);
}

/// A registration that failed when the bdev was registered already: the bdev layer will call destruct().
pub fn going_away(mirror: &Mirror) {
    mirror.control().phase = Phase::GoingAway;
}

/// Undoes a registration that the bdev layer refused: there is no destruct() in this case.
pub fn unregistered(mirror: &Arc<Mirror>) {
    mirror.control().phase = Phase::GoingAway;
    // SAFETY: registered just before; no channel was made, so the callback comes soon.
    unsafe { spdk_io_device_unregister(device(mirror), Some(never_registered)) };
    // The legs are free again when the call returns its error, not some messages later.
    mirror.legs.iter().for_each(crate::leg::Leg::close);
}

/// # Safety
/// As [`closed`].
unsafe extern "C" fn never_registered(io_device: *mut c_void) {
    // SAFETY: as there.
    finish(unsafe { &*io_device.cast::<Mirror>() });
}

/// Frees the bdev and either forgets the mirror or leaves it listed.
fn finish(mirror: &Mirror) {
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
    log::write(Level::Notice, &format!("mirror '{}': gone", mirror.name()));
    registry::remove(mirror);
    for request in waiting {
        request.answer(Ok(true));
    }
}

/// A channel for the calling thread (`spdk_bdev_fn_table.get_io_channel`); null without memory.
///
/// # Safety
/// The bdev layer passes the context of a registered bdev of ours.
pub unsafe extern "C" fn get_io_channel(ctx: *mut c_void) -> *mut spdk_io_channel {
    // SAFETY: the context is the io_device's address too.
    unsafe { spdk_get_io_channel(ctx) }
}

fn device(mirror: &Arc<Mirror>) -> *mut c_void {
    Arc::as_ptr(mirror).cast_mut().cast()
}
