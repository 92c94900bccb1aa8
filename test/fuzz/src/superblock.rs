//! Superblocks of any content: the decoder ends, gives out only what makes sense, and what it gives out comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mirror_engine::format::{COUNTER_MAX, LogType, MapKind, SUPERBLOCK_BYTES, Superblock, SuperblockError};

fuzz_target!(|input: &[u8]| {
    // As read from a leg, short or long.
    let _ = Superblock::decode(input).inspect(check);
    let mut image = mirror_fuzz::block(input, SUPERBLOCK_BYTES);
    let raw = Superblock::decode(&image).inspect(check);
    mirror_fuzz::seal(&mut image);
    let sealed = Superblock::decode(&image).inspect(check);
    assert!(!matches!(sealed, Err(SuperblockError::Damaged { .. })));
    if let Err(error) = &sealed {
        assert!(!error.to_string().is_empty());
    }
    check_newest(&raw, &sealed);
});

fn check(superblock: &Superblock) {
    assert_eq!(superblock.check(), Ok(()));
    let encoded = superblock.encode();
    assert_eq!(Superblock::decode(&encoded[..]).as_ref(), Ok(superblock));
    let mut resealed = encoded.clone();
    mirror_fuzz::seal(&mut resealed[..]);
    assert!(encoded == resealed, "the checksum is not that of the format");

    let in_sync = superblock.in_sync();
    assert!(!in_sync.is_empty());
    assert!(superblock.source.is_none_or(|source| in_sync.contains(source)));
    assert!(superblock.legs[superblock.slot.index()].uuid == superblock.leg);
    for leg in superblock.legs.iter().filter(|leg| !leg.is_empty()) {
        check_geometry(superblock, leg.blocks);
    }
    // The bdev at hand may have any size: smaller than the mirror, just enough, more.
    let end = superblock.geometry.data_offset_blocks + superblock.geometry.blocks;
    for leg_blocks in [0, end - 1, end, u64::MAX, superblock.heartbeat] {
        check_geometry(superblock, leg_blocks);
    }
}

/// If a leg of that size is accepted, then all that would be read or written of it is inside.
fn check_geometry(superblock: &Superblock, leg_blocks: u64) {
    let geometry = &superblock.geometry;
    if geometry.check(leg_blocks, superblock.log).is_err() {
        assert!(u128::from(leg_blocks) < u128::from(geometry.data_offset_blocks) + u128::from(geometry.blocks));
        return;
    }
    let block_bytes = u128::from(geometry.block_bytes);
    let end = u128::from(geometry.data_offset_blocks) + u128::from(geometry.blocks);
    assert!(end <= u128::from(leg_blocks) && end * block_bytes <= u128::from(u64::MAX));

    let mut metadata_end = 0;
    for copy in [0, 1] {
        let start = geometry.superblock_block(copy);
        assert!(start >= metadata_end, "superblocks overlap");
        metadata_end = start + geometry.superblock_blocks();
    }
    assert!(metadata_end <= geometry.data_offset_blocks);
    let regions = geometry.regions();
    let last = regions - 1;
    if superblock.log == LogType::Internal {
        assert!(geometry.unit_block(MapKind::Intent, 0) >= metadata_end, "a unit lies on a superblock");
        let (index, _) = geometry.unit_of(last);
        assert_eq!(index + 1, geometry.units_per_map());
        assert!(MapKind::all().all(|kind| geometry.unit_block(kind, index) < geometry.data_offset_blocks));
    }
    for region in [0, last / 2, last] {
        let range = geometry.region_range(region);
        assert!(range.start < range.end && range.end <= geometry.blocks);
        assert_eq!((geometry.region_of(range.start), geometry.region_of(range.end - 1)), (region, region));
        let (index, bit) = geometry.unit_of(region);
        assert_eq!(geometry.region_at(index, bit), Some(region));
    }
    assert_eq!(geometry.region_range(last).end, geometry.blocks);
    assert!(geometry.region_range(regions).is_empty());
}

/// Never an older copy while the newer one is there.
fn check_newest(a: &Result<Superblock, SuperblockError>, b: &Result<Superblock, SuperblockError>) {
    for (a, b) in [(a, b), (b, a), (b, b)] {
        let newest = Superblock::newest(a.clone(), b.clone());
        if let Ok(newest) = &newest {
            assert!([a, b].into_iter().flatten().any(|copy| copy == newest));
        }
        for copy in [a, b].into_iter().flatten() {
            assert!(newest.as_ref().map_or(true, |newest| newest.sequence >= copy.sequence));
        }
    }
    // A leg whose counters are above half of what they may be is not counted on from.
    if let Ok(older) = b
        && older.sequence < COUNTER_MAX
    {
        let sequence = older.sequence + 1;
        let newer = Superblock { sequence, clean: !older.clean, ..older.clone() };
        assert_ne!(newer.copy(), older.copy());
        let newer = Superblock::decode(&newer.encode()[..]);
        assert_eq!(Superblock::newest(b.clone(), newer.clone()), newer);
        assert_eq!(Superblock::newest(newer.clone(), b.clone()), newer);
    }
}
