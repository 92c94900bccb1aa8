//! Making bdevs and mirrors, where releases want different words.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::app::App;

/// MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// A RAM bdev.
pub fn malloc(app: &mut App, name: &str, size_mb: u64, block_size: u64) -> Result<()> {
    app.call(
        "bdev_malloc_create",
        json!({"name": name, "num_blocks": size_mb * MIB / block_size, "block_size": block_size}),
    )?;
    Ok(())
}

/// A bdev that stores nothing.
pub fn null(app: &mut App, name: &str, size_mb: u64, block_size: u64) -> Result<()> {
    app.call(
        "bdev_null_create",
        json!({"name": name, "num_blocks": size_mb * MIB / block_size, "block_size": block_size}),
    )?;
    Ok(())
}

/// A sparse file of `size_mb`, and an aio bdev on it.
pub fn aio(app: &mut App, name: &str, path: &Path, size_mb: u64, block_size: u64) -> Result<()> {
    sparse_file(path, size_mb)?;
    app.call("bdev_aio_create", json!({"name": name, "filename": path, "block_size": block_size}))?;
    Ok(())
}

/// A sparse file.
pub fn sparse_file(path: &Path, size_mb: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    file.set_len(size_mb * MIB)?;
    Ok(())
}

/// A bdev that takes `read_us` and `write_us` longer than `base`.
pub fn delay(app: &mut App, name: &str, base: &str, read_us: u64, write_us: u64) -> Result<()> {
    app.call(
        "bdev_delay_create",
        json!({"name": name, "base_bdev_name": base, "avg_read_latency": read_us, "p99_read_latency": read_us,
               "avg_write_latency": write_us, "p99_write_latency": write_us}),
    )?;
    Ok(())
}

/// A bdev that fails on demand; the result is its name.
pub fn error(app: &mut App, base: &str) -> Result<String> {
    app.call("bdev_error_create", json!({"base_name": base}))?;
    Ok(format!("EE_{base}"))
}

/// The next `count` I/Os of `io_type` on an error bdev fail.
pub fn inject_failure(app: &mut App, name: &str, io_type: &str, count: u32) -> Result<()> {
    app.call(
        "bdev_error_inject_error",
        json!({"name": name, "io_type": io_type, "error_type": "failure", "num": count}),
    )?;
    Ok(())
}

/// The parameters of a mirror as this version can make them.
pub fn mirror_params(name: &str, legs: &[&str]) -> Value {
    json!({"name": name, "base_bdevs": legs, "log_type": "core", "initial_sync": "none"})
}

/// A mirror; the result is the call's.
pub fn mirror(app: &mut App, name: &str, legs: &[&str]) -> Result<Value> {
    app.call("bdev_mirror_create", mirror_params(name, legs))
}

/// What get_bdevs says of one mirror.
pub fn mirror_info(app: &mut App, name: &str) -> Result<Value> {
    let mut list = app.call("bdev_mirror_get_bdevs", json!({"name": name}))?;
    ensure!(list.as_array().is_some_and(|l| l.len() == 1), "one mirror {name} expected: {list}");
    Ok(list[0].take())
}

/// The names of all bdevs, in their order.
pub fn names(app: &mut App) -> Result<Vec<String>> {
    let list = app.call("bdev_get_bdevs", Value::Null)?;
    let names = list.as_array().into_iter().flatten();
    Ok(names.filter_map(|b| b["name"].as_str().map(str::to_string)).collect())
}

/// Compares two bdevs of one application block by block, metadata included (the call of preload/compare.c);
/// the result is the number of blocks compared and how many of them are not all zeros.
pub fn compare(app: &mut App, a: &str, b: &str, num_blocks: Option<u64>) -> Result<(u64, u64)> {
    let mut params = json!({"a": a, "b": b});
    if let Some(n) = num_blocks {
        params["num_blocks"] = n.into();
    }
    let answer = app.call("test_compare_bdevs", params)?;
    let blocks = answer["blocks"].as_u64().context("no blocks")?;
    let differing = answer["differing"].as_u64().context("no differing")?;
    ensure!(differing == 0, "{a} and {b} differ in {differing} of {blocks} blocks, first in block {}", answer["first"]);
    Ok((blocks, answer["nonzero"].as_u64().context("no nonzero")?))
}

/// Reads that a bdev has done so far.
pub fn reads_of(app: &mut App, name: &str) -> Result<u64> {
    // Of all bdevs: releases differ in how one is asked for.
    let stat = app.call("bdev_get_iostat", Value::Null)?;
    let found = stat["bdevs"].as_array().into_iter().flatten().find(|bdev| bdev["name"] == name);
    found.and_then(|bdev| bdev["num_read_ops"].as_u64()).with_context(|| format!("no num_read_ops of {name}: {stat}"))
}

/// What is held open, claimed and taken from pools (the call of preload/counts.c).
pub fn counts(app: &mut App) -> Result<Value> {
    app.call("test_counts", Value::Null)
}
