//! I/O other than plain reads and writes, and I/O that fails.

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs::{self, mirror, mirror_info};
use mirror_e2e::load::{self, Load};
use mirror_e2e::nvmf;
use mirror_e2e::spdk::Stock;
use serde_json::{Value, json};

use crate::case::{Body, Case, Ctx, Need};
use crate::legs::{Kind, Legs};
use crate::world::expect_well;

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name: String, run: Body| {
        cases.push(Case::new(format!("io_kinds::{name}"), &[Need::Module], run));
    };
    for kind in [Kind::Malloc, Kind::Aio] {
        for workload in ["unmap", "write_zeroes"] {
            let name = format!("{workload}_over_{}", format!("{kind:?}").to_lowercase());
            add(name, Box::new(move |ctx| zeroing(ctx, kind, workload)));
        }
        let name = format!("flush_over_{}", format!("{kind:?}").to_lowercase());
        add(name, Box::new(move |ctx| flush(ctx, kind)));
    }
    add("flush_over_null".into(), Box::new(|ctx| flush(ctx, Kind::Null)));
    for (name, kind) in [("malloc", Kind::Malloc), ("nvme_tcp", Kind::NvmeTcp)] {
        add(format!("reset_under_load_over_{name}"), Box::new(move |ctx| reset_under_load(ctx, kind)));
    }
    add("abort_of_slow_writes".into(), Box::new(abort_of_slow_writes));
    add("flush_is_an_nvme_command_over_tcp".into(), Box::new(nvme_flush));
    add("unmap_is_passed_only_if_asked".into(), Box::new(unmap_mode));
    add("reads_rotate_over_equal_legs".into(), Box::new(|ctx| reads_shared(ctx, [50, 50])));
    add("reads_prefer_the_faster_leg".into(), Box::new(|ctx| reads_shared(ctx, [50, 2000])));
    add("failed_write_is_inconsistent".into(), Box::new(|ctx| failed(ctx, "write")));
    add("failed_read_is_reported".into(), Box::new(|ctx| failed(ctx, "read")));
    add("failed_flush_is_reported".into(), Box::new(|ctx| failed(ctx, "flush")));
    // A reset crashes the delay bdev of 20.07, which takes its channel from an iterator that has none any more; and its
    // aio bdev counts an I/O out on the channel of whoever uses the bdev_io next, so a reset waits for ever.
    for (name, kind) in [("aio", Kind::Aio), ("delay", Kind::Delay)] {
        let name = format!("io_kinds::reset_under_load_over_{name}");
        cases.push(Case::new(name, &[Need::Module, Need::LegReset], move |ctx| reset_under_load(ctx, kind)));
    }
    let needs = [Need::Module, Need::LegReset];
    cases.push(Case::new("io_kinds::reset_waits_for_what_is_in_flight", &needs, reset_order));
    cases
}

/// Fills the mirror, then zeroes all of it by unmap or write-zeroes: all legs read zeros afterwards, also where they
/// have no such command.
fn zeroing(ctx: &Ctx, kind: Kind, workload: &'static str) -> Result<()> {
    let machine = &ctx.machine()?;
    // bdevperf has one workload a life: the first one writes, the second one zeroes what the first left in files.
    let fill = Load::verify("mirror0", 65536, 8, 2);
    let mut app = fill.start(ctx.mirror_bdevperf()?, machine)?;
    let mut legs = Legs::make(ctx, &mut app, kind, 2, 8, 512)?;
    let num_blocks = mirror(&mut app, "mirror0", &legs.names())?["num_blocks"].as_u64().context("no num_blocks")?;
    load::run(&mut app)?;
    legs.compare(&mut app, num_blocks, true)?;
    if kind == Kind::Malloc {
        // RAM is gone with its process; malloc legs show here that they take the workload at all.
        app.stop()?;
        let mut app = fill.clone().workload(workload).start(ctx.mirror_bdevperf()?, machine)?;
        let mut legs = Legs::make(ctx, &mut app, kind, 2, 8, 512)?;
        mirror(&mut app, "mirror0", &legs.names())?;
        load::run(&mut app)?;
        expect_well(&mut app, "mirror0")?;
        legs.compare(&mut app, num_blocks, false)?;
        load::figures(&app.stop()?).context("no I/O was done")?;
        return Ok(());
    }
    app.stop()?;
    ensure!(legs.nonzero_in_file(num_blocks)? > num_blocks / 2, "the mirror was not filled");
    let mut app = fill.workload(workload).start(ctx.mirror_bdevperf()?, machine)?;
    legs.reopen(&mut app)?;
    mirror(&mut app, "mirror0", &legs.names())?;
    load::run(&mut app)?;
    expect_well(&mut app, "mirror0")?;
    app.stop()?;
    let left = legs.nonzero_in_file(num_blocks)?;
    ensure!(left == 0, "{left} blocks were not zeroed by {workload}");
    let mut app = ctx.mirror_target()?;
    legs.compare(&mut app, num_blocks, false)
}

