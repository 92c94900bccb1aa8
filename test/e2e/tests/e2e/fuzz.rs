//! Calls with parameters that nobody would think of. Each is answered; nothing crashes, nothing stays behind.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs;
use mirror_e2e::rpc::Rpc;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need};
use crate::world::{EVERYTHING, expect_held_as, held_at_rest, warm_up};

const METHODS: [&str; 4] = ["bdev_mirror_create", "bdev_mirror_delete", "bdev_mirror_stop", "bdev_mirror_get_bdevs"];
const KEYS: [&str; 16] = [
    "name",
    "base_bdevs",
    "uuid",
    "log_type",
    "initial_sync",
    "size_mb",
    "read_policy",
    "data_offset_kb",
    "unmap",
    "require_durable_legs",
    "force",
    "wipe",
    "category",
    "region_size_kb",
    "Name",
    "",
];
const WORDS: [&str; 13] =
    ["a", "b", "c", "new", "core", "none", "zeroes", "pass", "all", "least_outstanding", "", "a\0b", "é😀\n\"\\"];
const CODES: [i64; 9] = [-1, -12, -16, -17, -19, -22, -28, -32602, -32600];

pub fn cases() -> Vec<Case> {
    vec![Case::new("fuzz::parameters", &[Need::Module], parameters), Case::new("fuzz::bytes", &[Need::Module], bytes)]
}

fn seeded() -> Result<SmallRng> {
    let seed = match std::env::var("MIRROR_FUZZ_SEED") {
        Ok(seed) => seed.parse().context("MIRROR_FUZZ_SEED is not a number")?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
    };
    println!("fuzz: MIRROR_FUZZ_SEED={seed} repeats this");
    Ok(SmallRng::seed_from_u64(seed))
}

fn value(rng: &mut SmallRng, depth: u32) -> Value {
    match rng.random_range(0..if depth == 0 { 7 } else { 10 }) {
        0 => Value::Null,
        1 => json!(rng.random::<bool>()),
        2 => json!(rng.random_range(-2..40)),
        3 => json!(rng.random::<u64>()),
        4 => json!(rng.random::<f64>() * 1e20 - 1e19),
        5 => json!(WORDS.choose(rng)),
        6 => json!("x".repeat(rng.random_range(0..2000))),
        7 => json!({"name": value(rng, depth - 1)}),
        _ => (0..rng.random_range(0..20)).map(|_| value(rng, depth - 1)).collect(),
    }
}

/// SPDK's buffer for a request has 32 KiB; it closes a connection that brings more.
const PARAMS_BYTES_MAX: usize = 30 * 1024;

/// Mostly a good call with a few things changed: those get furthest.
fn params(rng: &mut SmallRng) -> Value {
    loop {
        let params = any_params(rng);
        if params.to_string().len() <= PARAMS_BYTES_MAX {
            return params;
        }
    }
}

fn any_params(rng: &mut SmallRng) -> Value {
    let mut params = match rng.random_range(0..4) {
        0 => json!({}),
        1 => json!({"name": WORDS.choose(rng)}),
        _ => {
            let legs: Vec<&str> = (0..rng.random_range(0..4)).filter_map(|_| WORDS.choose(rng).copied()).collect();
            bdevs::mirror_params("new", &legs)
        }
    };
    for _ in 0..rng.random_range(0..3) {
        let key = KEYS.choose(rng).copied().unwrap_or("name");
        params[key] = value(rng, 2);
    }
    params
}

/// Enough of them to know them by.
fn brief(params: &Value) -> String {
    params.to_string().chars().take(2000).collect()
}

fn start(ctx: &Ctx) -> Result<App> {
    let mut app = ctx.mirror_target()?;
    warm_up(&mut app)?;
    for name in ["a", "b", "c"] {
        bdevs::malloc(&mut app, name, 8, 512)?;
    }
    Ok(app)
}

/// All mirrors are deleted again.
fn restore(app: &mut App) -> Result<()> {
    let list = app.call("bdev_mirror_get_bdevs", Value::Null)?;
    for mirror in list.as_array().into_iter().flatten() {
        app.call("bdev_mirror_delete", json!({"name": mirror["name"], "force": true}))?;
    }
    Ok(())
}

fn parameters(ctx: &Ctx) -> Result<()> {
    let mut rng = seeded()?;
    let mut app = start(ctx)?;
    let before = held_at_rest(&mut app)?;
    let until = Instant::now() + Duration::from_secs(ctx.seconds(15).into());
    let (mut accepted, mut refused) = (0, 0);
    while Instant::now() < until {
        let method = METHODS.choose(&mut rng).context("no method")?;
        let params = params(&mut rng);
        match app.try_call(method, params.clone()).with_context(|| format!("{method} {}", brief(&params)))? {
            Ok(_) => accepted += 1,
            Err(refusal) => {
                refused += 1;
                ensure!(CODES.contains(&refusal.code), "an unknown code: {refusal}, for {}", brief(&params));
                ensure!(!refusal.message.is_empty(), "no message: {refusal}, for {}", brief(&params));
            }
        }
    }
    println!("fuzz: {accepted} calls accepted, {refused} refused");
    ensure!(accepted > 0 && refused > 0, "{accepted} calls accepted, {refused} refused: too few kinds of calls");
    restore(&mut app)?;
    expect_held_as(&mut app, &before, &EVERYTHING)?;
    app.stop()?;
    Ok(())
}

/// Requests whose bytes were damaged. SPDK's parser may close the connection; the target goes on.
fn bytes(ctx: &Ctx) -> Result<()> {
    let mut rng = seeded()?;
    let mut app = start(ctx)?;
    let before = held_at_rest(&mut app)?;
    let until = Instant::now() + Duration::from_secs(ctx.seconds(5).into());
    while Instant::now() < until {
        let method = METHODS.choose(&mut rng).context("no method")?;
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params(&mut rng)});
        let mut request = request.to_string().into_bytes();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..request.len());
            request[at] = rng.random();
        }
        let mut rpc: Rpc = app.connect()?;
        // Not waited for: a request that lost its end has no answer. The next connection shows that all is well.
        let _ = rpc.send_raw(&request);
        ensure!(app.ended()?.is_none(), "the target died of {}", String::from_utf8_lossy(&request));
    }
    app.call("bdev_mirror_get_bdevs", Value::Null).context("the target does not answer any more")?;
    restore(&mut app)?;
    expect_held_as(&mut app, &before, &EVERYTHING)?;
    app.stop()?;
    Ok(())
}
