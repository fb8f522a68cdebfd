use std::{
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use peercompute_compute::{
    BuiltinExecutor, Completion, Completions, Control, Executor as _, Isolate, Isolates, Limits,
    Operation, Pool, PoolConfig, Portable, Program, TaskError, TaskInput, Work,
};
use peercompute_proto::v1;
use peercompute_rt::{BoxFuture, Instant, Runtime, Simulation};

use crate::support::*;

/// Runs built-in operations, each in a second, and takes others for programs that never end.
#[derive(Clone)]
struct Slow {
    clock: Runtime,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    broken_off: AtomicUsize,
}

impl Isolates for Slow {
    fn open(&self) -> Box<dyn Isolate> {
        Box::new(self.clone())
    }
}

impl Isolate for Slow {
    fn run(
        &mut self,
        program: Portable,
        input: TaskInput,
    ) -> BoxFuture<'_, Result<Bytes, TaskError>> {
        let Portable::Builtin(program) = program else {
            unreachable!("there are no modules here");
        };
        let spec = v1::TaskSpec {
            program: Some(program),
            limits: None,
        };
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let mut running = Running(Some(self.counts.clone()));
            let Ok(program) = BuiltinExecutor.prepare(&spec) else {
                return pending().await;
            };
            self.clock.sleep(Duration::from_secs(1)).await;
            running.0 = None;
            program.run(input, &Control::unlimited())
        })
    }
}

/// Counts what is dropped before its end.
struct Running(Option<Arc<Counts>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(counts) = &self.0 {
            counts.broken_off.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Never ends, wherever it runs.
struct Hanging;

impl Program for Hanging {
    fn run(&self, _input: TaskInput, _control: &Control) -> Result<Bytes, TaskError> {
        unreachable!("it runs elsewhere")
    }

    fn portable(&self) -> Option<Portable> {
        let program = v1::BuiltinProgram {
            operation: "hang".to_owned(),
            immediate: 0,
        };
        Some(Portable::Builtin(v1::Program {
            program: Some(v1::program::Program::Builtin(program)),
        }))
    }
}

struct Scene {
    simulation: Simulation,
    clock: Runtime,
    pool: Pool,
    counts: Arc<Counts>,
}

impl Scene {
    fn new(cores: usize, percent: u8) -> Self {
        let simulation = Simulation::new(1);
        let clock = simulation.runtime();
        let counts = Arc::<Counts>::default();
        let isolates = Slow {
            clock: clock.clone(),
            counts: counts.clone(),
        };
        let config = PoolConfig::new()
            .with_cores(cores)
            .with_throttle(throttle(percent));
        let pool = Pool::in_isolates(config, clock.clone(), Arc::new(isolates));
        Self {
            simulation,
            clock,
            pool,
            counts,
        }
    }

    fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::Relaxed)
    }

    fn broken_off(&self) -> usize {
        self.counts.broken_off.load(Ordering::Relaxed)
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.simulation.run(main).expect("something comes")
    }

    fn sleep(&self, seconds: f64) {
        self.run(self.clock.sleep(Duration::from_secs_f64(seconds)));
    }

    /// Waits for this many completions, and gives the seconds since the simulation began, too.
    fn collect(&self, completions: &mut Completions, count: usize) -> (Vec<Completion>, f64) {
        let mut batch = Vec::new();
        while batch.len() < count {
            assert!(self.run(completions.next_batch(&mut batch)));
        }
        assert_eq!(batch.len(), count);
        let passed = self.clock.now() - Instant::default();
        (batch, passed.as_secs_f64())
    }
}

/// Too long to be brief.
fn long(tag: u64) -> Work {
    Work::new(tag, Arc::new(Operation::CountEq(7)), vec![7; 1 << 20])
}

fn hanging(tag: u64, limit: Option<Duration>) -> Work {
    let mut limits = Limits::none();
    limits.run_time = limit;
    Work::new(tag, Arc::new(Hanging), Bytes::new()).with_limits(limits)
}

#[test]
fn as_many_tasks_run_at_a_time_as_there_are_workers() {
    let scene = Scene::new(4, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, (0..6).map(long));
    let (done, seconds) = scene.collect(&mut completions, 6);
    assert_eq!((scene.begun(), seconds), (6, 2.0));
    let count = Bytes::copy_from_slice(&(1_u64 << 20).to_le_bytes());
    assert!(done.iter().all(|it| it.result == Ok(count.clone())));
    assert!(done.iter().all(|it| it.run == Duration::from_secs(1)));
    assert_eq!(scene.pool.stats().workers, 3);
}

#[test]
fn what_takes_microseconds_and_what_is_nothing_to_others_runs_on_the_spot() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    let closure = program(|input, _| Ok(input.bytes));
    submit(&client, (0..100).map(noop));
    submit(&client, [Work::new(100, closure, Bytes::from("mine"))]);
    let (done, seconds) = scene.collect(&mut completions, 101);
    assert_eq!((scene.begun(), seconds), (0, 0.0));
    assert_eq!(done[100].result, Ok(Bytes::from("mine")));
}

