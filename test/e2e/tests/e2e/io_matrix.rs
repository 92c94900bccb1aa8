//! Load over legs of every kind, with the legs compared block by block after each run.

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs::{self, mirror};
use mirror_e2e::load::{self, Load};
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need};
use crate::legs::{Kind, Legs};
use crate::world::expect_well;

/// One run of the matrix.
#[derive(Clone, Copy)]
struct Run {
    kind: Kind,
    legs: usize,
    block: u64,
    io: u64,
    cores: u32,
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [Kind::Malloc, Kind::Aio, Kind::Delay, Kind::Null, Kind::NvmeTcp] {
        for cores in [1, 2] {
            for io in [4096, 65536] {
                cases.push(Run { kind, legs: 2, block: 512, io, cores });
            }
        }
    }
    for (legs, block, cores) in [(1, 512, 1), (3, 512, 1), (3, 512, 2), (16, 512, 2), (2, 4096, 1), (2, 4096, 2)] {
        cases.push(Run { kind: Kind::Malloc, legs, block, io: 4096, cores });
    }
    cases.push(Run { kind: Kind::Aio, legs: 2, block: 4096, io: 4096, cores: 1 });
    let mut cases: Vec<Case> = cases.into_iter().map(Run::case).collect();
    for (name, interleaved) in [("interleaved", true), ("separate", false)] {
        let run = move |ctx: &Ctx| metadata(ctx, interleaved);
        cases.push(Case::new(format!("io_matrix::metadata_{name}"), &[Need::Module, Need::MallocMetadata], run));
    }
    cases.push(Case::new("io_matrix::metadata_interleaved_null", &[Need::Module], metadata_null));
    cases
}

impl Run {
    fn case(self) -> Case {
        let kind = format!("{:?}", self.kind).to_lowercase();
        let name = format!(
            "io_matrix::{kind}_{}_legs_of_{}_io_{}k_on_{}_cores",
            self.legs,
            self.block,
            self.io / 1024,
            self.cores
        );
        Case::new(name, &[Need::Module], move |ctx| self.run(ctx))
    }

    fn run(self, ctx: &Ctx) -> Result<()> {
        // Depth 8 where an initiator shares the cores with its target.
        let depth = if self.kind == Kind::NvmeTcp { 8 } else { 32 };
        let mut load = Load::verify("mirror0", self.io, depth, ctx.seconds(2));
        if self.kind == Kind::Null {
            load = load.workload("randrw");
        }
        let mut spec = ctx.mirror_bdevperf()?;
        if self.cores == 2 {
            load = load.split();
            spec = spec.cores("0x3");
        }
        let mut app = load.start(spec, &ctx.machine()?)?;
        let size_mb = if self.legs > 4 { 12 } else { 64 };
        let mut legs = Legs::make(ctx, &mut app, self.kind, self.legs, size_mb, self.block)?;
        let made = mirror(&mut app, "mirror0", &legs.names())?;
        let num_blocks = made["num_blocks"].as_u64().context("no num_blocks")?;
        ensure!(made["block_size"] == self.block, "{made}");
        for leg in made["legs"].as_array().context("no legs")? {
            ensure!(leg["durability"] == self.kind.durability(), "{leg}");
        }
        load::run(&mut app)?;
        expect_well(&mut app, "mirror0")?;
        legs.compare(&mut app, num_blocks, true)?;
        delete_and_stop(app)
    }
}

/// The mirror can be deleted after the load, and the application ends well.
fn delete_and_stop(mut app: App) -> Result<()> {
    app.call("bdev_mirror_delete", json!({"name": "mirror0"}))?;
    let output = app.stop()?;
    load::figures(&output)?;
    Ok(())
}

fn metadata(ctx: &Ctx, interleaved: bool) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 32, ctx.seconds(2));
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    let names = ["a".to_string(), "b".to_string()];
    for name in &names {
        app.call(
            "bdev_malloc_create",
            json!({"name": name, "num_blocks": 65536, "block_size": 512, "md_size": 8, "md_interleave": interleaved}),
        )?;
    }
    let made = mirror(&mut app, "mirror0", &["a", "b"])?;
    let shown = bdev(&mut app, "mirror0")?;
    ensure!(shown["md_size"] == 8 && shown["md_interleave"] == interleaved, "metadata is not shown: {shown}");
    load::run(&mut app)?;
    expect_well(&mut app, "mirror0")?;
    let (_, nonzero) = bdevs::compare(&mut app, "a", "b", made["num_blocks"].as_u64())?;
    ensure!(nonzero > 0, "nothing was written");
    delete_and_stop(app)
}

/// In 20.07 only null bdevs have metadata, and it is interleaved.
fn metadata_null(ctx: &Ctx) -> Result<()> {
    let load = Load::verify("mirror0", 4096, 32, ctx.seconds(2)).workload("randrw");
    let mut app = load.start(ctx.mirror_bdevperf()?, &ctx.machine()?)?;
    // 26.05 counts data bytes only in block_size, 20.07 the whole block.
    let block_size = if ctx.kit.spdk()?.is_old() { 520 } else { 512 };
    for name in ["a", "b"] {
        app.call(
            "bdev_null_create",
            json!({"name": name, "num_blocks": 65536, "block_size": block_size, "md_size": 8}),
        )?;
    }
    let leg = bdev(&mut app, "a")?;
    let made = mirror(&mut app, "mirror0", &["a", "b"])?;
    ensure!(made["block_size"] == leg["block_size"], "{made} {leg}");
    load::run(&mut app)?;
    expect_well(&mut app, "mirror0")?;
    delete_and_stop(app)
}

fn bdev(app: &mut App, name: &str) -> Result<Value> {
    let mut list = app.call("bdev_get_bdevs", json!({"name": name}))?;
    Ok(list[0].take())
}
