//! The figures: collected, printed as a table, written as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::session::{Sample, Workload};
use crate::stack::{Medium, Stack, Subject};

/// One row: a stack under a workload. What could not be measured is null, and `Results::notes` says why.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What is on top.
    pub subject: Subject,
    /// How many legs.
    pub legs: u32,
    /// What the legs are.
    pub medium: Medium,
    /// bdevperf's word.
    pub workload: &'static str,
    /// I/Os in flight.
    pub depth: u32,
    /// Cores under load.
    pub cores: u32,
    /// Instructions in user mode, bdevperf's own included.
    pub insn_per_io: Option<f64>,
    /// Cycles in user mode.
    pub cycles_per_io: Option<f64>,
    /// I/Os for a second in which the core was busy: the median of the rounds.
    pub iops_per_busy_s: Option<f64>,
    /// That, as a share of the bare bdev's in the same round: the median of the rounds.
    pub iops_to_bare: Option<f64>,
    /// Latency: the medians of the rounds.
    pub p50_us: Option<f64>,
    /// Latency of the slowest hundredth.
    pub p99_us: Option<f64>,
    /// Rounds.
    pub n: usize,
}

/// The file.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Of this format.
    pub schema: u32,
    /// The release.
    pub spdk: String,
    /// Of the project, "-dirty" with changes on top.
    pub commit: String,
    /// Processor, cores, kernel.
    pub machine: String,
    /// What counted the instructions.
    pub instrument: &'static str,
    /// What is missing, and why.
    pub notes: Vec<String>,
    /// The figures.
    pub runs: Vec<Run>,
}

/// The middle one; of two middle ones, their mean.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

impl Run {
    /// From all rounds of one stack, `bare` being those of the bare bdev in the same rounds.
    pub fn new(
        stack: Stack,
        medium: Medium,
        load: Workload,
        samples: &[Sample],
        bare: &[Sample],
        insn: Option<f64>,
    ) -> Run {
        let ratios = samples.iter().zip(bare).map(|(s, b)| s.iops_per_busy_s / b.iops_per_busy_s);
        let counted = || samples.iter().filter_map(|s| s.counted);
        Run {
            subject: stack.subject,
            legs: stack.legs,
            medium,
            workload: load.name,
            depth: load.depth,
            cores: 1,
            insn_per_io: insn.or_else(|| median(counted().map(|c| c.instructions))),
            cycles_per_io: median(counted().filter_map(|c| c.cycles)),
            iops_per_busy_s: median(samples.iter().map(|s| s.iops_per_busy_s)),
            iops_to_bare: median(ratios),
            p50_us: median(samples.iter().filter_map(|s| s.p50_us)),
            p99_us: median(samples.iter().filter_map(|s| s.p99_us)),
            n: samples.len(),
        }
    }

    fn is_with(&self, other: &Run) -> bool {
        (self.medium, self.workload, self.depth) == (other.medium, other.workload, other.depth)
    }
}

/// The revision of the project, for the file.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let dirty = git(&["status", "--porcelain", "-uno"]).is_some_and(|s| !s.is_empty());
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(commit) => format!("{commit}{}", if dirty { "-dirty" } else { "" }),
        None => "unknown".to_string(),
    }
}

/// What it ran on.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = info.lines().filter(|l| l.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {cores} cores, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

impl Results {
    /// Writes the file and the folder it is in.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// For people; figures in brackets are ratios to the bare bdev.
    pub fn table(&self) -> String {
        let mut text = format!(
            "SPDK {}, commit {}, {}\ninstructions by {}; in brackets: times the bare bdev under the same load\n\n",
            self.spdk, self.commit, self.machine, self.instrument
        );
        text += "legs    load      depth  subject        insn/IO          cycles/IO        IOPS/busy s          p50 us  p99 us\n";
        let mut previous: Option<&Run> = None;
        for run in &self.runs {
            if previous.is_some_and(|p| !p.is_with(run)) {
                text.push('\n');
            }
            previous = Some(run);
            let bare = self.runs.iter().find(|r| r.subject == Subject::Bare && r.is_with(run));
            text += &row(run, bare);
        }
        for note in &self.notes {
            let _ = write!(text, "\nnote: {note}");
        }
        text
    }
}

fn row(run: &Run, bare: Option<&Run>) -> String {
    let with_ratio = |value: Option<f64>, of_bare: Option<f64>, width: usize| match (value, of_bare) {
        (Some(v), Some(b)) => format!("{v:>width$.0} ({:5.3})", v / b),
        (Some(v), None) => format!("{v:>width$.0}        "),
        _ => format!("{:>width$}        ", "-"),
    };
    let plain = |value: Option<f64>| value.map_or("-".to_string(), |v| format!("{v:.2}"));
    // The ratio of rates is taken round by round, so it is not the ratio of the medians.
    let rate = match (run.iops_per_busy_s, run.iops_to_bare) {
        (Some(v), Some(ratio)) => format!("{v:>10.0} ({ratio:5.3})"),
        _ => format!("{:>10}        ", "-"),
    };
    format!(
        "{:<7} {:<9} {:>5}  {:<12} {}  {}  {}  {:>8}{:>8}\n",
        format!("{:?}", run.medium).to_lowercase(),
        run.workload,
        run.depth,
        Stack { subject: run.subject, legs: run.legs }.to_string(),
        with_ratio(run.insn_per_io, bare.and_then(|b| b.insn_per_io), 7),
        with_ratio(run.cycles_per_io, bare.and_then(|b| b.cycles_per_io), 7),
        rate,
        plain(run.p50_us),
        plain(run.p99_us),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64) -> Sample {
        Sample { iops_per_busy_s: rate, counted: None, p50_us: Some(2.0), p99_us: None }
    }

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_unmeasured_is_null() {
        let load = Workload { name: "read", depth: 1 };
        // The machine was twice as fast in the second round, for both.
        let (bare, mirror) = ([sample(100.0), sample(200.0)], [sample(50.0), sample(100.0)]);
        let run = |stack, s: &[Sample], insn| Run::new(stack, Medium::Null, load, s, &bare, insn);
        let runs = vec![run(Stack::BARE, &bare, Some(700.0)), run(Stack::mirror(2), &mirror, Some(1400.0))];
        assert_eq!(runs[1].iops_to_bare, Some(0.5));
        let results = Results {
            schema: 1,
            spdk: "26.05".to_string(),
            commit: "abc".to_string(),
            machine: "m".to_string(),
            instrument: "callgrind",
            notes: vec!["why".to_string()],
            runs,
        };
        let json = serde_json::to_value(&results).expect("json");
        assert_eq!(json["runs"][1]["subject"], "mirror");
        assert!(json["runs"][1]["cycles_per_io"].is_null() && json["runs"][1]["p99_us"].is_null());
        assert!(results.table().contains("1400 (2.000)"), "{}", results.table());
    }
}
