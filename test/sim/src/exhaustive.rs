//! Explores small mirrors in every order of events, with a power cut at every state.
//!
//! From every state each event that is possible goes on in a fork of the world: what is in flight ends, a report, a
//! step of a pass or a wake-up is delivered, 100 ms pass, the host submits its next I/O, a write of the host fails, or
//! the leg that is out comes back. States that were seen before, by their fingerprint, are not gone on from. At every
//! state the power is cut: every subset of the blocks that are not durable survives, or a sample where there are too
//! many. Each different remainder boots, recovers and is checked to the end, in one order, and in others with a second power
//! cut on the way.
//!
//! Orders that are left out because they lead to nothing new:
//! - The metadata writes of one transaction to one leg end as one event, and so do the last flushes of a transaction on
//!   all legs, and the flushes of one round before a clearing or after copies. The owner only counts these ends until
//!   the last one. What has not ended may survive a power cut or not, and what has ended may too until it is flushed,
//!   and does after that: so whatever a power cut leaves after one of them has ended early, it may also leave if that ends
//!   with the last one.
//! - The host submits its I/O in one order.
//! - Passes go through the channels in the order of their numbers, as they do in the product.

use crate::chooser::Chooser;
use crate::configuration::Configuration;
use crate::disk::Disk;
use crate::history::caught;
use crate::watch::{self, Watch};
use crate::world::{Origin, Verdict, Work, World};
use mirror_engine::OpId;
use mirror_engine::mutant::{self, Mutant};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// States of one configuration.
    pub states: usize,
    /// Events in a row.
    pub depth: usize,
    /// What a power cut may leave of one drive.
    pub remains: usize,
    /// What a power cut may leave of all drives at one state.
    pub cuts: usize,
    /// Ways in which what a power cut left recovers; all but the first with a second power cut on the way.
    pub recoveries: u64,
    /// Random ways from the start, if there are more states than that.
    pub walks: u64,
}

impl Bound {
    pub const USUAL: Self = Self { states: 160_000, depth: 1_000, remains: 64, cuts: 64, recoveries: 3, walks: 1_000 };
    pub const LONG: Self =
        Self { states: 2_000_000, depth: 1_000, remains: 256, cuts: 256, recoveries: 16, walks: 20_000 };
}

/// One thing that may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// These I/Os in flight end.
    End(Vec<u64>),
    /// This write of the host fails, before or after it was done.
    Fail(u64, bool),
    /// The message of this index of those that can be delivered, and the channel it goes to.
    Deliver(u32, u32),
    Tick,
    Submit,
    /// The leg that is out comes back.
    Admit,
}

/// A world on its way through a configuration.
struct State {
    world: World,
    submitted: usize,
    ticks: u32,
    failed: bool,
    admitted: u32,
}

/// Enough for a start and most of what is copied after it.
const RECOVERY_STEPS: u32 = 80;

/// What went wrong, and where.
struct Failure {
    path: Vec<Event>,
    /// After a power cut.
    cut: Option<Cut>,
    text: String,
}

/// A power cut: which of the possible remainders it left, and in which way they recovered.
#[derive(Clone, Copy, Debug)]
struct Cut {
    remainder: usize,
    recovery: u64,
}

/// What was explored.
#[derive(Clone, Copy, Debug, Default)]
struct Explored {
    states: usize,
    crash_points: usize,
    /// All its states.
    whole: bool,
    /// All that a power cut may leave at each of them.
    cut_whole: bool,
}

impl State {
    /// A mirror that has just started.
    fn start(configuration: &Configuration, traced: bool) -> Verdict<Self> {
        let mut world = World::new(configuration.setup(), Chooser::script(Vec::new()), traced);
        world.create()?;
        loop {
            let first = world.flights.keys().next().copied();
            let running = world.engine();
            if let Some(id) = first {
                world.complete(id)?;
            } else if !running.shared.reports.is_empty() || !running.sweeps.is_empty() || !running.wakes.is_empty() {
                world.deliver_something()?;
            } else if running.started {
                return Ok(Self { world, submitted: 0, ticks: 0, failed: false, admitted: 0 });
            } else {
                pass_time(&mut world)?;
            }
        }
    }

    fn fork(&self) -> Self {
        Self { world: self.world.fork(), ..*self }
    }

