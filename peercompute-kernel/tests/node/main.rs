//! Whole nodes in one thread on virtual time, over the network in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod choice;
mod frozen;
mod machine;
mod mesh;
mod programs;
mod realtime;
mod strangers;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_compute::{Operation, Throttle};
use peercompute_kernel::{
    Host, JobError, LocalFallback, NewTask, NodeBuilder, NodeKernel, NodeStatus, Outcome,
    SubmitError, Topology,
};
use peercompute_net::{
    Multiaddr, NetworkEvent, Transport as _,
    memory::{Bandwidth, LinkConfig, MemoryNetwork},
};
use peercompute_proto::{
    Scope, encode_frame,
    v1::{StreamBinding, TaskFrame, TaskHello, task_frame},
};
use peercompute_rt::{Runtime, Simulation};

const PATIENCE: Duration = Duration::from_secs(5);

/// A world of nodes that repeats from its seed.
struct World {
    topology: Topology,
    simulation: Simulation,
    runtime: Runtime,
    network: MemoryNetwork,
}

impl World {
    /// One whose submitters lease their tasks themselves.
    fn new(seed: u64) -> Self {
        Self::of(Topology::Distributed, seed)
    }

    fn of(topology: Topology, seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        let runtime = simulation.runtime();
        let network = MemoryNetwork::new(runtime.clone(), seed);
        network.set_default_link(LinkConfig::default().with_latency(Duration::from_millis(5)));
        Self {
            topology,
            simulation,
            runtime,
            network,
        }
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.simulation.run(main).expect("the world does not stall")
    }

    fn node(&self, name: &str) -> NodeBuilder {
        let transport = Arc::new(self.network.transport(name));
        NodeKernel::builder()
            .transport(transport)
            .topology(self.topology)
            .cooperative_pool()
    }

    async fn worker(&self, name: &str, room: &str) -> (NodeKernel, Multiaddr) {
        let node = self
            .node(name)
            .room("test", room)
            .listen("/memory/0".parse().unwrap())
            .build(self.runtime.clone())
            .unwrap();
        node.start().await.unwrap();
        let address = node.status().addresses[0].clone();
        (node, address)
    }

    async fn submitter(&self, peers: &[Multiaddr], fallback: LocalFallback) -> NodeKernel {
        let mut builder = self
            .node("submitter")
            .room("test", "room")
            .serves(false)
            .local_fallback(fallback);
        for peer in peers {
            builder = builder.peer(peer.clone());
        }
        let node = builder.build(self.runtime.clone()).unwrap();
        node.start().await.unwrap();
        node
    }
}

fn tasks(count: u64) -> Vec<NewTask> {
    (0..count)
        .map(|number| NewTask {
            state: None,
            input: Bytes::from(number.to_string()),
        })
        .collect()
}

fn crc(number: u64) -> Bytes {
    Bytes::copy_from_slice(&crc32c::crc32c(number.to_string().as_bytes()).to_le_bytes())
}

/// Runs a job to its end and returns what came of each task, having checked that each came once.
async fn run_job(node: &NodeKernel, count: u64) -> Result<BTreeMap<u64, Outcome>, JobError> {
    let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
    sender.push(tasks(count)).await.unwrap();
    sender.finish();
    let mut outcomes = Vec::new();
    while results.next_batch(&mut outcomes).await? {}
    let by_task: BTreeMap<_, _> = outcomes
        .iter()
        .map(|outcome| (outcome.task.as_u64(), outcome.clone()))
        .collect();
    assert_eq!(by_task.len(), outcomes.len(), "a task came twice");
    Ok(by_task)
}

fn assert_all_right(outcomes: &BTreeMap<u64, Outcome>, count: u64) {
    assert_eq!(outcomes.len() as u64, count);
    for (number, outcome) in outcomes {
        assert_eq!(outcome.result.as_ref().unwrap(), &crc(*number));
    }
}