#[test]
fn the_event_loop_has_its_turn_between_slices() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, (0..10_000).map(noop));
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let _others = scene.clock.spawn(poll_fn(move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    scene.collect(&mut completions, 10_000);
    assert!(turns.load(Ordering::Relaxed) >= 8, "{turns:?}");
}

#[test]
fn a_task_that_is_late_is_ended_with_its_isolate_and_the_next_one_runs() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    let limit = Duration::from_secs(3);
    submit(&client, [hanging(0, Some(limit)), long(1)]);
    let (done, seconds) = scene.collect(&mut completions, 2);
    assert_eq!(done[0].result, Err(TaskError::DeadlineExceeded { limit }));
    assert!(done[1].result.is_ok());
    assert_eq!((scene.broken_off(), seconds), (1, 4.0));
}

/// Has others before it, for ever.
struct Waits;

impl Isolates for Waits {
    fn open(&self) -> Box<dyn Isolate> {
        Box::new(Self)
    }
}

impl Isolate for Waits {
    fn run(
        &mut self,
        _program: Portable,
        _input: TaskInput,
    ) -> BoxFuture<'_, Result<Bytes, TaskError>> {
        Box::pin(pending())
    }

    fn has_only_waited(&self) -> bool {
        true
    }
}

#[test]
fn a_task_that_is_late_and_never_had_its_turn_is_refused_for_now() {
    let simulation = Simulation::new(1);
    let clock = simulation.runtime();
    let config = PoolConfig::new().with_cores(2);
    let pool = Pool::in_isolates(config, clock, Arc::new(Waits));
    let (client, mut completions) = pool.client();
    let waited = Duration::from_secs(3);
    submit(&client, [hanging(0, Some(waited))]);
    let mut batch = Vec::new();
    assert_eq!(simulation.run(completions.next_batch(&mut batch)), Ok(true));
    assert_eq!(batch[0].result, Err(TaskError::DeviceBusy { waited }));
}

#[test]
fn a_task_that_is_cancelled_is_ended_at_once() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, [hanging(0, None), long(1)]);
    scene.sleep(5.0);
    assert_eq!((scene.begun(), scene.pool.stats().running), (1, 1));
    client.cancel(0);
    let (done, seconds) = scene.collect(&mut completions, 2);
    assert_eq!(done[0].result, Err(TaskError::Cancelled));
    assert!(done[1].result.is_ok());
    assert_eq!((scene.broken_off(), seconds), (1, 6.0));
}

#[test]
fn a_result_that_is_too_long_is_refused() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    submit(
        &client,
        [long(0).with_limits(Limits::none().with_max_output(7))],
    );
    let (done, _) = scene.collect(&mut completions, 1);
    let error = TaskError::OutputTooLarge { size: 8, limit: 7 };
    assert_eq!(done[0].result, Err(error));
}

#[test]
fn a_pool_that_stops_ends_what_runs() {
    let scene = Scene::new(3, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, (0..3).map(|tag| hanging(tag, None)));
    scene.sleep(1.0);
    scene.run(scene.pool.stop());
    let (done, seconds) = scene.collect(&mut completions, 3);
    assert!(done.iter().all(|it| it.result == Err(TaskError::Cancelled)));
    assert_eq!((scene.broken_off(), seconds), (2, 1.0));
    assert_eq!(scene.pool.stats().workers, 0);
}

#[test]
fn a_pool_that_is_dropped_ends_what_runs() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, [hanging(0, None)]);
    scene.sleep(1.0);
    let Scene {
        simulation,
        clock,
        pool,
        counts,
    } = scene;
    drop(pool);
    let mut batch = Vec::new();
    let next = completions.next_batch(&mut batch);
    assert_eq!(simulation.run(next), Ok(true));
    assert_eq!(batch[0].result, Err(TaskError::Cancelled));
    assert_eq!(counts.broken_off.load(Ordering::Relaxed), 1);
    drop((client, clock));
}

#[test]
fn the_throttle_says_how_many_workers_there_are() {
    let scene = Scene::new(5, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, (0..8).map(|tag| hanging(tag, None)));
    let running = |percent| {
        scene.pool.set_throttle(throttle(percent)).unwrap();
        scene.sleep(1.0);
        scene.pool.stats().running
    };
    assert_eq!(running(100), 4);
    // What runs goes on to its end.
    assert_eq!(running(0), 4);
    (0..4).for_each(|tag| client.cancel(tag));
    assert_eq!(scene.collect(&mut completions, 4).0.len(), 4);
    assert_eq!(running(0), 0);
    assert_eq!(running(50), 2);
    assert_eq!(running(100), 4);
}

#[test]
fn a_pause_leaves_what_runs_and_begins_nothing() {
    let scene = Scene::new(2, 100);
    let (client, mut completions) = scene.pool.client();
    submit(&client, (0..2).map(long));
    scene.sleep(0.5);
    scene.pool.pause();
    scene.sleep(9.5);
    assert_eq!((scene.begun(), scene.pool.stats().done), (1, 1));
    scene.pool.resume();
    let (_, seconds) = scene.collect(&mut completions, 2);
    assert_eq!(seconds, 11.0);
}

#[test]
fn a_throttled_worker_rests_after_its_work() {
    // One worker, which may work for a quarter of the time.
    let scene = Scene::new(2, 25);
    let (client, mut completions) = scene.pool.client();
    submit(&client, (0..4).map(long));
    let (_, seconds) = scene.collect(&mut completions, 4);
    assert_eq!(seconds, 13.0);
}
