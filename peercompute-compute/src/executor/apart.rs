//! Preparing on threads of its own: a module is compiled in milliseconds or in seconds, and whoever asks for it has a network to serve.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use futures::channel::oneshot;
use peercompute_proto::v1;

use super::{Executor as _, Executors};
use crate::{Program, Unsupported};

/// How many programs of a process are prepared at a time by [`Executors::prepare_apart`].
pub const PREPARE_THREADS: usize = 2;

/// How many more may wait; beyond it jobs are refused as [`Unsupported::Busy`].
pub const PREPARE_QUEUE: usize = 64;

/// Bytes of the stack of a thread that prepares.
const STACK: usize = 4 << 20;

type Answer = Result<Arc<dyn Program>, Unsupported>;

struct Job {
    executors: Executors,
    spec: Arc<v1::TaskSpec>,
    answer: oneshot::Sender<Answer>,
}

struct Queue {
    waiting: VecDeque<Job>,
    /// Threads that are there. One without work ends: most of the time nothing is prepared.
    threads: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    waiting: VecDeque::new(),
    threads: 0,
});

pub(super) async fn prepare(executors: Executors, spec: Arc<v1::TaskSpec>) -> Answer {
    let answer = submit(executors, spec)?;
    answer.await.unwrap_or_else(|oneshot::Canceled| {
        Err(Unsupported::Rejected {
            program: "of this job".to_owned(),
            reason: "preparing it panicked".to_owned(),
        })
    })
}

fn submit(
    executors: Executors,
    spec: Arc<v1::TaskSpec>,
) -> Result<oneshot::Receiver<Answer>, Unsupported> {
    let (send, answer) = oneshot::channel();
    let mut queue = lock();
    // Whoever does not wait any more has dropped his end.
    queue.waiting.retain(|job| !job.answer.is_canceled());
    let programs = queue.waiting.len() + queue.threads;
    if queue.waiting.len() >= PREPARE_QUEUE {
        return Err(Unsupported::Busy { programs });
    }
    if queue.threads < PREPARE_THREADS {
        let thread = thread::Builder::new()
            .name("peercompute-prepare".to_owned())
            .stack_size(STACK)
            .spawn(work);
        match thread {
            Ok(_) => queue.threads += 1,
            // The others will come to it.
            Err(_) if queue.threads > 0 => {}
            Err(_) => return Err(Unsupported::Busy { programs }),
        }
    }
    queue.waiting.push_back(Job {
        executors,
        spec,
        answer: send,
    });
    Ok(answer)
}

fn work() {
    while let Some(job) = next() {
        let Job {
            executors,
            spec,
            answer,
        } = job;
        let prepared = catch_unwind(AssertUnwindSafe(|| executors.prepare(&spec)));
        if let Ok(prepared) = prepared {
            // Nobody may be waiting any more.
            let _ = answer.send(prepared);
        }
    }
}

/// The next job; without one this thread is no longer counted, and ends.
fn next() -> Option<Job> {
    let mut queue = lock();
    let job = queue.waiting.pop_front();
    if job.is_none() {
        queue.threads -= 1;
    }
    job
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{Executor, Operation};

    struct Thinks;

    impl Executor for Thinks {
        fn prepare(&self, spec: &v1::TaskSpec) -> Answer {
            assert_eq!(
                thread::current().name(),
                Some("peercompute-prepare"),
                "not on the caller's thread"
            );
            match spec.limits {
                None => Ok(Arc::new(Operation::Noop)),
                Some(_) => panic!("as it was told to"),
            }
        }
    }

    #[test]
    fn programs_are_prepared_on_another_thread() {
        let executors = Executors::empty().with(Thinks);
        let spec = Arc::new(v1::TaskSpec::default());
        // More at a time than there are threads.
        let all = (0..20).map(|_| prepare(executors.clone(), spec.clone()));
        let answers = block_on(futures::future::join_all(all));
        assert!(answers.iter().all(Result::is_ok));
    }

    #[test]
    fn a_panic_refuses_the_job_and_the_next_one_is_prepared() {
        let executors = Executors::empty().with(Thinks);
        let bad = v1::TaskSpec {
            program: None,
            limits: Some(v1::TaskLimits::default()),
        };
        for _ in 0..2 * PREPARE_THREADS {
            let answer = block_on(prepare(executors.clone(), Arc::new(bad.clone())));
            assert!(matches!(answer.err(), Some(Unsupported::Rejected { .. })));
        }
        let good = Arc::new(v1::TaskSpec::default());
        assert!(block_on(prepare(executors, good)).is_ok());
    }
}
