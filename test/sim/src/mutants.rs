//! Plants each mistake in turn: histories have to find it.
//!
//! Each runs in a process of its own, since a mistake may keep the engine from ever giving control back.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mirror_engine::mutant::Mutant;
use std::io::{Read, Result};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Several times what all histories of a usual run take.
const MUTANT_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Plants all mistakes, or one, and tells which ones histories find.
pub fn mutants(seeds: u64, only: Option<Mutant>) -> bool {
    let chosen: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|mutant| only.is_none_or(|only| only == *mutant)).collect();
    let bar = ProgressBar::with_draw_target(Some(chosen.len() as u64), ProgressDrawTarget::stderr_with_hz(1));
    if let Ok(style) = ProgressStyle::with_template("{elapsed} [{bar:40}] {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut caught = 0;
    for mutant in &chosen {
        bar.set_message(mutant.name());
        let found = find(*mutant, seeds);
        bar.suspend(|| match found {
            Ok(Some(found)) => {
                caught += 1;
                println!("caught {} {found}", mutant.name());
            }
            Ok(None) => println!("SURVIVED {}", mutant.name()),
            Err(error) => println!("SURVIVED {}: it could not be run: {error}", mutant.name()),
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("mutants: {caught}/{} caught", chosen.len());
    caught == chosen.len()
}

/// How histories find a mistake; `None` if they do not.
fn find(mutant: Mutant, seeds: u64) -> Result<Option<String>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["run", "--quiet", "--mutant", &mutant.name(), "--seeds", &seeds.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > MUTANT_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(Some("(does not end)".into()));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let mut said = String::new();
    // The child says one line, which fits the pipe.
    child.stdout.take().map(|mut out| out.read_to_string(&mut said)).transpose()?;
    if status.success() {
        return Ok(None);
    }
    let failure = said.lines().find_map(|line| line.strip_prefix("sim: FAILED seed="));
    Ok(Some(failure.map_or_else(|| format!("(ends with {status})"), describe)))
}

/// What a failure reads like: its seed, which counts from 1, then what happened.
fn describe(failure: &str) -> String {
    let (seed, rest) = failure.split_once(' ').unwrap_or((failure, ""));
    let what = rest.split_once(" histories: ").map_or(rest, |(_, what)| what);
    format!("after {seed} seeds: {what}")
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn a_failure_is_told_in_short() {
        assert_eq!(describe("7 after 7 histories: block 3: differs"), "after 7 seeds: block 3: differs");
        assert_eq!(describe("12 does not end"), "after 12 seeds: does not end");
    }
}
