//! The parameters of `bdev_mirror_create`.

use uuid::Uuid;

use crate::method::CREATE;
use crate::object::Object;
use crate::{Choice, InitialSync, LogType, ReadPolicy, RpcError, UnmapMode, Wording, bdev_name, quote};

/// Most legs of a mirror.
pub const BASE_BDEVS_MAX: usize = 16;

/// Largest `size_mb`: an exbibyte, far beyond any bdev, and its bytes still fit 63 bits.
pub const SIZE_MB_MAX: u64 = 1 << 40;

/// A checked call of `bdev_mirror_create`.
///
/// `log_type` is core, `initial_sync` none, `read_policy` least outstanding and `data_offset_kb`
/// 0: this version has nothing else, and a call that says otherwise does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateParams {
    /// Name of the mirror bdev; not among `base_bdevs`.
    pub name: String,
    /// Its UUID; `None`: make one.
    pub uuid: Option<Uuid>,
    /// 1 to [`BASE_BDEVS_MAX`] names, none twice; the index is the slot.
    pub base_bdevs: Vec<String>,
    /// Size in MiB, 1 to [`SIZE_MB_MAX`]; `None`: what the smallest leg gives.
    pub size_mb: Option<u64>,
    /// What becomes of an unmap.
    pub unmap: UnmapMode,
    /// Refuse legs whose durability is unknown.
    pub require_durable_legs: bool,
}

impl CreateParams {
    /// Reads the text of a call's `params`.
    pub fn parse(json: &str) -> Result<Self, RpcError> {
        let object = Object::parse(&CREATE, json)?;
        let name = object.required("name", object.bdev_name("name")?)?;
        let base_bdevs = object.required("base_bdevs", object.strings("base_bdevs")?)?;
        check_base_bdevs(name, &base_bdevs)?;
        object.choice::<LogType>("log_type")?;
        object.choice::<InitialSync>("initial_sync")?;
        object.choice::<ReadPolicy>("read_policy")?;
        check_data_offset(&object)?;
        Ok(Self {
            name: name.to_owned(),
            uuid: uuid(&object)?,
            base_bdevs: base_bdevs.into_iter().map(str::to_owned).collect(),
            size_mb: object.integer("size_mb", 1..=SIZE_MB_MAX)?,
            unmap: object.choice("unmap")?,
            require_durable_legs: object.boolean("require_durable_legs")?.unwrap_or(false),
        })
    }
}

fn check_base_bdevs(mirror: &str, base_bdevs: &[&str]) -> Result<(), RpcError> {
    if !(1..=BASE_BDEVS_MAX).contains(&base_bdevs.len()) {
        return Err(RpcError::invalid(Wording {
            subject: "base_bdevs",
            wrong: "wrong number of base bdevs",
            expected: &format!("1 to {BASE_BDEVS_MAX}"),
            found: &base_bdevs.len().to_string(),
            advice: "",
        }));
    }
    for (slot, name) in base_bdevs.iter().enumerate() {
        bdev_name::check(&format!("base_bdevs[{slot}]"), name)?;
        let refused = |wrong, expected, found: &str, advice| {
            Err(RpcError::invalid(Wording {
                subject: &format!("base_bdev {}", quote(name)),
                wrong,
                expected,
                found,
                advice,
            }))
        };
        if let Some(first) = base_bdevs.iter().take(slot).position(|other| other == name) {
            return refused(
                "named twice",
                "a different bdev for each leg",
                &format!("it in slots {first} and {slot}"),
                "name it once",
            );
        }
        if *name == mirror {
            return refused(
                "has the name of the mirror itself",
                "a name of its own",
                &format!("it as name and in slot {slot}"),
                "give the mirror another name",
            );
        }
    }
    Ok(())
}

fn check_data_offset(object: &Object) -> Result<(), RpcError> {
    match object.integer("data_offset_kb", 0..=u64::MAX)? {
        None | Some(0) => Ok(()),
        Some(other) => Err(RpcError::invalid(Wording {
            subject: "data_offset_kb",
            wrong: "an offset is not yet available in this version",
            expected: "0",
            found: &other.to_string(),
            advice: "give 0 or leave it out",
        })),
    }
}

/// Hyphenated only, as SPDK prints and takes it; nil means "none" to SPDK, so it is refused.
fn uuid(object: &Object) -> Result<Option<Uuid>, RpcError> {
    let Some(text) = object.string("uuid")? else {
        return Ok(None);
    };
    let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    match Uuid::try_parse(text) {
        Ok(uuid) if hyphenated && !uuid.is_nil() => Ok(Some(uuid)),
        other => Err(RpcError::invalid(Wording {
            subject: "uuid",
            wrong: if hyphenated && other.is_ok() { "all zeros" } else { "not a UUID" },
            expected: "8-4-4-4-12 hexadecimal digits, not all zero",
            found: &quote(text),
            advice: "leave it out for a new one",
        })),
    }
}

/// What a call must say to mean what every [`CreateParams`] of this version means.
pub(crate) fn implied() -> [(&'static str, &'static str); 3] {
    [
        ("log_type", LogType::Core.as_str()),
        ("initial_sync", InitialSync::None.as_str()),
        ("read_policy", ReadPolicy::LeastOutstanding.as_str()),
    ]
}
