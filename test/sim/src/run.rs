//! Many histories, spread over the machine's threads. What comes of them does not depend on how many threads there are.

use crate::coverage::Coverage;
use crate::history::history;
use crate::watch::{self, Watch};
use crate::world::World;
use crate::{floors, shrink};
use mirror_engine::mutant::{self, Mutant};
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Histories of a usual run; the floors of the coverage are for so many.
pub const SEEDS: u64 = 20_000;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub first: u64,
    pub seeds: u64,
    pub mutant: Mutant,
    /// One line says what came of it, and nothing is shortened.
    pub quiet: bool,
    /// Print all of the first history.
    pub trace: bool,
    /// Go on after failures, and count them by kind.
    pub survey: bool,
}

/// What came of many histories.
#[derive(Default)]
struct Sum {
    histories: u64,
    steps: u64,
    crash_points: u64,
    coverage: Coverage,
    states: HashSet<u64>,
    /// The lowest seed that failed.
    failure: Option<(u64, String)>,
    /// Failures by kind: the lowest seed, what it says, and how many there were.
    kinds: BTreeMap<String, (u64, String, u64)>,
}

impl Sum {
    fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.crash_points += other.crash_points;
        self.coverage.merge(&other.coverage);
        self.states.extend(other.states);
        if let Some((seed, failure)) = other.failure {
            self.fail(seed, failure);
        }
        for (seed, failure, count) in other.kinds.into_values() {
            self.count(seed, failure, count);
        }
    }

    fn count(&mut self, seed: u64, failure: String, count: u64) {
        let kind = self.kinds.entry(shrink::kind(&failure)).or_insert_with(|| (seed, failure.clone(), 0));
        kind.2 += count;
        if seed < kind.0 {
            (kind.0, kind.1) = (seed, failure);
        }
    }

    fn fail(&mut self, seed: u64, failure: String) {
        if self.failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
            self.failure = Some((seed, failure));
        }
    }
}

pub fn run(plan: Plan) -> bool {
    if plan.trace {
        return trace(plan);
    }
    if plan.survey {
        return survey(plan);
    }
    let mut first = plan.first;
    let sum = loop {
        mutant::plant(plan.mutant);
        let sum = many(first, plan.first + plan.seeds, plan);
        let Some((seed, _)) = &sum.failure else { break sum };
        // With a mistake planted only what goes wrong because of it counts.
        mutant::plant(Mutant::None);
        if plan.mutant == Mutant::None || history(*seed, false, |_| {}).failure.is_none() {
            break sum;
        }
        first = seed + 1;
    };
    match &sum.failure {
        Some((seed, failure)) => {
            if !plan.quiet {
                mutant::plant(plan.mutant);
                shrink::show(*seed, failure, &command(*seed, plan.mutant));
            }
            println!("sim: FAILED seed={seed} after {} histories: {failure}", seed - plan.first + 1);
            false
        }
        None => report(plan, &sum),
    }
}

/// Counts all failures by kind.
fn survey(plan: Plan) -> bool {
    mutant::plant(plan.mutant);
    let sum = many(plan.first, plan.first + plan.seeds, plan);
    if !plan.quiet {
        print!("{}", floors::table(&sum.coverage));
    }
    let mut kinds: Vec<_> = sum.kinds.values().collect();
    kinds.sort_unstable_by_key(|(seed, _, count)| (std::cmp::Reverse(*count), *seed));
    for (seed, failure, count) in &kinds {
        println!("{count:>6} times, first seed={seed}: {failure}");
    }
    let failures: u64 = kinds.iter().map(|(_, _, count)| count).sum();
    println!("sim: {failures} of {} histories fail, in {} ways", sum.histories, kinds.len());
    failures == 0
}

/// The command that runs one history again.
fn command(seed: u64, mutant: Mutant) -> String {
    let planted = if mutant == Mutant::None { String::new() } else { format!(" --mutant {}", mutant.name()) };
    format!("mirror_sim run --seed {seed} --seeds 1{planted}")
}

fn report(plan: Plan, sum: &Sum) -> bool {
    let mut ok = true;
    if !plan.quiet {
        print!("{}", floors::table(&sum.coverage));
        for missed in floors::missed(&sum.coverage, sum.histories) {
            println!("sim: FAILED {missed}");
            ok = false;
        }
    }
    if ok {
        println!(
            "sim: ok histories={} steps={} crash_points={} states={}",
            sum.histories,
            sum.steps,
            sum.crash_points,
            sum.states.len()
        );
    }
    ok
}

/// All histories of these seeds, or those up to the lowest that fails.
fn many(first: u64, end: u64, plan: Plan) -> Sum {
    let watch = Watch::new(watch::threads(), end - first, !plan.quiet);
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let sums = watch.run(
        |seed| format!("sim: FAILED seed={seed} does not end"),
        |thread| {
            let mut sum = Sum::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                // Seeds are given out in order, so all below the lowest that fails are run.
                if seed >= end || seed > failed.load(Ordering::Relaxed) {
                    return sum;
                }
                watch.begin(thread, seed);
                let outcome = history(seed, false, |world| {
                    sum.states.insert(fingerprint(world));
                });
                watch.end(thread);
                sum.histories += 1;
                sum.steps += outcome.world.counts.steps;
                sum.crash_points += outcome.world.counts.crash_points;
                sum.coverage.merge(&outcome.world.coverage);
                let Some(failure) = outcome.failure else { continue };
                if plan.survey {
                    sum.count(seed, failure, 1);
                } else {
                    failed.fetch_min(seed, Ordering::Relaxed);
                    sum.fail(seed, failure);
                }
            }
        },
    );
    let mut all = Sum::default();
    sums.into_iter().for_each(|sum| all.merge(sum));
    all
}

/// What the regions, the legs and the owner are at.
fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Some(running) = &world.running {
        running.shared.regions.iter_states().for_each(|state| state.hash(&mut hasher));
        running.shared.legs.load().hash(&mut hasher);
        running.owner.phase().hash(&mut hasher);
    }
    hasher.finish()
}

/// All of one history.
fn trace(plan: Plan) -> bool {
    mutant::plant(plan.mutant);
    let outcome = history(plan.first, true, |_| {});
    for line in outcome.world.trace.iter().flatten() {
        println!("{line}");
    }
    println!("setup {:?}", outcome.world.setup);
    match &outcome.failure {
        Some(failure) => println!("sim: FAILED seed={}: {failure}", plan.first),
        None => println!("sim: ok seed={} steps={}", plan.first, outcome.world.counts.steps),
    }
    outcome.failure.is_none()
}
