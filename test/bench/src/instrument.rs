//! With what instructions are counted on this machine.

use crate::{callgrind, perf};

/// The best that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instrument {
    /// The machine's counters.
    Perf,
    /// Simulation.
    Callgrind,
    /// None, and why.
    Missing(String),
}

impl Instrument {
    /// Tries them out.
    pub fn find() -> Instrument {
        let why = match perf::try_out() {
            Ok(()) => return Instrument::Perf,
            Err(error) => error,
        };
        if callgrind::is_here() {
            return Instrument::Callgrind;
        }
        Instrument::Missing(format!("{why:#}, and there is no valgrind (apt-get install valgrind)"))
    }

    /// Its name for a report.
    pub fn name(&self) -> &'static str {
        match self {
            Instrument::Perf => "perf",
            Instrument::Callgrind => "callgrind",
            Instrument::Missing(_) => "none",
        }
    }
}
