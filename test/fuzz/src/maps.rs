//! Units of maps, of any content: they decode for the mirror, map and index that they name, and for no other.
//!
//! The first byte of an input chooses the block size; the unit follows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mirror_engine::Slot;
use mirror_engine::format::{MapKind, UnitError, decode_unit, encode_unit};
use uuid::Uuid;

fuzz_target!(|input: &[u8]| {
    let Some((size, input)) = input.split_first() else { return };
    let (mirror, kind, index) = named_by(&mirror_fuzz::block(input, 64));
    // As it is: also where it is no whole block.
    let _ = decode_unit(mirror, kind, index, input);
    let mut block = mirror_fuzz::block(input, 512 << (size % 8));
    check(mirror, kind, index, &block);
    mirror_fuzz::seal(&mut block);
    check(mirror, kind, index, &block);
});

/// What a header says of itself, read here once more by docs/format.md; a map that does not exist counts as another one.
fn named_by(header: &[u8]) -> (Uuid, MapKind, u32) {
    let mirror = Uuid::from_slice(&header[16..32]).unwrap_or_default();
    let kind = match header[32] {
        0 => MapKind::Intent,
        1 => MapKind::Written,
        _ => Slot::new(usize::from(header[33])).map_or(MapKind::Intent, MapKind::OutOfSync),
    };
    (mirror, kind, u32::from_le_bytes([header[36], header[37], header[38], header[39]]))
}

fn check(mirror: Uuid, kind: MapKind, index: u32, block: &[u8]) {
    let bits = match decode_unit(mirror, kind, index, block) {
        Ok(bits) => bits,
        Err(UnitError::Absent) => return assert!(block.iter().all(|byte| *byte == 0)),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // Nothing but what the header names.
    let others = MapKind::all().filter(|other| *other != kind);
    assert!(others.into_iter().all(|other| decode_unit(mirror, other, index, block).is_err()));
    for bit in [0, 64, 127] {
        let other = Uuid::from_u128(mirror.as_u128() ^ 1 << bit);
        assert!(decode_unit(other, kind, index, block).is_err());
    }
    for bit in [0, 31] {
        assert!(decode_unit(mirror, kind, index ^ 1 << bit, block).is_err());
    }
    // A unit that decodes has no byte that its value does not give.
    let words: Vec<u64> = bits.words().collect();
    assert_eq!(words.len() * 8 + 64, block.len());
    let mut again = vec![0xee; block.len()];
    encode_unit(mirror, kind, index, &words, &mut again);
    assert!(again == block, "a unit changed on its way through");
    let ones: u32 = words.iter().map(|word| word.count_ones()).sum();
    let bits_in_all = words.len() as u32 * 64;
    assert_eq!((0..bits_in_all).filter(|bit| bits.get(*bit)).count(), ones as usize);
}
