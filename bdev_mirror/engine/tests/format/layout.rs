use crate::example::{any_geometry, slot};
use mirror_engine::format::{
    Geometry, GeometryError, LogType, MapKind, REGIONS_DEFAULT_MAX, REGIONS_MAX, default_data_offset_blocks,
    default_region_blocks,
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn geometry() -> Geometry {
    Geometry { block_bytes: 512, blocks: 10_000, region_blocks: 4096, data_offset_blocks: 2048 }
}

#[test]
fn a_leg_is_laid_out_as_documented() {
    let geometry = geometry();
    assert_eq!(geometry.superblock_blocks(), 8);
    assert_eq!((geometry.superblock_block(0), geometry.superblock_block(1)), (0, 128));
    assert_eq!(geometry.unit_block(MapKind::Intent, 0), 512);
    assert_eq!(geometry.unit_block(MapKind::Written, 0), 513);
    assert_eq!(geometry.unit_block(MapKind::OutOfSync(slot(0)), 0), 514);
    assert_eq!(geometry.unit_block(MapKind::OutOfSync(slot(15)), 1), 549);
    let large = Geometry { block_bytes: 65_536, ..geometry };
    assert_eq!(large.superblock_blocks(), 1);
    assert_eq!((large.superblock_block(0), large.superblock_block(1)), (0, 1));
    assert_eq!(large.unit_block(MapKind::Intent, 0), 4);
}

#[test]
fn a_region_s_bit_is_found() {
    let geometry = geometry();
    assert_eq!(geometry.unit_bits(), 448 * 8);
    assert_eq!(geometry.unit_of(0), (0, 0));
    assert_eq!(geometry.unit_of(3583), (0, 3583));
    assert_eq!(geometry.unit_of(3584), (1, 0));
    assert_eq!(geometry.regions(), 3);
    assert_eq!(geometry.region_range(2), 8192..10_000);
    assert_eq!(geometry.region_range(3), 10_000..10_000);
    assert_eq!(geometry.region_range(u32::MAX), 10_000..10_000);
    assert_eq!(geometry.region_at(0, 2), Some(2));
    assert_eq!(geometry.region_at(0, 3), None);
    assert_eq!(geometry.region_at(u32::MAX, u32::MAX), None);
}

#[test]
fn the_last_bit_of_a_unit_and_the_last_region_are_in() {
    let many = Geometry { blocks: 4096 * 8000, ..geometry() };
    assert_eq!(
        (many.region_at(0, 3583), many.region_at(0, 3584), many.region_at(1, 0)),
        (Some(3583), None, Some(3584))
    );
    let most = Geometry { block_bytes: 512, blocks: REGIONS_MAX * 8, region_blocks: 8, data_offset_blocks: 1 << 30 };
    assert_eq!(most.check(1 << 40, LogType::Internal), Ok(()));
    let more = Geometry { blocks: REGIONS_MAX * 8 + 1, ..most };
    let found = REGIONS_MAX + 1;
    assert_eq!(more.check(1 << 40, LogType::Internal), Err(GeometryError::Regions { found }));
}

#[test]
fn the_maps_of_all_slots_push_the_data_back() {
    let offset_kib = |block_bytes: u32, regions, log| {
        default_data_offset_blocks(block_bytes, regions, log) * u64::from(block_bytes) / 1024
    };
    assert_eq!(offset_kib(4096, 1000, LogType::Internal), 1024);
    assert_eq!(offset_kib(4096, 290_000, LogType::Internal), 1024);
    assert_eq!(offset_kib(4096, 1 << 20, LogType::Internal), 3072);
    assert_eq!(offset_kib(512, 1 << 20, LogType::Internal), 4096);
    assert_eq!(offset_kib(65_536, 1, LogType::Internal), 2048);
    assert_eq!(offset_kib(4096, 1 << 20, LogType::Disk), 1024);
    assert_eq!(offset_kib(4096, 1 << 20, LogType::Core), 0);
}

#[test]
fn regions_are_small_until_there_are_too_many() {
    assert_eq!(default_region_blocks(512, 1), 2048);
    assert_eq!(default_region_blocks(4096, 256 << 20), 256);
    assert_eq!(default_region_blocks(4096, (256 << 20) + 1), 512);
    assert_eq!(default_region_blocks(512, u64::MAX), 1 << 44);
}

#[test]
fn each_rule_has_its_error() {
    let check = |change: fn(&mut Geometry)| {
        let mut geometry = geometry();
        change(&mut geometry);
        geometry.check(12_048, LogType::Internal)
    };
    assert_eq!(check(|_| {}), Ok(()));
    for bytes in [0, 256, 520, 4095, 131_072, u32::MAX] {
        let wrong = Geometry { block_bytes: bytes, ..geometry() };
        assert_eq!(wrong.check(u64::MAX, LogType::Internal), Err(GeometryError::BlockBytes { found: bytes }));
    }
    assert_eq!(check(|geometry| geometry.blocks = 0), Err(GeometryError::NoBlocks));
    assert_eq!(check(|geometry| geometry.region_blocks = 0), Err(GeometryError::RegionBlocks { found: 0 }));
    assert_eq!(check(|geometry| geometry.region_blocks = 3), Err(GeometryError::RegionBlocks { found: 3 }));
    assert_eq!(
        check(|geometry| (geometry.blocks, geometry.region_blocks) = (REGIONS_MAX + 1, 1)),
        Err(GeometryError::Regions { found: REGIONS_MAX + 1 })
    );
    assert_eq!(
        check(|geometry| geometry.data_offset_blocks = 531),
        Err(GeometryError::DataOffset { needed: 532, found: 531 })
    );
    assert_eq!(check(|geometry| geometry.data_offset_blocks = 532), Ok(()));
    assert_eq!(
        check(|geometry| geometry.blocks = 10_001),
        Err(GeometryError::LegBlocks { needed: 12_049, found: 12_048 })
    );
    let far = Geometry { data_offset_blocks: u64::MAX - 9_999, ..geometry() };
    assert!(matches!(far.check(u64::MAX, LogType::Core), Err(GeometryError::Overflow { .. })));
    // The blocks could be counted, their bytes not.
    let far = Geometry { data_offset_blocks: u64::MAX / 512, ..geometry() };
    assert!(matches!(far.check(u64::MAX, LogType::Core), Err(GeometryError::Overflow { .. })));
    assert_eq!(Geometry { data_offset_blocks: 0, ..geometry() }.check(10_000, LogType::Core), Ok(()));
    assert!(Geometry { data_offset_blocks: 0, ..geometry() }.check(20_000, LogType::Disk).is_err());
    assert_eq!(
        check(|geometry| geometry.data_offset_blocks = 0).unwrap_err().to_string(),
        "data offset: expected at least 532 blocks, found 0"
    );
}

#[test]
fn no_function_trips_over_an_unchecked_geometry() {
    for value in [0, 1, 3, u64::MAX] {
        for block_bytes in [0, 1, 520, u32::MAX] {
            let wild = Geometry { block_bytes, blocks: value, region_blocks: value, data_offset_blocks: value };
            let regions = wild.regions();
            for region in [0, regions, u32::MAX] {
                assert!(wild.region_range(region).end <= wild.blocks);
                let (index, bit) = wild.unit_of(region);
                assert!(wild.region_at(index, bit).is_none_or(|found| found == region));
                assert!(wild.unit_block(MapKind::OutOfSync(slot(15)), index) > 0);
            }
            let needed = Geometry::metadata_blocks(block_bytes, regions, LogType::Internal);
            assert!(default_data_offset_blocks(block_bytes, regions, LogType::Internal) >= needed);
            assert!(default_region_blocks(block_bytes, value).is_power_of_two());
            assert!(wild.units_per_map() <= regions && wild.superblock_blocks() > 0 && wild.superblock_block(1) > 0);
            assert!(wild.check(u64::MAX, LogType::Internal).is_err());
        }
    }
}

/// Metadata and data of an accepted geometry: inside the leg, none upon another.
fn assert_inside(geometry: &Geometry, leg_blocks: u64, log: LogType) {
    let end = u128::from(geometry.data_offset_blocks) + u128::from(geometry.blocks);
    assert!(end <= u128::from(leg_blocks));
    if log == LogType::Core {
        return;
    }
    let first = geometry.superblock_block(0) + geometry.superblock_blocks();
    let second = geometry.superblock_block(1) + geometry.superblock_blocks();
    assert!(first <= geometry.superblock_block(1));
    assert!(second <= geometry.data_offset_blocks);
    if log == LogType::Internal {
        let last = geometry.units_per_map() - 1;
        assert!(second <= geometry.unit_block(MapKind::Intent, 0));
        assert!(MapKind::all().all(|kind| geometry.unit_block(kind, last) < geometry.data_offset_blocks));
    }
}

proptest! {
    #[test]
    fn what_is_accepted_lies_inside_the_leg(
        shift in 0u32..20,
        blocks in prop_oneof![0u64..100_000, any::<u64>()],
        region_shift in 0u32..64,
        offset in prop_oneof![0u64..100_000, any::<u64>()],
        leg_blocks in prop_oneof![0u64..300_000, any::<u64>()],
        log in prop_oneof![Just(LogType::Internal), Just(LogType::Disk), Just(LogType::Core)],
    ) {
        let geometry = Geometry {
            block_bytes: 1 << shift, blocks, region_blocks: 1 << region_shift, data_offset_blocks: offset,
        };
        if geometry.check(leg_blocks, log).is_ok() {
            assert_inside(&geometry, leg_blocks, log);
        }
    }

    #[test]
    fn defaults_are_accepted((geometry, log) in any_geometry()) {
        let needed = geometry.data_offset_blocks + geometry.blocks;
        prop_assert_eq!(geometry.check(needed, log), Ok(()));
        assert_inside(&geometry, needed, log);
        prop_assert_eq!(
            geometry.check(needed - 1, log),
            Err(GeometryError::LegBlocks { needed, found: needed - 1 })
        );
    }

    #[test]
    fn default_regions_are_the_smallest(shift in 9u32..=16, blocks in 1u64..=u64::MAX) {
        let region_blocks = default_region_blocks(1 << shift, blocks);
        prop_assert!(region_blocks.is_power_of_two() && region_blocks << shift >= MIB);
        prop_assert!(blocks.div_ceil(region_blocks) <= REGIONS_DEFAULT_MAX);
        prop_assert!(region_blocks << shift == MIB || blocks.div_ceil(region_blocks / 2) > REGIONS_DEFAULT_MAX);
    }

    #[test]
    fn regions_and_bits_lead_back(
        (geometry, _) in any_geometry(), at in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(),
    ) {
        let block = at.index(usize::MAX) as u64 % geometry.blocks;
        let region = geometry.region_of(block);
        prop_assert!(region < geometry.regions());
        let range = geometry.region_range(region);
        prop_assert!(range.contains(&block));
        prop_assert_eq!(geometry.region_of(range.start), region);
        prop_assert_eq!(geometry.region_of(range.end - 1), region);
        // Regions follow each other, and the last one ends with the mirror, short or not.
        let last = region + 1 == geometry.regions();
        prop_assert_eq!(range.end == geometry.blocks, last);
        prop_assert!(last || range.end - range.start == geometry.region_blocks);
        prop_assert_eq!(geometry.region_range(region + 1).start, range.end);

        let (index, own_bit) = geometry.unit_of(region);
        prop_assert!(index < geometry.units_per_map() && own_bit < geometry.unit_bits());
        prop_assert_eq!(geometry.region_at(index, own_bit), Some(region));
        let bit = bit.index(geometry.unit_bits() as usize) as u32;
        if let Some(region) = geometry.region_at(index, bit) {
            prop_assert_eq!(geometry.unit_of(region), (index, bit));
        }
    }

    #[test]
    fn no_two_units_share_a_block(
        (geometry, _) in any_geometry(), a in (0usize..18, 0u32..1000), b in (0usize..18, 0u32..1000),
    ) {
        let block = |(kind, index)| geometry.unit_block(MapKind::all().nth(kind).unwrap(), index);
        prop_assert_eq!(block(a) == block(b), a == b);
    }
}
