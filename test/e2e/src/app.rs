//! A running SPDK application: started with its own socket, log and hugepage mount, and always ended.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::machine::{Machine, ScratchDir};
use crate::rpc::{Refusal, Rpc};
use crate::undo::Undo;

const START_MAX: Duration = Duration::from_secs(90);
const STOP_MAX: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);
const TAIL_LINES: usize = 40;

/// The ends of the logs of the applications that ended since [`take_log_tails`] was last called.
static LOG_TAILS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// For the report of a failed test.
pub fn take_log_tails() -> Vec<String> {
    std::mem::take(&mut LOG_TAILS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    preload: Vec<PathBuf>,
    cores: Vec<OsString>,
}

impl Spec {
    /// An SPDK application on core 0.
    pub fn new(program: impl Into<PathBuf>) -> Spec {
        Spec { program: program.into(), args: Vec::new(), env: Vec::new(), preload: Vec::new(), cores: Vec::new() }
            .cores("0x1")
    }

    /// On these cores (a mask).
    pub fn cores(mut self, mask: &str) -> Spec {
        self.cores = vec!["-m".into(), mask.into()];
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Spec {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Spec {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more variable in the application's environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Spec {
        self.env.push((name.to_string(), value.into()));
        self
    }

    /// One more library for LD_PRELOAD, of the application only.
    pub fn preload(mut self, library: &Path) -> Spec {
        self.preload.push(library.to_path_buf());
        self
    }

    /// The command, with what every application of ours gets.
    fn command(&self, machine: &Machine, socket: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["-r".as_ref(), socket.as_os_str()])
            // Without -R: 20.07 that unlinked its pages cannot get any again. The mount is ours, so we unlink them.
            .args(["-u", "--huge-dir"])
            .arg(machine.huge_dir())
            .args(&self.cores)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // A Ctrl-C in the terminal is for us; we end the application in good order.
            .process_group(0);
        if !self.preload.is_empty() {
            let list: Vec<_> = self.preload.iter().map(|p| p.to_string_lossy()).collect();
            command.env("LD_PRELOAD", list.join(":"));
        }
        command
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self, machine: &Arc<Machine>) -> Result<App> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dir = ScratchDir::new()?;
        let (socket, log) = (dir.path().join("rpc"), dir.path().join("log"));
        let output = File::create(&log)?;
        let mut command = self.command(machine, &socket);
        command.stdout(output.try_clone()?).stderr(output);
        let (child, undo) = Undo::after(
            || command.spawn().with_context(|| format!("starting {}", self.program.display())),
            |child| {
                let (pid, huge_dir) = (child.id(), machine.huge_dir());
                Box::new(move || {
                    end(pid);
                    remove_traces(pid, &huge_dir);
                })
            },
        )?;
        Ok(App { name, child, undo: Some(undo), status: None, rpc: None, log, dir, machine: Arc::clone(machine) })
    }

    /// Starts it and waits until it answers.
    pub fn start(&self, machine: &Arc<Machine>) -> Result<App> {
        let mut app = self.spawn(machine)?;
        app.wait_ready()?;
        Ok(app)
    }
}

/// Ends a process from the signal handler or a drop: SIGTERM, then SIGKILL.
fn end(pid: u32) {
    let pid = Pid::from_raw(pid as i32);
    let gone = |max: Duration| {
        let until = Instant::now() + max;
        while Instant::now() < until {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => sleep(TICK),
                _ => return true,
            }
        }
        false
    };
    let _ = kill(pid, Signal::SIGTERM);
    if !gone(Duration::from_secs(10)) {
        let _ = kill(pid, Signal::SIGKILL);
        gone(STOP_MAX);
    }
}

