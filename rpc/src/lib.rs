//! The JSON-RPC surface of `bdev_mirror`, without SPDK: what the methods are called, which
//! parameters they take, how a bad call is refused, and what a good one answers.
//!
//! The SPDK module hands the `params` of a call over as JSON text, gets a checked value or an
//! [`RpcError`] that is ready to be sent, and serialises one of the reply types. Everything a
//! person can get wrong in the text of a call is caught here; what needs a look at the bdevs
//! (does the leg exist, is it claimed) is the module's, in the same [`Wording`].
//!
//! [`METHODS`] is the one list of methods and parameters. The parser obeys it, and tests hold
//! `docs/jsonrpc.md` and the plugin for SPDK's `rpc.py` to it.
#![forbid(unsafe_code)]
// A bad call must never end the target.
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used))]

mod bdev_name;
mod choice;
mod config;
mod create;
mod create_reply;
mod delete;
mod error;
mod get_bdevs;
mod leg_info;
mod method;
mod mirror_info;
mod nearest;
mod object;
mod stop;
mod wording;

pub use bdev_name::BDEV_NAME_BYTES_MAX;
pub use choice::{Category, Choice, InitialSync, LogType, ReadPolicy, UnmapMode};
pub use config::config_call;
pub use create::{BASE_BDEVS_MAX, CreateParams, SIZE_MB_MAX};
pub use create_reply::{CreateReply, LegReply};
pub use delete::DeleteParams;
pub use error::RpcError;
pub use get_bdevs::GetBdevsParams;
pub use leg_info::{Durability, LegErrors, LegInfo, LegState};
pub use method::{LATER_CREATE_OPTIONS, METHODS, Method, Param};
pub use mirror_info::{Health, MirrorInfo, State};
pub use stop::StopParams;
pub use wording::{Wording, quote};
