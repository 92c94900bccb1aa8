//! SPDK's own test suite for bdevs, all its cases, on mirrors.

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::Spec;
use mirror_e2e::bdevs::mirror;
use mirror_e2e::spdk::Stock;
use serde_json::json;

use crate::case::{Case, Ctx, Need};
use crate::legs::{Kind, Legs};

/// As many tests as the suite of the oldest release has.
const TESTS_MIN: u64 = 22;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, legs, block) in [
        ("two_malloc_legs", Kind::Malloc, 2, 512),
        ("three_malloc_legs", Kind::Malloc, 3, 512),
        ("two_malloc_legs_of_4096", Kind::Malloc, 2, 4096),
        ("three_nvme_tcp_legs", Kind::NvmeTcp, 3, 512),
        ("two_aio_legs", Kind::Aio, 2, 512),
        ("three_delay_legs", Kind::Delay, 3, 512),
    ] {
        let mut needs = vec![Need::Module, Need::Bdevio];
        if matches!(kind, Kind::Aio | Kind::Delay) {
            needs.push(Need::LegReset);
        }
        let run = move |ctx: &Ctx| suite(ctx, kind, legs, block);
        cases.push(Case::new(format!("bdevio::{name}"), &needs, run));
    }
    cases
}

/// The suite wants three cores; two of them may be on one processor.
fn three_cores(ctx: &Ctx) -> Result<Spec> {
    let lcores = ctx.kit.lcores.as_ref().context("TEST_LCORES_SO is not set")?;
    Ok(ctx.kit.preloaded(Stock::Bdevio)?.arg("-w").cores("0x7").preload(lcores))
}

fn suite(ctx: &Ctx, kind: Kind, count: usize, block: u64) -> Result<()> {
    let mut app = ctx.start(three_cores(ctx)?)?;
    let mut legs = Legs::make(ctx, &mut app, kind, count, 32, block)?;
    let made = mirror(&mut app, "mirror0", &legs.names())?;
    let failures = app.call("perform_tests", json!({"name": "mirror0"}))?;
    ensure!(failures == 0, "{failures} cases failed");
    let num_blocks = made["num_blocks"].as_u64().context("no num_blocks")?;
    legs.compare(&mut app, num_blocks, true)?;
    let (ran, failed) = summary(&app.stop()?)?;
    ensure!(ran >= TESTS_MIN && failed == 0, "{ran} tests ran, {failed} failed");
    Ok(())
}

/// CUnit's line `tests  total ran passed failed inactive`.
fn summary(output: &str) -> Result<(u64, u64)> {
    let line = output.lines().find(|line| line.trim_start().starts_with("tests ")).context("no summary by CUnit")?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [_, ran, _, failed, ..] => Ok((ran, failed)),
        _ => anyhow::bail!("no numbers in '{line}'"),
    }
}
