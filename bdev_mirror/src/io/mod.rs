//! The data path: one host I/O in, a child for each leg out, one completion back.
//!
//! Everything here runs on the thread of the channel that the I/O came through. On the
//! way of an I/O that succeeds nothing is allocated, locked or shared with another core.

mod abort;
mod child;
mod dispatch;
mod host_io;
mod list;
mod park;
mod reset;

pub use dispatch::{io_ctx_size, io_type_supported, submit_request};
pub use host_io::{HostIo, Kind};
pub use list::List;
pub use park::{Parked, tick};
