//! `make bench` and the guard for speed in `make test`; see docs/benchmarks.md.

mod bench;
mod callgrind;
mod guard;
mod histogram;
mod instrument;
mod perf;
mod profile;
mod results;
mod session;
mod stack;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use mirror_e2e::kit::Kit;
use mirror_e2e::machine::Machine;
use mirror_e2e::undo;

use crate::session::{PAGES, Workload};
use crate::stack::{Medium, Stack, Subject};

/// Measures what the mirror costs an I/O. SPDK_DIR and MIRROR_SO say with what.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Without one: run.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Args)]
struct RunArguments {
    /// What the legs are.
    #[arg(long, value_delimiter = ',', default_values = ["null", "malloc"])]
    medium: Vec<Medium>,
    /// Loads.
    #[arg(long, value_delimiter = ',', default_values = ["read", "write"])]
    load: Vec<Load>,
    /// I/Os in flight.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    depth: Vec<u32>,
    /// How often at full speed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/results.json")]
    output: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Everything, as a table and as JSON.
    Run(RunArguments),
    /// Fails if the mirror's instructions per I/O exceed the limits.
    Guard {
        /// Multiplies the limits: below 1 shows that the guard can fail.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
    },
    /// One stack's instructions, function by function.
    Profile {
        /// What is on top of the legs.
        #[arg(long, default_value = "mirror")]
        subject: Subject,
        /// How many legs.
        #[arg(long, default_value_t = 2)]
        legs: u32,
        /// What the legs are.
        #[arg(long, default_value = "null")]
        medium: Medium,
        /// The load.
        #[arg(long, default_value = "read")]
        load: Load,
        /// I/Os in flight.
        #[arg(long, default_value_t = 32)]
        depth: u32,
    },
}

/// bdevperf's words.
#[derive(Clone, Copy, ValueEnum)]
enum Load {
    Read,
    Write,
    Randread,
    Randwrite,
}

impl Load {
    fn at(self, depth: u32) -> Workload {
        let name = match self {
            Load::Read => "read",
            Load::Write => "write",
            Load::Randread => "randread",
            Load::Randwrite => "randwrite",
        };
        Workload { name, depth }
    }
}

fn measure(kit: &Kit, arguments: RunArguments) -> Result<()> {
    let RunArguments { medium, load, depth, rounds, output } = arguments;
    let (stacks, notes) = bench::stacks(kit)?;
    let loads = load.iter().flat_map(|l| depth.iter().map(|d| l.at(*d))).collect();
    let plan = bench::Plan { media: medium, loads, stacks, rounds };
    let machine = Machine::prepare(PAGES)?;
    let results = bench::run(kit, &machine, &plan, notes)?;
    println!("{}", results.table());
    results.save(&output)?;
    println!("written: {}", output.display());
    Ok(())
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    undo::on_signals()?;
    let kit = Kit::from_env()?;
    match arguments.command {
        None => measure(&kit, arguments.run)?,
        Some(Command::Run(arguments)) => measure(&kit, arguments)?,
        Some(Command::Guard { scale }) => {
            if !guard::run(&kit, scale)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Some(Command::Profile { subject, legs, medium, load, depth }) => {
            let machine = Machine::prepare(PAGES)?;
            profile::run(&kit, &machine, Stack { subject, legs }, medium, load.at(depth))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
