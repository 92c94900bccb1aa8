//! Regions on their way to dirty, and from one writer to several.

use super::action::Event;
use super::copy::JobKind;
use super::txn::{MapOrder, Txn, TxnKind, UnitName};
use super::{Owner, Phase};
use crate::format::LegState;
use crate::format::MapKind;
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{LegMask, Pass, Writer};
use std::collections::{BTreeMap, BTreeSet};

/// Most regions marked by one transaction.
const MARKS_PER_COMMIT: usize = 4096;

/// A region that is marked, who wants it, and whether it was unwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Marked {
    pub(super) region: u32,
    pub(super) writer: Writer,
    /// It was unwritten: the legs that were zeroed for it.
    pub(super) filled: Option<LegMask>,
}

/// What waits to be marked.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Marks {
    /// To go into the next commit.
    pub(super) ready: BTreeMap<u32, Marked>,
    /// Unwritten, to be zeroed first; `true` while a job is at it.
    pub(super) filling: BTreeMap<u32, (Writer, bool)>,
    /// Marked; they are opened when the record of this ticket is durable.
    waiting: Vec<(u64, Vec<Marked>)>,
    /// Refused: what they go back to at the next tick.
    refused: Vec<(u32, RegionState)>,
    /// To be opened to several channels; `true` once they are in the pass under way.
    sharing: BTreeMap<u32, bool>,
}

impl Marks {
    /// Whether nothing is on its way to dirty.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.filling.is_empty()
    }
}

impl Owner {
    /// Writes of a channel wait for a region, or will come to it.
    pub(super) fn mark(&mut self, region: u32, writer: Writer, ahead: bool) {
        if region >= self.shared.regions.len() || self.phase == Phase::Offline {
            return;
        }
        let word = self.shared.regions.load(region);
        match word.state() {
            RegionState::Clean => {
                self.shared.regions.set(region, RegionState::Marking, Writer::NOBODY);
                self.marks.ready.insert(region, Marked { region, writer, filled: None });
            }
            RegionState::Unwritten => self.mark_unwritten(region, writer, ahead),
            RegionState::Marking => {
                let marked = self.marks.ready.get_mut(&region);
                if let Some(marked) = marked.filter(|_| !ahead) {
                    marked.writer = both(marked.writer, writer);
                }
                // Already in a commit: the channel asks again when it finds another writer's name there.
            }
            RegionState::Dirty
            | RegionState::Zeroed
            | RegionState::Flushing
            | RegionState::FlushingZeroed
            | RegionState::NoSync
            | RegionState::Unread
                if !ahead =>
            {
                self.open_to(region, word.writer(), writer);
            }
            // Cleaning: the channel asks again when it is clean. Refused: its writes fail.
            _ => {}
        }
    }

    fn mark_unwritten(&mut self, region: u32, writer: Writer, ahead: bool) {
        if let Some(marked) = self.marks.ready.get_mut(&region) {
            marked.writer = if ahead { marked.writer } else { both(marked.writer, writer) };
        } else if let Some((known, _)) = self.marks.filling.get_mut(&region) {
            *known = if ahead { *known } else { both(*known, writer) };
        } else if !self.is_in_commit(region) {
            if mutant!(SkipZeroFill) {
                let marked = Marked { region, writer, filled: Some(self.writable()) };
                self.marks.ready.insert(region, marked);
            } else {
                self.marks.filling.insert(region, (writer, false));
            }
        }
    }

    fn is_in_commit(&self, region: u32) -> bool {
        let has = |marked: &[Marked]| marked.iter().any(|marked| marked.region == region);
        self.txns.iter().any(|txn| matches!(&txn.kind, TxnKind::Mark { regions } if has(regions)))
            || self.marks.waiting.iter().any(|(_, regions)| has(regions))
    }

    /// A dirty region gets one more writer.
    fn open_to(&mut self, region: u32, known: Writer, writer: Writer) {
        if known == writer || known == Writer::SHARED || known == Writer::SHARING {
            return;
        }
        if known == Writer::NOBODY {
            // Nobody may have written it under that name, so nothing of another channel is under way there.
            self.shared.regions.set_writer(region, writer);
            self.wake_wanted = true;
        } else {
            self.shared.regions.set_writer(region, Writer::SHARING);
            self.marks.sharing.insert(region, false);
        }
    }

