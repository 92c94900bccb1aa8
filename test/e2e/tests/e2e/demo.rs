//! The demo: it succeeds, and leaves nothing behind, also when it is interrupted.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use mirror_e2e::machine::ScratchDir;

use crate::case::{Case, Ctx, Need};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("demo::succeeds_and_leaves_nothing", &[Need::Target], succeeds),
        Case::new("demo::interrupted_while_starting", &[Need::Target], |ctx| {
            interrupted(ctx, "two legs", Signal::SIGINT)
        }),
        Case::new("demo::ended_under_load", &[Need::Target], |ctx| {
            interrupted(ctx, "bdevperf is attached", Signal::SIGTERM)
        }),
        Case::new("demo::without_root_says_what_to_do", &[Need::Target], without_root),
    ]
}

/// What a run could leave behind.
struct Traces {
    hugepages: String,
    mounts: String,
    files: BTreeSet<String>,
    processes: BTreeSet<String>,
}

fn entries(dir: &Path, of_interest: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|name| of_interest(name)).map(|name| dir.join(name).display().to_string()).collect()
}

fn traces() -> Result<Traces> {
    let build = Path::new(ROOT).join("target/demo");
    let mut files = entries(Path::new("/tmp"), |name| name.starts_with("mirror-"));
    files.extend(entries(Path::new("/var/run/dpdk"), |_| true));
    files.extend(entries(Path::new("/var/tmp"), |name| name.starts_with("spdk")));
    files.extend(entries(Path::new("/dev/shm"), |name| name.contains("spdk") || name.contains("trace.pid")));
    files.extend(entries(&build, |_| true));
    let is_spdk = |pid: &String| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("/mirror-")
    };
    let pids = entries(Path::new("/proc"), |name| name.parse::<u32>().is_ok());
    let pids = pids.iter().filter_map(|path| Some(path.rsplit_once('/')?.1.to_string()));
    Ok(Traces {
        hugepages: fs::read_to_string("/proc/sys/vm/nr_hugepages")?,
        mounts: fs::read_to_string("/proc/self/mounts")?,
        files,
        processes: pids.filter(is_spdk).collect(),
    })
}

fn demo() -> Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_demo"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("starting the demo")
}

/// Its lines, up to the one that contains `word`, or all.
fn lines_until(child: &mut Child, word: Option<&str>) -> Result<Vec<String>> {
    let stdout = child.stdout.take().context("no output")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        lines.push(line?);
        if word.is_some_and(|word| lines.iter().any(|l| l.contains(word))) {
            break;
        }
    }
    Ok(lines)
}

/// `make demo`, where everything is built already: it builds nothing again.
fn succeeds(ctx: &Ctx) -> Result<()> {
    ctx.release_machine();
    let before = (traces()?, products()?);
    let mut child = Command::new("make")
        .args(["-C", ROOT, "--no-print-directory", "demo"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting make demo")?;
    let lines = lines_until(&mut child, None)?;
    let status = child.wait()?;
    let last = lines.last().context("the demo printed nothing")?;
    ensure!(status.success() && last.starts_with("demo: ok"), "{status}\n{}", lines.join("\n"));
    // Figures that mean something: I/O per second, and blocks that were written.
    let figures: Vec<f64> = last.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(figures.len() >= 3 && figures.iter().all(|figure| *figure > 0.0), "no figures: {last}");
    ensure!(products()? == before.1, "a second run built something anew");
    same(&before.0, &traces()?)
}

/// When each product was built.
fn products() -> Result<Vec<(PathBuf, SystemTime)>> {
    let mut found = Vec::new();
    // A compiled crate is a file in deps; what lies beside the programs is linked anew by each cargo command.
    for folder in ["target/out", "target/tools/debug/deps", "target/static/release/deps"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder))?.flatten().filter(|entry| entry.path().is_file()) {
            found.push((entry.path(), entry.metadata()?.modified()?));
        }
    }
    found.sort();
    Ok(found)
}

fn without_root(_: &Ctx) -> Result<()> {
    // A copy, since nobody else may be allowed to look into the build folder.
    let dir = ScratchDir::new()?;
    let program = dir.path().join("demo");
    fs::copy(env!("CARGO_BIN_EXE_demo"), &program)?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .current_dir("/")
        .env_remove("SPDK_DIR")
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && text.contains("as root (sudo)"), "{}: {text}", output.status);
    Ok(())
}

/// Names what was left behind.
fn same(before: &Traces, after: &Traces) -> Result<()> {
    let left: Vec<_> = after.files.difference(&before.files).collect();
    ensure!(left.is_empty(), "files were left behind: {left:?}");
    let left: Vec<_> = after.processes.difference(&before.processes).collect();
    ensure!(left.is_empty(), "processes were left behind: {left:?}");
    ensure!(before.hugepages == after.hugepages, "hugepages: {} before, {} after", before.hugepages, after.hugepages);
    ensure!(before.mounts == after.mounts, "mounts before:\n{}after:\n{}", before.mounts, after.mounts);
    Ok(())
}

fn interrupted(ctx: &Ctx, at: &str, signal: Signal) -> Result<()> {
    ctx.release_machine();
    let before = traces()?;
    let mut child = demo()?;
    let lines = lines_until(&mut child, Some(at))?;
    ensure!(lines.last().is_some_and(|l| l.contains(at)), "the demo never came to '{at}':\n{}", lines.join("\n"));
    kill(Pid::from_raw(child.id() as i32), signal)?;
    let status = child.wait()?;
    ensure!(status.code() == Some(128 + signal as i32), "{status}");
    let after = traces()?;
    same(&before, &after)
}
