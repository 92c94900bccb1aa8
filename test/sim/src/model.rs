//! What a host may see: the reference that the mirror is held against.
//!
//! For each block, the values that a read may return now, and those that it may return after a power cut.

use std::collections::BTreeSet;
use std::ops::Range;

#[derive(Clone, Debug, Default, Hash)]
struct Cell {
    now: BTreeSet<u64>,
    after_cut: BTreeSet<u64>,
    /// A write ended with an error, or a crash came: the next read decides for good.
    unsettled: bool,
    /// An operator took data that is known to be incomplete: the next read decides, whatever it is.
    anything: bool,
    /// The same after a power cut.
    anything_after_cut: bool,
}

/// A write of the host that has not ended.
#[derive(Clone, Debug, Hash)]
pub struct Writing {
    pub key: u64,
    pub range: Range<u64>,
    pub value: u64,
    /// For each block, values of writes that ended since this one began.
    later: Vec<BTreeSet<u64>>,
}

/// A read of the host that has not ended.
#[derive(Clone, Debug, Hash)]
pub struct Reading {
    pub key: u64,
    pub range: Range<u64>,
    allowed: Vec<BTreeSet<u64>>,
    anything: Vec<bool>,
    disturbed: Vec<bool>,
}

/// A flush of the host that has not ended.
#[derive(Clone, Debug, Hash)]
struct Flushing {
    key: u64,
    durable: Vec<BTreeSet<u64>>,
    anything: Vec<bool>,
}

#[derive(Clone, Debug, Default, Hash)]
pub struct Model {
    cells: Vec<Cell>,
    writing: Vec<Writing>,
    reading: Vec<Reading>,
    flushing: Vec<Flushing>,
}

impl Model {
    /// A mirror that reads as these values, durably; `None` is anything.
    pub fn new(values: impl Iterator<Item = Option<u64>>) -> Self {
        let cells = values
            .map(|value| Cell {
                now: value.into_iter().collect(),
                after_cut: value.into_iter().collect(),
                unsettled: false,
                anything: value.is_none(),
                anything_after_cut: value.is_none(),
            })
            .collect();
        Self { cells, ..Self::default() }
    }

    fn cell(&mut self, block: u64) -> &mut Cell {
        &mut self.cells[block as usize]
    }

    pub fn write_begins(&mut self, key: u64, range: Range<u64>, value: u64) {
        for reading in &mut self.reading {
            for block in overlap(&reading.range, &range) {
                let at = (block - reading.range.start) as usize;
                reading.allowed[at].insert(value);
                reading.disturbed[at] = true;
            }
        }
        let later = range.clone().map(|_| BTreeSet::new()).collect();
        self.writing.push(Writing { key, range, value, later });
    }

    /// A write ended; `durable` if it was flushed through.
    pub fn write_ends(&mut self, key: u64, good: bool, durable: bool) {
        let Some(at) = self.writing.iter().position(|writing| writing.key == key) else { return };
        let ended = self.writing.remove(at);
        for (index, block) in ended.range.clone().enumerate() {
            for other in self.writing.iter_mut().filter(|other| other.range.contains(&block)) {
                other.later[(block - other.range.start) as usize].insert(ended.value);
            }
            for flushing in &mut self.flushing {
                flushing.durable[block as usize].insert(ended.value);
            }
            let later = ended.later[index].clone();
            let cell = self.cell(block);
            if good {
                // Whatever ended meanwhile may have been ordered after this one.
                cell.now = later;
                cell.anything = false;
                cell.unsettled = false;
            } else {
                cell.unsettled = true;
            }
            cell.now.insert(ended.value);
            let now = cell.now.clone();
            if good && durable {
                cell.after_cut = now;
                cell.anything_after_cut = false;
            } else {
                cell.after_cut.extend(now);
            }
            self.spread(block);
        }
    }

    /// A write ended with an error, and none of it was ever sent.
    pub fn write_never_was(&mut self, key: u64) {
        self.writing.retain(|writing| writing.key != key);
    }

    /// What is possible in a block now is possible for the reads under way.
    fn spread(&mut self, block: u64) {
        let cell = self.cells[block as usize].clone();
        for reading in self.reading.iter_mut().filter(|reading| reading.range.contains(&block)) {
            let at = (block - reading.range.start) as usize;
            reading.allowed[at].extend(cell.now.iter().copied());
            reading.anything[at] |= cell.anything;
            reading.disturbed[at] = true;
        }
    }

    pub fn read_begins(&mut self, key: u64, range: Range<u64>) {
        let mut reading =
            Reading { key, range: range.clone(), allowed: Vec::new(), anything: Vec::new(), disturbed: Vec::new() };
        for block in range {
            let cell = &self.cells[block as usize];
            let mut allowed = cell.now.clone();
            let under_way: Vec<_> = self.writing.iter().filter(|writing| writing.range.contains(&block)).collect();
            allowed.extend(under_way.iter().map(|writing| writing.value));
            reading.allowed.push(allowed);
            reading.anything.push(cell.anything);
            reading.disturbed.push(!under_way.is_empty());
        }
        self.reading.push(reading);
    }

