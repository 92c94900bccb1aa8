//! Lines in SPDK's log, with the place in our source that wrote them.

use mirror_rpc::quote;
use spdk_sys::*;
use std::ffi::CString;
use std::panic::Location;

/// How much a line matters.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Something is lost or refused that somebody has to look at.
    Error,
    /// Something works, but not as well as it looks.
    Warning,
    /// Something happened that an operator wants to find later.
    Notice,
}

/// Writes a line about the mirror of this name, which is quoted: a name may have line breaks in it.
#[track_caller]
pub fn of_mirror(level: Level, name: &str, text: &str) {
    write(level, &format!("mirror {}: {text}", quote(name)));
}

#[track_caller]
fn write(level: Level, text: &str) {
    let place = Location::caller();
    let level = match level {
        Level::Error => MIRROR_SHIM_LOG_ERROR,
        Level::Warning => MIRROR_SHIM_LOG_WARNING,
        Level::Notice => MIRROR_SHIM_LOG_NOTICE,
    };
    let c = |text: &str| CString::new(text.replace('\0', "?")).unwrap_or_default();
    let (file, text) = (c(place.file()), c(text));
    // SAFETY: the shim prints the strings with "%s" and does not keep them.
    unsafe { mirror_shim_log(level, file.as_ptr(), place.line() as i32, text.as_ptr()) };
}
