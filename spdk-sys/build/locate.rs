//! Where SPDK is: `SPDK_DIR`, else pkg-config, else the per-user cache that `make spdk` fills.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An SPDK to build against.
pub struct Spdk {
    /// Folders with `spdk/*.h`.
    pub include_dirs: Vec<PathBuf>,
    /// Folders with `libspdk_*` and `librte_*`.
    pub lib_dirs: Vec<PathBuf>,
    /// The built tree, where there is one (pkg-config knows only installed files).
    pub root: Option<PathBuf>,
}

/// Releases that the shim was written for, as major * 100 + minor. What lies between differs from both.
const OLD: u32 = 2007;
const NEW: std::ops::RangeInclusive<u32> = 2409..=2605;

/// Finds SPDK or says what was looked for, and where.
pub fn locate() -> Result<Spdk, String> {
    for name in ["SPDK_DIR", "PKG_CONFIG_PATH", "BDEV_MIRROR_CACHE", "XDG_CACHE_HOME"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if let Some(dir) = env::var_os("SPDK_DIR").filter(|dir| !dir.is_empty()) {
        return from_tree(Path::new(&dir)).map_err(|e| format!("SPDK_DIR={}: {e}", dir.display()));
    }
    let by_pkg_config = match from_pkg_config() {
        Ok(spdk) => return Ok(spdk),
        Err(e) => e,
    };
    let cached = cache_dir()?;
    from_tree(&cached).map_err(|e| {
        format!(
            "spdk-sys: no SPDK found.\n  SPDK_DIR: not set\n  pkg-config: {by_pkg_config}\n  cache: {}: {e}\n\
             run: make spdk (builds SPDK 20.07 into the cache), or give SPDK_DIR=/path/to/built/spdk",
            cached.display()
        )
    })
}

fn from_tree(root: &Path) -> Result<Spdk, String> {
    let root = root.canonicalize().map_err(|e| format!("{e}; give the folder of a built SPDK tree"))?;
    let include = root.join("include");
    let lib = root.join("build/lib");
    let config = include.join("spdk/config.h");
    let generated = root.join("build/include/spdk/config.h");
    if !config.exists() && !generated.exists() {
        return Err(
            "not a built SPDK tree; expected include/spdk/config.h (run SPDK's configure and make there)".into()
        );
    }
    if !lib.join("libspdk_bdev.a").exists() && !lib.join("libspdk_bdev.so").exists() {
        return Err("not a built SPDK tree; expected build/lib/libspdk_bdev.a or .so (run SPDK's make there)".into());
    }
    println!("cargo:rerun-if-changed={}", lib.display());
    let include_dirs: Vec<_> = [root.join("build/include"), include].into_iter().filter(|dir| dir.is_dir()).collect();
    check_release(release_of(&include_dirs)?)?;
    Ok(Spdk {
        include_dirs,
        lib_dirs: [lib, root.join("dpdk/build/lib")].into_iter().filter(|dir| dir.is_dir()).collect(),
        root: Some(root),
    })
}

fn from_pkg_config() -> Result<Spdk, String> {
    let library = pkg_config::Config::new()
        .cargo_metadata(false)
        .probe("spdk_bdev")
        .map_err(|_| "spdk_bdev.pc not found (PKG_CONFIG_PATH names the folders to search)".to_string())?;
    let mut lib_dirs = library.link_paths;
    if let Ok(dpdk) = pkg_config::Config::new().cargo_metadata(false).probe("libdpdk") {
        lib_dirs.extend(dpdk.link_paths);
    }
    let mut include_dirs = library.include_paths;
    if include_dirs.is_empty() {
        include_dirs.push("/usr/include".into());
    }
    check_release(release_of(&include_dirs)?)?;
    Ok(Spdk { include_dirs, lib_dirs, root: None })
}

fn cache_dir() -> Result<PathBuf, String> {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipe/spdk-20.07.sh");
    println!("cargo:rerun-if-changed={}", recipe.display());
    let output = Command::new("bash")
        .arg(&recipe)
        .args(["path", "release"])
        .output()
        .map_err(|e| format!("{}: {e}", recipe.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

fn check_release(release: u32) -> Result<(), String> {
    let name = format!("{}.{:02}", release / 100, release % 100);
    if release > *NEW.end() {
        println!("cargo:warning=SPDK {name} is newer than what this version was written for (up to 26.05)");
    } else if release != OLD && !NEW.contains(&release) {
        return Err(format!("SPDK {name}: this version supports 20.07 and 24.09 to 26.05; give one of these"));
    }
    Ok(())
}

fn release_of(include_dirs: &[PathBuf]) -> Result<u32, String> {
    let text = include_dirs
        .iter()
        .find_map(|dir| fs::read_to_string(dir.join("spdk/version.h")).ok())
        .ok_or("no include/spdk/version.h (SPDK's build generates it from 26.05 on)")?;
    let number = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.trim().parse::<u32>().ok())
            .ok_or(format!("include/spdk/version.h has no {name}"))
    };
    Ok(number("SPDK_VERSION_MAJOR")? * 100 + number("SPDK_VERSION_MINOR")?)
}
