//! Counting instructions by simulation: slow, but exact, repeatable, and to be had on every machine.
//!
//! bdevperf under callgrind calls its own function [`TICK`] once a second, and callgrind writes its counters each time.
//! What lies between two ticks is the reactor under load and nothing else: start-up, the making of bdevs and the
//! end cancel. The I/Os in between are the calls of bdevperf's completion function.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// bdevperf's poller behind `-S 1`: both generations have it under this name.
pub const TICK: &str = "performance_statistics_thread";

const COMPLETION: &str = "bdevperf_complete";
const FILE: &str = "callgrind.out";

/// Whether there is a valgrind to run.
pub fn is_here() -> bool {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    valgrind.status().is_ok_and(|status| status.success())
}

fn loader() -> Result<&'static str> {
    let known = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    found.with_context(|| format!("no dynamic loader: looked for {}", known.join(" and ")))
}

/// Writes a program into `dir` that runs `program` under callgrind, with `preload` in it, and passes arguments on.
///
/// A program, because the harness starts programs, and valgrind wants its own options first. The library is for the
/// program alone: in the environment it would be loaded into valgrind's launcher too, which does not survive it.
pub fn wrap(dir: &Path, program: &Path, preload: Option<&Path>) -> Result<PathBuf> {
    let wrapper = dir.join("under-callgrind");
    let loaded = match preload {
        None => String::new(),
        Some(library) => format!("{} --preload '{}' ", loader()?, library.display()),
    };
    let text = format!(
        "#!/bin/sh\nexec valgrind --tool=callgrind --callgrind-out-file='{}' --dump-before={TICK} {loaded}'{}' \"$@\"\n",
        dir.join(FILE).display(),
        program.display()
    );
    fs::write(&wrapper, text).context("writing the callgrind wrapper")?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(wrapper)
}

/// The numbers of the dumps written so far, in order.
pub fn dumps(dir: &Path) -> Result<Vec<u32>> {
    let mut found: Vec<u32> = fs::read_dir(dir)?
        .flatten()
        .filter_map(|f| f.file_name().to_str()?.strip_prefix(FILE)?.strip_prefix('.')?.parse().ok())
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn dump(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{FILE}.{number}"))
}

/// Deletes all dumps.
pub fn clear(dir: &Path) -> Result<()> {
    for number in dumps(dir)? {
        fs::remove_file(dump(dir, number))?;
    }
    Ok(())
}

/// What happened between two dumps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Instructions in all.
    pub total: u64,
    /// I/Os that the load saw complete.
    pub ios: u64,
    /// Instructions in each function itself, by library and name.
    pub own: BTreeMap<String, u64>,
    /// How often each function was called.
    pub calls: BTreeMap<String, u64>,
}

impl Profile {
    /// Reads dump `number` in `dir`.
    pub fn read(dir: &Path, number: u32) -> Result<Profile> {
        let path = dump(dir, number);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let profile = Profile::parse(&text).with_context(|| format!("reading {}", path.display()))?;
        ensure!(profile.ios > 0, "no call of {COMPLETION} in the profile: is bdevperf stripped of its symbols?");
        Ok(profile)
    }

    /// Adds another stretch of time.
    pub fn add(&mut self, other: Profile) {
        self.total += other.total;
        self.ios += other.ios;
        for (name, n) in other.own {
            *self.own.entry(name).or_default() += n;
        }
        for (name, n) in other.calls {
            *self.calls.entry(name).or_default() += n;
        }
    }

    /// The figure.
    pub fn insn_per_io(&self) -> f64 {
        self.total as f64 / self.ios as f64
    }

    fn parse(text: &str) -> Result<Profile> {
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line).with_context(|| format!("in the line '{line}'"))?;
        }
        let mut profile = reader.profile;
        if profile.total == 0 {
            profile.total = profile.own.values().sum();
        }
        Ok(profile)
    }
}

/// Callgrind's format: names are written out once and referred to by number afterwards.
#[derive(Default)]
struct Reader {
    profile: Profile,
    objects: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
    object: String,
    callee_object: Option<String>,
    function: String,
    callee: String,
    /// The next line of figures belongs to a call, and so to the callee.
    after_call: bool,
}

