//! What a superblock may say: rules that hold between its fields. Checked after each decoding and, in debug builds, before
//! each encoding.

use super::layout::{GeometryError, LogType};
use super::leg_record::{LegRecord, LegState};
use super::superblock::{NAME_BYTES_MAX, Superblock};
use uuid::Uuid;

/// The highest sequence, generation and heartbeat: so far from the end of 64 bits that adding to them is safe.
pub const COUNTER_MAX: u64 = 1 << 62;

/// What makes no sense in a superblock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ContentError {
    /// A uuid that every superblock has is nil.
    #[error("{field}: expected a uuid, found nil")]
    NilUuid {
        /// Which one.
        field: &'static str,
    },
    /// A counter that starts at 1 is 0.
    #[error("{field}: expected at least 1, found 0")]
    Zero {
        /// Which one.
        field: &'static str,
    },
    /// A counter is beyond all that can be counted to: nothing may follow it.
    #[error("{field}: expected at most {COUNTER_MAX}, found {found}")]
    Counter {
        /// Which one.
        field: &'static str,
        /// In the superblock.
        found: u64,
    },
    /// There is no such slot.
    #[error("{field}: expected slot 0 to 15, found {found}")]
    Slot {
        /// Whose slot.
        field: &'static str,
        /// In the superblock.
        found: u8,
    },
    /// There is no such log type on a leg.
    #[error("log type: expected 0 (internal) or 1 (disk), found {found}")]
    LogType {
        /// In the superblock.
        found: u8,
    },
    /// Flags that this version does not know.
    #[error("flags: expected none beyond 0x03, found {unknown:#04x}")]
    Flags {
        /// Those it does not know.
        unknown: u8,
    },
    /// Flags of a leg that this version does not know.
    #[error("flags of slot {slot}: expected none beyond 0x01, found {unknown:#04x}")]
    LegFlags {
        /// Of the leg.
        slot: usize,
        /// Those it does not know.
        unknown: u8,
    },
    /// There is no such state of a leg.
    #[error("state of slot {slot}: expected 0 to 4, found {found}")]
    State {
        /// Of the leg.
        slot: usize,
        /// In the superblock.
        found: u8,
    },
    /// Bytes are set that this version does not use, and no feature bit says whose they are.
    #[error("reserve: expected zeros, found other bytes without an unknown feature bit")]
    Reserve,
    /// The name is not one.
    #[error("name: expected 1 to {NAME_BYTES_MAX} bytes of UTF-8 without NUL, padded with zeros; found {found}")]
    Name {
        /// What is wrong with it.
        found: &'static str,
    },
    /// A slot with a leg has no uuid, or one without a leg holds something.
    #[error("slot {slot}: expected {expected}, found otherwise")]
    Record {
        /// The slot.
        slot: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// The table has another leg in this leg's own slot.
    #[error("leg in the own slot {slot}: expected {expected}, found {found}")]
    OwnSlot {
        /// The slot.
        slot: usize,
        /// This leg.
        expected: Uuid,
        /// The one in the table.
        found: Uuid,
    },
    /// Two slots have the same leg.
    #[error("legs: expected each once, found {uuid} in slots {first} and {second}")]
    Duplicate {
        /// The leg.
        uuid: Uuid,
        /// The lower slot.
        first: usize,
        /// The higher slot.
        second: usize,
    },
    /// A leg's last generation in sync does not fit its state.
    #[error("last generation in sync of slot {slot}: expected {rule} {generation}, found {found}")]
    LastInSync {
        /// Of the leg.
        slot: usize,
        /// How it relates to the generation.
        rule: &'static str,
        /// Of the superblock.
        generation: u64,
        /// Of the leg.
        found: u64,
    },
    /// No leg is in sync: nobody has the data.
    #[error("legs in sync: expected at least one, found none")]
    NoneInSync,
    /// The chosen source is not in sync.
    #[error("chosen source: expected a leg in sync, found slot {slot} in state {found:?}")]
    Source {
        /// The slot.
        slot: usize,
        /// Of the leg there.
        found: LegState,
    },
    /// The uuid of the log does not fit the log type.
    #[error("uuid of the log with log type {log:?}: expected {expected}, found {found}")]
    LogUuid {
        /// Where the maps are.
        log: LogType,
        /// Nil or not.
        expected: &'static str,
        /// In the superblock.
        found: Uuid,
    },
    /// A leg of the table cannot hold this mirror.
    #[error("geometry on slot {slot}: {error}")]
    Geometry {
        /// Of the leg.
        slot: usize,
        /// The rule that is broken.
        error: GeometryError,
    },
}

