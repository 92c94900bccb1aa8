use crate::example::{any_superblock, slot, superblock, uuid};
use mirror_engine::LegMask;
use mirror_engine::format::{
    COUNTER_MAX, ContentError, GeometryError, LegRecord, LegState, LogType, NAME_BYTES_MAX, SUPERBLOCK_BYTES,
    Superblock, SuperblockError,
};
use proptest::prelude::*;
use uuid::Uuid;

/// Stores the right checksum, as a module with a bug or a newer one does.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[8..12].fill(0);
    let crc = crc32c::crc32c(&bytes[..SUPERBLOCK_BYTES]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The example with one byte set, under a right checksum.
fn with_byte(at: usize, byte: u8) -> Result<Superblock, SuperblockError> {
    let mut bytes = superblock().encode().to_vec();
    bytes[at] = byte;
    Superblock::decode(&sealed(bytes))
}

fn content(result: Result<Superblock, SuperblockError>) -> ContentError {
    match result {
        Err(SuperblockError::Content { error, .. }) => error,
        other => panic!("expected an error of content, found {other:?}"),
    }
}

#[test]
fn nothing_there_is_not_damage() {
    assert_eq!(Superblock::decode(&[0; SUPERBLOCK_BYTES]), Err(SuperblockError::Absent));
    assert_eq!(Superblock::decode(&[7; SUPERBLOCK_BYTES]), Err(SuperblockError::Foreign { found: [7; 8] }));
    assert_eq!(Superblock::decode(&[0; 4095]), Err(SuperblockError::Short { found: 4095 }));
    let mut torn = superblock().encode();
    torn[512..].fill(0);
    assert!(matches!(Superblock::decode(&torn[..]), Err(SuperblockError::Damaged { .. })));
    let longer = [&superblock().encode()[..], &[9; 4096]].concat();
    assert_eq!(Superblock::decode(&longer), Ok(superblock()));
}

#[test]
fn a_newer_format_is_met_by_its_bits() {
    assert_eq!(with_byte(12, 2), Err(SuperblockError::Version { found: 2, sequence: superblock().sequence }));
    let compatible = with_byte(16, 0x20).unwrap();
    assert_eq!((compatible.unknown_compatible, compatible.is_read_only()), (0x20, false));
    assert_eq!(Superblock::decode(&compatible.encode()[..]), Ok(compatible));
    let read_only = with_byte(31, 0x80).unwrap();
    assert_eq!((read_only.unknown_read_only, read_only.is_read_only()), (1 << 63, true));
    let refused = with_byte(32, 0x21).unwrap_err();
    assert_eq!(refused, SuperblockError::Features { unknown: 0x21, sequence: superblock().sequence });
    assert_eq!(
        refused.to_string(),
        "incompatible feature bits of the superblock: expected none beyond 0x0, found 0, 5"
    );
}

#[test]
fn the_largest_of_everything_is_allowed() {
    let mut most = superblock();
    most.heartbeat = COUNTER_MAX;
    most.name = "n".repeat(NAME_BYTES_MAX);
    assert_eq!(most.check(), Ok(()));
    most.heartbeat += 1;
    let error = ContentError::Counter { field: "heartbeat", found: COUNTER_MAX + 1 };
    assert_eq!(most.check(), Err(error));
    most.heartbeat = 1;
    most.name.push('n');
    assert_eq!(most.check(), Err(ContentError::Name { found: "more bytes" }));
}

#[test]
fn the_reserve_belongs_to_features() {
    for at in [132, 264, 511, 512 + 50, 512 + 127, 2560, 4095] {
        assert_eq!(content(with_byte(at, 1)), ContentError::Reserve);
        let mut bytes = superblock().encode().to_vec();
        (bytes[at], bytes[16]) = (1, 1);
        let known = Superblock { unknown_compatible: 1, ..superblock() };
        assert_eq!(Superblock::decode(&sealed(bytes)), Ok(known));
    }
}

#[test]
fn what_no_superblock_says_is_refused() {
    assert_eq!(content(with_byte(88, 16)), ContentError::Slot { field: "own slot", found: 16 });
    assert_eq!(content(with_byte(89, 254)), ContentError::Slot { field: "chosen source", found: 254 });
    assert_eq!(with_byte(89, 255).unwrap().source, None);
    assert_eq!(content(with_byte(90, 2)), ContentError::LogType { found: 2 });
    assert_eq!(content(with_byte(91, 0x83)), ContentError::Flags { unknown: 0x80 });
    assert_eq!(content(with_byte(512 + 48, 5)), ContentError::State { slot: 0, found: 5 });
    assert_eq!(content(with_byte(512 + 49, 3)), ContentError::LegFlags { slot: 0, unknown: 2 });
    assert!(matches!(content(with_byte(263, 1)), ContentError::Name { found: "bytes after its end" }));
    assert!(matches!(content(with_byte(200, 0xff)), ContentError::Name { found: "other bytes" }));
    assert!(matches!(content(with_byte(128, 1)), ContentError::Geometry { slot: 0, .. }));
    assert_eq!(
        content(with_byte(89, 1)).to_string(),
        "chosen source: expected a leg in sync, found slot 1 in state Inconsistent"
    );
}

#[test]
fn fields_have_to_agree() {
    let broken = |change: fn(&mut Superblock)| {
        let mut superblock = superblock();
        change(&mut superblock);
        superblock.check().unwrap_err()
    };
    assert_eq!(broken(|s| s.mirror = Uuid::nil()), ContentError::NilUuid { field: "mirror" });
    assert_eq!(broken(|s| s.leg = Uuid::nil()), ContentError::NilUuid { field: "leg" });
    assert_eq!(broken(|s| s.sequence = 0), ContentError::Zero { field: "sequence" });
    assert_eq!(broken(|s| s.generation = 0), ContentError::Zero { field: "generation" });
    for name in ["", "a\0b", &"x".repeat(64)] {
        let superblock = Superblock { name: name.to_owned(), ..superblock() };
        assert!(matches!(superblock.check(), Err(ContentError::Name { .. })));
    }
    assert!(matches!(broken(|s| s.log_uuid = Uuid::nil()), ContentError::LogUuid { .. }));
    assert!(matches!(broken(|s| s.log = LogType::Internal), ContentError::LogUuid { .. }));
    assert_eq!(broken(|s| s.log = LogType::Core), ContentError::LogType { found: 2 });
    assert!(matches!(broken(|s| s.legs[2].blocks = 1), ContentError::Record { slot: 2, .. }));
    assert!(matches!(broken(|s| s.legs[1].uuid = Uuid::nil()), ContentError::Record { slot: 1, .. }));
    assert_eq!(
        broken(|s| s.slot = slot(0)),
        ContentError::OwnSlot { slot: 0, expected: uuid(0x50), found: uuid(0x30) }
    );
    assert!(matches!(broken(|s| s.legs[1] = LegRecord::default()), ContentError::OwnSlot { slot: 1, .. }));
    assert_eq!(
        broken(|s| s.legs[15].uuid = uuid(0x50)),
        ContentError::Duplicate { uuid: uuid(0x50), first: 1, second: 15 }
    );
    assert!(matches!(broken(|s| s.heartbeat = u64::MAX), ContentError::Counter { field: "heartbeat", .. }));
    assert!(matches!(broken(|s| s.legs[1].last_in_sync = 8), ContentError::LastInSync { slot: 1, .. }));
    assert_eq!(broken(|s| s.legs[0].state = LegState::Stale), ContentError::NoneInSync);
    assert_eq!(broken(|s| s.source = Some(slot(3))), ContentError::Source { slot: 3, found: LegState::Empty });
    let needed = superblock().geometry.data_offset_blocks + superblock().geometry.blocks;
    assert_eq!(
        broken(|s| s.legs[15].blocks = 261_887),
        ContentError::Geometry { slot: 15, error: GeometryError::LegBlocks { needed, found: 261_887 } }
    );
}

#[test]
fn copies_are_written_in_turn_and_the_newer_one_counts() {
    let of = |sequence| Superblock { sequence, ..superblock() };
    assert_eq!((of(4).copy(), of(5).copy(), of(u64::MAX).copy()), (0, 1, 1));
    assert_eq!(Superblock::newest(Ok(of(4)), Ok(of(5))), Ok(of(5)));
    assert_eq!(Superblock::newest(Ok(of(6)), Ok(of(5))), Ok(of(6)));
    assert_eq!(Superblock::newest(Ok(of(6)), Ok(of(6))), Ok(of(6)));
    let other = Superblock { clean: false, ..of(6) };
    assert_eq!(Superblock::newest(Ok(of(6)), Ok(other)), Err(SuperblockError::Ambiguous { sequence: 6 }));
}

#[test]
fn a_copy_that_is_gone_leaves_the_other() {
    let good = || Ok(superblock());
    let sequence = superblock().sequence;
    let damaged = || SuperblockError::Damaged { expected: 1, found: 2 };
    for gone in [SuperblockError::Absent, SuperblockError::Foreign { found: [1; 8] }, damaged()] {
        assert_eq!(Superblock::newest(good(), Err(gone.clone())), good());
        assert_eq!(Superblock::newest(Err(gone), good()), good());
    }
    // What was written as it is counts by its sequence, also where it cannot be read.
    let newer = |sequence| SuperblockError::Features { unknown: 1, sequence };
    assert_eq!(Superblock::newest(good(), Err(newer(sequence + 1))), Err(newer(sequence + 1)));
    assert_eq!(Superblock::newest(Err(newer(sequence - 1)), good()), good());
    // Of two errors the one that tells more.
    assert_eq!(Superblock::newest(Err(SuperblockError::Absent), Err(damaged())), Err(damaged()));
    assert_eq!(Superblock::newest(Err(newer(1)), Err(damaged())), Err(newer(1)));
}

#[test]
fn the_legs_in_sync_are_a_mask() {
    assert_eq!(superblock().in_sync(), LegMask::first(1));
}

proptest! {
    #[test]
    fn superblocks_come_back(superblock in any_superblock()) {
        prop_assert_eq!(superblock.check(), Ok(()));
        prop_assert_eq!(Superblock::decode(&superblock.encode()[..]), Ok(superblock));
    }

    #[test]
    fn any_changed_byte_is_refused(
        superblock in any_superblock(), at in 0..SUPERBLOCK_BYTES, change in 1u8..=255,
    ) {
        let mut bytes = superblock.encode();
        bytes[at] ^= change;
        prop_assert!(Superblock::decode(&bytes[..]).is_err());
    }

    #[test]
    fn any_torn_write_is_refused(older in any_superblock(), newer in any_superblock(), blocks in 1usize..8) {
        let mut bytes = older.encode();
        bytes[..blocks * 512].copy_from_slice(&newer.encode()[..blocks * 512]);
        let decoded = Superblock::decode(&bytes[..]);
        prop_assert!(decoded.is_err() || decoded == Ok(newer));
    }

    /// Also behind the checksum: any change is either refused or makes another superblock that makes sense.
    #[test]
    fn no_change_trips_the_decoder(
        superblock in any_superblock(), changes in prop::collection::vec((12usize..2600, any::<u8>()), 1..6),
    ) {
        let mut bytes = superblock.encode().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(other) = Superblock::decode(&sealed(bytes)) {
            prop_assert_eq!(other.check(), Ok(()));
            let own = &other.legs[other.slot.index()];
            prop_assert_eq!(other.geometry.check(own.blocks, other.log), Ok(()));
            prop_assert_eq!(Superblock::decode(&other.encode()[..]), Ok(other));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert!(Superblock::decode(&bytes).is_err());
    }
}
