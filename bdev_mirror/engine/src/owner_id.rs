//! Who owns a mirror.

use uuid::Uuid;

/// The process that serves a mirror, as its legs name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnerId {
    /// The machine; stays over a boot. Nil: unknown.
    pub machine: Uuid,
    /// This run of the machine's kernel. Nil: unknown.
    pub boot: Uuid,
    /// This life of the process.
    pub instance: Uuid,
}

impl OwnerId {
    /// Nobody.
    pub const NIL: Self = Self { machine: Uuid::nil(), boot: Uuid::nil(), instance: Uuid::nil() };

    /// Whether nobody is meant.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        *self == Self::NIL
    }

    /// Whether both are known to be of one machine.
    #[must_use]
    pub fn same_machine(&self, other: &Self) -> bool {
        !self.machine.is_nil() && self.machine == other.machine
    }

    /// Whether both are known to be of one machine, and it has not booted in between.
    #[must_use]
    pub fn same_boot(&self, other: &Self) -> bool {
        self.same_machine(other) && !self.boot.is_nil() && self.boot == other.boot
    }

    /// Whether the machine of both is known to have booted in between: a process of the other boot is dead.
    #[must_use]
    pub fn booted_since(&self, other: &Self) -> bool {
        self.same_machine(other) && !self.boot.is_nil() && !other.boot.is_nil() && self.boot != other.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(machine: u128, boot: u128) -> OwnerId {
        OwnerId { machine: Uuid::from_u128(machine), boot: Uuid::from_u128(boot), instance: Uuid::from_u128(7) }
    }

    #[test]
    fn what_is_unknown_is_never_the_same() {
        assert!(owner(1, 2).same_boot(&owner(1, 2)));
        assert!(!owner(1, 2).booted_since(&owner(1, 2)));
        assert!(owner(1, 2).booted_since(&owner(1, 3)));
        for (left, right) in [((0, 2), (0, 3)), ((1, 2), (4, 3)), ((1, 0), (1, 3)), ((1, 2), (1, 0)), ((0, 2), (0, 2))]
        {
            let (left, right) = (owner(left.0, left.1), owner(right.0, right.1));
            assert!(!left.booted_since(&right) && !left.same_boot(&right), "{left:?} {right:?}");
        }
        assert!(OwnerId::NIL.is_nil() && !owner(0, 0).is_nil());
    }
}
