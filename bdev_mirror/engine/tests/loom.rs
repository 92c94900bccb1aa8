//! What several threads do to the shared words, in every order and with every stale value that the memory model allows,
//! up to a number of preemptions. Run by test/loom.sh; LOOM_MAX_PREEMPTIONS overrides the bounds given here.
//!
//! Messages between threads are modelled as bounded queues of a mutex. Data is modelled as relaxed atomics, changed by a
//! load and a store: two that change it at once, or one that does not come after the other, lose a change.
#![cfg(loom)]

use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use mirror_engine::{
    Claim, LegMask, LegSet, PublishedLegSet, RangeTable, RegionMap, RegionState, RegionWord, Slot, Windows, Writer,
};
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
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

/// A change that is lost if another is under way, or has not happened before.
fn bump(data: &AtomicU64) {
    data.store(data.load(Relaxed) + 1, Relaxed);
}

/// One write of a model.
#[derive(Clone)]
struct Write {
    key: u64,
    regions: RangeInclusive<u32>,
    blocks: Range<u64>,
}

const fn write(key: u64, regions: RangeInclusive<u32>, blocks: Range<u64>) -> Write {
    Write { key, regions, blocks }
}

fn claim(table: &RangeTable, write: &Write) -> Claim {
    table.try_claim(write.regions.clone(), write.key, write.blocks.clone())
}

// (a) Claims.

/// Each thread claims once; all ranges overlap. Never two at a time, and one always holds.
fn one_holder_at_a_time(preemptions: usize, shards: usize, entries: usize, writes: Vec<Write>) {
    check(preemptions, move || {
        let table = Arc::new(RangeTable::new(shards, entries));
        let data = Arc::new(AtomicU64::new(0));
        let mut claims: Vec<_> = writes
            .iter()
            .cloned()
            .map(|write| {
                let (table, data) = (Arc::clone(&table), Arc::clone(&data));
                move || {
                    let held = claim(&table, &write) == Claim::Held;
                    if held {
                        bump(&data);
                        let _ = table.release(write.regions, write.key);
                    }
                    u64::from(held)
                }
            })
            .collect();
        let first = claims.remove(0);
        let threads: Vec<_> = claims.into_iter().map(thread::spawn).collect();
        let held = threads.into_iter().fold(first(), |held, thread| held + thread.join().unwrap());
        assert!(held >= 1, "nobody got on");
        assert_eq!(data.load(Relaxed), held);
        assert!(table.is_empty());
    });
}

#[test]
fn two_overlapping_claims_in_one_shard() {
    one_holder_at_a_time(6, 1, 2, vec![write(1, 0..=0, 0..10), write(2, 0..=0, 9..20)]);
}

#[test]
fn two_overlapping_claims_in_two_shards() {
    // Regions 0 and 2 are in shard 0, region 1 in shard 1.
    one_holder_at_a_time(4, 2, 2, vec![write(1, 0..=1, 0..20), write(2, 1..=2, 10..30)]);
}

#[test]
fn three_overlapping_claims() {
    one_holder_at_a_time(2, 1, 3, vec![write(1, 0..=0, 0..10), write(2, 0..=0, 4..6), write(3, 0..=0, 5..20)]);
}

#[test]
fn claims_that_do_not_overlap_all_hold() {
    check(20, || {
        let table = Arc::new(RangeTable::new(1, 2));
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || claim(&other, &write(2, 0..=0, 10..20)));
        assert_eq!(claim(&table, &write(1, 0..=0, 0..10)), Claim::Held);
        assert_eq!(thread.join().unwrap(), Claim::Held);
    });
}

// (b) Wake-ups.

/// The message that makes a channel try what it parked.
#[derive(PartialEq)]
struct Wake;

