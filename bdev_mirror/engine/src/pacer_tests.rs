use super::*;
use proptest::prelude::*;

const TICK_MS: u64 = 10;
const CHUNK: u64 = 256 * KIB;

/// A host with constant load whose p99 grows with the rate of the copy.
struct Host {
    pacer: Pacer,
    now_ms: u64,
    idle_p99_us: u32,
    /// At this rate of the copy its p99 is twice what it is without.
    doubles_at_bytes_sec: u64,
    ios_per_tick: u32,
    copied: u64,
    lately: std::collections::VecDeque<u64>,
}

impl Host {
    fn new(options: PacerOptions) -> Self {
        Self {
            pacer: Pacer::new(options, 0),
            now_ms: 0,
            idle_p99_us: 400,
            doubles_at_bytes_sec: 400 * MIB,
            ios_per_tick: 50,
            copied: 0,
            lately: std::iter::repeat_n(0, 10).collect(),
        }
    }

    /// Runs for a while; gives the mean rate of the copy. Each copy takes a tick.
    fn run(&mut self, ms: u64) -> u64 {
        let before = self.copied;
        for _ in 0..ms / TICK_MS {
            self.now_ms += TICK_MS;
            let rate = self.lately.iter().sum::<u64>() * 1_000 / (10 * TICK_MS);
            let extra = u64::from(self.idle_p99_us) * rate / self.doubles_at_bytes_sec;
            let p99_us = self.idle_p99_us + extra as u32;
            self.pacer.tick(self.now_ms, LatencySample { p99_us, count: self.ios_per_tick });
            let in_flight = self.pacer.in_flight_bytes();
            self.pacer.finished(in_flight);
            let mut started = 0;
            while self.pacer.running && self.pacer.may_start(CHUNK) {
                self.pacer.started(CHUNK);
                started += CHUNK;
            }
            assert!(self.pacer.in_flight_bytes() <= u64::from(self.pacer.options.resync_window_kb) * KIB);
            self.lately.pop_front();
            self.lately.push_back(started);
            self.copied += started;
        }
        (self.copied - before) * 1_000 / ms
    }
}

fn mb(bytes_sec: u64) -> u64 {
    bytes_sec / MIB
}

#[test]
fn the_rate_settles_where_latency_meets_the_target() {
    let mut host = Host::new(PacerOptions::default());
    host.run(5_000);
    assert_eq!(host.pacer.baseline_us(), Some(400));
    host.pacer.begin();
    host.run(5_000);
    // Half as much again at 200 MiB/s.
    let rate = mb(host.run(20_000));
    assert!((140..=210).contains(&rate), "{rate}");
}

#[test]
fn a_host_that_is_always_too_slow_gets_the_floor() {
    let mut host = Host::new(PacerOptions::default());
    host.run(5_000);
    host.idle_p99_us = 90_000;
    host.pacer.begin();
    let rate = host.run(3_000);
    assert!((10 * MIB - 2 * CHUNK..=11 * MIB).contains(&rate), "{rate}");
}

#[test]
fn a_host_that_became_busier_does_not_keep_the_copy_at_the_floor() {
    let mut host = Host::new(PacerOptions::default());
    host.run(5_000);
    host.idle_p99_us = 1_000;
    host.pacer.begin();
    assert!(mb(host.run(30_000)) <= 11);
    host.run(270_000);
    let rate = mb(host.run(30_000));
    assert!((120..=220).contains(&rate), "{rate}");
}

#[test]
fn a_host_that_became_calmer_is_not_disturbed_more() {
    let mut host = Host::new(PacerOptions::default());
    host.idle_p99_us = 2_000;
    host.run(5_000);
    host.idle_p99_us = 200;
    host.pacer.begin();
    host.run(90_000);
    let rate = mb(host.run(30_000));
    assert!((140..=220).contains(&rate), "{rate}");
    assert!(host.pacer.baseline_us() < Some(300));
}

#[test]
fn a_host_that_calms_down_frees_the_copy_within_seconds() {
    let mut host = Host::new(PacerOptions::default());
    host.run(5_000);
    host.pacer.begin();
    host.idle_p99_us = 5_000;
    host.run(5_000);
    host.idle_p99_us = 400;
    host.doubles_at_bytes_sec = 4_000 * MIB;
    host.run(6_000);
    assert!(mb(host.run(2_000)) > 500);
}

#[test]
fn the_cap_holds_with_and_without_a_host() {
    for ios_per_tick in [0, 50] {
        let options = PacerOptions { resync_max_mb_sec: 30, ..PacerOptions::default() };
        let mut host = Host::new(options);
        host.ios_per_tick = ios_per_tick;
        host.run(5_000);
        host.pacer.begin();
        let rate = mb(host.run(20_000));
        assert!((28..=30).contains(&rate), "{rate}");
    }
}

