//! Workers that stop in mid-job without a word: their streams stay open, and nothing comes or goes on them any more.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use futures::StreamExt as _;
use peercompute_kernel::TASK_PROTOCOL;
use peercompute_net::{NetworkConfig, NetworkManager, Stream, frames};
use peercompute_proto::v1::Capabilities;
use peercompute_rt::Task;
use peercompute_swarm::{Worker, WorkerConfig, WorkerEvent};

use super::*;

/// A worker that answers so many tasks, and freezes.
struct Freezer {
    _net: NetworkManager,
    _task: Task<()>,
    address: Multiaddr,
}

impl Freezer {
    async fn start(world: &World, answers: usize) -> Self {
        let mut config = NetworkConfig::in_room("test", "room").unwrap();
        config.listen = vec!["/memory/0".parse().unwrap()];
        config.capabilities.workers = 1;
        let binding = StreamBinding::new(config.scope);
        let transport = Arc::new(world.network.transport("freezer"));
        let mut incoming = transport.accept(TASK_PROTOCOL).unwrap();
        let net = NetworkManager::start(world.runtime.clone(), transport, config)
            .await
            .unwrap();
        let address = net.addresses()[0].clone();
        let runtime = world.runtime.clone();
        let task = world.runtime.spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                let config = WorkerConfig::new(binding.clone(), Capabilities::default());
                runtime
                    .spawn(work(stream, Worker::new(config), answers))
                    .detach();
            }
        });
        Self {
            _net: net,
            _task: task,
            address,
        }
    }
}

async fn work(stream: Stream, mut core: Worker, answers: usize) {
    let (mut reader, mut writer) = frames::<TaskFrame, TaskFrame>(stream);
    let mut answered = 0;
    while answered < answers {
        while let Some(event) = core.poll_event() {
            if let WorkerEvent::JobOpened { job, .. } = event {
                core.accept_job(job);
            }
        }
        while let Some(task) = core.poll_task() {
            let crc = crc32c::crc32c(&task.input).to_le_bytes();
            core.handle_done(
                task.ticket,
                Ok(Bytes::copy_from_slice(&crc)),
                Duration::ZERO,
            );
            answered += 1;
            if answered == answers {
                break;
            }
        }
        while let Some(frame) = core.poll_transmit(Duration::ZERO) {
            writer.send(&frame).await.unwrap();
        }
        let Ok(Some(frame)) = reader.next().await else {
            return;
        };
        core.handle_frame(Duration::ZERO, frame).unwrap();
    }
    futures::future::pending::<()>().await;
}

#[test]
fn a_job_whose_only_worker_freezes_ends_on_this_node() {
    for (seed, answers) in [(20, 1), (21, 100), (22, 2000)] {
        let world = World::new(seed);
        world.run(async {
            let freezer = Freezer::start(&world, answers).await;
            let node = world
                .submitter(std::slice::from_ref(&freezer.address), when_alone())
                .await;
            let outcomes = run_job(&node, 4000).await.unwrap();
            assert_all_right(&outcomes, 4000);
            let here = outcomes
                .values()
                .filter(|outcome| outcome.host == Some(Host::Local));
            assert!(here.count() >= 4000 - answers);
        });
    }
}

#[test]
fn a_job_whose_only_worker_never_says_a_word_ends_on_this_node() {
    let world = World::new(23);
    world.run(async {
        let freezer = Freezer::start(&world, 0).await;
        let node = world
            .submitter(std::slice::from_ref(&freezer.address), when_alone())
            .await;
        assert_all_right(&run_job(&node, 100).await.unwrap(), 100);
    });
}

#[test]
fn a_job_whose_only_worker_freezes_fails_where_the_fallback_is_ruled_out() {
    let world = World::new(24);
    world.run(async {
        let freezer = Freezer::start(&world, 100).await;
        let node = world
            .submitter(std::slice::from_ref(&freezer.address), never())
            .await;
        assert_eq!(run_job(&node, 4000).await, Err(JobError::NoWorkers));
    });
}

#[test]
fn a_worker_that_freezes_leaves_its_tasks_to_the_others() {
    let world = World::new(25);
    world.run(async {
        let freezer = Freezer::start(&world, 100).await;
        let (one, address) = world.worker("one", "room").await;
        let node = world
            .submitter(&[freezer.address.clone(), address], never())
            .await;
        assert_all_right(&run_job(&node, 4000).await.unwrap(), 4000);
        assert!(one.status().tasks.done >= 3900);
    });
}
