//! The parameters of `bdev_mirror_get_bdevs`.

use crate::method::GET_BDEVS;
use crate::object::Object;
use crate::{Category, RpcError, State};

/// A checked call of `bdev_mirror_get_bdevs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetBdevsParams {
    /// One mirror, or every one.
    pub name: Option<String>,
    /// In this state only.
    pub category: Category,
}

impl GetBdevsParams {
    /// Reads the text of a call's `params`.
    pub fn parse(json: &str) -> Result<Self, RpcError> {
        let object = Object::parse(&GET_BDEVS, json)?;
        Ok(Self { name: object.bdev_name("name")?.map(str::to_owned), category: object.choice("category")? })
    }
}

impl Category {
    /// Whether a mirror in this state is listed.
    pub fn includes(self, state: State) -> bool {
        match self {
            Self::All => true,
            Self::Online => state == State::Online,
            Self::Configuring => false,
            Self::Offline => state == State::Offline,
        }
    }
}
