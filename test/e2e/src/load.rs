//! bdevperf, SPDK's load generator, kept under RPC control so that bdevs can be made before and compared after.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::app::{App, Spec};
use crate::machine::Machine;
use crate::rpc::{Refusal, Rpc};

/// One load.
#[derive(Clone, Debug)]
pub struct Load {
    /// bdevperf's word for it: verify, randwrite, reset, unmap, …
    pub workload: &'static str,
    /// Bytes per I/O.
    pub size: u64,
    /// I/Os in flight per job.
    pub depth: u32,
    /// Length.
    pub seconds: u32,
    /// The only bdev to load; without one, each bdev that nobody claimed.
    pub bdev: Option<String>,
    /// Each core its own share of the bdev, and not one core for all of it.
    pub split: bool,
    /// More of bdevperf's arguments.
    pub extra: Vec<&'static str>,
}

impl Load {
    /// A verifying load on the bdev `name`.
    pub fn verify(name: &str, size: u64, depth: u32, seconds: u32) -> Load {
        Load { workload: "verify", size, depth, seconds, bdev: Some(name.to_string()), split: false, extra: Vec::new() }
    }

    /// Another kind of load.
    pub fn workload(mut self, workload: &'static str) -> Load {
        self.workload = workload;
        self
    }

    /// With more of bdevperf's arguments.
    pub fn extra(mut self, args: &[&'static str]) -> Load {
        self.extra.extend(args);
        self
    }

    /// On all cores, each its share.
    pub fn split(mut self) -> Load {
        // 20.07 takes a bdev or a split, not both; the mirror's legs are claimed and stay out of it anyhow.
        (self.split, self.bdev) = (true, None);
        self
    }

    /// Starts bdevperf, waiting for [`run`].
    pub fn start(&self, bdevperf: Spec, machine: &Arc<Machine>) -> Result<App> {
        self.spec(bdevperf).start(machine)
    }

    /// bdevperf with the arguments of this load.
    pub fn spec(&self, bdevperf: Spec) -> Spec {
        let mut spec = bdevperf
            .args(["-z", "-w", self.workload])
            .args(["-q".to_string(), self.depth.to_string()])
            .args(["-o".to_string(), self.size.to_string()])
            .args(["-t".to_string(), self.seconds.to_string()]);
        if matches!(self.workload, "rw" | "randrw") {
            spec = spec.args(["-M", "50"]);
        }
        if let Some(bdev) = &self.bdev {
            spec = spec.args(["-T", bdev]);
        }
        spec = spec.args(&self.extra);
        if self.split { spec.arg("-C") } else { spec }
    }
}

/// Runs the load of a waiting bdevperf to its end; a failed I/O or a miscompare is a refusal.
pub fn run(app: &mut App) -> Result<Value> {
    app.call("perform_tests", Value::Null)
}

/// A load that runs while other calls are made.
pub struct Running {
    rpc: Rpc,
}

/// Starts the load of a waiting bdevperf.
pub fn begin(app: &App) -> Result<Running> {
    let mut rpc = app.connect()?;
    rpc.send("perform_tests", Value::Null)?;
    Ok(Running { rpc })
}

impl Running {
    /// Waits for its end.
    pub fn finish(mut self) -> Result<Result<Value, Refusal>> {
        self.rpc.receive("perform_tests")
    }
}

/// The figures of bdevperf's line `Total`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// I/O per second.
    pub iops: f64,
    /// MiB per second.
    pub mib_per_s: f64,
    /// Failed I/O per second.
    pub failures_per_s: f64,
}

/// Finds them in the output of any release.
pub fn figures(output: &str) -> Result<Figures> {
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    let numbers = |line: &str| -> Vec<f64> {
        let words = line.split([' ', ':', '\t', '/']);
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let read = |at: usize| -> Option<Figures> {
        let total = numbers(lines[at]);
        // 20.07 puts failures into a line of their own, if there are any; newer releases into the third column.
        let failures = match lines.get(at + 1) {
            Some(next) if next.contains("Fail/s") => numbers(next).first().copied(),
            _ => total.get(2).copied(),
        };
        Some(Figures { iops: *total.first()?, mib_per_s: *total.get(1)?, failures_per_s: failures.unwrap_or(0.0) })
    };
    // Newer releases print a table of zeros once more at the end.
    let totals = (0..lines.len()).filter(|at| lines[*at].starts_with("Total"));
    totals.filter_map(read).rfind(|f| f.iops > 0.0).context("bdevperf printed no line 'Total' with figures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total_of_both_releases() {
        let old = "Job: x\n\r =====\n\r Total                      :   12345.60 IOPS     48.22 MiB/s\n";
        let new = "        Total              :              77.50      0.30     0.25    0.00  1.0 2.0 3.0\n Total : 0.00 0.00\n";
        let failing = " Total               :      16.33 IOPS       0.06 MiB/s\n                     :     924.33 Fail/s     0.00 TO/s\n";
        assert_eq!(figures(old).expect("old"), Figures { iops: 12345.6, mib_per_s: 48.22, failures_per_s: 0.0 });
        assert_eq!(figures(failing).expect("old"), Figures { iops: 16.33, mib_per_s: 0.06, failures_per_s: 924.33 });
        assert_eq!(figures(new).expect("new"), Figures { iops: 77.5, mib_per_s: 0.3, failures_per_s: 0.25 });
        assert!(figures("nothing").is_err());
    }
}
