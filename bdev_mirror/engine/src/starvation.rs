//! What to do when a channel waits for memory that cannot come.
//!
//! A child needs a `spdk_bdev_io`; so did its host I/O, and so do the children that a leg's own layers make of one (a
//! split, zeroes written where a leg has no such command). With a small pool the parents of a thread can hold all of them
//! and wait for each other for ever. Nobody can tell such a knot from a slow leg by looking: in both, children are in
//! flight and none ends. So progress is watched. When none was made for a while, one of the waiting I/Os gives its own
//! `spdk_bdev_io` back: the youngest of which nothing was sent.

/// What the channel does at this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// Wait on.
    Wait,
    /// Join the bdev layer's queue of waiters, even with nobody in sight who would wake the channel: another bdev on the
    /// same thread may be what takes all memory, and only those in that queue get any then.
    Queue,
    /// Complete the youngest I/O of which nothing was sent with an error.
    FailYoungest,
}

/// Ticks without progress before an I/O is given up. A host gets an error for it, so this is long for a drive (5 s at a
/// tick of a millisecond) and short for a host's own time-out.
pub const PATIENCE_TICKS: u32 = 5_000;

/// The same for a channel that has given up an I/O and still waits: it is known to be tied up, and every knot after the
/// first would cost seconds again.
pub const PATIENCE_TICKS_STARVED: u32 = 10;

/// Ticks without progress before the channel queues up all the same. Not sooner: with nobody to wake it, it would keep
/// its thread from what other threads give back to the pool.
pub const QUEUE_TICKS: u32 = 100;

/// Free `spdk_bdev_io`s in the pool from which on no thread can be short of them for long.
const PLENTY: usize = 1_024;

/// Whether I/O that is held back for caution may go after all.
#[must_use]
pub const fn is_plenty(free_ios: usize) -> bool {
    free_ios >= PLENTY
}

/// Counts the ticks at which a channel waited and nothing was sent or ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    idle_ticks: u32,
    starved: bool,
}

impl Patience {
    /// A child was sent or has ended: the count starts again.
    #[inline]
    pub fn progressed(&mut self) {
        self.idle_ticks = 0;
    }

    /// One tick has passed while I/O waited for memory.
    pub fn tick(&mut self) -> Relief {
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        let patience = if self.starved { PATIENCE_TICKS_STARVED } else { PATIENCE_TICKS };
        if self.idle_ticks >= patience {
            self.starved = true;
            Relief::FailYoungest
        } else if self.idle_ticks >= QUEUE_TICKS.min(patience / 2) {
            Relief::Queue
        } else {
            Relief::Wait
        }
    }

    /// Nothing waits any more: memory is no problem until it is one again.
    pub fn recovered(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_up_while_there_is_progress() {
        let mut patience = Patience::default();
        for tick in 0..3 * PATIENCE_TICKS {
            assert_ne!(patience.tick(), Relief::FailYoungest);
            if tick % (PATIENCE_TICKS - 1) == 0 {
                patience.progressed();
            }
        }
    }

    #[test]
    fn one_a_tick_is_given_up_once_patience_ends() {
        let mut patience = Patience::default();
        for _ in 1..PATIENCE_TICKS {
            assert_ne!(patience.tick(), Relief::FailYoungest);
        }
        assert_eq!(patience.tick(), Relief::FailYoungest);
        assert_eq!(patience.tick(), Relief::FailYoungest);
        patience.progressed();
        assert_eq!(patience.tick(), Relief::Wait);
    }

    #[test]
    fn patience_is_short_until_nothing_waits() {
        let mut patience = Patience::default();
        while patience.tick() != Relief::FailYoungest {}
        patience.progressed();
        for tick in 1..PATIENCE_TICKS_STARVED {
            let relief = if tick < PATIENCE_TICKS_STARVED / 2 { Relief::Wait } else { Relief::Queue };
            assert_eq!(patience.tick(), relief);
        }
        assert_eq!(patience.tick(), Relief::FailYoungest);
        patience.recovered();
        for _ in 1..PATIENCE_TICKS {
            assert_ne!(patience.tick(), Relief::FailYoungest);
        }
    }

    #[test]
    fn it_queues_up_after_a_while_and_long_before_it_gives_up() {
        let mut patience = Patience::default();
        for _ in 1..QUEUE_TICKS {
            assert_eq!(patience.tick(), Relief::Wait);
        }
        assert_eq!(patience.tick(), Relief::Queue);
        const { assert!(QUEUE_TICKS < PATIENCE_TICKS / 10) };
    }
}
