//! What to link: shared libraries by soname, or every archive whole.

use crate::locate::Spdk;
use std::fs;
use std::path::Path;

/// The module as a library: it contains no SPDK and needs the sonames that it was built for, so that the loader
/// refuses it in a program of another release.
pub fn shared(spdk: &Spdk) {
    for dir in &spdk.lib_dirs {
        println!("cargo:rustc-link-search=native={}", dir.display());
    }
    for lib in ["bdev", "env_dpdk", "thread", "rpc", "jsonrpc", "json", "log", "util"] {
        println!("cargo:rustc-link-lib=dylib=spdk_{lib}");
    }
}

/// Test doubles, second environments and tools in C++, which no target links.
const NOT_LINKED: [&str; 6] = [
    "libspdk_ut.",
    "libspdk_ut_mock.",
    "libspdk_env_ocf.",
    "libspdk_rte_vhost.",
    "libspdk_fuse_dispatcher.",
    "libspdk_trace_parser.",
];

/// The program: SPDK's modules register themselves in constructors, which a linker drops unless archives are whole.
pub fn whole_archives(spdk: &Spdk) {
    let mut archives = Vec::new();
    for dir in &spdk.lib_dirs {
        archives.extend(archives_in(dir, "libspdk_"));
        archives.extend(archives_in(dir, "librte_"));
    }
    archives.retain(|path| !NOT_LINKED.iter().any(|name| file_name(path).starts_with(name)));
    archives.sort();
    archives.dedup_by(|a, b| file_name(a) == file_name(b));
    assert!(!archives.is_empty(), "no libspdk_*.a in {:?}: build SPDK with static libraries", spdk.lib_dirs);
    for path in &archives {
        let name = file_name(path).trim_start_matches("lib").trim_end_matches(".a");
        println!("cargo:rustc-link-search=native={}", path.parent().unwrap_or(Path::new("/")).display());
        println!("cargo:rustc-link-lib=static:+whole-archive,-bundle={name}");
    }
    if let Some(root) = &spdk.root {
        for (dir, name) in [("isa-l/.libs", "isal"), ("isa-l-crypto/.libs", "isal_crypto")] {
            if root.join(dir).join(format!("lib{name}.a")).exists() {
                println!("cargo:rustc-link-search=native={}", root.join(dir).display());
                println!("cargo:rustc-link-lib=static:-bundle={name}");
            }
        }
    }
    for lib in system_libraries(spdk) {
        println!("cargo:rustc-link-lib=dylib={lib}");
    }
}

/// The system's libraries that this SPDK was configured with.
fn system_libraries(spdk: &Spdk) -> Vec<&'static str> {
    let mut libs = vec!["numa", "dl", "rt", "uuid", "ssl", "crypto", "aio", "m"];
    let config =
        spdk.root.as_ref().and_then(|root| fs::read_to_string(root.join("mk/config.mk")).ok()).unwrap_or_default();
    for (option, needed) in [
        ("URING", &["uring"][..]),
        ("RDMA", &["ibverbs", "rdmacm"]),
        ("NVME_CUSE", &["fuse3"]),
        ("HAVE_KEYUTILS", &["keyutils"]),
        ("HAVE_LIBARCHIVE", &["archive"]),
        ("HAVE_LIBBSD", &["bsd"]),
        ("ISCSI_INITIATOR", &["iscsi"]),
    ] {
        let set = [format!("CONFIG_{option}=y"), format!("CONFIG_{option}?=y")];
        if config.lines().any(|line| set.iter().any(|s| line.trim() == s)) {
            libs.extend(needed);
        }
    }
    libs
}

fn archives_in(dir: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| file_name(path).starts_with(prefix) && file_name(path).ends_with(".a"))
        .collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("")
}
