//! One test, and what tests share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use mirror_e2e::app::{App, Spec};
use mirror_e2e::kit::Kit;
use mirror_e2e::machine::{self, Machine, PAGES, ScratchDir};
use mirror_e2e::spdk::Stock;

/// What a test does.
pub type Body = Box<dyn FnOnce(&Ctx) -> Result<()> + Send>;

/// A named test with its needs.
pub struct Case {
    pub name: String,
    pub needs: Vec<Need>,
    pub run: Body,
}

impl Case {
    pub fn new(name: impl Into<String>, needs: &[Need], run: impl FnOnce(&Ctx) -> Result<()> + Send + 'static) -> Case {
        Case { name: name.into(), needs: needs.to_vec(), run: Box::new(run) }
    }
}

/// What a test needs; all need root and hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Stock applications of a shared build, and the tests' own calls for them.
    Shared,
    /// The module for preloading into them.
    Module,
    /// Our static target.
    Target,
    /// Our static target on SPDK with assertions.
    TargetDebug,
    /// Our static target with AddressSanitizer.
    TargetAsan,
    /// bdevio in the tree.
    Bdevio,
    /// A release whose malloc bdevs have metadata.
    MallocMetadata,
    /// A release whose aio and delay bdevs survive a reset.
    LegReset,
    /// A release whose aio bdev zeroes in a small pool: that of 24.09 alone, without a mirror, hangs with two I/Os of 4 MiB
    /// and a pool of 8.
    LegZeroes,
    /// A tree of another release (OTHER_SPDK_DIR).
    OtherSpdk,
    /// rpc.py in the tree.
    RpcPy,
}

/// The same for all tests of a run.
pub struct Ctx {
    pub kit: Kit,
    /// `make test-full`: longer.
    pub full: bool,
    machine: Mutex<Option<Arc<Machine>>>,
}

fn absent(what: Option<&PathBuf>, variable: &str) -> Option<String> {
    match what {
        Some(_) => None,
        None => Some(format!("{variable} is not set, or names no file")),
    }
}

impl Ctx {
    pub fn new() -> Result<Ctx> {
        Ok(Ctx {
            kit: Kit::from_env()?,
            full: std::env::var_os("MIRROR_TEST_FULL").is_some(),
            machine: Mutex::new(None),
        })
    }

    /// Why a test with this need cannot run.
    pub fn missing(&self, need: Need) -> Option<String> {
        if let Some(reason) = machine::missing() {
            return Some(reason);
        }
        let Some(spdk) = &self.kit.spdk else {
            return Some("SPDK_DIR is not set".to_string());
        };
        let unless = |there: bool, what: &str| {
            (!there).then(|| format!("SPDK {} in {} has no {what}", spdk.release, spdk.dir.display()))
        };
        match need {
            Need::Shared => unless(spdk.is_shared(), "shared libraries")
                .or_else(|| absent(self.kit.calls.as_ref(), "TEST_CALLS_SO")),
            Need::Module => unless(spdk.is_shared(), "shared libraries")
                .or_else(|| absent(self.kit.calls.as_ref(), "TEST_CALLS_SO"))
                .or_else(|| absent(self.kit.module.as_ref(), "MIRROR_SO")),
            Need::Target => absent(self.kit.target.as_ref(), "MIRROR_TGT"),
            Need::TargetDebug => absent(self.kit.target_debug.as_ref(), "MIRROR_TGT_DEBUG"),
            Need::TargetAsan => absent(self.kit.target_asan.as_ref(), "MIRROR_TGT_ASAN"),
            Need::Bdevio => absent(self.kit.lcores.as_ref(), "TEST_LCORES_SO")
                .or_else(|| unless(spdk.program(Stock::Bdevio).is_ok(), "bdevio")),
            Need::MallocMetadata => unless(!spdk.is_old(), "metadata in malloc bdevs"),
            Need::LegReset => unless(!spdk.is_old(), "aio and delay bdevs that survive a reset"),
            Need::LegZeroes => {
                unless(spdk.is_old() || spdk.release.major >= 26, "aio bdev that zeroes in a small pool by itself")
            }
            Need::OtherSpdk => match std::env::var_os("OTHER_SPDK_DIR") {
                Some(_) => None,
                None => Some("OTHER_SPDK_DIR is not set (a shared SPDK tree of another release)".to_string()),
            },
            Need::RpcPy => unless(spdk.rpc_py().is_some(), "scripts/rpc.py"),
        }
    }

    fn machine_slot(&self) -> MutexGuard<'_, Option<Arc<Machine>>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hugepages: reserved at the first use, given back at the end of the run.
    pub fn machine(&self) -> Result<Arc<Machine>> {
        let mut slot = self.machine_slot();
        let machine = match slot.take() {
            Some(machine) => machine,
            None => Machine::prepare(PAGES)?,
        };
        *slot = Some(Arc::clone(&machine));
        Ok(machine)
    }

    /// Gives them back already: a program that is to run next takes its own.
    pub fn release_machine(&self) {
        self.machine_slot().take();
    }

    /// The length of a load: `short`, or five times that in the full run.
    pub fn seconds(&self, short: u32) -> u32 {
        if self.full { short * 5 } else { short }
    }

    /// Starts an application.
    pub fn start(&self, spec: Spec) -> Result<App> {
        spec.start(&self.machine()?)
    }

    /// A stock target with the mirror in it, on one core.
    pub fn mirror_target(&self) -> Result<App> {
        self.start(self.kit.preloaded(Stock::SpdkTgt)?)
    }

    /// bdevperf with the mirror in it.
    pub fn mirror_bdevperf(&self) -> Result<Spec> {
        self.kit.preloaded(Stock::Bdevperf)
    }
}

/// A folder in the build folder, for files that SPDK opens with O_DIRECT (which a /tmp in RAM may refuse).
pub fn data_dir() -> Result<ScratchDir> {
    ScratchDir::inside(Path::new(env!("CARGO_TARGET_TMPDIR")))
}
