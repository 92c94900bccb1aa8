//! The tests on real SPDK, one after the other. A test whose needs are not met is ignored, with the reason printed.

mod bad_calls;
mod bdevio;
mod case;
mod config;
mod cycles;
mod demo;
mod fuzz;
mod harness;
mod io_kinds;
mod io_matrix;
mod legs;
mod lifecycle;
mod memory;
mod recipe;
mod sanitizers;
mod world;

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use mirror_e2e::{app, machine, undo};

use case::{Case, Ctx};

fn trial(ctx: &Arc<Ctx>, case: Case) -> Trial {
    let ctx = Arc::clone(ctx);
    let missing = case.needs.iter().find_map(|need| ctx.missing(*need));
    if let Some(reason) = &missing {
        println!("skipped {}: {reason}", case.name);
    }
    let (name, run) = (case.name.clone(), case.run);
    Trial::test(case.name, move || {
        app::take_log_tails();
        run(&ctx).map_err(|error| {
            let tails = app::take_log_tails().join("\n");
            // Again at the end: whoever sees only the last lines of a run sees why.
            let first = format!("{error:#}");
            let again = if tails.is_empty() { String::new() } else { format!("\n{name}: {first}") };
            Failed::from(format!("{first}\n{tails}{again}"))
        })
    })
    .with_ignored_flag(missing.is_some())
}

fn main() -> anyhow::Result<()> {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1); // they share cores and hugepages
    undo::on_signals()?;
    machine::no_core_files()?;
    let ctx = Arc::new(Ctx::new()?);
    let cases = [
        harness::cases(),
        recipe::cases(),
        bad_calls::cases(),
        config::cases(),
        lifecycle::cases(),
        io_kinds::cases(),
        memory::cases(),
        io_matrix::cases(),
        bdevio::cases(),
        sanitizers::cases(),
        fuzz::cases(),
        cycles::cases(),
        demo::cases(),
    ];
    let trials = cases.into_iter().flatten().map(|case| trial(&ctx, case)).collect();
    let conclusion = libtest_mimic::run(&args, trials);
    drop(ctx);
    undo::everything(); // what statics hold: exit() drops nothing
    conclusion.exit()
}
