//! What a superblock says of one leg.

use super::bytes::{Reader, Writer};
use super::content::ContentError;
use uuid::Uuid;

/// Bytes of an encoded record.
pub(super) const LEG_RECORD_BYTES: usize = 128;
const FLAG_WRITE_MOSTLY: u8 = 1;

/// How much a leg may be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LegState {
    /// No leg in this slot.
    #[default]
    Empty,
    /// Has every acknowledged write.
    InSync,
    /// Missed some, and was whole at some moment: nothing was written to it since.
    Stale,
    /// Was being written while it lacked some: perhaps never whole.
    Inconsistent,
    /// Holds nothing yet, waits for a leg to fail.
    Spare,
}

impl LegState {
    const fn code(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::InSync => 1,
            Self::Stale => 2,
            Self::Inconsistent => 3,
            Self::Spare => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Empty,
            1 => Self::InSync,
            2 => Self::Stale,
            3 => Self::Inconsistent,
            4 => Self::Spare,
            _ => return None,
        })
    }
}

/// A slot of the mirror and the leg in it; the default is an empty slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LegRecord {
    /// The leg's own uuid, new for each base bdev that is admitted; nil in an empty slot.
    pub uuid: Uuid,
    /// How much it may be trusted.
    pub state: LegState,
    /// Read only if no other leg can serve.
    pub write_mostly: bool,
    /// The last generation that it is known to have taken durably while it was in sync; 0: none. Never more than that: a
    /// generation that it was only sent may be one that it has not, and it may have gone its own way since.
    pub last_in_sync: u64,
    /// The stable identity of its base bdev; nil: it has none.
    pub identity: Uuid,
    /// The size of its base bdev when it was admitted, in blocks.
    pub blocks: u64,
}

impl LegRecord {
    /// Whether the slot has no leg.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state == LegState::Empty
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.uuid(self.uuid);
        out.uuid(self.identity);
        out.u64(self.blocks);
        out.u64(self.last_in_sync);
        out.u8(self.state.code());
        out.u8(if self.write_mostly { FLAG_WRITE_MOSTLY } else { 0 });
        out.reserve::<78>();
    }

    pub(super) fn decode(slot: usize, from: &mut Reader<'_>) -> Result<Self, ContentError> {
        let (uuid, identity) = (from.uuid(), from.uuid());
        let (blocks, last_in_sync) = (from.u64(), from.u64());
        let (state, flags) = (from.u8(), from.u8());
        from.reserve::<78>();
        let state = LegState::from_code(state).ok_or(ContentError::State { slot, found: state })?;
        let unknown = flags & !FLAG_WRITE_MOSTLY;
        if unknown != 0 {
            return Err(ContentError::LegFlags { slot, unknown });
        }
        Ok(Self { uuid, state, write_mostly: flags & FLAG_WRITE_MOSTLY != 0, last_in_sync, identity, blocks })
    }
}
