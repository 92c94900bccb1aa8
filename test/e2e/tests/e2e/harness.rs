//! The checkers themselves: each must see what it is there to see, on stock bdevs, without a mirror.

use anyhow::{Result, ensure};
use mirror_e2e::load::{self, Load};
use mirror_e2e::spdk::Stock;
use mirror_e2e::{bdevs, compare};
use serde_json::json;

use crate::case::{Case, Ctx, Need, data_dir};
use crate::world::expect_free;

pub fn cases() -> Vec<Case> {
    use Need::Shared;
    vec![
        Case::new("harness::compare_sees_a_difference", &[Shared], compare_sees_a_difference),
        Case::new("harness::load_sees_a_failure", &[Shared], load_sees_a_failure),
        Case::new("harness::counts_see_a_claim", &[Shared], counts_see_a_claim),
        Case::new("harness::nothing_stays_behind", &[Shared], nothing_stays_behind),
    ]
}

fn compare_sees_a_difference(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("a", 4096, 8, 1);
    let mut app = load.start(ctx.kit.stock(Stock::Bdevperf)?, &ctx.machine()?)?;
    for name in ["a", "b"] {
        bdevs::malloc(&mut app, name, 16, 512)?;
    }
    let (blocks, nonzero) = bdevs::compare(&mut app, "a", "b", None)?;
    ensure!((blocks, nonzero) == (32768, 0), "fresh RAM is equal and empty: {blocks} {nonzero}");
    load::run(&mut app)?;
    let error = bdevs::compare(&mut app, "a", "b", None).expect_err("only a was written").to_string();
    ensure!(error.contains("differ in"), "{error}");
    let figures = load::figures(&app.stop()?)?;
    ensure!(figures.iops > 0.0, "{figures:?}");
    Ok(())
}

fn load_sees_a_failure(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("EE_a", 4096, 4, 5);
    let mut app = load.start(ctx.kit.stock(Stock::Bdevperf)?, &ctx.machine()?)?;
    bdevs::malloc(&mut app, "a", 16, 512)?;
    let name = bdevs::error(&mut app, "a")?;
    bdevs::inject_failure(&mut app, &name, "write", 1)?;
    ensure!(load::run(&mut app).is_err(), "a write failed, and the load did not say so");
    Ok(())
}

fn counts_see_a_claim(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.start(ctx.kit.stock(Stock::SpdkTgt)?)?;
    bdevs::malloc(&mut app, "a", 16, 512)?;
    // SPDK's own modules examine a new bdev for a while, and have it open meanwhile.
    expect_free(&mut app, &["a"])?;
    let free = bdevs::counts(&mut app)?;
    ensure!(free["bdevs"][0]["name"] == "a" && free["bdevs"][0]["claimed_by"].is_null(), "{free}");
    ensure!(free["bdev_io_free"].as_u64() > Some(1000), "{free}");
    app.call("bdev_passthru_create", json!({"name": "p", "base_bdev_name": "a"}))?;
    let held = bdevs::counts(&mut app)?;
    ensure!(held["bdevs"][0]["open"] == true && held["bdevs"][0]["claimed_by"] == "passthru", "{held}");
    ensure!(held["heap_bytes"].as_u64() > free["heap_bytes"].as_u64(), "{held} {free}");
    app.stop()?;
    Ok(())
}

fn nothing_stays_behind(ctx: &Ctx) -> Result<()> {
    let data = data_dir()?;
    let mut app = ctx.start(ctx.kit.stock(Stock::SpdkTgt)?)?;
    let (pid, dir) = (app.pid(), app.dir().to_path_buf());
    bdevs::aio(&mut app, "f", &data.path().join("f"), 16, 512)?;
    drop(app);
    ensure!(!dir.exists(), "{} is still there", dir.display());
    ensure!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} still runs");
    ensure!(!std::path::Path::new(&format!("/var/run/dpdk/spdk_pid{pid}")).exists(), "DPDK's folder is still there");
    let huge = std::fs::read_dir(ctx.machine()?.huge_dir())?.count();
    ensure!(huge == 0, "{huge} files in the hugepage mount");
    let same = compare::files(&data.path().join("f"), &data.path().join("f"), 16 << 20, 512)?;
    ensure!(same.nonzero == 0, "{same:?}");
    Ok(())
}
