//! What channels tell.

use super::{Event, Owner, Phase, WhyOut};
use crate::mutant::mutant;
use crate::{LegMask, Report, Writer};
use std::ops::RangeInclusive;

impl Owner {
    /// Takes one report from the queue, if there is any, and gives it back. The channel sees that it was handled, and with it all that follows
    /// from it.
    pub fn take_report(&mut self) -> Option<Report> {
        let report = self.shared.reports.pop()?;
        if !matches!(self.phase, Phase::Offline | Phase::Stopped) {
            self.handle(report);
            self.pump();
        }
        self.shared.count_handled(report.channel());
        // Whoever asked for a region is woken when something becomes of it.
        if matches!(report, Report::Bad { .. } | Report::Wake { .. }) {
            self.actions.push_back(super::Action::Wake);
        }
        Some(report)
    }

    fn handle(&mut self, report: Report) {
        if self.is_ending() && !matches!(report, Report::PassDone { .. }) {
            // Nothing is under way any more; what is parked ends with the mirror.
            return;
        }
        match report {
            Report::Mark { channel, first, last } => self.mark_all(first..=last, channel, false),
            Report::MarkAhead { channel, first, last } => {
                // Otherwise the stream does not go on for now.
                if self.phase == Phase::Running && !self.suspended && !self.stuck {
                    self.mark_all(first..=last, channel, true);
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

    fn mark_all(&mut self, regions: RangeInclusive<u32>, channel: u16, ahead: bool) {
        let writer = Writer::channel(channel).unwrap_or(Writer::NOBODY);
        for region in regions {
            self.mark(region, writer, ahead);
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
