//! Copies: what suspect regions, returning legs, unreadable blocks and first writes need.
//!
//! A job works on one region, chunk by chunk: shut the chunk to host writes, read it from the source, write it to the
//! targets, go on. What was copied counts once the legs concerned were flushed.

use super::action::{Device, Io};
use super::ops::Purpose;
use super::{Owner, Phase, WhyOut};
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{LegMask, Pass, Slot};
use std::ops::Range;

/// Why a region is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum JobKind {
    /// Its first write comes: zeros, on all legs.
    Fill,
    /// Its copies may differ: from the chosen leg to all others.
    Reconcile,
    /// A leg lacks it.
    Resync,
    /// Blocks of it could not be read on a leg.
    Repair { slot: Slot },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
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
    source: Slot,
    targets: LegMask,
    /// Where it began.
    start: u64,
    /// What is done next, of the mirror's blocks.
    chunk: Range<u64>,
    /// The whole of it.
    end: u64,
    /// What the window shuts; larger than the chunk where blocks are read one by one.
    window: Range<u64>,
    stage: Stage,
    /// Legs with a write of the chunk in flight.
    pending: LegMask,
    /// Legs that could not read the chunk.
    tried: LegMask,
    /// Blocks were left out that no leg can read.
    incomplete: bool,
    /// The source that the job began with.
    first_source: Slot,
    /// The suspicion that it works on.
    epoch: u64,
}

/// A region that was copied and not flushed yet.
#[derive(Clone, Debug, Hash)]
pub(super) struct Copied {
    pub(super) region: u32,
    pub(super) kind: JobKind,
    pub(super) source: Slot,
    pub(super) targets: LegMask,
    pub(super) incomplete: bool,
    pub(super) epoch: u64,
    pub(super) blocks: Range<u64>,
}

/// The flush of what was copied.
#[derive(Clone, Debug, Hash)]
pub(super) struct Flushing {
    pub(super) round: u64,
    pub(super) waiting: LegMask,
    pub(super) flushed: LegMask,
    pub(super) batch: Vec<Copied>,
}

/// All copies of a mirror.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Copier {
    pub(super) jobs: Vec<Option<Job>>,
    pub(super) copied: Vec<Copied>,
    pub(super) flushing: Option<Flushing>,
    pub(super) round: u64,
    pub(super) next_serial: u64,
    /// After a flush that failed on the last leg: not before this time.
    pub(super) retry_ms: u64,
    /// Where the next resync looks for work.
    pub(super) at: u32,
}

impl Copier {
    pub(super) fn new(jobs_max: usize) -> Self {
        Self { jobs: vec![None; jobs_max], ..Self::default() }
    }

    pub(super) fn is_busy(&self, region: u32) -> bool {
        self.jobs.iter().flatten().any(|job| job.region == region)
            || self.copied.iter().any(|copied| copied.region == region)
            || self.flushing.iter().any(|flushing| flushing.batch.iter().any(|copied| copied.region == region))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jobs.iter().all(Option::is_none) && self.copied.is_empty() && self.flushing.is_none()
    }

    /// Whether a leg is being given anything.
    pub(super) fn concerns(&self, slot: Slot) -> bool {
        self.jobs.iter().flatten().any(|job| job.targets.contains(slot) || job.pending.contains(slot))
            || self.copied.iter().any(|copied| copied.targets.contains(slot))
            || self.flushing.iter().any(|flushing| flushing.batch.iter().any(|copied| copied.targets.contains(slot)))
    }
}

impl Owner {
    pub(super) fn is_repairing(&self, region: u32) -> bool {
        self.repairs.iter().any(|repair| repair.region == region)
            || self
                .copier
                .jobs
                .iter()
                .flatten()
                .any(|job| job.region == region && matches!(job.kind, JobKind::Repair { .. }))
    }

