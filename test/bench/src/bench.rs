//! The whole measurement: every stack under every load, interleaved.

use std::sync::Arc;

use anyhow::Result;
use mirror_e2e::kit::Kit;
use mirror_e2e::machine::Machine;

use crate::instrument::Instrument;
use crate::results::{self, Results, Run};
use crate::session::{Native, Sample, Simulated, Workload};
use crate::stack::{Medium, Stack, Subject};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the legs are.
    pub media: Vec<Medium>,
    /// The loads.
    pub loads: Vec<Workload>,
    /// What is compared; the bare bdev is always first.
    pub stacks: Vec<Stack>,
    /// How often at full speed.
    pub rounds: u32,
}

/// All stacks that this SPDK and this build offer, and why others are left out.
pub fn stacks(kit: &Kit) -> Result<(Vec<Stack>, Vec<String>)> {
    let (mut stacks, mut notes) = (vec![Stack::BARE, Stack::PASSTHRU], Vec::new());
    let spdk = kit.spdk()?;
    if kit.module.is_some() && spdk.is_shared() {
        stacks.extend([1, 2, 3].map(Stack::mirror));
    } else {
        notes.push("no mirror: it needs MIRROR_SO and an SPDK with shared libraries".to_string());
    }
    if spdk.has_raid1() {
        stacks.push(Stack { subject: Subject::Raid1, legs: 2 });
    } else {
        notes.push(format!("no raid1: bdev_raid of SPDK {} does not know it", spdk.release));
    }
    Ok((stacks, notes))
}

/// Measures, telling what it does on standard error.
pub fn run(kit: &Kit, machine: &Arc<Machine>, plan: &Plan, mut notes: Vec<String>) -> Result<Results> {
    let instrument = Instrument::find();
    match &instrument {
        Instrument::Perf => {}
        Instrument::Callgrind => notes.push(
            "no cycles: perf has no counters on this machine, and callgrind counts instructions only".to_string(),
        ),
        Instrument::Missing(why) => notes.push(format!("no instructions, no cycles: {why}")),
    }
    let mut runs = Vec::new();
    let cases: Vec<_> = plan.media.iter().flat_map(|m| plan.loads.iter().map(move |l| (*m, *l))).collect();
    for (i, (medium, load)) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {medium:?} legs, {} at depth {}", i + 1, cases.len(), load.name, load.depth);
        runs.extend(case(kit, machine, plan, &instrument, *medium, *load)?);
    }
    Ok(Results {
        schema: 1,
        spdk: kit.spdk()?.release.to_string(),
        commit: results::commit(),
        machine: results::machine(),
        instrument: instrument.name(),
        notes,
        runs,
    })
}

fn case(
    kit: &Kit,
    machine: &Arc<Machine>,
    plan: &Plan,
    instrument: &Instrument,
    medium: Medium,
    load: Workload,
) -> Result<Vec<Run>> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); plan.stacks.len()];
    let mut native = Native::new(kit, machine, load, *instrument == Instrument::Perf)?;
    for round in 1..=plan.rounds {
        eprintln!("    at full speed, round {round} of {}", plan.rounds);
        for (stack, samples) in plan.stacks.iter().zip(&mut samples) {
            samples.push(native.measure(*stack, medium)?);
        }
    }
    native.stop()?;

    let mut insn = vec![None; plan.stacks.len()];
    if *instrument == Instrument::Callgrind {
        eprintln!("    under callgrind");
        let mut simulated = Simulated::new(kit, machine, load)?;
        for (stack, insn) in plan.stacks.iter().zip(&mut insn) {
            *insn = Some(simulated.measure(*stack, medium)?.insn_per_io());
        }
        simulated.stop()?;
    }
    let bare = samples[0].clone();
    let rows = plan.stacks.iter().zip(&samples).zip(insn);
    Ok(rows.map(|((stack, samples), insn)| Run::new(*stack, medium, load, samples, &bare, insn)).collect())
}
