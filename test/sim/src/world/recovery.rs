//! What a start goes by, and whether it may: the maps that were left, and who has every acknowledged write.

use super::boot::MIRROR;
use super::{Verdict, World};
use crate::coverage::Deed;
use mirror_engine::assembly::{Allowed, Found, Plan};
use mirror_engine::format::{LegState, LogType, MapKind, Superblock};
use mirror_engine::maps::Maps;
use std::collections::BTreeMap;

impl World {
    /// The legs that serve have every acknowledged write, unless an operator took less.
    pub fn check_start(&mut self, serving: &[usize], allowed: Allowed, found: &[Found], drives: &[usize]) -> Verdict {
        self.truth.giving_up = None;
        let with_source: Vec<usize> = self
            .truth
            .lacks_read
            .iter()
            .filter_map(|(drive, source)| (serving.contains(drive) && serving.contains(source)).then_some(*drive))
            .collect();
        for drive in with_source {
            self.truth.lacks_read.remove(&drive);
            self.truth.current.insert(drive);
        }
        let current: Vec<_> = serving.iter().filter(|drive| self.truth.current.contains(drive)).collect();
        let agreed = self.truth.agreed.iter().any(|agreed| serving.iter().all(|drive| agreed.contains(drive)));
        if allowed != Allowed::default() {
            // Once this is recorded, it may start so by itself, whatever others do meanwhile.
            self.truth.agreed.push(serving.iter().copied().collect());
            self.truth.agreed.push(self.truth.current.clone());
        }
        if allowed.winner.is_none() {
            self.check_not_diverged(serving, found, drives)?;
        }
        if current.len() == serving.len() {
            return Ok(());
        }
        if allowed == Allowed::default() && !agreed {
            return Err(format!(
                "started by itself from drives {serving:?}, only {:?} have every acknowledged write",
                self.truth.current
            ));
        }
        let lacking = serving.iter().filter(|drive| !self.truth.current.contains(drive));
        // A winner is chosen over whoever does not serve with it.
        let heard = if allowed.winner.is_some() { serving } else { drives };
        if !current.is_empty() && !self.is_out_elsewhere_only(lacking, heard) {
            return Err(format!(
                "started from drives {serving:?}, of which only {current:?} have every acknowledged write"
            ));
        }
        if serving.iter().any(|drive| self.clones.contains(drive)) {
            return Err(format!("started from a copy of a drive among {serving:?}"));
        }
        let inconsistent = serving.iter().any(|drive| self.is_overwritten(*drive, found, drives));
        if inconsistent && !allowed.accept_inconsistent && !agreed {
            return Err(format!("started from drives {serving:?} that a resync was writing, without a word"));
        }
        // The writes are given up when it serves.
        self.truth.giving_up = Some(serving.iter().copied().collect());
        Ok(())
    }