    pub(super) fn pump_copies(&mut self) {
        for window in 0..self.copier.jobs.len() {
            self.pump_job(window);
        }
        self.start_jobs();
        let asking = self.copier.jobs.iter().flatten().any(|job| job.stage == Stage::Window);
        if asking && self.start_pass(Pass::Windows) {
            for job in self.copier.jobs.iter_mut().flatten().filter(|job| job.stage == Stage::Window) {
                job.stage = Stage::InPass;
            }
        }
        self.start_copy_flush();
        self.finish_copy_flush();
        if self.source.is_some() && self.suspects.is_empty() && self.repairs.is_empty() && self.copier.is_idle() {
            // Nothing is copied from a chosen leg any more. The next record says so; until then it harms nobody.
            self.source = None;
        }
    }

    pub(super) fn windows_pass_done(&mut self) {
        for job in self.copier.jobs.iter_mut().flatten().filter(|job| job.stage == Stage::InPass) {
            job.stage = Stage::Shut;
        }
    }

    fn start_jobs(&mut self) {
        if matches!(self.phase, Phase::Starting | Phase::Offline) || self.now_ms < self.copier.retry_ms {
            return;
        }
        for window in 0..self.copier.jobs.len() {
            if self.copier.jobs[window].is_some() || self.has_buffer_ops(window) {
                continue;
            }
            let Some((region, kind)) = self.next_work() else { return };
            self.start_job(window, region, kind);
        }
    }

    /// What is to be copied next: first what a host waits for.
    fn next_work(&mut self) -> Option<(u32, JobKind)> {
        if self.can_reconcile() {
            let wanted = self.wanted.iter().find(|region| {
                self.suspects.contains_key(region) && !self.unread.contains(region) && !self.copier.is_busy(**region)
            });
            if let Some(&region) = wanted {
                self.wanted.remove(&region);
                return Some((region, JobKind::Reconcile));
            }
        }
        if let Some(fill) = self.next_fill() {
            return Some(fill);
        }
        if self.can_reconcile()
            && let Some(&region) =
                self.suspects.keys().find(|region| !self.unread.contains(region) && !self.copier.is_busy(**region))
        {
            return Some((region, JobKind::Reconcile));
        }
        if let Some(repair) = self.next_repair() {
            return Some(repair);
        }
        self.next_resync()
    }

    /// Whether suspect regions may be reconciled: the choice of the source is durable, and so is who is out, since until
    /// then a range whose write failed for want of a record is not to be read.
    fn can_reconcile(&self) -> bool {
        self.source.is_some() && self.is_durable(self.source_ticket) && self.recorded && !self.stuck
    }

    fn next_repair(&mut self) -> Option<(u32, JobKind)> {
        let slot = self.repairs.first()?.slot;
        if self.readable().without(slot).is_empty() {
            // Nobody is left who could give the blocks.
            self.repairs.retain(|repair| repair.slot != slot);
            return None;
        }
        // As for a suspect region, the choice of the leg that is right is durable before another one is written: should the
        // power fail within the rewrite, nobody may take the rewritten block for the better one.
        let unused = self.suspects.is_empty() && self.copier.is_idle();
        if self.source.is_none() || (self.source == Some(slot) && unused) {
            self.choose_source(LegMask::only(slot));
        }
        if self.source.is_none_or(|source| source == slot) || !self.can_reconcile() {
            return None;
        }
        // A region that is to be cleared is taken back, as a writer would.
        let is_dirty = |region| matches!(self.shared.regions.veto(region).state(), RegionState::Dirty);
        let at =
            self.repairs.iter().position(|repair| !self.copier.is_busy(repair.region) && is_dirty(repair.region))?;
        Some((self.repairs[at].region, JobKind::Repair { slot: self.repairs[at].slot }))
    }

