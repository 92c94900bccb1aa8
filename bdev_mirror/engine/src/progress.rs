//! How far a resync or scrub has come.

/// Rates are taken over at least this long: chunks end in bunches.
const MEASURE_MS: u64 = 1_000;

/// The rate is kept in sixteenths of a block a second, so that slow rates do not stick at a rounded value.
const FRACTION: u64 = 16;

/// Blocks done of blocks to do, and how fast.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    total_blocks: u64,
    done_blocks: u64,
    measured_ms: u64,
    /// Done since then.
    measured_blocks: u64,
    /// In [`FRACTION`]s; `None` until it was measured once.
    rate: Option<u64>,
}

impl Progress {
    /// Nothing of this many blocks is done.
    #[must_use]
    pub const fn new(total_blocks: u64, now_ms: u64) -> Self {
        Self { total_blocks, done_blocks: 0, measured_ms: now_ms, measured_blocks: 0, rate: None }
    }

    /// So many blocks more are done.
    pub fn advance(&mut self, blocks: u64) {
        self.done_blocks = self.done_blocks.saturating_add(blocks).min(self.total_blocks);
        self.measured_blocks = self.measured_blocks.saturating_add(blocks);
    }

    /// So many blocks more are to be done: writes that missed the leg meanwhile.
    pub fn extend(&mut self, blocks: u64) {
        self.total_blocks = self.total_blocks.saturating_add(blocks);
    }

    /// After a pause: the time in which nothing was meant to be done does not count.
    pub fn resume(&mut self, now_ms: u64) {
        self.measured_ms = now_ms;
        self.measured_blocks = 0;
    }

    /// Time passes; measures the rate when it is time to.
    pub fn tick(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.measured_ms);
        if passed_ms < MEASURE_MS {
            return;
        }
        let measured = (u128::from(self.measured_blocks) * u128::from(1_000 * FRACTION) / u128::from(passed_ms)) as u64;
        self.rate = Some(match self.rate {
            None => measured,
            Some(rate) => rate - rate / 4 + measured / 4,
        });
        self.resume(now_ms);
    }

    /// Blocks done.
    #[must_use]
    pub const fn done_blocks(&self) -> u64 {
        self.done_blocks
    }

    /// Blocks to do, those done among them.
    #[must_use]
    pub const fn total_blocks(&self) -> u64 {
        self.total_blocks
    }

    /// Rounded down: 100 only once all is done.
    #[must_use]
    pub fn percent(&self) -> u8 {
        (u128::from(self.done_blocks) * 100).checked_div(u128::from(self.total_blocks)).unwrap_or(100) as u8
    }

    /// Blocks a second, lately.
    #[must_use]
    pub fn rate_blocks_sec(&self) -> u64 {
        self.rate.unwrap_or(0) / FRACTION
    }

    /// MiB a second, lately.
    #[must_use]
    pub fn rate_mb_sec(&self, block_bytes: u32) -> u64 {
        (u128::from(self.rate.unwrap_or(0)) * u128::from(block_bytes) / u128::from(FRACTION << 20)) as u64
    }

    /// When the rest would be done at this rate; `None` while there is no rate to tell by.
    #[must_use]
    pub fn eta_sec(&self) -> Option<u64> {
        let rest = self.total_blocks - self.done_blocks;
        if rest == 0 {
            return Some(0);
        }
        let rate = self.rate.filter(|&rate| rate > 0)?;
        Some((u128::from(rest) * u128::from(FRACTION)).div_ceil(u128::from(rate)).min(u128::from(u64::MAX)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_steady_copy_tells_its_rate_and_end() {
        let mut progress = Progress::new(100_000, 5);
        assert_eq!((progress.percent(), progress.eta_sec()), (0, None));
        for second in 1..=20 {
            progress.advance(2_560);
            progress.tick(5 + second * 1_000);
        }
        assert_eq!(progress.rate_blocks_sec(), 2_560);
        assert_eq!(progress.rate_mb_sec(4_096), 10);
        assert_eq!((progress.percent(), progress.eta_sec()), (51, Some(20)));
    }

    #[test]
    fn a_pause_is_no_slowness() {
        let mut progress = Progress::new(10_000, 0);
        progress.advance(1_000);
        progress.tick(1_000);
        progress.resume(500_000);
        progress.advance(1_000);
        progress.tick(501_000);
        assert_eq!(progress.rate_blocks_sec(), 1_000);
    }

    #[test]
    fn nothing_to_do_is_done_and_a_copy_that_stands_has_no_end() {
        assert_eq!((Progress::new(0, 0).percent(), Progress::new(0, 0).eta_sec()), (100, Some(0)));
        let mut progress = Progress::new(1, 0);
        progress.tick(2_000);
        assert_eq!(progress.eta_sec(), None);
        progress.extend(1);
        progress.advance(2);
        assert_eq!((progress.percent(), progress.eta_sec()), (100, Some(0)));
    }

    #[test]
    fn writes_that_missed_the_leg_are_to_be_done_too() {
        let mut progress = Progress::new(100, 0);
        progress.advance(100);
        progress.extend(100);
        assert_eq!((progress.done_blocks(), progress.total_blocks(), progress.percent()), (100, 200, 50));
    }

    #[test]
    fn less_than_the_time_of_a_measurement_tells_no_rate() {
        let mut progress = Progress::new(10_000, 0);
        progress.advance(1_000);
        progress.tick(999);
        assert_eq!(progress.rate_blocks_sec(), 0);
        progress.tick(2_000);
        assert_eq!(progress.rate_blocks_sec(), 500);
    }

    proptest! {
        #[test]
        fn never_more_than_all(total: u64, steps in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20)) {
            let mut progress = Progress::new(total, 0);
            for (blocks, now_ms) in steps {
                progress.advance(blocks);
                progress.tick(now_ms);
                prop_assert!(progress.done_blocks() <= progress.total_blocks());
                prop_assert!(progress.percent() <= 100);
                prop_assert_eq!(progress.percent() == 100, progress.done_blocks() == total);
                prop_assert!(progress.eta_sec() != Some(0) || progress.percent() == 100);
            }
        }
    }
}
