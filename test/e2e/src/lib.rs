//! Runs real SPDK applications with the mirror in them, and cleans up behind them whatever happens.
//!
//! The tests (`tests/e2e`) and the demo (`src/bin/demo.rs`) are built on it. A [`kit::Kit`] says what was
//! built and with which SPDK; [`machine::Machine`] lends hugepages; [`app::App`] is a running application;
//! [`rpc::Rpc`] talks to it; [`load::Load`] drives bdevperf; everything that must be undone, also on Ctrl-C, is
//! registered in [`undo`].

pub mod app;
pub mod bdevs;
pub mod compare;
pub mod kit;
pub mod load;
pub mod machine;
pub mod nvmf;
pub mod rpc;
pub mod spdk;
pub mod undo;
