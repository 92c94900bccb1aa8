//! What the histories went through: state of a region × what happened × what was wrong at the time.

use mirror_engine::RegionState;

/// What happened to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Happening {
    Write,
    Unmap,
    Read,
    MarkAhead,
    Clear,
    Resync,
    LegLost,
    LegBack,
    Abort,
    Crash,
}

/// What was wrong at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Wrong {
    Nothing,
    LegOut,
    Errors,
    Hangs,
}

pub const STATES: [RegionState; 13] = [
    RegionState::Unwritten,
    RegionState::Clean,
    RegionState::Marking,
    RegionState::Dirty,
    RegionState::Zeroed,
    RegionState::Flushing,
    RegionState::FlushingZeroed,
    RegionState::Cleaning,
    RegionState::CleaningZeroed,
    RegionState::NoSync,
    RegionState::Refused,
    RegionState::RefusedUnwritten,
    RegionState::Unread,
];
pub const HAPPENINGS: [Happening; 10] = [
    Happening::Write,
    Happening::Unmap,
    Happening::Read,
    Happening::MarkAhead,
    Happening::Clear,
    Happening::Resync,
    Happening::LegLost,
    Happening::LegBack,
    Happening::Abort,
    Happening::Crash,
];
pub const WRONGS: [Wrong; 4] = [Wrong::Nothing, Wrong::LegOut, Wrong::Errors, Wrong::Hangs];

/// What a history came to that no state of a region tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Deed {
    /// Every leg refused a write for what it asks.
    WriteRefused,
    /// A write failed that only some legs refused, or some in part.
    WriteDeserved,
    /// A read or a flush met an error that it deserved.
    OtherDeserved,
    /// An I/O found no room to wait.
    Busy,
    /// A flush was acknowledged while a leg in sync knows none.
    FlushWithout,
    /// A new drive took the place of a leg.
    LegReplaced,
    /// A slot was added.
    LegAdded,
    /// A leg that was replaced came back to a mirror that runs, and was refused.
    OldLegRefused,
    /// The same at a start.
    OldLegRejected,
    /// A drive that was never a leg before is in sync.
    NewLegInSync,
    /// A write touched regions of two units of a map.
    WriteOverUnits,
    /// A start found a unit of a map on no leg, and other units.
    UnitLost,
    /// A start went by the maps of a log device.
    StartFromLog,
    /// All I/O waited.
    Suspended,
    /// A mirror stood still, and went on before another took its place.
    OwnerWentOn,
    /// A successor took over from one that stood still.
    TakenOver,
    /// One that was taken over from went on.
    FormerWoke,
}

pub const DEEDS: [Deed; 17] = [
    Deed::WriteRefused,
    Deed::WriteDeserved,
    Deed::OtherDeserved,
    Deed::Busy,
    Deed::FlushWithout,
    Deed::LegReplaced,
    Deed::LegAdded,
    Deed::OldLegRefused,
    Deed::OldLegRejected,
    Deed::NewLegInSync,
    Deed::WriteOverUnits,
    Deed::UnitLost,
    Deed::StartFromLog,
    Deed::Suspended,
    Deed::OwnerWentOn,
    Deed::TakenOver,
    Deed::FormerWoke,
];

/// Hits of every cell.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    hits: [[[u64; 4]; 10]; 13],
    deeds: [u64; DEEDS.len()],
}

impl Coverage {
    pub fn hit(&mut self, state: RegionState, happening: Happening, wrong: Wrong) {
        self.hits[state as usize][happening as usize][wrong as usize] += 1;
    }

    pub fn note(&mut self, deed: Deed) {
        self.deeds[deed as usize] += 1;
    }

    pub fn noted(&self, deed: Deed) -> u64 {
        self.deeds[deed as usize]
    }

    pub fn merge(&mut self, other: &Self) {
        for (deed, other) in self.deeds.iter_mut().zip(&other.deeds) {
            *deed += other;
        }
        for (state, others) in self.hits.iter_mut().zip(&other.hits) {
            for (happening, others) in state.iter_mut().zip(others) {
                for (hits, other) in happening.iter_mut().zip(others) {
                    *hits += other;
                }
            }
        }
    }

    pub fn hits(&self, state: RegionState, happening: Happening, wrong: Wrong) -> u64 {
        self.hits[state as usize][happening as usize][wrong as usize]
    }
}
