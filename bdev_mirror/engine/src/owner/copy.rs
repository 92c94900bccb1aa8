//! Copies: what suspect regions, returning legs, unreadable blocks and first writes need.
//!
//! What is copied next is chosen in `copy_choice.rs`; a job copies one region (`copy_job.rs`); what was copied counts once
//! the legs concerned were flushed (`copy_flush.rs`).

use super::copy_job::{Job, Stage};
use super::{Owner, Phase};
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

    /// Blocks of a chunk: what host writes are shut out of at a time.
    pub(super) fn chunk_blocks(&self) -> u64 {
        (u64::from(self.options.pacer.resync_chunk_kb) * 1024 / u64::from(self.config.geometry.block_bytes)).max(1)
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
}
