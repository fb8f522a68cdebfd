//! The clock of running modules: a thread that moves the engine's epoch on, so that each of them looks about every millisecond whether it may go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use wasmtime::Engine;

/// How often a module looks whether it was cancelled or is over its deadline.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// For how many ticks the thread stays awake after the last module has ended: waking it costs more than a small task.
const LINGER: u32 = 100;

pub(super) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// Modules that run.
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let state = Arc::<State>::default();
        let own = state.clone();
        let thread = thread::Builder::new()
            .name("peercompute-epoch".to_owned())
            .spawn(move || own.tick(&engine))?;
        Ok(Self {
            state,
            thread: Some(thread),
        })
    }

    /// Has the clock tick as long as what is given back lives.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.state.running.fetch_add(1, SeqCst);
        // Either this sees that the thread is parked, or the thread sees that something runs before it parks.
        if self.state.parked.load(SeqCst) {
            self.unpark();
        }
        Watch(&self.state.running)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stopped.store(true, SeqCst);
        self.unpark();
        // It is asleep for a tick at most, so waiting for it costs nothing, and no thread outlives its executor.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.stopped.load(SeqCst) {
            if self.running.load(SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > LINGER {
                self.parked.store(true, SeqCst);
                if self.running.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
                    thread::park();
                }
                self.parked.store(false, SeqCst);
                idle = 0;
            } else {
                thread::park_timeout(TICK);
            }
            engine.increment_epoch();
        }
    }
}

pub(super) struct Watch<'a>(&'a AtomicUsize);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
