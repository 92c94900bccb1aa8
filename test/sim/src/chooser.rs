//! Where a history's choices come from: a seed, or a script.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Makes every choice of a history, so that a history is a function of its chooser.
pub enum Chooser {
    /// From a seed.
    Random(SmallRng),
    /// From a list, and the first possibility beyond its end. Notes how many possibilities there were.
    Script { choices: Vec<u32>, at: usize, widths: Vec<u32> },
}

impl Chooser {
    pub fn seeded(seed: u64) -> Self {
        Self::Random(SmallRng::seed_from_u64(seed))
    }

    pub fn script(choices: Vec<u32>) -> Self {
        Self::Script { choices, at: 0, widths: Vec::new() }
    }

    /// One of `0..width`.
    pub fn below(&mut self, width: u32) -> u32 {
        match self {
            Self::Random(rng) => rng.random_range(0..width.max(1)),
            Self::Script { choices, at, widths } => {
                let choice = choices.get(*at).copied().unwrap_or(0);
                *at += 1;
                widths.push(width.max(1));
                choice.min(width.max(1) - 1)
            }
        }
    }

    /// Whether something with this chance happens.
    pub fn percent(&mut self, percent: u32) -> bool {
        match self {
            Self::Random(rng) => rng.random_range(0..100) < percent,
            // A script chooses among what can happen, whatever its chance.
            Self::Script { .. } => percent > 0 && (percent >= 100 || self.below(2) == 1),
        }
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() {
            return None;
        }
        Some(list[self.below(list.len() as u32) as usize])
    }
}