/// DPDK leaves its pages behind; of a process that died or was killed, its folder and SPDK's shared memory stay too.
fn remove_traces(pid: u32, huge_dir: &Path) {
    let pages = format!("spdk_pid{pid}map_");
    for page in fs::read_dir(huge_dir).into_iter().flatten().flatten() {
        if page.file_name().to_string_lossy().starts_with(&pages) {
            let _ = fs::remove_file(page.path());
        }
    }
    let trace = format!("_trace.pid{pid}");
    for shared in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = shared.file_name().to_string_lossy().into_owned();
        // The second one has the same name for all targets, and each removes it at its end.
        if name.ends_with(&trace) || name == "spdk_iscsi_conns.-1" {
            let _ = fs::remove_file(shared.path());
        }
    }
    let runtime = Path::new("/var/run/dpdk");
    let _ = fs::remove_dir_all(runtime.join(format!("spdk_pid{pid}")));
    let _ = fs::remove_dir(runtime); // only if it is empty
}

/// A running application. Dropping it ends it.
pub struct App {
    name: String,
    child: Child,
    undo: Option<Undo>,
    status: Option<ExitStatus>,
    rpc: Option<Rpc>,
    log: PathBuf,
    dir: ScratchDir,
    machine: Arc<Machine>,
}

impl App {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("rpc")
    }

    /// A folder that lives as long as it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The machine that it runs on.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!("--- {} (process {}) ---\n{}", self.name, self.pid(), lines[from..].join("\n"))
    }

    /// Its end, if it ended by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.ended()? {
                bail!("{} ended while starting: {status}\n{}", self.name, self.tail());
            }
            if let Ok(mut rpc) = Rpc::connect(&self.socket())
                && rpc.call("rpc_get_methods", Value::Null).is_ok()
            {
                self.rpc = Some(rpc);
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{} does not answer after {} s\n{}", self.name, START_MAX.as_secs(), self.tail());
            }
            sleep(TICK);
        }
    }

    /// One more connection, for a call while another one runs.
    pub fn connect(&self) -> Result<Rpc> {
        Rpc::connect(&self.socket())
    }

    /// Calls a method on the connection that it keeps; a refusal is an error.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        Ok(self.try_call(method, params)??)
    }

    /// Calls a method; the inner result is the refusal.
    pub fn try_call(&mut self, method: &str, params: Value) -> Result<Result<Value, Refusal>> {
        if self.rpc.is_none() {
            self.rpc = Some(self.connect()?);
        }
        let answer = match &mut self.rpc {
            Some(rpc) => rpc.try_call(method, params),
            None => bail!("no connection to {}", self.name),
        };
        if answer.is_err() {
            self.rpc = None;
            sleep(Duration::from_millis(200)); // a crash needs a moment to show
            if let Some(status) = self.ended()? {
                bail!("{} ended during {method}: {status}", self.name);
            }
        }
        answer
    }

    /// Waits for its end by itself.
    pub fn wait_end(&mut self, max: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + max;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("{} still runs after {} s\n{}", self.name, max.as_secs(), self.tail());
            }
            sleep(TICK);
        }
    }

    /// Asks it to end, and insists on a clean exit.
    pub fn stop(mut self) -> Result<String> {
        self.rpc = None;
        if self.ended()?.is_none() {
            kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM)?;
        }
        let status = self.wait_end(STOP_MAX)?;
        if !status.success() {
            let how = match status.signal() {
                Some(signal) => format!("was killed by signal {signal}"),
                None => status.to_string(),
            };
            bail!("{} did not end cleanly: {how}\n{}", self.name, self.tail());
        }
        Ok(self.output())
    }

    /// Ends it without a chance to clean up.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.status = Some(self.child.wait()?);
        Ok(())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let pid = self.pid();
        match self.undo.take() {
            Some(undo) if self.status.is_some() => {
                undo.forget();
                remove_traces(pid, &self.machine.huge_dir());
            }
            undo => drop(undo),
        }
        LOG_TAILS.lock().unwrap_or_else(PoisonError::into_inner).push(self.tail());
    }
}