#[test]
fn without_a_host_only_the_window_bounds() {
    let mut host = Host::new(PacerOptions::default());
    host.ios_per_tick = 0;
    host.run(1_000);
    host.pacer.begin();
    // A window of 16 MiB each tick of 10 ms.
    assert_eq!(mb(host.run(1_000)), 1_600);
    host.ios_per_tick = 50;
    host.run(200);
    assert!(host.pacer.limit_bytes_sec().is_some());
    host.ios_per_tick = 0;
    host.run(QUIET_MS);
    assert_eq!(host.pacer.limit_bytes_sec(), None);
}

#[test]
fn a_copy_that_begins_first_learns_at_the_floor_and_then_speeds_up() {
    let mut host = Host::new(PacerOptions::default());
    host.ios_per_tick = 1;
    host.run(10);
    host.pacer.begin();
    assert!(mb(host.run(1_000)) <= 11);
    host.run(15_000);
    assert!(mb(host.run(10_000)) > 100);
}

#[test]
fn options_take_effect_while_it_runs() {
    let mut host = Host::new(PacerOptions::default());
    host.run(5_000);
    host.pacer.begin();
    host.run(10_000);
    host.pacer.set_options(PacerOptions { resync_max_mb_sec: 5, ..PacerOptions::default() });
    host.run(300);
    let rate = mb(host.run(10_000));
    assert!((4..=5).contains(&rate), "{rate}");
    host.pacer.set_options(PacerOptions { resync_min_mb_sec: 300, ..PacerOptions::default() });
    let rate = mb(host.run(10_000));
    assert!((295..=330).contains(&rate), "{rate}");
}

#[test]
fn a_rate_that_the_drives_do_not_reach_does_not_grow() {
    // A window of a chunk each tick: 25 MiB/s, and latency never objects.
    let mut host = Host::new(PacerOptions { resync_window_kb: 256, ..PacerOptions::default() });
    host.doubles_at_bytes_sec = u64::MAX;
    host.run(5_000);
    host.pacer.begin();
    host.run(30_000);
    assert!(host.pacer.limit_bytes_sec() <= Some(80 * MIB), "{:?}", host.pacer.limit_bytes_sec());
}

#[test]
fn absurd_options_are_borne() {
    for (max, min) in [(0, u32::MAX), (u32::MAX, u32::MAX), (u32::MAX, 0)] {
        let mut host = Host::new(PacerOptions {
            resync_max_mb_sec: max,
            resync_min_mb_sec: min,
            resync_latency_factor_percent: u32::MAX,
            ..PacerOptions::default()
        });
        host.run(5_000);
        host.pacer.begin();
        assert!(host.run(5_000) > 0);
    }
}

#[test]
fn a_single_copy_larger_than_the_window_may_go_alone() {
    let options = PacerOptions { resync_window_kb: 64, ..PacerOptions::default() };
    let mut pacer = Pacer::new(options, 0);
    pacer.begin();
    assert!(pacer.may_start(CHUNK));
    pacer.started(CHUNK);
    assert!(!pacer.may_start(1));
}

#[derive(Clone, Debug)]
enum Event {
    Tick { passed_ms: u64, p99_us: u32, count: u32 },
    Finish,
    Begin,
    End,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_u64..300, any::<u32>(), 0_u32..200)
            .prop_map(|(passed_ms, p99_us, count)| Event::Tick { passed_ms, p99_us, count }),
        4 => Just(Event::Finish),
        1 => Just(Event::Begin),
        1 => Just(Event::End),
    ]
}

proptest! {
    #[test]
    fn the_rate_is_never_below_the_floor_or_above_the_cap(
        max in 0_u32..200,
        min in 0_u32..100,
        events in prop::collection::vec(event(), 1..200),
    ) {
        let options =
            PacerOptions { resync_max_mb_sec: max, resync_min_mb_sec: min, ..PacerOptions::default() };
        let cap = if max == 0 { u64::MAX } else { u64::from(max) * MIB };
        let floor = (u64::from(min.max(1)) * MIB).min(cap);
        let mut pacer = Pacer::new(options, 0);
        let (mut now_ms, mut copied) = (0, 0);
        for event in events {
            match event {
                Event::Tick { passed_ms, p99_us, count } => {
                    now_ms += passed_ms;
                    pacer.tick(now_ms, LatencySample { p99_us, count });
                    // The bucket lets go at once what it holds, and one chunk may put it into debt.
                    while pacer.may_start(CHUNK) {
                        pacer.started(CHUNK);
                        copied += CHUNK;
                    }
                }
                Event::Finish => pacer.finished(pacer.in_flight_bytes()),
                Event::Begin => pacer.begin(),
                Event::End => pacer.end(),
            }
            if let Some(limit) = pacer.limit_bytes_sec() {
                prop_assert!((floor..=cap).contains(&limit));
            }
            let allowed = u128::from(cap) * u128::from(now_ms + BURST_MS) / 1_000 + u128::from(CHUNK);
            prop_assert!(u128::from(copied) <= allowed);
        }
    }
}