fn assert_all_here(outcomes: &BTreeMap<u64, Outcome>) {
    let mut outcomes = outcomes.values();
    assert!(outcomes.all(|outcome| outcome.host == Some(Host::Local)));
}

fn when_alone() -> LocalFallback {
    LocalFallback::WhenAlone { patience: PATIENCE }
}

fn never() -> LocalFallback {
    LocalFallback::Never { patience: PATIENCE }
}

#[test]
fn a_job_runs_on_the_other_nodes_of_the_room() {
    let world = World::new(1);
    world.run(async {
        let (one, one_address) = world.worker("one", "room").await;
        let (two, two_address) = world.worker("two", "room").await;
        let node = world.submitter(&[one_address, two_address], never()).await;
        let outcomes = run_job(&node, 5000).await.unwrap();
        assert_all_right(&outcomes, 5000);
        for worker in [&one, &two] {
            let done = worker.status().tasks.done;
            assert!(done > 500, "a worker has done {done} of 5000 tasks");
        }
        node.stop().await;
    });
}

#[test]
fn without_other_nodes_the_job_runs_here_and_says_so() {
    let world = World::new(2);
    world.run(async {
        let node = world.submitter(&[], when_alone()).await;
        let outcomes = run_job(&node, 100).await.unwrap();
        assert_all_right(&outcomes, 100);
        assert_all_here(&outcomes);
    });
}

#[test]
fn without_patience_the_job_runs_here_at_once() {
    for topology in [Topology::Distributed, Topology::Emergent] {
        let world = World::new(22);
        world.run(async {
            let node = world.node("submitter").room("test", "room").serves(false);
            let node = node.topology(topology).peer("/memory/77".parse().unwrap());
            let fallback = LocalFallback::WhenAlone {
                patience: Duration::ZERO,
            };
            let node = node.local_fallback(fallback);
            let node = node.build(world.runtime.clone()).unwrap();
            node.start().await.unwrap();
            let outcomes = run_job(&node, 100).await.unwrap();
            assert_all_right(&outcomes, 100);
            assert_all_here(&outcomes);
        });
    }
}

#[test]
fn an_address_where_nobody_answers_ends_in_the_local_fallback() {
    let world = World::new(3);
    world.run(async {
        let (gone, address) = world.worker("gone", "room").await;
        gone.stop().await;
        let node = world.submitter(&[address], when_alone()).await;
        let outcomes = run_job(&node, 100).await.unwrap();
        assert_all_right(&outcomes, 100);
        assert_all_here(&outcomes);
    });
}

#[test]
fn a_node_that_is_not_there_yet_is_waited_for_as_long_as_patience_lasts() {
    let world = World::new(18);
    world.run(async {
        let address: Multiaddr = "/memory/77".parse().unwrap();
        let node = world
            .submitter(std::slice::from_ref(&address), never())
            .await;
        let come = async {
            world.runtime.sleep(PATIENCE / 2).await;
            let worker = world
                .node("late")
                .room("test", "room")
                .listen(address)
                .build(world.runtime.clone())
                .unwrap();
            worker.start().await.unwrap();
            worker
        };
        let (outcomes, worker) = futures::join!(run_job(&node, 100), come);
        assert_all_right(&outcomes.unwrap(), 100);
        assert_eq!(worker.status().tasks.done, 100);
    });
}

#[test]
fn a_node_of_another_room_is_not_waited_for() {
    let world = World::new(19);
    world.run(async {
        let (_other, address) = world.worker("other", "another room").await;
        let node = world.submitter(&[address], when_alone()).await;
        let before = world.runtime.now();
        assert_all_right(&run_job(&node, 50).await.unwrap(), 50);
        assert!(world.runtime.now() - before < PATIENCE);
    });
}

#[test]
fn without_other_nodes_and_without_the_fallback_the_job_fails() {
    let world = World::new(4);
    world.run(async {
        let node = world.submitter(&[], never()).await;
        assert_eq!(run_job(&node, 1).await, Err(JobError::NoWorkers));
    });
}