    /// Writes under way of the single writer have to end before others may look only at the table.
    pub(super) fn start_sharing_pass(&mut self) {
        if self.marks.sharing.values().any(|in_pass| !in_pass) && self.start_pass(Pass::Sharing) {
            self.marks.sharing.values_mut().for_each(|in_pass| *in_pass = true);
        }
    }

    pub(super) fn sharing_pass_done(&mut self) {
        let done: Vec<_> =
            self.marks.sharing.iter().filter(|(_, in_pass)| **in_pass).map(|(region, _)| *region).collect();
        for region in done {
            self.marks.sharing.remove(&region);
            // It may have been cleared meanwhile: then nobody writes it.
            if self.shared.regions.load(region).writer() == Writer::SHARING {
                self.shared.regions.set_writer(region, Writer::SHARED);
            }
        }
        self.wake_wanted = true;
    }

    pub(super) fn start_mark(&mut self) -> bool {
        if self.stuck || self.phase == Phase::Starting {
            return false;
        }
        let required = self.required();
        let mut regions = Vec::new();
        while regions.len() < MARKS_PER_COMMIT {
            let Some((region, marked)) = self.marks.ready.pop_first() else { break };
            match marked.filled {
                // A leg came into sync meanwhile that was not zeroed: once more.
                Some(filled) if !required.is_within(filled) => {
                    self.marks.filling.insert(region, (marked.writer, false));
                }
                _ => regions.push(marked),
            }
        }
        if regions.is_empty() {
            return false;
        }
        let mut units = self.note_marked(&regions);
        if mutant!(ForgetSecondUnit) {
            let first = units.iter().map(|(_, unit)| *unit).min();
            units.retain(|(_, unit)| Some(*unit) == first);
        }
        let ordered = self.ordered_unit_writes(&self.map_devices(), &units);
        self.start_ordered_txn(TxnKind::Mark { regions }, ordered);
        true
    }

    /// Sets the bits of regions that are to be dirty; the units that change.
    fn note_marked(&mut self, regions: &[Marked]) -> BTreeSet<UnitName> {
        let writable = self.writable();
        let mut units = BTreeSet::new();
        for marked in regions {
            let region = marked.region;
            let unit = self.config.geometry.unit_of(region).0;
            let last = region + 1 == self.config.geometry.regions();
            if !(mutant!(ForgetShortRegion) && last) {
                self.intent.set(region);
            }
            units.insert((MapOrder::of(MapKind::Intent), unit));
            if self.written.set(region) {
                units.insert((MapOrder::of(MapKind::Written), unit));
            }
            for slot in self.slots() {
                let leg = &mut self.legs[slot.index()];
                let gets_it = writable.contains(slot) && marked.filled.is_none_or(|filled| filled.contains(slot));
                if leg.state != LegState::Empty
                    && !gets_it
                    && let Some(map) = &mut leg.out_of_sync
                {
                    map.set(region);
                }
            }
        }
        units
    }

    pub(super) fn mark_done(&mut self, regions: &[Marked], txn: &Txn) {
        match self.fail_devices(txn) {
            // A leg without the mark must be known as out before it can miss anything.
            Ok(Some(ticket)) => self.marks.waiting.push((ticket, regions.to_vec())),
            Ok(None) => self.open(regions),
            Err(()) => {
                for marked in regions {
                    self.unmark(marked);
                }
                self.get_stuck();
            }
        }
    }

    /// Lets writes into marked regions.
    fn open(&mut self, regions: &[Marked]) {
        for marked in regions {
            // A writer that asked while the commit was under way finds this one's name and asks again.
            self.shared.regions.set(marked.region, RegionState::Dirty, marked.writer);
        }
        self.wake_wanted = true;
    }

    pub(super) fn open_recorded(&mut self) {
        let durable = self.record_durable;
        let (open, waiting) =
            std::mem::take(&mut self.marks.waiting).into_iter().partition(|(ticket, _)| *ticket <= durable);
        self.marks.waiting = waiting;
        let open: Vec<(u64, Vec<Marked>)> = open;
        for (_, regions) in open {
            self.open(&regions);
        }
    }

