//! The JSON-RPC methods. Parameters are checked by `mirror_rpc`; each method runs on the app thread.

use crate::deletion::Deletion;
use crate::request::Request;
use crate::{create, registry, report, text};
use mirror_rpc::{CreateParams, DeleteParams, GetBdevsParams, MirrorInfo, RpcError, StopParams};
use spdk_sys::*;
use std::ffi::CStr;

type Handler = unsafe extern "C" fn(*mut spdk_jsonrpc_request, *const spdk_json_val);

const METHODS: [(&CStr, Handler); 4] = [
    (c"bdev_mirror_create", create_method),
    (c"bdev_mirror_delete", delete_method),
    (c"bdev_mirror_stop", stop_method),
    (c"bdev_mirror_get_bdevs", get_bdevs_method),
];

/// Adds the methods to SPDK's table, before `main` runs.
pub fn register() {
    for (name, handler) in METHODS {
        // SAFETY: the name is static and the handler has the signature that SPDK calls.
        unsafe { spdk_rpc_register_method(name.as_ptr(), Some(handler), SPDK_RPC_RUNTIME) };
    }
}

/// # Safety
/// SPDK passes an unanswered request and its parameters, on the app thread. So do the others.
unsafe extern "C" fn create_method(request: *mut spdk_jsonrpc_request, params: *const spdk_json_val) {
    // SAFETY: as promised.
    let (request, params) = unsafe { take(request, params) };
    request.answer(params.and_then(|text| create::create(CreateParams::parse(&text)?)));
}

unsafe extern "C" fn delete_method(request: *mut spdk_jsonrpc_request, params: *const spdk_json_val) {
    // SAFETY: as promised.
    let (request, params) = unsafe { take(request, params) };
    match params.and_then(|text| DeleteParams::parse(&text)) {
        // `wipe` has nothing to do: with log_type core nothing of ours is on the legs.
        Ok(params) => Deletion::new(params.name, params.force, request).run(),
        Err(error) => request.answer::<bool>(Err(error)),
    }
}

unsafe extern "C" fn stop_method(request: *mut spdk_jsonrpc_request, params: *const spdk_json_val) {
    // SAFETY: as promised.
    let (request, params) = unsafe { take(request, params) };
    match params.and_then(|text| StopParams::parse(&text)) {
        // With log_type core nothing stays on the legs, so stopping and deleting are the same.
        Ok(params) => Deletion::new(params.name, false, request).run(),
        Err(error) => request.answer::<bool>(Err(error)),
    }
}

unsafe extern "C" fn get_bdevs_method(request: *mut spdk_jsonrpc_request, params: *const spdk_json_val) {
    // SAFETY: as promised.
    let (request, params) = unsafe { take(request, params) };
    request.answer(params.and_then(|text| get_bdevs(&GetBdevsParams::parse(&text)?)));
}

fn get_bdevs(params: &GetBdevsParams) -> Result<Vec<MirrorInfo>, RpcError> {
    let mirrors = match &params.name {
        Some(name) => vec![registry::expect(name)?],
        None => registry::all(),
    };
    let infos = mirrors.iter().map(|mirror| report::info(mirror));
    Ok(infos.filter(|info| params.category.includes(info.state)).collect())
}

/// # Safety
/// As for the methods.
unsafe fn take(
    request: *mut spdk_jsonrpc_request,
    params: *const spdk_json_val,
) -> (Request, Result<String, RpcError>) {
    // SAFETY: as promised.
    unsafe {
        let text = text::of_params(params).map_err(|rc| match -rc {
            libc::ENOMEM => RpcError::no_memory("no memory to read the parameters"),
            _ => RpcError::invalid("params: not JSON that can be written again"),
        });
        (Request::new(request), text)
    }
}