/// Runs a job of so many tasks on two workers behind slow links, one of which is cut off when `done` of them are done, and expects each result once and right.
fn a_cut_costs_no_result(topology: Topology, seed: u64, bandwidth: u64, count: u64, done: usize) {
    let world = World::of(topology, seed);
    world.run(async {
        // Slow enough that the cut comes in the middle.
        let slow = LinkConfig::default()
            .with_latency(Duration::from_millis(20))
            .with_bandwidth(Bandwidth::bytes_per_second(bandwidth));
        world.network.set_default_link(slow);
        let (_one, one_address) = world.worker("one", "room").await;
        let (_two, two_address) = world.worker("two", "room").await;
        let node = world.submitter(&[one_address, two_address], never()).await;
        let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
        sender.push(tasks(count)).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        let mut cut = false;
        while results.next_batch(&mut outcomes).await.unwrap() {
            if outcomes.len() > done && !cut {
                cut = true;
                let one = MemoryNetwork::peer("one");
                let others = vec![MemoryNetwork::peer("two"), MemoryNetwork::peer("submitter")];
                world.network.partition([vec![one], others]);
            }
        }
        assert!(cut, "seed {seed}: the job ended before the cut");
        let by_task: BTreeMap<_, _> = outcomes
            .iter()
            .map(|outcome| (outcome.task.as_u64(), outcome.clone()))
            .collect();
        assert_eq!(
            by_task.len(),
            outcomes.len(),
            "seed {seed}: a task came twice"
        );
        assert_all_right(&by_task, count);
    });
}

#[test]
fn a_worker_that_is_cut_off_midway_costs_time_and_no_result() {
    for seed in 10..20 {
        a_cut_costs_no_result(Topology::Distributed, seed, 20_000, 4000, 500);
    }
}

#[test]
fn the_loss_of_the_last_worker_midway_ends_in_the_local_fallback() {
    let world = World::new(5);
    world.run(async {
        let slow = LinkConfig::default()
            .with_latency(Duration::from_millis(20))
            .with_bandwidth(Bandwidth::bytes_per_second(20_000));
        world.network.set_default_link(slow);
        let (_one, address) = world.worker("one", "room").await;
        let node = world.submitter(&[address], when_alone()).await;
        let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
        sender.push(tasks(4000)).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {
            if outcomes.len() > 500 {
                let others = vec![MemoryNetwork::peer("submitter")];
                world
                    .network
                    .partition([vec![MemoryNetwork::peer("one")], others]);
            }
        }
        let hosts: std::collections::BTreeSet<_> =
            outcomes.iter().map(|outcome| outcome.host).collect();
        assert_eq!(hosts.len(), 2, "{hosts:?}");
        assert_eq!(outcomes.len(), 4000);
    });
}

#[test]
fn nodes_of_different_rooms_never_meet() {
    let world = World::new(6);
    world.run(async {
        let (other, address) = world.worker("other", "another room").await;
        let node = world.submitter(&[address], when_alone()).await;
        let outcomes = run_job(&node, 50).await.unwrap();
        assert_all_here(&outcomes);
        assert_eq!(other.status().tasks.done, 0);
        assert!(node.status().peers.is_empty());
        assert!(other.status().peers.is_empty());
    });
}

#[test]
fn a_paused_node_gets_no_tasks_until_it_goes_on() {
    let world = World::new(7);
    world.run(async {
        let (one, one_address) = world.worker("one", "room").await;
        let (two, two_address) = world.worker("two", "room").await;
        one.pause();
        let node = world.submitter(&[one_address, two_address], never()).await;
        assert_all_right(&run_job(&node, 1000).await.unwrap(), 1000);
        assert_eq!(
            (one.status().tasks.done, two.status().tasks.done),
            (0, 1000)
        );
        one.resume();
        two.pause();
        assert_all_right(&run_job(&node, 1000).await.unwrap(), 1000);
        assert_eq!(one.status().tasks.done, 1000);
    });
}

