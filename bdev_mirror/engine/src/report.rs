//! What channels tell the owner, and how the owner asks all channels.

use crate::{LegMask, Slot};

/// From a channel to the owner, through a bounded queue. Small and plain: nothing in it has to be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// Writes wait for these regions: to be marked dirty, or to be opened for this channel.
    Mark {
        /// The channel's number.
        channel: u16,
        /// First region.
        first: u32,
        /// Last region.
        last: u32,
    },
    /// A stream of writes will come to these regions: mark them before it does.
    MarkAhead {
        /// The channel's number.
        channel: u16,
        /// First region.
        first: u32,
        /// Last region.
        last: u32,
    },
    /// A write or flush ended badly on some leg and waits for the owner's judgement.
    Bad {
        /// The channel's number.
        channel: u16,
        /// Legs to blame for it.
        blamed: LegMask,
        /// Legs that have it.
        good: LegMask,
        /// Some failure was nobody's fault: whatever the legs say, they may differ.
        unblamed: bool,
        /// Its regions; `None` for a flush.
        regions: Option<(u32, u32)>,
    },
    /// A read failed on a leg.
    ReadBad {
        /// The channel's number.
        channel: u16,
        /// The leg.
        slot: Slot,
        /// First block.
        block: u64,
        /// Blocks.
        blocks: u32,
    },
    /// Reads wait for these regions to be reconciled.
    Want {
        /// The channel's number.
        channel: u16,
        /// First region.
        first: u32,
        /// Last region.
        last: u32,
    },
    /// Children of these legs have been in flight for longer than a leg may take.
    Hung {
        /// The channel's number.
        channel: u16,
        /// The legs.
        legs: LegMask,
    },
    /// A request that passed through the channels and was not answered at once is answered now.
    PassDone {
        /// The channel's number.
        channel: u16,
        /// Which request.
        pass: Pass,
    },
    /// A write range was given back that other channels wait for.
    Wake {
        /// The channel's number.
        channel: u16,
    },
}

impl Report {
    /// The number of the channel that it comes from.
    #[must_use]
    pub const fn channel(&self) -> u16 {
        match *self {
            Self::Mark { channel, .. }
            | Self::MarkAhead { channel, .. }
            | Self::Bad { channel, .. }
            | Self::ReadBad { channel, .. }
            | Self::Want { channel, .. }
            | Self::Hung { channel, .. }
            | Self::PassDone { channel, .. }
            | Self::Wake { channel } => channel,
        }
    }
}

/// What the owner asks of every channel in turn. A channel that cannot answer at once notes the request and answers by
/// [`Report::PassDone`]: a pass never waits in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pass {
    /// You have seen what was published before: answered at once.
    Seen,
    /// Take back every region that is to be cleared and has a write under way: answered at once.
    Veto,
    /// No write under way overlaps a window.
    Windows,
    /// No write of yours is under way in a region that is being opened to several channels.
    Sharing,
    /// Nothing is under way.
    Drain,
    /// No child is outstanding on this leg.
    Quiet(Slot),
}

impl Pass {
    /// How many there are.
    pub const COUNT: usize = 5 + crate::MAX_LEGS;

    /// A number for it, below [`Pass::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Seen => 0,
            Self::Veto => 1,
            Self::Windows => 2,
            Self::Sharing => 3,
            Self::Drain => 4,
            Self::Quiet(slot) => 5 + slot.index(),
        }
    }

    /// The pass of this number.
    #[must_use]
    pub fn of_index(index: usize) -> Option<Self> {
        Some(match index {
            0 => Self::Seen,
            1 => Self::Veto,
            2 => Self::Windows,
            3 => Self::Sharing,
            4 => Self::Drain,
            _ => Self::Quiet(Slot::new(index.checked_sub(5)?)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_has_a_number_of_its_own() {
        for index in 0..Pass::COUNT {
            assert_eq!(Pass::of_index(index).map(Pass::index), Some(index));
        }
        assert_eq!(Pass::of_index(Pass::COUNT), None);
    }
}
