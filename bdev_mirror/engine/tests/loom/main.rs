//! What several threads do to the shared words, in every order and with every stale value that the memory model allows,
//! up to a number of preemptions. Run by test/loom.sh; LOOM_MAX_PREEMPTIONS overrides the bounds given here.
//!
//! Messages between threads are modelled as bounded queues of a mutex. Data is modelled as relaxed atomics, changed by
//! a load and a store: two that change it at once, or one that does not come after the other, lose a change.
#![cfg(loom)]

mod clearing;
mod copying;
mod ranges;

use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use mirror_engine::{LegMask, LegSet, PublishedLegSet, Slot};
use std::collections::VecDeque;
// Reference counts are not what is checked: loom's would only add orders.
use std::sync::Arc;

/// Checks `model` in all orders with so many preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

/// Messages to a thread.
struct Queue<T> {
    messages: Mutex<VecDeque<T>>,
    arrived: Condvar,
}

impl<T: PartialEq> Queue<T> {
    const CAPACITY: usize = 8;

    fn new() -> Self {
        Self { messages: Mutex::new(VecDeque::new()), arrived: Condvar::new() }
    }

    fn push(&self, message: T) {
        let mut messages = self.messages.lock().unwrap();
        assert!(messages.len() < Self::CAPACITY);
        messages.push_back(message);
        self.arrived.notify_one();
    }

    /// Not a second time while the first is unread.
    fn push_once(&self, message: T) {
        let mut messages = self.messages.lock().unwrap();
        if !messages.contains(&message) {
            messages.push_back(message);
            self.arrived.notify_one();
        }
    }

    fn try_pop(&self) -> Option<T> {
        self.messages.lock().unwrap().pop_front()
    }

    /// Waits; if no message can come any more, loom reports a deadlock.
    fn pop(&self) -> T {
        let mut messages = self.messages.lock().unwrap();
        loop {
            if let Some(message) = messages.pop_front() {
                return message;
            }
            messages = self.arrived.wait(messages).unwrap();
        }
    }
}

/// A message to the owner.
#[derive(PartialEq)]
struct Answer;

/// A change that is lost if another is under way, or has not happened before.
fn bump(data: &AtomicU64) {
    data.store(data.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// A leg failed a write: the owner takes it out of the leg set and then says that this is recorded; only then is the
/// write acknowledged. Who knows of the acknowledgement never reads that leg.
#[test]
fn a_failed_leg_is_gone_before_the_acknowledgement() {
    check(20, || {
        let published = Arc::new(PublishedLegSet::new(LegSet::in_sync(LegMask::first(2))));
        // Set with Release and read with Acquire, as the driver does.
        let recorded = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicBool::new(false));

        let owner = {
            let (published, recorded) = (Arc::clone(&published), Arc::clone(&recorded));
            thread::spawn(move || {
                published.publish(LegSet::in_sync(LegMask::first(1)));
                recorded.store(true, Ordering::Release);
            })
        };
        let writer = {
            let (recorded, acknowledged) = (Arc::clone(&recorded), Arc::clone(&acknowledged));
            thread::spawn(move || {
                if recorded.load(Ordering::Acquire) {
                    acknowledged.store(true, Ordering::Release);
                }
            })
        };
        if acknowledged.load(Ordering::Acquire) {
            assert!(!published.load().readable().contains(Slot::new(1).unwrap()));
        }
        owner.join().unwrap();
        writer.join().unwrap();
    });
}
