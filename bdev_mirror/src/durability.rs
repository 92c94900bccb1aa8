//! How what a leg acknowledged becomes durable.
//!
//! `spdk_bdev_flush` is not the answer everywhere: bdev_nvme completes it without sending anything (up to 25.05 always,
//! later unless it is told otherwise), and over a fabric even a real NVM Flush ends at the target, which may answer it
//! without passing it on.

use crate::text;
use mirror_rpc::Durability;
use serde_json::Value;
use spdk_sys::*;

/// What is known of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushing {
    /// What may be promised.
    pub durability: Durability,
    /// Whether a flush is sent to it at all.
    pub sent: bool,
    /// Whether it is sent as an NVMe command.
    pub as_nvme: bool,
}

/// Looks at a bdev that is to be a leg.
///
/// # Safety
/// `bdev` is registered, and this is the app thread.
pub unsafe fn of(bdev: *mut spdk_bdev, module: &str, write_cache: bool) -> Flushing {
    // SAFETY: as the caller promises.
    let supports = |io_type| unsafe { spdk_bdev_io_type_supported(bdev, io_type) };
    // SAFETY: as the caller promises.
    let info = || unsafe { text::of_bdev_info(bdev) }.ok().and_then(|text| serde_json::from_str(&text).ok());
    let nvme_io = supports(SPDK_BDEV_IO_TYPE_NVME_IO);
    let flush = supports(SPDK_BDEV_IO_TYPE_FLUSH);
    match module {
        "nvme" => judge_nvme(nvme_io, write_cache, &info().unwrap_or(Value::Null)),
        // It stores nothing.
        "null" => Flushing { durability: Durability::NotNeeded, sent: false, as_nvme: false },
        "malloc" | "aio" | "uring" if flush => {
            Flushing { durability: Durability::BdevFlush, sent: true, as_nvme: false }
        }
        _ => Flushing { durability: Durability::Unknown, sent: flush, as_nvme: false },
    }
}

fn judge_nvme(nvme_io: bool, write_cache: bool, info: &Value) -> Flushing {
    let mut transports = Vec::new();
    collect_transports(info, &mut transports);
    let local = !transports.is_empty() && transports.iter().all(|transport| transport.eq_ignore_ascii_case("PCIe"));
    let durability = match (local, write_cache, nvme_io) {
        (true, false, _) => Durability::NotNeeded,
        (true, true, true) => Durability::NvmeFlush,
        _ => Durability::Unknown,
    };
    Flushing { durability, sent: nvme_io && durability != Durability::NotNeeded, as_nvme: nvme_io }
}

/// All values of `trtype`, wherever the release puts them.
fn collect_transports(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == "trtype" => found.push(text.clone()),
                    _ => collect_transports(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_transports(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_local_drive_is_flushed_by_its_own_command() {
        let info = json!({"nvme": {"trid": {"trtype": "PCIe", "traddr": "0000:01:00.0"}}});
        assert_eq!(judge_nvme(true, true, &info).durability, Durability::NvmeFlush);
        assert_eq!(judge_nvme(true, false, &info).durability, Durability::NotNeeded);
        assert!(!judge_nvme(true, false, &info).sent);
    }

    #[test]
    fn a_drive_behind_a_fabric_is_unknown_and_flushed_all_the_same() {
        let info = json!({"nvme": [{"trid": {"trtype": "TCP"}}, {"trid": {"trtype": "PCIe"}}]});
        let flushing = judge_nvme(true, true, &info);
        assert_eq!(flushing, Flushing { durability: Durability::Unknown, sent: true, as_nvme: true });
        assert_eq!(judge_nvme(true, false, &info).durability, Durability::Unknown);
        assert_eq!(judge_nvme(true, true, &Value::Null).durability, Durability::Unknown);
    }
}
