//! What the owner asks of this channel.

use super::Channel;
use crate::mutant::mutant;
use crate::region_map::RegionState;
use crate::{HostIos, Pass, Report, Shared, Slot, Writer};

impl<Id: Copy + Eq + std::fmt::Debug> Channel<Id> {
    /// A request of the owner passes through. Whether it is answered at once; otherwise the answer comes as a
    /// [`Report::PassDone`], when what is under way now has ended.
    pub fn pass<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared, pass: Pass) -> bool {
        match pass {
            Pass::Seen => {}
            Pass::Veto => self.veto(ios, shared),
            Pass::Windows | Pass::Sharing | Pass::Drain | Pass::Quiet(_) => {
                if !self.is_answered(ios, shared, pass) {
                    self.passes |= 1 << pass.index();
                    return false;
                }
                self.answered(ios, pass);
            }
        }
        true
    }

    /// Answers owed by a channel that closes: it is idle, so all of them are answers now.
    pub fn close(&mut self) -> impl Iterator<Item = Report> + use<Id> {
        debug_assert!(self.is_idle());
        let (passes, channel) = (std::mem::take(&mut self.passes), self.number);
        owed(passes).map(move |pass| Report::PassDone { channel, pass })
    }

    /// Takes back the regions that are to be cleared and have a write under way. Its end is not known yet, so a flush that
    /// begins now need not cover it.
    fn veto<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared) {
        if mutant!(ClearUnderNewerWrite) {
            return;
        }
        self.under_way.each(ios, |_, io| {
            if io.op.is_write() {
                for region in io.regions(shared.region_shift) {
                    if matches!(
                        shared.regions.load(region).state(),
                        RegionState::Flushing | RegionState::FlushingZeroed
                    ) {
                        // The word afterwards does not matter: it is not Flushing any more, whoever changed it.
                        let _ = shared.regions.veto(region);
                    }
                }
            }
        });
    }

    fn is_answered<T: HostIos<Id = Id>>(&self, ios: &T, shared: &Shared, pass: Pass) -> bool {
        let writable = shared.legs.load().writable();
        match pass {
            Pass::Seen | Pass::Veto => true,
            Pass::Windows => {
                let holds = mutant!(ParkHoldingCount)
                    && self.parked.any(ios, |_, io| io.op.is_write() && shared.windows.overlaps(io.range()));
                !holds
                    && !self.under_way.any(ios, |_, io| {
                        io.op.is_write() && !Self::is_passed(io, writable) && shared.windows.overlaps(io.range())
                    })
            }
            Pass::Sharing => !self.under_way.any(ios, |_, io| {
                io.op.is_write()
                    && !Self::is_passed(io, writable)
                    && io
                        .regions(shared.region_shift)
                        .any(|region| shared.regions.load(region).writer() == Writer::SHARING)
            }),
            Pass::Drain => self.under_way.is_empty(),
            Pass::Quiet(slot) => self.is_quiet(slot),
        }
    }

    fn is_quiet(&self, slot: Slot) -> bool {
        self.outstanding(slot) == 0 || mutant!(ReadmitWithChild)
    }

    /// A leg begins a new life: what failed on it in the former one is no fault of this one, and what it lacks of it comes
    /// to it by a copy.
    fn answered<T: HostIos<Id = Id>>(&mut self, ios: &mut T, pass: Pass) {
        let Pass::Quiet(slot) = pass else { return };
        let mut at = self.under_way.first();
        while let Some(id) = at {
            let io = ios.io_mut(id);
            at = io.next;
            if io.join.bad().contains(slot) {
                io.sent = io.sent.without(slot);
                io.blamed = io.blamed.without(slot);
            }
        }
    }

    /// Gives the answers that are ready now.
    pub(super) fn answer_passes<T: HostIos<Id = Id>>(&mut self, ios: &mut T, shared: &Shared) {
        for pass in owed(self.passes) {
            if self.is_answered(ios, shared, pass)
                && shared.send(Report::PassDone { channel: self.number, pass }).is_some()
            {
                self.passes &= !(1 << pass.index());
                self.answered(ios, pass);
            }
        }
    }
}

fn owed(passes: u32) -> impl Iterator<Item = Pass> {
    (0..Pass::COUNT).filter(move |index| passes & 1 << index != 0).filter_map(Pass::of_index)
}
