//! "Did you mean": the known name closest to a mistyped one.

/// The candidate within a third of its length in edits (at least one), if there is one.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase().replace('-', "_");
    candidates
        // A text much longer than any name is not a typo; this also bounds the work.
        .filter(|known| typed.len().abs_diff(known.len()) <= edits_max(known))
        .map(|known| (edits(&typed, known), known))
        .filter(|(edits, known)| *edits <= edits_max(known))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

fn edits_max(known: &str) -> usize {
    (known.len() / 3).max(1)
}

/// Levenshtein distance in bytes, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut previous = Vec::with_capacity(row.len());
        std::mem::swap(&mut previous, &mut row);
        let mut left = i + 1;
        row.push(left);
        for (byte_b, above) in b.bytes().zip(previous.windows(2)) {
            let &[diagonal, above] = above else { break };
            left = (diagonal + usize::from(byte_a != byte_b)).min(above.min(left) + 1);
            row.push(left);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("name", "name", 0),
            ("nmae", "name", 2),
            ("base_bdev", "base_bdevs", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["name", "base_bdevs", "size_mb"];
        let of = |typed| nearest(typed, known.into_iter());
        assert_eq!(of("base_bdev"), Some("base_bdevs"));
        assert_eq!(of("Base-Bdevs"), Some("base_bdevs"));
        assert_eq!(of("size_kb"), Some("size_mb"));
        assert_eq!(of("nam"), Some("name"));
        assert_eq!(of("raid_level"), None);
        assert_eq!(of(&"x".repeat(1_000_000)), None);
    }
}
