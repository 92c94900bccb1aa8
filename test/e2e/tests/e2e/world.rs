//! What an application holds, to prove that a call or a life left nothing behind; and how much memory it uses.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs;
use mirror_e2e::rpc::Refusal;
use serde_json::{Value, json};

/// Everything countable: bdevs with who has them open or claimed, free bdev_ios, mirrors, threads with their
/// pollers, and the channels where the release tells them.
pub fn held(app: &mut App) -> Result<Value> {
    let mut counts = bdevs::counts(app)?;
    let bdevs = counts["bdevs"].take();
    // Without the module there are none.
    let mirrors = app.try_call("bdev_mirror_get_bdevs", Value::Null)?.unwrap_or(Value::Null);
    let threads = app.call("thread_get_stats", Value::Null)?;
    let pollers: Vec<Value> = threads["threads"]
        .as_array()
        .context("thread_get_stats without threads")?
        .iter()
        .map(|t| json!([t["name"], t["active_pollers_count"], t["timed_pollers_count"], t["paused_pollers_count"]]))
        .collect();
    let channels = app.try_call("thread_get_io_channels", Value::Null)?.unwrap_or(Value::Null);
    Ok(json!({"bdevs": bdevs, "bdev_io_free": counts["bdev_io_free"], "mirrors": mirrors, "pollers": pollers,
              "channels": channels}))
}

/// Runs `what` and insists that everything countable is afterwards as it was.
pub fn unchanged(app: &mut App, what: impl FnOnce(&mut App) -> Result<()>) -> Result<()> {
    let before = held_at_rest(app)?;
    what(app)?;
    expect_held_as(app, &before, &EVERYTHING)
}

/// What is held once SPDK's own modules have examined all bdevs, which they have open meanwhile.
pub fn held_at_rest(app: &mut App) -> Result<Value> {
    settled(app, |held| {
        let bdevs = held["bdevs"].as_array().into_iter().flatten();
        bdevs.into_iter().all(|bdev| bdev["open"] == false || !bdev["claimed_by"].is_null())
    })
}

/// All keys of [`held`].
pub const EVERYTHING: [&str; 5] = ["bdevs", "bdev_io_free", "mirrors", "pollers", "channels"];
/// Those that stay the same in an application whose own threads and pollers come and go.
pub const THINGS: [&str; 3] = ["bdevs", "bdev_io_free", "mirrors"];

/// Insists that these keys of [`held`] are again as `before`.
pub fn expect_held_as(app: &mut App, before: &Value, keys: &[&str]) -> Result<()> {
    let after = settled(app, |held| keys.iter().all(|key| held[*key] == before[*key]))?;
    for key in keys {
        ensure!(before[*key] == after[*key], "{key} changed.\nbefore: {before}\nafter:  {after}");
    }
    Ok(())
}

/// What is held once it is as it should be, or what it is after half a minute: SPDK ends much by messages.
fn settled(app: &mut App, as_it_should: impl Fn(&Value) -> bool) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let now = held(app)?;
        if as_it_should(&now) || Instant::now() > until {
            return Ok(now);
        }
        sleep(Duration::from_millis(20));
    }
}

/// Makes the module do once what it does only once (its thread, its tables), so that counts stay the same afterwards.
pub fn warm_up(app: &mut App) -> Result<()> {
    bdevs::malloc(app, "warm", 4, 512)?;
    bdevs::mirror(app, "warmed", &["warm"])?;
    app.call("bdev_mirror_delete", json!({"name": "warmed"}))?;
    app.call("bdev_malloc_delete", json!({"name": "warm"}))?;
    Ok(())
}

/// Insists on a refusal with this code, whose message has all these words.
pub fn expect_refusal(answer: Result<Value, Refusal>, code: i64, words: &[&str]) -> Result<()> {
    let refusal = match answer {
        Ok(result) => anyhow::bail!("accepted, with the result {result}; code {code} was expected"),
        Err(refusal) => refusal,
    };
    ensure!(refusal.code == code, "code {code} was expected: {refusal}");
    for word in words {
        ensure!(refusal.message.contains(word), "'{word}' is not in the message: {refusal}");
    }
    Ok(())
}

/// Resident memory of a process, in KiB.
pub fn rss_kb(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
    let number = line.split_whitespace().nth(1).context("VmRSS without a number")?;
    Ok(number.parse()?)
}

/// Insists that a mirror is well: online, its legs in sync, no errors.
pub fn expect_well(app: &mut App, name: &str) -> Result<Value> {
    let info = bdevs::mirror_info(app, name)?;
    let legs = info["base_bdevs_list"].as_array().context("no base_bdevs_list")?;
    let health = if legs.len() == 1 { "degraded" } else { "optimal" };
    ensure!(info["state"] == "online" && info["health"] == health, "the mirror is not well: {info}");
    ensure!(info["status"] == "A".repeat(legs.len()), "not all legs are in sync: {info}");
    for leg in legs {
        ensure!(leg["state"] == "in_sync" && leg["is_configured"] == true, "a leg is not well: {leg}");
        ensure!(leg["errors"] == json!({"read": 0, "write": 0, "flush": 0, "corrected": 0}), "errors: {leg}");
    }
    Ok(info)
}

/// Insists that nobody has a bdev open or claimed.
pub fn expect_free(app: &mut App, names: &[&str]) -> Result<()> {
    let free = |bdev: &Value| bdev["open"] == false && bdev["claimed_by"].is_null();
    let held = settled(app, |held| {
        let bdevs = held["bdevs"].as_array().into_iter().flatten();
        bdevs.filter(|bdev| names.iter().any(|name| bdev["name"] == *name)).all(free)
    })?;
    for name in names {
        let bdev = held["bdevs"].as_array().into_iter().flatten().find(|b| b["name"] == *name);
        let bdev = bdev.with_context(|| format!("no bdev {name}: {held}"))?;
        ensure!(free(bdev), "still held: {bdev}");
    }
    Ok(())
}

/// Compares all legs of a mirror with the first one, and insists that a load reached them if `written`.
pub fn expect_equal_legs(app: &mut App, legs: &[String], num_blocks: u64, written: bool) -> Result<()> {
    for other in legs.iter().skip(1) {
        let (_, nonzero) = bdevs::compare(app, &legs[0], other, Some(num_blocks))?;
        ensure!(!written || nonzero > 0, "the legs are equal but empty");
    }
    Ok(())
}
