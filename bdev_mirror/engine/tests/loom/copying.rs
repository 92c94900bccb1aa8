//! Copying a range while a channel writes: they never meet, and nobody stays parked.

use crate::{Answer, Queue, check};
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
use loom::thread;
use mirror_engine::{RegionMap, RegionState, RegionWord, Windows, Writer};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A message from the owner that copies.
#[derive(PartialEq)]
enum Copying {
    Pass,
    Wake,
    Stop,
}

const WRITER: Writer = match Writer::channel(0) {
    Some(writer) => writer,
    None => unreachable!(),
};

/// What the owner and a channel share in the model of a copy.
struct Copied {
    map: RegionMap,
    windows: Windows,
    inbox: Queue<Copying>,
    owner: Queue<Answer>,
    /// By range: is being copied.
    copying: [AtomicBool; 2],
    /// By range: has a write in flight.
    in_flight: [AtomicBool; 2],
}

const RANGES: [Range<u64>; 2] = [0..10, 20..30];

impl Copied {
    /// The owner copies one range, always with the same window.
    fn copy(&self, range: usize) {
        self.windows.set(0, RANGES[range].clone());
        self.map.set_copying(0, true);
        self.inbox.push(Copying::Pass);
        assert!(self.owner.pop() == Answer);
        self.copying[range].store(true, Relaxed);
        assert!(!self.in_flight[range].load(Relaxed), "copied what is being written");
        self.copying[range].store(false, Relaxed);
        self.map.set_copying(0, false);
        self.windows.clear(0);
        self.inbox.push(Copying::Wake);
    }

    /// The channel sends a write to a range, unless it is to wait.
    fn submit(&self, range: usize) -> bool {
        let word = self.map.load(0);
        if !word.is_ready_for(WRITER) && self.windows.overlaps(RANGES[range].clone()) {
            return false;
        }
        self.in_flight[range].store(true, Relaxed);
        assert!(!self.copying[range].load(Relaxed), "wrote what is being copied");
        true
    }

    /// A write to each range, one after the other; what waits is tried again when the channel is woken.
    fn run_channel(&self, order: [usize; 2]) {
        let mut to_submit = VecDeque::from(order);
        let mut parked: Vec<usize> = Vec::new();
        let end_writes = || {
            for range in 0..2 {
                assert!(!(self.in_flight[range].load(Relaxed) && self.copying[range].load(Relaxed)));
                self.in_flight[range].store(false, Relaxed);
            }
        };
        loop {
            if let Some(range) = to_submit.pop_front()
                && !self.submit(range)
            {
                parked.push(range);
            }
            match self.inbox.pop() {
                Copying::Pass => {
                    end_writes();
                    self.owner.push(Answer);
                }
                Copying::Wake => parked.retain(|&range| !self.submit(range)),
                Copying::Stop => break,
            }
        }
        end_writes();
        assert!(parked.is_empty(), "parked for ever");
    }
}

/// The owner copies one range and then the other, with one window that it uses twice.
fn copies_against_writes(order: [usize; 2]) {
    check(3, move || {
        let no = || [AtomicBool::new(false), AtomicBool::new(false)];
        let shared = Arc::new(Copied {
            map: RegionMap::new(1, RegionWord::new(RegionState::Dirty, WRITER)),
            windows: Windows::new(),
            inbox: Queue::new(),
            owner: Queue::new(),
            copying: no(),
            in_flight: no(),
        });
        let channel = Arc::clone(&shared);
        let thread = thread::spawn(move || channel.run_channel(order));
        shared.copy(0);
        shared.copy(1);
        shared.inbox.push(Copying::Stop);
        thread.join().unwrap();
    });
}

#[test]
fn no_write_meets_a_copy() {
    copies_against_writes([0, 1]);
}

#[test]
fn no_write_meets_a_copy_the_other_way_round() {
    copies_against_writes([1, 0]);
}
