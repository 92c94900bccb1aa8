//! A bdevperf that waits for orders: stacks are built in it one after the other, and loaded.
//!
//! One process for many stacks makes them comparable (same memory, same core, same minute) and saves starting it each
//! time, which takes seconds under callgrind; the oldest release needs a new one each time nevertheless.

use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::{App, Spec};
use mirror_e2e::kit::Kit;
use mirror_e2e::load;
use mirror_e2e::machine::{Machine, ScratchDir};
use mirror_e2e::spdk::{Spdk, Stock};
use serde_json::{Value, json};

use crate::callgrind::{self, Profile};
use crate::histogram::Histogram;
use crate::perf;
use crate::stack::{Medium, Stack, TOP};

/// Hugepages of 2 MiB for one bdevperf; it gets a little less memory than that.
pub const PAGES: u64 = 400;
const MEMORY_MB: &str = "700";

const IO_SIZE: u64 = 4096;
const CALLGRIND_SECONDS: u32 = 3;
const NATIVE_SECONDS: u32 = 2;
const WARM_UP: Duration = Duration::from_millis(250);
const WINDOW: Duration = Duration::from_millis(900);
const LATENCY_WINDOW: Duration = Duration::from_millis(500);

/// The load, the same for all stacks of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// bdevperf's word: read, write, randread, …
    pub name: &'static str,
    /// I/Os in flight.
    pub depth: u32,
}

impl Workload {
    fn spec(self, spdk: &Spdk, bdevperf: Spec, seconds: u32) -> Spec {
        let spec = bdevperf
            .args(["-z", "-T", TOP, "-w", self.name, "-s", MEMORY_MB])
            .args(["-q".to_string(), self.depth.to_string()])
            .args(["-o".to_string(), IO_SIZE.to_string()])
            .args(["-t".to_string(), seconds.to_string()])
            .env("LD_LIBRARY_PATH", spdk.library_path());
        // The old one lends buffers from the bdev (zcopy) unless told not to, the later ones only when told to.
        if spdk.is_old() { spec.arg("-x") } else { spec }
    }
}

/// A bdevperf, started when it is needed.
struct Waiting {
    spec: Spec,
    machine: Arc<Machine>,
    /// The old one adds each load to those that ended, and so runs only one with the depth that was asked for.
    once: bool,
    app: Option<App>,
}

impl Waiting {
    fn new(spdk: &Spdk, spec: Spec, machine: &Arc<Machine>) -> Waiting {
        Waiting { spec, machine: Arc::clone(machine), once: spdk.is_old(), app: None }
    }

    /// Whether the next load gets a new process.
    fn is_new(&self) -> bool {
        self.app.is_none()
    }

    fn take(&mut self) -> Result<App> {
        self.app.take().map_or_else(|| self.spec.start(&self.machine), Ok)
    }

    fn give_back(&mut self, app: App) -> Result<()> {
        if self.once {
            return app.stop().map(drop);
        }
        self.app = Some(app);
        Ok(())
    }

    fn stop(self) -> Result<()> {
        self.app.map_or(Ok(()), |app| app.stop().map(drop))
    }
}

/// bdevperf at its own speed.
pub struct Native {
    waiting: Waiting,
    with_perf: bool,
}

/// What one run at full speed tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// I/Os for each second that the core was busy.
    pub iops_per_busy_s: f64,
    /// Instructions and cycles per I/O, where the machine counts them.
    pub counted: Option<perf::PerIo>,
    /// Half of the I/Os took no longer.
    pub p50_us: Option<f64>,
    /// All but one in a hundred took no longer.
    pub p99_us: Option<f64>,
}

/// I/Os and time up to a moment.
struct Moment {
    ios: u64,
    cpu_ns: u64,
    busy: u64,
    idle: u64,
}

impl Native {
    /// With the mirror in it if that was built.
    pub fn new(kit: &Kit, machine: &Arc<Machine>, workload: Workload, with_perf: bool) -> Result<Native> {
        let spdk = kit.spdk()?;
        let mut bdevperf = Spec::new(spdk.program(Stock::Bdevperf)?);
        if let Some(module) = &kit.module {
            bdevperf = bdevperf.preload(module);
        }
        let spec = workload.spec(spdk, bdevperf, NATIVE_SECONDS);
        Ok(Native { waiting: Waiting::new(spdk, spec, machine), with_perf })
    }