/// The name behind `(7) name` or `(7)`.
fn name_of(names: &mut BTreeMap<String, String>, text: &str) -> Option<String> {
    let (number, rest) = text.strip_prefix('(')?.split_once(')')?;
    if rest.is_empty() {
        return names.get(number).cloned();
    }
    names.insert(number.to_string(), rest.trim_start().to_string());
    Some(rest.trim_start().to_string())
}

fn base_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".so").next().unwrap_or(file)
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        if let Some((key, value)) = line.split_once('=')
            && key.bytes().all(|b| b.is_ascii_lowercase())
        {
            return self.specification(key, value);
        }
        if let Some(rest) = line.strip_prefix("summary:").or(line.strip_prefix("totals:")) {
            let total = rest.split_whitespace().next().context("no number")?;
            self.profile.total = total.parse()?;
        }
        if !line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            return Ok(());
        }
        let cost = line.split_whitespace().nth(1).map_or(Ok(0), str::parse::<u64>)?;
        if !std::mem::take(&mut self.after_call) {
            *self.profile.own.entry(self.function.clone()).or_default() += cost;
        }
        Ok(())
    }

    fn specification(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "ob" => {
                let object = name_of(&mut self.objects, value).context("an object without a name")?;
                self.object = base_name(&object).to_string();
            }
            "cob" => {
                let object = name_of(&mut self.objects, value).context("an object without a name")?;
                self.callee_object = Some(base_name(&object).to_string());
            }
            "fn" => {
                let name = name_of(&mut self.functions, value).context("a function without a name")?;
                self.function = format!("{}: {name}", self.object);
            }
            "cfn" => {
                let name = name_of(&mut self.functions, value).context("a function without a name")?;
                let object = self.callee_object.take();
                self.callee = format!("{}: {name}", object.as_ref().unwrap_or(&self.object));
            }
            "calls" => {
                let count: u64 = value.split_whitespace().next().context("no number")?.parse()?;
                *self.profile.calls.entry(self.callee.clone()).or_default() += count;
                // A function that calls itself through others appears as name'2 too.
                let name = self.callee.rsplit(": ").next().unwrap_or_default();
                if name == COMPLETION || name.strip_prefix(COMPLETION).is_some_and(|r| r.starts_with('\'')) {
                    self.profile.ios += count;
                }
                self.after_call = true;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
version: 1
events: Ir

ob=(1) /x/build/lib/libspdk_bdev.so.20.0
fl=(1) bdev.c
fn=(1) spdk_bdev_io_complete
100 40
+3 2
cob=(2) /x/bdevperf
cfi=(2) bdevperf.c
cfn=(2) bdevperf_complete
calls=4 0x10
* 1000

ob=(2)
fl=(2)
fn=(2)
200 900
cob=(1)
cfn=(1)
calls=1 5
+1 58
summary: 942
";

    #[test]
    fn reads_own_costs_calls_and_total() {
        let profile = Profile::parse(DUMP).expect("a profile");
        assert_eq!((profile.total, profile.ios), (942, 4));
        assert_eq!(profile.own["libspdk_bdev: spdk_bdev_io_complete"], 42);
        assert_eq!(profile.own["bdevperf: bdevperf_complete"], 900);
        assert_eq!(profile.calls["libspdk_bdev: spdk_bdev_io_complete"], 1);
        assert!((profile.insn_per_io() - 235.5).abs() < 1e-9);
    }

    #[test]
    fn a_torn_dump_is_an_error() {
        assert!(Profile::parse("fn=(9)\n").is_err());
        assert!(Profile::parse("fn=(1) f\n10 x\n").is_err());
    }

    #[test]
    fn dumps_are_in_numerical_order() {
        let dir = std::env::temp_dir().join(format!("mirror-bench-test-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("mkdir");
        for name in ["callgrind.out", "callgrind.out.10", "callgrind.out.9", "other.1"] {
            fs::write(dir.join(name), "").expect("write");
        }
        let found = dumps(&dir);
        fs::remove_dir_all(&dir).expect("rm");
        assert_eq!(found.expect("list"), [9, 10]);
    }
}
