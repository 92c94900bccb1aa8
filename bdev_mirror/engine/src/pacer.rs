//! How fast a resync may copy.
//!
//! A cap if one is set; a floor below which it never goes, so that it ends however busy the host is; in between, as
//! fast as the host's latency allows. The p99 of host I/O without a copy is learned; while the copy makes it worse than
//! the factor allows, the rate falls by a quarter at each look, else it rises by steps. Without host I/O nothing brakes
//! it but the cap.
//!
//! A host's load changes in the hours that a resync takes, and its latency without the copy with it. So once a minute
//! the copy goes at the floor for about a second (longer where the host sends less than some 300 I/Os a second), and what
//! the host sees then is taken for what it would see without.

use crate::LatencySample;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Looks at latency are this far apart at least.
const LOOK_MS: u64 = 100;
/// I/Os that make a p99 worth a look.
const LOOK_COUNT: u32 = 32;
/// With fewer, a look is taken after this long all the same.
const LOOK_MS_MAX: u64 = 1_000;
/// A host that sent nothing for this long is not there to be disturbed.
const QUIET_MS: u64 = 500;
/// Most that may be copied at once after a late tick, as time at the current rate.
const BURST_MS: u64 = 250;
/// Bounds the rate where no cap does: the bytes of a minute still fit 63 bits when counted in milliseconds.
const RATE_BYTES_SEC_MAX: u64 = 1 << 46;
/// Smallest step up.
const STEP_BYTES_SEC_MIN: u64 = MIB;
/// The baseline is probed this often: a second of it costs less than 2 % of the rate.
const PROBE_MS: u64 = 60_000;
/// Looks of a probe that are not used: queues drain first.
const PROBE_LOOKS_UNUSED: u32 = 3;
/// Looks of a probe that are used.
const PROBE_LOOKS: u32 = 8;

/// The options that govern a resync's rate; they may change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacerOptions {
    /// Cap; 0: none.
    pub resync_max_mb_sec: u32,
    /// Floor, below the cap if that is lower.
    pub resync_min_mb_sec: u32,
    /// How far host p99 may rise over what it is without a copy: 150 is by half.
    pub resync_latency_factor_percent: u32,
    /// Most that is copied at one time.
    pub resync_window_kb: u32,
    /// A single copy.
    pub resync_chunk_kb: u32,
}

impl Default for PacerOptions {
    fn default() -> Self {
        Self {
            resync_max_mb_sec: 0,
            resync_min_mb_sec: 10,
            resync_latency_factor_percent: 150,
            resync_window_kb: 16_384,
            resync_chunk_kb: 256,
        }
    }
}

impl PacerOptions {
    fn cap_bytes_sec(&self) -> Option<u64> {
        (self.resync_max_mb_sec > 0).then(|| (u64::from(self.resync_max_mb_sec) * MIB).min(RATE_BYTES_SEC_MAX))
    }

    /// At least 1 MiB/s, whatever was set: a floor of nothing is a resync that never ends.
    fn floor_bytes_sec(&self) -> u64 {
        let floor = u64::from(self.resync_min_mb_sec.max(1)) * MIB;
        floor.min(self.cap_bytes_sec().unwrap_or(RATE_BYTES_SEC_MAX))
    }
}

/// Paces the copies of one mirror; see the module's text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pacer {
    options: PacerOptions,
    baseline: Baseline,
    running: bool,
    ticked_ms: u64,
    host_seen_ms: Option<u64>,
    /// Host I/O that no look was taken at yet.
    unseen: LatencySample,
    looked_ms: u64,
    /// Allowed while the host sends I/O; between floor and cap.
    rate_bytes_sec: u64,
    /// Next step up; 0: no brake yet, the rate doubles.
    step_bytes_sec: u64,
    /// The last time that the baseline was up to date.
    probed_ms: u64,
    probe: Option<Probe>,
    /// What may be copied at once. Below zero: the last copy was larger than what was left.
    credit_bytes: i64,
    /// The rate, not the window or the drives, held the copy up since the last look.
    held_up: bool,
    in_flight_bytes: u64,
}

impl Pacer {
    /// No copy runs and nothing is known of the host.
    #[must_use]
    pub fn new(options: PacerOptions, now_ms: u64) -> Self {
        Self {
            options,
            baseline: Baseline::default(),
            running: false,
            ticked_ms: now_ms,
            host_seen_ms: None,
            unseen: LatencySample::default(),
            looked_ms: now_ms,
            rate_bytes_sec: options.floor_bytes_sec(),
            step_bytes_sec: 0,
            probed_ms: now_ms,
            probe: None,
            credit_bytes: 0,
            held_up: false,
            in_flight_bytes: 0,
        }
    }

