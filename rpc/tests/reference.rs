//! Holds `docs/jsonrpc.md` and the plugin for `rpc.py` to the list of methods: what is in the
//! list is in both, in the same words, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mirror_rpc::{
    CreateParams, DeleteParams, GetBdevsParams, LATER_CREATE_OPTIONS, METHODS, Method, Param, RpcError, StopParams,
};

fn crate_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn docs() -> String {
    fs::read_to_string(crate_dir().join("../docs/jsonrpc.md")).unwrap()
}

fn plugin() -> String {
    fs::read_to_string(crate_dir().join("bdev_mirror_rpc.py")).unwrap()
}

/// The words of that kind: letters, digits and underscores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// What stands between `from` and `to`, both searched in order.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from:?} in the text"));
    rest.split_once(to).map_or(rest, |(inside, _)| inside)
}

fn names(method: &Method) -> BTreeSet<String> {
    method.params.iter().map(|p| p.name.to_owned()).collect()
}

fn default_of(param: &Param) -> &'static str {
    param.default.unwrap_or("required")
}

#[test]
fn only_these_methods_are_mentioned() {
    let listed: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
    for text in [docs(), plugin()] {
        let mentioned: BTreeSet<&str> =
            words(&text).filter(|word| word.starts_with("bdev_mirror_") && *word != "bdev_mirror_rpc").collect();
        assert_eq!(mentioned, listed);
    }
}

#[test]
fn the_reference_has_every_parameter_and_no_other() {
    let docs = docs();
    for method in METHODS {
        let section = between(&docs, &format!("\n## `{}`\n", method.name), "\n## ");
        assert!(section.contains(method.summary), "{}", method.name);
        let table = between(section, "| parameter | type | default | meaning |\n", "\n\n");
        let rows: Vec<&str> = table.lines().skip(1).collect();
        let expected: Vec<String> = method
            .params
            .iter()
            .map(|p| format!("| `{}` | {} | {} | {} |", p.name, p.kind, default_of(p), p.help))
            .collect();
        assert_eq!(rows, expected, "{}", method.name);
    }
}

#[test]
fn the_reference_names_the_options_to_come() {
    let docs = docs();
    let section = between(&docs, "\n### Not yet available\n", "\n## ");
    let named: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, LATER_CREATE_OPTIONS.iter().copied().collect());
}

/// An `add_argument` of the plugin: its quoted strings, without the quotes.
fn arguments(plugin: &str, method: &Method) -> Vec<Vec<String>> {
    let end = format!("p.set_defaults(func={})", method.name);
    let parser = between(plugin, &format!("'{}',\n", method.name), &end);
    assert!(parser.contains(&format!("help='{}'", method.summary)));
    let chunks = parser.split("p.add_argument(").skip(1);
    chunks.map(|chunk| chunk.split('\'').skip(1).step_by(2).map(str::to_owned).collect()).collect()
}

#[test]
fn the_plugin_has_every_parameter_and_no_other() {
    let plugin = plugin();
    for method in METHODS {
        let mut seen = BTreeSet::new();
        for strings in arguments(&plugin, method) {
            let long = strings.iter().find(|string| string.starts_with("--"));
            let flag = long.unwrap_or(&strings[0]).trim_start_matches('-').replace('-', "_");
            let positive = flag.strip_prefix("no_");
            let name = positive.unwrap_or(&flag).to_owned();
            let param = method.param(&name).unwrap_or_else(|| panic!("{name} is not listed"));
            assert_eq!(positive.is_some(), param.default == Some("true"), "{name}");
            if positive.is_none() {
                let text = strings.concat().replace("%%", "%");
                let help = match param.default {
                    Some(default) => format!("{}. Default: {default}", param.help),
                    None => param.help.to_owned(),
                };
                assert!(text.ends_with(&help), "{name}: {text:?} lacks {help:?}");
            }
            assert!(seen.insert(name), "twice");
        }
        assert_eq!(seen, names(method), "{}", method.name);
    }
}

/// Runs the plugin the way rpc.py does, with a client that prints what it would send.
const DRY_RUN: &str = "
import argparse, json, sys
import bdev_mirror_rpc

class Client:
    def call(self, method, params):
        print(json.dumps({'method': method, 'params': params}))

parser = argparse.ArgumentParser()
bdev_mirror_rpc.spdk_rpc_plugin_initialize(parser.add_subparsers())
args = parser.parse_args(sys.argv[1:])
args.client = Client()
args.func(args)
";

/// The call that the plugin makes of a command line; `None` without Python.
fn sent(command_line: &[&str]) -> Option<serde_json::Value> {
    let output =
        Command::new("python3").args(["-B", "-c", DRY_RUN]).args(command_line).env("PYTHONPATH", crate_dir()).output();
    let Ok(output) = output else {
        println!("skipped: no python3 to run the plugin with");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command_line:?}: {errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn sends<T>(command_line: &[&str], parse: impl Fn(&str) -> Result<T, RpcError>) -> Option<T> {
    let call = sent(command_line)?;
    assert_eq!(call["method"], command_line[0]);
    Some(parse(&call["params"].to_string()).unwrap())
}

#[test]
fn what_the_plugin_sends_is_accepted() {
    let line: Vec<&str> = "bdev_mirror_create -n m0 -b a b -l core -i none -s 64 --unmap pass \
         -u 6e2d2a3c-7a5f-4a2e-9d11-0123456789ab --read-policy least_outstanding \
         --data-offset-kb 0 --require-durable-legs"
        .split_whitespace()
        .collect();
    let Some(create) = sends(&line, CreateParams::parse) else {
        return;
    };
    assert_eq!(create.base_bdevs, ["a", "b"]);
    assert_eq!(create.size_mb, Some(64));
    assert!(create.uuid.is_some() && create.require_durable_legs);

    let line = ["bdev_mirror_create", "-n", "m0", "-b", "a b", "c", "-l", "core", "-i", "none"];
    let create = sends(&line, CreateParams::parse).unwrap();
    assert_eq!(create.base_bdevs, ["a", "b", "c"]);
    assert!(!create.require_durable_legs);

    let delete = |line: &[&str]| sends(line, DeleteParams::parse).unwrap();
    let plain = delete(&["bdev_mirror_delete", "m0"]);
    assert!(plain.wipe && !plain.force);
    let forced = delete(&["bdev_mirror_delete", "m0", "--no-wipe", "--force"]);
    assert!(!forced.wipe && forced.force);

    let stop = sends(&["bdev_mirror_stop", "m0"], StopParams::parse).unwrap();
    assert_eq!(stop.name, "m0");

    let get = |line: &[&str]| sends(line, GetBdevsParams::parse).unwrap();
    assert_eq!(get(&["bdev_mirror_get_bdevs"]).name, None);
    let one = get(&["bdev_mirror_get_bdevs", "-n", "m0", "-c", "offline"]);
    assert_eq!(one.name.as_deref(), Some("m0"));
    assert_eq!(one.category, mirror_rpc::Category::Offline);
}
