//! What `bdev_mirror_create` answers.

use serde::Serialize;
use uuid::Uuid;

use crate::Durability;

/// The mirror as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreateReply {
    /// Name of the mirror bdev.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// In bytes.
    pub block_size: u32,
    /// In blocks.
    pub num_blocks: u64,
    /// In MiB, where it is a whole number of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_mb: Option<u64>,
    /// The leg that the others are copied from; `None` (null): nothing is copied.
    pub sync_source: Option<String>,
    /// One a slot.
    pub legs: Vec<LegReply>,
    /// What the caller should know, in sentences.
    pub warnings: Vec<String>,
}

/// A leg of a new mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegReply {
    /// Its index in `base_bdevs`.
    pub slot: usize,
    /// Name of the base bdev.
    pub name: String,
    /// How it is flushed.
    pub durability: Durability,
}
