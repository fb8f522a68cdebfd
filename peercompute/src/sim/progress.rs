//! How far the simulations have come, for people at a terminal.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The whole of it.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    jobs: usize,
    done: Arc<AtomicUsize>,
}

/// The part of one simulation. What it has not reached when it is dropped counts as done.
pub(super) struct Share {
    progress: Progress,
    weight: u64,
    reached: u64,
}

impl Progress {
    /// For so many simulations, of this weight in all.
    pub(super) fn new(jobs: usize, weight: u64, json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(weight), ProgressDrawTarget::hidden());
        if !json && std::io::stderr().is_terminal() {
            let style = "{bar:32} {percent:>3} %  {msg}  {eta} left";
            bar.set_style(
                ProgressStyle::with_template(style).expect("the template is well formed"),
            );
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        let progress = Self {
            bar,
            jobs,
            done: Arc::default(),
        };
        progress.tell();
        progress
    }

    /// The part of one.
    pub(super) fn share(&self, weight: u64) -> Share {
        Share {
            progress: self.clone(),
            weight,
            reached: 0,
        }
    }

    /// Prints while the bar is out of the way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar from the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// How many have ended.
    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn tell(&self) {
        let (done, jobs) = (self.done(), self.jobs);
        self.bar.set_message(format!("{done} of {jobs} networks"));
    }
}

impl Share {
    /// So much of it is done, from 0 to 1.
    pub(super) fn reach(&mut self, part: f64) {
        let reached = (self.weight as f64 * part) as u64;
        self.progress.bar.inc(reached.saturating_sub(self.reached));
        self.reached = reached;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.reach(1.0);
        self.progress.done.fetch_add(1, Ordering::Relaxed);
        self.progress.tell();
    }
}