fn flush(ctx: &Ctx, kind: Kind) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 8, 2).workload("flush");
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    let legs = Legs::make(ctx, &mut app, kind, 2, 16, 512)?;
    mirror(&mut app, "mirror0", &legs.names())?;
    load::run(&mut app)?;
    expect_well(&mut app, "mirror0")?;
    load::figures(&app.stop()?)?;
    Ok(())
}

/// bdevperf resets every ten seconds, in the middle of its load.
fn reset_under_load(ctx: &Ctx, kind: Kind) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 32, 12).workload("reset").split();
    let mut app = load.start(ctx.mirror_bdevperf()?.cores("0x3"), &ctx.machine()?)?;
    let mut legs = Legs::make(ctx, &mut app, kind, 2, 16, 512)?;
    let made = mirror(&mut app, "mirror0", &legs.names())?;
    load::run(&mut app)?;
    // Writes that a reset aborted may have reached one leg only: then the mirror must say so.
    let info = mirror_info(&mut app, "mirror0")?;
    ensure!(info["state"] == "online", "{info}");
    let equal = legs.compare(&mut app, made["num_blocks"].as_u64().context("no num_blocks")?, false);
    ensure!(equal.is_ok() || info["health"] == "inconsistent", "{info} but {equal:?}");
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    app.stop()?;
    Ok(())
}

/// An abort ends writes that a slow leg holds. They may have reached one leg only, so the legs' difference is told.
fn abort_of_slow_writes(ctx: &Ctx) -> Result<()> {
    let mut app = slow_and_fast(ctx)?;
    let ended = app.call("test_write_then", write_then("abort", 200))?;
    ensure!(ended == json!({"ended_before": 32, "ended_after": 0, "failed": 32, "other": true}), "{ended}");
    let info = mirror_info(&mut app, "mirror0")?;
    ensure!(info["health"] == "inconsistent", "{info}");
    ensure!(info["last_event"].as_str().is_some_and(|event| event.contains("cut short")), "{info}");
    ensure!(info["base_bdevs_list"][0]["errors"]["write"] == 0, "an abort is no error of the leg: {info}");
    app.stop()?;
    Ok(())
}

/// A mirror of two legs, one of which keeps a write for three seconds.
fn slow_and_fast(ctx: &Ctx) -> Result<App> {
    let mut app = ctx.mirror_target()?;
    for (name, base, write_us) in [("slow", "a", 3_000_000), ("fast", "b", 50)] {
        bdevs::malloc(&mut app, base, 16, 512)?;
        bdevs::delay(&mut app, name, base, 50, write_us)?;
    }
    mirror(&mut app, "mirror0", &["slow", "fast"])?;
    Ok(app)
}

fn write_then(then: &str, delay_ms: u32) -> Value {
    json!({"name": "mirror0", "writes": 32, "then": then, "delay_ms": delay_ms})
}

/// A reset is answered when the writes before it have ended, however slow the leg is that holds them.
fn reset_order(ctx: &Ctx) -> Result<()> {
    let mut app = slow_and_fast(ctx)?;
    let ended = app.call("test_write_then", write_then("reset", 0))?;
    ensure!(ended["ended_before"] == 32 && ended["ended_after"] == 0, "{ended}");
    app.stop()?;
    Ok(())
}

/// spdk_bdev_flush sends nothing over NVMe. A flush of the mirror does: it fails when the remote bdev's flush does.
fn nvme_flush(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 1, 1).workload("flush").extra(&["-f"]);
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    let mut remote = ctx.start(ctx.kit.stock(Stock::SpdkTgt)?)?;
    nvmf::transport(&mut remote)?;
    bdevs::malloc(&mut remote, "a", 16, 512)?;
    let bad = bdevs::error(&mut remote, "a")?;
    let export = nvmf::export(&mut remote, &[&bad])?;
    let legs = nvmf::attach(&mut app, "Nvme0", &export)?;
    bdevs::malloc(&mut app, "local", 16, 512)?;
    mirror(&mut app, "mirror0", &[&legs[0], "local"])?;
    // More than the initiator's retries.
    bdevs::inject_failure(&mut remote, &bad, "flush", 16)?;
    load::run(&mut app)?;
    let info = mirror_info(&mut app, "mirror0")?;
    let failed = info["base_bdevs_list"][0]["errors"]["flush"].as_u64();
    ensure!(failed > Some(0), "no flush arrived: {info}");
    ensure!(info["health"] == "inconsistent" && info["status"] == "FS", "{info}");
    app.stop()?;
    remote.stop()?;
    Ok(())
}

