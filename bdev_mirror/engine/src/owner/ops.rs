//! The owner's I/O in flight.

use super::action::{Action, Device, Io, OpId};
use super::{Owner, Phase};
use crate::Fault;

/// What an I/O is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// A metadata transaction, and which of its devices.
    Txn { txn: u64, device: usize },
    /// A copy, by its window, and its serial.
    Copy { window: usize, serial: u64 },
    /// The flush before a clearing.
    ClearFlush { round: u64 },
    /// The flush after copies.
    CopyFlush { round: u64 },
}

/// An I/O in flight.
#[derive(Clone, Debug, Hash)]
pub(super) struct Op {
    pub(super) device: Device,
    io: Io,
    /// `None`: whoever waited for it has given up; it still keeps its leg from coming back.
    purpose: Option<Purpose>,
    started_ms: u64,
    /// A reset of our own cut it short: it is not in flight, and is sent again later.
    is_cut_short: bool,
}

impl Op {
    /// What waits for it, if it is in flight.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.purpose.filter(|_| !self.is_cut_short)
    }

    pub(super) fn is_flush(&self) -> bool {
        self.io == Io::Flush
    }
}

impl Owner {
    pub(super) fn start_op(&mut self, device: Device, io: Io, purpose: Purpose) {
        self.next_op += 1;
        let op = OpId(self.next_op);
        let purpose = Some(purpose);
        let started_ms = self.now_ms;
        self.ops.insert(op, Op { device, io: io.clone(), purpose, started_ms, is_cut_short: false });
        self.actions.push_back(Action::Io { op, device, io });
    }

    /// An I/O of the owner's ended.
    ///
    /// `Fault::Aborted` says that a reset of our own cut it short: it is no fault, and is sent again when the reset has
    /// ended ([`Owner::reset_ended`]), at the latest at the next tick. Not at once: a reset aborts what comes meanwhile.
    pub fn done(&mut self, op: OpId, result: Result<(), Fault>) {
        let Some(ended) = self.ops.remove(&op) else { return };
        if let Some(purpose) = ended.purpose {
            if result == Err(Fault::Aborted) {
                // The time counts on from the first attempt.
                self.next_op += 1;
                self.ops.insert(OpId(self.next_op), Op { is_cut_short: true, ..ended });
                return;
            }
            self.resolved.push_back((purpose, ended.device, result.is_ok()));
        }
        self.pump();
    }

    /// The reset of a device ended: what it cut short is sent again.
    pub fn reset_ended(&mut self, device: Device) {
        if !matches!(self.phase, Phase::Offline | Phase::Stopped) {
            self.send_again(|op| op.device == device);
        }
    }

    /// Drops an I/O that was given up before it was begun; whether it was.
    pub(super) fn forget_given_up(&mut self, op: OpId) -> bool {
        let given_up = self.ops.get(&op).is_none_or(|op| op.purpose.is_none());
        if given_up {
            self.ops.remove(&op);
        }
        given_up
    }

    /// Sends again what resets cut short.
    pub(super) fn send_again(&mut self, which: impl Fn(&Op) -> bool) {
        for (&op, again) in self.ops.iter_mut().filter(|(_, op)| op.is_cut_short && which(op)) {
            again.is_cut_short = false;
            self.actions.push_back(Action::Io { op, device: again.device, io: again.io.clone() });
        }
    }

    /// Nobody waits for what is in flight on this device any more: it counts as failed now, whenever it ends.
    pub(super) fn give_up_ops(&mut self, device: Device) {
        self.give_up(|op| op.device == device);
    }

    fn give_up(&mut self, which: impl Fn(&Op) -> bool) {
        let resolved = &mut self.resolved;
        self.ops.retain(|_, op| {
            if which(op)
                && let Some(purpose) = op.purpose.take()
            {
                resolved.push_back((purpose, op.device, false));
                // What is not in flight never ends.
                return !op.is_cut_short;
            }
            true
        });
    }

    /// Devices whose I/O takes too long.
    pub(super) fn hanging_devices(&self) -> Vec<Device> {
        let late = |op: &&Op| {
            op.purpose.is_some() && self.now_ms.saturating_sub(op.started_ms) >= u64::from(self.options.leg_timeout_ms)
        };
        let mut devices: Vec<_> = self.ops.values().filter(late).map(|op| op.device).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Gives up what takes too long on a device that stays. Not copies: a write would land on what is written there
    /// later, a read in a buffer that is used again. What they shut stays shut until they end.
    pub(super) fn give_up_late_ops(&mut self, device: Device) {
        let (now_ms, timeout_ms) = (self.now_ms, u64::from(self.options.leg_timeout_ms));
        self.give_up(|op| {
            op.device == device
                && now_ms.saturating_sub(op.started_ms) >= timeout_ms
                && matches!(op.io, Io::Write { .. } | Io::Flush)
        });
    }

    /// Whether a metadata write that was given up may still land on a leg that serves. Until it has ended nothing may be
    /// written there: it could land on top of what is newer.
    pub(super) fn has_late_metadata(&self) -> bool {
        self.ops.values().any(|op| {
            op.purpose.is_none()
                && matches!(op.io, Io::Write { .. })
                && match op.device {
                    Device::Leg(slot) => self.legs[slot.index()].has_records(),
                    Device::Log => false,
                }
        })
    }

    /// Whether any I/O in flight, waited for or not, uses a buffer.
    pub(super) fn has_buffer_ops(&self, buffer: usize) -> bool {
        self.ops.values().any(|op| match op.io {
            Io::CopyRead { buffer: used, .. }
            | Io::CopyWrite { buffer: used, .. }
            | Io::Verify { buffer: used, .. } => used == buffer,
            Io::Write { .. } | Io::Flush | Io::Zero { .. } => false,
        })
    }

    /// Whether any I/O of the owner is in flight on this device, waited for or not.
    pub(super) fn has_ops(&self, device: Device) -> bool {
        self.ops.values().any(|op| op.device == device)
    }
}
