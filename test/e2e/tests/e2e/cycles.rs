//! A thousand mirrors made, used and deleted while another one takes a load: no memory, no bdev_io is lost.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs::{self, mirror};
use mirror_e2e::load::{self, Load};
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need};
use crate::world::{THINGS, expect_held_as, expect_well, held_at_rest, rss_kb, warm_up};

const CYCLES: u32 = 1000;
/// Caches and allocators have their size by then.
const SETTLED: u32 = 200;
/// Per cycle, from then on.
const RSS_SLOPE_MAX_BYTES: f64 = 512.0;
const HEAP_SLOPE_MAX_BYTES: f64 = 16.0;

pub fn cases() -> Vec<Case> {
    vec![Case::new("cycles::a_thousand_under_load", &[Need::Module], a_thousand)]
}

/// What a leak would make grow.
struct Memory {
    rss_bytes: f64,
    heap_bytes: f64,
    dma_bytes: f64,
}

fn memory(app: &mut App) -> Result<Memory> {
    let counts = bdevs::counts(app)?;
    let number = |key: &str| counts[key].as_f64().with_context(|| format!("no {key}"));
    let (heap_bytes, dma_bytes) = (number("heap_bytes")?, number("dma_bytes")?);
    Ok(Memory { rss_bytes: rss_kb(app.pid())? as f64 * 1024.0, heap_bytes, dma_bytes })
}

fn a_thousand(ctx: &Ctx) -> Result<()> {
    let cycles = if ctx.full { CYCLES * 5 } else { CYCLES };
    // Longer than the cycles take; ended by deleting the mirror.
    let load = Load::verify("busy", 4096, 16, if ctx.full { 3600 } else { 600 });
    let mut app = load.start(ctx.mirror_bdevperf()?.cores("0x3"), &ctx.machine()?)?;
    warm_up(&mut app)?;
    for name in ["a", "b", "c", "d"] {
        bdevs::malloc(&mut app, name, 16, 512)?;
    }
    let before = held_at_rest(&mut app)?;
    mirror(&mut app, "busy", &["a", "b"])?;
    let running = load::begin(&app)?;
    let mut settled = None;
    for cycle in 0..cycles {
        if cycle == SETTLED {
            settled = Some(memory(&mut app)?);
        }
        one_cycle(&mut app, cycle).with_context(|| format!("in cycle {cycle}"))?;
    }
    let settled = settled.context("too few cycles")?;
    let end = memory(&mut app)?;
    let slope = |from: f64, to: f64| (to - from) / f64::from(cycles - SETTLED);
    let rss = slope(settled.rss_bytes, end.rss_bytes);
    let heap = slope(settled.heap_bytes, end.heap_bytes);
    let dma = slope(settled.dma_bytes, end.dma_bytes);
    println!("cycles: per cycle {rss:.1} bytes RSS, {heap:.1} heap, {dma:.1} DMA memory");
    ensure!(rss <= RSS_SLOPE_MAX_BYTES, "RSS grows by {rss:.1} bytes per cycle");
    ensure!(heap <= HEAP_SLOPE_MAX_BYTES, "the heap grows by {heap:.1} bytes per cycle");
    ensure!(dma <= HEAP_SLOPE_MAX_BYTES, "DMA memory grows by {dma:.1} bytes per cycle");

    expect_well(&mut app, "busy")?;
    let before_pause = bdevs::reads_of(&mut app, "a")? + bdevs::reads_of(&mut app, "b")?;
    sleep(Duration::from_millis(300));
    let after_pause = bdevs::reads_of(&mut app, "a")? + bdevs::reads_of(&mut app, "b")?;
    ensure!(after_pause > before_pause, "the load ended before the cycles did");
    app.call("bdev_mirror_delete", json!({"name": "busy", "force": true}))?;
    let _ = running.finish()?;
    // bdevperf let its I/O end before it let go.
    let (_, nonzero) = bdevs::compare(&mut app, "a", "b", None)?;
    ensure!(nonzero > 0, "the load did not reach the legs");
    let (_, nonzero) = bdevs::compare(&mut app, "c", "d", None)?;
    ensure!(nonzero == 0, "the load of one mirror reached the legs of another");
    expect_held_as(&mut app, &before, &THINGS)?;
    app.stop()?;
    Ok(())
}

/// Makes, reads and deletes; each tenth one is deleted while it is read.
fn one_cycle(app: &mut App, cycle: u32) -> Result<()> {
    mirror(app, "cycle", &["c", "d"])?;
    if cycle % 10 == 9 {
        let mut reader = app.connect()?;
        reader.send("test_compare_bdevs", json!({"a": "cycle", "b": "c"}))?;
        app.call("bdev_mirror_delete", json!({"name": "cycle", "force": true}))?;
        // All was read before, or the deletion came first: never a difference, never no answer.
        if let Ok(answer) = reader.receive("test_compare_bdevs")? {
            ensure!(answer["differing"] == 0, "{answer}");
        }
    } else {
        bdevs::compare(app, "cycle", "c", Some(64))?;
        app.call("bdev_mirror_delete", json!({"name": "cycle"}))?;
    }
    let gone = app.call("bdev_mirror_get_bdevs", Value::Null)?;
    ensure!(gone.as_array().map(Vec::len) == Some(1), "only 'busy' was expected: {gone}");
    Ok(())
}
