//! A leg: a base bdev, open and claimed.

use crate::durability::{self, Flushing};
use crate::format::Format;
use crate::removal;
use crate::text;
use mirror_engine::Slot;
use mirror_rpc::{RpcError, Wording, quote};
use spdk_sys::*;
use std::ffi::{CString, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use uuid::Uuid;

/// Children of a leg that failed, counted by whichever thread meets them.
#[derive(Default)]
pub struct Errors {
    pub read: AtomicU64,
    /// Writes, unmaps and write-zeroes.
    pub write: AtomicU64,
    pub flush: AtomicU64,
}

/// A base bdev that belongs to a mirror. Opened, claimed and closed on the app thread.
pub struct Leg {
    /// Name of the base bdev.
    pub name: String,
    /// Uuid of the base bdev; nil where it has none.
    pub uuid: Uuid,
    /// Size of the base bdev in blocks, when it was opened.
    pub blocks: u64,
    pub format: Format,
    /// How what it acknowledged becomes durable.
    pub flushing: Flushing,
    pub errors: Errors,
    bdev: *mut spdk_bdev,
    desc: *mut spdk_bdev_desc,
    open: AtomicBool,
    gone: AtomicBool,
}

// SAFETY: the pointers are set once; other threads only pass them back to SPDK while a channel of the mirror keeps the leg
// open. Opening and closing happens on the app thread.
unsafe impl Send for Leg {}
// SAFETY: as above; the rest is atomic.
unsafe impl Sync for Leg {}

impl Leg {
    /// Opens and claims the bdev of this name or alias, on the app thread. `others` are the legs that the mirror has.
    pub fn open(name: &str, others: &[Self]) -> Result<Self, RpcError> {
        let bdev = look_up(name)?;
        check_new(name, bdev, others)?;
        let view = check_usable(name, bdev)?;
        let subject = format!("base_bdev {}", quote(name));
        // SAFETY: the shim's strings live as long as the bdev; we copy them at once.
        let module = unsafe { text::of_c(view.module) };
        // SAFETY: the bdev is registered, as look_up() has just seen; this is the app thread, so it stays.
        let flushing = unsafe { durability::of(bdev, &module, view.write_cache) };
        let mut leg = Self {
            // SAFETY: the bdev is registered; its name is copied at once.
            name: unsafe { text::of_c(spdk_bdev_get_name(bdev)) },
            uuid: Uuid::from_bytes(view.uuid),
            blocks: view.blockcnt,
            format: Format::of(&view),
            flushing,
            errors: Errors::default(),
            bdev,
            desc: ptr::null_mut(),
            open: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        };
        let c_name = c_name(name)?;
        // SAFETY: the callback finds its mirror by the bdev it is told of and needs no context.
        let rc = unsafe { spdk_bdev_open_ext(c_name.as_ptr(), true, Some(event), ptr::null_mut(), &mut leg.desc) };
        if rc != 0 {
            return Err(refused(&subject, "cannot be opened for writing", rc));
        }
        // SAFETY: just opened, not claimed by anyone: check_usable() has looked.
        let rc = unsafe { mirror_shim_bdev_claim(bdev, leg.desc) };
        if rc != 0 {
            // SAFETY: opened above, on this thread.
            unsafe { spdk_bdev_close(leg.desc) };
            return Err(refused(&subject, "cannot be claimed", rc));
        }
        leg.open.store(true, Ordering::Release);
        Ok(leg)
    }

    /// Gives the bdev back; does nothing the second time. On the app thread, once no channel uses it.
    pub fn close(&self) {
        if self.open.swap(false, Ordering::AcqRel) {
            // SAFETY: claimed and opened by open() on this thread; the swap lets one caller through.
            unsafe {
                spdk_bdev_module_release_bdev(self.bdev);
                spdk_bdev_close(self.desc);
            }
        }
    }

    /// Its descriptor; for channels, which exist only while it is open.
    pub fn desc(&self) -> *mut spdk_bdev_desc {
        self.desc
    }

    /// Its bdev; valid while it is open, to be compared afterwards.
    pub fn bdev(&self) -> *mut spdk_bdev {
        self.bdev
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Notes that the base bdev was removed under us.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether the base bdev can do this. On the app thread, while open.
    pub fn supports(&self, io_type: spdk_bdev_io_type) -> bool {
        // SAFETY: the leg is open.
        unsafe { spdk_bdev_io_type_supported(self.bdev, io_type) }
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.close();
    }
}

fn look_up(name: &str) -> Result<*mut spdk_bdev, RpcError> {
    let c_name = c_name(name)?;
    // SAFETY: a NUL-terminated string.
    let bdev = unsafe { spdk_bdev_get_by_name(c_name.as_ptr()) };
    if bdev.is_null() {
        return Err(RpcError::no_device(Wording {
            subject: &format!("base_bdev {}", quote(name)),
            wrong: "no such bdev",
            expected: "the name of a registered bdev",
            found: "none",
            advice: "create or attach it first; bdev_get_bdevs lists what there is",
        }));
    }
    Ok(bdev)
}

/// The same bdev may hide behind a name and an alias.
fn check_new(name: &str, bdev: *mut spdk_bdev, others: &[Leg]) -> Result<(), RpcError> {
    match others.iter().position(|other| other.bdev == bdev) {
        None => Ok(()),
        Some(slot) => Err(RpcError::invalid(Wording {
            subject: &format!("base_bdev {}", quote(name)),
            wrong: "named twice",
            expected: "a different bdev for each leg",
            found: &format!("the bdev of slot {slot}, {}", quote(&others[slot].name)),
            advice: "name it once",
        })),
    }
}

/// Whether a registered bdev could be a leg: not claimed, not zoned.
fn check_usable(name: &str, bdev: *mut spdk_bdev) -> Result<mirror_shim_bdev_view, RpcError> {
    let subject = format!("base_bdev {}", quote(name));
    let mut view = MaybeUninit::uninit();
    // SAFETY: a registered bdev; the shim fills every field.
    let view = unsafe {
        mirror_shim_bdev_view(bdev, view.as_mut_ptr());
        view.assume_init()
    };
    // SAFETY: a registered bdev; the module's name is static.
    let owner = unsafe { text::of_c(mirror_shim_bdev_claimed_by(bdev)) };
    if !owner.is_empty() {
        return Err(RpcError::busy(Wording {
            subject: &subject,
            wrong: "claimed by another module",
            expected: "a bdev that nothing is built on",
            found: &format!("a claim by {}", quote(&owner)),
            advice: "delete what is built on it, or name another bdev",
        }));
    }
    if view.zoned {
        return Err(RpcError::invalid(Wording {
            subject: &subject,
            wrong: "zoned",
            expected: "a bdev that can be written anywhere",
            found: "a zoned one",
            advice: "name another bdev",
        }));
    }
    Ok(view)
}

fn c_name(name: &str) -> Result<CString, RpcError> {
    CString::new(name).map_err(|_| RpcError::invalid(format!("base_bdev {}: a name has no NUL in it", quote(name))))
}

fn refused(subject: &str, wrong: &str, rc: c_int) -> RpcError {
    let reason = std::io::Error::from_raw_os_error(-rc);
    let message = format!("{subject}: {wrong}; {reason}; see the target's log");
    match -rc {
        libc::ENOMEM => RpcError::no_memory(message),
        libc::ENODEV => RpcError::no_device(message),
        _ => RpcError::busy(message),
    }
}

/// What SPDK tells of an open bdev, on the app thread.
///
/// # Safety
/// Called by SPDK for a descriptor that [`Leg::open`] opened.
unsafe extern "C" fn event(event: spdk_bdev_event_type, bdev: *mut spdk_bdev, _: *mut c_void) {
    if event == SPDK_BDEV_EVENT_REMOVE {
        removal::leg_removed(bdev);
    }
}

const _: () = assert!(mirror_engine::MAX_LEGS == mirror_rpc::BASE_BDEVS_MAX);

/// The legs with their slots, which are counted from 0 in the order of `base_bdevs`.
pub fn slots(legs: &[Leg]) -> impl Iterator<Item = (Slot, &Leg)> {
    legs.iter().enumerate().filter_map(|(index, leg)| Some((Slot::new(index)?, leg)))
}
