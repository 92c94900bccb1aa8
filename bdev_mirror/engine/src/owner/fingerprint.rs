//! For the simulator: what state an owner is in, how to go on from it in several ways, and which of its I/Os need not
//! end in every order.

use super::Owner;
use super::action::OpId;
use super::ops::Purpose;
use crate::Shared;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

impl Owner {
    /// The same owner over a fork of what it shares ([`Shared::fork`]).
    #[must_use]
    pub fn fork(&self, shared: Arc<Shared>) -> Self {
        Self { shared, ..self.clone() }
    }

    /// Adds its state to a fingerprint, except what is shared, what stays the same while it runs, and how many I/Os
    /// there were before: two owners that wait for the same I/O are alike whatever its numbers.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        (self.now_ms, self.phase, self.suspended, self.drained, self.final_ticket).hash(hasher);
        self.legs.hash(hasher);
        (self.log_lost, &self.intent, &self.written, &self.unsure).hash(hasher);
        (self.generation, self.sequence, self.heartbeat).hash(hasher);
        (self.record_wanted, self.record_issued, self.record_durable, self.record_retry_ms).hash(hasher);
        (self.recorded, self.stuck, &self.lease, self.first_heartbeat_ms).hash(hasher);
        (self.next_txn, &self.txns).hash(hasher);
        let mut ops: Vec<u64> = self.ops.keys().map(|op| self.op_fingerprint(*op)).collect();
        ops.sort_unstable();
        ops.hash(hasher);
        self.resolved.hash(hasher);
        (&self.marks, &self.clearing, self.progress_wanted, self.progress_ms).hash(hasher);
        (&self.copier, &self.pacer, self.pacing, self.host_latency, self.resync_paused).hash(hasher);
        (&self.slow_legs, self.slow_judged_ms).hash(hasher);
        (&self.unread, self.unread_retry_ms, self.drain_again, self.generation_seen, &self.unmarked).hash(hasher);
        (&self.suspects, self.suspect_epoch, &self.wanted).hash(hasher);
        (self.source, self.source_ticket, self.source_recorded).hash(hasher);
        (&self.repairs, &self.budgets, self.seeing, &self.passes, self.wake_wanted).hash(hasher);
        self.actions.hash(hasher);
    }

    /// What an I/O of its is and what waits for it, without its number.
    #[must_use]
    pub fn op_fingerprint(&self, op: OpId) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.ops.get(&op).hash(&mut hasher);
        hasher.finish()
    }

    /// The I/Os that may end with this one as one event, itself included, in the order of their numbers: the owner only
    /// counts them until the last has ended. None if this one is to end later, with others that have further to go.
    #[must_use]
    pub fn ends_with(&self, op: OpId) -> Vec<OpId> {
        let Some((mine, is_flush)) = self.ops.get(&op).and_then(|op| Some((op.purpose()?, op.is_flush()))) else {
            return vec![op];
        };
        let alike = self.ops.iter().filter(|(_, other)| match (mine, other.purpose()) {
            (Purpose::Txn { txn, .. }, Some(Purpose::Txn { txn: other, .. })) if is_flush => txn == other,
            (_, other) => other == Some(mine),
        });
        match mine {
            Purpose::Txn { txn, .. } if is_flush && self.txns.iter().any(|other| other.goes_on_after_flush(txn)) => {
                vec![op]
            }
            Purpose::Copy { .. } => vec![op],
            _ if is_flush && alike.clone().any(|(_, other)| !other.is_flush()) => Vec::new(),
            _ => alike.map(|(op, _)| *op).collect(),
        }
    }
}
