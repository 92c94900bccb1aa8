//! How refusals are worded, so that all of them read alike.

use std::fmt;

/// Longest piece of a caller's text that is repeated in a message, in characters.
const QUOTE_CHARS_MAX: usize = 64;

/// One refusal: `subject: what is wrong; expected …, found …; what to do`.
///
/// `expected` and `found` go together; with both empty that part is left out.
///
/// ```
/// use mirror_rpc::{RpcError, Wording};
/// let error = RpcError::busy(Wording {
///     subject: "base_bdev 'nvme0n1'",
///     wrong: "in use",
///     expected: "an unclaimed bdev",
///     found: "a claim by lvol",
///     advice: "delete its user first",
/// });
/// assert_eq!(
///     error.message,
///     "base_bdev 'nvme0n1': in use; expected an unclaimed bdev, found a claim by lvol; \
///      delete its user first"
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Wording<'a> {
    /// The parameter, with its value where that tells more: `base_bdev 'X'`.
    pub subject: &'a str,
    /// What is wrong.
    pub wrong: &'a str,
    /// What would have been right.
    pub expected: &'a str,
    /// What was there instead.
    pub found: &'a str,
    /// What the caller can do about it; empty if `expected` says it all.
    pub advice: &'a str,
}

impl fmt::Display for Wording<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.wrong)?;
        if !self.expected.is_empty() || !self.found.is_empty() {
            write!(f, "; expected {}, found {}", self.expected, self.found)?;
        }
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl From<Wording<'_>> for String {
    fn from(wording: Wording<'_>) -> Self {
        wording.to_string()
    }
}

/// A caller's text between single quotes, cut to a sane length and with control characters
/// escaped: it goes into error messages and log lines.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("'");
    let mut rest = text.chars();
    for c in rest.by_ref().take(QUOTE_CHARS_MAX) {
        if c.is_control() {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    if rest.next().is_some() {
        quoted.push('…');
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_short_and_printable() {
        assert_eq!(quote("m0"), "'m0'");
        assert_eq!(quote("a\0b\n"), "'a\\u{0}b\\n'");
        assert_eq!(quote(&"é".repeat(64)), format!("'{}'", "é".repeat(64)));
        assert_eq!(quote(&"é".repeat(65)), format!("'{}…'", "é".repeat(64)));
    }

    #[test]
    fn empty_parts_are_left_out() {
        let wording = Wording { subject: "name", wrong: "missing", ..Wording::default() };
        assert_eq!(wording.to_string(), "name: missing");
    }
}