    /// A read ended; whether it decided what a block holds from now on, or what it may not have returned.
    pub fn read_ends(&mut self, key: u64, values: Option<&[u64]>) -> Result<bool, String> {
        let Some(at) = self.reading.iter().position(|reading| reading.key == key) else { return Ok(false) };
        let reading = self.reading.remove(at);
        let Some(values) = values else { return Ok(false) };
        let mut decided = false;
        for (index, block) in reading.range.clone().enumerate() {
            let value = values[index];
            if !reading.anything[index] && !reading.allowed[index].contains(&value) {
                return Err(format!(
                    "a read of block {block} returned {value}, allowed were {:?}",
                    reading.allowed[index]
                ));
            }
            if reading.disturbed[index] {
                continue;
            }
            let cell = self.cell(block);
            cell.now = BTreeSet::from([value]);
            if cell.unsettled || cell.anything {
                decided = true;
                cell.after_cut = BTreeSet::from([value]);
                cell.unsettled = false;
                cell.anything = false;
                cell.anything_after_cut = false;
            }
        }
        // What one read saw, the others see: nothing was written meanwhile.
        for other in &mut self.reading {
            for block in overlap(&other.range, &reading.range) {
                let (at, seen) = ((block - other.range.start) as usize, (block - reading.range.start) as usize);
                if !other.disturbed[at] && !reading.disturbed[seen] {
                    other.allowed[at] = BTreeSet::from([values[seen]]);
                    other.anything[at] = false;
                }
            }
        }
        Ok(decided)
    }

    pub fn flush_begins(&mut self, key: u64) {
        let durable = self.cells.iter().map(|cell| cell.now.clone()).collect();
        let anything = self.cells.iter().map(|cell| cell.anything).collect();
        self.flushing.push(Flushing { key, durable, anything });
    }

    pub fn flush_ends(&mut self, key: u64, good: bool) {
        let Some(at) = self.flushing.iter().position(|flushing| flushing.key == key) else { return };
        let flushed = self.flushing.remove(at);
        if good {
            for ((cell, durable), anything) in self.cells.iter_mut().zip(flushed.durable).zip(flushed.anything) {
                cell.after_cut = durable;
                cell.anything_after_cut = anything;
            }
        }
    }

    /// The mirror's process ended with I/O under way; with `power`, every drive lost power too.
    /// With `tears` a block that was being written may be neither old nor new.
    pub fn crash(&mut self, power: bool, tears: bool) {
        for writing in std::mem::take(&mut self.writing) {
            for block in writing.range {
                let cell = self.cell(block);
                cell.now.insert(writing.value);
                cell.after_cut.insert(writing.value);
                cell.unsettled = true;
                cell.anything_after_cut |= power && tears;
            }
        }
        self.reading.clear();
        self.flushing.clear();
        if power {
            for cell in &mut self.cells {
                cell.now = cell.after_cut.clone();
                cell.anything = cell.anything_after_cut;
                cell.unsettled = true;
            }
        }
    }

    /// The mirror was started from legs that are known to lack acknowledged writes.
    pub fn anything(&mut self, blocks: impl Fn(u64) -> bool) {
        for (block, cell) in self.cells.iter_mut().enumerate() {
            if blocks(block as u64) {
                cell.anything = true;
                cell.anything_after_cut = true;
                cell.unsettled = true;
            }
        }
    }

    /// Which blocks read as zeros is lost: the next read decides, whatever it is.
    pub fn forget_zeros(&mut self, of: impl Fn(u64) -> bool) {
        for (block, cell) in self.cells.iter_mut().enumerate() {
            if cell.now.contains(&0) && of(block as u64) {
                cell.anything = true;
                cell.anything_after_cut = true;
                cell.unsettled = true;
            }
        }
    }

    /// Whether the next read of a block decides what it holds, after a crash too: no write has ended well since an error or a
    /// crash, and none is under way.
    pub fn is_undecided(&self, block: u64) -> bool {
        let cell = &self.cells[block as usize];
        cell.unsettled && !self.writing.iter().any(|writing| writing.range.contains(&block))
    }

    /// What a read may return now, for a message.
    pub fn allows(&self, block: u64, value: u64) -> bool {
        let cell = &self.cells[block as usize];
        cell.anything
            || cell.now.contains(&value)
            || self.writing.iter().any(|writing| writing.range.contains(&block) && writing.value == value)
    }
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> Range<u64> {
    let start = one.start.max(other.start);
    start..one.end.min(other.end).max(start)
}
