//! A refusal, ready to be sent as a JSON-RPC error.

/// Why a call was refused: an errno for scripts and a message for people.
///
/// The constructors are named after what happened; each takes the message, usually a
/// [`Wording`](crate::Wording).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Positive errno, as in `errno.h`.
    pub errno: i32,
    /// What is wrong, what was expected and found, what to do.
    pub message: String,
}

impl RpcError {
    /// Any errno that has no constructor of its own; the sign does not matter.
    pub fn new(errno: i32, message: impl Into<String>) -> Self {
        Self { errno: errno.saturating_abs(), message: message.into() }
    }

    /// `EINVAL`: a parameter is missing, unknown, repeated, mistyped, out of range or unavailable.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(22, message)
    }

    /// `EEXIST`: the name is taken.
    pub fn exists(message: impl Into<String>) -> Self {
        Self::new(17, message)
    }

    /// `ENODEV`: there is no such bdev or mirror.
    pub fn no_device(message: impl Into<String>) -> Self {
        Self::new(19, message)
    }

    /// `EBUSY`: claimed, open, or something is in progress.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(16, message)
    }

    /// `ENOSPC`: a leg is too small.
    pub fn no_space(message: impl Into<String>) -> Self {
        Self::new(28, message)
    }

    /// `ENOMEM`: out of memory or of a pool's elements.
    pub fn no_memory(message: impl Into<String>) -> Self {
        Self::new(12, message)
    }

    /// `EPERM`: allowed with `force` only.
    pub fn needs_force(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// `EILSEQ`: the leg carries foreign or diverged metadata.
    pub fn foreign(message: impl Into<String>) -> Self {
        Self::new(84, message)
    }

    /// The code of the JSON-RPC error, the way SPDK's modules send it: `-errno`.
    pub fn code(&self) -> i32 {
        -self.errno
    }
}
