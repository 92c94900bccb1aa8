//! What to do when a channel waits for memory that cannot come.
//!
//! A child needs a `spdk_bdev_io`; so did its host I/O. With a small pool the host I/Os of a thread can hold all of them
//! and wait for each other for ever. A wait ends only when this thread frees one, so once nothing that this channel sent
//! is in flight, one of the waiting I/Os has to give its own back: the youngest of which nothing was sent.

/// What the owner of the wait does at this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// Something is in flight here, or it is too early: wait on.
    Wait,
    /// Complete the youngest I/O of which nothing was sent with an error.
    FailYoungest,
}

/// Ticks without any child in flight before an I/O is given up: other bdevs of the thread get this long to free one.
pub const PATIENCE_TICKS: u32 = 10;

/// Counts the ticks at which a channel waited with nothing in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    idle_ticks: u32,
}

impl Patience {
    /// Something was sent: the count starts again.
    pub fn progressed(&mut self) {
        self.idle_ticks = 0;
    }

    /// One tick has passed while I/O waited for memory.
    pub fn tick(&mut self, children_in_flight: bool) -> Relief {
        if children_in_flight {
            self.idle_ticks = 0;
            return Relief::Wait;
        }
        self.idle_ticks += 1;
        if self.idle_ticks < PATIENCE_TICKS { Relief::Wait } else { Relief::FailYoungest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_up_while_a_child_is_in_flight() {
        let mut patience = Patience::default();
        for _ in 0..10 * PATIENCE_TICKS {
            assert_eq!(patience.tick(true), Relief::Wait);
        }
    }

    #[test]
    fn one_a_tick_is_given_up_once_patience_ends() {
        let mut patience = Patience::default();
        for _ in 1..PATIENCE_TICKS {
            assert_eq!(patience.tick(false), Relief::Wait);
        }
        assert_eq!(patience.tick(false), Relief::FailYoungest);
        assert_eq!(patience.tick(false), Relief::FailYoungest);
        patience.progressed();
        assert_eq!(patience.tick(false), Relief::Wait);
    }
}
