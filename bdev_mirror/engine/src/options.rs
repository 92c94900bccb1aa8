//! What may be set about a mirror, as far as it decides anything here.

use crate::flapping::{FLAP_LIMIT_MAX, FlapOptions};
use crate::format::LogType;
use crate::lease::LeaseOptions;
use crate::read_policy::ReadPolicy;
use crate::{OptionError, PacerOptions};
use std::ops::RangeInclusive;

/// What a new mirror's legs hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InitialSync {
    /// Data on one of them: it is copied to the others.
    #[default]
    Full,
    /// Nothing of worth: all regions start as never written.
    Blank,
    /// The same, the caller says: nothing is copied.
    None,
}

/// What becomes of an unmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnmapMode {
    /// Zeroes are written to all legs.
    #[default]
    Zeroes,
    /// It is passed on, to legs that are known to read zeros after it.
    Pass,
}

/// What a scrub does with blocks that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ScrubMode {
    /// Counts them.
    #[default]
    Check,
    /// Makes them equal.
    Repair,
}

/// A mirror's options, named as callers name them. Each has the default that is best for safety.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Where the dirty region log lives.
    pub log_type: LogType,
    /// What a new mirror's legs hold.
    pub initial_sync: InitialSync,
    /// A power of two; `None`: the smallest from 1,024 that gives at most 1,048,576 regions.
    pub region_size_kb: Option<u32>,
    /// Which leg serves a read.
    pub read_policy: ReadPolicy,
    /// Flush before each completion, for hosts that rely on FUA where it cannot be seen.
    pub write_through: bool,
    /// What becomes of an unmap.
    pub unmap: UnmapMode,
    /// Refuse legs of which it is not known how to make them durable.
    pub require_durable_legs: bool,
    /// Start without legs that are missing after so long; 0: never. Not used by the engine of this version.
    pub start_degraded_after_sec: u32,
    /// When legs that return are taken back, and spares taken.
    pub flap: FlapOptions,
    /// An I/O that a leg does not end in this time fails the leg.
    pub leg_timeout_ms: u32,
    /// Regions idle for this long are cleared.
    pub clear_idle_ms: u32,
    /// Dirty regions from which on idle ones are cleared at once; `None`: a quarter of the regions, at least 1,024.
    pub dirty_budget_regions: Option<u32>,
    /// Regions marked ahead of a sequential write; 0: none.
    pub mark_ahead_regions: u32,
    /// How fast a resync copies.
    pub pacer: PacerOptions,
    /// A resync reads both legs and writes only what differs. Not used by the engine of this version.
    pub compare_first: bool,
    /// A resync tells a target to zero blocks that are all zeros. Not used by the engine of this version.
    pub skip_zero: bool,
    /// How fast a scrub reads; 0: no cap. Not used by the engine of this version.
    pub scrub_max_mb_sec: u32,
    /// What a scrub does with blocks that differ. Not used by the engine of this version.
    pub scrub_mode: ScrubMode,
    /// Read errors, halved each hour, that use up a leg's budget.
    pub read_error_limit: u32,
    /// A leg slow for this long is ejected; 0: never.
    pub slow_leg_eject_sec: u32,
    /// How long the owner may write after a heartbeat.
    pub lease: LeaseOptions,
    /// I/Os that wait inside the mirror, a channel; more are told to come again.
    pub parked_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_type: LogType::default(),
            initial_sync: InitialSync::default(),
            region_size_kb: None,
            read_policy: ReadPolicy::default(),
            write_through: false,
            unmap: UnmapMode::default(),
            require_durable_legs: false,
            start_degraded_after_sec: 0,
            flap: FlapOptions::default(),
            leg_timeout_ms: 15_000,
            clear_idle_ms: 5_000,
            dirty_budget_regions: None,
            mark_ahead_regions: 2,
            pacer: PacerOptions::default(),
            compare_first: false,
            skip_zero: false,
            scrub_max_mb_sec: 50,
            scrub_mode: ScrubMode::default(),
            read_error_limit: 100,
            slow_leg_eject_sec: 0,
            lease: LeaseOptions::default(),
            parked_max: 4_096,
        }
    }
}

/// Far more than any drive does; the bytes of an hour still fit 64 bits.
const RATE_MB_SEC_MAX: u64 = 1_000_000;
/// A month, where time is in seconds.
const SEC_MAX: u64 = 30 * 86_400;
/// A day, where time is in milliseconds.
const MS_MAX: u64 = 86_400_000;
/// A region of a mirror of an exbibyte that has 1,048,576 of them.
const REGION_SIZE_KB_MAX: u64 = 1 << 30;

