//! A mirror.

use crate::io::Kind;
use crate::leg::{Leg, slots};
use crate::log::{self, Level};
use crate::request::Request;
use mirror_engine::{LegMask, LegSet, PublishedLegSet, Slot};
use mirror_rpc::CreateParams;
use spdk_sys::*;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Which legs can do what; slots that are not in a set need something else or nothing.
pub struct Capabilities {
    /// Has to be flushed.
    pub flush: LegMask,
    /// Is flushed by an NVMe command.
    pub nvme_flush: LegMask,
    /// Is sent unmaps as they come; others get zeroes.
    pub unmap: LegMask,
    pub reset: LegMask,
    pub abort: LegMask,
}

impl Capabilities {
    /// Asks every leg. On the app thread: the releases differ in where they allow the question.
    pub fn of(legs: &[Leg], pass_unmap: bool) -> Self {
        let which = |can: &dyn Fn(&Leg) -> bool| {
            slots(legs).filter(|(_, leg)| can(leg)).fold(LegMask::NONE, |mask, (slot, _)| mask.with(slot))
        };
        Self {
            flush: which(&|leg| leg.flushing.sent),
            nvme_flush: which(&|leg| leg.flushing.as_nvme),
            unmap: which(&|leg| pass_unmap && leg.supports(SPDK_BDEV_IO_TYPE_UNMAP)),
            reset: which(&|leg| leg.supports(SPDK_BDEV_IO_TYPE_RESET)),
            abort: which(&|leg| leg.supports(SPDK_BDEV_IO_TYPE_ABORT)),
        }
    }
}

/// Where a mirror is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its bdev is registered and serves.
    Online,
    /// Its bdev is being unregistered, to be listed as offline afterwards.
    GoingOffline,
    /// Its bdev is being unregistered, to be forgotten afterwards.
    GoingAway,
    /// Listed, without a bdev.
    Offline,
}

/// What changes in the control path, on the app thread (and the last event, which any thread may write).
pub struct Control {
    pub phase: Phase,
    /// Calls to answer when it is gone.
    pub waiting: Vec<Request>,
    /// The last thing that happened, in a sentence.
    pub last_event: String,
}

/// A mirror: what all its channels share. Its address is its `io_device` and its bdev's context.
pub struct Mirror {
    /// As created, with the uuid and the size it got.
    pub params: CreateParams,
    /// Size of the mirror, and of what it uses of each leg.
    pub num_blocks: u64,
    /// By slot; open until the io_device was unregistered.
    pub legs: Vec<Leg>,
    pub capable: Capabilities,
    published: PublishedLegSet,
    bdev: AtomicPtr<spdk_bdev>,
    control: Mutex<Control>,
    /// The bdev layer has let go of the bdev; the rest has to be done on the app thread.
    pub destroy_pending: AtomicBool,
    diverged: AtomicBool,
    given_up: AtomicU64,
}

impl Mirror {
    pub fn new(params: CreateParams, num_blocks: u64, legs: Vec<Leg>, capable: Capabilities) -> Self {
        let all = LegMask::first(legs.len());
        Self {
            params,
            num_blocks,
            legs,
            capable,
            published: PublishedLegSet::new(LegSet::in_sync(all)),
            bdev: AtomicPtr::new(ptr::null_mut()),
            control: Mutex::new(Control { phase: Phase::Online, waiting: Vec::new(), last_event: String::new() }),
            destroy_pending: AtomicBool::new(false),
            diverged: AtomicBool::new(false),
            given_up: AtomicU64::new(0),
        }
    }

    pub fn name(&self) -> &str {
        &self.params.name
    }

    /// The legs in service, as every I/O reads them.
    #[inline]
    pub fn leg_set(&self) -> &PublishedLegSet {
        &self.published
    }

    /// The control path's state. Never held across a call into SPDK, which may call back.
    pub fn control(&self) -> MutexGuard<'_, Control> {
        // A panic aborts the process, so nobody finds a poisoned lock.
        self.control.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn phase(&self) -> Phase {
        self.control().phase
    }

    /// The registered bdev; null before and after.
    pub fn bdev(&self) -> *mut spdk_bdev {
        self.bdev.load(Ordering::Acquire)
    }

    pub fn set_bdev(&self, bdev: *mut spdk_bdev) {
        self.bdev.store(bdev, Ordering::Release);
    }

    /// Writes a line to the log and remembers it as the last event.
    #[track_caller]
    pub fn note(&self, level: Level, event: &str) {
        log::of_mirror(level, self.name(), event);
        self.control().last_event = event.to_owned();
    }

    /// A child of an I/O of this kind failed.
    pub fn count_error(&self, slot: Slot, kind: Kind) {
        let Some(leg) = self.legs.get(slot.index()) else { return };
        let counter = match kind {
            Kind::Read => &leg.errors.read,
            Kind::Write | Kind::WriteZeroes | Kind::Unmap => &leg.errors.write,
            Kind::Flush => &leg.errors.flush,
            Kind::Reset | Kind::Abort => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// An I/O ended differently on the legs. Said once; true for the rest of this mirror's life.
    pub fn mark_diverged(&self, kind: Kind) {
        // A single leg has nothing to differ from.
        if self.legs.len() > 1 && !self.diverged.swap(true, Ordering::AcqRel) {
            let event = format!("{kind} failed on some or all legs or was cut short: the legs may differ in its range");
            self.note(Level::Error, &event);
        }
    }

    pub fn has_diverged(&self) -> bool {
        self.diverged.load(Ordering::Acquire)
    }

    /// An I/O was failed because no memory would come.
    pub fn count_given_up(&self) {
        if self.given_up.fetch_add(1, Ordering::Relaxed) == 0 {
            let advice = "raise bdev_io_pool_size (bdev_set_options)";
            self.note(
                Level::Warning,
                &format!("an I/O that waited for a spdk_bdev_io was failed, nothing progressed meanwhile; {advice}"),
            );
        }
    }

    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }
}
