//! Where things are on a leg, and how the mirror is divided into regions.

use crate::{MAX_LEGS, Slot};
use std::ops::Range;

use super::map_unit::UNIT_HEADER_BYTES;
use super::superblock::SUPERBLOCK_BYTES;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Most regions that a mirror may have: what bounds the memory for its maps.
pub const REGIONS_MAX: u64 = 1 << 24;
/// Most regions that a mirror has unless it is asked for smaller ones.
pub const REGIONS_DEFAULT_MAX: u64 = 1 << 20;

const BLOCK_BYTES_MIN: u32 = 512;
const BLOCK_BYTES_MAX: u32 = 64 << 10;
/// From one superblock to the other; the rest of each is room for it to grow. No block is larger.
const SUPERBLOCK_STRIDE_BYTES: u64 = 64 * KIB;
/// Where units begin: two superblocks, then 128 KiB for later bad-block lists.
const UNITS_OFFSET_BYTES: u64 = 256 * KIB;
/// Units of one index stand together, this many places: 18 kinds of map and two to come. So a commit that sets bits in
/// several maps writes neighbouring blocks, and more regions only append units: nothing moves when a mirror grows.
const UNITS_STRIDE: u64 = 2 + MAX_LEGS as u64 + 2;

/// Where a mirror keeps its maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogType {
    /// On its legs.
    #[default]
    Internal,
    /// On a bdev of its own; superblocks are on the legs.
    Disk,
    /// In memory only: nothing is on the legs, so no superblock says this.
    Core,
}

/// One of the maps of a mirror, a bit for each region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// Regions in which a write may be under way: dirty.
    Intent,
    /// Regions that were ever written.
    Written,
    /// Regions that the leg in this slot lacks.
    OutOfSync(Slot),
}

impl MapKind {
    /// Its place among the units of one index.
    const fn place(self) -> u64 {
        match self {
            Self::Intent => 0,
            Self::Written => 1,
            Self::OutOfSync(slot) => 2 + slot.index() as u64,
        }
    }

    /// All maps of a mirror, in the order of their places.
    pub fn all() -> impl Iterator<Item = Self> {
        let slots = (0..MAX_LEGS).filter_map(Slot::new);
        [Self::Intent, Self::Written].into_iter().chain(slots.map(Self::OutOfSync))
    }
}

/// The size of a mirror, its regions, and where its data begins on every leg. Offsets are in logical blocks.
///
/// The functions are total, and right for a geometry that [`Geometry::check`] accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Data bytes of a block, without metadata: a power of two, 512 to 65,536.
    pub block_bytes: u32,
    /// Blocks of the mirror.
    pub blocks: u64,
    /// Blocks of a region: a power of two.
    pub region_blocks: u64,
    /// The block of a leg where the mirror's data begins; the same on all legs.
    pub data_offset_blocks: u64,
}

/// Why a geometry is not possible on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GeometryError {
    /// The block size is none that the format knows.
    #[error("block size: expected a power of two from 512 to 65536 bytes, found {found}")]
    BlockBytes {
        /// Bytes.
        found: u32,
    },
    /// The mirror has no blocks.
    #[error("size of the mirror: expected at least one block, found 0")]
    NoBlocks,
    /// The region size is not a power of two.
    #[error("region size: expected a power of two, found {found} blocks")]
    RegionBlocks {
        /// Blocks.
        found: u64,
    },
    /// The regions are too small for that many blocks.
    #[error("regions: expected at most {REGIONS_MAX}, found {found}")]
    Regions {
        /// Regions.
        found: u64,
    },
    /// The metadata needs more room before the data.
    #[error("data offset: expected at least {needed} blocks, found {found}")]
    DataOffset {
        /// Blocks.
        needed: u64,
        /// Blocks.
        found: u64,
    },
    /// The data would end where no byte offset reaches.
    #[error("end of the data: expected a byte offset of 64 bits, found data offset {offset} + {blocks} blocks")]
    Overflow {
        /// Of the data, in blocks.
        offset: u64,
        /// Of the mirror.
        blocks: u64,
    },
    /// The leg is too small.
    #[error("size of the leg: expected at least {needed} blocks, found {found}")]
    LegBlocks {
        /// Blocks.
        needed: u64,
        /// Blocks.
        found: u64,
    },
}

