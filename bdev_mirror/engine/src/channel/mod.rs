//! The mirror on one thread: takes the host's I/O, sends it to the legs, and says how it ended.
//!
//! Nothing here waits, locks or allocates. Each call takes one event and answers with a [`Step`] for the I/O that it is
//! about; whatever becomes ready besides is fetched by [`Channel::next_ready`], which the caller asks after every event
//! until it gives nothing.

mod end;
mod filter;
mod gate;
mod pass;

use crate::host_io::Place;
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{
    Failure, Fault, HostIo, HostIos, IoList, Join, LegMask, MAX_LEGS, Op, Outcome, SequentialWrites, Shared, Slot,
    Writer,
};
use filter::OverlapFilter;
use std::ops::RangeInclusive;

/// What follows for an I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Children are to be sent: [`Channel::next_child`] until it gives none.
    Send,
    /// It waits; the channel knows for what.
    Wait,
    /// It is over; the channel has forgotten it.
    Done(Outcome),
}

/// The limits of a channel.
#[derive(Clone, Copy, Debug, Hash)]
pub struct ChannelLimits {
    /// Most I/O that may be parked.
    pub parked_max: u32,
    /// Longest time that a child may take before its leg is reported.
    pub leg_timeout_ms: u64,
    /// Regions marked ahead of a stream of writes; 0: none.
    pub mark_ahead_regions: u32,
}

/// The mirror on one thread.
#[derive(Clone, Debug, Hash)]
pub struct Channel<Id> {
    number: u16,
    writer: Writer,
    limits: ChannelLimits,
    under_way: IoList<Id>,
    parked: IoList<Id>,
    parked_count: u32,
    /// Ranges of the writes under way, and of those parked.
    writes: OverlapFilter,
    parked_writes: OverlapFilter,
    sequential: SequentialWrites,
    /// Children in flight on each leg.
    outstanding: [u32; MAX_LEGS],
    /// The leg that served the last read.
    last_read: usize,
    /// Where the walk through what is under way goes on, when something may have become ready.
    under_way_at: Option<Id>,
    parked_at: Option<Id>,
    /// A report did not fit the queue since the walk through what is parked began: that is tried again soon.
    unsent: bool,
    /// Passes that are still to be answered, by [`crate::Pass::index`].
    passes: u32,
    /// Legs that are being reset, and how many resets began.
    resetting: LegMask,
    resets: u32,
    next_key: u64,
}

impl<Id: Copy + Eq + std::fmt::Debug> Channel<Id> {
    /// An idle channel. Its number is that of no other open channel and below [`crate::SharedSizes::channels`]; `None` if it
    /// is beyond what a region word holds.
    #[must_use]
    pub fn new(number: u16, limits: ChannelLimits) -> Option<Self> {
        Some(Self {
            number,
            writer: Writer::channel(number)?,
            limits,
            under_way: IoList::default(),
            parked: IoList::default(),
            parked_count: 0,
            writes: OverlapFilter::default(),
            parked_writes: OverlapFilter::default(),
            sequential: SequentialWrites::new(limits.mark_ahead_regions),
            outstanding: [0; MAX_LEGS],
            last_read: usize::from(number),
            under_way_at: None,
            parked_at: None,
            unsent: false,
            passes: 0,
            resetting: LegMask::NONE,
            resets: 0,
            // The channel's number makes keys of different channels differ; 0 is no key.
            next_key: (u64::from(number) + 1) << 48,
        })
    }

