//! Names of bdevs, as far as a call's text can tell.

use crate::{RpcError, Wording, quote};

/// Longest name of a bdev, in bytes.
pub const BDEV_NAME_BYTES_MAX: usize = 255;

/// Refuses a name that no bdev can have. `subject` is the parameter.
pub(crate) fn check(subject: &str, name: &str) -> Result<(), RpcError> {
    let wrong = |wrong, found: &str| {
        Err(RpcError::invalid(Wording {
            subject,
            wrong,
            expected: &format!("1 to {BDEV_NAME_BYTES_MAX} bytes without NUL"),
            found,
            advice: "give the name of a bdev",
        }))
    };
    if name.is_empty() {
        wrong("empty", "''")
    } else if name.contains('\0') {
        wrong("contains a NUL character", &quote(name))
    } else if name.len() > BDEV_NAME_BYTES_MAX {
        wrong("too long", &format!("{} bytes", name.len()))
    } else {
        Ok(())
    }
}
