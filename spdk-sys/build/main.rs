//! Finds SPDK, compiles the shim against its headers, generates the bindings and says what to link.

mod link;
mod locate;

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=shim");
    let spdk = match locate::locate() {
        Ok(spdk) => spdk,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(1);
        }
    };
    compile_shim(&spdk);
    generate_bindings(&spdk);
    match (env::var_os("CARGO_FEATURE_LINK_SHARED").is_some(), env::var_os("CARGO_FEATURE_LINK_STATIC").is_some()) {
        (true, true) => {
            eprintln!("spdk-sys: the features link-shared and link-static exclude each other");
            std::process::exit(1);
        }
        (true, false) => link::shared(&spdk),
        (false, true) => link::whole_archives(&spdk),
        (false, false) => {}
    }
}

fn compile_shim(spdk: &locate::Spdk) {
    let mut cc = cc::Build::new();
    cc.files(["bdev.c", "io.c", "rpc.c"].map(|file| format!("shim/{file}")))
        .include("shim")
        .flag("-std=gnu11")
        .flag("-Wno-unused-parameter")
        .warnings_into_errors(true);
    if env::var_os("CARGO_FEATURE_LINK_STATIC").is_some() {
        cc.file("shim/app.c");
    }
    for dir in &spdk.include_dirs {
        cc.flag("-isystem").flag(dir.to_string_lossy().as_ref());
    }
    cc.compile("mirror_shim");
}

fn generate_bindings(spdk: &locate::Spdk) {
    let bindings = bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(spdk.include_dirs.iter().map(|dir| format!("-isystem{}", dir.display())))
        .allowlist_function("mirror_shim_.*")
        .allowlist_function("spdk_bdev_(free_io|io_complete|open_ext|close|desc_get_bdev|get_by_name|get_name)")
        .allowlist_function("spdk_bdev_(get_io_channel|io_type_supported|destruct_done|unregister)")
        .allowlist_function("spdk_bdev_module_(claim|release)_bdev")
        .allowlist_function("spdk_(get_io_channel|put_io_channel|io_device_.*|get_thread)")
        .allowlist_function("spdk_thread_(send_msg|get_name)")
        .allowlist_function("spdk_for_each_channel(_continue)?")
        .allowlist_function("spdk_io_channel_iter_get_(channel|ctx|io_device)")
        .allowlist_function("spdk_poller_.*")
        .allowlist_function("spdk_jsonrpc_send_error_response")
        .allowlist_function("spdk_rpc_register_method")
        .allowlist_type("mirror_shim_.*")
        .allowlist_type("spdk_bdev_(io_wait_entry|io_type|io_status|event_type)")
        .allowlist_var("MIRROR_SHIM_.*")
        .allowlist_var("SPDK_(BDEV|RPC|POLLER)_.*")
        // Their layout changes between releases: Rust holds pointers to them and nothing else.
        .opaque_type("spdk_bdev|spdk_bdev_io|spdk_bdev_module|spdk_bdev_fn_table")
        .opaque_type("spdk_nvme_.*|spdk_bdev_nvme_.*|spdk_nvmf_.*|spdk_bdev_ext_io_opts|spdk_app_opts")
        .prepend_enum_name(false)
        .derive_debug(false)
        .layout_tests(true)
        .generate_comments(false)
        .generate()
        .expect("bindgen reads the headers that the C compiler has just read");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings.write_to_file(out.join("bindings.rs")).expect("OUT_DIR is writable");
}
