//! An RPC call that waits for its answer.

use mirror_rpc::RpcError;
use serde::Serialize;
use spdk_sys::*;
use std::ffi::CString;

/// One call. Answered exactly once: answering takes it.
pub struct Request(*mut spdk_jsonrpc_request);

// SAFETY: SPDK handles JSON-RPC on the app thread; a request is kept in a mirror's state and answered on that thread.
unsafe impl Send for Request {}

impl Request {
    /// # Safety
    /// `request` is what SPDK passed to a method, not answered yet.
    pub unsafe fn new(request: *mut spdk_jsonrpc_request) -> Self {
        Self(request)
    }

    /// Answers.
    pub fn answer<T: Serialize>(self, result: Result<T, RpcError>) {
        match result.and_then(|value| serde_json::to_string(&value).map_err(|e| RpcError::invalid(e.to_string()))) {
            // SAFETY: the request is unanswered; the shim copies the text.
            Ok(text) => unsafe { mirror_shim_rpc_reply(self.0, text.as_ptr().cast(), text.len()) },
            Err(error) => {
                let message = CString::new(error.message.replace('\0', "?")).unwrap_or_default();
                // SAFETY: the request is unanswered; SPDK copies the message.
                unsafe { spdk_jsonrpc_send_error_response(self.0, error.code(), message.as_ptr()) };
            }
        }
    }
}
