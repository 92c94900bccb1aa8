//! Making a mirror: every step is undone if a later one fails.

use crate::leg::{Leg, slots};
use crate::log::Level;
use crate::mirror::{Capabilities, Mirror, Phase};
use crate::{channel, io, log, registry, removal, report, text};
use mirror_engine::geometry::{SizeError, mirror_blocks};
use mirror_rpc::{CreateParams, CreateReply, Durability, LegReply, RpcError, SIZE_MB_MAX, UnmapMode, Wording, quote};
use spdk_sys::*;
use std::ffi::CString;
use std::sync::Arc;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// Makes the mirror that was asked for. On the app thread.
pub fn create(mut params: CreateParams) -> Result<CreateReply, RpcError> {
    check_name(&params.name)?;
    check_uuid(params.uuid)?;
    // Each leg closes itself again when a later step fails.
    let mut legs = Vec::with_capacity(params.base_bdevs.len());
    for name in &params.base_bdevs {
        legs.push(Leg::open(name, &legs)?);
    }
    check_formats(&legs)?;
    if params.require_durable_legs {
        check_durability(&legs)?;
    }
    let num_blocks = size(&legs, params.size_mb)?;
    let block_bytes = u64::from(legs[0].format.block_bytes);
    params.uuid.get_or_insert_with(Uuid::new_v4);
    // What a replay of the configuration has to arrive at, whatever legs it finds.
    let bytes = num_blocks.checked_mul(block_bytes).filter(|bytes| bytes.is_multiple_of(MIB));
    params.size_mb = bytes.map(|bytes| bytes / MIB).filter(|size_mb| *size_mb <= SIZE_MB_MAX).or(params.size_mb);
    let capable = Capabilities::of(&legs, params.unmap == UnmapMode::Pass);
    let mirror = Arc::new(Mirror::new(params, num_blocks, legs, capable));
    register(&mirror)?;
    mirror.note(Level::Notice, &format!("created with {} legs of {num_blocks} blocks", mirror.legs.len()));
    Ok(reply(&mirror))
}

fn check_name(name: &str) -> Result<(), RpcError> {
    let c_name = CString::new(name).map_err(|_| RpcError::invalid("name: a name has no NUL in it"))?;
    // SAFETY: a NUL-terminated string; the app thread, so the bdev cannot go while we look.
    let taken = unsafe { !spdk_bdev_get_by_name(c_name.as_ptr()).is_null() };
    let listed = registry::find(name).is_some_and(|mirror| mirror.phase() != Phase::GoingAway);
    if taken || listed {
        return Err(RpcError::exists(Wording {
            subject: &format!("name {}", quote(name)),
            wrong: "taken",
            expected: "a name that no bdev and no mirror has",
            found: if taken { "a bdev of that name" } else { "an offline mirror of that name" },
            advice: "give another name, or delete the other one first",
        }));
    }
    Ok(())
}

fn check_uuid(uuid: Option<Uuid>) -> Result<(), RpcError> {
    let Some(uuid) = uuid else { return Ok(()) };
    // SAFETY: 16 bytes; the app thread, so no bdev goes while the shim looks and we copy the name.
    let holder = unsafe { text::of_c(mirror_shim_bdev_of_uuid(uuid.as_bytes().as_ptr())) };
    if holder.is_empty() {
        return Ok(());
    }
    Err(RpcError::exists(Wording {
        subject: &format!("uuid {}", quote(&uuid.to_string())),
        wrong: "taken",
        expected: "a uuid that no bdev has",
        found: &format!("bdev {}", quote(&holder)),
        advice: "give another one, or none for a new one",
    }))
}

fn check_formats(legs: &[Leg]) -> Result<(), RpcError> {
    let first = &legs[0];
    for leg in &legs[1..] {
        if let Some((what, expected, found)) = first.format.difference(&leg.format) {
            return Err(RpcError::invalid(Wording {
                subject: &format!("base_bdev {}", quote(&leg.name)),
                wrong: &format!("another {what} than {}", quote(&first.name)),
                expected: &expected,
                found: &found,
                advice: "use legs of one format",
            }));
        }
    }
    Ok(())
}

fn check_durability(legs: &[Leg]) -> Result<(), RpcError> {
    match legs.iter().find(|leg| leg.flushing.durability == Durability::Unknown) {
        None => Ok(()),
        Some(leg) => Err(RpcError::invalid(Wording {
            subject: &format!("base_bdev {}", quote(&leg.name)),
            wrong: "nobody knows when its writes are durable, and require_durable_legs is set",
            expected: "an NVMe drive on PCIe, or a bdev of a module known to flush",
            found: "durability unknown",
            advice: "use another bdev, or leave require_durable_legs out",
        })),
    }
}

