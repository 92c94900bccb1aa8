//! The owner of a mirror: all that is decided once for all channels.
//!
//! It takes events (reports of channels, ends of its own I/O, answers to passes, ticks, legs that come and go) and says
//! what it wants done ([`Owner::next_action`], to be asked after every event until it gives nothing). It runs on one
//! thread and carries no host I/O. Memory is bounded: a few bits a region for each slot, and tables of fixed size.

mod action;
mod admission;
mod clearing;
mod copy;
mod copy_choice;
mod copy_flush;
mod copy_job;
mod fingerprint;
mod legs;
mod marks;
mod ops;
mod pass;
mod reading;
mod record;
mod repair;
mod report;
mod start;
mod stop;
mod txn;

pub use action::{Action, Device, Event, Io, OpId, WhyOut};
pub use admission::Admission;
pub use start::{Config, Start, StartLeg};

use crate::error_budget::ErrorBudget;
use crate::lease::Lease;
use crate::mutant::mutant;
use crate::pacer::Pacer;
use crate::slow_leg::SlowLegs;
use crate::{Bits, LatencySample, LegMask, LegSet, MAX_LEGS, Options, Pass, Shared, Slot};
use clearing::Clearing;
use copy::Copier;
use legs::Leg;
use marks::Marks;
use ops::{Op, Purpose};
use pass::PassState;
use repair::Repair;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use txn::{Txn, UnitName};

/// What the mirror is doing as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The start is being recorded; no I/O is taken.
    Starting,
    /// It serves.
    Running,
    /// It ends: what is dirty is cleared.
    Stopping,
    /// It ended.
    Stopped,
    /// No leg in sync is left: it does not serve, and can only be started anew.
    Offline,
}

/// The owner of a mirror.
#[derive(Clone, Debug)]
pub struct Owner {
    shared: Arc<Shared>,
    config: Config,
    options: Options,
    now_ms: u64,
    phase: Phase,
    suspended: bool,
    drained: bool,
    /// The drain under way began before I/O was shut out for the last time.
    drain_again: bool,
    /// The record that ends a stop.
    final_ticket: Option<u64>,

    legs: [Leg; MAX_LEGS],
    /// Errors of each leg while it was the last one: how many, and when each kind occurred last. It changes nothing but what
    /// an operator is told.
    stayed: [(u64, Vec<(WhyOut, u64)>); MAX_LEGS],
    log_lost: bool,

    /// Dirty regions; those in memory are never fewer than those that matter on the legs.
    intent: Bits,
    /// Regions that were ever written.
    written: Bits,
    /// Units of which the legs may hold something else than memory does.
    unsure: BTreeSet<UnitName>,
    /// Regions that are not dirty, whose dirty bit stays on the legs until the next rewrite has ended.
    unmarked: BTreeSet<u32>,

    generation: u64,
    /// The highest one that a leg of another history brought with it.
    generation_seen: u64,
    sequence: u64,
    heartbeat: u64,
    /// Records are numbered: the highest asked for, the last one begun, the last one that is durable on all legs that count.
    record_wanted: u64,
    record_issued: u64,
    record_durable: u64,
    record_retry_ms: u64,
    /// Whether every leg that is out is durably known to be.
    recorded: bool,
    stuck: bool,
    lease: Lease,
    /// When the first heartbeat of this run was issued, if the lease is finite.
    first_heartbeat_ms: Option<u64>,

    next_txn: u64,
    txns: Vec<Txn>,
    next_op: u64,
    ops: BTreeMap<OpId, Op>,
    /// Ends of I/O that are still to be told to whoever waits for them.
    resolved: VecDeque<(Purpose, Device, bool)>,

    marks: Marks,
    clearing: Clearing,
    /// The next look at the maps of absent legs writes their progress too.
    progress_wanted: bool,
    progress_ms: u64,
    copier: Copier,
    pacer: Pacer,
    /// A resync is being paced.
    pacing: bool,
    host_latency: LatencySample,
    slow_legs: SlowLegs,
    slow_judged_ms: u64,
    resync_paused: bool,

    /// Regions whose copies may differ, each with the number of its latest suspicion.
    suspects: BTreeMap<u32, u64>,
    suspect_epoch: u64,
    /// Those of which no leg could read a block, not to be tried again before this time.
    unread: BTreeSet<u32>,
    unread_retry_ms: u64,
    /// Those that reads wait for.
    wanted: BTreeSet<u32>,
    /// The leg that they are copied from, and the record that says so.
    source: Option<Slot>,
    source_ticket: u64,
    /// The source as the record of this generation says it; a heartbeat changes nothing of that.
    source_recorded: Option<Slot>,

    repairs: Vec<Repair>,
    budgets: [ErrorBudget; MAX_LEGS],
    seeing: LegMask,
    passes: [PassState; Pass::COUNT],
    wake_wanted: bool,
    actions: VecDeque<Action>,
}

