//! What an I/O has to wait for before its children are sent.

use super::{Channel, Step, is_leased_at};
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{
    Claim, Failure, HostIos, IoList, LegMask, LegSet, MAX_REGIONS_PER_IO, Op, Outcome, Report, Shared, Writer,
    host_io::Place,
};

/// What the regions of a write say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// It may go; `shared` if some region is written by several channels.
    Open { shared: bool },
    /// The owner is to mark or open a region.
    Ask,
    /// The owner is at it.
    Wait,
    /// The owner could not mark a region.
    Refused,
}

impl<Id: Copy + Eq + std::fmt::Debug> Channel<Id> {
    /// Looks at an I/O afresh, new or parked.
    #[inline]
    pub(super) fn classify<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id, now_ms: u64) -> Step {
        let set = shared.legs.load();
        if set.is_suspended() {
            return self.park(ios, id);
        }
        if set.is_offline() {
            return self.refuse(ios, id, Outcome::Failed(Failure::Offline));
        }
        match ios.io(id).op {
            Op::Read => self.classify_read(ios, shared, id, set, now_ms),
            Op::Flush => {
                let flushed =
                    if mutant!(FlushEveryLeg) { LegMask::first(crate::MAX_LEGS) } else { shared.flushed_legs() };
                let children = set.writable().and(flushed);
                self.begin(ios, id, set.writable(), children, now_ms);
                if children.is_empty() { self.children_done(ios, shared, id) } else { Step::Send }
            }
            Op::Write | Op::WriteZeroes | Op::Unmap => self.classify_write(ios, shared, id, set, now_ms),
        }
    }

    #[inline]
    fn classify_read<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        set: LegSet,
        now_ms: u64,
    ) -> Step {
        // Which legs it may not be read from is found anew each time.
        ios.io_mut(id).tried = LegMask::NONE;
        if set.must_look()
            && let Some(step) = self.look_before_read(ios, shared, id, set)
        {
            return step;
        }
        let readable = if mutant!(ReadAheadOfCopy) { set.writable() } else { set.readable() };
        let readable = readable.minus(ios.io(id).tried);
        match self.choose_leg(shared, readable) {
            Some(slot) => self.begin(ios, id, LegMask::only(slot), LegMask::only(slot), now_ms),
            None => self.refuse(ios, id, Outcome::Failed(Failure::Offline)),
        }
    }

    #[inline]
    pub(super) fn choose_leg(&mut self, shared: &Shared, legs: LegMask) -> Option<crate::Slot> {
        let outstanding = &self.outstanding;
        let rules = shared.read_rules.load();
        let slot = rules.choose(legs, self.last_read, |slot| outstanding[slot.index()])?;
        self.last_read = slot.index();
        Some(slot)
    }

    /// Regions that were never written read as zeros without asking a leg; those whose copies may differ wait.
    #[cold]
    fn look_before_read<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        set: LegSet,
    ) -> Option<Step> {
        let regions = ios.io(id).regions(shared.region_shift);
        let count = regions.end() - regions.start() + 1;
        debug_assert!(count <= MAX_REGIONS_PER_IO);
        let mut zeroed = 0u32;
        for (index, region) in regions.clone().enumerate() {
            match shared.regions.load(region).state() {
                RegionState::Unwritten | RegionState::RefusedUnwritten => zeroed |= 1 << index,
                // Only the chosen leg: what another one holds of a block may differ. There is none while another one is chosen.
                RegionState::Unread if !set.is_stuck() && shared.source().meets(set.readable()) => {
                    ios.io_mut(id).tried = LegMask::first(crate::MAX_LEGS).minus(shared.source());
                }
                RegionState::NoSync | RegionState::Unread => {
                    if set.is_stuck() && mutant!(ReadStuckRange) {
                        continue;
                    }
                    if set.is_stuck() {
                        return Some(self.refuse(ios, id, Outcome::Failed(Failure::NoRecord)));
                    }
                    let want = Report::Want { channel: self.number, first: *regions.start(), last: *regions.end() };
                    self.ask(ios, shared, id, want);
                    return Some(self.park(ios, id));
                }
                _ => {}
            }
        }
        ios.io_mut(id).zeroed = zeroed;
        if zeroed.count_ones() == count {
            return Some(self.refuse(ios, id, Outcome::Good { zeroed }));
        }
        None
    }

    #[inline]
    fn classify_write<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        set: LegSet,
        now_ms: u64,
    ) -> Step {
        if set.is_stuck() {
            return self.refuse(ios, id, Outcome::Failed(Failure::NoRecord));
        }
        if set.is_leased() && !is_leased_at(shared, now_ms) {
            return self.park(ios, id);
        }
        let through_table = match self.look_before_write(ios, shared, id) {
            Gate::Open { shared } => shared,
            Gate::Wait => return self.park(ios, id),
            Gate::Refused => return self.refuse(ios, id, Outcome::Failed(Failure::NoRecord)),
            Gate::Ask => {
                let regions = ios.io(id).regions(shared.region_shift);
                let mark = Report::Mark { channel: self.number, first: *regions.start(), last: *regions.end() };
                self.ask(ios, shared, id, mark);
                return self.park(ios, id);
            }
        };
        if self.overlaps_own(ios, id, set) {
            return self.park(ios, id);
        }
        if through_table {
            if !self.claim_range(ios, shared, id) {
                return self.park(ios, id);
            }
            // Until the range was ours another channel could end a write of it, and with that change the region.
            if !matches!(self.look_before_write(ios, shared, id), Gate::Open { .. }) {
                if ios.io(id).claimed {
                    self.give_back_range(ios, shared, id);
                }
                // From the start: what the region wants now is asked for now, and its answer wakes this one.
                ios.io_mut(id).report = 0;
                return self.classify(ios, shared, id, now_ms);
            }
        }
        if shared.legs.load() != set {
            // A leg came or went while the regions were looked at: they may have been marked with it in mind.
            if ios.io(id).claimed {
                self.give_back_range(ios, shared, id);
            }
            return self.classify(ios, shared, id, now_ms);
        }
        self.begin(ios, id, set.writable(), set.writable(), now_ms)
    }

    #[inline]
    fn look_before_write<T: HostIos<Id = Id>>(&mut self, ios: &T, shared: &Shared, id: Id) -> Gate {
        let io = ios.io(id);
        let mut gate = Gate::Open { shared: false };
        for region in io.regions(shared.region_shift) {
            // The one compare of the common case: dirty, ours alone, nothing being copied.
            if !shared.regions.load(region).is_ready_for(self.writer) {
                gate = worse(gate, self.look_at_region(shared, region, &io.range()));
            }
        }
        gate
    }

    #[cold]
    fn look_at_region(&self, shared: &Shared, region: u32, range: &std::ops::Range<u64>) -> Gate {
        let mut word = shared.regions.load(region);
        if matches!(word.state(), RegionState::Zeroed | RegionState::Flushing | RegionState::FlushingZeroed) {
            // Taken back from the owner before anything is sent; if he was faster, the region is closed now.
            let planted = mutant!(VetoOnlyInFlight) && word.state() != RegionState::Zeroed;
            if !planted {
                word = shared.regions.veto(region);
            }
        }
        // A window is looked at before the state is believed: it is set first.
        if word.copying() && shared.windows.overlaps(range.clone()) && !mutant!(CopyWithoutWindow) {
            return Gate::Wait;
        }
        match word.state() {
            RegionState::Clean | RegionState::Unwritten => Gate::Ask,
            RegionState::Marking | RegionState::Cleaning | RegionState::CleaningZeroed => Gate::Wait,
            RegionState::Refused | RegionState::RefusedUnwritten => Gate::Refused,
            RegionState::Dirty
            | RegionState::NoSync
            | RegionState::Unread
            | RegionState::Zeroed
            | RegionState::Flushing
            | RegionState::FlushingZeroed => match word.writer() {
                Writer::SHARED => Gate::Open { shared: true },
                Writer::SHARING => Gate::Wait,
                writer if writer == self.writer => Gate::Open { shared: false },
                _ if mutant!(IgnoreChannelOverlap) => Gate::Open { shared: false },
                _ => Gate::Ask,
            },
        }
    }

    /// Asks the owner, unless he was asked and has not answered yet.
    fn ask<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id, report: Report) {
        let io = ios.io_mut(id);
        if io.report == 0 || shared.is_handled(self.number, io.report) {
            // A full queue loses nothing: the I/O stays parked and asks again at the next tick, if not before.
            io.report = shared.send(report).unwrap_or(0);
            self.unsent |= io.report == 0;
        }
    }

    /// Whether an older write of this channel has a block in common: one under way, or one that waits already. That one
    /// learns that somebody waits for it.
    #[inline]
    fn overlaps_own<T: HostIos<Id = Id>>(&mut self, ios: &mut T, id: Id, set: LegSet) -> bool {
        let io = ios.io(id);
        let range = io.range();
        if self.writes.may_overlap(&range) {
            let writable = set.writable();
            let hit = self
                .under_way
                .find(ios, |other| other.op.is_write() && other.overlaps(&range) && !Self::is_passed(other, writable));
            if let Some(other) = hit {
                ios.io_mut(other).awaited = true;
                return true;
            }
        }
        if self.parked.is_empty() {
            return false;
        }
        self.overlaps_older_parked(ios, id, &range)
    }

    #[cold]
    fn overlaps_older_parked<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        id: Id,
        range: &std::ops::Range<u64>,
    ) -> bool {
        let is_parked = ios.io(id).place == Place::Parked;
        if is_parked {
            self.parked_writes.remove(range);
        }
        let may = self.parked_writes.may_overlap(range);
        if is_parked {
            self.parked_writes.add(range);
        }
        if !may {
            return false;
        }
        let mut at = self.parked.first();
        while let Some(other) = at {
            if other == id {
                return false;
            }
            let io = ios.io(other);
            if io.op.is_write() && io.overlaps(range) {
                ios.io_mut(other).awaited = true;
                return true;
            }
            at = IoList::after(ios, other);
        }
        false
    }

    /// Enters the range into the table of ranges that other channels look at; `false` if another write is in its way.
    #[cold]
    fn claim_range<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id) -> bool {
        if mutant!(IgnoreChannelOverlap) {
            return true;
        }
        let io = ios.io_mut(id);
        self.next_key += 1;
        io.key = self.next_key;
        match shared.ranges.try_claim(io.regions(shared.region_shift), io.key, io.range()) {
            Claim::Held => {
                io.claimed = true;
                true
            }
            Claim::Conflict { wake_all } => {
                if wake_all {
                    self.wake_all(shared);
                }
                false
            }
        }
    }

    /// Takes the range out of the table. Whether somebody waits for that.
    pub(super) fn give_back_range<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id) -> bool {
        let io = ios.io_mut(id);
        io.claimed = false;
        let is_awaited = shared.ranges.release(io.regions(shared.region_shift), io.key);
        if is_awaited {
            self.wake_all(shared);
        }
        is_awaited
    }

    /// Tells all channels, this one too, that what they wait for in the table of ranges may be free.
    fn wake_all(&mut self, shared: &Shared) {
        // A full queue loses nothing: those who wait look again at their next tick.
        self.unsent |= shared.send(Report::Wake { channel: self.number }).is_none();
    }
}

/// The gate that keeps an I/O longer.
fn worse(one: Gate, other: Gate) -> Gate {
    match (one, other) {
        (Gate::Open { shared: a }, Gate::Open { shared: b }) => Gate::Open { shared: a || b },
        (Gate::Refused, _) | (_, Gate::Refused) => Gate::Refused,
        // Asking covers all regions of the I/O, so it comes before waiting for one of them.
        (Gate::Ask, _) | (_, Gate::Ask) => Gate::Ask,
        _ => Gate::Wait,
    }
}
