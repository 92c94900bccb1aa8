//! What holds for any text, and for any mirror.

use std::collections::BTreeSet;

use mirror_rpc::{
    BASE_BDEVS_MAX, BDEV_NAME_BYTES_MAX, CreateParams, DeleteParams, GetBdevsParams, RpcError, SIZE_MB_MAX, StopParams,
    UnmapMode, config_call,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use uuid::Uuid;

/// Parses a text as every call there is.
fn parse_as_each(json: &str) -> [Option<RpcError>; 4] {
    [
        CreateParams::parse(json).err(),
        DeleteParams::parse(json).err(),
        StopParams::parse(json).err(),
        GetBdevsParams::parse(json).err(),
    ]
}

/// A refusal is always about a parameter, and always short enough for a log line.
fn refusals_are_well_formed(json: &str) -> Result<(), TestCaseError> {
    for error in parse_as_each(json).into_iter().flatten() {
        prop_assert_eq!(error.errno, 22);
        prop_assert!(error.message.contains(": "), "{}", error.message);
        prop_assert!(error.message.len() < 1_024, "{}", error.message);
        prop_assert!(!error.message.contains('\0'), "{}", error.message);
    }
    Ok(())
}

fn bdev_name() -> impl Strategy<Value = String> {
    "[^\u{0}]{1,70}".prop_filter("too long", |name| name.len() <= BDEV_NAME_BYTES_MAX)
}

prop_compose! {
    fn create_params()(
        names in btree_set(bdev_name(), 2..=BASE_BDEVS_MAX + 1),
        order in any::<u64>(),
        uuid in proptest::option::of(1..u128::MAX),
        size_mb in proptest::option::of(1..=SIZE_MB_MAX),
        unmap in select(vec![UnmapMode::Zeroes, UnmapMode::Pass]),
        require_durable_legs: bool,
    ) -> CreateParams {
        let mut names: Vec<String> = BTreeSet::into_iter(names).collect();
        let turn = order as usize % names.len();
        names.rotate_left(turn);
        CreateParams {
            name: names.remove(0),
            uuid: uuid.map(Uuid::from_u128),
            base_bdevs: names,
            size_mb,
            unmap,
            require_durable_legs,
        }
    }
}

/// JSON in which the right words turn up in the wrong places.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let word = select(vec![
        "name",
        "base_bdevs",
        "uuid",
        "log_type",
        "core",
        "initial_sync",
        "none",
        "size_mb",
        "unmap",
        "pass",
        "wipe",
        "force",
        "category",
        "all",
        "sync_source",
        "",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        word.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Into::into),
            vec((word.clone().prop_map(str::to_owned), inner), 0..8)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

#[derive(Clone, Debug)]
enum Mutation {
    Delete(Index),
    Replace(Index, char),
    Insert(Index, char),
    Repeat(Index, Index),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let sharp = prop_oneof![select(r#"{}[]":,\0-.eEu null"#.chars().collect::<Vec<_>>()), any::<char>()];
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Mutation::Delete),
        (at(), sharp.clone()).prop_map(|(at, c)| Mutation::Replace(at, c)),
        (at(), sharp).prop_map(|(at, c)| Mutation::Insert(at, c)),
        (at(), at()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        at().prop_map(Mutation::Cut),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for mutation in mutations {
        if chars.is_empty() {
            break;
        }
        let len = chars.len();
        match mutation {
            Mutation::Delete(at) => {
                chars.remove(at.index(len));
            }
            Mutation::Replace(at, c) => chars[at.index(len)] = *c,
            Mutation::Insert(at, c) => chars.insert(at.index(len), *c),
            Mutation::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let piece = chars[from.min(to)..from.max(to)].to_vec();
                chars.splice(to..to, piece);
            }
            Mutation::Cut(at) => chars.truncate(at.index(len)),
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        refusals_are_well_formed(&text)?;
    }

    #[test]
    fn any_json_is_read_or_refused(value in json()) {
        refusals_are_well_formed(&value.to_string())?;
    }

    #[test]
    fn a_damaged_call_is_read_or_refused(
        params in create_params(),
        mutations in vec(mutation(), 1..6),
    ) {
        let call = config_call(&params)["params"].to_string();
        refusals_are_well_formed(&mutate(&call, &mutations))?;
    }

    #[test]
    fn what_is_saved_loads(params in create_params()) {
        let call = config_call(&params);
        prop_assert_eq!(&call["method"], "bdev_mirror_create");
        prop_assert_eq!(call.as_object().map(|call| call.len()), Some(2));
        prop_assert_eq!(CreateParams::parse(&call["params"].to_string()), Ok(params));
    }

    #[test]
    fn the_order_of_parameters_does_not_matter(params in create_params(), seed in any::<usize>()) {
        let call = config_call(&params);
        let mut entries: Vec<String> = call["params"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
            .collect();
        let turn = seed % entries.len();
        entries.rotate_left(turn);
        let json = format!("{{{}}}", entries.join(","));
        prop_assert_eq!(CreateParams::parse(&json), Ok(params));
    }
}

#[test]
fn depth_and_length_are_survived() {
    let deep = format!("{}{}", r#"{"name":["#.repeat(10_000), "]}".repeat(10_000));
    let long = format!(r#"{{"{}":1}}"#, "n".repeat(1 << 20));
    let many = format!("{{{}}}", vec![r#""x":1"#; 100_000].join(","));
    for json in [deep, long, many] {
        for error in parse_as_each(&json) {
            assert!(error.unwrap().message.len() < 1_024);
        }
    }
}