/// A leg is sent an unmap with `unmap: pass`, and zeroes without: a leg of which one unmap fails shows which it was.
fn unmap_mode(ctx: &Ctx) -> Result<()> {
    // The error bdev of 20.07 knows no write-zeroes and fails all of them.
    let all_fail = ctx.kit.spdk()?.is_old();
    for mode in ["zeroes", "pass"] {
        let load = Load::verify("mirror0", 65536, 1, 1).workload("unmap").extra(&["-f"]);
        let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
        for name in ["a", "b"] {
            bdevs::malloc(&mut app, name, 16, 512)?;
        }
        let bad = bdevs::error(&mut app, "b")?;
        let mut params = bdevs::mirror_params("mirror0", &["a", &bad]);
        params["unmap"] = mode.into();
        app.call("bdev_mirror_create", params)?;
        bdevs::inject_failure(&mut app, &bad, "unmap", 1)?;
        load::run(&mut app)?;
        let info = mirror_info(&mut app, "mirror0")?;
        let failed = info["base_bdevs_list"][1]["errors"]["write"].as_u64().context("no errors")?;
        match mode {
            "pass" => ensure!(failed == 1, "{mode}: {info}"),
            _ if all_fail => ensure!(failed > 1, "{mode}: {info}"),
            _ => ensure!(failed == 0, "{mode}: {info}"),
        }
        app.stop()?;
    }
    Ok(())
}

/// Reads of two legs with these latencies: shared evenly by equal ones, mostly done by a faster one.
fn reads_shared(ctx: &Ctx, read_us: [u64; 2]) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 16, 2).workload("randread");
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    let mut legs = [("left", "a"), ("right", "b")].into_iter().zip(read_us);
    legs.try_for_each(|((name, base), read_us)| {
        bdevs::malloc(&mut app, base, 16, 512)?;
        bdevs::delay(&mut app, name, base, read_us, 50)
    })?;
    mirror(&mut app, "mirror0", &["left", "right"])?;
    let before = [bdevs::reads_of(&mut app, "left")?, bdevs::reads_of(&mut app, "right")?];
    load::run(&mut app)?;
    let left = bdevs::reads_of(&mut app, "left")? - before[0];
    let right = bdevs::reads_of(&mut app, "right")? - before[1];
    ensure!(right > 0, "a leg that answers is never left out for good: {left} and {right}");
    let share = left as f64 / right as f64;
    if read_us[0] == read_us[1] {
        ensure!((0.8..1.25).contains(&share), "not shared evenly: {left} and {right}");
    } else {
        ensure!(share > 2.0, "the faster leg was not preferred: {left} and {right}");
    }
    app.stop()?;
    Ok(())
}

/// An I/O that fails on one leg fails for the host, and is told.
fn failed(ctx: &Ctx, what: &'static str) -> Result<()> {
    let workload = match what {
        "read" => "randread",
        "write" => "randwrite",
        other => other,
    };
    // With -f: 26.05 ends with a failed load, and the mirror is to be asked afterwards.
    let load = Load::verify("mirror0", 4096, 4, 2).workload(workload).extra(&["-f"]);
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    for name in ["a", "b"] {
        bdevs::malloc(&mut app, name, 16, 512)?;
    }
    let bad = bdevs::error(&mut app, "b")?;
    mirror(&mut app, "mirror0", &["a", &bad])?;
    bdevs::inject_failure(&mut app, &bad, what, 1)?;
    load::run(&mut app)?;
    let info = mirror_info(&mut app, "mirror0")?;
    let errors = &info["base_bdevs_list"][1]["errors"];
    ensure!(errors[what] == 1, "the error is not counted: {info}");
    // What a flush was to make durable may be lost on one leg, so it counts as a write.
    let (health, status, event) = match what {
        "read" => ("optimal", "AR", "created"),
        "flush" => ("inconsistent", "SF", "flush failed"),
        _ => ("inconsistent", "SD", "write failed"),
    };
    ensure!(info["health"] == health && info["status"] == status, "{info}");
    ensure!(info["last_event"].as_str().is_some_and(|text| text.contains(event)), "{info}");
    let config = app.call("framework_get_config", json!({"name": "bdev"}))?;
    let mut calls = config.as_array().into_iter().flatten();
    let saved = calls.any(|call| call["method"] == "bdev_mirror_create");
    ensure!(saved == (health == "optimal"), "saved {saved} though it is {health}: {config}");
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    let failures = load::figures(&app.stop()?)?.failures_per_s;
    ensure!(failures > 0.0, "a {what} failed on a leg, and the host was not told");
    Ok(())
}