#[test]
fn a_node_at_throttle_0_gets_no_tasks_until_it_lends_something() {
    let world = World::new(14);
    world.run(async {
        let (one, one_address) = world.worker("one", "room").await;
        let (two, two_address) = world.worker("two", "room").await;
        one.set_throttle(Throttle::NONE).unwrap();
        let node = world.submitter(&[one_address, two_address], never()).await;
        assert_all_right(&run_job(&node, 1000).await.unwrap(), 1000);
        assert_eq!(
            (one.status().tasks.done, two.status().tasks.done),
            (0, 1000)
        );
        one.set_throttle(Throttle::FULL).unwrap();
        two.set_throttle(Throttle::NONE).unwrap();
        assert_all_right(&run_job(&node, 1000).await.unwrap(), 1000);
        assert_eq!(one.status().tasks.done, 1000);
    });
}

#[test]
fn a_job_whose_only_worker_lends_nothing_ends_on_this_node() {
    let world = World::new(15);
    world.run(async {
        let (one, address) = world.worker("one", "room").await;
        one.set_throttle(Throttle::NONE).unwrap();
        let node = world
            .submitter(std::slice::from_ref(&address), when_alone())
            .await;
        assert_all_right(&run_job(&node, 100).await.unwrap(), 100);
        assert_eq!(one.status().tasks.done, 0);
        let node = world
            .node("strict")
            .room("test", "room")
            .peer(address)
            .local_fallback(never())
            .build(world.runtime.clone())
            .unwrap();
        node.start().await.unwrap();
        assert_eq!(run_job(&node, 100).await, Err(JobError::NoWorkers));
    });
}

