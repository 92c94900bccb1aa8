//! The module's entry: registered before `main` runs, as SPDK's own modules are.

use crate::{app_thread, io, registry, report, rpc};
use spdk_sys::*;
use std::ffi::c_int;

#[used]
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;

/// Makes the linker keep [`REGISTER`]; does nothing.
#[cfg(feature = "link-static")]
pub fn keep() {
    std::hint::black_box(&REGISTER);
}

/// Adds the module and its RPC methods to SPDK's lists, which are initialised statically: order does not matter.
extern "C" fn register() {
    let ops = mirror_shim_module_ops {
        name: c"mirror".as_ptr(),
        init: Some(init),
        fini: Some(fini),
        config_json: Some(report::config_json),
        io_ctx_size: Some(io::io_ctx_size),
    };
    // SAFETY: the shim copies the table; the name is static.
    unsafe { mirror_shim_module_register(&ops) };
    rpc::register();
}

/// # Safety
/// SPDK calls it once, on the app thread.
unsafe extern "C" fn init() -> c_int {
    app_thread::remember()
}

/// # Safety
/// SPDK calls it on the app thread, after all bdevs are gone.
unsafe extern "C" fn fini() {
    registry::clear();
    app_thread::forget();
}
