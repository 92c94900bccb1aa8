//! A table of calls that must be refused: with this code, with a message that helps, and with nothing left behind.

use std::sync::Mutex;

use anyhow::{Context, Result};
use mirror_e2e::app::App;
use mirror_e2e::bdevs;
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need};
use crate::world::{expect_refusal, unchanged, warm_up};

const CREATE: &str = "bdev_mirror_create";
const DELETE: &str = "bdev_mirror_delete";
const STOP: &str = "bdev_mirror_stop";
const GET: &str = "bdev_mirror_get_bdevs";

/// One call of the table. The parameters are text, since some are no JSON that a client would make.
struct Bad {
    name: &'static str,
    method: &'static str,
    params: String,
    code: i64,
    /// The message has all of these.
    words: Vec<&'static str>,
}

fn bad(name: &'static str, method: &'static str, params: impl ToString, code: i64, words: &[&'static str]) -> Bad {
    Bad { name, method, params: params.to_string(), code, words: words.to_vec() }
}

/// A call that would be fine but for `changes` (null removes a parameter).
fn create(changes: Value) -> Value {
    let mut params = bdevs::mirror_params("new", &["m0", "m1"]);
    for (key, value) in changes.as_object().into_iter().flatten() {
        match value {
            Value::Null => {
                params.as_object_mut().map(|p| p.remove(key));
            }
            value => params[key] = value.clone(),
        }
    }
    params
}

fn refused_create(name: &'static str, changes: Value, code: i64, words: &[&'static str]) -> Bad {
    bad(name, CREATE, create(changes), code, words)
}

fn parameters() -> Vec<Bad> {
    let with_pair = |pair: &str| create(json!({})).to_string().replacen('{', &format!("{{{pair},"), 1);
    vec![
        refused_create("unknown_parameter", json!({"colour": "red"}), -22, &["colour", "unknown"]),
        refused_create("name_missing", json!({"name": null}), -22, &["name", "missing"]),
        refused_create("base_bdevs_missing", json!({"base_bdevs": null}), -22, &["base_bdevs", "missing"]),
        bad("parameter_twice", CREATE, with_pair("\"name\":\"twice\""), -22, &["name", "more than once"]),
        bad("legs_twice", CREATE, with_pair("\"base_bdevs\":[\"m0\"]"), -22, &["base_bdevs", "more than once"]),
        bad("no_parameters", CREATE, "null", -22, &["missing"]),
        bad("parameters_in_an_array", CREATE, json!(["new", ["m0", "m1"]]), -22, &["params"]),
        refused_create("name_empty", json!({"name": ""}), -22, &["name"]),
        refused_create("name_too_long", json!({"name": "n".repeat(256)}), -22, &["name"]),
        refused_create("name_with_nul", json!({"name": "a\0b"}), -22, &["name"]),
        refused_create("name_a_number", json!({"name": 7}), -22, &["name", "string"]),
        refused_create("no_legs", json!({"base_bdevs": []}), -22, &["base_bdevs", "1 to 16"]),
        refused_create("seventeen_legs", json!({"base_bdevs": vec!["m0"; 17]}), -22, &["base_bdevs", "17"]),
        refused_create("legs_a_string", json!({"base_bdevs": "m0"}), -22, &["base_bdevs", "array"]),
        refused_create("leg_a_number", json!({"base_bdevs": ["m0", 1]}), -22, &["base_bdevs[1]"]),
        refused_create("size_zero", json!({"size_mb": 0}), -22, &["size_mb", "out of range"]),
        refused_create("size_negative", json!({"size_mb": -1}), -22, &["size_mb", "out of range"]),
        refused_create("size_beyond_64_bits", json!({"size_mb": 2e19}), -22, &["size_mb", "out of range"]),
        refused_create("size_a_string", json!({"size_mb": "16"}), -22, &["size_mb", "integer"]),
        refused_create("size_a_fraction", json!({"size_mb": 1.5}), -22, &["size_mb", "integer"]),
        refused_create("uuid_bad", json!({"uuid": "not-a-uuid"}), -22, &["uuid"]),
        refused_create("unmap_unknown", json!({"unmap": "maybe"}), -22, &["unmap", "zeroes"]),
        refused_create("durable_a_string", json!({"require_durable_legs": "yes"}), -22, &["require_durable_legs"]),
    ]
}

