//! Claims: never two holders, one always gets on; wake-ups: none is lost.

use crate::{Queue, bump, check};
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use mirror_engine::{Claim, RangeTable};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

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

/// A claim may read an entry that is filled in anew while it looks, and so miss the write that had it before: it still
/// comes after that write.
#[test]
fn what_is_missed_in_a_reused_entry_is_over() {
    check(4, || {
        let table = Arc::new(RangeTable::new(1, 2));
        let data = Arc::new(AtomicU64::new(0));
        let thread = {
            let (table, data) = (Arc::clone(&table), Arc::clone(&data));
            thread::spawn(move || {
                let held = claim(&table, &write(1, 0..=0, 5..15)) == Claim::Held;
                if held {
                    bump(&data);
                }
                u64::from(held)
            })
        };
        let held = claim(&table, &write(2, 0..=0, 0..10)) == Claim::Held;
        if held {
            bump(&data);
            let _ = table.release(0..=0, 2);
            let _ = claim(&table, &write(3, 0..=0, 50..60));
        }
        assert_eq!(thread.join().unwrap() + u64::from(held), data.load(Relaxed));
    });
}

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

/// A write that parked because of one that backed off goes on at once, not only when that one may: what the other waits
/// for lasts here until the first is done.
#[test]
fn who_parks_behind_one_that_backs_off_goes_on() {
    check(2, || {
        let table = Arc::new(RangeTable::new(2, 3));
        let data = Arc::new(AtomicU64::new(0));
        let queues = Arc::new([Queue::new(), Queue::new()]);
        let done = Arc::new(Queue::new());
        let both = {
            let (table, data, queues) = (Arc::clone(&table), Arc::clone(&data), Arc::clone(&queues));
            let writes = vec![write(1, 0..=1, 5..15)];
            thread::spawn(move || run_channel(0, writes, &table, queues.as_slice(), &data))
        };
        let first = {
            let (table, queues, done) = (Arc::clone(&table), Arc::clone(&queues), Arc::clone(&done));
            let writes = vec![write(2, 0..=0, 0..10)];
            // Its data has nothing to do with that of the write below.
            thread::spawn(move || {
                run_channel(1, writes, &table, queues.as_slice(), &AtomicU64::new(0));
                done.push(Wake);
            })
        };
        let wake_all = || queues.iter().for_each(|queue| queue.push_once(Wake));
        match claim(&table, &write(3, 1..=1, 10..20)) {
            Claim::Held => {
                done.pop();
                if table.release(1..=1, 3) {
                    wake_all();
                }
            }
            Claim::Conflict { wake_all: true } => wake_all(),
            Claim::Conflict { wake_all: false } => (),
        }
        both.join().unwrap();
        first.join().unwrap();
    });
}
