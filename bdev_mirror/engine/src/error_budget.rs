//! How many read errors a leg may have.

/// After this long, half of what was counted is forgiven.
const HALVING_MS: u64 = 3_600_000;

/// Counts a leg's read errors and forgets them slowly: a drive with a few bad blocks stays, one that is dying does not.
///
/// Says only that the budget is used up; the last leg is never failed for it, and that is the caller's to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ErrorBudget {
    errors: u32,
    /// When errors were halved last, or the first of them came.
    halved_ms: u64,
}

impl ErrorBudget {
    /// A read failed. Whether that used up the budget of `read_error_limit` errors, or it was used up before.
    pub fn spend(&mut self, now_ms: u64, read_error_limit: u32) -> bool {
        self.forgive(now_ms);
        if self.errors == 0 {
            self.halved_ms = now_ms;
        }
        self.errors = self.errors.saturating_add(1);
        self.errors >= read_error_limit
    }

    /// Errors that still count.
    pub fn errors(&mut self, now_ms: u64) -> u32 {
        self.forgive(now_ms);
        self.errors
    }

    /// Another base bdev is in the slot, or a human says that it is good.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn forgive(&mut self, now_ms: u64) {
        let halvings = now_ms.saturating_sub(self.halved_ms) / HALVING_MS;
        self.errors = u32::try_from(halvings).ok().and_then(|by| self.errors.checked_shr(by)).unwrap_or(0);
        // By whole hours: the rest of the time counts towards the next halving.
        self.halved_ms += halvings * HALVING_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hundredth_error_uses_it_up() {
        let mut budget = ErrorBudget::default();
        for second in 0..99 {
            assert!(!budget.spend(second * 1_000, 100));
        }
        assert!(budget.spend(99_000, 100));
        assert!(budget.spend(99_000, 100));
        budget.reset();
        assert!(!budget.spend(99_000, 100));
    }

    #[test]
    fn an_hour_halves() {
        let mut budget = ErrorBudget::default();
        for _ in 0..80 {
            budget.spend(1_000, 100);
        }
        assert_eq!(budget.errors(HALVING_MS + 999), 80);
        assert_eq!(budget.errors(HALVING_MS + 1_000), 40);
        assert_eq!(budget.errors(3 * HALVING_MS + 2_000), 10);
        assert_eq!(budget.errors(u64::MAX), 0);
    }

    #[test]
    fn fewer_than_half_the_limit_an_hour_never_use_it_up() {
        let mut budget = ErrorBudget::default();
        for hour in 0..1_000 {
            for _ in 0..49 {
                assert!(!budget.spend(hour * HALVING_MS, 100));
            }
        }
    }

    #[test]
    fn the_hour_begins_with_the_first_error() {
        let mut budget = ErrorBudget::default();
        assert!(!budget.spend(HALVING_MS - 1, 2));
        assert!(budget.spend(HALVING_MS + 1, 2));
    }

    proptest! {
        #[test]
        fn asking_changes_nothing(times in prop::collection::vec(0..10 * HALVING_MS, 1..40)) {
            let (mut asked, mut not_asked) = (ErrorBudget::default(), ErrorBudget::default());
            let mut now_ms = 0;
            for passed_ms in times {
                asked.errors(now_ms + passed_ms / 2);
                now_ms += passed_ms;
                prop_assert_eq!(asked.spend(now_ms, 5), not_asked.spend(now_ms, 5));
            }
        }
    }
}
