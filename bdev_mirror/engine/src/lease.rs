//! How long an owner may write without having said that it lives, and when another may take its place.
//!
//! The owner writes heartbeats to its legs. Each that is durable on one leg in sync lets it write for one lease more,
//! counted from when the heartbeat was *issued*: a successor may have read it the moment it landed, long before the
//! owner learned that it did. A successor that sees no new heartbeat for a lease, and then waits until no I/O of the
//! owner can be alive, takes over.

use crate::assembly::fits;
use crate::format::Superblock;
use crate::mutant::mutant;
use crate::{LegMask, OptionError, OwnerId};
use std::cmp::Reverse;

/// For ever.
const INFINITE_MS: u64 = u64::MAX;

/// The options that govern it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseOptions {
    /// 0: infinite.
    pub owner_lease_ms: u64,
    /// Between heartbeats.
    pub heartbeat_ms: u64,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self { owner_lease_ms: 0, heartbeat_ms: 2_000 }
    }
}

impl LeaseOptions {
    /// A finite lease must outlast a heartbeat that hangs on one leg until its time-out, and the one after it.
    ///
    /// # Errors
    /// The lease is finite and not longer than that.
    pub fn check(&self, leg_timeout_ms: u64) -> Result<(), OptionError> {
        let least_ms = leg_timeout_ms.saturating_add(self.heartbeat_ms.saturating_mul(2));
        if self.owner_lease_ms == 0 || self.owner_lease_ms > least_ms {
            return Ok(());
        }
        let expected = format!(
            "0 (infinite) or more than {least_ms}: leg_timeout_ms {leg_timeout_ms} plus two times heartbeat_ms {}",
            self.heartbeat_ms
        );
        Err(OptionError::new("owner_lease_ms", expected, self.owner_lease_ms))
    }
}

/// The end of a lease that counts from then.
const fn lease_end_ms(issued_ms: u64, owner_lease_ms: u64) -> u64 {
    if owner_lease_ms == 0 { INFINITE_MS } else { issued_ms.saturating_add(owner_lease_ms) }
}

/// A heartbeat that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Heartbeat {
    issued_ms: u64,
    owner_lease_ms: u64,
}

/// The owner's side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    options: LeaseOptions,
    /// No write is submitted from then on.
    valid_until_ms: u64,
    /// When the last one was sent.
    issued_ms: Option<u64>,
    /// Only one is under way at a time.
    in_flight: Option<Heartbeat>,
    /// The lease that the legs tell a successor; `None`: they may tell one or another.
    recorded_lease_ms: Option<u64>,
    lost: bool,
}

impl Lease {
    /// A mirror starts. With an infinite lease it may write at once and needs no heartbeat: that it is the owner is on
    /// the legs before it starts. With a finite one the first heartbeat is due.
    #[must_use]
    pub const fn new(options: LeaseOptions) -> Self {
        Self {
            options,
            valid_until_ms: if options.owner_lease_ms == 0 { INFINITE_MS } else { 0 },
            issued_ms: None,
            in_flight: None,
            recorded_lease_ms: Some(options.owner_lease_ms),
            lost: false,
        }
    }

    /// Changes the options. The new lease counts once it is on the legs: a heartbeat is due.
    pub fn set_options(&mut self, options: LeaseOptions) {
        self.options = options;
    }

    /// Whether a heartbeat is to be written now. It carries the lease of the options in force.
    #[must_use]
    pub fn heartbeat_due(&self, now_ms: u64) -> bool {
        if self.lost || self.in_flight.is_some() {
            return false;
        }
        let recorded = self.recorded_lease_ms == Some(self.options.owner_lease_ms);
        let needed = self.options.owner_lease_ms != 0 || !recorded;
        let old = self.issued_ms.is_none_or(|ms| now_ms.saturating_sub(ms) >= self.options.heartbeat_ms);
        // Not at once after a failure, even where the lease changed: legs that fail would get one at each tick.
        needed && old
    }

    /// The heartbeat is sent now. Where it carries a shorter lease than the last one, a successor that reads it waits
    /// no longer than that, so from here on the owner counts on no more than that.
    pub fn issued(&mut self, now_ms: u64) {
        debug_assert!(self.in_flight.is_none());
        let owner_lease_ms = self.options.owner_lease_ms;
        self.in_flight = Some(Heartbeat { issued_ms: now_ms, owner_lease_ms });
        self.issued_ms = Some(now_ms);
        self.recorded_lease_ms = self.recorded_lease_ms.filter(|&recorded_ms| recorded_ms == owner_lease_ms);
        self.valid_until_ms = self.valid_until_ms.min(lease_end_ms(now_ms, owner_lease_ms));
    }

    /// The heartbeat issued then is durable on a leg in sync. Until when the owner may write.
    pub fn succeeded(&mut self, issued_ms: u64) -> u64 {
        let heartbeat = self.in_flight.take().filter(|heartbeat| heartbeat.issued_ms == issued_ms);
        debug_assert!(heartbeat.is_some());
        if let Some(Heartbeat { owner_lease_ms, .. }) = heartbeat {
            self.recorded_lease_ms = Some(owner_lease_ms);
            self.valid_until_ms = self.valid_until_ms.max(lease_end_ms(issued_ms, owner_lease_ms));
        }
        self.valid_until_ms
    }