    /// Loads a stack once.
    pub fn measure(&mut self, stack: Stack, medium: Medium) -> Result<Sample> {
        let mut app = self.waiting.take()?;
        stack.build(&mut app, medium)?;
        let running = load::begin(&app)?;
        sleep(WARM_UP);
        let before = Moment::now(&mut app)?;
        let counts = if self.with_perf {
            Some(perf::count(app.pid(), WINDOW)?)
        } else {
            sleep(WINDOW);
            None
        };
        let after = Moment::now(&mut app)?;
        let latency = latency(&mut app)?;
        running.finish()??;
        stack.remove(&mut app, medium)?;
        self.waiting.give_back(app)?;

        let ios = after.ios - before.ios;
        ensure!(ios > 0, "{stack}: no I/O in {} ms", WINDOW.as_millis());
        // What other processes took of the core is in neither figure: busy is a share, and CPU time is ours alone.
        let cpu_s = (after.cpu_ns - before.cpu_ns) as f64 / 1e9;
        let (busy, idle) = (after.busy - before.busy, after.idle - before.idle);
        let share = busy as f64 / ((busy + idle).max(1)) as f64;
        Ok(Sample {
            iops_per_busy_s: ios as f64 / (cpu_s * share),
            counted: counts.map(|c| c.per_io(ios as f64 / cpu_s)),
            p50_us: latency.percentile_us(50.0),
            p99_us: latency.percentile_us(99.0),
        })
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.waiting.stop()
    }
}

impl Moment {
    fn now(app: &mut App) -> Result<Moment> {
        // Of all bdevs, because releases do not agree on how to ask for one.
        let stats = app.call("bdev_get_iostat", Value::Null)?;
        let cpu_ns = cpu_ns(app.pid())?;
        let stat = stats["bdevs"].as_array().and_then(|all| all.iter().find(|b| b["name"] == TOP));
        let stat = stat.with_context(|| format!("no {TOP} in bdev_get_iostat"))?;
        let ops = |name: &str| stat[name].as_u64().with_context(|| format!("no {name} in bdev_get_iostat"));
        let reactors = app.call("framework_get_reactors", Value::Null)?;
        let ticks = |name: &str| {
            let value = reactors["reactors"][0][name].as_u64();
            value.with_context(|| format!("no {name} in framework_get_reactors"))
        };
        Ok(Moment {
            ios: ops("num_read_ops")? + ops("num_write_ops")?,
            cpu_ns,
            busy: ticks("busy")?,
            idle: ticks("idle")?,
        })
    }
}

/// After the rate was taken, because a histogram costs something itself.
///
/// Later releases' bdevperf keeps one all the time, and enabling it once more would empty what is read.
fn latency(app: &mut App) -> Result<Histogram> {
    if let Ok(answer) = app.try_call("bdev_get_histogram", json!({"name": TOP}))? {
        return Histogram::from_answer(&answer);
    }
    app.call("bdev_enable_histogram", json!({"name": TOP, "enable": true}))?;
    sleep(LATENCY_WINDOW);
    let answer = app.call("bdev_get_histogram", json!({"name": TOP}))?;
    Histogram::from_answer(&answer)
}

/// The CPU time of the process's first thread, which is the reactor when there is one core.
fn cpu_ns(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let first = text.split_whitespace().next().with_context(|| format!("{path} is empty"))?;
    Ok(first.parse()?)
}

/// bdevperf under callgrind.
pub struct Simulated {
    waiting: Waiting,
    dir: ScratchDir,
}

impl Simulated {
    /// With the mirror in it if that was built.
    pub fn new(kit: &Kit, machine: &Arc<Machine>, workload: Workload) -> Result<Simulated> {
        let dir = ScratchDir::new()?;
        let spdk = kit.spdk()?;
        let wrapper = callgrind::wrap(dir.path(), &spdk.program(Stock::Bdevperf)?, kit.module.as_deref())?;
        let spec = workload.spec(spdk, Spec::new(wrapper), CALLGRIND_SECONDS).args(["-S", "1"]);
        Ok(Simulated { waiting: Waiting::new(spdk, spec, machine), dir })
    }

    /// Loads a stack once.
    pub fn measure(&mut self, stack: Stack, medium: Medium) -> Result<Profile> {
        if self.waiting.is_new() {
            callgrind::clear(self.dir.path())?;
        }
        let mut app = self.waiting.take()?;
        stack.build(&mut app, medium)?;
        load::run(&mut app)?;
        stack.remove(&mut app, medium)?;
        let dumps = callgrind::dumps(self.dir.path())?;
        // The first second begins before the load does.
        ensure!(dumps.len() >= 2, "{stack}: callgrind wrote {} dumps in {CALLGRIND_SECONDS} s", dumps.len());
        let mut profile = Profile::default();
        for number in &dumps[1..] {
            profile.add(Profile::read(self.dir.path(), *number)?);
        }
        callgrind::clear(self.dir.path())?;
        self.waiting.give_back(app)?;
        Ok(profile)
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.waiting.stop()
    }
}
