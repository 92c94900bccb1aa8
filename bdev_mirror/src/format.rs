//! The format of a leg's blocks.

use spdk_sys::mirror_shim_bdev_view;

/// What the legs of a mirror have in common, and the mirror with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bytes of a block, with interleaved metadata.
    pub block_bytes: u32,
    /// Bytes of metadata of a block; without any, all that describes metadata is 0 and false here, whatever the bdev says.
    pub metadata_bytes: u32,
    pub metadata_interleaved: bool,
    /// `enum spdk_dif_type`.
    pub dif_type: u32,
    /// `enum spdk_dif_pi_format`; 0 before 24.09.
    pub dif_pi_format: u32,
    pub dif_is_head_of_metadata: bool,
    /// Writes are whole multiples of this many blocks.
    pub write_unit_blocks: u32,
    /// Larger writes are split by the write unit, by the bdev layer.
    pub split_on_write_unit: bool,
}

impl Format {
    /// The format of a bdev.
    pub fn of(view: &mirror_shim_bdev_view) -> Self {
        let has_metadata = view.md_len > 0;
        Self {
            block_bytes: view.blocklen,
            metadata_bytes: view.md_len,
            metadata_interleaved: has_metadata && view.md_interleave,
            dif_type: if has_metadata { view.dif_type } else { 0 },
            dif_pi_format: if has_metadata { view.dif_pi_format } else { 0 },
            dif_is_head_of_metadata: has_metadata && view.dif_type != 0 && view.dif_is_head_of_md,
            write_unit_blocks: view.write_unit_size.max(1),
            split_on_write_unit: view.split_on_write_unit,
        }
    }

    /// The first difference to another format: what, ours, theirs.
    pub fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let fields = [
            ("block size", self.block_bytes, other.block_bytes),
            ("metadata size", self.metadata_bytes, other.metadata_bytes),
            ("interleaving of metadata", self.metadata_interleaved.into(), other.metadata_interleaved.into()),
            ("protection information type", self.dif_type, other.dif_type),
            ("protection information format", self.dif_pi_format, other.dif_pi_format),
            (
                "place of the protection information",
                self.dif_is_head_of_metadata.into(),
                other.dif_is_head_of_metadata.into(),
            ),
            ("write unit in blocks", self.write_unit_blocks, other.write_unit_blocks),
            ("splitting by write units", self.split_on_write_unit.into(), other.split_on_write_unit.into()),
        ];
        fields
            .into_iter()
            .find(|(_, ours, theirs)| ours != theirs)
            .map(|(what, ours, theirs)| (what, ours.to_string(), theirs.to_string()))
    }
}
