//! Small pools of `spdk_bdev_io`: nothing hangs, nothing is sent twice, and only what was never sent may fail.

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs::{self, mirror_info};
use mirror_e2e::load::{self, Load};
use mirror_e2e::spdk::Stock;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need};
use crate::legs::{Kind, Legs};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("memory::legs_that_need_memory_themselves", &[Need::Module, Need::LegZeroes], hungry_legs),
        Case::new("memory::legs_on_other_bdevs", &[Need::Module], layered_legs),
        Case::new("memory::threads_that_keep_none", &[Need::Module], no_cache),
    ];
    for (name, cores) in [("one_core", "0x1"), ("two_cores", "0x3")] {
        for (load, depth) in [("smallest_pool", 4), ("smallest_pool_swamped", 64)] {
            let run = move |ctx: &Ctx| smallest_pool(ctx, cores, depth);
            cases.push(Case::new(format!("memory::{load}_on_{name}"), &[Need::Module], run));
        }
    }
    cases
}

/// aio of 20.07 has no write-zeroes: the bdev layer turns each child into writes of its own, which need memory that the
/// host's I/Os hold. All of it is in flight, and none of it ends by itself. (With a pool of 4 an aio bdev alone hangs.)
fn hungry_legs(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("mirror0", 4 << 20, 3, 2).workload("write_zeroes").extra(&["-f"]);
    let mut app = ctx.start(load.spec(ctx.mirror_bdevperf()?).arg("--wait-for-rpc"))?;
    let pool = 8;
    app.call("bdev_set_options", json!({"bdev_io_pool_size": pool, "bdev_io_cache_size": 2}))?;
    app.call("framework_start_init", Value::Null)?;
    let legs = Legs::make(ctx, &mut app, Kind::Aio, 2, 64, 512)?;
    bdevs::mirror(&mut app, "mirror0", &legs.names())?;
    let result = load::begin(&app)?.finish()?;
    let info = mirror_info(&mut app, "mirror0")?;
    let starved = info["nomem_failed_ios"].as_u64().context("no nomem_failed_ios")?;
    ensure!(result.is_ok() || starved > 0, "pool of {pool}: {result:?}, though no I/O starved: {info}");
    ensure!(info["health"] == "optimal", "an I/O of which nothing was sent changes nothing: {info}");
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    app.stop()?;
    Ok(())
}

/// Each child needs two spdk_bdev_ios more below, in a pool that one write fills: what is below waits in the same queue
/// as the mirror does. Nothing may stay stuck for ever.
fn layered_legs(ctx: &Ctx) -> Result<()> {
    for depth in [4, 32] {
        let load = Load::verify("mirror0", 4096, depth, ctx.seconds(2)).workload("randwrite").extra(&["-f"]);
        let mut app = ctx.start(load.spec(ctx.mirror_bdevperf()?).arg("--wait-for-rpc"))?;
        app.call("bdev_set_options", json!({"bdev_io_pool_size": 8, "bdev_io_cache_size": 4}))?;
        app.call("framework_start_init", Value::Null)?;
        for (base, name) in [("a", "over_a"), ("b", "over_b")] {
            bdevs::malloc(&mut app, base, 16, 512)?;
            let middle = format!("under_{name}");
            app.call("bdev_passthru_create", json!({"name": middle, "base_bdev_name": base}))?;
            bdevs::delay(&mut app, name, &middle, 20, if base == "a" { 20 } else { 60 })?;
        }
        let made = bdevs::mirror(&mut app, "mirror0", &["over_a", "over_b"])?;
        let result = load::begin(&app)?.finish().with_context(|| format!("stuck at depth {depth}"))?;
        let info = mirror_info(&mut app, "mirror0")?;
        let starved = info["nomem_failed_ios"].as_u64().context("no nomem_failed_ios")?;
        ensure!(result.is_ok() || starved > 0, "depth {depth}: {result:?}, though no I/O starved: {info}");
        ensure!(info["health"] == "optimal", "an I/O of which nothing was sent changes nothing: {info}");
        // bdevperf writes zeros here, so that the legs are equal says little; that it went on says what is asked.
        bdevs::compare(&mut app, "a", "b", made["num_blocks"].as_u64())?;
        println!("memory: depth {depth} on layered legs: {starved} I/Os were failed");
        app.stop()?;
    }
    Ok(())
}

