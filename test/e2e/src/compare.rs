//! Block-by-block comparison of two files, which skips what is a hole in both.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// How two files compare.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Comparison {
    /// Blocks compared, holes included.
    pub blocks: u64,
    /// Blocks that differ.
    pub differing: u64,
    /// The first of them.
    pub first: Option<u64>,
    /// Blocks that are not all zeros in the first file.
    pub nonzero: u64,
}

const CHUNK: u64 = 1 << 20;
static ZEROS: [u8; CHUNK as usize] = [0; CHUNK as usize];

/// Compares the first `len` bytes in blocks of `block_size` (which divides 1 MiB, or `len` fits in it).
pub fn files(a: &Path, b: &Path, len: u64, block_size: u64) -> Result<Comparison> {
    let open = |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let (a, b) = (open(a)?, open(b)?);
    let shortest = a.metadata()?.len().min(b.metadata()?.len());
    ensure!(len <= shortest, "{len} bytes were to be compared, a file has {shortest}");
    ensure!(CHUNK.is_multiple_of(block_size) && len.is_multiple_of(block_size), "block size {block_size} does not fit");
    let mut result = Comparison { blocks: len / block_size, ..Comparison::default() };
    let mut at = 0;
    let (mut left, mut right) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
    while at < len {
        // Where both have a hole there is nothing to read.
        let data = next_data(&a, at)?.min(next_data(&b, at)?);
        at = at.max(data / CHUNK * CHUNK);
        if at >= len {
            break;
        }
        let size = CHUNK.min(len - at) as usize;
        a.read_exact_at(&mut left[..size], at)?;
        b.read_exact_at(&mut right[..size], at)?;
        chunk(&mut result, &left[..size], &right[..size], at / block_size, block_size as usize);
        at += size as u64;
    }
    Ok(result)
}

fn chunk(result: &mut Comparison, left: &[u8], right: &[u8], first_block: u64, block_size: usize) {
    let blocks = left.chunks(block_size).zip(right.chunks(block_size));
    for (i, (l, r)) in blocks.enumerate() {
        if l != r {
            result.differing += 1;
            result.first.get_or_insert(first_block + i as u64);
        }
        if l != &ZEROS[..block_size] {
            result.nonzero += 1;
        }
    }
}

/// The first offset from `at` on that is no hole; the largest offset if there is none.
fn next_data(file: &File, at: u64) -> Result<u64> {
    match lseek(file, at as i64, Whence::SeekData) {
        Ok(offset) => Ok(offset as u64),
        Err(Errno::ENXIO) => Ok(u64::MAX),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(dir: &Path, name: &str, writes: &[(u64, u8)]) -> std::path::PathBuf {
        let path = dir.join(name);
        let file = File::create(&path).expect("create");
        file.set_len(8 << 20).expect("set_len");
        for (at, byte) in writes {
            file.write_all_at(&[*byte; 512], *at).expect("write");
        }
        path
    }

    #[test]
    fn finds_the_first_difference_and_counts() {
        let dir = tempfile::tempdir().expect("temp dir");
        let a = sparse(dir.path(), "a", &[(0, 1), (5 << 20, 7), (6 << 20, 7)]);
        let b = sparse(dir.path(), "b", &[(0, 1), (5 << 20, 8)]);
        let same = files(&a, &a, 8 << 20, 512).expect("compare");
        assert_eq!((same.blocks, same.differing, same.nonzero), (16384, 0, 3));
        let other = files(&a, &b, 8 << 20, 512).expect("compare");
        assert_eq!((other.differing, other.first), (2, Some((5 << 20) / 512)));
        assert_eq!(files(&a, &b, 4 << 20, 512).expect("compare").differing, 0);
        assert!(files(&a, &b, 16 << 20, 512).is_err());
    }

    #[test]
    fn all_holes_are_equal_and_empty() {
        let dir = tempfile::tempdir().expect("temp dir");
        let a = sparse(dir.path(), "a", &[]);
        let got = files(&a, &a, 8 << 20, 4096).expect("compare");
        assert_eq!((got.blocks, got.differing, got.nonzero), (2048, 0, 0));
    }
}