/// Does all its writes, parking those that conflict, and holding each until all were tried.
fn run_channel(own: usize, mut parked: Vec<Write>, table: &RangeTable, channels: &[Queue<Wake>], data: &AtomicU64) {
    let wake_all = || channels.iter().for_each(|channel| channel.push_once(Wake));
    for _round in 0..10 {
        let mut held = Vec::new();
        parked.retain(|write| match claim(table, write) {
            Claim::Held => {
                held.push(write.clone());
                false
            }
            Claim::Conflict { wake_all: wake } => {
                if wake {
                    wake_all();
                }
                true
            }
        });
        for write in held {
            bump(data);
            if table.release(write.regions, write.key) {
                wake_all();
            }
        }
        if parked.is_empty() {
            return;
        }
        // As long as anything is parked, a message must come: loom reports a deadlock otherwise.
        channels[own].pop();
    }
    panic!("woken again and again");
}

/// Each channel does its writes: all end, none is woken in circles.
fn all_get_done(preemptions: usize, shards: usize, entries: usize, channels: Vec<Vec<Write>>) {
    check(preemptions, move || {
        let table = Arc::new(RangeTable::new(shards, entries));
        let data = Arc::new(AtomicU64::new(0));
        let queues: Arc<Vec<Queue<Wake>>> = Arc::new(channels.iter().map(|_| Queue::new()).collect());
        let threads: Vec<_> = (1..channels.len())
            .map(|own| {
                let (table, data, queues) = (Arc::clone(&table), Arc::clone(&data), Arc::clone(&queues));
                let writes = channels[own].clone();
                thread::spawn(move || run_channel(own, writes, &table, &queues, &data))
            })
            .collect();
        run_channel(0, channels[0].clone(), &table, &queues, &data);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(data.load(Relaxed), channels.iter().map(|writes| writes.len() as u64).sum::<u64>());
        assert!(table.is_empty());
    });
}

#[test]
fn who_parks_is_woken() {
    all_get_done(6, 1, 2, vec![vec![write(1, 0..=0, 0..10)], vec![write(2, 0..=0, 9..20)]]);
}

#[test]
fn who_parks_is_woken_with_two_shards() {
    all_get_done(4, 2, 2, vec![vec![write(1, 0..=1, 0..20)], vec![write(2, 1..=2, 10..30)]]);
}

#[test]
fn who_finds_a_full_shard_is_woken() {
    all_get_done(6, 1, 1, vec![vec![write(1, 0..=0, 0..10)], vec![write(2, 1..=1, 10..20)]]);
}

#[test]
fn who_parks_beside_another_of_its_channel_is_woken() {
    all_get_done(2, 1, 4, vec![vec![write(1, 0..=0, 0..10), write(2, 0..=0, 5..20)], vec![write(3, 0..=0, 8..12)]]);
}

#[test]
fn three_channels_get_done() {
    let writes = [write(1, 0..=0, 0..10), write(2, 0..=0, 4..6), write(3, 0..=0, 5..20)];
    all_get_done(1, 1, 3, writes.map(|write| vec![write]).to_vec());
}

