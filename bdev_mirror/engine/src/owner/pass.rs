//! Questions to all channels. At most one of each kind is under way; one serves all who wait for it.

use super::{Action, Owner};
use crate::{Pass, Report};

/// A question and how far its answers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct PassState {
    running: bool,
    /// Once all channels were asked: how many answer later.
    later: Option<u32>,
    answered: u32,
}

impl Owner {
    /// Begins a pass, unless one of its kind is under way; whether it did.
    pub(super) fn start_pass(&mut self, pass: Pass) -> bool {
        let state = &mut self.passes[pass.index()];
        if state.running {
            return false;
        }
        *state = PassState { running: true, later: None, answered: 0 };
        self.actions.push_back(Action::Pass(pass));
        true
    }

    /// All channels that were open were asked; `later` of them answer by a report. One that was opened meanwhile has seen
    /// all that was published before, and has nothing under way that the question is about.
    pub fn pass_swept(&mut self, pass: Pass, later: u32) {
        if let Pass::Quiet(_) = pass {
            // What was reported of the leg's former life is judged before it begins a new one.
            for _ in 0..self.shared.reports.len() {
                self.take_report();
            }
        }
        self.passes[pass.index()].later = Some(later);
        self.finish_pass(pass);
        self.pump();
    }

    pub(super) fn pass_answered(&mut self, pass: Pass) {
        self.passes[pass.index()].answered += 1;
        self.finish_pass(pass);
    }

    fn finish_pass(&mut self, pass: Pass) {
        let state = &mut self.passes[pass.index()];
        if !state.running || state.later.is_none_or(|later| state.answered < later) {
            return;
        }
        state.running = false;
        match pass {
            Pass::Seen => self.seen_pass_done(),
            Pass::Veto => self.veto_pass_done(),
            Pass::Windows => self.windows_pass_done(),
            Pass::Sharing => self.sharing_pass_done(),
            Pass::Drain => self.drain_pass_done(),
            Pass::Quiet(slot) => self.quiet_pass_done(slot),
        }
    }

    /// A channel closed that still owed answers.
    pub fn channel_closed(&mut self, owed: impl Iterator<Item = Report>) {
        for report in owed {
            if let Report::PassDone { pass, .. } = report {
                self.pass_answered(pass);
            }
        }
        self.pump();
    }
}
