//! What is wrong with an option.

use std::fmt;

/// An option has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OptionError {
    /// Its name, as callers write it.
    pub option: &'static str,
    /// What it may be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl OptionError {
    /// With what was expected and found in words.
    pub fn new(option: &'static str, expected: impl Into<String>, found: impl fmt::Display) -> Self {
        Self { option, expected: expected.into(), found: found.to_string() }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, expected, found } = self;
        write!(formatter, "{option}: expected {expected}, found {found}")
    }
}

impl std::error::Error for OptionError {}
