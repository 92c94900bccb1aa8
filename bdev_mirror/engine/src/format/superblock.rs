//! The superblock of a leg: what mirror it belongs to, which leg it is, and what is known of the others.

use super::bytes::{Reader, Writer, checksum, seal};
use super::content::ContentError;
use super::features::{FORMAT_VERSION, KNOWN_COMPATIBLE, KNOWN_INCOMPATIBLE, KNOWN_READ_ONLY, name_bits};
use super::layout::{Geometry, LogType};
use super::leg_record::{LEG_RECORD_BYTES, LegRecord, LegState};
use crate::{LegMask, MAX_LEGS, OwnerId, Slot};
use uuid::Uuid;

/// Bytes of a superblock, whatever the block size.
pub const SUPERBLOCK_BYTES: usize = 4096;
/// Most bytes of a mirror's name.
pub const NAME_BYTES_MAX: usize = 63;

const MAGIC: [u8; 8] = *b"BDEVMIRR";
const FLAG_CLEAN: u8 = 1;
const FLAG_LOG_LOST: u8 = 2;
/// Stored as the source where none was chosen.
const NO_SOURCE: u8 = 255;
/// Bytes before the table of legs, after which reserve follows up to the end.
const HEADER_BYTES: usize = 512;
const RESERVE_BYTES: usize = SUPERBLOCK_BYTES - HEADER_BYTES - MAX_LEGS * LEG_RECORD_BYTES;

/// A superblock. Those of all legs say the same, except for [`Self::leg`] and [`Self::slot`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Superblock {
    /// The mirror.
    pub mirror: Uuid,
    /// Its name: 1 to [`NAME_BYTES_MAX`] bytes without NUL.
    pub name: String,
    /// The leg that this superblock stands on.
    pub leg: Uuid,
    /// Its slot.
    pub slot: Slot,
    /// One more at each write; from 1 on.
    pub sequence: u64,
    /// One more at each change of what legs may be trusted; from 1 on, never used twice.
    pub generation: u64,
    /// The mirror was stopped cleanly: no region is dirty.
    pub clean: bool,
    /// The log device is lost: all regions count as dirty after an unclean stop.
    pub log_lost: bool,
    /// The leg that suspect regions are copied from, once it was chosen.
    pub source: Option<Slot>,
    /// Size, regions, data offset.
    pub geometry: Geometry,
    /// Where the maps are.
    pub log: LogType,
    /// The log device; nil where there is none.
    pub log_uuid: Uuid,
    /// Who runs it, or ran it last.
    pub owner: OwnerId,
    /// How long an owner's heartbeat is good for; 0: for ever.
    pub lease_ms: u32,
    /// One more at each heartbeat of the owner.
    pub heartbeat: u64,
    /// Every slot, the own one too.
    pub legs: [LegRecord; MAX_LEGS],
    /// Compatible feature bits that this module does not know: kept, otherwise of no effect.
    pub unknown_compatible: u64,
    /// Feature bits that this module does not know and that forbid it to write to the leg at all, data or metadata.
    pub unknown_read_only: u64,
}

/// Why there is no superblock that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SuperblockError {
    /// Never written, or wiped: the block holds zeros.
    #[error("no superblock here: the block holds zeros")]
    Absent,
    /// Something else is in the block.
    #[error("no superblock here: expected magic {expected:02x?}, found {found:02x?}", expected = MAGIC)]
    Foreign {
        /// The first bytes of the block.
        found: [u8; 8],
    },
    /// Not all of it was handed in.
    #[error("superblock cut short: expected {SUPERBLOCK_BYTES} bytes, found {found}")]
    Short {
        /// Bytes.
        found: usize,
    },
    /// Torn or decayed.
    #[error("superblock damaged: expected checksum {expected:#010x}, found {found:#010x}")]
    Damaged {
        /// Computed over the block.
        expected: u32,
        /// In the block.
        found: u32,
    },
    /// Of a newer format.
    #[error("version of the superblock: expected {FORMAT_VERSION}, found {found}")]
    Version {
        /// In the block.
        found: u32,
        /// Of the superblock.
        sequence: u64,
    },
    /// It uses features that this module must know, and does not.
    #[error(
        "incompatible feature bits of the superblock: expected none beyond {KNOWN_INCOMPATIBLE:#x}, found {}",
        name_bits(*unknown)
    )]
    Features {
        /// The bits.
        unknown: u64,
        /// Of the superblock.
        sequence: u64,
    },
    /// It is whole, but what it says makes no sense.
    #[error("superblock with sequence {sequence} makes no sense: {error}")]
    Content {
        /// The rule that is broken.
        error: ContentError,
        /// Of the superblock.
        sequence: u64,
    },
    /// The two copies have one sequence and differ.
    #[error("superblock: expected one with sequence {sequence}, found two that differ")]
    Ambiguous {
        /// Of both.
        sequence: u64,
    },
}

