//! Parameters with a fixed set of values.

use serde::Serialize;

/// A parameter that is one of a few words.
///
/// A word that is documented but whose value is `None` is *not yet available*: it is refused
/// in other terms than a word that nobody ever heard of.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every documented word, with its value if this version has it.
    const WORDS: &'static [(&'static str, Option<Self>)];

    /// The word for this value, as callers write it.
    fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == Some(self)).map_or("", |(word, _)| word)
    }
}

/// What becomes of an unmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmapMode {
    /// Zeroes are written to every leg, so that all of them read alike afterwards.
    #[default]
    Zeroes,
    /// The unmap is passed on, for legs that are known to read zeros after it.
    Pass,
}

impl Choice for UnmapMode {
    const WORDS: &'static [(&'static str, Option<Self>)] =
        &[("zeroes", Some(Self::Zeroes)), ("pass", Some(Self::Pass))];
}

/// Where the dirty region log lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogType {
    /// In memory, for as long as the process lives.
    Core,
}

impl Choice for LogType {
    const WORDS: &'static [(&'static str, Option<Self>)] =
        &[("internal", None), ("core", Some(Self::Core)), ("disk", None)];
}

/// What a new mirror's legs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialSync {
    /// Declared equal by the caller: nothing is copied.
    None,
}

impl Choice for InitialSync {
    const WORDS: &'static [(&'static str, Option<Self>)] =
        &[("full", None), ("blank", None), ("none", Some(Self::None))];
}

/// Which leg a read goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPolicy {
    /// The one with the fewest I/Os in flight; ties rotate.
    #[default]
    LeastOutstanding,
}

impl Choice for ReadPolicy {
    const WORDS: &'static [(&'static str, Option<Self>)] = &[
        ("least_outstanding", Some(Self::LeastOutstanding)),
        ("first", None),
        ("round_robin", None),
        ("preferred", None),
    ];
}

/// Which mirrors `bdev_mirror_get_bdevs` lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Every one.
    #[default]
    All,
    /// Those that serve I/O.
    Online,
    /// Those that wait for legs; there are none in this version.
    Configuring,
    /// Those that no longer serve I/O.
    Offline,
}

impl Choice for Category {
    const WORDS: &'static [(&'static str, Option<Self>)] = &[
        ("all", Some(Self::All)),
        ("online", Some(Self::Online)),
        ("configuring", Some(Self::Configuring)),
        ("offline", Some(Self::Offline)),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_are_what_is_serialised<T: Choice + Serialize>() {
        for (word, value) in T::WORDS {
            if let Some(value) = value {
                assert_eq!(value.as_str(), *word);
                assert_eq!(serde_json::to_value(value).unwrap(), *word);
            }
        }
    }

    #[test]
    fn words() {
        words_are_what_is_serialised::<UnmapMode>();
        words_are_what_is_serialised::<LogType>();
        words_are_what_is_serialised::<InitialSync>();
        words_are_what_is_serialised::<ReadPolicy>();
        words_are_what_is_serialised::<Category>();
    }
}
