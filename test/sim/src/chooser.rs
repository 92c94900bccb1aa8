//! Where a history's choices come from: a seed, a script, or an earlier history.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Makes every choice of a history, so that a history is a function of its chooser.
pub enum Chooser {
    /// From a seed.
    Random(SmallRng),
    /// From a seed; notes what it chose.
    Recorded { rng: SmallRng, made: Vec<u32> },
    /// From what was noted, and from a seed beyond its end.
    Replayed { choices: std::vec::IntoIter<u32>, rest: SmallRng },
    /// From a list, and the first possibility beyond its end. Notes how many possibilities there were.
    Script { choices: Vec<u32>, at: usize, widths: Vec<u32> },
}

impl Chooser {
    pub fn seeded(seed: u64) -> Self {
        Self::Random(SmallRng::seed_from_u64(seed))
    }

    /// The same from here on, and notes its choices.
    pub fn recorded(self) -> Self {
        match self {
            Self::Random(rng) => Self::Recorded { rng, made: Vec::new() },
            other => other,
        }
    }

    pub fn replayed(seed: u64) -> Self {
        Self::Replayed { choices: Vec::new().into_iter(), rest: SmallRng::seed_from_u64(seed) }
    }

    pub fn script(choices: Vec<u32>) -> Self {
        Self::Script { choices, at: 0, widths: Vec::new() }
    }

    /// What it chose since this was last asked.
    pub fn take_made(&mut self) -> Vec<u32> {
        match self {
            Self::Recorded { made, .. } => std::mem::take(made),
            _ => Vec::new(),
        }
    }

    /// The next choices, in place of those that are left.
    pub fn feed(&mut self, next: Vec<u32>) {
        if let Self::Replayed { choices, .. } = self {
            *choices = next.into_iter();
        }
    }

    /// One of `0..width`.
    pub fn below(&mut self, width: u32) -> u32 {
        let width = width.max(1);
        match self {
            Self::Random(rng) => rng.random_range(0..width),
            Self::Recorded { rng, made } => {
                let choice = rng.random_range(0..width);
                made.push(choice);
                choice
            }
            Self::Replayed { choices, rest } => {
                choices.next().map_or_else(|| rest.random_range(0..width), |choice| choice.min(width - 1))
            }
            Self::Script { choices, at, widths } => {
                let choice = choices.get(*at).copied().unwrap_or(0);
                *at += 1;
                widths.push(width);
                choice.min(width - 1)
            }
        }
    }

    /// Whether something with this chance happens.
    pub fn percent(&mut self, percent: u32) -> bool {
        match self {
            Self::Random(rng) => rng.random_range(0..100) < percent,
            Self::Recorded { rng, made } => {
                let happens = rng.random_range(0..100) < percent;
                made.push(u32::from(happens));
                happens
            }
            Self::Replayed { choices, rest } => {
                choices.next().map_or_else(|| rest.random_range(0..100) < percent, |choice| choice != 0)
            }
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