fn options() -> Vec<Bad> {
    let later = "not yet available";
    vec![
        refused_create("log_type_default", json!({"log_type": null}), -22, &["log_type", later, "log_type=core"]),
        refused_create("log_type_internal", json!({"log_type": "internal"}), -22, &["log_type", later]),
        refused_create("log_type_disk", json!({"log_type": "disk"}), -22, &["log_type", later]),
        refused_create("log_type_unknown", json!({"log_type": "stone"}), -22, &["log_type", "core"]),
        refused_create("initial_sync_default", json!({"initial_sync": null}), -22, &["initial_sync", later, "none"]),
        refused_create("initial_sync_full", json!({"initial_sync": "full"}), -22, &["initial_sync", later]),
        refused_create("read_policy_later", json!({"read_policy": "round_robin"}), -22, &["read_policy", later]),
        refused_create("data_offset_later", json!({"data_offset_kb": 1024}), -22, &["data_offset_kb"]),
        refused_create("region_size_later", json!({"region_size_kb": 1024}), -22, &["region_size_kb", later]),
        refused_create("write_through_later", json!({"write_through": true}), -22, &["write_through", later]),
        refused_create("allow_missing_later", json!({"allow_missing": true}), -22, &["allow_missing", later]),
    ]
}

fn legs() -> Vec<Bad> {
    let taken_uuid = json!({"uuid": TAKEN_UUID});
    vec![
        refused_create("leg_missing", json!({"base_bdevs": ["m0", "nobody"]}), -19, &["'nobody'", "base_bdev"]),
        refused_create("leg_claimed", json!({"base_bdevs": ["m0", "claimed"]}), -16, &["'claimed'", "passthru"]),
        refused_create("leg_of_another_mirror", json!({"base_bdevs": ["m0", "t0"]}), -16, &["'t0'"]),
        refused_create("leg_named_twice", json!({"base_bdevs": ["m0", "m0"]}), -22, &["'m0'", "twice"]),
        refused_create("leg_named_by_alias", json!({"base_bdevs": ["m0", M0_UUID]}), -22, &["twice"]),
        refused_create("leg_is_the_mirror", json!({"base_bdevs": ["m0", "new"]}), -22, &["new"]),
        refused_create("leg_too_small", json!({"size_mb": 1024}), -28, &["base_bdev", "size_mb"]),
        refused_create("leg_tiny", json!({"base_bdevs": ["m0", "tiny"]}), -28, &["'tiny'"]),
        refused_create("leg_of_another_block_size", json!({"base_bdevs": ["m0", "m4k"]}), -22, &["'m4k'", "4096"]),
        refused_create("leg_with_metadata", json!({"base_bdevs": ["plain", "meta"]}), -22, &["'meta'", "metadata"]),
        refused_create(
            "leg_not_durable",
            json!({"base_bdevs": ["pt"], "require_durable_legs": true}),
            -22,
            &["'pt'", "require_durable_legs"],
        ),
        refused_create("name_taken_by_a_mirror", json!({"name": "taken"}), -17, &["'taken'"]),
        refused_create("name_taken_by_a_bdev", json!({"name": "m4k"}), -17, &["'m4k'"]),
        refused_create("uuid_taken", taken_uuid, -17, &["uuid"]),
    ]
}

fn others() -> Vec<Bad> {
    vec![
        bad("delete_nobody", DELETE, json!({"name": "nobody"}), -19, &["'nobody'"]),
        bad("delete_another_bdev", DELETE, json!({"name": "m0"}), -19, &["'m0'"]),
        bad("delete_without_name", DELETE, json!({}), -22, &["name", "missing"]),
        bad("delete_unknown_parameter", DELETE, json!({"name": "taken", "now": true}), -22, &["now"]),
        bad("delete_force_a_number", DELETE, json!({"name": "taken", "force": 1}), -22, &["force"]),
        bad("delete_while_open", DELETE, json!({"name": "opened"}), -16, &["'opened'", "force"]),
        bad("stop_nobody", STOP, json!({"name": "nobody"}), -19, &["'nobody'"]),
        bad("stop_without_name", STOP, json!({}), -22, &["name"]),
        bad("stop_unknown_parameter", STOP, json!({"name": "taken", "force": true}), -22, &["force"]),
        bad("stop_while_open", STOP, json!({"name": "opened"}), -16, &["'opened'"]),
        bad("get_nobody", GET, json!({"name": "nobody"}), -19, &["'nobody'"]),
        bad("get_unknown_category", GET, json!({"category": "some"}), -22, &["category"]),
        bad("get_unknown_parameter", GET, json!({"verbose": true}), -22, &["verbose"]),
    ]
}