/// With no spdk_bdev_ios kept by threads the bdev layer wakes nobody: a place in its queue would be one for ever. Three
/// writes need nine of eight; a host that waits itself would be stuck in that queue, so the test's call does not.
fn no_cache(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.start(ctx.kit.preloaded(Stock::SpdkTgt)?.arg("--wait-for-rpc"))?;
    app.call("bdev_set_options", json!({"bdev_io_pool_size": 8, "bdev_io_cache_size": 0}))?;
    app.call("framework_start_init", Value::Null)?;
    bdevs::malloc(&mut app, "a", 16, 512)?;
    bdevs::malloc(&mut app, "b", 16, 512)?;
    bdevs::mirror(&mut app, "mirror0", &["a", "b"])?;
    for _ in 0..20 {
        let call = json!({"name": "mirror0", "writes": 3, "then": "reset", "delay_ms": 50});
        let ended = app.call("test_write_then", call)?;
        ensure!(ended == json!({"ended_before": 3, "ended_after": 0, "failed": 0, "other": true}), "{ended}");
    }
    app.stop()?;
    Ok(())
}

/// The pool so small that SPDK just accepts it. With four I/Os per core there are bdev_ios for a child or two, and waiting
/// is enough. With 64 the host's own take all of them: nothing hangs, and an I/O fails only if the mirror counted it.
fn smallest_pool(ctx: &Ctx, cores: &str, depth: u32) -> Result<()> {
    let swamped = depth > 4;
    let mut load = Load::verify("mirror0", 4096, depth, ctx.seconds(3));
    if swamped {
        load = load.extra(&["-f"]);
    }
    if cores != "0x1" {
        load = load.split();
    }
    let spec = load.spec(ctx.mirror_bdevperf()?.cores(cores)).arg("--wait-for-rpc");
    let mut app = ctx.start(spec)?;
    let pool = smallest_accepted(&mut app)?;
    app.call("framework_start_init", Value::Null)?;
    bdevs::malloc(&mut app, "a", 16, 512)?;
    bdevs::malloc(&mut app, "b", 16, 512)?;
    let made = bdevs::mirror(&mut app, "mirror0", &["a", "b"])?;
    let result = load::begin(&app)?.finish()?;
    let info = mirror_info(&mut app, "mirror0")?;
    let starved = info["nomem_failed_ios"].as_u64().context("no nomem_failed_ios")?;
    ensure!(swamped || starved == 0, "pool of {pool}: {starved} I/Os starved, though others were in flight: {info}");
    ensure!(result.is_ok() || starved > 0, "pool of {pool}: {result:?}, though no I/O starved: {info}");
    ensure!(info["health"] == "optimal", "an I/O of which nothing was sent changes nothing: {info}");
    let (_, nonzero) = bdevs::compare(&mut app, "a", "b", made["num_blocks"].as_u64())?;
    ensure!(nonzero > 0, "pool of {pool}: nothing was written");
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    app.stop()?;
    Ok(())
}

/// The smallest pool that this release accepts with eight cached bdev_ios per thread.
fn smallest_accepted(app: &mut App) -> Result<u64> {
    for pool in (8..512).step_by(8) {
        let options = json!({"bdev_io_pool_size": pool, "bdev_io_cache_size": 8});
        if app.try_call("bdev_set_options", options)?.is_ok() {
            return Ok(pool);
        }
    }
    anyhow::bail!("no pool size up to 512 was accepted")
}
