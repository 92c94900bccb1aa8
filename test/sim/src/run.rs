//! Many histories.

use crate::chooser::Chooser;
use crate::world::{Setup, World};
use mirror_engine::mutant::{self, Mutant};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of one history.
pub struct Outcome {
    pub seed: u64,
    pub failure: Option<String>,
    pub world: World,
}

/// One history.
pub fn history(seed: u64, traced: bool) -> Outcome {
    let mut chooser = Chooser::seeded(seed);
    let setup = Setup::random(&mut chooser);
    let mut world = World::new(setup, chooser, traced);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    Outcome { seed, failure, world }
}

pub fn run(first: u64, seeds: u64, mutant: Option<&str>, trace: bool) -> bool {
    if let Some(name) = mutant {
        let Some(mutant) = Mutant::named(name) else {
            eprintln!("sim: no such mutant: {name}");
            return false;
        };
        mutant::plant(mutant);
    }
    let (mut steps, mut crash_points) = (0, 0);
    for seed in first..first + seeds {
        let outcome = history(seed, trace);
        steps += outcome.world.counts.steps;
        crash_points += outcome.world.counts.crash_points;
        if trace && outcome.failure.is_none() {
            for line in outcome.world.trace.iter().flatten() {
                println!("{line}");
            }
        }
        if let Some(failure) = outcome.failure {
            let again = history(seed, true);
            let lines = again.world.trace.unwrap_or_default();
            for line in &lines[lines.len().saturating_sub(if trace { 100_000 } else { 60 })..] {
                println!("{line}");
            }
            println!("setup {:?}", again.world.setup);
            println!("sim: FAILED seed={} after {} histories: {failure}", outcome.seed, seed - first);
            return false;
        }
    }
    println!("sim: ok histories={seeds} steps={steps} crash_points={crash_points}");
    true
}