    /// Whether no I/O is parked or under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.parked.is_empty()
    }

    /// Children in flight on a leg.
    #[must_use]
    pub fn outstanding(&self, slot: Slot) -> u32 {
        self.outstanding[slot.index()]
    }

    /// I/O that waits.
    #[must_use]
    pub fn parked_count(&self) -> u32 {
        self.parked_count
    }

    /// An I/O comes from the host. It must be new ([`HostIo::new`]).
    #[inline]
    pub fn submit<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id, now_ms: u64) -> Step {
        let step = self.classify(ios, shared, id, now_ms);
        let io = ios.io(id);
        // After its own regions were asked for.
        if io.op == Op::Write
            && let Some(ahead) =
                self.sequential.note_write(io.block, io.blocks.into(), shared.region_shift, shared.regions.len())
        {
            self.mark_ahead(shared, ahead);
        }
        step
    }

    /// A stream of writes comes to these regions: they are marked before it gets there.
    #[cold]
    fn mark_ahead(&self, shared: &Shared, ahead: RangeInclusive<u32>) {
        let is_to_be_marked =
            |region: &u32| matches!(shared.regions.load(*region).state(), RegionState::Clean | RegionState::Unwritten);
        let wanting = |regions: RangeInclusive<u32>| regions.filter(is_to_be_marked);
        if let (Some(first), Some(last)) = (wanting(ahead.clone()).next(), wanting(ahead).next_back()) {
            let last = if mutant!(MarkTooFar) { shared.regions.len() - 1 } else { last };
            // A full queue loses nothing: the stream's own write asks when it gets there.
            let _ = shared.send(crate::Report::MarkAhead { channel: self.number, first, last });
        }
    }

    /// The leg to send the next child of this I/O to. The child counts as in flight from here on: the caller sends it, or
    /// says [`Channel::not_sent`] or [`Channel::child_refused`].
    #[inline]
    pub fn next_child<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        now_ms: u64,
    ) -> Option<Slot> {
        let set = shared.legs.load();
        let io = ios.io_mut(id);
        if set.is_leased() && io.op.is_write() && !is_leased_at(shared, now_ms) {
            return None;
        }
        // A leg that is out by now is sent nothing; a wake-up gives up what it was to be sent.
        let slot = io.join.send_next_of(set.writable().minus(self.resetting))?;
        // The leg's time begins now: waiting for memory is not its doing.
        io.started_ms = now_ms;
        self.outstanding[slot.index()] += 1;
        Some(slot)
    }

    /// There was no memory for the child: it is sent later, by another [`Channel::next_child`].
    pub fn not_sent<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id, slot: Slot) {
        self.outstanding[slot.index()] -= 1;
        ios.io_mut(id).join.not_sent(slot);
        self.answer_passes(ios, shared);
    }

    /// The leg did not take the child at all: the same to the mirror as a child that failed.
    pub fn child_refused<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        slot: Slot,
        fault: Fault,
    ) -> Step {
        let result = if mutant!(SubmitErrorCompletes) { Ok(()) } else { Err(fault) };
        self.child_done(ios, shared, id, slot, result)
    }

    /// A child ended.
    #[inline]
    pub fn child_done<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        slot: Slot,
        result: Result<(), Fault>,
    ) -> Step {
        self.outstanding[slot.index()] -= 1;
        let step = match result {
            Ok(()) => ios.io_mut(id).join.leg_good(slot),
            Err(Fault::Aborted) if mutant!(CompleteTwiceOnReset) && !ios.io(id).aborted => {
                ios.io_mut(id).join.not_sent(slot);
                return Step::Done(Outcome::Failed(Failure::Aborted));
            }
            Err(fault) => match self.child_failed(ios, shared, id, slot, fault) {
                Some(step) => step,
                None => return Step::Send,
            },
        };
        let step = match step {
            crate::join::Step::Wait => Step::Wait,
            crate::join::Step::Done => self.children_done(ios, shared, id),
        };
        if self.passes != 0 {
            self.answer_passes(ios, shared);
        }
        step
    }

    /// Notes a failure; `None` if the child is to be sent again.
    #[cold]
    fn child_failed<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        shared: &Shared,
        id: Id,
        slot: Slot,
        fault: Fault,
    ) -> Option<crate::join::Step> {
        let io = ios.io_mut(id);
        if fault == Fault::Aborted && !io.aborted {
            // A leg that our own reset cut short has done nothing wrong, and a child that is sent again changes nothing
            // that it would not have changed: NVMe's I/O of that kind is repeatable.
            let ours = self.resetting.contains(slot) || io.resets != self.resets;
            if ours && !mutant!(FailLegForOwnReset) {
                io.resets = self.resets;
                io.cut_short = true;
                if shared.legs.load().writable().contains(slot) {
                    io.join.not_sent(slot);
                    return None;
                }
                return Some(io.join.leg_bad(slot, Fault::Failed));
            }
            io.blamed = io.blamed.with(slot);
            return Some(io.join.leg_bad(slot, Fault::Failed));
        }
        // Whatever was asked of the owner did not take this one into account.
        io.report = 0;
        match fault {
            // A leg that is out has been judged already.
            Fault::Failed if !shared.legs.load().writable().contains(slot) => {}
            Fault::Failed => io.blamed = io.blamed.with(slot),
            Fault::Rejected | Fault::Deserved if mutant!(FailLegForDeserved) => io.blamed = io.blamed.with(slot),
            Fault::Rejected | Fault::Deserved | Fault::Aborted => io.unblamed = true,
        }
        Some(io.join.leg_bad(slot, fault))
    }

    /// The host wants an I/O back. It ends with an error unless all its legs did it already; what is in flight is aborted by
    /// the caller, as far as legs can.
    pub fn abort<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, id: Id) -> Step {
        match ios.io(id).place {
            Place::Outside => Step::Wait,
            Place::Parked => {
                self.unpark(ios, id);
                if ios.io(id).awaited {
                    self.look_at_parked();
                }
                Step::Done(Outcome::Failed(Failure::Aborted))
            }
            Place::UnderWay => {
                let io = ios.io_mut(id);
                io.aborted = true;
                let unsent = io.join.unsent();
                if unsent.is_empty() {
                    return Step::Wait;
                }
                io.unblamed = true;
                match io.join.give_up(unsent) {
                    crate::join::Step::Wait => Step::Wait,
                    crate::join::Step::Done => self.children_done(ios, shared, id),
                }
            }
        }
    }

    /// We begin to reset a leg: what it aborts from now on is sent again after the reset, and nothing is sent until then.
    pub fn reset_began(&mut self, slot: Slot) {
        self.resetting = self.resetting.with(slot);
        self.resets = self.resets.wrapping_add(1);
    }

    /// The reset of a leg ended.
    pub fn reset_ended(&mut self, slot: Slot) {
        self.resetting = self.resetting.without(slot);
        self.look_again();
    }

    /// The owner published something: whatever waits is to be looked at again.
    pub fn wake<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared) {
        self.release_lingering(ios, shared);
        self.look_again();
        self.answer_passes(ios, shared);
    }

    /// Called about every hundred milliseconds: the safety net for lost wake-ups, and the look at what takes too long.
    pub fn tick<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, now_ms: u64) {
        self.report_hung(ios, shared, now_ms);
        self.wake(ios, shared);
    }

    fn look_again(&mut self) {
        self.under_way_at = self.under_way.first();
        self.look_at_parked();
    }

    fn look_at_parked(&mut self) {
        self.parked_at = self.parked.first();
        self.unsent = false;
    }

    /// The next I/O that something follows for, now that an event may have changed what it waits for.
    pub fn next_ready<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, now_ms: u64) -> Option<(Id, Step)> {
        while let Some(id) = self.under_way_at {
            self.under_way_at = IoList::after(ios, id);
            let set = shared.legs.load();
            let io = ios.io_mut(id);
            // What was not sent yet to a leg that is out is not sent any more.
            let serving = if io.op == crate::Op::Read { set.readable() } else { set.writable() };
            let step = io.join.give_up(LegMask::first(MAX_LEGS).minus(serving));
            if step == crate::join::Step::Done {
                match self.children_done(ios, shared, id) {
                    Step::Wait => {}
                    step => return Some((id, step)),
                }
            } else if ios.io(id).join.unsent().meets(LegMask::first(MAX_LEGS).minus(self.resetting)) {
                return Some((id, Step::Send));
            }
        }
        while let Some(id) = self.parked_at {
            self.parked_at = IoList::after(ios, id);
            match self.classify(ios, shared, id, now_ms) {
                Step::Wait => {}
                step => return Some((id, step)),
            }
        }
        None
    }

    /// Whether an I/O under way can touch no leg that counts any more: all that it still waits for are children on legs that
    /// are out. It keeps its buffers until they return, but nothing else has to wait for it.
    fn lingers(io: &HostIo<Id>, writable: LegMask) -> bool {
        let pending = io.join.pending();
        !pending.is_empty() && !pending.meets(writable)
    }

    /// Whether others may pass an I/O under way. It must have been seen by [`Channel::wake`] as one that lingers, so that
    /// it knows.
    fn is_passed(io: &HostIo<Id>, writable: LegMask) -> bool {
        io.overtaken && Self::lingers(io, writable)
    }

    fn release_lingering<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared) {
        let writable = shared.legs.load().writable();
        let mut at = self.under_way.first();
        while let Some(id) = at {
            at = IoList::after(ios, id);
            if !Self::lingers(ios.io(id), writable) || !self.is_settled(ios, shared, id, writable) {
                continue;
            }
            ios.io_mut(id).overtaken = true;
            if ios.io(id).claimed {
                self.give_back_range(ios, shared, id);
            }
        }
    }

    /// Whether nothing that happened to an I/O so far is still to be judged. A leg that failed it and counts would otherwise be
    /// read, and be the source of a copy, within its blocks.
    fn is_settled<T: HostIos<Id = Id>>(&self, ios: &mut T, shared: &Shared, id: Id, writable: LegMask) -> bool {
        let io = ios.io_mut(id);
        let failed = io.unblamed || io.blamed.meets(writable);
        if !failed || mutant!(PassUnjudged) {
            return true;
        }
        if io.report == 0 {
            // A full queue loses nothing: it is asked for again at the next tick.
            io.report = shared.send(io.bad_report(self.number, shared.region_shift)).unwrap_or(0);
        }
        io.report != 0 && shared.is_handled(self.number, io.report)
    }

    fn report_hung<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, now_ms: u64) {
        let serving = shared.legs.load().writable();
        let timeout_ms = self.limits.leg_timeout_ms;
        let late = |io: &HostIo<Id>| {
            let is_late = now_ms.saturating_sub(io.started_ms) >= timeout_ms;
            if is_late { io.join.in_flight().and(serving) } else { LegMask::NONE }
        };
        let mut legs = LegMask::NONE;
        self.under_way.each(ios, |_, io| legs = legs.or(late(io)));
        // A report that does not fit the queue is made anew by the next tick.
        if legs.is_empty() || shared.send(crate::Report::Hung { channel: self.number, legs }).is_none() {
            return;
        }
        let mut at = self.under_way.first();
        while let Some(id) = at {
            at = IoList::after(ios, id);
            let io = ios.io_mut(id);
            if !late(io).is_empty() {
                // Said again when as much time has passed: the leg may have been the last one when it was said.
                io.started_ms = now_ms;
            }
        }
    }

    /// Puts an I/O under way for these legs; `flushed` are those among them that really get a child of a flush.
    #[inline]
    fn begin<T: HostIos<Id = Id>>(
        &mut self,
        ios: &mut T,
        id: Id,
        sent: LegMask,
        children: LegMask,
        now_ms: u64,
    ) -> Step {
        let io = ios.io_mut(id);
        if io.place == Place::Parked {
            self.unpark(ios, id);
        }
        let io = ios.io_mut(id);
        io.place = Place::UnderWay;
        io.report = 0;
        io.resets = self.resets;
        io.sent = sent;
        io.join = Join::new(children);
        io.started_ms = now_ms;
        let (is_write, range) = (io.op.is_write(), io.range());
        if is_write {
            self.writes.add(&range);
        }
        self.under_way.push(ios, id);
        Step::Send
    }

    #[cold]
    fn park<T: HostIos<Id = Id>>(&mut self, ios: &mut T, id: Id) -> Step {
        let io = ios.io_mut(id);
        if io.place == Place::Parked {
            return Step::Wait;
        }
        if self.parked_count >= self.limits.parked_max && !mutant!(ParkTooMany) {
            return Step::Done(Outcome::Failed(Failure::Busy));
        }
        io.place = Place::Parked;
        if io.op.is_write() {
            self.parked_writes.add(&io.range());
        }
        self.parked_count += 1;
        self.parked.push(ios, id);
        Step::Wait
    }

    fn unpark<T: HostIos<Id = Id>>(&mut self, ios: &mut T, id: Id) {
        if self.parked_at == Some(id) {
            self.parked_at = IoList::after(ios, id);
        }
        self.parked.remove(ios, id);
        self.parked_count -= 1;
        let io = ios.io_mut(id);
        io.place = Place::Outside;
        if io.op.is_write() {
            self.parked_writes.remove(&io.range());
        }
    }

    /// Ends what does not get under way.
    fn refuse<T: HostIos<Id = Id>>(&mut self, ios: &mut T, id: Id, outcome: Outcome) -> Step {
        if ios.io(id).place == Place::Parked {
            self.unpark(ios, id);
        }
        Step::Done(outcome)
    }
}

fn is_leased_at(shared: &Shared, now_ms: u64) -> bool {
    now_ms < shared.lease_until_ms.load(std::sync::atomic::Ordering::Acquire) || mutant!(SendAfterLease)
}
