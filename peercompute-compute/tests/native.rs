//! Closures of the application, some of which do not listen.
#![cfg(not(target_arch = "wasm32"))]

use std::{
    sync::{Arc, Mutex, mpsc::sync_channel},
    time::Duration,
};

use bytes::Bytes;
use peercompute_compute::{
    ABANDONED, Control, Executor, Limits, NativeExecutor, NativeName, Program, TaskError,
    TaskInput, Unsupported,
};
use peercompute_rt::Runtime;

fn prepare(executor: &NativeExecutor, name: &str) -> Arc<dyn Program> {
    let name = NativeName::new(name).expect("it is a name");
    executor.prepare(&name.into()).expect("it is registered")
}

fn with_clock<T>(body: impl FnOnce(&Runtime) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    body(&Runtime::tokio())
}

const LIMIT: Duration = Duration::from_millis(10);

/// More than any of them takes, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_closure_gets_its_input_with_and_without_a_deadline() {
    let executor = NativeExecutor::new().with("reverse", |input, control| {
        control.check()?;
        Ok(input.bytes.iter().rev().copied().collect::<Vec<_>>().into())
    });
    let program = prepare(&executor, "reverse");
    let expected = Ok(Bytes::from_static(b"cba"));
    assert_eq!(
        program.run(TaskInput::new("abc"), &Control::unlimited()),
        expected
    );
    with_clock(|clock| {
        let control = Control::limited(
            Limits::none().with_run_time(Duration::from_secs(600)),
            clock,
        );
        assert_eq!(program.run(TaskInput::new("abc"), &control), expected);
    });
}

#[test]
fn a_name_that_nobody_has_registered_is_left_to_other_executors() {
    let executor = NativeExecutor::new().with("one", |input, _| Ok(input.bytes));
    let name = NativeName::new("two").expect("it is a name");
    let refused = executor.prepare(&name.into()).err();
    assert!(
        matches!(&refused, Some(Unsupported::UnknownProgram { program }) if program.contains("two")),
        "{refused:?}"
    );
    assert!(NativeName::new("").is_err() && NativeName::new("x".repeat(65)).is_err());
}

#[test]
fn a_closure_that_asks_its_control_ends_at_its_deadline() {
    let executor = NativeExecutor::new().with("waits", |_, control| {
        loop {
            control.check()?;
            std::thread::yield_now();
        }
    });
    with_clock(|clock| {
        let control = Control::limited(Limits::none().with_run_time(LIMIT), clock);
        let result = prepare(&executor, "waits").run(TaskInput::default(), &control);
        assert_eq!(result, Err(TaskError::DeadlineExceeded { limit: LIMIT }));
    });
}

#[test]
fn closures_that_do_not_listen_are_left_behind_up_to_a_bound_and_it_counts_down_when_they_end() {
    let (release, wait) = sync_channel::<()>(ABANDONED);
    let wait = Mutex::new(wait);
    let executor = NativeExecutor::new()
        .with("deaf", move |_, _| {
            let wait = wait.lock().expect("nobody panics under it");
            wait.recv().expect("the test holds the other end");
            Ok(Bytes::new())
        })
        .with("quick", |input, _| Ok(input.bytes));
    let deaf = prepare(&executor, "deaf");
    let quick = prepare(&executor, "quick");
    with_clock(|clock| {
        let control = || Control::limited(Limits::none().with_run_time(LIMIT), clock);
        for _ in 0..ABANDONED {
            let result = deaf.run(TaskInput::default(), &control());
            assert_eq!(result, Err(TaskError::DeadlineExceeded { limit: LIMIT }));
        }
        let refused = quick.run(TaskInput::new("abc"), &control());
        let abandoned = ABANDONED;
        assert_eq!(refused, Err(TaskError::TooManyAbandoned { abandoned }));
        // What needs no thread of its own still runs.
        let plain = quick.run(TaskInput::new("abc"), &Control::unlimited());
        assert_eq!(plain, Ok(Bytes::from_static(b"abc")));

        release.send(()).expect("one waits");
        while quick.run(TaskInput::new("abc"), &control()) == refused {
            std::thread::yield_now();
        }
        // The others end, too, so that the test leaves no thread behind.
        (1..ABANDONED).for_each(|_| release.send(()).expect("the others wait"));
    });
}

#[test]
fn a_panic_of_a_closure_with_a_deadline_reaches_its_worker() {
    let executor = NativeExecutor::new().with("panics", |_, _| panic!("as it was told to"));
    with_clock(|clock| {
        let control = Control::limited(Limits::none().with_run_time(PATIENCE), clock);
        let program = prepare(&executor, "panics");
        let body = std::panic::AssertUnwindSafe(|| program.run(TaskInput::default(), &control));
        let panic = std::panic::catch_unwind(body).expect_err("it panics");
        assert_eq!(panic.downcast_ref(), Some(&"as it was told to"));
    });
}
