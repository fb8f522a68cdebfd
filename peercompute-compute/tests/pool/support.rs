use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use peercompute_compute::{
    Completion, Completions, Control, Operation, PoolClient, Program, TaskError, TaskInput,
    Throttle, Work,
};

type Body = dyn Fn(TaskInput, &Control) -> Result<Bytes, TaskError> + Send + Sync;

/// A program that is a closure.
struct Closure(Box<Body>);

impl Program for Closure {
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        (self.0)(input, control)
    }
}

pub(crate) fn program(
    body: impl Fn(TaskInput, &Control) -> Result<Bytes, TaskError> + Send + Sync + 'static,
) -> Arc<dyn Program> {
    Arc::new(Closure(Box::new(body)))
}

pub(crate) fn noop(tag: u64) -> Work {
    Work::new(tag, Arc::new(Operation::Noop), Bytes::new())
}

pub(crate) fn sized(tag: u64, bytes: usize) -> Work {
    Work::new(tag, Arc::new(Operation::Noop), vec![0; bytes])
}

pub(crate) fn submit(client: &PoolClient, work: impl IntoIterator<Item = Work>) {
    client
        .submit(&mut work.into_iter().collect())
        .expect("the pool has room");
}

/// Waits for this many completions.
pub(crate) fn collect(completions: &mut Completions, count: usize) -> Vec<Completion> {
    let mut collected = Vec::new();
    while collected.len() < count {
        assert!(
            block_on(completions.next_batch(&mut collected)),
            "only {collected:?} came"
        );
    }
    assert_eq!(collected.len(), count);
    collected
}

/// Waits for all completions that there will ever be.
pub(crate) fn collect_all(completions: &mut Completions) -> Vec<Completion> {
    let mut collected = Vec::new();
    while block_on(completions.next_batch(&mut collected)) {}
    collected
}

pub(crate) fn tags(completions: &[Completion]) -> Vec<u64> {
    let mut tags: Vec<_> = completions
        .iter()
        .map(|completion| completion.tag)
        .collect();
    tags.sort_unstable();
    tags
}

pub(crate) fn throttle(percent: u8) -> Throttle {
    Throttle::percent(percent).expect("tests stay within 0 to 100")
}
