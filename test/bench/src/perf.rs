//! Counting instructions with the machine's own counters, where it has any: many virtual machines have none.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const EVENTS: &str = "instructions:u,cycles:u,task-clock";

/// What was counted in a process over a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    instructions: f64,
    cycles: Option<f64>,
    cpu_s: f64,
}

/// The same for one I/O.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerIo {
    /// Instructions in user mode.
    pub instructions: f64,
    /// Cycles in user mode; some machines do not count them.
    pub cycles: Option<f64>,
}

impl Counts {
    /// By rates of CPU time on both sides, so that perf's window need not be exactly that of the I/Os.
    pub fn per_io(&self, ios_per_cpu_s: f64) -> PerIo {
        let ios = ios_per_cpu_s * self.cpu_s;
        PerIo { instructions: self.instructions / ios, cycles: self.cycles.map(|c| c / ios) }
    }

    /// From `perf stat -x,`: value, unit, event, …
    fn parse(text: &str) -> Result<Counts> {
        let value = |event: &str| {
            let line = text.lines().find(|l| l.split(',').nth(2).is_some_and(|e| e.starts_with(event)))?;
            line.split(',').next()?.parse::<f64>().ok()
        };
        let counts = Counts {
            instructions: value("instructions").context("perf counts no instructions here")?,
            cycles: value("cycles"),
            cpu_s: value("task-clock").context("perf gives no task-clock")? / 1e3,
        };
        ensure!(counts.instructions > 0.0 && counts.cpu_s > 0.0, "perf counted nothing");
        Ok(counts)
    }
}

fn run(args: &[&str]) -> Result<Counts> {
    let mut perf = Command::new("perf");
    let output = perf.args(["stat", "-x,", "-e", EVENTS]).args(args).env("LC_ALL", "C").output();
    let output = output.context("starting perf")?;
    Counts::parse(&String::from_utf8_lossy(&output.stderr))
}

/// Tries it; the error says why perf is of no use here.
pub fn try_out() -> Result<()> {
    run(&["--", "true"]).map(drop)
}

/// Counts in a running process for a while.
pub fn count(pid: u32, time: Duration) -> Result<Counts> {
    run(&["-p", &pid.to_string(), "--", "sleep", &time.as_secs_f64().to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_figures_per_io() {
        let text = "2000000000,,instructions:u,500,100.00,,\n500000000,,cycles:u,500,100.00,,\n500.00,msec,task-clock,500,100.00,1,CPUs\n";
        let per_io = Counts::parse(text).expect("counts").per_io(2e6);
        assert_eq!(per_io, PerIo { instructions: 2000.0, cycles: Some(500.0) });
    }

    #[test]
    fn no_counters_is_an_error_with_a_reason() {
        let text = "<not supported>,,instructions:u,0,100.00,,\n<not supported>,,cycles:u,0,100.00,,\n0.60,msec,task-clock,60,100.00,,\n";
        let error = Counts::parse(text).expect_err("none").to_string();
        assert!(error.contains("no instructions"), "{error}");
        assert!(Counts::parse("").is_err());
    }
}
