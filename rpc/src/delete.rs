//! The parameters of `bdev_mirror_delete`.

use crate::RpcError;
use crate::method::DELETE;
use crate::object::Object;

/// A checked call of `bdev_mirror_delete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteParams {
    /// The mirror.
    pub name: String,
    /// Remove the superblocks too (the default).
    pub wipe: bool,
    /// Even while it is open.
    pub force: bool,
}

impl DeleteParams {
    /// Reads the text of a call's `params`.
    pub fn parse(json: &str) -> Result<Self, RpcError> {
        let object = Object::parse(&DELETE, json)?;
        let name = object.required("name", object.bdev_name("name")?)?;
        Ok(Self {
            name: name.to_owned(),
            wipe: object.boolean("wipe")?.unwrap_or(true),
            force: object.boolean("force")?.unwrap_or(false),
        })
    }
}
