//! Holds the mirror's instructions per I/O below limits, in every `make test`.

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
    /// The first release that it is for.
    pub since: Release,
    /// bdevperf's word.
    pub workload: &'static str,
    /// Times what passthru costs in the same run by the same instrument, so that machine and compiler matter little.
    pub to_passthru: f64,
    /// The same, of the bare bdev.
    pub to_bare: f64,
    /// Instructions, for the one release whose figures are the aim.
    pub instructions: Option<(Release, f64)>,
}

const OLD: Release = Release { major: 20, minor: 7 };
const NEW: Release = Release { major: 24, minor: 9 };
const AIM: Release = Release { major: 26, minor: 5 };

/// All limits: about 4 % above what was measured when they were set, which is many times what a measurement varies.
///
/// Two sets, because the old bdev layer costs a third less, and so our share of the sum is greater there. Whoever makes
/// the data path dearer on purpose raises them here and says why; whoever makes it cheaper lowers them.
pub const LIMITS: [Limit; 4] = [
    // 20.07: measured 1.121 and 1.589 times passthru, 2.034 and 2.701 times bare. 43 instructions of each I/O are what its
    // bdev layer does for a bdev with an alignment, without which it would not split reads that bring no buffer.
    Limit { since: OLD, workload: "read", to_passthru: 1.165, to_bare: 2.115, instructions: None },
    Limit { since: OLD, workload: "write", to_passthru: 1.65, to_bare: 2.81, instructions: None },
    // 26.05: measured 0.957 and 1.334 times passthru, 1.798 and 2.402 times bare; 1,329 and 1,838 instructions.
    Limit { since: NEW, workload: "read", to_passthru: 0.995, to_bare: 1.87, instructions: Some((AIM, 1420.0)) },
    Limit { since: NEW, workload: "write", to_passthru: 1.385, to_bare: 2.50, instructions: Some((AIM, 1930.0)) },
];

/// Those of the newest set that is not newer than `release`.
fn limits(release: Release) -> impl Iterator<Item = &'static Limit> {
    let set = if release >= NEW { NEW } else { OLD };
    LIMITS.iter().filter(move |limit| limit.since == set)
}

const DEPTH: u32 = 32;

/// Instructions per I/O.
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
        let aim = self.instructions.filter(|(only, _)| *only == release);
        let absolute = aim.map(|(_, limit)| ("instructions", 1.0, limit));
        let relative = [("times passthru", m.passthru, self.to_passthru), ("times bare", m.bare, self.to_bare)];
        let all = relative.into_iter().chain(absolute);
        all.filter(|(_, unit, limit)| m.mirror / unit > limit * scale)
            .map(|(words, unit, limit)| format!("{:.3} {words}, at most {:.3}", m.mirror / unit, limit * scale))
            .collect()
    }
}

/// Runs it; the result is whether no limit was exceeded. Limits are multiplied by `scale`: below 1 shows that it can fail.
pub fn run(kit: &Kit, scale: f64) -> Result<bool> {
    let release = kit.spdk.as_ref().map_or(AIM, |spdk| spdk.release);
    println!("running {} tests", limits(release).count());
    let reason = why_not(kit);
    let machine = match reason {
        None => Some(Machine::prepare(PAGES)?),
        Some(_) => None,
    };
    let mut tally = (0, 0, 0);
    for limit in limits(release) {
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
        "{}, instructions per I/O: bare {:.0}, passthru {:.0}, mirror {:.0} ({:.3} times passthru, {:.3} times bare)",
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

    fn read_limit(release: Release) -> &'static Limit {
        limits(release).find(|l| l.workload == "read").expect("a limit for reads")
    }

    #[test]
    fn every_release_has_one_limit_a_workload() {
        for release in [OLD, Release { major: 23, minor: 1 }, NEW, AIM, Release { major: 27, minor: 1 }] {
            let workloads: Vec<_> = limits(release).map(|l| l.workload).collect();
            assert_eq!(workloads, ["read", "write"]);
        }
    }

    #[test]
    fn a_mirror_as_dear_as_raid1_is_caught() {
        let raid1 = Measured { bare: 739.0, passthru: 1389.0, mirror: 1627.0 };
        assert_eq!(read_limit(AIM).judge(raid1, AIM, 1.0).len(), 3);
        assert_eq!(read_limit(NEW).judge(raid1, NEW, 1.0).len(), 2);
    }

    #[test]
    fn a_cheap_mirror_passes_until_the_limits_are_lowered() {
        let cheap = Measured { bare: 739.0, passthru: 1389.0, mirror: 1315.0 };
        assert!(read_limit(AIM).judge(cheap, AIM, 1.0).is_empty());
        assert_eq!(read_limit(AIM).judge(cheap, AIM, 0.5).len(), 3);
    }

    #[test]
    fn the_aim_counts_on_its_release_only() {
        let dear_everywhere = Measured { bare: 900.0, passthru: 1500.0, mirror: 1425.0 };
        assert_eq!(read_limit(AIM).judge(dear_everywhere, AIM, 1.0).len(), 1);
        assert!(read_limit(NEW).judge(dear_everywhere, NEW, 1.0).is_empty());
    }
}
