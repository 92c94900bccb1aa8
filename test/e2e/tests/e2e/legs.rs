//! Legs of every kind, and how they are compared afterwards.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::machine::ScratchDir;
use mirror_e2e::spdk::Stock;
use mirror_e2e::{bdevs, compare, nvmf};
use serde_json::json;

use crate::case::{Ctx, data_dir};
use crate::world::expect_equal_legs;

/// What legs are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Malloc,
    Aio,
    Delay,
    Null,
    /// malloc bdevs of another process, over NVMe/TCP.
    NvmeTcp,
}

impl Kind {
    /// What the mirror has to say of such a leg.
    pub fn durability(self) -> &'static str {
        match self {
            Kind::Malloc | Kind::Aio => "bdev_flush",
            Kind::Null => "not_needed",
            // Nobody knows what is below a delay bdev, or behind a remote target.
            Kind::Delay | Kind::NvmeTcp => "unknown",
        }
    }
}

/// The legs of one mirror, and what they live in.
pub struct Legs {
    pub names: Vec<String>,
    kind: Kind,
    block_size: u64,
    files: Vec<PathBuf>,
    _dir: Option<ScratchDir>,
    remote: Option<App>,
}

impl Legs {
    /// Makes `count` legs of `size_mb` in (or for) `app`.
    pub fn make(ctx: &Ctx, app: &mut App, kind: Kind, count: usize, size_mb: u64, block_size: u64) -> Result<Legs> {
        let mut legs = Legs {
            names: (0..count).map(|i| format!("leg{i}")).collect(),
            kind,
            block_size,
            files: Vec::new(),
            _dir: None,
            remote: None,
        };
        match kind {
            Kind::Malloc => legs.each(|name| bdevs::malloc(app, name, size_mb, block_size))?,
            Kind::Null => legs.each(|name| bdevs::null(app, name, size_mb, block_size))?,
            Kind::Delay => legs.each(|name| {
                let base = format!("{name}_base");
                bdevs::malloc(app, &base, size_mb, block_size)?;
                // Legs of different speed: their completions come in another order than their submissions.
                bdevs::delay(app, name, &base, 50, if name == "leg0" { 100 } else { 300 })
            })?,
            Kind::Aio => {
                let dir = data_dir()?;
                legs.files = legs.names.iter().map(|name| dir.path().join(name)).collect();
                for (name, file) in legs.names.iter().zip(&legs.files) {
                    bdevs::aio(app, name, file, size_mb, block_size)?;
                }
                legs._dir = Some(dir);
            }
            Kind::NvmeTcp => {
                let mut remote = ctx.start(ctx.kit.stock(Stock::SpdkTgt)?)?;
                nvmf::transport(&mut remote)?;
                let bases = legs.names.clone();
                legs.names.clear();
                for (i, base) in bases.iter().enumerate() {
                    bdevs::malloc(&mut remote, base, size_mb, block_size)?;
                    let export = nvmf::export(&mut remote, &[base])?;
                    legs.names.extend(nvmf::attach(app, &format!("Nvme{i}"), &export)?);
                }
                ensure!(legs.names.len() == count, "attached {:?}", legs.names);
                legs.remote = Some(remote);
            }
        }
        Ok(legs)
    }

    fn each(&self, mut make: impl FnMut(&str) -> Result<()>) -> Result<()> {
        self.names.iter().try_for_each(|name| make(name))
    }

    /// Their names for a call.
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// Compares them block by block over the mirror's size. `null` stores nothing, so there is nothing to compare.
    pub fn compare(&mut self, app: &mut App, num_blocks: u64, written: bool) -> Result<()> {
        match self.kind {
            Kind::Null => Ok(()),
            Kind::Malloc | Kind::Delay => expect_equal_legs(app, &self.names, num_blocks, written),
            Kind::Aio => self.compare_files(num_blocks, written),
            Kind::NvmeTcp => {
                let bases: Vec<String> = (0..self.names.len()).map(|i| format!("leg{i}")).collect();
                match &mut self.remote {
                    Some(remote) => expect_equal_legs(remote, &bases, num_blocks, written),
                    None => Ok(()),
                }
            }
        }
    }

    fn compare_files(&self, num_blocks: u64, written: bool) -> Result<()> {
        let bytes = num_blocks * self.block_size;
        for other in &self.files[1..] {
            let same = compare::files(&self.files[0], other, bytes, self.block_size)?;
            ensure!(same.differing == 0, "the legs differ: {same:?}");
            ensure!(!written || same.nonzero > 0, "the legs are equal but empty");
        }
        Ok(())
    }

    /// Opens the files of aio legs in another application.
    pub fn reopen(&self, app: &mut App) -> Result<()> {
        for (name, file) in self.names.iter().zip(&self.files) {
            app.call("bdev_aio_create", json!({"name": name, "filename": file, "block_size": self.block_size}))?;
        }
        Ok(())
    }

    /// How many blocks of the first aio leg are not all zeros.
    pub fn nonzero_in_file(&self, num_blocks: u64) -> Result<u64> {
        let first = &self.files[0];
        Ok(compare::files(first, first, num_blocks * self.block_size, self.block_size)?.nonzero)
    }
}
