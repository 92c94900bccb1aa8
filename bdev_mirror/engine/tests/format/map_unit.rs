use crate::example::{slot, uuid};
use mirror_engine::format::{MapKind, UNIT_HEADER_BYTES, UnitError, decode_unit, encode_unit};
use proptest::prelude::*;
use uuid::Uuid;

fn encoded(kind: MapKind, index: u32, bits: &[u64], block_bytes: usize) -> Vec<u8> {
    let mut block = vec![0xee; block_bytes];
    encode_unit(uuid(0x10), kind, index, bits, &mut block);
    block
}

/// Stores the right checksum, as somebody who writes nonsense on purpose does.
fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    block[8..12].fill(0);
    let crc = crc32c::crc32c(&block);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    block
}

#[test]
fn a_short_map_is_padded_with_zeros() {
    let block = encoded(MapKind::Written, 3, &[1 << 63, 5], 512);
    let bits = decode_unit(uuid(0x10), MapKind::Written, 3, &block).unwrap();
    assert_eq!(bits.words().len(), 56);
    assert_eq!(bits.words().take(3).collect::<Vec<_>>(), [1 << 63, 5, 0]);
    let set: Vec<u32> = (0..4000).filter(|bit| bits.get(*bit)).collect();
    assert_eq!(set, [63, 64, 66]);
    assert!(!bits.get(u32::MAX));
}

#[test]
fn each_mistake_has_its_error() {
    let (mirror, kind) = (uuid(0x10), MapKind::OutOfSync(slot(9)));
    let block = encoded(kind, 7, &[u64::MAX; 56], 512);
    let decode = |mirror: Uuid, kind, index, block: &[u8]| decode_unit(mirror, kind, index, block).map(|_| ());
    assert_eq!(decode(mirror, kind, 7, &block), Ok(()));
    assert_eq!(decode(uuid(0x11), kind, 7, &block), Err(UnitError::Mirror { expected: uuid(0x11), found: mirror }));
    for (other, code) in [(MapKind::Intent, (0, 0)), (MapKind::Written, (1, 0)), (MapKind::OutOfSync(slot(8)), (2, 8))]
    {
        let expected = Err(UnitError::Kind { expected: code, found: (2, 9) });
        assert_eq!(decode(mirror, other, 7, &block), expected);
    }
    assert_eq!(decode(mirror, kind, 8, &block), Err(UnitError::Index { expected: 8, found: 7 }));
    assert_eq!(decode(mirror, kind, 7, &[0; 512]), Err(UnitError::Absent));
    assert_eq!(decode(mirror, kind, 7, &[9; 512]), Err(UnitError::Foreign { found: [9; 8] }));
    for bytes in [0, 63, 256, 511, 768, 131_072] {
        let mut wrong = block.clone();
        wrong.resize(bytes, 0);
        assert_eq!(decode(mirror, kind, 7, &wrong), Err(UnitError::Length { found: bytes }));
    }
    // A unit in a larger block is another one: its checksum covers the block.
    let mut larger = block.clone();
    larger.resize(1024, 0);
    assert!(matches!(decode(mirror, kind, 7, &larger), Err(UnitError::Damaged { .. })));
    let mut newer = block.clone();
    newer[12] = 2;
    assert_eq!(decode(mirror, kind, 7, &sealed(newer)), Err(UnitError::Version { found: 2 }));
    for at in [34, 35, 40, 63] {
        let mut used = block.clone();
        used[at] = 1;
        assert_eq!(decode(mirror, kind, 7, &sealed(used)), Err(UnitError::Reserve));
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn too_many_words_set_all_bits() {
    let block = encoded(MapKind::Intent, 0, &[0; 57], 512);
    assert!(decode_unit(uuid(0x10), MapKind::Intent, 0, &block).unwrap().words().all(|word| word == u64::MAX));
}

proptest! {
    #[test]
    fn units_come_back(
        shift in 9u32..=16, kind in 0usize..18, index in any::<u32>(), mirror in any::<u128>(),
        words in prop::collection::vec(any::<u64>(), 0..100),
    ) {
        let (kind, mirror) = (MapKind::all().nth(kind).unwrap(), Uuid::from_u128(mirror));
        let mut block = vec![0xee; 1 << shift];
        let held = (block.len() - UNIT_HEADER_BYTES) / 8;
        let words = &words[..words.len().min(held)];
        encode_unit(mirror, kind, index, words, &mut block);
        let bits = decode_unit(mirror, kind, index, &block).unwrap();
        prop_assert_eq!(bits.words().len(), held);
        prop_assert!(bits.words().eq(words.iter().copied().chain(std::iter::repeat(0)).take(held)));
        for (bit, word) in (0..).step_by(64).zip(bits.words()).take(8) {
            prop_assert!((0..64).all(|low| bits.get(bit + low) == (word >> low & 1 == 1)));
        }
        for other in MapKind::all().filter(|other| *other != kind) {
            prop_assert!(decode_unit(mirror, other, index, &block).is_err());
        }
    }

    #[test]
    fn any_changed_byte_is_refused(
        words in prop::collection::vec(any::<u64>(), 0..56), at in 0usize..512, change in 1u8..=255,
    ) {
        let mut block = encoded(MapKind::Intent, 1, &words, 512);
        block[at] ^= change;
        prop_assert!(decode_unit(uuid(0x10), MapKind::Intent, 1, &block).is_err());
    }

    #[test]
    fn any_bytes_are_survived(block in prop::collection::vec(any::<u8>(), 0..1100)) {
        let _ = decode_unit(uuid(0x10), MapKind::Intent, 1, &block);
    }
}
