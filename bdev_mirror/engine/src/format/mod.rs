//! What stands on the legs: where it is, what each byte means, and what is refused. `docs/format.md` is the reference.
//!
//! Everything that is read from a leg may hold anything: a decoder neither panics nor loops nor allocates by what it
//! reads, and gives out nothing whose parts contradict each other. What it cannot know is the bdev in front of it: whoever
//! decodes a superblock calls [`Geometry::check`] with the size of that bdev before the geometry is used.

mod bytes;
mod content;
mod features;
mod layout;
mod leg_record;
mod map_unit;
mod superblock;

pub use content::{COUNTER_MAX, ContentError};
pub use features::{FORMAT_VERSION, KNOWN_COMPATIBLE, KNOWN_INCOMPATIBLE, KNOWN_READ_ONLY};
pub use layout::{
    Geometry, GeometryError, LogType, MapKind, REGIONS_DEFAULT_MAX, REGIONS_MAX, default_data_offset_blocks,
    default_region_blocks,
};
pub use leg_record::{LegRecord, LegState};
pub use map_unit::{UNIT_HEADER_BYTES, UnitBits, UnitError, decode_unit, encode_unit};
pub use superblock::{NAME_BYTES_MAX, SUPERBLOCK_BYTES, Superblock, SuperblockError};
