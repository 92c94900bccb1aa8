//! save_config and what replays it, rpc.py with our plugin, and the loader's refusal of another release.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mirror_e2e::app::App;
use mirror_e2e::bdevs::{self, mirror, mirror_info};
use mirror_e2e::spdk::{Spdk, Stock};
use serde_json::{Value, json};

use crate::case::{Case, Ctx, Need};
use crate::world::expect_well;

pub fn cases() -> Vec<Case> {
    use Need::{Module, OtherSpdk, RpcPy};
    vec![
        Case::new("config::survives_a_restart", &[Module], survives_a_restart),
        Case::new("config::survives_rpc_py", &[Module, RpcPy], survives_rpc_py),
        Case::new("config::unsound_mirrors_are_not_saved", &[Module], unsound_mirrors_are_not_saved),
        Case::new("config::plugin_of_rpc_py", &[Module, RpcPy], plugin_of_rpc_py),
        Case::new("config::module_names_its_release", &[Module], module_names_its_release),
        Case::new("config::another_release_refuses", &[Module, OtherSpdk], another_release_refuses),
    ]
}

/// The bdev part of save_config: a list of calls.
fn saved(app: &mut App) -> Result<Value> {
    app.call("framework_get_config", json!({"name": "bdev"}))
}

fn saved_mirrors(config: &Value) -> Vec<&Value> {
    let calls = config.as_array().into_iter().flatten();
    calls.filter(|c| c["method"] == "bdev_mirror_create").map(|c| &c["params"]).collect()
}

fn two_mirrors(app: &mut App) -> Result<()> {
    for name in ["a", "b", "c"] {
        bdevs::malloc(app, name, 16, 512)?;
    }
    let mut params = bdevs::mirror_params("first", &["b", "a"]);
    params["size_mb"] = 8.into();
    params["unmap"] = "pass".into();
    app.call("bdev_mirror_create", params)?;
    mirror(app, "second", &["c"])?;
    Ok(())
}

/// What must be the same after a replay: all but what has no place in a config.
fn lasting(app: &mut App, name: &str) -> Result<Value> {
    let mut info = mirror_info(app, name)?;
    for leg in info["base_bdevs_list"].as_array_mut().into_iter().flatten() {
        leg["uuid"].take(); // of malloc bdevs, in 20.07 a new one each time
    }
    Ok(info)
}

fn survives_a_restart(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    two_mirrors(&mut app)?;
    let config = saved(&mut app)?;
    ensure!(saved_mirrors(&config).len() == 2, "two mirrors were to be saved: {config}");
    let infos = [lasting(&mut app, "first")?, lasting(&mut app, "second")?];
    let file = app.machine().dir().join("config.json");
    std::fs::write(&file, json!({"subsystems": [{"subsystem": "bdev", "config": config}]}).to_string())?;
    app.stop()?;

    // As a target starts with the file: --json.
    let mut app = ctx.start(ctx.kit.preloaded(Stock::SpdkTgt)?.arg("--json").arg(&file))?;
    for info in &infos {
        let name = info["name"].as_str().context("no name")?;
        let again = lasting(&mut app, name)?;
        ensure!(again == *info, "{name} changed.\nbefore: {info}\nafter:  {again}");
    }
    let again = saved(&mut app)?;
    ensure!(saved_mirrors(&again) == saved_mirrors(&config), "saved again, it differs: {again}");
    app.stop()?;
    Ok(())
}

