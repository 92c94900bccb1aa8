//! What a run needs of the machine, and gives back: hugepages, a mount to reach them by, folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::undo::Undo;

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Enough for a target and an initiator, each with a few hundred MiB of data.
pub const PAGES: u64 = 1280;

/// 2 MiB pages, a private mount of them, and a scratch folder; all given back on drop.
///
/// The mount is our own so that no file of another SPDK can be in the way, nor ours in another's.
pub struct Machine {
    // In the order of giving back: mount first, then pages, then the folder.
    _mount: Undo,
    _pages: Option<Undo>,
    dir: ScratchDir,
}

/// Why nothing can run here, in words that say what to do; `None` if it can.
pub fn missing() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("SPDK needs hugepages, and reserving them needs root: run this as root (sudo)".to_string());
    }
    if !Path::new(POOL).is_dir() {
        return Some(format!(
            "this kernel has no 2 MiB hugepages ({POOL} is missing): use a kernel with CONFIG_HUGETLBFS"
        ));
    }
    None
}

/// What this process starts from now on leaves no core files where it stood.
pub fn no_core_files() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("setting the limit for core files")
}

fn read_count(name: &str) -> Result<u64> {
    let path = format!("{POOL}/{name}");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    text.trim().parse().with_context(|| format!("{path} has no number"))
}

fn write_count(pages: u64) -> Result<()> {
    let path = format!("{POOL}/nr_hugepages");
    fs::write(&path, pages.to_string()).with_context(|| format!("writing {path}"))
}

/// Adds `want` pages to the pool, also if others left some free: those may be about to use them.
fn add_pages(want: u64) -> Result<u64> {
    let before = read_count("nr_hugepages")?;
    write_count(before + want)?;
    let added = read_count("nr_hugepages")?.saturating_sub(before);
    if added < want {
        remove_pages(added);
        bail!(
            "only {added} of {want} hugepages of 2 MiB are to be had: free some memory ({} MiB are needed)",
            want * 2
        );
    }
    Ok(added)
}

/// Relative, so that two users of the machine do not undo each other's reservation.
fn remove_pages(added: u64) {
    if let Ok(now) = read_count("nr_hugepages") {
        let _ = write_count(now.saturating_sub(added));
    }
}

impl Machine {
    /// Reserves and mounts; fails with words that say what to do.
    pub fn prepare(pages: u64) -> Result<Arc<Machine>> {
        if let Some(reason) = missing() {
            bail!(reason);
        }
        let dir = ScratchDir::new()?;
        let (_, pages) = Undo::after(
            || add_pages(pages),
            |added| {
                let added = *added;
                Box::new(move || remove_pages(added))
            },
        )?;
        let at = dir.path().join("huge");
        let (_, mounted) = Undo::after(
            || {
                fs::create_dir(&at)?;
                mount(Some("none"), &at, Some("hugetlbfs"), MsFlags::empty(), Some("pagesize=2M"))
                    .context("mounting hugetlbfs")
            },
            |()| {
                let at = at.clone();
                Box::new(move || {
                    let _ = umount(&at);
                    let _ = fs::remove_dir(&at);
                })
            },
        )?;
        Ok(Arc::new(Machine { _mount: mounted, _pages: Some(pages), dir }))
    }

    /// The hugetlbfs mount.
    pub fn huge_dir(&self) -> PathBuf {
        self.dir.path().join("huge")
    }

    /// A folder with a short name (sockets), removed at the end.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A folder that a signal removes too.
pub struct ScratchDir {
    path: PathBuf,
    _undo: Undo,
}

impl ScratchDir {
    /// A new one, with a name short enough for sockets.
    pub fn new() -> Result<ScratchDir> {
        ScratchDir::inside(Path::new("/tmp"))
    }

    /// A new one in `parent`, which is made if need be.
    pub fn inside(parent: &Path) -> Result<ScratchDir> {
        let (path, undo) = Undo::after(
            || {
                fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
                let dir = TempDir::with_prefix_in("mirror-", parent)
                    .with_context(|| format!("making a folder in {}", parent.display()))?;
                Ok(dir.keep())
            },
            |path| {
                let path = path.clone();
                Box::new(move || {
                    let _ = fs::remove_dir_all(path);
                })
            },
        )?;
        Ok(ScratchDir { path, _undo: undo })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
