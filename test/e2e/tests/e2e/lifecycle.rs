//! Creation, the ways in, removal of legs, deletion: each with proof of what is held before and after.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs::{self, mirror, mirror_info};
use mirror_e2e::load::{self, Load};
use mirror_e2e::spdk::Stock;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need, data_dir};
use crate::world::{
    THINGS, expect_free, expect_held_as, expect_refusal, expect_well, held, held_at_rest, unchanged, warm_up,
};

pub fn cases() -> Vec<Case> {
    let module =
        |name: &str, run: fn(&Ctx) -> Result<()>| Case::new(format!("lifecycle::{name}"), &[Need::Module], run);
    vec![
        module("create_shows_everything", create_shows_everything),
        module("one_leg_is_degraded", one_leg_is_degraded),
        module("delete_leaves_nothing", delete_leaves_nothing),
        module("stop_is_delete_for_core", stop_is_delete_for_core),
        module("legs_are_claimed", legs_are_claimed),
        module("limits_are_the_strictest", limits_are_the_strictest),
        module("categories_filter", categories_filter),
        module("mirror_of_mirrors", mirror_of_mirrors),
        module("in_nvmf_tgt", |ctx| ends_well_with_a_mirror(ctx, Stock::NvmfTgt)),
        module("in_spdk_tgt_ended_with_a_mirror", |ctx| ends_well_with_a_mirror(ctx, Stock::SpdkTgt)),
        module("ended_under_load", ended_under_load),
        module("idle_leg_removed", idle_leg_removed),
        module("leg_removed_under_load", |ctx| leg_removed_under_load(ctx, "0x1", false)),
        module("leg_removed_under_load_on_two_cores", |ctx| leg_removed_under_load(ctx, "0x3", true)),
        module("forced_delete_under_load", |ctx| forced_delete_under_load(ctx, "0x1", false)),
        module("forced_delete_under_load_on_two_cores", |ctx| forced_delete_under_load(ctx, "0x3", true)),
    ]
}

fn two_legs(app: &mut App, size_mb: u64) -> Result<()> {
    bdevs::malloc(app, "a", size_mb, 512)?;
    bdevs::malloc(app, "b", size_mb, 512)
}

fn create_shows_everything(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    bdevs::malloc(&mut app, "a", 64, 512)?;
    bdevs::malloc(&mut app, "b", 48, 512)?;
    let mut params = bdevs::mirror_params("mirror0", &["a", "b"]);
    params["uuid"] = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee".into();
    let made = app.call("bdev_mirror_create", params)?;
    // The smaller leg less 0.1 %, in whole MiB.
    ensure!(made["num_blocks"] == 47 * 2048 && made["size_mb"] == 47, "size: {made}");
    ensure!(made["uuid"] == "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee" && made["sync_source"].is_null(), "{made}");
    ensure!(made["legs"][1]["name"] == "b" && made["legs"][1]["slot"] == 1, "{made}");
    let info = expect_well(&mut app, "mirror0")?;
    for (key, value) in [("num_base_bdevs", 2), ("num_base_bdevs_discovered", 2), ("num_base_bdevs_operational", 2)] {
        ensure!(info[key] == value, "{key}: {info}");
    }
    ensure!(info["log_type"] == "core" && info["initial_sync"] == "none" && info["unmap"] == "zeroes", "{info}");
    ensure!(info["uuid"] == made["uuid"] && info["num_blocks"] == made["num_blocks"], "{info}");
    ensure!(info["nomem_failed_ios"] == 0, "{info}");
    for slot in 0..2 {
        let leg = &info["base_bdevs_list"][slot];
        ensure!(leg["slot"] == slot && leg["data_offset"] == 0 && leg["data_size"] == 47 * 2048, "{leg}");
    }
    let bdev = app.call("bdev_get_bdevs", json!({"name": "mirror0"}))?;
    ensure!(bdev[0]["uuid"] == made["uuid"] && bdev[0]["num_blocks"] == 47 * 2048, "{bdev}");
    app.stop()?;
    Ok(())
}

fn one_leg_is_degraded(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    bdevs::malloc(&mut app, "a", 16, 512)?;
    mirror(&mut app, "mirror0", &["a"])?;
    let info = mirror_info(&mut app, "mirror0")?;
    ensure!(info["health"] == "degraded" && info["status"] == "A", "{info}");
    app.stop()?;
    Ok(())
}

fn delete_leaves_nothing(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    warm_up(&mut app)?;
    two_legs(&mut app, 16)?;
    unchanged(&mut app, |app| {
        mirror(app, "mirror0", &["a", "b"])?;
        ensure!(held(app)?["bdevs"][0]["claimed_by"] == "mirror" && held(app)?["bdevs"][0]["open"] == true);
        app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
        Ok(())
    })?;
    expect_free(&mut app, &["a", "b"])?;
    app.stop()?;
    Ok(())
}

