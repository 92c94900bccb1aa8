//! What `save_config` writes for a mirror.

use serde_json::{Map, Value, json};

use crate::create::implied;
use crate::method::CREATE;
use crate::{Choice, CreateParams};

/// The call that makes the same mirror again: `{"method": "bdev_mirror_create", "params": {…}}`.
///
/// Its `params` parse back to an equal [`CreateParams`]. Options are written out even where they
/// have their defaults, so that a file means the same under a release with other defaults.
pub fn config_call(p: &CreateParams) -> Value {
    let mut params = Map::new();
    params.insert("name".to_owned(), json!(p.name));
    params.insert("base_bdevs".to_owned(), json!(p.base_bdevs));
    if let Some(uuid) = p.uuid {
        params.insert("uuid".to_owned(), json!(uuid));
    }
    for (name, word) in implied() {
        params.insert(name.to_owned(), json!(word));
    }
    if let Some(size_mb) = p.size_mb {
        params.insert("size_mb".to_owned(), json!(size_mb));
    }
    params.insert("data_offset_kb".to_owned(), json!(0));
    params.insert("unmap".to_owned(), json!(p.unmap.as_str()));
    params.insert("require_durable_legs".to_owned(), json!(p.require_durable_legs));
    json!({"method": CREATE.name, "params": params})
}