impl Options {
    /// Whether each option has a value that it can have, and all of them go together.
    ///
    /// # Errors
    /// The first one that has not.
    pub fn check(&self) -> Result<(), OptionError> {
        let (flap, pacer, lease) = (&self.flap, &self.pacer, &self.lease);
        let flap_limit_max = u64::from(FLAP_LIMIT_MAX);
        for (option, found, range) in [
            ("start_degraded_after_sec", u64::from(self.start_degraded_after_sec), 0..=SEC_MAX),
            ("readd_backoff_ms", flap.readd_backoff_ms, 1..=MS_MAX),
            ("readd_backoff_max_ms", flap.readd_backoff_max_ms, flap.readd_backoff_ms..=MS_MAX),
            ("flap_limit", u64::from(flap.flap_limit), 1..=flap_limit_max),
            ("flap_window_sec", flap.flap_window_sec, 1..=SEC_MAX),
            ("spare_delay_sec", flap.spare_delay_sec, 0..=SEC_MAX),
            ("leg_timeout_ms", u64::from(self.leg_timeout_ms), 100..=600_000),
            ("clear_idle_ms", u64::from(self.clear_idle_ms), 100..=MS_MAX),
            ("mark_ahead_regions", u64::from(self.mark_ahead_regions), 0..=1_024),
            ("resync_max_mb_sec", u64::from(pacer.resync_max_mb_sec), 0..=RATE_MB_SEC_MAX),
            ("resync_min_mb_sec", u64::from(pacer.resync_min_mb_sec), 1..=resync_min_max(pacer)),
            ("resync_latency_factor", u64::from(pacer.resync_latency_factor_percent), 100..=10_000),
            // A host's write to a chunk that is being copied waits for it, so it is a mebibyte at most.
            ("resync_chunk_kb", u64::from(pacer.resync_chunk_kb), 4..=1_024),
            ("resync_window_kb", u64::from(pacer.resync_window_kb), u64::from(pacer.resync_chunk_kb)..=1 << 20),
            ("scrub_max_mb_sec", u64::from(self.scrub_max_mb_sec), 0..=RATE_MB_SEC_MAX),
            ("read_error_limit", u64::from(self.read_error_limit), 1..=1_000_000),
            ("slow_leg_eject_sec", u64::from(self.slow_leg_eject_sec), 0..=SEC_MAX),
            ("owner_lease_ms", lease.owner_lease_ms, 0..=MS_MAX),
            ("heartbeat_ms", lease.heartbeat_ms, 100..=60_000),
            ("parked_max", u64::from(self.parked_max), 1..=1 << 20),
        ] {
            within(option, found, range)?;
        }
        self.check_regions()?;
        if lease.owner_lease_ms > 0 && self.log_type == LogType::Core {
            // There is no superblock that a successor could read.
            return Err(OptionError::new("owner_lease_ms", "0 (infinite) with log_type core", lease.owner_lease_ms));
        }
        lease.check(u64::from(self.leg_timeout_ms))
    }

    fn check_regions(&self) -> Result<(), OptionError> {
        if let Some(regions) = self.dirty_budget_regions {
            within("dirty_budget", u64::from(regions), 1..=u64::from(u32::MAX))?;
        }
        let Some(region_size_kb) = self.region_size_kb else { return Ok(()) };
        within("region_size_kb", u64::from(region_size_kb), 1_024..=REGION_SIZE_KB_MAX)?;
        if !region_size_kb.is_power_of_two() {
            return Err(OptionError::new("region_size_kb", "a power of two", region_size_kb));
        }
        Ok(())
    }
}

/// A floor above the cap would be none.
fn resync_min_max(pacer: &PacerOptions) -> u64 {
    if pacer.resync_max_mb_sec == 0 { RATE_MB_SEC_MAX } else { u64::from(pacer.resync_max_mb_sec) }
}

fn within(option: &'static str, found: u64, range: RangeInclusive<u64>) -> Result<(), OptionError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(OptionError::new(option, format!("{} to {}", range.start(), range.end()), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl Fn(&mut Options)) -> String {
        let mut options = Options::default();
        change(&mut options);
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_good() {
        assert_eq!(Options::default().check(), Ok(()));
        let finite = LeaseOptions { owner_lease_ms: 20_000, ..LeaseOptions::default() };
        assert_eq!(Options { lease: finite, ..Options::default() }.check(), Ok(()));
        assert_eq!(Options { region_size_kb: Some(4_096), ..Options::default() }.check(), Ok(()));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(refusal(|o| o.flap.flap_limit = 17), "flap_limit: expected 1 to 16, found 17");
        assert_eq!(refusal(|o| o.pacer.resync_min_mb_sec = 0), "resync_min_mb_sec: expected 1 to 1000000, found 0");
        assert_eq!(refusal(|o| o.pacer.resync_chunk_kb = 2_048), "resync_chunk_kb: expected 4 to 1024, found 2048");
        assert_eq!(refusal(|o| o.leg_timeout_ms = 0), "leg_timeout_ms: expected 100 to 600000, found 0");
        assert_eq!(refusal(|o| o.region_size_kb = Some(3_000)), "region_size_kb: expected a power of two, found 3000");
        assert_eq!(refusal(|o| o.region_size_kb = Some(512)), "region_size_kb: expected 1024 to 1073741824, found 512");
        assert_eq!(refusal(|o| o.dirty_budget_regions = Some(0)), "dirty_budget: expected 1 to 4294967295, found 0");
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let capped = |o: &mut Options| o.pacer.resync_max_mb_sec = 5;
        assert_eq!(refusal(capped), "resync_min_mb_sec: expected 1 to 5, found 10");
        let short = |o: &mut Options| o.flap.readd_backoff_ms = 70_000;
        assert_eq!(refusal(short), "readd_backoff_max_ms: expected 70000 to 86400000, found 60000");
        let small = |o: &mut Options| o.pacer.resync_window_kb = 128;
        assert_eq!(refusal(small), "resync_window_kb: expected 256 to 1048576, found 128");
        let lease = |o: &mut Options| o.lease.owner_lease_ms = 5_000;
        assert!(refusal(lease).starts_with("owner_lease_ms: expected 0 (infinite) or more than 19000"));
        let core = |o: &mut Options| (o.log_type, o.lease.owner_lease_ms) = (LogType::Core, 20_000);
        assert_eq!(refusal(core), "owner_lease_ms: expected 0 (infinite) with log_type core, found 20000");
        assert_eq!(Options { log_type: LogType::Core, ..Options::default() }.check(), Ok(()));
    }
}
