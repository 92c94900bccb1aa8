//! Shortens a history that fails, so that a person can follow it.
//!
//! First whole kinds of faults are left out, then channels and host I/O, each time with all choices made anew from the
//! same seed. Then single steps are left out of the shortest of these histories, while the others keep their choices. A
//! history counts as the same failure if it says the same, whatever the numbers in it.

use crate::history::{Outcome, Variation, caught, world};
use crate::watch::Watch;
use crate::world::{Verdict, World};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Histories that may be tried, and how long.
const RERUNS_MAX: u32 = 2_000;
const TIME_MAX: Duration = Duration::from_secs(10);
/// The end of the trace that is printed.
const LINES_MAX: usize = 60;

/// Kinds of faults that can be left out: bits of [`World::masked`], and what an operator calls them.
const KINDS: [(u32, &str); 17] = [
    (0b1111, "I/O errors"),
    (0b11 << 4, "bad blocks"),
    (1 << 6, "drives that hang"),
    (1 << 7, "I/O that hangs"),
    (1 << 8, "drives removed"),
    (0b11 << 9, "resets"),
    (1 << 11, "aborts"),
    (1 << 12, "the log lost"),
    (1 << 13, "clones"),
    (1 << 14, "power cuts"),
    (1 << 15, "kills"),
    (0b11_1111 << 16, "channels opened and closed, suspensions, stops"),
    (1 << 22, "legs taken out"),
    (0b111 << 23, "drives plugged in again"),
    (0b11 << 26, "legs replaced and added"),
    (1 << 28, "errors that commands deserve"),
    (1 << 29, "mirrors that stand still"),
];

/// What a failure says, whatever its numbers and lists.
pub fn kind(failure: &str) -> String {
    let mut depth = 0_u32;
    let mut kind = String::new();
    for letter in failure.chars() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 && !letter.is_ascii_digit() => kind.push(letter),
            _ => {}
        }
    }
    kind
}

/// Choices of a history, step by step.
#[derive(Clone, Debug, Default)]
struct Script {
    /// Before the first step.
    create: Vec<u32>,
    steps: Vec<Vec<u32>>,
    /// While it is brought to its end, if it came to that.
    finish: Option<Vec<u32>>,
}

/// Prints the shortest history found that fails like this one.
pub fn show(seed: u64, failure: &str, command: &str) {
    let watch = Watch::new(1, 0, false);
    let text = |_| format!("sim: FAILED seed={seed}: {failure}\nnot shortened: a shorter history does not end");
    let shortest = watch.run(text, |thread| {
        watch.begin(thread, seed);
        let shrinker = Shrinker { seed, kind: kind(failure), reruns: Cell::new(0), start: Instant::now() };
        let shortest = shrinker.shortest();
        watch.end(thread);
        (shortest, shrinker.reruns.get())
    });
    for ((outcome, variation), reruns) in shortest {
        let lines = readable(&outcome.world);
        for line in &lines[lines.len().saturating_sub(LINES_MAX)..] {
            println!("{line}");
        }
        println!("failure: {}", outcome.failure.unwrap_or_default());
        println!("setup: {:?}", outcome.world.setup);
        let left_out: Vec<_> =
            KINDS.iter().filter(|(bits, _)| variation.masked & bits == *bits).map(|(_, name)| *name).collect();
        println!("shortened to {} steps by {reruns} reruns; without {left_out:?}", outcome.world.counts.steps);
    }
    println!("again: {command}");
}

struct Shrinker {
    seed: u64,
    kind: String,
    reruns: Cell<u32>,
    start: Instant,
}

impl Shrinker {
    fn is_spent(&self) -> bool {
        self.reruns.get() >= RERUNS_MAX || self.start.elapsed() > TIME_MAX
    }

    fn fails_alike(&self, outcome: &Outcome) -> bool {
        self.reruns.set(self.reruns.get() + 1);
        outcome.failure.as_ref().is_some_and(|failure| kind(failure) == self.kind)
    }

    fn shortest(&self) -> (Outcome, Variation) {
        let (variation, script) = self.fewer_kinds();
        let script = self.fewer_steps(variation, script);
        let mut outcome = self.replay(variation, &script, true);
        if !self.fails_alike(&outcome) {
            // Nothing could be replayed, which leaves the history itself.
            outcome = self.record(variation, true).0;
        }
        (outcome, variation)
    }

