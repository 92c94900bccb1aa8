//! How an I/O ends.

use super::{Channel, Step};
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{Failure, HostIos, IoList, Join, LegMask, LegSet, Op, Outcome, Report, Shared, Verdict, host_io::Place};

impl<Id: Copy + Eq + std::fmt::Debug> Channel<Id> {
    /// No child is left to send or in flight. Also called again for I/O that waits for the owner's judgement.
    #[inline]
    pub(super) fn children_done<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id) -> Step {
        let io = ios.io(id);
        if io.op == Op::Read {
            if io.join.all_good() {
                let zeroed = io.zeroed;
                return self.retire(ios, shared, id, Outcome::Good { zeroed });
            }
            return self.read_failed(ios, shared, id);
        }
        let set = shared.legs.load();
        if io.join.all_good() && !io.unblamed {
            self.acknowledge(ios, shared, id, set)
        } else {
            self.judge(ios, shared, id)
        }
    }

    /// Every leg that counts has it. It is acknowledged if whatever other leg there is, is durably recorded as out.
    #[inline]
    fn acknowledge<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id, set: LegSet) -> Step {
        if set.is_recorded() || (mutant!(AckBeforeStale) && !set.is_offline()) {
            let io = ios.io(id);
            if io.through && !io.flushing {
                return self.flush_through(ios, shared, id, set);
            }
            return self.retire(ios, shared, id, Outcome::GOOD);
        }
        if set.is_offline() {
            return self.retire(ios, shared, id, Outcome::Failed(Failure::Offline));
        }
        if set.is_stuck() {
            // A leg lacks this write, and no leg can be made to say so: the host gets an error, and the range is not
            // read until the record is durable, since after a crash the leg that lacks it would be trusted.
            let io = ios.io_mut(id);
            io.unblamed = true;
            io.report = 0;
            return self.judge(ios, shared, id);
        }
        Step::Wait
    }

    /// Some leg did not do it: the owner says what becomes of that leg, then the I/O is judged by the legs that remain.
    #[cold]
    fn judge<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id) -> Step {
        let number = self.number;
        let io = ios.io_mut(id);
        // The flush after the data says nothing of the data, nor a second attempt of the first.
        let changed = io.flushing || io.cut_short;
        if io.join.verdict(io.sent) == Verdict::Refused && (!changed || mutant!(RefusedAfterData)) {
            return self.retire(ios, shared, id, Outcome::Failed(Failure::Refused));
        }
        let good = io.good();
        if io.report == 0 {
            // A full queue loses nothing: the I/O stays under way and is looked at again at the next tick.
            io.report = shared.send(io.bad_report(number, shared.region_shift)).unwrap_or(0);
            if mutant!(SuspectAfterError) && (io.unblamed || good.is_empty()) {
                return self.retire(ios, shared, id, Outcome::Failed(Failure::Legs));
            }
            return Step::Wait;
        }
        if !shared.is_handled(number, io.report) {
            return Step::Wait;
        }
        // What the owner published for it is seen now, if it was not before.
        let set = shared.legs.load();
        let aborted = io.aborted;
        let must = set.required().and(io.sent);
        // A leg that is required and was not sent this write was re-admitted since, and was given it by the copy.
        if !io.unblamed && must.is_within(good) && must.meets(good) {
            return self.acknowledge(ios, shared, id, set);
        }
        let failure = match (aborted, set.is_offline(), set.is_stuck()) {
            (true, ..) => Failure::Aborted,
            (_, true, _) => Failure::Offline,
            (.., true) => Failure::NoRecord,
            _ => Failure::Legs,
        };
        self.retire(ios, shared, id, Outcome::Failed(failure))
    }

    /// The data is on all legs that count; the host wants it durable before it hears of it.
    fn flush_through<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id, set: LegSet) -> Step {
        let io = ios.io_mut(id);
        io.flushing = true;
        io.report = 0;
        io.sent = io.good();
        io.blamed = LegMask::NONE;
        let children = io.sent.and(set.writable()).and(shared.flushed_legs());
        io.join = Join::new(children);
        if children.is_empty() { self.retire(ios, shared, id, Outcome::GOOD) } else { Step::Send }
    }

    /// Another leg that is in sync is asked, as long as there is one; the owner repairs the block.
    #[cold]
    fn read_failed<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id) -> Step {
        let number = self.number;
        let io = ios.io_mut(id);
        let Some(slot) = io.sent.lowest() else { return self.retire(ios, shared, id, Outcome::Failed(Failure::Legs)) };
        io.tried = io.tried.with(slot);
        if io.blamed.contains(slot) {
            // A full queue loses a repair, not data: the next read of the block finds it again.
            let _ = shared.send(Report::ReadBad { channel: number, slot, block: io.block, blocks: io.blocks });
        }
        let set = shared.legs.load();
        let (aborted, untried) = (io.aborted, set.readable().minus(io.tried));
        if !aborted && let Some(next) = self.choose_leg(shared, untried) {
            let io = ios.io_mut(id);
            io.sent = LegMask::only(next);
            io.join = Join::new(io.sent);
            return Step::Send;
        }
        let failure = match (aborted, set.is_offline()) {
            (true, _) => Failure::Aborted,
            (_, true) => Failure::Offline,
            _ => Failure::Legs,
        };
        self.retire(ios, shared, id, Outcome::Failed(failure))
    }

    /// Takes it off the list and gives back all that it held.
    #[inline]
    pub(super) fn retire<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        outcome: Outcome,
    ) -> Step {
        let io = ios.io(id);
        debug_assert!(io.place == Place::UnderWay && io.join.pending().is_empty());
        if io.op.is_write() {
            if io.op.is_zeroing() && outcome == Outcome::GOOD && !io.overtaken {
                self.note_zeroed(io, shared);
            }
            let range = io.range();
            let (is_claimed, is_awaited) = (io.claimed, io.awaited);
            self.writes.remove(&range);
            let is_range_awaited = is_claimed && self.give_back_range(ios, shared, id);
            // All other I/O that is parked waits for the owner, who wakes this channel.
            if is_awaited || is_range_awaited || self.unsent {
                self.look_at_parked();
            }
        }
        if self.under_way_at == Some(id) {
            self.under_way_at = IoList::after(ios, id);
        }
        self.under_way.remove(ios, id);
        ios.io_mut(id).place = Place::Outside;
        if self.passes != 0 {
            self.answer_passes(ios, shared);
        }
        Step::Done(outcome)
    }

    /// Regions that were zeroed whole read as zeros on all legs: once that is durable they count as unwritten. Nothing else
    /// is in flight in them, since whatever overlaps this I/O waits for it.
    fn note_zeroed(&self, io: &crate::HostIo<Id>, shared: &Shared) {
        let range = io.range();
        for region in io.regions(shared.region_shift) {
            let start = u64::from(region) << shared.region_shift;
            let end = (start + (1 << shared.region_shift)).min(shared.blocks);
            if range.start <= start && end <= range.end && shared.regions.load(region).state() == RegionState::Dirty {
                shared.regions.mark_zeroed(region);
            }
        }
    }
}