/// Has the only worker stop lending in mid-job by `stop`, and expects the rest to be done here, and the worker to have kept nothing.
fn a_stop_in_mid_job_hands_the_rest_back(seed: u64, stop: impl Fn(&NodeKernel)) {
    let world = World::new(seed);
    world.run(async {
        let (one, address) = world.worker("one", "room").await;
        let node = world.submitter(&[address], when_alone()).await;
        let (mut sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
        sender.push(tasks(8000)).await.unwrap();
        sender.finish();
        let mut outcomes = Vec::new();
        while results.next_batch(&mut outcomes).await.unwrap() {
            if outcomes.len() < 8000 && outcomes.iter().all(|it| it.host != Some(Host::Local)) {
                stop(&one);
            }
        }
        let by_task: BTreeMap<_, _> = outcomes
            .into_iter()
            .map(|outcome| (outcome.task.as_u64(), outcome))
            .collect();
        assert_all_right(&by_task, 8000);
        let hosts: std::collections::BTreeSet<_> =
            by_task.values().map(|outcome| outcome.host).collect();
        assert_eq!(hosts.len(), 2, "{hosts:?}");
        assert_eq!(one.status().tasks.queued, 0);
    });
}

#[test]
fn a_throttle_of_0_in_mid_job_hands_the_rest_back() {
    a_stop_in_mid_job_hands_the_rest_back(16, |node| {
        node.set_throttle(Throttle::NONE).unwrap();
    });
}

#[test]
fn a_pause_in_mid_job_hands_the_rest_back() {
    a_stop_in_mid_job_hands_the_rest_back(17, NodeKernel::pause);
}

#[test]
fn a_program_that_no_node_knows_fails_with_the_reason() {
    let world = World::new(8);
    world.run(async {
        let (_one, address) = world.worker("one", "room").await;
        let node = world.submitter(&[address], when_alone()).await;
        let mut spec: peercompute_proto::v1::TaskSpec = Operation::Noop.into();
        let program = spec
            .program
            .as_mut()
            .and_then(|program| program.program.as_mut())
            .unwrap();
        let peercompute_proto::v1::program::Program::Builtin(builtin) = program else {
            unreachable!("an operation is built in");
        };
        builtin.operation = "dance".to_owned();
        let (mut sender, mut results) = node.submit(spec).unwrap().split();
        sender.push(tasks(3)).await.unwrap();
        sender.finish();
        let error = results.next_batch(&mut Vec::new()).await.unwrap_err();
        assert!(
            matches!(&error, JobError::Unsupported { message } if message.contains("dance")),
            "{error}"
        );
    });
}

#[test]
fn a_stopped_node_ends_its_jobs_and_takes_no_more() {
    let world = World::new(9);
    world.run(async {
        let node = world.submitter(&[], never()).await;
        let (_sender, mut results) = node.submit(Operation::Crc32c.into()).unwrap().split();
        node.stop().await;
        assert_eq!(
            results.next_batch(&mut Vec::new()).await,
            Err(JobError::NodeStopped)
        );
        assert!(matches!(
            node.submit(Operation::Noop.into()),
            Err(SubmitError::NotRunning)
        ));
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let world = World::new(seed);
        world.run(async {
            let (_one, address) = world.worker("one", "room").await;
            let node = world.submitter(&[address], never()).await;
            run_job(&node, 500).await.unwrap();
        });
        world.network.trace()
    };
    assert_eq!(trace(11), trace(11));
}

/// Says hello to a worker as something that is not quite a peer, and waits until it hangs up.
async fn misbehave(world: &World, worker: &Multiaddr, bytes: &[u8]) {
    let stranger = world.network.transport("stranger");
    let peer = stranger.dial(worker.clone()).await.unwrap();
    let mut stream = stranger
        .open(peer, peercompute_kernel::TASK_PROTOCOL)
        .await
        .unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    // What it has to say first, and then the end, one way or the other.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let mut events = stranger.events();
    while !stranger.connections().is_empty() {
        events.next().await;
    }
    stranger.close().await;
}

fn hello(version: u32, room: &str) -> Vec<u8> {
    let scope = Scope::new("test", room).unwrap();
    let binding = StreamBinding {
        version,
        ..StreamBinding::new(scope)
    };
    let hello = TaskHello {
        binding: Some(binding),
        capabilities: None,
    };
    let mut bytes = bytes::BytesMut::new();
    encode_frame(
        &TaskFrame {
            frame: Some(task_frame::Frame::Hello(hello)),
        },
        &mut bytes,
    );
    bytes.to_vec()
}

#[test]
fn a_peer_that_breaks_the_protocol_is_cut_off_and_the_node_goes_on() {
    let another_version = hello(2, "room");
    let another_room = hello(1, "elsewhere");
    let too_long = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    let garbage = vec![3, 0xde, 0xad, 0xbe];
    let cases = [
        (another_version, "version"),
        (another_room, "room"),
        (too_long, "larger than"),
        (garbage, "TaskFrame"),
    ];
    for (bytes, about) in cases {
        let world = World::new(12);
        world.run(async {
            let (worker, address) = world.worker("one", "room").await;
            let mut events = worker.network().unwrap().events();
            misbehave(&world, &address, &bytes).await;
            let told = std::iter::from_fn(|| events.try_next()).filter_map(|event| match event {
                NetworkEvent::CutOff { reason, .. } => Some(reason.to_string()),
                _ => None,
            });
            let told: Vec<_> = told.collect();
            assert!(told.len() == 1 && told[0].contains(about), "{told:?}");
            let node = world.submitter(&[address], never()).await;
            assert_all_right(&run_job(&node, 100).await.unwrap(), 100);
        });
    }
}

#[test]
fn the_status_stream_tells_of_peers_and_ends_with_the_node() {
    let world = World::new(13);
    world.run(async {
        let (worker, address) = world.worker("one", "room").await;
        let node = Arc::new(world.submitter(&[address], never()).await);
        let mut watch = node.watch(Duration::from_secs(1));
        let connected = |status: &NodeStatus| status.peers.iter().any(|peer| peer.path.is_some());
        while !connected(&watch.next().await.unwrap()) {}
        worker.stop().await;
        while connected(&watch.next().await.unwrap()) {}
        node.stop().await;
        assert_eq!(watch.next().await, None);
    });
}
