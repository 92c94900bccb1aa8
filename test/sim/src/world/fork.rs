//! Goes on from one state of the world in several ways: forks, fingerprints, and what a power cut leaves.

use super::engine::{Running, Sweep, Table};
use super::{Origin, Verdict, Work, World};
use crate::chooser::Chooser;
use crate::coverage::Coverage;
use crate::disk::{Block, Disk};
use foldhash::quality::{FixedState, FoldHasher};
use mirror_engine::OpId;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// Feeds what is formatted to a hasher.
struct Hashing<'a>(&'a mut FoldHasher<'static>);

impl std::fmt::Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// States are told apart by 64 bits of it.
fn fast_hasher() -> FoldHasher<'static> {
    FixedState::default().build_hasher()
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = fast_hasher();
    what.hash(&mut hasher);
    hasher.finish()
}

impl Running {
    fn fork(&self) -> Self {
        let shared = Arc::new(self.shared.fork());
        let sweeps = self.sweeps.iter();
        Self {
            owner: self.owner.fork(Arc::clone(&shared)),
            shared,
            channels: self.channels.clone(),
            table: Table { ios: self.table.ios.clone() },
            requests: self.requests.clone(),
            buffers: self.buffers.clone(),
            sweeps: sweeps.map(|sweep| Sweep { pass: sweep.pass, next: sweep.next, later: sweep.later }).collect(),
            wakes: self.wakes.clone(),
            waiting: self.waiting.clone(),
            lives: self.lives.clone(),
            out: self.out.clone(),
            resetting: self.resetting.clone(),
            faulted: self.faulted.clone(),
            suspended: self.suspended,
            started: self.started,
            offline: self.offline,
            stopped: self.stopped,
            states: self.states.clone(),
        }
    }

    fn hash_into(&self, hasher: &mut FoldHasher<'static>) {
        self.shared.hash_into(hasher);
        self.owner.hash_into(hasher);
        (&self.channels, &self.table.ios, &self.buffers).hash(hasher);
        for request in self.requests.iter().flatten() {
            (request.channel, request.op, &request.range, request.value, request.children).hash(hasher);
            (request.through, request.key, &request.good, &request.read, &request.clocks).hash(hasher);
        }
        for sweep in &self.sweeps {
            (sweep.pass, sweep.next, sweep.later).hash(hasher);
        }
        (&self.wakes, &self.waiting, &self.lives, &self.out, &self.resetting).hash(hasher);
        (self.suspended, self.started, self.offline, self.stopped, &self.states).hash(hasher);
    }
}

impl World {
    /// The same world, apart from this one. It has no trace, and chooses the first of all possibilities.
    pub fn fork(&self) -> Self {
        Self {
            running: self.running.as_ref().map(Running::fork),
            flights: self.flights.clone(),
            next_flight: self.next_flight,
            ..self.without_engine()
        }
    }

    fn without_engine(&self) -> Self {
        Self {
            setup: self.setup.clone(),
            chooser: Chooser::script(Vec::new()),
            now_ms: self.now_ms,
            owner_stalls_ms: self.owner_stalls_ms,
            disks: self.disks.clone(),
            slots: self.slots.clone(),
            log: self.log,
            flights: Default::default(),
            next_flight: 0,
            running: None,
            former: None,
            model: self.model.clone(),
            truth: self.truth.clone(),
            counts: self.counts,
            coverage: Coverage::default(),
            next_value: self.next_value,
            faults: self.faults,
            trace: None,
            clones: self.clones.clone(),
            masked: self.masked,
        }
    }

