//! Where things are in an SPDK tree, for the layouts of 20.07 and of later releases.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A stock application of an SPDK tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// The target with everything in it.
    SpdkTgt,
    /// The NVMe-oF target.
    NvmfTgt,
    /// The load generator.
    Bdevperf,
    /// SPDK's own test suite for bdevs.
    Bdevio,
}

impl Stock {
    /// Candidates in the order of preference: 20.07's place, then today's.
    fn places(self) -> [&'static str; 2] {
        match self {
            Stock::SpdkTgt => ["app/spdk_tgt/spdk_tgt", "build/bin/spdk_tgt"],
            Stock::NvmfTgt => ["app/nvmf_tgt/nvmf_tgt", "build/bin/nvmf_tgt"],
            Stock::Bdevperf => ["test/bdev/bdevperf/bdevperf", "build/examples/bdevperf"],
            Stock::Bdevio => ["test/bdev/bdevio/bdevio", "test/bdev/bdevio/bdevio"],
        }
    }
}

/// SPDK's release, for example 20.07.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Year.
    pub major: u32,
    /// Month.
    pub minor: u32,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.major, self.minor)
    }
}

/// A built SPDK tree.
#[derive(Clone, Debug)]
pub struct Spdk {
    /// Its folder.
    pub dir: PathBuf,
    /// Its release.
    pub release: Release,
}

impl Spdk {
    /// Looks at the tree in `dir`.
    pub fn at(dir: &Path) -> Result<Spdk> {
        let places = ["include", "build/include"].map(|folder| dir.join(folder).join("spdk/version.h"));
        let header = places.iter().find(|path| path.is_file()).with_context(|| {
            format!(
                "{} is not a built SPDK tree: looked for {} and in build/include",
                dir.display(),
                places[0].display()
            )
        })?;
        let text = fs::read_to_string(header).with_context(|| format!("reading {}", header.display()))?;
        let number = |name: &str| -> Result<u32> {
            let found = text.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some("#define") && words.next() == Some(name))
                    .then(|| words.next().and_then(|n| n.parse().ok()))?
            });
            found.with_context(|| format!("{} has no number {name}", header.display()))
        };
        let release = Release { major: number("SPDK_VERSION_MAJOR")?, minor: number("SPDK_VERSION_MINOR")? };
        Ok(Spdk { dir: dir.to_path_buf(), release })
    }

    /// Whether it is the old generation, whose RPC and applications differ in a few places.
    pub fn is_old(&self) -> bool {
        self.release.major < 24
    }

    /// Whether bdev_raid knows raid1.
    pub fn has_raid1(&self) -> bool {
        !self.is_old()
    }

    /// Whether there are shared libraries, and so applications that a module can be preloaded into.
    pub fn is_shared(&self) -> bool {
        self.dir.join("build/lib/libspdk_bdev.so").exists()
    }

    /// The path of a stock application.
    pub fn program(&self, app: Stock) -> Result<PathBuf> {
        let places = app.places().map(|place| self.dir.join(place));
        match places.iter().find(|path| path.is_file()) {
            Some(path) => Ok(path.clone()),
            None => bail!(
                "SPDK {} in {} has no {app:?}: looked for {} and {}",
                self.release,
                self.dir.display(),
                places[0].display(),
                places[1].display()
            ),
        }
    }

    /// What the dynamic applications need as LD_LIBRARY_PATH.
    pub fn library_path(&self) -> String {
        format!("{0}/build/lib:{0}/dpdk/build/lib", self.dir.display())
    }

    /// rpc.py and the PYTHONPATH that it needs.
    pub fn rpc_py(&self) -> Option<(PathBuf, PathBuf)> {
        let script = self.dir.join("scripts/rpc.py");
        let python = if self.is_old() { "scripts" } else { "python" };
        script.is_file().then(|| (script, self.dir.join(python)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_release_and_finds_programs_of_either_layout() {
        let dir = tempfile::tempdir().expect("temp dir");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, text).expect("write");
        };
        assert!(Spdk::at(dir.path()).is_err());
        write(
            "include/spdk/version.h",
            "#define SPDK_VERSION_MAJOR\t26\n#define SPDK_VERSION_MINOR 5\n#define SPDK_VERSION_MINOR_STRING x\n",
        );
        write("build/bin/spdk_tgt", "");
        let spdk = Spdk::at(dir.path()).expect("a tree");
        assert_eq!(spdk.release.to_string(), "26.05");
        assert!(!spdk.is_old() && spdk.has_raid1() && !spdk.is_shared());
        assert!(spdk.program(Stock::SpdkTgt).expect("found").ends_with("build/bin/spdk_tgt"));
        let error = spdk.program(Stock::Bdevio).expect_err("none").to_string();
        assert!(error.contains("looked for") && error.contains("bdevio"), "{error}");
    }
}
