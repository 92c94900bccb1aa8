//! What channels tell.

use super::{Event, Owner, Phase, WhyOut};
use crate::mutant::mutant;
use crate::{LegMask, Report, Writer};

impl Owner {
    /// Takes one report from the queue, if there is any. The channel sees that it was handled, and with it all that follows
    /// from it.
    pub fn take_report(&mut self) -> bool {
        let Some(report) = self.shared.reports.pop() else { return false };
        if !matches!(self.phase, Phase::Offline | Phase::Stopped) {
            self.handle(report);
            self.pump();
        }
        self.shared.count_handled(report.channel());
        if !matches!(report, Report::PassDone { .. } | Report::MarkAhead { .. } | Report::Hung { .. }) {
            self.actions.push_back(super::Action::Wake);
        }
        true
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Mark { channel, first, last } | Report::MarkAhead { channel, first, last } => {
                let ahead = matches!(report, Report::MarkAhead { .. });
                let writer = Writer::channel(channel).unwrap_or(Writer::NOBODY);
                for region in first..=last {
                    self.mark(region, writer, ahead);
                }
            }
            Report::Bad { blamed, good, unblamed, regions, .. } => self.judge(blamed, good, unblamed, regions),
            Report::ReadBad { slot, block, blocks, .. } => self.read_failed_on(slot, block, blocks),
            Report::Want { first, last, .. } => {
                self.wanted.extend((first..=last).filter(|region| self.suspects.contains_key(region)));
            }
            Report::Hung { legs, .. } => {
                for slot in legs.and(self.writable()).iter() {
                    self.fail_leg(slot, WhyOut::Hung);
                }
            }
            Report::PassDone { pass, .. } => self.pass_answered(pass),
            Report::Wake { .. } => {}
        }
    }

    /// A write or flush failed on some leg. Legs that are to blame are out, if a leg in sync has it. If none has, or some
    /// failure was nobody's fault, the legs that stay may differ, and its range is suspect before the host hears of it.
    fn judge(&mut self, blamed: LegMask, good: LegMask, unblamed: bool, regions: Option<(u32, u32)>) {
        let survivors = self.readable().and(good);
        if unblamed || survivors.is_empty() {
            if let Some((first, last)) = regions {
                self.suspect(first, last);
            }
            return;
        }
        if mutant!(SwallowFlushError) && regions.is_none() {
            return;
        }
        let why = if regions.is_some() { WhyOut::Write } else { WhyOut::Flush };
        for slot in blamed.and(self.writable()).iter() {
            self.fail_leg(slot, why);
        }
    }

    /// Tells an operator.
    pub(super) fn say(&mut self, event: Event) {
        self.actions.push_back(super::Action::Event(event));
    }
}
