use std::collections::VecDeque;

/// The shortest lease, in seconds.
const LEAST_LEASE: f64 = 60.0;

/// What is left of the longest time of late with every result.
const FORGET: f64 = 0.9999;

/// What the sources know of their tasks: which are out, since when, and which are done.
///
/// A source that has not seen a task's result within the lease gives the task out again. The lease is twice as long as any result has taken of late. A task counts
/// once, however often it was run.
#[derive(Debug)]
pub(super) struct Ledger {
    sources: Vec<Source>,
    /// By task: when it was given out last, in milliseconds, and by whom; or that it is done.
    tasks: Vec<Task>,
    pub(super) rerun: u64,
}

#[derive(Debug, Default)]
struct Source {
    /// Tasks that are out, the oldest first, with the time at which they were given out.
    out: VecDeque<(u64, u32)>,
    /// Seconds that the slowest result of late took.
    slowest: f64,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    source: u32,
    issued: u64,
    done: bool,
}

impl Ledger {
    pub(super) fn new(sources: usize) -> Self {
        Self {
            sources: (0..sources).map(|_| Source::default()).collect(),
            tasks: Vec::new(),
            rerun: 0,
        }
    }

    /// The next task of a source: one whose lease is over, or a new one.
    pub(super) fn issue(&mut self, source: u32, now: u64) -> u32 {
        let state = &mut self.sources[source as usize];
        let lease = (state.lease() * 1e9) as u64;
        let mut again = None;
        while let Some(&(issued, task)) = state.out.front() {
            let done = self.tasks[task as usize].done;
            if !done && issued + lease > now {
                break;
            }
            state.out.pop_front();
            if !done {
                again = Some(task);
                break;
            }
        }
        let entry = Task {
            source,
            issued: now,
            done: false,
        };
        let task = if let Some(task) = again {
            self.rerun += 1;
            self.tasks[task as usize] = entry;
            task
        } else {
            self.tasks.push(entry);
            u32::try_from(self.tasks.len() - 1).expect("fewer than 2^32 tasks in one run")
        };
        state.out.push_back((now, task));
        task
    }

    /// A result is home. Gives whether it is the first of its task.
    pub(super) fn complete(&mut self, task: u32, now: u64) -> bool {
        let task = &mut self.tasks[task as usize];
        if std::mem::replace(&mut task.done, true) {
            return false;
        }
        let took = (now - task.issued) as f64 * 1e-9;
        self.sources[task.source as usize].see(took);
        true
    }

    /// Tasks that are neither done nor out: nobody will ever run them.
    pub(super) fn lost(&self) -> u64 {
        let open = self.tasks.iter().filter(|task| !task.done).count();
        let out = self.sources.iter().flat_map(|source| &source.out);
        let known = out
            .filter(|(_, task)| !self.tasks[*task as usize].done)
            .count();
        (open - known) as u64
    }
}

impl Source {
    fn lease(&self) -> f64 {
        (2.0 * self.slowest).max(LEAST_LEASE)
    }

    fn see(&mut self, took: f64) {
        self.slowest = (self.slowest * FORGET).max(took);
    }
}
