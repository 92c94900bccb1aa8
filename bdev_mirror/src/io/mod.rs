//! The data path: one host I/O in, a child for each leg out, one completion back.
//!
//! Everything here runs on the thread of the channel that the I/O came through. Nothing is allocated or locked.

mod abort;
mod child;
mod dispatch;
mod host_io;
mod list;
mod park;
mod reset;

pub use dispatch::{io_ctx_size, submit_request};
pub use host_io::{HostIo, Kind};
pub use list::List;
pub use park::{Parked, tick};
