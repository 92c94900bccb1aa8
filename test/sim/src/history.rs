//! One history from a seed.

use crate::chooser::Chooser;
use crate::world::{Setup, Verdict, World};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is different from the history that a seed makes by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variation {
    /// Kinds of faults that do not happen.
    pub masked: u32,
    pub channels: Option<usize>,
    pub host_ios: Option<usize>,
}

/// What came of one history.
pub struct Outcome {
    pub failure: Option<String>,
    pub world: World,
}

/// One history as a seed makes it.
pub fn history(seed: u64, traced: bool, look: impl FnMut(&mut World)) -> Outcome {
    let mut world = world(seed, Variation::default(), traced);
    let failure = caught(|| world.run(look));
    Outcome { failure, world }
}

/// A world before its history.
pub fn world(seed: u64, variation: Variation, traced: bool) -> World {
    let mut chooser = Chooser::seeded(seed);
    let mut setup = Setup::random(&mut chooser);
    setup.channels = variation.channels.unwrap_or(setup.channels);
    setup.host_ios_max = variation.host_ios.unwrap_or(setup.host_ios_max);
    let mut world = World::new(setup, chooser, traced);
    world.masked = variation.masked;
    world
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes note of panics inside histories instead of printing them: whoever runs the history reports it.
pub fn note_panics() {
    let other = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !QUIET.get() {
            return other(panic);
        }
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let noted = format!("panic: {text} at {}", place.unwrap_or_default());
        PANIC.with_borrow_mut(|panic| *panic = Some(noted));
    }));
}

/// What goes wrong in a history, be it a panic.
pub fn caught(run: impl FnOnce() -> Verdict) -> Option<String> {
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    match result {
        Ok(verdict) => verdict.err(),
        Err(_) => Some(PANIC.take().unwrap_or_else(|| "panic".into())),
    }
}
