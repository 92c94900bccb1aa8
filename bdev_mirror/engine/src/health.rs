//! What may be said of a mirror.

/// The one word that an operator reads first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Two legs or more, all in sync, nothing known that could make them differ.
    Optimal,
    /// It serves, but no second copy protects it.
    Degraded,
    /// It does not serve.
    Failing,
    /// The legs may differ: a write or flush failed or was cut short on some or all of them, and nothing has reconciled it.
    Inconsistent,
}

/// Judges; the worst that holds is said.
#[must_use]
pub const fn judge(online: bool, legs: usize, legs_may_differ: bool) -> Health {
    if !online {
        Health::Failing
    } else if legs < 2 {
        // A single leg has nothing to differ from.
        Health::Degraded
    } else if legs_may_differ {
        Health::Inconsistent
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
}
