//! A job copies one region, chunk by chunk: shut the chunk to host writes, read it from the source, write it to the
//! targets, go on.

use super::action::{Device, Io};
use super::copy::{Copied, JobKind};
use super::ops::Purpose;
use super::{Owner, WhyOut};
use crate::mutant::mutant;
use crate::{LegMask, Slot};
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// The window is set; the channels are to be asked.
    Window,
    /// They are being asked.
    InPass,
    /// The chunk is shut.
    Shut,
    Reading,
    ReadFailed,
    /// In the buffer.
    Read,
    Writing,
    Verifying,
    /// Given up; what is in flight is waited for.
    Draining,
}

/// A job under way, in the window of the same number.
#[derive(Clone, Debug, Hash)]
pub(super) struct Job {
    serial: u64,
    pub(super) region: u32,
    pub(super) kind: JobKind,
    pub(super) source: Slot,
    pub(super) targets: LegMask,
    /// Where it began.
    start: u64,
    /// What is done next, of the mirror's blocks.
    chunk: Range<u64>,
    /// The whole of it.
    end: u64,
    /// What the window shuts; larger than the chunk where blocks are read one by one.
    window: Range<u64>,
    pub(super) stage: Stage,
    /// Legs with a write of the chunk in flight.
    pub(super) pending: LegMask,
    /// Legs that could not read the chunk.
    tried: LegMask,
    /// Blocks were left out that no leg can read.
    incomplete: bool,
    /// The source that the job began with.
    pub(super) first_source: Slot,
    /// The suspicion that it works on.
    epoch: u64,
}

impl Owner {
    pub(super) fn start_job(&mut self, window: usize, region: u32, kind: JobKind) {
        let mut range = self.config.geometry.region_range(region);
        if let JobKind::Repair { slot } = kind {
            let Some(repair) = self.take_repair(region, slot) else { return };
            range = repair;
        }
        let (source, targets) = self.source_and_targets(region, kind);
        let Some(source) = source else { return };
        if kind == JobKind::Resync {
            self.pacer.started((range.end - range.start) * u64::from(self.config.geometry.block_bytes));
        }
        self.copier.next_serial += 1;
        let chunk = range.start..range.end.min(range.start + self.chunk_blocks());
        let mut job = Job {
            serial: self.copier.next_serial,
            region,
            kind,
            source,
            targets,
            start: range.start,
            window: chunk.clone(),
            chunk,
            end: range.end,
            stage: Stage::Window,
            pending: LegMask::NONE,
            tried: LegMask::NONE,
            incomplete: false,
            first_source: source,
            epoch: self.suspects.get(&region).copied().unwrap_or(0),
        };
        match kind {
            // Host writes wait for the region as a whole, and nobody reads what is in it.
            JobKind::Fill => job.window = range.start..range.start,
            JobKind::Repair { .. } if mutant!(RepairFromHostBuffer) => job.stage = Stage::Shut,
            _ => self.shut(window, &job),
        }
        if kind == JobKind::Fill {
            job.chunk = range;
            job.stage = Stage::Read;
        }
        self.copier.jobs[window] = Some(job);
        self.pump_job(window);
    }

    fn shut(&self, window: usize, job: &Job) {
        // The window first: who finds the region's mark looks at the windows. It is cleared before it is set anew, so that
        // nobody reads the beginning of one and the end of the other.
        self.shared.windows.clear(window);
        self.shared.windows.set(window, job.window.clone());
        self.shared.regions.set_copying(job.region, true);
    }

    fn copy_op(&mut self, window: usize, slot: Slot, make: impl Fn(u64, u32) -> Io) {
        let Some(job) = &self.copier.jobs[window] else { return };
        let block = self.config.geometry.data_offset_blocks + job.chunk.start;
        let blocks = (job.chunk.end - job.chunk.start) as u32;
        let purpose = Purpose::Copy { window, serial: job.serial };
        self.start_op(Device::Leg(slot), make(block, blocks), purpose);
    }

    /// Takes a job as far as it goes without waiting.
    pub(super) fn pump_job(&mut self, window: usize) {
        while let Some(stage) = self.copier.jobs[window].as_ref().map(|job| job.stage) {
            if stage == Stage::Shut && self.has_buffer_ops(window) {
                // A leg that is out still writes from the buffer: the region is copied anew, with another one.
                return self.end_job(window, false);
            }
            let Some(job) = &mut self.copier.jobs[window] else { return };
            match job.stage {
                Stage::Window | Stage::InPass | Stage::Reading | Stage::Verifying => return,
                Stage::Shut => {
                    job.stage = Stage::Reading;
                    let source = job.source;
                    return self.copy_op(window, source, |block, blocks| Io::CopyRead {
                        block,
                        blocks,
                        buffer: window,
                    });
                }
                Stage::ReadFailed => self.after_read_error(window),
                Stage::Read => self.write_chunk(window),
                Stage::Writing if !job.pending.is_empty() => return,
                Stage::Writing => {
                    if let JobKind::Repair { slot } = job.kind
                        && job.targets.contains(slot)
                    {
                        job.stage = Stage::Verifying;
                        return self.copy_op(window, slot, |block, blocks| Io::Verify {
                            block,
                            blocks,
                            buffer: window,
                        });
                    }
                    self.next_chunk(window);
                }
                Stage::Draining if !job.pending.is_empty() => return,
                Stage::Draining => return self.end_job(window, false),
            }
        }
    }

