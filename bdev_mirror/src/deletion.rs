//! `bdev_mirror_delete` and `bdev_mirror_stop`.

use crate::mirror::{Mirror, Phase};
use crate::registry;
use crate::request::Request;
use mirror_rpc::{RpcError, Wording, quote};
use spdk_sys::*;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

/// A call that wants a mirror gone. Legs are left as they are: with `log_type: core` nothing of ours is on them.
pub struct Deletion {
    pub name: String,
    /// Also while somebody has it open: they are told to let go, and waited for.
    pub force: bool,
    pub request: Request,
    /// The mirror, once it has waited for other modules' examination, which looks like a user.
    examined: Option<Arc<Mirror>>,
}

impl Deletion {
    pub fn new(name: String, force: bool, request: Request) -> Self {
        Self { name, force, request, examined: None }
    }

    /// Deletes the mirror and answers when it is gone.
    pub fn run(self) {
        let mirror = match registry::expect(&self.name) {
            Ok(mirror) => mirror,
            Err(error) => return self.request.answer::<bool>(Err(error)),
        };
        if self.examined.as_ref().is_some_and(|examined| !Arc::ptr_eq(examined, &mirror)) {
            // It went while this call waited, and the name is another one's now.
            return self.request.answer(Ok(true));
        }
        let phase = mirror.phase();
        match phase {
            Phase::GoingAway => return self.request.answer::<bool>(Err(going_already(&self.name))),
            Phase::Offline => {
                registry::remove(&mirror);
                return self.request.answer(Ok(true));
            }
            // SAFETY: the bdev is registered while the mirror is online.
            Phase::Online if !self.force && unsafe { mirror_shim_bdev_is_open(mirror.bdev()) } => {
                return self.wait_or_refuse(mirror);
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
    fn wait_or_refuse(mut self, mirror: Arc<Mirror>) {
        if self.examined.is_none() {
            self.examined = Some(mirror);
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

/// All modules have examined all bdevs. Who opened the mirror for that closes it by a poller of the same turn, perhaps
/// after this one: a message comes after both.
///
/// # Safety
/// SPDK passes what [`Deletion::wait_or_refuse`] gave, once, on the app thread.
unsafe extern "C" fn examined(ctx: *mut c_void) {
    // SAFETY: as promised; whichever of the two calls takes the context is the only one.
    unsafe {
        if spdk_thread_send_msg(spdk_get_thread(), Some(run_examined), ctx) != 0 {
            run_examined(ctx);
        }
    }
}

/// # Safety
/// As [`examined`].
unsafe extern "C" fn run_examined(ctx: *mut c_void) {
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
