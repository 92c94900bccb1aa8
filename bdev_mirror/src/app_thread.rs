//! SPDK's app thread, on which everything but I/O happens: bdevs are registered, opened and closed there.

use crate::removal;
use spdk_sys::*;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

static APP: AtomicPtr<spdk_thread> = AtomicPtr::new(ptr::null_mut());
static SAFETY_NET: AtomicPtr<spdk_poller> = AtomicPtr::new(ptr::null_mut());

/// How often work is looked for whose message could not be sent.
const SAFETY_NET_US: u64 = 100_000;

/// Remembers the calling thread as the app thread. 0, or -ENOMEM.
pub fn remember() -> c_int {
    // SAFETY: called on the app thread; the poller's function needs no argument.
    unsafe {
        APP.store(spdk_get_thread(), Ordering::Release);
        let poller = spdk_poller_register_named(
            Some(safety_net),
            ptr::null_mut(),
            SAFETY_NET_US,
            c"bdev_mirror_safety_net".as_ptr(),
        );
        SAFETY_NET.store(poller, Ordering::Release);
        if poller.is_null() { -libc::ENOMEM } else { 0 }
    }
}

/// Ends what [`remember`] began.
pub fn forget() {
    let mut poller = SAFETY_NET.swap(ptr::null_mut(), Ordering::AcqRel);
    if !poller.is_null() {
        // SAFETY: registered on this thread by remember(), unregistered once.
        unsafe { spdk_poller_unregister(&mut poller) };
    }
}

/// Has [`removal::destroy_pending`] called on the app thread: now if this is it, else by message. A message that cannot
/// be sent is made up for by the poller.
pub fn destroy_soon() {
    let app = APP.load(Ordering::Acquire);
    // SAFETY: the app thread lives until the module has ended; the function needs no argument.
    unsafe {
        if spdk_get_thread() == app {
            removal::destroy_pending();
        } else {
            spdk_thread_send_msg(app, Some(destroy_message), ptr::null_mut());
        }
    }
}

unsafe extern "C" fn destroy_message(_: *mut c_void) {
    removal::destroy_pending();
}

unsafe extern "C" fn safety_net(_: *mut c_void) -> c_int {
    removal::destroy_pending();
    MIRROR_SHIM_POLLER_IDLE as c_int
}
