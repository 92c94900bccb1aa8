//! Text from and to SPDK.

use spdk_sys::*;
use std::ffi::{CStr, c_char, c_int, c_void};

/// The text of an RPC's parameters; empty if there are none.
///
/// # Safety
/// `params` is what SPDK passed to the method, or null.
pub unsafe fn of_params(params: *const spdk_json_val) -> Result<String, c_int> {
    // SAFETY: as the caller promises.
    collect(|cb, ctx| unsafe { mirror_shim_params_text(params, cb, ctx) })
}

/// What a bdev's module says of it, a JSON object.
///
/// # Safety
/// `bdev` is registered, and this is the app thread.
pub unsafe fn of_bdev_info(bdev: *mut spdk_bdev) -> Result<String, c_int> {
    // SAFETY: as the caller promises.
    collect(|cb, ctx| unsafe { mirror_shim_bdev_info_text(bdev, cb, ctx) })
}

/// A copy of a C string; empty for null.
///
/// # Safety
/// `text` is null or NUL-terminated.
pub unsafe fn of_c(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn collect(write: impl FnOnce(mirror_shim_text_cb, *mut c_void) -> c_int) -> Result<String, c_int> {
    let mut bytes: Vec<u8> = Vec::new();
    match write(Some(append), (&raw mut bytes).cast()) {
        0 => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        rc => Err(rc),
    }
}

/// # Safety
/// `ctx` is the buffer of [`collect`], `text` has `length` bytes.
unsafe extern "C" fn append(ctx: *mut c_void, text: *const c_char, length: usize) {
    // SAFETY: as promised; the shim calls back before collect() returns.
    unsafe { (*ctx.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(text.cast(), length)) };
}
