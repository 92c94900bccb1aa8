//! Versions and feature bits: what an older module does with a newer format.

/// The version of superblocks and units. It changes only if the fields up to the sequence move; all else is a feature bit.
pub const FORMAT_VERSION: u32 = 1;

/// Compatible features that this module knows. Of others it takes no notice, and keeps their bits.
pub const KNOWN_COMPATIBLE: u64 = 0;

/// Features that this module knows among those that allow others to read only.
pub const KNOWN_READ_ONLY: u64 = 0;

/// Incompatible features that this module knows. With any other the superblock is refused.
pub const KNOWN_INCOMPATIBLE: u64 = 0;

/// Names the bits of a feature word: "0, 5".
pub(super) fn name_bits(bits: u64) -> String {
    let names: Vec<String> = (0..u64::BITS).filter(|bit| bits >> bit & 1 == 1).map(|bit| bit.to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names() {
        assert_eq!(name_bits(0), "");
        assert_eq!(name_bits(0x21), "0, 5");
        assert_eq!(name_bits(1 << 63), "63");
    }
}
