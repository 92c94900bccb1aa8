//! How large a mirror is.

const MIB: u64 = 1 << 20;
/// Most that the default size leaves free on the smallest leg.
const SPARE_BYTES_MAX: u64 = 128 * MIB;

/// Why there can be no mirror of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// The smallest leg would need this many blocks at least.
    TooSmall {
        /// Of the legs' block size.
        needed_blocks: u64,
    },
    /// The size that was asked for is not a whole number of write units.
    NotWhole {
        /// Blocks of a write unit.
        write_unit_blocks: u64,
    },
}

/// Blocks of a mirror whose smallest leg has `leg_blocks` blocks of `block_bytes` bytes.
///
/// With `size_mb` the mirror has that many MiB; without, the smallest leg less 0.1 % (at most 128 MiB less), so that a
/// replacement that is a few MB smaller still fits; rounded down to whole MiB where blocks divide a MiB, and to whole
/// `write_unit_blocks`.
///
/// # Errors
/// [`SizeError`]: the leg is too small for that, or `size_mb` is not whole write units.
pub fn mirror_blocks(
    leg_blocks: u64,
    block_bytes: u32,
    write_unit_blocks: u32,
    size_mb: Option<u64>,
) -> Result<u64, SizeError> {
    let block_bytes = u64::from(block_bytes.max(1));
    let per_mib = if MIB.is_multiple_of(block_bytes) { MIB / block_bytes } else { 1 };
    let write_unit_blocks = u64::from(write_unit_blocks.max(1));
    if let Some(size_mb) = size_mb {
        // Saturating: more than any leg has is too small all the same.
        let wanted = size_mb.saturating_mul(MIB) / block_bytes;
        return if wanted > leg_blocks {
            Err(SizeError::TooSmall { needed_blocks: wanted })
        } else if !wanted.is_multiple_of(write_unit_blocks) {
            Err(SizeError::NotWhole { write_unit_blocks })
        } else {
            Ok(wanted)
        };
    }
    // A write unit that does not divide the MiB wins: the size stays a whole number of units.
    let step = if per_mib.is_multiple_of(write_unit_blocks) { per_mib } else { write_unit_blocks };
    if leg_blocks < step {
        return Err(SizeError::TooSmall { needed_blocks: step });
    }
    let wanted = leg_blocks - (leg_blocks / 1000).min(SPARE_BYTES_MAX / block_bytes);
    // A leg of just one step is used whole.
    Ok((wanted - wanted % step).max(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tenth_of_a_per_cent_stays_free() {
        // 1 GiB: 0.1 % is 1.02 MiB, rounded down to whole MiB leaves 1022.
        assert_eq!(mirror_blocks(1 << 21, 512, 1, None), Ok(1022 * 2048));
    }

    #[test]
    fn large_legs_keep_at_most_128_mib_free() {
        let tib: u64 = 1 << 40;
        assert_eq!(mirror_blocks(tib / 4096, 4096, 1, None), Ok((tib - 128 * MIB) / 4096));
    }

    #[test]
    fn a_size_is_kept_or_refused() {
        assert_eq!(mirror_blocks(8192, 512, 1, Some(4)), Ok(8192));
        assert_eq!(mirror_blocks(8191, 512, 1, Some(4)), Err(SizeError::TooSmall { needed_blocks: 8192 }));
        assert!(mirror_blocks(8192, 512, 1, Some(u64::MAX)).is_err());
        assert_eq!(mirror_blocks(8192, 512, 3, Some(2)), Err(SizeError::NotWhole { write_unit_blocks: 3 }));
        assert_eq!(mirror_blocks(8192, 512, 4096, Some(1)), Err(SizeError::NotWhole { write_unit_blocks: 4096 }));
    }

    #[test]
    fn a_leg_below_one_mib_is_too_small() {
        assert_eq!(mirror_blocks(2047, 512, 1, None), Err(SizeError::TooSmall { needed_blocks: 2048 }));
        assert_eq!(mirror_blocks(2048, 512, 1, None), Ok(2048));
        assert_eq!(mirror_blocks(0, 4096, 1, None), Err(SizeError::TooSmall { needed_blocks: 256 }));
    }

    #[test]
    fn interleaved_metadata_has_no_whole_mib() {
        assert_eq!(mirror_blocks(1000, 520, 1, None), Ok(999));
        assert_eq!(mirror_blocks(1000, 520, 8, None), Ok(992));
    }

    proptest! {
        #[test]
        fn never_beyond_the_leg(leg in any::<u64>(), shift in 0u32..14, unit in 0u32..64, size in any::<Option<u64>>()) {
            for bytes in [512u32 << (shift % 4), (512 << (shift % 4)) + 8] {
                if let Ok(blocks) = mirror_blocks(leg, bytes, unit, size) {
                    prop_assert!(blocks > 0 && blocks <= leg);
                    prop_assert_eq!(blocks % u64::from(unit.max(1)), 0);
                }
            }
        }
    }
}
