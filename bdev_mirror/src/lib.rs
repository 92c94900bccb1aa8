//! `bdev_mirror`: a mirror (RAID-1) bdev module for SPDK.
//!
//! Built as `libbdev_mirror.so` (feature `link-shared`) it is preloaded into a target of a shared SPDK; built into a
//! program (feature `link-static`) it is SPDK's target with the module inside, see [`run`].
//!
//! This crate is pointers, threads, buffers and errno; what to do is decided in `mirror_engine`, what a call may say in
//! `mirror_rpc`. `docs/architecture.md` is the map.

// A product with planted mistakes does not build. (Debug builds of the whole workspace may have them.)
#[cfg(not(debug_assertions))]
const _: () = assert!(!mirror_engine::mutant::AVAILABLE, "build the module without the engine's feature `mutants`");

mod app_thread;
mod channel;
mod channel_leg;
mod create;
mod deletion;
mod durability;
mod format;
mod io;
mod leg;
mod log;
mod mirror;
mod module;
mod registry;
mod removal;
mod report;
mod request;
mod rpc;
mod text;
mod wait;

#[cfg(feature = "link-static")]
mod target;
#[cfg(feature = "link-static")]
pub use target::run;
