//! Lines in SPDK's log.

use spdk_sys::*;
use std::ffi::CString;

/// Something is lost or refused that somebody has to look at.
pub fn error(text: &str) {
    write(MIRROR_SHIM_LOG_ERROR, text);
}

/// Something works, but not as well as it looks.
pub fn warning(text: &str) {
    write(MIRROR_SHIM_LOG_WARNING, text);
}

/// Something happened that an operator wants to find later.
pub fn notice(text: &str) {
    write(MIRROR_SHIM_LOG_NOTICE, text);
}

fn write(level: mirror_shim_log_level, text: &str) {
    let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
    // SAFETY: the shim prints the string with "%s" and does not keep it.
    unsafe { mirror_shim_log(level, text.as_ptr()) };
}