    /// What may happen next; the last one is gone on with first.
    fn events(&mut self, configuration: &Configuration) -> Vec<Event> {
        let mut events = Vec::new();
        if self.submitted < configuration.ios.len() {
            events.push(Event::Submit);
        }
        if self.ticks < configuration.ticks {
            events.push(Event::Tick);
        }
        let flights: Vec<u64> = self.world.flights.keys().copied().collect();
        if configuration.write_error && !self.failed {
            let fails = |id: &&u64| {
                let flight = &self.world.flights[id];
                flight.slot == Some(1)
                    && matches!((flight.origin, &flight.work), (Origin::Child { .. }, Work::Write { .. }))
            };
            events
                .extend(flights.iter().filter(fails).flat_map(|id| [Event::Fail(*id, false), Event::Fail(*id, true)]));
        }
        let running = self.world.engine();
        if self.admitted < configuration.admissions && running.out.contains(&1) {
            events.push(Event::Admit);
        }
        let mut due = 0;
        if !running.shared.reports.is_empty() {
            events.push(Event::Deliver(0, 0));
            // The world counts them twice.
            due += 2;
        }
        if !running.sweeps.is_empty() {
            events.push(Event::Deliver(due, 0));
            due += 1;
        }
        events.extend((0..running.wakes.len() as u32).map(|at| Event::Deliver(due, at)));
        events.extend(flights.iter().filter_map(|id| self.end_of(*id)));
        events
    }

    /// The event with which an I/O in flight ends, unless it ends with one that is listed elsewhere.
    fn end_of(&self, id: u64) -> Option<Event> {
        let Origin::Owner { op } = self.world.flights[&id].origin else { return Some(Event::End(vec![id])) };
        let with = self.world.running.as_ref()?.owner.ends_with(OpId(op));
        if with.first() != Some(&OpId(op)) {
            return None;
        }
        let is_among = |origin: Origin| matches!(origin, Origin::Owner { op } if with.contains(&OpId(op)));
        Some(Event::End(
            self.world.flights.iter().filter(|(_, flight)| is_among(flight.origin)).map(|(id, _)| *id).collect(),
        ))
    }

    fn fingerprint(&self) -> u64 {
        self.world.fingerprint(&(self.submitted, self.ticks, self.failed, self.admitted))
    }

    fn apply(&mut self, event: &Event, configuration: &Configuration) -> Verdict {
        self.world.counts.steps += 1;
        self.world.chooser = Chooser::script(Vec::new());
        match event {
            Event::End(ids) => ids.iter().try_for_each(|id| self.world.complete(*id)),
            Event::Fail(id, applied) => {
                self.failed = true;
                let drive = self.world.flights[id].drive;
                self.world.disks[drive].failing[0] += 1;
                self.world.chooser = Chooser::script(vec![u32::from(*applied)]);
                self.world.complete(*id)
            }
            Event::Deliver(which, channel) => {
                self.world.chooser = Chooser::script(vec![*which, *channel]);
                self.world.deliver_something()
            }
            Event::Tick => {
                self.ticks += 1;
                pass_time(&mut self.world)
            }
            Event::Submit => {
                let (channel, op, range) = configuration.ios[self.submitted].clone();
                self.submitted += 1;
                self.world.submit(channel, op, range)
            }
            Event::Admit => {
                self.world.admit_something()?;
                self.admitted += u32::from(!self.world.engine().out.contains(&1));
                Ok(())
            }
        }
    }
}

fn pass_time(world: &mut World) -> Verdict {
    world.now_ms += 100;
    world.tick_all()
}

/// Brings a world to its end, in one order.
fn finish(world: &mut World) -> Verdict {
    world.chooser = Chooser::seeded(1);
    world.finish()
}

/// Brings what a power cut left to its end. All ways but the first have the power cut again before that.
fn recover(world: &mut World, way: u64) -> Verdict {
    if way == 0 {
        return finish(world);
    }
    world.chooser = Chooser::seeded(way);
    world.faults = false;
    for _ in 0..world.chooser.below(RECOVERY_STEPS) {
        world.counts.steps += 1;
        match world.running.as_ref().map(|_| world.chooser.below(100)) {
            None => world.boot()?,
            Some(0..60) => world.complete_something()?,
            Some(60..90) => world.deliver_something()?,
            Some(_) => world.time_goes_on()?,
        }
    }
    world.crash(true)?;
    world.finish()
}