const M0_UUID: &str = "11111111-2222-4333-8444-555555555555";
const TAKEN_UUID: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

/// One target serves the whole table, until a call fails or the last one is done.
static TARGET: Mutex<Option<App>> = Mutex::new(None);

pub fn cases() -> Vec<Case> {
    let table = [parameters(), options(), legs(), others()].into_iter().flatten();
    let mut cases: Vec<Case> = table
        .map(|bad| Case::new(format!("bad_calls::{}", bad.name), &[Need::Module], move |ctx| check(ctx, &bad)))
        .collect();
    cases.push(Case::new("bad_calls::the_target_ends_well", &[Need::Module], |_| match take() {
        Some(app) => app.stop().map(|_| ()),
        None => Ok(()), // a filter chose this one alone, or the one before failed
    }));
    cases
}

fn take() -> Option<App> {
    TARGET.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}

fn check(ctx: &Ctx, bad: &Bad) -> Result<()> {
    let mut app = match take() {
        Some(app) => app,
        None => world(ctx)?,
    };
    unchanged(&mut app, |app| {
        let request =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\",\"params\":{}}}", bad.method, bad.params);
        let request = request.replace(",\"params\":null", "");
        let mut rpc = app.connect()?;
        rpc.send_raw(request.as_bytes())?;
        let answer = rpc.receive(bad.method).context("no answer")?;
        // 20.07 does not know a bdev by its UUID.
        if bad.name == "leg_named_by_alias" && ctx.kit.spdk()?.is_old() {
            return expect_refusal(answer, -19, &[M0_UUID]);
        }
        expect_refusal(answer, bad.code, &bad.words)
    })?;
    *TARGET.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(app);
    Ok(())
}

/// The bdevs that the table speaks of.
fn world(ctx: &Ctx) -> Result<App> {
    let mut app = ctx.mirror_target()?;
    warm_up(&mut app)?;
    app.call("bdev_malloc_create", json!({"name": "m0", "num_blocks": 65536, "block_size": 512, "uuid": M0_UUID}))?;
    for name in ["m1", "claimed", "t0", "t1", "o0", "o1"] {
        bdevs::malloc(&mut app, name, 32, 512)?;
    }
    bdevs::malloc(&mut app, "m4k", 32, 4096)?;
    app.call("bdev_malloc_create", json!({"name": "tiny", "num_blocks": 8, "block_size": 512}))?;
    app.call("bdev_passthru_create", json!({"name": "pt", "base_bdev_name": "claimed"}))?;
    // Blocks of one size, with and without metadata: part of the block in 20.07, beside it in newer releases.
    if ctx.kit.spdk()?.is_old() {
        for (name, metadata) in [("plain", 0), ("meta", 512)] {
            let params = json!({"name": name, "num_blocks": 65536, "block_size": 1024, "md_size": metadata});
            app.call("bdev_null_create", params)?;
        }
    } else {
        bdevs::malloc(&mut app, "plain", 32, 512)?;
        let params = json!({"name": "meta", "num_blocks": 65536, "block_size": 512, "md_size": 8});
        app.call("bdev_malloc_create", params)?;
    }
    let mut taken = bdevs::mirror_params("taken", &["t0", "t1"]);
    taken["uuid"] = TAKEN_UUID.into();
    app.call(CREATE, taken)?;
    bdevs::mirror(&mut app, "opened", &["o0", "o1"])?;
    // A passthru on it keeps it open.
    app.call("bdev_passthru_create", json!({"name": "user", "base_bdev_name": "opened"}))?;
    Ok(app)
}
