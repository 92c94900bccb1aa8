//! Which legs reads prefer: the policy, legs that are mostly written, and legs that are slow.

use super::action::Event;
use super::legs::Stage;
use super::{Owner, WhyOut};
use crate::Slot;
use crate::read_policy::{ReadPolicy, ReadRules};
use crate::slow_leg::{LatencySum, LegIo, SlowChange};

/// How often the legs' latencies are compared.
const JUDGE_MS: u64 = 1_000;

impl Owner {
    /// What one channel saw of a leg since it was asked last.
    pub fn note_leg_latency(&mut self, slot: Slot, kind: LegIo, sum: LatencySum) {
        if self.legs[slot.index()].stage == Stage::In {
            self.slow_legs.observe(slot, kind, self.now_ms, sum);
        }
    }

    /// Reads go by another policy from now on.
    pub fn set_read_policy(&mut self, policy: ReadPolicy) {
        self.options.read_policy = policy;
        self.publish_read_rules();
    }

    /// Whether a leg is read only if no other one can serve. Recorded on the legs.
    pub fn set_write_mostly(&mut self, slot: Slot, write_mostly: bool) {
        let leg = &mut self.legs[slot.index()];
        if leg.write_mostly != write_mostly {
            leg.write_mostly = write_mostly;
            self.request_record();
            self.publish_read_rules();
            self.pump();
        }
    }

    /// Compares the legs that serve; one that was slow for too long is failed, if that is asked for.
    pub(super) fn judge_slow_legs(&mut self) {
        if self.now_ms < self.slow_judged_ms.saturating_add(JUDGE_MS) {
            return;
        }
        self.slow_judged_ms = self.now_ms;
        let mut changes = Vec::new();
        let eject_sec = u64::from(self.options.slow_leg_eject_sec);
        let serving = self.readable();
        self.slow_legs.judge(serving, self.now_ms, eject_sec, |change| changes.push(change));
        for change in changes {
            match change {
                SlowChange::Slow { slot, latency_us, others_us } => {
                    self.say(Event::LegSlow { slot, latency_us, others_us });
                }
                SlowChange::Well { slot } => self.say(Event::LegNotSlow { slot }),
                SlowChange::Eject { slot } => self.fail_leg(slot, WhyOut::Slow),
            }
        }
        self.publish_read_rules();
    }

    /// What every channel chooses by. The leg set alone says which legs may serve at all.
    pub(super) fn publish_read_rules(&mut self) {
        let write_mostly = self.legs_that(|leg| leg.write_mostly);
        let rules =
            ReadRules::new(self.options.read_policy).with_write_mostly(write_mostly).with_slow(self.slow_legs.slow());
        if self.shared.read_rules.load() != rules {
            self.shared.read_rules.publish(rules);
        }
    }
}