/// Explores one configuration.
struct Explorer<'a> {
    configuration: &'a Configuration,
    bound: Bound,
    states: HashSet<u64>,
    /// Drives whose power was cut, and what that left.
    drives: HashSet<u64>,
    cuts: HashSet<u64>,
    whole: bool,
    cut_whole: bool,
}

impl Explorer<'_> {
    fn explore(&mut self, is_wanted: impl Fn() -> bool) -> Result<Explored, Failure> {
        let mut path = Vec::new();
        let fail = |text, path: &[Event], cut| Failure { path: path.to_vec(), cut, text };
        let mut start = State::start(self.configuration, false).map_err(|text| fail(text, &[], None))?;
        let events = start.events(self.configuration);
        let mut stack = vec![(start, events)];
        while let Some((state, events)) = stack.last_mut() {
            let Some(event) = events.pop() else {
                stack.pop();
                path.pop();
                continue;
            };
            if !is_wanted() {
                break;
            }
            let mut next = state.fork();
            path.push(event);
            self.go_on(&mut next, &path)?;
            if !self.states.insert(next.fingerprint()) {
                path.pop();
                continue;
            }
            let mut events = next.events(self.configuration);
            self.look_at(&next, events.is_empty(), &path)?;
            if self.states.len() >= self.bound.states || path.len() >= self.bound.depth {
                self.whole = false;
                events.clear();
            }
            stack.push((next, events));
        }
        if self.states.len() >= self.bound.states {
            // What was left out is at the beginning: the last choices were varied first.
            (0..self.bound.walks).try_for_each(|walk| if is_wanted() { self.walk(walk) } else { Ok(()) })?;
        }
        let (states, crash_points) = (self.states.len(), self.cuts.len());
        Ok(Explored { states, crash_points, whole: self.whole, cut_whole: self.cut_whole })
    }

    /// Goes from the start to an end at random.
    fn walk(&mut self, walk: u64) -> Result<(), Failure> {
        let mut chooser = Chooser::seeded(walk);
        let mut path = Vec::new();
        let start = State::start(self.configuration, false);
        let mut state = start.map_err(|text| Failure { path: Vec::new(), cut: None, text })?;
        loop {
            let mut events = state.events(self.configuration);
            if self.states.insert(state.fingerprint()) {
                self.look_at(&state, events.is_empty(), &path)?;
            }
            if events.is_empty() || path.len() >= self.bound.depth {
                return Ok(());
            }
            path.push(events.swap_remove(chooser.below(events.len() as u32) as usize));
            self.go_on(&mut state, &path)?;
        }
    }

    /// The last event of a path happens.
    fn go_on(&self, state: &mut State, path: &[Event]) -> Result<(), Failure> {
        let Some(event) = path.last() else { return Ok(()) };
        match caught(|| state.apply(event, self.configuration)) {
            Some(text) => Err(Failure { path: path.to_vec(), cut: None, text }),
            None => Ok(()),
        }
    }

    /// A state that was not seen before.
    fn look_at(&mut self, state: &State, is_end: bool, path: &[Event]) -> Result<(), Failure> {
        let path = || path.to_vec();
        self.cut_power(&state.world).map_err(|(cut, text)| Failure { path: path(), cut: Some(cut), text })?;
        if !is_end {
            return Ok(());
        }
        let mut end = state.world.fork();
        caught(|| finish(&mut end)).map_or(Ok(()), |text| Err(Failure { path: path(), cut: None, text }))
    }

    /// Cuts the power, and recovers from whatever was not seen before.
    fn cut_power(&mut self, world: &World) -> Result<(), (Cut, String)> {
        if !self.drives.insert(world.drives_fingerprint()) {
            return Ok(());
        }
        let (remainders, all) = remainders(world, self.bound);
        self.cut_whole &= all;
        for (remainder, remains) in remainders.into_iter().enumerate() {
            let cut = world.cut(remains).map_err(|text| (Cut { remainder, recovery: 0 }, text))?;
            if !self.cuts.insert(cut.cut_fingerprint()) {
                continue;
            }
            for recovery in 0..self.bound.recoveries {
                let mut cut = cut.fork();
                if let Some(text) = caught(|| recover(&mut cut, recovery)) {
                    return Err((Cut { remainder, recovery }, text));
                }
            }
        }
        Ok(())
    }
}

