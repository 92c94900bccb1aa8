//! Export of a bdev over NVMe/TCP on 127.0.0.1, and attaching to it.

use std::net::TcpListener;

use anyhow::{Context, Result};
use serde_json::json;

use crate::app::App;

/// An exported subsystem.
#[derive(Clone, Debug)]
pub struct Export {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The subsystem.
    pub nqn: String,
}

/// A port that nobody listens on. Another process may take it before we do: callers fail with a clear message then.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free TCP port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Makes the target ready to export; once before the first export.
pub fn transport(app: &mut App) -> Result<()> {
    // Small buffer pools: the target shares the machine with an initiator.
    app.call("nvmf_create_transport", json!({"trtype": "TCP", "num_shared_buffers": 512, "buf_cache_size": 16}))?;
    Ok(())
}

/// Exports `bdevs` as the namespaces of one subsystem.
pub fn export(app: &mut App, bdevs: &[&str]) -> Result<Export> {
    let export = Export { port: free_port()?, nqn: format!("nqn.2026-01.io.spdk:mirror-{}", bdevs.join("-")) };
    app.call(
        "nvmf_create_subsystem",
        json!({"nqn": export.nqn, "allow_any_host": true, "serial_number": "MIRROR0000000001"}),
    )?;
    for bdev in bdevs {
        app.call("nvmf_subsystem_add_ns", json!({"nqn": export.nqn, "namespace": {"bdev_name": bdev}}))?;
    }
    app.call(
        "nvmf_subsystem_add_listener",
        json!({"nqn": export.nqn, "listen_address":
            {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": export.port.to_string()}}),
    )?;
    Ok(export)
}

/// Attaches to an export; the result is the names of the bdevs.
pub fn attach(app: &mut App, name: &str, export: &Export) -> Result<Vec<String>> {
    let answer = app.call(
        "bdev_nvme_attach_controller",
        json!({"name": name, "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1",
               "trsvcid": export.port.to_string(), "subnqn": export.nqn}),
    )?;
    let names = answer.as_array().into_iter().flatten();
    Ok(names.filter_map(|n| n.as_str().map(str::to_string)).collect())
}