/// Two park behind a third, and get in each other's way.
#[test]
fn two_that_wait_for_a_third_are_woken() {
    check(2, || {
        let table = Arc::new(RangeTable::new(1, 3));
        let data = Arc::new(AtomicU64::new(0));
        let queues = Arc::new([Queue::new(), Queue::new()]);
        assert_eq!(claim(&table, &write(9, 0..=0, 0..20)), Claim::Held);
        let threads = [0, 1].map(|own| {
            let (table, data, queues) = (Arc::clone(&table), Arc::clone(&data), Arc::clone(&queues));
            let writes = vec![write(own as u64, 0..=0, 5..15)];
            thread::spawn(move || run_channel(own, writes, &table, queues.as_slice(), &data))
        });
        bump(&data);
        if table.release(0..=0, 9) {
            queues.iter().for_each(|queue| queue.push_once(Wake));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(data.load(Relaxed), 3);
    });
}

// (c) Veto and close.

/// A message from the owner: answer when the writes that were sent before are done.
#[derive(PartialEq)]
struct Pass;

/// A message to the owner.
#[derive(PartialEq)]
struct Answer;

/// A channel of the models below: its writes in flight, and what they change when they are done.
struct Channel {
    inbox: Queue<Pass>,
    data: AtomicU64,
}

/// Two writes, one before and one around the owner's message, and the answer to it; whether the region was taken back.
fn write_while_it_is_cleared(writer: Writer, map: &RegionMap, channel: &Channel, owner: &Queue<Answer>) -> bool {
    let (mut in_flight, mut vetoed) = (0, false);
    let mut submit = |in_flight: &mut u32| {
        let mut word = map.load(0);
        if word.state() == RegionState::Flushing {
            word = map.veto(0);
            vetoed |= word.is_ready_for(writer);
        }
        // Else it waits, for ever in this model.
        *in_flight += u32::from(word.is_ready_for(writer));
    };
    let end_writes = |in_flight: &mut u32| (0..std::mem::take(in_flight)).for_each(|_| bump(&channel.data));
    submit(&mut in_flight);
    let early = channel.inbox.try_pop();
    if early.is_some() {
        end_writes(&mut in_flight);
        owner.push(Answer);
    }
    submit(&mut in_flight);
    if early.is_none() {
        channel.inbox.pop();
        end_writes(&mut in_flight);
        owner.push(Answer);
    }
    end_writes(&mut in_flight);
    vetoed
}

/// The owner clears a region that these channels write.
fn clear_against_writes(preemptions: usize, channels: usize) {
    check(preemptions, move || {
        let writer = if channels == 1 { Writer::channel(5).unwrap() } else { Writer::SHARED };
        let map = Arc::new(RegionMap::new(1, RegionWord::new(RegionState::Dirty, writer)));
        let channels: Vec<_> =
            (0..channels).map(|_| Arc::new(Channel { inbox: Queue::new(), data: AtomicU64::new(0) })).collect();
        let owner = Arc::new(Queue::new());
        let threads: Vec<_> = channels
            .iter()
            .map(|channel| {
                let (map, channel, owner) = (Arc::clone(&map), Arc::clone(channel), Arc::clone(&owner));
                thread::spawn(move || write_while_it_is_cleared(writer, &map, &channel, &owner))
            })
            .collect();
        let read_all = || channels.iter().map(|channel| channel.data.load(Relaxed)).collect::<Vec<_>>();

        assert!(map.start_flushing(0));
        channels.iter().for_each(|channel| channel.inbox.push(Pass));
        channels.iter().for_each(|_| assert!(owner.pop() == Answer));
        let closed = map.close(0);
        let at_close = read_all();
        let vetoed = threads.into_iter().fold(false, |any, thread| thread.join().unwrap() || any);

        assert_ne!(closed, vetoed, "exactly one wins");
        if closed {
            assert_eq!(at_close, read_all(), "written after the close");
            assert_eq!(map.load(0).state(), RegionState::Cleaning);
        } else {
            assert!(map.load(0).is_ready_for(writer));
        }
    });
}

#[test]
fn a_veto_or_the_close_wins() {
    clear_against_writes(20, 1);
}

#[test]
fn vetoes_of_two_channels_or_the_close_win() {
    clear_against_writes(2, 2);
}

// (d) The published word.

/// A leg failed a write: the owner takes it out of the leg set and then says that this is recorded; only then is the write
/// acknowledged. Who knows of the acknowledgement never reads that leg.
#[test]
fn a_failed_leg_is_gone_before_the_acknowledgement() {
    check(20, || {
        let published = Arc::new(PublishedLegSet::new(LegSet::in_sync(LegMask::first(2))));
        // Set with Release and read with Acquire, as the driver does.
        let recorded = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicBool::new(false));
        use loom::sync::atomic::Ordering::{Acquire, Release};

        let owner = {
            let (published, recorded) = (Arc::clone(&published), Arc::clone(&recorded));
            thread::spawn(move || {
                published.publish(LegSet::in_sync(LegMask::first(1)));
                recorded.store(true, Release);
            })
        };
        let writer = {
            let (recorded, acknowledged) = (Arc::clone(&recorded), Arc::clone(&acknowledged));
            thread::spawn(move || {
                if recorded.load(Acquire) {
                    acknowledged.store(true, Release);
                }
            })
        };
        if acknowledged.load(Acquire) {
            assert!(!published.load().readable().contains(Slot::new(1).unwrap()));
        }
        owner.join().unwrap();
        writer.join().unwrap();
    });
}

// (e) Windows.

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