/// What a power cut may leave of all drives, and whether these are all possibilities.
fn remainders(world: &World, bound: Bound) -> (Vec<Vec<Disk>>, bool) {
    let (drives, mut all) = world.remains(bound.remains);
    let count: usize = drives.iter().map(Vec::len).product();
    let mut chooser = Chooser::seeded(count as u64);
    let numbers: Vec<usize> = if count <= bound.cuts {
        (0..count).collect()
    } else {
        all = false;
        (0..bound.cuts).map(|_| chooser.below(count as u32) as usize).collect()
    };
    let remainder = |mut number: usize| {
        let pick = |drive: &Vec<Disk>| {
            let disk = drive[number % drive.len()].clone();
            number /= drive.len();
            disk
        };
        drives.iter().map(pick).collect()
    };
    (numbers.into_iter().map(remainder).collect(), all)
}

/// Prints how a failure comes about.
fn show(configuration: &Configuration, bound: Bound, failure: &Failure) {
    let Ok(mut state) = State::start(configuration, true) else { return };
    // How it starts is the same each time.
    state.world.trace = Some(Vec::new());
    let again = caught(|| {
        failure.path.iter().try_for_each(|event| state.apply(event, configuration))?;
        let Some(cut) = failure.cut else { return finish(&mut state.world) };
        let remains = remainders(&state.world, bound).0.swap_remove(cut.remainder);
        let mut world = state.world.cut(remains)?;
        world.trace = state.world.trace.take();
        world.say(|| "power cut".into());
        std::mem::swap(&mut state.world, &mut world);
        recover(&mut state.world, cut.recovery)
    });
    for line in state.world.trace.iter().flatten() {
        println!("{line}");
    }
    println!("{configuration:?}");
    if again.as_ref() != Some(&failure.text) {
        println!("the second time: {again:?}");
    }
}

pub fn exhaustive(bound: Bound, mutant: Mutant) -> bool {
    mutant::plant(mutant);
    let configurations = Configuration::all();
    let watch = Watch::new(watch::threads(), configurations.len() as u64, true);
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(usize::MAX);
    let text = |at| format!("exhaustive: FAILED configuration {at} does not end");
    let mut results: Vec<_> = watch
        .run(text, |thread| {
            let mut results = Vec::new();
            loop {
                // The last ones take longest.
                let from_end = next.fetch_add(1, Ordering::Relaxed) + 1;
                let Some(at) = configurations.len().checked_sub(from_end) else { return results };
                let configuration = &configurations[at];
                let mut explorer = Explorer {
                    configuration,
                    bound,
                    states: HashSet::new(),
                    cuts: HashSet::new(),
                    drives: HashSet::new(),
                    whole: true,
                    cut_whole: true,
                };
                let result = explorer.explore(|| {
                    watch.begin(thread, at as u64);
                    // Of several failures the first configuration's is told.
                    at < failed.load(Ordering::Relaxed)
                });
                watch.end(thread);
                if result.is_err() {
                    failed.fetch_min(at, Ordering::Relaxed);
                }
                results.push((at, result));
            }
        })
        .into_iter()
        .flatten()
        .collect();
    results.sort_unstable_by_key(|(at, _)| *at);
    report(&configurations, bound, results)
}

fn report(configurations: &[Configuration], bound: Bound, results: Vec<(usize, Result<Explored, Failure>)>) -> bool {
    let (mut states, mut crash_points, mut whole) = (0, 0, 0);
    for (at, result) in results {
        let configuration = &configurations[at];
        match result {
            Ok(explored) => {
                let of = |whole| if whole { "all" } else { "not all" };
                println!(
                    "{}: states={} ({}) crash_points={} ({})",
                    configuration.name,
                    explored.states,
                    of(explored.whole),
                    explored.crash_points,
                    of(explored.whole && explored.cut_whole)
                );
                states += explored.states;
                crash_points += explored.crash_points;
                whole += usize::from(explored.whole);
            }
            Err(failure) => {
                show(configuration, bound, &failure);
                println!("exhaustive: FAILED {}: {}", configuration.name, failure.text);
                return false;
            }
        }
    }
    println!(
        "exhaustive: ok configurations={} crash_points={crash_points} states={states} bound: {whole} configurations \
         with all states, the others with {} and {} random ways; at a state {} remainders of a power cut; {} \
         recoveries of each",
        configurations.len(),
        bound.states,
        bound.walks,
        bound.cuts,
        bound.recoveries
    );
    true
}
