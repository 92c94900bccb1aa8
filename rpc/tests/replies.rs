//! The keys and words of the replies, which scripts depend on.

use mirror_rpc::{
    CreateReply, Durability, Health, InitialSync, LegErrors, LegInfo, LegReply, LegState, LogType, MirrorInfo,
    ReadPolicy, State, UnmapMode,
};
use serde_json::json;
use uuid::Uuid;

fn leg(slot: usize) -> LegInfo {
    LegInfo {
        name: format!("nvme{slot}n1"),
        uuid: Some(Uuid::from_u128(slot as u128 + 1)),
        is_configured: true,
        data_offset: 0,
        data_size: 2_048,
        slot,
        state: LegState::InSync,
        reason: None,
        durability: Durability::NvmeFlush,
        errors: LegErrors::default(),
    }
}

fn mirror(legs: Vec<LegInfo>) -> MirrorInfo {
    MirrorInfo {
        name: "mirror0".to_owned(),
        uuid: Uuid::from_u128(7),
        state: State::Online,
        num_base_bdevs: legs.len(),
        num_base_bdevs_discovered: legs.len(),
        num_base_bdevs_operational: legs.len(),
        health: Health::Optimal,
        status: "AA".to_owned(),
        log_type: LogType::Core,
        initial_sync: InitialSync::None,
        read_policy: ReadPolicy::LeastOutstanding,
        unmap: UnmapMode::Zeroes,
        block_size: 512,
        num_blocks: 2_048,
        last_event: None,
        nomem_failed_ios: 0,
        base_bdevs_list: legs,
    }
}

#[test]
fn a_mirror() {
    assert_eq!(
        serde_json::to_value(mirror(vec![leg(0)])).unwrap(),
        json!({
            "name": "mirror0",
            "uuid": "00000000-0000-0000-0000-000000000007",
            "state": "online",
            "num_base_bdevs": 1,
            "num_base_bdevs_discovered": 1,
            "num_base_bdevs_operational": 1,
            "health": "optimal",
            "status": "AA",
            "log_type": "core",
            "initial_sync": "none",
            "read_policy": "least_outstanding",
            "unmap": "zeroes",
            "block_size": 512,
            "num_blocks": 2048,
            "last_event": null,
            "nomem_failed_ios": 0,
            "base_bdevs_list": [{
                "name": "nvme0n1",
                "uuid": "00000000-0000-0000-0000-000000000001",
                "is_configured": true,
                "data_offset": 0,
                "data_size": 2048,
                "slot": 0,
                "state": "in_sync",
                "reason": null,
                "durability": "nvme_flush",
                "errors": {"read": 0, "write": 0, "flush": 0, "corrected": 0},
            }],
        })
    );
}

/// Every key of a value, also of those inside it.
fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(object) => object.iter().for_each(|(key, value)| {
            found.push(key.clone());
            keys(value, found);
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => (),
    }
}

#[test]
fn the_reference_explains_every_key() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/jsonrpc.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, section) = docs.split_once("\n## `bdev_mirror_get_bdevs`\n").unwrap();
    let mut found = Vec::new();
    keys(&serde_json::to_value(mirror(vec![leg(0)])).unwrap(), &mut found);
    for key in found {
        assert!(section.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn a_new_mirror() {
    let mut reply = CreateReply {
        name: "mirror0".to_owned(),
        uuid: Uuid::from_u128(7),
        block_size: 4_096,
        num_blocks: 256,
        size_mb: Some(1),
        sync_source: None,
        legs: vec![LegReply { slot: 0, name: "aio0".to_owned(), durability: Durability::BdevFlush }],
        warnings: vec![],
    };
    let mut expected = json!({
        "name": "mirror0",
        "uuid": "00000000-0000-0000-0000-000000000007",
        "block_size": 4096,
        "num_blocks": 256,
        "size_mb": 1,
        "sync_source": null,
        "legs": [{"slot": 0, "name": "aio0", "durability": "bdev_flush"}],
        "warnings": [],
    });
    assert_eq!(serde_json::to_value(&reply).unwrap(), expected);
    reply.size_mb = None;
    expected.as_object_mut().unwrap().remove("size_mb");
    assert_eq!(serde_json::to_value(&reply).unwrap(), expected);
}

#[test]
fn words() {
    let word = |value: serde_json::Result<serde_json::Value>| value.unwrap();
    for (value, expected) in [
        (serde_json::to_value(State::Offline), "offline"),
        (serde_json::to_value(Health::Degraded), "degraded"),
        (serde_json::to_value(Health::Failing), "failing"),
        (serde_json::to_value(Health::Inconsistent), "inconsistent"),
        (serde_json::to_value(LegState::Missing), "missing"),
        (serde_json::to_value(LegState::Inconsistent), "inconsistent"),
        (serde_json::to_value(Durability::NotNeeded), "not_needed"),
        (serde_json::to_value(Durability::Unknown), "unknown"),
    ] {
        assert_eq!(word(value), expected);
    }
}

#[test]
fn letters() {
    let with =
        |state, read, write, flush| LegInfo { state, errors: LegErrors { read, write, flush, corrected: 9 }, ..leg(0) };
    let legs = vec![
        with(LegState::InSync, 0, 0, 0),
        with(LegState::InSync, 1, 0, 0),
        with(LegState::Inconsistent, 1, 0, 0),
        with(LegState::Inconsistent, 1, 1, 0),
        with(LegState::Inconsistent, 1, 1, 1),
        with(LegState::Missing, 1, 1, 1),
    ];
    assert_eq!(mirror(legs).status_letters(), "ARSDFU");
}