    /// No leg took the mark: nothing was sent, so the region is what it was, but what the legs hold of its bits is unknown.
    fn unmark(&mut self, marked: &Marked) {
        let region = marked.region;
        let unit = self.config.geometry.unit_of(region).0;
        self.intent.clear(region);
        // Its dirty bit stays on the legs until its written bit is known to be gone: a region found written and not dirty
        // would be taken to be alike on all legs.
        self.unmarked.insert(region);
        self.unsure.insert((MapOrder::of(MapKind::Intent), unit));
        let back = if marked.filled.is_some() {
            self.written.clear(region);
            self.unsure.insert((MapOrder::of(MapKind::Written), unit));
            RegionState::Unwritten
        } else {
            RegionState::Clean
        };
        self.refuse(region, back);
    }

    fn refuse(&mut self, region: u32, back: RegionState) {
        let refused = match back {
            RegionState::Unwritten => RegionState::RefusedUnwritten,
            _ => RegionState::Refused,
        };
        self.shared.regions.set(region, refused, Writer::NOBODY);
        self.marks.refused.push((region, back));
    }

    /// Nothing can be recorded: whatever waits to be marked is refused, so that no write waits without limit.
    pub(super) fn refuse_marks(&mut self) {
        for (region, marked) in std::mem::take(&mut self.marks.ready) {
            self.refuse(region, if marked.filled.is_some() { RegionState::Unwritten } else { RegionState::Clean });
        }
        for (_, regions) in std::mem::take(&mut self.marks.waiting) {
            for marked in regions {
                self.unmark(&marked);
            }
        }
    }

    /// A region could not be zeroed for its first write.
    pub(super) fn refuse_fill(&mut self, region: u32) {
        if self.marks.filling.remove(&region).is_some() {
            self.refuse(region, RegionState::Unwritten);
            self.wake_wanted = true;
        }
    }

    pub(super) fn restore_refused(&mut self) {
        for (region, back) in std::mem::take(&mut self.marks.refused) {
            self.shared.regions.set(region, back, Writer::NOBODY);
            self.wake_wanted = true;
        }
    }

    pub(super) fn next_fill(&mut self) -> Option<(u32, JobKind)> {
        // One that was given up may still be under way on a leg.
        let copier = &self.copier;
        let mut waiting =
            self.marks.filling.iter_mut().filter(|(region, (_, busy))| !*busy && !copier.is_busy(**region));
        let (region, (_, busy)) = waiting.next()?;
        *busy = true;
        Some((*region, JobKind::Fill))
    }

    /// A region was zeroed on these legs, and that is durable.
    pub(super) fn filled(&mut self, region: u32, legs: LegMask) {
        if let Some((writer, _)) = self.marks.filling.remove(&region) {
            self.marks.ready.insert(region, Marked { region, writer, filled: Some(legs) });
        }
    }

    /// Copies of these regions may differ: they are reconciled, and not read until then.
    pub(super) fn suspect(&mut self, first: u32, last: u32) {
        if mutant!(AllFailedStaysReadable) {
            return;
        }
        for region in first..=last.min(self.shared.regions.len() - 1) {
            let word = self.shared.regions.load(region);
            self.suspect_epoch += 1;
            self.suspects.insert(region, self.suspect_epoch);
            self.shared.regions.set(region, RegionState::NoSync, word.writer());
            self.drop_resync_of(region);
        }
        if self.source.is_none() {
            self.choose_source(LegMask::NONE);
        }
        let regions = self.suspects.len() as u32;
        self.actions.push_back(super::Action::Event(Event::Suspect { regions }));
        self.publish();
    }

    /// Chooses the leg that suspect ranges are copied from, and has the choice recorded before it serves.
    /// `bad` are legs that are not to be chosen.
    pub(super) fn choose_source(&mut self, bad: LegMask) {
        // Legs that were in sync are equal candidates. Not the lowest slot, so that no order of legs ever decides.
        let candidates = self.readable().minus(bad);
        self.source = candidates.iter().max_by_key(|slot| self.legs[slot.index()].uuid);
        if self.source.is_some() {
            self.source_ticket = self.request_record();
        }
        // Nothing is read from a leg that was not chosen, and from this one only once the choice is durable.
        self.shared.set_source(LegMask::NONE);
        self.retry_unread();
    }
}

fn both(one: Writer, other: Writer) -> Writer {
    if one == other || other == Writer::NOBODY {
        one
    } else if one == Writer::NOBODY {
        other
    } else {
        Writer::SHARED
    }
}
