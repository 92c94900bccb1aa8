//! Clearing a region that is written: a veto or the close wins.

use crate::{Answer, Queue, bump, check};
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use mirror_engine::{RegionMap, RegionState, RegionWord, Writer};
use std::sync::Arc;

/// A message from the owner: answer when the writes that were sent before are done.
#[derive(PartialEq)]
struct Pass;

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
        let answers: Vec<bool> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let vetoed = answers.contains(&true);

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
