//! Holds the mirror's instructions an I/O below limits, in every `make test`.

use std::sync::Arc;

use anyhow::{Context, Result};
use mirror_e2e::kit::Kit;
use mirror_e2e::machine::{self, Machine};
use mirror_e2e::spdk::Release;

use crate::instrument::Instrument;
use crate::session::{Native, PAGES, Simulated, Workload};
use crate::stack::{Medium, Stack};

/// What a mirror of two null legs at depth 32 may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// bdevperf's word.
    pub workload: &'static str,
    /// Times what passthru costs in the same run by the same instrument, so neither machine, compiler nor release matters much.
    pub to_passthru: f64,
    /// The same, of the bare bdev.
    pub to_bare: f64,
    /// Instructions on [`KNOWN`], whose costs are known.
    pub on_known: f64,
}

/// The release that `Limit::on_known` is for.
pub const KNOWN: Release = Release { major: 26, minor: 5 };

/// All limits.
pub const LIMITS: [Limit; 2] = [
    Limit { workload: "read", to_passthru: 1.04, to_bare: 1.95, on_known: 1420.0 },
    Limit { workload: "write", to_passthru: 1.42, to_bare: 2.55, on_known: 1930.0 },
];

const DEPTH: u32 = 32;

/// Instructions an I/O.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    bare: f64,
    passthru: f64,
    mirror: f64,
}

/// One limit's outcome.
enum Outcome {
    Passed,
    Failed(Vec<String>),
    Ignored(String),
}

impl Limit {
    /// What is exceeded, in words.
    fn judge(&self, m: Measured, release: Release, scale: f64) -> Vec<String> {
        let known = (release == KNOWN).then_some(("instructions", 1.0, self.on_known));
        let relative = [("times passthru", m.passthru, self.to_passthru), ("times bare", m.bare, self.to_bare)];
        let all = relative.into_iter().chain(known);
        all.filter(|(_, unit, limit)| m.mirror / unit > limit * scale)
            .map(|(words, unit, limit)| format!("{:.3} {words}, at most {:.3}", m.mirror / unit, limit * scale))
            .collect()
    }
}

/// Runs it; the result is whether no limit was exceeded. Limits are multiplied by `scale`: below 1 shows that it can fail.
pub fn run(kit: &Kit, scale: f64) -> Result<bool> {
    println!("running {} tests", LIMITS.len());
    let reason = why_not(kit);
    let machine = match reason {
        None => Some(Machine::prepare(PAGES)?),
        Some(_) => None,
    };
    let mut tally = (0, 0, 0);
    for limit in &LIMITS {
        let outcome = match (&machine, &reason) {
            (Some(machine), None) => check(kit, machine, limit, scale)?,
            (_, reason) => Outcome::Ignored(reason.clone().unwrap_or_default()),
        };
        let name = format!("speed::mirror_of_two_null_legs_{}", limit.workload);
        match outcome {
            Outcome::Passed => {
                println!("test {name} ... ok");
                tally.0 += 1;
            }
            Outcome::Failed(why) => {
                println!("test {name} ... FAILED");
                why.iter().for_each(|w| println!("    {w}"));
                tally.1 += 1;
            }
            Outcome::Ignored(why) => {
                println!("test {name} ... ignored, {why}");
                tally.2 += 1;
            }
        }
    }
    let (passed, failed, ignored) = tally;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored");
    Ok(failed == 0)
}

/// Why nothing can be measured here.
fn why_not(kit: &Kit) -> Option<String> {
    let Some(spdk) = &kit.spdk else {
        return Some("SPDK_DIR is not set".to_string());
    };
    if !spdk.is_shared() {
        return Some(format!("SPDK in {} has no shared libraries to preload the module into", spdk.dir.display()));
    }
    if kit.module.is_none() {
        return Some("MIRROR_SO is not set or not there".to_string());
    }
    if let Instrument::Missing(why) = Instrument::find() {
        return Some(why);
    }
    machine::missing()
}

fn check(kit: &Kit, machine: &Arc<Machine>, limit: &Limit, scale: f64) -> Result<Outcome> {
    let measured = measure(kit, machine, limit.workload)?;
    println!(
        "{}, instructions an I/O: bare {:.0}, passthru {:.0}, mirror {:.0} ({:.3} times passthru, {:.3} times bare)",
        limit.workload,
        measured.bare,
        measured.passthru,
        measured.mirror,
        measured.mirror / measured.passthru,
        measured.mirror / measured.bare
    );
    let exceeded = limit.judge(measured, kit.spdk()?.release, scale);
    Ok(if exceeded.is_empty() { Outcome::Passed } else { Outcome::Failed(exceeded) })
}

fn measure(kit: &Kit, machine: &Arc<Machine>, workload: &'static str) -> Result<Measured> {
    let load = Workload { name: workload, depth: DEPTH };
    let stacks = [Stack::BARE, Stack::PASSTHRU, Stack::mirror(2)];
    let mut insn = [0.0; 3];
    if Instrument::find() == Instrument::Perf {
        let mut session = Native::new(kit, machine, load, true)?;
        for (value, stack) in insn.iter_mut().zip(stacks) {
            let counted = session.measure(stack, Medium::Null)?.counted;
            *value = counted.context("perf stopped counting")?.instructions;
        }
        session.stop()?;
    } else {
        let mut session = Simulated::new(kit, machine, load)?;
        for (value, stack) in insn.iter_mut().zip(stacks) {
            *value = session.measure(stack, Medium::Null)?.insn_per_io();
        }
        session.stop()?;
    }
    let [bare, passthru, mirror] = insn;
    Ok(Measured { bare, passthru, mirror })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Release = Release { major: 20, minor: 7 };
    const READ: Limit = LIMITS[0];

    #[test]
    fn a_mirror_as_dear_as_raid1_is_caught_on_every_release() {
        let raid1 = Measured { bare: 739.0, passthru: 1389.0, mirror: 1627.0 };
        assert_eq!(READ.judge(raid1, KNOWN, 1.0).len(), 3);
        assert_eq!(READ.judge(raid1, OLD, 1.0).len(), 2);
    }

    #[test]
    fn a_cheap_mirror_passes_until_the_limits_are_lowered() {
        let cheap = Measured { bare: 739.0, passthru: 1389.0, mirror: 1400.0 };
        assert!(READ.judge(cheap, KNOWN, 1.0).is_empty());
        assert_eq!(READ.judge(cheap, KNOWN, 0.5).len(), 3);
    }

    #[test]
    fn the_known_release_has_a_limit_of_its_own() {
        let slightly = Measured { bare: 739.0, passthru: 1389.0, mirror: 1425.0 };
        assert_eq!(READ.judge(slightly, KNOWN, 1.0).len(), 1);
        assert!(READ.judge(slightly, OLD, 1.0).is_empty());
    }
}
