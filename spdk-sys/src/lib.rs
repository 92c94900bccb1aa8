//! Raw items of the SPDK release in use, and the shim (`shim/shim.h`) that hides what differs between releases.
//!
//! `spdk_bdev`, `spdk_bdev_io` and `spdk_bdev_module` are opaque here: their layout changes from release to release, so
//! Rust passes pointers around and the shim, compiled by the C compiler against the same headers, looks inside.
//!
//! SPDK is found by `SPDK_DIR`, else pkg-config, else in the cache that `make spdk` fills. The features `link-shared`
//! and `link-static` say how it is linked; with neither the crate only type-checks.

#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case, missing_docs)]
#![allow(unnecessary_transmutes, unsafe_op_in_unsafe_fn, clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