    /// Whether what says that these drives are out stands on drives that are not heard, and nowhere else: an operator who
    /// starts without those gives up what they hold, this too.
    fn is_out_elsewhere_only<'a>(&self, mut lacking: impl Iterator<Item = &'a usize>, heard: &[usize]) -> bool {
        let said = |teller: usize| self.durable_superblock(teller).filter(|superblock| superblock.mirror == MIRROR);
        let newest = heard.iter().filter_map(|&drive| said(drive)).map(|superblock| superblock.generation).max();
        let says_out = |teller: usize, drive: usize| {
            let Some(slot) = self.slots.iter().position(|other| *other == drive) else { return false };
            said(teller).is_some_and(|superblock| {
                let record = &superblock.legs[slot];
                let counts = heard.contains(&teller) || newest.is_none_or(|newest| superblock.generation > newest);
                counts && Some(&record.uuid) == self.truth.uuids.get(&drive) && record.state != LegState::InSync
            })
        };
        lacking.all(|&drive| {
            let mut tellers = (0..self.disks.len()).filter(|&teller| says_out(teller, drive)).peekable();
            tellers.peek().is_some() && tellers.all(|teller| !heard.contains(&teller))
        })
    }

    /// The mirror serves, from legs that lack acknowledged writes: an operator wanted it so.
    pub fn give_up(&mut self) {
        let Some(serving) = self.truth.giving_up.take() else { return };
        self.say(|| "acknowledged writes are given up".into());
        self.model.anything(|_| true);
        let apart = self.truth.current.iter().filter(|drive| !serving.contains(drive));
        self.truth.parting = apart.flat_map(|&other| serving.iter().map(move |&drive| (drive, other))).collect();
        for drive in self.slots.clone() {
            if !serving.contains(&drive) {
                self.truth.wild.insert(drive);
            }
        }
        self.truth.current = serving;
    }

    /// No drive is there that went its own way beside those that serve.
    pub fn check_not_diverged(&self, serving: &[usize], found: &[Found], drives: &[usize]) -> Verdict {
        let serves = found.iter().zip(drives).filter(|(_, drive)| serving.contains(drive));
        let head = serves.map(|(leg, _)| &leg.superblock).max_by_key(|superblock| superblock.generation);
        let is_replaced = |leg: &Superblock| head.is_some_and(|head| head.legs[leg.slot.index()].uuid != leg.leg);
        for (leg, &drive) in found.iter().zip(drives) {
            let itself = leg.superblock.in_sync().contains(leg.superblock.slot);
            // A leg that was being overwritten has no history of its own any more.
            let mut others = serving.iter().filter(|other| !self.is_overwritten(**other, found, drives));
            // One in whose place another one was put has no part in the mirror, and is rejected by name.
            if is_replaced(&leg.superblock) && !serving.contains(&drive) {
                continue;
            }
            if itself && others.any(|other| self.truth.diverged.contains(&(*other, drive))) {
                return Err(format!("started from drives {serving:?} beside drive {drive}, which went its own way"));
            }
        }
        Ok(())
    }

    /// Whether a resync was writing it, and it says so.
    fn is_overwritten(&self, drive: usize, found: &[Found], drives: &[usize]) -> bool {
        self.truth.inconsistent.contains(&drive) && self.says_inconsistent(drive, found, drives)
    }

    fn says_inconsistent(&self, drive: usize, found: &[Found], drives: &[usize]) -> bool {
        drives.iter().position(|other| *other == drive).is_some_and(|index| {
            let superblock: &Superblock = &found[index].superblock;
            superblock.legs[superblock.slot.index()].state == LegState::Inconsistent
        })
    }

    /// Where the maps are read from.
    pub fn map_homes(&self, serving: &[usize], head: &Superblock, plan: &Plan) -> Vec<usize> {
        match (self.setup.log, self.log) {
            (LogType::Disk, Some(_)) if !plan.holds_log() => Vec::new(),
            (LogType::Disk, Some(log)) if self.disks[log].present && !head.log_lost => vec![log],
            (LogType::Disk, _) => Vec::new(),
            _ => serving.to_vec(),
        }
    }

    pub fn read_maps(&mut self, serving: &[usize], head: &Superblock, plan: &Plan) -> (Maps, bool) {
        let geometry = self.setup.geometry();
        let homes = self.map_homes(serving, head, plan);
        if homes.is_empty() {
            if !plan.holds_log() {
                let is_there = self.log.is_some_and(|log| self.disks[log].present);
                return (Maps::of_lost(&geometry), head.log_lost || !is_there);
            }
            return (Maps::without_log(&geometry, head), true);
        }
        let blocks: BTreeMap<(usize, u32), Vec<Option<Vec<u8>>>> = Maps::all_units(&geometry)
            .into_iter()
            .map(|(kind, unit)| {
                let copies = homes
                    .iter()
                    .map(|&drive| self.disks[drive].bytes(geometry.unit_block(kind, unit), 1, false))
                    .collect();
                ((order(kind), unit), copies)
            })
            .collect();
        let maps = Maps::merge(self.maps_uuid(), &geometry, |kind, unit| {
            blocks[&(order(kind), unit)].iter().map(|block| block.as_deref()).collect()
        });
        (maps, false)
    }

    /// What is outside the dirty regions is alike on the legs that serve, by a count of the dirty regions that is not the
    /// engine's; and the engine copies no more than these.
    pub fn check_recovery(&mut self, serving: &[usize], homes: &[usize], clean: bool, maps: &Maps) -> Verdict {
        self.counts.crash_points += 1;
        let geometry = self.setup.geometry();
        let mut lost = 0;
        for region in 0..geometry.regions() {
            let written = self.merged_bit(homes, MapKind::Written, region);
            let unit_lost = homes.iter().all(|&drive| self.map_bit(drive, MapKind::Written, region, false).is_none());
            lost += u32::from(unit_lost);
            let dirty = match homes.is_empty() {
                true => !clean,
                false => self.merged_bit(homes, MapKind::Intent, region) || unit_lost,
            };
            if maps.intent.get(region) != dirty {
                return Err(format!(
                    "region {region}: dirty by the legs: {dirty}, by the engine: {}",
                    maps.intent.get(region)
                ));
            }
            if dirty || !written {
                continue;
            }
            for block in geometry.region_range(region) {
                let at = geometry.data_offset_blocks + block;
                let views: Vec<_> = serving.iter().map(|&drive| self.disks[drive].view(at)).collect();
                if views.windows(2).any(|pair| pair[0] != pair[1]) {
                    return Err(format!(
                        "after a crash block {block} differs on drives {serving:?}: {views:?}, its region {region} is not dirty"
                    ));
                }
            }
        }
        if (1..geometry.regions()).contains(&lost) {
            self.coverage.note(Deed::UnitLost);
        }
        if self.setup.log == LogType::Disk && !homes.is_empty() {
            self.coverage.note(Deed::StartFromLog);
        }
        Ok(())
    }
}

fn order(kind: MapKind) -> usize {
    match kind {
        MapKind::Intent => 0,
        MapKind::Written => 1,
        MapKind::OutOfSync(slot) => 2 + slot.index(),
    }
}