    /// The heartbeat issued last is durable on no leg that counts, as far as is known.
    pub fn failed(&mut self) {
        self.in_flight = None;
    }

    /// Another owner was found on a leg: nothing is written any more, whatever the lease says.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// Whether a write may be submitted.
    #[must_use]
    #[inline]
    pub fn may_write(&self, now_ms: u64) -> bool {
        !self.lost && (now_ms < self.valid_until_ms || self.valid_until_ms == INFINITE_MS)
    }

    /// No write is submitted from then on; `u64::MAX`: for ever.
    #[must_use]
    pub const fn valid_until_ms(&self) -> u64 {
        if self.lost { 0 } else { self.valid_until_ms }
    }
}

/// What a successor knows of the owner that the legs name; of all present legs, the newest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerSeen {
    /// The owner.
    pub owner: OwnerId,
    /// Its lease, as the legs say; 0: infinite.
    pub owner_lease_ms: u64,
    /// It stopped cleanly, and writes no more ([`has_stopped`]).
    pub stopped: bool,
    /// When its newest heartbeat was first seen, by the successor's clock; it has not changed since.
    pub first_seen_ms: u64,
    /// Whether the owner's lock file was found and nobody holds it. `None` where that cannot be told: no such file, or
    /// another machine.
    pub lock_file_free: Option<bool>,
}

/// Whether the owner that wrote `last` stopped cleanly with it, by the superblocks of all present legs: all that it lists as
/// in sync have it. As long as one does not, it may still be sent to that one.
pub fn has_stopped<'a>(last: &Superblock, superblocks: impl Iterator<Item = &'a Superblock>) -> bool {
    let is_last = |leg: &&Superblock| (leg.owner, leg.heartbeat) == (last.owner, last.heartbeat);
    let have = superblocks.filter(is_last).fold(LegMask::NONE, |have, leg| have.with(leg.slot));
    last.clean && last.in_sync().is_within(have)
}

/// Whether a successor may take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Takeover {
    /// At once.
    Now(OwnerGone),
    /// Not before then, and only if no new heartbeat is seen until then.
    Wait {
        /// By the successor's clock.
        until_ms: u64,
    },
    /// Its lease is infinite and it is not known to be dead: by force only.
    RefusedInfinite,
}

/// Why the owner cannot be writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerGone {
    /// The legs name nobody.
    Nobody,
    /// It is ourselves.
    Ourselves,
    /// It stopped cleanly.
    Stopped,
    /// It ran on this machine, which has booted since.
    Rebooted,
    /// It ran on this machine, and nobody holds its lock file.
    LockFree,
    /// Its lease ran out, and the longest life of an I/O with it.
    LeaseOver,
}

/// Of the superblocks of all present legs those that name an owner who may be alive, the newest of each. All of them are
/// to be waited for.
///
/// Heartbeats count within a generation only: a leg that a fork left behind may have counted further under an owner that
/// is long dead, and what the newest leg knows of is over. But a leg that went its own way may have an owner of its own.
#[must_use]
pub fn owners<'a>(superblocks: &[&'a Superblock]) -> Vec<&'a Superblock> {
    let mut sorted = superblocks.to_vec();
    sorted.sort_by_key(|superblock| Reverse((superblock.generation, superblock.heartbeat)));
    let Some(&head) = sorted.first() else { return sorted };
    let mut owners = vec![head];
    for leg in sorted {
        if !owners.iter().any(|other| other.owner == leg.owner) && !fits(leg, head) {
            owners.push(leg);
        }
    }
    owners
}

/// Judges whether `ours` may take over from the owner that was seen. `longest_io_ms` is the longest that an I/O of the
/// owner can live after it was submitted, and what the clocks of two machines can differ by in a lease.
#[must_use]
pub fn takeover(seen: &OwnerSeen, ours: &OwnerId, longest_io_ms: u64, now_ms: u64) -> Takeover {
    let owner = &seen.owner;
    if owner.is_nil() {
        Takeover::Now(OwnerGone::Nobody)
    } else if owner == ours {
        Takeover::Now(OwnerGone::Ourselves)
    } else if seen.stopped {
        Takeover::Now(OwnerGone::Stopped)
    } else if owner.booted_since(ours) {
        Takeover::Now(OwnerGone::Rebooted)
    } else if owner.same_boot(ours) && seen.lock_file_free == Some(true) {
        Takeover::Now(OwnerGone::LockFree)
    } else if seen.owner_lease_ms == 0 {
        Takeover::RefusedInfinite
    } else {
        let lease_ms = if mutant!(TakeOverInLease) { 0 } else { seen.owner_lease_ms };
        let longest_io_ms = if mutant!(TakeOverBeforeLastIo) { 0 } else { longest_io_ms };
        let until_ms = seen.first_seen_ms.saturating_add(lease_ms).saturating_add(longest_io_ms);
        if now_ms >= until_ms { Takeover::Now(OwnerGone::LeaseOver) } else { Takeover::Wait { until_ms } }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
