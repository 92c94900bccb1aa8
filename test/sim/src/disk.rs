//! A simulated drive.
//!
//! What it may do, and the engine has to live with:
//! - complete what is in flight in any order, and apply it at any moment before;
//! - keep what was completed and not flushed in a volatile cache, and lose any part of it, block by block, in a power cut;
//! - write only some blocks of a write that is in flight in a power cut, and in the unlimited regime half a block;
//! - fail any I/O, before, after or while doing it; fail reads of a block until it is rewritten, or for good;
//! - keep an I/O for as long as it likes, and apply it when it ends;
//! - have no such cache, and no flush;
//! - be removed with I/O in flight, and come back with whatever it had.
//!
//! What it never does: lose what was flushed, apply an I/O after it ended, or answer a read with what was never written.

use crate::chooser::Chooser;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A block's contents: a stamp for data, bytes for metadata.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Block {
    Stamp(u64),
    Bytes(Arc<[u8]>),
}

/// All zeros.
pub const ZERO: Block = Block::Stamp(0);
/// Stamps from here on were never written by a host: what a drive held before, or the ruins of a torn block.
pub const GARBAGE: u64 = 1 << 60;

impl std::fmt::Debug for Block {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stamp(stamp) if *stamp >= GARBAGE => write!(out, "g{}", stamp - GARBAGE),
            Self::Stamp(stamp) => write!(out, "{stamp}"),
            Self::Bytes(_) => write!(out, "bytes"),
        }
    }
}

/// A completed write of one block that was not flushed.
#[derive(Clone, Debug, Hash)]
struct Cached {
    at: u64,
    block: u64,
    data: Block,
}

/// What becomes of reads of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bad {
    /// Fails until the block is written.
    HealsOnWrite,
    /// Fails, and so do writes.
    ForGood,
}

#[derive(Clone, Debug, Hash)]
pub struct Disk {
    pub id: usize,
    pub block_bytes: usize,
    pub blocks: u64,
    pub identity: uuid::Uuid,
    pub present: bool,
    durable: BTreeMap<u64, Block>,
    cache: Vec<Cached>,
    /// Counts completed writes: a flush covers those before its start.
    pub clock: u64,
    pub bad: BTreeMap<u64, Bad>,
    /// It completes nothing.
    pub hangs: bool,
    /// What it completes is durable, and it knows no flush.
    pub cacheless: bool,
    /// So many of its next writes, reads and flushes fail.
    pub failing: [u32; 3],
}

impl Disk {
    pub fn new(id: usize, block_bytes: usize, blocks: u64) -> Self {
        Self {
            id,
            block_bytes,
            blocks,
            identity: uuid::Uuid::from_u128(0xd15c_0000 + id as u128),
            present: true,
            durable: BTreeMap::new(),
            cache: Vec::new(),
            clock: 0,
            bad: BTreeMap::new(),
            hangs: false,
            cacheless: false,
            failing: [0; 3],
        }
    }

    /// What a read of the block returns now.
    pub fn view(&self, block: u64) -> Block {
        self.cache
            .iter()
            .rev()
            .find(|cached| cached.block == block)
            .map_or_else(|| self.durable(block), |cached| cached.data.clone())
    }

    /// What would be left of the block if nothing in the cache survived.
    pub fn durable(&self, block: u64) -> Block {
        self.durable.get(&block).cloned().unwrap_or(Block::Stamp(GARBAGE + (self.id as u64) * 100_000 + block))
    }

    /// Whether a write of the block that was completed is not flushed.
    pub fn is_volatile(&self, block: u64) -> bool {
        self.cache.iter().any(|cached| cached.block == block)
    }

    /// Whether any write completed before `clock` in this range of blocks is not flushed.
    pub fn has_unflushed(&self, clock: u64, from: u64) -> bool {
        self.cache.iter().any(|cached| cached.at < clock && cached.block >= from)
    }

    /// Whether a read of the block fails.
    pub fn is_bad(&self, block: u64) -> bool {
        self.bad.contains_key(&block)
    }

