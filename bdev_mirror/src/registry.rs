//! All mirrors of this process, in the order of their creation. Looked at on the app thread.

use crate::mirror::{Mirror, Phase};
use mirror_rpc::{RpcError, Wording, quote};
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static MIRRORS: Mutex<Vec<Arc<Mirror>>> = Mutex::new(Vec::new());

/// Never held across a call into SPDK, which may call back.
fn lock() -> MutexGuard<'static, Vec<Arc<Mirror>>> {
    MIRRORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists a mirror, and keeps it alive from now on.
pub fn add(mirror: &Arc<Mirror>) {
    lock().push(Arc::clone(mirror));
}

/// Forgets a mirror; the registry's reference to it ends.
pub fn remove(mirror: &Mirror) {
    // Dropped after the lock: the last reference closes legs.
    let removed: Vec<_> = lock().extract_if(.., |other| ptr::eq(Arc::as_ptr(other), mirror)).collect();
    drop(removed);
}

/// The mirror at this address, if it is one of ours.
pub fn at(address: *const c_void) -> Option<Arc<Mirror>> {
    lock().iter().find(|mirror| ptr::eq(Arc::as_ptr(mirror).cast(), address)).cloned()
}

/// All of them; a copy, since whoever goes through them calls SPDK.
pub fn all() -> Vec<Arc<Mirror>> {
    lock().clone()
}

/// The mirror of this name; one that is going away only if there is no other, since its name is free already.
pub fn find(name: &str) -> Option<Arc<Mirror>> {
    let named: Vec<_> = all().into_iter().filter(|mirror| mirror.name() == name).collect();
    named.iter().find(|mirror| mirror.phase() != Phase::GoingAway).or(named.first()).cloned()
}

/// The mirror of this name, or -ENODEV.
pub fn expect(name: &str) -> Result<Arc<Mirror>, RpcError> {
    find(name).ok_or_else(|| {
        RpcError::no_device(Wording {
            subject: &format!("name {}", quote(name)),
            wrong: "no such mirror",
            advice: "bdev_mirror_get_bdevs lists what there is",
            ..Wording::default()
        })
    })
}

/// Forgets all of them, at the end of the module.
pub fn clear() {
    let mirrors = std::mem::take(&mut *lock());
    drop(mirrors);
}