impl Geometry {
    /// Whether a leg of `leg_blocks` blocks can hold this: metadata and data inside the leg and apart from each other.
    ///
    /// # Errors
    /// [`GeometryError`]: the first rule that is broken.
    pub fn check(&self, leg_blocks: u64, log: LogType) -> Result<(), GeometryError> {
        let block_bytes = self.block_bytes;
        if !block_bytes.is_power_of_two() || !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&block_bytes) {
            return Err(GeometryError::BlockBytes { found: block_bytes });
        }
        if self.blocks == 0 {
            return Err(GeometryError::NoBlocks);
        }
        if !self.region_blocks.is_power_of_two() {
            return Err(GeometryError::RegionBlocks { found: self.region_blocks });
        }
        let regions = self.blocks.div_ceil(self.region_blocks);
        if regions > REGIONS_MAX {
            return Err(GeometryError::Regions { found: regions });
        }
        let needed = Self::metadata_blocks(block_bytes, self.regions(), log);
        if self.data_offset_blocks < needed {
            return Err(GeometryError::DataOffset { needed, found: self.data_offset_blocks });
        }
        let end = self.data_offset_blocks.checked_add(self.blocks);
        let Some(needed) = end.filter(|end| end.checked_mul(u64::from(block_bytes)).is_some()) else {
            return Err(GeometryError::Overflow { offset: self.data_offset_blocks, blocks: self.blocks });
        };
        if leg_blocks < needed {
            return Err(GeometryError::LegBlocks { needed, found: leg_blocks });
        }
        Ok(())
    }

    /// How many regions there are; the last may be short.
    #[must_use]
    pub fn regions(&self) -> u32 {
        saturate(self.blocks.div_ceil(self.region_blocks.max(1)))
    }

    /// The region that a block of the mirror belongs to.
    #[must_use]
    #[inline]
    pub fn region_of(&self, block: u64) -> u32 {
        debug_assert!(block < self.blocks);
        // A power of two: a shift, since every write asks.
        saturate(block.checked_shr(self.region_blocks.trailing_zeros()).unwrap_or(0))
    }

    /// The blocks of the mirror that a region has; the last region may be short, and beyond it there are none.
    #[must_use]
    pub fn region_range(&self, region: u32) -> Range<u64> {
        let start = u64::from(region).saturating_mul(self.region_blocks).min(self.blocks);
        start..start.saturating_add(self.region_blocks).min(self.blocks)
    }

    /// Bits of one unit of a map.
    #[must_use]
    pub fn unit_bits(&self) -> u32 {
        unit_bits(self.block_bytes)
    }

    /// Units that a map of this mirror has.
    #[must_use]
    pub fn units_per_map(&self) -> u32 {
        self.regions().div_ceil(self.unit_bits())
    }

    /// The unit that holds a region's bit, and which of its bits it is.
    #[must_use]
    #[inline]
    pub fn unit_of(&self, region: u32) -> (u32, u32) {
        (region / self.unit_bits(), region % self.unit_bits())
    }

    /// The region whose bit this is, or `None` beyond the last region.
    #[must_use]
    pub fn region_at(&self, index: u32, bit: u32) -> Option<u32> {
        let region = u64::from(index) * u64::from(self.unit_bits()) + u64::from(bit);
        (bit < self.unit_bits() && region < u64::from(self.regions())).then_some(region as u32)
    }

    /// The block of the leg where a copy of the superblock begins: copy 0 or 1.
    #[must_use]
    pub fn superblock_block(&self, copy: usize) -> u64 {
        debug_assert!(copy < 2);
        (copy as u64 % 2) * SUPERBLOCK_STRIDE_BYTES / block_bytes_checked(self.block_bytes)
    }

    /// Blocks of a copy of the superblock.
    #[must_use]
    pub fn superblock_blocks(&self) -> u64 {
        (SUPERBLOCK_BYTES as u64).div_ceil(block_bytes_checked(self.block_bytes))
    }

    /// The block of the leg that is this unit of this map.
    #[must_use]
    pub fn unit_block(&self, kind: MapKind, index: u32) -> u64 {
        UNITS_OFFSET_BYTES / block_bytes_checked(self.block_bytes) + u64::from(index) * UNITS_STRIDE + kind.place()
    }

    /// Blocks that metadata takes at the start of a leg: the least data offset. Room for the maps of all slots, however
    /// few there are legs.
    #[must_use]
    pub fn metadata_blocks(block_bytes: u32, regions: u32, log: LogType) -> u64 {
        let units_offset = UNITS_OFFSET_BYTES / block_bytes_checked(block_bytes);
        match log {
            LogType::Internal => units_offset + u64::from(regions.div_ceil(unit_bits(block_bytes))) * UNITS_STRIDE,
            LogType::Disk => units_offset,
            LogType::Core => 0,
        }
    }
}

/// The data offset that a new mirror gets: 1 MiB, or as many as its maps need; none where nothing is on the legs.
#[must_use]
pub fn default_data_offset_blocks(block_bytes: u32, regions: u32, log: LogType) -> u64 {
    let per_mib = MIB / block_bytes_checked(block_bytes);
    Geometry::metadata_blocks(block_bytes, regions, log).next_multiple_of(per_mib)
}

/// The region size that a new mirror gets: the smallest power of two from 1 MiB that gives at most
/// [`REGIONS_DEFAULT_MAX`] regions.
#[must_use]
pub fn default_region_blocks(block_bytes: u32, blocks: u64) -> u64 {
    let per_mib = MIB / block_bytes_checked(block_bytes);
    blocks.div_ceil(REGIONS_DEFAULT_MAX).next_power_of_two().max(per_mib)
}

/// A block size that no check has seen yet must not divide by zero: the nearest that is possible.
fn block_bytes_checked(block_bytes: u32) -> u64 {
    u64::from(block_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX).next_power_of_two())
}

fn unit_bits(block_bytes: u32) -> u32 {
    if let Some(bits) = crate::mutant::small_units() {
        return bits;
    }
    (block_bytes_checked(block_bytes) as u32 - UNIT_HEADER_BYTES as u32) * 8
}

fn saturate(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
