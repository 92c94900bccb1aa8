//! What both targets need.
//!
//! A checksum makes a fuzzer blind: whatever it changes is refused. So each input is decoded twice, as it is and with the
//! right checksum; the corpus holds plain images, whose zeros at the end are left out.

/// The input as a block of this size: cut, or padded with zeros.
#[must_use]
pub fn block(input: &[u8], bytes: usize) -> Vec<u8> {
    let mut block = input[..input.len().min(bytes)].to_vec();
    block.resize(bytes, 0);
    block
}

/// Stores the right checksum, over all of the block and at the place that superblocks and units have it.
pub fn seal(block: &mut [u8]) {
    block[8..12].fill(0);
    let crc = crc32c::crc32c(block);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
}
