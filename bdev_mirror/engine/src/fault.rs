//! Whose fault an error is.

/// How a child failed, seen from the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The leg refused the command for what it asks (an invalid field, a range, protection information, a
    /// reservation): nothing was written, and another leg of the same format answers the same.
    Rejected,
    /// Anything else: the leg may have written all of it, a part, or nothing.
    Failed,
}

impl Fault {
    /// Judges an NVMe status: type and code as in NVM Express Base Specification 2.0, figures 93 to 98.
    #[must_use]
    pub const fn of_nvme(status_code_type: u8, status_code: u8) -> Self {
        const GENERIC: u8 = 0;
        const MEDIA: u8 = 2;
        match (status_code_type, status_code) {
            // Invalid opcode, invalid field, invalid namespace or format; LBA out of range; reservation conflict.
            (GENERIC, 0x01 | 0x02 | 0x0b | 0x80 | 0x83) => Self::Rejected,
            // Guard, application tag and reference tag check errors of a write's own protection information.
            (MEDIA, 0x82..=0x84) => Self::Rejected,
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
        assert_eq!(Fault::of_nvme(0, 0x83), Fault::Rejected);
        assert_eq!(Fault::of_nvme(2, 0x82), Fault::Rejected);
    }

    #[test]
    fn all_other_errors_are() {
        assert_eq!(Fault::of_nvme(2, 0x80), Fault::Failed, "write fault");
        assert_eq!(Fault::of_nvme(2, 0x81), Fault::Failed, "unrecovered read error");
        assert_eq!(Fault::of_nvme(0, 0x06), Fault::Failed, "internal device error");
        assert_eq!(Fault::of_nvme(0, 0x07), Fault::Failed, "aborted by request");
        assert_eq!(Fault::of_nvme(3, 0x00), Fault::Failed, "path error");
    }
}
