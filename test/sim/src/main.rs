//! Simulates disks, channels and time around the engine that ships.

mod chooser;
mod configuration;
mod coverage;
mod disk;
mod exhaustive;
mod floors;
mod history;
mod model;
mod mutants;
mod run;
mod shrink;
mod watch;
mod world;

use clap::{Parser, Subcommand};
use exhaustive::Bound;
use mirror_engine::mutant::Mutant;

#[derive(Parser)]
#[command(about = "Simulates disks and time around the mirror's engine, and holds it against what a host may see")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Histories from seeds.
    Run {
        /// How many.
        #[arg(long, default_value_t = run::SEEDS)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A mistake to plant, by name.
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
        /// Say in one line what came of it.
        #[arg(long)]
        quiet: bool,
        /// Run only the first seed, and print all of its history.
        #[arg(long)]
        trace: bool,
        /// Go on after failures, and count them by kind.
        #[arg(long)]
        survey: bool,
    },
    /// Every order of events in small mirrors.
    Exhaustive {
        /// Most states of each mirror.
        #[arg(long)]
        states: Option<usize>,
        /// Most events in a row.
        #[arg(long)]
        depth: Option<usize>,
        /// Go much further than usual.
        #[arg(long)]
        long: bool,
        /// A mistake to plant, by name.
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
    },
    /// Plants one mistake after the other in the engine; histories have to find each.
    Mutants {
        /// Histories for each.
        #[arg(long, default_value_t = run::SEEDS)]
        seeds: u64,
        /// Only this one.
        #[arg(long, value_parser = mutant)]
        only: Option<Mutant>,
    },
}

fn mutant(name: &str) -> Result<Mutant, String> {
    Mutant::named(name).ok_or_else(|| "no such mistake".into())
}

fn main() {
    history::note_panics();
    let ok = match Arguments::parse().command {
        Command::Run { seeds, seed, mutant, quiet, trace, survey } => {
            let mutant = mutant.unwrap_or(Mutant::None);
            run::run(run::Plan { first: seed, seeds, mutant, quiet, trace, survey })
        }
        Command::Exhaustive { states, depth, long, mutant } => {
            let bound = if long { Bound::LONG } else { Bound::USUAL };
            let bound = Bound { states: states.unwrap_or(bound.states), depth: depth.unwrap_or(bound.depth), ..bound };
            exhaustive::exhaustive(bound, mutant.unwrap_or(Mutant::None))
        }
        Command::Mutants { seeds, only } => mutants::mutants(seeds, only),
    };
    std::process::exit(i32::from(!ok));
}
