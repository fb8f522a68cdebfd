//! How far the simulations have come, for people at a terminal.

use std::{
    fmt::Write,
    io::IsTerminal as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often the time that is left is estimated anew, whatever happens.
const TICK: Duration = Duration::from_secs(1);

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
            let style = ProgressStyle::with_template("{bar:32} {percent:>3} %  {msg}  {left}")
                .expect("the template is well formed");
            let style = style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
                let all = state.len().unwrap_or(state.pos());
                // It takes everything.
                let _ = out.write_str(&left(state.elapsed(), state.pos(), all));
            });
            bar.set_style(style);
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
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

/// What is left if the rest goes as fast as what is done.
fn left(elapsed: Duration, done: u64, all: u64) -> String {
    if done == 0 {
        return "starting".to_owned();
    }
    if done >= all {
        return "finishing".to_owned();
    }
    let seconds = elapsed.as_secs_f64() * (all - done) as f64 / done as f64;
    match seconds.ceil() as u64 {
        0 | 1 => "1 s left".to_owned(),
        seconds @ ..60 => format!("{seconds} s left"),
        seconds @ ..3600 => format!("{} min {} s left", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min left", seconds / 3600, seconds % 3600 / 60),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_never_nothing_while_it_runs() {
        let after = |seconds, done| left(Duration::from_secs(seconds), done, 1000);
        assert_eq!(after(0, 0), "starting");
        assert_eq!(after(60, 0), "starting");
        assert_eq!(after(10, 500), "10 s left");
        assert_eq!(after(10, 999), "1 s left");
        assert_eq!(after(90, 500), "1 min 30 s left");
        assert_eq!(after(7260, 500), "2 h 1 min left");
        assert_eq!(after(10, 1000), "finishing");
    }
}