/// rpc.py on the socket of `app`, with our plugin.
fn rpc_py(ctx: &Ctx, app: &App) -> Result<Command> {
    let (script, python_path) = ctx.kit.spdk()?.rpc_py().context("no rpc.py")?;
    let plugin = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../rpc");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", format!("{}:{}", plugin.display(), python_path.display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg("-s")
        .arg(app.socket())
        .args(["--plugin", "bdev_mirror_rpc"]);
    Ok(command)
}

/// Its output; an exit with an error is one.
fn output(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    Ok(text)
}

fn survives_rpc_py(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    two_mirrors(&mut app)?;
    let info = lasting(&mut app, "first")?;
    let mut save = rpc_py(ctx, &app)?;
    save.arg("save_config");
    let config = output(save)?;
    let file = app.machine().dir().join("saved.json");
    std::fs::write(&file, &config)?;
    app.stop()?;
    let mut app = ctx.start(ctx.kit.preloaded(Stock::SpdkTgt)?.arg("--wait-for-rpc"))?;
    let mut load = rpc_py(ctx, &app)?;
    load.arg("load_config").stdin(std::fs::File::open(&file)?);
    output(load)?;
    let again = lasting(&mut app, "first")?;
    ensure!(again == info, "it changed.\nbefore: {info}\nafter:  {again}");
    app.stop()?;
    Ok(())
}

fn unsound_mirrors_are_not_saved(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    two_mirrors(&mut app)?;
    app.call("bdev_malloc_delete", json!({"name": "a"}))?;
    let config = saved(&mut app)?;
    let mirrors = saved_mirrors(&config);
    ensure!(mirrors.len() == 1 && mirrors[0]["name"] == "second", "only 'second' is sound: {config}");
    app.stop()?;
    Ok(())
}

fn plugin_of_rpc_py(ctx: &Ctx) -> Result<()> {
    let mut app = ctx.mirror_target()?;
    for name in ["a", "b"] {
        bdevs::malloc(&mut app, name, 16, 512)?;
    }
    let run = |app: &App, args: &[&str]| -> Result<String> {
        let mut command = rpc_py(ctx, app)?;
        command.args(args);
        output(command)
    };
    run(&app, &["bdev_mirror_create", "-n", "mirror0", "-b", "a", "b", "-l", "core", "-i", "none", "-s", "8"])?;
    let info = expect_well(&mut app, "mirror0")?;
    ensure!(info["num_blocks"] == 8 * 2048, "{info}");
    let shown: Value = serde_json::from_str(&run(&app, &["bdev_mirror_get_bdevs", "-n", "mirror0"])?)?;
    ensure!(shown[0]["uuid"] == info["uuid"], "{shown}");
    let error = run(&app, &["bdev_mirror_create", "-n", "mirror1", "-b", "a"]).expect_err("refused").to_string();
    ensure!(error.contains("log_type") && error.contains("not yet available"), "{error}");
    run(&app, &["bdev_mirror_stop", "mirror0"])?;
    run(&app, &["bdev_mirror_create", "-n", "mirror0", "-b", "a b", "-l", "core", "-i", "none"])?;
    run(&app, &["bdev_mirror_delete", "mirror0", "--force"])?;
    let help = run(&app, &["bdev_mirror_create", "-h"])?;
    ensure!(help.contains("--base-bdevs") && help.contains("1 to 16"), "{help}");
    app.stop()?;
    Ok(())
}

/// The sonames that a library or program needs, or its own.
fn dynamic(file: &std::path::Path, tag: &str) -> Result<Vec<String>> {
    let mut readelf = Command::new("readelf");
    readelf.arg("-d").arg(file);
    let text = output(readelf)?;
    let names = text.lines().filter(|line| line.contains(tag));
    Ok(names.filter_map(|line| Some(line.split(['[', ']']).nth(1)?.to_string())).collect())
}

/// The loader refuses a module whose sonames are not there. They carry the release.
fn module_names_its_release(ctx: &Ctx) -> Result<()> {
    let module = ctx.kit.module.as_ref().context("no module")?;
    let spdk = ctx.kit.spdk()?;
    let needed = dynamic(module, "(NEEDED)")?;
    let soname = dynamic(&spdk.dir.join("build/lib/libspdk_bdev.so"), "(SONAME)")?;
    ensure!(soname.len() == 1 && soname[0].contains(".so."), "libspdk_bdev.so has no versioned soname: {soname:?}");
    ensure!(needed.contains(&soname[0]), "{soname:?} is not among what the module needs: {needed:?}");
    let foreign: Vec<_> = needed.iter().filter(|n| n.starts_with("librte_")).collect();
    ensure!(foreign.is_empty(), "the module needs DPDK itself: {foreign:?}");
    Ok(())
}

fn another_release_refuses(ctx: &Ctx) -> Result<()> {
    let dir = std::env::var_os("OTHER_SPDK_DIR").context("OTHER_SPDK_DIR is not set")?;
    let other = Spdk::at(&PathBuf::from(dir))?;
    ensure!(other.release != ctx.kit.spdk()?.release, "OTHER_SPDK_DIR has the same release");
    let mut command = Command::new(other.program(Stock::SpdkTgt)?);
    command
        .env("LD_LIBRARY_PATH", other.library_path())
        .env("LD_PRELOAD", ctx.kit.module.as_ref().context("no module")?)
        .arg("-v");
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    // The loader ends a program that it cannot load with 127; a signal would be a crash.
    ensure!(output.status.code() == Some(127), "{}: {text}", output.status);
    ensure!(text.contains("libspdk_") && text.contains("cannot open shared object file"), "{text}");
    Ok(())
}