    fn write_chunk(&mut self, window: usize) {
        let Some(job) = &mut self.copier.jobs[window] else { return };
        job.stage = Stage::Writing;
        job.pending = job.targets;
        let (targets, kind) = (job.targets, job.kind);
        for slot in targets.iter() {
            if kind == JobKind::Fill {
                self.copy_op(window, slot, |block, blocks| Io::Zero { block, blocks });
            } else {
                self.copy_op(window, slot, |block, blocks| Io::CopyWrite { block, blocks, buffer: window });
            }
        }
    }

    fn next_chunk(&mut self, window: usize) {
        let chunk_blocks = self.chunk_blocks();
        let Some(job) = &mut self.copier.jobs[window] else { return };
        let at = job.chunk.end;
        if at >= job.end {
            return self.end_job(window, true);
        }
        job.tried = LegMask::NONE;
        if at < job.window.end {
            // Block by block in the same window.
            job.chunk = at..at + 1;
            job.stage = Stage::Shut;
            return;
        }
        if job.source != job.first_source {
            // Another leg stood in for the chunk; both have it now.
            if job.kind == JobKind::Reconcile {
                job.targets = job.targets.with(job.source).without(job.first_source);
            }
            job.source = job.first_source;
        }
        job.chunk = at..job.end.min(at + chunk_blocks);
        job.window = job.chunk.clone();
        job.stage = Stage::Window;
        let job = job.clone();
        self.shut(window, &job);
        // Whoever waited for the chunk before this one.
        self.wake_wanted = true;
    }

    /// The source cannot read the chunk: another leg in sync, then block by block, then without the block. Never zeros.
    fn after_read_error(&mut self, window: usize) {
        let readable = self.readable();
        let Some(job) = &mut self.copier.jobs[window] else { return };
        if mutant!(CopyZerosOnReadError) {
            let targets = job.targets;
            job.pending = targets;
            job.stage = Stage::Writing;
            for slot in targets.iter() {
                self.copy_op(window, slot, |block, blocks| Io::Zero { block, blocks });
            }
            return;
        }
        job.tried = job.tried.with(job.source);
        let others = match job.kind {
            JobKind::Repair { slot } => readable.without(slot),
            _ => readable,
        };
        if let Some(next) = others.minus(job.tried).lowest() {
            if job.kind == JobKind::Reconcile {
                job.targets = job.targets.with(job.source).without(next);
            }
            job.source = next;
            job.stage = Stage::Shut;
        } else if job.chunk.end - job.chunk.start > 1 {
            job.tried = LegMask::NONE;
            job.chunk = job.chunk.start..job.chunk.start + 1;
            job.stage = Stage::Shut;
        } else {
            job.incomplete = true;
            self.next_chunk(window);
        }
    }

    /// An I/O of a job ended.
    pub(super) fn copy_op_done(&mut self, window: usize, serial: u64, slot: Slot, ok: bool) {
        let Some(job) = self.copier.jobs[window].as_mut().filter(|job| job.serial == serial) else { return };
        match job.stage {
            Stage::Reading => job.stage = if ok { Stage::Read } else { Stage::ReadFailed },
            Stage::Writing | Stage::Draining => {
                job.pending = job.pending.without(slot);
                if !ok {
                    self.copy_write_failed(window, slot);
                }
            }
            Stage::Verifying => {
                job.pending = LegMask::NONE;
                if ok {
                    self.next_chunk(window);
                } else {
                    self.copy_write_failed(window, slot);
                }
            }
            _ => {}
        }
    }

    fn copy_write_failed(&mut self, window: usize, slot: Slot) {
        let last = self.is_last(slot);
        let Some(job) = &mut self.copier.jobs[window] else { return };
        if !job.targets.contains(slot) {
            return;
        }
        job.targets = job.targets.without(slot);
        let (kind, region, block) = (job.kind, job.region, job.chunk.start);
        match kind {
            JobKind::Repair { .. } => {
                job.stage = Stage::Draining;
                self.repair_failed(slot, block);
            }
            JobKind::Fill if last => {
                job.stage = Stage::Draining;
                self.say_last_stays(slot, WhyOut::Copy);
                self.refuse_fill(region);
            }
            _ => self.fail_leg(slot, WhyOut::Copy),
        }
    }

    fn end_job(&mut self, window: usize, copied: bool) {
        let Some(job) = self.copier.jobs[window].take() else { return };
        if job.kind == JobKind::Resync {
            self.pacer.finished((job.end - job.start) * u64::from(self.config.geometry.block_bytes));
        }
        if job.kind != JobKind::Fill {
            self.shared.regions.set_copying(job.region, false);
            self.shared.windows.clear(window);
            self.wake_wanted = true;
        }
        if !copied {
            if let Some((_, busy)) = self.marks.filling.get_mut(&job.region).filter(|_| job.kind == JobKind::Fill) {
                *busy = false;
            }
            return;
        }
        let blocks = job.start..job.end;
        self.copier.copied.push(Copied {
            region: job.region,
            kind: job.kind,
            source: job.first_source,
            targets: job.targets,
            incomplete: job.incomplete,
            epoch: job.epoch,
            blocks,
        });
    }
}
