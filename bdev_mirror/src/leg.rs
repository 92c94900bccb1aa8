//! A leg: a base bdev, open and claimed.

use crate::durability::{self, Flushing};
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

/// What the legs of a mirror have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub block_bytes: u32,
    pub metadata_bytes: u32,
    pub metadata_interleaved: bool,
    pub dif_type: u32,
    pub dif_pi_format: u32,
    pub dif_is_head_of_metadata: bool,
    pub write_unit_blocks: u32,
    pub split_on_write_unit: bool,
}

impl Format {
    /// The first difference to another format: what, ours, theirs.
    pub fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let fields = [
            ("block size", self.block_bytes, other.block_bytes),
            ("metadata size", self.metadata_bytes, other.metadata_bytes),
            ("interleaving of metadata", self.metadata_interleaved.into(), other.metadata_interleaved.into()),
            ("protection information type", self.dif_type, other.dif_type),
            ("protection information format", self.dif_pi_format, other.dif_pi_format),
            (
                "place of the protection information",
                self.dif_is_head_of_metadata.into(),
                other.dif_is_head_of_metadata.into(),
            ),
            ("write unit in blocks", self.write_unit_blocks, other.write_unit_blocks),
            ("splitting by write units", self.split_on_write_unit.into(), other.split_on_write_unit.into()),
        ];
        fields
            .into_iter()
            .find(|(_, ours, theirs)| ours != theirs)
            .map(|(what, ours, theirs)| (what, ours.to_string(), theirs.to_string()))
    }
}

/// Errors of a leg, counted by whichever thread meets them.
#[derive(Default)]
pub struct Errors {
    pub read: AtomicU64,
    pub write: AtomicU64,
    pub flush: AtomicU64,
}

/// A base bdev that belongs to a mirror. Opened, claimed and closed on the app thread.
pub struct Leg {
    pub name: String,
    pub uuid: Uuid,
    pub blocks: u64,
    pub format: Format,
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
    /// Opens and claims the bdev of this name, on the app thread.
    pub fn open(name: &str) -> Result<Self, RpcError> {
        let (bdev, view) = find(name)?;
        let subject = format!("base_bdev {}", quote(name));
        // SAFETY: the shim's strings live as long as the bdev; we copy them at once.
        let module = unsafe { text::of_c(view.module) };
        // SAFETY: the bdev is registered, as find() has just seen; this is the app thread, so it stays.
        let flushing = unsafe { durability::of(bdev, &module, view.write_cache) };
        let mut leg = Self {
            name: name.to_owned(),
            uuid: Uuid::from_bytes(view.uuid),
            blocks: view.blockcnt,
            format: format_of(&view),
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
        // SAFETY: just opened, not claimed by anyone: find() has looked.
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

/// A leg as one channel sees it.
pub struct ChannelLeg {
    desc: *mut spdk_bdev_desc,
    io_channel: *mut spdk_io_channel,
    outstanding: std::cell::Cell<u32>,
}

impl ChannelLeg {
    /// A slot without a leg.
    pub fn none() -> Self {
        Self { desc: ptr::null_mut(), io_channel: ptr::null_mut(), outstanding: 0.into() }
    }

    /// The leg on the calling thread; `None` if SPDK has no channel for it.
    pub fn open(leg: &Leg) -> Option<Self> {
        // SAFETY: a mirror's legs stay open as long as its io_device is registered, and channels are made only then.
        let io_channel = unsafe { spdk_bdev_get_io_channel(leg.desc) };
        (!io_channel.is_null()).then_some(Self { desc: leg.desc, io_channel, outstanding: 0.into() })
    }

    pub fn close(&mut self) {
        if !self.io_channel.is_null() {
            // SAFETY: got by open() on this thread, put once.
            unsafe { spdk_put_io_channel(self.io_channel) };
            self.io_channel = ptr::null_mut();
        }
    }

    #[inline]
    pub fn desc(&self) -> *mut spdk_bdev_desc {
        self.desc
    }

    #[inline]
    pub fn io_channel(&self) -> *mut spdk_io_channel {
        self.io_channel
    }

    /// Children in flight on this channel.
    #[inline]
    pub fn outstanding(&self) -> u32 {
        self.outstanding.get()
    }

    #[inline]
    pub fn child_sent(&self) {
        self.outstanding.set(self.outstanding.get() + 1);
    }

    #[inline]
    pub fn child_ended(&self) {
        self.outstanding.set(self.outstanding.get() - 1);
    }
}

/// Looks a bdev up that could be a leg: there, not zoned, not claimed.
fn find(name: &str) -> Result<(*mut spdk_bdev, mirror_shim_bdev_view), RpcError> {
    let subject = format!("base_bdev {}", quote(name));
    let c_name = c_name(name)?;
    // SAFETY: a NUL-terminated string.
    let bdev = unsafe { spdk_bdev_get_by_name(c_name.as_ptr()) };
    if bdev.is_null() {
        return Err(RpcError::no_device(Wording {
            subject: &subject,
            wrong: "no such bdev",
            expected: "the name of a registered bdev",
            found: "none",
            advice: "create or attach it first; bdev_get_bdevs lists what there is",
        }));
    }
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
    Ok((bdev, view))
}

fn format_of(view: &mirror_shim_bdev_view) -> Format {
    Format {
        block_bytes: view.blocklen,
        metadata_bytes: view.md_len,
        metadata_interleaved: view.md_len > 0 && view.md_interleave,
        dif_type: if view.md_len > 0 { view.dif_type } else { 0 },
        dif_pi_format: if view.md_len > 0 { view.dif_pi_format } else { 0 },
        dif_is_head_of_metadata: view.md_len > 0 && view.dif_type != 0 && view.dif_is_head_of_md,
        write_unit_blocks: view.write_unit_size.max(1),
        split_on_write_unit: view.split_on_write_unit,
    }
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

/// The leg's slot; slots are counted from 0 in the order of `base_bdevs`.
pub fn slots(legs: &[Leg]) -> impl Iterator<Item = (Slot, &Leg)> {
    legs.iter().enumerate().filter_map(|(index, leg)| Some((Slot::new(index)?, leg)))
}
