//! Suspending, and the end.

use super::clearing::ClearStage;
use super::{Action, Event, Owner, Phase};
use crate::Pass;
use crate::mutant::mutant;

impl Owner {
    /// New I/O waits from here on; [`Event::Suspended`] says that nothing is under way any more.
    pub fn suspend(&mut self) {
        self.suspended = true;
        self.drained = false;
        self.publish();
        self.drain_again = !self.start_pass(Pass::Drain);
        if mutant!(SuspendWithoutDrain) {
            self.say(Event::Suspended);
        }
        self.pump();
    }

    /// I/O goes on.
    pub fn resume(&mut self) {
        self.suspended = false;
        self.wake_wanted = true;
        self.pump();
    }

    /// Ends the mirror: drains it, reconciles what is suspect, clears what is dirty, records that it is clean.
    /// [`Action::Stopped`] is the end.
    pub fn stop(&mut self) {
        if matches!(self.phase, Phase::Starting | Phase::Offline) {
            self.end(false);
            self.publish();
            return;
        }
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping;
            self.drained = false;
            self.publish();
            self.drain_again = !self.start_pass(Pass::Drain);
            self.pump();
        }
    }

    pub(super) fn drain_pass_done(&mut self) {
        if std::mem::take(&mut self.drain_again) {
            // Some channel answered before I/O was let in once more.
            self.start_pass(Pass::Drain);
            return;
        }
        self.drained = true;
        if self.suspended {
            self.say(Event::Suspended);
        }
    }

    /// Whether the record that ends the stop is asked for. It is the last that is written: nothing else is begun.
    pub(super) fn is_ending(&self) -> bool {
        self.final_ticket.is_some()
    }

    /// Whether that record was sent.
    pub(super) fn is_final_sent(&self) -> bool {
        self.final_ticket.is_some_and(|ticket| self.record_issued >= ticket)
    }

    /// Whether nothing is dirty.
    pub(super) fn is_all_clean(&self) -> bool {
        self.intent.count() == 0
    }

    /// Whether the last record may say that nothing has to be copied. Without a log nobody will know which regions were never
    /// written, and whose copies may differ.
    pub(super) fn ends_clean(&self) -> bool {
        self.is_all_clean() && (!self.log_lost || self.written.count() == self.config.geometry.regions())
    }

    pub(super) fn pump_stop(&mut self) {
        if self.phase != Phase::Stopping {
            return;
        }
        if self.stuck && (self.drained || self.is_ending()) {
            return self.end(false);
        }
        if self.is_ending() {
            // Whoever reads the last record takes this owner for gone. So nothing is written after it, not even that a leg
            // did not take it: what that leg holds is what the others hold, dirty regions apart.
            if self.is_final_sent() && self.txns.is_empty() {
                let clean = self.ends_clean();
                self.end(clean);
            }
            return;
        }
        if !self.drained {
            return;
        }
        // What no leg can read stays dirty: nobody waits for it for ever. Nor for a repair of the leg that it is read from.
        if !self.suspects.is_empty() && self.suspects.keys().all(|region| self.unread.contains(region)) {
            let source = self.source;
            self.repairs.retain(|repair| source != Some(repair.slot));
        }
        let is_left = |region: &u32| self.unread.contains(region);
        let quiet = self.suspects.keys().all(is_left)
            && self.copier.is_idle()
            && self.clearing.stage == ClearStage::Idle
            && self.intent.iter().all(|region| is_left(&region))
            && self.marks.is_idle()
            && self.txns.is_empty()
            && self.unsure.is_empty();
        if !quiet {
            return;
        }
        if self.has_progress() {
            // What absent legs lack is written as it is, so that the next start copies no more.
            self.progress_wanted = true;
            return;
        }
        self.final_ticket = Some(self.request_record());
    }

    fn has_progress(&self) -> bool {
        self.legs.iter().any(|leg| leg.out_of_sync != leg.out_of_sync_durable)
    }

    fn end(&mut self, clean: bool) {
        self.phase = Phase::Stopped;
        self.give_up_all();
        self.actions.push_back(Action::Stopped { clean });
    }
}