fn stop_is_delete_for_core(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    warm_up(&mut app)?;
    two_legs(&mut app, 16)?;
    unchanged(&mut app, |app| {
        mirror(app, "mirror0", &["a", "b"])?;
        app.call("bdev_mirror_stop", json!({"name": "mirror0"}))?;
        mirror(app, "mirror0", &["b", "a"])?;
        app.call("bdev_mirror_stop", json!({"name": "mirror0"}))?;
        Ok(())
    })?;
    app.stop()?;
    Ok(())
}

fn legs_are_claimed(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    two_legs(&mut app, 16)?;
    mirror(&mut app, "mirror0", &["a", "b"])?;
    for leg in ["a", "b"] {
        let list = app.call("bdev_get_bdevs", json!({"name": leg}))?;
        ensure!(list[0]["claimed"] == true, "not claimed: {list}");
        let other = app.try_call("bdev_passthru_create", json!({"name": "p", "base_bdev_name": leg}))?;
        ensure!(other.is_err(), "another module could claim the leg {leg}");
    }
    app.stop()?;
    Ok(())
}

/// Legs of two modules, in either order: the mirror takes the stricter of their limits.
fn limits_are_the_strictest(ctx: &Ctx) -> Result<()> {
    let dir = data_dir()?;
    let mut app = ctx.mirror_target()?;
    bdevs::malloc(&mut app, "a", 16, 512)?;
    bdevs::aio(&mut app, "b", &dir.path().join("b"), 16, 512)?;
    let mut legs = Vec::new();
    for name in ["a", "b"] {
        legs.push(limits(&mut app, name)?);
    }
    ensure!(legs[0] != legs[1], "legs of equal limits show nothing: {legs:?}");
    for order in [["a", "b"], ["b", "a"]] {
        mirror(&mut app, "mirror0", &order)?;
        let got = limits(&mut app, "mirror0")?;
        for key in ["required_alignment", "phys_blocklen"] {
            // 20.07 has no physical block; and it needs an alignment, of any size, to split reads without a buffer.
            let number = |limits: &Value| limits[key].as_u64().unwrap_or(0);
            ensure!(legs.iter().all(|leg| number(&got) >= number(leg)), "{key}: {got} of {legs:?}");
        }
        let cached = legs.iter().any(|leg| leg["write_cache"] == true);
        ensure!(got["write_cache"] == cached, "write_cache: {got} of {legs:?}");
        // 20.07 sets a boundary itself, to split reads that bring no buffer.
        let none = ctx.kit.spdk()?.is_old() || legs[0]["optimal_io_boundary"] != legs[1]["optimal_io_boundary"];
        let boundary = if none { json!(0) } else { legs[0]["optimal_io_boundary"].clone() };
        ensure!(ctx.kit.spdk()?.is_old() || got["optimal_io_boundary"] == boundary, "boundary: {got} of {legs:?}");
        app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    }
    app.stop()?;
    Ok(())
}

fn limits(app: &mut App, name: &str) -> Result<Value> {
    let counts = bdevs::counts(app)?;
    let mut bdevs = counts["bdevs"].as_array().into_iter().flatten();
    Ok(bdevs.find(|bdev| bdev["name"] == name).with_context(|| format!("no bdev {name}: {counts}"))?["limits"].clone())
}

fn categories_filter(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    two_legs(&mut app, 16)?;
    bdevs::malloc(&mut app, "c", 16, 512)?;
    mirror(&mut app, "online0", &["a"])?;
    mirror(&mut app, "offline0", &["b", "c"])?;
    app.call("bdev_malloc_delete", json!({"name": "c"}))?;
    for (category, names) in [
        ("all", json!(["online0", "offline0"])),
        ("online", json!(["online0"])),
        ("offline", json!(["offline0"])),
        ("configuring", json!([])),
    ] {
        let list = app.call("bdev_mirror_get_bdevs", json!({"category": category}))?;
        let got: Vec<&Value> = list.as_array().into_iter().flatten().map(|m| &m["name"]).collect();
        ensure!(json!(got) == names, "{category}: {list}");
    }
    app.stop()?;
    Ok(())
}

/// A mirror is a bdev like any other: also as a leg. Ends in the right order by itself.
fn mirror_of_mirrors(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("top", 4096, 16, 1);
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    for name in ["a", "b", "c", "d"] {
        bdevs::malloc(&mut app, name, 16, 512)?;
    }
    mirror(&mut app, "left", &["a", "b"])?;
    mirror(&mut app, "right", &["c", "d"])?;
    let made = mirror(&mut app, "top", &["left", "right"])?;
    load::run(&mut app)?;
    for other in ["b", "c", "d"] {
        let (_, nonzero) = bdevs::compare(&mut app, "a", other, made["num_blocks"].as_u64())?;
        ensure!(nonzero > 0, "nothing was written");
    }
    app.stop()?;
    Ok(())
}