    /// Tells states apart, and what else is known of them. What is in flight counts, whatever its numbers.
    pub fn fingerprint(&self, more: &impl Hash) -> u64 {
        let mut hasher = fast_hasher();
        more.hash(&mut hasher);
        (self.now_ms, &self.disks, &self.model, self.next_value).hash(&mut hasher);
        self.hash_truth(&mut hasher);
        if let Some(running) = &self.running {
            running.hash_into(&mut hasher);
            let flights = self.flights.values().map(|flight| {
                let origin = match flight.origin {
                    Origin::Owner { op } => running.owner.op_fingerprint(OpId(op)),
                    child @ Origin::Child { .. } => hash_of(&child),
                };
                let times = (flight.life, flight.since_ms, flight.hung, flight.aborted);
                hash_of(&(flight.drive, &flight.work, origin, flight.slot, times))
            });
            let mut flights: Vec<u64> = flights.collect();
            flights.sort_unstable();
            flights.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn hash_truth(&self, hasher: &mut FoldHasher<'static>) {
        // A hasher takes all that it is given.
        let _ = write!(Hashing(hasher), "{:?}", self.truth);
    }

    /// Tells apart what power cuts may leave: the same for states with the same drives and writes in flight.
    pub fn drives_fingerprint(&self) -> u64 {
        let mut hasher = fast_hasher();
        (&self.disks, &self.model).hash(&mut hasher);
        self.hash_truth(&mut hasher);
        for flight in self.flights.values().filter(|flight| matches!(flight.work, Work::Write { .. })) {
            (flight.drive, &flight.work).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What a power cut may leave of each drive, up to so many possibilities for each; whether these are all.
    pub fn remains(&self, most: usize) -> (Vec<Vec<Disk>>, bool) {
        let mut all = true;
        let remains = (0..self.disks.len()).map(|drive| {
            let (remains, complete) = self.remains_of(drive, most);
            all &= complete;
            remains
        });
        (remains.collect(), all)
    }

    fn remains_of(&self, drive: usize, most: usize) -> (Vec<Disk>, bool) {
        let disk = &self.disks[drive];
        let writes: Vec<(u64, Vec<Block>)> = self
            .flights
            .values()
            .filter(|flight| flight.drive == drive && disk.present)
            .filter_map(|flight| match &flight.work {
                Work::Write { block, data } => Some((*block, data.clone())),
                _ => None,
            })
            .collect();
        // The third chance of survival is neither none nor all: each block is a choice then.
        let cut = |survivors: &[u32]| {
            let mut chooser = Chooser::script([&[2], survivors].concat());
            let mut remains = disk.clone();
            remains.power_cut(&writes, false, &mut chooser);
            remains.hangs = false;
            // Nothing is in its cache: what it counted before makes no difference.
            remains.clock = 0;
            let Chooser::Script { widths, .. } = chooser else { return (remains, 0) };
            (remains, widths.len() - 1)
        };
        let (nothing, blocks) = cut(&[]);
        let mut seen = HashSet::from([hash_of(&nothing)]);
        let mut remains = vec![nothing];
        let mut add = |survivors: &[u32]| {
            let (disk, _) = cut(survivors);
            if seen.insert(hash_of(&disk)) {
                remains.push(disk);
            }
        };
        let complete = blocks < usize::BITS as usize && 1 << blocks <= most;
        if complete {
            for subset in 1..1_u64 << blocks {
                add(&(0..blocks).map(|block| (subset >> block & 1) as u32).collect::<Vec<_>>());
            }
        } else {
            add(&vec![1; blocks]);
            let mut chooser = Chooser::seeded(blocks as u64);
            for _ in 2..most {
                add(&(0..blocks).map(|_| chooser.below(2)).collect::<Vec<_>>());
            }
        }
        (remains, complete)
    }

    /// The world after a power cut that left this of its drives.
    pub fn cut(&self, remains: Vec<Disk>) -> Verdict<Self> {
        let mut world = Self { disks: remains, ..self.without_engine() };
        world.counts.crash_points += 1;
        world.counts.power_cuts += 1;
        world.model.crash(true, false);
        for drive in 0..world.disks.len() {
            world.check_generations(drive)?;
        }
        Ok(world)
    }

    /// Tells what a power cut left apart.
    pub fn cut_fingerprint(&self) -> u64 {
        let mut hasher = fast_hasher();
        (&self.disks, &self.model).hash(&mut hasher);
        self.hash_truth(&mut hasher);
        hasher.finish()
    }
}
