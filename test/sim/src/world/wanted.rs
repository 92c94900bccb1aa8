//! Which regions have a reason to be dirty, and the streams of writes that come to them.

use super::Verdict;
use super::World;
use super::check::slot_of;
use crate::coverage::Happening;
use mirror_engine::slow_leg::{LatencySum, LegIo};
use mirror_engine::{LatencySample, RegionState, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What the mirror was told to write, or may have to.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Regions that were written to, that a stream may come to, or that have a block to repair.
    regions: BTreeSet<u32>,
    /// Those in which a block could not be read: its repair may have to wait for the choice of another source.
    repairs: BTreeSet<u32>,
    /// Where the last write of each channel ended.
    ends: BTreeMap<usize, u64>,
    /// Regions in which some write of a channel ended.
    reached: BTreeSet<(usize, u32)>,
}

impl World {
    /// The host submits a write.
    pub fn want_write(&mut self, channel: usize, range: &Range<u64>) {
        let geometry = self.setup.geometry();
        let last = geometry.region_of(range.end - 1);
        let wanted = &mut self.truth.wanted;
        // With what a stream would have marked ahead of it.
        let ahead = last + self.setup.mark_ahead_regions;
        wanted.regions.extend(geometry.region_of(range.start)..=ahead);
        wanted.ends.insert(channel, range.end);
        wanted.reached.insert((channel, last));
    }

    /// Blocks of a drive could not be read: they are to be written anew.
    pub fn want_repair(&mut self, blocks: Range<u64>) {
        let offset = self.setup.geometry().data_offset_blocks;
        self.want_repair_of(blocks.start.checked_sub(offset).map(|start| start..blocks.end - offset));
    }

    /// The same, of the mirror's blocks.
    pub fn want_repair_of(&mut self, blocks: Option<Range<u64>>) {
        let geometry = self.setup.geometry();
        for region in blocks.into_iter().flatten().map(|block| geometry.region_of(block)) {
            self.truth.wanted.regions.insert(region);
            self.truth.wanted.repairs.insert(region);
        }
    }

    /// Where a stream of writes of this channel goes on, if there is one.
    pub fn stream_goes_on(&mut self, channel: usize) -> Option<Range<u64>> {
        let geometry = self.setup.geometry();
        let streaming = self.setup.mark_ahead_regions > 0 && self.chooser.percent(60);
        let end = self.truth.wanted.ends.get(&channel).filter(|_| streaming)?;
        // At the end of the mirror it begins anew.
        let start = end % geometry.blocks;
        let most = (geometry.blocks - start).min(geometry.region_blocks);
        Some(start..start + 1 + u64::from(self.chooser.below(most as u32)))
    }

    /// The owner is told that a stream comes; it may say so only of what lies shortly before it.
    pub fn check_mark_ahead(&mut self, report: &Report) -> Verdict {
        let Report::MarkAhead { channel, first, last } = *report else { return Ok(()) };
        let ahead = self.setup.mark_ahead_regions;
        let wanted = &self.truth.wanted;
        let comes = |region: u32| {
            let mut before = region.saturating_sub(ahead)..region;
            before.any(|before| wanted.reached.contains(&(usize::from(channel), before)))
        };
        if let Some(region) = (first..=last).find(|region| !comes(*region)) {
            return Err(format!("region {region} is marked ahead, and no stream of channel {channel} comes to it"));
        }
        let states = self.running.as_ref().map(|running| running.states.clone()).unwrap_or_default();
        for region in first..=last {
            if let Some(state) = states.get(region as usize) {
                self.cover_state(*state, Happening::MarkAhead);
            }
        }
        Ok(())
    }

    /// A region becomes dirty only for a reason; one that was cleared needs a new one.
    pub fn check_reason(&mut self, region: u32, before: RegionState, now: RegionState) -> Verdict {
        use RegionState::{Clean, Dirty, Marking, Unwritten};
        let (was_clean, is_clean) = (matches!(before, Clean | Unwritten), matches!(now, Clean | Unwritten));
        if was_clean && matches!(now, Marking | Dirty) && !self.truth.wanted.regions.contains(&region) {
            return Err(format!("region {region} is {now:?}, and nobody came to write it"));
        }
        if !was_clean && is_clean {
            let geometry = self.setup.geometry();
            let touches = |range: &Range<u64>| {
                (geometry.region_of(range.start)..=geometry.region_of(range.end - 1)).contains(&region)
            };
            let mut requests = self.running.iter().flat_map(|running| running.requests.iter().flatten());
            let parked = requests.any(|request| request.op.is_write() && touches(&request.range));
            let bad = self.disks.iter().any(|disk| {
                geometry.region_range(region).any(|block| disk.is_bad(geometry.data_offset_blocks + block))
            });
            // A report in the queue may still ask for it.
            let asked = self.running.as_ref().is_some_and(|running| !running.shared.reports.is_empty());
            if !parked && !bad && !asked && !self.truth.wanted.repairs.contains(&region) {
                self.truth.wanted.regions.remove(&region);
            }
        }
        Ok(())
    }

    /// What the channels saw of their legs' and their host's latency: anything, and one leg slow throughout.
    pub fn feed_latencies(&mut self) {
        let p99_us = self.chooser.pick(&[50, 400, 3_000, 80_000]).unwrap_or(50);
        let slow = self.setup.slow_leg;
        let legs = self.setup.legs;
        let owner = &mut self.engine().owner;
        owner.note_host_latency(LatencySample { p99_us, count: 32 });
        for slot in 0..legs {
            let mut sum = LatencySum::default();
            for _ in 0..16 {
                sum.record(if slow == Some(slot) { 60_000 } else { 300 });
            }
            owner.note_leg_latency(slot_of(slot), LegIo::Write, sum);
        }
    }
}
