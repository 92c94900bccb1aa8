//! The format does not change by accident: encoded examples that were made without this code, by `docs/format.md` alone.
//!
//! The files are as `xxd -r` reads them; lines of zeros are left out.

use crate::example::{slot, superblock, uuid};
use mirror_engine::format::{MapKind, SUPERBLOCK_BYTES, Superblock, decode_unit, encode_unit};

fn bytes_of(fixture: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for line in fixture.lines() {
        let (offset, digits) = line.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let digits = digits.replace(' ', "");
        for (index, byte) in bytes[offset..][..digits.len() / 2].iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..][..2], 16).unwrap();
        }
    }
    bytes
}

/// So that a difference is shown as a line and not as 4,096 numbers.
fn assert_same(encoded: &[u8], fixture: &[u8]) {
    for (offset, (encoded, fixture)) in (0..).step_by(16).zip(encoded.chunks(16).zip(fixture.chunks(16))) {
        assert_eq!(format!("{offset:08x}: {encoded:02x?}"), format!("{offset:08x}: {fixture:02x?}"));
    }
    assert_eq!(encoded.len(), fixture.len());
}

#[test]
fn a_superblock_is_what_it_was() {
    let fixture = bytes_of(include_str!("../../fixtures/superblock.hex"), SUPERBLOCK_BYTES);
    assert_same(&superblock().encode()[..], &fixture);
    assert_eq!(Superblock::decode(&fixture), Ok(superblock()));
}

#[test]
fn a_unit_is_what_it_was() {
    let fixture = bytes_of(include_str!("../../fixtures/map_unit.hex"), 512);
    let (kind, index) = (MapKind::OutOfSync(slot(9)), 0x0102_0304);
    let mut words = [0; 56];
    (words[0], words[1], words[55]) = (1 << 63 | 1, 1, 1 << 63);
    let mut block = [0xee; 512];
    encode_unit(uuid(0x10), kind, index, &words, &mut block);
    assert_same(&block, &fixture);
    assert!(decode_unit(uuid(0x10), kind, index, &fixture).unwrap().words().eq(words));
}