    /// Takes effect at once.
    pub fn set_options(&mut self, options: PacerOptions) {
        self.options = options;
        self.set_rate(self.rate_bytes_sec);
        self.credit_bytes = self.credit_bytes.min(self.burst_bytes());
    }

    /// A resync begins, at the floor while the host sends I/O. Until then ticks teach what latency is without one.
    pub fn begin(&mut self) {
        self.running = true;
        self.unseen = LatencySample::default();
        self.set_rate(0);
        self.step_bytes_sec = 0;
        self.probed_ms = self.ticked_ms;
        self.probe = None;
        // A debt stays: a resync that is begun again and again must not get past the cap.
        self.credit_bytes = self.credit_bytes.min(0);
        self.held_up = false;
    }

    /// No resync runs any more; copies in flight may still finish.
    pub fn end(&mut self) {
        self.running = false;
        // It was disturbed by the copy and teaches nothing.
        self.unseen = LatencySample::default();
    }

    /// Time passes; `host` is what all channels saw since the last tick. To be called more often than every 250 ms
    /// while a resync runs, a few times a second otherwise.
    pub fn tick(&mut self, now_ms: u64, host: LatencySample) {
        let passed_ms = now_ms.saturating_sub(self.ticked_ms);
        self.ticked_ms = self.ticked_ms.max(now_ms);
        if host.count > 0 {
            self.host_seen_ms = Some(self.ticked_ms);
            self.unseen = self.unseen.then(host);
        }
        if self.is_quiet() {
            // The copy goes unbraked from here, so what a probe saw is of no use.
            self.probe = None;
        }
        let unlooked_ms = self.ticked_ms - self.looked_ms;
        if unlooked_ms >= LOOK_MS_MAX || unlooked_ms >= LOOK_MS && self.unseen.count >= LOOK_COUNT {
            let sample = std::mem::take(&mut self.unseen);
            self.looked_ms = self.ticked_ms;
            if sample.count > 0 {
                self.look(sample.p99_us);
            }
        }
        self.refill(passed_ms);
    }

    /// Whether a copy of this size may start now; asking costs nothing. To be asked again at the next tick, or when a
    /// copy finished.
    pub fn may_start(&mut self, bytes: u64) -> bool {
        if self.in_flight_bytes > 0 && self.in_flight_bytes.saturating_add(bytes) > self.window_bytes() {
            return false;
        }
        let paced = self.limit_bytes_sec().is_some() && self.credit_bytes <= 0;
        self.held_up |= paced;
        !paced
    }

