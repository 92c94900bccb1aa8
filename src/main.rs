//! SPDK's target with the mirror module in it: same command line, same RPCs, and `bdev_mirror_*`.

fn main() -> std::process::ExitCode {
    bdev_mirror::run()
}
