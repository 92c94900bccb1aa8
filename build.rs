//! Link arguments of the program, and nothing else: SPDK itself is found and linked by spdk-sys.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The program's SPDK is visible to what is preloaded into it, as it is in a target that was linked dynamically.
    println!("cargo:rustc-link-arg-bins=-rdynamic");
}