    /// A copy of this size was started.
    pub fn started(&mut self, bytes: u64) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
        if self.limit_bytes_sec().is_some() {
            self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(bytes);
        }
    }

    /// A copy of this size ended, well or not.
    pub fn finished(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.in_flight_bytes);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
    }

    /// The rate in force; `None`: as fast as it can.
    #[must_use]
    pub fn limit_bytes_sec(&self) -> Option<u64> {
        if self.is_quiet() {
            self.options.cap_bytes_sec()
        } else if self.probe.is_some() {
            Some(self.options.floor_bytes_sec())
        } else {
            Some(self.rate_bytes_sec)
        }
    }

    fn is_quiet(&self) -> bool {
        self.host_seen_ms.is_none_or(|seen_ms| self.ticked_ms - seen_ms >= QUIET_MS)
    }

    /// The host's p99 without a copy, as far as it is known.
    #[must_use]
    pub fn baseline_us(&self) -> Option<u32> {
        self.baseline.known_us()
    }

    /// Copies in flight.
    #[must_use]
    pub const fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Adjusts the rate to what the host saw since the last look.
    fn look(&mut self, p99_us: u32) {
        if !self.running {
            return self.baseline.learn(p99_us);
        }
        let held_up = std::mem::take(&mut self.held_up);
        let Some(baseline_us) = self.baseline.known_us().filter(|_| !self.probe_is_due()) else {
            return self.look_at_probe(p99_us);
        };
        let target_us = u64::from(baseline_us) * u64::from(self.options.resync_latency_factor_percent) / 100;
        if u64::from(p99_us) > target_us {
            self.set_rate(self.rate_bytes_sec / 4 * 3);
            self.step_bytes_sec = (self.rate_bytes_sec / 32).max(STEP_BYTES_SEC_MIN);
        } else if held_up {
            // Only then: a rate that is not used says nothing of what the host would bear, and would take long to come
            // down again.
            self.speed_up();
        }
    }

    fn probe_is_due(&self) -> bool {
        self.probe.is_some() || self.ticked_ms - self.probed_ms >= PROBE_MS
    }

    /// The copy goes at the floor from the first look of a probe to its last; the rate that it had waits.
    fn look_at_probe(&mut self, p99_us: u32) {
        let Some(probe) = &mut self.probe else {
            self.probe = Some(Probe::default());
            return;
        };
        probe.looks += 1;
        if probe.looks > PROBE_LOOKS_UNUSED {
            probe.sum_us += u64::from(p99_us);
        }
        if probe.looks == PROBE_LOOKS_UNUSED + PROBE_LOOKS {
            self.baseline.probed((probe.sum_us / u64::from(PROBE_LOOKS)) as u32);
            self.probe = None;
            self.probed_ms = self.ticked_ms;
        }
    }

    fn speed_up(&mut self) {
        let rate = self.rate_bytes_sec;
        if self.step_bytes_sec == 0 {
            self.set_rate(rate.saturating_mul(2));
        } else {
            self.set_rate(rate.saturating_add(self.step_bytes_sec));
            // Longer steps while nothing objects, or the way up from the floor would take minutes on fast drives.
            let longer = self.step_bytes_sec + self.step_bytes_sec / 8;
            self.step_bytes_sec = longer.min(rate / 4).max(STEP_BYTES_SEC_MIN);
        }
    }

    fn set_rate(&mut self, bytes_sec: u64) {
        let cap = self.options.cap_bytes_sec().unwrap_or(RATE_BYTES_SEC_MAX);
        self.rate_bytes_sec = bytes_sec.clamp(self.options.floor_bytes_sec(), cap);
    }

    fn refill(&mut self, passed_ms: u64) {
        let Some(limit) = self.limit_bytes_sec() else {
            self.credit_bytes = 0;
            return;
        };
        // A minute at most, so that the product fits; more than a burst is not kept anyway.
        let earned = limit.saturating_mul(passed_ms.min(60_000)) / 1_000;
        self.credit_bytes = self.credit_bytes.saturating_add_unsigned(earned).min(self.burst_bytes());
    }

    fn burst_bytes(&self) -> i64 {
        let chunk = u64::from(self.options.resync_chunk_kb) * KIB;
        let rate = self.limit_bytes_sec().unwrap_or(self.rate_bytes_sec);
        i64::try_from((rate.saturating_mul(BURST_MS) / 1_000).max(chunk)).unwrap_or(i64::MAX)
    }

    fn window_bytes(&self) -> u64 {
        u64::from(self.options.resync_window_kb) * KIB
    }
}

/// A second at the floor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Probe {
    looks: u32,
    sum_us: u64,
}

/// The host's p99 without a copy: the mean of the first samples, then a slow moving average.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Baseline {
    /// In 256ths, so that small differences are not lost in slow steps.
    p99_us_x256: i64,
    samples: u16,
}

impl Baseline {
    /// Samples from which on it is known.
    const KNOWN: u16 = 8;
    /// A new sample counts at least a 256th.
    const WEIGHT_MAX: u16 = 256;
    /// Below this, polling and timers make more of a difference than a copy.
    const US_MIN: i64 = 50;
    /// A host that waits longer than this is not made to wait longer still.
    const US_MAX: i64 = 100_000;

    fn learn(&mut self, p99_us: u32) {
        let mut sample = i64::from(p99_us).clamp(Self::US_MIN, Self::US_MAX) * 256;
        if self.samples >= Self::KNOWN {
            // One bad moment moves it a little only.
            sample = sample.clamp(self.p99_us_x256 / 2, self.p99_us_x256 * 2);
        }
        self.samples = (self.samples + 1).min(Self::WEIGHT_MAX);
        self.p99_us_x256 += (sample - self.p99_us_x256) / i64::from(self.samples);
    }

    /// What a probe saw. Upwards it counts half, so that one bad second does not let the copy disturb the host for a
    /// minute; downwards it counts in full.
    fn probed(&mut self, p99_us: u32) {
        let probed = i64::from(p99_us).clamp(Self::US_MIN, Self::US_MAX) * 256;
        let higher = self.known_us().is_some() && probed > self.p99_us_x256;
        self.p99_us_x256 = if higher { (self.p99_us_x256 + probed) / 2 } else { probed };
        self.samples = self.samples.max(Self::KNOWN);
    }

    fn known_us(&self) -> Option<u32> {
        (self.samples >= Self::KNOWN).then_some((self.p99_us_x256 / 256) as u32)
    }
}

#[cfg(test)]
#[path = "pacer_tests.rs"]
mod tests;
