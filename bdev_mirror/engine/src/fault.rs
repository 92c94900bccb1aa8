//! Whose fault an error is.

/// How a child failed, seen from the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The leg refused the command as such, before any of it was done: it could not be submitted, or its opcode or a
    /// field is invalid. Another leg of the same format mostly answers the same; where one does not, the legs differ and
    /// [`crate::Verdict::Bad`] says so.
    Rejected,
    /// The command is wrong, and the leg refused it or a part of it: a range, protection information, a reservation. Not
    /// the leg's doing, and not counted as its error. But layers below split a command and report the part that was
    /// refused, so other parts may have been written.
    Deserved,
    /// Cut short by a reset or an abort: as [`Fault::Failed`], but not the leg's doing, and not counted as its error.
    Aborted,
    /// Anything else: the leg may have written all of it, a part, or nothing.
    Failed,
}

impl Fault {
    /// Judges an NVMe status: type and code as in NVM Express Base Specification 2.0, figures 93 to 98.
    #[must_use]
    pub const fn of_nvme(status_code_type: u8, status_code: u8) -> Self {
        const GENERIC: u8 = 0;
        const INVALID_OPCODE: u8 = 0x01;
        const INVALID_FIELD: u8 = 0x02;
        const ABORTED_BY_REQUEST: u8 = 0x07;
        const ABORTED_BY_QUEUE_DELETION: u8 = 0x08;
        const INVALID_NAMESPACE_OR_FORMAT: u8 = 0x0b;
        const LBA_OUT_OF_RANGE: u8 = 0x80;
        const RESERVATION_CONFLICT: u8 = 0x83;
        const MEDIA: u8 = 2;
        const GUARD_CHECK: u8 = 0x82;
        const REFERENCE_TAG_CHECK: u8 = 0x84;
        const COMPARE_FAILURE: u8 = 0x85;
        match (status_code_type, status_code) {
            (GENERIC, INVALID_OPCODE | INVALID_FIELD | INVALID_NAMESPACE_OR_FORMAT) => Self::Rejected,
            (GENERIC, LBA_OUT_OF_RANGE | RESERVATION_CONFLICT) => Self::Deserved,
            // Guard, application tag and reference tag: the write's own protection information is wrong.
            (MEDIA, GUARD_CHECK..=REFERENCE_TAG_CHECK) => Self::Deserved,
            // What was compared differs: that is an answer. The mirror sends no compare itself; a layer below may.
            (MEDIA, COMPARE_FAILURE) => Self::Deserved,
            (GENERIC, ABORTED_BY_REQUEST | ABORTED_BY_QUEUE_DELETION) => Self::Aborted,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_own_errors_are_no_fault_of_the_leg() {
        assert_eq!(Fault::of_nvme(0, 0x02), Fault::Rejected);
        assert_eq!(Fault::of_nvme(0, 0x83), Fault::Deserved, "may come in the middle of a split command");
        assert_eq!(Fault::of_nvme(2, 0x82), Fault::Deserved, "may be that of the last part");
        assert_eq!(Fault::of_nvme(2, 0x85), Fault::Deserved, "a miscompare is an answer");
    }

    #[test]
    fn what_was_cut_short_is_nobodys_fault() {
        assert_eq!(Fault::of_nvme(0, 0x07), Fault::Aborted, "by an abort");
        assert_eq!(Fault::of_nvme(0, 0x08), Fault::Aborted, "by a reset that deleted the queue");
    }

    #[test]
    fn all_other_errors_are() {
        assert_eq!(Fault::of_nvme(2, 0x80), Fault::Failed, "write fault");
        assert_eq!(Fault::of_nvme(2, 0x81), Fault::Failed, "unrecovered read error");
        assert_eq!(Fault::of_nvme(0, 0x06), Fault::Failed, "internal device error");
        assert_eq!(Fault::of_nvme(3, 0x00), Fault::Failed, "path error");
    }
}