impl Superblock {
    /// Whether its fields agree with each other.
    ///
    /// # Errors
    /// [`ContentError`]: the first rule that is broken.
    pub fn check(&self) -> Result<(), ContentError> {
        self.check_identity()?;
        for (slot, record) in self.legs.iter().enumerate() {
            self.check_record(slot, record)?;
        }
        let own = &self.legs[self.slot.index()];
        if own.uuid != self.leg {
            return Err(ContentError::OwnSlot { slot: self.slot.index(), expected: self.leg, found: own.uuid });
        }
        if self.in_sync().is_empty() {
            return Err(ContentError::NoneInSync);
        }
        if let Some(source) = self.source
            && !self.in_sync().contains(source)
        {
            let slot = source.index();
            return Err(ContentError::Source { slot, found: self.legs[slot].state });
        }
        Ok(())
    }

    fn check_identity(&self) -> Result<(), ContentError> {
        for (field, uuid) in [("mirror", self.mirror), ("leg", self.leg)] {
            if uuid.is_nil() {
                return Err(ContentError::NilUuid { field });
            }
        }
        for (field, counter) in [("sequence", self.sequence), ("generation", self.generation)] {
            if counter == 0 {
                return Err(ContentError::Zero { field });
            }
        }
        let counters = [("sequence", self.sequence), ("generation", self.generation), ("heartbeat", self.heartbeat)];
        for (field, found) in counters {
            if found > COUNTER_MAX {
                return Err(ContentError::Counter { field, found });
            }
        }
        let name = self.name.as_bytes();
        if name.is_empty() {
            return Err(ContentError::Name { found: "none" });
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(ContentError::Name { found: "more bytes" });
        }
        if name.contains(&0) {
            return Err(ContentError::Name { found: "a NUL" });
        }
        let (log, found) = (self.log, self.log_uuid);
        match log {
            LogType::Internal if !found.is_nil() => Err(ContentError::LogUuid { log, expected: "nil", found }),
            LogType::Disk if found.is_nil() => Err(ContentError::LogUuid { log, expected: "that of a bdev", found }),
            LogType::Internal | LogType::Disk => Ok(()),
            LogType::Core => Err(ContentError::LogType { found: super::superblock::log_code(log) }),
        }
    }

    /// One slot, and that no lower slot has its leg.
    fn check_record(&self, slot: usize, record: &LegRecord) -> Result<(), ContentError> {
        if record.is_empty() {
            let blank = *record == LegRecord::default();
            return if blank {
                Ok(())
            } else {
                Err(ContentError::Record { slot, expected: "all of an empty slot zero" })
            };
        }
        if record.uuid.is_nil() {
            return Err(ContentError::Record { slot, expected: "the uuid of a leg" });
        }
        if let Some(first) = self.legs[..slot].iter().position(|lower| lower.uuid == record.uuid) {
            return Err(ContentError::Duplicate { uuid: record.uuid, first, second: slot });
        }
        let (generation, found) = (self.generation, record.last_in_sync);
        if found > generation {
            return Err(ContentError::LastInSync { slot, rule: "at most the generation", generation, found });
        }
        self.geometry.check(record.blocks, self.log).map_err(|error| ContentError::Geometry { slot, error })
    }
}