fn ends_well_with_a_mirror(ctx: &Ctx, app: Stock) -> Result<()> {
    let mut app = ctx.start(ctx.kit.preloaded(app)?)?;
    two_legs(&mut app, 16)?;
    mirror(&mut app, "mirror0", &["a", "b"])?;
    expect_well(&mut app, "mirror0")?;
    app.stop()?;
    Ok(())
}

fn ended_under_load(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 32, 60);
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    two_legs(&mut app, 16)?;
    mirror(&mut app, "mirror0", &["a", "b"])?;
    let running = load::begin(&app)?;
    sleep(Duration::from_secs(1));
    app.stop()?;
    drop(running);
    Ok(())
}

fn expect_offline(app: &mut App, gone_slot: usize) -> Result<()> {
    let info = mirror_info(app, "mirror0")?;
    ensure!(info["state"] == "offline" && info["health"] == "failing", "{info}");
    ensure!(info["base_bdevs_list"][gone_slot]["state"] == "missing", "{info}");
    ensure!(info["status"].as_str().and_then(|s| s.chars().nth(gone_slot)) == Some('U'), "{info}");
    ensure!(info["last_event"].as_str().is_some_and(|event| event.contains("was removed")), "{info}");
    let names = bdevs::names(app)?;
    ensure!(!names.iter().any(|n| n == "mirror0"), "the bdev is still there: {names:?}");
    Ok(())
}

/// Offline, its name stays taken until it is deleted; then everything is as if it had never been.
fn expect_recoverable(app: &mut App) -> Result<()> {
    let again = app.try_call("bdev_mirror_create", bdevs::mirror_params("mirror0", &["a"]))?;
    expect_refusal(again, -17, &["mirror0"])?;
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    bdevs::malloc(app, "b", 16, 512)?;
    mirror(app, "mirror0", &["a", "b"])?;
    expect_well(app, "mirror0")?;
    Ok(())
}

fn idle_leg_removed(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    warm_up(&mut app)?;
    two_legs(&mut app, 16)?;
    bdevs::malloc(&mut app, "c", 16, 512)?;
    mirror(&mut app, "mirror0", &["a", "b", "c"])?;
    app.call("bdev_malloc_delete", json!({"name": "b"}))?;
    expect_offline(&mut app, 1)?;
    expect_free(&mut app, &["a", "c"])?;
    expect_recoverable(&mut app)?;
    app.stop()?;
    Ok(())
}

fn leg_removed_under_load(ctx: &Ctx, cores: &str, split: bool) -> Result<()> {
    let mut load = Load::verify("mirror0", 4096, 32, 60).extra(&["-f"]); // 26.05 ends with a failed load
    if split {
        load = load.split();
    }
    let mut app = load.start(ctx.mirror_bdevperf()?.cores(cores), &ctx.machine()?)?;
    warm_up(&mut app)?;
    two_legs(&mut app, 16)?;
    mirror(&mut app, "mirror0", &["a", "b"])?;
    let running = load::begin(&app)?;
    sleep(Duration::from_secs(1));
    app.call("bdev_malloc_delete", json!({"name": "b"}))?;
    // Told that the bdev goes, or failed by its last I/Os: both end it long before its minute is over.
    let began = std::time::Instant::now();
    let _ = running.finish()?;
    ensure!(began.elapsed() < Duration::from_secs(45), "the load did not notice");
    expect_offline(&mut app, 1)?;
    expect_free(&mut app, &["a"])?;
    expect_recoverable(&mut app)?;
    app.stop()?;
    Ok(())
}

fn forced_delete_under_load(ctx: &Ctx, cores: &str, split: bool) -> Result<()> {
    let mut load = Load::verify("mirror0", 4096, 32, 60).extra(&["-f"]);
    if split {
        load = load.split();
    }
    let mut app = load.start(ctx.mirror_bdevperf()?.cores(cores), &ctx.machine()?)?;
    warm_up(&mut app)?;
    two_legs(&mut app, 16)?;
    let before = held_at_rest(&mut app)?;
    mirror(&mut app, "mirror0", &["a", "b"])?;
    let running = load::begin(&app)?;
    sleep(Duration::from_secs(1));
    for method in ["bdev_mirror_delete", "bdev_mirror_stop"] {
        expect_refusal(app.try_call(method, json!({"name": "mirror0"}))?, -16, &["mirror0"])?;
    }
    app.call("bdev_mirror_delete", json!({"name": "mirror0", "force": true}))?;
    let _ = running.finish()?;
    // bdevperf let its I/O end before it let go.
    let (_, nonzero) = bdevs::compare(&mut app, "a", "b", None)?;
    ensure!(nonzero > 0, "the load did not reach the legs");
    expect_held_as(&mut app, &before, &THINGS)?;
    app.stop()?;
    Ok(())
}