impl Owner {
    /// What it wants done next.
    pub fn next_action(&mut self) -> Option<Action> {
        loop {
            let action = self.actions.pop_front()?;
            match &action {
                // Nobody waits for it any more, and its device may not be ours to write to.
                Action::Io { op, .. } if self.forget_given_up(*op) => {}
                _ => return Some(action),
            }
        }
    }

    /// What the mirror is doing as a whole.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The time now: told before every other event, so that nothing is written after the lease has ended.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.look_at_lease();
    }

    /// Once the lease has ended another owner may have begun: nothing is written any more, copies and records included. The
    /// mirror can only be started anew, from what is on the legs then.
    fn look_at_lease(&mut self) {
        let Some(first_ms) = self.first_heartbeat_ms else { return };
        // Even one that is not known to have landed may be what a successor reads.
        let until_ms = self.lease.valid_until_ms().max(first_ms + self.options.lease.owner_lease_ms);
        let serves = matches!(self.phase, Phase::Starting | Phase::Running | Phase::Stopping);
        if serves && self.now_ms >= until_ms && !mutant!(WriteAfterLease) {
            self.say(Event::OwnerLost);
            self.end_offline();
            // The channels go by it at once.
            self.publish();
            self.actions.push_back(Action::Wake);
        }
    }

    /// Time goes on. Called about ten times a second.
    pub fn tick(&mut self, now_ms: u64) {
        self.set_now(now_ms);
        if matches!(self.phase, Phase::Offline | Phase::Stopped) {
            return;
        }
        for device in self.hanging_devices() {
            match device {
                Device::Log => self.lose_log(),
                Device::Leg(slot) if self.is_last(slot) => {
                    self.say_last_stays(slot, WhyOut::Hung);
                    self.give_up_late_ops(device);
                }
                Device::Leg(slot) => self.fail_leg(slot, WhyOut::Hung),
            }
        }
        self.send_again(|_| true);
        self.restore_refused();
        self.pace();
        self.judge_slow_legs();
        if self.now_ms >= self.unread_retry_ms {
            self.retry_unread();
        }
        self.mark_for_repairs();
        if self.now_ms >= self.progress_ms {
            self.progress_ms = self.now_ms + u64::from(self.options.clear_idle_ms.max(100));
            self.progress_wanted = self.phase == Phase::Running;
        }
        self.pump();
    }

    /// What the channels saw of the host's latency since the last tick.
    pub fn note_host_latency(&mut self, sample: LatencySample) {
        self.host_latency = self.host_latency.worst(sample);
    }

    fn pace(&mut self) {
        let copying = !self.legs_that(|leg| leg.stage == legs::Stage::Copying).is_empty();
        if copying != self.pacing {
            self.pacing = copying;
            if copying {
                self.pacer.begin();
            } else {
                self.pacer.end();
            }
        }
        self.pacer.tick(self.now_ms, std::mem::take(&mut self.host_latency));
    }

    /// Does all that can be done now.
    fn pump(&mut self) {
        while !matches!(self.phase, Phase::Offline | Phase::Stopped) {
            while let Some((purpose, device, ok)) = self.resolved.pop_front() {
                self.resolve(purpose, device, ok);
            }
            let went_on = self.finish_txns() || self.next_txn();
            if !self.is_ending() {
                self.open_recorded();
                self.pump_start();
                self.pump_admission();
                self.pump_copies();
                self.pump_clearing();
                self.start_sharing_pass();
            }
            self.pump_stop();
            // What went on just now may have made a transaction due, and no event may come before the next tick.
            if !went_on && self.resolved.is_empty() && !self.next_txn() {
                break;
            }
        }
        self.publish();
        if std::mem::take(&mut self.wake_wanted) {
            self.actions.push_back(Action::Wake);
        }
    }

    fn resolve(&mut self, purpose: Purpose, device: Device, ok: bool) {
        match (purpose, device) {
            (Purpose::Txn { txn, device }, _) => self.txn_op_done(txn, device, ok),
            (Purpose::Copy { window, serial }, Device::Leg(slot)) => self.copy_op_done(window, serial, slot, ok),
            (Purpose::ClearFlush { round }, Device::Leg(slot)) => self.clear_flushed(round, slot, ok),
            (Purpose::CopyFlush { round }, Device::Leg(slot)) => self.copy_flushed(round, slot, ok),
            (_, Device::Log) => {}
        }
    }

    /// Stores what all channels go by.
    fn publish(&mut self) {
        let serves = matches!(self.phase, Phase::Running | Phase::Stopping);
        let set = if serves {
            let look = self.written.count() < self.config.geometry.regions() || !self.suspects.is_empty();
            LegSet::new(self.readable(), self.writable(), self.required())
                .with_recorded(self.recorded)
                .with_stuck(self.stuck)
                .with_look(look)
                .with_suspended(self.suspended || self.phase == Phase::Stopping)
                .with_leased(self.is_leased())
        } else {
            LegSet::OFFLINE
        };
        if self.shared.legs.load() != set {
            self.shared.legs.publish(set);
        }
    }
}
