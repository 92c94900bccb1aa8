//! A superblock with something in every field, and superblocks of any content that makes sense.

use mirror_engine::OwnerId;
use mirror_engine::format::{
    COUNTER_MAX, Geometry, LegRecord, LegState, LogType, Superblock, default_data_offset_blocks, default_region_blocks,
};
use mirror_engine::{MAX_LEGS, Slot};
use proptest::prelude::*;
use uuid::Uuid;

pub fn slot(index: usize) -> Slot {
    Slot::new(index).unwrap()
}

/// A uuid whose bytes all differ: `first`, `first + 1`, …
pub fn uuid(first: u8) -> Uuid {
    Uuid::from_bytes(std::array::from_fn(|index| first.wrapping_add(index as u8)))
}

/// The value of fixtures/superblock.hex.
pub fn superblock() -> Superblock {
    let mut legs = [(); MAX_LEGS].map(|()| LegRecord::default());
    legs[0] = LegRecord {
        uuid: uuid(0x30),
        state: LegState::InSync,
        write_mostly: false,
        last_in_sync: 7,
        identity: uuid(0x40),
        blocks: 262_144,
    };
    legs[1] = LegRecord {
        uuid: uuid(0x50),
        state: LegState::Inconsistent,
        write_mostly: true,
        last_in_sync: 5,
        identity: Uuid::nil(),
        blocks: 300_000,
    };
    legs[15] = LegRecord {
        uuid: uuid(0x60),
        state: LegState::Spare,
        write_mostly: false,
        last_in_sync: 0,
        identity: uuid(0x70),
        blocks: 262_144,
    };
    Superblock {
        mirror: uuid(0x10),
        name: "Spiegel-ä".to_owned(),
        leg: uuid(0x50),
        slot: slot(1),
        sequence: 0x0102_0304_0506_0708,
        generation: 7,
        clean: true,
        log_lost: true,
        source: Some(slot(0)),
        geometry: Geometry { block_bytes: 4096, blocks: 261_632, region_blocks: 256, data_offset_blocks: 256 },
        log: LogType::Disk,
        log_uuid: uuid(0x80),
        owner: OwnerId { machine: uuid(0x90), boot: uuid(0xa0), instance: uuid(0xb0) },
        lease_ms: 60_000,
        heartbeat: 0x1112_1314_1516_1718,
        legs,
        unknown_compatible: 0,
        unknown_read_only: 0,
    }
}

prop_compose! {
    /// Any geometry that some leg accepts, and the log type for which it does.
    pub fn any_geometry()(
        shift in 9u32..=16,
        blocks in prop_oneof![1u64..10_000, any::<u64>().prop_map(|blocks| (blocks >> 17).max(1))],
        log in prop_oneof![Just(LogType::Internal), Just(LogType::Disk)],
        small_regions in 0u32..4,
        more_blocks in prop_oneof![Just(0u64), 0u64..1_000_000],
    ) -> (Geometry, LogType) {
        let block_bytes = 1 << shift;
        let region_blocks = default_region_blocks(block_bytes, blocks) >> small_regions;
        let regions = blocks.div_ceil(region_blocks) as u32;
        let data_offset_blocks = default_data_offset_blocks(block_bytes, regions, log) + more_blocks;
        (Geometry { block_bytes, blocks, region_blocks, data_offset_blocks }, log)
    }
}

prop_compose! {
    fn any_record(generation: u64, needed: u64)(
        uuid in any::<u128>(),
        state in prop_oneof![
            2 => Just(LegState::Empty), 1 => Just(LegState::InSync), 1 => Just(LegState::Stale),
            1 => Just(LegState::Inconsistent), 1 => Just(LegState::Spare),
        ],
        write_mostly in any::<bool>(),
        last_in_sync in 0..=generation,
        identity in any::<u128>(),
        blocks in needed..=u64::MAX,
    ) -> LegRecord {
        if state == LegState::Empty {
            return LegRecord::default();
        }
        let last_in_sync = if state == LegState::InSync { generation } else { last_in_sync };
        let (uuid, identity) = (Uuid::from_u128(uuid | 1), Uuid::from_u128(identity));
        LegRecord { uuid, state, write_mostly, last_in_sync, identity, blocks }
    }
}

fn any_legs(geometry: (Geometry, LogType)) -> impl Strategy<Value = (Geometry, LogType, u64, Vec<LegRecord>)> {
    (1..=COUNTER_MAX).prop_flat_map(move |generation| {
        let needed = geometry.0.data_offset_blocks + geometry.0.blocks;
        let (geometry, log) = geometry.clone();
        prop::collection::vec(any_record(generation, needed), MAX_LEGS)
            .prop_map(move |legs| (geometry.clone(), log, generation, legs))
    })
}

/// Any superblock that makes sense.
pub fn any_superblock() -> impl Strategy<Value = Superblock> {
    let rest = (
        any::<[u128; 5]>(),
        any::<[bool; 3]>(),
        (1..=COUNTER_MAX, 0..=COUNTER_MAX, any::<u32>()),
        (0..MAX_LEGS, 0..MAX_LEGS),
        "[^\0]{1,15}",
        any::<[u64; 2]>(),
    );
    (any_geometry().prop_flat_map(any_legs), rest).prop_map(
        |((geometry, log, generation, legs), (ids, flags, counters, (own, source), name, unknown))| {
            let mut legs: [LegRecord; MAX_LEGS] = legs.try_into().unwrap();
            // Somebody has the data, and this leg is somebody.
            let needed = geometry.data_offset_blocks + geometry.blocks;
            legs[source] = LegRecord {
                uuid: Uuid::from_u128(ids[0] << 1 | 1 << 127),
                state: LegState::InSync,
                last_in_sync: generation,
                blocks: needed,
                ..LegRecord::default()
            };
            let own = if legs[own].is_empty() { source } else { own };
            Superblock {
                mirror: Uuid::from_u128(ids[1] | 1),
                name,
                leg: legs[own].uuid,
                slot: slot(own),
                sequence: counters.0,
                generation,
                clean: flags[0],
                log_lost: flags[1],
                source: flags[2].then(|| slot(source)),
                geometry,
                log,
                log_uuid: if log == LogType::Disk { Uuid::from_u128(ids[2] | 1) } else { Uuid::nil() },
                owner: OwnerId {
                    machine: Uuid::from_u128(ids[3]),
                    boot: Uuid::from_u128(ids[4]),
                    instance: Uuid::from_u128(ids[3] ^ ids[4]),
                },
                lease_ms: counters.2,
                heartbeat: counters.1,
                legs,
                unknown_compatible: unknown[0],
                unknown_read_only: unknown[1],
            }
        },
    )
}
