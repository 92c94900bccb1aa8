//! Looks after threads that run histories: shows how far they are, and ends the program if one of them does not end.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Far more than any history takes: only an endless loop takes as long.
const HISTORY_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What one thread is doing.
#[derive(Debug)]
struct Work {
    what: AtomicU64,
    /// Milliseconds since the start, from 1 on; 0 if it does nothing.
    since_ms: AtomicU64,
}

/// Looks after threads.
#[derive(Debug)]
pub struct Watch {
    start: Instant,
    works: Vec<Work>,
    done: AtomicU64,
    over: Mutex<bool>,
    ended: Condvar,
    bar: ProgressBar,
}

impl Watch {
    /// For so many threads and pieces of work; the bar is drawn on a terminal only.
    pub fn new(threads: usize, total: u64, shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr_with_hz(1) } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{elapsed} [{bar:40}] {pos}/{len}, {eta} left {msg}");
        let bar = ProgressBar::with_draw_target(Some(total), target);
        Self {
            start: Instant::now(),
            works: (0..threads).map(|_| Work { what: AtomicU64::new(0), since_ms: AtomicU64::new(0) }).collect(),
            done: AtomicU64::new(0),
            over: Mutex::new(false),
            ended: Condvar::new(),
            bar: style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)),
        }
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }

    /// A thread begins a piece of work.
    pub fn begin(&self, thread: usize, what: u64) {
        self.works[thread].what.store(what, Ordering::Relaxed);
        self.works[thread].since_ms.store(self.now_ms(), Ordering::Release);
    }

    /// A thread has ended its piece of work.
    pub fn end(&self, thread: usize) {
        self.works[thread].since_ms.store(0, Ordering::Release);
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing is left to look after.
    pub fn over(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    /// Looks on until it is over. `text` tells what does not end.
    pub fn look_on(&self, text: impl Fn(u64) -> String) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            over = self.ended.wait_timeout(over, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            self.bar.set_position(self.done.load(Ordering::Relaxed));
            for work in &self.works {
                let since_ms = work.since_ms.load(Ordering::Acquire);
                if since_ms != 0 && self.now_ms().saturating_sub(since_ms) > HISTORY_MAX.as_millis() as u64 {
                    self.bar.finish_and_clear();
                    println!("{}", text(work.what.load(Ordering::Relaxed)));
                    // The thread cannot be stopped.
                    std::process::exit(1);
                }
            }
        }
        self.bar.finish_and_clear();
    }

    /// Runs `work` on each thread with its number, looking on.
    pub fn run<T: Send>(&self, text: impl Fn(u64) -> String + Send, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..self.works.len()).map(|thread| scope.spawn(move || work(thread))).collect();
            scope.spawn(|| self.look_on(text));
            let results: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            self.over();
            results.into_iter().map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}

/// Threads that histories are spread over.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
