//! The whole life of a mirror in our own targets: as it is shipped, on SPDK's assertions, under AddressSanitizer.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::{App, Spec};
use mirror_e2e::kit::Kit;
use mirror_e2e::load::{self, Load};
use mirror_e2e::nvmf::{self, Export};
use mirror_e2e::spdk::Stock;
use mirror_e2e::{bdevs, bdevs::mirror, bdevs::mirror_info};
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need, data_dir};
use crate::world::{expect_refusal, expect_well};

type Program = fn(&Kit) -> &Option<PathBuf>;

pub fn cases() -> Vec<Case> {
    let targets: [(&str, Need, Program); 3] = [
        ("static", Need::Target, |kit| &kit.target),
        ("debug", Need::TargetDebug, |kit| &kit.target_debug),
        ("asan", Need::TargetAsan, |kit| &kit.target_asan),
    ];
    let mut cases = Vec::new();
    for (name, need, program) in targets {
        for (cores, mask) in [("one_core", "0x1"), ("two_cores", "0x3")] {
            cases.push(Case::new(format!("{name}::io_removal_deletion_on_{cores}"), &[need], move |ctx| {
                whole_life(ctx, target(ctx, program)?.cores(mask))
            }));
        }
        cases.push(Case::new(format!("{name}::calls_and_cycles"), &[need], move |ctx| {
            calls_and_cycles(ctx, target(ctx, program)?)
        }));
    }
    cases
}

fn target(ctx: &Ctx, program: Program) -> Result<Spec> {
    // DPDK's own memory is not the sanitizer's, and SPDK frees little at its end.
    let spec = ctx.kit.own(program(&ctx.kit))?;
    Ok(spec.env("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=1"))
}

/// bdevperf in a process of its own, attached to the export.
fn initiator(ctx: &Ctx, export: &Export, load: &Load) -> Result<App> {
    let mut app = load.start(ctx.kit.stock(Stock::Bdevperf)?.cores("0x2"), &ctx.machine()?)?;
    nvmf::attach(&mut app, "Nvme0", export)?;
    Ok(app)
}

/// Create, I/O, forced deletion under load; create, I/O, hot-remove under load, delete.
fn whole_life(ctx: &Ctx, spec: Spec) -> Result<()> {
    let dir = data_dir()?;
    let files = [dir.path().join("a"), dir.path().join("b")];
    let mut app = ctx.start(spec)?;
    nvmf::transport(&mut app)?;
    for (name, file) in ["a", "b"].iter().zip(&files) {
        bdevs::aio(&mut app, name, file, 64, 512)?;
    }
    let made = mirror(&mut app, "mirror0", &["a", "b"])?;
    let export = nvmf::export(&mut app, &["mirror0"])?;
    let mut loader = initiator(ctx, &export, &Load::verify("Nvme0n1", 4096, 8, 2))?;
    load::run(&mut loader)?;
    loader.stop()?;
    expect_well(&mut app, "mirror0")?;
    expect_refusal(app.try_call("bdev_mirror_delete", json!({"name": "mirror0"}))?, -16, &["mirror0"])?;

    let loader = initiator(ctx, &export, &Load::verify("Nvme0n1", 16384, 8, 60))?;
    let running = load::begin(&loader)?;
    sleep(Duration::from_secs(1));
    app.call("bdev_aio_delete", json!({"name": "b"}))?;
    let info = mirror_info(&mut app, "mirror0")?;
    ensure!(info["state"] == "offline" && info["health"] == "failing", "{info}");
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    // What the initiator makes of a namespace that is gone is its own affair.
    drop((running, loader.kill()));
    app.call("nvmf_delete_subsystem", json!({"nqn": export.nqn}))?;

    // Nothing verifies what was in flight at the removal; the first load was over, and its blocks must be equal.
    let blocks = made["num_blocks"].as_u64().context("no num_blocks")?;
    let same = mirror_e2e::compare::files(&files[0], &files[1], blocks * 512, 512)?;
    let in_flight = 8 * 16384 / 512;
    ensure!(same.differing <= in_flight, "more than what was in flight differs: {same:?}");
    ensure!(same.nonzero > 0, "nothing was written: {same:?}");
    forced_deletion(ctx, app)
}

fn forced_deletion(ctx: &Ctx, mut app: App) -> Result<()> {
    for name in ["c", "d"] {
        bdevs::malloc(&mut app, name, 16, 4096)?;
    }
    mirror(&mut app, "mirror1", &["c", "d"])?;
    let export = nvmf::export(&mut app, &["mirror1"])?;
    let loader = initiator(ctx, &export, &Load::verify("Nvme0n1", 4096, 8, 60))?;
    let running = load::begin(&loader)?;
    sleep(Duration::from_secs(1));
    app.call("bdev_mirror_delete", json!({"name": "mirror1", "force": true}))?;
    let left = app.call("bdev_mirror_get_bdevs", Value::Null)?;
    ensure!(left == json!([]), "{left}");
    drop((running, loader.kill()));
    let output = app.stop()?;
    ensure!(!output.contains("AddressSanitizer"), "{output}");
    Ok(())
}

/// Refused calls and many short lives.
fn calls_and_cycles(ctx: &Ctx, spec: Spec) -> Result<()> {
    let mut app = ctx.start(spec)?;
    for name in ["a", "b"] {
        bdevs::malloc(&mut app, name, 16, 512)?;
    }
    bdevs::malloc(&mut app, "big", 16, 4096)?;
    for legs in [&["a", "nobody"][..], &["a", "big"], &["a", "a"], &[]] {
        let answer = app.try_call("bdev_mirror_create", bdevs::mirror_params("mirror0", legs))?;
        ensure!(answer.is_err(), "{legs:?} was accepted");
    }
    for _ in 0..50 {
        mirror(&mut app, "mirror0", &["a", "b"])?;
        app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    }
    mirror(&mut app, "mirror0", &["a", "b"])?;
    app.call("bdev_malloc_delete", json!({"name": "a"}))?;
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    app.stop()?;
    Ok(())
}