fn size(legs: &[Leg], size_mb: Option<u64>) -> Result<u64, RpcError> {
    let format = &legs[0].format;
    // min_by_key takes the first of equals; a mirror has at least one leg.
    let smallest = legs.iter().min_by_key(|leg| leg.blocks).unwrap_or(&legs[0]);
    mirror_blocks(smallest.blocks, format.block_bytes, format.write_unit_blocks, size_mb).map_err(|error| match error {
        SizeError::TooSmall { needed_blocks } => RpcError::no_space(Wording {
            subject: &format!("base_bdev {}", quote(&smallest.name)),
            wrong: "too small",
            expected: &format!("at least {needed_blocks} blocks of {} bytes", format.block_bytes),
            found: &smallest.blocks.to_string(),
            advice: if size_mb.is_some() { "use a larger bdev, or a smaller size_mb" } else { "use a larger bdev" },
        }),
        SizeError::NotWhole { write_unit_blocks } => RpcError::invalid(Wording {
            subject: "size_mb",
            wrong: "not a whole number of the legs' write units",
            expected: &format!("a multiple of {write_unit_blocks} blocks of {} bytes", format.block_bytes),
            found: &format!("{} MiB", size_mb.unwrap_or_default()),
            advice: "give another size_mb, or leave it out",
        }),
    })
}

/// Registers the io_device, then the bdev, which other modules examine and may open at once.
fn register(mirror: &Arc<Mirror>) -> Result<(), RpcError> {
    let subject = format!("name {}", quote(mirror.name()));
    let name = CString::new(mirror.name()).map_err(|_| RpcError::invalid("name: a name has no NUL in it"))?;
    let uuid = mirror.params.uuid.unwrap_or_default().into_bytes();
    let ops = mirror_shim_bdev_ops {
        destruct: Some(removal::destruct),
        submit_request: Some(io::submit_request),
        io_type_supported: Some(io::io_type_supported),
        get_io_channel: Some(channel::get_io_channel),
        dump_info_json: Some(report::dump_info_json),
        write_config_json: Some(report::write_config_json),
    };
    let ctx = Arc::as_ptr(mirror).cast_mut().cast();
    // SAFETY: the legs are open, so their bdevs stay; the shim copies the name, the uuid and the table.
    let bdev = unsafe {
        let bdev =
            mirror_shim_bdev_new(name.as_ptr(), uuid.as_ptr(), ctx, mirror.num_blocks, &ops, mirror.legs[0].bdev());
        if bdev.is_null() {
            return Err(RpcError::no_memory(format!("{subject}: no memory for a bdev")));
        }
        for leg in &mirror.legs[1..] {
            mirror_shim_bdev_stack(bdev, leg.bdev());
        }
        bdev
    };
    mirror.set_bdev(bdev);
    // Listed first: whoever examines the new bdev may call back. The registry's reference keeps `ctx` alive until
    // removal has unregistered both.
    registry::add(mirror);
    let mut destructing = false;
    // SAFETY: the mirror lives until its io_device was unregistered.
    let rc = unsafe {
        spdk_io_device_register(
            ctx,
            Some(channel::create),
            Some(channel::destroy),
            channel::CONTEXT_BYTES,
            name.as_ptr(),
        );
        mirror_shim_bdev_register(bdev, &mut destructing)
    };
    if rc != 0 {
        if destructing {
            removal::expect_destruct(mirror);
        } else {
            removal::undo_registration(mirror);
        }
        let reason = std::io::Error::from_raw_os_error(-rc);
        return Err(match -rc {
            libc::EEXIST => RpcError::exists(format!("{subject}: taken; {reason}; give another name or uuid")),
            libc::ENOMEM => RpcError::no_memory(format!("{subject}: cannot be registered; {reason}")),
            _ => RpcError::invalid(format!("{subject}: cannot be registered; {reason}; see the target's log")),
        });
    }
    Ok(())
}

fn reply(mirror: &Mirror) -> CreateReply {
    let legs: Vec<_> = slots(&mirror.legs)
        .map(|(slot, leg)| LegReply { slot: slot.index(), name: leg.name.clone(), durability: leg.flushing.durability })
        .collect();
    let warnings: Vec<_> = warnings(mirror);
    for warning in &warnings {
        log::of_mirror(Level::Warning, mirror.name(), warning);
    }
    CreateReply {
        name: mirror.name().to_owned(),
        uuid: mirror.params.uuid.unwrap_or_default(),
        block_size: mirror.legs[0].format.block_bytes,
        num_blocks: mirror.num_blocks,
        size_mb: mirror.params.size_mb,
        sync_source: None,
        legs,
        warnings,
    }
}

fn warnings(mirror: &Mirror) -> Vec<String> {
    let mut warnings: Vec<_> = mirror
        .legs
        .iter()
        .filter(|leg| leg.flushing.durability == Durability::Unknown)
        .map(|leg| {
            format!(
                "base_bdev {}: nobody knows when its writes are durable; a power cut may lose flushed data on it",
                quote(&leg.name)
            )
        })
        .collect();
    if mirror.legs.len() == 1 {
        warnings.push("a single leg: nothing is mirrored".to_owned());
    }
    warnings
}
