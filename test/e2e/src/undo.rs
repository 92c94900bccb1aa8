//! What must be undone before this process ends: by the guard's drop, or by the signal that ends the process.
//!
//! The list is locked while something is done or undone. So a signal never falls between a process's start and
//! the note that it must be killed, and nothing new is started once a signal began to undo.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Action = Box<dyn FnOnce() + Send>;

struct List {
    next_id: u64,
    actions: Vec<(u64, Action)>,
}

static LIST: Mutex<List> = Mutex::new(List { next_id: 0, actions: Vec::new() });

fn list() -> MutexGuard<'static, List> {
    // A panic in one test must not keep the others from cleaning up.
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Undoes what it stands for when dropped.
#[must_use]
pub struct Undo {
    id: u64,
}

impl Undo {
    /// Does `act`; if it succeeds, `undo` is what takes its result back.
    pub fn after<T>(act: impl FnOnce() -> Result<T>, undo: impl FnOnce(&T) -> Action) -> Result<(T, Undo)> {
        let mut list = list();
        let done = act()?;
        let id = list.next_id;
        list.next_id += 1;
        let action = undo(&done);
        list.actions.push((id, action));
        Ok((done, Undo { id }))
    }

    /// There is nothing left to undo.
    pub fn forget(self) {
        take(&mut list(), self.id);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let mut list = list();
        if let Some(action) = take(&mut list, self.id) {
            action();
        }
    }
}

fn take(list: &mut List, id: u64) -> Option<Action> {
    let at = list.actions.iter().position(|(have, _)| *have == id)?;
    Some(list.actions.remove(at).1)
}

/// Undoes everything that is left, newest first: before an exit that drops nothing.
pub fn everything() {
    let mut list = list();
    while let Some((_, action)) = list.actions.pop() {
        action();
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP undo everything, newest first, and end the process with 128 + signal.
pub fn on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("installing signal handlers")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let mut list = list();
            eprintln!("interrupted: cleaning up");
            while let Some((_, action)) = list.actions.pop() {
                action();
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn counted(count: &Arc<AtomicU32>) -> Undo {
        let count = Arc::clone(count);
        Undo::after(
            || Ok(()),
            |()| {
                Box::new(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                })
            },
        )
        .expect("cannot fail")
        .1
    }

    #[test]
    fn dropping_undoes_once_and_forgetting_does_not() {
        let count = Arc::new(AtomicU32::new(0));
        drop(counted(&count));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        counted(&count).forget();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_failed_is_not_undone() {
        let done: Result<((), Undo)> = Undo::after(|| anyhow::bail!("no"), |()| Box::new(|| panic!("nothing to undo")));
        assert!(done.is_err());
    }
}