    /// The variation with the fewest steps, and its choices.
    fn fewer_kinds(&self) -> (Variation, Script) {
        let mut best = Variation::default();
        let (outcome, mut script) = self.record(best, false);
        let mut steps = outcome.world.counts.steps;
        let setup = outcome.world.setup;
        let mut improved = true;
        while improved && !self.is_spent() {
            improved = false;
            let channels =
                (1..best.channels.unwrap_or(setup.channels)).map(|n| Variation { channels: Some(n), ..best });
            let host_ios =
                (1..best.host_ios.unwrap_or(setup.host_ios_max)).map(|n| Variation { host_ios: Some(n), ..best });
            let masks = KINDS.iter().map(|(bits, _)| Variation { masked: best.masked | bits, ..best });
            for variation in masks.chain(channels).chain(host_ios).collect::<Vec<_>>() {
                if variation == best || self.is_spent() {
                    continue;
                }
                let (outcome, other) = self.record(variation, false);
                if self.fails_alike(&outcome) && outcome.world.counts.steps <= steps {
                    improved = true;
                    (best, script, steps) = (variation, other, outcome.world.counts.steps);
                    break;
                }
            }
        }
        (best, script)
    }

    /// Leaves out as many steps as it can, in ever smaller pieces, the last ones first.
    fn fewer_steps(&self, variation: Variation, mut script: Script) -> Script {
        let mut piece = script.steps.len() / 2;
        while piece > 0 && !self.is_spent() {
            let mut removed = false;
            let mut end = script.steps.len();
            while end > 0 && !self.is_spent() {
                let from = end.saturating_sub(piece);
                let mut shorter = script.clone();
                shorter.steps.drain(from..end.min(script.steps.len()));
                let outcome = self.replay(variation, &shorter, false);
                if self.fails_alike(&outcome) {
                    let done = outcome.world.counts.steps as usize;
                    if outcome.world.faults {
                        // It failed before its end: what follows is not needed.
                        shorter.steps.truncate(done);
                        shorter.finish = None;
                    }
                    script = shorter;
                    removed = true;
                }
                end = from.min(script.steps.len());
            }
            if !removed || piece > 1 {
                piece /= 2;
            }
        }
        script
    }

    /// A history from the seed, and its choices.
    fn record(&self, variation: Variation, traced: bool) -> (Outcome, Script) {
        let mut world = world(self.seed, variation, traced);
        world.chooser = std::mem::replace(&mut world.chooser, crate::chooser::Chooser::seeded(0)).recorded();
        let mut pieces = Vec::new();
        let failure = caught(|| world.run(|world| pieces.push(world.chooser.take_made())));
        pieces.push(world.chooser.take_made());
        let finish = if world.faults { None } else { pieces.pop() };
        let mut pieces = pieces.into_iter();
        let script = Script { create: pieces.next().unwrap_or_default(), steps: pieces.collect(), finish };
        (Outcome { failure, world }, script)
    }

    /// A history from choices. Those that it makes beyond them are made from the seed.
    fn replay(&self, variation: Variation, script: &Script, traced: bool) -> Outcome {
        let mut world = world(self.seed, variation, traced);
        world.chooser = crate::chooser::Chooser::replayed(self.seed);
        let failure = caught(|| follow(&mut world, script));
        Outcome { failure, world }
    }
}

fn follow(world: &mut World, script: &Script) -> Verdict {
    world.chooser.feed(script.create.clone());
    world.create()?;
    for step in &script.steps {
        world.chooser.feed(step.clone());
        world.step()?;
        world.check_status()?;
    }
    match &script.finish {
        Some(finish) => {
            world.chooser.feed(finish.clone());
            world.finish()
        }
        None => Ok(()),
    }
}

/// The trace without writes of map units and what ended well of them.
fn readable(world: &World) -> Vec<String> {
    let geometry = world.setup.geometry();
    let is_unit = |block: &str| {
        let digits: String = block.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().is_ok_and(|block: u64| {
            block < geometry.data_offset_blocks && (0..2).all(|copy| geometry.superblock_block(copy) != block)
        })
    };
    let is_noise = |line: &&String| {
        line.split_once("owner writes metadata ").is_some_and(|(_, block)| is_unit(block))
            || (line.ends_with("Ok(())") && line.split_once("ms  write ").is_some_and(|(_, block)| is_unit(block)))
    };
    world.trace.iter().flatten().filter(|line| !is_noise(line)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn numbers_and_lists_do_not_make_another_failure() {
        assert_eq!(kind("block 3 is {1, 2}, not [4]"), kind("block 12 is {7}, not []"));
        assert_ne!(kind("block 3 differs"), kind("block 3 is gone"));
    }
}
