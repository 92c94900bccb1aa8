//! Where the instructions of one stack go, function by function.

use std::sync::Arc;

use anyhow::Result;
use mirror_e2e::kit::Kit;
use mirror_e2e::machine::Machine;

use crate::callgrind::Profile;
use crate::session::{Simulated, Workload};
use crate::stack::{Medium, Stack};

/// Functions below this many instructions per I/O are summed up in one line.
const SMALLEST: f64 = 0.5;

/// Measures and prints.
pub fn run(kit: &Kit, machine: &Arc<Machine>, stack: Stack, medium: Medium, load: Workload) -> Result<()> {
    let mut session = Simulated::new(kit, machine, load)?;
    let profile = session.measure(stack, medium)?;
    session.stop()?;
    println!(
        "{stack} on {medium:?}, {} at depth {}: {:.1} instructions per I/O\n",
        load.name,
        load.depth,
        profile.insn_per_io()
    );
    print!("{}", table(&profile));
    Ok(())
}

fn table(profile: &Profile) -> String {
    let ios = profile.ios as f64;
    let mut rows: Vec<(&String, f64)> = profile.own.iter().map(|(name, n)| (name, *n as f64 / ios)).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut text = String::from("  insn/IO  calls/IO  library: function\n");
    let mut rest = 0.0;
    for (name, own) in rows {
        if own < SMALLEST {
            rest += own;
            continue;
        }
        let calls = profile.calls.get(name).copied().unwrap_or(0) as f64 / ios;
        text += &format!("{own:9.1} {calls:9.2}  {name}\n");
    }
    text + &format!("{rest:9.1}            everything else\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dearest_first_and_small_change_summed_up() {
        let own = [("a: small", 1), ("a: f", 50), ("b: g", 400)].map(|(n, c)| (n.to_string(), c));
        let profile = Profile { total: 451, ios: 10, own: own.into(), calls: [("b: g".to_string(), 20)].into() };
        let text = table(&profile);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "     40.0      2.00  b: g");
        assert_eq!(lines[2], "      5.0      0.00  a: f");
        assert_eq!(lines[3], "      0.1            everything else");
    }
}
