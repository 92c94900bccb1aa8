//! Fields one after the other, little endian: the code reads in the order of the tables in `docs/format.md`.

use uuid::Uuid;

/// Takes fields from the front. Past the end it yields zeros: callers hand in whole structures.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    reserve_is_zero: bool,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, reserve_is_zero: true }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.rest.split_first_chunk() {
            Some((head, rest)) => {
                self.rest = rest;
                *head
            }
            None => [0; N],
        }
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.bytes())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        Uuid::from_bytes(self.bytes())
    }

    /// Skips bytes that this version does not use, and notes whether any was set.
    pub(super) fn reserve<const N: usize>(&mut self) {
        self.reserve_is_zero &= self.bytes::<N>() == [0; N];
    }

    /// Whether all the reserve so far was zero.
    pub(super) const fn reserve_is_zero(&self) -> bool {
        self.reserve_is_zero
    }
}

/// Puts fields to the front of a buffer. Past its end nothing is written.
pub(super) struct Writer<'a> {
    rest: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn bytes<const N: usize>(&mut self, field: [u8; N]) {
        debug_assert!(self.rest.len() >= N);
        if let Some((head, rest)) = std::mem::take(&mut self.rest).split_first_chunk_mut() {
            *head = field;
            self.rest = rest;
        }
    }

    pub(super) fn u8(&mut self, field: u8) {
        self.bytes(field.to_le_bytes());
    }

    pub(super) fn u32(&mut self, field: u32) {
        self.bytes(field.to_le_bytes());
    }

    pub(super) fn u64(&mut self, field: u64) {
        self.bytes(field.to_le_bytes());
    }

    pub(super) fn uuid(&mut self, field: Uuid) {
        self.bytes(field.into_bytes());
    }

    pub(super) fn reserve<const N: usize>(&mut self) {
        self.bytes([0; N]);
    }
}

/// The place of the checksum in superblocks and units alike.
const CHECKSUM_AT: usize = 8;
const CHECKSUM_END: usize = CHECKSUM_AT + 4;

/// The crc32c of a structure, its own field taken as zero.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let (before, after) = (bytes.get(..CHECKSUM_AT), bytes.get(CHECKSUM_END..));
    let crc = crc32c::crc32c(before.unwrap_or_default());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[0; 4]), after.unwrap_or_default())
}

/// Computes the checksum of a finished structure and stores it.
pub(super) fn seal(bytes: &mut [u8]) {
    let crc = checksum(bytes);
    if let Some(field) = bytes.get_mut(CHECKSUM_AT..CHECKSUM_END) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
}