    fn next_resync(&mut self) -> Option<(u32, JobKind)> {
        let targets = self.legs_that(|leg| leg.stage == super::legs::Stage::Copying);
        if targets.is_empty() || self.phase != Phase::Running || self.resync_paused {
            return None;
        }
        let chunk_bytes = u64::from(self.config.geometry.block_bytes) * self.chunk_blocks();
        if !self.pacer.may_start(chunk_bytes) {
            return None;
        }
        let regions = self.config.geometry.regions();
        let mut unwritten = Vec::new();
        let mut found = None;
        for region in (self.copier.at..regions).chain(0..self.copier.at) {
            let lacking = targets.iter().any(|slot| {
                let leg = &self.legs[slot.index()];
                leg.out_of_sync.as_ref().is_some_and(|map| map.get(region)) && !leg.skipped.contains(&region)
            });
            if !lacking || self.copier.is_busy(region) {
                continue;
            }
            match self.shared.regions.load(region).state() {
                // Nothing in it is ever read, and its first write zeroes it on every leg that is in service then.
                RegionState::Unwritten
                    if !self.written.get(region)
                        && !self.marks.filling.contains_key(&region)
                        && !self.marks.ready.contains_key(&region) =>
                {
                    unwritten.push(region);
                }
                // Comes to it by itself: reconciled onto all legs, or about to be opened.
                RegionState::NoSync
                | RegionState::Unread
                | RegionState::Unwritten
                | RegionState::Refused
                | RegionState::RefusedUnwritten => {}
                _ => {
                    found = Some(region);
                    break;
                }
            }
        }
        for region in unwritten {
            for slot in targets.iter() {
                if let Some(map) = &mut self.legs[slot.index()].out_of_sync {
                    map.clear(region);
                }
            }
        }
        let region = found?;
        self.copier.at = (region + 1) % regions;
        Some((region, JobKind::Resync))
    }

    /// Blocks of a chunk: what host writes are shut out of at a time.
    fn chunk_blocks(&self) -> u64 {
        (u64::from(self.options.pacer.resync_chunk_kb) * 1024 / u64::from(self.config.geometry.block_bytes)).max(1)
    }

    fn start_job(&mut self, window: usize, region: u32, kind: JobKind) {
        let readable = self.readable();
        let mut range = self.config.geometry.region_range(region);
        let (source, targets) = match kind {
            JobKind::Fill => (readable.lowest(), self.writable()),
            JobKind::Reconcile => {
                (self.source, self.source.map_or(LegMask::NONE, |source| self.writable().without(source)))
            }
            JobKind::Resync => {
                let lacks = self.legs_that(|leg| {
                    leg.stage == super::legs::Stage::Copying
                        && leg.out_of_sync.as_ref().is_some_and(|map| map.get(region))
                        && !leg.skipped.contains(&region)
                });
                if mutant!(SourceBySlotOrder) {
                    let first = self.writable().lowest();
                    (first, first.map_or(LegMask::NONE, |first| self.writable().without(first)))
                } else {
                    // Any leg in sync will do; they take turns.
                    (readable.iter().nth(region as usize % readable.len().max(1)), lacks)
                }
            }
            JobKind::Repair { slot } => {
                let Some(repair) = self.take_repair(region, slot) else { return };
                range = repair;
                (self.source.filter(|source| *source != slot), LegMask::only(slot).and(readable))
            }
        };
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
    fn pump_job(&mut self, window: usize) {
        while let Some(job) = &mut self.copier.jobs[window] {
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
            _ => {
                job.incomplete |= last;
                self.fail_leg(slot, WhyOut::Copy);
            }
        }
    }

    /// A leg is out: no job reads it, writes it, or counts on it.
    pub(super) fn drop_leg_from_copies(&mut self, slot: Slot) {
        for job in self.copier.jobs.iter_mut().flatten() {
            // Its writes in flight count no more; their buffer is kept until they end.
            job.pending = job.pending.without(slot);
            job.targets = job.targets.without(slot);
            let lost_source = job.kind != JobKind::Fill && (job.source == slot || job.first_source == slot);
            let lost_targets = job.targets.is_empty() && matches!(job.kind, JobKind::Resync | JobKind::Repair { .. });
            if lost_source || lost_targets {
                job.stage = Stage::Draining;
            }
        }
        let flushing = self.copier.flushing.iter_mut().flat_map(|flushing| flushing.batch.iter_mut());
        for copied in self.copier.copied.iter_mut().chain(flushing) {
            copied.targets = copied.targets.without(slot);
        }
        self.repairs.retain(|repair| repair.slot != slot);
    }

    /// A region is suspect from now on: what a resync copies of it counts no more.
    pub(super) fn drop_resync_of(&mut self, region: u32) {
        for job in self.copier.jobs.iter_mut().flatten() {
            if job.region == region && job.kind == JobKind::Resync {
                job.stage = Stage::Draining;
            }
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
