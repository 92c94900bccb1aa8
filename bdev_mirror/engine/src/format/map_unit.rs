//! A unit: one logical block of a map, which says itself of which mirror, which map and which part it is.

use super::bytes::{Reader, Writer, checksum, seal};
use super::features::FORMAT_VERSION;
use super::layout::MapKind;
use crate::Slot;
use uuid::Uuid;

/// Bytes of a unit before its bits.
pub const UNIT_HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"BDEVMMAP";
const WORD_BYTES: usize = 8;

/// Why a block is no unit of this map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UnitError {
    /// Never written: the block holds zeros.
    #[error("no map unit here: the block holds zeros")]
    Absent,
    /// Not a whole block was handed in.
    #[error("block of a map unit: expected a power of two from 512 to 65536 bytes, found {found}")]
    Length {
        /// Bytes.
        found: usize,
    },
    /// Something else is in the block.
    #[error("no map unit here: expected magic {expected:02x?}, found {found:02x?}", expected = MAGIC)]
    Foreign {
        /// The first bytes of the block.
        found: [u8; 8],
    },
    /// Torn or decayed.
    #[error("map unit damaged: expected checksum {expected:#010x}, found {found:#010x}")]
    Damaged {
        /// Computed over the block.
        expected: u32,
        /// In the block.
        found: u32,
    },
    /// Of a newer format.
    #[error("version of the map unit: expected {FORMAT_VERSION}, found {found}")]
    Version {
        /// In the block.
        found: u32,
    },
    /// Of another mirror.
    #[error("mirror of the map unit: expected {expected}, found {found}")]
    Mirror {
        /// Asked for.
        expected: Uuid,
        /// In the block.
        found: Uuid,
    },
    /// Of another map.
    #[error("map of the unit: expected kind and slot {expected:?}, found {found:?}")]
    Kind {
        /// Asked for: kind and slot as they are stored.
        expected: (u8, u8),
        /// In the block.
        found: (u8, u8),
    },
    /// Another part of the map.
    #[error("index of the map unit: expected {expected}, found {found}")]
    Index {
        /// Asked for.
        expected: u32,
        /// In the block.
        found: u32,
    },
    /// Bytes are set that this version does not use.
    #[error("reserve of the map unit: expected zeros, found other bytes")]
    Reserve,
}

/// The bits of a decoded unit, still in the block that they were read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnitBits<'a> {
    payload: &'a [u8],
}

impl<'a> UnitBits<'a> {
    /// Its bits as words, the lowest bit first.
    pub fn words(self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        let (words, _) = self.payload.as_chunks::<WORD_BYTES>();
        words.iter().map(|word| u64::from_le_bytes(*word))
    }

    /// One bit; beyond the last there are none set.
    #[must_use]
    pub fn get(self, bit: u32) -> bool {
        self.payload.get(bit as usize / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

/// Kind and slot as they are stored.
const fn codes(kind: MapKind) -> (u8, u8) {
    match kind {
        MapKind::Intent => (0, 0),
        MapKind::Written => (1, 0),
        MapKind::OutOfSync(slot) => (2, Slot::index(slot) as u8),
    }
}

/// Makes the block of a unit; `out` is one whole block, and `bits` its words, less than it holds where the map is short.
///
/// More words than a block holds are a mistake of the caller. Then all bits are set, since a bit too many costs a copy and
/// a bit too few costs data.
pub fn encode_unit(mirror: Uuid, kind: MapKind, index: u32, bits: &[u64], out: &mut [u8]) {
    debug_assert!(is_block(out.len()));
    out.fill(0);
    // Too short for a header: zeros, which are no unit.
    let Some((header, payload)) = out.split_at_mut_checked(UNIT_HEADER_BYTES) else { return };
    let mut fields = Writer::new(header);
    fields.bytes(MAGIC);
    fields.u32(0);
    fields.u32(FORMAT_VERSION);
    fields.uuid(mirror);
    let (kind, slot) = codes(kind);
    fields.u8(kind);
    fields.u8(slot);
    fields.reserve::<2>();
    fields.u32(index);
    fields.reserve::<24>();

    let (words, _) = payload.as_chunks_mut::<WORD_BYTES>();
    let fits = bits.len() <= words.len();
    debug_assert!(fits);
    if fits {
        for (word, bits) in words.iter_mut().zip(bits) {
            *word = bits.to_le_bytes();
        }
    } else {
        payload.fill(u8::MAX);
    }
    seal(out);
}

/// Reads the block of a unit, whole, and makes sure that it is the one that was asked for.
///
/// # Errors
/// [`UnitError`]: it is not, or is none at all.
pub fn decode_unit(mirror: Uuid, kind: MapKind, index: u32, block: &[u8]) -> Result<UnitBits<'_>, UnitError> {
    if !is_block(block.len()) {
        return Err(UnitError::Length { found: block.len() });
    }
    let mut fields = Reader::new(block);
    let magic = fields.bytes();
    if magic != MAGIC {
        let absent = block.iter().all(|byte| *byte == 0);
        return Err(if absent { UnitError::Absent } else { UnitError::Foreign { found: magic } });
    }
    let (expected, found) = (checksum(block), fields.u32());
    if expected != found {
        return Err(UnitError::Damaged { expected, found });
    }
    let found = fields.u32();
    if found != FORMAT_VERSION {
        return Err(UnitError::Version { found });
    }
    let found = fields.uuid();
    if found != mirror {
        return Err(UnitError::Mirror { expected: mirror, found });
    }
    let (expected, found) = (codes(kind), (fields.u8(), fields.u8()));
    if expected != found {
        return Err(UnitError::Kind { expected, found });
    }
    fields.reserve::<2>();
    let found = fields.u32();
    if found != index {
        return Err(UnitError::Index { expected: index, found });
    }
    fields.reserve::<24>();
    if !fields.reserve_is_zero() {
        return Err(UnitError::Reserve);
    }
    Ok(UnitBits { payload: block.get(UNIT_HEADER_BYTES..).unwrap_or_default() })
}

fn is_block(bytes: usize) -> bool {
    bytes.is_power_of_two() && (512..=65_536).contains(&bytes)
}
