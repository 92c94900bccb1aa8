//! Simulates disks, channels and time around the engine that ships.

mod chooser;
mod coverage;
mod disk;
mod model;
mod run;
mod world;

use clap::{Parser, Subcommand};

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
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A mistake to plant, by name.
        #[arg(long)]
        mutant: Option<String>,
        /// Print all of a single history.
        #[arg(long)]
        trace: bool,
    },
}

fn main() {
    let ok = match Arguments::parse().command {
        Command::Run { seeds, seed, mutant, trace } => run::run(seed, seeds, mutant.as_deref(), trace),
    };
    std::process::exit(i32::from(!ok));
}
