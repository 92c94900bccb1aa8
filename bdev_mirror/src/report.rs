//! What a mirror says of itself: get_bdevs, SPDK's own bdev_get_bdevs, save_config.

use crate::leg::{Leg, slots};
use crate::log::{self, Level};
use crate::mirror::{Mirror, Phase};
use crate::registry;
use mirror_engine::health::{self, judge};
use mirror_rpc::{Health, InitialSync, LegErrors, LegInfo, LegState, LogType, MirrorInfo, ReadPolicy, State};
use spdk_sys::*;
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

/// All that `bdev_mirror_get_bdevs` says of a mirror.
pub fn info(mirror: &Mirror) -> MirrorInfo {
    let (phase, last_event) = {
        let control = mirror.control();
        (control.phase, control.last_event.clone())
    };
    let online = phase == Phase::Online;
    let present = mirror.legs.iter().filter(|leg| !leg.is_gone()).count();
    let base_bdevs_list: Vec<_> = slots(&mirror.legs).map(|(slot, leg)| leg_info(mirror, slot.index(), leg)).collect();
    let mut info = MirrorInfo {
        name: mirror.name().to_owned(),
        uuid: mirror.params.uuid.unwrap_or_default(),
        state: if online { State::Online } else { State::Offline },
        num_base_bdevs: mirror.legs.len(),
        num_base_bdevs_discovered: present,
        num_base_bdevs_operational: if online { present } else { 0 },
        health: match judge(online, mirror.legs.len(), mirror.has_diverged()) {
            health::Health::Optimal => Health::Optimal,
            health::Health::Degraded => Health::Degraded,
            health::Health::Failing => Health::Failing,
            health::Health::Inconsistent => Health::Inconsistent,
        },
        status: String::new(),
        log_type: LogType::Core,
        initial_sync: InitialSync::None,
        read_policy: ReadPolicy::LeastOutstanding,
        unmap: mirror.params.unmap,
        block_size: mirror.legs.first().map_or(0, |leg| leg.format.block_bytes),
        num_blocks: mirror.num_blocks,
        last_event: (!last_event.is_empty()).then_some(last_event),
        nomem_failed_ios: mirror.given_up(),
        base_bdevs_list,
    };
    info.status = info.status_letters();
    info
}

fn leg_info(mirror: &Mirror, slot: usize, leg: &Leg) -> LegInfo {
    let (state, reason) = if leg.is_gone() {
        (LegState::Missing, Some("its base bdev was removed".to_owned()))
    } else if mirror.has_diverged() {
        (LegState::Inconsistent, Some("a write or flush failed or was cut short; the legs may differ".to_owned()))
    } else {
        (LegState::InSync, None)
    };
    LegInfo {
        name: leg.name.clone(),
        uuid: (!leg.uuid.is_nil()).then_some(leg.uuid),
        is_configured: leg.is_open(),
        data_offset: 0,
        data_size: mirror.num_blocks,
        slot,
        state,
        reason,
        durability: leg.flushing.durability,
        errors: LegErrors {
            read: leg.errors.read.load(Ordering::Relaxed),
            write: leg.errors.write.load(Ordering::Relaxed),
            flush: leg.errors.flush.load(Ordering::Relaxed),
            corrected: 0,
        },
    }
}

/// The mirror's part of `bdev_get_bdevs`.
///
/// # Safety
/// The bdev layer passes the context of a bdev of ours, on the app thread.
pub unsafe extern "C" fn dump_info_json(ctx: *mut c_void, w: *mut spdk_json_write_ctx) -> c_int {
    // SAFETY: the context is the mirror, alive while its bdev is registered.
    let mirror = unsafe { &*ctx.cast::<Mirror>() };
    let Ok(text) = serde_json::to_string(&info(mirror)) else { return -libc::EINVAL };
    // SAFETY: SPDK's writer has an object open; the shim copies the text.
    unsafe { mirror_shim_json_member(w, c"mirror".as_ptr(), text.as_ptr().cast(), text.len()) };
    0
}

/// The module's part of `save_config`: nothing, since each bdev writes its own. Mirrors without one are named in the log.
///
/// # Safety
/// SPDK calls it on the app thread.
pub unsafe extern "C" fn config_json(_: *mut spdk_json_write_ctx) -> c_int {
    for mirror in registry::all().iter().filter(|mirror| mirror.phase() != Phase::Online) {
        left_out(mirror, "it is offline");
    }
    0
}

fn left_out(mirror: &Mirror, why: &str) {
    let advice = "make its legs equal and create it anew";
    let text = format!("left out of the saved configuration: {why}; {advice}");
    log::of_mirror(Level::Error, mirror.name(), &text);
}

/// The call that makes this mirror again, for `save_config`. A mirror whose legs may differ is left out: made again with
/// `initial_sync: none` it would look as if they were equal.
///
/// # Safety
/// The bdev layer passes a bdev of ours, on the app thread.
pub unsafe extern "C" fn write_config_json(bdev: *mut spdk_bdev, w: *mut spdk_json_write_ctx) {
    // SAFETY: the bdev's context is the mirror, alive while its bdev is registered.
    let mirror = unsafe { &*mirror_shim_bdev_ctx(bdev).cast::<Mirror>() };
    if mirror.phase() != Phase::Online {
        return;
    }
    if mirror.has_diverged() {
        return left_out(mirror, "its legs may differ");
    }
    let Ok(text) = serde_json::to_string(&mirror_rpc::config_call(&mirror.params)) else { return };
    // SAFETY: SPDK's writer has an array open; the shim copies the text.
    unsafe { mirror_shim_json_raw(w, text.as_ptr().cast(), text.len()) };
}