impl SuperblockError {
    /// The sequence of a superblock that was written as it is, but cannot be used.
    const fn sequence(&self) -> Option<u64> {
        match self {
            Self::Version { sequence, .. }
            | Self::Features { sequence, .. }
            | Self::Content { sequence, .. }
            | Self::Ambiguous { sequence } => Some(*sequence),
            Self::Absent | Self::Foreign { .. } | Self::Short { .. } | Self::Damaged { .. } => None,
        }
    }

    /// Which of two errors tells more: the higher.
    const fn rank(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Foreign { .. } => 1,
            Self::Short { .. } => 2,
            Self::Damaged { .. } => 3,
            Self::Content { .. } => 4,
            Self::Ambiguous { .. } => 5,
            Self::Features { .. } => 6,
            Self::Version { .. } => 7,
        }
    }
}

impl Superblock {
    /// Which copy, 0 or 1, this sequence is written to: in turn, so that a torn write leaves the one before it.
    #[must_use]
    pub const fn copy(&self) -> usize {
        (self.sequence % 2) as usize
    }

    /// Whether features that this module does not know forbid it to write to the leg.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.unknown_read_only != 0
    }

    /// The slots whose legs are in sync.
    #[must_use]
    pub fn in_sync(&self) -> LegMask {
        (0..MAX_LEGS)
            .filter_map(Slot::new)
            .filter(|slot| self.legs[slot.index()].state == LegState::InSync)
            .fold(LegMask::NONE, LegMask::with)
    }

    /// Its bytes. All reserve is zero, also such as a feature that this module does not know may have used.
    ///
    /// What [`Self::check`] refuses is a mistake of the caller; what comes of it is refused again when it is decoded.
    #[must_use]
    pub fn encode(&self) -> Box<[u8; SUPERBLOCK_BYTES]> {
        debug_assert_eq!(self.check(), Ok(()));
        let mut block = Box::new([0; SUPERBLOCK_BYTES]);
        let mut out = Writer::new(&mut block[..]);
        out.bytes(MAGIC);
        out.u32(0);
        out.u32(FORMAT_VERSION);
        out.u64(KNOWN_COMPATIBLE | self.unknown_compatible);
        out.u64(KNOWN_READ_ONLY | self.unknown_read_only);
        out.u64(KNOWN_INCOMPATIBLE);
        out.u64(self.sequence);
        out.u64(self.generation);
        out.uuid(self.mirror);
        out.uuid(self.leg);
        out.u8(self.slot.index() as u8);
        out.u8(self.source.map_or(NO_SOURCE, |source| source.index() as u8));
        out.u8(log_code(self.log));
        out.u8(if self.clean { FLAG_CLEAN } else { 0 } | if self.log_lost { FLAG_LOG_LOST } else { 0 });
        out.u32(self.lease_ms);
        out.u64(self.heartbeat);
        out.u64(self.geometry.blocks);
        out.u64(self.geometry.region_blocks);
        out.u64(self.geometry.data_offset_blocks);
        out.u32(self.geometry.block_bytes);
        out.reserve::<4>();
        out.uuid(self.log_uuid);
        out.uuid(self.owner.machine);
        out.uuid(self.owner.boot);
        out.uuid(self.owner.instance);
        out.bytes(pad_name(&self.name));
        out.reserve::<248>();
        for record in &self.legs {
            record.encode(&mut out);
        }
        out.reserve::<RESERVE_BYTES>();
        seal(&mut block[..]);
        block
    }

    /// Reads the first [`SUPERBLOCK_BYTES`] of what was found where a superblock should be.
    ///
    /// # Errors
    /// [`SuperblockError`]: it is none, or none that this module can use.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let Some(bytes) = bytes.get(..SUPERBLOCK_BYTES) else {
            return Err(SuperblockError::Short { found: bytes.len() });
        };
        let mut fields = Reader::new(bytes);
        let magic = fields.bytes();
        if magic != MAGIC {
            let absent = bytes.iter().all(|byte| *byte == 0);
            return Err(if absent { SuperblockError::Absent } else { SuperblockError::Foreign { found: magic } });
        }
        let (expected, found) = (checksum(bytes), fields.u32());
        if expected != found {
            return Err(SuperblockError::Damaged { expected, found });
        }
        let version = fields.u32();
        let (compatible, read_only, incompatible) = (fields.u64(), fields.u64(), fields.u64());
        let sequence = fields.u64();
        if version != FORMAT_VERSION {
            return Err(SuperblockError::Version { found: version, sequence });
        }
        let unknown = incompatible & !KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            return Err(SuperblockError::Features { unknown, sequence });
        }
        let unknown = Unknown { compatible: compatible & !KNOWN_COMPATIBLE, read_only: read_only & !KNOWN_READ_ONLY };
        Self::decode_content(sequence, unknown, &mut fields)
            .map_err(|error| SuperblockError::Content { error, sequence })
    }

    fn decode_content(sequence: u64, unknown: Unknown, fields: &mut Reader<'_>) -> Result<Self, ContentError> {
        let generation = fields.u64();
        let (mirror, leg) = (fields.uuid(), fields.uuid());
        let slot = decode_slot("own slot", fields.u8())?;
        let source = match fields.u8() {
            NO_SOURCE => None,
            found => Some(decode_slot("chosen source", found)?),
        };
        let log = match fields.u8() {
            0 => LogType::Internal,
            1 => LogType::Disk,
            found => return Err(ContentError::LogType { found }),
        };
        let flags = fields.u8();
        let unknown_flags = flags & !(FLAG_CLEAN | FLAG_LOG_LOST);
        if unknown_flags != 0 {
            return Err(ContentError::Flags { unknown: unknown_flags });
        }
        let (lease_ms, heartbeat) = (fields.u32(), fields.u64());
        let (blocks, region_blocks, data_offset_blocks) = (fields.u64(), fields.u64(), fields.u64());
        let geometry = Geometry { block_bytes: fields.u32(), blocks, region_blocks, data_offset_blocks };
        fields.reserve::<4>();
        let log_uuid = fields.uuid();
        let owner = OwnerId { machine: fields.uuid(), boot: fields.uuid(), instance: fields.uuid() };
        let name = unpad_name(&fields.bytes())?;
        fields.reserve::<248>();
        let mut legs = [(); MAX_LEGS].map(|()| LegRecord::default());
        for (index, record) in legs.iter_mut().enumerate() {
            *record = LegRecord::decode(index, fields)?;
        }
        fields.reserve::<RESERVE_BYTES>();
        // Only a feature may use the reserve, and it says so with a bit.
        if !fields.reserve_is_zero() && unknown.compatible | unknown.read_only == 0 {
            return Err(ContentError::Reserve);
        }
        let superblock = Self {
            mirror,
            name,
            leg,
            slot,
            sequence,
            generation,
            clean: flags & FLAG_CLEAN != 0,
            log_lost: flags & FLAG_LOG_LOST != 0,
            source,
            geometry,
            log,
            log_uuid,
            owner,
            lease_ms,
            heartbeat,
            legs,
            unknown_compatible: unknown.compatible,
            unknown_read_only: unknown.read_only,
        };
        superblock.check()?;
        Ok(superblock)
    }

    /// Which of the two copies of a leg counts: the one with the higher sequence, or the only one.
    ///
    /// A copy that is torn, wiped or foreign leaves the other. One that was written whole and cannot be used (a newer
    /// format, or nonsense) is refused if it is the newer one: the older tells of a state that is past.
    ///
    /// # Errors
    /// [`SuperblockError`]: of the copy that counts; if none does, the error that tells more.
    pub fn newest(a: Result<Self, SuperblockError>, b: Result<Self, SuperblockError>) -> Result<Self, SuperblockError> {
        match (a, b) {
            (Ok(a), Ok(b)) if a.sequence == b.sequence => {
                if a == b {
                    Ok(a)
                } else {
                    Err(SuperblockError::Ambiguous { sequence: a.sequence })
                }
            }
            (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
            (Ok(good), Err(error)) | (Err(error), Ok(good)) => match error.sequence() {
                Some(sequence) if sequence >= good.sequence => Err(error),
                _ => Ok(good),
            },
            (Err(a), Err(b)) => Err(if a.rank() >= b.rank() { a } else { b }),
        }
    }
}

/// Feature bits that this module does not know and may live with.
struct Unknown {
    compatible: u64,
    read_only: u64,
}

/// A log type as it is stored; the last one never is.
pub(super) const fn log_code(log: LogType) -> u8 {
    match log {
        LogType::Internal => 0,
        LogType::Disk => 1,
        LogType::Core => 2,
    }
}

fn decode_slot(field: &'static str, found: u8) -> Result<Slot, ContentError> {
    Slot::new(usize::from(found)).ok_or(ContentError::Slot { field, found })
}

/// The name, padded with zeros; what is too long is cut.
fn pad_name(name: &str) -> [u8; NAME_BYTES_MAX + 1] {
    let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
    let mut field = [0; NAME_BYTES_MAX + 1];
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    field
}

fn unpad_name(field: &[u8; NAME_BYTES_MAX + 1]) -> Result<String, ContentError> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (name, padding) = field.split_at(end);
    if padding.iter().any(|byte| *byte != 0) {
        return Err(ContentError::Name { found: "bytes after its end" });
    }
    // How long it may be is among the rules of content.
    std::str::from_utf8(name).map(str::to_owned).map_err(|_| ContentError::Name { found: "other bytes" })
}
