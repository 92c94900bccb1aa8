//! What was built, and with which SPDK: from the environment that the Makefile sets.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::app::Spec;
use crate::spdk::{Spdk, Stock};

/// The products. Tests that need one that is missing are skipped, with its name.
#[derive(Clone, Debug)]
pub struct Kit {
    /// The tree in use (SPDK_DIR).
    pub spdk: Option<Spdk>,
    /// The module for preloading (MIRROR_SO).
    pub module: Option<PathBuf>,
    /// Our static target (MIRROR_TGT).
    pub target: Option<PathBuf>,
    /// The same on SPDK with its assertions (MIRROR_TGT_DEBUG).
    pub target_debug: Option<PathBuf>,
    /// The same with AddressSanitizer (MIRROR_TGT_ASAN).
    pub target_asan: Option<PathBuf>,
    /// The tests' own calls, test/e2e/preload (TEST_CALLS_SO).
    pub calls: Option<PathBuf>,
    /// test/e2e/preload/lcores.c (TEST_LCORES_SO).
    pub lcores: Option<PathBuf>,
}

fn file(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(variable)?);
    path.is_file().then_some(path)
}

impl Kit {
    /// Looks at the environment.
    pub fn from_env() -> Result<Kit> {
        let spdk = match env::var_os("SPDK_DIR") {
            Some(dir) if !dir.is_empty() => Some(Spdk::at(Path::new(&dir))?),
            _ => None,
        };
        Ok(Kit {
            spdk,
            module: file("MIRROR_SO"),
            target: file("MIRROR_TGT"),
            target_debug: file("MIRROR_TGT_DEBUG"),
            target_asan: file("MIRROR_TGT_ASAN"),
            calls: file("TEST_CALLS_SO"),
            lcores: file("TEST_LCORES_SO"),
        })
    }

    /// The tree in use.
    pub fn spdk(&self) -> Result<&Spdk> {
        self.spdk
            .as_ref()
            .context("no SPDK tree: give a built one as SPDK_DIR=... (an installed SPDK has no programs to run)")
    }

    /// A stock application as it comes, with the tests' own calls in it where they can be.
    pub fn stock(&self, app: Stock) -> Result<Spec> {
        let spdk = self.spdk()?;
        let mut spec = sharing_cores(Spec::new(spdk.program(app)?), spdk);
        if app == Stock::Bdevperf && spdk.is_old() {
            // Plain reads and writes: 20.07's error bdev cannot do zcopy, though it says that it can.
            spec = spec.arg("-x");
        }
        if spdk.is_shared() {
            spec = spec.env("LD_LIBRARY_PATH", spdk.library_path());
            if let Some(calls) = &self.calls {
                spec = spec.preload(calls);
            }
        }
        Ok(spec)
    }

    /// A stock application with the mirror preloaded.
    pub fn preloaded(&self, app: Stock) -> Result<Spec> {
        if !self.spdk()?.is_shared() {
            bail!("SPDK in {} has no shared libraries", self.spdk()?.dir.display());
        }
        let module = self.module.as_ref().context("MIRROR_SO is not set or not there")?;
        Ok(self.stock(app)?.preload(module))
    }

    /// One of our own targets.
    pub fn own(&self, program: &Option<PathBuf>) -> Result<Spec> {
        let advice = "this target was not built: it needs SPDK's static libraries (build/lib/libspdk_bdev.a)";
        let spec = Spec::new(program.as_ref().context(advice)?);
        // The one with assertions is linked with 20.07, whatever the tree in use.
        match &self.spdk {
            Some(spdk) if program != &self.target_debug => Ok(sharing_cores(spec, spdk)),
            _ => Ok(spec),
        }
    }
}

/// Target and initiator may share a core, which newer releases forbid by a lock.
fn sharing_cores(spec: Spec, spdk: &Spdk) -> Spec {
    if spdk.is_old() { spec } else { spec.arg("--disable-cpumask-locks") }
}
