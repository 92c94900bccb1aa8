//! What may be said of a mirror.

/// The one word that an operator reads first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Two legs or more, all in sync, nothing known that could make them differ.
    Optimal,
    /// It serves, but no second copy protects it, or a leg that belongs to it is not in sync.
    Degraded,
    /// It does not serve.
    Failing,
    /// The legs may differ: a write or flush failed or was cut short on some or all of them, and nothing has reconciled it.
    Inconsistent,
}

/// Judges a mirror all of whose legs are in sync; the worst that holds is said.
#[must_use]
pub const fn judge(online: bool, legs: usize, legs_may_differ: bool) -> Health {
    judge_slots(online, legs, legs, legs_may_differ)
}

/// Judges a mirror with so many legs in sync of so many that belong to it; the worst that holds is said.
#[must_use]
pub const fn judge_slots(online: bool, in_sync: usize, configured: usize, legs_may_differ: bool) -> Health {
    if !online {
        Health::Failing
    } else if in_sync < 2 {
        // A single leg has nothing to differ from.
        Health::Degraded
    } else if legs_may_differ {
        Health::Inconsistent
    } else if in_sync < configured {
        Health::Degraded
    } else {
        Health::Optimal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_equal_legs_are_optimal() {
        assert_eq!(judge(true, 2, false), Health::Optimal);
        assert_eq!(judge(true, 1, false), Health::Degraded);
        assert_eq!(judge(true, 2, true), Health::Inconsistent);
        assert_eq!(judge(true, 1, true), Health::Degraded);
        assert_eq!(judge(false, 2, false), Health::Failing);
    }

    #[test]
    fn a_leg_that_is_out_is_never_optimal() {
        assert_eq!(judge_slots(true, 3, 3, false), Health::Optimal);
        assert_eq!(judge_slots(true, 2, 3, false), Health::Degraded);
        assert_eq!(judge_slots(true, 2, 3, true), Health::Inconsistent);
        assert_eq!(judge_slots(true, 1, 2, true), Health::Degraded);
        assert_eq!(judge_slots(false, 2, 3, true), Health::Failing);
    }
}
