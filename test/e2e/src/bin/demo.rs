//! The demo: a mirror of two files takes a verified load over NVMe/TCP, and then both files hold the same.

use std::path::{Path, PathBuf};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use mirror_e2e::app::App;
use mirror_e2e::compare::{self, Comparison};
use mirror_e2e::kit::Kit;
use mirror_e2e::load::{self, Load};
use mirror_e2e::machine::{self, Machine, PAGES, ScratchDir, no_core_files};
use mirror_e2e::spdk::Stock;
use mirror_e2e::{bdevs, nvmf, undo};
use serde_json::{Value, json};

const LEG_MB: u64 = 1024;
const BLOCK: u64 = 512;
const IO_BYTES: u64 = 16 * 1024;
const DEPTH: u32 = 8;
const SECONDS: u32 = 10;

const WHAT: &str = "\
This starts SPDK's target with the mirror in it, on two cores, and gives it two sparse files of 1 GiB as legs.
The mirror of both is exported over NVMe/TCP on 127.0.0.1; a second SPDK process attaches to it, writes, reads
back and verifies. Then everything is stopped, and the two files are compared block by block.";

fn main() {
    if let Err(error) = run() {
        eprintln!("demo: failed: {error:#}");
        std::process::exit(1);
    }
}

fn say(what: impl AsRef<str>) {
    println!("demo: {}", what.as_ref());
}

fn run() -> Result<()> {
    println!("{WHAT}\n");
    undo::on_signals()?;
    no_core_files()?;
    if let Some(reason) = machine::missing() {
        bail!(reason);
    }
    let kit = Kit::from_env()?;
    let cores = available_parallelism()?.get();
    ensure!(cores >= 2, "two cores are needed, this machine has one");
    let bdevperf = kit.stock(Stock::Bdevperf)?;
    let machine = Machine::prepare(PAGES)?;
    let dir = ScratchDir::inside(&build_folder().join("demo"))?;
    let files = [dir.path().join("leg0"), dir.path().join("leg1")];

    let mut target = kit.own(&kit.target)?.cores("0x3").start(&machine)?;
    let mirror = make_mirror(&mut target, &files)?;
    nvmf::transport(&mut target)?;
    let export = nvmf::export(&mut target, &["mirror0"])?;
    say(format!("mirror0 is exported as {} on 127.0.0.1:{}", export.nqn, export.port));

    // A core of its own where there is a third one.
    let load = Load::verify("Nvme0n1", IO_BYTES, DEPTH, SECONDS);
    let mask = if cores > 2 { "0x4" } else { "0x2" };
    let mut initiator = load.start(bdevperf.cores(mask), &machine)?;
    nvmf::attach(&mut initiator, "Nvme0", &export)?;
    say(format!("bdevperf is attached; verifying {IO_BYTES}-byte I/O, {DEPTH} in flight, for {SECONDS} s"));
    run_load(&initiator)?;
    let figures = load::figures(&initiator.stop()?)?;

    stop(target, &export)?;
    say("all is stopped; comparing the legs");
    let bytes = mirror["num_blocks"].as_u64().context("no num_blocks")? * BLOCK;
    let same = compare_legs(&files, bytes)?;
    drop((dir, machine));
    println!(
        "demo: ok, {:.0} verified IOPS ({:.1} MiB/s) over NVMe/TCP; the legs are equal in all {} blocks, {} of them written",
        figures.iops, figures.mib_per_s, same.blocks, same.nonzero
    );
    Ok(())
}

fn build_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

fn make_mirror(target: &mut App, files: &[PathBuf; 2]) -> Result<Value> {
    for (i, file) in files.iter().enumerate() {
        bdevs::aio(target, &format!("leg{i}"), file, LEG_MB, BLOCK)?;
    }
    let mirror = bdevs::mirror(target, "mirror0", &["leg0", "leg1"])?;
    let info = bdevs::mirror_info(target, "mirror0")?;
    ensure!(info["health"] == "optimal", "the new mirror is not well: {info}");
    say(format!("mirror0 has two legs, health optimal, {} blocks of {BLOCK} bytes", mirror["num_blocks"]));
    Ok(mirror)
}

/// Shows the time that the load takes; a miscompare or failed I/O ends it with an error.
fn run_load(initiator: &App) -> Result<()> {
    let bar = ProgressBar::new(u64::from(SECONDS) * 10);
    bar.set_style(ProgressStyle::with_template("demo: {wide_bar} {elapsed}")?);
    let running = load::begin(initiator)?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(SECONDS.into()) {
        bar.set_position(began.elapsed().as_millis() as u64 / 100);
        sleep(Duration::from_millis(100));
    }
    let result = running.finish()?;
    bar.finish_and_clear();
    result.context("the verified load failed")?;
    Ok(())
}

fn stop(mut target: App, export: &nvmf::Export) -> Result<()> {
    let info = bdevs::mirror_info(&mut target, "mirror0")?;
    ensure!(info["health"] == "optimal", "the mirror is not well after the load: {info}");
    target.call("nvmf_delete_subsystem", json!({"nqn": export.nqn}))?;
    target.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    target.stop()?;
    Ok(())
}

fn compare_legs(files: &[PathBuf; 2], bytes: u64) -> Result<Comparison> {
    let same = compare::files(&files[0], &files[1], bytes, BLOCK)?;
    if let Some(first) = same.first {
        bail!("the legs differ in {} blocks, first in block {first}", same.differing);
    }
    ensure!(same.nonzero > 0, "the legs are equal but empty: the load did not reach them");
    Ok(same)
}
