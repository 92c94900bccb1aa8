//! The parameters of `bdev_mirror_stop`.

use crate::RpcError;
use crate::method::STOP;
use crate::object::Object;

/// A checked call of `bdev_mirror_stop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopParams {
    /// The mirror.
    pub name: String,
}

impl StopParams {
    /// Reads the text of a call's `params`.
    pub fn parse(json: &str) -> Result<Self, RpcError> {
        let object = Object::parse(&STOP, json)?;
        let name = object.required("name", object.bdev_name("name")?)?;
        Ok(Self { name: name.to_owned() })
    }
}
