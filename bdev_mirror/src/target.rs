//! The program.

use std::ffi::{CString, c_char, c_int};
use std::process::ExitCode;

/// Runs SPDK's target with this process's arguments, until it is told to stop. The exit code is the target's.
pub fn run() -> ExitCode {
    // The constructor that registers the module is in an archive member of its own: name it, or the linker drops it.
    crate::module::keep();
    let args: Vec<CString> = std::env::args_os()
        .filter_map(|arg| CString::new(std::os::unix::ffi::OsStringExt::into_vec(arg)).ok())
        .collect();
    let mut argv: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    // SAFETY: argv is what main() gets in C: NUL-terminated strings, then null, all alive until the call returns.
    // getopt() permutes the pointers and leaves the strings alone.
    let rc = unsafe { spdk_sys::mirror_shim_target_main(args.len() as c_int, argv.as_mut_ptr()) };
    ExitCode::from(u8::from(rc != 0))
}