    /// The bytes of blocks, for metadata; `None` if any cannot be read.
    pub fn bytes(&self, block: u64, blocks: u64, durable: bool) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for block in block..block + blocks {
            if self.is_bad(block) {
                return None;
            }
            match if durable { self.durable(block) } else { self.view(block) } {
                Block::Bytes(data) => bytes.extend_from_slice(&data),
                Block::Stamp(stamp) => {
                    let mut data = vec![0; self.block_bytes];
                    data[..8].copy_from_slice(&stamp.to_le_bytes());
                    bytes.extend(data);
                }
            }
        }
        Some(bytes)
    }

    /// Applies a write; it counts as completed from now on. Whether the medium took it.
    pub fn write(&mut self, block: u64, data: &[Block]) -> bool {
        let mut ok = true;
        for (index, data) in data.iter().enumerate() {
            let block = block + index as u64;
            match self.bad.get(&block) {
                Some(Bad::ForGood) => {
                    ok = false;
                    continue;
                }
                Some(Bad::HealsOnWrite) => {
                    self.bad.remove(&block);
                }
                None => {}
            }
            if self.cacheless {
                self.durable.insert(block, data.clone());
            } else {
                self.cache.push(Cached { at: self.clock, block, data: data.clone() });
            }
        }
        self.clock += 1;
        ok
    }

    /// Makes durable what was completed before `clock`.
    pub fn flush(&mut self, clock: u64) {
        let mut rest = Vec::new();
        for cached in std::mem::take(&mut self.cache) {
            if cached.at < clock {
                self.durable.insert(cached.block, cached.data);
            } else {
                rest.push(cached);
            }
        }
        self.cache = rest;
    }

    /// What a block held before the drive came here.
    pub fn put(&mut self, block: u64, data: Block) {
        self.durable.insert(block, data);
    }

    /// Zeros all blocks before this one, durably.
    pub fn wipe(&mut self, end: u64) {
        self.cache.retain(|cached| cached.block >= end);
        self.durable.retain(|block, _| *block >= end);
        self.durable.extend([(0, ZERO), (128, ZERO)]);
    }

    /// The power fails. Each block in the cache and in flight survives or not, whatever the others do.
    pub fn power_cut(&mut self, in_flight: &[(u64, Vec<Block>)], tears: bool, chooser: &mut Chooser) {
        let survival = chooser.pick(&[0, 20, 50, 80, 100]).unwrap_or(50);
        for cached in std::mem::take(&mut self.cache) {
            if chooser.percent(survival) {
                self.durable.insert(cached.block, cached.data);
            }
        }
        for (block, data) in in_flight {
            for (index, data) in data.iter().enumerate() {
                let block = block + index as u64;
                if chooser.percent(survival) {
                    let old = self.durable(block);
                    let torn = tears && chooser.percent(20);
                    self.durable.insert(block, if torn { self.tear(block, &old, data) } else { data.clone() });
                }
            }
        }
    }

    fn tear(&self, block: u64, old: &Block, new: &Block) -> Block {
        match (old, new) {
            // Half of the one and half of the other is the same again.
            _ if old == new => new.clone(),
            (Block::Bytes(old), Block::Bytes(new)) => {
                let half = old.len() / 2;
                Block::Bytes(new[..half].iter().chain(&old[half..]).copied().collect())
            }
            (_, Block::Bytes(new)) => Block::Bytes(
                new[..new.len() / 2].iter().copied().chain(std::iter::repeat_n(0xee, new.len() / 2)).collect(),
            ),
            _ => Block::Stamp(GARBAGE + 10_000_000 + block),
        }
    }

    /// The process died, the drive did not: what was in flight may still be done.
    pub fn outlive(&mut self, in_flight: &[(u64, Vec<Block>)], chooser: &mut Chooser) {
        for (block, data) in in_flight {
            if chooser.percent(50) {
                // Nobody hears how it ended.
                let _ = self.write(*block, data);
            }
        }
    }
}
