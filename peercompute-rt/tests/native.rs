//! The runtime on tokio.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use futures::future;
use peercompute_rt::{Elapsed, Runtime};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn time_is_tokios() {
    let runtime = Runtime::tokio();
    let before = runtime.now();
    runtime.sleep(SECOND).await;
    assert_eq!(runtime.now() - before, SECOND);
    assert_eq!(
        runtime.timeout(SECOND, future::pending::<()>()).await,
        Err(Elapsed(SECOND))
    );
    runtime.sleep_until(before).await;
    assert_eq!(runtime.now() - before, SECOND * 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_gives_its_output_and_ends_when_it_is_dropped() {
    let runtime = Runtime::tokio();
    assert_eq!(runtime.spawn(async { 7 }).await, Some(7));
    let held = Arc::new(());
    let hold = held.clone();
    let task = runtime.spawn(async move {
        let _held = hold;
        future::pending::<()>().await;
    });
    runtime.sleep(SECOND).await;
    drop(task);
    runtime.sleep(SECOND).await;
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn a_task_that_panics_gives_none_and_takes_nothing_with_it() {
    let runtime = Runtime::tokio();
    let panicking = runtime.spawn(async { panic!("on purpose") });
    assert_eq!(panicking.await, None::<()>);
    assert_eq!(runtime.spawn(async { 7 }).await, Some(7));
}

#[test]
fn a_handle_works_outside_the_runtime_that_it_was_made_in() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let runtime = tokio.block_on(async { Runtime::tokio() });
    let (sleep, task) = (runtime.sleep(Duration::ZERO), runtime.spawn(async { 7 }));
    assert_eq!(tokio.block_on(future::join(sleep, task)), ((), Some(7)));
}

#[tokio::test]
async fn randomness_does_not_repeat_and_the_wall_clock_is_past_2026() {
    let runtime = Runtime::tokio();
    assert_ne!(runtime.random_u64(), runtime.random_u64());
    assert!(runtime.unix_time() > Duration::from_secs(1_700_000_000));
}
